//! A person is forgotten: in the objects and in D1, whatever is under way and whatever dies.

use std::sync::Arc;
use std::time::Duration;

use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::stripe::{Event, now};
use gateway_tests::{Gateway, Ledger, Options, Script, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::answer::{Answer, answer};
use crate::kits::Kit;
use crate::onboarding::mend;
use crate::runner::Test;
use crate::shared::Pair;
use crate::stripe::{names, send, tier};
use crate::tiers::give;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        who_is_nobody_is_said_to_be,
        what_runs_goes_on_and_leaves_nothing,
        an_answer_that_comes_later_binds_nobody,
        a_subscription_that_runs_has_to_be_known_of,
        what_stripe_tells_later_brings_nobody_back,
    ];
    tests.extend(tests![Patient:
        a_person_is_forgotten_everywhere,
        it_goes_on_when_d1_is_back,
        it_goes_on_after_a_kill_at_any_step,
        the_sums_of_nobody_are_no_mismatch,
    ]);
    tests
}

/// How long anything of this may take on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// The same for what comes a minute later.
const A_MINUTE_LATER: Duration = Duration::from_secs(150);

fn path_of(user: &str) -> String {
    format!("/operator/api/users/{user}")
}

/// Asks for a user to be forgotten.
async fn forget(gateway: &Gateway, user: &str) -> Answer {
    answer(gateway.operator(Method::DELETE, &path_of(user))).await
}

/// Has a user forgotten, to the end.
async fn forgotten(gateway: &Gateway, user: &str) -> Value {
    let answer = forget(gateway, user).await;
    answer.is(200);
    let report = answer.json();
    assert_eq!((&report["done"], &report["pending"]), (&json!(true), &json!([])), "{report}");
    report
}

async fn view(gateway: &Gateway, user: &str) -> Value {
    let view = answer(gateway.operator(Method::GET, &path_of(user))).await;
    view.is(200);
    view.json()
}

/// A view without the times that pass.
async fn standing(gateway: &Gateway, user: &str) -> Value {
    let mut view = view(gateway, user).await;
    view["window"] = Value::Null;
    view
}

/// Rows anywhere in which any of these texts is.
fn traces(gateway: &Gateway, texts: &[&str]) -> Vec<String> {
    let rows = Ledger::everywhere(gateway.state()).into_iter();
    let is_trace = |row: &String| {
        let (_, row) = row.split_once(": ").unwrap();
        texts.iter().any(|text| row.contains(text))
    };
    rows.filter(is_trace).collect()
}

/// The same without the note that says who is being forgotten, which is there for a minute.
fn traces_but_one(gateway: &Gateway, texts: &[&str]) -> Vec<String> {
    let mut traces = traces(gateway, texts);
    traces.retain(|trace| !trace.contains("Farewell"));
    traces
}

async fn no_trace(gateway: &Gateway, texts: &[&str]) {
    let none = || traces(gateway, texts).is_empty().then_some(());
    wait_for("no trace", A_MINUTE_LATER, none).await;
}

/// What D1 says of one number.
fn number(gateway: &Gateway, query: &str) -> i64 {
    gateway.ledger().open().query_row(query, [], |row| row.get(0)).unwrap()
}

/// The requests and tokens of all who were forgotten.
fn of_nobody(gateway: &Gateway) -> (i64, i64) {
    let sum = |what: &str| {
        let query =
            format!("select coalesce(sum({what}), 0) from monthly_usage where user_id = ''");
        number(gateway, &query)
    };
    (sum("requests"), sum("tokens"))
}

async fn seated(gateway: &Gateway, name: &str, email: &str) -> (String, String) {
    let list = format!("name,email\n{name},{email}\n");
    let request = gateway.operator(Method::POST, "/operator/api/roster");
    let seats = answer(request.header("content-type", "text/csv").body(list)).await;
    seats.is(200);
    let text = |member: &str| seats.json()[0][member].as_str().unwrap().to_owned();
    (text("user_id"), text("code"))
}

