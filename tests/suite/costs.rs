//! What a request costs before its answer begins: messages to the user's object, their bytes, and
//! commits there. How much may be is in `budget`.
//!
//! The messages are counted where each must pass, in `objects::call` of the build for tests; the
//! commits by `SQLite` itself, in its logs.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::commits::commits;
use gateway_tests::script::chat_request;
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, Upstream, wait_for};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::answer;
use crate::openclaw::{Person, options};
use crate::runner::Test;
use crate::{budget, shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        an_admission_is_one_message_and_one_commit,
        who_is_known_by_a_bearer_is_admitted_by_one_message,
        a_large_body_is_one_message_more,
        a_refusal_that_names_where_to_buy_is_one_message,
        a_response_is_one_message_and_one_commit_more,
        what_is_said_to_an_object_is_short,
    ]
}

/// The messages to the object of `user` so far, in their order.
pub async fn messages(gateway: &Gateway, user: &str) -> Vec<String> {
    // The log is a queue: once a later line is there, all lines before it are.
    let later = answer(gateway.request(Method::GET, "/nothing")).await;
    gateway.log_line(later.request_id()).await;
    let mut lines = gateway.log();
    lines.retain(|line| line["event"] == "object_call" && line["object"] == user);
    lines.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

fn commits_of_objects(gateway: &Gateway) -> usize {
    commits(gateway.state(), "UserSession")
}

/// The commits once nothing of what came before is on its way to D1 any more, where it begins to go
/// after a second and a half at most.
async fn commits_at_rest(gateway: &Gateway) -> usize {
    let mut last = (commits_of_objects(gateway), Instant::now());
    while last.1.elapsed() < Duration::from_secs(4) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = commits_of_objects(gateway);
        if now != last.0 {
            last = (now, Instant::now());
        }
    }
    last.0
}

/// Sends a request, and waits until it has reached the upstream, which says nothing yet.
async fn reach(request: RequestBuilder, route: &Route) -> tokio::task::JoinHandle<()> {
    let before = route.seen().len();
    let waiting = tokio::spawn(async move {
        request.send().await.ok();
    });
    let arrived = || (route.seen().len() > before).then_some(());
    wait_for("request upstream", Duration::from_secs(30), arrived).await;
    waiting
}

async fn an_admission_is_one_message_and_one_commit() {
    let upstream = Upstream::start().await;
    let options = Options::new().var("USER_BINDING", "open").upstream(upstream.url());
    let gateway = Gateway::start(options.fault_injection()).await;
    let route = upstream.route(Script::new().hang());
    let mut waiting = Vec::new();
    // The first one makes the object and its tables. None of them ends, so nothing else is written.
    for number in 1..=5 {
        let request = gateway.post("ada", &route.chat(), &chat_request("hi", true));
        waiting.push(reach(request, &route).await);
        assert_eq!(messages(&gateway, "ada").await, budget::ADMITTED.messages.repeat(number));
        assert_eq!(commits_of_objects(&gateway), budget::ADMITTED.commits * number);
    }
    gateway.stop();
    join_all(waiting).await;
}

async fn who_is_known_by_a_bearer_is_admitted_by_one_message() {
    let upstream = Upstream::start().await;
    let options = Options::new().upstream(upstream.url()).fault_injection();
    let gateway = Gateway::start(options).await;
    let route = upstream.route(Script::chat("hi", 3));
    let says = || answer(gateway.post("ada", &route.chat(), &chat_request("hi", false)));
    // A row is there once its request is settled.
    for expected in [budget::WHOLE_FIRST, budget::WHOLE] {
        let before = messages(&gateway, "ada").await.len();
        let answered = says().await;
        answered.is(200);
        gateway.ledger().row(answered.request_id()).await;
        assert_eq!(messages(&gateway, "ada").await[before..], *expected);
    }
}

async fn what_is_said_to_an_object_is_short() {
    let upstream = Upstream::start().await;
    let options = Options::new().upstream(upstream.url()).fault_injection();
    let gateway = Gateway::start(options).await;
    let route = upstream.route(Script::chat("hi", 3));
    for _ in 0..2 {
        let request = gateway.post("ada", &route.chat(), &chat_request("hi", false));
        let answered = answer(request).await;
        answered.is(200);
        gateway.ledger().row(answered.request_id()).await;
    }
    messages(&gateway, "ada").await;
    let of_ada: Vec<_> = gateway.log().into_iter().filter(|line| line["object"] == "ada").collect();
    for (message, most_sent, most_received) in budget::BYTES {
        // The last is the second request's, for which the caller was known.
        let bytes = |event: &str| {
            let is_it = |line: &&Value| line["event"] == event && line["message"] == *message;
            of_ada.iter().rfind(is_it).unwrap()["bytes"].as_u64().unwrap()
        };
        let (sent, received) = (bytes("object_call"), bytes("object_reply"));
        println!("{message}: {sent} bytes to the object, {received} back");
        assert!((1..=*most_sent).contains(&sent), "{message}: {sent} bytes to the object");
        assert!((1..=*most_received).contains(&received), "{message}: {received} bytes back");
    }
}

async fn a_refusal_that_names_where_to_buy_is_one_message() {
    let options = shared::selling(Options::new()).var("REQUIRE_TIER", "true").fault_injection();
    let pair = shared::pair(options).await;
    let key = pair.gateway.mint_key("ada").await.key;
    let before = messages(&pair.gateway, "ada").await.len();
    let request = pair.gateway.post("ada", "/v1/chat/completions", &chat_request("hi", false));
    let refused = answer(request.header("x-gateway-key", &key)).await;
    refused.refuses(402, "payment_required");
    assert!(refused.text().contains("/upgrade?tier=tier1"), "{}", refused.text());
    assert_eq!(messages(&pair.gateway, "ada").await[before..], *budget::REFUSED);
}

async fn a_large_body_is_one_message_more() {
    let upstream = Upstream::start().await;
    let options = Options::new().var("USER_BINDING", "key").upstream(upstream.url());
    let gateway = Gateway::start(options.fault_injection()).await;
    let route = upstream.route(Script::new().hang());
    let ada = Person::new(&gateway, "ada").await;
    let before = commits_at_rest(&gateway).await;
    let request = gateway.request(Method::POST, &route.chat()).header("x-gateway-key", &ada.key);
    let body = chat_request(&"x".repeat(300_000), true);
    let waiting = reach(request.bearer_auth("sk-caller").json(&body), &route).await;
    assert_eq!(messages(&gateway, &ada.user).await[1..], *budget::LARGE.messages);
    assert_eq!(commits_of_objects(&gateway), before + budget::LARGE.commits);
    gateway.stop();
    waiting.await.unwrap();
}

async fn a_response_is_one_message_and_one_commit_more() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(options(&upstream.url()).fault_injection()).await;
    let created = json!({ "type": "response.created", "response": { "id": "resp_1" } });
    let route = upstream.route(Script::new().event_stream().event(&created).hang());
    let ada = Person::new(&gateway, "ada").await;
    let before = commits_at_rest(&gateway).await;
    let body = json!({ "model": "openclaw/default", "input": "hi", "stream": true });
    let request = ada.request(Method::POST, &route.path("/v1/responses")).json(&body);
    let mut running = request.send().await.unwrap();
    running.chunk().await.unwrap().expect("the first event");
    assert_eq!(messages(&gateway, &ada.user).await[1..], *budget::RESPONSE.messages);
    assert_eq!(commits_of_objects(&gateway), before + budget::RESPONSE.commits);
}
