//! A real OpenClaw that comes back: every call of its to the provider carries the key of the person who
//! asked, and it never has that key itself.

use std::collections::BTreeSet;

use futures::future::join_all;
use gateway_tests::openclaw_provider::USAGE;
use gateway_tests::openclaw_search::{Findings, Search};
use gateway_tests::{oauth, wait_for};
use reqwest::Method;
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::codex::now;
use crate::openclaw::{events, word};
use crate::openclaw_people::{PATIENCE, PEOPLE, Site, person};

/// Whoever asks first wakes an agent that was never used.
pub async fn everybody_pays_for_their_first_answer(site: &Site) {
    join_all((1..=PEOPLE).map(|number| pays(site, number, number % 4, 1))).await;
}

/// Codex tokens pay. Each is over once it has paid for one call, so that each run's second call needs the
/// next one: nobody's is renewed twice, and each run comes to its end.
pub async fn a_token_that_ends_in_mid_run_is_renewed_once(site: &mut Site) {
    let oauth = oauth::Provider::start().await;
    let options = site.options().var("AUTH_MODE", "codex");
    let options = options
        .var("CODEX_TOKEN_URL", oauth.url("/oauth/token"))
        .var("CODEX_PROVIDER_URL", site.provider.url());
    site.gateway.restart_with(options).await;
    let own_keys = std::mem::take(&mut site.own_keys);
    let brought = join_all((1..=PEOPLE).map(|number| brings_tokens(site, &oauth, person(number))));
    let first: BTreeSet<String> = brought.await.into_iter().collect();
    site.roster(1..=PEOPLE);
    let done = site.ask("apply --api openai-chatgpt-responses").await;
    assert_eq!(done["settings"], json!(["models.providers.organized-gateway"]));
    let mut spent = BTreeSet::new();
    site.provider.refuse(move |token| {
        let is_over = first.contains(token) && !spent.insert(token.to_owned());
        is_over.then(|| "Your token has expired.".to_owned())
    });
    join_all((1..=PEOPLE).map(async |number| {
        let (user, way, text) = (person(number), (number + 1) % 4, word("token"));
        let answered = site.say(&user, way, &format!("{text} [tools 2]")).await;
        is_answered(&answered, way, &text);
        let session = oauth.session(&user);
        assert_eq!((session.asked, session.reused), (1, 0), "{user}: one refresh");
        let [before, after] = &session.issued[..] else { panic!("{session:?}") };
        assert_eq!(site.shown_for(&text), [before, before, after, after].map(String::as_str));
        spent_is(site, &answered, 3).await;
    }))
    .await;
    openclaw_has_handles_alone(site, &oauth.secrets());
    site.provider.refuse(|_| None);
    site.ask("apply --api openai-completions").await;
    site.own_keys = own_keys;
    site.gateway.restart_with(site.options()).await;
}

/// The access token that was brought.
async fn brings_tokens(site: &Site, oauth: &oauth::Provider, user: String) -> String {
    let tokens = oauth.sign_in(&user);
    let body = json!({ "access_token": tokens.access, "refresh_token": tokens.refresh,
        "expires_at": now() + 3_600 });
    let brought = site.gateway.request(Method::PUT, "/onboarding/codex");
    answer(brought.bearer_auth(&site.keys[&user]).json(&body)).await.is(204);
    tokens.access
}

/// One person's key is refused. The others ask in the same moment and don't notice.
pub async fn a_refused_key_is_its_owners_trouble_alone(site: &Site) {
    let barred = site.own_keys[&person(7)].clone();
    site.provider.refuse(move |key| (key == barred).then(|| "This key was revoked.".to_owned()));
    let (user, text) = (person(7), word("refused"));
    let refused = site.say(&user, 1, &text);
    let others = (1..=PEOPLE).filter(|number| *number != 7);
    let others = join_all(others.map(|number| pays(site, number, (number + 3) % 4, 0)));
    let (refused, _) = futures::join!(refused, others);
    assert_eq!(refused.status, 401, "{refused:?}");
    assert!(refused.text().contains("This key was revoked."), "{refused:?}");
    assert_eq!(site.shown_for(&text), [site.own_keys[&user].as_str()], "nobody else's is tried");
    site.provider.refuse(|_| None);
}

