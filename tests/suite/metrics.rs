//! `/operator/metrics`: what a Prometheus reads there, compared with the rows.

use std::time::Duration;

use futures::future::join_all;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::{clients, shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        a_prometheus_reads_what_the_rows_say,
        each_row_is_counted_once_whatever_becomes_of_it,
    ]
}

/// Name, labels and value of each sample.
struct Samples(Vec<(String, Value, f64)>);

impl Samples {
    async fn of(gateway: &Gateway) -> Self {
        let url = gateway.url("");
        let variables =
            [("GATEWAY_URL", url.as_str()), ("OPERATOR_TOKEN", gateway.operator_token())];
        Self(serde_json::from_str(&clients::python("metrics", &variables).await).unwrap())
    }

    fn get(&self, name: &str, labels: &Value) -> Option<f64> {
        let mut found = self.0.iter().filter(|(known, with, _)| known == name && with == labels);
        found.next().map(|(_, _, value)| *value)
    }

    fn number(&self, name: &str, labels: &Value) -> i64 {
        let value =
            self.get(name, labels).unwrap_or_else(|| panic!("{name} {labels}: {:?}", self.0));
        #[expect(clippy::cast_possible_truncation, reason = "counts are small")]
        let number = value as i64;
        number
    }

    /// The sum over all statuses and codes.
    fn requests(&self) -> i64 {
        let all = self.0.iter().filter(|(name, ..)| name == "gateway_requests_total");
        #[expect(clippy::cast_possible_truncation, reason = "counts are small")]
        let sum = all.map(|(_, _, value)| *value as i64).sum();
        sum
    }
}

async fn a_prometheus_reads_what_the_rows_say() {
    let studio = json!({ "studio": { "url": "http://127.0.0.1:9", "slots": 3 } }).to_string();
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "3");
    let pair = shared::pair(options.var("UPSTREAM_SLOTS", "8").var("UPSTREAMS", studio)).await;
    let gateway = &pair.gateway;
    let slow = pair.upstream.route(Script::new().wait(Duration::from_millis(300)).respond(
        200,
        &[("content-type", "application/json")],
        r#"{"usage":{"total_tokens":5}}"#,
    ));
    let failing = pair.upstream.route(Script::json(500, &json!({})));
    let ask = async |user: &str, path: &str| {
        answer(gateway.post(user, path, &chat_request("hi", false))).await.status
    };
    for path in [slow.chat(), failing.chat(), "/v1/chat/completions".to_owned()] {
        ask("ada", &path).await;
    }
    for _ in 0..2 {
        assert_eq!(ask("ada", "/v1/chat/completions").await, 429);
    }
    assert_eq!(ask("bob", &slow.chat()).await, 200);
    let block = gateway.operator(Method::POST, "/operator/api/users/bob/block");
    answer(block.json(&json!({}))).await.is(204);
    gateway.ledger().settled("", 6).await;
    gateway.have_a_day_pass().await;
    // Until what D1 shows of bob and of the upstreams has arrived.
    let mut samples = Samples::of(gateway).await;
    for _ in 0..40 {
        let studio = samples.get("gateway_upstream_healthy", &json!({ "upstream": "studio" }));
        if samples.number("gateway_users_blocked", &json!({})) == 1 && studio == Some(0.0) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(250)).await;
        samples = Samples::of(gateway).await;
    }
    let counted = |status: &str, code: &str| {
        samples.number("gateway_requests_total", &json!({ "status": status, "error_code": code }))
    };
    assert_eq!((counted("200", ""), counted("500", "")), (3, 1));
    assert_eq!(counted("429", "rate_limit_exceeded"), 2);
    let plain = |name: &str| samples.number(name, &json!({}));
    assert_eq!(plain("gateway_tokens_total"), 5 + 3 + 5);
    let durations = "gateway_request_duration_seconds";
    assert_eq!(plain(&format!("{durations}_count")), 3);
    let within =
        |bound: &str| samples.number(&format!("{durations}_bucket"), &json!({ "le": bound }));
    assert!(within("0.25") <= 1 && within("+Inf") == 3);
    let sum = samples.get(&format!("{durations}_sum"), &json!({})).unwrap();
    let exact = "select sum(latency_ms) / 1000.0 from requests where status = 200";
    let exact: f64 = gateway.ledger().open().query_row(exact, [], |row| row.get(0)).unwrap();
    assert!((sum - exact).abs() < 1e-6, "{sum} is not {exact}");
    assert_eq!(plain("gateway_time_to_first_byte_seconds_count"), 3);
    assert_eq!((plain("gateway_users"), plain("gateway_users_blocked")), (2, 1));
    assert_eq!((plain("gateway_users_active"), plain("gateway_notes_waiting")), (2, 0));
    let of = |name: &str, upstream: &str| samples.number(name, &json!({ "upstream": upstream }));
    assert_eq!(of("gateway_upstream_slots", "default"), 8);
    assert_eq!(of("gateway_upstream_running", "default"), 0);
    assert_eq!(of("gateway_upstream_healthy", "default"), 1);
    assert_eq!(of("gateway_upstream_healthy", "studio"), 0);
    let age = samples.number("gateway_alert_age_seconds", &json!({ "subject": "upstream:studio" }));
    assert!((0..60).contains(&age), "{age}");
    let head = answer(gateway.operator(Method::HEAD, "/operator/metrics")).await;
    head.is(200);
    assert_eq!(head.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
    assert!(head.text().is_empty());
    answer(gateway.request(Method::GET, "/operator/metrics"))
        .await
        .refuses(401, "operator_required");
}

