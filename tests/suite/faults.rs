//! Faults put in by a test build: one request's fault stays its own, and no clock opens a window.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::{Gateway, Options, Script, wait_for};
use rusqlite::Connection;
use tokio::sync::Semaphore;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::Pair;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        a_panic_is_its_own_requests_alone,
        a_clock_that_steps_back_opens_no_window,
        a_clock_that_was_ahead_before_a_restart_refuses_nobody_for_long,
        rows_that_no_alarm_brings_come_by_the_minute,
    ]
}

async fn pair() -> Pair {
    shared::pair(Options::new().var("USER_BINDING", "open").fault_injection()).await
}

async fn a_panic_is_its_own_requests_alone() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    for _ in 0..10 {
        answer(gateway.get("memory", "/v1/models")).await.is(200);
    }
    // The streams run until all that may harm them has happened.
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new().event_stream().event(&chat_chunk("x")).gate(&gate);
    let script = (1..20).fold(script, |script, _| script.event(&chat_chunk("x")));
    let route = pair.upstream.route(script.done());
    let users = ["memory", "other", "third"];
    let streams = (0..20).map(|number| {
        let user = users[number % 3];
        answer(gateway.post(user, &route.chat(), &chat_request("hi", true)))
    });
    let panics = async {
        let all = || (route.seen().len() == 20).then_some(());
        wait_for("twenty streams in flight", Duration::from_mins(1), all).await;
        for fault in ["panic-front", "panic-front-after-admission", "panic-object"] {
            // The user whose object remembers ten requests, and one whose object is new.
            for user in ["memory", "fresh"] {
                let request = gateway.post(user, "/v1/chat/completions", &chat_request("hi", true));
                let broken = answer(request.header("x-fault", fault)).await;
                broken.refuses(500, "internal_error");
                assert!(!broken.text().contains("panic"), "{}", broken.text());
            }
        }
        // In flight are 7 streams and at most one that panicked after its admission: the object
        // still knows of them, so the eight places run out.
        let hold =
            pair.upstream.route(Script::new().wait(Duration::from_secs(3)).respond(200, &[], ""));
        let more =
            join_all((0..3).map(|_| answer(gateway.get("memory", &hold.path("/v1/models"))))).await;
        let refused = more.iter().filter(|answer| answer.status == 429).count();
        assert!((2..=3).contains(&refused), "{more:?}");
        gate.add_permits(20);
        3 - refused
    };
    let (streams, admitted) = tokio::join!(join_all(streams), panics);
    for stream in &streams {
        stream.is(200);
        assert!(stream.text().ends_with("data: [DONE]\n\n"), "cut off: {}", stream.text());
        assert_eq!(stream.text().matches("data: ").count(), 21);
    }
    let after = answer(gateway.get("memory", "/v1/models")).await;
    after.is(200);
    // Ten, seven streams, this one, what held a place, and one that panicked after admission.
    let known = 10 + 7 + 1 + u64::try_from(admitted).unwrap();
    let used = 50 - after.number("x-ratelimit-remaining-requests");
    assert!((known..=known + 1).contains(&used), "{used} of {known} are remembered");
    // Each of them is a row, the one that panicked too, at the latest when its lease ends.
    let began = std::time::Instant::now();
    while gateway.ledger().rows("memory").iter().filter(|row| row.status != 429).count()
        < usize::try_from(used).unwrap()
    {
        assert!(
            began.elapsed() < Duration::from_secs(130),
            "{:#?}",
            gateway.ledger().rows("memory")
        );
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

async fn at_offset(gateway: &Gateway, user: &str, offset_ms: i64) -> Answer {
    let request = gateway.get(user, "/v1/models");
    answer(request.header("x-fault-clock-offset-ms", offset_ms.to_string())).await
}

const HOUR: i64 = 3_600_000;

async fn a_clock_that_steps_back_opens_no_window() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    for _ in 0..50 {
        at_offset(gateway, "full", 0).await.is(200);
    }
    for _ in 0..10 {
        at_offset(gateway, "part", 0).await.is(200);
    }
    for offset in [-1, -59_000, -61_000, -HOUR, -24 * HOUR] {
        let refused = at_offset(gateway, "full", offset).await;
        refused.refuses(429, "rate_limit_exceeded");
        assert!(refused.number("retry-after-ms") <= 60_000, "never for longer than a window");
    }
    // Nor is anybody refused who has places left. The clock stays where it is: an alarm may have
    // looked at it, and a step forward is time that has passed.
    for left in (0..40).rev() {
        let passed = at_offset(gateway, "part", -24 * HOUR).await;
        passed.is(200);
        assert_eq!(passed.number("x-ratelimit-remaining-requests"), left);
    }
    let refused = at_offset(gateway, "part", -24 * HOUR).await;
    refused.refuses(429, "rate_limit_exceeded");
    // What it is told holds, although the clock is a day behind.
    tokio::time::sleep(Duration::from_millis(refused.number("retry-after-ms"))).await;
    answer(gateway.get("part", "/v1/models")).await.is(200);
    // A step forward is time that has passed.
    for _ in 0..50 {
        at_offset(gateway, "full", HOUR).await.is(200);
    }
    at_offset(gateway, "full", HOUR).await.refuses(429, "rate_limit_exceeded");
    at_offset(gateway, "full", 0).await.refuses(429, "rate_limit_exceeded");
}

async fn a_clock_that_was_ahead_before_a_restart_refuses_nobody_for_long() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    for _ in 0..50 {
        at_offset(gateway, "ahead", HOUR).await.is(200);
    }
    gateway.kill_runtime().await;
    gateway.restart().await;
    // What is stored lies an hour ahead, and counts as now.
    let refused = answer(gateway.get("ahead", "/v1/models")).await;
    refused.refuses(429, "rate_limit_exceeded");
    let wait = refused.number("retry-after-ms");
    assert!((50_000..=60_000).contains(&wait), "{wait}");
    tokio::time::sleep(Duration::from_millis(wait)).await;
    for _ in 0..50 {
        answer(gateway.get("ahead", "/v1/models")).await.is(200);
    }
    answer(gateway.get("ahead", "/v1/models")).await.refuses(429, "rate_limit_exceeded");
}

async fn rows_that_no_alarm_brings_come_by_the_minute() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let chat = || gateway.post("ada", "/v1/chat/completions", &chat_request("hi", false));
    answer(chat()).await.is(200);
    gateway.ledger().settled("ada", 1).await;
    let lock = gateway.ledger().lock();
    answer(chat()).await.is(200);
    // Until its end is settled.
    tokio::time::sleep(Duration::from_millis(500)).await;
    gateway.kill_runtime().await;
    drop(lock);
    // What the runtime does after the tenth failure in a row.
    let alarms = gateway.state().join("do/organized-gateway-UserSession/metadata.sqlite");
    let alarms = Connection::open(alarms).unwrap();
    let gone = alarms.execute("delete from _cf_ALARM", []).unwrap();
    assert_eq!(gone, 1, "the object has set its alarm");
    drop(alarms);
    gateway.restart().await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(gateway.ledger().rows("ada").len(), 1, "nobody has brought it");
    gateway.have_a_day_pass().await;
    gateway.ledger().settled("ada", 2).await;
}
