//! A whole room at once.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::{Options, wait_for};
use reqwest::Method;
use rusqlite::Connection;

use super::{Kit, hosting};
use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Alone: fifty_people_are_ready_at_once]
}

const PEOPLE: i64 = 50;

/// From the operator's list to fifty agents that answer, all from one address.
async fn fifty_people_are_ready_at_once() {
    let pair = shared::pair(hosting(Options::new())).await;
    let gateway = &pair.gateway;
    let names: Vec<_> = (1..=PEOPLE).map(|number| format!("Pat Number{number},\n")).collect();
    let roster = gateway.operator(Method::POST, "/operator/api/roster");
    let roster =
        roster.header("content-type", "text/csv").body(format!("name,email\n{}", names.concat()));
    let people = answer(roster).await.json().as_array().unwrap().clone();
    assert_eq!(people.len(), 50);
    let url = gateway.url("");
    let kits = people.iter().map(|person| {
        let (user_id, code) =
            (person["user_id"].as_str().unwrap(), person["code"].as_str().unwrap());
        Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={user_id}\nCLAIM_CODE={code}\n"))
    });
    let kits: Vec<_> = kits.collect();

    let began = Instant::now();
    let ended = join_all(kits.iter().map(Kit::setup)).await;
    let all = began.elapsed();
    ended.iter().for_each(super::Ended::is_ready);
    let slowest = ended.iter().map(|ended| ended.took).max().unwrap();
    println!("{PEOPLE} people ready in {all:?}, the slowest in {slowest:?}");
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");

    let count = |connection: &Connection, query: &str| -> i64 {
        connection.query_row(query, [], |row| row.get(0)).unwrap()
    };
    let there = || {
        let connection = gateway.ledger().open();
        let query = "select count(distinct user_id) from requests where status = 200";
        (count(&connection, query) == PEOPLE).then_some(())
    };
    wait_for("50 USER_IDs in D1", Duration::from_secs(30), there).await;
    let connection = gateway.ledger().open();
    assert_eq!(count(&connection, "select count(*) from requests where status <> 200"), 0);
    assert_eq!(count(&connection, "select count(*) from requests"), PEOPLE);
    assert_eq!(count(&connection, "select count(*) from users"), PEOPLE);
}
