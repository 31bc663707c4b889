//! OpenClaw's client leaves, its provider fails, its settings are wrong.

use std::time::Duration;

use gateway_tests::openclaw::{TOKEN, provider_settings};
use gateway_tests::{Gateway, raw, wait_for};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::answer::answer;
use crate::openclaw::{House, Person, any, chat, events, house, options, word};
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    let mut all = tests![Ordinary:
        a_client_that_leaves_is_felt_by_the_provider,
        a_provider_that_refuses_is_told_at_once,
    ];
    // OpenClaw tries again for a minute and a half; and who changes its settings waits for that.
    all.extend(tests![Patient:
        a_provider_that_fails_ends_in_an_error,
        a_provider_that_breaks_off_ends_in_an_error,
        an_agent_a_user_keeps_users_apart,
        ready_names_what_is_missing,
        ready_names_a_wrong_token,
    ]);
    all
}

/// Asks with `marker` in the message and leaves as soon as the provider works on it.
///
/// While a stream runs an orderly end of the connection is enough. Before the answer's head the
/// runtime on one's own machine sees only a broken one.
async fn leave(house: &House, person: &Person<'_>, path: &str, body: &Value, marker: &str) {
    let body = body.to_string();
    let (bearer, length) = (format!("Bearer {}", person.key), body.len().to_string());
    let headers = [
        ("Authorization", bearer.as_str()),
        ("Content-Type", "application/json"),
        ("Content-Length", length.as_str()),
    ];
    let mut connection = TcpStream::connect(person.gateway.address()).await.unwrap();
    connection.write_all(&raw::head("POST", path, &headers)).await.unwrap();
    connection.write_all(body.as_bytes()).await.unwrap();
    wait_for("call", Duration::from_mins(1), || house.provider.calls(marker).pop()).await;
    if body.contains(r#""stream":true"#) {
        let mut answer = Vec::new();
        while !answer.windows(6).any(|window| window == b"data: ") {
            assert!(connection.read_buf(&mut answer).await.unwrap() > 0, "no event for {marker}");
        }
    } else {
        connection.set_zero_linger().unwrap();
    }
    drop(connection);
    // How soon it is felt is measured in `leaving`, without OpenClaw's own work in between. Here it
    // is felt long before the answer's end, which would take half a minute.
    let what = format!("abort at the provider for {path} with {body}");
    let call = wait_for(&what, Duration::from_secs(15), || {
        house.provider.calls(marker).pop().filter(|call| call.left_at.is_some())
    })
    .await;
    assert!(!call.finished, "{call:?}");
}

async fn a_client_that_leaves_is_felt_by_the_provider() {
    let (house, _calm) = house().await;
    let words = "word ".repeat(300);
    for (door, gateway) in house.doors() {
        for stream in [true, false] {
            for path in ["/v1/chat/completions", "/v1/responses"] {
                let ada = Person::new(gateway, "leaver").await;
                let marker = word("leaver");
                let text = format!("[slow] {marker} {words}");
                let body = if path == "/v1/responses" {
                    json!({ "input": text, "stream": stream })
                } else {
                    chat(&text, &json!({ "stream": stream }))
                };
                leave(house, &ada, path, &body, &marker).await;
                let row = gateway.ledger().settled(&ada.user, 1).await.remove(0);
                assert_eq!(row.status, 499, "{door}: {path}, stream {stream}: {row:?}");
                assert_eq!(house.provider.calls(&marker).len(), 1, "{door}: asked once");
            }
        }
    }
}

