//! Whether what came was an answer, and whole: whatever the status line says, and whoever closes first.

use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::upstream::Route;
use gateway_tests::{Options, Row, Script, raw};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::{Pair, user};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient: an_upstream_that_said_its_last_word_needs_no_more_time];
    tests.extend(tests![Ordinary:
        an_error_in_a_success_binds_nobody_and_costs_nothing,
        an_error_in_a_stream_binds_nobody_either,
        nothing_is_no_answer,
        a_stream_without_its_end_says_so_in_its_own_shape,
        a_failed_response_is_told_as_one,
        messages_are_metered_whole,
        who_has_the_end_has_it_all,
        a_silent_upstream_is_ended,
        a_reader_that_stands_still_holds_no_slot,
        hints_that_nobody_can_read_stay_here,
    ]);
    tests
}

/// The same user with another key.
fn with_key(pair: &Pair, user: &str, key: &str, path: &str, stream: bool) -> RequestBuilder {
    let request = pair.gateway.request(Method::POST, path).header("x-user-id", user);
    request.bearer_auth(key).json(&chat_request("hi", stream))
}

/// Asks, and waits for the row.
async fn told(pair: &Pair, request: RequestBuilder) -> (Answer, Row) {
    let answered = answer(request).await;
    let row = pair.gateway.ledger().row(answered.request_id()).await;
    (answered, row)
}

fn ended(row: &Row) -> (u16, Option<&str>) {
    (u16::try_from(row.status).unwrap(), row.error_code.as_deref())
}

async fn an_error_in_a_success_binds_nobody_and_costs_nothing() {
    let pair = shared::first_key().await;
    let good = pair.upstream.route(Script::chat("hi", 3));
    for (path, body) in [
        ("/v1/chat/completions", json!({ "error": { "message": "Upstream error", "code": 502 } })),
        ("/v1/chat/completions", json!({ "code": 401, "msg": "invalid key" })),
        ("/v1/responses", json!({ "success": false, "message": "no such key" })),
        (
            "/v1/messages",
            json!({ "type": "error", "error": { "type": "api_error", "message": "x" } }),
        ),
        ("/v1/embeddings", json!([{ "error": { "code": 400, "message": "API key not valid" } }])),
    ] {
        let ada = user("ada");
        for script in [Script::json(200, &body), chunked("application/json", &body.to_string())] {
            let route = pair.upstream.route(script);
            let request = with_key(pair, &ada, "sk-wrong", &route.path(path), false);
            let (answered, row) = told(pair, request).await;
            answered.is(200);
            assert_eq!(answered.text(), body.to_string(), "the bytes pass");
            assert_eq!(ended(&row), (502, Some("upstream_error")), "{body}");
            assert_eq!((row.tokens_est, row.tokens_source.as_str()), (0, "none"));
        }
        let own = with_key(pair, &ada, "sk-ada", &good.chat(), false);
        answer(own).await.is(200);
        let wrong = with_key(pair, &ada, "sk-wrong", &good.chat(), false);
        answer(wrong).await.refuses(401, "user_id_bound");
    }
}

fn chunked(content_type: &str, body: &str) -> Script {
    Script::new().chunked(200, &[("content-type", content_type)]).chunk(body).end()
}

async fn an_error_in_a_stream_binds_nobody_either() {
    let pair = shared::first_key().await;
    let (ada, good) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    let events = "data: {\"choices\":[{\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n\
                  data: {\"error\":{\"message\":\"invalid key\",\"code\":401}}\n\n";
    let route = pair.upstream.route(chunked("text/event-stream", events));
    let request = with_key(pair, &ada, "sk-wrong", &route.chat(), true);
    let (answered, row) = told(pair, request).await;
    assert_eq!(answered.text(), events);
    assert_eq!(ended(&row), (502, Some("upstream_error")));
    let stream = Script::chat_stream(&["a"], Duration::ZERO, None);
    let stream = pair.upstream.route(stream);
    answer(with_key(pair, &ada, "sk-ada", &stream.chat(), true)).await.is(200);
    answer(with_key(pair, &ada, "sk-wrong", &good.chat(), false))
        .await
        .refuses(401, "user_id_bound");
}

async fn nothing_is_no_answer() {
    let pair = shared::open().await;
    let json = [("content-type", "application/json")];
    for script in [
        Script::answer(200, &json, ""),
        Script::answer(200, &[("content-type", "text/html")], "<html>Sign in</html>"),
        Script::answer(200, &[], "upstream connect error"),
        chunked("application/json", " \n"),
    ] {
        let route = pair.upstream.route(script);
        let request = pair.gateway.post(&user("empty"), &route.chat(), &chat_request("hi", false));
        let (answered, row) = told(pair, request).await;
        answered.is(200);
        assert_eq!(ended(&row), (502, Some("upstream_error")), "{}", answered.text());
    }
    let half = chunked("application/json", "{\"choices\":[{\"message\":{\"content\":\"hel");
    let route = pair.upstream.route(half);
    let request = pair.gateway.post(&user("half"), &route.chat(), &chat_request("hi", false));
    assert_eq!(ended(&told(pair, request).await.1), (502, Some("upstream_incomplete")));
    let route = pair.upstream.route(Script::new().event_stream().chunk(": hello\n\n").end());
    let request = pair.gateway.post(&user("empty"), &route.chat(), &chat_request("hi", true));
    let (answered, row) = told(pair, request).await;
    assert_eq!(ended(&row), (502, Some("upstream_error")));
    assert!(answered.text().contains("\"code\":\"upstream_error\""), "{}", answered.text());
}

