//! Bodies of requests on their way in: never waited for longer than their senders may take, never held
//! for people whom nobody knows, and read where they are compressed.

use std::io::Write;
use std::time::Duration;

use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures::future::join_all;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script, raw};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        a_body_that_never_ends_is_its_senders_fault,
        a_stream_that_never_ends_is_its_senders_fault_too,
        an_encoded_body_goes_on_as_it_is_or_is_read,
        a_real_openclaw_gets_what_an_encoded_body_says,
        a_large_chat_of_a_known_user_is_read_whole,
    ];
    tests.extend(tests![Alone: strangers_who_never_end_are_told_and_let_go]);
    tests
}

/// Sends the beginning of a request that says it is longer, and waits for the answer.
async fn half_sent(gateway: &Gateway, path: &str, headers: &[(&str, &str)]) -> raw::Answer {
    let mut headers = headers.to_vec();
    headers.extend([("Content-Type", "application/json"), ("Content-Length", "1000")]);
    let mut request = raw::head("POST", path, &headers);
    request.extend_from_slice(b"{\"model\":");
    raw::send(gateway.address(), &request).await
}

async fn a_body_that_never_ends_is_its_senders_fault() {
    let options = Options::new()
        .var("USER_BINDING", "open")
        .var("BODY_TIMEOUT_MS", "1500")
        .var("UPSTREAM_SLOTS", "1")
        .var("QUEUE_WAIT_MS", "300");
    let pair = shared::pair(options).await;
    let headers = [("Authorization", "Bearer sk-caller"), ("X-User-ID", "slow")];
    let route = pair.upstream.route(Script::chat("hi", 3));
    let path = route.path("/v1/responses");
    let slow = half_sent(&pair.gateway, &path, &headers);
    let others = async {
        for _ in 0..5 {
            // Nobody waits for a slot that the slow one doesn't have.
            let request = pair.gateway.post("quick", "/v1/responses", &json!({}));
            answer(request).await.is(200);
        }
    };
    let (refused, ()) = tokio::join!(slow, others);
    assert_eq!((refused.status, refused.code().as_str()), (408, "request_timeout"), "{refused:?}");
    assert_eq!(refused.header("x-should-retry"), Some("false"));
    assert!(route.seen().is_empty(), "nothing of it went upstream");
    let later = answer(pair.gateway.post("slow", "/v1/responses", &json!({}))).await;
    assert_eq!(later.number("x-ratelimit-remaining-requests"), 49, "it cost nothing");
}

async fn a_stream_that_never_ends_is_its_senders_fault_too() {
    let options = Options::new()
        .var("USER_BINDING", "open")
        .var("BODY_TIMEOUT_MS", "1500")
        .var("UPSTREAM_FIRST_BYTE_MS", "1000");
    let pair = shared::pair(options).await;
    let headers = [("Authorization", "Bearer sk-caller"), ("X-User-ID", "slow")];
    let refused = half_sent(&pair.gateway, "/v1/files", &headers).await;
    assert_eq!((refused.status, refused.code().as_str()), (408, "request_timeout"), "{refused:?}");
    let row = pair.gateway.ledger().row(refused.header("x-request-id").unwrap()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (408, Some("request_timeout")));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn deflate(text: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// A frame of one raw block: RFC 8878, 3.1.1.
fn zstd(text: &[u8]) -> Vec<u8> {
    let length = u32::try_from(text.len()).unwrap();
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0xA0];
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(&((length << 3) | 1).to_le_bytes()[..3]);
    frame.extend_from_slice(text);
    frame
}

/// A frame that says so many times 128 KB of blanks, in four bytes each.
fn zstd_bomb(blocks: u32) -> Vec<u8> {
    let mut frame = vec![0x28, 0xB5, 0x2F, 0xFD, 0xA0];
    frame.extend_from_slice(&(blocks << 17).to_le_bytes());
    for block in 0..blocks {
        let header = ((1_u32 << 17) << 3) | (1 << 1) | u32::from(block + 1 == blocks);
        frame.extend_from_slice(&header.to_le_bytes()[..3]);
        frame.push(b' ');
    }
    frame
}

async fn an_encoded_body_goes_on_as_it_is_or_is_read() {
    let pair = shared::open().await;
    let said = json!({"model": "m-1", "input": "hi"}).to_string();
    let chat = chat_request("hi", true).to_string();
    let encoded = |text: &str| {
        [
            ("gzip", gzip(text.as_bytes())),
            ("deflate", deflate(text.as_bytes())),
            ("zstd", zstd(text.as_bytes())),
        ]
    };
    for (encoding, body) in encoded(&said).into_iter().chain([("br", said.clone().into_bytes())]) {
        let route = pair.upstream.route(Script::chat("hi", 3));
        let user = shared::user("encoded");
        let request = pair.gateway.request(Method::POST, &route.path("/v1/responses"));
        let request = request.header("x-user-id", &user).bearer_auth("sk-caller");
        let request = request.header("content-type", "application/json");
        let passed = answer(request.header("content-encoding", encoding).body(body.clone())).await;
        passed.is(200);
        let seen = route.only();
        assert_eq!(seen.header("content-encoding").as_deref(), Some(encoding));
        assert_eq!(seen.body, body, "{encoding}");
        let row = pair.gateway.ledger().row(passed.request_id()).await;
        assert_eq!(row.model.as_deref(), (encoding != "br").then_some("m-1"), "{encoding}");
    }
    for (encoding, body) in encoded(&chat) {
        let route = pair.upstream.route(Script::chat_stream(&["hi"], Duration::ZERO, Some(7)));
        let request = pair.gateway.request(Method::POST, &route.chat());
        let request = request.header("x-user-id", shared::user("chat")).bearer_auth("sk-caller");
        answer(request.header("content-encoding", encoding).body(body)).await.is(200);
        let seen = route.only();
        assert_eq!(seen.header("content-encoding"), None, "what was changed goes on plainly");
        assert_eq!(seen.json()["stream_options"]["include_usage"], true);
    }
}

async fn a_real_openclaw_gets_what_an_encoded_body_says() {
    let options = Options::new()
        .var("USER_BINDING", "key")
        .var("UPSTREAM_AUTH", "token")
        .var("OPENCLAW_GATEWAY_TOKEN", "token-of-the-instance")
        .var("SESSION_KEY_SECRET", "a-secret-of-sessions");
    let pair = shared::pair(options).await;
    let key = pair.gateway.mint_key("ada").await.key;
    let text = chat_request("hi", false).to_string();
    let ask = |encoding: &str, body: Vec<u8>| {
        let request = pair.gateway.request(Method::POST, "/v1/chat/completions").bearer_auth(&key);
        answer(request.header("content-encoding", encoding).body(body))
    };
    for (encoding, body) in [
        ("gzip", gzip(text.as_bytes())),
        ("DEFLATE", deflate(text.as_bytes())),
        ("zstd", zstd(text.as_bytes())),
    ] {
        ask(encoding, body).await.is(200);
    }
    for seen in pair.upstream.unscripted() {
        assert_eq!(seen.header("content-encoding"), None);
        assert_eq!(seen.json()["messages"][0]["content"], Value::from("hi"));
    }
    ask("br", text.clone().into_bytes()).await.refuses(415, "unsupported_encoding");
    ask("gzip, zstd", text.clone().into_bytes()).await.refuses(415, "unsupported_encoding");
    ask("gzip", text.clone().into_bytes()).await.refuses(400, "invalid_json");
    ask("zstd", zstd_bomb(200)).await.refuses(413, "request_too_large");
    ask("gzip", gzip(&vec![b' '; 30 << 20])).await.refuses(413, "request_too_large");
}

async fn a_large_chat_of_a_known_user_is_read_whole() {
    let pair = shared::first_key().await;
    let user = shared::user("large");
    let key = pair.gateway.mint_key(&user).await.key;
    let route = pair.upstream.route(Script::chat_stream(&["hi"], Duration::ZERO, Some(7)));
    let request =
        pair.gateway.post(&user, &route.chat(), &chat_request(&"x".repeat(3 << 20), true));
    let passed = answer(request.header("x-gateway-key", key)).await;
    passed.is(200);
    assert_eq!(route.only().json()["stream_options"]["include_usage"], true);
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (7, "reported"));
}

