//! `cargo xtask serve` as a child process: started, asked, killed, started again.

use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::Ledger;

/// How long `serve` may take until it says `ready`.
const START: Duration = Duration::from_mins(1);

/// How long `serve` may take to end once it was told to, or once its runtime died.
const STOP: Duration = Duration::from_secs(15);

/// What a gateway is started with.
#[derive(Clone, Default)]
pub struct Options {
    upstream: Option<String>,
    vars: Vec<(String, String)>,
    fault_injection: bool,
    no_operator: bool,
}

impl Options {
    /// No upstream named: `serve` puts its own echo model there.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The upstream's base URL, without `/v1`.
    #[must_use]
    pub fn upstream(mut self, url: impl Into<String>) -> Self {
        self.upstream = Some(url.into());
        self
    }

    /// One setting or secret; a later one of the same name wins.
    #[must_use]
    pub fn var(mut self, name: &str, value: impl Into<String>) -> Self {
        self.vars.retain(|(known, _)| known != name);
        self.vars.push((name.to_owned(), value.into()));
        self
    }

    /// The build with the cargo feature `fault-injection`.
    #[must_use]
    pub fn fault_injection(mut self) -> Self {
        self.fault_injection = true;
        self
    }

    /// A gateway whose `OPERATOR_TOKEN` is empty, which is the same as none.
    #[must_use]
    pub fn no_operator(mut self) -> Self {
        self.no_operator = true;
        self
    }

    fn arguments(&self, state: &Path, operator_token: &str) -> Vec<String> {
        let mut arguments: Vec<String> =
            ["serve", "--no-build", "--port", "0", "--state"].map(str::to_owned).to_vec();
        arguments.push(state.display().to_string());
        if self.fault_injection {
            arguments.push("--fault-injection".to_owned());
        }
        if let Some(upstream) = &self.upstream {
            arguments.extend(["--upstream".to_owned(), upstream.clone()]);
        }
        let operator = ("OPERATOR_TOKEN".to_owned(), operator_token.to_owned());
        for (name, value) in [operator].iter().chain(&self.vars) {
            arguments.extend(["--var".to_owned(), format!("{name}={value}")]);
        }
        arguments
    }
}

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

/// A gateway key as the operator route hands it out.
#[derive(Clone, Debug, Deserialize)]
pub struct Key {
    /// The key itself, `ogk_{user_id}_{secret}`.
    pub key: String,
    /// What it is revoked by.
    pub key_id: String,
    /// What the operator called it.
    pub label: Option<String>,
    /// RFC 3339 UTC.
    pub created_at: String,
}

/// A gateway that runs, and can be killed and started again on the same state.
pub struct Gateway {
    options: Options,
    operator_token: String,
    state: tempfile::TempDir,
    log: Arc<Mutex<Vec<String>>>,
    banner: Arc<Mutex<Vec<String>>>,
    running: Mutex<Option<Running>>,
    // Of the last start: what is asked after a kill still has to know where to ask.
    runtime: Mutex<Option<Runtime>>,
    client: Client,
}

struct Running {
    serve: Child,
    runtime: Runtime,
    watchdog: Child,
}

impl Gateway {
    /// Starts `serve` and waits until it is ready.
    ///
    /// # Panics
    /// When it isn't within a minute; the message has all that it wrote.
    pub async fn start(options: Options) -> Self {
        let operator_token = if options.no_operator {
            String::new()
        } else {
            format!("operator-{:032x}", fastrand::u128(..))
        };
        let gateway = Self {
            options,
            operator_token,
            state: tempfile::tempdir().unwrap(),
            log: Arc::default(),
            banner: Arc::default(),
            running: Mutex::default(),
            runtime: Mutex::default(),
            client: client(),
        };
        gateway.restart().await;
        gateway
    }

