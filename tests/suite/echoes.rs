//! Upstreams that repeat the key that they were shown, or answer without end: nothing of a secret goes out, and no
//! more is read than somebody wants.

use std::fmt::Write as _;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use gateway_tests::Script;
use gateway_tests::script::{chat_chunk, chat_request};
use reqwest::Method;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::{Pair, user};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_repeated_key_comes_back_in_no_spelling,
        a_key_is_found_in_every_encoding,
        a_key_that_is_cut_in_two_is_found,
        an_error_without_end_is_cut_off,
        what_cant_be_passed_on_is_an_error_of_our_own,
    ]
}

const KEY: &str = "sk-proj/Echo+ed_by-the~upstream=7";
/// What of the key is found nowhere else.
const PART: &str = "Echo+ed_by-the";

fn spellings() -> Vec<String> {
    let special = |escape: &dyn Fn(&mut String, u8)| {
        KEY.bytes().fold(String::new(), |mut text, byte| {
            if byte.is_ascii_alphanumeric() {
                text.push(char::from(byte));
            } else {
                escape(&mut text, byte);
            }
            text
        })
    };
    vec![
        KEY.to_owned(),
        special(&|text, byte| write!(text, "%{byte:02X}").unwrap()),
        special(&|text, byte| write!(text, "%{byte:02x}").unwrap()),
        special(&|text, byte| write!(text, "%25{byte:02X}").unwrap()),
        special(&|text, byte| write!(text, "\\u{byte:04x}").unwrap()),
        special(&|text, byte| write!(text, "&#{byte};").unwrap()),
        KEY.replace('/', "\\/"),
        STANDARD.encode(KEY),
        URL_SAFE_NO_PAD.encode(format!("me:{KEY}")),
        hex::encode(KEY),
    ]
}

async fn echoed(pair: &Pair, script: Script, stream: bool) -> Answer {
    let route = pair.upstream.route(script);
    let request = pair.gateway.request(Method::POST, &route.chat()).bearer_auth(KEY);
    let body = chat_request("hi", stream);
    answer(request.header("x-user-id", user("echo")).json(&body)).await
}

fn tells_nothing(told: &Answer, spelling: &str) {
    let middle = &spelling[spelling.len() / 3..2 * spelling.len() / 3];
    let said = format!("{:?}\n{}", told.headers, told.text());
    for part in [KEY, PART, spelling, middle] {
        assert!(!said.contains(part), "{part} of {spelling} is in {said}");
    }
    assert!(said.contains("[redacted]"), "{said}");
}

async fn a_repeated_key_comes_back_in_no_spelling() {
    let pair = shared::open().await;
    let json_type = [("content-type", "application/json")];
    for spelling in spellings() {
        let error = format!("{{\"error\":{{\"message\":\"Incorrect API key: {spelling}.\"}}}}");
        let event = format!("data: {}\n\ndata: {error}\n\n", chat_chunk("hi"));
        let events = Script::new().event_stream().chunk(&event).end();
        for (script, stream) in [
            (Script::answer(401, &json_type, &error), false),
            (Script::answer(200, &json_type, &error), false),
            (Script::answer(500, &[("content-type", "text/plain")], &error), false),
            (events, true),
        ] {
            tells_nothing(&echoed(pair, script, stream).await, &spelling);
        }
        if !spelling.contains('\\') {
            let headers = [("x-request-id", spelling.as_str()), ("openai-version", &spelling)];
            tells_nothing(
                &echoed(pair, Script::answer(403, &headers, "no"), false).await,
                &spelling,
            );
        }
    }
}

async fn a_key_is_found_in_every_encoding() {
    let pair = shared::open().await;
    let error = json!({ "error": { "message": format!("no such key: {KEY}") } }).to_string();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(error.as_bytes()).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::default());
    deflate.write_all(error.as_bytes()).unwrap();
    for (encoding, body) in
        [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())]
    {
        for status in [200, 401] {
            let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
            let told = echoed(pair, Script::answer(status, &headers, &body), false).await;
            told.is(status);
            tells_nothing(&told, KEY);
        }
    }
    let headers = [("content-type", "application/json"), ("content-encoding", "rot13")];
    let told = echoed(pair, Script::answer(401, &headers, &error), false).await;
    told.refuses(502, "upstream_error");
}

async fn a_key_that_is_cut_in_two_is_found() {
    let pair = shared::open().await;
    let error = format!("{{\"error\":{{\"message\":\"Incorrect API key: {KEY}.\"}}}}");
    for size in [1, 7, 40] {
        let head = Script::new().chunked(400, &[("content-type", "application/json")]);
        let script = error.as_bytes().chunks(size).fold(head, Script::chunk).end();
        let told = echoed(pair, script, false).await;
        tells_nothing(&told, KEY);
        assert_eq!(told.text(), error.replace(KEY, "[redacted]"));
    }
}

async fn an_error_without_end_is_cut_off() {
    let pair = shared::open().await;
    let headers = [("content-type", "text/plain"), ("connection", "close")];
    let script = Script::new().head(500, &headers).fill(64 << 20).hang();
    let route = pair.upstream.route(script);
    let who = user("endless");
    let request = pair.gateway.post(&who, &route.chat(), &chat_request("hi", false));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 500);
    let mut length = 0;
    while let Ok(Some(chunk)) = response.chunk().await {
        length += chunk.len();
    }
    assert!(length <= 2 << 20, "{length} bytes of an error");
    let seen = route.when_left().await;
    assert!(!seen.finished);
    let rows = pair.gateway.ledger().settled(&who, 1).await;
    assert!(rows[0].status >= 500, "{rows:?}");
}

async fn what_cant_be_passed_on_is_an_error_of_our_own() {
    let pair = shared::open().await;
    let script = Script::new().head(101, &[("connection", "upgrade"), ("upgrade", "websocket")]);
    let told = echoed(pair, script.hang(), false).await;
    told.refuses(502, "upstream_error");
    let row = pair.gateway.ledger().row(told.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (502, Some("upstream_error")));
}
