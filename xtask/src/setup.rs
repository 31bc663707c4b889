//! Makes what is missing on this machine, and nothing twice.
//!
//! Needed beforehand: Rust by way of rustup, and Node 20 or newer with npm. Everything made here goes
//! below target/tools and `node_modules`, except for Debian's packages where they are the only way.

mod build_tools;
mod chromium;
mod debian_tools;
mod node_packages;
mod python;
mod wasm_toolchain;

use std::fs::File;

use anyhow::{Context, Result, anyhow};
use clap::{Args, ValueEnum};

use crate::progress::Progress;
use crate::workspace;

pub use build_tools::{WASM_BINDGEN, WORKER_BUILD, program as build_tool};
pub use node_packages::check_node;
pub use wasm_toolchain::{RUST_VERSION, WasmToolchain, host};

/// What `cargo xtask setup` can be told.
#[derive(Args)]
pub struct Options {
    /// Install another gateway instead, for `cargo xtask bench`
    #[arg(long, value_enum)]
    rival: Option<Rival>,
}

/// Another gateway that `bench` measures beside this one. For its size it is installed only then.
#[derive(Clone, Copy, ValueEnum)]
enum Rival {
    /// Portkey's, a Node package
    Portkey,
    /// `LiteLLM`'s proxy, a Python package
    Litellm,
}

/// Makes what the build and `serve` need, or what the options name.
///
/// # Errors
/// When a step fails; the message says what to do.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let Some(rival) = options.rival else { return for_build(&progress).map(|_toolchain| ()) };
    let _lock = lock(&progress)?;
    match rival {
        Rival::Portkey => node_packages::install_rival(&progress),
        Rival::Litellm => python::install(&progress, &python::RIVAL),
    }
}

/// What `serve` needs for a Worker that is already built.
///
/// # Errors
/// When a step fails.
pub fn for_serving(progress: &Progress) -> Result<()> {
    let _lock = lock(progress)?;
    node_packages::install(progress)
}

/// What it takes to build the Worker and to serve it.
///
/// # Errors
/// When a step fails.
pub fn for_build(progress: &Progress) -> Result<WasmToolchain> {
    install(progress, || Ok(()))
}

/// What the tests need beyond that: the Python client, a browser, what opens kits, counts instructions
/// and compiles libFuzzer, and packages that only tests use.
///
/// # Errors
/// When a step fails.
pub fn for_tests(progress: &Progress) -> Result<WasmToolchain> {
    install(progress, || {
        node_packages::install_for_tests(progress)?;
        python::install(progress, &python::CLIENT)?;
        chromium::install(progress)?;
        debian_tools::install(progress, &debian_tools::FOR_KITS)?;
        debian_tools::install(progress, &debian_tools::FOR_GATES)?;
        debian_tools::install(progress, &debian_tools::FOR_FUZZ)
    })
}

/// What counting the rules' instructions takes: the Worker's compiler, and valgrind.
///
/// # Errors
/// When a step fails.
pub fn for_gates(progress: &Progress) -> Result<WasmToolchain> {
    let _lock = lock(progress)?;
    debian_tools::install(progress, &debian_tools::FOR_GATES)?;
    wasm_toolchain::install(progress)
}

/// What compiling libFuzzer takes.
///
/// # Errors
/// When a step fails.
pub fn for_fuzz(progress: &Progress) -> Result<()> {
    let _lock = lock(progress)?;
    debian_tools::install(progress, &debian_tools::FOR_FUZZ)
}

/// Compiling the tools keeps the processors busy, the downloads keep the network busy.
fn install(
    progress: &Progress,
    more_downloads: impl FnOnce() -> Result<()>,
) -> Result<WasmToolchain> {
    let _lock = lock(progress)?;
    check_node()?;
    std::thread::scope(|scope| {
        let tools = scope.spawn(|| build_tools::install(progress));
        let downloads = node_packages::install(progress)
            .and_then(|()| wasm_toolchain::install(progress))
            .and_then(|toolchain| more_downloads().map(|()| toolchain));
        let tools = tools.join().map_err(|_panic| anyhow!("installing the build tools failed"));
        tools??;
        downloads
    })
}

/// Holds off another xtask that sets up in the same clone, until the file is dropped.
fn lock(progress: &Progress) -> Result<File> {
    let path = workspace::tools().join("lock");
    std::fs::create_dir_all(workspace::tools())
        .with_context(|| format!("can't make the folder {}", workspace::tools().display()))?;
    let file = File::create(&path).with_context(|| format!("can't write {}", path.display()))?;
    if file.try_lock().is_err() {
        progress.say("  another cargo xtask is setting up here; waiting for it …");
        file.lock().with_context(|| format!("can't lock {}", path.display()))?;
    }
    Ok(file)
}
