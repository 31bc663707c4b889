//! What the operator is told by itself when something goes bad, and once it is well again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::ports::free_address;
use gateway_tests::redaction::RUN;
use gateway_tests::script::chat_request;
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, Upstream, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        an_outage_under_load_is_one_message_and_its_end_another,
        what_comes_and_goes_makes_no_storm,
        nobody_hears_bad_after_it_is_well,
        a_message_is_sent_until_it_arrives_and_to_nobody_else,
        many_failures_are_an_outage_whatever_a_look_says,
        a_d1_that_is_away_is_told_of,
        a_kill_in_between_loses_no_news,
        where_all_is_well_a_minute_costs_one_message,
    ]
}

const SECOND: Duration = Duration::from_secs(1);
const MINUTES: i64 = 60_000;

/// A gateway, its upstream's address, and who is told.
struct World {
    gateway: Gateway,
    address: SocketAddr,
    _receiver: Upstream,
    told: Route,
}

impl World {
    /// Nothing listens at the upstream's address yet.
    async fn new(receiver: Vec<Script>) -> Self {
        let address = free_address();
        let server = Upstream::start().await;
        let told = server.route_each(receiver);
        let hook = format!("{}{}", server.url(), told.path("/hooks/of-the-operator"));
        RUN.note("ALERT_WEBHOOK_URL", &hook);
        let options = Options::new().var("USER_BINDING", "open").fault_injection();
        let options = options.var("REQUESTS_PER_MINUTE", "100000").var("ALERT_WEBHOOK_URL", hook);
        let options = options.var("APP_URL", "https://gateway.example.com/");
        let gateway = Gateway::start(options.upstream(format!("http://{address}"))).await;
        Self { gateway, address, _receiver: server, told }
    }

    async fn upstream(&self) -> Upstream {
        let began = Instant::now();
        loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => return Upstream::on(listener),
                Err(error) => assert!(began.elapsed() < 10 * SECOND, "{error}"),
            }
            tokio::time::sleep(SECOND / 10).await;
        }
    }

    /// One request; its status.
    async fn chat(&self, user: &str) -> u16 {
        let request = self.gateway.post(user, "/v1/chat/completions", &chat_request("hi", false));
        answer(request).await.status
    }

    /// The messages that were sent, whatever became of them.
    fn told(&self) -> Vec<(String, String)> {
        let member = |body: &Value, name: &str| body[name].as_str().unwrap().to_owned();
        let bodies = self.told.seen().into_iter().filter(|seen| seen.body_complete_at.is_some());
        bodies
            .map(|seen| seen.json())
            .map(|b| (member(&b, "subject"), member(&b, "state")))
            .collect()
    }

    /// The messages as soon as there are so many.
    async fn when_told(&self, number: usize, patience: Duration) -> Vec<(String, String)> {
        let began = Instant::now();
        while self.told().len() < number {
            let told = self.told();
            assert!(began.elapsed() < patience, "only {told:?}\n{}", self.gateway.log_text());
            tokio::time::sleep(SECOND / 20).await;
        }
        self.told()
    }

    /// How the overview shows the one upstream, once `is_so` holds for it.
    async fn shown(&self, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            let overview = self.gateway.operator(Method::GET, "/operator/api/overview");
            let shown = answer(overview).await.json()["upstreams"][0].clone();
            if is_so(&shown) {
                return shown;
            }
            assert!(began.elapsed() < 30 * SECOND, "{what}: {shown}");
            tokio::time::sleep(SECOND / 5).await;
        }
    }

    /// Has the gateway's clock go ahead, and a minute pass there.
    async fn let_pass(&self, milliseconds: i64) {
        let request = self.gateway.request(Method::GET, "/nothing");
        answer(request.header("x-fault-clock-offset-ms", milliseconds.to_string())).await;
        self.gateway.have_a_day_pass().await;
    }

    /// Messages to the object so far.
    fn notices(&self) -> usize {
        messages_to_alerts(&self.gateway)
    }
}

fn messages_to_alerts(gateway: &Gateway) -> usize {
    let is_one = |line: &&Value| line["event"] == "object_call" && line["object"] == "alerts";
    gateway.log().iter().filter(is_one).count()
}

fn news(states: &[&str]) -> Vec<(String, String)> {
    states.iter().map(|state| ("upstream:default".to_owned(), (*state).to_owned())).collect()
}

fn taken() -> Vec<Script> {
    vec![Script::answer(204, &[], "")]
}

