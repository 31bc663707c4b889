//! Whether an answer was one, and whole.

use super::*;

fn stream(protocol: Protocol) -> Meter {
    meter(Format::EventStream, protocol, false)
}

/// What an answer lacks that is this whole body.
fn lack_of(format: Format, protocol: Protocol, body: &str) -> Option<Cause> {
    let mut meter = meter(format, protocol, false);
    meter.push(body.as_bytes());
    let (_, cause) = meter.finish();
    assert!(cause.is_none() || !meter.is_proven() || format == Format::EventStream);
    cause
}

const TEXT: &str =
    "data: {\"choices\":[{\"delta\":{\"content\":\"hi\"},\"finish_reason\":null}]}\n\n";
const MESSAGE: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"content\":[]}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
);

#[test]
fn each_protocol_has_its_end() {
    for (protocol, begin, end) in [
        (Protocol::Chat, TEXT, "data: [DONE]\n\n"),
        (
            Protocol::Chat,
            TEXT,
            "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
        ),
        (
            Protocol::Responses,
            RESPONSES,
            "data: {\"type\":\"response.completed\",\"response\":{}}\n\n",
        ),
        (Protocol::Responses, RESPONSES, "event: response.incomplete\ndata: {\"response\":{}}\n\n"),
        (Protocol::Messages, MESSAGE, "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        (
            Protocol::Media,
            "",
            "data: {\"type\":\"image_generation.completed\",\"b64_json\":\"x\"}\n\n",
        ),
        (Protocol::Media, "", "data: {\"type\":\"transcript.text.done\",\"text\":\"x\"}\n\n"),
        (Protocol::Other, "", "data: {\"anything\":1}\n\n"),
    ] {
        let mut meter = stream(protocol);
        meter.push(begin.as_bytes());
        if !begin.is_empty() {
            assert_eq!(meter.lack(), Some(Cause::EndedEarly), "{begin}");
        }
        meter.push(end.as_bytes());
        assert_eq!(meter.lack(), None, "{end}");
        assert!(meter.is_proven());
        // Of the others nobody knows the end.
        if protocol != Protocol::Other {
            let broken = meter.break_off(Cause::BrokeOff);
            assert_eq!(broken, (Vec::new(), None), "a break after the end is none");
        }
        assert_eq!(meter.finish(), (Vec::new(), None), "{end}");
    }
}

#[test]
fn an_end_in_the_middle_is_told_in_the_protocols_own_shape() {
    let message = "The model's service ended this answer before it was complete. Please send the request again.";
    let mut meter = stream(Protocol::Chat);
    meter.push(TEXT.as_bytes());
    let expected = format!(
        "data: {{\"error\":{{\"message\":\"{message}\",\"type\":\"server_error\",\"param\":null,\
         \"code\":\"upstream_incomplete\"}}}}\n\ndata: [DONE]\n\n"
    );
    assert_eq!(ended(&mut meter), (expected, Some(Cause::EndedEarly)));
    assert!(meter.tally().output_seen && meter.is_proven());

    let mut meter = stream(Protocol::Messages);
    meter.push(MESSAGE.as_bytes());
    let expected = format!(
        "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"api_error\",\
         \"message\":\"{message}\",\"code\":\"upstream_incomplete\"}},\"request_id\":\"req_1\"}}\n\n"
    );
    assert_eq!(ended(&mut meter), (expected, Some(Cause::EndedEarly)));

    let mut meter = stream(Protocol::Responses);
    meter.push(RESPONSES.as_bytes());
    let expected = format!(
        "event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":3,\
         \"response\":{{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\
         \"error\":{{\"code\":\"upstream_incomplete\",\"message\":\"{message}\"}}}}}}\n\n"
    );
    assert_eq!(ended(&mut meter), (expected, Some(Cause::EndedEarly)));
}

#[test]
fn half_an_event_at_an_early_end_is_dropped_and_a_whole_one_kept() {
    let half = "data: {\"choices\":[{\"delta\":{\"content\":\"hi";
    let whole = TEXT.trim_end();
    for (rest, kept) in [(half, ""), (whole, TEXT)] {
        let mut meter = stream(Protocol::Chat);
        meter.push(TEXT.as_bytes());
        meter.push(rest.as_bytes());
        let (sent, cause) = ended(&mut meter);
        assert_eq!(cause, Some(Cause::EndedEarly));
        assert!(sent.starts_with(&format!("{kept}data: {{\"error\"")), "{sent}");
    }
}

