//! D1 afterwards: every request exactly once, whatever happened to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Row, Script, Upstream, median, wait_for};
use hmac::{Hmac, KeyInit, Mac};
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::Pair;
use crate::{budget, shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Patient: a_kill_under_load_loses_no_answered_request];
    tests.extend(tests![Ordinary:
        a_mixed_load_leaves_every_request_once,
        addresses_are_hashed_with_the_pepper,
        refused_proofs_are_rows_only_where_the_user_is_known,
    ]);
    tests.extend(tests![Alone:
        a_row_is_there_within_two_seconds,
        a_locked_d1_loses_no_row_and_delays_no_answer,
    ]);
    tests
}

/// What the requests of the mixed load are answered with.
struct Mix {
    whole: Route,
    stream: Route,
    failing: Route,
    broken: Route,
    gone: Route,
    endless: Route,
}

impl Mix {
    fn new(upstream: &Upstream) -> Self {
        let gap = Duration::from_millis(20);
        let half = Script::new().event_stream().event(&chat_chunk("half an answer")).wait(gap);
        Self {
            whole: upstream.route(Script::chat("hi", 7)),
            stream: upstream.route(Script::chat_stream(&["a", "b", "c"], gap, Some(9))),
            failing: upstream.route(Script::json(500, &json!({ "error": { "message": "no" } }))),
            broken: upstream.route(half.clone().reset()),
            gone: upstream.route(Script::new().reset()),
            endless: upstream.route(
                (0..100).fold(half, |script, _| script.event(&chat_chunk("and on")).wait(gap * 10)),
            ),
        }
    }

    /// Sends the `number`-th request of `user`; its id and the status that its row must have.
    async fn send(&self, gateway: &Gateway, user: &str, number: usize) -> (String, i64) {
        let (route, stream, expected) = match number % 6 {
            0 => (&self.whole, false, 200),
            1 => (&self.stream, true, 200),
            2 => (&self.failing, false, 500),
            3 => (&self.broken, true, 502),
            4 => (&self.gone, false, 502),
            _ => (&self.endless, true, 499),
        };
        let request = gateway.post(user, &route.chat(), &chat_request("hi", stream));
        let response = request.send().await.unwrap();
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        let status = i64::from(response.status().as_u16());
        let mut body = response.bytes_stream();
        if expected == 499 && status == 200 {
            body.next().await.unwrap().unwrap();
        } else {
            while body.next().await.is_some_and(|piece| piece.is_ok()) {}
        }
        (id, if status == 200 { expected } else { status })
    }
}

async fn a_mixed_load_leaves_every_request_once() {
    let options = Options::new().var("USER_BINDING", "open").var("IP_HASH_PEPPER", "");
    let pair = shared::pair(options).await;
    let mix = Mix::new(&pair.upstream);
    let users: Vec<String> = (0..5).map(|number| format!("user-{number}")).collect();
    // Sixty each in four lanes, so that the last ten are over the limit.
    let lane = async |user: &str, lane: usize| {
        let mut sent = Vec::new();
        for number in 0..15 {
            sent.push(mix.send(&pair.gateway, user, lane * 15 + number).await);
        }
        sent
    };
    let lane = &lane;
    let lanes = users.iter().flat_map(|user| (0..4).map(move |number| lane(user, number)));
    let expected: HashMap<String, i64> = join_all(lanes).await.into_iter().flatten().collect();
    assert_eq!(expected.len(), 300, "every answer has an id of its own");

    let rows = pair.gateway.ledger().settled("", 300).await;
    assert_eq!(rows.len(), 300, "nothing had to be folded");
    for row in &rows {
        assert_eq!(expected.get(&row.request_id), Some(&row.status), "{row:?}");
        check_columns(row);
    }
    for user in &users {
        let of_user: Vec<_> = rows.iter().filter(|row| row.user_id == *user).collect();
        assert_eq!(of_user.iter().filter(|row| row.status == 429).count(), 10);
    }
    check_queries(&pair, &users, &rows);
    check_budget(&pair.gateway).await;
    check_log(&pair.gateway, expected.keys());
}

