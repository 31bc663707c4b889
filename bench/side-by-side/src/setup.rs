//! What has to be there before anything is measured, made by `cargo xtask`; and whose versions they are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::options::Contender;

/// Builds the gateway, and the build of it that tells of each call; where it doesn't take part, only
/// the runtime is set up.
///
/// # Errors
/// When the build fails; it has said why.
pub fn build(xtask: &Path, has_gateway: bool) -> Result<()> {
    let ways: [&[&str]; 2] = [&["build"], &["build", "--fault-injection"]];
    let ways = if has_gateway { &ways[..] } else { &[&["setup"] as &[&str]] };
    ways.iter().try_for_each(|words| run(xtask, words))
}

/// Installs those contenders that are others' programs; who can't be installed, and why.
pub fn install(xtask: &Path, contenders: &[Contender]) -> BTreeMap<Contender, String> {
    let rivals = contenders.iter().filter(|contender| contender.is_rival());
    let outcomes = rivals.map(|rival| (*rival, run(xtask, &["setup", "--rival", rival.name()])));
    outcomes.filter_map(|(rival, outcome)| Some((rival, outcome.err()?.to_string()))).collect()
}

/// Runs xtask, which shows what it does and, where it fails, why.
fn run(xtask: &Path, words: &[&str]) -> Result<()> {
    let status = Command::new(xtask).args(words).stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("can't start {}", xtask.display()))?;
    if !status.success() {
        bail!("`cargo xtask {}` failed", words.join(" "));
    }
    Ok(())
}

/// The versions of all that takes part.
pub fn versions(root: &Path, contenders: &[Contender]) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut add = |name: &str, version: Option<String>| {
        if let Some(version) = version {
            versions.insert(name.to_owned(), version);
        }
    };
    add("organized-gateway", commit(root));
    for package in ["workerd", "miniflare", "node"] {
        add(package, npm_version(&root.join("node_modules").join(package)));
    }
    if contenders.contains(&Contender::Portkey) {
        let folder = root.join("bench/node_modules/@portkey-ai/gateway");
        add("@portkey-ai/gateway", npm_version(&folder));
    }
    if contenders.contains(&Contender::Litellm) {
        let python = root.join("target/litellm/bin/python");
        let ask = "import importlib.metadata as m; print(m.version('litellm'))";
        add("litellm", said_by(Command::new(&python).args(["-c", ask])));
        let python = said_by(Command::new(&python).arg("--version"));
        add("python", python.map(|text| text.replace("Python ", "")));
    }
    versions
}

/// The commit that is measured, and whether it is quite that.
fn commit(root: &Path) -> Option<String> {
    let git = |words: &[&str]| said_by(Command::new("git").args(words).current_dir(root));
    let commit = git(&["rev-parse", "--short", "HEAD"])?;
    let is_changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some();
    Some(if is_changed { format!("{commit} and changes") } else { commit })
}

fn npm_version(folder: &Path) -> Option<String> {
    let text = std::fs::read_to_string(folder.join("package.json")).ok()?;
    let package: Value = serde_json::from_str(&text).ok()?;
    Some(package.get("version")?.as_str()?.to_owned())
}

/// What a command prints, if anything and all went well.
fn said_by(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
