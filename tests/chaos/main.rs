//! The program of `cargo xtask chaos`: a load on a served gateway, faults by a schedule that is drawn
//! from a seed, and then the ledger against what clients and the upstream saw.
//!
//! `chaos SECONDS SEED [keep]`. Reading order: `plan` draws what happens when, `crowd` asks, `storm`
//! does harm, `audit` judges.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "it tells what it sees, and what can't go on has to fail"
)]

mod audit;
mod book;
mod crowd;
mod disk;
mod evidence;
mod plan;
mod run;
mod storm;
mod window;

use std::process::ExitCode;
use std::time::Duration;

use disk::Disk;
use run::Order;
use surroundings::Surroundings;

fn main() -> ExitCode {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let order = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [seconds, seed] => order(seconds, seed, false),
        [seconds, seed, "keep"] => order(seconds, seed, true),
        _ => None,
    };
    let Some(order) = order else {
        eprintln!(
            "error: it is `chaos SECONDS SEED [keep]`; `cargo xtask chaos --help` tells more"
        );
        return ExitCode::FAILURE;
    };
    // Before the first thread.
    let disk = Disk::mount();
    // What it has started ends with it.
    Surroundings::now().when_gone(|| std::process::exit(1));
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let holds = runtime.expect("a runtime").block_on(run::run(order, disk));
    if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn order(seconds: &str, seed: &str, keeps: bool) -> Option<Order> {
    let length = Duration::from_secs(seconds.parse().ok()?);
    Some(Order { length, seed: seed.parse().ok()?, keeps })
}
