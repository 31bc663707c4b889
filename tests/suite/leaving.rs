//! Clients that leave: the upstream feels it, the row says it, the place is free again.

use std::time::{Duration, Instant};

use futures::StreamExt;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::upstream::Route;
use gateway_tests::{Distance, Gateway, Options, Script, Upstream, raw, wait_for};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::answer;
use crate::costs::messages;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient:
        leaving_a_silent_stream_is_felt_with_the_next_ping,
        leaving_during_the_admission_is_settled,
    ];
    tests.extend(tests![Ordinary: who_left_takes_no_place]);
    tests.extend(tests![Alone:
        leaving_in_a_stream_is_felt_within_a_second,
        a_broken_connection_in_a_silent_stream_is_felt_within_a_second,
        leaving_before_the_answer_is_felt_within_a_second,
        leaving_during_an_upload_is_felt_within_a_second,
        an_upstream_far_away_behaves_the_same,
    ]);
    tests
}

const SECOND: Duration = Duration::from_secs(1);

/// Takes the head and the first event of a stream and leaves; the request's id and the moment.
async fn leave_after_first(gateway: &Gateway, user: &str, route: &Route) -> (String, Instant) {
    let request = gateway.post(user, &route.chat(), &chat_request("hi", true));
    let response = request.send().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    let mut stream = response.bytes_stream();
    let mut text = Vec::new();
    while !text.ends_with(b"\n\n") {
        text.extend(stream.next().await.unwrap().unwrap());
    }
    drop(stream);
    (id, Instant::now())
}

async fn felt_within_a_second(route: &Route, left: Instant) {
    let seen = route.when_left().await;
    let felt = seen.left_at.unwrap().saturating_duration_since(left);
    assert!(felt < SECOND, "felt after {felt:?}");
    assert!(!seen.finished);
}

/// Events without end, each after a pause.
fn endless(pause: Duration) -> Script {
    (0..200).fold(Script::new().event_stream(), |script, _| {
        script.event(&chat_chunk("twelve chars")).wait(pause)
    })
}

async fn leaving_in_a_stream_is_felt_within_a_second() {
    let pair = shared::open().await;
    let user = shared::user("leaves");
    let route = pair.upstream.route(endless(Duration::from_millis(300)));
    let (id, left) = leave_after_first(&pair.gateway, &user, &route).await;
    felt_within_a_second(&route, left).await;
    let row = pair.gateway.ledger().row(&id).await;
    assert_eq!((row.status, row.tokens_source.as_str()), (499, "estimated"));
    assert!((3..=12).contains(&row.tokens_est), "what was counted until then: {row:?}");
    assert!(row.latency_ms < 2000, "{row:?}");
}

/// Speaks, and then says nothing more.
fn falls_silent() -> Script {
    Script::new().event_stream().event(&chat_chunk("twelve chars")).hang()
}

async fn leaving_a_silent_stream_is_felt_with_the_next_ping() {
    let pair = shared::open().await;
    let user = shared::user("leaves");
    let route = pair.upstream.route(falls_silent());
    let (id, left) = leave_after_first(&pair.gateway, &user, &route).await;
    // Nothing is written to a silent stream until then, and nothing else tells of an orderly end.
    let left_at = || route.only().left_at;
    let felt = wait_for("leaving", Duration::from_secs(40), left_at).await;
    let felt = felt.saturating_duration_since(left);
    assert!(felt < Duration::from_secs(32), "felt after {felt:?}");
    let row = pair.gateway.ledger().row(&id).await;
    assert_eq!((row.status, row.tokens_est), (499, 3), "{row:?}");
}

async fn a_broken_connection_in_a_silent_stream_is_felt_within_a_second() {
    let pair = shared::open().await;
    let user = shared::user("leaves");
    let route = pair.upstream.route(falls_silent());
    let mut stream = ask(&pair.gateway, &user, &route, &[]).await;
    let mut answer = Vec::new();
    while !answer.windows(12).any(|window| window == b"twelve chars") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", answer.escape_ascii());
    }
    stream.set_zero_linger().unwrap();
    drop(stream);
    felt_within_a_second(&route, Instant::now()).await;
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!((rows[0].status, rows[0].tokens_est), (499, 3), "{rows:?}");
}

