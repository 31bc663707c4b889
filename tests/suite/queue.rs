//! The fair queue in front of an upstream that runs only so many requests at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::commits::commits;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, Seen, Upstream, wait_for};
use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;

use crate::answer::{Answer, answer};
use crate::costs::messages;
use crate::leaving::ask;
use crate::openclaw::{self, Person};
use crate::runner::Test;
use crate::shared::{self, Pair};
use crate::tests;

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient:
        a_stream_holds_its_slot_to_its_end_however_long,
        slots_that_died_with_the_runtime_are_free_after_a_lease,
    ];
    tests.extend(tests![Ordinary:
        a_slot_costs_two_messages_and_nothing_where_it_is_off,
        a_queue_is_seen_within_three_seconds,
        a_wait_that_is_over_is_harmless_to_repeat,
        who_leaves_the_queue_is_overtaken_at_once,
        who_leaves_in_mid_stream_frees_the_slot,
        who_waits_when_the_object_fails_waits_on,
    ]);
    tests.extend(tests![Alone: fifty_users_share_eight_slots_fairly]);
    tests
}

const SECOND: Duration = Duration::from_secs(1);

/// A gateway that counts its messages, in front of an upstream with so many slots.
async fn pair(slots: u32, more: &[(&str, &str)]) -> Pair {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let options = options.var("UPSTREAM_SLOTS", slots.to_string());
    let options = more.iter().fold(options, |options, (name, value)| options.var(name, *value));
    shared::pair(options).await
}

/// Sends it without waiting for the answer.
fn send(request: RequestBuilder) -> JoinHandle<Answer> {
    tokio::spawn(answer(request))
}

/// Waits until so many questions for a slot, and farewells to one, have been sent.
async fn when_said(gateway: &Gateway, number: usize) {
    let began = Instant::now();
    while messages(gateway, "default").await.len() < number {
        assert!(began.elapsed() < Duration::from_secs(30), "the upstream's object isn't asked");
    }
}

async fn when_there(route: &Route, number: usize) {
    let there = || (route.seen().len() == number).then_some(());
    wait_for("request upstream", Duration::from_secs(30), there).await;
}

/// Answers once the test opens the gate.
fn gated(gate: &Arc<Semaphore>) -> Script {
    Script::new().event_stream().event(&chat_chunk("x")).gate(gate).done()
}

/// The commits of the upstream's object once D1 knows that it is idle.
async fn commits_at_rest(gateway: &Gateway) -> usize {
    let number = || commits(gateway.state(), "UpstreamSlots");
    let mut last = (number(), Instant::now());
    while last.1.elapsed() < 3 * SECOND {
        tokio::time::sleep(SECOND / 10).await;
        if number() != last.0 {
            last = (number(), Instant::now());
        }
    }
    last.0
}

async fn a_slot_costs_two_messages_and_nothing_where_it_is_off() {
    let off = shared::pair(Options::new().var("USER_BINDING", "open").fault_injection()).await;
    let on = pair(2, &[]).await;
    for (pair, said) in [(&off, 0), (&on, 2)] {
        let chat = || pair.gateway.post("ada", "/v1/chat/completions", &chat_request("hi", false));
        // The first one makes the object.
        answer(chat()).await.is(200);
        when_said(&pair.gateway, said).await;
        let before = if said > 0 { commits_at_rest(&pair.gateway).await } else { 0 };
        let answered = answer(chat()).await;
        answered.is(200);
        pair.gateway.ledger().settled("ada", 2).await;
        when_said(&pair.gateway, 2 * said).await;
        assert_eq!(messages(&pair.gateway, "default").await, vec!["SlotMessage"; 2 * said]);
        if said > 0 {
            // Nobody was before it; the two clocks may still differ by a tick.
            assert!(answered.number("x-queue-ms") < 20, "{answered:?}");
            // And one of the alarm's, which tells D1.
            assert_eq!(commits_at_rest(&pair.gateway).await - before, 3);
        } else {
            assert!(!answered.headers.contains_key("x-queue-ms"));
        }
        // What runs no model doesn't wait for one.
        let listed = answer(pair.gateway.get("ada", "/v1/models")).await;
        listed.is(200);
        assert!(!listed.headers.contains_key("x-queue-ms"));
        assert_eq!(messages(&pair.gateway, "default").await.len(), 2 * said);
    }
}