fn check_columns(row: &Row) {
    let time =
        Regex::new(r"^[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}$").unwrap();
    assert!(time.is_match(&row.created_at), "{row:?}");
    assert_eq!(row.endpoint, "/v1/chat/completions");
    assert_eq!((row.project.as_str(), row.ip_hash.as_deref(), row.count), ("default", None, 1));
    let code = row.error_code.as_deref();
    match row.status {
        200 => assert_eq!((code, row.tokens_source.as_str()), (None, "reported"), "{row:?}"),
        429 => assert_eq!((code, row.tokens_est), (Some("rate_limit_exceeded"), 0), "{row:?}"),
        499 => {
            assert_eq!(row.tokens_source, "estimated", "{row:?}");
            assert!((4..=8).contains(&row.tokens_est), "{row:?}");
        }
        502 => assert!(
            matches!(code, Some("upstream_interrupted" | "upstream_unreachable")),
            "{row:?}"
        ),
        _ => assert_eq!(row.status, 500, "{row:?}"),
    }
    assert!((0..60_000).contains(&row.latency_ms), "{row:?}");
    assert!(row.ttfb_ms.is_none_or(|time| (0..=row.latency_ms).contains(&time)), "{row:?}");
}

/// The operator's two old questions.
fn check_queries(pair: &Pair, users: &[String], rows: &[Row]) {
    let connection = pair.gateway.ledger().open();
    let mut summary = connection
        .prepare("select user_id, total_requests, total_tokens, last_seen from user_summary")
        .unwrap();
    let summary: BTreeMap<String, (i64, i64, String)> = summary
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?, row.get(3)?))))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(summary.keys().collect::<Vec<_>>(), users.iter().collect::<Vec<_>>());
    let mut recent = connection
        .prepare(
            "select user_id, sum(count) from requests \
             where created_at > datetime('now', '-5 minutes') group by user_id",
        )
        .unwrap();
    let recent: BTreeMap<String, i64> = recent
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    for user in users {
        let tokens: i64 =
            rows.iter().filter(|row| row.user_id == *user).map(|row| row.tokens_est).sum();
        let (requests, total_tokens, last_seen) = &summary[user];
        assert_eq!((*requests, *total_tokens), (60, tokens));
        let newest =
            rows.iter().filter(|row| row.user_id == *user).map(|row| &row.created_at).max();
        assert_eq!(Some(last_seen), newest);
        assert_eq!(recent[user], 60);
    }
}

/// The rows written in objects and in D1 for each request, amortised.
async fn check_budget(gateway: &Gateway) {
    let flushes = || -> Vec<Value> {
        gateway.log().into_iter().filter(|line| line["event"] == "flush").collect()
    };
    let sum = |lines: &[Value], name: &str| -> i64 {
        lines.iter().map(|line| line[name].as_i64().unwrap_or_else(|| panic!("{line}"))).sum()
    };
    let lines = wait_for("flush lines for 300 rows", Duration::from_secs(30), || {
        Some(flushes()).filter(|lines| sum(lines, "rows") >= 300)
    })
    .await;
    assert_eq!(sum(&lines, "rows"), 300, "no row was flushed twice");
    let (object, d1) = (sum(&lines, "object_rows_written"), sum(&lines, "d1_rows_written"));
    println!("300 requests: {object} rows written in objects, {d1} in D1, {} flushes", lines.len());
    let users: BTreeSet<_> = lines.iter().map(|line| line["user_id"].to_string()).collect();
    let [batches, users] = [lines.len(), users.len()].map(|count| i64::try_from(count).unwrap());
    for (written, most) in [(object, budget::ROWS_IN_OBJECTS), (d1, budget::ROWS_IN_D1)] {
        let most = 300 * most.each + batches * most.batch + users * most.user;
        assert!((300..=most).contains(&written), "{written} rows written, and not {most}");
    }
}

/// Each request has a line of its own in the log.
fn check_log<'a>(gateway: &Gateway, ids: impl Iterator<Item = &'a String>) {
    let logged: Vec<String> = gateway
        .log()
        .into_iter()
        .filter_map(|line| Some(line["request_id"].as_str()?.to_owned()))
        .collect();
    for id in ids {
        assert!(logged.contains(id), "{id} has no line in the log");
    }
}

fn hex8(bytes: &[u8]) -> String {
    hex::encode(bytes)[..8].to_owned()
}

