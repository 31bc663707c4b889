//! `/health`, `/ready`, what is not there, and what browsers ask.

use gateway_tests::{Script, raw};
use reqwest::Method;
use serde_json::json;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        health_is_two_members_in_their_order,
        ready_says_that_all_is_well,
        an_unknown_path_is_not_found,
        a_wrong_method_names_the_right_ones,
        options_are_not_allowed_without_cors,
        a_known_origin_gets_its_cors_answer_without_admission,
        an_unknown_origin_gets_none,
        a_websocket_upgrade_is_refused,
    ]
}

async fn health_is_two_members_in_their_order() {
    let gateway = &shared::open().await.gateway;
    let health = answer(gateway.request(Method::GET, "/health")).await;
    health.is(200);
    assert_eq!(health.text(), r#"{"status":"ok","gateway":"organized-gateway"}"#);
    assert_eq!(health.header("content-type"), "application/json");
}

async fn ready_says_that_all_is_well() {
    let gateway = &shared::open().await.gateway;
    let ready = answer(gateway.request(Method::GET, "/ready")).await;
    ready.is(200);
    assert_eq!(
        ready.json(),
        json!({ "status": "ready", "checks": { "d1": "ok", "upstream": "ok" } })
    );
}

async fn an_unknown_path_is_not_found() {
    let gateway = &shared::open().await.gateway;
    for path in ["/", "/v2/models", "/v1x", "/healthz", "/u/ada", "/u/ada/v2/models", "/operator/x"]
    {
        for method in [Method::GET, Method::POST] {
            answer(gateway.request(method, path)).await.refuses(404, "not_found");
        }
    }
}

async fn a_wrong_method_names_the_right_ones() {
    let gateway = &shared::open().await.gateway;
    for (method, path, allowed) in [
        (Method::POST, "/health", "GET"),
        (Method::DELETE, "/ready", "GET"),
        (Method::GET, "/operator/api/users/ada/keys", "POST"),
        (Method::OPTIONS, "/health", "GET"),
    ] {
        let refused = answer(gateway.operator(method.clone(), path)).await;
        refused.refuses(405, "method_not_allowed");
        let allow = refused.header("allow");
        let mut names = allow.split(',').map(str::trim);
        assert!(names.any(|name| name == allowed), "{method} {path}: Allow: {allow}");
    }
}

async fn options_are_not_allowed_without_cors() {
    let gateway = &shared::open().await.gateway;
    let refused = answer(gateway.request(Method::OPTIONS, "/v1/models")).await;
    refused.refuses(405, "method_not_allowed");
    assert!(refused.header("allow").contains("POST"), "{refused:?}");
}

async fn a_known_origin_gets_its_cors_answer_without_admission() {
    let pair = shared::open().await;
    let (user, route) = (shared::user("cors"), pair.upstream.route(Script::chat("hi", 3)));
    let preflight = pair
        .gateway
        .request(Method::OPTIONS, &route.chat())
        .header("origin", shared::ORIGIN)
        .header("access-control-request-method", "POST")
        .header("access-control-request-headers", "authorization,content-type,x-user-id")
        .header("x-user-id", &user);
    let preflight = answer(preflight).await;
    assert!(matches!(preflight.status, 200 | 204), "{preflight:?}");
    assert_eq!(preflight.header("access-control-allow-origin"), shared::ORIGIN);
    assert!(preflight.header("access-control-allow-methods").contains("POST"));
    let allowed = preflight.header("access-control-allow-headers").to_lowercase();
    for name in ["authorization", "content-type", "x-user-id"] {
        assert!(allowed.contains(name), "{name} in {allowed}");
    }
    assert!(route.seen().is_empty(), "a preflight stays here");

    let request = pair.gateway.post(&user, &route.chat(), &json!({}));
    let real = answer(request.header("origin", shared::ORIGIN)).await;
    real.is(200);
    assert_eq!(real.header("access-control-allow-origin"), shared::ORIGIN);
    assert!(real.header("vary").to_lowercase().contains("origin"), "{real:?}");
    assert_eq!(real.number("x-ratelimit-remaining-requests"), 49, "the preflight was free");
}

async fn an_unknown_origin_gets_none() {
    let pair = shared::open().await;
    let (user, route) = (shared::user("cors"), pair.upstream.route(Script::chat("hi", 3)));
    let preflight = pair
        .gateway
        .request(Method::OPTIONS, &route.chat())
        .header("origin", "https://evil.example")
        .header("access-control-request-method", "POST");
    let preflight = answer(preflight).await;
    assert_eq!(preflight.header("access-control-allow-origin"), "");
    assert_eq!(preflight.status, 405);
    let request = pair.gateway.post(&user, &route.chat(), &json!({}));
    let real = answer(request.header("origin", "https://evil.example")).await;
    assert_eq!(real.header("access-control-allow-origin"), "");
}

async fn a_websocket_upgrade_is_refused() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let request = format!(
        "GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\
         Authorization: Bearer sk-caller\r\nX-User-ID: {}\r\n\r\n",
        route.path("/v1/realtime"),
        shared::user("upgrade"),
    );
    let refused = raw::send_briefly(pair.gateway.address(), request.as_bytes()).await;
    assert_eq!((refused.status, refused.code().as_str()), (426, "upgrade_required"));
    assert!(route.seen().is_empty());
}
