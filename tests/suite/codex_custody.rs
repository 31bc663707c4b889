//! The custody of Codex tokens: sealed for one user, under a key that can be changed, seen by nobody.

use std::path::PathBuf;

use gateway_tests::Options;
use gateway_tests::oauth::Verdict;
use reqwest::Method;
use rusqlite::Connection;
use serde_json::Value;

use crate::answer::answer;
use crate::codex::{Person, Stage, options, stage};
use crate::runner::Test;
use crate::secrets::files_below;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_row_that_is_put_into_another_users_object_doesnt_open,
        a_key_can_be_changed,
        a_wrong_key_loses_nothing,
        no_token_is_written_down_anywhere,
    ]
}

/// The file of a user's object.
fn object_of(stage: &Stage, person: &Person) -> PathBuf {
    let of_person = |file: &PathBuf| {
        let Ok(connection) = Connection::open(file) else { return false };
        let query = "select count(*) from journal where entry ->> 'user_id' = ?1";
        connection.query_row(query, [&person.name], |row| row.get::<_, i64>(0)).unwrap_or(0) > 0
    };
    let mut files = files_below(stage.gateway.state());
    files.retain(|file| file.extension().is_some_and(|kind| kind == "sqlite"));
    files.into_iter().find(of_person).expect("the object's file")
}

/// What is stored of a user's Codex session, as text.
fn stored(file: &PathBuf) -> String {
    let query = "select body from documents where name = 'codex'";
    Connection::open(file).unwrap().query_row(query, [], |row| row.get(0)).unwrap()
}

fn key_id(file: &PathBuf) -> String {
    let stored: Value = serde_json::from_str(&stored(file)).unwrap();
    let ids = ["access", "refresh"].map(|name| stored["tokens"][name]["key_id"].clone());
    assert_eq!(ids[0], ids[1]);
    ids[0].as_str().unwrap().to_owned()
}

fn keys(stage: &Stage, current: &str, previous: &str) -> Options {
    options(&stage.provider)
        .var("TOKEN_ENCRYPTION_KEY", current)
        .var("TOKEN_ENCRYPTION_KEY_PREVIOUS", previous)
}

async fn a_row_that_is_put_into_another_users_object_doesnt_open() {
    let stage = stage().await;
    let (ada, eve) = (stage.person("ada", 3_600).await, stage.person("eve", 3_600).await);
    for person in [&ada, &eve] {
        stage.says(person).await.is(200);
        stage.gateway.ledger().settled(&person.name, 1).await;
    }
    stage.gateway.stop();
    let of_ada = stored(&object_of(&stage, &ada));
    let connection = Connection::open(object_of(&stage, &eve)).unwrap();
    let copied =
        connection.execute("update documents set body = ?1 where name = 'codex'", [&of_ada]);
    assert_eq!(copied.unwrap(), 1);
    drop(connection);
    stage.gateway.restart().await;
    stage.says(&eve).await.refuses(401, "codex_session_expired");
    stage.says(&ada).await.is(200);
    assert_eq!(stage.provider.session(&ada.name).requests.len(), 2, "eve spent nothing of ada's");
    let line = format!(
        "{}: what is stored was altered, or was sealed for another user or purpose",
        eve.name
    );
    stage.gateway.logs(&line).await;
    assert!(!stage.gateway.log_text().contains("panic"), "{}", stage.gateway.log_text());
}

async fn a_key_can_be_changed() {
    let mut stage = stage().await;
    let [first, second] =
        ["first-key-of-thirty-two-bytes-000", "second-key-of-thirty-two-bytes-00"]
            .map(|text| base64_of(&text.as_bytes()[..32]));
    let settings = keys(&stage, &first, "");
    stage.gateway.restart_with(settings).await;
    let ada = stage.person("ada", 3_600).await;
    stage.says(&ada).await.is(200);
    let file = object_of(&stage, &ada);
    let before = key_id(&file);
    let settings = keys(&stage, &second, &first);
    stage.gateway.restart_with(settings).await;
    stage.says(&ada).await.is(200);
    let after = key_id(&file);
    assert_ne!(before, after, "it is sealed anew when it is used");
    stage.says(&ada).await.is(200);
    let resealed = |line: &Value| line["event"] == "codex_reseal" && line["user_id"] == ada.name;
    stage.gateway.logs("codex_reseal").await;
    assert_eq!(stage.gateway.log().iter().filter(|line| resealed(line)).count(), 1, "once");
    let settings = keys(&stage, &second, "");
    stage.gateway.restart_with(settings).await;
    stage.says(&ada).await.is(200);
    assert_eq!(key_id(&file), after);
    stage.provider.reject_access(&ada.name);
    stage.says(&ada).await.is(200);
    assert_eq!(stage.provider.session(&ada.name).asked, 1, "the refresh token was sealed anew too");
}

