//! The process of `cargo xtask serve`: spawned, listened to, ended by its id, never left behind.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::Deserialize;

use crate::report::Log;

/// How long `serve` may take until it says `ready`.
const START: Duration = Duration::from_mins(3);

/// How long `serve` may take to end once it was told to, or once its runtime died.
const STOP: Duration = Duration::from_secs(30);

/// What `serve` writes to `STATE/runtime.json`.
#[derive(Clone, Debug, Deserialize)]
pub struct Runtime {
    /// Where the gateway answers.
    pub url: String,
    /// The process that runs the Worker.
    pub workerd_pid: i32,
    /// The process that holds Miniflare.
    pub node_pid: i32,
    /// D1's file.
    pub d1_path: PathBuf,
}

/// What `serve` is told.
pub(crate) struct Order {
    pub(crate) arguments: Vec<String>,
    /// The values of `--var NAME`.
    pub(crate) environment: Vec<(String, String)>,
}

/// A `serve` that is ready, and what looks after it.
pub(crate) struct Running {
    serve: Child,
    pub(crate) runtime: Runtime,
    watchdog: Child,
}

impl Running {
    /// Kills the runtime (workerd) with SIGKILL; says whether `serve` ended by itself then.
    pub(crate) fn kill_runtime(&mut self) -> bool {
        signal(self.runtime.workerd_pid, Signal::SIGKILL);
        self.end()
    }

    /// Whether `serve` isn't there any more.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.serve.try_wait().is_ok_and(|status| status.is_some())
    }

    /// Stops `serve` as Ctrl-C would, and makes sure that nothing of it is left.
    pub(crate) fn stop(&mut self) {
        signal(self.serve.id().cast_signed(), Signal::SIGTERM);
        self.end();
    }

    /// Waits for `serve` to end; whatever is left of it after a while is killed. Says whether it
    /// ended by itself.
    fn end(&mut self) -> bool {
        self.watchdog.kill().ok();
        self.watchdog.wait().ok();
        let by_itself = until(|| self.has_ended());
        if !by_itself {
            self.serve.kill().ok();
            self.serve.wait().ok();
            for pid in [self.runtime.workerd_pid, self.runtime.node_pid] {
                signal(pid, Signal::SIGKILL);
            }
        }
        by_itself
    }
}

/// The built xtask where there is one, else cargo, which builds it.
#[must_use]
pub fn xtask() -> Command {
    let beside = std::env::current_exe().ok().and_then(|suite| {
        let folder = suite.parent()?.parent()?;
        Some(folder.join("xtask")).filter(|xtask| xtask.is_file())
    });
    if let Some(xtask) = std::env::var_os("GATEWAY_XTASK").map(PathBuf::from).or(beside) {
        return Command::new(xtask);
    }
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["run", "--quiet", "--package", "xtask", "--"]);
    cargo
}

/// Starts `serve` and waits until it is ready; every line that it writes is kept.
///
/// # Errors
/// When it isn't ready in time: all that it wrote.
pub(crate) fn spawn(
    order: Order,
    state: &Path,
    log: &Log,
    banner: &Log,
) -> Result<Running, String> {
    let mut serve = xtask()
        .args(order.arguments)
        .envs(order.environment)
        .current_dir(crate::workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask starts");
    let reader = collect(serve.stderr.take().unwrap(), Arc::clone(log), None);
    let (ready, said) = mpsc::channel();
    collect(serve.stdout.take().unwrap(), Arc::clone(banner), Some(ready));
    let began = Instant::now();
    let problem = loop {
        match said.recv_timeout(START.saturating_sub(began.elapsed())) {
            Ok(line) if line.starts_with("ready ") => break None,
            Ok(_) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => break Some("serve ended by itself"),
            Err(mpsc::RecvTimeoutError::Timeout) => break Some("serve was not ready in time"),
        }
    };
    if let Some(problem) = problem {
        signal(serve.id().cast_signed(), Signal::SIGTERM);
        let ended =
            || reader.is_finished() && serve.try_wait().is_ok_and(|status| status.is_some());
        until(ended);
        serve.kill().ok();
        serve.wait().ok();
        let (banner, log) = (banner.lock().unwrap().join("\n"), log.lock().unwrap().join("\n"));
        return Err(format!("{problem}\n{banner}\n{log}"));
    }
    let runtime = std::fs::read(state.join("runtime.json")).expect("serve writes runtime.json");
    let runtime = serde_json::from_slice(&runtime).expect("runtime.json is complete");
    let watchdog = watchdog(serve.id());
    Ok(Running { serve, runtime, watchdog })
}

/// Waits for something for as long as `serve` may take to stop; says whether it has come.
fn until(mut condition: impl FnMut() -> bool) -> bool {
    let began = Instant::now();
    while !condition() {
        if began.elapsed() > STOP {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    true
}

/// Ends `serve` when this process is gone, however it went: the pipe between them closes then.
fn watchdog(serve: u32) -> Child {
    Command::new("sh")
        .args(["-c", "cat > /dev/null; kill -TERM \"$0\"", &serve.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh starts")
}

/// Keeps every line that `source` brings, and passes it on while somebody listens.
fn collect(
    source: impl Read + Send + 'static,
    lines: Log,
    listener: Option<mpsc::Sender<String>>,
) -> JoinHandle<()> {
    std::thread::spawn(move || {
        let mut source = BufReader::new(source);
        let mut line = Vec::new();
        while source.read_until(b'\n', &mut line).is_ok_and(|length| length > 0) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if let Some(listener) = &listener {
                listener.send(text.clone()).ok();
            }
            lines.lock().unwrap().push(text);
            line.clear();
        }
    })
}

/// A signal to a process that may be gone already.
pub(crate) fn signal(pid: i32, which: Signal) {
    kill(Pid::from_raw(pid), which).ok();
}
