//! docs/operator-api.yaml says what the operator's API is: every route is in it, and schemathesis finds
//! no answer that isn't.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use gateway_tests::script::chat_request;
use gateway_tests::{Options, workspace};
use reqwest::Method;
use serde_json::json;
use tokio::process::Command;

use crate::answer::answer;
use crate::matrix::routes;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        every_route_of_the_operators_is_described,
        the_description_is_served_as_it_is,
    ];
    tests.extend(tests![Patient: no_answer_is_a_server_error_or_undescribed]);
    tests
}

fn description() -> String {
    std::fs::read_to_string(workspace().join("docs/operator-api.yaml")).unwrap()
}

async fn every_route_of_the_operators_is_described() {
    let (mut described, mut path) = (BTreeSet::new(), String::new());
    for line in description().lines().filter_map(|line| line.strip_suffix(':')) {
        match line.strip_prefix("  ") {
            Some(name) if name.starts_with('/') => name.clone_into(&mut path),
            Some(method) if ["  get", "  post", "  put", "  delete"].contains(&method) => {
                described.insert(format!("{} {path}", method.trim().to_uppercase()));
            }
            _ => {}
        }
    }
    let is_api = |path: &str| {
        let below = path.strip_prefix("/operator").unwrap_or_default();
        below.starts_with("/api/") || ["/session", "/openapi.yaml", "/metrics"].contains(&below)
    };
    let mut routed = BTreeSet::new();
    for route in routes().iter().filter(|route| is_api(&route.pattern)) {
        let path =
            route.pattern.replace(":user_id", "{user_id}").replace("keys/:id", "keys/{key_id}");
        let path = path.replace("projects/:id", "projects/{project}");
        let path = path.replace("kits/:id", "kits/{token}");
        for method in route.methods.iter().filter(|method| *method != "HEAD") {
            routed.insert(format!("{method} {path}"));
        }
    }
    assert!(routed.len() > 20, "{routed:?}");
    assert_eq!(described, routed);
}

async fn the_description_is_served_as_it_is() {
    let gateway = &shared::open().await.gateway;
    let served = answer(gateway.operator(Method::GET, "/operator/openapi.yaml")).await;
    served.is(200);
    assert_eq!((served.header("content-type"), served.text()), ("application/yaml", description()));
}

/// What schemathesis makes up, asked of a gateway that has people and rows.
async fn no_answer_is_a_server_error_or_undescribed() {
    let options = Options::new().var("USER_BINDING", "open").var("UNPROVEN_PER_MINUTE", "100000");
    let pair = shared::pair(options).await;
    let gateway = &pair.gateway;
    for user in ["ada", "bob"] {
        answer(gateway.post(user, "/v1/chat/completions", &chat_request("hi", false)))
            .await
            .is(200);
        gateway.mint_key(user).await;
    }
    let block = gateway.operator(Method::POST, "/operator/api/users/bob/block");
    answer(block.json(&json!({ "reason": "a leaked key" }))).await.is(204);
    gateway.ledger().settled("", 2).await;
    let note = "insert into notes (customer_id, kind, subject, user_id, text, created_at)
        values ('cus_1', 'refund', 'ch_1', 'ada', 'A refund.', '2026-11-21 06:23:36.000')";
    gateway.ledger().by_hand().execute(note, []).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let child = Command::new(workspace().join("target/python/bin/schemathesis"))
        .arg("--config-file")
        .arg(workspace().join("tests/clients/schemathesis.toml"))
        .arg("run")
        .arg(workspace().join("docs/operator-api.yaml"))
        .args(["--url", &gateway.url(""), "--no-color", "--seed", "1", "--max-examples", "20"])
        .args(["--header", &format!("Authorization: Bearer {}", gateway.operator_token())])
        // Who may call is another test's; here wrong credentials meet the limit of guesses.
        .args(["--exclude-checks", "ignored_auth", "--continue-on-failure"])
        .current_dir(folder.path())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_mins(5), child).await.expect("an end").unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let tested =
        regex::Regex::new(r"Tested: ([0-9]+)").unwrap().captures(&text).expect("a summary");
    assert!(tested[1].parse::<u32>().unwrap() > 20, "{text}");
}
