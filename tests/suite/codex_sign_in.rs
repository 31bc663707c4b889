//! Signing in by device code: the gateway asks and polls, the laptop shows a code and waits.

use std::time::Duration;

use gateway_tests::oauth::{Provider, Verdict};
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, wait_for};
use reqwest::{Method, RequestBuilder};
use serde_json::Value;
use tokio::time::sleep;

use crate::answer::{Answer, answer};
use crate::codex::{Stage, options, stage};
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Patient:
        somebody_signs_in_and_the_laptop_sees_no_token,
        openais_own_way_of_signing_in_works_too,
        a_sign_in_goes_on_after_a_kill,
        who_says_no_is_denied,
        a_code_that_grows_old_is_expired,
        a_provider_that_wants_it_slower_is_asked_less_often,
        a_provider_that_gives_no_codes_is_said_to_be_away,
        the_key_of_before_signs_in_and_stays_the_proof,
        without_a_key_to_seal_with_nobody_signs_in,
        who_is_blocked_brings_no_token,
        a_provider_that_is_silent_keeps_no_row_from_d1,
        a_name_that_is_freed_comes_without_the_tokens_of_before,
    ]
}

const DEVICE: &str = "/onboarding/codex/device";

/// Somebody with a gateway key.
struct Keyed<'a> {
    stage: &'a Stage,
    key: String,
}

impl<'a> Keyed<'a> {
    async fn new(stage: &'a Stage, name: &str) -> Self {
        Self { stage, key: stage.gateway.mint_key(name).await.key }
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.stage.gateway.request(method, path).bearer_auth(&self.key)
    }

    async fn begins(&self) -> Value {
        let begun = answer(self.request(Method::POST, DEVICE)).await;
        begun.is(201);
        begun.json()
    }

    async fn state(&self, id: &Value) -> Value {
        let path = format!("{DEVICE}/{}", id.as_str().unwrap());
        let told = answer(self.request(Method::GET, &path)).await;
        told.is(200);
        assert_eq!(told.json()["id"], *id);
        assert_eq!(told.json().as_object().unwrap().len(), 3, "{told:?}");
        told.json()["state"].clone()
    }

    /// The state of a sign-in as soon as it isn't pending.
    async fn ends(&self, id: &Value) -> Value {
        let started = std::time::Instant::now();
        loop {
            let state = self.state(id).await;
            if state != "pending" {
                return state;
            }
            assert!(started.elapsed() < Duration::from_secs(30), "it never ended");
            sleep(Duration::from_millis(100)).await;
        }
    }

    async fn says(&self) -> Answer {
        let request = self.request(Method::POST, "/v1/chat/completions");
        answer(request.json(&chat_request("hi", false))).await
    }

    async fn codex(&self) -> Value {
        answer(self.request(Method::GET, "/me")).await.json()["codex"]["state"].clone()
    }
}

fn text<'a>(begun: &'a Value, name: &str) -> &'a str {
    begun[name].as_str().unwrap()
}

async fn somebody_signs_in_and_the_laptop_sees_no_token() {
    let stage = stage().await;
    let (ada, eve) = (Keyed::new(&stage, "ada").await, Keyed::new(&stage, "eve").await);
    answer(stage.gateway.request(Method::POST, DEVICE).header("x-user-id", "ada"))
        .await
        .refuses(401, "missing_key");
    let begun = ada.begins().await;
    let user_code = text(&begun, "user_code");
    let uri = stage.provider.url("/activate");
    assert_eq!(begun["verification_uri"], uri);
    assert_eq!(begun["verification_uri_complete"], format!("{uri}?user_code={user_code}"));
    assert_eq!(begun["interval"], 1);
    assert!(text(&begun, "expires_at").ends_with('Z'));
    assert_eq!(begun.as_object().unwrap().len(), 6, "{begun}");
    let again = answer(ada.request(Method::POST, DEVICE)).await;
    again.refuses(429, "too_many_attempts");
    assert!((1..=10).contains(&again.number("retry-after")), "{again:?}");
    assert_eq!(ada.state(&begun["id"]).await, "pending");
    assert_eq!(ada.codex().await, "signing_in");
    ada.says().await.refuses(401, "no_codex_session");
    let path = format!("{DEVICE}/{}", text(&begun, "id"));
    answer(eve.request(Method::GET, &path)).await.refuses(404, "not_found");
    stage.provider.decide(user_code, Verdict::Approved);
    assert_eq!(ada.ends(&begun["id"]).await, "signed_in");
    assert_eq!(ada.codex().await, "ok");
    ada.says().await.is(200);
    eve.says().await.refuses(401, "no_codex_session");
    let polls = stage.provider.sign_in_of(user_code).polls;
    sleep(Duration::from_secs(3)).await;
    assert_eq!(stage.provider.sign_in_of(user_code).polls.len(), polls.len(), "it is over");
    let log = stage.gateway.log();
    for outcome in ["begun", "signed_in"] {
        let line = |line: &&Value| line["event"] == "codex_sign_in" && line["outcome"] == outcome;
        assert_eq!(log.iter().find(line).expect(outcome)["user_id"], "ada");
    }
}

