//! `cargo xtask gates`: how many instructions the rules take that each request under `/v1` goes through,
//! beside what they took before (`bench/gates.toml`).
//!
//! Time is noise on a shared machine; instructions under callgrind are not. What the system's libraries
//! do is left out, for they choose by the processor how to copy; and the compiler is the one that builds
//! the Worker, whose version is ours.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::progress::{Progress, Step, describe, ended};
use crate::setup::{self, WasmToolchain};
use crate::workspace;

/// Where it says what a rule may take, from the workspace's folder.
const FILE: &str = "bench/gates.toml";

/// The function in `bench/counted` whose calls are counted.
const COUNTED: &str = "counted::counted*";

/// By how much a rule may take more or fewer, in percent: what a change elsewhere does to the choices
/// of the compiler.
const TOLERANCE: u64 = 5;

/// The same where the compiler or the processor is another than the one that the file is of.
const TOLERANCE_OF_ANOTHER: u64 = 25;

/// What `cargo xtask gates` can be told.
#[derive(Args)]
pub struct Options {
    /// Write down what the rules take now, as what they may take
    #[arg(long)]
    bless: bool,
}

/// What is in the file.
#[derive(Debug, Serialize, Deserialize)]
struct Gates {
    /// The compiler that it was counted with.
    compiler: String,
    /// The kind of machine, as Rust names it, and what bytes are searched with there.
    machine: String,
    /// Instructions, by rule.
    instructions: BTreeMap<String, u64>,
}

/// Counts, and compares with the file or writes it.
///
/// # Errors
/// When a rule takes more or fewer than the file says, or can't be counted.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    let toolchain = setup::for_gates(&progress)?;
    let counted = count(&progress, &toolchain)?;
    if options.bless { bless(&counted) } else { compare(&progress, &counted) }
}

/// The same for a toolchain that is there, as a part of the tests.
///
/// # Errors
/// As for `run`.
pub fn check(progress: &Progress, toolchain: &WasmToolchain) -> Result<()> {
    compare(progress, &count(progress, toolchain)?)
}

fn count(progress: &Progress, toolchain: &WasmToolchain) -> Result<Gates> {
    let program = build(progress, toolchain)?;
    let rules = Command::new(&program).output().context("can't list the rules")?;
    let rules = String::from_utf8(rules.stdout).context("a rule's name is no text")?;
    let mut instructions = BTreeMap::new();
    progress.waiting("counting the instructions of the rules", || {
        for rule in rules.lines() {
            instructions.insert(rule.to_owned(), count_one(&program, rule)?);
        }
        Ok(())
    })?;
    Ok(Gates { compiler: compiler(toolchain)?, machine: machine()?, instructions })
}

fn build(progress: &Progress, toolchain: &WasmToolchain) -> Result<PathBuf> {
    let mut command = workspace::command("cargo");
    command.args(["build", "--locked", "--package", "bench", "--bin", "counted"]);
    command.args(["--profile", "counted"]);
    command.envs(toolchain.environment()?).env_remove("RUSTFLAGS");
    let advice = "Mend what the compiler names above.";
    let name = "building the rules to count their instructions";
    progress.run(Step { name, command, advice, patience: None })?;
    Ok(workspace::root().join("target/counted/counted"))
}

/// The instructions of one rule.
fn count_one(program: &Path, rule: &str) -> Result<u64> {
    let output = workspace::root().join("target/counted/callgrind.out");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--compress-strings=no", "--compress-pos=no"]);
    command.arg(format!("--toggle-collect={COUNTED}"));
    command.arg(format!("--callgrind-out-file={}", output.display()));
    // What a developer's environment holds moves the stack.
    command.arg(program).arg(rule).env_clear().env("PATH", "/usr/bin:/bin");
    let shown = describe(&command);
    let done = command.output().context("can't start valgrind")?;
    if !done.status.success() {
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        bail!("`{shown}` {}\n{said}", ended(done.status));
    }
    let profile = std::fs::read_to_string(&output)
        .with_context(|| format!("can't read {}", output.display()))?;
    match own_instructions(&profile) {
        0 => bail!("callgrind has seen no call of {COUNTED} for `{rule}`"),
        own => Ok(own),
    }
}

/// The sum of what callgrind counted in the program itself, without the libraries that it calls
/// (<https://valgrind.org/docs/manual/cl-format.html>).
fn own_instructions(profile: &str) -> u64 {
    let (mut own, mut is_own, mut is_call) = (0, false, false);
    for line in profile.lines() {
        if let Some(object) = line.strip_prefix("ob=") {
            is_own = object.ends_with("/counted");
        } else if line.starts_with("calls=") {
            // The line below it is what was called, which is counted where it stands itself.
            is_call = true;
        } else if line.starts_with(|first: char| first.is_ascii_digit()) {
            let cost = line.split(' ').nth(1).and_then(|cost| cost.parse::<u64>().ok());
            own += cost.filter(|_| is_own && !is_call).unwrap_or(0);
            is_call = false;
        }
    }
    own
}

