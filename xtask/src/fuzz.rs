//! `cargo xtask fuzz`: looks for inputs at which something in `fuzz/` doesn't hold.
//!
//! libFuzzer comes with its crate, and coverage is a matter of compiler flags that a stable Rust has:
//! neither a nightly compiler nor cargo-fuzz is needed. What a search has learned is kept below
//! target/fuzz for the next one.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;

use crate::progress::{Progress, Step, ended};
use crate::setup::{self, host};
use crate::workspace;

/// What has the compiler count which code an input reaches, and tell what it is compared with.
const COVERAGE: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares";

/// What `cargo xtask fuzz` can be told.
#[derive(Args)]
pub struct Options {
    /// Try this target alone; they are the folders in fuzz/seeds
    target: Option<String>,
    /// For how long each target is tried
    #[arg(long, value_name = "N", default_value_t = 20)]
    seconds: u32,
}

/// Sets up, and tries what the options name.
///
/// # Errors
/// When one can't be built, or an input was found.
pub fn run(options: &Options) -> Result<()> {
    let progress = Progress::new();
    setup::for_fuzz(&progress)?;
    let known = targets()?;
    let chosen = match &options.target {
        None => known,
        Some(name) if known.contains(name) => vec![name.clone()],
        Some(name) => bail!("there is no target `{name}`. There are: {}", known.join(", ")),
    };
    search_all(&progress, chosen, options.seconds)
}

/// Tries each target for so many seconds, as a part of the tests.
///
/// # Errors
/// As for `run`.
pub fn check(progress: &Progress, seconds: u32) -> Result<()> {
    search_all(progress, targets()?, seconds)
}

/// Builds the targets, and tries as many at once as there are processors.
///
/// # Errors
/// When one can't be built, or an input was found: with where it is and what to do.
fn search_all(progress: &Progress, targets: Vec<String>, seconds: u32) -> Result<()> {
    let program = build(progress)?;
    let waiting = Mutex::new(targets.into_iter());
    let next = || waiting.lock().ok().and_then(|mut waiting| waiting.next());
    let problems = Mutex::new(Vec::new());
    let search_on = || {
        while let Some(name) = next() {
            if let Err(error) = search(progress, &program, (&name, seconds))
                && let Ok(mut problems) = problems.lock()
            {
                problems.push(format!("{error:#}"));
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(search_on);
        }
    });
    let problems = problems.into_inner().map_err(|_poisoned| anyhow!("a search panicked"))?;
    if problems.is_empty() { Ok(()) } else { bail!("{}", problems.join("\n")) }
}

/// The names of the targets. `cargo test -p fuzz` sees to it that each has its folder.
fn targets() -> Result<Vec<String>> {
    let folder = workspace::root().join("fuzz/seeds");
    let entries = std::fs::read_dir(&folder);
    let entries = entries.with_context(|| format!("can't read {}", folder.display()))?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(progress: &Progress) -> Result<PathBuf> {
    let host = host()?;
    let mut command = workspace::command("cargo");
    command.args(["build", "--locked", "--package", "fuzz", "--features", "libfuzzer"]);
    // Naming the target keeps the flags from what runs while compiling.
    command.args(["--profile", "fuzz", "--target", &host]);
    command.env("RUSTFLAGS", COVERAGE);
    let advice = "Mend what the compiler names above.";
    progress.run(Step { name: "building the fuzz targets", command, advice, patience: None })?;
    Ok(workspace::root().join("target").join(host).join("fuzz/fuzz"))
}

/// Tries one target for so many seconds.
fn search(progress: &Progress, program: &Path, (name, seconds): (&str, u32)) -> Result<()> {
    let kept = workspace::root().join("target/fuzz");
    let (corpus, found) = (kept.join("corpus").join(name), kept.join("found"));
    for folder in [&corpus, &found] {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("can't make the folder {}", folder.display()))?;
    }
    let mut command = workspace::command(program);
    command
        .env("FUZZ_TARGET", name)
        .env("RUST_BACKTRACE", "0")
        .arg(&corpus)
        .arg(format!("fuzz/seeds/{name}"));
    command.arg(format!("-dict=fuzz/dictionaries/{name}"));
    command.arg(format!("-artifact_prefix={}/{name}-", found.display()));
    command.arg(format!("-max_total_time={seconds}"));
    command.args(["-timeout=10", "-rss_limit_mb=1024", "-print_final_stats=1"]);
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("can't start {}", program.display()))?;
    if output.status.success() {
        progress.say(&format!("✓ fuzz {name}: {}", figures(&said(&output))));
        return Ok(());
    }
    progress.say(&format!("✗ fuzz {name}"));
    Err(problem(name, &output))
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// What was done, as in `48211 inputs, 812 edges reached`.
fn figures(log: &str) -> String {
    let inputs = log.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    // Lines such as `#4096 pulse  cov: 812 ft: 1304 corp: 70/1204b …`.
    let edges = log.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split(' ').next());
    format!("{} inputs, {} edges reached", inputs.unwrap_or("0").trim(), edges.unwrap_or("no"))
}

