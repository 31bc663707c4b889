//! The window and the requests in flight, as a client sees them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::{Options, Script};
use regex::Regex;
use tokio::sync::Semaphore;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient:
        the_fifty_first_waits_exactly_as_long_as_it_is_told,
        slots_free_one_by_one_as_the_window_slides,
    ];
    tests.extend(tests![Ordinary:
        every_answer_says_where_the_user_stands,
        a_refusal_costs_nothing_and_says_when_to_come_back,
        nine_at_once_are_one_too_many,
        users_do_not_disturb_each_other,
        the_number_in_the_message_is_the_users_own,
        what_fails_before_admission_costs_nothing,
    ]);
    tests
}

/// A Go duration in milliseconds: `0s`, `7.25s`, `1m0s`, `12ms`.
fn go_duration(text: &str) -> f64 {
    let form = Regex::new(r"^(?:([0-9]+)h)?(?:([0-9]+)m)?(?:([0-9.]+)s)?$|^([0-9.]+)ms$").unwrap();
    let parts = form.captures(text).unwrap_or_else(|| panic!("no Go duration: {text:?}"));
    let part = |index| parts.get(index).map_or(0.0, |part| part.as_str().parse::<f64>().unwrap());
    part(1) * 3_600_000.0 + part(2) * 60_000.0 + part(3) * 1000.0 + part(4)
}

/// `RateLimit: "rpm";r=12;t=7` as (12, 7).
fn rate_limit(answer: &Answer) -> (u64, u64) {
    let form = Regex::new(r#"^"rpm";r=([0-9]+);t=([0-9]+)$"#).unwrap();
    let text = answer.header("ratelimit");
    let parts = form.captures(text).unwrap_or_else(|| panic!("RateLimit: {text:?}"));
    (parts[1].parse().unwrap(), parts[2].parse().unwrap())
}

async fn every_answer_says_where_the_user_stands() {
    let pair = shared::open().await;
    let user = shared::user("standing");
    for used in 1..=12_u64 {
        let passed = answer(pair.gateway.get(&user, "/v1/models")).await;
        passed.is(200);
        assert_eq!(passed.number("x-ratelimit-limit-requests"), 50);
        assert_eq!(passed.number("x-ratelimit-remaining-requests"), 50 - used);
        let empty = go_duration(passed.header("x-ratelimit-reset-requests"));
        assert!((59_000.0..=60_000.0).contains(&empty), "{empty}: the newest leaves last");
        assert_eq!(passed.header("ratelimit-policy"), r#""rpm";q=50;w=60"#);
        assert_eq!(rate_limit(&passed), (50 - used, 0));
        assert!(!passed.headers.contains_key("retry-after"));
        assert!(!passed.headers.contains_key("x-quota-limit-month"), "there is no monthly limit");
        assert!(!passed.headers.contains_key("x-queue-ms"));
    }
}

async fn a_refusal_costs_nothing_and_says_when_to_come_back() {
    let pair = shared::open().await;
    let user = shared::user("over");
    let route = pair.upstream.route(Script::chat("hi", 3));
    let began = Instant::now();
    for _ in 0..50 {
        answer(pair.gateway.get(&user, &route.path("/v1/models"))).await.is(200);
    }
    let mut last_wait = u64::MAX;
    for _ in 0..5 {
        let refused =
            answer(pair.gateway.post(&user, &route.chat(), &chat_request("hi", true))).await;
        refused.refuses(429, "rate_limit_exceeded");
        let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.starts_with("Rate limit exceeded. 50 requests/minute."), "{message}");
        let (seconds, milliseconds) =
            (refused.number("retry-after"), refused.number("retry-after-ms"));
        assert!((1..=60).contains(&seconds));
        assert_eq!(seconds, milliseconds.div_ceil(1000), "rounded up");
        let elapsed = u64::try_from(began.elapsed().as_millis()).unwrap();
        assert!(milliseconds <= 60_000 && milliseconds + elapsed >= 59_900, "{milliseconds}");
        assert!(milliseconds <= last_wait, "no refusal prolongs the wait");
        last_wait = milliseconds;
        assert_eq!(refused.number("x-ratelimit-remaining-requests"), 0);
        assert_eq!(rate_limit(&refused), (0, seconds));
        go_duration(refused.header("x-ratelimit-reset-requests"));
        assert!(!refused.request_id().is_empty());
        assert_eq!(refused.header("x-content-type-options"), "nosniff");
    }
    assert_eq!(route.seen().len(), 50, "nothing refused went upstream");
    let rows = pair.gateway.ledger().settled(&user, 55).await;
    let refusals = rows.iter().filter(|row| row.status == 429);
    assert!(refusals.clone().all(|row| row.error_code.as_deref() == Some("rate_limit_exceeded")));
    assert_eq!(refusals.count(), 5);
}

/// When something happened that a request did: after it was sent, and before its answer was here.
#[derive(Clone, Copy)]
struct Between(Instant, Instant);

impl Between {
    fn after(self, time: Duration) -> Self {
        Self(self.0 + time, self.1 + time)
    }

    /// How far apart the two are at least.
    fn from(self, other: Self) -> Duration {
        self.0.max(other.0).saturating_duration_since(self.1.min(other.1))
    }
}

async fn the_fifty_first_waits_exactly_as_long_as_it_is_told() {
    let pair = shared::open().await;
    let user = shared::user("exact");
    for _ in 0..50 {
        answer(pair.gateway.get(&user, "/v1/models")).await.is(200);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let asked = Instant::now();
    let refused = answer(pair.gateway.get(&user, "/v1/models")).await;
    refused.refuses(429, "rate_limit_exceeded");
    let wait = Duration::from_millis(refused.number("retry-after-ms"));
    let told = Between(asked, Instant::now()).after(wait);
    // Seconds before the time it is refused still, and the message does not change the end.
    tokio::time::sleep(wait.saturating_sub(Duration::from_secs(8))).await;
    let asked = Instant::now();
    let early = answer(pair.gateway.get(&user, "/v1/models")).await;
    early.refuses(429, "rate_limit_exceeded");
    let left = Duration::from_millis(early.number("retry-after-ms"));
    let again = Between(asked, Instant::now()).after(left);
    let apart = again.from(told);
    assert!(apart < Duration::from_secs(1), "two answers, two ends: {apart:?} apart");
    tokio::time::sleep_until(again.1.into()).await;
    answer(pair.gateway.get(&user, "/v1/models")).await.is(200);
}

async fn slots_free_one_by_one_as_the_window_slides() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "3");
    let pair = shared::pair(options).await;
    // Three admissions 8 s apart; each place must come free 60 s after it was taken, not before.
    let mut taken = Vec::new();
    for _ in 0..3 {
        let asked = Instant::now();
        answer(pair.gateway.get("ada", "/v1/models")).await.is(200);
        taken.push(Between(asked, Instant::now()));
        tokio::time::sleep(Duration::from_secs(8)).await;
    }
    let minute = Duration::from_mins(1);
    for taken in taken {
        let asked = Instant::now();
        let refused = answer(pair.gateway.get("ada", "/v1/models")).await;
        refused.refuses(429, "rate_limit_exceeded");
        assert!(refused.text().contains("Rate limit exceeded. 3 requests/minute."));
        let wait = Duration::from_millis(refused.number("retry-after-ms"));
        let free = Between(asked, Instant::now()).after(wait);
        let apart = free.from(taken.after(minute));
        assert!(apart < Duration::from_secs(2), "{apart:?} from the exact window");
        tokio::time::sleep(wait).await;
        answer(pair.gateway.get("ada", "/v1/models")).await.is(200);
    }
}

