//! `cargo xtask test`: every check and every test.
//!
//! All of them run, also after one has failed, so that one run says all that is wrong.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::build::{self, Variant};
use crate::progress::{Progress, describe, ended};
use crate::{fuzz, gates, setup, workspace};

/// For how long each target is tried that reads bytes from outside: long enough to find what a change
/// has just broken. Longer searches are `cargo xtask fuzz`.
const FUZZ_SECONDS: u32 = 2;

/// What `cargo xtask test` can be told.
#[derive(Args)]
pub struct Options {
    /// Run only the tests whose name contains this, without the checks of style
    filter: Option<String>,
}

/// How many tests passed and failed, and what the failed ones said.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    said: Vec<String>,
    part: Part,
}

/// Where in the output of a test program a line is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Part {
    /// Before the failures, or where there are none.
    #[default]
    Tests,
    /// In what the failed tests said.
    Failures,
    /// In the list of their names.
    Names,
}

/// Sets up, checks, builds and tests.
///
/// # Errors
/// When anything failed.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let toolchain = setup::for_tests(&progress)?;
    let mut failures = Vec::new();
    // Linking the Wasm keeps one processor busy at a time.
    let built = std::thread::scope(|scope| {
        let builds = scope.spawn(|| {
            let variants = [Variant::Release, Variant::FaultInjection];
            variants.into_iter().try_for_each(|it| build::build(&progress, &toolchain, it))
        });
        let checks = if options.filter.is_none() { checks() } else { Vec::new() };
        for check in checks.into_iter().chain([compile_tests()]) {
            progress.say(&format!("── {}", describe(&check)));
            note(&mut failures, show(check));
        }
        if options.filter.is_none() {
            note(&mut failures, gates::check(&progress, &toolchain));
            note(&mut failures, fuzz::check(&progress, FUZZ_SECONDS));
        }
        note(&mut failures, builds.join().unwrap_or_else(|_panic| bail!("the build panicked")))
    });
    let mut tally = Tally::default();
    let command = tests(options.filter.as_deref(), built)?;
    progress.say(&format!("── {}", describe(&command)));
    note(&mut failures, run_tests(command, &mut tally));

    println!();
    // Once more, for they are far up by now.
    for line in &tally.said {
        println!("{line}");
    }
    for failure in &failures {
        println!("failed: {failure}");
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if failures.is_empty() { Ok(()) } else { bail!("see what failed above") }
}

/// What is checked without running anything of ours.
fn checks() -> Vec<Command> {
    let cargo = |words: &str| {
        let mut command = workspace::command("cargo");
        command.args(words.split(' '));
        command
    };
    let mut documentation =
        cargo("doc --locked --workspace --no-deps --document-private-items --quiet");
    documentation.env("RUSTDOCFLAGS", "-D warnings");
    let node = |script: &str, words: &str| {
        let mut command = workspace::command(workspace::node_program("node"));
        command.arg(format!("node_modules/{script}")).args(words.split(' '));
        command
    };
    vec![
        cargo("fmt --all --check"),
        cargo("clippy --locked --workspace --all-targets --quiet -- -D warnings"),
        cargo(
            "clippy --locked --package organized-gateway --features fault-injection --quiet -- -D warnings",
        ),
        cargo(
            "check --locked --package organized-gateway --no-default-features --features gateway --quiet",
        ),
        cargo(
            "check --locked --package organized-gateway --no-default-features --features office --quiet",
        ),
        documentation,
        node(
            "prettier/bin/prettier.cjs",
            "--check console eslint.config.mjs src/*.mjs src/*.js tests/clients/*.mjs xtask/*.mjs bench/workers/*.mjs",
        ),
        node(
            "eslint/bin/eslint.js",
            "console src/boundary.js tests/clients/console.mjs eslint.config.mjs",
        ),
    ]
}

/// Makes the test programs, so that they are there once the Worker is.
fn compile_tests() -> Command {
    let mut command = workspace::command("cargo");
    command.args(["test", "--locked", "--workspace", "--no-run", "--quiet"]);
    command
}

/// All tests in one run of cargo, which compiles what they share once.
fn tests(filter: Option<&str>, built: bool) -> Result<Command> {
    let mut command = workspace::command("cargo");
    command.args(["test", "--locked", "--workspace", "--no-fail-fast"]);
    if !built {
        // The suite needs a Worker.
        command.args(["--exclude", "gateway-tests"]);
    }
    command.args(filter);
    command.env("GATEWAY_XTASK", std::env::current_exe().context("where is xtask?")?);
    command.env("PATH", workspace::path_with(&[workspace::root().join("node_modules/.bin")])?);
    Ok(command)
}

/// Runs a command whose output is the reader's own.
fn show(mut command: Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).status();
    let status = status.with_context(|| format!("can't start `{}`", describe(&command)))?;
    if status.success() { Ok(()) } else { bail!("`{}` {}", describe(&command), ended(status)) }
}

/// Runs tests, shows what they print, and counts them.
fn run_tests(mut command: Command, tally: &mut Tally) -> Result<()> {
    let shown = describe(&command);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let mut child = command.spawn().with_context(|| format!("can't start `{shown}`"))?;
    let output = child.stdout.take().context("cargo has no output")?;
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.add(&line);
    }
    let status = child.wait()?;
    if status.success() { Ok(()) } else { bail!("`{shown}` {}", ended(status)) }
}

/// Remembers what failed and says whether it was good.
fn note(failures: &mut Vec<String>, outcome: Result<()>) -> bool {
    match outcome {
        Ok(()) => true,
        Err(error) => {
            failures.push(format!("{error:#}"));
            false
        }
    }
}

impl Tally {
    /// Counts a line such as `test result: FAILED. 3 passed; 1 failed; 0 ignored; …`, and keeps what
    /// stands between the two lines `failures:`, which is what the failed tests said.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) =
            line.strip_prefix("test result: ").and_then(|rest| rest.split_once(". "))
        else {
            match (self.part, line) {
                (Part::Tests, "failures:") => self.part = Part::Failures,
                (Part::Failures, "failures:") => self.part = Part::Names,
                (Part::Failures, said) => self.said.push(said.to_owned()),
                _ => {}
            }
            return;
        };
        self.part = Part::Tests;
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse::<u64>().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse::<u64>().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Tally;

    #[test]
    fn results_are_summed_over_all_suites_and_failures_are_kept() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test a ... ok",
            "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "failures:",
            "---- b ----",
            "b.rs:7:3: it broke",
            "failures:",
            "    b",
            "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 7 filtered out; finished in 1.20s",
            "a test that prints 5 passed; 5 failed",
            "failures:",
            "---- c stdout ----",
            "failures:",
            "test result: FAILED. 0 passed; 1 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.add(line);
        }
        assert_eq!((tally.passed, tally.failed), (15, 3));
        assert_eq!(tally.said, ["---- b ----", "b.rs:7:3: it broke", "---- c stdout ----"]);
    }
}
