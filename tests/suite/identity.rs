//! Who is calling, and how that is proven.

use gateway_tests::gateway::Key;
use gateway_tests::script::chat_request;
use gateway_tests::{Options, Script};
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::Pair;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_user_is_named_by_path_header_or_key,
        names_that_disagree_are_a_conflict,
        upper_case_is_folded,
        an_invalid_user_id_is_refused,
        who_names_nobody_is_anonymous,
        an_empty_header_names_nobody,
        nobody_is_anonymous_where_that_is_off,
        without_a_gateway_key_nothing_goes,
        a_gateway_key_is_taken_from_both_headers,
        a_gateway_key_never_goes_upstream,
        a_wrong_key_is_refused_even_where_none_is_needed,
        a_wrong_key_costs_its_user_nothing,
        anothers_key_is_a_conflict_or_wrong,
        a_callers_own_credential_goes_upstream_as_it_came,
        without_a_credential_of_the_callers_nothing_goes_upstream,
        projects_and_conversations_are_short_plain_names,
    ]
}

fn models(pair: &Pair) -> RequestBuilder {
    pair.gateway.request(Method::GET, "/v1/models").bearer_auth("sk-caller")
}

/// Sends `request` to `path` of the open gateway and says whom the upstream saw.
async fn whom(
    pair: &Pair,
    path: &str,
    request: impl FnOnce(RequestBuilder) -> RequestBuilder,
) -> String {
    let route = pair.upstream.route(Script::chat("hi", 3));
    let plain = pair.gateway.request(Method::GET, &route.path(path)).bearer_auth("sk-caller");
    answer(request(plain)).await.is(200);
    route.only().header("x-forwarded-user").unwrap()
}

async fn a_user_is_named_by_path_header_or_key() {
    let pair = shared::open().await;
    let (path, header, keyed) = (shared::user("path"), shared::user("header"), shared::user("key"));
    let key = pair.gateway.mint_key(&keyed).await.key;
    assert_eq!(whom(pair, &format!("/u/{path}/v1/models"), |request| request).await, path);
    assert_eq!(
        whom(pair, "/v1/models", |request| request.header("x-user-id", &header)).await,
        header
    );
    assert_eq!(
        whom(pair, "/v1/models", |request| request.header("x-gateway-key", &key)).await,
        keyed
    );
    // All three at once agree.
    let all =
        |request: RequestBuilder| request.header("x-gateway-key", &key).header("x-user-id", &keyed);
    assert_eq!(whom(pair, &format!("/u/{keyed}/v1/models"), all).await, keyed);
}

async fn names_that_disagree_are_a_conflict() {
    let pair = shared::open().await;
    let (ada, bob) = (shared::user("ada"), shared::user("bob"));
    let key = pair.gateway.mint_key(&ada).await.key;
    let path = format!("/u/{bob}/v1/models");
    let get = |path: &str| pair.gateway.request(Method::GET, path);
    for request in [
        get(&path).header("x-user-id", &ada).bearer_auth("sk-caller"),
        get(&path).header("x-gateway-key", &key).bearer_auth("sk-caller"),
        get(&path).bearer_auth(&key),
        get("/v1/models").header("x-user-id", &bob).header("x-gateway-key", &key),
        get("/v1/models").header("x-user-id", &bob).bearer_auth(&key),
    ] {
        answer(request).await.refuses(400, "user_id_conflict");
    }
}

async fn upper_case_is_folded() {
    let pair = shared::open().await;
    let user = shared::user("folded");
    let upper = user.to_uppercase();
    let path = format!("/u/{upper}/v1/models");
    let seen = whom(pair, &path, |request| request.header("x-user-id", &user)).await;
    assert_eq!(seen, user);
}

async fn an_invalid_user_id_is_refused() {
    let pair = shared::open().await;
    let long = "a".repeat(65);
    for name in ["a b", "-a", "_a", ".a", "a/b", "a@example.com", "a%20b", "a,b", long.as_str()] {
        let refused = answer(models(pair).header("x-user-id", name)).await;
        refused.refuses(400, "invalid_user_id");
    }
    let longest = format!("{}{}", shared::user("long-"), "z".repeat(64));
    answer(models(pair).header("x-user-id", &longest[..64])).await.is(200);
}