#[test]
fn an_error_is_one_in_whatever_words() {
    let protocols = [Protocol::Chat, Protocol::Responses, Protocol::Messages, Protocol::Other];
    for error in [
        r#"{"error":{"message":"Upstream error: ResourceExhausted","code":502}}"#,
        r#"{"error":"x"}"#,
        r#"{"error":true}"#,
        r#"{"errors":[{"message":"x"}]}"#,
        r#"[{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT"}}]"#,
        r#"{"code":401,"msg":"invalid key"}"#,
        r#"{"code":"401","msg":"invalid key"}"#,
        r#"{"code":429,"message":"slow","data":null}"#,
        r#"{"code":500,"data":{},"success":false}"#,
        r#"{"success":false,"message":"no"}"#,
        r#"{"status":"error","message":"no"}"#,
        r#"{"status":503}"#,
        r#"{"object":"error","message":"no","code":40303}"#,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"x"}}"#,
        r#"{"base_resp":{"status_code":1004,"status_msg":"login fail"}}"#,
        r#"{"id":"x","choices":[],"error":{"message":"x"}}"#,
    ] {
        for protocol in protocols {
            assert_eq!(lack_of(Format::Json, protocol, error), Some(Cause::Failed), "{error}");
            let tally = tally_of(meter(Format::Json, protocol, false), error);
            assert_eq!((tally.tokens, tally.output_seen), (0, false), "{error}");
        }
        let event = format!("data: {error}\n\n");
        assert_eq!(
            lack_of(Format::EventStream, Protocol::Chat, &event),
            Some(Cause::Failed),
            "{error}"
        );
    }
    let choice = r#"{"choices":[{"error":{"code":502},"finish_reason":"error"}]}"#;
    assert_eq!(lack_of(Format::Json, Protocol::Chat, choice), Some(Cause::Failed));
}

