//! Upstreams that fail before they answer.

use std::time::{Duration, Instant};

use gateway_tests::ports::{free_address, free_port};
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script, Upstream, node_tool, workspace};
use reqwest::Method;
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        an_upstream_that_is_not_there_is_unreachable_until_it_is_back,
        an_upstream_that_hangs_up_is_unreachable,
        an_upstream_that_says_nothing_times_out,
        a_tunnels_524_is_a_timeout,
        a_request_that_did_not_get_through_is_tried_once_more,
        a_setting_that_is_wrong_is_named_at_the_start,
        who_is_stopped_can_be_started_again_at_once,
        a_migration_outlives_the_garbage_of_its_statements,
    ]
}

async fn an_upstream_that_is_not_there_is_unreachable_until_it_is_back() {
    let address = free_address();
    let options = Options::new().var("USER_BINDING", "open").upstream(format!("http://{address}"));
    let gateway = Gateway::start(options).await;
    let began = Instant::now();
    let body = chat_request("hi", false);
    let refused = answer(gateway.post("ada", "/v1/chat/completions", &body)).await;
    refused.refuses(502, "upstream_unreachable");
    assert!(began.elapsed() < Duration::from_secs(15), "without waiting for a time limit");
    let row = gateway.ledger().row(refused.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (502, Some("upstream_unreachable")));
    assert_eq!((row.tokens_est, row.tokens_source.as_str()), (0, "none"));

    let ready = answer(gateway.request(Method::GET, "/ready")).await;
    ready.is(503);
    let ready = ready.json();
    assert_eq!((&ready["status"], &ready["checks"]["d1"]), (&"degraded".into(), &"ok".into()));
    let wrong = ready["checks"]["upstream"].as_str().unwrap();
    assert!(wrong != "ok" && wrong.len() > 10, "what is wrong: {wrong}");
    assert!(!wrong.contains(&address.to_string()), "the upstream's address is nobody's business");

    let _upstream = Upstream::on(TcpListener::bind(address).await.unwrap());
    answer(gateway.post("ada", "/v1/chat/completions", &body)).await.is(200);
    let back = async || answer(gateway.request(Method::GET, "/ready")).await.status == 200;
    let began = Instant::now();
    while !back().await {
        assert!(began.elapsed() < Duration::from_secs(30), "still degraded");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

async fn an_upstream_that_hangs_up_is_unreachable() {
    let pair = shared::open().await;
    let user = shared::user("hangs-up");
    for script in [Script::new().reset(), Script::new().close()] {
        let route = pair.upstream.route(script);
        let request = pair.gateway.post(&user, &route.chat(), &chat_request("hi", false));
        let refused = answer(request).await;
        refused.refuses(502, "upstream_unreachable");
        assert!(route.seen().len() <= 2, "at most one retry");
        let row = pair.gateway.ledger().row(refused.request_id()).await;
        assert_eq!(row.status, 502);
    }
}

async fn an_upstream_that_says_nothing_times_out() {
    let options = Options::new().var("USER_BINDING", "open").var("UPSTREAM_FIRST_BYTE_MS", "3000");
    let pair = shared::pair(options).await;
    let route = pair.upstream.route(Script::new().hang());
    let began = Instant::now();
    let request = pair.gateway.post("ada", &route.chat(), &chat_request("hi", true));
    let refused = answer(request).await;
    refused.refuses(504, "upstream_timeout");
    let waited = began.elapsed().as_secs_f64();
    assert!((2.8..12.0).contains(&waited), "UPSTREAM_FIRST_BYTE_MS is 3000: {waited}");
    let seen = route.when_left().await;
    assert!(seen.left_at.unwrap() - seen.at < Duration::from_secs(12), "it was let go");
    let row = pair.gateway.ledger().row(refused.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (504, Some("upstream_timeout")));
    assert!((2800..12000).contains(&row.latency_ms), "{row:?}");
}

async fn a_tunnels_524_is_a_timeout() {
    let pair = shared::open().await;
    let page = Script::answer(524, &[("content-type", "text/html")], "<h1>A timeout occurred</h1>");
    let route = pair.upstream.route(page);
    let user = shared::user("tunnel");
    let refused = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
    refused.refuses(504, "upstream_timeout");
    let row = pair.gateway.ledger().row(refused.request_id()).await;
    assert_eq!((row.status, row.error_code.as_deref()), (504, Some("upstream_timeout")));
}

async fn a_request_that_did_not_get_through_is_tried_once_more() {
    let pair = shared::open().await;
    let user = shared::user("retry");
    let route = pair.upstream.route_each(vec![Script::new().reset(), Script::chat("second", 4)]);
    let passed = answer(pair.gateway.get(&user, &route.path("/v1/models"))).await;
    passed.is(200);
    assert_eq!(route.seen().len(), 2);
    assert_eq!(passed.number("x-ratelimit-remaining-requests"), 49, "one request to the user");
    let rows = pair.gateway.ledger().settled(&user, 1).await;
    assert_eq!((rows.len(), rows[0].status), (1, 200));
    // What was answered is never asked twice.
    let route = pair.upstream.route(Script::answer(503, &[], "busy"));
    answer(pair.gateway.get(&user, &route.path("/v1/models"))).await.is(503);
    assert_eq!(route.seen().len(), 1);
}

async fn a_setting_that_is_wrong_is_named_at_the_start() {
    for (name, value) in [
        ("REQUESTS_PER_MINUTE", "many"),
        ("MAX_BODY_BYTES", "-1"),
        ("USER_BINDING", "sometimes"),
        ("ALLOW_ANONYMOUS", "maybe"),
    ] {
        let started = Gateway::try_start(Options::new().var(name, value)).await;
        let said = started.err().unwrap_or_else(|| panic!("{name}={value} was accepted"));
        assert!(said.starts_with("serve ended by itself"), "{said}");
        assert!(said.contains(name), "{name} isn't named: {said}");
    }
}

async fn who_is_stopped_can_be_started_again_at_once() {
    let gateway = Gateway::start(Options::new().port(free_port())).await;
    for _ in 0..5 {
        gateway.restart().await;
        answer(gateway.request(Method::GET, "/health")).await.is(200);
    }
}

async fn a_migration_outlives_the_garbage_of_its_statements() {
    let state = tempfile::tempdir().unwrap();
    let mut node = Command::new(node_tool("node"));
    node.args(["--expose-gc", "tests/clients/migrations.mjs"]).current_dir(workspace());
    node.arg(state.path()).arg(free_port().to_string()).kill_on_drop(true);
    let ended = tokio::time::timeout(Duration::from_mins(2), node.output()).await.unwrap().unwrap();
    let files = std::fs::read_dir(workspace().join("migrations")).unwrap();
    let (told, failed) = (String::from_utf8(ended.stdout), String::from_utf8(ended.stderr));
    assert_eq!(told.unwrap().lines().count(), files.count(), "{}", failed.unwrap());
}
