//! Every command a developer or CI runs: `cargo xtask --help`.
//!
//! Reading order: `setup` makes what is missing, `build` makes the Wasm, `serve` runs it, `test`
//! holds it to its promises, `fuzz` looks for inputs that break some, `gates` counts what the rules
//! take, `deploy` brings it to Cloudflare, `bench` sets it beside others, `chaos` does harm to it.
//! `progress` shows what takes long; `tidy` turns conventions into tests.

// Printing is what this program does.
#![allow(clippy::print_stdout, reason = "a command line tool answers on its standard output")]

mod bench;
mod build;
mod chaos;
mod deploy;
mod fuzz;
mod gates;
mod progress;
mod random;
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
    Setup(setup::Options),
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
    /// Deploy the gateway to your Cloudflare account.
    ///
    /// Creates what is missing (D1, R2, secrets), applies the migrations, deploys, and tries it. What is
    /// there is left as it is, so it can be run again at any time. docs/deploy.md tells all of it.
    Deploy(deploy::Options),
    /// Create what the Worker needs in your Cloudflare account, and deploy nothing.
    ///
    /// D1, R2, and the migrations: the first part of `deploy`, for those who deploy from elsewhere.
    Bootstrap,
    /// Run every check and every test.
    ///
    /// Ends with a line `N passed, N failed`.
    Test(test::Options),
    /// Look for inputs at which what reads bytes from outside doesn't keep its promises.
    ///
    /// Coverage-guided, in fuzz/. Prints what was tried, and for what is found the input and what to do.
    Fuzz(fuzz::Options),
    /// Count the instructions of the rules, and compare them with bench/gates.toml.
    ///
    /// Fails where a rule takes 5 % more or fewer; --bless writes the file anew.
    Gates(gates::Options),
    /// Measure the gateway side by side with others, in one run.
    ///
    /// --help lists what can be measured.
    #[command(disable_help_flag = true)]
    Bench(bench::Options),
    /// Do harm to a gateway under load, then hold its ledger against what was seen.
    ///
    /// By a schedule that is drawn from a seed, the runtime is killed, D1 locked, the upstream stalled and
    /// reset, clients leave, the clock is moved, and the disk is filled. Fails where a request has no row
    /// or two, where too many were let in, or something stays behind.
    Chaos(chaos::Options),
}

fn main() -> std::process::ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Setup(options) => setup::run(&options),
        Command::Build(options) => build::run(&options),
        Command::Serve(options) => serve::run(options),
        Command::Deploy(options) => deploy::run(&options),
        Command::Bootstrap => deploy::bootstrap(),
        Command::Test(options) => test::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Gates(options) => gates::run(&options),
        Command::Bench(options) => bench::run(&options),
        Command::Chaos(options) => chaos::run(&options),
    };
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
