use super::*;

mod ends;
mod properties;

const ERROR_AND_DONE: &str = concat!(
    r#"data: {"error":{"message":"The connection to the model broke off in the middle of this "#,
    r#"answer, so it is incomplete. Please send the request again.","type":"server_error","#,
    r#""param":null,"code":"upstream_interrupted"}}"#,
    "\n\ndata: [DONE]\n\n"
);

/// A meter of an answer to this endpoint.
fn metered(format: Format, method: &str, path: &str, strip_usage: bool) -> Meter {
    let endpoint = Endpoint::of(method, path);
    Meter::new(Answer { format, endpoint, strip_usage, request_id: "req_1".to_owned() })
}

fn meter(format: Format, protocol: Protocol, strip_usage: bool) -> Meter {
    metered(format, "POST", path_of(protocol), strip_usage)
}

fn path_of(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Chat => "/v1/chat/completions",
        Protocol::Responses => "/v1/responses",
        Protocol::Messages => "/v1/messages",
        Protocol::Media => "/v1/images/generations",
        Protocol::Other => "/v1/rerank",
    }
}

/// What was sent for the end, as text.
fn ended(meter: &mut Meter) -> (String, Option<Cause>) {
    let (rest, cause) = meter.finish();
    (String::from_utf8(rest).unwrap(), cause)
}

fn broken(meter: &mut Meter) -> String {
    String::from_utf8(meter.break_off(Cause::BrokeOff).0).unwrap()
}

fn chat() -> Meter {
    meter(Format::EventStream, Protocol::Chat, false)
}

fn responses() -> Meter {
    meter(Format::EventStream, Protocol::Responses, false)
}

/// What goes out for a stream in these chunks, up to its end.
fn sent<'a>(meter: &mut Meter, chunks: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for chunk in chunks {
        match meter.push(chunk) {
            Output::Unchanged => out.extend_from_slice(chunk),
            Output::Replaced(bytes) => out.extend(bytes),
        }
    }
    out
}

fn tally_of(mut meter: Meter, answer: &str) -> Tally {
    assert_eq!(meter.push(answer.as_bytes()), Output::Unchanged);
    meter.tally()
}

fn count(meter: Meter, answer: &str) -> (u64, TokensSource) {
    let tally = tally_of(meter, answer);
    (tally.tokens, tally.source)
}

#[test]
fn a_whole_event_in_one_chunk_is_not_copied() {
    let chunk = b"data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
    let mut meter = chat();
    assert_eq!(meter.push(chunk), Output::Unchanged);
    assert_eq!(meter.push(&chunk[..20]), Output::Replaced(Vec::new()));
    assert_eq!(meter.push(&chunk[20..]), Output::Replaced(chunk.to_vec()));
    assert_eq!(meter.push(chunk), Output::Unchanged);
    assert_eq!(meter.tally().tokens, 4);
}

#[test]
fn the_usage_chunk_is_taken_out_and_nothing_else() {
    let stream = |usage| {
        format!("data: {{\"choices\":[{{}}],\"usage\":null}}\r\n\r\n{usage}data: [DONE]\r\n\r\n")
    };
    let chunk = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2,\"total_tokens\":3}}\r\n\r\n";
    for cut in 0..stream(chunk).len() {
        let mut meter = meter(Format::EventStream, Protocol::Chat, true);
        let whole = stream(chunk);
        let (one, other) = whole.as_bytes().split_at(cut);
        assert_eq!(sent(&mut meter, [one, other]), stream("").as_bytes());
        assert_eq!(meter.finish(), (Vec::new(), None));
        let expected = Tally { tokens: 3, source: TokensSource::Reported, output_seen: false };
        assert_eq!(meter.tally(), expected);
    }
    for kept in [
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[]}\n\n",
        "data: {\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":null,\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[],\"usage\":{},\"error\":{\"message\":\"x\"}}\n\n",
        "event: x\n\n",
    ] {
        let mut meter = meter(Format::EventStream, Protocol::Chat, true);
        assert_eq!(meter.push(kept.as_bytes()), Output::Unchanged, "{kept}");
    }
}