const RESPONSE: &str = concat!(
    "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\"}}\n\n",
    "event: response.output_text.delta\n",
    "data: {\"type\":\"response.output_text.delta\",\"delta\":\"hi\",\"sequence_number\":1}\n\n",
);
const MESSAGE: &str = concat!(
    "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"role\":\"assistant\",",
    "\"content\":[],\"usage\":{\"input_tokens\":600,\"cache_read_input_tokens\":300,\"output_tokens\":1}}}\n\n",
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,",
    "\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n",
);
const MESSAGE_END: &str = concat!(
    "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},",
    "\"usage\":{\"output_tokens\":12}}\n\n",
    "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
);

async fn a_stream_without_its_end_says_so_in_its_own_shape() {
    let pair = shared::open().await;
    let chat = format!("data: {}\n\n", chat_chunk("hi"));
    for (path, events, last) in [
        ("/v1/chat/completions", chat.as_str(), "data: {\"error\":{\"message\":"),
        ("/v1/responses", RESPONSE, "event: response.failed\ndata: {\"type\":\"response.failed\","),
        ("/v1/messages", MESSAGE, "event: error\ndata: {\"type\":\"error\",\"error\":{"),
    ] {
        let route = pair.upstream.route(chunked("text/event-stream", events));
        let body = json!({ "model": "m", "stream": true });
        let request = pair.gateway.post(&user("cut"), &route.path(path), &body);
        let (answered, row) = told(pair, request).await;
        let text = answered.text();
        let added = text.strip_prefix(events).expect("what came has passed");
        assert!(added.starts_with(last), "{added}");
        assert!(added.contains("\"upstream_incomplete\""), "{added}");
        assert_eq!(ended(&row), (502, Some("upstream_incomplete")));
        assert_ne!(row.tokens_est, 0, "there was output: {row:?}");
    }
}

async fn a_failed_response_is_told_as_one() {
    let pair = shared::open().await;
    let error = "event: error\ndata: {\"type\":\"error\",\"code\":\"overloaded\",\"message\":\"Try later.\"}\n\n";
    let events = format!("{RESPONSE}{error}");
    let route = pair.upstream.route(chunked("text/event-stream", &events));
    let body = json!({ "model": "m", "stream": true });
    let request = pair.gateway.post(&user("fails"), &route.path("/v1/responses"), &body);
    let (answered, row) = told(pair, request).await;
    let text = answered.text();
    let (_, failed) = text.split_once("event: response.failed\ndata: ").expect("it is said again");
    let failed: Value = serde_json::from_str(failed.trim()).unwrap();
    let expected = json!({ "code": "overloaded", "message": "Try later." });
    assert_eq!(failed["response"]["error"], expected);
    assert_eq!(ended(&row), (502, Some("upstream_error")));
}

async fn messages_are_metered_whole() {
    let pair = shared::open().await;
    let headers = [
        ("content-type", "text/event-stream"),
        ("request-id", "req_anthropic"),
        ("anthropic-ratelimit-requests-remaining", "7"),
    ];
    let events = format!("{MESSAGE}{MESSAGE_END}");
    let script = Script::new().chunked(200, &headers).chunk(&events).end();
    let route = pair.upstream.route(script);
    let body = json!({ "model": "claude-x", "stream": true, "messages": [] });
    let request = pair.gateway.post(&user("claude"), &route.path("/v1/messages"), &body);
    let (answered, row) = told(pair, request).await;
    assert_eq!(answered.text(), events);
    assert_eq!(answered.header("request-id"), "req_anthropic");
    assert_eq!(answered.header("anthropic-ratelimit-requests-remaining"), "7");
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (912, "reported"));
    assert_eq!((ended(&row), row.model.as_deref()), ((200, None), Some("claude-x")));
}

async fn who_has_the_end_has_it_all() {
    let pair = shared::open().await;
    for (stream, status) in [
        (Script::new().event_stream().event(&chat_chunk("hi")).chunk("data: [DONE]\n\n"), 200),
        (Script::new().event_stream().event(&json!({ "error": { "message": "x" } })), 502),
    ] {
        let route = pair.upstream.route(stream.hang());
        let who = user("quick");
        let request = pair.gateway.post(&who, &route.chat(), &chat_request("hi", true));
        let mut events = request.send().await.unwrap().bytes_stream();
        let mut text = String::new();
        while !text.contains("[DONE]") && !text.contains("\"error\"") {
            text.push_str(str::from_utf8(&events.next().await.unwrap().unwrap()).unwrap());
        }
        drop(events);
        let rows = pair.gateway.ledger().settled(&who, 1).await;
        assert_eq!(rows[0].status, status, "{rows:?}");
    }
}

