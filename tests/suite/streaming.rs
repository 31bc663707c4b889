//! Streams: live, counted, and honest about their end.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_tests::script::{chat_chunk, chat_request, usage_chunk};
use gateway_tests::{Script, Seen};
use reqwest::Response;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        each_event_comes_when_it_was_sent,
        events_come_byte_for_byte,
        usage_is_asked_for_and_taken_out_again,
        usage_that_was_asked_for_stays,
        other_fields_of_a_streamed_request_stay_as_they_are,
        a_stream_without_usage_is_estimated,
        an_answer_without_usage_is_estimated,
        usage_of_a_whole_answer_is_counted,
        usage_of_a_responses_stream_is_counted,
        usage_split_over_chunks_is_counted,
        what_has_no_tokens_says_so,
        an_error_event_inside_a_success_is_a_502_row,
        a_stream_that_breaks_says_so,
        a_stream_that_ends_too_early_says_so,
        a_responses_stream_that_breaks_says_so_in_its_own_way,
        an_answer_that_breaks_is_not_passed_off_as_whole,
    ];
    tests.extend(tests![Patient: silence_is_filled_with_pings]);
    tests
}

async fn each_event_comes_when_it_was_sent() {
    let pair = shared::open().await;
    let texts = ["one", "two", "three", "four", "five"];
    // The upstream says a word only once the client has the word before: nothing is held back.
    let gate = Arc::new(Semaphore::new(1));
    let script = texts.iter().fold(Script::new().event_stream(), |script, text| {
        script.gate(&gate).event(&chat_chunk(text))
    });
    let route = pair.upstream.route(script.done());
    let request =
        pair.gateway.post(&shared::user("live"), &route.chat(), &chat_request("hi", true));
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert!(response.headers()["content-type"].to_str().unwrap().starts_with("text/event-stream"));
    let mut stream = response.bytes_stream();
    let mut text = String::new();
    for word in texts {
        let event = format!("data: {}\n\n", chat_chunk(word));
        while !text.ends_with(&event) {
            let piece = timeout(Duration::from_secs(30), stream.next()).await;
            let piece = piece.unwrap_or_else(|_| panic!("{word} is held back"));
            text.push_str(str::from_utf8(&piece.unwrap().unwrap()).unwrap());
        }
        gate.add_permits(1);
    }
}

async fn events_come_byte_for_byte() {
    let pair = shared::open().await;
    let pieces = [
        ": a comment\n\n",
        "event: made.up\r\nid: 7\r\nretry: 10\r\ndata: {\"a\": 1 ,\"b\":\"\u{e9}\"}\r\n\r\n",
        "data: first line\ndata: second line\n\n",
        "data:no space\n\n\n",
        "data: {\"split\":",
        "\"over chunks\"}\n",
        "\ndata: {\"type\":\"response.completed\"}\n\n",
        "data: [DONE]\n\n",
        "data: after the end\n\n",
    ];
    let mut script = Script::new().event_stream();
    for piece in pieces {
        script = script.chunk(piece).wait(Duration::from_millis(5));
    }
    let route = pair.upstream.route(script.end());
    for path in ["/v1/chat/completions", "/v1/responses", "/v1/anything"] {
        let user = shared::user("verbatim");
        let body =
            json!({ "model": "m", "stream": true, "stream_options": { "include_usage": true } });
        let passed = answer(pair.gateway.post(&user, &route.path(path), &body)).await;
        passed.is(200);
        assert_eq!(passed.text(), pieces.concat(), "{path}");
    }
}

/// Sends a streamed chat request; what the upstream saw, and what the client was given.
async fn chat(user: &str, script: Script, body: &Value) -> (Seen, String, gateway_tests::Row) {
    let pair = shared::open().await;
    let route = pair.upstream.route(script);
    let passed = answer(pair.gateway.post(user, &route.chat(), body)).await;
    passed.is(200);
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    (route.only(), passed.text(), row)
}

