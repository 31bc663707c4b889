//! Every command a developer or CI runs: `cargo xtask --help`.
//!
//! Reading order: `setup` makes what is missing, `build` makes the Wasm, `serve` runs it, `test`
//! holds it to its promises. `progress` shows what takes long; `tidy` turns conventions into tests.

// Printing is what this program does.
#![allow(clippy::print_stdout, reason = "a command line tool answers on its standard output")]

mod build;
mod progress;
mod serve;
mod setup;
mod stamp;
mod test;
#[cfg(test)]
mod tidy;
mod workspace;
mod wrangler;

use clap::{Parser, Subcommand};

/// The commands of organized-gateway.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what is missing: Node packages, the Wasm toolchain, the build tools.
    ///
    /// Everything goes below target/ and into the folder of the Node packages. The other commands do
    /// this by themselves; a
    /// second run takes no time.
    Setup,
    /// Build the Worker's Wasm with optimisations.
    ///
    /// The result is in build/ and build-office/ (with --fault-injection: build-fault/ and
    /// build-fault-office/). Nothing is done when no input
    /// has changed.
    Build(build::Options),
    /// Run the gateway on this machine, its state on disk.
    ///
    /// Sets up, builds, applies the D1 migrations, and serves from workerd. Prints the line
    /// `ready http://127.0.0.1:PORT` once it serves. Ctrl-C stops it.
    Serve(serve::Options),
    /// Run every check and every test.
    ///
    /// Ends with a line `N passed, N failed`.
    Test(test::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup => setup::everything(),
        Command::Build(options) => build::run(&options),
        Command::Serve(options) => serve::run(options),
        Command::Test(options) => test::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