/// How the overview shows the upstream, once `is_so` holds for it.
async fn shown(gateway: &Gateway, patience: Duration, is_so: impl Fn(&Value) -> bool) -> Value {
    let began = Instant::now();
    loop {
        let overview = gateway.operator(Method::GET, "/operator/api/overview");
        let shown = answer(overview).await.json()["upstreams"][0].clone();
        if is_so(&shown) {
            return shown;
        }
        assert!(began.elapsed() < patience, "not within {patience:?}: {shown}");
        tokio::time::sleep(SECOND / 10).await;
    }
}

async fn a_queue_is_seen_within_three_seconds() {
    let pair = pair(2, &[("QUEUE_WAIT_MS", "60000")]).await;
    let gate = Arc::new(Semaphore::new(0));
    let route = pair.upstream.route(gated(&gate));
    let chat = |user: &str| send(pair.gateway.post(user, &route.chat(), &chat_request("hi", true)));
    let load = |running: u32, waiting: u32| {
        move |shown: &Value| shown["running"] == running && shown["waiting"] == waiting
    };
    let running = [chat("ada"), chat("bob")];
    when_there(&route, 2).await;
    shown(&pair.gateway, 3 * SECOND, load(2, 0)).await;
    let waiting = ["cy", "dan", "eve"].map(chat);
    let full = shown(&pair.gateway, 3 * SECOND, load(2, 3)).await;
    assert_eq!(full["slots"], 2);
    let is_older = |shown: &Value| shown["longest_wait_ms"].as_i64().unwrap() > 3_000;
    let older = shown(&pair.gateway, 6 * SECOND, is_older).await;
    assert!(older["reported_at"].as_str() > full["reported_at"].as_str(), "{older}");
    // While D1 is away nobody waits for it.
    let lock = pair.gateway.ledger().lock();
    gate.add_permits(5);
    for request in running.into_iter().chain(waiting) {
        request.await.unwrap().is(200);
    }
    tokio::time::sleep(3 * SECOND).await;
    drop(lock);
    let idle = shown(&pair.gateway, 30 * SECOND, load(0, 0)).await;
    assert_eq!(idle["longest_wait_ms"], 0);
    // It has been said once, and is not said again.
    tokio::time::sleep(3 * SECOND).await;
    let same = shown(&pair.gateway, SECOND, load(0, 0)).await;
    assert_eq!(same["reported_at"], idle["reported_at"]);
}

async fn a_wait_that_is_over_is_harmless_to_repeat() {
    let upstream = Upstream::start().await;
    let options = openclaw::options(&upstream.url()).var("UPSTREAM_SLOTS", "1");
    let gateway = Gateway::start(options.var("QUEUE_WAIT_MS", "1500")).await;
    let (ada, bob) = (Person::new(&gateway, "ada").await, Person::new(&gateway, "bob").await);
    let gate = Arc::new(Semaphore::new(0));
    let route = upstream.route(gated(&gate));
    let chat = |person: &Person<'_>| {
        person.request(Method::POST, &route.chat()).json(&chat_request("hi", true))
    };
    let running = send(chat(&ada));
    when_there(&route, 1).await;
    let refused = answer(chat(&bob)).await;
    refused.refuses(503, "upstream_busy");
    assert_eq!(refused.header("x-should-retry"), "true");
    assert_eq!(refused.header("x-queue-ms"), "1500");
    let (seconds, exact) = (refused.number("retry-after"), refused.number("retry-after-ms"));
    assert!((1..=60).contains(&seconds) && seconds == exact.div_ceil(1000), "{refused:?}");
    assert!(refused.text().contains(&format!("in {seconds} seconds")), "{}", refused.text());
    assert!(!refused.header("x-ratelimit-remaining-requests").is_empty());
    let row = gateway.ledger().row(refused.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (503, Some("upstream_busy")));
    assert!((1500..5000).contains(&row.latency_ms) && row.ttfb_ms.is_none(), "{row:?}");
    gate.add_permits(2);
    running.await.unwrap().is(200);
    let next = answer(chat(&bob)).await;
    next.is(200);
    assert!(next.number("x-queue-ms") < 1000, "{next:?}");
    assert_eq!(route.seen().len(), 2, "what was refused never went upstream");
}

