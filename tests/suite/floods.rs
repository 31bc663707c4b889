//! One user who is refused again and again: the object is hardly asked, nothing is lost of the count,
//! and nobody else's answer changes.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use futures::future::join_all;
use gateway_tests::{Gateway, Options, Script};
use reqwest::Method;
use serde_json::json;
use tokio::time::sleep;

use crate::answer::{Answer, answer};
use crate::costs::messages;
use crate::leaving::ask;
use crate::runner::Test;
use crate::{budget, shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary: who_leaves_is_counted_all_the_same];
    tests.extend(tests![Alone: a_flood_is_refused_without_asking_and_is_counted]);
    tests
}

/// The page of somebody who may read answers.
const ORIGIN: &str = "https://app.example";

/// More than the refusals of a minute that have rows of their own.
const MANY: usize = 120;

/// A gateway where a user may ask once a minute, and one with this key has met that limit more often
/// than there are rows for.
async fn flooded(user: &str) -> (shared::Pair, String) {
    let options = Options::new().var("USER_BINDING", "key").var("REQUESTS_PER_MINUTE", "1");
    let options = options.var("CORS_ORIGINS", ORIGIN);
    let pair = shared::pair(options.fault_injection()).await;
    let key = pair.gateway.mint_key(user).await.key;
    early_in_a_minute().await;
    asks(&pair.gateway, &key).await.is(200);
    flood(&pair.gateway, &key, MANY).await;
    (pair, key)
}

/// Whoever has this key asks for something cheap, with the bearer that the upstream wants.
async fn asks(gateway: &Gateway, key: &str) -> Answer {
    let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
    answer(request.header("x-gateway-key", key)).await
}

async fn flood(gateway: &Gateway, key: &str, requests: usize) {
    let mut ids = BTreeSet::new();
    for refused in join_all((0..requests).map(|_| asks(gateway, key))).await {
        refused.refuses(429, "rate_limit_exceeded");
        assert_eq!(refused.header("x-ratelimit-remaining-requests"), "0");
        let wait: u64 = refused.header("retry-after-ms").parse().unwrap();
        assert!((1..=60_000).contains(&wait), "{wait}");
        assert_eq!(refused.header("content-security-policy"), "sandbox");
        assert!(ids.insert(refused.request_id().to_owned()), "each has a name of its own");
    }
}

/// A minute of the clock begins anew for the rows of refusals: not in the middle of what follows.
async fn early_in_a_minute() {
    let second = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() % 60;
    if second > 35 {
        sleep(Duration::from_secs(60 - second)).await;
    }
}

async fn a_flood_is_refused_without_asking_and_is_counted() {
    let (pair, key) = flooded("ada").await;
    let gateway = &pair.gateway;
    let (mut made, mut tries) = (1 + MANY, 0);
    loop {
        tries += 1;
        let before = messages(gateway, "ada").await.len();
        // Who asks now is remembered for a second, unless this machine takes longer for it.
        flood(gateway, &key, 1).await;
        flood(gateway, &key, MANY).await;
        made += 1 + MANY;
        let said = messages(gateway, "ada").await.split_off(before);
        println!("{} messages for {} refusals", said.len(), 1 + MANY);
        if said.len() <= budget::FLOOD {
            break;
        }
        assert!(tries < 8, "{said:?}");
    }
    // Whoever might hear something else, does.
    let another = gateway.mint_key("ada").await.key;
    flood(gateway, &another, 1).await;
    asks(gateway, "ogk_ada_0000000000000000000000000000000000000000000").await.is(401);
    flood(gateway, &key, 2).await;
    let alike = || {
        let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
        request.header("x-gateway-key", &key)
    };
    for (name, value, code) in [
        ("x-user-id", "bob", "user_id_conflict"),
        ("x-project-id", "a b", "invalid_project_id"),
        ("x-conversation-id", "a b", "invalid_conversation_id"),
    ] {
        answer(alike().header(name, value)).await.refuses(400, code);
    }
    for _ in 0..2 {
        let page = answer(alike().header("origin", ORIGIN)).await;
        page.refuses(429, "rate_limit_exceeded");
        assert_eq!(page.header("access-control-allow-origin"), ORIGIN);
    }
    // Beside what was made before: the one of another key, two again, and the page's two.
    let rows = gateway.ledger().settled("ada", i64::try_from(made + 6).unwrap()).await;
    let most = 1 + 2 * 100 + 8 * tries;
    assert!(rows.len() <= most, "{} rows for {made} requests", rows.len());
    // What the operator mends holds within a second.
    let reset = gateway.operator(Method::POST, "/operator/api/users/ada/reset");
    answer(reset.json(&json!({}))).await.is(204);
    sleep(Duration::from_secs(1)).await;
    asks(gateway, &key).await.is(200);
}

async fn who_leaves_is_counted_all_the_same() {
    const LEAVING: usize = 20;
    let (pair, key) = flooded("bob").await;
    let gateway = &pair.gateway;
    let route = pair.upstream.route(Script::chat("hi", 1));
    let mut left = Vec::new();
    for _ in 0..LEAVING {
        left.push(ask(gateway, "bob", &route, &[("X-Gateway-Key", &key)]).await);
    }
    sleep(Duration::from_millis(100)).await;
    for stream in &left {
        stream.set_zero_linger().unwrap();
    }
    drop(left);
    // Where this machine is slow, some left before anybody saw them.
    let least = i64::try_from(1 + MANY + LEAVING / 2).unwrap();
    let patience = Duration::from_secs(20);
    gateway_tests::wait_for("refusals of who left", patience, || {
        let rows = gateway.ledger().rows("bob");
        (rows.iter().map(|row| row.count).sum::<i64>() >= least).then_some(())
    })
    .await;
}
