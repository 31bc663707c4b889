//! OpenClaw's own command: the supported way to change what it keeps, whether it runs or not.

use std::ffi::OsStr;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::settings::{self, PROFILE, PROVIDER};
use crate::failure::{Failure, Kind};

/// What is none of OpenClaw's business, and stays out of its environment.
const OWN: [&str; 4] =
    ["OPERATOR_TOKEN", "CF_ACCESS_CLIENT_ID", "CF_ACCESS_CLIENT_SECRET", "CAPACITY_API_KEY"];

/// What it says where the OpenClaw that runs is busy, how often it is tried then, and with what pause.
const BUSY: &str = "another OpenClaw process owns";
const ATTEMPTS: u32 = 10;
const PAUSE: Duration = Duration::from_secs(1);

/// OpenClaw's command.
pub struct Program<'a>(pub &'a Path);

/// The agents whose own profile isn't as it is to be, by their names.
pub type Profiles = Vec<String>;

impl Program<'_> {
    /// Where its settings are.
    ///
    /// # Errors
    /// Where there is no OpenClaw.
    pub fn settings(&self) -> Result<PathBuf, Failure> {
        let said = self.run(&["config", "file", "--json"], None)?;
        let path = said.pointer("/path").and_then(Value::as_str).map(PathBuf::from);
        path.ok_or_else(|| self.failed(&["config", "file"], "it names no file."))
    }

    /// Puts changes over its settings. It checks them before, keeps the file of before beside it, and
    /// replaces it in one step.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn patch(&self, changes: &Value) -> Result<(), Failure> {
        // It has no answer but words.
        self.output(&["config", "patch", "--stdin"], Some(&changes.to_string())).map(drop)
    }

    /// Gives each of these agents the one profile that is its own. Handles stay in their file: what an
    /// agent keeps is where in it.
    ///
    /// # Errors
    /// Where it refuses, or a handle isn't in the file.
    pub fn give_profiles(&self, agents: &[String], is_trial: bool) -> Result<Profiles, Failure> {
        let plan = tempfile::NamedTempFile::new()
            .and_then(|mut file| {
                file.write_all(profiles(agents).to_string().as_bytes()).map(|()| file)
            })
            .map_err(|error| {
                Failure::new(Kind::Failed, format!("No file can be made: {error}."))
            })?;
        let from = plan.path().to_string_lossy();
        let mut words = vec!["secrets", "apply", "--json", "--from", &from];
        if is_trial {
            words.push("--dry-run");
        }
        let said = self.run(&words, None).map_err(|failure| {
            failure.next(
                "It wants everything in its settings and agents that points at a secret to find one, and \
                 changes nothing before. `openclaw secrets audit` names what doesn't.",
            )
        })?;
        let files = said.pointer("/changedFiles").and_then(Value::as_array);
        let files = files.into_iter().flatten().filter_map(Value::as_str);
        let is_of = |agent: &&String| {
            files.clone().any(|file| Path::new(file).iter().any(|part| part == OsStr::new(agent)))
        };
        Ok(agents.iter().filter(is_of).cloned().collect())
    }

    /// Has the OpenClaw that runs read handles anew.
    ///
    /// # Errors
    /// Where none runs here.
    pub fn reload(&self) -> Result<(), Failure> {
        self.run(&["secrets", "reload", "--json"], None).map(drop)
    }

    /// Removes an agent; its conversations and its workspace go to the trash. What OpenClaw says is left of
    /// it, in sentences: it takes an agent for gone all the same.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn remove(&self, agent: &str) -> Result<Vec<String>, Failure> {
        let said = self.run(&["agents", "delete", agent, "--force", "--json"], None)?;
        let failed = said.pointer("/failed").and_then(Value::as_array).into_iter().flatten();
        let mut left: Vec<String> = failed
            .filter_map(|failed| failed.pointer("/path").and_then(Value::as_str))
            .map(|path| format!("{path} isn't in the trash."))
            .collect();
        if said.pointer("/purgeFailed") == Some(&Value::Bool(true)) {
            left.push(format!("Conversations of {agent} are still in OpenClaw's store."));
        }
        Ok(left)
    }

    /// Where it keeps what is each agent's own, if one of its agents is where OpenClaw puts them by itself.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn agents_folder(&self) -> Result<Option<PathBuf>, Failure> {
        let said = self.run(&["agents", "list", "--json"], None)?;
        let folder = |agent: &Value| {
            let own = Path::new(agent.pointer("/agentDir")?.as_str()?);
            let name = Path::new(agent.pointer("/id")?.as_str()?);
            own.ends_with(name.join("agent")).then(|| own.ancestors().nth(2))?.map(Path::to_owned)
        };
        Ok(said.as_array().into_iter().flatten().find_map(folder))
    }

    /// Adds an agent that isn't in its settings.
    ///
    /// # Errors
    /// Where it refuses.
    pub fn add(&self, agent: &str, workspace: &Path) -> Result<(), Failure> {
        let workspace = workspace.to_string_lossy();
        let words =
            ["agents", "add", agent, "--non-interactive", "--json", "--workspace", &workspace];
        self.run(&words, None).map(drop)
    }

    /// Runs it, and reads the JSON that it prints.
    fn run(&self, words: &[&str], input: Option<&str>) -> Result<Value, Failure> {
        let said = self.output(words, input)?;
        serde_json::from_str(&said)
            .map_err(|_| self.failed(words, "what it printed isn't understood."))
    }

    /// What it prints. An OpenClaw that is busy keeps its state to itself for some seconds, and its command
    /// does nothing then.
    fn output(&self, words: &[&str], input: Option<&str>) -> Result<String, Failure> {
        for _ in 1..ATTEMPTS {
            match self.once(words, input) {
                Err(failure) if failure.message.contains(BUSY) => std::thread::sleep(PAUSE),
                ended => return ended,
            }
        }
        self.once(words, input)
    }

    fn once(&self, words: &[&str], input: Option<&str>) -> Result<String, Failure> {
        let mut command = Command::new(self.0);
        for name in OWN {
            command.env_remove(name);
        }
        command.args(words).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() });
        let ran = command.spawn().and_then(|mut child| {
            if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
                // Who doesn't read says why in its own words.
                let _ = pipe.write_all(input.as_bytes());
            }
            child.wait_with_output()
        });
        let output = ran.map_err(|error| self.absent(&error))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(text(&output.stdout));
        }
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let why = match told.pointer("/error/message").and_then(Value::as_str) {
            Some(message) => message.to_owned(),
            None => last_lines(&text(&output.stderr)),
        };
        Err(self.failed(words, &why))
    }

    fn failed(&self, words: &[&str], why: &str) -> Failure {
        let what = words.iter().take(2).copied().collect::<Vec<_>>().join(" ");
        let message = format!("`{} {what}` failed: {why}", self.0.display());
        Failure::new(Kind::Failed, message)
    }

    fn absent(&self, error: &std::io::Error) -> Failure {
        let kind = match error.kind() {
            ErrorKind::NotFound => Kind::Usage,
            _ => Kind::Failed,
        };
        Failure::new(kind, format!("{} can't be run: {error}.", self.0.display()))
            .next("Run this on OpenClaw's own machine, as OpenClaw's own user, or name its command with --openclaw.")
    }
}

