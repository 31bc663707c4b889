//! `cargo xtask bench`: builds the program that measures, and becomes it.
//!
//! It is a package of its own, `bench/side-by-side`, so that the other commands are quick to build.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;

use anyhow::{Context, Result};
use clap::Args;

use crate::progress::{Progress, Step};
use crate::workspace;

/// What `cargo xtask bench` can be told: the program reads it.
#[derive(Args)]
pub struct Options {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Builds the program and runs it in the place of this one, so that a signal reaches it.
///
/// # Errors
/// When it can't be built or started.
pub fn run(options: &Options) -> Result<()> {
    // A quick run only tells whether everything works: it takes what the tests have compiled already.
    let is_quick = options.arguments.iter().any(|argument| argument == "--quick");
    let (profile, folder) = if is_quick { ("dev", "debug") } else { ("measure", "measure") };
    let mut command = workspace::command("cargo");
    command.args(["build", "--locked", "--profile", profile, "--package", "side-by-side"]);
    let advice = "Mend what the compiler names above.";
    let name = "building what measures";
    Progress::new().run(Step { name, command, advice, patience: None })?;
    let program = workspace::root().join("target").join(folder).join("side-by-side");
    let mut measuring = workspace::command(program);
    measuring.args(&options.arguments);
    // It sets up, builds and serves by way of us.
    measuring.env("GATEWAY_XTASK", std::env::current_exe().context("where is xtask?")?);
    Err(measuring.exec()).context("can't start the program that measures")
}