async fn a_wrong_key_loses_nothing() {
    let mut stage = stage().await;
    let [right, wrong] = [[1; 32], [2; 32]].map(|key| base64_of(&key));
    let settings = keys(&stage, &right, "");
    stage.gateway.restart_with(settings).await;
    let (ada, bob) = (stage.person("ada", 3_600).await, stage.person("bob", -5).await);
    let settings = keys(&stage, &wrong, "");
    stage.gateway.restart_with(settings).await;
    for person in [&ada, &bob] {
        for _ in 0..2 {
            stage.says(person).await.refuses(401, "codex_session_expired");
        }
        let line = format!("{}: it was sealed with another key", person.name);
        stage.gateway.logs(&line).await;
    }
    let settings = keys(&stage, &right, "");
    stage.gateway.restart_with(settings).await;
    stage.says(&ada).await.is(200);
    stage.says(&bob).await.is(200);
}

async fn no_token_is_written_down_anywhere() {
    let mut stage = stage().await;
    let key = base64_of(b"the-key-that-nobody-is-to-see-00");
    let settings = keys(&stage, &key, "");
    stage.gateway.restart_with(settings).await;
    let ada = stage.person("ada", -5).await;
    let mut told = vec![stage.says(&ada).await];
    stage.provider.reject_access(&ada.name);
    stage.provider.behave(&ada.name, |behaviour| behaviour.lie = Some((200, "lie".to_owned())));
    told.push(stage.says(&ada).await);
    stage.provider.behave(&ada.name, |behaviour| {
        behaviour.lie = None;
        behaviour.is_revoked = true;
    });
    let bob = stage.person("bob", -5).await;
    stage.provider.behave(&bob.name, |behaviour| behaviour.is_revoked = true);
    told.push(stage.says(&bob).await);
    let begun = answer(stage.keyed(&bob, Method::POST, "/onboarding/codex/device")).await;
    let user_code = begun.json()["user_code"].as_str().unwrap().to_owned();
    let path = format!("/onboarding/codex/device/{}", begun.json()["id"].as_str().unwrap());
    told.push(begun);
    gateway_tests::wait_for("a poll", std::time::Duration::from_secs(20), || {
        (!stage.provider.sign_in_of(&user_code).polls.is_empty()).then_some(())
    })
    .await;
    stage.gateway.stop();
    let while_pending = files_below(stage.gateway.state());
    search(&stage, &while_pending, &key);
    stage.gateway.restart().await;
    stage.provider.decide(&user_code, Verdict::Approved);
    loop {
        let standing = answer(stage.keyed(&bob, Method::GET, &path)).await;
        let is_over = standing.json()["state"] != "pending";
        told.push(standing);
        if is_over {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    }
    told.push(stage.says(&bob).await);
    told.last().unwrap().is(200);
    for person in [&ada, &bob] {
        told.push(answer(stage.keyed(person, Method::GET, "/me")).await);
        told.push(answer(stage.keyed(person, Method::DELETE, "/onboarding/codex")).await);
    }
    stage.gateway.stop();
    let secrets = stage.provider.secrets();
    assert!(secrets.len() > 6, "{secrets:?}");
    for secret in secrets.iter().chain([&key]) {
        let answers = told.iter().find(|answer| {
            answer.text().contains(secret) || format!("{:?}", answer.headers).contains(secret)
        });
        assert!(answers.is_none(), "{secret} is in {answers:?}");
    }
    search(&stage, &files_below(stage.gateway.state()), &key);
}

/// Looks for every secret of the provider, and for the key, in the log and in files.
fn search(stage: &Stage, files: &[PathBuf], key: &str) {
    let log = stage.gateway.log_text();
    let secrets = stage.provider.secrets();
    for secret in secrets.iter().map(String::as_str).chain([key]) {
        assert!(!log.contains(secret), "{secret} is in the log");
        for file in files {
            let bytes = std::fs::read(file).unwrap();
            let found = bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!found, "{secret} is in {}", file.display());
        }
    }
}

fn base64_of(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}
