//! The operator signed in at the console, and the record of what was done.

use gateway_tests::redaction::RUN;
use gateway_tests::{Gateway, Options, wait_for};
use reqwest::{Method, RequestBuilder};
use serde_json::json;
use std::time::Duration;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_sign_in_holds_until_it_is_ended,
        a_wrong_token_is_no_sign_in,
        nobody_signs_in_where_others_could_read_the_token,
        another_site_can_not_use_the_cookie,
        another_token_voids_every_cookie,
        every_action_is_on_record,
        an_action_outlives_a_locked_d1_and_a_kill,
    ]
}

const SESSION: &str = "/operator/session";

/// Signs in; the cookie, as a browser sends it.
async fn sign_in(gateway: &Gateway) -> String {
    let shown = json!({"token": gateway.operator_token()});
    let signed_in = answer(gateway.request(Method::POST, SESSION).json(&shown)).await;
    signed_in.is(204);
    let set = signed_in.header("set-cookie");
    let (cookie, attributes) = set.split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; HttpOnly; SameSite=Strict; Max-Age=43200");
    RUN.note("the operator's cookie", cookie.trim_start_matches("operator="));
    cookie.to_owned()
}

fn with(gateway: &Gateway, method: Method, path: &str, cookie: &str) -> RequestBuilder {
    gateway.request(method, path).header("cookie", format!("theme=dark; {cookie}; a=b"))
}

async fn csrf_token(gateway: &Gateway, cookie: &str) -> String {
    let session = answer(with(gateway, Method::GET, SESSION, cookie)).await;
    session.is(200);
    assert_eq!(session.header("cache-control"), "no-store");
    let session = session.json();
    assert_eq!(session["operator"], "token");
    assert!(session["expires_at"].as_str().unwrap().ends_with('Z'));
    session["csrf_token"].as_str().unwrap().to_owned()
}

async fn a_sign_in_holds_until_it_is_ended() {
    let gateway = &shared::open().await.gateway;
    answer(gateway.request(Method::GET, SESSION)).await.refuses(401, "operator_required");
    let cookie = sign_in(gateway).await;
    let csrf = csrf_token(gateway, &cookie).await;
    let user = shared::user("console");
    let path = format!("/operator/api/users/{user}");
    answer(with(gateway, Method::GET, &path, &cookie)).await.is(200);
    let block = with(gateway, Method::POST, &format!("{path}/block"), &cookie);
    let origin = gateway.url("");
    let origin = origin.trim_end_matches('/');
    answer(block.header("origin", origin).header("x-csrf-token", &csrf)).await.is(204);
    answer(gateway.get(&user, "/v1/models").bearer_auth("sk-a")).await.refuses(403, "user_blocked");
    let out = with(gateway, Method::DELETE, SESSION, &cookie);
    let out = answer(out.header("origin", origin).header("x-csrf-token", &csrf)).await;
    out.is(204);
    let forgotten = "operator=; Path=/; HttpOnly; SameSite=Strict; Max-Age=0";
    assert_eq!(out.header("set-cookie"), forgotten);
    // Whoever has kept the cookie has nothing.
    answer(with(gateway, Method::GET, &path, &cookie)).await.refuses(401, "operator_required");
    let mint = with(gateway, Method::POST, &format!("{path}/keys"), &cookie);
    let mint = mint.header("origin", origin).header("x-csrf-token", &csrf).json(&json!({}));
    answer(mint).await.refuses(401, "operator_required");
    answer(with(gateway, Method::GET, &path, &sign_in(gateway).await)).await.is(200);
}

async fn nobody_signs_in_where_others_could_read_the_token() {
    let gateway = &shared::open().await.gateway;
    let shown = json!({"token": gateway.operator_token()});
    for (host, status) in
        [("gateway.example.com", 400), ("127.0.0.1.example.com", 400), ("localhost:8787", 204)]
    {
        let request = gateway.request(Method::POST, SESSION).json(&shown).header("host", host);
        let signed_in = answer(request).await;
        assert_eq!(signed_in.status, status, "{host}: {signed_in:?}");
        if status == 400 {
            signed_in.refuses(400, "https_required");
            assert!(!signed_in.headers.contains_key("set-cookie"));
        }
    }
}

async fn a_wrong_token_is_no_sign_in() {
    let gateway = &shared::open().await.gateway;
    let show = |body: serde_json::Value| {
        let request = gateway.request(Method::POST, SESSION).json(&body);
        request.header("cf-connecting-ip", "198.51.100.77")
    };
    let token = gateway.operator_token();
    for wrong in ["", "wrong", &token[1..], &token.to_uppercase()] {
        let refused = answer(show(json!({"token": wrong}))).await;
        refused.refuses(401, "operator_required");
        assert_eq!(refused.header("set-cookie"), "");
    }
    for nonsense in [json!({}), json!(token), json!({"token": 7})] {
        answer(show(nonsense)).await.refuses(400, "invalid_json");
    }
    for _ in 4..10 {
        answer(show(json!({"token": "wrong"}))).await.is(401);
    }
    answer(show(json!({"token": "wrong"}))).await.refuses(429, "too_many_attempts");
    answer(show(json!({"token": token}))).await.is(204);
    answer(gateway.request(Method::PUT, SESSION)).await.refuses(405, "method_not_allowed");
}

