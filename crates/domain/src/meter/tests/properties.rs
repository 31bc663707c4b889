use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::testing::{chunks, cuts, dispatched};

const ALL_PROTOCOLS: [Protocol; 5] =
    [Protocol::Chat, Protocol::Responses, Protocol::Messages, Protocol::Media, Protocol::Other];

/// A part of a chat stream: its bytes, and what they are known to mean.
#[derive(Clone, Debug)]
struct Part {
    raw: String,
    characters: u64,
    usage: Option<u64>,
    is_usage_chunk: bool,
}

fn parts() -> impl Strategy<Value = Vec<Part>> {
    let part = |raw: String| Part { raw, characters: 0, usage: None, is_usage_chunk: false };
    let text = "[a-z\"\\\\\né😀]{0,9}".prop_map(move |text| {
        let json = serde_json::json!({
            "id": "chatcmpl-1",
            "choices": [{"index": 0, "delta": {"content": text, "role": "assistant"}}],
            "usage": null,
        });
        let characters = text.chars().count() as u64;
        Part { characters, ..part(format!("data: {json}")) }
    });
    let usage = (0..9_u64, any::<bool>()).prop_map(move |(total, with_choice)| {
        let choices = if with_choice { r#"[{"delta":{}}]"# } else { "[ ]" };
        let raw = format!(r#"data:{{"choices":{choices},"usage":{{"total_tokens":{total}}}}}"#);
        Part { usage: Some(total), is_usage_chunk: !with_choice, ..part(raw) }
    });
    let other = prop::sample::select(vec![
        "data: {\"choices\":[],\"usage\":null}",
        "data: {\"choices\":[],\"prompt_filter_results\":[]}",
        ": ping",
        "event: x~id: 7~data: not json",
        "data: {~data: \"choices\":[{\"delta\":{}}]}",
        "retry: 10",
        "",
    ])
    .prop_map(move |raw| part(raw.to_owned()));
    let line_end = prop::sample::select(vec!["\n", "\r\n", "\r"]);
    (prop::collection::vec(prop_oneof![4 => text, 2 => usage, 2 => other], 0..10), line_end)
        .prop_map(|(parts, end)| {
            let finished = |part: Part| Part {
                raw: format!("{}{end}{end}", part.raw.replace('~', end)),
                ..part
            };
            parts.into_iter().map(finished).collect()
        })
}

fn bytes_of<'a>(parts: impl IntoIterator<Item = &'a Part>) -> Vec<u8> {
    parts.into_iter().flat_map(|part| part.raw.bytes()).collect()
}

proptest! {
    #[test]
    fn any_split_sends_the_same_and_counts_the_same(
        parts in parts(), cuts in cuts(), strip in any::<bool>(),
    ) {
        let stream = bytes_of(&parts);
        let expected = bytes_of(parts.iter().filter(|part| !(strip && part.is_usage_chunk)));
        let characters: u64 = parts.iter().map(|part| part.characters).sum();
        // A zero takes the place of nothing.
        let usages = || parts.iter().rev().filter_map(|part| part.usage);
        let reported = usages().find(|tokens| *tokens > 0).or(usages().next());
        let (tokens, source) = match reported {
            Some(total) => (total, TokensSource::Reported),
            None if characters > 0 => (characters.div_ceil(4), TokensSource::Estimated),
            None => (0, TokensSource::None),
        };
        for chunks in [chunks(&stream, &cuts), stream.chunks(1).collect(), vec![&stream]] {
            let mut meter = meter(Format::EventStream, Protocol::Chat, strip);
            let mut out = sent(&mut meter, chunks);
            prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&expected));
            let output_seen = characters > 0;
            prop_assert_eq!(meter.tally(), Tally { tokens, source, output_seen });
            out.extend(meter.finish().0);
            prop_assert!(out.starts_with(&expected));
        }
    }

    #[test]
    fn without_stripping_any_bytes_go_out_as_they_came(
        bytes in prop::collection::vec(
            prop::sample::select(b"data: \n\r{}\":,[]x\xEF\xBB\xBF".to_vec()), 0..80
        ),
        cuts in cuts(),
    ) {
        for protocol in ALL_PROTOCOLS {
            for format in [Format::Json, Format::EventStream, Format::Page, Format::Opaque] {
                let mut meter = meter(format, protocol, false);
                let mut out = sent(&mut meter, chunks(&bytes, &cuts));
                prop_assert!(bytes.starts_with(&out));
                let (rest, lack) = meter.finish();
                out.extend(rest);
                prop_assert!(lack.is_some() || out == bytes);
            }
        }
    }

    #[test]
    fn only_whole_events_are_sent(parts in parts(), cuts in cuts(), end in any::<Index>()) {
        let stream = bytes_of(&parts);
        let stream = &stream[..end.index(stream.len() + 1)];
        let out = sent(&mut chat(), chunks(stream, &cuts));
        // Nothing is in the middle of an event, and no event is kept back.
        prop_assert_eq!(dispatched(&out), dispatched(stream));
        let with_ping = [&out, PING, b"data: x\n\n"].concat();
        let last = dispatched(&with_ping).pop();
        prop_assert_eq!(last, Some((String::new(), "x".to_owned())));
    }

    #[test]
    fn a_break_at_any_byte_ends_in_the_error_and_done(
        parts in parts(), cuts in cuts(), end in any::<Index>(), strip in any::<bool>(),
    ) {
        let stream = bytes_of(&parts);
        let stream = &stream[..end.index(stream.len() + 1)];
        let mut meter = meter(Format::EventStream, Protocol::Chat, strip);
        let mut out = sent(&mut meter, chunks(stream, &cuts));
        let events = dispatched(&out);
        prop_assert_eq!(broken(&mut meter), ERROR_AND_DONE);
        out.extend_from_slice(ERROR_AND_DONE.as_bytes());
        let all = dispatched(&out);
        let last = dispatched(ERROR_AND_DONE.as_bytes());
        prop_assert_eq!(last.len(), 2);
        prop_assert_eq!(all, [events, last].concat());
    }
}
