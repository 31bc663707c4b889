//! Python environments below target/: that of the suite's real client, and that of another gateway
//! which `bench` measures.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::wasm_toolchain::{apt_get, privilege};
use crate::progress::{Progress, Step};
use crate::stamp::{self, Stamp};
use crate::workspace;

const ADVICE: &str = "Install Python 3.9 or newer with its venv module (Debian: apt-get install \
     python3-venv), see that pip reaches its index, and run the command again.";

/// An environment with its packages.
pub struct Environment {
    /// Its folder below target/, and the name of its stamp.
    folder: &'static str,
    /// What it is for, as in "the Python environment of the tests".
    of: &'static str,
    /// The file that names its packages, with their versions.
    requirements: &'static str,
}

/// What the suite's Python client runs on.
pub const CLIENT: Environment = Environment {
    folder: "python",
    of: "the tests",
    requirements: "tests/clients/requirements.txt",
};

/// `LiteLLM`'s proxy.
pub const RIVAL: Environment = Environment {
    folder: "litellm",
    of: "LiteLLM's proxy",
    requirements: "bench/requirements.txt",
};

impl Environment {
    fn path(&self) -> PathBuf {
        workspace::root().join("target").join(self.folder)
    }

    /// The interpreter that has the packages.
    fn interpreter(&self) -> PathBuf {
        self.path().join("bin/python")
    }
}

/// Makes the environment and installs its packages, if they aren't.
pub fn install(progress: &Progress, environment: &Environment) -> Result<()> {
    let requirements = workspace::root().join(environment.requirements);
    if !requirements.exists() {
        return Ok(());
    }
    let inputs = stamp::hash("", std::slice::from_ref(&requirements))?;
    let stamp = Stamp::new(environment.folder, inputs);
    if stamp.is_current(&[environment.interpreter()]) {
        return Ok(());
    }
    if !can_make_environments() {
        let command = apt_get(&privilege()?, &["python3", "python3-venv"]);
        progress.run(Step {
            name: "installing Python",
            command,
            advice: ADVICE,
            patience: None,
        })?;
    }
    let mut command = workspace::command("python3");
    command.args(["-m", "venv", "--clear"]).arg(environment.path());
    let name = format!("making the Python environment of {}", environment.of);
    progress.run(Step { name: &name, command, advice: ADVICE, patience: None })?;

    let mut command = workspace::command(environment.interpreter());
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]);
    command.arg(&requirements);
    let name = format!("installing the Python packages of {}", environment.of);
    progress.run(Step { name: &name, command, advice: ADVICE, patience: None })?;
    stamp.set()
}

fn can_make_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .output()
        .is_ok_and(|output| output.status.success())
}
