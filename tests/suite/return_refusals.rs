//! What the way back refuses, and how it says so. What it lets through is in `return_path`.

use std::time::Duration;

use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Script, raw, wait_for};
use reqwest::Method;
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::answer::answer;
use crate::return_path::{Person, Stage, shared};
use crate::runner::Test;
use crate::shared::user;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_handle_without_a_run_opens_nothing,
        a_handle_opens_models_and_nothing_else,
        a_providers_failure_is_told_as_the_providers,
        a_handle_that_was_replaced_opens_nothing,
        who_cant_have_an_agent_or_brings_no_key_is_told,
        it_is_off_unless_it_is_on,
    ]
}

/// The reasons for which calls of a user were refused, from the log.
fn refusals(gateway: &Gateway, user: &str) -> Vec<String> {
    let mut lines = gateway.log();
    lines.retain(|line| line["event"] == "return_refused" && line["user_id"] == user);
    lines.iter().map(|line| line["reason"].as_str().unwrap().to_owned()).collect()
}

/// The log has a line for each refused call of a user, in this order.
async fn are_told_to_the_operator(gateway: &Gateway, user: &str, reasons: &[&str]) {
    let all = || (refusals(gateway, user) == reasons).then_some(());
    wait_for("the operator's lines", Duration::from_secs(30), all).await;
}

async fn a_handle_without_a_run_opens_nothing() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let (ada, bob) = (Person::new(gateway, "ada").await, Person::new(gateway, "bob").await);
    let route = provider.route(Script::chat("paid", 7));
    ada.chats(&route).await.refuses(401, "no_run_in_progress");
    let run = bob.run(openclaw).await;
    ada.chats(&route).await.refuses(401, "no_run_in_progress");
    are_told_to_the_operator(gateway, &ada.name, &["no_run_in_progress"; 2]).await;
    // Nobody's handle, a gateway key, a key of a provider's, nothing.
    let made_up = format!("ogr_{}_{}", bob.name, "0".repeat(43));
    for wrong in [made_up.as_str(), &bob.key, &bob.own_key, "ogr_", ""] {
        let call = gateway.request(Method::POST, &route.path("/return/v1/chat/completions"));
        let call = call.bearer_auth(wrong).json(&chat_request("hi", false));
        answer(call).await.refuses(401, "invalid_handle");
    }
    assert!(route.seen().is_empty(), "the provider is asked for nobody");
    bob.chats(&route).await.is(200);
    run.end_and_be_forgotten(gateway).await;
    bob.chats(&route).await.refuses(401, "no_run_in_progress");
    assert_eq!(route.seen().len(), 1);
    are_told_to_the_operator(gateway, &bob.name, &["invalid_handle", "no_run_in_progress"]).await;
}

async fn a_handle_opens_models_and_nothing_else() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let ada = Person::new(gateway, "ada").await;
    let run = ada.run(openclaw).await;
    let route = provider.route(Script::chat("paid", 7));
    for (method, path) in [
        (Method::GET, "/files"),
        (Method::GET, "/files/file-1/content"),
        (Method::DELETE, "/files/file-1"),
        (Method::GET, "/responses/resp-1"),
        (Method::DELETE, "/responses/resp-1"),
        (Method::POST, "/files"),
        (Method::GET, "/chat/completions"),
    ] {
        let call = gateway.request(method, &route.path(&format!("/return/v1{path}")));
        answer(call.bearer_auth(&ada.handle)).await.refuses(404, "not_found");
    }
    assert!(route.seen().is_empty());
    let models = gateway.request(Method::GET, &route.path("/return/v1/models"));
    answer(models.bearer_auth(&ada.handle)).await.is(200);
    assert_eq!(route.only().header("authorization"), Some(ada.bearer()));
    run.end().await;
}

