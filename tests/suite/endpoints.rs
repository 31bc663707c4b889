//! What each endpoint is: who it believes by which header, what it costs, and in which words it refuses.

use gateway_tests::script::chat_request;
use gateway_tests::{Options, Script};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::Pair;
use crate::tiers::give;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        each_credential_header_takes_a_gateway_key_another_or_both,
        two_keys_of_a_kind_are_a_conflict,
        a_gateway_key_alone_is_enough_where_the_upstream_needs_none,
        the_key_of_x_api_key_binds,
        what_runs_no_model_is_free,
        anthropics_headers_go_on,
        an_error_has_the_shape_of_its_protocol,
        a_base_url_without_v1_is_told_the_cure,
        a_base_url_is_there,
    ]
}

const HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

fn with(request: RequestBuilder, header: &str, credential: &str) -> RequestBuilder {
    let scheme = if header == "authorization" { "Bearer " } else { "" };
    request.header(header, format!("{scheme}{credential}"))
}

fn chat(pair: &Pair, path: &str) -> RequestBuilder {
    pair.gateway.request(Method::POST, path).json(&chat_request("hi", false))
}

async fn each_credential_header_takes_a_gateway_key_another_or_both() {
    let pair = shared::open().await;
    let user = shared::user("key");
    let key = pair.gateway.mint_key(&user).await.key;
    let shouted = key.replacen("ogk_", "OGK-", 1);
    for header in HEADERS {
        for written in [&key, &shouted] {
            let route = pair.upstream.route(Script::chat("hi", 3));
            let request = with(chat(pair, &route.chat()), header, &format!("{written}:sk-mine"));
            answer(request).await.is(200);
            let seen = route.only();
            assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(user.as_str()));
            for other in HEADERS {
                let bearer = if other == "authorization" { "Bearer sk-mine" } else { "sk-mine" };
                let expected = (other == header).then(|| bearer.to_owned());
                assert_eq!(seen.header(other), expected, "{other} of {header}");
            }
            let whole = format!("{seen:?}").to_ascii_lowercase();
            assert!(!whole.contains("ogk"), "the gateway key stays here: {whole}");
        }
        let alone = with(chat(pair, "/v1/chat/completions"), header, &key);
        answer(alone).await.refuses(401, "missing_key");
        let cut = with(chat(pair, "/v1/chat/completions"), header, &key[..key.len() - 1]);
        answer(cut).await.refuses(401, "invalid_key");
        let own = with(chat(pair, "/v1/chat/completions"), header, "sk-other");
        answer(own.header("x-user-id", shared::user("own"))).await.is(200);
    }
}

async fn two_keys_of_a_kind_are_a_conflict() {
    let pair = shared::open().await;
    let user = shared::user("two");
    let (one, other) =
        (pair.gateway.mint_key(&user).await.key, pair.gateway.mint_key(&user).await.key);
    let request = || chat(pair, "/v1/chat/completions");
    let twice = with(request(), "authorization", &one).header("x-api-key", &other);
    answer(twice).await.refuses(400, "user_id_conflict");
    let both = with(request(), "authorization", "sk-1").header("x-api-key", "sk-2");
    answer(both).await.refuses(400, "credential_conflict");
    let route = pair.upstream.route(Script::chat("hi", 3));
    let same = with(chat(pair, &route.chat()), "authorization", "sk-1")
        .header("x-api-key", format!("{one}:sk-1"));
    answer(same).await.is(200);
    let seen = route.only();
    assert_eq!(seen.header("authorization").as_deref(), Some("Bearer sk-1"));
    assert_eq!(seen.header("x-api-key").as_deref(), Some("sk-1"));
}

async fn a_gateway_key_alone_is_enough_where_the_upstream_needs_none() {
    let pair = shared::pair(Options::new().var("UPSTREAM_NEEDS_KEY", "false")).await;
    let key = pair.gateway.mint_key("ada").await.key;
    for header in HEADERS {
        let route = pair.upstream.route(Script::chat("hi", 3));
        answer(with(chat(&pair, &route.chat()), header, &key)).await.is(200);
        let seen = route.only();
        assert!(HEADERS.iter().all(|header| seen.header(header).is_none()), "{seen:?}");
    }
    answer(chat(&pair, "/v1/chat/completions")).await.refuses(401, "missing_key");
}

async fn the_key_of_x_api_key_binds() {
    let pair = shared::first_key().await;
    let user = shared::user("binds");
    let path = format!("/u/{user}/v1/messages");
    let said = json!({"type": "message", "role": "assistant", "content": [{"type": "text", "text": "hi"}],
        "stop_reason": "end_turn", "usage": {"input_tokens": 3, "output_tokens": 1}});
    let route = pair.upstream.route(Script::json(200, &said));
    let request = |key: &str| {
        let body = json!({"model": "claude", "max_tokens": 9, "messages": []});
        pair.gateway.request(Method::POST, &route.path(&path)).header("x-api-key", key).json(&body)
    };
    answer(request("sk-ant-1")).await.is(200);
    let refused = answer(request("sk-ant-2")).await;
    refused.is(401);
    assert_eq!(refused.json()["error"]["code"], "user_id_bound");
    answer(request("sk-ant-1")).await.is(200);
}

