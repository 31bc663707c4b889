//! Bodies in both directions: byte for byte, as they come, and no larger than they may be.

use std::io::Write;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures::stream;
use gateway_tests::{Script, raw};
use reqwest::{Body, Method};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_body_of_any_type_goes_byte_for_byte,
        an_upload_goes_on_while_it_comes,
        a_body_over_the_limit_is_refused_by_its_length,
        a_chunked_body_that_grows_over_the_limit_is_refused,
        a_compressed_answer_is_readable,
        answers_without_a_body_stay_so,
        a_huge_answer_comes_whole,
        a_zero_length_and_an_unlabelled_body_go_too,
        a_body_where_none_is_usual_is_nobodys_fault,
    ]
}

async fn a_body_of_any_type_goes_byte_for_byte() {
    let pair = shared::open().await;
    let mut random = fastrand::Rng::with_seed(1);
    let body: Vec<u8> = std::iter::repeat_with(|| random.u8(..)).take(5_000_000).collect();
    for kind in ["application/octet-stream", "multipart/form-data; boundary=x", "application/json"]
    {
        let back = Script::answer(200, &[("content-type", "audio/mpeg")], &body);
        let route = pair.upstream.route(back);
        let request = pair.gateway.request(Method::POST, &route.path("/v1/audio/speech"));
        let request = request.header("x-user-id", shared::user("binary")).bearer_auth("sk-caller");
        let passed = answer(request.header("content-type", kind).body(body.clone())).await;
        passed.is(200);
        assert!(passed.body == body, "the answer came back changed");
        let seen = route.only();
        assert!(seen.body == body, "the body arrived changed: {} bytes", seen.body.len());
        assert_eq!(seen.header("content-type").as_deref(), Some(kind));
        assert_eq!(seen.header("content-length").as_deref(), Some("5000000"));
    }
}

async fn an_upload_goes_on_while_it_comes() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let (sender, receiver) = futures::channel::mpsc::unbounded::<Result<Bytes, std::io::Error>>();
    let request = pair.gateway.request(Method::POST, &route.path("/v1/files"));
    let request = request.header("x-user-id", shared::user("upload")).bearer_auth("sk-caller");
    let request = request.body(Body::wrap_stream(receiver));
    let under_way = tokio::spawn(answer(request));
    sender.unbounded_send(Ok(Bytes::from_static(b"first,"))).unwrap();
    // The last byte isn't sent before the first has gone through.
    route.when("first byte upstream", |seen| seen.first_body_byte_at.is_some()).await;
    sender.unbounded_send(Ok(Bytes::from_static(b"last"))).unwrap();
    sender.close_channel();
    under_way.await.unwrap().is(200);
    assert_eq!(route.only().body, b"first,last");
}

async fn a_body_over_the_limit_is_refused_by_its_length() {
    let pair = shared::open().await;
    let (user, route) = (shared::user("large"), pair.upstream.route(Script::chat("hi", 3)));
    let headers = [
        ("Authorization", "Bearer sk-caller"),
        ("X-User-ID", user.as_str()),
        ("Content-Length", "20971521"),
        ("Content-Type", "application/json"),
    ];
    // The body never comes, so an answer can't have waited for it.
    let head = raw::head("POST", &route.chat(), &headers);
    let refused = raw::send_briefly(pair.gateway.address(), &head).await;
    assert_eq!((refused.status, refused.code().as_str()), (413, "request_too_large"));
    assert!(route.seen().is_empty());
    let within = answer(pair.gateway.get(&user, "/v1/models")).await;
    assert_eq!(within.number("x-ratelimit-remaining-requests"), 49, "it cost nothing");
}

