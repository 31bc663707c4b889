//! `cargo xtask build`: the Worker's Wasm, from the Rust sources to what workerd loads, and the
//! console's page.

pub mod console;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Args;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::progress::{Progress, Step};
use crate::setup::{self, RUST_VERSION, WASM_BINDGEN, WORKER_BUILD, WasmToolchain};
use crate::stamp::{self, Stamp};
use crate::workspace;

/// What `cargo xtask build` can be told.
#[derive(Args)]
pub struct Options {
    /// Build into build-fault/ a Worker that panics and moves its clock on demand, for the tests
    #[arg(long)]
    fault_injection: bool,
}

/// One of the two ways to build the Worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// What is served and deployed.
    Release,
    /// With the cargo feature `fault-injection`. Never deployed.
    FaultInjection,
}

impl Variant {
    /// The one that a flag asks for.
    pub fn new(fault_injection: bool) -> Self {
        if fault_injection { Self::FaultInjection } else { Self::Release }
    }

    /// Where the build of a module is, or will be.
    pub fn folder(self, module: Module) -> PathBuf {
        workspace::root().join(self.folder_name(module))
    }

    fn folder_name(self, module: Module) -> &'static str {
        match (self, module) {
            (Self::Release, Module::Gateway) => "build",
            (Self::Release, Module::Office) => "build-office",
            (Self::FaultInjection, Module::Gateway) => "build-fault",
            (Self::FaultInjection, Module::Office) => "build-fault-office",
        }
    }

    fn features(self, module: Module) -> &'static str {
        match (self, module) {
            (Self::Release, Module::Gateway) => "gateway",
            (Self::Release, Module::Office) => "office",
            (Self::FaultInjection, Module::Gateway) => "gateway,fault-injection",
            (Self::FaultInjection, Module::Office) => "office,fault-injection",
        }
    }
}

/// One of the two modules that the Worker is made of: decision 9.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Module {
    /// What every request of an agent needs.
    Gateway,
    /// The rest, loaded when it is first asked for.
    Office,
}

impl Module {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Gateway, Self::Office];
}

/// Sets up and builds.
///
/// # Errors
/// When a step fails; the message says what to do.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let toolchain = setup::for_build(&progress)?;
    build(&progress, &toolchain, Variant::new(options.fault_injection))
}

/// Builds both modules and the console, if an input has changed since the last time.
///
/// # Errors
/// When the compiler refuses.
pub fn build(progress: &Progress, toolchain: &WasmToolchain, variant: Variant) -> Result<()> {
    console::build(progress)?;
    let inputs = inputs()?;
    Module::ALL
        .into_iter()
        .try_for_each(|module| build_module(progress, toolchain, (variant, module), &inputs))
}

fn build_module(
    progress: &Progress,
    toolchain: &WasmToolchain,
    (variant, module): (Variant, Module),
    inputs: &str,
) -> Result<()> {
    let (folder, folder_name) = (variant.folder(module), variant.folder_name(module));
    let wasm = folder.join("index_bg.wasm");
    let stamp = Stamp::new(folder_name, inputs.to_owned());
    if !stamp.is_current(&[wasm.clone(), folder.join("index.js")]) {
        let mut command = workspace::command(setup::build_tool(&WORKER_BUILD));
        command.args(["--release", "--panic-unwind", "--out-dir", folder_name]);
        command.args(["--no-default-features", "--features", variant.features(module)]);
        command.envs(toolchain.environment()?);
        // worker-build builds the standard library too; this is the smaller of its two forms.
        let features = "panic-unwind,optimize_for_size";
        command.env("CARGO_UNSTABLE_BUILD_STD_FEATURES", features);
        command.env("WASM_BINDGEN_BIN", setup::build_tool(&WASM_BINDGEN));
        command.env("WASM_OPT_BIN", workspace::node_program("wasm-opt"));
        command.env("ESBUILD_BIN", workspace::node_program("esbuild"));
        let name = format!("building the Worker into {folder_name}/");
        let advice = "Mend what the compiler names above. If it isn't in this repository's own code, \
                      `rm -rf target/wasm32-unknown-unknown target/tools` and run the command again.";
        progress.run(Step { name: &name, command, advice, patience: None })?;
        strip(progress, &wasm)?;
        stamp.set()?;
    }
    let bytes = std::fs::read(&wasm).with_context(|| format!("can't read {}", wasm.display()))?;
    progress.say(&format!(
        "  {folder_name}/index_bg.wasm: {} KB, {} KB gzipped",
        bytes.len() / 1000,
        gzipped(&bytes)? / 1000
    ));
    Ok(())
}

/// Takes the names of functions out, a twelfth of what is uploaded and started: worker-build keeps
/// them. A panic names its file and line all the same.
fn strip(progress: &Progress, wasm: &Path) -> Result<()> {
    let mut command = workspace::command(workspace::node_program("wasm-opt"));
    command.args(["--detect-features", "--strip-debug"]).arg(wasm).arg("--output").arg(wasm);
    let advice = "`rm -rf node_modules` and run the command again.";
    progress.run(Step { name: "stripping it", command, advice, patience: None })
}

/// The hash of all that the Wasm is made from.
fn inputs() -> Result<String> {
    let root = workspace::root();
    // Not all of crates/domain: its tests leave files there, such as proptest-regressions/.
    let names = [
        "src",
        "crates/domain/src",
        "crates/domain/Cargo.toml",
        "docs/operator-api.yaml",
        "Cargo.toml",
        "Cargo.lock",
        "package-lock.json",
    ];
    let paths: Vec<PathBuf> = names.iter().map(|name| root.join(name)).collect();
    let tools = format!("{RUST_VERSION} {} {}", WORKER_BUILD.version, WASM_BINDGEN.version);
    stamp::hash(&tools, &paths)
}

/// The size of these bytes as a deploy uploads them.
fn gzipped(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}
