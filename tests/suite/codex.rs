//! Codex tokens: who they pay for, and how they are refreshed, whatever the provider does.

use std::time::Duration;

use futures::future::join_all;
use gateway_tests::oauth::{Behaviour, Provider, Tokens};
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, wait_for};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::shared::user;
use crate::tests;

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        the_token_pays_and_nothing_else_goes_along,
        tokens_are_kept_and_forgotten_by_gateway_key_alone,
        what_are_no_tokens_is_refused,
        a_hundred_requests_cause_one_refresh,
        a_hundred_rejected_requests_cause_one_refresh,
        who_leaves_during_a_refresh_takes_nobody_along,
        a_kill_during_the_refresh_loses_nothing,
        a_provider_that_is_down_or_lies_loses_nothing,
        a_token_that_still_lives_is_used_while_the_provider_is_away,
        a_provider_that_doesnt_rotate_is_asked_with_the_same_token,
        an_ended_session_is_not_asked_for_again,
        a_rejected_token_is_refreshed_and_the_request_sent_once_more,
        what_can_be_sent_once_only_is_sent_once,
        a_refresh_that_doesnt_help_is_not_repeated,
        a_token_that_is_dropped_is_not_brought_back_by_its_refresh,
        whoever_comes_after_one_who_was_forgotten_has_tokens_of_its_own,
    ];
    tests.extend(tests![Patient: a_provider_that_hangs_is_given_up]);
    tests
}

/// A gateway in Codex mode, and the provider that is its upstream too.
pub struct Stage {
    pub gateway: Gateway,
    pub provider: Provider,
}

static SHARED: OnceCell<Stage> = OnceCell::const_new();

/// Room for a hundred requests of one user at once.
pub fn options(provider: &Provider) -> Options {
    Options::new()
        .upstream(provider.url(""))
        .var("AUTH_MODE", "codex")
        .var("CODEX_TOKEN_URL", provider.url("/oauth/token"))
        .var("CODEX_DEVICE_URL", provider.url("/oauth/device"))
        .var("REQUESTS_PER_MINUTE", "1000")
        .var("MAX_IN_FLIGHT", "200")
        .var("UNPROVEN_PER_MINUTE", "10000")
}

pub async fn stage() -> Stage {
    let provider = Provider::start().await;
    let gateway = Gateway::start(options(&provider)).await;
    Stage { gateway, provider }
}

async fn shared() -> &'static Stage {
    SHARED.get_or_init(stage).await
}

/// Stops the shared gateway.
pub fn stop() {
    if let Some(stage) = SHARED.get() {
        stage.gateway.stop();
    }
}

/// A user with a gateway key and a session of its own at the provider.
pub struct Person {
    pub name: String,
    pub key: String,
    pub tokens: Tokens,
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    since.as_secs().cast_signed()
}

impl Stage {
    /// Somebody who has brought tokens that live for so many seconds more.
    pub async fn person(&self, name: &str, seconds: i64) -> Person {
        let name = user(name);
        let key = self.gateway.mint_key(&name).await.key;
        let tokens = self.provider.sign_in(&name);
        let person = Person { name, key, tokens };
        self.bring(&person, seconds).await;
        person
    }

    async fn bring(&self, person: &Person, seconds: i64) {
        let body = json!({
            "access_token": person.tokens.access, "refresh_token": person.tokens.refresh,
            "expires_at": now() + seconds, "account_id": "acct_1",
        });
        let brought = answer(self.keyed(person, Method::PUT, "/onboarding/codex").json(&body));
        let brought = brought.await;
        brought.is(204);
        assert_eq!(brought.body, b"");
    }

    pub fn keyed(&self, person: &Person, method: Method, path: &str) -> RequestBuilder {
        self.gateway.request(method, path).header("x-gateway-key", &person.key)
    }

    pub fn chat(&self, person: &Person) -> RequestBuilder {
        let request = self.keyed(person, Method::POST, "/v1/chat/completions");
        request.json(&chat_request("hi", false))
    }

    pub async fn says(&self, person: &Person) -> Answer {
        answer(self.chat(person)).await
    }

    fn behave(&self, person: &Person, change: impl FnOnce(&mut Behaviour)) {
        self.provider.behave(&person.name, change);
    }

    fn asked(&self, person: &Person) -> usize {
        self.provider.session(&person.name).asked
    }