async fn openais_own_way_of_signing_in_works_too() {
    let provider = Provider::start().await;
    let url = provider.url("/api/accounts/deviceauth/usercode");
    let gateway = Gateway::start(options(&provider).var("CODEX_DEVICE_URL", url)).await;
    let stage = Stage { gateway, provider };
    let ada = Keyed::new(&stage, "ada").await;
    let begun = ada.begins().await;
    assert_eq!(begun["verification_uri"], stage.provider.url("/codex/device"));
    assert!(begun.get("verification_uri_complete").is_none(), "{begun}");
    let user_code = text(&begun, "user_code");
    let asked = || (!stage.provider.sign_in_of(user_code).polls.is_empty()).then_some(());
    wait_for("a poll", Duration::from_secs(30), asked).await;
    assert_eq!(ada.state(&begun["id"]).await, "pending");
    stage.provider.decide(user_code, Verdict::Approved);
    assert_eq!(ada.ends(&begun["id"]).await, "signed_in");
    ada.says().await.is(200);
}

async fn a_sign_in_goes_on_after_a_kill() {
    let stage = stage().await;
    let ada = Keyed::new(&stage, "ada").await;
    let begun = ada.begins().await;
    stage.gateway.kill_runtime().await;
    stage.provider.decide(text(&begun, "user_code"), Verdict::Approved);
    stage.gateway.restart().await;
    assert_eq!(ada.ends(&begun["id"]).await, "signed_in");
    ada.says().await.is(200);
}

async fn who_says_no_is_denied() {
    let stage = stage().await;
    let ada = Keyed::new(&stage, "ada").await;
    let begun = ada.begins().await;
    stage.provider.decide(text(&begun, "user_code"), Verdict::Denied);
    assert_eq!(ada.ends(&begun["id"]).await, "denied");
    ada.says().await.refuses(401, "no_codex_session");
    assert_eq!(ada.codex().await, "none");
}

async fn a_code_that_grows_old_is_expired() {
    let stage = stage().await;
    let (ada, bob) = (Keyed::new(&stage, "ada").await, Keyed::new(&stage, "bob").await);
    let begun = ada.begins().await;
    stage.provider.decide(text(&begun, "user_code"), Verdict::Expired);
    assert_eq!(ada.ends(&begun["id"]).await, "expired", "the provider says so");
    stage.provider.codes_live_for(3);
    let begun = bob.begins().await;
    assert_eq!(bob.ends(&begun["id"]).await, "expired", "the time says so");
    stage.provider.decide(text(&begun, "user_code"), Verdict::Approved);
    sleep(Duration::from_secs(2)).await;
    bob.says().await.refuses(401, "no_codex_session");
}

async fn a_provider_that_wants_it_slower_is_asked_less_often() {
    let stage = stage().await;
    let ada = Keyed::new(&stage, "ada").await;
    let begun = ada.begins().await;
    let user_code = text(&begun, "user_code");
    stage.provider.decide(user_code, Verdict::SlowDown);
    let started = std::time::Instant::now();
    let polls = loop {
        let polls = stage.provider.sign_in_of(user_code).polls;
        if polls.len() == 2 {
            break polls;
        }
        assert!(started.elapsed() < Duration::from_mins(1), "{polls:?}");
        sleep(Duration::from_millis(100)).await;
    };
    // A second, and five more.
    let pause = polls[1] - polls[0];
    assert!(pause >= Duration::from_millis(5_900), "{pause:?}");
}