/// What doesn't hold, for which input, and what to do about it.
fn problem(name: &str, output: &Output) -> anyhow::Error {
    let log = said(output);
    let written = log.lines().find_map(|line| line.split_once("Test unit written to "));
    let Some((_, input)) = written else {
        let end: Vec<_> = log.lines().rev().take(20).collect();
        let end: Vec<_> = end.into_iter().rev().collect();
        return anyhow!("fuzz {name} {}\n{}", ended(output.status), end.join("\n"));
    };
    let panic = log.lines().skip_while(|line| !line.contains("panicked at"));
    let mut reason: Vec<_> = panic.take_while(|line| !line.starts_with("note: ")).collect();
    if reason.is_empty() {
        // It took too long, or too much memory: a line such as `==7== ERROR: libFuzzer: timeout …`.
        reason.extend(log.lines().find(|line| line.contains("ERROR: libFuzzer")));
    }
    anyhow!(
        "fuzz {name}: something doesn't hold.\n{}\n  The input: {input}\n  Copy it to \
         fuzz/seeds/{name}/ under a name that says what it is: `cargo test -p fuzz` then fails with \
         it. Write a failing test in crates/domain, and mend it.",
        reason.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::ExitStatusExt;
    use std::process::{ExitStatus, Output};

    use super::{figures, problem};

    #[test]
    fn what_does_not_hold_is_told_with_its_input_and_what_to_do() {
        let told = |log: &str| {
            let (status, stderr) = (ExitStatus::from_raw(77 << 8), log.as_bytes().to_vec());
            problem("path", &Output { status, stdout: Vec::new(), stderr }).to_string()
        };
        let written = "artifact_prefix='x'; Test unit written to /x/found/path-crash-1\n";
        let panic = "INFO: seed\nthread panicked at a.rs:1:\nassertion failed\nnote: run with\n";
        let panicked = told(&format!("{panic}{written}"));
        for part in ["a.rs:1", "assertion failed", "/x/found/path-crash-1", "fuzz/seeds/path/"] {
            assert!(panicked.contains(part), "{part} is missing in: {panicked}");
        }
        assert!(!panicked.contains("note:") && !panicked.contains("INFO"), "{panicked}");
        let slow = told(&format!("==7== ERROR: libFuzzer: timeout after 10 seconds\n{written}"));
        assert!(slow.contains("timeout after 10 seconds"), "{slow}");
        assert!(told("FUZZ_TARGET=path names none\n").contains("exit code 77"));
    }

    #[test]
    fn the_figures_are_read_from_what_libfuzzer_prints() {
        let log = "#2\tINITED cov: 9 ft: 9 corp: 1/1b\n#7\tDONE   cov: 12 ft: 30 corp: 2/9b lim: 4\n\
                   stat::number_of_executed_units: 7\nstat::peak_rss_mb: 40\n";
        assert_eq!(figures(log), "7 inputs, 12 edges reached");
        assert_eq!(figures(""), "0 inputs, no edges reached");
    }
}
