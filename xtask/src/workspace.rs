//! Where things are.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::LazyLock;

use anyhow::{Context, Result};

/// The folder of the workspace's `Cargo.toml`.
pub fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Known when this was compiled: xtask is run from the clone that built it. Only the suite, which
        // has no time to build another for each fork that it tries, names another clone.
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let elsewhere = std::env::var_os("XTASK_WORKSPACE").map(PathBuf::from);
        elsewhere.unwrap_or_else(|| here.parent().unwrap_or(here).to_owned())
    });
    &ROOT
}

/// Where `setup` keeps what it makes; `cargo clean` takes it away.
pub fn tools() -> PathBuf {
    root().join("target/tools")
}

/// A program that a Node package brings.
pub fn node_program(name: &str) -> PathBuf {
    root().join("node_modules/.bin").join(name)
}

/// `PATH` with these folders first.
///
/// # Errors
/// When a folder's name contains the separator of `PATH`.
pub fn path_with(first: &[PathBuf]) -> Result<OsString> {
    let rest = std::env::var_os("PATH").unwrap_or_default();
    let folders = first.iter().cloned().chain(std::env::split_paths(&rest));
    std::env::join_paths(folders).context("a folder's name can't be part of PATH")
}

/// A command that runs in the workspace's folder.
///
/// What cargo and rustup set for xtask itself is taken out, so that a command behaves as it would in
/// a fresh shell.
pub fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        let ours = text.starts_with("CARGO_PKG_")
            || text.starts_with("CARGO_MANIFEST_")
            || matches!(text.as_ref(), "CARGO" | "CARGO_BIN_NAME" | "RUSTUP_TOOLCHAIN");
        if ours {
            command.env_remove(name);
        }
    }
    command
}

/// Writes a file through a neighbour and a rename, so that nobody sees half of it.
///
/// # Errors
/// When the disk refuses.
pub fn write_whole(path: &Path, text: &str) -> Result<()> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make the folder {}", folder.display()))?;
    }
    let draft = path.with_extension("draft");
    std::fs::write(&draft, text).with_context(|| format!("can't write {}", draft.display()))?;
    std::fs::rename(&draft, path).with_context(|| format!("can't write {}", path.display()))
}
