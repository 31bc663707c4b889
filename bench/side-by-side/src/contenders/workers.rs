//! The Workers of `bench/workers`, in the same runtime as the gateway and by the same way to it.

use std::collections::BTreeMap;

use anyhow::Result;
use serde_json::json;

use super::{Purpose, Running, START, Site, address_of, target};
use crate::options::Contender;
use crate::process::Process;

pub(super) async fn pass_through(site: &Site) -> Result<Running> {
    start(site, Contender::PassThrough, Vec::new()).await
}

pub(super) async fn original(site: &Site, purpose: Purpose) -> Result<Running> {
    let variables = vec![
        ("LIMIT", purpose.requests_a_minute().to_string()),
        ("SHOW_COSTS", (purpose == Purpose::Counting).to_string()),
    ];
    start(site, Contender::Original, variables).await
}

type Variables = Vec<(&'static str, String)>;

async fn start(site: &Site, contender: Contender, mut variables: Variables) -> Result<Running> {
    let state = site.fresh_state(contender)?;
    let log = site.log(contender);
    variables.push(("UPSTREAM", format!("http://{}", site.upstream.address)));
    let variables: BTreeMap<_, _> = variables.into_iter().collect();
    let plan = json!({
        "worker": contender.name(), "state": state.path(), "variables": variables,
    });
    let mut command = site.node();
    command.arg("bench/workers/run.mjs").arg(plan.to_string());
    let mut process = Process::start(command, &log)?;
    let url = process.said("ready ", START).await?;
    let target = target(address_of(&url)?, &[])?;
    Ok(Running { target, process: Some(process), log, _state: Some(state) })
}
