//! What the operator sees of everybody: the overview, the list, notes, actions, and the export.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        the_overview_says_how_everybody_fares_and_why,
        the_list_is_searched_sorted_and_read_page_by_page,
        rows_are_flushed_when_the_operator_says_so,
        actions_are_listed_and_notes_are_done_with,
        the_export_has_every_row_and_no_formula,
        questions_that_make_no_sense_are_refused,
    ];
    tests.extend(tests![Patient: a_thousand_users_cost_one_query_and_no_object]);
    tests.extend(tests![Alone: a_limit_that_was_met_is_seen_at_once]);
    tests
}

async fn ask(gateway: &Gateway, path: &str) -> Answer {
    answer(gateway.operator(Method::GET, &format!("/operator/api/{path}"))).await
}

async fn overview(gateway: &Gateway) -> Value {
    let answered = ask(gateway, "overview?minutes=2").await;
    answered.is(200);
    answered.json()
}

fn tile<'a>(overview: &'a Value, user: &str) -> &'a Value {
    let users = overview["users"].as_array().unwrap();
    users.iter().find(|tile| tile["user_id"] == user).unwrap_or(&Value::Null)
}

async fn the_overview_says_how_everybody_fares_and_why() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "3");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let failing = pair.upstream.route(Script::json(500, &json!({})));
    let roster = gateway.operator(Method::POST, "/operator/api/roster");
    let roster = roster.header("content-type", "text/csv");
    answer(roster.body("name,email\nNina Never,nina@example.com\n")).await.is(200);
    let chat = async |user: &str, path: &str| {
        answer(gateway.post(user, path, &chat_request("hi", false))).await.status
    };
    for _ in 0..5 {
        chat("lena", "/v1/chat/completions").await;
    }
    chat("wanda", "/v1/chat/completions").await;
    chat("wanda", "/v1/chat/completions").await;
    chat("fred", "/v1/chat/completions").await;
    assert_eq!(chat("fred", &failing.chat()).await, 500);
    chat("bella", "/v1/chat/completions").await;
    let block = gateway.operator(Method::POST, "/operator/api/users/bella/block");
    answer(block.json(&json!({}))).await.is(204);
    gateway.ledger().settled("", 10).await;
    let is_blocked = async || {
        let overview = overview(gateway).await;
        (tile(&overview, "bella")["state"] == "blocked").then_some(overview)
    };
    let began = Instant::now();
    let overview = loop {
        if let Some(overview) = is_blocked().await {
            break overview;
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the block isn't shown");
    };
    let order: Vec<_> =
        overview["users"].as_array().unwrap().iter().map(|t| &t["user_id"]).collect();
    assert_eq!(order, ["fred", "lena", "bella", "wanda", "nina-never"]);
    for (user, state, reason) in [
        ("fred", "failing", "The agent answered with an error (500)."),
        (
            "lena",
            "limited",
            "Sends more requests a minute than are allowed. 2 requests were refused in the last minute.",
        ),
        ("bella", "blocked", "You have blocked this user."),
        ("wanda", "working", "2 requests were answered in the last 5 minutes."),
        ("nina-never", "never_seen", "Never seen. Has the kit been run?"),
    ] {
        let tile = tile(&overview, user);
        assert_eq!((&tile["state"], &tile["reason"]), (&json!(state), &json!(reason)), "{user}");
    }
    assert_eq!(tile(&overview, "nina-never")["name"], "Nina Never");
    assert_eq!(tile(&overview, "nina-never")["last_seen"], Value::Null);
    let lena = tile(&overview, "lena");
    assert_eq!(
        (&lena["requests"], &lena["limited"], &lena["failed"]),
        (&json!(5), &json!(2), &json!(0))
    );
    let people = json!({ "total": 5, "working": 1, "limited": 1, "failing": 1, "blocked": 1,
        "quiet": 0, "never_seen": 1 });
    assert_eq!(overview["people"], people);
    assert_eq!(overview["is_complete"], true);
    let lately = &overview["lately"];
    assert_eq!(
        (&lately["requests"], &lately["limited"], &lately["failed"]),
        (&json!(10), &json!(2), &json!(1))
    );
    // Seven answers with three tokens each.
    assert_eq!((&lately["seconds"], &lately["tokens"]), (&json!(300), &json!(21)));
    for member in ["latency_ms", "ttfb_ms"] {
        let [p50, p90, p99] = ["p50", "p90", "p99"].map(|p| lately[member][p].as_i64().unwrap());
        assert!(0 <= p50 && p50 <= p90 && p90 <= p99, "{lately}");
    }
    let errors = json!([
        { "status": 429, "code": "rate_limit_exceeded", "requests": 2, "users": 1,
          "meaning": "Sends more requests a minute than are allowed." },
        { "status": 500, "code": null, "requests": 1, "users": 1,
          "meaning": "The agent answered with an error (500)." },
    ]);
    assert_eq!(lately["errors"], errors);
    let minutes = overview["minutes"].as_array().unwrap();
    let sum = |member: &str| minutes.iter().map(|m| m[member].as_i64().unwrap()).sum::<i64>();
    assert_eq!((sum("requests"), sum("limited"), sum("failed"), sum("tokens")), (10, 2, 1, 21));
    assert!(minutes[0]["minute"].as_str().unwrap().ends_with(":00Z"), "{minutes:?}");
}

