//! The way back: OpenClaw calls a provider through the gateway, and the person whose run it is pays.
//!
//! The upstream here is scripted, and the test itself makes the calls that OpenClaw would make while the
//! upstream holds a run.

use std::sync::Arc;
use std::time::Duration;

use gateway_tests::openclaw::TOKEN;
use gateway_tests::script::chat_request;
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, Upstream, oauth};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, Semaphore};
use tokio::task::JoinHandle;

use crate::answer::{Answer, answer};
use crate::codex::now;
use crate::runner::Test;
use crate::secrets::files_below;
use crate::shared::user;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_call_is_paid_by_the_person_whose_run_it_is,
        a_row_has_what_its_calls_cost,
        another_key_waits_until_the_first_is_done,
        a_refused_key_is_its_owners_trouble_alone,
        a_calls_answer_streams,
        a_token_pays_and_is_refreshed_in_the_middle_of_a_run,
        what_the_provider_of_tokens_wants_goes_along,
        a_kill_in_the_middle_of_a_run_leaves_no_key_behind,
        an_object_that_is_lost_in_the_middle_of_a_run_pays_with_no_other_key,
    ]
}

/// Longer than the gateway lets a run's tail go on.
const GRACE: Duration = Duration::from_millis(5_500);

pub struct Stage {
    pub gateway: Gateway,
    pub openclaw: Upstream,
    pub provider: Upstream,
}

static SHARED: OnceCell<Stage> = OnceCell::const_new();

/// Stops the shared gateway.
pub fn stop() {
    if let Some(stage) = SHARED.get() {
        stage.gateway.stop();
    }
}

fn options(openclaw: &Upstream) -> Options {
    Options::new()
        .upstream(openclaw.url())
        .var("UPSTREAM_AUTH", "token")
        .var("USER_BINDING", "key")
        .var("OPENCLAW_GATEWAY_TOKEN", TOKEN)
        .var("RETURN_PATH", "on")
}

async fn stage() -> Stage {
    let (openclaw, provider) = (Upstream::start().await, Upstream::start().await);
    let url = format!("{}/v1", provider.url());
    let gateway = Gateway::start(options(&openclaw).var("BYOK_PROVIDER_URL", url)).await;
    Stage { gateway, openclaw, provider }
}

pub async fn shared() -> &'static Stage {
    SHARED.get_or_init(stage).await
}

/// Somebody with a gateway key, a provider key and a handle.
pub struct Person<'a> {
    pub gateway: &'a Gateway,
    pub name: String,
    pub key: String,
    pub own_key: String,
    pub handle: String,
}

impl<'a> Person<'a> {
    pub async fn new(gateway: &'a Gateway, name: &str) -> Self {
        let name = user(name);
        let key = gateway.mint_key(&name).await.key;
        let handle = gateway.mint_handle(&name).await;
        let own_key = format!("sk-provider-{:032x}", fastrand::u128(..));
        Self { gateway, name, key, own_key, handle }
    }

    /// A question to OpenClaw, which plays `route`.
    fn ask(&self, route: &Route) -> RequestBuilder {
        let request = self.gateway.request(Method::POST, &route.chat());
        let request = request.header("x-gateway-key", &self.key).bearer_auth(&self.own_key);
        request.json(&chat_request("hi", false))
    }

    /// A run that OpenClaw holds.
    pub async fn run(&self, openclaw: &Upstream) -> Run {
        let gate = Arc::new(Semaphore::new(0));
        let answered = json!({ "usage": { "total_tokens": 99_999 }, "choices": [] });
        let script = Script::new().gate(&gate).respond(
            200,
            &[("content-type", "application/json")],
            answered.to_string(),
        );
        let route = openclaw.route(script);
        let asking = tokio::spawn(self.ask(&route).send());
        route.when("the run to begin", |_| true).await;
        Run { gate, route, asking }
    }

    /// A call that OpenClaw makes to a provider, which plays `route`.
    pub fn call(&self, route: &Route, path: &str, body: &Value) -> RequestBuilder {
        let path = route.path(&format!("/return{path}"));
        self.gateway.request(Method::POST, &path).bearer_auth(&self.handle).json(body)
    }

    pub async fn chats(&self, route: &Route) -> Answer {
        answer(self.call(route, "/v1/chat/completions", &chat_request("hi", false))).await
    }

    pub fn bearer(&self) -> String {
        format!("Bearer {}", self.own_key)
    }
}

