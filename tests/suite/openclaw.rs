//! The OpenClaw that all its tests share, and what it answers through the gateway.
//!
//! It takes more than a gigabyte and ten seconds to start, so there is one, with two gateways in
//! front of it: one talks to it directly, one through a proxy that adds forwarded headers, as a
//! tunnel does. What is tested at one door is tested at the other.

use std::panic::AssertUnwindSafe;

use futures::FutureExt;
use gateway_tests::openclaw::{OpenClaw, PROVIDER_KEY, TOKEN};
use gateway_tests::openclaw_provider::{Provider, USAGE};
use gateway_tests::openclaw_tunnel::Tunnel;
use gateway_tests::{Gateway, Options};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::sync::{OnceCell, RwLock, RwLockReadGuard};

use crate::answer::{Answer, answer};
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        models_are_those_of_the_operators_choice,
        a_chat_is_answered_and_counted,
        a_stream_comes_word_by_word,
        usage_is_in_the_stream_only_where_it_was_asked_for,
        a_response_is_answered_and_counted,
        a_response_stream_is_counted,
        an_unknown_model_is_mapped,
        embeddings_are_answered,
        the_providers_key_is_the_operators,
    ]
}

/// OpenClaw with all that stands before and behind it.
pub struct House {
    pub provider: Provider,
    pub openclaw: OpenClaw,
    direct: Gateway,
    tunnelled: Gateway,
    _tunnel: Tunnel,
    /// Held for reading by who relies on the settings as they are documented.
    settings: RwLock<()>,
}

static HOUSE: OnceCell<House> = OnceCell::const_new();

/// The shared OpenClaw, without a promise about its settings.
pub async fn any() -> &'static House {
    HOUSE
        .get_or_init(async || {
            let provider = Provider::start().await;
            let openclaw = OpenClaw::start(&provider.url()).await;
            let tunnel = Tunnel::start(&openclaw.url()).await;
            let direct = Gateway::start(options(&openclaw.url())).await;
            let tunnelled = Gateway::start(options(&tunnel.url())).await;
            let settings = RwLock::default();
            House { provider, openclaw, direct, tunnelled, _tunnel: tunnel, settings }
        })
        .await
}

/// The shared OpenClaw, its settings as documented for as long as the guard is kept.
pub async fn house() -> (&'static House, RwLockReadGuard<'static, ()>) {
    let house = any().await;
    (house, house.settings.read().await)
}

/// What a gateway needs in front of a real OpenClaw at `url`.
pub fn options(url: &str) -> Options {
    Options::new()
        .upstream(url)
        .var("UPSTREAM_AUTH", "token")
        .var("USER_BINDING", "key")
        .var("AUTH_MODE", "openai")
        .var("OPENCLAW_GATEWAY_TOKEN", TOKEN)
        .var("SESSION_KEY_SECRET", "session-key-secret-for-tests-0123456789")
        .var("REQUESTS_PER_MINUTE", "2000")
        // On a machine that is busy with tests OpenClaw's own retries, and its first answers, take longer.
        .var("UPSTREAM_FIRST_BYTE_MS", "900000")
}

/// Stops what was started.
pub fn stop() {
    if let Some(house) = HOUSE.get() {
        house.direct.stop();
        house.tunnelled.stop();
        house.openclaw.stop();
    }
}

impl House {
    /// Both gateways, each with what it is called in a failure.
    pub fn doors(&self) -> [(&'static str, &Gateway); 2] {
        [("direct", &self.direct), ("through a tunnel", &self.tunnelled)]
    }

    /// Runs `test` while OpenClaw has `changes` over its settings, and nobody else relies on them.
    pub async fn with_settings(&self, changes: &Value, test: impl AsyncFnOnce()) {
        // Not in the queue of the lock, where it would keep new readers waiting behind it.
        let _alone = loop {
            if let Ok(alone) = self.settings.try_write() {
                break alone;
            }
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        };
        self.openclaw.configure(changes).await;
        let outcome = AssertUnwindSafe(test()).catch_unwind().await;
        self.openclaw.configure(&json!({})).await;
        if let Err(panic) = outcome {
            std::panic::resume_unwind(panic);
        }
    }
}

/// A user with a gateway key, at one of the doors.
pub struct Person<'a> {
    pub gateway: &'a Gateway,
    pub user: String,
    pub key: String,
}

