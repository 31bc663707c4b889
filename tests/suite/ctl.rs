//! `gatewayctl` against a served gateway: every command, its JSON, its exit codes.

use std::path::Path;
use std::time::Duration;

use gateway_tests::ctl::{Ctl, Ended};
use gateway_tests::redaction::RUN;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        a_user_is_seen_blocked_and_let_in_again,
        keys_and_codes_are_minted_used_and_revoked,
        tiers_upstreams_and_projects_are_given_and_taken,
        a_roster_is_imported_and_its_codes_are_kept,
        lists_are_whole,
        a_person_is_forgotten,
        an_export_is_a_whole_file_or_a_quiet_pipe,
        failures_have_their_exit_codes,
        watching_without_a_terminal_prints_lines,
    ];
    tests.extend(tests![Patient: the_doctor_says_what_is_wrong]);
    tests
}

/// Runs a command as the operator, for people.
async fn ctl(gateway: &Gateway, words: &str) -> Ended {
    let words: Vec<_> = words.split(' ').collect();
    Ctl::new(&words).at(gateway).run().await
}

/// Runs a command as the operator, for programs.
async fn ask(gateway: &Gateway, words: &str) -> Value {
    ctl(gateway, &format!("{words} --json")).await.is(0).json()
}

async fn chat(gateway: &Gateway, user: &str) -> u16 {
    answer(gateway.post(user, "/v1/chat/completions", &chat_request("hi", false))).await.status
}

async fn a_user_is_seen_blocked_and_let_in_again() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "2");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    assert_eq!([chat(gateway, "ada").await, chat(gateway, "ada").await], [200, 200]);
    assert_eq!(chat(gateway, "ada").await, 429);
    let shown = ctl(gateway, "user show ada").await.is(0);
    shown.says("2 of 2 requests; may send again in");
    shown.says("rate_limit_exceeded");
    assert_eq!(ask(gateway, "user show ADA").await["window"]["used"], 2);
    ctl(gateway, "user reset ada").await.is(0).says("ada has its whole minute again.");
    assert_eq!(chat(gateway, "ada").await, 200);

    // Nobody is there to say yes.
    ctl(gateway, "user block ada").await.is(2).says("Add --yes");
    assert_eq!(chat(gateway, "ada").await, 200);
    ctl(gateway, "user block ada --yes --reason loud").await.is(0).says("ada is blocked");
    assert_eq!(chat(gateway, "ada").await, 403);
    ctl(gateway, "user show ada").await.is(0).says("yes: loud");
    let done = ask(gateway, "user unblock ada").await;
    assert_eq!(done, json!({ "user_id": "ada", "done": "unblock" }));
    ctl(gateway, "user reset ada").await.is(0).says("ada");
    assert_eq!(chat(gateway, "ada").await, 200);
    ctl(gateway, "user flush ada").await.is(0).says("ada has all its rows in D1.");
    assert_eq!(gateway.ledger().rows("ada").len(), 7);
    ctl(gateway, "user unbind ada --yes").await.is(0).says("free for the next API key");
    ctl(gateway, "user codex forget ada --yes").await.is(0).says("The Codex tokens are forgotten.");
}

async fn keys_and_codes_are_minted_used_and_revoked() {
    let pair = shared::keyed().await;
    let (gateway, user) = (&pair.gateway, shared::user("ctl"));
    let minted = ctl(gateway, &format!("user keys mint {user} --label laptop")).await.is(0);
    let key = minted.out.trim_end();
    RUN.note("a gateway key", key);
    assert!(key.starts_with(&format!("ogk_{user}_")) && !key.contains('\n'), "the key alone");
    let me = || answer(gateway.request(Method::GET, "/me").bearer_auth(key));
    me().await.is(200);
    let keys = ask(gateway, &format!("user keys list {user}")).await;
    assert_eq!((&keys["keys"][0]["label"], &keys["user_id"]), (&json!("laptop"), &json!(user)));
    let key_id = keys["keys"][0]["key_id"].as_str().unwrap().to_owned();
    ctl(gateway, &format!("user keys list {user}")).await.is(0).says(&key_id);
    let revoke = |key_id: &str| format!("user keys revoke {user} {key_id} --yes");
    ctl(gateway, &revoke("00000000")).await.is(5).says("has no such gateway key");
    ctl(gateway, &revoke(&key_id)).await.is(0).says("It opens nothing any more.");
    me().await.refuses(401, "invalid_key");

    let issued =
        ctl(gateway, &format!("user code {user} --valid-for 2h --json")).await.is(0).json();
    let code = issued["code"].as_str().unwrap();
    RUN.note("a code", code);
    let claim = json!({ "user_id": user, "code": code });
    answer(gateway.request(Method::POST, "/onboarding/claim").json(&claim)).await.is(201);
    // The gateway knows better than the command what it takes.
    let late = ctl(gateway, &format!("user code {user} --valid-for 900d")).await.is(1);
    late.says("ttl_seconds is a whole number from");
}

