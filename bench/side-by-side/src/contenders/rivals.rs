//! Other gateways, as their own documentation says to run them, with nothing switched on that the load
//! doesn't need, and in one process each, as a Worker's isolate is one.

use std::process::Command;

use anyhow::Result;
use serde_json::json;
use tokio::net::TcpStream;

use super::{Running, START, Site, free_port, target};
use crate::options::Contender;
use crate::process::Process;

/// What everybody shows to `LiteLLM`.
const MASTER_KEY: &str = "sk-of-everybody-in-the-bench";

/// Portkey's gateway: told by headers whom to ask, it keeps no state at all.
///
/// `bench/package.json` holds its HTTP server back to the last one with which it streams:
/// <https://github.com/Portkey-AI/gateway/issues/1389>.
pub(super) async fn portkey(site: &Site) -> Result<Running> {
    let address = free_port()?;
    let log = site.log(Contender::Portkey);
    let mut command = site.node();
    command.arg("bench/node_modules/@portkey-ai/gateway/build/start-server.js");
    command.arg(format!("--port={}", address.port())).arg("--headless");
    command.env("NODE_ENV", "production");
    let mut process = Process::start_silent(command, &log)?;
    process.until(START, async || TcpStream::connect(address).await.ok()).await?;
    let upstream = format!("http://{}/v1", site.upstream.address);
    let headers = [("x-portkey-provider", "openai"), ("x-portkey-custom-host", &*upstream)];
    Ok(Running { target: target(address, &headers)?, process: Some(process), log, _state: None })
}

/// `LiteLLM`'s proxy, without a database: it keeps no state either.
pub(super) async fn litellm(site: &Site) -> Result<Running> {
    let address = free_port()?;
    let log = site.log(Contender::Litellm);
    let state = site.fresh_state(Contender::Litellm)?;
    let config = state.path().join("config.yaml");
    let upstream = format!("http://{}/v1", site.upstream.address);
    let model = json!({
        "model_name": "gpt-4o-mini",
        "litellm_params": {
            "model": "openai/gpt-4o-mini", "api_base": upstream, "api_key": "sk-upstream",
        },
    });
    // JSON is YAML too.
    let settings = json!({
        "model_list": [model],
        "litellm_settings": { "set_verbose": false, "json_logs": true, "request_timeout": 600 },
    });
    std::fs::write(&config, settings.to_string())?;
    let mut command = Command::new(site.root.join("target/litellm/bin/litellm"));
    command.arg("--config").arg(&config).args(["--host", "127.0.0.1", "--num_workers", "1"]);
    command.args(["--port", &address.port().to_string(), "--telemetry", "False"]);
    command.current_dir(state.path());
    // What its documentation says for production; and no download of prices at the start.
    command.env("LITELLM_LOG", "ERROR").env("LITELLM_MODE", "PRODUCTION");
    command.env("LITELLM_LOCAL_MODEL_COST_MAP", "True");
    // It won't start without one, and without a database it takes no other.
    command.env("LITELLM_MASTER_KEY", MASTER_KEY);
    let mut process = Process::start_silent(command, &log)?;
    process.until(START, async || TcpStream::connect(address).await.ok()).await?;
    Ok(Running {
        target: target(address, &[("authorization", &format!("Bearer {MASTER_KEY}"))])?,
        process: Some(process),
        log,
        _state: Some(state),
    })
}