async fn a_provider_that_refuses_is_told_at_once() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "refused").await;
        let refused = ada.say(&format!("{} [fail 404]", word("no")), &json!({})).await;
        assert_eq!(refused.status, 404, "{door}: {refused:?}");
        assert_eq!(refused.json()["error"]["message"], "404 the stub failed", "{door}");
        let row = gateway.ledger().row(refused.request_id()).await;
        assert_eq!((row.status, row.tokens_source.as_str()), (404, "none"), "{door}: {row:?}");
        // In a stream the status is gone by then: the error is an event, and the row knows.
        let text = format!("{} [fail 404]", word("no"));
        let refused = ada.say(&text, &json!({ "stream": true })).await;
        refused.is(200);
        let last = events(&refused).pop().unwrap();
        assert_eq!(last["error"]["message"], "404 the stub failed", "{door}: {refused:?}");
        let row = gateway.ledger().row(refused.request_id()).await;
        assert_eq!(row.status, 502, "{door}: {row:?}");
        let body = json!({ "input": text, "stream": true });
        let refused = ada.post("/v1/responses", &body).await;
        refused.is(200);
        let last = events(&refused).pop().unwrap();
        assert_eq!(last["type"], "response.failed", "{door}: {refused:?}");
        let row = gateway.ledger().row(refused.request_id()).await;
        assert_eq!(row.status, 502, "{door}: {row:?}");
    }
}

/// Asks four ways at once, with `fault` in the message, and looks at answers and rows.
async fn fails(fault: &str, status: u16) {
    // The settings may change beneath it: a run that has begun isn't touched by that.
    let house = any().await;
    let (_, gateway) = house.doors()[0];
    let ada = Person::new(gateway, "unlucky").await;
    let text = |name: &str| format!("{} {fault}", word(name));
    let (chat_text, stream_text, responses_text) = (text("chat"), text("stream"), text("stream"));
    let (stream, responses) =
        (json!({ "stream": true }), json!({ "input": responses_text, "stream": true }));
    let plain = json!({});
    let (whole, streamed, response) = tokio::join!(
        ada.say(&chat_text, &plain),
        ada.say(&stream_text, &stream),
        ada.post("/v1/responses", &responses),
    );
    assert_eq!(whole.status, status, "{whole:?}");
    assert_eq!(whole.header("x-should-retry"), "false", "{whole:?}");
    let row = gateway.ledger().row(whole.request_id()).await;
    assert_eq!(row.status, i64::from(status), "{row:?}");
    streamed.is(200);
    let last = events(&streamed).pop().unwrap();
    assert!(last["error"]["message"].is_string(), "{streamed:?}");
    let row = gateway.ledger().row(streamed.request_id()).await;
    assert_eq!(row.status, 502, "{row:?}");
    response.is(200);
    assert_eq!(events(&response).pop().unwrap()["type"], "response.failed", "{response:?}");
    let row = gateway.ledger().row(response.request_id()).await;
    assert_eq!(row.status, 502, "{row:?}");
}

async fn a_provider_that_fails_ends_in_an_error() {
    fails("[fail 500]", 502).await;
}

async fn a_provider_that_breaks_off_ends_in_an_error() {
    fails("[die]", 408).await;
}

async fn an_agent_a_user_keeps_users_apart() {
    let house = any().await;
    let upstream = house.openclaw.url();
    let gateway = Gateway::start(options(&upstream).var("OPENCLAW_MODEL", "openclaw/u-{user}"));
    let gateway = gateway.await;
    let (ada, bob) = (Person::new(&gateway, "ada").await, Person::new(&gateway, "bob").await);
    let agent = |person: &Person<'_>| format!("u-{}", person.user);
    let changes = json!({
        "agents": { "ownership": "explicit", "entries": {
            agent(&ada): { "model": { "primary": "ada/stub-1" } },
            agent(&bob): { "model": { "primary": "bob/stub-1" } },
        } },
        "models": { "providers": {
            "ada": provider_settings(&house.provider.url_of("ada"), "sk-of-ada"),
            "bob": provider_settings(&house.provider.url_of("bob"), "sk-of-bob"),
        } },
    });
    house
        .with_settings(&changes, async || {
            for (person, key) in [(&ada, "sk-of-ada"), (&bob, "sk-of-bob")] {
                let marker = word("agent");
                person.say(&marker, &json!({ "user": "shared" })).await.is(200);
                let call = house.provider.only(&marker);
                assert_eq!(call.key, key);
                let own = format!("agent:{}:p-", agent(person));
                assert!(call.sessions[0].starts_with(&own), "{call:?}");
                // And it goes on there.
                let again = word("RECALL");
                person.say(&again, &json!({ "user": "shared" })).await.is(200);
                assert_eq!(house.provider.only(&again).sessions, call.sessions);
            }
            // A key that the provider refuses is out of use for a minute: for its own user only.
            let refused = ada.say(&format!("{} [fail 401]", word("no")), &json!({})).await;
            assert_eq!(refused.status, 401, "{refused:?}");
            let refused = ada.say(&word("hello"), &json!({})).await;
            assert_eq!(refused.status, 500, "{refused:?}");
            assert_eq!(refused.header("x-should-retry"), "false");
            bob.say(&word("hello"), &json!({})).await.is(200);
        })
        .await;
}

