//! A real OpenClaw as a child process, with a state folder of its own and no way out.

use std::collections::BTreeMap;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rusqlite::types::FromSql;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::openclaw_install;
use crate::ports::free_port;
use crate::redaction::RUN;

/// The bearer that this OpenClaw asks for.
pub const TOKEN: &str = "openclaw-token-for-tests";

/// The key that its provider sees.
pub const PROVIDER_KEY: &str = "sk-of-the-operator";

/// How long it may take until `/readyz` says so: 5 to 12 s were measured.
const START: Duration = Duration::from_mins(3);

/// How long a changed setting may take to be in force: 0.6 s were measured.
const RELOAD: Duration = Duration::from_mins(1);

/// The names that OpenClaw looks up by itself: all sent to loopback.
const HOSTS: &str = "127.0.0.1 localhost catalog.openclaw.ai clawhub.ai telemetry.openclaw.ai\n";

/// A running OpenClaw; dropping it ends it with all that it started.
pub struct OpenClaw {
    folder: tempfile::TempDir,
    port: u16,
    settings: Value,
    /// What it and its own command find in their environment.
    environment: Vec<(&'static str, String)>,
    process: Mutex<Child>,
}

impl OpenClaw {
    /// Installs OpenClaw where needed, starts it with the model provider at `provider`, a base URL
    /// with `/v1`, and waits until it is ready.
    ///
    /// # Panics
    /// When it doesn't start; the message has the end of what it wrote.
    pub async fn start(provider: &str) -> Self {
        let provider = provider.to_owned();
        let openclaw = tokio::task::spawn_blocking(move || Self::spawn(&provider)).await.unwrap();
        openclaw.ready().await;
        openclaw
    }

    fn spawn(provider: &str) -> Self {
        RUN.note("WORKSHOP_MODEL_KEY", PROVIDER_KEY);
        let program = openclaw_install::openclaw();
        let folder = tempfile::tempdir().expect("a folder for OpenClaw's state");
        let port = free_port();
        let settings = settings(port, folder.path());
        for name in ["home", "state"] {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        }
        std::fs::write(folder.path().join("hosts"), HOSTS).unwrap();
        write_settings(&folder.path().join("openclaw.json"), &settings);
        let log = std::fs::File::create(folder.path().join("output.log")).unwrap();
        let environment = environment(folder.path(), provider);
        let process = Command::new(openclaw_install::folder().join("run.sh"))
            .arg(folder.path().join("hosts"))
            .arg(crate::node_tool("node"))
            .arg(program)
            .args(["gateway", "run", "--port", &port.to_string()])
            .env_clear()
            .envs(environment.iter().map(|(name, value)| (*name, value.as_str())))
            .current_dir(folder.path())
            // Ctrl-C is for the suite, which ends it in good order.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("run.sh starts");
        Self { folder, port, settings, environment, process: Mutex::new(process) }
    }

