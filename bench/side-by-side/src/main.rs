//! `cargo xtask bench`: organized-gateway and others under the same load, in one run, on one machine.
//!
//! Reading order: `options` says what can be measured; `run` is a run from its setup to its results;
//! `contenders` starts who is measured, `loads` asks them by way of `client`, and `upstream`, in a
//! process of its own, answers. `results` is what is kept, `report` what is shown of it.

#![allow(
    clippy::print_stdout,
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a command line tool answers on its standard output, and figures are rounded anyway"
)]

mod client;
mod contenders;
mod loads;
mod log;
mod options;
mod process;
mod progress;
mod report;
mod results;
mod run;
mod setup;
mod statistics;
mod system;
mod talk;
mod upstream;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Parser;
use surroundings::Surroundings;
use tokio::signal::unix::{SignalKind, signal};

use options::{Arguments, Command, Options};

/// The folder of the workspace, known when this was compiled.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}

fn main() -> ExitCode {
    match start(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(arguments: &Arguments) -> Result<()> {
    // One thread, so that asking never takes more than one core from who is asked.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    match (&arguments.command, &arguments.options) {
        (Some(Command::Upstream), _) => runtime.block_on(upstream::serve()),
        (None, options) if options.report => report::write(&folder(options)),
        (None, options) => runtime.block_on(until_interrupted(options)),
    }
}

/// Where results are written: beside the code where the run was a whole one.
fn folder(options: &Options) -> PathBuf {
    let whole = if options.is_whole() { "bench" } else { "target/bench" };
    options.out.clone().unwrap_or_else(|| root().join(whole))
}

async fn until_interrupted(options: &Options) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        outcome = measure(options) => outcome,
        _ = interrupt.recv() => bail!("stopped: nothing was written"),
        _ = terminate.recv() => bail!("stopped: nothing was written"),
        _ = hang_up.recv() => bail!("stopped: nothing was written"),
        () = abandoned(Surroundings::now()) => bail!("stopped: nothing was written"),
    }
    // What is dropped on the way out ends its processes.
}

/// Waits until whoever started this is gone.
async fn abandoned(surroundings: Surroundings) {
    while !surroundings.are_gone() {
        tokio::time::sleep(surroundings::PAUSE).await;
    }
}

async fn measure(options: &Options) -> Result<()> {
    let results = run::run(&root(), options).await?;
    let folder = folder(options);
    report::keep(&folder, &results)?;
    report::write(&folder)?;
    print!("{}", report::text(&results));
    println!("\nwritten: {}", folder.join("RESULTS.md").display());
    Ok(())
}
