//! Tiers, as the operator gives them and as their users meet them.

use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_tier_is_given_seen_and_taken,
        what_is_no_tier_is_refused,
        where_a_tier_is_needed_nobody_goes_without,
        a_bound_bearer_stays_good_when_a_tier_comes,
        projects_are_as_many_as_the_tier_says,
        a_quota_begins_with_the_tier,
    ]
}

/// Asks for a user's tier to be this one.
pub async fn set(gateway: &Gateway, user: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = gateway.operator(Method::PUT, &format!("/operator/api/users/{user}/tier"));
    answer(request.header("content-type", "application/json").body(body)).await
}

/// Gives a user a tier.
pub async fn give(gateway: &Gateway, user: &str, tier: &str) -> Value {
    let given = set(gateway, user, json!({ "tier": tier }).to_string()).await;
    given.is(200);
    given.json()
}

async fn a_tier_is_given_seen_and_taken() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("tiered");
    let key = gateway.mint_key(&user).await.key;
    let me = async || answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    let before = me().await;
    assert_eq!((&before["tier"], &before["tier_until"]), (&Value::Null, &Value::Null));
    let given = give(gateway, &user, "tier2").await;
    assert_eq!((&given["user_id"], &given["tier"]), (&json!(user), &json!("tier2")));
    let after = me().await;
    assert_eq!((&after["tier"], &after["tier_until"]), (&json!("tier2"), &Value::Null));
    assert_eq!(after["tier_since"], given["tier_since"]);
    assert!(after["tier_since"].as_str().unwrap().ends_with('Z'));
    let taken = set(gateway, &user, r#"{"tier":null}"#).await;
    taken.is(200);
    assert_eq!((&taken.json()["tier"], &me().await["tier"]), (&Value::Null, &Value::Null));
}