async fn addresses_are_hashed_with_the_pepper() {
    let pair = shared::open().await;
    let user = shared::user("address");
    for address in ["203.0.113.7", "2001:db8::1"] {
        let request = pair.gateway.get(&user, "/v1/models").header("cf-connecting-ip", address);
        let passed = answer(request).await;
        passed.is(200);
        let mut mac = Hmac::<Sha256>::new_from_slice(shared::PEPPER.as_bytes()).unwrap();
        mac.update(address.as_bytes());
        let expected = hex8(&mac.finalize().into_bytes());
        let row = pair.gateway.ledger().row(passed.request_id()).await;
        assert_eq!(row.ip_hash, Some(expected));
    }
    let bare =
        shared::pair(Options::new().var("USER_BINDING", "open").var("IP_HASH_PEPPER", "")).await;
    let request = bare.gateway.get("ada", "/v1/models").header("cf-connecting-ip", "203.0.113.7");
    let passed = answer(request).await;
    let row = bare.gateway.ledger().row(passed.request_id()).await;
    assert_eq!(row.ip_hash, Some(hex8(&Sha256::digest("203.0.113.7"))));
    assert!(!bare.gateway.log_text().contains("203.0.113.7"), "a raw address is in the log");
    let file = std::fs::read(bare.gateway.runtime().d1_path).unwrap();
    let raw = file.windows(11).any(|window| window == b"203.0.113.7");
    assert!(!raw, "a raw address is in D1");
}

async fn refused_proofs_are_rows_only_where_the_user_is_known() {
    let pair = shared::open().await;
    let (known, unknown) = (shared::user("known"), shared::user("unknown"));
    pair.gateway.mint_key(&known).await;
    let mut ids = Vec::new();
    for user in [&known, &unknown] {
        let wrong = format!("ogk_{user}_{}", "A".repeat(43));
        let request = pair.gateway.get(user, "/v1/models").header("x-gateway-key", wrong);
        let refused = answer(request).await;
        refused.refuses(401, "invalid_key");
        ids.push(refused.request_id().to_owned());
    }
    let rows = pair.gateway.ledger().settled(&known, 1).await;
    assert_eq!((rows[0].status, rows[0].error_code.as_deref()), (401, Some("invalid_key")));
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert!(pair.gateway.ledger().rows(&unknown).is_empty());
    let lines = pair.gateway.log();
    for id in ids.iter().filter(|id| !id.is_empty()) {
        assert!(lines.iter().any(|line| line["request_id"] == **id), "{id} has no log line");
    }
}

async fn a_row_is_there_within_two_seconds() {
    let pair = shared::open().await;
    let user = shared::user("fresh");
    let mut times = Vec::new();
    for _ in 0..8 {
        let passed = answer(pair.gateway.get(&user, "/v1/models")).await;
        let began = Instant::now();
        pair.gateway.ledger().row(passed.request_id()).await;
        times.push(began.elapsed().as_secs_f64());
        tokio::time::sleep(Duration::from_millis(130)).await;
    }
    println!("rows were there after {times:.2?} s");
    assert!(times.iter().all(|time| *time < 2.2), "{times:?}");
}

/// Sends ten requests a second for `time`, spread over twenty users; each one's latency.
async fn steady_load(pair: &Pair, time: Duration, sent: &mut i64) -> Vec<f64> {
    let began = Instant::now();
    let mut under_way = Vec::new();
    while began.elapsed() < time {
        let user = format!("user-{}", *sent % 20);
        let request = pair.gateway.post(&user, "/v1/chat/completions", &chat_request("hi", false));
        *sent += 1;
        under_way.push(tokio::spawn(async move {
            let began = Instant::now();
            answer(request).await.is(200);
            began.elapsed().as_secs_f64() * 1000.0
        }));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let mut latencies = Vec::new();
    for request in under_way {
        latencies.push(request.await.unwrap());
    }
    latencies
}

async fn a_locked_d1_loses_no_row_and_delays_no_answer() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "1000");
    let pair = shared::pair(options).await;
    let mut sent = 0;
    steady_load(&pair, Duration::from_secs(2), &mut sent).await;
    let free = steady_load(&pair, Duration::from_secs(6), &mut sent).await;
    let ledger = pair.gateway.ledger();
    ledger.settled("", sent).await;
    let before = sent;
    let lock = ledger.lock();
    let locked = steady_load(&pair, Duration::from_secs(10), &mut sent).await;
    let meanwhile: i64 = ledger.rows("").iter().map(|row| row.count).sum();
    assert_eq!(meanwhile, before, "the lock didn't keep the flush out");
    drop(lock);
    ledger.settled("", sent).await;
    let (calm, held) = (median(&free), median(&locked));
    let worst = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    println!(
        "free: median {calm:.1} ms, worst {:.1}; D1 locked: median {held:.1} ms, worst {:.1}",
        worst(&free),
        worst(&locked)
    );
    // Who waits for D1 waits for seconds; what a neighbour's work costs is less.
    assert!(held < calm * 2.0 + 50.0, "median {held} ms instead of {calm} ms");
    assert!(worst(&locked) < worst(&free) * 2.0 + 1000.0, "an answer waited for D1");
}