#[test]
fn a_usage_chunk_without_its_blank_line_is_still_read_and_taken_out() {
    let rest = b"data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}";
    for (strip, left) in [(true, b"".as_slice()), (false, rest)] {
        let mut meter = meter(Format::EventStream, Protocol::Chat, strip);
        meter.push(b"data: {\"choices\":[{\"finish_reason\":\"stop\"}]}\n\n");
        assert_eq!(meter.push(rest), Output::Replaced(Vec::new()));
        assert_eq!(meter.tally().source, TokensSource::None);
        assert_eq!(meter.finish(), (left.to_vec(), None));
        assert_eq!((meter.tally().tokens, meter.tally().source), (3, TokensSource::Reported));
    }
}

#[test]
fn output_is_any_delta_that_says_something() {
    let delta =
        |delta: &str| count(chat(), &format!("data: {{\"choices\":[{{\"delta\":{delta}}}]}}\n\n"));
    for two_tokens in [
        r#"{"content":"héllo 😀!"}"#,
        r#"{"refusal":"12345"}"#,
        r#"{"reasoning_content":"12345"}"#,
        r#"{"reasoning":"12345","role":"assistant"}"#,
        r#"{"thinking_blocks":[{"type":"thinking","thinking":"12345"}]}"#,
        r#"{"content":[{"type":"text","text":"12345"}]}"#,
        r#"{"anything":["123","45"]}"#,
        r#"{"tool_calls":[{"index":0,"id":"call_1","type":"function","function":{"name":"f","arguments":"{\"a\":1}"}}]}"#,
        r#"{"audio":{"id":"audio_1","transcript":"12345","data":"1"}}"#,
    ] {
        assert_eq!(delta(two_tokens), (2, TokensSource::Estimated), "{two_tokens}");
    }
    for nothing in [
        r#"{"role":"assistant","content":""}"#,
        r#"{"content":null}"#,
        r#"{"content":7}"#,
        r#"{"tool_calls":[]}"#,
        r#"{"role":"assistant","finish_reason":"stop","native_finish_reason":"stop"}"#,
    ] {
        assert_eq!(delta(nothing), (0, TokensSource::None), "{nothing}");
    }
    let old = "data: {\"choices\":[{\"text\":\"12345\",\"logprobs\":{\"tokens\":[\"x\"]}}]}\n\n";
    assert_eq!(count(chat(), old), (2, TokensSource::Estimated));
    let beside = "data: {\"id\":\"c\",\"provider\":\"x\",\"system_fingerprint\":\"f\",\"warning\":\"w\"}\n\n";
    assert_eq!(count(chat(), beside), (0, TokensSource::None));
}

