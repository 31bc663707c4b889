//! The trainee's kit: its scripts against the served gateway, as a person would run them.

mod agent;
mod codex;
mod doctor;
mod home;
mod mistakes;
mod powershell;
mod room;
mod scripts;
mod setup;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gateway_tests::redaction::RUN;
use gateway_tests::{Options, Script, Upstream, workspace};
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};
use tokio::sync::OnceCell;

use crate::runner::Test;
use crate::shared::{self, Pair};

pub fn tests() -> Vec<Test> {
    let lists = [
        agent::tests(),
        codex::tests(),
        doctor::tests(),
        home::tests(),
        mistakes::tests(),
        powershell::tests(),
        room::tests(),
        scripts::tests(),
        setup::tests(),
    ];
    lists.into_iter().flatten().collect()
}

/// What people have in hand at an event: the operator's model pays, a gateway key is all they need.
static HOSTED: OnceCell<Pair> = OnceCell::const_new();

async fn hosted() -> &'static Pair {
    HOSTED.get_or_init(async || shared::pair(hosting(Options::new())).await).await
}

/// Settings with which a gateway hosts.
pub fn hosting(options: Options) -> Options {
    options
        .var("UPSTREAM_AUTH", "token")
        .var("USER_BINDING", "key")
        .var("OPENCLAW_GATEWAY_TOKEN", "openclaw-token-behind-the-kit")
        .var("SESSION_KEY_SECRET", "session-key-secret-for-the-kits-tests-01")
}

/// Stops the gateway that was shared.
pub fn stop() {
    if let Some(pair) = HOSTED.get() {
        pair.gateway.stop();
    }
}

/// The folder that a trainee unzips.
fn sources() -> PathBuf {
    workspace().join("trainee-kit")
}

/// A kit as somebody unzipped it.
pub struct Kit {
    folder: PathBuf,
    shell: PathBuf,
    environment: BTreeMap<String, String>,
    wrapper: Vec<String>,
    _parent: tempfile::TempDir,
}

/// How a script ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    code: Option<i32>,
    said: String,
    complained: String,
    took: Duration,
}

impl Kit {
    /// Unzipped anywhere, without settings.
    fn unzip() -> Self {
        Self::unzip_as("trainee-kit")
    }

    /// Unzipped into a folder of this name.
    fn unzip_as(name: &str) -> Self {
        Self::placed(name, |folder| copy(&sources(), folder))
    }

    /// Unzipped from a file out of which comes a folder of this name.
    pub fn unzipped(zip: &Path, name: &str) -> Self {
        Self::placed(name, |folder| {
            let mut unzip = std::process::Command::new("unzip");
            unzip.arg("-q").arg(zip).arg("-d").arg(folder.parent().unwrap());
            assert!(unzip.status().expect("no unzip: `cargo xtask test` installs it").success());
        })
    }

