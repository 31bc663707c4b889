//! What goes upstream and what comes back: targets, headers, statuses.

use gateway_tests::script::chat_request;
use gateway_tests::{Script, raw};
use reqwest::Method;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        method_path_and_query_go_as_they_came,
        the_user_in_the_path_stays_here,
        only_listed_request_headers_go,
        an_attackers_headers_go_nowhere,
        the_request_id_is_the_gateways_own,
        only_listed_response_headers_come_back,
        statuses_come_as_they_are,
        a_redirect_is_not_followed,
    ]
}

async fn method_path_and_query_go_as_they_came() {
    let pair = shared::open().await;
    let user = shared::user("target");
    for (method, path) in [
        (Method::GET, "/v1/models"),
        (Method::POST, "/v1/audio/transcriptions?a=1&a=2&b=%2F%20+~&&=x"),
        (Method::PUT, "/v1/files/file-1.x_~%20y"),
        (Method::PATCH, "/v1/x?"),
        (Method::DELETE, "/v1/files/abc?force"),
        (Method::HEAD, "/v1/models"),
        (Method::GET, "/v1"),
    ] {
        let route = pair.upstream.route(Script::answer(200, &[], ""));
        let target = route.path(path);
        let headers = [("Authorization", "Bearer sk-caller"), ("X-User-ID", user.as_str())];
        let head = raw::head(method.as_str(), &target, &headers);
        let passed = raw::send(pair.gateway.address(), &head).await;
        assert_eq!(passed.status, 200, "{method} {target}: {}", passed.text());
        let seen = route.only();
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            (method.as_str(), target.as_str())
        );
    }
}

async fn the_user_in_the_path_stays_here() {
    let pair = shared::open().await;
    let user = shared::user("prefix");
    let route = pair.upstream.route(Script::chat("hi", 3));
    let target = route.path("/v1/models/gpt?x=/u/eve/v1");
    let request = pair.gateway.request(Method::GET, &format!("/u/{user}{target}"));
    answer(request.bearer_auth("sk-caller")).await.is(200);
    let seen = route.only();
    assert_eq!(seen.target, target);
    assert_eq!(seen.header("x-forwarded-user").as_deref(), Some(user.as_str()));
}

async fn only_listed_request_headers_go() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let listed = [
        ("accept", "application/json"),
        ("content-type", "application/json"),
        ("user-agent", "OpenAI/JS 7.0"),
        ("openai-organization", "org-1"),
        ("openai-beta", "assistants=v2"),
        ("x-stainless-lang", "js"),
        ("x-stainless-retry-count", "1"),
        ("idempotency-key", "once"),
    ];
    let user = shared::user("headers");
    let mut request = pair.gateway.post(&user, &route.chat(), &chat_request("hi", false));
    for (name, value) in listed {
        request = request.header(name, value);
    }
    answer(request).await.is(200);
    let seen = route.only();
    for (name, value) in listed {
        assert!(seen.header(name).unwrap_or_default().contains(value), "{name}: {seen:?}");
    }
    let expected = [
        "authorization",
        "connection",
        "content-length",
        "host",
        "transfer-encoding",
        "x-forwarded-user",
        "x-request-id",
        // What the runtime itself writes about the encodings it can read.
        "accept-encoding",
    ];
    for (name, value) in &seen.headers {
        let known = expected.contains(&name.as_str()) || listed.iter().any(|(own, _)| own == name);
        assert!(known, "{name}: {value} is on no list");
    }
}

async fn an_attackers_headers_go_nowhere() {
    let pair = shared::open().await;
    let user = shared::user("attacker");
    let route = pair.upstream.route(Script::chat("hi", 3));
    let names = [
        "X-Forwarded-User",
        "X-Forwarded-For",
        "X-Forwarded-Host",
        "X-Forwarded-Proto",
        "Forwarded",
        "X-Real-IP",
        "True-Client-IP",
        "Cookie",
        "Origin",
        "Referer",
        "X-OpenClaw-Session-Key",
        "X-OpenClaw-Agent-Id",
        "X-OpenClaw-Model",
        "X-OpenClaw-Scopes",
        "X-Codex-Token",
        "X-Goog-Api-Key",
        "Proxy-Authorization",
        "CF-Access-Client-Id",
        "CF-Access-Client-Secret",
        "CF-Connecting-IP",
        "X-HTTP-Method-Override",
        "X-Original-URL",
        "X-Rewrite-URL",
        "X-Request-ID",
        "Via",
        "Range",
        "If-None-Match",
        "Cache-Control",
        "X-Openai-Evil",
        "Sec-Fetch-Site",
        "Priority",
    ];
    let target = route.path("/v1/models");
    let mut headers = vec![("Authorization", "Bearer sk-caller"), ("X-User-ID", user.as_str())];
    headers.extend(names.iter().map(|name| (*name, "evil-value")));
    let passed = raw::send(pair.gateway.address(), &raw::head("GET", &target, &headers)).await;
    assert_eq!(passed.status, 200, "{}", passed.text());
    let seen = route.only();
    let evil: Vec<_> = seen.headers.iter().filter(|(_, value)| value.contains("evil")).collect();
    assert!(evil.is_empty(), "{evil:?}");
    assert_eq!(seen.header("x-forwarded-user"), Some(user));
}

