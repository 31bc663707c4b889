//! `cargo xtask chaos`: does harm to a gateway under load, and holds its ledger against what was seen.
//!
//! The program is in `tests/chaos`, beside the suite, whose harness it uses.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Variant};
use crate::progress::{Progress, Step};
use crate::{setup, workspace};

/// What `cargo xtask chaos` can be told.
#[derive(Args)]
pub struct Options {
    /// For how long harm is done, for each seed; what comes after it takes some three minutes more
    #[arg(long, default_value_t = 10.0, value_parser = parse_minutes)]
    minutes: f64,
    /// What the schedule is drawn from (default: the time of day)
    #[arg(long, conflicts_with = "seeds")]
    seed: Option<u64>,
    /// Several seeds, one run after the other: 1,2,3
    #[arg(long, value_delimiter = ',')]
    seeds: Vec<u64>,
    /// Keep state, log and requests in target/chaos/seed-N where nothing is wrong, too
    #[arg(long)]
    keep: bool,
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse().ok().filter(|minutes| (0.1..=1_440.0).contains(minutes));
    minutes.ok_or_else(|| "a number of minutes from 0.1 to 1440".to_owned())
}

/// Builds the Worker with its faults, and the program, and runs it with each seed.
///
/// # Errors
/// When something can't be built, or the ledger doesn't hold.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let toolchain = setup::for_build(&progress)?;
    build::build(&progress, &toolchain, Variant::FaultInjection)?;
    let mut command = workspace::command("cargo");
    command.args(["build", "--locked", "--package", "gateway-tests", "--bin", "chaos"]);
    let advice = "Mend what the compiler names above.";
    progress.run(Step { name: "building what does harm", command, advice, patience: None })?;

    let mut failed = Vec::new();
    for seed in seeds(options)? {
        let mut command = workspace::command(workspace::root().join("target/debug/chaos"));
        command.args([format!("{:.0}", options.minutes * 60.0), seed.to_string()]);
        command.args(options.keep.then_some("keep"));
        command.env("GATEWAY_XTASK", std::env::current_exe().context("where is xtask?")?);
        let status = command.status().context("can't start the program that does harm")?;
        if !status.success() {
            failed.push(seed.to_string());
        }
        println!();
    }
    if !failed.is_empty() {
        bail!("what is said above went wrong, seed {}", failed.join(", "));
    }
    Ok(())
}

fn seeds(options: &Options) -> Result<Vec<u64>> {
    if !options.seeds.is_empty() {
        return Ok(options.seeds.clone());
    }
    let seed = match options.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    Ok(vec![seed])
}