async fn who_leaves_the_queue_is_overtaken_at_once() {
    let pair = pair(1, &[]).await;
    let gate = Arc::new(Semaphore::new(0));
    let route = pair.upstream.route(gated(&gate));
    let chat = |user| send(pair.gateway.post(user, &route.chat(), &chat_request("hi", true)));
    let running = chat("ada");
    when_there(&route, 1).await;
    let leaving = ask(&pair.gateway, "bob", &route, &[]).await;
    when_said(&pair.gateway, 2).await;
    let waiting = chat("cy");
    when_said(&pair.gateway, 3).await;
    leaving.set_zero_linger().unwrap();
    drop(leaving);
    let left = Instant::now();
    let rows = pair.gateway.ledger().settled("bob", 1).await;
    assert_eq!((rows[0].status, rows[0].error_code.as_deref()), (499, Some("client_left")));
    when_said(&pair.gateway, 4).await;
    assert!(left.elapsed() < Duration::from_secs(10), "not at once: {:?}", left.elapsed());
    gate.add_permits(2);
    running.await.unwrap().is(200);
    waiting.await.unwrap().is(200);
    assert_eq!(route.seen().len(), 2, "who left never came upstream");
}

async fn who_leaves_in_mid_stream_frees_the_slot() {
    let pair = pair(1, &[]).await;
    let endless = (0..200).fold(Script::new().event_stream(), |script, _| {
        script.event(&chat_chunk("x")).wait(SECOND / 5)
    });
    let route = pair.upstream.route(endless);
    let leaving = ask(&pair.gateway, "ada", &route, &[]).await;
    when_there(&route, 1).await;
    let short = pair.upstream.route(Script::chat("hi", 3));
    let waiting = send(pair.gateway.post("bob", &short.chat(), &chat_request("hi", false)));
    when_said(&pair.gateway, 2).await;
    tokio::time::sleep(SECOND).await;
    assert!(short.seen().is_empty(), "two at once");
    leaving.set_zero_linger().unwrap();
    drop(leaving);
    let left = Instant::now();
    let answered = waiting.await.unwrap();
    answered.is(200);
    assert!(left.elapsed() < 5 * SECOND, "a slot was held for {:?}", left.elapsed());
    assert!(answered.number("x-queue-ms") >= 1000, "{answered:?}");
}

async fn who_waits_when_the_object_fails_waits_on() {
    let pair = pair(1, &[]).await;
    let gate = Arc::new(Semaphore::new(0));
    let route = pair.upstream.route(gated(&gate));
    let chat = |user| pair.gateway.post(user, &route.chat(), &chat_request("hi", true));
    let running = send(chat("ada"));
    when_there(&route, 1).await;
    let waiting = [send(chat("bob")), send(chat("cy"))];
    when_said(&pair.gateway, 3).await;
    let broken = answer(chat("eve").header("x-fault", "panic-slots")).await;
    broken.refuses(500, "internal_error");
    // Asked twice, freed to be sure; and both who wait ask anew.
    when_said(&pair.gateway, 8).await;
    assert_eq!(route.seen().len(), 1, "the object forgot who has the slot");
    gate.add_permits(3);
    running.await.unwrap().is(200);
    for waiting in waiting {
        waiting.await.unwrap().is(200);
    }
    assert_eq!(route.seen().len(), 3);
}

async fn a_stream_holds_its_slot_to_its_end_however_long() {
    let pair = pair(1, &[("QUEUE_WAIT_MS", "200000")]).await;
    let gate = Arc::new(Semaphore::new(0));
    let route = pair.upstream.route(gated(&gate));
    let chat = |user| send(pair.gateway.post(user, &route.chat(), &chat_request("hi", true)));
    let running = chat("ada");
    when_there(&route, 1).await;
    let waiting = chat("bob");
    // Longer than a lease without a sign of life.
    tokio::time::sleep(Duration::from_secs(100)).await;
    assert_eq!(route.seen().len(), 1, "the slot was taken away from a running request");
    gate.add_permits(2);
    running.await.unwrap().is(200);
    let waited = waiting.await.unwrap();
    waited.is(200);
    assert!(waited.number("x-queue-ms") >= 99_000, "{waited:?}");
}