async fn the_request_id_is_the_gateways_own() {
    let pair = shared::open().await;
    let user = shared::user("request-id");
    let headers = [("content-type", "application/json"), ("x-request-id", "req_upstream")];
    let route = pair.upstream.route(Script::answer(200, &headers, "{}"));
    let mut ids = Vec::new();
    for _ in 0..3 {
        let request = pair.gateway.get(&user, &route.path("/v1/models"));
        let passed = answer(request.header("x-request-id", "chosen-by-the-client")).await;
        assert_eq!(passed.header("x-upstream-request-id"), "req_upstream");
        ids.push(passed.request_id().to_owned());
    }
    let seen: Vec<_> =
        route.seen().iter().map(|seen| seen.header("x-request-id").unwrap()).collect();
    assert_eq!(ids, seen, "one id for the client, the upstream and the log");
    ids.dedup();
    assert!(ids.len() == 3 && ids.iter().all(|id| id.len() >= 16), "{ids:?}");
}

async fn only_listed_response_headers_come_back() {
    let pair = shared::open().await;
    let headers = [
        ("content-type", "application/json; charset=utf-8"),
        ("content-disposition", "attachment; filename=a.json"),
        ("cache-control", "no-cache"),
        ("openai-processing-ms", "12"),
        ("openai-version", "2020-10-01"),
        ("retry-after", "7"),
        ("retry-after-ms", "6500"),
        ("x-should-retry", "false"),
        ("x-ratelimit-limit-requests", "9000"),
        ("x-ratelimit-remaining-tokens", "1"),
        ("set-cookie", "session=evil"),
        ("set-cookie", "second=evil"),
        ("server", "evil"),
        ("location", "/evil"),
        ("access-control-allow-origin", "*"),
        ("strict-transport-security", "max-age=1"),
        ("x-powered-by", "evil"),
        ("content-security-policy", "default-src *"),
        ("x-forwarded-user", "evil"),
        ("ratelimit", "evil"),
        ("alt-svc", "evil"),
        ("link", "<evil>"),
        ("refresh", "0; url=evil"),
    ];
    let route = pair.upstream.route(Script::answer(200, &headers, "{}"));
    let user = shared::user("response-headers");
    let passed = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
    passed.is(200);
    for (name, value) in &headers[..8] {
        assert_eq!(passed.header(name), *value, "{name}");
    }
    assert_eq!(passed.header("x-upstream-ratelimit-limit-requests"), "9000");
    assert_eq!(passed.header("x-upstream-ratelimit-remaining-tokens"), "1");
    assert_eq!(passed.number("x-ratelimit-limit-requests"), 50, "the gateway's own");
    assert_eq!(passed.header("x-content-type-options"), "nosniff");
    assert_eq!(passed.header("content-security-policy"), "sandbox");
    for (name, value) in &passed.headers {
        let value = value.to_str().unwrap();
        assert!(!value.contains("evil") && value != "*", "{name}: {value}");
    }
    for name in ["set-cookie", "location", "strict-transport-security"] {
        assert!(!passed.headers.contains_key(name), "{name}");
    }
}

async fn statuses_come_as_they_are() {
    let pair = shared::open().await;
    let user = shared::user("statuses");
    for status in [201, 202, 400, 401, 402, 403, 404, 409, 418, 422, 429, 451, 500, 502, 503, 529] {
        // What says that it is an error is none of the upstream's successes.
        let member = if status < 300 { "data" } else { "error" };
        let body = format!(r#"{{"{member}":{{"message":"as it is","code":"c{status}"}}}}"#);
        let headers = [("content-type", "application/json")];
        let route = pair.upstream.route(Script::answer(status, &headers, &body));
        let passed = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
        passed.is(status);
        assert_eq!(passed.text(), body);
        let row = pair.gateway.ledger().row(passed.request_id()).await;
        assert_eq!((row.status, row.count), (i64::from(status), 1));
    }
}

async fn a_redirect_is_not_followed() {
    let pair = shared::open().await;
    let user = shared::user("redirect");
    let elsewhere = pair.upstream.route(Script::chat("evil", 3));
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}{}", pair.upstream.url(), elsewhere.path("/v1/models"));
        let headers = [("location", location.as_str())];
        let route = pair.upstream.route(Script::answer(status, &headers, ""));
        let refused = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
        refused.refuses(502, "upstream_redirect");
        let row = pair.gateway.ledger().row(refused.request_id()).await;
        assert_eq!((row.status, row.error_code.as_deref()), (502, Some("upstream_redirect")));
    }
    assert!(elsewhere.seen().is_empty());
}