async fn what_is_no_tier_is_refused() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("untiered");
    for body in ["", "{}", "null", r#"{"tier":"gold"}"#, r#"{"tier":1}"#, r#"{"tier":null,"x":1}"#]
    {
        set(gateway, &user, body).await.refuses(400, "invalid_json");
    }
    for nobody in ["anonymous", "Anonymous", "-ada"] {
        set(gateway, nobody, r#"{"tier":"tier1"}"#).await.refuses(400, "invalid_user_id");
    }
}

async fn where_a_tier_is_needed_nobody_goes_without() {
    let pair = shared::pair(Options::new().var("REQUIRE_TIER", "true")).await;
    let gateway = &pair.gateway;
    let key = gateway.mint_key("ada").await.key;
    let says = || {
        let request = gateway.post("ada", "/v1/chat/completions", &chat_request("hi", false));
        answer(request.header("x-gateway-key", &key))
    };
    let nobody = answer(gateway.get("nobody", "/v1/models")).await;
    let everyone = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
    for refused in [says().await, nobody, answer(everyone).await] {
        refused.refuses(402, "payment_required");
        assert_eq!(refused.header("x-should-retry"), "false");
    }
    // Who isn't the user hears of that, and not of the user's tier.
    answer(gateway.get("ada", "/v1/models")).await.refuses(401, "missing_key");
    give(gateway, "ada", "tier1").await;
    says().await.is(200);
    answer(gateway.get("ada", "/v1/models")).await.refuses(401, "missing_key");
    set(gateway, "ada", r#"{"tier":null}"#).await.is(200);
    says().await.refuses(402, "payment_required");
    assert_eq!(pair.upstream.unscripted().len(), 1);
    // A row for her who is known, none for a name that somebody made up.
    let rows = gateway.ledger().settled("ada", 5).await;
    assert_eq!(rows.iter().filter(|row| row.status == 402).count(), 2);
    assert!(gateway.ledger().rows("nobody").is_empty());
}

async fn a_bound_bearer_stays_good_when_a_tier_comes() {
    let mut pair = shared::pair(Options::new()).await;
    let says = |gateway: &Gateway, bearer: &str| {
        let request = gateway.request(Method::POST, "/u/ada/v1/chat/completions");
        answer(request.bearer_auth(bearer).json(&chat_request("hi", false)))
    };
    says(&pair.gateway, "sk-came-first").await.is(200);
    give(&pair.gateway, "ada", "tier1").await;
    says(&pair.gateway, "sk-came-first").await.is(200);
    says(&pair.gateway, "sk-another").await.refuses(401, "user_id_bound");
    // Even where the header alone is believed otherwise.
    let open = Options::new().var("USER_BINDING", "open").upstream(pair.upstream.url());
    pair.gateway.restart_with(open).await;
    says(&pair.gateway, "sk-came-first").await.is(200);
    says(&pair.gateway, "sk-another").await.refuses(401, "user_id_bound");
    set(&pair.gateway, "ada", r#"{"tier":null}"#).await.is(200);
    says(&pair.gateway, "sk-another").await.is(200);
}

async fn projects_are_as_many_as_the_tier_says() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("projects");
    let key = gateway.mint_key(&user).await.key;
    let says = |project: &str| {
        let request = gateway.post(&user, "/v1/embeddings", &json!({}));
        let request = request.header("x-gateway-key", &key);
        answer(if project.is_empty() { request } else { request.header("x-project-id", project) })
    };
    let listed = async || {
        let me = answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
        me["projects"].clone()
    };
    let remove = |project: &str| {
        let path = format!("/operator/api/users/{user}/projects/{project}");
        answer(gateway.operator(Method::DELETE, &path))
    };
    give(gateway, &user, "tier1").await;
    says("").await.is(200);
    says("default").await.is(200);
    let refused = says("Shop.2").await;
    refused.refuses(402, "project_limit_exceeded");
    assert_eq!(refused.header("x-should-retry"), "false");
    let message = refused.json()["error"]["message"].as_str().unwrap().to_owned();
    assert!(message.contains("In use: default."), "{message}");
    assert_eq!(listed().await, json!(["default"]));
    give(gateway, &user, "tier2").await;
    for (project, status) in [("Shop.2", 200), ("three", 200), ("four", 402), ("default", 200)] {
        says(project).await.is(status);
    }
    remove("three").await.is(204);
    remove("three").await.refuses(404, "not_found");
    says("four").await.is(200);
    assert_eq!(listed().await, json!(["default", "Shop.2", "four"]));
    give(gateway, &user, "tier3").await;
    says("five").await.is(200);
    // Back to one: the first goes on.
    give(gateway, &user, "tier1").await;
    for (project, status) in [("Shop.2", 402), ("five", 402), ("default", 200)] {
        says(project).await.is(status);
    }
    set(gateway, &user, r#"{"tier":null}"#).await.is(200);
    says("six").await.is(200);
    // What was used without a tier keeps nobody from using it with one.
    give(gateway, &user, "tier1").await;
    for (project, status) in [("six", 200), ("default", 402), ("six", 200)] {
        says(project).await.is(status);
    }
    assert_eq!(listed().await, json!(["six"]));
}

async fn a_quota_begins_with_the_tier() {
    let gateway = &shared::keyed().await.gateway;
    let user = shared::user("quota");
    let key = gateway.mint_key(&user).await.key;
    let says = || {
        let request = gateway.post(&user, "/v1/embeddings", &json!({}));
        answer(request.header("x-gateway-key", &key))
    };
    for _ in 0..3 {
        says().await.is(200);
    }
    give(gateway, &user, "tier1").await;
    let first = says().await;
    first.is(200);
    assert_eq!(first.header("x-quota-limit-month"), "10000");
    assert_eq!(first.header("x-quota-remaining-month"), "9999");
    let me = answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!((&me["month"]["requests"], &me["month"]["limit"]), (&json!(4), &json!(10_003)));
}