async fn a_kill_under_load_loses_no_answered_request() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "1000");
    let pair = shared::pair(options).await;
    let upstream = &pair.upstream;
    let quick = upstream.route(Script::chat("hi", 7));
    let slow = upstream.route(Script::new().hang());
    let mut answered = Vec::new();
    for round in 0..3 {
        let before = quick.seen().len();
        let lanes = (0..8).map(|lane| {
            let (pair, quick) = (&pair, &quick);
            async move {
                let mut answered = Vec::new();
                let user = format!("user-{lane}");
                // Until the kill cuts the connection.
                loop {
                    let request =
                        pair.gateway.post(&user, &quick.chat(), &chat_request("hi", false));
                    let Ok(response) = request.send().await else { return answered };
                    let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
                    answered.push((id, response.status().as_u16()));
                }
            }
        });
        let hanging = pair.gateway.post("slow", &slow.chat(), &chat_request("hi", false)).send();
        let kill = async {
            tokio::time::sleep(Duration::from_millis(700 + 130 * round)).await;
            // On a slow machine, once enough has passed to be a load.
            let enough = before + 30;
            let is_load = || (quick.seen().len() >= enough).then_some(());
            wait_for("load", Duration::from_mins(1), is_load).await;
            pair.gateway.kill_runtime().await;
        };
        let (lanes, hung, ()) = tokio::join!(join_all(lanes), hanging, kill);
        assert!(hung.is_err(), "nobody could have answered that");
        answered.extend(lanes.into_iter().flatten());
        pair.gateway.restart().await;
    }
    assert!(answered.len() > 50, "{} requests are no load", answered.len());
    assert!(answered.iter().all(|(_, status)| *status == 200));

    // The leases of the dead end after 90 s; then all that reached the upstream is accounted for.
    let admitted: Vec<String> = quick
        .seen()
        .iter()
        .chain(&slow.seen())
        .map(|seen| seen.header("x-request-id").unwrap())
        .collect();
    let ledger = pair.gateway.ledger();
    let began = Instant::now();
    let rows = loop {
        let rows = ledger.rows("");
        let known = |id: &String| rows.iter().any(|row| row.request_id == *id);
        let missing: Vec<_> = admitted.iter().filter(|id| !known(id)).collect();
        if missing.is_empty() {
            break rows;
        }
        assert!(began.elapsed() < Duration::from_secs(150), "no rows for {missing:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    };
    let mut seen = HashMap::new();
    for row in &rows {
        assert_eq!(seen.insert(&row.request_id, row), None, "{} has two rows", row.request_id);
        match row.status {
            200 => assert_eq!(row.error_code, None),
            0 => assert_eq!(row.error_code.as_deref(), Some("interrupted"), "{row:?}"),
            _ => panic!("nobody could have known that end: {row:?}"),
        }
    }
    for (id, _) in &answered {
        assert!(seen.contains_key(id), "{id} was answered and has no row");
    }
    let slow_rows: Vec<_> = rows.iter().filter(|row| row.user_id == "slow").collect();
    assert!(!slow_rows.is_empty() && slow_rows.iter().all(|row| row.status == 0));
    let interrupted = rows.iter().filter(|row| row.status == 0).count();
    println!("{} answered, {} rows, {interrupted} interrupted", answered.len(), rows.len());
    assert!(interrupted < 3 * 30, "{interrupted} of {} settles were lost", rows.len());
}
