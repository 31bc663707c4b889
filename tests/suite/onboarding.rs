//! Claim codes, and what the operator can do for one user.

use futures::future::join_all;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::user;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_code_becomes_a_key_once,
        of_fifty_claims_at_once_one_gets_a_key,
        a_claimed_key_is_there_after_a_kill,
        a_code_expires,
        who_holds_no_code_hears_the_same_of_everybody,
        what_is_no_claim_is_refused,
        a_code_is_good_for_as_long_as_the_operator_says,
        a_blocked_user_does_nothing_and_keeps_the_code,
        a_claim_ends_a_binding,
        a_revoked_key_is_no_key,
        a_user_who_is_unbound_is_anybodys_again,
        a_reset_empties_the_window,
    ]
}

/// Does something for a user, as the operator.
pub async fn mend(gateway: &Gateway, user: &str, what: &str) {
    let path = format!("/operator/api/users/{user}/{what}");
    answer(gateway.operator(Method::POST, &path)).await.is(204);
}

/// A new code for `user`.
pub async fn issue(gateway: &Gateway, user: &str) -> String {
    let path = format!("/operator/api/users/{user}/codes");
    let issued = answer(gateway.operator(Method::POST, &path)).await;
    issued.is(201);
    issued.json()["code"].as_str().unwrap().to_owned()
}

pub fn claiming(gateway: &Gateway, user: &str, code: &str) -> RequestBuilder {
    let claim = json!({ "user_id": user, "code": code });
    gateway.request(Method::POST, "/onboarding/claim").json(&claim)
}

/// Shows a code, from an address of this user's own.
pub async fn claim(gateway: &Gateway, user: &str, code: &str) -> Answer {
    answer(claiming(gateway, user, code).header("cf-connecting-ip", address_of(user))).await
}

/// An address that only tests with this user come from.
fn address_of(user: &str) -> String {
    let number: u32 = user.rsplit('-').next().unwrap().parse().unwrap();
    format!("10.0.{}.{}", number / 256, number % 256)
}

fn key_of(claimed: &Answer) -> String {
    claimed.is(201);
    claimed.json()["gateway_key"].as_str().unwrap().to_owned()
}

/// What a user is told who asks with this key.
async fn with_key(gateway: &Gateway, key: &str) -> Answer {
    let request = gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller");
    answer(request.header("x-gateway-key", key)).await
}

async fn a_code_becomes_a_key_once() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let code = issue(gateway, &ada).await;
    let is_symbol = |symbol: char| "0123456789ABCDEFGHJKMNPQRSTVWXYZ".contains(symbol);
    assert!(
        code.len() == 9
            && code.chars().enumerate().all(|(place, symbol)| match place {
                4 => symbol == '-',
                _ => is_symbol(symbol),
            })
    );
    let typed = format!(" {} ", code.to_lowercase().replace('-', "").replace('1', "l"));
    let claimed = claim(gateway, &ada.to_uppercase(), &typed).await;
    let key = key_of(&claimed);
    let json = claimed.json();
    assert_eq!((&json["user_id"], &json["auth_mode"]), (&json!(ada), &json!("openai")));
    assert_eq!(json.as_object().unwrap().len(), 4);
    assert!(key.starts_with(&format!("ogk_{ada}_")));
    with_key(gateway, &key).await.is(200);
    let me = answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!(me["keys"][0]["key_id"], json["key_id"]);
    claim(gateway, &ada, &code).await.refuses(410, "code_used");
    // Another code is another key, beside the first.
    let second = key_of(&claim(gateway, &ada, &issue(gateway, &ada).await).await);
    for key in [key, second] {
        with_key(gateway, &key).await.is(200);
    }
}

async fn of_fifty_claims_at_once_one_gets_a_key() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let code = issue(gateway, &ada).await;
    let claims = join_all((0..50).map(|_| claim(gateway, &ada, &code))).await;
    let (won, lost): (Vec<_>, Vec<_>) = claims.iter().partition(|claim| claim.status == 201);
    assert_eq!((won.len(), lost.len()), (1, 49));
    for loser in lost {
        loser.refuses(410, "code_used");
    }
    let me = gateway.request(Method::GET, "/me").bearer_auth(key_of(won[0]));
    assert_eq!(answer(me).await.json()["keys"].as_array().unwrap().len(), 1);
}

