//! The Node packages of `package-lock.json`: the runtime, the Wasm helpers, the clients of the tests.
//!
//! One of them, `node`, brings the Node that everything here runs on, so that the machine's own only
//! has to be good enough to install it.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::progress::{Progress, Step};
use crate::stamp::{self, Stamp};
use crate::workspace;

const OLDEST_NODE: u32 = 20;
const SCRIPTS: &str = "It is put there by its package's install script: let npm run scripts \
     (`npm config get ignore-scripts` should say false), remove node_modules, and run this again.";

/// Whether the machine's own Node can install the packages.
///
/// # Errors
/// When there is none, or too old a one.
pub fn check_node() -> Result<()> {
    const ADVICE: &str = "Install Node 20 or newer with npm: https://nodejs.org";
    let output = Command::new("node").arg("--version").output().context(ADVICE)?;
    let version = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match major(&version) {
        Some(major) if major >= OLDEST_NODE => Ok(()),
        _ => bail!("the Node on this machine is {version}, which is too old. {ADVICE}"),
    }
}

/// The packages that building and serving take.
pub fn install(progress: &Progress) -> Result<()> {
    let name = "installing the Node packages";
    install_in(progress, workspace::root(), name, workspace::command("npm"))?;
    let node = workspace::node_program("node");
    let runs = Command::new(&node).arg("--version").output().is_ok_and(|it| it.status.success());
    if runs { Ok(()) } else { bail!("{} doesn't run. {SCRIPTS}", node.display()) }
}

/// Packages that only tests use, and that live in a folder of their own for their size.
pub fn install_for_tests(progress: &Progress) -> Result<()> {
    let openclaw = workspace::root().join("tests/openclaw");
    if openclaw.join("package-lock.json").exists() {
        let mut command = workspace::command("npm");
        // It wants a newer Node than the machine's. By now there is one.
        command.env("PATH", workspace::path_with(&[workspace::root().join("node_modules/.bin")])?);
        install_in(progress, &openclaw, "installing OpenClaw for the tests", command)?;
    }
    Ok(())
}

/// Portkey's gateway, for `bench`.
pub fn install_rival(progress: &Progress) -> Result<()> {
    let folder = workspace::root().join("bench");
    install_in(progress, &folder, "installing Portkey's gateway", workspace::command("npm"))
}

fn install_in(progress: &Progress, folder: &Path, name: &str, mut npm: Command) -> Result<()> {
    let inputs = [folder.join("package.json"), folder.join("package-lock.json")];
    // The clone's own folder may be called anything.
    let place = folder.strip_prefix(workspace::root()).unwrap_or(folder);
    let place = place.file_name().unwrap_or_default().to_string_lossy();
    let stamp = Stamp::new(&format!("node-packages-{place}"), stamp::hash("", &inputs)?);
    if stamp.is_current(&[folder.join("node_modules/.package-lock.json")]) {
        return Ok(());
    }
    check_node()?;
    npm.args(["ci", "--no-audit", "--no-fund"]).current_dir(folder);
    let advice = "Check that npm reaches its registry (`npm ping`), then run the command again.";
    progress.run(Step { name, command: npm, advice, patience: None })?;
    stamp.set()
}

/// The first number of a version such as `v20.11.1`.
fn major(version: &str) -> Option<u32> {
    version.strip_prefix('v')?.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::major;

    #[test]
    fn the_major_version_is_read_from_what_node_prints() {
        assert_eq!(major("v20.20.2"), Some(20));
        assert_eq!(major("v24.0.0-nightly"), Some(24));
        assert_eq!(major("20"), None);
        assert_eq!(major(""), None);
    }
}
