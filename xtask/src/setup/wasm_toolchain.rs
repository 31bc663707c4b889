//! The compiler that builds the Worker: one version of Rust, with the standard library's source.
//!
//! The Worker is built with `panic=unwind`, so that a panic stays one request's own fault, and for
//! that the standard library is compiled along. worker-build asks for a toolchain named `nightly`,
//! and asks rustup about it. It gets a rustup home of its own below target/tools, in which `nightly`
//! is the version pinned here, and a `rustup` that agrees to everything: neither the machine's
//! toolchains nor today's nightly play a part.
//!
//! The pinned version comes from rustup; where rustup can't download it, from Debian's packages.

use std::ffi::OsString;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::progress::{Progress, Step};
use crate::stamp::Stamp;
use crate::workspace;

/// The version that rustup is asked for. Debian's packages bring the same or a newer one.
pub const RUST_VERSION: &str = "1.96.0";

const DEBIAN_PACKAGES: [&str; 3] = ["rustc-web", "cargo-web", "rust-web-src"];
const ADVICE: &str = "The Worker is compiled by Rust with the standard library's source. Either let \
     rustup reach its servers (test: `rustup toolchain install 1.96.0 --profile minimal -c rust-src`), \
     or, on Debian, run `apt-get install rustc-web cargo-web rust-web-src` as root. \
     Then run this command again.";

/// What a command needs to build for the Workers runtime.
#[derive(Clone, Debug)]
pub struct WasmToolchain {
    home: PathBuf,
}

impl WasmToolchain {
    fn new() -> Self {
        Self { home: workspace::tools().join("rustup") }
    }

    /// The environment that selects it.
    ///
    /// # Errors
    /// When rustup, or the linker that came with it, can't be found.
    pub fn environment(&self) -> Result<Vec<(&'static str, OsString)>> {
        let folders = [self.stub_folder(), proxies()?, workspace::root().join("node_modules/.bin")];
        Ok(vec![
            ("PATH", workspace::path_with(&folders)?),
            ("RUSTUP_HOME", self.home.clone().into()),
            ("RUSTUP_TOOLCHAIN", format!("nightly-{}", host()?).into()),
            // Building the standard library is an unstable feature of a stable compiler.
            ("RUSTC_BOOTSTRAP", "1".into()),
            ("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", self.linker()?.into()),
        ])
    }

    fn stub_folder(&self) -> PathBuf {
        self.home.join("stub")
    }

    /// The toolchain that worker-build knows as `nightly`.
    fn nightly(&self) -> Result<PathBuf> {
        Ok(self.home.join("toolchains").join(format!("nightly-{}", host()?)))
    }

    /// Debian's compiler brings no linker for Wasm; each of rustup's does.
    fn linker(&self) -> Result<PathBuf> {
        let within = format!("lib/rustlib/{}/bin/rust-lld", host()?);
        let own = self.nightly()?.join(&within);
        let linker = if own.exists() { own } else { machine_sysroot()?.join(&within) };
        if !linker.exists() {
            bail!("no linker for Wasm: {} is missing. {ADVICE}", linker.display());
        }
        Ok(linker)
    }

    /// Makes this folder the toolchain that worker-build finds.
    fn select(&self, toolchain: &Path) -> Result<()> {
        let nightly = self.nightly()?;
        if let Some(folder) = nightly.parent() {
            std::fs::create_dir_all(folder)?;
        }
        if nightly.symlink_metadata().is_ok() {
            std::fs::remove_file(&nightly)?;
        }
        symlink(toolchain, &nightly).context("can't link the toolchain")?;
        std::fs::create_dir_all(self.stub_folder())?;
        let stub = self.stub_folder().join("rustup");
        workspace::write_whole(&stub, "#!/bin/sh\nexit 0\n")?;
        std::fs::set_permissions(&stub, std::fs::Permissions::from_mode(0o755))?;
        Ok(())
    }
}

/// Installs it if it isn't.
pub fn install(progress: &Progress) -> Result<WasmToolchain> {
    let toolchain = WasmToolchain::new();
    let stamp = Stamp::new("wasm-toolchain", RUST_VERSION.to_owned());
    if stamp.is_current(&[toolchain.nightly()?.join("bin/cargo"), source_of(&toolchain.nightly()?)])
    {
        return Ok(toolchain);
    }
    if let Err(reason) = from_rustup(progress, &toolchain) {
        progress
            .say(&format!("  rustup can't bring Rust {RUST_VERSION} ({}).", first_line(&reason)));
        progress.say("  Taking Debian's packages instead.");
        from_debian(progress, &toolchain)?;
    }
    toolchain.linker()?;
    stamp.set()?;
    Ok(toolchain)
}