/// A run in progress.
pub struct Run {
    gate: Arc<Semaphore>,
    route: Route,
    asking: JoinHandle<reqwest::Result<Response>>,
}

impl Run {
    /// Lets OpenClaw answer; the request's id.
    pub async fn end(self) -> String {
        self.gate.add_permits(1);
        let response = self.asking.await.unwrap().unwrap();
        assert_eq!(response.status(), 200);
        let id = response.headers()["x-request-id"].to_str().unwrap().to_owned();
        response.bytes().await.unwrap();
        id
    }

    /// The same, until what paid for it is forgotten: counted from when its row is closed.
    pub async fn end_and_be_forgotten(self, gateway: &Gateway) {
        let id = self.end().await;
        gateway.ledger().row(&id).await;
        tokio::time::sleep(GRACE).await;
    }
}

async fn a_call_is_paid_by_the_person_whose_run_it_is() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let (ada, bob) = (Person::new(gateway, "ada").await, Person::new(gateway, "bob").await);
    let (of_ada, of_bob) = (ada.run(openclaw).await, bob.run(openclaw).await);
    for (person, run) in [(&ada, &of_ada), (&bob, &of_bob)] {
        let seen = run.route.only();
        assert_eq!(seen.header("authorization"), Some(format!("Bearer {TOKEN}")));
        assert_eq!(seen.json()["model"], format!("openclaw/u-{}", person.name));
        let whole = format!("{:?}{}", seen.headers, String::from_utf8_lossy(&seen.body));
        assert!(!whole.contains(&person.own_key) && !whole.contains(&person.handle), "{whole}");
    }
    let stream = || Script::chat_stream(&["one", "two"], Duration::ZERO, Some(7));
    for person in [&ada, &bob, &ada] {
        for (path, is_stream) in [
            ("/v1/chat/completions", false),
            ("/v1/chat/completions", true),
            ("/v1/responses", false),
            ("/v1/embeddings", false),
        ] {
            let script = if is_stream { stream() } else { Script::chat("paid", 7) };
            let route = provider.route(script);
            let call = person.call(&route, path, &chat_request("hi", is_stream));
            let answered = answer(call.header("x-openclaw-session-key", "p-1")).await;
            answered.is(200);
            let seen = route.only();
            assert_eq!(seen.header("authorization"), Some(person.bearer()), "{path}");
            assert_eq!(seen.target, route.path(path));
            assert_eq!(seen.json(), chat_request("hi", is_stream), "it goes as it came");
            let whole = format!("{:?}", seen.headers);
            assert!(!whole.contains("ogr_") && !whole.contains("openclaw"), "{whole}");
        }
    }
    of_ada.end().await;
    of_bob.end().await;
}

async fn a_row_has_what_its_calls_cost() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let ada = Person::new(gateway, "ada").await;
    let run = ada.run(openclaw).await;
    for total in [7, 11] {
        ada.chats(&provider.route(Script::chat("paid", total))).await.is(200);
    }
    let stream = Script::chat_stream(&["one", "two"], Duration::ZERO, Some(100));
    let streamed =
        ada.call(&provider.route(stream), "/v1/chat/completions", &chat_request("hi", true));
    answer(streamed).await.is(200);
    let id = run.end().await;
    let row = gateway.ledger().row(&id).await;
    assert_eq!((row.status, row.provider_requests), (200, Some(3)));
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (118, "reported"));
    // A run that called nobody keeps what OpenClaw said.
    let id = ada.run(openclaw).await.end().await;
    let row = gateway.ledger().row(&id).await;
    assert_eq!((row.provider_requests, row.tokens_est), (Some(0), 99_999));
}

async fn another_key_waits_until_the_first_is_done() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let mut ada = Person::new(gateway, "ada").await;
    let first = ada.own_key.clone();
    let run = ada.run(openclaw).await;
    ada.own_key = format!("sk-provider-{:032x}", fastrand::u128(..));
    let other = openclaw.route(Script::chat("hi", 1));
    answer(ada.ask(&other)).await.refuses(409, "another_key_in_use");
    assert!(other.seen().is_empty());
    // What is no run may be asked with any.
    let models = gateway.request(Method::GET, "/v1/models").header("x-gateway-key", &ada.key);
    assert_ne!(answer(models.bearer_auth(&ada.own_key)).await.status, 409);
    let route = provider.route(Script::chat("paid", 7));
    ada.chats(&route).await.is(200);
    assert_eq!(route.only().header("authorization"), Some(format!("Bearer {first}")));
    run.end_and_be_forgotten(gateway).await;
    let run = ada.run(openclaw).await;
    let route = provider.route(Script::chat("paid", 7));
    ada.chats(&route).await.is(200);
    assert_eq!(route.only().header("authorization"), Some(ada.bearer()));
    run.end().await;
}