async fn a_limit_that_was_met_is_seen_at_once() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "1");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let models = || answer(gateway.get("ada", "/v1/models"));
    models().await.is(200);
    models().await.is(429);
    let began = Instant::now();
    while tile(&overview(gateway).await, "ada")["state"] != "limited" {
        assert!(began.elapsed() < Duration::from_secs(2), "it takes too long");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn a_thousand_users_cost_one_query_and_no_object() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let number = 1_200;
    let seat = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {number})
        insert into users (user_id, created_at, updated_at)
        select 'user-' || i, datetime('now'), datetime('now') from n"
    );
    let work = format!(
        "with recursive n(i) as (select 1 union all select i + 1 from n where i < {})
        insert into requests (user_id, endpoint, status, latency_ms, ttfb_ms, tokens_est, created_at,
            request_id, project)
        select 'user-' || (i % {number} + 1), '/v1/chat/completions', 200, i, i, 3,
            strftime('%Y-%m-%d %H:%M:%f', 'now', '-' || (i % 280) || ' seconds'), 'r' || i, 'default'
        from n",
        10 * number
    );
    // She has asked nothing yet, and all the others may be made up.
    let rita = "insert into users (user_id, name, created_at, updated_at)
        values ('rita', 'Rita Roster', datetime('now'), datetime('now'))";
    gateway.ledger().by_hand().execute_batch(&format!("{seat}; {work}; {rita}")).unwrap();
    let calls = || gateway.log().iter().filter(|line| line["event"] == "object_call").count();
    let before = calls();
    let began = Instant::now();
    let overview = overview(gateway).await;
    let took = began.elapsed();
    assert_eq!(overview["users"].as_array().unwrap().len(), 1_000);
    assert_eq!(tile(&overview, "rita")["state"], "never_seen", "nobody pushes her out");
    assert_eq!(
        (&overview["people"]["total"], &overview["is_complete"]),
        (&json!(number + 1), &json!(false))
    );
    assert_eq!(
        overview["lately"]["latency_ms"],
        json!({ "p50": 6000, "p90": 10800, "p99": 11880 })
    );
    assert_eq!(calls(), before, "no object was asked");
    assert!(took < Duration::from_secs(3), "{took:?}");
}

