//! worker-build and wasm-bindgen, compiled from source into target/tools.

use std::path::PathBuf;

use anyhow::Result;

use crate::progress::{Progress, Step};
use crate::stamp::Stamp;
use crate::workspace;

/// Builds a Worker around the Wasm.
pub const WORKER_BUILD: Tool =
    Tool { package: "worker-build", version: "0.8.7", program: "worker-build" };
/// Writes the JavaScript around the Wasm. Has to be the version of the library in `Cargo.toml`.
pub const WASM_BINDGEN: Tool =
    Tool { package: "wasm-bindgen-cli", version: "0.2.129", program: "wasm-bindgen" };

/// A program that comes as the source code of a package.
pub struct Tool {
    pub package: &'static str,
    pub version: &'static str,
    program: &'static str,
}

/// Where the tool's program is.
pub fn program(tool: &Tool) -> PathBuf {
    workspace::tools().join("bin").join(tool.program)
}

/// Installs what isn't.
pub fn install(progress: &Progress) -> Result<()> {
    for tool in [&WASM_BINDGEN, &WORKER_BUILD] {
        let stamp = Stamp::new(tool.package, tool.version.to_owned());
        if stamp.is_current(&[program(tool)]) {
            continue;
        }
        let mut command = workspace::command("cargo");
        command.args(["install", "--locked", "--force", "--root"]).arg(workspace::tools());
        command.arg(format!("{}@{}", tool.package, tool.version)).args(["--bin", tool.program]);
        command.env("CARGO_TARGET_DIR", workspace::tools().join("build"));
        // They run for a second or two a build: what counts is how soon they are there.
        command.env("CARGO_PROFILE_RELEASE_OPT_LEVEL", "0");
        command.env("CARGO_PROFILE_RELEASE_LTO", "off");
        command.env("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "256");
        command.env("CARGO_PROFILE_RELEASE_DEBUG", "0");
        let name = format!("compiling {} {} (once)", tool.package, tool.version);
        let advice = "Check that cargo reaches its registry and that a C compiler is installed \
                      (Debian: apt-get install build-essential), then run the command again.";
        progress.run(Step { name: &name, command, advice, patience: None })?;
        stamp.set()?;
    }
    Ok(())
}
