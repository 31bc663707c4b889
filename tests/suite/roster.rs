//! The roster: a list of people becomes users with claim codes.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use gateway_tests::{Gateway, Options, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::onboarding::{claiming, issue};
use crate::runner::Test;
use crate::shared::user;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        a_list_becomes_users_with_codes,
        the_same_list_again_is_the_same_people,
        a_reissued_code_is_the_only_good_one,
        namesakes_get_numbers,
        a_place_on_the_roster_forbids_a_binding,
        lists_of_all_kinds_are_read,
        what_is_wrong_with_a_list_is_said_and_nothing_is_done,
        two_hundred_people_are_seated,
    ];
    tests.extend(tests![Patient: without_d1_the_codes_are_given_out_all_the_same]);
    tests
}

async fn send(gateway: &Gateway, query: &str, list: impl Into<reqwest::Body>) -> Answer {
    let request = gateway.operator(Method::POST, &format!("/operator/api/roster{query}"));
    answer(request.header("content-type", "text/csv").body(list)).await
}

async fn import(gateway: &Gateway, query: &str, list: &str) -> Vec<Value> {
    let imported = send(gateway, query, list.to_owned()).await;
    imported.is(200);
    imported.json().as_array().unwrap().clone()
}

fn text<'a>(person: &'a Value, member: &str) -> &'a str {
    person[member].as_str().unwrap_or_else(|| panic!("{member} of {person}"))
}

/// A surname that no other test uses.
fn surname() -> String {
    user("Lovelace").replace('-', "")
}

/// (name, email) of a user in D1.
fn in_d1(gateway: &Gateway, user_id: &str) -> Option<(String, Option<String>)> {
    let connection = gateway.ledger().open();
    let query = "select name, email from users where user_id = ?";
    connection.query_row(query, [user_id], |row| Ok((row.get(0)?, row.get(1)?))).ok()
}

async fn a_list_becomes_users_with_codes() {
    let gateway = &shared::keyed().await.gateway;
    let name = surname();
    let list = format!("name,email\nZoë {name},Zoe@x.org\nAda {name},\n");
    let people = import(gateway, "", &list).await;
    let ids = people.iter().map(|person| text(person, "user_id").to_owned());
    let [zoe, ada] = ids.collect::<Vec<_>>().try_into().unwrap();
    assert_eq!(
        (zoe.as_str(), ada.as_str()),
        (
            format!("zoe-{name}").to_lowercase().as_str(),
            format!("ada-{name}").to_lowercase().as_str(),
        )
    );
    assert_eq!(people[0].as_object().unwrap().len(), 4);
    assert_eq!(
        (text(&people[0], "name"), text(&people[0], "email")),
        (format!("Zoë {name}").as_str(), "Zoe@x.org",)
    );
    assert_eq!(text(&people[1], "email"), "");
    assert_eq!(in_d1(gateway, &zoe), Some((format!("Zoë {name}"), Some("Zoe@x.org".to_owned()))));
    assert_eq!(in_d1(gateway, &ada), Some((format!("Ada {name}"), None)));
    for (person, user_id) in people.iter().zip([&zoe, &ada]) {
        let claimed = claim_from(gateway, user_id, text(person, "code")).await;
        claimed.is(201);
        let key = claimed.json()["gateway_key"].as_str().unwrap().to_owned();
        let me = answer(gateway.request(Method::GET, "/me").bearer_auth(key)).await;
        assert_eq!(me.json()["user_id"], *user_id);
    }
    // Nobody else may upload one.
    let request = gateway.request(Method::POST, "/operator/api/roster").body(list);
    answer(request).await.refuses(401, "operator_required");
}

/// A claim of somebody whose USER_ID has no number at its end.
async fn claim_from(gateway: &Gateway, user_id: &str, code: &str) -> Answer {
    let request = claiming(gateway, user_id, code);
    answer(request.header("cf-connecting-ip", "10.9.9.9")).await
}