    /// The tokens that came upstream, in their order.
    fn paid_with(&self, person: &Person) -> Vec<String> {
        let requests = self.provider.session(&person.name).requests;
        requests.into_iter().map(|request| request.token).collect()
    }

    async fn state_of(&self, person: &Person) -> Value {
        answer(self.keyed(person, Method::GET, "/me")).await.json()["codex"].clone()
    }
}

async fn the_token_pays_and_nothing_else_goes_along() {
    let stage = shared().await;
    let ada = stage.person("ada", 3_600).await;
    let request = stage.chat(&ada).bearer_auth("sk-own").header("x-codex-token", "forged");
    answer(request).await.is(200);
    let session = stage.provider.session(&ada.name);
    let [request] = &session.requests[..] else { panic!("{:?}", session.requests) };
    assert_eq!(request.token, ada.tokens.access);
    assert_eq!(request.headers["x-forwarded-user"], ada.name.as_str());
    for withheld in ["authorization", "x-gateway-key", "x-user-id"] {
        assert!(!request.headers.contains_key(withheld), "{withheld}");
    }
    assert_eq!(session.asked, 0);
    let seen = stage.state_of(&ada).await;
    assert_eq!(seen["state"], "ok");
    assert!(seen["expires_at"].as_str().unwrap().ends_with('Z'), "{seen}");
    assert_eq!(seen.as_object().unwrap().len(), 2, "{seen}");
}

async fn tokens_are_kept_and_forgotten_by_gateway_key_alone() {
    let stage = shared().await;
    let (gateway, provider) = (&stage.gateway, &stage.provider);
    let name = user("ada");
    let key = gateway.mint_key(&name).await.key;
    let ada = Person { tokens: provider.sign_in(&name), name, key };
    let me = |method, path| gateway.request(method, path).header("x-user-id", &ada.name);
    stage.says(&ada).await.refuses(401, "no_codex_session");
    assert_eq!(stage.state_of(&ada).await, json!({"state": "none", "expires_at": null}));
    stage.bring(&ada, 3_600).await;
    stage.says(&ada).await.is(200);
    for method in [Method::PUT, Method::DELETE] {
        let request = me(method.clone(), "/onboarding/codex").bearer_auth("sk-own");
        answer(request).await.refuses(401, "missing_key");
        let another = gateway.mint_key(&user("eve")).await.key;
        let request = me(method, "/onboarding/codex").header("x-gateway-key", another);
        answer(request).await.refuses(400, "user_id_conflict");
    }
    let guess = me(Method::POST, "/v1/chat/completions").bearer_auth("sk-own");
    answer(guess.json(&chat_request("hi", false))).await.refuses(401, "missing_key");
    answer(stage.keyed(&ada, Method::POST, "/onboarding/codex"))
        .await
        .refuses(405, "method_not_allowed");
    for _ in 0..2 {
        answer(stage.keyed(&ada, Method::DELETE, "/onboarding/codex")).await.is(204);
        stage.says(&ada).await.refuses(401, "no_codex_session");
    }
    stage.bring(&ada, 3_600).await;
    let path = format!("/operator/api/users/{}/codex", ada.name);
    answer(stage.keyed(&ada, Method::DELETE, &path)).await.refuses(401, "operator_required");
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    stage.says(&ada).await.refuses(401, "no_codex_session");
    let nobody = gateway.request(Method::POST, "/v1/chat/completions").bearer_auth("sk-own");
    answer(nobody.json(&chat_request("hi", false))).await.refuses(403, "anonymous_disabled");
}

