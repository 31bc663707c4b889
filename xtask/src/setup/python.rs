//! The Python that the suite's real client runs on, with its packages, in target/python.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::wasm_toolchain::{apt_get, privilege};
use crate::progress::{Progress, Step};
use crate::stamp::{self, Stamp};
use crate::workspace;

const ADVICE: &str = "The suite runs the official Python client. Install Python 3.9 or newer with its \
     venv module (Debian: apt-get install python3-venv), see that pip reaches its index, and run the \
     command again.";

/// The interpreter that has the packages.
fn interpreter() -> PathBuf {
    workspace::root().join("target/python/bin/python")
}

/// Installs the packages that `tests/clients/requirements.txt` names, if they aren't.
pub fn install(progress: &Progress) -> Result<()> {
    let requirements = workspace::root().join("tests/clients/requirements.txt");
    if !requirements.exists() {
        return Ok(());
    }
    let stamp = Stamp::new("python", stamp::hash("", std::slice::from_ref(&requirements))?);
    if stamp.is_current(&[interpreter()]) {
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
    command.args(["-m", "venv", "--clear"]).arg(workspace::root().join("target/python"));
    let name = "making the Python environment of the tests";
    progress.run(Step { name, command, advice: ADVICE, patience: None })?;

    let mut command = workspace::command(interpreter());
    command.args(["-m", "pip", "install", "--disable-pip-version-check", "--requirement"]);
    command.arg(&requirements);
    let name = "installing the Python packages of the tests";
    progress.run(Step { name, command, advice: ADVICE, patience: None })?;
    stamp.set()
}

fn can_make_environments() -> bool {
    Command::new("python3")
        .args(["-c", "import ensurepip, venv"])
        .output()
        .is_ok_and(|output| output.status.success())
}