async fn usage_is_asked_for_and_taken_out_again() {
    let script = Script::chat_stream(&["Hel", "lo"], Duration::ZERO, Some(42));
    let (seen, text, row) = chat(&shared::user("usage"), script, &chat_request("hi", true)).await;
    assert_eq!(seen.json()["stream_options"]["include_usage"], true);
    assert_eq!(seen.header("content-length").unwrap(), seen.body.len().to_string());
    let expected =
        format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", chat_chunk("Hel"), chat_chunk("lo"));
    assert_eq!(text, expected);
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (42, "reported"));
    assert_eq!((row.status, row.model.as_deref()), (200, Some("scripted")));
    assert!(row.ttfb_ms.is_some_and(|time| time <= row.latency_ms), "{row:?}");
}

async fn usage_that_was_asked_for_stays() {
    let mut body = chat_request("hi", true);
    body["stream_options"] = json!({ "include_usage": true });
    let script = Script::chat_stream(&["Hello"], Duration::ZERO, Some(42));
    let (seen, text, row) = chat(&shared::user("usage"), script, &body).await;
    assert_eq!(seen.json(), body, "nothing had to be changed");
    assert!(text.contains(&usage_chunk(42).to_string()), "{text}");
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (42, "reported"));
}

async fn other_fields_of_a_streamed_request_stay_as_they_are() {
    let body = json!({
        "model": "m", "stream": true, "n": 1e2, "seed": 9_007_199_254_740_993_u64, "x": "\u{1F600}\\",
        "messages": [{ "role": "user", "content": "\"stream\":false" }],
        "stream_options": { "include_obfuscation": false },
    });
    let script = Script::chat_stream(&["Hello"], Duration::ZERO, Some(5));
    let (seen, _, _) = chat(&shared::user("fields"), script, &body).await;
    let mut expected = body;
    expected["stream_options"]["include_usage"] = json!(true);
    assert_eq!(seen.json(), expected);
}

async fn a_stream_without_usage_is_estimated() {
    // 4 + 5 characters, the first of them outside ASCII: 9 / 4 rounded up is 3.
    let script = Script::chat_stream(&["\u{e9}\u{e9}\u{e9}\u{e9}", "fiver"], Duration::ZERO, None);
    let (_, _, row) = chat(&shared::user("estimate"), script, &chat_request("hi", true)).await;
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (3, "estimated"));
}

async fn an_answer_without_usage_is_estimated() {
    let body =
        json!({ "choices": [{ "message": { "role": "assistant", "content": "123456789" } }] });
    let script = Script::json(200, &body);
    let (_, _, row) = chat(&shared::user("estimate"), script, &chat_request("hi", false)).await;
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (3, "estimated"));
}

async fn usage_of_a_whole_answer_is_counted() {
    let user = shared::user("whole");
    let (_, text, row) = chat(&user, Script::chat("hi", 17), &chat_request("hi", false)).await;
    assert!(text.contains("\"total_tokens\":17"));
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (17, "reported"));
    assert_eq!(row.endpoint, "/v1/chat/completions");
    assert_eq!((row.user_id.as_str(), row.model.as_deref()), (user.as_str(), Some("scripted")));
}

async fn usage_of_a_responses_stream_is_counted() {
    let pair = shared::open().await;
    let event = |kind: &str, body: Value| format!("event: {kind}\ndata: {body}\n\n");
    let usage = json!({ "input_tokens": 5, "output_tokens": 6, "total_tokens": 11 });
    let text = [
        event(
            "response.created",
            json!({ "type": "response.created", "response": { "id": "r", "usage": null } }),
        ),
        event(
            "response.output_text.delta",
            json!({ "type": "response.output_text.delta", "delta": "hi" }),
        ),
        event(
            "response.completed",
            json!({ "type": "response.completed", "response": { "id": "r", "usage": usage } }),
        ),
    ];
    let script = text.iter().fold(Script::new().event_stream(), Script::chunk).end();
    let route = pair.upstream.route(script);
    let body = json!({ "model": "m", "input": "hi", "stream": true });
    let request =
        pair.gateway.post(&shared::user("responses"), &route.path("/v1/responses"), &body);
    let passed = answer(request).await;
    assert_eq!(passed.text(), text.concat());
    assert_eq!(route.only().json(), body, "nothing is added for Responses");
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (11, "reported"));
}