async fn the_list_is_searched_sorted_and_read_page_by_page() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let people: String =
        (1..=23).map(|i| format!("Person {i},p{i}@example.com\n")).collect::<Vec<_>>().concat();
    let roster = gateway.operator(Method::POST, "/operator/api/roster");
    let roster = roster.header("content-type", "text/csv");
    answer(roster.body(format!(
        "name,email\n{people}100% Percy,odd@example.org\n\
        Longina,a.very.long.first.name.and.surname@department.of.a.company.example.com\n"
    )))
    .await
    .is(200);
    let send = |(user, times): (&'static str, usize)| async move {
        for _ in 0..times {
            answer(gateway.post(user, "/v1/chat/completions", &chat_request("x", false))).await;
        }
    };
    join_all([("person-7", 3), ("person-2", 5), ("person-19", 1)].map(send)).await;
    gateway.ledger().settled("", 9).await;
    for (sort, first) in [
        ("user_id", "100-percy"),
        ("name", "100-percy"),
        ("-requests", "person-2"),
        ("-tokens", "person-2"),
        ("-last_seen", ""),
    ] {
        let (mut seen, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = ask(gateway, &format!("users?limit=5&sort={sort}&cursor={cursor}")).await;
            page.is(200);
            let page = page.json();
            for user in page["users"].as_array().unwrap() {
                seen.push(user["user_id"].as_str().unwrap().to_owned());
            }
            match page["cursor"].as_str() {
                Some(next) => next.clone_into(&mut cursor),
                None => break,
            }
        }
        assert_eq!(seen.len(), 25, "{sort}: {seen:?}");
        assert!(first.is_empty() || seen[0] == first, "{sort}: {seen:?}");
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), 25, "{sort}: {seen:?}");
    }
    for (query, found) in [
        ("PERSON-23", vec!["person-23"]),
        ("p11%40example", vec!["person-11"]),
        ("%25", vec!["100-percy"]),
        ("a.very.long.first.name.and.surname@department.of.a.company.example.com", vec!["longina"]),
        ("person_1", vec![]),
        ("nobody", vec![]),
    ] {
        let page = ask(gateway, &format!("users?query={query}")).await.json();
        let users = page["users"].as_array().unwrap();
        let users: Vec<_> = users.iter().map(|user| user["user_id"].as_str().unwrap()).collect();
        assert_eq!((users, &page["cursor"]), (found, &Value::Null), "{query}");
    }
    let page = ask(gateway, "users?query=person-7").await.json();
    let user = &page["users"][0];
    assert_eq!((&user["name"], &user["email"]), (&json!("Person 7"), &json!("p7@example.com")));
    assert_eq!((&user["requests"], &user["tokens"]), (&json!(3), &json!(9)));
    assert_eq!(
        (&user["blocked"], &user["tier"], &user["codex"]),
        (&json!(false), &Value::Null, &json!("none"))
    );
    assert!(user["last_seen"].as_str().unwrap().ends_with('Z'), "{user}");
}

async fn rows_are_flushed_when_the_operator_says_so() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let flush =
        || answer(gateway.operator(Method::POST, "/operator/api/users/ada/flush").json(&json!({})));
    let lock = gateway.ledger().lock();
    answer(gateway.get("ada", "/v1/models")).await.is(200);
    let live = || async { ask(gateway, "users/ada").await.json()["outbox"]["depth"].clone() };
    while live().await != 1 {}
    flush().await.refuses(503, "database_unavailable");
    drop(lock);
    flush().await.is(204);
    assert_eq!((gateway.ledger().rows("ada").len(), live().await), (1, json!(0)));
}