async fn tiers_upstreams_and_projects_are_given_and_taken() {
    let options = Options::new().var("USER_BINDING", "open");
    let nodes = json!({ "studio": { "url": "http://127.0.0.1:9" } });
    let pair = shared::pair(options.var("UPSTREAMS", nodes.to_string())).await;
    let gateway = &pair.gateway;
    chat(gateway, "ada").await;
    ctl(gateway, "user tier ada tier2").await.is(0).says("ada has tier2 from the next request on.");
    assert_eq!(ask(gateway, "user show ada").await["tier"], "tier2");
    ctl(gateway, "user tier ada none").await.is(2).says("--yes");
    assert_eq!(ask(gateway, "user tier ada none --yes").await["tier"], Value::Null);
    ctl(gateway, "user upstream ada studio").await.is(0).says("ada's requests go to studio");
    ctl(gateway, "user upstream ada attic").await.is(1).says("There is no upstream of this name.");
    assert_eq!(ask(gateway, "user upstream ada none").await["upstream"], Value::Null);
    ctl(gateway, "user project remove ada default --yes").await.is(0).says("off the list");
    ctl(gateway, "user project remove ada default --yes").await.is(5).says("no such project");
}

async fn a_roster_is_imported_and_its_codes_are_kept() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let write = |name: &str, text: &str| std::fs::write(path(name), text).unwrap();
    write("people.csv", "name,email\nAda Lovelace,ada@example.com\n=Bob,bob@example.com\n");
    let (people, codes) = (path("people.csv"), path("codes.csv"));
    let imported = ctl(gateway, &format!("roster import {people} -o {codes}")).await.is(0);
    imported.says("2 people, 2 codes.");
    assert_eq!(imported.out, "", "the codes are in the file alone");
    let kept = read_codes(Path::new(&codes));
    assert_eq!((kept[0].0.as_str(), kept[1].1.as_str()), ("ada-lovelace", "'=Bob"));
    let claim = json!({ "user_id": kept[0].0, "code": kept[0].2 });
    answer(gateway.request(Method::POST, "/onboarding/claim").json(&claim)).await.is(201);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&codes).unwrap().permissions().mode() & 0o777, 0o600);
    }

    // What would lose the codes is refused before any is made.
    let again = ctl(gateway, &format!("roster import {people} --reissue --yes -o {codes}")).await;
    again.is(2).says("is there already");
    let nowhere =
        ctl(gateway, &format!("roster import {people} -o {}", path("no/codes.csv"))).await;
    nowhere.is(5).says("can't be written to");
    ctl(gateway, &format!("roster import {people} --reissue")).await.is(2).says("--yes");
    let same = ask(gateway, &format!("roster import {people}")).await;
    assert_eq!((&same[0]["user_id"], &same[0]["code"]), (&json!("ada-lovelace"), &Value::Null));
    ctl(gateway, &format!("roster import {people} --reissue --yes -o {codes} --force"))
        .await
        .is(0)
        .says("2 people, 2 codes.");
    assert_ne!(read_codes(Path::new(&codes))[1].2, kept[1].2);

    write("wrong.csv", "who\nAda\n");
    ctl(gateway, &format!("roster import {}", path("wrong.csv"))).await.is(2).says("name");
    ctl(gateway, &format!("roster import {}", path("gone.csv"))).await.is(5).says("can't be read");
}

/// USER_ID, name and code of everybody in a file.
fn read_codes(path: &Path) -> Vec<(String, String, String)> {
    let mut reader = csv::Reader::from_path(path).unwrap();
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        RUN.note("a code", &row[3]);
        (row[0].to_owned(), row[1].to_owned(), row[3].to_owned())
    });
    rows.collect()
}