/// The agent of which a failure says that it was deleted (`agent-deletion-journal` of 2026.9.6).
pub fn deleted(failure: &Failure) -> Option<&str> {
    let (_, rest) = failure.message.split_once("unavailable while agent ")?;
    rest.split_once(" is deleted").map(|(agent, _)| agent)
}

/// What `openclaw secrets apply` is told: each agent's profile is a token, and where it is.
fn profiles(agents: &[String]) -> Value {
    let target = |agent: &String| {
        json!({
            "type": "auth-profiles.token.token",
            "path": format!("profiles.{PROFILE}.token"),
            "pathSegments": ["profiles", PROFILE, "token"],
            "agentId": agent,
            "authProfileProvider": PROVIDER,
            "ref": {
                "source": "file",
                "provider": PROVIDER,
                "id": format!("/{}", settings::owner(agent)),
            },
        })
    };
    json!({
        "version": 1,
        "protocolVersion": 1,
        // What the operator keeps elsewhere is left alone.
        "options": {
            "scrubEnv": false,
            "scrubAuthProfilesForProviderTargets": false,
            "scrubLegacyAuthJson": false,
        },
        "targets": agents.iter().map(target).collect::<Vec<_>>(),
    })
}

/// The end of what it said, which is what went wrong.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.get(lines.len().saturating_sub(3)..).unwrap_or_default().join(" ")
}
