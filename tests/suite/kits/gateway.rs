//! What the gateway does with kits, over HTTP.

use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::{Options, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use super::{Kit, ZIP, kept};
use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        a_kit_is_handed_out_as_a_file,
        what_is_sent_twice_is_kept_once,
        a_kit_is_withdrawn_and_on_record,
        what_is_no_kit_is_not_kept,
        a_person_reads_what_is_wrong,
        a_phone_is_told_where_to_go,
        the_right_address_is_never_refused_for_the_wrong_ones,
        without_a_bucket_all_but_kits_goes_on,
    ];
    tests.extend(tests![Patient:
        kits_outlive_a_kill,
        a_kit_goes_when_its_time_is_over,
        who_is_forgotten_has_no_kit,
    ]);
    tests
}

const DAY: Duration = Duration::from_hours(24);

async fn a_kit_is_handed_out_as_a_file() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("ada");
    let kit = Kit::of(&user.to_uppercase());
    let put = kit.put(gateway).await;
    put.is(201);
    assert_eq!(put.json()["url"], gateway.url(&format!("/kit/{}", kit.token)));
    assert_eq!(put.json()["user_id"], json!(user));
    let got = answer(kit.get(gateway)).await;
    got.is(200);
    assert_eq!(got.body, ZIP);
    let name = format!("attachment; filename=\"agent-kit-{user}.zip\"");
    for (header, value) in [
        ("content-type", "application/zip"),
        ("content-disposition", name.as_str()),
        ("cache-control", "private, no-store"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
        ("x-robots-tag", "noindex"),
    ] {
        assert_eq!(got.header(header), value);
    }
    assert_eq!(got.number("content-length"), ZIP.len() as u64);
    let head = answer(gateway.request(Method::HEAD, &format!("/kit/{}", kit.token))).await;
    head.is(200);
    assert_eq!((head.body.len(), head.number("content-length")), (0, ZIP.len() as u64));
    // As people type it.
    let plain = kit.token.replace('-', "").to_lowercase();
    let blanks = kit.token.replace('0', "O").replace('1', "l").replace('-', "%20");
    for typed in [plain, blanks] {
        let got = answer(gateway.request(Method::GET, &format!("/kit/{typed}"))).await;
        got.is(200);
        assert_eq!(got.body, ZIP);
    }
    answer(gateway.request(Method::POST, &format!("/kit/{}", kit.token)))
        .await
        .refuses(405, "method_not_allowed");
    let anybodys = Kit::of_anybody();
    let put = anybodys.put(gateway).await;
    put.is(201);
    assert_eq!(put.json()["user_id"], Value::Null);
    let got = answer(anybodys.get(gateway)).await;
    assert_eq!(got.header("content-disposition"), "attachment; filename=\"agent-kit.zip\"");
}

async fn what_is_sent_twice_is_kept_once() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let kit = Kit::of("ada");
    for _ in 0..2 {
        kit.put(gateway).await.is(201);
    }
    // In another spelling it is the same address; what came last is what there is.
    let again = Kit { token: kit.token.replace('-', ""), query: "?user_id=bob".to_owned() };
    again.put(gateway).await.is(201);
    let got = answer(kit.get(gateway)).await;
    assert!(got.header("content-disposition").contains("agent-kit-bob.zip"), "{got:?}");
    assert_eq!(kept(gateway).len(), 1, "{:?}", kept(gateway));
    // Whoever reads the store's list learns no address.
    assert!(!kept(gateway).concat().contains(&kit.token));
    let all = (0..20).map(async |_| {
        let kit = Kit::of("cy");
        kit.put(gateway).await.is(201);
        answer(kit.get(gateway)).await.is(200);
    });
    join_all(all).await;
    assert_eq!(kept(gateway).len(), 21);
}