async fn lists_are_whole() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let people = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 450)
        insert into users (user_id, name, created_at, updated_at)
        select 'user-' || i, 'Person ' || i, datetime('now'), datetime('now') from n;
        insert into notes (customer_id, kind, subject, user_id, text, created_at)
        values ('cus_1', 'refund', 'ch_1', 'ada', 'A refund of 99.', '2026-11-21 06:23:36.000')";
    gateway.ledger().by_hand().execute_batch(people).unwrap();
    let users = ask(gateway, "users").await;
    assert_eq!(users["users"].as_array().unwrap().len(), 450, "three pages");
    let five = ask(gateway, "users --limit 5 --sort name").await;
    assert_eq!(five["users"].as_array().unwrap().len(), 5);
    let found = ctl(gateway, "users person-nobody").await.is(0);
    found.says("There is nobody.");
    let found = ctl(gateway, "users user-449").await.is(0);
    assert!(found.out.starts_with("USER_ID") && found.out.lines().count() == 2, "{found:?}");
    found.says("Person 449");

    ctl(gateway, "notes").await.is(0).says("gatewayctl notes resolve cus_1 refund ch_1");
    assert_eq!(ask(gateway, "notes").await["notes"][0]["text"], "A refund of 99.");
    ctl(gateway, "notes resolve cus_1 refund ch_1").await.is(0).says("It waits no more.");
    ctl(gateway, "notes resolve cus_1 refund ch_1").await.is(5).says("No such note waits.");
    ctl(gateway, "notes").await.is(0).says("Nothing waits.");
    assert_eq!(ask(gateway, "notes --all").await["notes"].as_array().unwrap().len(), 1);
    let recorded = || (!gateway.ledger().actions("").is_empty()).then_some(());
    wait_for("the action in D1", Duration::from_secs(20), recorded).await;
    let actions = ask(gateway, "actions").await;
    assert_eq!(actions["actions"][0]["action"], "resolve_note");
    ctl(gateway, "actions --user nobody").await.is(0).says("Nothing was done.");
    ctl(gateway, "actions --limit 1").await.is(0).says("resolve_note");
}

async fn a_person_is_forgotten() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    chat(gateway, "ada").await;
    gateway.ledger().settled("ada", 1).await;
    ctl(gateway, "user forget ada").await.is(2).says("--yes");
    assert_eq!(gateway.ledger().rows("ada").len(), 1);
    let forgotten = ctl(gateway, "user forget ada --yes").await.is(0);
    forgotten.says("ada is forgotten.");
    forgotten.says("  forgotten.requests: 1\n");
    assert_eq!(gateway.ledger().rows("ada").len(), 0);
    ctl(gateway, "user show ada").await.is(5).says("Nobody is known as ada.");
    let again = ask(gateway, "user forget ada --yes --force").await;
    assert_eq!((&again["user_id"], &again["done"]), (&json!("ada"), &json!(true)));
}

async fn an_export_is_a_whole_file_or_a_quiet_pipe() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let rows = "with recursive n(i) as (select 1 union all select i + 1 from n where i < 4500)
        insert into requests (user_id, endpoint, status, latency_ms, tokens_est, created_at,
            request_id, project)
        select 'user-' || (i % 3), '/v1/chat/completions', 200, 1, 3,
            datetime('2026-01-01', '+' || i || ' minutes') || '.000', 'r' || i, 'default' from n";
    gateway.ledger().by_hand().execute(rows, []).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    let words = ["export", "-o", "rows.csv"];
    let exported = Ctl::new(&words).at(gateway).within(folder.path()).run().await.is(0);
    let written = std::fs::read_to_string(&file).unwrap();
    assert_eq!(csv::Reader::from_reader(written.as_bytes()).records().count(), 4_500);
    exported.says("rows.csv: ");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    let lines = ctl(gateway, "export --format jsonl --user user-1 --from 2026-01-02").await.is(0);
    let rows: Vec<Value> =
        lines.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(rows.len() > 900 && rows.iter().all(|row| row["user_id"] == "user-1"));
    ctl(gateway, "export --from yesterday").await.is(2).says("`from` is a date");
    // Whoever has seen enough leaves, and nobody complains.
    for script in ["\"$CTL\" export | head -1", "\"$CTL\" watch --every 1 | head -1"] {
        let piped = Ctl::in_a_shell(script).at(gateway).run().await.is(0);
        assert_eq!((piped.out.lines().count(), piped.err.as_str()), (1, ""), "{script}");
    }
}

async fn failures_have_their_exit_codes() {
    let pair = shared::pair(Options::new()).await;
    let gateway = &pair.gateway;
    let wrong = |words: &[&str]| Ctl::new(words).at(gateway).env("OPERATOR_TOKEN", "not-the-token");
    let users = wrong(&["users"]).run().await.is(4);
    users.says("Sign in with the operator's token.");
    users.says("gatewayctl login");
    let users = wrong(&["users", "--json"]).run().await.is(4);
    let failure = users.failure();
    assert_eq!((&failure["code"], &failure["status"]), (&json!("operator_required"), &json!(401)));
    assert_eq!((&failure["exit_code"], users.out.as_str()), (&json!(4), ""));
    for words in ["user show nobody", "user block nobody --yes", "user keys list nobody --json"] {
        ctl(gateway, words).await.is(5).says("Nobody is known as nobody.");
    }
    // Who is named first needn't be known before.
    let minted = ctl(gateway, "user keys mint nobody").await.is(0);
    RUN.note("a gateway key", minted.out.trim_end());
    ctl(gateway, "user show nobody").await.is(0).says("by a gateway key");
    let rename = |from: &str, to: &str| {
        let rename = format!("alter table {from} rename to {to}");
        gateway.ledger().by_hand().execute(&rename, []).unwrap();
    };
    rename("operator_actions", "away");
    let broken = ctl(gateway, "actions").await.is(6);
    broken.says("`gatewayctl doctor` says what is wrong.");
    rename("away", "operator_actions");
    let closed = gateway.url("");
    gateway.stop();
    let users = Ctl::new(&["users", "--url", &closed]).env("OPERATOR_TOKEN", "whatever-it-is");
    let users = users.run().await.is(3);
    users.says("`gatewayctl doctor` says how far one gets");

    let nobody_s = Gateway::start(Options::new().no_operator()).await;
    let users =
        Ctl::new(&["users", "--url", &nobody_s.url("")]).env("OPERATOR_TOKEN", "a-token-here");
    users.run().await.is(4).says("This gateway has no operator");
}