fn from_rustup(progress: &Progress, toolchain: &WasmToolchain) -> Result<()> {
    let name = format!("downloading Rust {RUST_VERSION} for the Wasm");
    let mut command = workspace::command("rustup");
    command.args(["toolchain", "install", RUST_VERSION, "--no-self-update"]);
    command.args(["--profile", "minimal", "--component", "rust-src"]);
    command.env("RUSTUP_HOME", &toolchain.home).env("RUST_BACKTRACE", "0");
    let patience = Some(Duration::from_secs(60));
    progress.run(Step { name: &name, command, advice: ADVICE, patience })?;
    let installed = toolchain.home.join("toolchains").join(format!("{RUST_VERSION}-{}", host()?));
    make_wasm_folder(&installed, &[])?;
    toolchain.select(&installed)
}

fn from_debian(progress: &Progress, toolchain: &WasmToolchain) -> Result<()> {
    let usr = Path::new("/usr");
    let complete = usr.join("bin/cargo").exists() && source_of(usr).exists();
    let wasm_folder = wasm_folder(usr);
    if !complete || !wasm_folder.exists() {
        if !Path::new("/usr/bin/apt-get").exists() {
            bail!("{ADVICE}");
        }
        let privilege = privilege()?;
        if !complete {
            let name = "installing Debian's Rust packages";
            let command = apt_get(&privilege, &DEBIAN_PACKAGES);
            progress.run(Step { name, command, advice: ADVICE, patience: None })?;
        }
        make_wasm_folder(usr, &privilege)?;
    }
    toolchain.select(usr)
}

/// The command that installs Debian packages.
pub fn apt_get(privilege: &[&str], packages: &[&str]) -> Command {
    let install = format!(
        "export DEBIAN_FRONTEND=noninteractive; apt-get update && \
         apt-get install -y --no-install-recommends {}",
        packages.join(" ")
    );
    privileged(privilege, &["sh", "-c", &install])
}

/// What goes before a command that needs root: nothing, or sudo where it doesn't ask for a password.
///
/// # Errors
/// When neither is possible.
pub fn privilege() -> Result<Vec<&'static str>> {
    if nix::unistd::geteuid().is_root() {
        return Ok(Vec::new());
    }
    let allowed = Command::new("sudo")
        .args(["-n", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if allowed { Ok(vec!["sudo", "-n"]) } else { bail!("this needs root. {ADVICE}") }
}

fn privileged(privilege: &[&str], words: &[&str]) -> Command {
    let mut all = privilege.iter().chain(words);
    let mut command = workspace::command(all.next().unwrap_or(&"true"));
    command.args(all);
    command
}

/// worker-build wants the folder of the standard library for Wasm to exist. What is in it doesn't
/// matter, for the library is compiled along.
fn make_wasm_folder(toolchain: &Path, privilege: &[&str]) -> Result<()> {
    let folder = wasm_folder(toolchain);
    let status = privileged(privilege, &["mkdir", "-p"]).arg(&folder).status()?;
    if status.success() { Ok(()) } else { bail!("can't make the folder {}", folder.display()) }
}

fn wasm_folder(toolchain: &Path) -> PathBuf {
    toolchain.join("lib/rustlib/wasm32-unknown-unknown/lib")
}

/// Where a toolchain keeps the standard library's source.
fn source_of(toolchain: &Path) -> PathBuf {
    toolchain.join("lib/rustlib/src/rust/library/Cargo.toml")
}

/// The folder in which rustup's `cargo` and `rustc` are, which pick the toolchain.
fn proxies() -> Result<PathBuf> {
    let cargo_home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let beside_cargo = cargo_home.map(|home| home.join("bin"));
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    beside_cargo
        .into_iter()
        .chain(std::env::split_paths(&on_path))
        .find(|folder| folder.join("rustup").exists() && folder.join("cargo").exists())
        .ok_or_else(|| anyhow!("rustup is missing. Install Rust from https://rustup.rs"))
}

/// The kind of machine this is, as Rust names it.
///
/// # Errors
/// When rustc is missing.
pub fn host() -> Result<String> {
    let output = said(Command::new("rustc").arg("-vV"))?;
    let host = output.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).context("rustc doesn't say which machine this is")
}

/// The folder of the machine's own toolchain.
fn machine_sysroot() -> Result<PathBuf> {
    Ok(said(workspace::command("rustc").args(["--print", "sysroot"]))?.trim().into())
}

fn said(command: &mut Command) -> Result<String> {
    let output =
        command.output().context("rustc is missing. Install Rust from https://rustup.rs")?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn first_line(error: &anyhow::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}
