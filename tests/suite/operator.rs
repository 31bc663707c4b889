//! What of the operator's surface exists so far: minting keys.

use gateway_tests::Options;
use reqwest::Method;
use serde_json::json;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        minting_needs_the_operators_token,
        without_an_operators_token_there_is_no_operator,
        a_key_can_not_be_minted_for_a_name_that_is_none,
        a_body_that_is_no_label_is_refused,
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