async fn actions_are_listed_and_notes_are_done_with() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let number = 103;
    for i in 0..number {
        let user = format!("user-{}", i % 2);
        let path = format!("/operator/api/users/{user}/reset");
        answer(gateway.operator(Method::POST, &path).json(&json!({}))).await.is(204);
    }
    let recorded = || (gateway.ledger().actions("").len() == number).then_some(());
    wait_for("actions in D1", Duration::from_secs(30), recorded).await;
    let page = ask(gateway, "actions").await.json();
    let cursor = page["cursor"].as_str().unwrap().to_owned();
    assert_eq!(page["actions"].as_array().unwrap().len(), 100);
    let action = &page["actions"][0];
    assert_eq!((&action["operator"], &action["action"]), (&json!("token"), &json!("reset")));
    let rest = ask(gateway, &format!("actions?cursor={cursor}")).await.json();
    assert_eq!((rest["actions"].as_array().unwrap().len(), &rest["cursor"]), (3, &Value::Null));
    let of_one = ask(gateway, "actions?user_id=USER-1").await.json();
    assert_eq!(of_one["actions"].as_array().unwrap().len(), 51);
    let note = "insert into notes (customer_id, kind, subject, user_id, text, created_at)
        values ('cus_1', 'refund', 'ch_1', 'ada', 'A refund of 99.', '2026-11-21 06:23:36.000')";
    gateway.ledger().by_hand().execute(note, []).unwrap();
    assert_eq!(overview(gateway).await["notes"], 1);
    let notes = || async { ask(gateway, "notes").await.json()["notes"].clone() };
    let shown = json!([{ "customer_id": "cus_1", "kind": "refund", "subject": "ch_1", "user_id": "ada",
        "text": "A refund of 99.", "created_at": "2026-11-21T06:23:36.000Z", "resolved_at": null }]);
    assert_eq!(notes().await, shown);
    let name = json!({ "customer_id": "cus_1", "kind": "refund", "subject": "ch_1" });
    let resolve =
        || answer(gateway.operator(Method::POST, "/operator/api/notes/resolve").json(&name));
    resolve().await.is(204);
    resolve().await.refuses(404, "not_found");
    assert!(notes().await[0]["resolved_at"].is_string());
    assert_eq!(overview(gateway).await["notes"], 0);
}

async fn the_export_has_every_row_and_no_formula() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4500)
        insert into requests (user_id, endpoint, status, latency_ms, tokens_est, created_at,
            request_id, project, model, provider_requests)
        select 'user-' || (i % 3), '/v1/chat/completions', 200, 1, 3,
            datetime('2026-01-01', '+' || i || ' minutes') || '.000', 'r' || i, 'default',
            iif(i = 7, '=cmd|'' /C calc''!A0', 'a \"model\", of' || char(10) || 'mine'),
            iif(i = 7, 3, null)
        from n";
    gateway.ledger().by_hand().execute(rows, []).unwrap();
    let csv = ask(gateway, "export").await;
    csv.is(200);
    assert_eq!(csv.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(csv.header("content-disposition"), "attachment; filename=\"requests.csv\"");
    let mut reader = csv::Reader::from_reader(csv.body.as_slice());
    let header = reader.headers().unwrap().clone();
    let column = |name| header.iter().position(|it| it == name).unwrap();
    let (model, calls) = (column("model"), column("provider_requests"));
    let records: Vec<_> = reader.records().map(Result::unwrap).collect();
    assert_eq!(records.len(), 4_500);
    assert_eq!(&records[6][model], "'=cmd|' /C calc'!A0");
    assert_eq!(&records[7][model], "a \"model\", of\nmine");
    assert_eq!(&records[0][1], "2026-01-01T00:01:00.000Z");
    assert_eq!([&records[6][calls], &records[7][calls]], ["3", ""]);
    let lines = ask(gateway, "export?format=jsonl&user_id=user-1").await.text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 1_500);
    assert_eq!(lines[2]["model"], "=cmd|' /C calc'!A0", "no spreadsheet opens this");
    assert_eq!(lines[0]["status"], 200);
    assert_eq!(lines[2]["provider_requests"], 3);
    assert!(lines[0]["provider_requests"].is_null());
    let day = ask(gateway, "export?format=jsonl&from=2026-01-02&to=2026-01-03T00:00:00Z").await;
    assert_eq!(day.text().lines().count(), 24 * 60);
    let none = ask(gateway, "export?from=2030-01-01").await;
    assert_eq!(none.text().lines().count(), 1, "the header");
}

async fn questions_that_make_no_sense_are_refused() {
    let gateway = &shared::open().await.gateway;
    for path in [
        "overview?minutes=0",
        "overview?minutes=1441",
        "overview?minutes=many",
        "users?limit=201",
        "users?sort=password",
        "users?cursor=nonsense",
        "actions?cursor=nonsense",
        "export?format=xlsx",
        "export?from=yesterday",
    ] {
        ask(gateway, path).await.refuses(400, "invalid_query");
    }
}