async fn a_providers_failure_is_told_as_the_providers() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let ada = Person::new(gateway, "ada").await;
    let run = ada.run(openclaw).await;
    let elsewhere = Script::new().respond(302, &[("location", "http://127.0.0.1:9/")], "");
    for (script, code, said) in [
        (elsewhere, "upstream_redirect", "BYOK_PROVIDER_URL"),
        (Script::new().reset(), "upstream_unreachable", "The model's provider"),
    ] {
        let failed = ada.chats(&provider.route(script)).await;
        failed.refuses(502, code);
        assert!(failed.text().contains(said), "{failed:?}");
    }
    // One that begins an error and says no more: OpenClaw leaves, and the provider is left.
    let stalls =
        provider.route(Script::new().chunked(500, &[("content-type", "application/json")]).hang());
    let body = chat_request("hi", false).to_string();
    let (shown, length) = (format!("Bearer {}", ada.handle), body.len().to_string());
    let headers = [("Authorization", shown.as_str()), ("Content-Length", length.as_str())];
    let mut call = raw::head("POST", &stalls.path("/return/v1/chat/completions"), &headers);
    call.extend_from_slice(body.as_bytes());
    let mut stream = TcpStream::connect(gateway.address()).await.unwrap();
    stream.write_all(&call).await.unwrap();
    stalls.when("the error to begin", |seen| seen.body_complete_at.is_some()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stream.set_zero_linger().unwrap();
    drop(stream);
    stalls.when_left().await;
    let id = run.end().await;
    let row = gateway.ledger().row(&id).await;
    assert_eq!((row.provider_requests, row.tokens_est), (Some(3), 0));
}

async fn a_handle_that_was_replaced_opens_nothing() {
    let Stage { gateway, openclaw, provider } = shared().await;
    let mut ada = Person::new(gateway, "ada").await;
    let run = ada.run(openclaw).await;
    let route = provider.route(Script::chat("paid", 7));
    let newer = gateway.mint_handle(&ada.name).await;
    for _ in 0..2 {
        ada.chats(&route).await.refuses(401, "invalid_handle");
    }
    ada.handle = newer;
    ada.chats(&route).await.is(200);
    let path = format!("/operator/api/users/{}/handle", ada.name);
    answer(gateway.operator(Method::DELETE, &path)).await.is(204);
    ada.chats(&route).await.refuses(401, "invalid_handle");
    are_told_to_the_operator(gateway, &ada.name, &["invalid_handle"; 3]).await;
    run.end().await;
}

async fn who_cant_have_an_agent_or_brings_no_key_is_told() {
    let Stage { gateway, openclaw, .. } = shared().await;
    let ada = Person::new(gateway, "ada").await;
    let route = openclaw.route(Script::chat("hi", 1));
    let chat = gateway.request(Method::POST, &route.chat()).json(&chat_request("hi", false));
    answer(chat.bearer_auth(&ada.key)).await.refuses(401, "missing_key");
    for name in [user("ada.b"), "a".repeat(63)] {
        let key = gateway.mint_key(&name).await.key;
        let chat = gateway.request(Method::POST, &route.chat()).json(&chat_request("hi", false));
        let chat = chat.bearer_auth(&ada.own_key).header("x-gateway-key", key);
        answer(chat).await.refuses(400, "invalid_user_id");
    }
    assert!(route.seen().is_empty());
}

async fn it_is_off_unless_it_is_on() {
    let gateway = &crate::shared::open().await.gateway;
    let handle = gateway.mint_handle(&user("ada")).await;
    let call = gateway.request(Method::POST, "/return/v1/chat/completions").json(&json!({}));
    answer(call.bearer_auth(&handle)).await.refuses(404, "not_found");
    let Stage { gateway, .. } = shared().await;
    for path in ["/return/v1", "/return", "/return/v2/responses"] {
        answer(gateway.request(Method::POST, path)).await.refuses(404, "not_found");
    }
    let upgrade = "GET /return/v1/responses HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\n\
         Upgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    let refused = raw::send_briefly(gateway.address(), upgrade.as_bytes()).await;
    assert_eq!((refused.status, refused.code().as_str()), (426, "upgrade_required"));
}