async fn nine_at_once_are_one_too_many() {
    let pair = shared::open().await;
    let user = shared::user("at-once");
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new().event_stream().event(&chat_chunk("x")).gate(&gate).done();
    let route = pair.upstream.route(script);
    let request = || pair.gateway.post(&user, &route.chat(), &chat_request("hi", true));
    let streams = join_all((0..8).map(|_| request().send())).await;
    let refused = answer(request()).await;
    refused.refuses(429, "concurrency_limit_exceeded");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(refused.number("x-ratelimit-remaining-requests"), 42, "the ninth cost nothing");
    gate.add_permits(8);
    for stream in streams {
        assert!(stream.unwrap().text().await.unwrap().ends_with("data: [DONE]\n\n"));
    }
    // Settled soon after the end; the place is free again.
    let began = Instant::now();
    while answer(pair.gateway.get(&user, "/v1/models")).await.status != 200 {
        assert!(began.elapsed() < Duration::from_secs(10), "the places are still taken");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let statuses: Vec<_> = route.seen();
    assert_eq!(statuses.len(), 8);
}

async fn users_do_not_disturb_each_other() {
    let pair = shared::open().await;
    let (loud, quiet) = (shared::user("loud"), shared::user("quiet"));
    for _ in 0..50 {
        answer(pair.gateway.get(&loud, "/v1/models")).await.is(200);
    }
    answer(pair.gateway.get(&loud, "/v1/models")).await.refuses(429, "rate_limit_exceeded");
    let other = answer(pair.gateway.get(&quiet, "/v1/models")).await;
    other.is(200);
    assert_eq!(other.number("x-ratelimit-remaining-requests"), 49);
}

async fn the_number_in_the_message_is_the_users_own() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "7");
    let pair = shared::pair(options).await;
    for left in (0..7).rev() {
        let passed = answer(pair.gateway.get("ada", "/v1/models")).await;
        assert_eq!(passed.number("x-ratelimit-remaining-requests"), left);
        assert_eq!(passed.header("ratelimit-policy"), r#""rpm";q=7;w=60"#);
    }
    let refused = answer(pair.gateway.get("ada", "/v1/models")).await;
    refused.refuses(429, "rate_limit_exceeded");
    assert!(refused.text().contains("Rate limit exceeded. 7 requests/minute."));
}

async fn what_fails_before_admission_costs_nothing() {
    let pair = shared::open().await;
    let user = shared::user("before");
    for _ in 0..5 {
        let request = pair.gateway.get(&user, "/v1/models").header("x-project-id", "a b");
        answer(request).await.refuses(400, "invalid_project_id");
        let request = pair.gateway.get(&user, "/v1/models%00");
        answer(request).await.refuses(400, "invalid_path");
    }
    let passed = answer(pair.gateway.get(&user, "/v1/models")).await;
    assert_eq!(passed.number("x-ratelimit-remaining-requests"), 49);
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!(rows[0].status, 200, "and leaves no row");
}
