//! Once a day: last month is closed, and rows that are too old go.

use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script};
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        last_month_is_closed_once_and_what_differs_is_reported,
        rows_go_after_their_time,
    ]
}

const DAY: i64 = 86_400_000;

/// Has the fault build's clock go to this offset, by a request that nothing else comes of.
async fn at_offset(gateway: &Gateway, offset: i64) {
    let request = gateway.post("clock", "/v1/embeddings", &json!({}));
    answer(request.header("x-fault-clock-offset-ms", offset.to_string())).await.is(200);
}

fn text(gateway: &Gateway, query: &str) -> Value {
    let found = gateway.ledger().open().query_row(query, [], |row| row.get::<_, String>(0));
    serde_json::from_str(&found.unwrap()).unwrap()
}

/// Days until the next month is two days old.
fn into_next_month(gateway: &Gateway) -> i64 {
    let query = "select cast(unixepoch('now', 'start of month', '+1 month', '+2 days') * 1000
        - unixepoch('now') * 1000 as integer)";
    gateway.ledger().open().query_row(query, [], |row| row.get(0)).unwrap()
}

async fn last_month_is_closed_once_and_what_differs_is_reported() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let failing = pair.upstream.route(Script::json(500, &json!({})));
    let users = ["fine", "behind", "falsified", "ahead"];
    for user in users {
        for path in ["/v1/chat/completions", "/v1/chat/completions", failing.chat().as_str()] {
            answer(gateway.post(user, path, &chat_request("hi", false))).await;
        }
    }
    gateway.ledger().settled("", 12).await;
    {
        let d1 = gateway.ledger().by_hand();
        let wrong = [
            "update monthly_usage set requests = 1 where user_id = 'behind'",
            "update monthly_usage set requests = 9 where user_id = 'ahead'",
            "delete from requests where id = (select min(id) from requests
                where user_id = 'falsified')",
            "insert into monthly_usage select 'nobody', month, 5, 5 from monthly_usage limit 1",
        ];
        for statement in wrong {
            assert!(d1.execute(statement, []).unwrap() > 0, "{statement}");
        }
    }
    gateway.have_a_day_pass().await;
    let closed = "select json_group_array(json_object('month', month, 'requests', requests,
        'mismatches', mismatches)) from closed_months where requests > 0";
    assert_eq!(text(gateway, closed), json!([]), "the month isn't over");
    at_offset(gateway, into_next_month(gateway)).await;
    let before = gateway.log_text().len();
    for _ in 0..2 {
        gateway.have_a_day_pass().await;
    }
    let month = text(gateway, "select json_quote(month) from monthly_usage where user_id = 'fine'");
    // Two of three count, of each of four.
    let expected = json!([{ "month": month, "requests": 8, "mismatches": 1 }]);
    assert_eq!(text(gateway, closed), expected);
    let sums =
        "select json_group_object(user_id, requests) from monthly_usage where user_id != 'clock'";
    let expected = json!({ "fine": 2, "behind": 2, "falsified": 2, "ahead": 2, "nobody": 0 });
    assert_eq!(text(gateway, sums), expected, "the objects' word");
    let notes = "select json_group_array(json_object('kind', kind, 'subject', subject,
        'user_id', user_id, 'text', text)) from notes";
    let month = month.as_str().unwrap();
    let text_of_it = format!(
        "falsified used 2 requests and 6 tokens in {month}, but there are rows \
        of 1 and 3. The first are what was counted."
    );
    let note = json!({ "kind": "month_mismatch", "subject": format!("{month} falsified"),
        "user_id": "falsified", "text": text_of_it });
    assert_eq!(text(gateway, notes), json!([note]), "once");
    let log = gateway.log_text()[before..].to_owned();
    assert_eq!(log.matches("a month's count and rows differ").count(), 1, "{log}");
    let asked_of_fine = log.lines().any(|line| {
        line.contains("\"message\":\"TellMonth\"") && line.contains("\"object\":\"fine\"")
    });
    assert!(!asked_of_fine, "only those are asked who differ");
}

async fn rows_go_after_their_time() {
    let options = Options::new().var("USER_BINDING", "open").var("RETENTION_DAYS", "40");
    let pair = shared::pair(options.fault_injection()).await;
    let gateway = &pair.gateway;
    answer(gateway.post("ada", "/v1/embeddings", &json!({}))).await.is(200);
    gateway.ledger().settled("ada", 1).await;
    // More than are deleted at once.
    let many =
        "insert into requests (user_id, endpoint, status, latency_ms, tokens_est, created_at,
        request_id, project) select 'old', '/v1/models', 200, 1, 0, datetime('now', '-41 days'),
        'r' || value, 'default' from generate_series(1, 2500)";
    let many = many.replace(
        "generate_series(1, 2500)",
        "(with recursive n(value) as (select 1
        union all select value + 1 from n where value < 2500) select value from n)",
    );
    gateway.ledger().by_hand().execute(&many, []).unwrap();
    gateway.have_a_day_pass().await;
    assert_eq!((gateway.ledger().rows("old").len(), gateway.ledger().rows("ada").len()), (0, 1));
    at_offset(gateway, 39 * DAY).await;
    gateway.have_a_day_pass().await;
    assert_eq!(gateway.ledger().rows("ada").len(), 1);
    at_offset(gateway, 41 * DAY).await;
    gateway.have_a_day_pass().await;
    assert_eq!(gateway.ledger().rows("ada").len(), 0);
}
