//! The operator by Cloudflare Access: each assertion as it should be taken.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use gateway_tests::access::{Key, Team, unsigned};
use gateway_tests::{Gateway, Options};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::Sha256;

use crate::answer::answer;
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        every_assertion_is_taken_for_what_it_is,
        keys_are_changed_and_may_be_away_for_a_while,
        nobody_is_a_stranger_while_the_keys_are_fetched,
        what_access_lets_through_another_site_can_not_use,
    ]
}

const SESSION: &str = "/operator/session";
const AUDIENCE: &str = "4714c1358e65fe4b408ad6d432a5f878f08194bdb4752441fd56faefa9b2b6f2";

async fn gateway(team: &Team) -> Gateway {
    let options = Options::new().no_operator().var("ACCESS_TEAM_DOMAIN", team.domain());
    Gateway::start(options.var("ACCESS_AUD", AUDIENCE)).await
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// What Access says of a person who has just signed in.
fn claims(team: &Team) -> Value {
    json!({
        "aud": [AUDIENCE], "email": "grace@example.com", "iss": team.domain(), "type": "app",
        "iat": now(), "nbf": now(), "exp": now() + 86_400, "sub": "7335d417", "country": "AT",
    })
}

fn with(mut claims: Value, member: &str, value: Value) -> Value {
    claims[member] = value;
    claims
}

fn shows(gateway: &Gateway, assertion: &str, address: &str) -> RequestBuilder {
    let request = gateway.request(Method::GET, SESSION).header("cf-connecting-ip", address);
    request.header("cf-access-jwt-assertion", assertion)
}

async fn every_assertion_is_taken_for_what_it_is() {
    let (key, strange) = (Key::new("k1"), Key::new("k1"));
    let team = Team::start(&key).await;
    let gateway = gateway(&team).await;
    let good = claims(&team);
    let service = json!({
        "aud": [AUDIENCE], "common_name": "e3f1.access", "iss": team.domain(), "type": "app",
        "iat": now(), "exp": now() + 60, "sub": "",
    });
    for (claims, holder) in [(&good, "grace@example.com"), (&service, "e3f1.access")] {
        let seen = answer(shows(&gateway, &key.sign(claims), "203.0.113.1")).await;
        seen.is(200);
        let expected = json!({"operator": holder, "csrf_token": null, "expires_at": null});
        assert_eq!(seen.json(), expected);
    }
    let none = format!("{}.", unsigned(&json!({"alg": "none"}), &good));
    let header = json!({"alg": "HS256", "kid": "k1"});
    let signed = unsigned(&header, &good);
    let mut mac = Hmac::<Sha256>::new_from_slice(key.public_pem().as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    let hs256 = format!("{signed}.{}", base64url(&mac.finalize().into_bytes()));
    let whole = key.sign(&good);
    let (signed, signature) = whole.rsplit_once('.').unwrap();
    let other = key.sign(&with(good.clone(), "email", json!("eve@example.com")));
    let swapped = format!("{}.{signature}", other.rsplit_once('.').unwrap().0);
    for (what, assertion) in [
        ("expired", key.sign(&with(good.clone(), "exp", json!(now() - 1)))),
        ("not yet valid", key.sign(&with(good.clone(), "nbf", json!(now() + 60)))),
        ("for another application", key.sign(&with(good.clone(), "aud", json!(["other"])))),
        ("of another team", key.sign(&with(good.clone(), "iss", json!("https://evil.example")))),
        ("of nobody", key.sign(&with(good.clone(), "email", json!("")))),
        ("alg none", none),
        ("HS256 under the public key", hs256),
        ("an unknown key's name", key.named("k9").sign(&good)),
        ("a stranger's key of the same name", strange.sign(&good)),
        ("no signature", format!("{signed}.")),
        ("half a signature", format!("{signed}.{}", &signature[..100])),
        ("another's claims", swapped),
        ("nonsense", "nonsense".to_owned()),
    ] {
        // Each from an address of its own, so that the counter of wrong ones stays out of it.
        let address = format!("203.0.113.{}", 10 + what.len());
        let refused = answer(shows(&gateway, &assertion, &address)).await;
        assert_eq!(refused.status, 401, "{what}: {}", refused.text());
        refused.refuses(401, "operator_required");
    }
    for _ in 0..10 {
        answer(shows(&gateway, "nonsense", "203.0.113.99")).await.is(401);
    }
    answer(shows(&gateway, "nonsense", "203.0.113.99")).await.refuses(429, "too_many_attempts");
    answer(shows(&gateway, &whole, "203.0.113.99")).await.is(200);
    // There is no token, so nobody signs in with one, and no cookie opens anything.
    let token = gateway.request(Method::POST, SESSION).json(&json!({"token": "anything at all"}));
    answer(token).await.refuses(401, "operator_required");
    let cookie = gateway.request(Method::GET, SESSION).header("cookie", "operator=1.2.3");
    answer(cookie).await.refuses(401, "operator_required");
}

async fn keys_are_changed_and_may_be_away_for_a_while() {
    let (old, new) = (Key::new("old"), Key::new("new"));
    let team = Team::start(&old).await;
    let gateway = gateway(&team).await;
    let ask = async |key: &Key| {
        answer(shows(&gateway, &key.sign(&claims(&team)), "203.0.113.1")).await.status
    };
    assert_eq!(ask(&old).await, 200);
    assert_eq!(ask(&old).await, 200);
    assert_eq!(team.asked(), 1, "what was fetched is kept");
    team.publish(&[&old, &new]);
    team.set_down(true);
    assert_eq!(ask(&new).await, 401, "fetched less than half a minute ago");
    assert_eq!(ask(&old).await, 200, "what is known stays good");
    assert_eq!(team.asked(), 1, "an unknown name is no way to make the gateway ask");
    tokio::time::sleep(Duration::from_secs(31)).await;
    assert_eq!(ask(&new).await, 503, "the keys can't be had");
    assert_eq!((ask(&new).await, ask(&old).await, team.asked()), (503, 200, 2));
    team.set_down(false);
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert_eq!((ask(&new).await, ask(&old).await, team.asked()), (200, 200, 3));
}

async fn nobody_is_a_stranger_while_the_keys_are_fetched() {
    let key = Key::new("k1");
    let team = Team::start(&key).await;
    let gateway = gateway(&team).await;
    let ask = || answer(shows(&gateway, &key.sign(&claims(&team)), "203.0.113.7"));
    team.set_down(true);
    let refused = ask().await;
    refused.refuses(503, "access_unavailable");
    team.set_down(false);
    team.set_pause(Duration::from_millis(300));
    tokio::time::sleep(Duration::from_secs(6)).await;
    let answers = join_all((0..20).map(|_| ask())).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [200; 20]);
}

async fn what_access_lets_through_another_site_can_not_use() {
    let key = Key::new("k1");
    let team = Team::start(&key).await;
    let gateway = gateway(&team).await;
    let block = |origin: Option<&str>| {
        let request = gateway.request(Method::POST, "/operator/api/users/ada/block");
        let request = request.header("cf-access-jwt-assertion", key.sign(&claims(&team)));
        origin.iter().fold(request, |request, origin| request.header("origin", *origin))
    };
    answer(block(Some("https://evil.example"))).await.refuses(403, "csrf_failed");
    answer(block(Some("null"))).await.refuses(403, "csrf_failed");
    answer(block(Some(gateway.url("").trim_end_matches('/')))).await.is(204);
    answer(block(None)).await.is(204);
}

fn base64url(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