async fn strangers_who_never_end_are_told_and_let_go() {
    let options = Options::new()
        .var("UNPROVEN_PER_MINUTE", "5")
        .var("BODY_TIMEOUT_MS", "1000")
        .var("REQUESTS_PER_MINUTE", "10000")
        .var("MAX_IN_FLIGHT", "1000");
    let pair = shared::pair(options).await;
    let (gateway, address) = (&pair.gateway, pair.gateway.address());
    let key = gateway.mint_key("honest").await.key;
    let honest = async || {
        let request = gateway.post("honest", "/v1/chat/completions", &chat_request("hi", false));
        answer(request.header("x-gateway-key", &key)).await.is(200);
    };
    honest().await;
    let stranger = async |number: usize, declared: Option<usize>, sent: usize| {
        let user = format!("stranger-{number}");
        let length = declared.map(|length| length.to_string());
        let framing = match &length {
            Some(length) => ("Content-Length", length.as_str()),
            None => ("Transfer-Encoding", "chunked"),
        };
        let headers = [("Authorization", "Bearer sk-x"), ("X-User-ID", user.as_str()), framing];
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(&raw::head("POST", "/v1/chat/completions", &headers)).await.ok();
        let piece = vec![b'x'; 65_536];
        let mut left = sent;
        while left > 0 {
            let length = left.min(piece.len());
            let mut bytes = piece[..length].to_vec();
            if declared.is_none() {
                bytes = [format!("{length:x}\r\n").as_bytes(), &bytes, b"\r\n"].concat();
            }
            // Who isn't read is not let write either.
            let written = tokio::time::timeout(Duration::from_secs(20), stream.write_all(&bytes));
            if !matches!(written.await, Ok(Ok(()))) {
                break;
            }
            left -= length;
        }
        let mut answered = Vec::new();
        let read = stream.read_to_end(&mut answered);
        tokio::time::timeout(Duration::from_secs(40), read).await.expect("an end").ok();
        String::from_utf8_lossy(answered.get(9..12).unwrap_or_default()).into_owned()
    };
    let half_sent = (0..100).map(|number| stranger(number, Some(60_000), 59_999));
    let large = (100..110).map(|number| stranger(number, None, 20_000_000));
    let crowd = async { tokio::join!(join_all(half_sent), join_all(large)) };
    let others = async {
        for _ in 0..20 {
            honest().await;
        }
    };
    let ((half_sent, large), ()) = tokio::join!(crowd, others);
    assert!(
        half_sent.iter().all(|status| ["408", "429"].contains(&status.as_str())),
        "{half_sent:?}"
    );
    // Who isn't read may find the connection closed before it has written all.
    assert!(
        large.iter().all(|status| ["408", "429", "413", ""].contains(&status.as_str())),
        "{large:?}"
    );
    // Five may be let in, and the honest one was 21 times.
    assert!(pair.upstream.unscripted().len() <= 21 + 5, "the others went nowhere");
}
