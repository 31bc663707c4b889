//! Who is measured, and how each of them is started: on loopback, in front of the same upstream.

mod gateway;
mod rivals;
mod workers;

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use crate::client::Target;
use crate::options::{Contender, StateOn};
use crate::process::Process;

/// How long anybody may take to be ready. A Python program on a busy machine takes the longest.
const START: Duration = Duration::from_mins(2);

const CHAT: &str = "/v1/chat/completions";

/// More than any load here asks for in a minute.
const NO_LIMIT: u32 = 1_000_000;

/// What a contender is started for, where that isn't speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// The steady loads and the crowd: no limit is ever met.
    Speed,
    /// The flood: so many requests a minute and user.
    Limit(u32),
    /// Counting calls and rows: what can tell of each does.
    Counting,
}

impl Purpose {
    const fn requests_a_minute(self) -> u32 {
        match self {
            Self::Limit(limit) => limit,
            Self::Speed | Self::Counting => NO_LIMIT,
        }
    }
}

/// Where everything is on this machine.
pub struct Site {
    /// The folder of the workspace.
    pub root: PathBuf,
    /// The program that sets up, builds and serves.
    pub xtask: PathBuf,
    /// Where contenders keep their state; removed at the end.
    pub state: TempDir,
    /// What contenders write to standard error.
    pub logs: PathBuf,
    /// The upstream, which all share.
    pub upstream: Upstream,
}

/// The model behind all contenders.
pub struct Upstream {
    pub address: SocketAddr,
    pub process: Process,
}

/// A contender that can be asked.
pub struct Running {
    pub target: Arc<Target>,
    /// Nothing where the contender is the upstream, whose process is the site's.
    process: Option<Process>,
    /// What it writes to standard error.
    pub log: PathBuf,
    // Removed once the process has ended.
    _state: Option<TempDir>,
}

impl Running {
    /// Its processes.
    pub fn family(&self, site: &Site) -> Vec<i32> {
        self.process.as_ref().map_or_else(|| site.upstream.process.family(), Process::family)
    }

    /// Ends it.
    pub async fn stop(self) {
        if let Some(process) = self.process {
            process.stop().await;
        }
    }
}

impl Site {
    /// Makes the folders and starts the upstream.
    ///
    /// # Errors
    /// When there is no room or the upstream doesn't start.
    pub async fn open(root: &Path, state_on: StateOn) -> Result<Self> {
        let logs = root.join("target/bench/logs");
        std::fs::create_dir_all(&logs)?;
        let base = match state_on {
            StateOn::Disk => root.join("target/bench"),
            StateOn::Tmpfs => PathBuf::from("/dev/shm"),
        };
        let state = tempfile::Builder::new().prefix("organized-gateway-bench-").tempdir_in(&base);
        let state = state.with_context(|| format!("can't keep state in {}", base.display()))?;
        let xtask = std::env::var_os("GATEWAY_XTASK").map(PathBuf::from);
        let xtask = xtask.context("start this with `cargo xtask bench`")?;
        let upstream = Upstream::start(&logs).await?;
        Ok(Self { root: root.to_owned(), xtask, state, logs, upstream })
    }

    /// A program of the Node packages that the project itself uses.
    fn node(&self) -> Command {
        let mut command = Command::new(self.root.join("node_modules/.bin/node"));
        command.current_dir(&self.root);
        command
    }

    fn fresh_state(&self, contender: Contender) -> Result<TempDir> {
        Ok(tempfile::Builder::new().prefix(contender.name()).tempdir_in(self.state.path())?)
    }

    fn log(&self, contender: Contender) -> PathBuf {
        self.logs.join(format!("{}.log", contender.name()))
    }

    /// Starts a contender with nothing remembered, and waits until it can be asked.
    ///
    /// # Errors
    /// When it isn't ready in time: with the last lines that it wrote.
    pub async fn start(&self, contender: Contender, purpose: Purpose) -> Result<Running> {
        let started = match contender {
            Contender::Upstream => Ok(Running {
                target: target(self.upstream.address, &[])?,
                process: None,
                log: self.log(contender),
                _state: None,
            }),
            Contender::PassThrough => workers::pass_through(self).await,
            Contender::Original => workers::original(self, purpose).await,
            Contender::Gateway => gateway::start(self, purpose).await,
            Contender::Portkey => rivals::portkey(self).await,
            Contender::Litellm => rivals::litellm(self).await,
        };
        started.with_context(|| format!("{} didn't start", contender.title()))
    }
}

impl Upstream {
    async fn start(logs: &Path) -> Result<Self> {
        let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
        command.arg("upstream");
        let mut process = Process::start(command, &logs.join("upstream.log"))?;
        let url = process.said("ready ", START).await.context("the upstream didn't start")?;
        Ok(Self { address: address_of(&url)?, process })
    }
}

fn target(address: SocketAddr, headers: &[(&'static str, &str)]) -> Result<Arc<Target>> {
    let headers = headers
        .iter()
        .map(|(name, value)| Ok((hyper::header::HeaderName::from_static(name), value.parse()?)));
    Ok(Arc::new(Target { address, path: CHAT, headers: headers.collect::<Result<_>>()? }))
}

/// The address in a URL such as `http://127.0.0.1:8787`.
fn address_of(url: &str) -> Result<SocketAddr> {
    let address = url.strip_prefix("http://").map(|rest| rest.trim_end_matches('/'));
    let Some(address) = address else { bail!("{url} isn't on loopback") };
    address.parse().with_context(|| format!("{url} isn't on loopback"))
}

/// A port that nobody has now.
fn free_port() -> Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::address_of;

    #[test]
    fn an_address_is_read_from_a_url() {
        assert_eq!(address_of("http://127.0.0.1:8787/").unwrap().port(), 8787);
        assert!(address_of("https://example.com").is_err());
    }
}