async fn a_provider_that_gives_no_codes_is_said_to_be_away() {
    let stage = stage().await;
    for (number, lie) in [
        (503, String::new()),
        (404, "<html>".to_owned()),
        (200, "{\"device_code\":\"dc\",\"user_code\":\"AB\"}".to_owned()),
        (
            200,
            "{\"device_code\":\"dc\",\"user_code\":\"AB\",\"verification_uri\":\"javascript:1\"}"
                .to_owned(),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        stage.provider.lie_about_codes(Some(lie));
        let somebody = Keyed::new(&stage, &format!("user-{number}")).await;
        let refused = answer(somebody.request(Method::POST, DEVICE)).await;
        refused.refuses(502, "token_endpoint_unavailable");
        assert_eq!(somebody.codex().await, "none");
    }
    let log = stage.gateway.log_text();
    assert!(log.contains("the device endpoint failed"), "{log}");
}

/// From phase 1 to phase 2: the same person, the same USER_ID, and nothing is lost.
async fn the_key_of_before_signs_in_and_stays_the_proof() {
    let provider = Provider::start().await;
    let byok = crate::shared::pair(Options::new()).await;
    let first = options(&provider).upstream(byok.upstream.url()).var("AUTH_MODE", "openai");
    let mut stage = Stage { gateway: Gateway::start(first).await, provider };
    let says = async |stage: &Stage, bearer: &str| {
        let request = stage.gateway.request(Method::POST, "/v1/chat/completions");
        let request = request.header("x-user-id", "ada").bearer_auth(bearer);
        answer(request.json(&chat_request("hi", false))).await
    };
    let device = |stage: &Stage, method, path: &str, bearer| {
        let request = stage.gateway.request(method, path).header("x-user-id", "ada");
        answer(request.bearer_auth(bearer))
    };
    says(&stage, "sk-ada").await.is(200);
    device(&stage, Method::POST, DEVICE, "sk-eve").await.refuses(401, "user_id_bound");
    let begun = device(&stage, Method::POST, DEVICE, "sk-ada").await;
    begun.is(201);
    let begun = begun.json();
    stage.provider.decide(text(&begun, "user_code"), Verdict::Approved);
    let path = format!("{DEVICE}/{}", text(&begun, "id"));
    let started = std::time::Instant::now();
    while device(&stage, Method::GET, &path, "sk-ada").await.json()["state"] != "signed_in" {
        assert!(started.elapsed() < Duration::from_secs(30));
        sleep(Duration::from_millis(200)).await;
    }
    says(&stage, "sk-ada").await.is(200);
    assert!(stage.provider.session(text(&begun, "user_code")).requests.is_empty());

    let then = options(&stage.provider);
    stage.gateway.restart_with(then).await;
    says(&stage, "sk-ada").await.is(200);
    says(&stage, "sk-eve").await.refuses(401, "user_id_bound");
    assert_eq!(stage.provider.session(text(&begun, "user_code")).requests.len(), 1);
    stage.gateway.ledger().settled("ada", 4).await;
    let me = device(&stage, Method::GET, "/me", "sk-ada").await.json();
    assert_eq!((&me["binding"], &me["codex"]["state"]), (&"first-key".into(), &"ok".into()));
}

async fn a_provider_that_is_silent_keeps_no_row_from_d1() {
    let stage = stage().await;
    let ada = Keyed::new(&stage, "ada").await;
    let begun = ada.begins().await;
    let user_code = text(&begun, "user_code");
    stage.provider.decide(user_code, Verdict::Silent);
    let polled = stage.provider.sign_in_of(user_code).polls.len();
    let asked = || (stage.provider.sign_in_of(user_code).polls.len() > polled).then_some(());
    wait_for("a poll", Duration::from_secs(30), asked).await;
    let refused = ada.says().await;
    refused.refuses(401, "no_codex_session");
    stage.gateway.ledger().row(refused.request_id()).await;
    // The poll is given up after ten seconds, and then comes the next.
    let polls = stage.provider.sign_in_of(user_code).polls.len();
    assert_eq!(polls, polled + 1, "it waited for the provider");
}

async fn who_is_blocked_brings_no_token() {
    let stage = stage().await;
    let ada = Keyed::new(&stage, "ada").await;
    answer(stage.gateway.operator(Method::POST, "/operator/api/users/ada/block")).await.is(204);
    answer(ada.request(Method::POST, DEVICE)).await.refuses(403, "user_blocked");
    let tokens = serde_json::json!({ "access_token": "access-token-of-ada",
        "refresh_token": "refresh-token-of-ada", "expires_at": 1_900_000_000 });
    let put = ada.request(Method::PUT, "/onboarding/codex").json(&tokens);
    answer(put).await.refuses(403, "user_blocked");
    assert_eq!(ada.codex().await, "none", "but may look");
}

async fn a_name_that_is_freed_comes_without_the_tokens_of_before() {
    let provider = Provider::start().await;
    let byok = crate::shared::pair(Options::new()).await;
    let first = options(&provider).upstream(byok.upstream.url()).var("AUTH_MODE", "openai");
    let stage = Stage { gateway: Gateway::start(first).await, provider };
    let by = |method, path: &str, bearer: &str| {
        let request = stage.gateway.request(method, path).header("x-user-id", "ada");
        request.bearer_auth(bearer)
    };
    let chat = |bearer: &str| {
        by(Method::POST, "/v1/chat/completions", bearer).json(&chat_request("hi", false))
    };
    answer(chat("sk-eve")).await.is(200);
    // Eve's sign-in is still under way when the operator frees the name.
    let begun = answer(by(Method::POST, DEVICE, "sk-eve")).await.json();
    answer(stage.gateway.operator(Method::POST, "/operator/api/users/ada/unbind")).await.is(204);
    answer(chat("sk-ada")).await.is(200);
    stage.provider.decide(text(&begun, "user_code"), Verdict::Approved);
    let path = format!("{DEVICE}/{}", text(&begun, "id"));
    answer(by(Method::GET, &path, "sk-ada")).await.refuses(404, "not_found");
    sleep(Duration::from_secs(3)).await;
    let me = answer(by(Method::GET, "/me", "sk-ada")).await.json();
    assert_eq!((&me["binding"], &me["codex"]["state"]), (&"first-key".into(), &"none".into()));
}

async fn without_a_key_to_seal_with_nobody_signs_in() {
    let pair = crate::shared::pair(Options::new().var("TOKEN_ENCRYPTION_KEY", "")).await;
    let key = pair.gateway.mint_key("ada").await.key;
    let request = |method, path| pair.gateway.request(method, path).bearer_auth(&key);
    let refused = answer(request(Method::POST, DEVICE)).await;
    refused.refuses(503, "not_configured");
    assert!(refused.text().contains("TOKEN_ENCRYPTION_KEY"), "{}", refused.text());
    answer(request(Method::PUT, "/onboarding/codex")).await.refuses(503, "not_configured");
    answer(request(Method::DELETE, "/onboarding/codex")).await.is(204);
    let refused = Gateway::try_start(
        Options::new().var("AUTH_MODE", "codex").var("TOKEN_ENCRYPTION_KEY", ""),
    );
    let problem = refused.await.err().expect("it is refused at start");
    assert!(problem.contains("TOKEN_ENCRYPTION_KEY is missing"), "{problem}");
    // A token endpoint of one's own without a device endpoint: tokens can be brought.
    let provider = Provider::start().await;
    let gateway = Gateway::start(options(&provider).var("CODEX_DEVICE_URL", "")).await;
    let key = gateway.mint_key("ada").await.key;
    let refused = answer(gateway.request(Method::POST, DEVICE).bearer_auth(key)).await;
    refused.refuses(503, "not_configured");
    assert!(refused.text().contains("CODEX_DEVICE_URL"), "{}", refused.text());
}