async fn a_kit_is_withdrawn_and_on_record() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("ada");
    let kit = Kit::of(&user);
    kit.put(gateway).await.is(201);
    kit.delete(gateway).await.is(204);
    answer(kit.get(gateway)).await.refuses(404, "not_found");
    kit.delete(gateway).await.refuses(404, "not_found");
    kit.put(gateway).await.is(201);
    answer(kit.get(gateway)).await.is(200);
    let recorded = || {
        let actions: Vec<_> = gateway
            .ledger()
            .actions(&user)
            .into_iter()
            .map(|[_, what, about]| (what, about))
            .collect();
        (actions.len() == 3).then_some(actions)
    };
    let mut actions = wait_for("the record", Duration::from_secs(20), recorded).await;
    actions.sort();
    let none = String::new;
    let expected =
        [("keep_kit"), ("keep_kit"), ("withdraw_kit")].map(|what| (what.to_owned(), none()));
    assert_eq!(actions, expected);
}

async fn what_is_no_kit_is_not_kept() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let kit = Kit::of("ada");
    for bytes in [&b""[..], b"<html>", &ZIP[..ZIP.len() - 1], &ZIP[1..]] {
        kit.put_bytes(gateway, bytes).await.refuses(400, "invalid_kit");
    }
    let large = vec![0; 1_000_001];
    kit.put_bytes(gateway, large).await.refuses(413, "request_too_large");
    for (query, code) in [
        ("?user_id=-ada", "invalid_user_id"),
        ("?user_id=anonymous", "invalid_user_id"),
        ("?expires_in_seconds=59", "invalid_query"),
        ("?expires_in_seconds=31536001", "invalid_query"),
        ("?expires_in_seconds=soon", "invalid_query"),
    ] {
        let wrong = Kit { token: kit.token.clone(), query: query.to_owned() };
        wrong.put(gateway).await.refuses(400, code);
    }
    for token in ["short", "0123-4567-89AB-CDEF", "ada-lovelace"] {
        let wrong = Kit { token: token.to_owned(), query: String::new() };
        wrong.put(gateway).await.refuses(400, "invalid_query");
        wrong.delete(gateway).await.refuses(400, "invalid_query");
    }
    let stranger = gateway.request(Method::PUT, &kit.api_path()).body(ZIP);
    answer(stranger).await.refuses(401, "operator_required");
    assert_eq!(kept(gateway), [""; 0]);
    answer(kit.get(gateway)).await.refuses(404, "not_found");
    kit.put(gateway).await.is(201);
    kit.put_bytes(gateway, "<html>").await.refuses(400, "invalid_kit");
    answer(kit.get(gateway)).await.is(200);
}

/// What a browser says that it takes.
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";

async fn a_person_reads_what_is_wrong() {
    let gateway = &shared::keyed().await.gateway;
    for token in [Kit::of_anybody().token, "x".to_owned()] {
        let request = gateway.request(Method::GET, &format!("/kit/{token}"));
        let page = answer(request.header("accept", BROWSER)).await;
        page.is(404);
        assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
        let policy = page.header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(
            page.text().contains("<p>There is no kit at this address. Compare it with your card")
        );
        assert_eq!(page.header("cache-control"), "private, no-store");
    }
}

async fn a_phone_is_told_where_to_go() {
    let gateway = &shared::keyed().await.gateway;
    let kit = Kit::of(&shared::user("ada"));
    kit.put(gateway).await.is(201);
    let phone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) Mobile/15E148 Safari/604.1";
    let on_a_phone = |query: &str| {
        let path = format!("/kit/{}{query}", kit.token);
        answer(gateway.request(Method::GET, &path).header("user-agent", phone))
    };
    let page = on_a_phone("").await;
    page.is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.text().contains(&gateway.url(&format!("/kit/{}", kit.token))), "{page:?}");
    assert!(page.text().contains("href=\"?download=true\""));
    let file = on_a_phone("?download=true").await;
    assert_eq!((file.status, file.body.as_slice()), (200, ZIP));
}

async fn the_right_address_is_never_refused_for_the_wrong_ones() {
    let gateway = &shared::keyed().await.gateway;
    let kit = Kit::of(&shared::user("ada"));
    kit.put(gateway).await.is(201);
    let began = Instant::now();
    let ask = |kit: &Kit, address: &str| {
        answer(kit.get(gateway).header("cf-connecting-ip", address.to_owned()))
    };
    let wrong = join_all((0..25).map(async |_| {
        for _ in 0..4 {
            ask(&Kit::of_anybody(), "10.3.1.1").await.refuses(404, "not_found");
        }
    }));
    wrong.await;
    let over = ask(&Kit::of_anybody(), "10.3.1.1").await;
    assert!(began.elapsed() < Duration::from_secs(55), "too late to tell");
    over.refuses(429, "too_many_attempts");
    assert!((1..=60).contains(&over.number("retry-after")));
    ask(&kit, "10.3.1.1").await.is(200);
    ask(&Kit::of_anybody(), "10.3.1.2").await.refuses(404, "not_found");
}