async fn what_runs_no_model_is_free() {
    let pair = shared::open().await;
    let user = shared::user("free");
    let key = pair.gateway.mint_key(&user).await.key;
    give(&pair.gateway, &user, "tier1").await;
    let stored = json!({"id": "resp_1", "object": "response", "status": "completed", "output": [],
        "usage": {"input_tokens": 1_000, "output_tokens": 500, "total_tokens": 1_500}});
    let route = pair.upstream.route(Script::json(200, &stored));
    let calls = [
        (Method::GET, "/v1/responses/resp_1", "one"),
        (Method::GET, "/v1/responses/resp_1/input_items", "two"),
        (Method::GET, "/v1/models", "three"),
        (Method::DELETE, "/v1/responses/resp_1", "four"),
        (Method::POST, "/v1/responses/resp_1/cancel", "five"),
        (Method::POST, "/v1/messages/count_tokens", "six"),
    ];
    for (method, path, project) in &calls {
        let request = pair.gateway.request(method.clone(), &route.path(path));
        let request =
            request.bearer_auth(format!("{key}:sk-mine")).header("x-project-id", *project);
        let free = answer(request).await;
        free.is(200);
        assert_eq!(free.number("x-quota-remaining-month"), 10_000, "{path}");
    }
    let rows = pair.gateway.ledger().settled(&user, 6).await;
    for row in &rows {
        assert_eq!(
            (row.status, row.tokens_est, row.tokens_source.as_str()),
            (200, 0, "none"),
            "{row:?}"
        );
    }
    let me = answer(pair.gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!((&me["month"]["requests"], &me["month"]["tokens"]), (&json!(0), &json!(0)), "{me}");
    assert_eq!(me["projects"], json!([]));
    assert_eq!(me["window"]["used"], 6, "they count in the minute");
}

async fn anthropics_headers_go_on() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::answer(
        200,
        &[
            ("content-type", "application/json"),
            ("request-id", "req_upstream"),
            ("anthropic-ratelimit-requests-remaining", "7"),
        ],
        r#"{"type":"message","content":[{"type":"text","text":"hi"}],"usage":{"input_tokens":1,"output_tokens":1}}"#,
    ));
    let request = pair.gateway.request(Method::POST, &route.path("/v1/messages?beta=true"));
    let request = request
        .header("x-user-id", shared::user("claude"))
        .header("x-api-key", "sk-ant-1")
        .header("anthropic-version", "2023-06-01")
        .header("anthropic-beta", "context-1m")
        .json(&json!({"model": "claude", "max_tokens": 9, "messages": []}));
    answer(request).await.is(200);
    let seen = route.only();
    assert_eq!(seen.header("anthropic-version").as_deref(), Some("2023-06-01"));
    assert_eq!(seen.header("anthropic-beta").as_deref(), Some("context-1m"));
    assert!(seen.target.contains("beta=true"), "{}", seen.target);
}

async fn an_error_has_the_shape_of_its_protocol() {
    let pair = shared::open().await;
    let post = |path: &str| pair.gateway.request(Method::POST, path).json(&json!({}));
    answer(post("/v1/chat/completions")).await.refuses(401, "missing_key");
    for path in ["/v1/messages", "/u/ada/messages", "/v1/messages/count_tokens"] {
        let refused = answer(post(path)).await;
        refused.is(401);
        let body = refused.json();
        assert_eq!(body["type"], "error", "{body}");
        assert_eq!(body["error"]["type"], "authentication_error");
        assert_eq!(body["error"]["code"], "missing_key");
        assert_eq!(body["request_id"], refused.request_id());
        assert_ne!(body["error"]["message"], Value::Null);
    }
}

async fn a_base_url_without_v1_is_told_the_cure() {
    let gateway = &shared::open().await.gateway;
    for (path, base) in [("/", "/v1"), ("/v2/models", "/v1"), ("/u/ada/files", "/u/ada/v1")] {
        let lost = answer(gateway.request(Method::POST, path)).await;
        lost.refuses(404, "not_found");
        let message = lost.json()["error"]["message"].as_str().unwrap().to_owned();
        let cure = format!("The base URL must end in /v1: {}", gateway.url(base));
        assert!(message.ends_with(&cure), "{message}");
    }
}

async fn a_base_url_is_there() {
    let gateway = &shared::open().await.gateway;
    for path in ["/", "/u/ada", "/u/ada/"] {
        let there = answer(gateway.request(Method::HEAD, path)).await;
        there.is(200);
    }
}
