//! A stream of any bytes, cut anywhere: the same goes out and the same is counted as of the whole;
//! nothing is lost or changed but a usage chunk; a break ends in the error and `[DONE]`.

use domain::endpoint::Protocol;
use domain::meter::{Answer, Format, Meter, Output};

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
    let protocols = [Protocol::Chat, Protocol::Responses, Protocol::Other];
    let protocol = protocols[usize::from(choice / 2) % protocols.len()];
    let strip_usage = choice % 2 == 1;
    let meter = || Meter::new(Answer { format: Format::EventStream, protocol, strip_usage });

    let (mut whole, mut cut) = (meter(), meter());
    let mut sent_whole = send(&mut whole, [stream].into_iter());
    let mut sent_cut = send(&mut cut, stream.chunks(size));
    assert_eq!(sent_whole, sent_cut);
    assert_eq!(whole.tally(), cut.tally());
    sent_whole.extend(whole.finish());
    sent_cut.extend(cut.finish());
    assert_eq!(sent_whole, sent_cut);
    assert_eq!(whole.tally(), cut.tally());
    assert_eq!(whole.response_id(), cut.response_id());
    assert!(strip_usage || sent_whole == stream);

    let mut broken = meter();
    send(&mut broken, stream.chunks(size));
    let done = broken.tally().done_seen;
    let last = broken.interrupted();
    let end: &[u8] = if protocol == Protocol::Responses { b"}}}\n\n" } else { b"data: [DONE]\n\n" };
    assert!(if done { last.is_empty() } else { last.ends_with(end) });
}