/// Somebody of whom there is something everywhere.
async fn full_person(pair: &Pair, name: &str) -> String {
    let gateway = &pair.gateway;
    let (user, code) = seated(gateway, name, &format!("{name}@example.com")).await;
    let claim = json!({ "user_id": user, "code": code });
    let claimed = answer(gateway.request(Method::POST, "/onboarding/claim").json(&claim)).await;
    claimed.is(201);
    let key = claimed.json()["gateway_key"].as_str().unwrap().to_owned();
    gateway.mint_key(&user).await;
    gateway.mint_handle(&user).await;
    let secret = format!("{:064x}", fastrand::u128(..));
    let tokens = json!({ "access_token": format!("at-{secret}"),
        "refresh_token": format!("rt-{secret}"), "expires_at": now() + 3_600 });
    let keep = gateway.request(Method::PUT, "/onboarding/codex").bearer_auth(&key).json(&tokens);
    answer(keep).await.is(204);
    let (customer, subscription) = names();
    let event = Event::subscription(&subscription, "created", "active").of(&customer);
    send(gateway, &event.for_user(&user).with("/data/object/cancel_at", now() + 86_400)).await;
    let refund = Event::refund().of(&customer);
    send(gateway, &refund.with("/data/object/metadata", json!({ "user_id": user }))).await;
    for number in 0..3 {
        let body = chat_request(&format!("hello of {name}"), number == 1);
        let chat = gateway.post(&user, "/v1/chat/completions", &body);
        let chat = chat.header("x-gateway-key", &key).header("cf-connecting-ip", "192.0.2.77");
        answer(chat.header("x-project-id", format!("{name}-project"))).await.is(200);
    }
    let kit = Kit::of(&user);
    kit.put(gateway).await.is(201);
    let reason = json!({ "reason": format!("{name} asked for it") });
    let block = gateway.operator(Method::POST, &format!("{}/block", path_of(&user)));
    answer(block.json(&reason)).await.is(204);
    mend(gateway, &user, "unblock").await;
    gateway.ledger().settled(&user, 3).await;
    let in_d1 = || {
        let query = format!(
            "select (select count(*) from operator_actions where user_id = '{user}') = 5
            and exists (select 1 from customers where user_id = '{user}')
            and exists (select 1 from notes where user_id = '{user}' and kind = 'refund')
            and exists (select 1 from users where user_id = '{user}' and tier = 'tier1'
                and blocked = 0 and keys = 2)"
        );
        (number(gateway, &query) == 1).then_some(())
    };
    wait_for("everything in D1", PATIENCE, in_d1).await;
    user
}

async fn a_person_is_forgotten_everywhere() {
    let options = shared::selling(Options::new()).var("IP_HASH_PEPPER", shared::PEPPER);
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let ada = full_person(&pair, "Adamarker").await;
    let eve = full_person(&pair, "Evemarker").await;
    let before = standing(gateway, &eve).await;
    let texts = ["adamarker", "Adamarker"];
    assert!(traces(gateway, &texts).len() > 10, "the search finds what there is");
    let report = forgotten(gateway, &ada).await;
    assert_eq!(traces_but_one(gateway, &texts), [""; 0]);
    let gone = json!({ "on_roster": true, "keys": 2, "codes": 1, "first_key": false,
        "codex_tokens": true, "handles": 1, "given_tier": null, "projects": 1, "in_flight": 0,
        "unsent": 0, "requests": 3, "kits": 1 });
    assert_eq!(report["forgotten"], gone);
    assert_eq!(report["kept"]["months"][0]["requests"], 3, "{report}");
    assert_eq!(report["kept"]["actions"], 5, "{report}");
    assert!(report["still_to_do"].to_string().contains(&format!("the agent u-{ada}")), "{report}");
    let customer = report["kept"]["customers"][0].as_str().unwrap().to_owned();
    assert!(customer.starts_with("cus_"));
    let tokens = report["kept"]["months"][0]["tokens"].as_i64().unwrap();
    assert_eq!(of_nobody(gateway), (3, tokens), "amounts stay");
    // The accounts of Stripe's stay too, and that something was done.
    let kept = format!(
        "select count(*) from customers where customer_id = '{customer}' and user_id is null
            and subscription_id is not null"
    );
    assert_eq!(number(gateway, &kept), 1);
    let done = "select count(*) from operator_actions
        where user_id is null and detail is null and action in ('forget', 'block', 'unblock', 'keep_kit')";
    let recorded = || (number(gateway, done) == 4).then_some(());
    wait_for("the record of it", PATIENCE, recorded).await;
    // Somebody else is as before, and who comes under the name is new.
    assert_eq!(standing(gateway, &eve).await, before);
    assert_eq!(gateway.ledger().rows(&eve).len(), 3);
    assert_eq!(gateway.ledger().actions(&eve).len(), 5);
    no_trace(gateway, &texts).await;
    let anew = view(gateway, &ada).await;
    assert_eq!((&anew["keys"], &anew["tier"]), (&json!([]), &Value::Null));
    assert_eq!((&anew["binding"], &anew["recent"]), (&json!("open"), &json!([])));
    assert_eq!(traces(gateway, &texts), [""; 0], "to be looked at leaves no trace");
}