    /// Starts `serve` again on the same state, with the same settings.
    pub async fn restart(&self) {
        self.stop();
        let arguments = self.options.arguments(self.state.path(), &self.operator_token);
        let log = Arc::clone(&self.log);
        let banner = Arc::clone(&self.banner);
        let state = self.state.path().to_owned();
        let started = tokio::task::spawn_blocking(move || spawn(&arguments, &state, &log, &banner));
        let started = started.await.unwrap_or_else(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(error) => panic!("{error}"),
        });
        *self.runtime.lock().unwrap() = Some(started.runtime.clone());
        *self.running.lock().unwrap() = Some(started);
    }

    /// Kills the runtime (workerd) with SIGKILL and waits until `serve` has noticed and ended.
    pub async fn kill_runtime(&self) {
        let running = self.running.lock().unwrap().take().expect("a gateway that runs");
        let ended = tokio::task::spawn_blocking(move || {
            let mut running = running;
            send(running.runtime.workerd_pid, Signal::SIGKILL);
            end(&mut running, STOP)
        });
        assert!(ended.await.unwrap(), "serve went on {STOP:?} after its runtime was killed");
    }

    /// Stops `serve` as Ctrl-C would, and makes sure that nothing of it is left.
    pub fn stop(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            send(running.serve.id().cast_signed(), Signal::SIGTERM);
            end(&mut running, STOP);
        }
    }

    /// What `serve` said about its runtime when it was started last.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        self.runtime.lock().unwrap().clone().expect("a gateway that was started")
    }

    /// The gateway's URL with `path` behind it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.runtime().url)
    }

    /// Where the gateway listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let url = self.runtime().url;
        url.trim_start_matches("http://").trim_end_matches('/').parse().expect("a loopback URL")
    }

    /// The state folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.state.path()
    }

    /// The operator's token, which `serve` was started with.
    #[must_use]
    pub fn operator_token(&self) -> &str {
        &self.operator_token
    }

    /// A request to the gateway.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path))
    }

    /// A GET as `user`, with a provider key of the caller's own.
    pub fn get(&self, user: &str, path: &str) -> RequestBuilder {
        self.request(Method::GET, path).header("x-user-id", user).bearer_auth("sk-caller")
    }

    /// A POST of JSON as `user`, with a provider key of the caller's own.
    pub fn post(&self, user: &str, path: &str, body: &Value) -> RequestBuilder {
        let request = self.request(Method::POST, path).header("x-user-id", user);
        request.bearer_auth("sk-caller").json(body)
    }

    /// A request of the operator's.
    pub fn operator(&self, method: Method, path: &str) -> RequestBuilder {
        self.request(method, path).bearer_auth(&self.operator_token)
    }

    /// A new gateway key for `user`.
    pub async fn mint_key(&self, user: &str) -> Key {
        let path = format!("/operator/api/users/{user}/keys");
        let request = self.operator(Method::POST, &path).json(&json!({ "label": "test" }));
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        response.json().await.unwrap()
    }

    /// D1 as a file.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger::new(self.runtime().d1_path)
    }

    /// All that `serve` and the runtime wrote to stderr so far, over all starts.
    #[must_use]
    pub fn log_text(&self) -> String {
        self.log.lock().unwrap().join("\n")
    }

    /// All that `serve` wrote to stdout so far, over all starts.
    #[must_use]
    pub fn banner(&self) -> String {
        self.banner.lock().unwrap().join("\n")
    }

    /// The log lines that are JSON objects.
    #[must_use]
    pub fn log(&self) -> Vec<Value> {
        let log = self.log.lock().unwrap();
        log.iter().filter_map(|line| json_object(line)).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
        if std::thread::panicking() {
            let log = self.log.lock().unwrap();
            let tail: Vec<_> = log.iter().rev().take(20).rev().collect();
            eprintln!("the gateway's last log lines:\n{tail:#?}");
        }
    }
}

/// A client that reuses connections, follows no redirect, and knows no proxy.
#[must_use]
pub fn client() -> Client {
    let builder = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    builder.pool_idle_timeout(Duration::from_secs(2)).build().unwrap()
}

/// The JSON object in a line, which a tool may have put a prefix before.
fn json_object(line: &str) -> Option<Value> {
    let object: Value = serde_json::from_str(&line[line.find('{')?..]).ok()?;
    object.is_object().then_some(object)
}

/// The built xtask where there is one, else cargo, which builds it.
fn xtask() -> Command {
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

fn spawn(
    arguments: &[String],
    state: &Path,
    log: &Arc<Mutex<Vec<String>>>,
    banner: &Arc<Mutex<Vec<String>>>,
) -> Running {
    let mut serve = xtask()
        .args(arguments)
        .current_dir(crate::workspace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xtask starts");
    collect(serve.stderr.take().unwrap(), Arc::clone(log), None);
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
        send(serve.id().cast_signed(), Signal::SIGTERM);
        std::thread::sleep(Duration::from_millis(500));
        serve.kill().ok();
        serve.wait().ok();
        let (banner, log) = (banner.lock().unwrap().join("\n"), log.lock().unwrap().join("\n"));
        panic!("{problem}\nxtask {}\n{banner}\n{log}", arguments.join(" "));
    }
    let runtime = std::fs::read(state.join("runtime.json")).expect("serve writes runtime.json");
    let runtime = serde_json::from_slice(&runtime).expect("runtime.json is complete");
    let watchdog = watchdog(serve.id());
    Running { serve, runtime, watchdog }
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
    lines: Arc<Mutex<Vec<String>>>,
    listener: Option<mpsc::Sender<String>>,
) {
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
    });
}

/// Waits for `serve` to end; whatever is left of it after `patience` is killed. Says whether it
/// ended by itself.
fn end(running: &mut Running, patience: Duration) -> bool {
    running.watchdog.kill().ok();
    running.watchdog.wait().ok();
    let began = Instant::now();
    let mut by_itself = false;
    while began.elapsed() < patience && !by_itself {
        by_itself = running.serve.try_wait().is_ok_and(|status| status.is_some());
        std::thread::sleep(Duration::from_millis(10));
    }
    if !by_itself {
        running.serve.kill().ok();
        running.serve.wait().ok();
        for pid in [running.runtime.workerd_pid, running.runtime.node_pid] {
            send(pid, Signal::SIGKILL);
        }
    }
    by_itself
}

/// A signal to a process that may be gone already.
fn send(pid: i32, signal: Signal) {
    kill(Pid::from_raw(pid), signal).ok();
}