async fn without_a_bucket_all_but_kits_goes_on() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key").var("KITS", "")).await;
    let gateway = &pair.gateway;
    let kit = Kit::of("ada");
    kit.put(gateway).await.refuses(503, "not_configured");
    kit.delete(gateway).await.refuses(503, "not_configured");
    let refused = answer(kit.get(gateway)).await;
    refused.refuses(503, "not_configured");
    assert!(refused.text().contains("R2 bucket"), "{refused:?}");
    gateway.mint_key("ada").await;
    answer(gateway.operator(Method::DELETE, "/operator/api/users/ada")).await.is(200);
    gateway.have_a_day_pass().await;
}

async fn kits_outlive_a_kill() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let kit = Kit::of("ada");
    kit.put(gateway).await.is(201);
    gateway.kill_runtime().await;
    gateway.restart().await;
    let got = answer(kit.get(gateway)).await;
    assert_eq!((got.status, got.body.as_slice()), (200, ZIP));
}

async fn a_kit_goes_when_its_time_is_over() {
    let options = Options::new().var("USER_BINDING", "open").fault_injection();
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    let short = Kit::of("ada").expires_in(DAY);
    let usual = Kit::of("bob");
    let long = Kit::of_anybody().expires_in(DAY * 365);
    for kit in [&short, &usual, &long] {
        kit.put(gateway).await.is(201);
    }
    let on_day = async |day: u32| {
        let offset = (DAY * day).as_millis().to_string();
        let clock = gateway.get("clock", "/v1/models").header("x-fault-clock-offset-ms", offset);
        answer(clock).await.is(200);
    };
    let [short_get, usual_get, long_get] =
        [&short, &usual, &long].map(|kit| async || answer(kit.get(gateway)).await);
    gateway.have_a_day_pass().await;
    assert_eq!(kept(gateway).len(), 3);
    on_day(2).await;
    short_get().await.refuses(410, "kit_expired");
    let page = answer(short.get(gateway).header("accept", BROWSER)).await;
    page.is(410);
    assert!(page.text().contains("no longer handed out"), "{page:?}");
    usual_get().await.is(200);
    gateway.have_a_day_pass().await;
    assert_eq!(kept(gateway).len(), 2);
    short_get().await.refuses(404, "not_found");
    on_day(31).await;
    usual_get().await.refuses(410, "kit_expired");
    gateway.have_a_day_pass().await;
    assert_eq!(kept(gateway).len(), 1);
    long_get().await.is(200);
}

async fn who_is_forgotten_has_no_kit() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let of_ada = [Kit::of("ada"), Kit::of("ada")];
    let others = [Kit::of("ada-2"), Kit::of_anybody()];
    for kit in of_ada.iter().chain(&others) {
        kit.put(gateway).await.is(201);
    }
    let forget = || answer(gateway.operator(Method::DELETE, "/operator/api/users/ada"));
    let report = forget().await.json();
    assert_eq!((&report["done"], &report["forgotten"]["kits"]), (&json!(true), &json!(2)));
    assert!(report["message"].as_str().unwrap().contains("ada is forgotten"), "{report}");
    for kit in &of_ada {
        answer(kit.get(gateway)).await.refuses(404, "not_found");
    }
    for kit in &others {
        answer(kit.get(gateway)).await.is(200);
    }
    // Who comes back gets a kit that stays, also when what came late is looked for.
    let again = Kit::of("ada");
    again.put(gateway).await.is(201);
    tokio::time::sleep(Duration::from_secs(70)).await;
    answer(again.get(gateway)).await.is(200);
    assert_eq!(forget().await.json()["forgotten"]["kits"], 1);
}