#[test]
fn bytes_are_output_and_no_text() {
    for (protocol, event) in [
        (Protocol::Media, r#"{"type":"image_generation.partial_image","b64_json":"aGVsbG8="}"#),
        (Protocol::Media, r#"{"type":"speech.audio.delta","audio":"aGVsbG8="}"#),
        (
            Protocol::Messages,
            r#"{"type":"content_block_delta","delta":{"type":"signature_delta","signature":"eHl6"}}"#,
        ),
    ] {
        let tally =
            tally_of(meter(Format::EventStream, protocol, false), &format!("data: {event}\n\n"));
        assert_eq!((tally.tokens, tally.output_seen), (0, true), "{event}");
    }
}

const RESPONSES: &str = concat!(
    "event: response.created\n",
    r#"data: {"type":"response.created","sequence_number":0,"response":{"id":"resp_1","usage":null}}"#,
    "\n\nevent: response.output_text.delta\n",
    r#"data: {"type":"response.output_text.delta","sequence_number":1,"delta":"hello"}"#,
    "\n\nevent: response.output_text.done\n",
    r#"data: {"type":"response.output_text.done","sequence_number":2,"text":"hello"}"#,
    "\n\n"
);

#[test]
fn a_response_is_counted_by_its_deltas_until_it_reports() {
    assert_eq!(count(responses(), RESPONSES), (2, TokensSource::Estimated));
    for last in ["completed", "incomplete", "failed"] {
        let stream = format!(
            "{RESPONSES}event: response.{last}\ndata: {{\"type\":\"response.{last}\",\
             \"response\":{{\"id\":\"resp_1\",\"usage\":{{\"total_tokens\":9}}}}}}\n\n"
        );
        let expected = Tally { tokens: 9, source: TokensSource::Reported, output_seen: true };
        assert_eq!(tally_of(responses(), &stream), expected);
        let mut meter = responses();
        meter.push(stream.as_bytes());
        let lacks = (last == "failed").then_some(Cause::Failed);
        assert_eq!((meter.is_over(), meter.lack()), (true, lacks));
        assert_eq!(meter.break_off(Cause::BrokeOff), (Vec::new(), lacks));
    }
}

#[test]
fn the_id_of_a_response_is_known_before_its_event_is_sent() {
    let mut meter = responses();
    for byte in RESPONSES.as_bytes().chunks(1) {
        let known = meter.response_id().is_some();
        if let Output::Replaced(out) = meter.push(byte)
            && String::from_utf8(out).unwrap().contains("resp_1")
        {
            assert!(!known);
            assert_eq!(meter.response_id(), Some("resp_1"));
        }
    }
    assert_eq!(meter.response_id(), Some("resp_1"));

    let mut json = self::meter(Format::Json, Protocol::Responses, false);
    json.push(br#"{"id":"resp_2"#);
    assert_eq!(json.response_id(), None);
    json.push(br#"","object":"#);
    assert_eq!(json.response_id(), Some("resp_2"));
    let mut chat = self::meter(Format::Json, Protocol::Chat, false);
    chat.push(br#"{"id":"chatcmpl-1"}"#);
    assert_eq!(chat.response_id(), None);
}

#[test]
fn a_broken_response_fails_in_its_own_manner() {
    let message = "The connection to the model broke off in the middle of this answer, so it is \
                   incomplete. Please send the request again.";
    let failed = |number: &str, id: &str| {
        format!(
            "event: response.failed\ndata: {{\"type\":\"response.failed\",{number}\
             \"response\":{{\"id\":{id},\"object\":\"response\",\"status\":\"failed\",\
             \"error\":{{\"code\":\"upstream_interrupted\",\"message\":\"{message}\"}}}}}}\n\n"
        )
    };
    let mut meter = responses();
    assert_eq!(broken(&mut meter), failed("", "null"));
    let mut meter = responses();
    meter.push(RESPONSES.as_bytes());
    meter.push(b"event: x\ndata: {\"type\":\"without a number\"}\n\n");
    meter.push(b"event: response.output_text.delta\ndata: {\"type\":");
    let expected = failed("\"sequence_number\":3,", "\"resp_1\"");
    assert_eq!(broken(&mut meter), expected);
}

#[test]
fn a_ping_has_its_place_between_events_only() {
    let mut meter = chat();
    assert_eq!(meter.ping(), Some(b": ping\n".as_slice()));
    meter.push(b"data: {\"cho");
    assert_eq!(meter.ping(), Some(PING), "the half event has not been sent");
    let large = vec![b'x'; crate::sse::MAX_EVENT_BYTES + 1];
    let out = sent(&mut meter, [large.as_slice()]);
    assert_eq!(out.len(), large.len() + 11);
    assert_eq!(meter.ping(), None);
    assert_eq!(broken(&mut meter), format!("\n\n{ERROR_AND_DONE}"));
    assert_eq!(self::meter(Format::Json, Protocol::Other, false).ping(), None);
}

#[test]
fn the_other_half_of_a_line_end_behind_a_ping_would_end_an_event() {
    let mut meter = chat();
    assert_eq!(meter.push(b"id: 7\rdata: 1\r\r"), Output::Unchanged);
    assert_eq!(meter.ping(), Some(PING));
    assert_eq!(meter.push(b"\ndata: 2\r\r"), Output::Replaced(b"data: 2\r\r".to_vec()));
}

#[test]
fn a_byte_order_mark_behind_a_ping_would_spoil_an_event() {
    let stream = b"\xEF\xBB\xBFdata: 1\n\n";
    assert_eq!(sent(&mut chat(), stream.chunks(2)), stream);
    let mut meter = chat();
    meter.ping();
    assert_eq!(meter.push(stream), Output::Replaced(b"data: 1\n\n".to_vec()));
    let mut meter = chat();
    meter.ping();
    assert_eq!(sent(&mut meter, stream.chunks(2)), b"data: 1\n\n");
}

#[test]
fn usage_is_the_total_or_the_sum_of_its_parts() {
    let json = |usage: &str| {
        let body =
            format!(r#"{{"choices":[{{"message":{{"content":"hello"}}}}],"usage":{usage}}}"#);
        count(meter(Format::Json, Protocol::Chat, false), &body)
    };
    let event = |usage: &str| {
        let text = "data: {\"choices\":[{\"delta\":{\"content\":\"hello\"}}]}\n\n";
        count(chat(), &format!("{text}data: {{\"choices\":[],\"usage\":{usage}}}\n\n"))
    };
    for (usage, tokens) in [
        (r#"{"total_tokens":7}"#, 7),
        (r#"{"total_tokens":0}"#, 0),
        (r#"{"total_tokens":7,"prompt_tokens":1,"completion_tokens":1}"#, 7),
        (r#"{"prompt_tokens":1,"completion_tokens":4}"#, 5),
        (r#"{"input_tokens":2,"output_tokens":4}"#, 6),
        (r#"{"input_tokens":2}"#, 2),
        (r#"{"total_tokens":null,"output_tokens":4}"#, 4),
        (r#"{"total_tokens":-7,"input_tokens":-1,"output_tokens":4}"#, 4),
        (r#"{"total_tokens":0,"prompt_tokens":3,"completion_tokens":4}"#, 7),
        (r#"{"total_tokens":0,"prompt_tokens":0,"completion_tokens":0,"input_tokens":3}"#, 3),
        (
            r#"{"input_tokens":2,"cache_creation_input_tokens":10,"cache_read_input_tokens":20,"output_tokens":4}"#,
            36,
        ),
        (r#"{"prompt_tokens":30,"completion_tokens":4,"cache_read_input_tokens":20}"#, 34),
        (r#"{"prompt_tokens":3,"prompt_tokens_details":{"cached_tokens":2,"total_tokens":9}}"#, 3),
        (r#"{"total_tokens":1000000000000}"#, 1_000_000_000_000),
    ] {
        assert_eq!(json(usage), (tokens, TokensSource::Reported), "{usage}");
        assert_eq!(event(usage), (tokens, TokensSource::Reported), "{usage}");
    }
    for usage in [
        "null",
        "{}",
        "[7,7,7,7,7]",
        "7",
        "[7]",
        "\"7\"",
        r#"{"total_tokens":-1}"#,
        r#"{"total_tokens":1.5}"#,
        r#"{"total_tokens":"7"}"#,
        r#"{"total_tokens":1e3}"#,
        r#"{"total_tokens":[7]}"#,
        r#"{"total_tokens":1000000000001}"#,
        r#"{"total_tokens":18446744073709551616}"#,
        r#"{"total_tokens":1e999}"#,
    ] {
        assert_eq!(json(usage), (2, TokensSource::Estimated), "{usage}");
        assert_eq!(event(usage), (2, TokensSource::Estimated), "{usage}");
    }
}

#[test]
fn the_numbers_of_a_message_come_in_two_events() {
    let stream = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"content\":[],",
        "\"usage\":{\"input_tokens\":600,\"cache_read_input_tokens\":300,\"output_tokens\":1}}}\n\n",
        "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
        "\"usage\":{\"input_tokens\":0,\"output_tokens\":12}}\n\n",
    );
    let messages = meter(Format::EventStream, Protocol::Messages, false);
    assert_eq!(count(messages, stream), (912, TokensSource::Reported));
}

#[test]
fn usage_is_read_in_passing_however_large_its_event_is() {
    let text = "x".repeat(9 << 20);
    let event = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{text}\"}}}}],\"usage\":{{\"total_tokens\":7}}}}\n\n"
    );
    for size in [event.len(), 65_536, 1_000] {
        let mut meter = chat();
        let mut most = 0;
        for chunk in event.as_bytes().chunks(size) {
            meter.push(chunk);
            let Reader::EventStream(events) = &meter.reader else { panic!("a stream") };
            most = most.max(events.splitter.held());
        }
        assert_eq!((meter.tally().tokens, meter.tally().source), (7, TokensSource::Reported));
        assert!(most <= crate::sse::MAX_EVENT_BYTES, "{most} bytes were held");
    }
}

#[test]
fn the_last_usage_that_can_be_believed_holds() {
    let zeros = concat!(
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4,\"total_tokens\":7}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n",
    );
    assert_eq!(count(chat(), zeros), (7, TokensSource::Reported));
    let stream = concat!(
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":3}}\n\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":5}}\n\n",
        "data: {\"choices\":[],\"usage\":null}\n\n",
        "data: {\"choices\":[],\"usage\":{\"total_tokens\":-5}}\n\n",
    );
    assert_eq!(count(chat(), stream), (5, TokensSource::Reported));
}

#[test]
fn a_json_body_is_tallied_at_any_moment() {
    let body = br#"{"id":"x","choices":[{"message":{"content":"hello","refusal":null}}],"usage":{"total_tokens":12}}"#;
    let mut meter = meter(Format::Json, Protocol::Chat, false);
    assert_eq!(meter.tally().source, TokensSource::None);
    meter.push(&body[..60]);
    assert_eq!((meter.tally().tokens, meter.tally().source), (2, TokensSource::Estimated));
    assert_eq!(meter.push(&body[60..]), Output::Unchanged);
    assert_eq!((meter.tally().tokens, meter.tally().source), (12, TokensSource::Reported));
    assert_eq!(meter.finish(), (Vec::new(), None));
}

#[test]
fn hostile_numbers_and_depth_neither_panic_nor_overflow() {
    let deep = "[".repeat(100_000);
    for data in [
        format!("{{\"choices\":{deep}"),
        format!("{{\"choices\":{deep}{}}}", "]".repeat(100_000)),
        "{\"sequence_number\":18446744073709551615}".to_owned(),
        "{\"sequence_number\":-1,\"type\":7,\"delta\":[],\"response\":[],\"usage\":[],\"choices\":{}}".to_owned(),
        "[1,2,3]".to_owned(),
        "{\"a\":1,\"a\":1}".to_owned(),
        "{\"usage\":1,\"usage\":1}".to_owned(),
    ] {
        let mut meter = responses();
        meter.push(format!("data: {data}\n\n").as_bytes());
        assert_eq!(meter.tally().source, TokensSource::None);
        assert!(!broken(&mut meter).is_empty());
    }
}

#[test]
fn the_words_for_sources_are_those_of_the_rows() {
    for (source, word) in [
        (TokensSource::Reported, "reported"),
        (TokensSource::Estimated, "estimated"),
        (TokensSource::None, "none"),
    ] {
        assert_eq!(source.as_str(), word);
        assert_eq!(serde_json::to_string(&source).unwrap(), format!("\"{word}\""));
    }
}