async fn a_claimed_key_is_there_after_a_kill() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let gateway = &pair.gateway;
    let mut claimed = Vec::new();
    for _ in 0..3 {
        let ada = user("ada");
        let code = issue(gateway, &ada).await;
        let key = key_of(&claim(gateway, &ada, &code).await);
        gateway.kill_runtime().await;
        gateway.restart().await;
        claimed.push((ada, code, key));
    }
    for (ada, code, key) in claimed {
        with_key(gateway, &key).await.is(200);
        claim(gateway, &ada, &code).await.refuses(410, "code_used");
    }
}

async fn a_code_expires() {
    let options = Options::new().var("USER_BINDING", "key").fault_injection();
    let gateway = &shared::pair(options).await.gateway;
    let [ada, bob] = ["ada", "bob"].map(user);
    let path = format!("/operator/api/users/{ada}/codes");
    let issued = gateway.operator(Method::POST, &path).json(&json!({ "ttl_seconds": 3600 }));
    let issued = answer(issued).await.json();
    let long = issue(gateway, &bob).await;
    let later = |user: &str, code: &str, seconds: u32| {
        let offset = (u64::from(seconds) * 1_000).to_string();
        answer(claiming(gateway, user, code).header("x-fault-clock-offset-ms", offset))
    };
    let code = issued["code"].as_str().unwrap();
    later(&ada, code, 3_601).await.refuses(410, "code_expired");
    later(&bob, &long, 30 * 86_400 - 60).await.is(201);
    // Issuing another mends it.
    later(&ada, &issue(gateway, &ada).await, 30 * 86_400).await.is(201);
}

async fn who_holds_no_code_hears_the_same_of_everybody() {
    let gateway = &shared::keyed().await.gateway;
    let [keyed, coded, unknown] = ["keyed", "coded", "unknown"].map(user);
    gateway.mint_key(&keyed).await;
    issue(gateway, &coded).await;
    let others = issue(gateway, &user("other")).await;
    let mut told = Vec::new();
    for name in [&keyed, &coded, &unknown] {
        for code in ["0000-0000", &others, "short", ""] {
            let refused = claim(gateway, name, code).await;
            refused.refuses(404, "invalid_code");
            let mut headers = refused.headers.clone();
            for own in ["x-request-id", "date"] {
                headers.remove(own);
            }
            told.push((headers, refused.body));
        }
    }
    assert!(told.iter().all(|other| *other == told[0]), "{told:?}");
}

async fn what_is_no_claim_is_refused() {
    let gateway = &shared::keyed().await.gateway;
    let claims = || gateway.request(Method::POST, "/onboarding/claim");
    for body in ["", "{", "[]", "{}", r#"{"user_id":"ada"}"#, r#"{"user_id":"ada","code":7}"#] {
        answer(claims().body(body)).await.refuses(400, "invalid_json");
    }
    for name in ["anonymous", "a b", "", "-ada", &"a".repeat(65)] {
        let refused = answer(claiming(gateway, name, "0000-0000")).await;
        refused.refuses(400, "invalid_user_id");
    }
    answer(claims().body("x".repeat(5_000))).await.refuses(413, "request_too_large");
    let listed = gateway.request(Method::GET, "/onboarding/claim");
    answer(listed).await.refuses(405, "method_not_allowed");
}

async fn a_code_is_good_for_as_long_as_the_operator_says() {
    let gateway = &shared::keyed().await.gateway;
    let path = format!("/operator/api/users/{}/codes", user("ada"));
    let issue = |body: Value| answer(gateway.operator(Method::POST, &path).json(&body));
    for ttl in [json!(59), json!(31_536_001), json!(-1), json!("60"), json!(60.5)] {
        issue(json!({ "ttl_seconds": ttl })).await.refuses(400, "invalid_json");
    }
    issue(json!({ "ttl": 60 })).await.refuses(400, "invalid_json");
    for (body, seconds) in [
        (json!({ "ttl_seconds": 60 }), 60),
        (json!({ "ttl_seconds": 31_536_000 }), 31_536_000),
        (json!({}), 30 * 86_400),
    ] {
        let issued = issue(body).await;
        issued.is(201);
        let expires_at = issued.json()["expires_at"].as_str().unwrap().to_owned();
        let left = "select unixepoch(?) - unixepoch()";
        let connection = gateway.ledger().open();
        let left: i64 = connection.query_row(left, [&expires_at], |row| row.get(0)).unwrap();
        assert!((seconds - 30..=seconds).contains(&left), "{left} s until {expires_at}");
        assert_eq!(issued.json().as_object().unwrap().len(), 2);
    }
    let nobody = gateway.operator(Method::POST, "/operator/api/users/anonymous/codes");
    answer(nobody).await.refuses(400, "invalid_user_id");
}