/// A streamed chat request on a connection that the test holds in its own hands.
pub async fn ask(gateway: &Gateway, user: &str, route: &Route, more: &[(&str, &str)]) -> TcpStream {
    let body = chat_request("hi", true).to_string();
    let length = body.len().to_string();
    let mut headers = vec![
        ("Authorization", "Bearer sk-caller"),
        ("X-User-ID", user),
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    headers.extend(more);
    let mut request = raw::head("POST", &route.chat(), &headers);
    request.extend_from_slice(body.as_bytes());
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    stream
}

async fn leaving_before_the_answer_is_felt_within_a_second() {
    let pair = shared::open().await;
    let user = shared::user("leaves");
    let route = pair.upstream.route(Script::new().hang());
    let stream = ask(&pair.gateway, &user, &route, &[]).await;
    route.when("request upstream", |seen| seen.body_complete_at.is_some()).await;
    // A mere FIN can't be told from a client that has no more to say; a reset can.
    stream.set_zero_linger().unwrap();
    drop(stream);
    felt_within_a_second(&route, Instant::now()).await;
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!((rows[0].status, rows[0].tokens_est), (499, 0), "{rows:?}");
}

async fn leaving_during_the_admission_is_settled() {
    let upstream = Upstream::start().await;
    let options = Options::new().var("USER_BINDING", "open").var("MAX_IN_FLIGHT", "1");
    let gateway = Gateway::start(options.upstream(upstream.url()).fault_injection()).await;
    let route = upstream.route(Script::new().hang());
    let stream = ask(&gateway, "ada", &route, &[("X-Fault", "slow-object")]).await;
    let is_asked = |line: &Value| line["event"] == "object_call" && line["object"] == "ada";
    let asked = || gateway.log().iter().any(is_asked).then_some(());
    wait_for("question to the object", Duration::from_secs(30), asked).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    // The object admits it all the same, and is told at once that nobody waits for it.
    let rows = gateway.ledger().settled("ada", 1).await;
    assert_eq!((rows[0].status, rows[0].error_code.as_deref()), (499, Some("client_left")));
    assert_eq!(messages(&gateway, "ada").await, ["Admit", "Settle"]);
    assert!(route.seen().is_empty(), "{:?}", route.seen());
    // The only place is free again, without waiting for the lease's end.
    answer(gateway.get("ada", "/v1/models")).await.is(200);
    assert_eq!(gateway.ledger().settled("ada", 2).await[0], rows[0]);
}

async fn leaving_during_an_upload_is_felt_within_a_second() {
    let pair = shared::open().await;
    let user = shared::user("leaves");
    let route = pair.upstream.route(Script::chat("hi", 3));
    let headers = [
        ("Authorization", "Bearer sk-caller"),
        ("X-User-ID", user.as_str()),
        ("Content-Length", "1000000"),
    ];
    let mut request = raw::head("POST", &route.path("/v1/files"), &headers);
    request.extend_from_slice(&[b'x'; 1000]);
    let mut stream = TcpStream::connect(pair.gateway.address()).await.unwrap();
    stream.write_all(&request).await.unwrap();
    route.when("upload upstream", |seen| seen.first_body_byte_at.is_some()).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    felt_within_a_second(&route, Instant::now()).await;
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!(rows[0].status, 499, "{rows:?}");
}

async fn who_left_takes_no_place() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "100000");
    let pair = shared::pair(options).await;
    let user = "leaves";
    for _ in 0..2 {
        for _ in 0..8 {
            let route = pair.upstream.route(endless(Duration::from_millis(300)));
            leave_after_first(&pair.gateway, user, &route).await;
        }
        let began = Instant::now();
        // All eight places at once, so that none may still be taken.
        let hold = pair.upstream.route(Script::new().wait(SECOND / 2).respond(200, &[], "{}"));
        loop {
            let all = (0..8).map(|_| answer(pair.gateway.get(user, &hold.path("/v1/models"))));
            let all = futures::future::join_all(all).await;
            if all.iter().all(|answer| answer.status == 200) {
                break;
            }
            assert!(began.elapsed() < Duration::from_secs(10), "places are still taken");
        }
    }
}

async fn an_upstream_far_away_behaves_the_same() {
    let upstream = Upstream::start().await;
    let (delay, jitter) = (Duration::from_millis(50), Duration::from_millis(25));
    let distance = Distance::before(upstream.address(), delay, jitter).await;
    let options = Options::new().var("USER_BINDING", "open").upstream(distance.url());
    let gateway = Gateway::start(options).await;

    let script =
        Script::chat_stream(&["one", "two", "three"], Duration::from_millis(150), Some(42));
    let route = upstream.route(script);
    let began = Instant::now();
    let request = gateway.post("ada", &route.chat(), &chat_request("hi", true));
    let streamed = answer(request).await;
    assert!(began.elapsed() > Duration::from_millis(400), "the distance isn't there");
    let expected: String =
        ["one", "two", "three"].map(|text| format!("data: {}\n\n", chat_chunk(text))).concat();
    assert_eq!(streamed.text(), expected + "data: [DONE]\n\n");
    let row = gateway.ledger().row(streamed.request_id()).await;
    assert_eq!((row.status, row.tokens_est, row.tokens_source.as_str()), (200, 42, "reported"));
    assert!(row.ttfb_ms.is_some_and(|time| time >= 90), "{row:?}");

    let route = upstream.route(Script::chat("hi", 17));
    let whole = answer(gateway.post("ada", &route.chat(), &chat_request("hi", false))).await;
    whole.is(200);
    assert_eq!(gateway.ledger().row(whole.request_id()).await.tokens_est, 17);

    let route = upstream.route(endless(Duration::from_millis(300)));
    let (id, left) = leave_after_first(&gateway, "ada", &route).await;
    felt_within_a_second(&route, left).await;
    assert_eq!(gateway.ledger().row(&id).await.status, 499);

    let broken = Script::new().event_stream().event(&chat_chunk("x")).wait(SECOND / 2).close();
    let route = upstream.route(broken);
    let broken = answer(gateway.post("ada", &route.chat(), &chat_request("hi", true))).await;
    assert!(broken.text().contains("upstream_interrupted"), "{}", broken.text());
    assert!(broken.text().ends_with("data: [DONE]\n\n"));
    assert_eq!(gateway.ledger().row(broken.request_id()).await.status, 502);

    // The window is as exact as near by.
    for left in (0..46).rev() {
        let passed = answer(gateway.get("ada", "/v1/models")).await;
        assert_eq!(passed.number("x-ratelimit-remaining-requests"), left);
    }
    answer(gateway.get("ada", "/v1/models")).await.refuses(429, "rate_limit_exceeded");
}
