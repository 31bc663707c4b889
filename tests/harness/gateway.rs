//! A gateway as a test sees it: started, asked, killed, started again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::{Client, Method, RequestBuilder};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ledger::Ledger;
use crate::redaction::RUN;
use crate::report::{self, Log};
use crate::serve::{Order, Running, Runtime, signal, spawn};
use crate::wait_for;

/// How long a line may be on its way from the runtime's log.
const LOGGING: Duration = Duration::from_secs(30);

/// What a gateway is started with.
#[derive(Clone, Default)]
pub struct Options {
    upstream: Option<String>,
    vars: Vec<(String, String)>,
    fault_injection: bool,
    no_operator: bool,
    port: u16,
    state: Option<PathBuf>,
    disk: Option<PathBuf>,
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

    /// Listens there each time that it is started, for who is told once where it is.
    #[must_use]
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Begins with a copy of the state in this folder, which nobody uses.
    #[must_use]
    pub fn state(mut self, folder: &Path) -> Self {
        self.state = Some(folder.to_owned());
        self
    }

    /// Keeps its state in a new folder below this one.
    #[must_use]
    pub fn disk(mut self, folder: &Path) -> Self {
        self.disk = Some(folder.to_owned());
        self
    }

    fn order(&self, state: &Path, operator_token: &str) -> Order {
        let (port, state) = (self.port.to_string(), state.display().to_string());
        let mut arguments: Vec<String> =
            ["serve", "--no-build", "--port", &port, "--state", &state].map(str::to_owned).to_vec();
        if self.fault_injection {
            arguments.push("--fault-injection".to_owned());
        }
        if let Some(upstream) = &self.upstream {
            arguments.extend(["--upstream".to_owned(), upstream.clone()]);
        }
        let operator = ("OPERATOR_TOKEN".to_owned(), operator_token.to_owned());
        let environment: Vec<_> = [operator].into_iter().chain(self.vars.clone()).collect();
        // The names alone: anybody on the machine can read a command line.
        for (name, _) in &environment {
            arguments.extend(["--var".to_owned(), name.clone()]);
        }
        Order { arguments, environment }
    }
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
    log: Log,
    banner: Log,
    running: Mutex<Option<Running>>,
    // Of the last start: what is asked after a kill still has to know where to ask.
    runtime: Mutex<Option<Runtime>>,
    client: Client,
}

impl Gateway {
    /// Starts `serve` and waits until it is ready.
    ///
    /// # Panics
    /// When it isn't in time; the message has all that it wrote.
    pub async fn start(options: Options) -> Self {
        Self::try_start(options).await.unwrap_or_else(|problem| panic!("{problem}"))
    }

    /// Starts `serve` and waits until it is ready.
    ///
    /// # Errors
    /// When it isn't in time: all that it wrote.
    pub async fn try_start(options: Options) -> Result<Self, String> {
        let operator_token = if options.no_operator {
            String::new()
        } else {
            format!("operator-{:032x}", fastrand::u128(..))
        };
        let disk = options.disk.clone().unwrap_or_else(tempfile::env::temp_dir);
        let gateway = Self {
            options,
            operator_token,
            state: tempfile::tempdir_in(disk).unwrap(),
            log: Arc::default(),
            banner: Arc::default(),
            running: Mutex::default(),
            runtime: Mutex::default(),
            client: client(),
        };
        if let Some(folder) = &gateway.options.state {
            copy(folder, gateway.state.path()).unwrap();
        }
        RUN.keep_log(&gateway.log);
        gateway.try_restart().await?;
        Ok(gateway)
    }

    /// Starts `serve` again on the same state, with other settings.
    pub async fn restart_with(&mut self, options: Options) {
        self.options = options;
        self.restart().await;
    }

    /// Starts `serve` again on the same state, with the same settings.
    ///
    /// # Panics
    /// When it isn't ready in time; the message has all that it wrote.
    pub async fn restart(&self) {
        self.try_restart().await.unwrap_or_else(|problem| panic!("{problem}"));
    }

