//! What the operator sees of a user, and does with its keys.

use std::time::Duration;

use gateway_tests::{Gateway, Options, Script, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

async fn seen(gateway: &Gateway, user: &str) -> Value {
    let path = format!("/operator/api/users/{user}");
    let seen = answer(gateway.operator(Method::GET, &path)).await;
    seen.is(200);
    seen.json()
}

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        minting_needs_the_operators_token,
        without_an_operators_token_there_is_no_operator,
        a_key_can_not_be_minted_for_a_name_that_is_none,
        a_body_that_is_no_label_is_refused,
        a_key_is_labelled_seen_and_revoked,
        a_user_is_seen_live,
        a_handle_is_given_once_and_its_successor_voids_it,
    ]
}

const PATH: &str = "/operator/api/users/ada/keys";

async fn minting_needs_the_operators_token() {
    let gateway = &shared::open().await.gateway;
    let request = || gateway.request(Method::POST, PATH).json(&json!({}));
    answer(request()).await.refuses(401, "operator_required");
    answer(request().header("authorization", "")).await.refuses(401, "operator_required");
    let token = gateway.operator_token();
    for wrong in ["sk-caller", &token[..token.len() - 1], &format!("{token}x"), ""] {
        answer(request().bearer_auth(wrong)).await.refuses(401, "operator_required");
    }
    let key = gateway.mint_key(&shared::user("minted")).await.key;
    answer(request().bearer_auth(&key)).await.refuses(401, "operator_required");
}

async fn without_an_operators_token_there_is_no_operator() {
    let options = Options::new().var("USER_BINDING", "open").no_operator();
    let pair = shared::pair(options).await;
    let request = pair.gateway.request(Method::POST, PATH).json(&json!({}));
    answer(request.bearer_auth("anything")).await.refuses(404, "not_found");
}

async fn a_key_can_not_be_minted_for_a_name_that_is_none() {
    let gateway = &shared::open().await.gateway;
    for name in ["anonymous", "a%20b", "-ada", &"a".repeat(65)] {
        let path = format!("/operator/api/users/{name}/keys");
        let refused = answer(gateway.operator(Method::POST, &path).json(&json!({}))).await;
        refused.refuses(400, "invalid_user_id");
    }
    let folded = shared::user("folded");
    let key = gateway.mint_key(&folded.to_uppercase()).await.key;
    assert!(key.starts_with(&format!("ogk_{folded}_")), "{key}");
}

async fn a_body_that_is_no_label_is_refused() {
    let gateway = &shared::open().await.gateway;
    let path = format!("/operator/api/users/{}/keys", shared::user("label"));
    for body in ["{", "[]", r#"{"label":7}"#] {
        let request = gateway.operator(Method::POST, &path).body(body);
        let refused = answer(request.header("content-type", "application/json")).await;
        refused.refuses(400, "invalid_json");
    }
    let unlabelled = answer(gateway.operator(Method::POST, &path)).await;
    unlabelled.is(201);
}