impl<'a> Person<'a> {
    /// Mints a key for a USER_ID that begins with `name`.
    pub async fn new(gateway: &'a Gateway, name: &str) -> Self {
        let user = shared::user(name);
        let key = gateway.mint_key(&user).await.key;
        Self { gateway, user, key }
    }

    /// A request that this user proves.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.gateway.request(method, path).bearer_auth(&self.key)
    }

    /// A POST of JSON.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        answer(self.request(Method::POST, path).json(body)).await
    }

    /// Says `text` in the conversation that `extra`, members of the body, names.
    pub async fn say(&self, text: &str, extra: &Value) -> Answer {
        self.post("/v1/chat/completions", &chat(text, extra)).await
    }
}

/// The body of a chat request, with the members of `extra`.
pub fn chat(text: &str, extra: &Value) -> Value {
    let mut body = json!({
        "model": "openclaw/default",
        "messages": [{ "role": "user", "content": text }],
    });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// A word that no other test says.
pub fn word(name: &str) -> String {
    format!("{name}-{:08x}", fastrand::u32(..))
}

/// The events of a stream, without the `[DONE]` that must end it.
pub fn events(answer: &Answer) -> Vec<Value> {
    let text = answer.text();
    let mut data: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{text}");
    data.into_iter().map(|event| serde_json::from_str(event).unwrap()).collect()
}

/// The text of a chat stream's events.
fn streamed_text(events: &[Value]) -> String {
    events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect()
}

async fn models_are_those_of_the_operators_choice() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "models").await;
        let listed = answer(ada.request(Method::GET, "/v1/models")).await;
        listed.is(200);
        let json = listed.json();
        assert_eq!(json["object"], "list", "{door}");
        let models = json["data"].as_array().unwrap();
        let names: Vec<_> = models.iter().map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(names, ["openclaw/default"], "{door}");
        let one = answer(ada.request(Method::GET, "/v1/models/openclaw/default")).await;
        one.is(200);
        assert_eq!(one.json()["id"], "openclaw/default");
        let hidden = answer(ada.request(Method::GET, "/v1/models/openclaw/main")).await;
        hidden.refuses(404, "not_found");
    }
}

async fn a_chat_is_answered_and_counted() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "chat").await;
        let hello = word("hello");
        let said = ada.say(&hello, &json!({})).await;
        said.is(200);
        let text = said.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned();
        assert!(text.contains(&hello), "{door}: {text}");
        assert_eq!(said.json()["usage"]["total_tokens"], USAGE, "{door}");
        let row = gateway.ledger().row(said.request_id()).await;
        assert_eq!((row.status, row.tokens_est), (200, USAGE.cast_signed()), "{door}");
        assert_eq!((row.tokens_source.as_str(), row.error_code), ("reported", None), "{door}");
        assert_eq!(row.model.as_deref(), Some("openclaw/default"), "{door}");
        assert_eq!(row.user_id, ada.user);
        assert_eq!(house.provider.calls(&hello).len(), 1, "{door}");
    }
}

async fn a_stream_comes_word_by_word() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "stream").await;
        let text = format!("[slow] {} one two three four five six", word("stream"));
        let body = chat(&text, &json!({ "stream": true }));
        let request = ada.request(Method::POST, "/v1/chat/completions").json(&body);
        let mut response = request.send().await.unwrap();
        assert_eq!(response.status(), 200, "{door}");
        let (mut pieces, mut whole) = (0, Vec::new());
        while let Some(piece) = response.chunk().await.unwrap() {
            pieces += 1;
            whole.extend_from_slice(&piece);
        }
        let whole = String::from_utf8(whole).unwrap();
        assert!(pieces >= 5, "{door}: the answer came in {pieces} pieces: {whole}");
        assert!(whole.ends_with("data: [DONE]\n\n"), "{door}: {whole}");
    }
}