async fn usage_split_over_chunks_is_counted() {
    let whole =
        format!("data: {}\n\ndata: {}\n\ndata: [DONE]\n\n", chat_chunk("\u{e9}"), usage_chunk(42));
    let script = whole.as_bytes().chunks(3).fold(Script::new().event_stream(), Script::chunk).end();
    let (_, text, row) = chat(&shared::user("split"), script, &chat_request("hi", true)).await;
    assert_eq!(text, format!("data: {}\n\ndata: [DONE]\n\n", chat_chunk("\u{e9}")));
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (42, "reported"));
}

async fn what_has_no_tokens_says_so() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::json(200, &json!({ "object": "list", "data": [] })));
    let passed = answer(pair.gateway.get(&shared::user("none"), &route.path("/v1/models"))).await;
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    assert_eq!((row.tokens_est, row.tokens_source.as_str(), row.model), (0, "none", None));
}

async fn an_error_event_inside_a_success_is_a_502_row() {
    let error =
        json!({ "error": { "message": "overloaded", "type": "server_error", "code": "x" } });
    let script = Script::new().event_stream().event(&chat_chunk("Hel")).event(&error).done();
    let (_, text, row) = chat(&shared::user("event"), script, &chat_request("hi", true)).await;
    assert!(text.contains(&error.to_string()), "{text}");
    assert_eq!(row.status, 502);
}

fn last_events(text: &str) -> Vec<&str> {
    text.split("\n\n").filter(|event| !event.trim().is_empty()).collect()
}

async fn a_stream_that_breaks_says_so() {
    for broken in [Script::reset, Script::close] {
        let script = Script::new().event_stream().event(&chat_chunk("Hello you"));
        let script = broken(script.wait(Duration::from_millis(200)));
        let (_, text, row) = chat(&shared::user("broken"), script, &chat_request("hi", true)).await;
        interrupted(&text);
        assert_eq!((row.status, row.error_code.as_deref()), (502, Some("upstream_interrupted")));
        assert_eq!((row.tokens_est, row.tokens_source.as_str()), (3, "estimated"));
    }
}

async fn a_stream_that_ends_too_early_says_so() {
    // In the middle of an event, so that what the gateway adds must not run into it.
    let script = Script::new().event_stream().event(&chat_chunk("Hello you"));
    let script = script.chunk("data: {\"choi").wait(Duration::from_millis(200)).close();
    let (_, text, row) = chat(&shared::user("early"), script, &chat_request("hi", true)).await;
    interrupted(&text);
    assert_eq!((row.status, row.error_code.as_deref()), (502, Some("upstream_interrupted")));
}

fn interrupted(text: &str) {
    let events = last_events(text);
    assert_eq!(events.last(), Some(&"data: [DONE]"), "{text}");
    let error = events[events.len() - 2].strip_prefix("data: ").unwrap_or_else(|| panic!("{text}"));
    let error: Value = serde_json::from_str(error).unwrap_or_else(|_| panic!("{text}"));
    assert_eq!(error["error"]["code"], "upstream_interrupted");
    assert_eq!(error["error"]["type"], "server_error");
    assert!(error["error"]["message"].as_str().is_some_and(|message| message.len() > 20));
    assert!(events[0].contains("Hello you"), "{text}");
}

