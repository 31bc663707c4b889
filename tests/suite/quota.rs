//! The monthly quota: exact at its edge, given back for what the upstream failed.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::tiers::give;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient: ten_thousand_are_admitted_and_not_one_more_whatever_happens];
    tests.extend(tests![Ordinary: what_the_upstream_failed_is_given_back]);
    tests
}

/// The limit of `tier1`.
const LIMIT: u64 = 10_000;

/// A user with a key.
struct User<'a> {
    gateway: &'a Gateway,
    key: String,
}

impl<'a> User<'a> {
    async fn of_tier(gateway: &'a Gateway, tier: &str) -> Self {
        let key = gateway.mint_key("ada").await.key;
        give(gateway, "ada", tier).await;
        Self { gateway, key }
    }

    fn embed(&self, path: &str) -> RequestBuilder {
        self.gateway.post("ada", path, &json!({})).header("x-gateway-key", &self.key)
    }

    fn chat(&self, path: &str, stream: bool) -> RequestBuilder {
        let request = self.gateway.post("ada", path, &chat_request("hi", stream));
        request.header("x-gateway-key", &self.key)
    }

    async fn month(&self) -> Value {
        let seen = self.gateway.request(reqwest::Method::GET, "/me").bearer_auth(&self.key);
        answer(seen).await.json()["month"].clone()
    }
}

/// The status of each of so many requests, in lanes that each send one after the other.
async fn statuses(lanes: usize, each: usize, request: impl Fn() -> RequestBuilder) -> Vec<u16> {
    let lane = async || {
        let mut statuses = Vec::new();
        for _ in 0..each {
            let response = request().send().await.unwrap();
            statuses.push(response.status().as_u16());
            response.bytes().await.unwrap();
        }
        statuses
    };
    join_all((0..lanes).map(|_| lane())).await.concat()
}

/// How many milliseconds there are until the month turns, in UTC, and the name of the next one.
fn until_the_turn(gateway: &Gateway) -> (i64, String) {
    let query = "select (unixepoch('now', 'start of month', '+1 month') - unixepoch('now')) * 1000,
        strftime('%Y-%m', 'now', 'start of month', '+1 month')";
    let turn = gateway.ledger().open();
    turn.query_row(query, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
}

fn is_used_up(refused: &Answer) {
    refused.refuses(402, "monthly_quota_exceeded");
    assert_eq!(refused.header("x-should-retry"), "false");
    assert_eq!(refused.number("x-quota-limit-month"), LIMIT);
    assert_eq!(refused.number("x-quota-remaining-month"), 0);
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.starts_with("This month's requests are used up: 10000 of 10000. From 1 "));
}

async fn ten_thousand_are_admitted_and_not_one_more_whatever_happens() {
    let options = Options::new().var("USER_BINDING", "key").fault_injection();
    let options = ["REQUESTS_PER_MINUTE", "MAX_IN_FLIGHT"]
        .iter()
        .fold(options, |options, name| options.var(name, "1000000"));
    let pair = shared::pair(options).await;
    let quick = pair.upstream.route(Script::answer(200, &[], ""));
    let ada = User::of_tier(&pair.gateway, "tier1").await;
    let began = Instant::now();
    let (lanes, each) = (20, 495);
    let filled = statuses(lanes, each, || ada.embed(&quick.path("/v1/embeddings"))).await;
    println!("{} requests of one user in {:.1?}", filled.len(), began.elapsed());
    assert!(filled.iter().all(|status| *status == 200), "{filled:?}");
    // Whatever the upstream fails costs nothing, however often.
    let failing = pair.upstream.route(Script::json(503, &json!({})));
    let failed = statuses(20, 10, || ada.embed(&failing.path("/v1/embeddings"))).await;
    assert_eq!(failed, [503; 200]);
    ada.gateway.ledger().settled("ada", 10_100).await;
    assert_eq!(ada.month().await["requests"], 9_900);

    // A hundred are left for two hundred that come at once, and all of them run for a while.
    let gate = Arc::new(Semaphore::new(0));
    let held = pair.upstream.route(Script::new().gate(&gate).respond(200, &[], ""));
    let path = held.path("/v1/embeddings");
    let rush = statuses(200, 1, || ada.embed(&path));
    let open = async {
        let all = || (held.seen().len() == 100).then_some(());
        wait_for("the hundred that are left", Duration::from_mins(1), all).await;
        // Running requests count: nobody slips in beside them.
        is_used_up(&answer(ada.embed(&quick.path("/v1/embeddings"))).await);
        gate.add_permits(1_000);
    };
    let (rush, ()) = tokio::join!(rush, open);
    assert_eq!(rush.iter().filter(|status| **status == 200).count(), 100);
    assert_eq!(rush.iter().filter(|status| **status == 402).count(), 100);
    assert_eq!(held.seen().len(), 100);

    // Neither a kill nor what waits for D1 makes room.
    pair.gateway.kill_runtime().await;
    pair.gateway.restart().await;
    let after = statuses(50, 1, || ada.embed(&path)).await;
    assert_eq!(after, [402; 50]);
    let (offset, next) = until_the_turn(&pair.gateway);
    let at = |offset: i64| {
        let request = ada.embed(&quick.path("/v1/embeddings"));
        answer(request.header("x-fault-clock-offset-ms", offset.to_string()))
    };
    let last = at(offset - 30_000).await;
    is_used_up(&last);
    let first = at(offset).await;
    first.is(200);
    assert_eq!(first.number("x-quota-remaining-month"), LIMIT - 1);
    assert_eq!(ada.month().await["month"], next);
    is_used_up(&at(0).await);
    let seen = ada.month().await;
    assert_eq!((&seen["requests"], &seen["limit"]), (&json!(LIMIT), &json!(LIMIT)));
}

