//! organized-gateway, through `cargo xtask serve` as a person would run it.

use std::process::Command;

use anyhow::Result;

use super::{Purpose, Running, START, Site, address_of, target};
use crate::options::Contender;
use crate::process::Process;

/// Its settings are the defaults but for the limits, which no load may meet unless it is about them.
pub(super) async fn start(site: &Site, purpose: Purpose) -> Result<Running> {
    let state = site.fresh_state(Contender::Gateway)?;
    let log = site.log(Contender::Gateway);
    let mut command = Command::new(&site.xtask);
    command.args(["serve", "--no-build", "--port", "0", "--state"]).arg(state.path());
    command.args(["--upstream", &format!("http://{}", site.upstream.address)]);
    if purpose == Purpose::Counting {
        // The build for tests writes a line for each message to an object.
        command.arg("--fault-injection");
    }
    for (name, value) in [
        ("REQUESTS_PER_MINUTE", purpose.requests_a_minute()),
        ("MAX_IN_FLIGHT", super::NO_LIMIT),
        ("UNPROVEN_PER_MINUTE", super::NO_LIMIT),
    ] {
        command.args(["--var", &format!("{name}={value}")]);
    }
    let mut process = Process::start(command, &log)?;
    let url = process.said("ready ", START).await?;
    let target = target(address_of(&url)?, &[])?;
    Ok(Running { target, process: Some(process), log, _state: Some(state) })
}
