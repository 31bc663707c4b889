//! `USER_BINDING=first-key`: a USER_ID belongs to the bearer that first got an answer with it.

use std::time::Duration;

use futures::future::join_all;
use gateway_tests::script::{chat_request, completion};
use gateway_tests::upstream::Route;
use gateway_tests::{Options, Script};
use reqwest::{Method, RequestBuilder};

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::{Pair, user};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        the_bearer_that_first_succeeds_owns_the_name,
        only_an_inference_that_succeeds_binds,
        a_stream_binds_before_its_first_byte,
        of_many_at_once_one_owns_the_name,
        a_binding_outlives_the_runtime,
        a_name_with_a_key_is_never_bound,
        a_key_speaks_for_a_bound_name_beside_any_bearer,
        a_wrong_bearer_costs_its_victim_nothing,
        nobody_owns_anonymous,
        one_sees_oneself,
    ]
}

fn chat(pair: &Pair, user: &str, route: &Route, bearer: &str) -> RequestBuilder {
    let request = pair.gateway.request(Method::POST, &route.chat()).header("x-user-id", user);
    request.bearer_auth(bearer).json(&chat_request("hi", false))
}

async fn says(pair: &Pair, user: &str, route: &Route, bearer: &str) -> Answer {
    answer(chat(pair, user, route, bearer)).await
}

async fn the_bearer_that_first_succeeds_owns_the_name() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    says(pair, &ada, &route, "sk-ada").await.is(200);
    says(pair, &ada, &route, "sk-ada").await.is(200);
    let refused = says(pair, &ada, &route, "sk-eve").await;
    refused.refuses(401, "user_id_bound");
    assert_eq!(refused.header("x-ratelimit-remaining-requests"), "", "a stranger learns nothing");
    for path in ["/v1/models", "/v1/files"] {
        let request = pair.gateway.request(Method::GET, &route.path(path));
        let request = request.header("x-user-id", &ada).bearer_auth("sk-eve");
        answer(request).await.refuses(401, "user_id_bound");
    }
    let in_path = pair.gateway.request(Method::POST, &format!("/u/{ada}{}", route.chat()));
    let in_path = in_path.bearer_auth("sk-eve").json(&chat_request("hi", false));
    answer(in_path).await.refuses(401, "user_id_bound");
    assert_eq!(route.seen().len(), 2, "only what is Ada's went upstream");
    let row = pair.gateway.ledger().row(refused.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (401, Some("user_id_bound")));
}

async fn only_an_inference_that_succeeds_binds() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    let failing = pair.upstream.route(Script::answer(401, &[], "wrong key"));
    says(pair, &ada, &failing, "sk-wrong").await.is(401);
    let listed = pair.gateway.request(Method::GET, &route.path("/v1/models"));
    answer(listed.header("x-user-id", &ada).bearer_auth("sk-list")).await.is(200);
    let stored = pair.gateway.request(Method::POST, &route.path("/v1/files"));
    answer(stored.header("x-user-id", &ada).bearer_auth("sk-store").body("x")).await.is(200);
    says(pair, &ada, &route, "sk-ada").await.is(200);
    says(pair, &ada, &failing, "sk-wrong").await.refuses(401, "user_id_bound");
}

async fn a_stream_binds_before_its_first_byte() {
    let pair = shared::first_key().await;
    let slow = Script::chat_stream(&["a", "b", "c"], Duration::from_secs(1), None);
    let (ada, slow) = (user("ada"), pair.upstream.route(slow));
    let route = pair.upstream.route(Script::chat("hi", 3));
    let mut running = chat(pair, &ada, &slow, "sk-ada").send().await.unwrap();
    running.chunk().await.unwrap().expect("the first event");
    says(pair, &ada, &route, "sk-eve").await.refuses(401, "user_id_bound");
    says(pair, &ada, &route, "sk-ada").await.is(200);
}

async fn of_many_at_once_one_owns_the_name() {
    let pair = shared::first_key().await;
    let hello = completion("hi", 3).to_string();
    let waiting = Script::new().wait(Duration::from_millis(100)).respond(200, &[], hello);
    let (ada, slow) = (user("ada"), pair.upstream.route(waiting));
    let route = pair.upstream.route(Script::chat("hi", 3));
    let bearers: Vec<_> = (0..8).map(|number| format!("sk-{number}")).collect();
    join_all(bearers.iter().map(|bearer| says(pair, &ada, &slow, bearer))).await;
    let after = join_all(bearers.iter().map(|bearer| says(pair, &ada, &route, bearer))).await;
    assert_eq!(after.iter().filter(|answer| answer.status == 200).count(), 1);
    for refused in after.iter().filter(|answer| answer.status != 200) {
        refused.refuses(401, "user_id_bound");
    }
}