async fn what_the_upstream_failed_is_given_back() {
    let options = Options::new().var("USER_BINDING", "key").var("UPSTREAM_FIRST_BYTE_MS", "10000");
    let pair = shared::pair(options).await;
    let ada = User::of_tier(&pair.gateway, "tier2").await;
    let events = || Script::new().event_stream();
    let role = json!({ "choices": [{ "index": 0, "delta": { "role": "assistant" } }] });
    let error = json!({ "error": { "message": "no", "code": "overloaded" } });
    let text = chat_chunk("some of an answer");
    let json_head = [("content-type", "application/json")];
    let half =
        Script::new().chunked(200, &json_head).chunk(r#"{"choices":[{"message":{"content":"so"#);
    let mut used = 0;
    for (what, script, status, counts) in [
        ("an answer", Script::chat("hi", 7), 200, true),
        ("a stream", Script::chat_stream(&["hi"], Duration::ZERO, Some(9)), 200, true),
        ("a mistake of the client's", Script::json(404, &json!({})), 404, true),
        ("the upstream's own limit", Script::json(429, &json!({})), 429, true),
        ("a failure", Script::json(500, &json!({ "error": {} })), 500, false),
        ("a busy upstream", Script::json(503, &json!({})), 503, false),
        ("a tunnel's timeout", Script::json(524, &json!({})), 504, false),
        ("silence", Script::new().hang(), 504, false),
        ("a broken connection", Script::new().reset(), 502, false),
        ("a redirect", Script::answer(302, &[("location", "/x")], ""), 502, false),
        ("an error at once", events().event(&error).done(), 502, false),
        ("an error before any text", events().event(&role).event(&error).done(), 502, false),
        ("an error after some text", events().event(&text).event(&error).done(), 502, true),
        ("a break before any text", events().event(&role).reset(), 502, false),
        ("a break after some text", events().event(&text).reset(), 502, true),
        ("a break within an answer", half.reset(), 502, true),
    ] {
        let route = pair.upstream.route(script);
        let response = ada.chat(&route.chat(), true).send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let remaining = response.headers()["x-quota-remaining-month"].to_str().unwrap().to_owned();
        assert_eq!(remaining, (50_000 - used - 1).to_string(), "{what}: it is taken meanwhile");
        let mut body = response.bytes_stream();
        while body.next().await.is_some_and(|piece| piece.is_ok()) {}
        let row = pair.gateway.ledger().row(&id).await;
        used += u64::from(counts);
        assert_eq!(row.status, status, "{what}: {row:?}");
        assert_eq!(ada.month().await["requests"], used, "{what}");
    }
    // Who leaves has had what was asked for, as far as anybody knows.
    let endless = pair.upstream.route(events().event(&role).hang());
    let mut response = ada.chat(&endless.chat(), true).send().await.unwrap();
    response.chunk().await.unwrap();
    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
    drop(response);
    assert_eq!(pair.gateway.ledger().row(&id).await.status, 499);
    let seen = ada.month().await;
    assert_eq!((&seen["requests"], &seen["limit"]), (&json!(used + 1), &json!(50_000)));
    let rows = pair.gateway.ledger().rows("ada");
    let tokens: i64 = rows.iter().map(|row| row.tokens_est).sum();
    assert_eq!(seen["tokens"], tokens, "what failed had none");
}
