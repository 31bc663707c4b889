//! The command itself, against servers that answer as no real gateway would. What it does with a real one
//! is in the suite, `tests/suite/ctl.rs`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has to panic"
)]

mod certificates;
mod kits;
#[cfg(unix)]
mod openclaw;
mod refusals;
mod server;
mod usage;

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// What no output may contain.
const TOKEN: &str = "operator-token-of-the-tests";

/// The command with a home of its own, and a token.
struct Ctl {
    home: TempDir,
    command: Command,
}

/// What came of a command.
struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
    /// Its home, until nobody looks any more.
    home: TempDir,
}

impl Ctl {
    fn new(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_gatewayctl"));
        command.args(arguments).env_clear().current_dir(home.path()).stdin(Stdio::null());
        command.env("GATEWAYCTL_CONFIG", home.path().join("config.toml"));
        command.env("OPERATOR_TOKEN", TOKEN);
        Self { home, command }
    }

    fn env(mut self, name: &str, value: impl AsRef<std::ffi::OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    fn without(mut self, name: &str) -> Self {
        self.command.env_remove(name);
        self
    }

    fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs it to its end. Nothing that it says tells the token.
    fn run(mut self) -> Ended {
        let output = self.command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (out, err) = (text(output.stdout), text(output.stderr));
        assert!(!out.contains(TOKEN) && !err.contains(TOKEN), "{out}\n{err}");
        Ended { code: output.status.code(), out, err, home: self.home }
    }
}

impl Ended {
    #[track_caller]
    fn is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn says(self, text: &str) -> Self {
        assert!(self.err.contains(text), "{text:?} isn't in {:?}", self.err);
        self
    }

    /// The failure, as programs get it.
    fn failure(&self) -> Value {
        serde_json::from_str::<Value>(&self.err).expect(&self.err)["error"].clone()
    }

    /// The output, as programs get it.
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).expect(&self.out)
    }
}