    fn placed(name: &str, place: impl FnOnce(&Path)) -> Self {
        let parent = tempfile::tempdir().unwrap();
        std::fs::set_permissions(parent.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let folder = parent.path().join(name);
        place(&folder);
        // An older bash, such as that of macOS, where there is one.
        let shell = std::env::var_os("KIT_BASH").map_or_else(|| "bash".into(), PathBuf::from);
        let path = std::env::var("PATH").unwrap_or_default();
        // Nothing looks outside: a test that has a network says where it ends.
        let nowhere = ("KIT_PROBE_URL".to_owned(), "http://127.0.0.1:9/success.txt".to_owned());
        let environment = BTreeMap::from([("PATH".to_owned(), path), nowhere]);
        Self { folder, shell, environment, wrapper: Vec::new(), _parent: parent }
    }

    /// With these settings in `.env`.
    fn with(env: impl AsRef<[u8]>) -> Self {
        Self::unzip().saved(".env", env)
    }

    /// With another file.
    fn saved(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        std::fs::write(self.folder.join(name), content).unwrap();
        self
    }

    /// With a variable of its environment.
    fn set(mut self, name: &str, value: impl Into<String>) -> Self {
        self.environment.insert(name.to_owned(), value.into());
        self
    }

    /// Inside another command.
    fn inside(mut self, wrapper: &[&str]) -> Self {
        self.wrapper = wrapper.iter().map(ToString::to_string).collect();
        self
    }

    fn env(&self) -> String {
        std::fs::read_to_string(self.folder.join(".env")).unwrap()
    }

    /// What `.env` says of a setting now.
    pub fn setting(&self, name: &str) -> String {
        let env = self.env();
        let value = env.lines().find_map(|line| line.strip_prefix(&format!("{name}=")));
        let value = value.unwrap_or_else(|| panic!("no {name} in {env}")).to_owned();
        if name.ends_with("KEY") {
            RUN.note(name, &value);
        }
        value
    }

    /// One of its scripts with arguments, ready to start. Nobody is there to be asked.
    fn command(&self, script: &str, arguments: &[&str]) -> Command {
        let mut words = self.wrapper.clone();
        words.push(self.shell.display().to_string());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]).arg(self.folder.join(script)).args(arguments);
        command.current_dir(Path::new("/")).env_clear().envs(&self.environment);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.kill_on_drop(true);
        command
    }

    /// Runs a script to its end.
    async fn run(&self, script: &str, arguments: &[&str]) -> Ended {
        let began = std::time::Instant::now();
        finish(self.command(script, arguments).spawn().unwrap(), began).await
    }

    pub async fn setup(&self) -> Ended {
        self.run("setup.sh", &[]).await
    }

    async fn doctor(&self) -> Ended {
        self.run("setup.sh", &["--doctor"]).await
    }
}

/// Waits for the end of a script that runs.
async fn finish(child: Child, began: std::time::Instant) -> Ended {
    let output = tokio::time::timeout(Duration::from_mins(2), child.wait_with_output());
    let output = output.await.expect("an end").unwrap();
    Ended {
        code: output.status.code(),
        said: String::from_utf8(output.stdout).unwrap(),
        complained: String::from_utf8(output.stderr).unwrap(),
        took: began.elapsed(),
    }
}

impl Ended {
    #[track_caller]
    pub fn is_ready(&self) {
        assert_eq!(self.code, Some(0), "{self:?}");
        assert!(self.said.contains("\nAgent ready.\n"), "{self:?}");
        assert_eq!(self.complained, "", "{self:?}");
    }

    /// Asserts one plain sentence or two about what is wrong, on one line.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.complained.contains(words), "{words}: {self:?}");
        assert_eq!(self.complained.trim_end().lines().count(), 1, "{self:?}");
        assert!(self.complained.trim_end().ends_with('.'), "{self:?}");
        assert!(!self.said.contains("Agent ready."), "{self:?}");
    }

    /// Asserts that none of these is to be read anywhere.
    #[track_caller]
    pub fn tells_none_of(&self, secrets: &[&str]) {
        for secret in secrets {
            assert!(secret.len() > 8, "a secret");
            assert!(!format!("{}{}", self.said, self.complained).contains(secret), "it was told");
        }
    }
}

/// Reads on until `words` have come; all that came by then.
async fn read_until(from: &mut (impl AsyncReadExt + Unpin), words: &str) -> String {
    let mut read = Vec::new();
    let all = async {
        while !String::from_utf8_lossy(&read).contains(words) {
            let byte = from.read_u8().await;
            let so_far = String::from_utf8_lossy(&read);
            read.push(byte.unwrap_or_else(|_| panic!("no {words:?} in {so_far:?}")));
        }
    };
    tokio::time::timeout(Duration::from_mins(1), all).await.expect("words in time");
    String::from_utf8(read).unwrap()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

/// Something that isn't a gateway, and answers as it is told.
async fn stranger(health: Script) -> Upstream {
    let stranger = Upstream::start().await;
    stranger.place("/health", health);
    stranger
}
