//! Brings in the OpenClaw that `tests/openclaw/package.json` pins, once.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;

/// The folder with OpenClaw's package.json, and its `node_modules` once they are there.
#[must_use]
pub fn folder() -> PathBuf {
    crate::workspace().join("tests/openclaw")
}

/// OpenClaw's entry point, after `npm ci` where it has not run for this package-lock.json yet.
///
/// Two suites that start at once wait for each other at a lock file.
///
/// # Panics
/// When npm fails.
#[must_use]
pub fn openclaw() -> PathBuf {
    let folder = folder();
    let wanted = std::fs::read(folder.join("package-lock.json")).expect("a lock file is committed");
    // `npm ci` removes node_modules first, so a stamp inside it says that it came to its end.
    let stamp = folder.join("node_modules/.installed");
    let lock = File::create(folder.join(".install.lock")).expect("a folder to write to");
    lock.lock().expect("a lock on OpenClaw's installation");
    if std::fs::read(&stamp).ok().as_ref() != Some(&wanted) {
        eprintln!("installing OpenClaw (about 30 s)");
        install();
        std::fs::write(&stamp, &wanted).expect("npm made node_modules");
    }
    folder.join("node_modules/openclaw/openclaw.mjs")
}

/// `npm ci` on the Node that OpenClaw will run on. Its packages' install scripts build nothing that
/// a gateway without channels needs.
///
/// What OpenClaw's own scripts would do, it does when it is first started, and two that are first
/// started together get into each other's way: its first start is here, on its own.
fn install() {
    run(Command::new("npm").args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]));
    run(Command::new(crate::node_tool("node"))
        .arg("node_modules/openclaw/openclaw.mjs")
        .arg("--version"));
}

fn run(command: &mut Command) {
    let output = command.env("PATH", path()).current_dir(folder()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?} in {} failed:\n{said}", folder().display());
}

/// PATH with the workspace's own Node before the machine's.
#[must_use]
pub fn path() -> String {
    let own = crate::workspace().join("node_modules/.bin");
    assert!(
        own.join("node").exists(),
        "{} has no node: `cargo xtask serve` and `cargo xtask test` install it",
        own.display()
    );
    format!("{}:{}", own.display(), std::env::var("PATH").unwrap_or_default())
}