async fn a_refused_key_is_its_owners_trouble_alone() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let (ada, bob) = (Person::new(gateway, "ada").await, Person::new(gateway, "bob").await);
    let (of_ada, of_bob) = (ada.run(openclaw).await, bob.run(openclaw).await);
    let error = json!({ "error": { "message": "Incorrect API key.", "code": "invalid_api_key" } });
    let says_no = provider.route(Script::json(401, &error));
    let refused = ada.chats(&says_no).await;
    refused.is(401);
    assert_eq!(refused.json(), error, "as the provider said it");
    bob.chats(&provider.route(Script::chat("paid", 7))).await.is(200);
    assert_eq!(says_no.seen().len(), 1, "nobody else's key is tried");
    // Some providers repeat what they were shown, and OpenClaw would keep it.
    let repeats = |key: &str| json!({ "error": { "message": format!("{key} is no key. {key}?"), "code": "invalid_api_key" } });
    let repeated = ada.chats(&provider.route(Script::json(401, &repeats(&ada.own_key)))).await;
    repeated.is(401);
    assert_eq!(repeated.json(), repeats("[redacted]"));
    let id = of_ada.end().await;
    let row = gateway.ledger().row(&id).await;
    assert_eq!((row.provider_requests, row.tokens_est), (Some(2), 0));
    of_bob.end().await;
}

async fn a_calls_answer_streams() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let ada = Person::new(gateway, "ada").await;
    let run = ada.run(openclaw).await;
    let gate = Arc::new(Semaphore::new(0));
    let said = |text: &str| json!({ "choices": [{ "delta": { "content": text } }] });
    let script = Script::new().event_stream().event(&said("one")).gate(&gate);
    let route = provider.route(script.event(&said("two")).done());
    let call = ada.call(&route, "/v1/chat/completions", &chat_request("hi", true));
    let mut response = call.send().await.unwrap();
    assert_eq!(response.status(), 200);
    let first = response.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&first).contains("one"), "the rest hasn't been said yet");
    gate.add_permits(1);
    let rest = response.text().await.unwrap();
    assert!(rest.contains("two") && rest.contains("[DONE]"), "{rest}");
    // OpenClaw leaves when its client does, and so does the gateway.
    let hangs = provider.route(Script::new().event_stream().event(&said("one")).hang());
    let call = ada.call(&hangs, "/v1/chat/completions", &chat_request("hi", true));
    let mut response = call.send().await.unwrap();
    response.chunk().await.unwrap().unwrap();
    drop(response);
    hangs.when_left().await;
    run.end().await;
}

async fn a_token_pays_and_is_refreshed_in_the_middle_of_a_run() {
    let (openclaw, provider) = (Upstream::start().await, oauth::Provider::start().await);
    let options = options(&openclaw)
        .var("AUTH_MODE", "codex")
        .var("CODEX_TOKEN_URL", provider.url("/oauth/token"))
        .var("CODEX_PROVIDER_URL", provider.url("/backend-api/codex"));
    let gateway = Gateway::start(options).await;
    let ada = Person::new(&gateway, "ada").await;
    let route = openclaw.route(Script::chat("hi", 1));
    answer(ada.ask(&route)).await.refuses(401, "no_codex_session");
    let tokens = provider.sign_in(&ada.name);
    let body = json!({ "access_token": tokens.access, "refresh_token": tokens.refresh,
        "expires_at": now() + 3_600 });
    let brought = gateway.request(Method::PUT, "/onboarding/codex").bearer_auth(&ada.key);
    answer(brought.json(&body)).await.is(204);
    let run = ada.run(&openclaw).await;
    assert_eq!(run.route.only().header("x-codex-token"), None, "OpenClaw gets none");
    let nowhere = openclaw.route(Script::new());
    let call = |path| ada.call(&nowhere, path, &chat_request("hi", false));
    answer(call("/v1/responses")).await.is(200);
    provider.reject_access(&ada.name);
    let calls = (0..5).map(|_| answer(call("/v1/codex/responses")));
    for answered in futures::future::join_all(calls).await {
        answered.is(200);
    }
    let session = provider.session(&ada.name);
    assert_eq!((session.asked, session.reused), (1, 0), "one refresh");
    for request in &session.requests {
        assert_eq!(request.path, "/backend-api/codex/responses");
    }
    let id = run.end().await;
    let row = gateway.ledger().row(&id).await;
    assert_eq!((row.provider_requests, row.tokens_est), (Some(6), 42));
}

