//! Nothing that the whole run wrote down tells a secret that it used. [`gateway_tests::redaction`]
//! says what counts as one, and what is searched.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use gateway_tests::redaction::{Place, RUN, Secrets, Told};
use gateway_tests::{Options, Script};
use libtest_mimic::{Arguments, Failed, Trial};
use reqwest::Method;
use serde_json::json;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

/// How many of the places a failure lists.
const SHOWN: usize = 20;

pub fn tests() -> Vec<Test> {
    tests![Ordinary: what_is_told_anywhere_is_found]
}

/// Searches the record of the run once it is over, as a test of its own. Says whether it failed.
pub fn conclude(mut arguments: Arguments) -> bool {
    let (_, texts) = RUN.size();
    if texts.is_empty() && !arguments.list {
        // No gateway ran.
        return false;
    }
    if !arguments.list {
        // Whichever tests were asked for, this one is about them.
        arguments.filter = None;
        arguments.exact = false;
        arguments.skip.clear();
    }
    let trial = Trial::test("redaction::nothing_of_the_run_tells_a_secret", || {
        nothing_of_the_run_tells_a_secret().map_err(Failed::from)
    });
    libtest_mimic::run(&arguments, vec![trial]).has_failed()
}

fn nothing_of_the_run_tells_a_secret() -> Result<(), String> {
    let told = RUN.told();
    let (secrets, texts) = RUN.size();
    println!("searched for {secrets} secrets in {texts:?}");
    if told.is_empty() {
        return Ok(());
    }
    let mut problem = format!("secrets were told in {} places:\n", told.len());
    for Told { place, what, text } in told.iter().take(SHOWN) {
        let end = text.floor_char_boundary(1_000);
        writeln!(problem, "{place:?} tells {what}: {}", &text[..end]).unwrap();
    }
    Err(problem)
}

/// The search can fail: a word that the gateway has every reason to write down, were it a secret.
async fn what_is_told_anywhere_is_found() {
    let word = format!("planted-{:016x}", fastrand::u64(..));
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let path = route.path(&format!("/v1/{word}"));
    let passed = answer(pair.gateway.get("ada", &path)).await;
    passed.is(200);
    pair.gateway.ledger().row(passed.request_id()).await;
    let keys = pair.gateway.operator(Method::POST, "/operator/api/users/ada/keys");
    let refused = answer(keys.json(&json!({ &word: 1 }))).await;
    refused.refuses(400, "invalid_json");
    pair.gateway.log_line(passed.request_id()).await;
    drop(pair);

    let secrets = Secrets::from([(word.clone(), "a planted word".to_owned())]);
    let told = RUN.find(&secrets);
    let places: BTreeSet<_> = told.iter().map(|told| told.place).collect();
    let all = [Place::LogLine, Place::Row, Place::Url, Place::Answer];
    assert_eq!(places, BTreeSet::from(all), "{told:?}");
    for Told { what, text, .. } in &told {
        assert_eq!(what, "a planted word");
        assert!(!text.contains(&word) && text.contains("[a planted word]"), "{text}");
    }
}