/// Rows that were written in so many ways, directly: as a flush of `number` rows would.
fn add_rows(gateway: &Gateway, number: usize, days_ago: u32) {
    let add = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {number})
        insert into requests (user_id, endpoint, status, latency_ms, tokens_est, created_at,
            request_id, project) select 'old', '/v1/models', 200, 40, 1,
            datetime('now', '-{days_ago} days'), 'r' || i, 'default' from n"
    );
    gateway.ledger().by_hand().execute(&add, []).unwrap();
}

async fn each_row_is_counted_once_whatever_becomes_of_it() {
    let options = Options::new().var("USER_BINDING", "open").var("RETENTION_DAYS", "40");
    let pair = shared::pair(options.var("REQUESTS_PER_MINUTE", "100000")).await;
    let gateway = &pair.gateway;
    // Scrapes at once with requests, and with each other.
    let scrape = || answer(gateway.operator(Method::GET, "/operator/metrics"));
    let lanes = (0..4).map(|lane| async move {
        for _ in 0..25 {
            let chat = gateway.post(
                &format!("u{lane}"),
                "/v1/chat/completions",
                &chat_request("hi", false),
            );
            answer(chat).await.is(200);
        }
    });
    let scrapes = (0..3).map(|_| async {
        for _ in 0..12 {
            scrape().await.is(200);
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    });
    tokio::join!(join_all(lanes), join_all(scrapes));
    gateway.ledger().settled("", 100).await;
    let samples = Samples::of(gateway).await;
    assert_eq!(samples.requests(), 100);
    assert_eq!(samples.number("gateway_tokens_total", &json!({})), 300);

    // More than are added at once; then they go, and nobody has asked meanwhile.
    add_rows(gateway, 45_000, 41);
    gateway.have_a_day_pass().await;
    assert!(gateway.ledger().rows("old").is_empty(), "they are too old");
    let samples = Samples::of(gateway).await;
    assert_eq!(samples.requests(), 45_100);
    assert_eq!(samples.number("gateway_tokens_total", &json!({})), 45_300);

    // Ids that are given again: all rows go, and others come.
    gateway.ledger().by_hand().execute("delete from requests", []).unwrap();
    add_rows(gateway, 7, 1);
    assert_eq!(Samples::of(gateway).await.requests(), 45_107);
    let newest = "delete from requests where id = (select max(id) from requests)";
    gateway.ledger().by_hand().execute(newest, []).unwrap();
    add_rows(gateway, 2, 1);
    assert_eq!(Samples::of(gateway).await.requests(), 45_109);
    // What isn't counted yet can't be too old.
    add_rows(gateway, 3, 50);
    let forget = "delete from requests where created_at < datetime('now', '-40 days')
        and id <= (select last_id from rolled_up)";
    assert_eq!(gateway.ledger().by_hand().execute(forget, []).unwrap(), 0);
    assert_eq!(Samples::of(gateway).await.requests(), 45_112);
}