async fn a_responses_stream_that_breaks_says_so_in_its_own_way() {
    let pair = shared::open().await;
    let delta =
        json!({ "type": "response.output_text.delta", "delta": "hi", "sequence_number": 4 });
    let script = Script::new()
        .event_stream()
        .chunk(format!("event: response.output_text.delta\ndata: {delta}\n\n"))
        .wait(Duration::from_millis(200))
        .reset();
    let route = pair.upstream.route(script);
    let body = json!({ "model": "m", "input": "hi", "stream": true });
    let request =
        pair.gateway.post(&shared::user("responses"), &route.path("/v1/responses"), &body);
    let passed = answer(request).await;
    passed.is(200);
    let text = passed.text();
    let failed = text.split("\n\n").find(|event| event.contains("response.failed"));
    let failed = failed.unwrap_or_else(|| panic!("{text}"));
    assert!(failed.starts_with("event: response.failed\n"), "{failed}");
    let data = failed.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let data: Value = serde_json::from_str(data).unwrap();
    assert_eq!(data["type"], "response.failed");
    assert_eq!(data["response"]["status"], "failed");
    assert_eq!(data["response"]["error"]["code"], "upstream_interrupted");
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    assert_eq!(row.status, 502);
}

async fn an_answer_that_breaks_is_not_passed_off_as_whole() {
    let pair = shared::open().await;
    let user = shared::user("half");
    let headers = [("content-type", "application/json"), ("content-length", "1000")];
    let script = Script::new().head(200, &headers).write("{\"half\":");
    let route = pair.upstream.route(script.wait(Duration::from_millis(200)).reset());
    let sent = pair.gateway.get(&user, &route.path("/v1/models")).send().await;
    // Either the head had not gone out yet, or the client must see that something is missing.
    let whole = match sent.map(Response::error_for_status) {
        Ok(Ok(response)) => response.bytes().await.is_ok(),
        _ => false,
    };
    assert!(!whole, "half an answer was passed off as whole");
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!(rows[0].status, 502, "{rows:?}");
}

async fn silence_is_filled_with_pings() {
    let pair = shared::open().await;
    let script = Script::new()
        .event_stream()
        .event(&chat_chunk("before"))
        .wait(Duration::from_secs(38))
        .event(&chat_chunk("after"))
        // Whatever comes in here must not come in between.
        .chunk("data: {\"half\":")
        .wait(Duration::from_secs(17))
        .chunk("1}\n\n");
    let route = pair.upstream.route(script.done());
    let user = shared::user("silence");
    let request = pair.gateway.post(&user, &route.chat(), &chat_request("hi", true));
    let began = Instant::now();
    let mut stream = request.send().await.unwrap().bytes_stream();
    let (mut text, mut pings, mut last) = (String::new(), Vec::new(), began);
    while let Some(piece) = stream.next().await {
        let piece = String::from_utf8(piece.unwrap().to_vec()).unwrap();
        if piece.contains(": ping") {
            // From the beginning: where the piece before came late, this one is on time all the same.
            let due = if text.contains("after") { 38 + 15 } else { 15 * (pings.len() as u64 + 1) };
            assert!(began.elapsed() >= Duration::from_secs(due), "{:?}", began.elapsed());
            pings.push(last.elapsed());
        }
        last = Instant::now();
        text.push_str(&piece);
    }
    // What is held back until its event is whole is silence too, for the client.
    assert!((2..=3).contains(&pings.len()), "two in 38 s of silence: {text}");
    for silence in pings {
        // Fifteen, and what a machine takes that runs everything else beside it; one that was left out would
        // make thirty.
        assert!(silence < Duration::from_secs(25), "a ping after {silence:?}");
    }
    let without = text.replace(": ping\n", "");
    let expected = format!(
        "data: {}\n\ndata: {}\n\ndata: {{\"half\":1}}\n\ndata: [DONE]\n\n",
        chat_chunk("before"),
        chat_chunk("after")
    );
    assert_eq!(without, expected);
}
