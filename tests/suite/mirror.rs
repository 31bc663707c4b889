//! What D1 says of users besides their requests, and that its sums are those of the objects.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::tiers::{give, set};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        d1_and_objects_and_rows_have_the_same_sums,
        the_roster_and_the_object_write_their_own_columns,
        a_name_that_somebody_made_up_is_no_user,
    ];
    tests.extend(tests![Patient: a_change_outlives_a_locked_d1_and_a_kill]);
    tests.extend(tests![Alone: a_change_is_there_within_two_seconds]);
    tests
}

/// A user's row in D1, by the names of its columns.
fn user_in_d1(gateway: &Gateway, user: &str) -> Option<Value> {
    let query = "select json_object('name', name, 'tier', tier, 'tier_since', tier_since,
        'tier_until', tier_until, 'blocked', blocked, 'binding', binding, 'keys', keys,
        'codex', codex, 'created_at', created_at, 'updated_at', updated_at, 'revision', revision)
        from users where user_id = ?";
    let text = gateway.ledger().open().query_row(query, [user], |row| row.get::<_, String>(0));
    serde_json::from_str(&text.ok()?).ok()
}

/// A user's row as soon as it is as wanted.
pub async fn shown(gateway: &Gateway, user: &str, is_wanted: impl Fn(&Value) -> bool) -> Value {
    let found = || user_in_d1(gateway, user).filter(|row| is_wanted(row));
    wait_for("user in D1", Duration::from_secs(40), found).await
}

async fn a_change_is_there_within_two_seconds() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("mirrored");
    let block = |what: &str| {
        let path = format!("/operator/api/users/{user}/{what}");
        answer(gateway.operator(Method::POST, &path).json(&json!({})))
    };
    let mut times = Vec::new();
    let mut within = async |is_wanted: &(dyn Fn(&Value) -> bool + Sync)| {
        let began = Instant::now();
        let row = shown(gateway, &user, is_wanted).await;
        times.push(began.elapsed().as_secs_f64());
        row
    };
    gateway.mint_key(&user).await;
    let row = within(&|row| row["keys"] == 1).await;
    let expected = json!([null, null, 0, "key", "none"]);
    let columns = ["tier", "tier_since", "blocked", "binding", "codex"];
    assert_eq!(json!(columns.map(|column| row[column].clone())), expected);
    let given = give(gateway, &user, "tier3").await;
    let row = within(&|row| row["tier"] == "tier3").await;
    let since = given["tier_since"].as_str().unwrap().replace('T', " ").replace('Z', "");
    assert_eq!((&row["tier_since"], &row["tier_until"]), (&json!(since), &Value::Null));
    block("block").await.is(204);
    within(&|row| row["blocked"] == 1).await;
    block("unblock").await.is(204);
    set(gateway, &user, r#"{"tier":null}"#).await.is(200);
    let row = within(&|row| row["blocked"] == 0 && row["tier"] == Value::Null).await;
    assert!(row["created_at"].as_str() < row["updated_at"].as_str(), "{row}");
    println!("changes were there after {times:.2?} s");
    assert!(times.iter().all(|time| *time < 2.2), "{times:?}");
}

async fn the_roster_and_the_object_write_their_own_columns() {
    let gateway = &shared::keyed().await.gateway;
    let name = shared::user("Lovelace").replace('-', "");
    let list = format!("name,email\nAda {name},\n");
    let seat = || {
        let request = gateway.operator(Method::POST, "/operator/api/roster");
        answer(request.header("content-type", "text/csv").body(list.clone()))
    };
    let user = seat().await.json()[0]["user_id"].as_str().unwrap().to_owned();
    give(gateway, &user, "tier1").await;
    let before = shown(gateway, &user, |row| row["tier"] == "tier1").await;
    assert_eq!(before["name"], format!("Ada {name}"));
    seat().await.is(200);
    let after = shown(gateway, &user, |row| row["updated_at"] != before["updated_at"]).await;
    for column in ["name", "tier", "binding", "revision", "created_at"] {
        assert_eq!(after[column], before[column], "{column}");
    }
}

async fn a_name_that_somebody_made_up_is_no_user() {
    let pair = shared::pair(Options::new().var("REQUESTS_PER_MINUTE", "1")).await;
    let gateway = &pair.gateway;
    let invented = format!("ogk_stranger_{:043}", fastrand::u64(..));
    let refused = gateway.get("stranger", "/v1/models").header("x-gateway-key", invented);
    answer(refused).await.refuses(401, "invalid_key");
    answer(gateway.get("guest", "/v1/models")).await.is(200);
    let guest = shown(gateway, "guest", |_| true).await;
    assert_eq!((&guest["binding"], &guest["keys"]), (&json!("open"), &json!(0)));
    assert_eq!(user_in_d1(gateway, "stranger"), None);
}

async fn a_change_outlives_a_locked_d1_and_a_kill() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    gateway.mint_key("ada").await;
    shown(gateway, "ada", |row| row["keys"] == 1).await;
    let lock = gateway.ledger().lock();
    give(gateway, "ada", "tier1").await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    give(gateway, "ada", "tier2").await;
    gateway.kill_runtime().await;
    drop(lock);
    assert_eq!(user_in_d1(gateway, "ada").unwrap()["tier"], Value::Null);
    gateway.restart().await;
    // Nobody asks for anything: its alarm remembers.
    shown(gateway, "ada", |row| row["tier"] == "tier2").await;
}

async fn d1_and_objects_and_rows_have_the_same_sums() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "40");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let events = Script::new().event_stream();
    let routes = [
        pair.upstream.route(Script::chat("hi", 7)),
        pair.upstream.route(Script::json(500, &json!({}))),
        pair.upstream.route(events.clone().event(&chat_chunk("some")).reset()),
        pair.upstream.route(Script::new().reset()),
        pair.upstream.route(Script::json(404, &json!({}))),
    ];
    let users = ["ada", "bob", "eve"];
    let lane = async |user: &str| {
        for number in 0..50 {
            let request = gateway.post(user, &routes[number % 5].chat(), &chat_request("hi", true));
            answer_to_its_end(request).await;
        }
    };
    join_all(users.map(lane)).await;
    gateway.ledger().settled("", 150).await;
    let sums = |query: &str| -> BTreeMap<String, (i64, i64)> {
        let connection = gateway.ledger().open();
        let mut statement = connection.prepare(query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))));
        rows.unwrap().map(Result::unwrap).collect()
    };
    let rows = sums(
        "select user_id, count(month), sum(iif(month is null, 0, tokens_est))
        from requests group by user_id",
    );
    let months = sums("select user_id, requests, tokens from monthly_usage");
    assert_eq!(rows, months);
    for user in users {
        let seen =
            answer(gateway.operator(Method::GET, &format!("/operator/api/users/{user}"))).await;
        let month = seen.json()["month"].clone();
        let (requests, tokens) = months[user];
        assert_eq!((&month["requests"], &month["tokens"]), (&json!(requests), &json!(tokens)));
        // Ten were refused; of the others two of five were failed by the upstream.
        assert_eq!((requests, &month["limit"]), (24, &Value::Null));
        assert!(tokens >= 56);
    }
}

/// Reads an answer that may break off.
async fn answer_to_its_end(request: reqwest::RequestBuilder) {
    let mut response = request.send().await.unwrap();
    while response.chunk().await.is_ok_and(|chunk| chunk.is_some()) {}
}