async fn a_key_is_labelled_seen_and_revoked() {
    let pair = shared::keyed().await;
    let gateway = &pair.gateway;
    let (ada, route) = (shared::user("labelled"), pair.upstream.route(Script::chat("hi", 3)));
    let mut keys = Vec::new();
    for label in ["laptop", "phone"] {
        let path = format!("/operator/api/users/{ada}/keys");
        let request = gateway.operator(Method::POST, &path).json(&json!({ "label": label }));
        keys.push(answer(request).await.json());
    }
    let says = |key: &Value| {
        let request = gateway.get(&ada, &route.path("/v1/models"));
        let request = request.header("x-gateway-key", key["key"].as_str().unwrap());
        answer(request.header("cf-connecting-ip", "203.0.113.7"))
    };
    assert_eq!(seen(gateway, &ada).await["keys"][0]["last_used_at"], Value::Null);
    let used = says(&keys[0]).await;
    used.is(200);
    let told = seen(gateway, &ada).await;
    let [laptop, phone] = [&told["keys"][0], &told["keys"][1]];
    assert_eq!((&laptop["label"], &phone["label"]), (&"laptop".into(), &"phone".into()));
    assert_eq!(laptop["key_id"], keys[0]["key_id"]);
    assert_eq!(laptop["created_at"], keys[0]["created_at"]);
    assert!(laptop["last_used_at"].as_str().unwrap() >= keys[0]["created_at"].as_str().unwrap());
    assert_eq!(laptop["last_used_ip_hash"].as_str().unwrap().len(), 8);
    assert_eq!(phone["last_used_at"], Value::Null);
    assert!(!told.to_string().contains(keys[0]["key"].as_str().unwrap()));

    let path = format!("/operator/api/users/{ada}/keys/{}", keys[0]["key_id"].as_str().unwrap());
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    answer(gateway.operator(Method::DELETE, &path)).await.refuses(404, "not_found");
    let refused = says(&keys[0]).await;
    refused.refuses(401, "invalid_key");
    says(&keys[1]).await.is(200);
    assert_eq!(seen(gateway, &ada).await["keys"].as_array().unwrap().len(), 1);
    gateway.ledger().row(refused.request_id()).await;
    for (answered, key) in [(&used, &keys[0]), (&refused, &keys[0])] {
        let line = gateway.log_line(answered.request_id()).await;
        assert_eq!(line["key_id"], key["key_id"], "the log names the key: {line}");
    }
}

async fn a_user_is_seen_live() {
    let pair = shared::keyed().await;
    let gateway = &pair.gateway;
    let (ada, hangs) = (shared::user("live"), pair.upstream.route(Script::new().hang()));
    let nobody = seen(gateway, &ada).await;
    assert_eq!((&nobody["binding"], &nobody["recent"]), (&"open".into(), &json!([])));
    let key = gateway.mint_key(&ada).await.key;
    let request = gateway.get(&ada, &hangs.path("/v1/models")).header("x-gateway-key", &key);
    let running = tokio::spawn(request.send());
    let is_there = || (!hangs.seen().is_empty()).then_some(());
    wait_for("request upstream", Duration::from_secs(30), is_there).await;
    let path = format!("/operator/api/users/{ada}/block");
    let block = gateway.operator(Method::POST, &path).json(&json!({ "reason": "a leaked key" }));
    answer(block).await.is(204);
    let told = seen(gateway, &ada).await;
    assert_eq!(told["user_id"], ada);
    assert_eq!((&told["blocked"], &told["blocked_reason"]), (&true.into(), &"a leaked key".into()));
    assert_eq!((&told["in_flight"], &told["window"]["used"]), (&1.into(), &1.into()));
    assert_eq!(told["outbox"], json!({ "depth": 0, "oldest_ms": 0 }));
    assert_eq!(told["codex"]["state"], "none");
    running.abort();
}

async fn a_handle_is_given_once_and_its_successor_voids_it() {
    let gateway = &shared::open().await.gateway;
    let user = shared::user("handled");
    let path = format!("/operator/api/users/{user}/handle");
    assert_eq!(seen(gateway, &user).await["handle"], Value::Null);
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    let first = gateway.mint_handle(&user).await;
    assert!(first.starts_with(&format!("ogr_{user}_")) && first.len() == user.len() + 48);
    let since = seen(gateway, &user).await["handle"]["since"].as_str().unwrap().to_owned();
    let second = gateway.mint_handle(&user).await;
    assert_ne!(first, second);
    let later = seen(gateway, &user).await["handle"]["since"].as_str().unwrap().to_owned();
    assert!(later > since, "{since} {later}");
    // It opens nothing that a client asks for, and nobody is it.
    let chat = gateway.request(Method::POST, "/v1/chat/completions").json(&json!({}));
    answer(chat.bearer_auth(&second)).await.refuses(401, "invalid_key");
    answer(gateway.request(Method::GET, "/me").bearer_auth(&second))
        .await
        .refuses(401, "invalid_key");
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    assert_eq!(seen(gateway, &user).await["handle"], Value::Null);
    for name in ["anonymous", "-ada"] {
        let path = format!("/operator/api/users/{name}/handle");
        answer(gateway.operator(Method::POST, &path)).await.refuses(400, "invalid_user_id");
    }
}
