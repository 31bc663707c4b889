//! Everything at once, and the runtime killed in the middle of it: the window holds.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::script::chat_request;
use gateway_tests::{Options, Script};

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::Pair;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        four_hundred_at_once_admit_fifty_and_none_more_after_a_kill,
        a_kill_in_the_middle_of_a_burst_admits_nobody_twice,
    ]
}

fn options() -> Options {
    Options::new().var("USER_BINDING", "open").var("MAX_IN_FLIGHT", "1000")
}

/// Sends 400 requests of one user at once; how many were admitted and refused. Whatever else
/// became of one is an error, and counted nowhere.
async fn burst(pair: &Pair, user: &str, path: &str) -> (usize, usize) {
    let send = async || {
        let request = pair.gateway.post(user, path, &chat_request("hi", false));
        Some(request.send().await.ok()?.status().as_u16())
    };
    let statuses = join_all((0..400).map(|_| send())).await;
    let count = |wanted| statuses.iter().filter(|status| **status == Some(wanted)).count();
    let other = statuses.iter().flatten().find(|status| ![200, 429].contains(*status));
    assert_eq!(other, None);
    (count(200), count(429))
}

async fn four_hundred_at_once_admit_fifty_and_none_more_after_a_kill() {
    let pair = shared::pair(options()).await;
    let route = pair.upstream.route(Script::new().wait(Duration::from_millis(200)).respond(
        200,
        &[("content-type", "application/json")],
        "{}",
    ));
    let began = Instant::now();
    assert_eq!(burst(&pair, "ada", &route.chat()).await, (50, 350));
    assert_eq!(route.seen().len(), 50);
    // The refusals: a hundred a minute as rows of their own, the others folded, none lost.
    let rows = pair.gateway.ledger().settled("ada", 400).await;
    assert_eq!(rows.iter().filter(|row| row.status == 200).count(), 50);
    let alone = rows.iter().filter(|row| row.status == 429 && row.count == 1).count();
    assert!((100..=201).contains(&alone), "{alone} refusals have a row of their own");
    assert!(rows.len() < 300, "{} rows", rows.len());

    pair.gateway.kill_runtime().await;
    pair.gateway.restart().await;
    let after = burst(&pair, "ada", &route.chat()).await;
    assert!(began.elapsed() < Duration::from_secs(55), "too late to tell: {:?}", began.elapsed());
    assert_eq!(after, (0, 400), "the window came back from the disk");
    assert_eq!(route.seen().len(), 50);
    pair.gateway.ledger().settled("ada", 800).await;
    // Nor has anybody else been harmed.
    answer(pair.gateway.get("bob", "/v1/models")).await.is(200);
}

async fn a_kill_in_the_middle_of_a_burst_admits_nobody_twice() {
    let pair = shared::pair(options()).await;
    answer(pair.gateway.get("warm", "/v1/models")).await.is(200);
    for (round, delay) in [10, 40, 90, 160].into_iter().enumerate() {
        let user = format!("ada-{round}");
        let route = pair.upstream.route(Script::chat("hi", 3));
        let path = route.chat();
        let kill = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            pair.gateway.kill_runtime().await;
        };
        let began = Instant::now();
        let ((before, _), ()) = tokio::join!(burst(&pair, &user, &path), kill);
        pair.gateway.restart().await;
        let (after, refused) = burst(&pair, &user, &path).await;
        assert!(began.elapsed() < Duration::from_secs(55), "too late to tell");
        let reached = route.seen().len();
        let text = format!("killed after {delay} ms: {before} + {after}, {reached} upstream");
        println!("{text}");
        assert!(before + after <= 50 && reached <= 50, "over-admitted: {text}");
        assert_eq!(after + refused, 400, "{text}");
        // What was admitted before the kill and lost with it still counts, and nothing else does.
        assert!(after <= 50 - before, "{text}");
        let next = answer(pair.gateway.get(&user, "/v1/models")).await;
        next.refuses(429, "rate_limit_exceeded");
    }
}