async fn an_outage_under_load_is_one_message_and_its_end_another() {
    let world = World::new(taken()).await;
    let upstream = world.upstream().await;
    assert_eq!(world.chat("u0").await, 200);
    assert_eq!(world.shown("nothing is known yet", |_| true).await["is_well"], Value::Null);
    drop(upstream);
    let (began, world) = (Instant::now(), &world);
    let failures = &AtomicU32::new(0);
    // For as long as it takes to be a load, on a slow machine too.
    let is_load = || failures.load(Relaxed) > 200;
    let goes_on = || began.elapsed() < (if is_load() { 12 } else { 60 }) * SECOND;
    let users = (0..50).map(|number| async move {
        while goes_on() {
            let is_failed = world.chat(&format!("u{number}")).await == 502;
            failures.fetch_add(is_failed.into(), Relaxed);
            tokio::time::sleep(SECOND / 5).await;
        }
    });
    let first = async {
        world.when_told(1, 30 * SECOND).await;
        began.elapsed()
    };
    let (_, first) = tokio::join!(join_all(users), first);
    assert!(is_load(), "{failures:?} are no load");
    println!("{failures:?} requests of 50 users failed; told after {first:?}");
    assert_eq!(world.told(), news(&["bad"]));
    let (reports, seconds) = (world.notices(), began.elapsed().as_secs());
    assert!(reports as u64 <= seconds / 4 + 2, "{reports} reports in {seconds} s");
    let shown = world.shown("it isn't well", |shown| shown["is_well"] == false).await;
    assert_eq!(shown["problem"], "no answer from OPENCLAW_URL");
    let message = world.told.seen().remove(0);
    assert_eq!(message.header("content-type").as_deref(), Some("application/json"));
    let body = message.json();
    assert_eq!((&body["problem"], &body["text"]), (&shown["problem"], &body["content"]));
    assert_eq!(body["gateway"], "gateway.example.com", "whatever a caller calls it");
    let text = body["text"].as_str().unwrap();
    assert!(text.contains("the upstream `default` is in trouble since"), "{text}");
    assert!(!text.contains(&world.address.to_string()), "{text}");

    let _upstream = world.upstream().await;
    let back = Instant::now();
    assert_eq!(world.when_told(2, 40 * SECOND).await, news(&["bad", "well"]));
    println!("told that it is well after {:?}", back.elapsed());
    let shown = world.shown("it is well", |shown| shown["is_well"] == true).await;
    assert_eq!(shown["problem"], Value::Null);
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.told().len(), 2);
    assert!(!world.gateway.log_text().contains("of-the-operator"), "the URL is in the log");
}

async fn what_comes_and_goes_makes_no_storm() {
    let world = World::new(taken()).await;
    for round in 0..3 {
        assert_eq!(world.chat("ada").await, 502);
        world.shown("it isn't well", |shown| shown["is_well"] == false).await;
        let upstream = world.upstream().await;
        world.shown("it is well", |shown| shown["is_well"] == true).await;
        assert_eq!(world.told(), news(&["bad", "well"]), "round {round}");
        drop(upstream);
    }
    assert_eq!(world.chat("ada").await, 502);
    world.shown("it isn't well", |shown| shown["is_well"] == false).await;
    world.let_pass(3 * MINUTES).await;
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(world.told(), news(&["bad", "well"]), "five minutes aren't over");
    world.let_pass(5 * MINUTES).await;
    assert_eq!(world.when_told(3, 10 * SECOND).await, news(&["bad", "well", "bad"]));
}

async fn nobody_hears_bad_after_it_is_well() {
    let refusals = Script::answer(500, &[], "no");
    let world = World::new(vec![refusals.clone(), refusals, Script::answer(200, &[], "ok")]).await;
    assert_eq!(world.chat("ada").await, 502);
    assert_eq!(world.when_told(1, 5 * SECOND).await, news(&["bad"]));
    let _upstream = world.upstream().await;
    world.shown("it is well", |shown| shown["is_well"] == true).await;
    let told = world.when_told(3, 70 * SECOND).await;
    assert_eq!(told, news(&["bad", "well", "well"]), "the newest state, until it arrives");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.told().len(), 3);
}

async fn a_message_is_sent_until_it_arrives_and_to_nobody_else() {
    let elsewhere = Upstream::start().await;
    let leads_there = format!("{}/login", elsewhere.url());
    let redirect = Script::answer(302, &[("location", leads_there.as_str())], "");
    let slow = Script::new().hang();
    let world = World::new(vec![redirect, slow, Script::answer(200, &[], "ok")]).await;
    assert_eq!(world.chat("ada").await, 502);
    let told = world.when_told(3, 90 * SECOND).await;
    assert_eq!(told, news(&["bad", "bad", "bad"]));
    let seen = world.told.seen();
    let pause = seen[1].at - seen[0].at;
    assert!(pause >= 14 * SECOND, "again after {pause:?}");
    assert!(seen[1].left_at.is_some(), "one that takes too long is left");
    assert!(elsewhere.unscripted().is_empty(), "a redirect was followed");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.told().len(), 3);
    assert!(world.gateway.log_text().contains("the receiver answers 302"));
}