async fn usage_is_in_the_stream_only_where_it_was_asked_for() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "usage").await;
        let hello = word("usage");
        let plain = ada.say(&hello, &json!({ "stream": true })).await;
        let asked = json!({ "stream": true, "stream_options": { "include_usage": true } });
        let asked = ada.say(&word("usage"), &asked).await;
        let (without, with) = (events(&plain), events(&asked));
        assert!(streamed_text(&without).contains(&hello), "{door}: {without:?}");
        let empty = |event: &&Value| event["choices"].as_array().is_some_and(Vec::is_empty);
        assert_eq!(without.iter().filter(empty).count(), 0, "{door}: {without:?}");
        assert!(without.iter().all(|event| event["usage"].is_null()), "{door}: {without:?}");
        assert_eq!(with.iter().filter(empty).count(), 1, "{door}: {with:?}");
        assert_eq!(with.last().unwrap()["usage"]["total_tokens"], USAGE, "{door}");
        for said in [plain, asked] {
            let row = gateway.ledger().row(said.request_id()).await;
            assert_eq!((row.status, row.tokens_est), (200, USAGE.cast_signed()), "{door}");
            assert_eq!(row.tokens_source, "reported", "{door}");
        }
    }
}

async fn a_response_is_answered_and_counted() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "response").await;
        let hello = word("response");
        let body = json!({ "model": "openclaw/default", "input": hello });
        let said = ada.post("/v1/responses", &body).await;
        said.is(200);
        let text = said.json()["output"][0]["content"][0]["text"].as_str().unwrap().to_owned();
        assert!(text.contains(&hello), "{door}: {text}");
        let row = gateway.ledger().row(said.request_id()).await;
        assert_eq!((row.status, row.tokens_est), (200, USAGE.cast_signed()), "{door}");
        assert_eq!(row.tokens_source, "reported", "{door}");
    }
}

async fn a_response_stream_is_counted() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "response").await;
        let hello = word("response");
        let body = json!({ "model": "openclaw/default", "input": hello, "stream": true });
        let said = ada.post("/v1/responses", &body).await;
        said.is(200);
        let events = events(&said);
        let kinds: Vec<_> = events.iter().map(|event| event["type"].as_str().unwrap()).collect();
        assert_eq!(kinds.first(), Some(&"response.created"), "{door}: {kinds:?}");
        assert_eq!(kinds.last(), Some(&"response.completed"), "{door}: {kinds:?}");
        let row = gateway.ledger().row(said.request_id()).await;
        assert_eq!((row.status, row.tokens_est), (200, USAGE.cast_signed()), "{door}");
        assert_eq!(row.tokens_source, "reported", "{door}");
    }
}

async fn an_unknown_model_is_mapped() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "mapped").await;
        // A provider's model, an agent that nobody allowed, OpenClaw's other names for agents.
        for model in ["gpt-4o", "openclaw", "openclaw/main", "agent:main", "stub/stub-1", ""] {
            let said = ada.say(&word("mapped"), &json!({ "model": model })).await;
            assert_eq!(said.status, 200, "{door}: {model}: {said:?}");
            let row = gateway.ledger().row(said.request_id()).await;
            assert_eq!(row.model.as_deref(), Some("openclaw/default"), "{door}: {model}");
        }
        let mut body = chat(&word("mapped"), &json!({}));
        body.as_object_mut().unwrap().remove("model");
        ada.post("/v1/chat/completions", &body).await.is(200);
    }
}

async fn embeddings_are_answered() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "embed").await;
        let body = json!({ "model": "text-embedding-3-small", "input": ["one", "two"] });
        let said = ada.post("/v1/embeddings", &body).await;
        said.is(200);
        assert_eq!(said.json()["data"].as_array().unwrap().len(), 2, "{door}");
        assert_eq!(said.json()["data"][0]["embedding"].as_array().unwrap().len(), 8, "{door}");
    }
}

async fn the_providers_key_is_the_operators() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "key").await;
        let hello = word("key");
        let request = gateway.request(Method::POST, "/v1/chat/completions");
        let request = request.header("x-gateway-key", &ada.key).bearer_auth("sk-of-the-caller");
        let request = request.header("x-api-key", "sk-of-the-caller");
        let request = request.header("x-codex-token", "sk-of-the-caller");
        answer(request.json(&chat(&hello, &json!({})))).await.is(200);
        let call = house.provider.only(&hello);
        assert_eq!(call.key, PROVIDER_KEY, "{door}");
        let everything = format!("{call:?}");
        for secret in ["sk-of-the-caller", &ada.key, TOKEN] {
            assert!(!everything.contains(secret), "{door}: {secret} in {everything}");
        }
    }
}