async fn the_same_list_again_is_the_same_people() {
    let gateway = &shared::keyed().await.gateway;
    let name = surname();
    let list = format!("name,email\nAda {name},a@x\nAda {name},b@x\nBob {name},\n");
    let first = import(gateway, "", &list).await;
    assert!(first.iter().all(|person| person["code"].is_string()), "{first:?}");
    let mut second = import(gateway, "", &list).await;
    for (before, after) in first.iter().zip(&mut second) {
        assert_eq!(after["code"], Value::Null);
        after["code"] = before["code"].clone();
    }
    assert_eq!(first, second);
    // In another order, beside somebody new, an email in capitals and one that was missing.
    let list =
        format!("email,name\nB@X,ada {name}\n,Cy {name}\nbob@x,Bob {name}\na@x,Áda {name}\n");
    let third = import(gateway, "", &list).await;
    let ids: Vec<_> = third.iter().map(|person| person["user_id"].clone()).collect();
    let known = [1, 2, 0].map(|place: usize| first[place]["user_id"].clone());
    assert_eq!([&ids[0], &ids[2], &ids[3]], [&known[0], &known[1], &known[2]]);
    assert!(
        third.iter().all(|person| person["code"].is_null() == known.contains(&person["user_id"]))
    );
    let bob = text(&first[2], "user_id");
    assert_eq!(in_d1(gateway, bob).unwrap().1.as_deref(), Some("bob@x"));
    // A list without emails takes none away.
    import(gateway, "", &format!("name,email\nBob {name},\n")).await;
    assert_eq!(in_d1(gateway, bob).unwrap().1.as_deref(), Some("bob@x"));
    claim_from(gateway, bob, text(&first[2], "code")).await.is(201);
}

async fn a_reissued_code_is_the_only_good_one() {
    let gateway = &shared::keyed().await.gateway;
    let list = format!("name,email\nAda {},\n", surname());
    let code = |people: Vec<Value>| text(&people[0], "code").to_owned();
    let people = import(gateway, "", &list).await;
    let ada = text(&people[0], "user_id").to_owned();
    let (first, by_hand) = (code(people), issue(gateway, &ada).await);
    assert!(import(gateway, "?reissue=false", &list).await[0]["code"].is_null());
    let second = code(import(gateway, "?reissue=true", &list).await);
    for old in [first, by_hand] {
        claim_from(gateway, &ada, &old).await.refuses(410, "code_expired");
    }
    claim_from(gateway, &ada, &second).await.is(201);
    // Who has a key gets another, if the operator wants it so.
    let third = code(import(gateway, "?reissue=true", &list).await);
    claim_from(gateway, &ada, &second).await.refuses(410, "code_used");
    claim_from(gateway, &ada, &third).await.is(201);
}

async fn namesakes_get_numbers() {
    let gateway = &shared::keyed().await.gateway;
    let name = surname();
    let rows = (1..=5).map(|number| format!("Ada {name},{number}@x\n"));
    let list = format!("name,email\n{}", rows.collect::<String>());
    let ids = |people: &[Value]| people.iter().map(|p| text(p, "user_id").to_owned()).collect();
    let first: Vec<_> = ids(&import(gateway, "", &list).await);
    let plain = format!("ada-{name}").to_lowercase();
    let expected = ["", "-2", "-3", "-4", "-5"].map(|number| format!("{plain}{number}"));
    assert_eq!(first, expected);
    let one_more = format!("name,email\nAda {name},6@x\nAda {name},3@X\n");
    let second: Vec<_> = ids(&import(gateway, "", &one_more).await);
    assert_eq!(second, [format!("{plain}-6"), format!("{plain}-3")]);
}

async fn a_place_on_the_roster_forbids_a_binding() {
    let pair = shared::first_key().await;
    let people = import(&pair.gateway, "", &format!("name,email\nAda {},\n", surname())).await;
    let request = pair.gateway.get(text(&people[0], "user_id"), "/v1/models");
    answer(request).await.refuses(401, "missing_key");
}