async fn many_failures_are_an_outage_whatever_a_look_says() {
    let world = World::new(taken()).await;
    let upstream = world.upstream().await;
    let busy = upstream.route(Script::json(503, &json!({ "error": { "message": "no" } })));
    let chat = || world.gateway.post("ada", &busy.chat(), &chat_request("hi", false));
    for _ in 0..9 {
        answer(chat()).await.is(503);
    }
    tokio::time::sleep(7 * SECOND).await;
    assert_eq!(world.told(), [], "nine are few, and a look says that it is well");
    let looks = || upstream.unscripted().into_iter().filter(|seen| seen.target == "/v1/models");
    assert!((1..=2).contains(&looks().count()), "{} looks in 7 s", looks().count());
    for _ in 0..3 {
        answer(chat()).await.is(503);
    }
    assert_eq!(world.when_told(1, 10 * SECOND).await, news(&["bad"]));
    let shown = world.shown("it isn't well", |shown| shown["is_well"] == false).await;
    assert!(shown["problem"].as_str().unwrap().contains("many requests fail"), "{shown}");
    tokio::time::sleep(17 * SECOND).await;
    assert_eq!(world.told().len(), 1, "it is looked at, and that proves nothing");
    let times: Vec<_> = looks().map(|seen| seen.at).collect();
    assert!(times.windows(2).all(|pair| pair[1] - pair[0] > 4 * SECOND), "looks too often");
    world.let_pass(3 * MINUTES).await;
    assert_eq!(world.when_told(2, 10 * SECOND).await, news(&["bad", "well"]));
}

async fn a_d1_that_is_away_is_told_of() {
    let world = World::new(taken()).await;
    let _upstream = world.upstream().await;
    assert_eq!(world.chat("ada").await, 200);
    world.gateway.ledger().settled("ada", 1).await;
    let ledger = world.gateway.ledger();
    let lock = ledger.lock();
    let began = Instant::now();
    let users: Vec<String> = (0..10).map(|number| format!("u{number}")).collect();
    for status in join_all(users.iter().map(|user| world.chat(user))).await {
        assert_eq!(status, 200);
    }
    let told = world.when_told(1, 120 * SECOND).await;
    println!("told of D1 after {:?}", began.elapsed());
    assert_eq!(told, [("d1".to_owned(), "bad".to_owned())]);
    assert_eq!(world.chat("ada").await, 200, "requests go on");
    drop(lock);
    let back = Instant::now();
    let told = world.when_told(2, 60 * SECOND).await;
    println!("told that D1 is well after {:?}", back.elapsed());
    assert_eq!(told[1], ("d1".to_owned(), "well".to_owned()));
    ledger.settled("", 12).await;
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(world.told().len(), 2, "the rows have arrived: {:?}", world.told());
}

async fn a_kill_in_between_loses_no_news() {
    let gate = Arc::new(Semaphore::new(0));
    let held = Script::new().gate(&gate).respond(200, &[], "ok");
    let world = World::new(vec![held, Script::answer(200, &[], "ok")]).await;
    assert_eq!(world.chat("ada").await, 502);
    world.when_told(1, 5 * SECOND).await;
    // In the middle of telling.
    world.gateway.kill_runtime().await;
    world.gateway.restart().await;
    let told = world.when_told(2, 60 * SECOND).await;
    assert_eq!(told, news(&["bad", "bad"]), "nobody knows whether the first has arrived");
    world.gateway.kill_runtime().await;
    let _upstream = world.upstream().await;
    world.gateway.restart().await;
    let told = world.when_told(3, 60 * SECOND).await;
    assert_eq!(told, news(&["bad", "bad", "well"]));
    world.gateway.have_a_day_pass().await;
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(world.told().len(), 3);
}

async fn where_all_is_well_a_minute_costs_one_message() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let studio = json!({ "studio": { "url": "http://127.0.0.1:9", "slots": 3 } }).to_string();
    let pair = shared::pair(options.var("UPSTREAMS", studio)).await;
    let upstreams = async || {
        let overview = pair.gateway.operator(Method::GET, "/operator/api/overview");
        answer(overview).await.json()["upstreams"].clone()
    };
    let before = upstreams().await;
    let unknown = |name: &str, slots: Value| {
        json!({ "name": name, "slots": slots, "running": 0, "waiting": 0, "longest_wait_ms": 0,
            "reported_at": null, "is_well": null, "checked_at": null, "problem": null })
    };
    assert_eq!(before, json!([unknown("default", Value::Null), unknown("studio", json!(3))]));
    for minute in 1..=2 {
        pair.gateway.have_a_day_pass().await;
        let began = Instant::now();
        // Two looks in vain are believed; the second comes by itself.
        while upstreams().await[1]["is_well"] != false {
            assert!(began.elapsed() < 20 * SECOND, "{}", upstreams().await);
            tokio::time::sleep(SECOND / 5).await;
        }
        let shown = upstreams().await;
        assert_eq!((&shown[0]["is_well"], &shown[0]["problem"]), (&json!(true), &Value::Null));
        assert_eq!(shown[1]["problem"], "no answer from its url");
        // The line in the log may come after what it tells of.
        let told = || (messages_to_alerts(&pair.gateway) >= minute).then_some(());
        wait_for("the minute's message", 20 * SECOND, told).await;
        assert_eq!(messages_to_alerts(&pair.gateway), minute);
    }
    let alerts = "select group_concat(subject) from alerts";
    let bad = pair.gateway.ledger().open().query_row(alerts, [], |row| row.get::<_, String>(0));
    assert_eq!(bad.unwrap(), "upstream:studio");
}
