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