    async fn try_restart(&self) -> Result<(), String> {
        self.stop();
        let order = self.options.order(self.state.path(), &self.operator_token);
        let log = Arc::clone(&self.log);
        let banner = Arc::clone(&self.banner);
        let state = self.state.path().to_owned();
        let started = tokio::task::spawn_blocking(move || spawn(order, &state, &log, &banner));
        let started = started.await.unwrap()?;
        self.note_secrets();
        *self.runtime.lock().unwrap() = Some(started.runtime.clone());
        *self.running.lock().unwrap() = Some(started);
        Ok(())
    }

    /// Notes what this gateway was told in secret, and what it made for itself.
    fn note_secrets(&self) {
        RUN.note("OPERATOR_TOKEN", &self.operator_token);
        for (name, value) in &self.options.vars {
            RUN.note_setting(name, value);
        }
        let made = std::fs::read(self.state.path().join("secrets.json")).unwrap_or_default();
        let made: BTreeMap<String, String> = serde_json::from_slice(&made).unwrap_or_default();
        for (name, value) in made {
            RUN.note_setting(&name, &value);
        }
    }

    /// Kills the runtime (workerd) with SIGKILL and waits until `serve` has noticed and ended.
    pub async fn kill_runtime(&self) {
        let mut running = self.running.lock().unwrap().take().expect("a gateway that runs");
        let ended = tokio::task::spawn_blocking(move || running.kill_runtime());
        assert!(ended.await.unwrap(), "serve went on after its runtime was killed");
    }

    /// Whether `serve` has ended although nobody told it to.
    #[must_use]
    pub fn has_died(&self) -> bool {
        self.running.lock().unwrap().as_mut().is_some_and(Running::has_ended)
    }

    /// Has the runtime do what it does once a day, and waits until that is done.
    pub async fn have_a_day_pass(&self) {
        let done = || self.log().iter().filter(|line| line["event"] == "daily").count();
        let before = done();
        signal(self.runtime().node_pid, Signal::SIGUSR2);
        let is_done = || (done() > before).then_some(());
        wait_for("the day's work", Duration::from_secs(30), is_done).await;
    }

    /// Stops `serve` as Ctrl-C would, and makes sure that nothing of it is left.
    pub fn stop(&self) {
        if let Some(mut running) = self.running.lock().unwrap().take() {
            running.stop();
        }
        if let Some(runtime) = self.runtime.lock().unwrap().as_ref() {
            RUN.keep_rows(&runtime.d1_path);
        }
    }

    /// What `serve` said about its runtime when it was started last.
    #[must_use]
    pub fn runtime(&self) -> Runtime {
        report::uses(&self.log);
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
        let key: Key = response.json().await.unwrap();
        RUN.note("a gateway key", &key.key);
        key
    }

    /// A new handle for `user`, with which OpenClaw comes back.
    pub async fn mint_handle(&self, user: &str) -> String {
        let path = format!("/operator/api/users/{user}/handle");
        let response = self.operator(Method::POST, &path).send().await.unwrap();
        assert_eq!(response.status(), 201, "{}", response.text().await.unwrap());
        let minted: Value = response.json().await.unwrap();
        let handle = minted["handle"].as_str().unwrap().to_owned();
        RUN.note("a handle", &handle);
        handle
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

    /// The first log line about a request; it may come after the answer.
    ///
    /// # Panics
    /// When there is none within half a minute.
    pub async fn log_line(&self, request_id: &str) -> Value {
        let line = || self.log().into_iter().find(|line| line["request_id"] == request_id);
        wait_for("line in the log", LOGGING, line).await
    }

    /// Waits for words in what went to stderr; they may come after the answer.
    ///
    /// # Panics
    /// When they don't within half a minute.
    pub async fn logs(&self, words: &str) {
        wait_for(words, LOGGING, || self.log_text().contains(words).then_some(())).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Copies all that is in a folder into another, which is made if need be.
///
/// # Errors
/// Where something can't be read or written.
pub fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
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