/// What compiled the rules.
fn compiler(toolchain: &WasmToolchain) -> Result<String> {
    let mut command = workspace::command("rustc");
    let output = command.arg("-vV").envs(toolchain.environment()?).output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let value = |name| text.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let (release, llvm) = (value("release: "), value("LLVM version: "));
    Ok(format!("rustc {release} with LLVM {llvm}"))
}

/// What they are counted on. The crate that searches bytes chooses by the processor.
fn machine() -> Result<String> {
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let has_avx2 = processor.split_whitespace().any(|word| word == "avx2");
    Ok(format!("{}{}", setup::host()?, if has_avx2 { " with AVX2" } else { "" }))
}

fn bless(counted: &Gates) -> Result<()> {
    let text = format!(
        "# What the rules on the way of a request take, in instructions. Written by \
         `cargo xtask gates --bless`.\n{}",
        toml::to_string(counted)?
    );
    workspace::write_whole(&workspace::root().join(FILE), &text)?;
    println!("{FILE} is written. Say in the commit why a rule takes more than it did.");
    Ok(())
}

fn compare(progress: &Progress, counted: &Gates) -> Result<()> {
    let text = std::fs::read_to_string(workspace::root().join(FILE))
        .with_context(|| format!("{FILE} is missing: `cargo xtask gates --bless` writes it"))?;
    let known: Gates = toml::from_str(&text).with_context(|| format!("{FILE} can't be read"))?;
    for (rule, instructions) in &counted.instructions {
        let before = known.instructions.get(rule).map(|before| format!(", {before} before"));
        progress.say(&format!("  {rule}: {instructions}{}", before.unwrap_or_default()));
    }
    let kind = |gates: &Gates| gates.machine.split(' ').next().map(str::to_owned);
    if kind(counted) != kind(&known) {
        progress.say(&format!("  Not compared: {FILE} is of {}.", known.machine));
        return Ok(());
    }
    let is_same = (&counted.compiler, &counted.machine) == (&known.compiler, &known.machine);
    let tolerance = if is_same { TOLERANCE } else { TOLERANCE_OF_ANOTHER };
    let differences = differences(&known.instructions, &counted.instructions, tolerance);
    if differences.is_empty() {
        return Ok(());
    }
    bail!(
        "The rules take another number of instructions than {FILE} says ({} on {} there, {} on {} \
         here):\n  {}\nWhere this is meant, run `cargo xtask gates --bless`, commit the file, and say \
         why.",
        known.compiler,
        known.machine,
        counted.compiler,
        counted.machine,
        differences.join("\n  ")
    )
}

/// Which rules are further off than the tolerance, in percent, and by how much.
fn differences(
    known: &BTreeMap<String, u64>,
    counted: &BTreeMap<String, u64>,
    tolerance: u64,
) -> Vec<String> {
    let mut differences = Vec::new();
    for (rule, now) in counted {
        let Some(before) = known.get(rule) else {
            differences.push(format!("{rule}: {now}, and it isn't in the file"));
            continue;
        };
        let difference = now.abs_diff(*before);
        if difference * 100 > before * tolerance {
            let (word, per_mille) = (
                if now > before { "more" } else { "fewer" },
                difference * 1_000 / (*before).max(1),
            );
            let (whole, tenth) = (per_mille / 10, per_mille % 10);
            differences.push(format!(
                "{rule}: {now} instead of {before}, {whole}.{tenth} % {word}, and {tolerance} % is \
                 allowed"
            ));
        }
    }
    for rule in known.keys().filter(|rule| !counted.contains_key(*rule)) {
        differences.push(format!("{rule}: in the file, and not counted any more"));
    }
    differences
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_program_s_own_instructions_count() {
        let profile = "version: 1\nevents: Ir\n\nob=/x/target/counted/counted\nfl=a.rs\nfn=counted\n\
                       12 3\ncob=/lib/libc.so.6\ncfn=memcpy\ncalls=2 0\n12 500\n13 4\n\nfn=other\n\
                       9 1\ncfn=counted\ncalls=1 12\n9 508\n\nob=/lib/libc.so.6\nfn=memcpy\n0 500\n\
                       totals: 508\n";
        assert_eq!(own_instructions(profile), 8);
    }

    #[test]
    fn what_differs_is_named_with_by_how_much() {
        let counts = |rules: &[(&str, u64)]| {
            rules
                .iter()
                .map(|(rule, count)| ((*rule).to_owned(), *count))
                .collect::<BTreeMap<_, _>>()
        };
        let known = counts(&[("a", 1_000), ("b", 1_000), ("c", 1_000), ("d", 10)]);
        let now = counts(&[("a", 1_050), ("b", 1_051), ("c", 900), ("e", 7)]);
        assert_eq!(
            differences(&known, &now, 5),
            [
                "b: 1051 instead of 1000, 5.1 % more, and 5 % is allowed",
                "c: 900 instead of 1000, 10.0 % fewer, and 5 % is allowed",
                "e: 7, and it isn't in the file",
                "d: in the file, and not counted any more",
            ]
        );
        assert!(differences(&known, &known, 5).is_empty());
    }
}