async fn a_binding_outlives_the_runtime() {
    let pair = shared::pair(Options::new()).await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    says(&pair, "ada", &route, "sk-ada").await.is(200);
    pair.gateway.kill_runtime().await;
    pair.gateway.restart().await;
    says(&pair, "ada", &route, "sk-eve").await.refuses(401, "user_id_bound");
    says(&pair, "ada", &route, "sk-ada").await.is(200);
}

async fn a_name_with_a_key_is_never_bound() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    let key = pair.gateway.mint_key(&ada).await.key;
    for bearer in ["sk-ada", "sk-eve"] {
        says(pair, &ada, &route, bearer).await.refuses(401, "missing_key");
    }
    let with_key = || chat(pair, &ada, &route, "sk-ada").header("x-gateway-key", &key);
    answer(with_key()).await.is(200);
    answer(with_key()).await.is(200);
    says(pair, &ada, &route, "sk-ada").await.refuses(401, "missing_key");
}

async fn a_key_speaks_for_a_bound_name_beside_any_bearer() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    says(pair, &ada, &route, "sk-ada").await.is(200);
    let key = pair.gateway.mint_key(&ada).await.key;
    answer(chat(pair, &ada, &route, "sk-new").header("x-gateway-key", &key)).await.is(200);
    says(pair, &ada, &route, "sk-ada").await.is(200);
    says(pair, &ada, &route, "sk-new").await.refuses(401, "user_id_bound");
}

async fn a_wrong_bearer_costs_its_victim_nothing() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    says(pair, &ada, &route, "sk-ada").await.is(200);
    let guesses = (0..60).map(|number| format!("sk-{number}"));
    for refused in join_all(guesses.map(async |b| says(pair, &ada, &route, &b).await)).await {
        refused.refuses(401, "user_id_bound");
    }
    let answered = says(pair, &ada, &route, "sk-ada").await;
    answered.is(200);
    assert_eq!(answered.number("x-ratelimit-remaining-requests"), 48);
}

async fn nobody_owns_anonymous() {
    let pair = shared::first_key().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    for bearer in ["sk-1", "sk-2"] {
        let request = pair.gateway.request(Method::POST, &route.chat()).bearer_auth(bearer);
        answer(request.json(&chat_request("hi", false))).await.is(200);
    }
}

async fn one_sees_oneself() {
    let pair = shared::first_key().await;
    let (ada, route) = (user("ada"), pair.upstream.route(Script::chat("hi", 3)));
    let me = |bearer: &'static str| {
        let request = pair.gateway.request(Method::GET, "/me").header("x-user-id", &ada);
        answer(request.bearer_auth(bearer))
    };
    me("sk-ada").await.refuses(401, "missing_key");
    let first = says(pair, &ada, &route, "sk-ada").await;
    first.is(200);
    me("sk-eve").await.refuses(401, "user_id_bound");
    answer(pair.gateway.request(Method::GET, "/me")).await.refuses(401, "missing_key");
    pair.gateway.ledger().row(first.request_id()).await;
    let seen = me("sk-ada").await;
    seen.is(200);
    let seen = seen.json();
    assert_eq!(seen["user_id"], ada);
    assert_eq!(seen["binding"], "first-key");
    assert_eq!(seen["blocked"], false);
    assert_eq!((&seen["window"]["limit"], &seen["window"]["used"]), (&50.into(), &1.into()));
    assert_eq!(seen["window"]["next_free_ms"], 0);
    assert_eq!(seen["keys"], serde_json::json!([]));
    assert_eq!(seen["recent"][0]["request_id"], first.request_id());
    assert_eq!(
        (&seen["recent"][0]["status"], &seen["recent"][0]["tokens"]),
        (&200.into(), &3.into())
    );
    assert!(seen.get("outbox").is_none() && seen.get("blocked_reason").is_none());
    let key = pair.gateway.mint_key(&ada).await;
    let by_key = pair.gateway.request(Method::GET, "/me").bearer_auth(&key.key);
    let seen = answer(by_key).await.json();
    assert_eq!(seen["binding"], "key");
    assert_eq!(seen["keys"][0]["key_id"], key.key_id);
    assert!(seen["keys"][0].get("last_used_ip_hash").is_none());
}