    async fn ready(&self) {
        let client = crate::gateway::client();
        let began = Instant::now();
        loop {
            let asked = client.get(format!("{}/readyz", self.url())).send().await;
            if asked.is_ok_and(|answer| answer.status() == 200) {
                return;
            }
            let ended = self.process.lock().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "OpenClaw ended with {ended:?}:\n{}", self.output());
            assert!(began.elapsed() < START, "OpenClaw is not ready:\n{}", self.output());
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Its base URL, without `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Where it keeps its state.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// Its settings' file.
    #[must_use]
    pub fn settings_file(&self) -> PathBuf {
        self.folder.path().join("openclaw.json")
    }

    /// Its own command, for whoever works on its machine: a script that needs nothing around it.
    #[must_use]
    pub fn command(&self) -> PathBuf {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', r"'\''"));
        let exports = self.environment.iter();
        let exports = exports.map(|(name, value)| format!("export {name}={}", quoted(value)));
        let exports = exports.collect::<Vec<_>>().join("\n");
        let words = [crate::node_tool("node"), openclaw_install::openclaw()];
        let words = words.map(|path| quoted(&path.display().to_string())).join(" ");
        let hosts = quoted(&self.folder.path().join("hosts").display().to_string());
        let script = format!(
            "#!/bin/sh\n{exports}\n\
             inside='mount --bind \"$0\" /etc/hosts && exec \"$@\"'\n\
             for space in --mount '--map-root-user --mount'; do\n\
                 unshare $space true 2>/dev/null && exec unshare $space sh -c \"$inside\" {hosts} {words} \"$@\"\n\
             done\n\
             exec {words} \"$@\"\n"
        );
        let path = self.folder.path().join("openclaw");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o700)).unwrap();
        path
    }

    /// What its main agent has on disk: each session's key, and all texts of its transcript.
    #[must_use]
    pub fn sessions(&self) -> BTreeMap<String, String> {
        self.rows(
            "agents/main/agent/openclaw-agent.sqlite",
            "select node.session_key, coalesce(group_concat(said.c0, char(10)), '')
             from session_nodes node
             left join session_windows using (session_key)
             left join session_transcript_fts_content said on said.c1 = session_id
             group by node.session_key",
        )
    }

    /// Both columns of what `query` finds in a database of its state.
    fn rows<T: FromSql>(&self, database: &str, query: &str) -> BTreeMap<String, T> {
        let file = self.state().join(database);
        let connection =
            Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        let mut statement = connection.prepare(query).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.map(Result::unwrap).collect()
    }

    /// What it does by itself from time to time, each job with whether it is turned on.
    #[must_use]
    pub fn jobs(&self) -> BTreeMap<String, bool> {
        self.rows("state/openclaw.sqlite", "select name || ' ' || rowid, enabled from cron_jobs")
    }

    /// Where all of it is: settings, state, home and what it wrote.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process that was started, and all that came of it.
    #[must_use]
    pub fn processes(&self) -> Vec<u32> {
        let parents: Vec<(u32, u32)> = std::fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
            .filter_map(|process| Some((process, parent(process)?)))
            .collect();
        let mut found = vec![self.process.lock().unwrap().id()];
        let mut next = 0;
        while let Some(&known) = found.get(next) {
            let children = parents.iter().filter(|(_, parent)| *parent == known);
            found.extend(children.map(|(process, _)| *process));
            next += 1;
        }
        found
    }

    /// All that it wrote so far.
    #[must_use]
    pub fn output(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("output.log")).unwrap_or_default()
    }

    /// Puts `changes` over the settings that it started with (null removes) and waits until they
    /// are in force. OpenClaw reads its file anew by itself; requests that run go on.
    ///
    /// # Panics
    /// When OpenClaw doesn't take them.
    pub async fn configure(&self, changes: &Value) {
        let mut settings = self.settings.clone();
        merge(&mut settings, changes);
        let file = self.folder.path().join("openclaw.json");
        let known: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
        if known == settings {
            return;
        }
        let reloads = || self.output().matches("config hot reload applied").count();
        let before = reloads();
        write_settings(&file, &settings);
        let what = format!("reload of OpenClaw's settings for {changes}");
        crate::wait_for(&what, RELOAD, || (reloads() > before).then_some(())).await;
    }

    /// Ends it with all that it started. Nothing happens the second time.
    pub fn stop(&self) {
        let mut process = self.process.lock().unwrap();
        drop(process.stdin.take());
        process.wait().ok();
    }
}

impl Drop for OpenClaw {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What OpenClaw is started with: a home of its own, nothing that looks outside, and what its settings
/// name.
fn environment(folder: &Path, provider: &str) -> Vec<(&'static str, String)> {
    let path = |name: &str| folder.join(name).display().to_string();
    let mut environment = vec![
        ("PATH", openclaw_install::path()),
        ("HOME", path("home")),
        ("OPENCLAW_STATE_DIR", path("state")),
        ("OPENCLAW_CONFIG_PATH", path("openclaw.json")),
    ];
    let fixed = [
        ("OPENCLAW_SKIP_CHANNELS", "1"),
        ("OPENCLAW_NO_AUTO_UPDATE", "1"),
        ("OPENCLAW_DISABLE_BONJOUR", "1"),
        ("OPENCLAW_NO_RESPAWN", "1"),
        ("DO_NOT_TRACK", "1"),
        ("OPENCLAW_GATEWAY_TOKEN", TOKEN),
        ("WORKSHOP_MODEL_URL", provider),
        ("WORKSHOP_MODEL_KEY", PROVIDER_KEY),
        ("WORKSHOP_MODEL", "stub-1"),
    ];
    environment.extend(fixed.map(|(name, value)| (name, value.to_owned())));
    environment
}

/// The settings that docs/openclaw.md recommends, read from there, and what a test needs besides:
/// a port of its own, embeddings, and nothing that looks outside.
fn settings(port: u16, folder: &Path) -> Value {
    let page = std::fs::read_to_string(crate::workspace().join("docs/openclaw.md"))
        .expect("docs/openclaw.md is there");
    let block = page.split("```json\n").nth(1).and_then(|rest| rest.split("```").next());
    let mut settings: Value =
        serde_json::from_str(block.expect("it shows openclaw.json")).expect("strict JSON");
    let besides = json!({
        "gateway": { "port": port },
        "models": { "catalogRefresh": { "enabled": false } },
        "memory": { "search": {
            "provider": "openai-compatible",
            "model": "stub-embedding",
            "remote": { "baseUrl": "${WORKSHOP_MODEL_URL}", "apiKey": "${WORKSHOP_MODEL_KEY}" },
        } },
        "update": { "checkOnStart": false },
        "logging": { "file": folder.join("openclaw.log") },
    });
    merge(&mut settings, &besides);
    settings
}

/// One entry of `models.providers`: an OpenAI-compatible provider with one model, `stub-1`.
#[must_use]
pub fn provider_settings(base_url: &str, key: &str) -> Value {
    json!({
        "baseUrl": base_url,
        "apiKey": key,
        "api": "openai-completions",
        "models": [{
            "id": "stub-1",
            "name": "stub",
            "reasoning": false,
            "input": ["text"],
            "cost": { "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0 },
            "contextWindow": 120_000,
            "maxTokens": 8192,
        }],
    })
}

/// Members of `changes` replace those of `settings`, null removes them, objects are merged.
fn merge(settings: &mut Value, changes: &Value) {
    let (Some(object), Some(changes)) = (settings.as_object_mut(), changes.as_object()) else {
        *settings = changes.clone();
        return;
    };
    for (name, change) in changes {
        if change.is_null() {
            object.remove(name);
        } else {
            merge(object.entry(name).or_insert_with(|| json!({})), change);
        }
    }
}

/// Replaces the file in one step, readable by its owner alone: OpenClaw asks for both.
fn write_settings(file: &Path, settings: &Value) {
    let new = file.with_extension("new");
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create(true).truncate(true).mode(0o600).open(&new).unwrap();
    serde_json::to_writer_pretty(opened, settings).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// A process's parent. Its own name, which comes before, may have anything in it.
fn parent(process: u32) -> Option<u32> {
    let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}