async fn who_is_nobody_is_said_to_be() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("nobody");
    let report = forgotten(gateway, &user).await;
    let message = format!("Nothing is known of {user}: there was nothing to forget.");
    assert_eq!(report["message"], message);
    gateway.mint_key(&user).await;
    let first = forgotten(gateway, &user.to_uppercase()).await;
    assert_eq!(first["forgotten"]["keys"], 1, "{first}");
    assert!(first["message"].as_str().unwrap().contains("is forgotten"), "{first}");
    assert_eq!(forgotten(gateway, &user).await["forgotten"]["keys"], 0);
    for nobody in ["anonymous", "-ada"] {
        forget(gateway, nobody).await.refuses(400, "invalid_user_id");
    }
}

async fn what_runs_goes_on_and_leaves_nothing() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let user = "marked";
    let key = gateway.mint_key(user).await.key;
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new().event_stream().event(&chat_chunk("one")).gate(&gate);
    let route = pair.upstream.route(script.event(&chat_chunk("two")).done());
    let chat = gateway.post(user, &route.chat(), &chat_request("hi", true));
    let mut stream = chat.header("x-gateway-key", &key).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    stream.chunk().await.unwrap().unwrap();
    let report = forgotten(gateway, user).await;
    assert_eq!(report["forgotten"]["in_flight"], 1, "{report}");
    // Its key is no key any more.
    let next = gateway.post(user, "/v1/embeddings", &json!({})).header("x-gateway-key", &key);
    answer(next).await.refuses(401, "invalid_key");
    // Somebody else comes under the name, and both go on.
    let new_key = gateway.mint_key(user).await.key;
    let of_the_new = async || {
        answer(gateway.post(user, "/v1/embeddings", &json!({})).header("x-gateway-key", &new_key))
            .await
            .is(200);
    };
    of_the_new().await;
    gate.add_permits(1);
    let mut rest = String::new();
    while let Some(chunk) = stream.chunk().await.unwrap() {
        rest.push_str(&String::from_utf8_lossy(&chunk));
    }
    assert!(rest.contains("two") && rest.ends_with("data: [DONE]\n\n"), "{rest}");
    of_the_new().await;
    let rows = gateway.ledger().settled(user, 2).await;
    assert!(rows.iter().all(|row| row.endpoint == "/v1/embeddings"), "{rows:#?}");
    assert_eq!(view(gateway, user).await["month"]["requests"], 2);
    assert_eq!(of_nobody(gateway).0, 1, "the request that ran is an amount");
}