async fn a_silent_upstream_is_ended() {
    let options = Options::new()
        .var("USER_BINDING", "open")
        .var("STREAM_IDLE_MS", "1000")
        .var("UPSTREAM_SLOTS", "1");
    let pair = shared::pair(options).await;
    let json = [("content-type", "application/json"), ("content-length", "100")];
    let long = [("content-type", "application/json"), ("content-length", "1000000")];
    let events = Script::new().event_stream().event(&chat_chunk("hi")).hang();
    let route = pair.upstream.route(events);
    let request = pair.gateway.post("ada", &route.chat(), &chat_request("hi", true));
    let (answered, row) = told(&pair, request).await;
    assert!(answered.text().contains("\"code\":\"upstream_timeout\""), "{}", answered.text());
    assert_eq!(ended(&row), (504, Some("upstream_timeout")));
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (1, "estimated"));
    let route = pair.upstream.route(Script::new().head(200, &json).write("{").hang());
    let request = pair.gateway.post("ada", &route.chat(), &chat_request("hi", false));
    let (answered, row) = told(&pair, request).await;
    answered.refuses(504, "upstream_timeout");
    assert_eq!(row.status, 504);
    let route = pair.upstream.route(Script::new().head(200, &long).write("{").hang());
    let request = pair.gateway.post("bob", &route.chat(), &chat_request("hi", false));
    let broken = request.send().await.unwrap().bytes().await;
    assert!(broken.is_err(), "a part is not passed off as the whole");
    let rows = pair.gateway.ledger().settled("bob", 1).await;
    assert_eq!(ended(&rows[0]), (504, Some("upstream_timeout")));
    // Its slot is free.
    answer(pair.gateway.post("cy", "/v1/chat/completions", &chat_request("hi", false)))
        .await
        .is(200);
}

/// A client with the smallest window, which reads nothing.
async fn stand_still(pair: &Pair, user: &str, route: &Route) -> tokio::net::TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(2048).unwrap();
    let mut stream = socket.connect(pair.gateway.address()).await.unwrap();
    let body = chat_request("hi", true).to_string();
    let length = body.len().to_string();
    let headers = [
        ("Authorization", "Bearer sk-caller"),
        ("X-User-ID", user),
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    let mut request = raw::head("POST", &route.chat(), &headers);
    request.extend_from_slice(body.as_bytes());
    stream.write_all(&request).await.unwrap();
    stream
}

async fn a_reader_that_stands_still_holds_no_slot() {
    let options = Options::new().var("USER_BINDING", "open").var("UPSTREAM_SLOTS", "1");
    let pair = shared::pair(options.var("QUEUE_WAIT_MS", "60000")).await;
    let text = "x".repeat(10_000);
    let events = |count| {
        (0..count).fold(Script::new().event_stream(), |script, _| script.event(&chat_chunk(&text)))
    };
    let short = pair.upstream.route(events(80).done());
    let standing = stand_still(&pair, "ada", &short).await;
    let rows = pair.gateway.ledger().settled("ada", 1).await;
    assert_eq!(ended(&rows[0]), (200, None), "{rows:?}");
    answer(pair.gateway.post("bob", "/v1/chat/completions", &chat_request("hi", false)))
        .await
        .is(200);
    drop(standing);
    // What waits for such a reader is bounded: then the upstream waits too.
    let long = pair.upstream.route(events(3_000).done());
    let standing = stand_still(&pair, "cy", &long).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert!(!long.only().finished, "30 MB wait for somebody who doesn't read");
    drop(standing);
    let rows = pair.gateway.ledger().settled("cy", 1).await;
    assert_eq!(rows[0].status, 499, "{rows:?}");
}

async fn an_upstream_that_said_its_last_word_needs_no_more_time() {
    let pair = shared::open().await;
    let script = Script::new().event_stream().event(&chat_chunk("hi")).chunk("data: [DONE]\n\n");
    let route = pair.upstream.route(script.hang());
    let began = Instant::now();
    let request = pair.gateway.post(&user("lingers"), &route.chat(), &chat_request("hi", true));
    let (answered, row) = told(pair, request).await;
    assert!(answered.text().ends_with("data: [DONE]\n\n"), "{}", answered.text());
    assert_eq!(ended(&row), (200, None));
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}

async fn hints_that_nobody_can_read_stay_here() {
    let pair = shared::open().await;
    for (given, passed) in [
        ("7", "7"),
        ("Sun, 06 Nov 1994 08:49:37 GMT", "Sun, 06 Nov 1994 08:49:37 GMT"),
        ("soon", ""),
        ("1, 2", ""),
        ("99999999999", ""),
        ("-1", ""),
    ] {
        let route = pair.upstream.route(Script::answer(429, &[("retry-after", given)], "{}"));
        let request = pair.gateway.post(&user("hints"), &route.chat(), &chat_request("hi", false));
        let answered = answer(request).await;
        answered.is(429);
        assert_eq!(answered.header("retry-after"), passed, "{given}");
    }
}