fn verdict<'a>(report: &'a Value, name: &str) -> &'a str {
    let checks = report["checks"].as_array().unwrap();
    checks.iter().find(|check| check["name"] == name).unwrap()["verdict"].as_str().unwrap()
}

async fn the_doctor_says_what_is_wrong() {
    let pair = shared::pair(Options::new()).await;
    let gateway = &pair.gateway;
    let well = ctl(gateway, "doctor").await.is(0);
    well.says("All is well.");
    let report = ask(gateway, "doctor").await;
    assert_eq!(report["verdict"], "ok", "{report}");
    let with = |url: &str, token: &str| {
        Ctl::new(&["doctor", "--json", "--url", url]).env("OPERATOR_TOKEN", token).run()
    };
    let mended = with(&gateway.url("/v1"), gateway.operator_token()).await.is(0).json();
    assert_eq!((verdict(&mended, "url"), verdict(&mended, "token")), ("warn", "ok"));
    let token = with(&gateway.url(""), "not-the-token").await.is(4).json();
    assert_eq!((verdict(&token, "upstream"), verdict(&token, "token")), ("ok", "fail"));
    let wrong = with(&pair.upstream.url(), "not-the-token").await.is(1).json();
    assert_eq!((verdict(&wrong, "gateway"), verdict(&wrong, "token")), ("fail", "skipped"));

    // D1 that takes no rows is seen by those that wait for it.
    answer(gateway.get("ada", "/v1/models")).await.is(200);
    gateway.ledger().settled("ada", 1).await;
    let lock = gateway.ledger().lock();
    answer(gateway.get("ada", "/v1/models")).await.is(200);
    tokio::time::sleep(Duration::from_secs(11)).await;
    let locked = ctl(gateway, "doctor --json").await.is(1).json();
    drop(lock);
    assert_eq!(
        (verdict(&locked, "rows"), verdict(&locked, "upstream")),
        ("fail", "ok"),
        "{locked}"
    );
    assert_eq!((verdict(&locked, "token"), &locked["verdict"]), ("ok", &json!("fail")));
    ctl(gateway, "user flush ada").await.is(0).says("ada has all its rows in D1.");

    // What `/ready` found is kept for five seconds.
    pair.upstream.place("/v1/models", Script::json(500, &json!({})));
    let by_hand = |sql: &str| gateway.ledger().by_hand().execute(sql, []).unwrap();
    by_hand("alter table requests rename to away");
    tokio::time::sleep(Duration::from_secs(6)).await;
    let down = ctl(gateway, "doctor").await.is(1);
    by_hand("alter table away rename to requests");
    down.says("FAIL  upstream   the upstream answers 500");
    down.says("→ See whether the agent runs");
    down.says("FAIL  d1         D1 has no tables: apply the migrations");
    down.says("Not all is well: ready, d1, upstream, rows.");
}

async fn watching_without_a_terminal_prints_lines() {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "1");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    chat(gateway, "lena").await;
    assert_eq!(chat(gateway, "lena").await, 429);
    gateway.ledger().settled("lena", 2).await;
    let watched = ctl(gateway, "watch --times 2 --every 1").await.is(0);
    let heads = watched.out.lines().filter(|line| line.contains("1 people: 0 failing, 1 limited"));
    assert_eq!(heads.count(), 2, "{watched:?}");
    watched.says("  limited  lena  Sends more requests a minute than are allowed.");
    assert!(!watched.out.contains('\x1b'), "{watched:?}");
    let watched = ctl(gateway, "watch --times 2 --every 1 --json").await.is(0);
    for line in watched.out.lines() {
        let overview: Value = serde_json::from_str(line).unwrap();
        assert_eq!(overview["users"][0]["state"], "limited");
    }
    let wrong = Ctl::new(&["watch"]).at(gateway).env("OPERATOR_TOKEN", "not-the-token").run();
    wrong.await.is(4).says("Sign in");
}