async fn what_are_no_tokens_is_refused() {
    let stage = shared().await;
    let ada = stage.person("ada", 3_600).await;
    let whole = json!({"access_token": "at", "refresh_token": "rt", "expires_at": now()});
    for (name, wrong) in [
        ("access_token", json!("two words-secret")),
        ("access_token", json!("line\nsecret")),
        ("access_token", json!("")),
        ("access_token", json!("x".repeat(16_385))),
        ("refresh_token", json!(null)),
        ("refresh_token", json!({"secret": "secret"})),
        ("expires_at", json!("secret")),
        ("expires_at", json!(-1)),
        ("expires_at", json!(1_795_242_216_000_i64)),
        ("expires_at", json!(i64::MAX)),
    ] {
        let mut body = whole.clone();
        body[name] = wrong;
        let request = stage.keyed(&ada, Method::PUT, "/onboarding/codex").json(&body);
        let refused = answer(request).await;
        refused.refuses(400, "invalid_json");
        assert!(!refused.text().contains("secret"), "{}", refused.text());
    }
    let request = stage.keyed(&ada, Method::PUT, "/onboarding/codex").body("x".repeat(70_000));
    answer(request).await.refuses(413, "request_too_large");
    stage.says(&ada).await.is(200);
    for (expires_at, asked) in [(100_000_000_000_i64, 0), (0, 1)] {
        let body = json!({
            "access_token": ada.tokens.access, "refresh_token": ada.tokens.refresh,
            "expires_at": expires_at,
        });
        answer(stage.keyed(&ada, Method::PUT, "/onboarding/codex").json(&body)).await.is(204);
        stage.says(&ada).await.is(200);
        assert_eq!(stage.asked(&ada), asked, "{expires_at}");
        assert_eq!(stage.state_of(&ada).await["state"], "ok");
    }
}

async fn a_hundred_requests_cause_one_refresh() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_millis(300));
    for answered in join_all((0..100).map(|_| stage.says(&ada))).await {
        answered.is(200);
    }
    let session = stage.provider.session(&ada.name);
    assert_eq!((session.asked, session.reused), (1, 0));
    assert_eq!(session.requests.len(), 100);
    assert!(session.requests.iter().all(|request| request.token == session.live[1]));
    stage.says(&ada).await.is(200);
    assert_eq!(stage.asked(&ada), 1);
}

async fn a_hundred_rejected_requests_cause_one_refresh() {
    let stage = shared().await;
    let ada = stage.person("ada", 3_600).await;
    stage.provider.reject_access(&ada.name);
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_millis(300));
    for answered in join_all((0..100).map(|_| stage.says(&ada))).await {
        answered.is(200);
    }
    let session = stage.provider.session(&ada.name);
    assert_eq!((session.asked, session.reused), (1, 0));
    let paid = session.requests.iter().filter(|request| request.token == session.live[0]).count();
    assert_eq!(paid, 100);
    assert!(session.requests.len() <= 200, "more than one retry each");
    stage.gateway.ledger().settled(&ada.name, 100).await;
}

async fn who_leaves_during_a_refresh_takes_nobody_along() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_secs(4));
    let leaving = tokio::spawn(stage.chat(&ada).send());
    let asked = || (stage.asked(&ada) == 1).then_some(());
    wait_for("a refresh", Duration::from_secs(20), asked).await;
    let leave = async {
        tokio::time::sleep(Duration::from_millis(400)).await;
        leaving.abort();
        leaving.await
    };
    let others = join_all((0..5).map(|_| stage.says(&ada)));
    let (left, others) = tokio::join!(leave, others);
    assert!(left.is_err(), "it was answered before it left");
    for answered in others {
        answered.is(200);
    }
    assert_eq!(stage.asked(&ada), 1);
}

async fn a_kill_during_the_refresh_loses_nothing() {
    let stage = stage().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_mins(1));
    let killing = async {
        let asked = || (stage.asked(&ada) == 1).then_some(());
        wait_for("a refresh", Duration::from_secs(20), asked).await;
        stage.gateway.kill_runtime().await;
    };
    let (broken, ()) = tokio::join!(stage.chat(&ada).send(), killing);
    assert!(broken.is_err(), "nobody was left to answer");
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::ZERO);
    stage.gateway.restart().await;
    stage.says(&ada).await.is(200);
    // Killed after an answer: the new tokens are on disk, or they would not have been used.
    stage.gateway.kill_runtime().await;
    stage.gateway.restart().await;
    stage.says(&ada).await.is(200);
    let session = stage.provider.session(&ada.name);
    assert_eq!((session.asked, session.reused), (2, 0));
    assert_eq!(stage.paid_with(&ada), [&session.live[1], &session.live[1]].map(String::clone));
}