async fn slots_that_died_with_the_runtime_are_free_after_a_lease() {
    let pair = pair(2, &[("QUEUE_WAIT_MS", "120000")]).await;
    let hung = pair.upstream.route(Script::new().hang());
    let chat = |user: &str, route: &Route| {
        pair.gateway.post(user, &route.chat(), &chat_request("hi", true))
    };
    let dying =
        [chat("ada", &hung), chat("bob", &hung)].map(|request| tokio::spawn(request.send()));
    when_there(&hung, 2).await;
    let began = Instant::now();
    pair.gateway.kill_runtime().await;
    for dead in dying {
        assert!(dead.await.unwrap().is_err(), "it outlived its runtime");
    }
    pair.gateway.restart().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let waiting = (0..8).map(|number| send(chat(&format!("user-{number}"), &route)));
    let waiting: Vec<_> = waiting.collect();
    // The object can't know that nobody is behind the slots, so it grants none of them before.
    tokio::time::sleep_until((began + Duration::from_mins(1)).into()).await;
    assert!(route.seen().is_empty(), "granted twice");
    for waiting in waiting {
        waiting.await.unwrap().is(200);
    }
    let took = began.elapsed();
    assert!(took < Duration::from_secs(95), "served again only after {took:?}");
}

/// How long the upstream works on each request, and how long the load lasts.
const WORK: Duration = Duration::from_millis(200);
const LOAD: Duration = Duration::from_secs(20);

async fn fifty_users_share_eight_slots_fairly() {
    let options = Options::new()
        .var("USER_BINDING", "open")
        .var("REQUESTS_PER_MINUTE", "100000")
        .var("UPSTREAM_SLOTS", "8");
    let pair = shared::pair(options).await;
    let script =
        Script::new().wait(WORK).respond(200, &[("content-type", "application/json")], "{}");
    // Whatever else the machine does slows it down, and does so by rounds.
    let mut rounds = 0;
    while !shares_eight_slots(&pair, script.clone()).await {
        rounds += 1;
        assert!(rounds < 3, "less than 90 % of what 8 slots allow");
    }
}

/// One round; says whether the throughput was good. How it is shared always has to be.
async fn shares_eight_slots(pair: &Pair, script: Script) -> bool {
    let route = pair.upstream.route(script.clone());
    let end = Instant::now() + LOAD;
    let lanes = join_all((0..200).map(|lane| {
        let (gateway, user) = (&pair.gateway, format!("user-{}", lane % 50));
        let (path, body) = (route.chat(), chat_request("hi", false));
        repeat(move || gateway.post(&user, &path, &body), end)
    }));
    let lanes = lanes.await;
    let completed: Vec<u32> =
        (0..50).map(|user| lanes.iter().skip(user).step_by(50).sum()).collect();
    let most = most_at_once(&route.seen());
    assert_eq!(most, 8, "at once upstream");
    let (slowest, fastest) = (completed.iter().min().unwrap(), completed.iter().max().unwrap());
    let total: u32 = completed.iter().sum();
    let a_second = f64::from(total) / LOAD.as_secs_f64();
    // What 8 slots allow: by the clock, and by 8 clients of the upstream without a gateway.
    let ideal = 8.0 / WORK.as_secs_f64();
    let direct = direct_lanes(&pair.upstream, script).await;
    println!(
        "50 users x 4 over 8 slots: {a_second:.1}/s of {ideal:.1}/s ({direct:.1}/s without a \
         gateway); users completed {slowest} to {fastest}"
    );
    assert!(f64::from(*slowest) >= 0.8 * f64::from(*fastest), "{completed:?}");
    a_second >= 0.9 * ideal || a_second >= 0.9 * direct
}

/// Sends one request after another; how many were answered until `end`.
async fn repeat(request: impl Fn() -> RequestBuilder, end: Instant) -> u32 {
    let mut completed = 0;
    loop {
        let response = request().send().await.unwrap();
        assert_eq!(response.status(), 200);
        response.bytes().await.unwrap();
        if Instant::now() >= end {
            return completed;
        }
        completed += 1;
    }
}

/// Answers a second of 8 clients that ask the upstream itself.
async fn direct_lanes(upstream: &Upstream, script: Script) -> f64 {
    let route = upstream.route(script);
    let (client, time) = (Client::builder().no_proxy().build().unwrap(), LOAD / 4);
    let end = Instant::now() + time;
    let url = format!("{}{}", upstream.url(), route.chat());
    let request = || client.post(&url).json(&chat_request("hi", false));
    let lanes = join_all((0..8).map(|_| repeat(request, end))).await;
    f64::from(lanes.into_iter().sum::<u32>()) / time.as_secs_f64()
}

/// The most requests that the upstream was working on at one moment.
fn most_at_once(seen: &[Seen]) -> usize {
    let began = seen.iter().map(|seen| seen.at);
    let running = |at: Instant| {
        let runs = |seen: &&Seen| seen.at <= at && seen.answered_at.is_none_or(|end| end > at);
        seen.iter().filter(runs).count()
    };
    began.map(running).max().unwrap_or(0)
}