async fn a_blocked_user_does_nothing_and_keeps_the_code() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let (key, code) = (gateway.mint_key(&ada).await.key, issue(gateway, &ada).await);
    let block = |body: Value| {
        let path = format!("/operator/api/users/{ada}/block");
        answer(gateway.operator(Method::POST, &path).json(&body))
    };
    for body in [json!({ "reason": "x".repeat(65) }), json!({ "reason": "a\nb" }), json!([])] {
        block(body).await.refuses(400, "invalid_json");
    }
    block(json!({ "reason": "a leaked key" })).await.is(204);
    let refused = with_key(gateway, &key).await;
    refused.refuses(403, "user_blocked");
    assert_eq!(refused.header("x-should-retry"), "false");
    assert!(!refused.text().contains("leaked"), "the reason is the operator's");
    claim(gateway, &ada, &code).await.refuses(403, "user_blocked");
    claim(gateway, &ada, "0000-0000").await.refuses(404, "invalid_code");
    mend(gateway, &ada, "unblock").await;
    with_key(gateway, &key).await.is(200);
    with_key(gateway, &key_of(&claim(gateway, &ada, &code).await)).await.is(200);
}

async fn a_claim_ends_a_binding() {
    let pair = shared::first_key().await;
    let (gateway, route) = (&pair.gateway, pair.upstream.route(Script::chat("hi", 3)));
    let ada = user("ada");
    let as_eve = || {
        let request = gateway.request(Method::POST, &route.chat()).header("x-user-id", &ada);
        answer(request.bearer_auth("sk-eve").json(&chat_request("hi", false)))
    };
    as_eve().await.is(200);
    let code = issue(gateway, &ada).await;
    as_eve().await.is(200);
    let key = key_of(&claim(gateway, &ada, &code).await);
    as_eve().await.refuses(401, "missing_key");
    with_key(gateway, &key).await.is(200);
}

async fn a_revoked_key_is_no_key() {
    let gateway = &shared::keyed().await.gateway;
    let [ada, bob] = ["ada", "bob"].map(user);
    let (first, second) = (gateway.mint_key(&ada).await, gateway.mint_key(&ada).await);
    let revoke = |user: &str, key_id: &str| {
        let path = format!("/operator/api/users/{user}/keys/{key_id}");
        answer(gateway.operator(Method::DELETE, &path))
    };
    revoke(&bob, &first.key_id).await.refuses(404, "not_found");
    with_key(gateway, &first.key).await.is(200);
    revoke(&ada, &first.key_id).await.is(204);
    with_key(gateway, &first.key).await.refuses(401, "invalid_key");
    with_key(gateway, &second.key).await.is(200);
    revoke(&ada, &first.key_id).await.refuses(404, "not_found");
}

async fn a_user_who_is_unbound_is_anybodys_again() {
    let pair = shared::first_key().await;
    let (gateway, route) = (&pair.gateway, pair.upstream.route(Script::chat("hi", 3)));
    let ada = user("ada");
    let says = |bearer: &'static str| {
        let request = gateway.request(Method::POST, &route.chat()).header("x-user-id", &ada);
        answer(request.bearer_auth(bearer).json(&chat_request("hi", false)))
    };
    says("sk-1").await.is(200);
    says("sk-2").await.refuses(401, "user_id_bound");
    mend(gateway, &ada, "unbind").await;
    says("sk-2").await.is(200);
    says("sk-1").await.refuses(401, "user_id_bound");
}

async fn a_reset_empties_the_window() {
    let gateway = &shared::keyed().await.gateway;
    let ada = user("ada");
    let key = gateway.mint_key(&ada).await.key;
    for _ in 0..3 {
        with_key(gateway, &key).await.is(200);
    }
    mend(gateway, &ada, "reset").await;
    let after = with_key(gateway, &key).await;
    assert_eq!(after.number("x-ratelimit-remaining-requests"), 49);
}