async fn lists_of_all_kinds_are_read() {
    let gateway = &shared::keyed().await.gateway;
    let name = surname();
    let id = format!("ada-{name}").to_lowercase();
    for list in [
        format!("\u{feff}name,email\r\nAda {name},ada@x\r\n"),
        format!("\"name\";\"email\"\r\n\"Ada  {name}\";\"ada@x\"\r\n;\r\n"),
        format!("group,email,name\n\"1, a\",ada@x,Ada {name}"),
        format!("Email\tName\nADA@X\tADA {name}\n"),
        format!("name,email\n\"Ada\n{name}\",ada@x,,\n\n"),
    ] {
        let people = import(gateway, "", &list).await;
        assert_eq!(people.len(), 1, "{list:?}");
        assert_eq!(text(&people[0], "user_id"), id, "{list:?}");
    }
}

async fn what_is_wrong_with_a_list_is_said_and_nothing_is_done() {
    let gateway = &shared::keyed().await.gateway;
    let name = surname();
    for (rest, line) in [
        ("Bob,not an email\n", "line 3"),
        (",bob@x\n", "Line 3"),
        ("Lovelace, Bob,bob@x\n", "Line 3"),
        (&format!("\nÁda {name},\n"), "Lines 2 and 4"),
    ] {
        let list = format!("name,email\nAda {name},\n{rest}");
        let refused = send(gateway, "", list).await;
        refused.refuses(400, "invalid_roster");
        assert!(refused.text().contains(line), "{line}: {}", refused.text());
        assert!(!refused.text().contains(&name), "{}", refused.text());
    }
    let mut old = format!("name,email\nAda {name},\nZo").into_bytes();
    old.extend(b"\xeb,\n");
    for list in [old, Vec::new(), b"Ada,ada@x\n".to_vec(), b"name,email\n".to_vec()] {
        send(gateway, "", list).await.refuses(400, "invalid_roster");
    }
    let crowd = (0..1_001).map(|number| format!("P {number},\n"));
    let too_many = format!("name,email\n{}", crowd.collect::<String>());
    send(gateway, "", too_many).await.refuses(400, "invalid_roster");
    send(gateway, "", "x".repeat(1_000_001)).await.refuses(413, "request_too_large");
    assert_eq!(in_d1(gateway, &format!("ada-{name}").to_lowercase()), None);
    let people = import(gateway, "", &format!("name,email\nAda {name},\n")).await;
    assert!(people[0]["code"].is_string(), "nobody was there before: {people:?}");
}

async fn two_hundred_people_are_seated() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let rows = (0..200).map(|number| format!("Ada {number} Lovelace,{number}@x\n"));
    let list = format!("name,email\n{}", rows.collect::<String>());
    let began = Instant::now();
    let people = import(&pair.gateway, "", &list).await;
    println!("two hundred people: {:.1} s", began.elapsed().as_secs_f64());
    let distinct = |member| people.iter().map(|p| text(p, member)).collect::<BTreeSet<_>>().len();
    assert_eq!((distinct("user_id"), distinct("code")), (200, 200));
    assert_eq!(text(&people[199], "user_id"), "ada-199-lovelace");
    assert_eq!(people[0]["email"], json!("0@x"));
}

async fn without_d1_the_codes_are_given_out_all_the_same() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let (gateway, name) = (&pair.gateway, surname());
    let list = format!("name,email\nAda {name},\n");
    let ledger = gateway.ledger();
    let lock = ledger.lock();
    let people = import(gateway, "", &list).await;
    drop(lock);
    let id = format!("ada-{name}").to_lowercase();
    assert_eq!(in_d1(gateway, &id), None, "D1 was there after all");
    let told = || gateway.log_text().contains("the roster's names are not in D1").then_some(());
    wait_for("line for the operator", Duration::from_secs(5), told).await;
    claim_from(gateway, &id, text(&people[0], "code")).await.is(201);
    import(gateway, "", &list).await;
    assert!(in_d1(gateway, &id).is_some(), "sending the list again makes up for it");
}
