//! The official SDKs as real clients: tests/clients has a script for each.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use gateway_tests::script::chat_chunk;
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, node_tool, workspace};
use tokio::process::Command;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        the_node_sdk_does_all_it_can,
        the_python_sdk_does_all_it_can,
        the_node_sdk_waits_a_429_out_by_itself,
        the_python_sdk_waits_a_429_out_by_itself,
    ]
}

#[derive(Clone, Copy)]
enum Sdk {
    Node,
    Python,
}

impl Sdk {
    fn program(self) -> PathBuf {
        match self {
            Self::Node => node_tool("node"),
            Self::Python => workspace().join("target/python/bin/python"),
        }
    }

    fn script(self, name: &str) -> PathBuf {
        let ending = match self {
            Self::Node => "mjs",
            Self::Python => "py",
        };
        workspace().join(format!("tests/clients/{name}.{ending}"))
    }

    /// Runs a script to its end; what it printed.
    async fn run(self, name: &str, variables: &[(&str, &str)]) -> String {
        let child = Command::new(self.program())
            .arg(self.script(name))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let patience = Duration::from_secs(150);
        let output = tokio::time::timeout(patience, child).await.expect("an end").unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}:\n{text}\n{errors}");
        text
    }
}

/// Runs a script of Node's to its end; what it printed.
pub async fn node(name: &str, variables: &[(&str, &str)]) -> String {
    Sdk::Node.run(name, variables).await
}

/// Runs a script of Python's to its end; what it printed.
pub async fn python(name: &str, variables: &[(&str, &str)]) -> String {
    Sdk::Python.run(name, variables).await
}

async fn the_node_sdk_does_all_it_can() {
    everything(Sdk::Node).await;
}

async fn the_python_sdk_does_all_it_can() {
    everything(Sdk::Python).await;
}

/// Against the echo model that `serve` brings, with a gateway key as trainees have it.
async fn everything(sdk: Sdk) {
    let gateway = Gateway::start(Options::new()).await;
    let (key, spent) = (gateway.mint_key("ada").await.key, gateway.mint_key("spent").await.key);
    let scripted = shared::open().await;
    for _ in 0..50 {
        let request = gateway.get("spent", "/v1/models").header("x-gateway-key", &spent);
        answer(request).await.is(200);
    }
    let broken = Script::new().event_stream().event(&chat_chunk("Hel"));
    let broken = scripted.upstream.route(broken.wait(Duration::from_millis(200)).reset());
    let text = sdk
        .run(
            "everything",
            &[
                ("GATEWAY_URL", &gateway.url("")),
                ("GATEWAY_KEY", &key),
                ("SPENT_KEY", &spent),
                ("SCRIPTED_URL", &scripted.gateway.url("")),
                ("SCRIPTED_USER", &shared::user("sdk")),
                ("BROKEN_SCRIPT", &number_of(&broken)),
            ],
        )
        .await;
    for step in [
        "models",
        "chat",
        "stream",
        "parallel streams",
        "responses",
        "responses stream",
        "embeddings",
        "user in the base URL",
        "typed errors",
        "request id",
        "broken stream",
    ] {
        assert!(text.lines().any(|line| line == format!("ok {step}")), "no {step} in:\n{text}");
    }
    let rows = gateway.ledger().rows("ada");
    assert!(!rows.is_empty(), "the SDK's requests are in D1");
}

fn number_of(route: &Route) -> String {
    let path = route.path("/");
    path.split_once('=').expect("a query member").1.to_owned()
}

async fn the_node_sdk_waits_a_429_out_by_itself() {
    waits(Sdk::Node).await;
}

async fn the_python_sdk_waits_a_429_out_by_itself() {
    waits(Sdk::Python).await;
}

async fn waits(sdk: Sdk) {
    let options = Options::new().var("USER_BINDING", "open").var("REQUESTS_PER_MINUTE", "2");
    let pair = shared::pair(options).await;
    let route = pair.upstream.route(Script::chat("at last", 3));
    let variables = [
        ("GATEWAY_URL", &*pair.gateway.url("")),
        ("GATEWAY_USER", "patient"),
        ("SCRIPT", &*number_of(&route)),
    ];
    let text = sdk.run("waits", &variables).await;
    assert!(text.contains("ok waited"), "{text}");
    let seen = route.seen();
    assert_eq!(seen.len(), 3, "two at once, and the third when there was a place");
    let retries = seen[2].header("x-stainless-retry-count");
    assert_eq!(retries.as_deref(), Some("1"), "the first wait was the right one");
    let rows = pair.gateway.ledger().settled("patient", 4).await;
    assert_eq!(rows.iter().filter(|row| row.status == 429).count(), 1);
}