async fn an_answer_that_comes_later_binds_nobody() {
    let pair = shared::pair(Options::new()).await;
    let gateway = &pair.gateway;
    let gate = Arc::new(Semaphore::new(0));
    let route = pair.upstream.route(Script::new().gate(&gate).respond(200, &[], "{}"));
    let chat = |key: &str, path: &str| {
        let request = gateway.request(Method::POST, path).header("x-user-id", "first");
        answer(request.bearer_auth(key).json(&chat_request("hi", false)))
    };
    let forgetting = async {
        let asked = || (route.seen().len() == 1).then_some(());
        wait_for("the request upstream", PATIENCE, asked).await;
        forgotten(gateway, "first").await;
        gate.add_permits(1);
    };
    let path = route.chat();
    let (old, ()) = tokio::join!(chat("sk-of-the-old", &path), forgetting);
    old.is(200);
    assert_eq!(view(gateway, "first").await["binding"], "open");
    chat("sk-of-the-new", "/v1/chat/completions").await.is(200);
    assert_eq!(view(gateway, "first").await["binding"], "first-key");
    chat("sk-of-the-old", "/v1/chat/completions").await.refuses(401, "user_id_bound");
    let rows = gateway.ledger().settled("first", 2).await;
    assert_eq!(rows.iter().map(|row| row.status).collect::<Vec<_>>(), [200, 401]);
}

async fn a_subscription_that_runs_has_to_be_known_of() {
    let gateway = &shared::sold().await.gateway;
    let user = shared::user("paying");
    let (customer, subscription) = names();
    let event = |kind: &str, status: &str| {
        Event::subscription(&subscription, kind, status).of(&customer).for_user(&user)
    };
    send(gateway, &event("created", "active")).await;
    let refused = forget(gateway, &user).await;
    refused.refuses(409, "subscription_running");
    assert!(refused.text().contains(&subscription), "{}", refused.text());
    assert_eq!(tier(gateway, &user).await, "tier1", "nothing was done");
    // It is cancelled, to the end of the month that is paid for: that ends by itself.
    let cancelled = event("updated", "active").with("/data/object/cancel_at", now() + 86_400);
    send(gateway, &cancelled.at(5)).await;
    let report = forgotten(gateway, &user).await;
    assert_eq!(report["kept"]["customers"], json!([customer]));
    assert!(!report["still_to_do"].to_string().contains(&subscription), "{report}");
}

async fn what_stripe_tells_later_brings_nobody_back() {
    let gateway = &shared::sold().await.gateway;
    let user = shared::user("sold");
    let (customer, subscription) = names();
    let event = |subscription: &str, kind: &str, status: &str| {
        Event::subscription(subscription, kind, status).of(&customer).for_user(&user)
    };
    send(gateway, &event(&subscription, "created", "active")).await;
    let forced = format!("{}?force=true", path_of(&user));
    let report = answer(gateway.operator(Method::DELETE, &forced)).await;
    report.is(200);
    let to_do = report.json()["still_to_do"][0].as_str().unwrap().to_owned();
    assert!(to_do.contains(&subscription) && to_do.contains("Cancel it"), "{to_do}");
    for later in [
        event(&subscription, "updated", "active").at(900_000_000),
        Event::invoice(&subscription, "paid").of(&customer).for_user(&user).at(900_000_001),
        Event::checkout(&subscription).of(&customer).for_user(&user).at(900_000_002),
    ] {
        send(gateway, &later).await;
        assert_eq!(tier(gateway, &user).await, Value::Null);
    }
    let noted = || {
        let query = format!(
            "select count(*) from notes where customer_id = '{customer}' and user_id is null
            and kind = 'forgotten_user' and resolved_at is null"
        );
        (number(gateway, &query) == 1).then_some(())
    };
    wait_for("a note for the operator", PATIENCE, noted).await;
    let named = format!("select count(*) from customers where user_id = '{user}'");
    assert_eq!(number(gateway, &named), 0);
    // Who comes back buys anew.
    let later = i64::try_from(now()).unwrap() + 60;
    let (_, another) = names();
    let again = event(&another, "created", "active").with("/created", later);
    send(gateway, &again.with("/data/object/start_date", later)).await;
    assert_eq!(tier(gateway, &user).await, "tier1");
}