async fn a_chunked_body_that_grows_over_the_limit_is_refused() {
    let pair = shared::open().await;
    for path in ["/v1/files", "/v1/chat/completions"] {
        let route = pair.upstream.route(Script::chat("hi", 3));
        let piece = Bytes::from(vec![b'x'; 1024 * 1024]);
        let pieces = stream::iter((0..22).map(move |_| Ok::<_, std::io::Error>(piece.clone())));
        let request = pair.gateway.request(Method::POST, &route.path(path));
        let request = request.header("x-user-id", shared::user("grows")).bearer_auth("sk-caller");
        let refused = answer(request.body(Body::wrap_stream(pieces))).await;
        refused.refuses(413, "request_too_large");
        let complete = route.seen().iter().any(|seen| seen.body_complete_at.is_some());
        assert!(!complete, "{path}: the upstream was given a whole request");
    }
}

async fn a_compressed_answer_is_readable() {
    let pair = shared::open().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(br#"{"compressed":true}"#).unwrap();
    let body = encoder.finish().unwrap();
    let headers = [("content-type", "application/json"), ("content-encoding", "gzip")];
    let route = pair.upstream.route(Script::answer(200, &headers, &body));
    let request = pair.gateway.get(&shared::user("gzip"), &route.path("/v1/models"));
    // A client that says it can read gzip may be given it; this one can't, and must not be.
    let passed = answer(request).await;
    passed.is(200);
    assert_eq!(passed.header("content-encoding"), "");
    assert_eq!(passed.text(), r#"{"compressed":true}"#);
}

async fn answers_without_a_body_stay_so() {
    let pair = shared::open().await;
    let user = shared::user("bodiless");
    for status in [204, 304] {
        let route = pair.upstream.route(Script::answer(status, &[], ""));
        let passed = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
        passed.is(status);
        assert!(passed.body.is_empty());
        let row = pair.gateway.ledger().row(passed.request_id()).await;
        assert_eq!(row.status, i64::from(status));
    }
    let headers = [("content-type", "application/json"), ("content-length", "1234")];
    let route = pair.upstream.route(Script::new().head(200, &headers));
    let request = pair.gateway.request(Method::HEAD, &route.path("/v1/models"));
    let passed = answer(request.header("x-user-id", &user).bearer_auth("sk-caller")).await;
    passed.is(200);
    assert_eq!(route.only().method, "HEAD");
    assert_eq!(passed.header("content-type"), "application/json");
}

async fn a_huge_answer_comes_whole() {
    let pair = shared::open().await;
    let size = 100 * 1024 * 1024;
    let length = size.to_string();
    let headers = [("content-type", "application/octet-stream"), ("content-length", &length)];
    let route = pair.upstream.route(Script::new().head(200, &headers).fill(size));
    let request = pair.gateway.get(&shared::user("huge"), &route.path("/v1/files/f/content"));
    let mut response = request.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let mut received = 0;
    while let Some(piece) = response.chunk().await.unwrap() {
        assert!(piece.iter().all(|byte| *byte == b'x'));
        received += piece.len();
    }
    assert_eq!(received, size);
}

async fn a_zero_length_and_an_unlabelled_body_go_too() {
    let pair = shared::open().await;
    let user = shared::user("bare");
    for body in ["", "no type, no JSON"] {
        let route = pair.upstream.route(Script::chat("hi", 3));
        let request = pair.gateway.request(Method::POST, &route.chat()).body(body);
        answer(request.header("x-user-id", &user).bearer_auth("sk-caller")).await.is(200);
        let seen = route.only();
        assert_eq!(seen.body, body.as_bytes());
        assert_eq!(seen.header("content-type"), None);
    }
}

async fn a_body_where_none_is_usual_is_nobodys_fault() {
    let pair = shared::open().await;
    let user = shared::user("get-body");
    for method in [Method::GET, Method::HEAD, Method::DELETE] {
        let route = pair.upstream.route(Script::answer(200, &[], ""));
        let request = pair.gateway.request(method.clone(), &route.path("/v1/models"));
        let request = request.header("x-user-id", &user).bearer_auth("sk-caller").body("{}");
        assert_eq!(answer(request).await.status, 200, "{method}");
        assert_eq!(route.only().method, method.as_str());
    }
}