/// The gateway is killed while a run is in progress, of which OpenClaw, the gateway's disk and its own
/// memory know all that they ever will.
pub async fn a_killed_gateway_leaves_no_key_behind(site: &mut Site) {
    let (user, text) = (person(PEOPLE), word("killed"));
    let own_keys: Vec<String> = site.own_keys.values().cloned().collect();
    let mut broken = site.says(&user, 0, &format!("{text} [tools 1] [hang]")).send().await.unwrap();
    assert_eq!(broken.status(), 200);
    wait_for("call that hangs", PATIENCE, || (site.shown_for(&text).len() == 2).then_some(()))
        .await;
    openclaw_has_handles_alone(site, &own_keys);
    let refused =
        site.gateway.log().iter().filter(|line| line["event"] == "return_refused").count();
    assert_eq!(refused, 0, "no run has a tail that comes too late");

    site.gateway.kill_runtime().await;
    let end = loop {
        match broken.chunk().await {
            Ok(Some(_)) => {}
            end => break end,
        }
    };
    end.expect_err("its client is told that it isn't whole");
    // The first is in the rows, which shows that what is there is found.
    let texts = [vec!["/v1/chat/completions".to_owned()], own_keys.clone()].concat();
    let found = Search::new(&texts).below(site.gateway.state()).found;
    assert!(found.iter().any(|(_, text)| *text == 0), "{found:?}");
    assert!(found.iter().all(|(_, text)| *text == 0), "{found:?}");

    site.gateway.restart().await;
    pays(site, PEOPLE, 0, 1).await;
    pays(site, 1, 3, 1).await;
}

/// OpenClaw has none of these secrets: not on its disk, not in what it wrote, not in its memory. What it has
/// are handles, and these in one place.
fn openclaw_has_handles_alone(site: &Site, secrets: &[String]) {
    let count = secrets.len();
    let secrets: Vec<String> =
        secrets.iter().cloned().chain(site.handles().into_values()).collect();
    let Findings { files, processes, bytes, found } = Search::new(&secrets).through(&site.openclaw);
    println!("searched {files} files, and {bytes} bytes of {processes} processes");
    let (others, handles): (Vec<_>, Vec<_>) = found.iter().partition(|(_, secret)| *secret < count);
    assert!(others.is_empty(), "{others:?}");
    let (in_memory, on_disk): (Vec<_>, Vec<_>) =
        handles.into_iter().partition(|(place, _)| place.starts_with("process "));
    let in_memory: BTreeSet<usize> = in_memory.iter().map(|(_, secret)| *secret).collect();
    assert_eq!(in_memory.len(), PEOPLE, "whoever looks into memory finds what is there");
    let places: BTreeSet<&str> = on_disk.iter().map(|(place, _)| place.as_str()).collect();
    assert_eq!(places, BTreeSet::from([site.handles_file().to_str().unwrap()]));
}

/// Somebody says something for which OpenClaw needs `tools` and one calls to the provider: it is answered,
/// that person's key has paid for each call, and the row knows.
pub async fn pays(site: &Site, number: usize, way: usize, tools: usize) {
    let (user, text) = (person(number), word("said"));
    let answered = site.say(&user, way, &format!("{text} [tools {tools}]")).await;
    is_answered(&answered, way, &text);
    let calls = vec![site.own_keys[&user].clone(); tools + 1];
    assert_eq!(site.shown_for(&text), calls, "{user} {way}");
    spent_is(site, &answered, calls.len()).await;
}

/// The row has what so many calls have cost.
async fn spent_is(site: &Site, answered: &Answer, calls: usize) {
    let row = site.gateway.ledger().row(answered.request_id()).await;
    let calls = i64::try_from(calls).unwrap();
    let spent = (row.provider_requests, row.tokens_est, row.tokens_source.as_str());
    assert_eq!(spent, (Some(calls), calls * i64::try_from(USAGE).unwrap(), "reported"));
}

fn is_answered(answered: &Answer, way: usize, text: &str) {
    answered.is(200);
    if way == 0 {
        assert!(!events(answered).is_empty());
    }
    assert!(answered.text().contains(text), "{way}: {answered:?}");
}
