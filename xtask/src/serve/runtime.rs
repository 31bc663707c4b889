//! The two processes below `serve`: Node, and the workerd that Node starts.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::workspace;
use crate::wrangler::Wrangler;

/// What is to run. The script is told this in its first and only line of input.
#[derive(Serialize)]
pub struct Plan<'a> {
    /// The workspace's folder, in which the entry module is.
    pub root: &'a Path,
    /// The folder of the module that is always loaded.
    pub build: &'a Path,
    /// The folder of its other module.
    pub office: &'a Path,
    /// The folder of the state.
    pub state: &'a Path,
    /// Of 127.0.0.1; 0 for any that is free.
    pub port: u16,
    /// Settings and secrets, as the Worker finds them in its environment.
    pub variables: &'a BTreeMap<String, String>,
    /// The Worker's other bindings.
    pub worker: &'a Wrangler,
}

/// What the script says: a line of its output.
#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Event {
    /// A migration was applied to D1.
    Migrated { name: String },
    /// `GET /health` was answered.
    Ready { url: String, workerd_pid: i32 },
    /// This database can't be read.
    Damaged { path: PathBuf },
    /// It could not start.
    Failed { message: String },
    /// workerd is gone.
    Died { code: Option<i32>, signal: Option<String> },
}

/// A runtime that serves. When it is dropped, its processes end.
pub struct Runtime {
    /// Where it serves, without a slash at the end.
    pub url: String,
    pub node_pid: i32,
    pub workerd_pid: i32,
    node: Node,
}

impl Runtime {
    /// Starts it and waits until it serves.
    ///
    /// # Errors
    /// When the port is taken, a migration fails, or the Worker doesn't load.
    pub async fn start(plan: &Plan<'_>) -> Result<Self> {
        let mut node = Node::start(&serde_json::to_string(plan)?).await?;
        loop {
            match node.event().await? {
                Event::Migrated { name } => println!("migrated D1: {name}"),
                Event::Ready { url, workerd_pid } => {
                    return Ok(Self { url, node_pid: node.group.as_raw(), workerd_pid, node });
                }
                Event::Failed { message } => bail!("the runtime didn't start: {message}"),
                Event::Damaged { path } => bail!(damage(&path, plan.state)),
                died @ Event::Died { .. } => bail!(death(&died)),
            }
        }
    }

    /// Waits until it dies by itself. That is always an error.
    ///
    /// # Errors
    /// When it has died.
    pub async fn died(&mut self) -> Result<()> {
        loop {
            let event = self.node.event().await?;
            if matches!(event, Event::Died { .. }) {
                bail!(death(&event));
            }
        }
    }
}

/// Which file is wrong, and what to do.
fn damage(path: &Path, state: &Path) -> String {
    let (file, state) = (path.display(), state.display());
    format!(
        "the database {file} is damaged and can't be read: copy it back from a backup, or begin anew in another \
         folder (--state FOLDER) and keep {state} until you need nothing of it"
    )
}

fn death(event: &Event) -> String {
    let how = match event {
        Event::Died { signal: Some(signal), .. } => format!("was killed ({signal})"),
        Event::Died { code: Some(code), .. } => format!("ended with exit code {code}"),
        _ => "ended".to_owned(),
    };
    format!("the Workers runtime {how}. What was admitted is on disk: run the command again")
}

/// The Node process, which is the leader of a process group that holds workerd too.
struct Node {
    // Held open for as long as this process lives: its closing is what ends the script.
    _input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
    group: Pid,
    _process: Child,
}

impl Node {
    async fn start(instructions: &str) -> Result<Self> {
        let script: PathBuf = workspace::root().join("xtask/runtime.mjs");
        let mut command = Command::from(workspace::command(workspace::node_program("node")));
        // A group of its own, so that Ctrl-C reaches only us, who then end it in good order.
        command.arg(script).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = command.spawn().context("can't start Node from node_modules")?;
        let mut input = process.stdin.take().context("Node has no input")?;
        let output = process.stdout.take().context("Node has no output")?;
        let id = process.id().context("Node is gone")?;
        input.write_all(format!("{instructions}\n").as_bytes()).await?;
        Ok(Self {
            _input: input,
            output: BufReader::new(output).lines(),
            group: Pid::from_raw(i32::try_from(id)?),
            _process: process,
        })
    }

    async fn event(&mut self) -> Result<Event> {
        let line = self.output.next_line().await?;
        let line = line.ok_or_else(|| anyhow!("Node, which runs the Workers runtime, is gone"))?;
        serde_json::from_str(&line).with_context(|| format!("Node says something unknown: {line}"))
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // The group, not just Node: if Node was killed, workerd is still there.
        let _ = killpg(self.group, Signal::SIGKILL);
    }
}