async fn another_site_can_not_use_the_cookie() {
    let gateway = &shared::open().await.gateway;
    let cookie = sign_in(gateway).await;
    let csrf = csrf_token(gateway, &cookie).await;
    let user = shared::user("forged");
    let path = format!("/operator/api/users/{user}/block");
    let block = |origin: Option<&str>, csrf: Option<&str>| {
        let mut request = with(gateway, Method::POST, &path, &cookie);
        for (name, value) in [("origin", origin), ("x-csrf-token", csrf)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        request
    };
    let origin = gateway.url("");
    let origin = Some(origin.trim_end_matches('/'));
    for (origin, csrf) in [
        (None, None),
        (origin, None),
        (None, Some(csrf.as_str())),
        (Some("https://evil.example"), Some(csrf.as_str())),
        (Some("null"), Some(csrf.as_str())),
        (origin, Some("")),
        (origin, Some("forged")),
    ] {
        answer(block(origin, csrf)).await.refuses(403, "csrf_failed");
    }
    let other = csrf_token(gateway, &sign_in(gateway).await).await;
    answer(block(origin, Some(&other))).await.refuses(403, "csrf_failed");
    let path = format!("/operator/api/users/{user}");
    let seen = answer(gateway.operator(Method::GET, &path)).await.json();
    assert_eq!(seen["blocked"], false);
    answer(block(origin, Some(&csrf))).await.is(204);
    for forged in ["operator=", "operator=x", "__Host-operator=x", &format!("{cookie}x")] {
        let request = with(gateway, Method::GET, &path, forged);
        answer(request).await.refuses(401, "operator_required");
    }
}

async fn another_token_voids_every_cookie() {
    let (one, other) = (shared::open().await, shared::keyed().await);
    let cookie = sign_in(&one.gateway).await;
    let request = with(&other.gateway, Method::GET, SESSION, &cookie);
    answer(request).await.refuses(401, "operator_required");
}

async fn every_action_is_on_record() {
    let gateway = &shared::open().await.gateway;
    let user = shared::user("acted");
    let act = async |method: Method, what: &str, body: serde_json::Value| {
        let path = format!("/operator/api/users/{user}{what}");
        answer(gateway.operator(method, &path).json(&body)).await
    };
    let key = act(Method::POST, "/keys", json!({"label": "phone"})).await.json();
    let key_id = key["key_id"].as_str().unwrap().to_owned();
    act(Method::POST, "/codes", json!({})).await.is(201);
    act(Method::POST, "/block", json!({"reason": "a leaked key"})).await.is(204);
    act(Method::POST, "/unblock", json!({})).await.is(204);
    act(Method::POST, "/reset", json!({})).await.is(204);
    act(Method::DELETE, &format!("/keys/{key_id}"), json!({})).await.is(204);
    act(Method::DELETE, &format!("/keys/{key_id}"), json!({})).await.is(404);
    act(Method::GET, "", json!({})).await.is(200);
    act(Method::PUT, "/tier", json!({"tier": "tier2"})).await.is(200);
    act(Method::PUT, "/tier", json!({"tier": null})).await.is(200);
    let request = gateway
        .post(&user, "/v1/embeddings", &json!({}))
        .header("x-gateway-key", &gateway.mint_key(&user).await.key);
    answer(request.header("x-project-id", "garden")).await.is(200);
    act(Method::DELETE, "/projects/garden", json!({})).await.is(204);
    let ledger = gateway.ledger();
    let actions = || {
        let rows = ledger.actions(&user);
        (rows.len() >= 10).then_some(rows)
    };
    let mut rows = wait_for("row of each action", Duration::from_secs(10), actions).await;
    rows.retain(|[_, what, detail]| what != "mint_key" || *detail == key_id);
    rows.sort();
    let expected = [
        ("block", "a leaked key"),
        ("issue_code", ""),
        ("mint_key", key_id.as_str()),
        ("remove_project", "garden"),
        ("reset", ""),
        ("revoke_key", key_id.as_str()),
        ("set_tier", "none"),
        ("set_tier", "tier2"),
        ("unblock", ""),
    ];
    let expected = expected.map(|(what, detail)| ["token", what, detail].map(str::to_owned));
    assert_eq!(rows, expected);
}

async fn an_action_outlives_a_locked_d1_and_a_kill() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "open")).await;
    let gateway = &pair.gateway;
    let act = async |what: &str| {
        let path = format!("/operator/api/users/ada/{what}");
        answer(gateway.operator(Method::POST, &path)).await.is(204);
    };
    act("reset").await;
    let actions = |number: usize| {
        let rows =
            move || Some(gateway.ledger().actions("ada")).filter(|rows| rows.len() >= number);
        wait_for("rows of the actions", Duration::from_secs(20), rows)
    };
    actions(1).await;
    let lock = gateway.ledger().lock();
    act("block").await;
    gateway.kill_runtime().await;
    gateway.restart().await;
    act("unblock").await;
    drop(lock);
    let done: Vec<_> = actions(3).await.into_iter().map(|[_, what, _]| what).collect();
    assert_eq!(done, ["reset", "block", "unblock"]);
}