async fn it_goes_on_when_d1_is_back() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let user = "outmarked";
    let ask = || answer(gateway.post(user, "/v1/embeddings", &json!({})));
    ask().await.is(200);
    gateway.ledger().settled(user, 1).await;
    let lock = gateway.ledger().lock();
    // A row that D1 can't get, and the record of an action.
    ask().await.is(200);
    mend(gateway, user, "reset").await;
    let begun = forget(gateway, user).await;
    begun.is(202);
    let report = begun.json();
    assert_eq!(report["done"], json!(false));
    assert_eq!(report["pending"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["forgotten"]["unsent"], 1, "{report}");
    // Meanwhile the name is closed, and says so.
    ask().await.refuses(403, "user_blocked");
    assert_eq!(view(gateway, user).await["blocked_reason"], "This person is being forgotten.");
    answer(gateway.operator(Method::POST, &format!("{}/codes", path_of(user)))).await.is(500);
    drop(lock);
    let open = async || view(gateway, user).await["blocked"] == json!(false);
    let since = std::time::Instant::now();
    while !open().await {
        assert!(since.elapsed() < PATIENCE, "it never ends");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(of_nobody(gateway).0, 2, "what D1 had, and what it had not");
    // The record of the action arrives after all, and doesn't say whom it was done to.
    let actions = "select count(*) from operator_actions where action in ('reset', 'forget')";
    let recorded = || (number(gateway, actions) == 2).then_some(());
    wait_for("the record of the actions", PATIENCE, recorded).await;
    no_trace(gateway, &["outmarked"]).await;
    assert_eq!(number(gateway, actions), 2);
    // Whoever comes next is counted from the beginning, and D1 hears of it.
    ask().await.is(200);
    gateway.ledger().settled(user, 1).await;
}

async fn it_goes_on_after_a_kill_at_any_step() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    for (count, step) in ["closed", "told", "swept"].into_iter().enumerate() {
        let user = format!("killmarked-{step}");
        for _ in 0..2 {
            answer(gateway.post(&user, "/v1/embeddings", &json!({}))).await.is(200);
        }
        give(gateway, &user, "tier2").await;
        Kit::of(&user).put(gateway).await.is(201);
        gateway.ledger().settled(&user, 2).await;
        let delete = gateway.operator(Method::DELETE, &path_of(&user));
        let delete = delete.header("x-fault", format!("slow-farewell-{step}"));
        let asked = tokio::spawn(delete.send());
        let file = || {
            let rows = Ledger::everywhere(gateway.state());
            let is_there = |row: &String| row.contains(&format!("\"step\":\"{step}\""));
            rows.iter().any(is_there).then_some(())
        };
        wait_for("the step", PATIENCE, file).await;
        gateway.kill_runtime().await;
        assert!(asked.await.unwrap().is_err(), "nobody was told yet");
        gateway.restart().await;
        // Nobody asks again: it remembers.
        let done = || traces_but_one(gateway, &[&user]).is_empty().then_some(());
        wait_for("the end", PATIENCE, done).await;
        let sums = i64::try_from(count + 1).unwrap() * 2;
        assert_eq!(of_nobody(gateway).0, sums, "each request once");
        let report = forgotten(gateway, &user).await;
        assert!(report["done"] == json!(true), "{report}");
    }
    no_trace(gateway, &["killmarked"]).await;
    assert_eq!(of_nobody(gateway).0, 6);
}

async fn the_sums_of_nobody_are_no_mismatch() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    for user in ["stays", "goes", "goes-too"] {
        answer(gateway.post(user, "/v1/embeddings", &json!({}))).await.is(200);
    }
    gateway.ledger().settled("", 3).await;
    forgotten(gateway, "goes").await;
    forgotten(gateway, "goes-too").await;
    let days = number(
        gateway,
        "select cast(unixepoch('now', 'start of month', '+1 month', '+2 days') * 1000
        - unixepoch('now') * 1000 as integer)",
    );
    let clock =
        gateway.post("stays", "/v1/embeddings", &json!({})).header("x-fault-clock-offset-ms", days);
    answer(clock).await.is(200);
    gateway.have_a_day_pass().await;
    let closed = "select requests * 10 + mismatches from closed_months where requests > 0";
    assert_eq!(number(gateway, closed), 30, "three requests, and nothing that differs");
}
