//! Malformed and huge input: answered or dropped, and never a fault of ours.

use std::fmt::Write;

use fastrand::Rng;
use futures::{StreamExt, stream};
use gateway_tests::{Gateway, raw};
use reqwest::Method;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        ten_thousand_random_requests_fault_nothing,
        huge_heads_and_bodies_fault_nothing,
        long_paths_do_not_stop_the_ledger,
    ]
}

/// All but CONNECT, which workerd answers by itself, with a 500, before any Worker.
const METHODS: [&str; 9] =
    ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "TRACE", "get"];

const TARGETS: [&str; 14] = [
    "/v1/chat/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/v1/models",
    "/u/ada/v1/models",
    "/health",
    "/ready",
    "/operator/api/users/ada/keys",
    "/v1/%",
    "/u//v1/x",
    "*",
    "/",
    "http://127.0.0.1/v1/models",
    "/v1/chat/completions?\u{1F600}",
];

const HEADERS: [&str; 16] = [
    "X-User-ID",
    "X-Gateway-Key",
    "Authorization",
    "X-Project-ID",
    "X-Conversation-ID",
    "Content-Type",
    "Content-Length",
    "Transfer-Encoding",
    "Expect",
    "Host",
    "Upgrade",
    "Connection",
    "Content-Encoding",
    "Origin",
    "CF-Connecting-IP",
    "Accept",
];

/// The first so many are short, or credentials.
const CREDENTIALS: usize = 6;

const VALUES: [&str; 18] = [
    "ada",
    "",
    "ogk_a_x",
    "Bearer ogk_ada_",
    "Bearer ",
    "Bearer sk-x",
    "chunked",
    "0",
    "-1",
    "99999999999999999999",
    "18446744073709551616",
    "100-continue",
    "application/json",
    "gzip",
    "websocket",
    "\u{e9}\u{1F600}",
    "a,b,,c",
    "127.0.0.1",
];

const BODIES: [&str; 10] = [
    "",
    "{",
    "{\"stream\":true}",
    "{\"stream\":true,\"stream_options\":7}",
    "[[[[[[",
    "{\"model\":\"\\ud800\"}",
    "{\"a\":1,\"a\":2}",
    "5\r\nhello\r\n0\r\n\r\n",
    "zz\r\n",
    "null",
];

/// A request that is right here and there.
fn request(random: &mut Rng) -> Vec<u8> {
    if random.u8(..4) == 0 {
        let length = random.usize(..400);
        return std::iter::repeat_with(|| random.u8(..)).take(length).collect();
    }
    let one = |random: &mut Rng, of: &[&str]| of[random.usize(..of.len())].to_owned();
    let mut target = one(random, &TARGETS);
    for _ in 0..random.usize(..4) {
        let at = random.usize(..=target.len());
        if target.is_char_boundary(at) {
            target.insert(at, random.char('\0'..'\u{ff}'));
        }
    }
    let mut text = format!("{} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n", one(random, &METHODS));
    for _ in 0..random.usize(..6) {
        let name = one(random, &HEADERS);
        // What is shown as a credential is searched for in all that the run wrote down, so it is no
        // word that stands elsewhere too.
        let is_credential = matches!(name.as_str(), "Authorization" | "X-Gateway-Key");
        let values = if is_credential { &VALUES[..CREDENTIALS] } else { &VALUES[..] };
        write!(text, "{name}: {}\r\n", one(random, values)).unwrap();
    }
    let body = one(random, &BODIES);
    if random.bool() {
        write!(text, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    text.push_str("Connection: close\r\n\r\n");
    text.push_str(&body);
    let mut bytes = text.into_bytes();
    for _ in 0..random.usize(..3) {
        let at = random.usize(..bytes.len());
        bytes[at] = random.u8(..);
    }
    bytes
}

async fn ten_thousand_random_requests_fault_nothing() {
    let gateway = &shared::open().await.gateway;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = Rng::with_seed(seed);
    let requests: Vec<_> = (0..10_000).map(|_| request(&mut random)).collect();
    let faults: Vec<String> = stream::iter(requests)
        .map(|bytes| async move {
            let answer = raw::send_and_finish(gateway.address(), &bytes).await;
            // 501 and 505 are the runtime's own words about HTTP that nobody speaks.
            let allowed = match answer.status {
                0..=499 | 501 | 505 => true,
                500 => false,
                // The answer to a HEAD has no body that could say which.
                _ if bytes.starts_with(b"HEAD ") => true,
                _ => answer.code().starts_with("upstream_"),
            };
            let text = || format!("{} for {}", answer.head, bytes.escape_ascii());
            (!allowed).then(text)
        })
        .buffer_unordered(16)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(faults.is_empty(), "seed {seed}: {} faults, the first: {}", faults.len(), faults[0]);
    still_well(gateway).await;
}

async fn huge_heads_and_bodies_fault_nothing() {
    let pair = shared::open().await;
    let gateway = &pair.gateway;
    let long = "a".repeat(200_000);
    for (target, name) in [
        (format!("/v1/{long}"), "X-Filler"),
        (format!("/v1/models?{long}"), "X-Filler"),
        ("/v1/models".to_owned(), "X-User-ID"),
        ("/v1/models".to_owned(), "Authorization"),
        ("/v1/models".to_owned(), "X-Gateway-Key"),
    ] {
        let value = if name == "X-Filler" { "short" } else { &long };
        let request = raw::head("GET", &target, &[(name, value)]);
        let status = raw::send_and_finish(gateway.address(), &request).await.status;
        assert!(status < 500 || status == 502, "{name}: {status}");
    }
    let nested = "[".repeat(2_000_000);
    let many = format!("{{{}\"stream\":true}}", "\"a\":1,".repeat(500_000));
    let text = format!("{{\"stream\":true,\"model\":\"{}\"}}", "m".repeat(5_000_000));
    for body in [nested, many, text, "9".repeat(1_000_000), "\"\\u0000".repeat(100_000)] {
        for path in ["/v1/chat/completions", "/v1/responses"] {
            let request = gateway.request(Method::POST, path).bearer_auth("sk-caller");
            let request = request.header("x-user-id", shared::user("huge"));
            let request = request.header("content-type", "application/json").body(body.clone());
            let answer = answer(request).await;
            assert!(answer.status == 200 || answer.status == 400, "{answer:?}");
        }
    }
    still_well(gateway).await;
}

/// Three hundred rows with their whole paths would be more than D1 takes at once.
async fn long_paths_do_not_stop_the_ledger() {
    let pair = shared::open().await;
    let user = shared::user("long");
    pair.gateway.mint_key(&user).await;
    let wrong = format!("ogk_{user}_{}", "A".repeat(43));
    let path = format!("/v1/{}", "a".repeat(15_000));
    stream::iter(0..300)
        .for_each_concurrent(16, async |_| {
            let request = pair.gateway.get(&user, &path).header("x-gateway-key", &wrong);
            answer(request).await.refuses(401, "invalid_key");
        })
        .await;
    let passed = answer(pair.gateway.get(&user, "/v1/models")).await;
    passed.is(200);
    pair.gateway.ledger().row(passed.request_id()).await;
    let counted: i64 = pair.gateway.ledger().rows(&user).iter().map(|row| row.count).sum();
    assert_eq!(counted, 301);
}

async fn still_well(gateway: &Gateway) {
    answer(gateway.get(&shared::user("after"), "/v1/models")).await.is(200);
    let log = gateway.log_text();
    for sign in ["panicked", "RuntimeError", "unreachable executed", "hung", "internal error"] {
        let line = log.lines().find(|line| line.contains(sign));
        assert_eq!(line, None, "in the log");
    }
}