#[test]
fn an_answer_is_no_error_for_what_it_carries_beside() {
    for (protocol, answer) in [
        (Protocol::Chat, r#"{"choices":[{"message":{"content":"hi","error":null}}],"error":null}"#),
        (Protocol::Chat, r#"{"code":0,"choices":[{"message":{"content":"hi"}}]}"#),
        (Protocol::Chat, r#"{"code":40300,"choices":[{"message":{"content":"hi"}}]}"#),
        (
            Protocol::Responses,
            r#"{"id":"r","status":"completed","error":null,"output":[],"incomplete_details":null}"#,
        ),
        (Protocol::Responses, r#"{"id":"r","status":"queued","output":[]}"#),
        (Protocol::Messages, r#"{"type":"message","content":[{"type":"text","text":"error"}]}"#),
        (Protocol::Other, r#"{"results":[{"index":0,"relevance_score":0.5}],"code":500}"#),
        (Protocol::Other, r#"{"error":{},"data":[[0.1]]}"#),
        (Protocol::Other, r#"{"error":[],"errors":"","success":true,"text":"x"}"#),
    ] {
        assert_eq!(lack_of(Format::Json, protocol, answer), None, "{answer}");
    }
    let events = "data: {\"error\":null,\"choices\":[]}\n\ndata: [\"error\",7]\n\ndata: [DONE]\n\n";
    assert_eq!(lack_of(Format::EventStream, Protocol::Chat, events), None);
}

#[test]
fn nothing_is_no_answer() {
    for protocol in [Protocol::Chat, Protocol::Responses, Protocol::Messages] {
        for (format, body, cause) in [
            (Format::Json, "", Cause::Empty),
            (Format::Json, " \n", Cause::Empty),
            (Format::Json, "null", Cause::Failed),
            (Format::Json, "Internal error", Cause::Failed),
            (Format::Json, "{\"choices\":[{\"message\":{\"content\":\"hel", Cause::EndedEarly),
            (Format::Opaque, "", Cause::Empty),
            (Format::Opaque, "upstream connect error", Cause::Failed),
            (Format::Page, "<html>Sign in to the hotel's network</html>", Cause::Failed),
            (Format::EventStream, "", Cause::Empty),
            (Format::EventStream, ": ping\n\n", Cause::Empty),
            (Format::EventStream, "data: [DONE]\n\n", Cause::Empty),
            (Format::EventStream, "{\"error\":\"no stream\"}\n\n", Cause::Empty),
        ] {
            assert_eq!(lack_of(format, protocol, body), Some(cause), "{body}");
        }
    }
    let (said, cause) = ended(&mut stream(Protocol::Chat));
    assert_eq!(cause, Some(Cause::Empty));
    assert!(said.contains("\"code\":\"upstream_error\""), "{said}");
    let mut speech = metered(Format::Opaque, "POST", "/v1/audio/speech", false);
    assert_eq!(speech.lack(), Some(Cause::Empty));
    speech.push(b"\xFF\xFB\x90");
    assert!(speech.lack().is_none() && speech.is_proven() && speech.tally().output_seen);
}

#[test]
fn what_runs_no_model_may_be_empty_or_tell_of_an_error() {
    for (path, format, body) in [
        ("/v1/files/f/content", Format::Opaque, ""),
        ("/v1/models", Format::Json, ""),
        ("/v1/responses/r", Format::Json, r#"{"id":"r","status":"failed","error":{"code":"x"}}"#),
        ("/v1/responses/r", Format::EventStream, ""),
        ("/v1/whatever", Format::Page, "<html>"),
    ] {
        let mut meter = metered(format, "GET", path, false);
        meter.push(body.as_bytes());
        assert_eq!(meter.finish(), (Vec::new(), None), "{path}");
    }
    let mut models = metered(Format::Json, "GET", "/v1/models", false);
    models.push(br#"{"code":401,"msg":"invalid key"}"#);
    assert_eq!(models.lack(), Some(Cause::Failed));
}

#[test]
fn an_error_event_is_noticed_and_whether_output_came_before_it() {
    for error in [
        "data: {\"error\":{\"message\":\"x\",\"type\":\"server_error\"}}\n\n",
        "data: {\"error\":\"x\"}\n\n",
        "event: error\ndata: {\"message\":\"x\"}\n\n",
        "event: error\ndata: x\n\n",
        "data: {\"type\":\"error\",\"message\":\"x\"}\n\n",
        "event: response.failed\ndata: {\"response\":{}}\n\n",
        "data: {\"code\":429,\"msg\":\"slow\"}\n\n",
    ] {
        for (stream, output) in [
            (format!("{TEXT}{error}data: [DONE]\n\n"), true),
            (format!("{error}{TEXT}"), false),
            (error.to_owned(), false),
        ] {
            let mut meter = chat();
            meter.push(stream.as_bytes());
            assert_eq!(meter.finish(), (Vec::new(), Some(Cause::Failed)), "{stream}");
            assert_eq!(meter.tally().output_seen, output, "{stream}");
        }
    }
}

#[test]
fn an_error_that_a_protocols_clients_dont_understand_is_said_again() {
    for error in [
        "event: error\ndata: {\"type\":\"error\",\"code\":\"overloaded\",\"message\":\"Try later.\",\"sequence_number\":3}\n\n",
        "data: {\"sequence_number\":3,\"error\":{\"type\":\"server_error\",\"message\":\"Try later.\",\"code\":\"overloaded\"}}\n\n",
    ] {
        let mut meter = responses();
        meter.push(RESPONSES.as_bytes());
        meter.push(error.as_bytes());
        let expected = "event: response.failed\ndata: {\"type\":\"response.failed\",\"sequence_number\":4,\
             \"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"failed\",\
             \"error\":{\"code\":\"overloaded\",\"message\":\"Try later.\"}}}\n\n";
        assert_eq!(ended(&mut meter), (expected.to_owned(), Some(Cause::Failed)), "{error}");
    }
    let own = "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"x\"}}\n\n";
    let others = "data: {\"error\":{\"message\":\"Try later.\",\"code\":429}}\n\n";
    for (error, said_again) in [(own, false), (others, true)] {
        let mut meter = stream(Protocol::Messages);
        meter.push(error.as_bytes());
        let (said, cause) = ended(&mut meter);
        assert_eq!(cause, Some(Cause::Failed));
        assert_eq!(
            said.contains("event: error") && said.contains("\"Try later.\""),
            said_again,
            "{said}"
        );
    }
}

#[test]
fn a_silence_is_told_with_its_own_code() {
    let mut meter = chat();
    meter.push(TEXT.as_bytes());
    let (said, cause) = meter.break_off(Cause::Silent);
    assert_eq!(cause, Some(Cause::Silent));
    assert!(String::from_utf8(said).unwrap().contains("\"code\":\"upstream_timeout\""));
    assert_eq!((Cause::Silent.status(), Cause::BrokeOff.status()), (504, 502));
    for format in [Format::Json, Format::Opaque] {
        let mut meter = self::meter(format, Protocol::Chat, false);
        meter.push(b"{");
        assert_eq!(meter.break_off(Cause::BrokeOff), (Vec::new(), Some(Cause::BrokeOff)));
    }
}

#[test]
fn an_answer_that_comes_at_once_is_output_too() {
    let stream = "data: {\"type\":\"response.completed\",\"response\":{\"id\":\"r\",\"instructions\":\"long\",\
        \"output\":[{\"type\":\"message\",\"content\":[{\"type\":\"output_text\",\"text\":\"hello\"}]}]}}\n\n";
    let tally = tally_of(responses(), stream);
    assert_eq!((tally.tokens, tally.output_seen), (2, true));
    let twice = format!("{RESPONSES}{stream}");
    assert_eq!(tally_of(responses(), &twice).tokens, 2, "what is said again is counted once");
    let created = "data: {\"type\":\"response.created\",\"response\":{\"instructions\":\"long\",\"output\":[]}}\n\n";
    assert!(!tally_of(responses(), created).output_seen);
}