async fn who_names_nobody_is_anonymous() {
    let pair = shared::open().await;
    assert_eq!(whom(pair, "/v1/models", |request| request).await, "anonymous");
}

async fn an_empty_header_names_nobody() {
    let pair = shared::open().await;
    let user = shared::user("empty");
    let path = format!("/u/{user}/v1/models");
    let seen = whom(pair, &path, |request| request.header("x-user-id", "")).await;
    assert_eq!(seen, user);
}

async fn nobody_is_anonymous_where_that_is_off() {
    let options = Options::new().var("USER_BINDING", "open").var("ALLOW_ANONYMOUS", "false");
    let pair = shared::pair(options).await;
    answer(models(&pair)).await.refuses(403, "anonymous_disabled");
    answer(models(&pair).header("x-user-id", "anonymous")).await.refuses(403, "anonymous_disabled");
    answer(models(&pair).header("x-user-id", "somebody")).await.is(200);
    assert_eq!(pair.upstream.unscripted().len(), 1);
}

async fn without_a_gateway_key_nothing_goes() {
    let pair = shared::keyed().await;
    let user = shared::user("keyless");
    pair.gateway.mint_key(&user).await;
    let refused = answer(models(pair).header("x-user-id", &user)).await;
    refused.is(401);
    refused.refuses(401, "missing_key");
    let unknown = answer(models(pair).header("x-user-id", "nobody-has-this-name")).await;
    unknown.refuses(401, "missing_key");
}

async fn a_gateway_key_is_taken_from_both_headers() {
    let pair = shared::keyed().await;
    let user = shared::user("both");
    let Key { key, key_id, label, created_at } = pair.gateway.mint_key(&user).await;
    let secret = key.strip_prefix(&format!("ogk_{user}_")).unwrap();
    assert!(secret.len() == 43 && secret.chars().all(|c| c.is_ascii_alphanumeric()), "{secret}");
    assert!(!key_id.is_empty() && !secret.contains(&key_id));
    assert_eq!(label.as_deref(), Some("test"));
    assert!(created_at.ends_with('Z') && created_at.contains('T'), "{created_at}");
    answer(models(pair).header("x-gateway-key", &key)).await.is(200);
    // In Authorization it leaves no room for a credential of the caller's own.
    let alone = pair.gateway.request(Method::GET, "/v1/models").bearer_auth(&key);
    answer(alone).await.refuses(401, "missing_key");
    // A second key stands beside the first.
    let second = pair.gateway.mint_key(&user).await;
    assert_ne!(second.key, key);
    for key in [key, second.key] {
        answer(models(pair).header("x-gateway-key", &key)).await.is(200);
    }
}

async fn a_gateway_key_never_goes_upstream() {
    let pair = shared::keyed().await;
    let key = pair.gateway.mint_key(&shared::user("secret")).await.key;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let request = pair.gateway.request(Method::POST, &route.chat()).bearer_auth("sk-caller");
    answer(request.header("x-gateway-key", &key).json(&chat_request("hi", false))).await.is(200);
    let seen = route.only();
    let everything = format!("{seen:?}");
    assert!(!everything.contains(&key), "{everything}");
    assert_eq!(seen.header("authorization").as_deref(), Some("Bearer sk-caller"));
    assert_eq!(seen.header("x-gateway-key"), None);
}

async fn a_wrong_key_is_refused_even_where_none_is_needed() {
    let pair = shared::open().await;
    let user = shared::user("wrong");
    let key = pair.gateway.mint_key(&user).await.key;
    let other_secret = pair.gateway.mint_key(&shared::user("other")).await.key;
    let other_secret = other_secret.rsplit('_').next().unwrap();
    let mut altered = key.clone();
    let last = altered.pop().unwrap();
    altered.push(if last == 'x' { 'y' } else { 'x' });
    for wrong in [
        altered,
        format!("ogk_{user}_{other_secret}"),
        format!("ogk_{user}_"),
        format!("ogk_{user}_{}", "0".repeat(43)),
        format!("ogk_{user}_short"),
        format!("{key}x"),
        "ogk_".to_owned(),
        "ogk_x".to_owned(),
    ] {
        answer(models(pair).header("x-gateway-key", &wrong)).await.refuses(401, "invalid_key");
        let bearer = pair.gateway.request(Method::GET, "/v1/models").bearer_auth(&wrong);
        // Besides, a key there leaves no room for a credential of the caller's own.
        answer(bearer).await.refuses(401, "invalid_key");
    }
    // What isn't one of ours in the header that is only for ours.
    answer(models(pair).header("x-gateway-key", "sk-other")).await.refuses(401, "invalid_key");
}

