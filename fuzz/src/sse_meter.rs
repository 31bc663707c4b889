//! A stream of any bytes, cut anywhere: the same goes out and the same is counted as of the whole;
//! nothing is lost or changed but a usage chunk; what has no end of its own is given one.

use domain::endpoint::{Endpoint, Protocol, Work};
use domain::meter::{Answer, Cause, Format, Meter, Output};

fn send<'a>(meter: &mut Meter, chunks: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        match meter.push(chunk) {
            Output::Unchanged => out.extend_from_slice(chunk),
            Output::Replaced(bytes) => out.extend(bytes),
        }
    }
    out
}

pub fn hold(input: &[u8]) {
    let [choice, size, stream @ ..] = input else { return };
    let (choice, size) = (*choice, usize::from(*size) + 1);
    let protocols =
        [Protocol::Chat, Protocol::Responses, Protocol::Messages, Protocol::Media, Protocol::Other];
    let protocol = protocols[usize::from(choice / 2) % protocols.len()];
    let strip_usage = choice % 2 == 1;
    let endpoint = Endpoint { work: Work::Inference, protocol };
    let meter = || {
        let request_id = "req_1".to_owned();
        Meter::new(Answer { format: Format::EventStream, endpoint, strip_usage, request_id })
    };

    let (mut whole, mut cut) = (meter(), meter());
    let mut sent_whole = send(&mut whole, [stream].into_iter());
    let sent_cut = send(&mut cut, stream.chunks(size));
    assert_eq!(sent_whole, sent_cut);
    assert_eq!(whole.tally(), cut.tally());
    assert!(strip_usage || stream.starts_with(&sent_whole));
    let (last, lack) = whole.finish();
    assert_eq!(cut.finish(), (last.clone(), lack));
    sent_whole.extend(&last);
    assert_eq!(whole.tally(), cut.tally());
    assert_eq!(whole.response_id(), cut.response_id());
    assert!(strip_usage || lack.is_some() || sent_whole == stream);
    let end: &[u8] = if protocol == Protocol::Responses { b"}}}\n\n" } else { b"\n\n" };
    assert!(matches!(lack, None | Some(Cause::Failed)) || last.ends_with(end));

    let mut broken = meter();
    send(&mut broken, stream.chunks(size));
    let (last, lack) = broken.break_off(Cause::BrokeOff);
    assert!(if last.is_empty() { lack != Some(Cause::BrokeOff) } else { last.ends_with(end) });
}