async fn what_the_provider_of_tokens_wants_goes_along() {
    let (openclaw, provider) = (Upstream::start().await, Upstream::start().await);
    let options = options(&openclaw)
        .var("AUTH_MODE", "codex")
        .var("CODEX_PROVIDER_URL", format!("{}/codex", provider.url()));
    let gateway = Gateway::start(options).await;
    let ada = Person::new(&gateway, "ada").await;
    // {"https://api.openai.com/auth":{"chatgpt_account_id":"acc-7"}}
    let claims =
        "eyJodHRwczovL2FwaS5vcGVuYWkuY29tL2F1dGgiOnsiY2hhdGdwdF9hY2NvdW50X2lkIjoiYWNjLTcifX0";
    let token = format!("e30.{claims}.{:032x}", fastrand::u128(..));
    let body = json!({ "access_token": token, "refresh_token": format!("{:032x}", fastrand::u128(..)),
        "expires_at": now() + 3_600 });
    let brought = gateway.request(Method::PUT, "/onboarding/codex").bearer_auth(&ada.key);
    answer(brought.json(&body)).await.is(204);
    let run = ada.run(&openclaw).await;
    let route = provider.route(Script::chat("paid", 7));
    answer(ada.call(&route, "/v1/responses", &chat_request("hi", false))).await.is(200);
    let seen = route.only();
    assert_eq!(seen.target, route.path("/codex/responses"));
    for (name, value) in [
        ("authorization", format!("Bearer {token}").as_str()),
        ("chatgpt-account-id", "acc-7"),
        ("openai-beta", "responses=experimental"),
        ("originator", "openclaw"),
    ] {
        assert_eq!(seen.header(name).as_deref(), Some(value));
    }
    run.end().await;
}

async fn a_kill_in_the_middle_of_a_run_leaves_no_key_behind() {
    let Stage { gateway, openclaw, provider } = stage().await;
    let ada = Person::new(&gateway, "ada").await;
    let run = ada.run(&openclaw).await;
    let route = provider.route(Script::chat("paid", 7));
    ada.chats(&route).await.is(200);
    gateway.kill_runtime().await;
    for file in files_below(gateway.state()) {
        let bytes = std::fs::read(&file).unwrap();
        let has = |secret: &str| bytes.windows(secret.len()).any(|part| part == secret.as_bytes());
        assert!(!has(&ada.own_key), "{} has the key", file.display());
    }
    gateway.restart().await;
    // OpenClaw's run goes on, and so does what pays for it, until the lease ends.
    ada.chats(&route).await.is(200);
    assert_eq!(route.seen()[1].header("authorization"), Some(ada.bearer()));
    run.asking.await.unwrap().unwrap_err();
    let next = ada.run(&openclaw).await;
    ada.chats(&route).await.is(200);
    next.end().await;
}

async fn an_object_that_is_lost_in_the_middle_of_a_run_pays_with_no_other_key() {
    let (openclaw, provider) = (Upstream::start().await, Upstream::start().await);
    let url = format!("{}/v1", provider.url());
    let options = options(&openclaw).var("BYOK_PROVIDER_URL", url).fault_injection();
    let gateway = Gateway::start(options).await;
    let (ada, bob) = (Person::new(&gateway, "ada").await, Person::new(&gateway, "bob").await);
    let (of_ada, of_bob) = (ada.run(&openclaw).await, bob.run(&openclaw).await);
    let route = provider.route(Script::chat("paid", 7));
    // What the object had in memory is gone with that, and nothing of it is said to the caller.
    let lost = answer(ada.ask(&of_ada.route).header("x-fault", "panic-object")).await;
    lost.refuses(500, "internal_error");
    for person in [&ada, &bob] {
        person.chats(&route).await.is(200);
        let seen = route.seen();
        let newest = seen.last().unwrap();
        assert_eq!(newest.header("authorization"), Some(person.bearer()));
    }
    of_ada.end().await;
    of_bob.end().await;
}