async fn a_wrong_key_costs_its_user_nothing() {
    let pair = shared::open().await;
    let user = shared::user("framed");
    let key = pair.gateway.mint_key(&user).await.key;
    let wrong = format!("ogk_{user}_{}", "A".repeat(43));
    for _ in 0..20 {
        answer(models(pair).header("x-gateway-key", &wrong)).await.refuses(401, "invalid_key");
    }
    let own = answer(models(pair).header("x-gateway-key", &key)).await;
    assert_eq!(own.number("x-ratelimit-remaining-requests"), 49);
}

async fn anothers_key_is_a_conflict_or_wrong() {
    let pair = shared::keyed().await;
    let (ada, bob) = (shared::user("ada"), shared::user("bob"));
    let key = pair.gateway.mint_key(&ada).await.key;
    pair.gateway.mint_key(&bob).await;
    let as_bob = models(pair).header("x-user-id", &bob).header("x-gateway-key", &key);
    answer(as_bob).await.refuses(400, "user_id_conflict");
    let renamed = key.replace(&ada, &bob);
    answer(models(pair).header("x-gateway-key", &renamed)).await.refuses(401, "invalid_key");
}

async fn a_callers_own_credential_goes_upstream_as_it_came() {
    let pair = shared::open().await;
    for credential in
        ["Bearer sk-proj_A-b.c~/+=", "bearer sk-lower", "Basic dXNlcjpwYXNz", "sk-bare"]
    {
        let route = pair.upstream.route(Script::chat("hi", 3));
        let request = pair.gateway.request(Method::GET, &route.path("/v1/models"));
        let request = request.header("x-user-id", shared::user("own"));
        answer(request.header("authorization", credential)).await.is(200);
        assert_eq!(route.only().header("authorization").as_deref(), Some(credential));
    }
}

async fn without_a_credential_of_the_callers_nothing_goes_upstream() {
    let pair = shared::open().await;
    let route = pair.upstream.route(Script::chat("hi", 3));
    let request = || pair.gateway.request(Method::GET, &route.path("/v1/models"));
    answer(request().header("x-user-id", shared::user("poor"))).await.refuses(401, "missing_key");
    answer(request().header("authorization", "")).await.refuses(401, "missing_key");
    assert!(route.seen().is_empty());
}

async fn projects_and_conversations_are_short_plain_names() {
    let pair = shared::open().await;
    let user = shared::user("project");
    let long = "p".repeat(65);
    for name in ["a b", "a/b", "p\u{e9}", long.as_str()] {
        let request = models(pair).header("x-user-id", &user).header("x-project-id", name);
        answer(request).await.refuses(400, "invalid_project_id");
        let request = models(pair).header("x-user-id", &user).header("x-conversation-id", name);
        answer(request).await.refuses(400, "invalid_conversation_id");
    }
    let route = pair.upstream.route(Script::chat("hi", 3));
    let request = pair.gateway.post(&user, &route.chat(), &json!({ "model": "m" }));
    let request = request.header("x-project-id", "Web_shop.2-B").header("x-conversation-id", "c1");
    let passed = answer(request).await;
    passed.is(200);
    assert_eq!(route.only().header("x-project-id"), None);
    assert_eq!(route.only().header("x-conversation-id"), None);
    let row = pair.gateway.ledger().row(passed.request_id()).await;
    assert_eq!(row.project, "Web_shop.2-B");
    let plain = answer(pair.gateway.get(&user, "/v1/models")).await;
    assert_eq!(pair.gateway.ledger().row(plain.request_id()).await.project, "default");
}