/// What `/ready` says of the upstream once it says something else than before.
async fn ready(gateway: &Gateway, wanted: impl Fn(u16, &str) -> bool) -> String {
    let mut last = String::new();
    // An answer is kept for 5 s.
    for _ in 0..300 {
        let said = answer(gateway.request(Method::GET, "/ready")).await;
        let json = said.json();
        let text = json["checks"]["upstream"].as_str().unwrap_or_default().to_owned();
        let status = if said.status == 200 { "ready" } else { "degraded" };
        assert_eq!(json["status"], status, "{json}");
        assert_eq!(json["checks"]["d1"], "ok", "{json}");
        if wanted(said.status, &text) {
            return text;
        }
        last = format!("{} {text}", said.status);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("/ready stays at: {last}");
}

async fn ready_names_what_is_missing() {
    let house = any().await;
    let [(_, direct), (_, tunnelled)] = house.doors();
    both_ready().await;
    let proxies = json!({ "gateway": { "trustedProxies": null } });
    house
        .with_settings(&proxies, async || {
            let said = ready(tunnelled, |status, _| status == 503).await;
            assert!(said.contains("gateway.trustedProxies"), "{said}");
            // Without a proxy in between nothing is missing.
            ready(direct, |status, text| status == 200 && text == "ok").await;
            // What a user is answered then is OpenClaw's refusal, and costs no model.
            let ada = Person::new(tunnelled, "ada").await;
            let refused = ada.say(&word("hello"), &json!({})).await;
            assert_eq!(refused.status, 403, "{refused:?}");
        })
        .await;
    // Open tools stop nobody from working, so they are a warning.
    for (changes, name, expected) in [
        (
            json!({ "gateway": { "http": { "endpoints": { "chatCompletions": null } } } }),
            "chatCompletions",
            503,
        ),
        (json!({ "gateway": { "http": { "endpoints": null } } }), "gateway.http.endpoints", 503),
        (json!({ "tools": null }), "tools.deny", 200),
    ] {
        house
            .with_settings(&changes, async || {
                for gateway in [direct, tunnelled] {
                    let told = |status: u16, text: &str| status == expected && text.contains(name);
                    ready(gateway, told).await;
                }
            })
            .await;
    }
    both_ready().await;
}

async fn both_ready() {
    let (house, _calm) = house().await;
    for (_, gateway) in house.doors() {
        ready(gateway, |status, text| status == 200 && text == "ok").await;
    }
}

async fn ready_names_a_wrong_token() {
    let (house, _calm) = house().await;
    let options = options(&house.openclaw.url()).var("OPENCLAW_GATEWAY_TOKEN", "another-token");
    let gateway = Gateway::start(options).await;
    let said = ready(&gateway, |status, _| status == 503).await;
    assert!(said.contains("OPENCLAW_GATEWAY_TOKEN"), "{said}");
    for token in ["another-token", TOKEN] {
        assert!(!said.contains(token), "{said}");
    }
    let ada = Person::new(&gateway, "ada").await;
    let refused = ada.say(&word("hello"), &json!({})).await;
    assert!(!refused.text().contains("another-token"), "{refused:?}");
    assert_ne!(refused.status, 200);
}