async fn a_provider_that_is_down_or_lies_loses_nothing() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    let lies = [
        (503, "{\"error\":\"temporarily_unavailable\"}".to_owned()),
        (500, "{\"error\":\"invalid_grant\"}".to_owned()),
        (200, "<html>Sign in</html>".to_owned()),
        (200, String::new()),
        (200, "{}".to_owned()),
        (200, "{\"access_token\":7,\"refresh_token\":\"rt\"}".to_owned()),
        (200, "{\"access_token\":\"at-lie\\r\\nx-injected: 1\"}".to_owned()),
        (200, "{\"access_token\":\"at-lie\",\"refresh_token\":[]}".to_owned()),
        (302, "{\"access_token\":\"at-lie\"}".to_owned()),
        (401, "{\"error\":\"invalid_client\"}".to_owned()),
        (200, format!("{{\"access_token\":\"at-lie\",\"x\":\"{}\"}}", "x".repeat(70_000))),
    ];
    for (number, lie) in lies.into_iter().enumerate() {
        let told = format!("{lie:?}");
        stage.behave(&ada, |behaviour| behaviour.lie = Some(lie));
        let refused = stage.says(&ada).await;
        refused.refuses(502, "token_endpoint_unavailable");
        assert_eq!(stage.asked(&ada), number + 1, "{told:.100}");
    }
    assert_eq!(stage.state_of(&ada).await["state"], "ok");
    assert_eq!(stage.paid_with(&ada), [""; 0]);
    stage.behave(&ada, |behaviour| behaviour.lie = None);
    stage.says(&ada).await.is(200);
    assert_eq!(stage.provider.session(&ada.name).reused, 0);
    stage.gateway.logs(&format!("{}: it answered 401 and invalid_client", ada.name)).await;
    assert!(!stage.gateway.log_text().contains("at-lie"), "what it said is in the log");
}

async fn a_token_that_still_lives_is_used_while_the_provider_is_away() {
    let stage = shared().await;
    let ada = stage.person("ada", 50).await;
    stage.behave(&ada, |behaviour| behaviour.lie = Some((503, String::new())));
    stage.says(&ada).await.is(200);
    assert_eq!(stage.asked(&ada), 1);
    assert_eq!(stage.paid_with(&ada), [ada.tokens.access.as_str()]);
    stage.behave(&ada, |behaviour| behaviour.lie = None);
    stage.says(&ada).await.is(200);
    assert_ne!(stage.paid_with(&ada)[1], ada.tokens.access, "it is renewed before it ends");
}

async fn a_provider_that_hangs_is_given_up() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_mins(1));
    let began = std::time::Instant::now();
    for refused in join_all((0..5).map(|_| stage.says(&ada))).await {
        refused.refuses(502, "token_endpoint_unavailable");
    }
    assert!(began.elapsed() >= Duration::from_secs(9), "{:?}", began.elapsed());
    assert_eq!(stage.asked(&ada), 1);
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::ZERO);
    stage.says(&ada).await.is(200);
    assert_eq!(stage.provider.session(&ada.name).reused, 0);
}

async fn a_provider_that_doesnt_rotate_is_asked_with_the_same_token() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| {
        behaviour.rotates = false;
        behaviour.expires_in = json!(1);
    });
    stage.says(&ada).await.is(200);
    stage.provider.reject_access(&ada.name);
    // A lifetime of a second counts as two minutes, and what was refreshed within one isn't again.
    answer(stage.chat(&ada)).await.is(401);
    stage.bring(&ada, -5).await;
    stage.says(&ada).await.is(200);
    let session = stage.provider.session(&ada.name);
    assert_eq!((session.asked, session.reused), (2, 0));
    assert_eq!(session.refresh, ada.tokens.refresh);
}

async fn an_ended_session_is_not_asked_for_again() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.is_revoked = true);
    for _ in 0..3 {
        stage.says(&ada).await.refuses(401, "codex_session_expired");
    }
    assert_eq!(stage.asked(&ada), 1);
    assert_eq!(stage.state_of(&ada).await["state"], "expired");
    let tokens = stage.provider.sign_in(&ada.name);
    let ada = Person { tokens, ..ada };
    stage.bring(&ada, 3_600).await;
    stage.says(&ada).await.is(200);
    assert_eq!(stage.state_of(&ada).await["state"], "ok");
}

async fn a_rejected_token_is_refreshed_and_the_request_sent_once_more() {
    let stage = shared().await;
    for (method, path, body) in [
        (Method::POST, "/v1/chat/completions", chat_request("hi", false).to_string()),
        (Method::POST, "/v1/responses", json!({"input": "hi"}).to_string()),
        (Method::POST, "/v1/audio/speech", "x".repeat(300_000)),
        (Method::GET, "/v1/models", String::new()),
        (Method::POST, "/v1/empty", String::new()),
    ] {
        let ada = stage.person("ada", 3_600).await;
        stage.provider.reject_access(&ada.name);
        let request = stage.keyed(&ada, method, path).body(body.clone());
        answer(request.header("content-type", "application/json")).await.is(200);
        let session = stage.provider.session(&ada.name);
        assert_eq!(session.asked, 1);
        let [first, second] = &session.requests[..] else { panic!("{path}: {session:?}") };
        assert_eq!((&first.token, &second.token), (&ada.tokens.access, &session.live[0]));
        assert_eq!(first.body, second.body, "{path}");
        assert_eq!(first.body.len(), body.len(), "{path}");
        assert_eq!(first.headers["x-request-id"], second.headers["x-request-id"]);
        let rows = stage.gateway.ledger().settled(&ada.name, 1).await;
        assert_eq!(rows[0].status, 200, "one request, one row");
    }
}

async fn what_can_be_sent_once_only_is_sent_once() {
    let stage = shared().await;
    let ada = stage.person("ada", 3_600).await;
    stage.provider.reject_access(&ada.name);
    let large = || stage.keyed(&ada, Method::POST, "/v1/files").body("x".repeat(5_000_000));
    let refused = answer(large()).await;
    refused.is(401);
    assert!(refused.text().contains("upstream_says_no"), "{}", refused.text());
    assert_eq!(stage.asked(&ada), 1, "the next one is to go through");
    answer(large()).await.is(200);
    assert_eq!(stage.paid_with(&ada).len(), 2);
}

async fn a_refresh_that_doesnt_help_is_not_repeated() {
    let stage = shared().await;
    let ada = stage.person("ada", 3_600).await;
    stage.behave(&ada, |behaviour| behaviour.is_barred = true);
    for _ in 0..4 {
        let refused = stage.says(&ada).await;
        refused.is(401);
        assert!(refused.text().contains("upstream_says_no"), "{}", refused.text());
    }
    assert_eq!(stage.asked(&ada), 1);
    assert_eq!(stage.paid_with(&ada).len(), 5, "two for the first, one for each of the others");
    assert_eq!(stage.state_of(&ada).await["state"], "ok");
}

async fn a_token_that_is_dropped_is_not_brought_back_by_its_refresh() {
    let stage = shared().await;
    let ada = stage.person("ada", -5).await;
    stage.behave(&ada, |behaviour| behaviour.delay = Duration::from_secs(5));
    let forgetting = async {
        let asked = || (stage.asked(&ada) == 1).then_some(());
        wait_for("a refresh", Duration::from_secs(20), asked).await;
        answer(stage.keyed(&ada, Method::DELETE, "/onboarding/codex")).await.is(204);
    };
    let (refused, ()) = tokio::join!(stage.says(&ada), forgetting);
    refused.refuses(401, "no_codex_session");
    assert_eq!(stage.state_of(&ada).await["state"], "none");
    assert_eq!(stage.paid_with(&ada), [""; 0]);
}

async fn whoever_comes_after_one_who_was_forgotten_has_tokens_of_its_own() {
    let stage = shared().await;
    let old = stage.person("ada", -5).await;
    stage.behave(&old, |behaviour| behaviour.delay = Duration::from_secs(5));
    let renaming = async {
        let asked = || (stage.asked(&old) == 1).then_some(());
        wait_for("a refresh", Duration::from_secs(20), asked).await;
        let path = format!("/operator/api/users/{}", old.name);
        answer(stage.gateway.operator(Method::DELETE, &path)).await.is(200);
        let key = stage.gateway.mint_key(&old.name).await.key;
        let tokens = stage.provider.sign_in(&user("grace"));
        let new = Person { name: old.name.clone(), key, tokens };
        stage.bring(&new, 3_600).await;
        new
    };
    let (refused, new) = tokio::join!(stage.says(&old), renaming);
    refused.refuses(401, "no_codex_session");
    assert_eq!(stage.paid_with(&old), [""; 0], "the old one's request is paid for by nobody");
    stage.says(&new).await.is(200);
    assert_eq!(stage.paid_with(&old), [""; 0], "and its tokens pay for nobody");
    assert_eq!(stage.asked(&old), 1);
}
