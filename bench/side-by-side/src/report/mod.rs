//! RESULTS.md, made from the JSON of the last run on disk and the last one on tmpfs: the same JSON makes
//! the same file, however often.

mod plots;
mod promises;
mod tables;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use crate::options::StateOn;
use crate::results::Results;

const HEAD: &str = "\
# organized-gateway side by side with others

Written by `cargo xtask bench` from [results/](results); don't edit it. Each contender is started in turn, \
in every round in another order, before the same upstream, which answers at once, and under the same load: \
50 users who ask for JSON or for streams of 20 pieces, on 1, 16 or 64 connections, each asking again as soon \
as it has its answer. The machine is shared by contender, upstream and clients.

Absolute figures say more about the machine than about the contenders. What counts is the ratios: each is \
that of a pair within one round; shown is the median of the rounds, with the lowest and the highest.

The Workers run in the same workerd, straight from the socket. KV and D1 are those of Miniflare, which \
keep the promises of Cloudflare's and not their speed. Portkey's gateway and LiteLLM's proxy run as their \
documentation says, in one process each and without a database: they keep no count and no log here. In each \
stream Portkey's own code waits 25 ms after the first piece.
";

/// Where the results of a run are kept below a folder.
fn path(folder: &Path, state_on: StateOn) -> PathBuf {
    folder.join("results").join(format!("{}.json", state_on.name()))
}

/// Keeps the results of a run.
///
/// # Errors
/// When the disk refuses.
pub fn keep(folder: &Path, results: &Results) -> Result<()> {
    std::fs::create_dir_all(folder.join("results"))?;
    Ok(std::fs::write(path(folder, results.state_on), results.text()?)?)
}

/// Writes RESULTS.md and the plots from what is kept.
///
/// # Errors
/// When nothing is kept there, or it can't be read.
pub fn write(folder: &Path) -> Result<()> {
    let mut text = HEAD.to_owned();
    let paths = [StateOn::Disk, StateOn::Tmpfs].map(|state_on| path(folder, state_on));
    let kept: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    if kept.is_empty() {
        bail!("there are no results in {}: measure first", folder.join("results").display());
    }
    for path in kept {
        let results = Results::read(path)?;
        write!(text, "\n{}", self::text(&results))?;
        for (name, plot) in plots::all(&results)? {
            let name = format!("{name}-{}.svg", results.state_on.name());
            std::fs::write(folder.join("results").join(&name), plot)?;
            writeln!(text, "\n![{name}](results/{name})")?;
        }
    }
    Ok(std::fs::write(folder.join("RESULTS.md"), text)?)
}

/// What a run has found, for a terminal and for the file.
pub fn text(results: &Results) -> String {
    let parts = [
        about(results),
        promises::table(results),
        tables::ratios(results),
        tables::loads(results),
        tables::costs(results),
        tables::floods(results),
        tables::crowd(results),
    ];
    parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n")
}

fn about(results: &Results) -> String {
    let machine = &results.machine;
    let versions: Vec<String> =
        results.versions.iter().map(|(name, version)| format!("{name} {version}")).collect();
    let mut text = format!(
        "## State on {}\n\n    {}\n\n{} UTC, {} rounds of {} s a load. {}, {} cores, {} GB, Linux {}; \
         the Workers' state on {}; the load average before was {}.\n\nVersions: {}.\n",
        results.state_on.name(),
        results.command,
        results.began,
        results.rounds.len(),
        results.seconds_a_load,
        machine.processor,
        machine.cores,
        machine.memory_bytes >> 30,
        machine.kernel,
        machine.state_file_system,
        machine.load_average,
        versions.join(", "),
    );
    if let Some(fsync_ms) = machine.fsync_ms.filter(|_| results.state_on == StateOn::Disk) {
        let _ = writeln!(
            text,
            "\nWhat limits the rest: a commit waits for an `fsync` on the runtime's one thread, {fsync_ms:.2} ms \
             for a page before the run, and the processor time below. [NOTES.md](NOTES.md#on-a-disk) counts them."
        );
    }
    for (contender, reason) in &results.left_out {
        let _ = writeln!(text, "\nLeft out: {} ({reason}).", contender.title());
    }
    text
}

#[cfg(test)]
pub mod tests {
    use super::{keep, write};
    use crate::options::StateOn;
    use crate::results::Results;

    /// A run of two rounds, as it is kept.
    pub const KEPT: &str = include_str!("kept.json");

    #[test]
    fn the_same_results_make_the_same_file() {
        let folder = tempfile::tempdir().unwrap();
        assert!(write(folder.path()).is_err());
        let results: Results = serde_json::from_str(KEPT).unwrap();
        keep(folder.path(), &results).unwrap();
        let read = || std::fs::read_to_string(folder.path().join("RESULTS.md")).unwrap();
        write(folder.path()).unwrap();
        let first = read();
        write(folder.path()).unwrap();
        assert_eq!(first, read());
        assert!(first.contains("2.00× (1.50–2.50)"), "{first}");
        assert!(first.contains("an `fsync` on the runtime's one thread, 0.88 ms"), "{first}");
        assert!(folder.path().join("results/throughput-disk.svg").exists());
        assert!(!folder.path().join("results/memory-disk.svg").exists());
    }

    #[test]
    fn what_is_kept_can_be_read_by_a_later_version() {
        // If this fails, the results beside the code can't be read any more.
        let results: Results = serde_json::from_str(KEPT).unwrap();
        assert_eq!(results.state_on, StateOn::Disk);
        assert_eq!(results.rounds.len(), 2);
        assert_eq!(results.text().unwrap(), KEPT);
    }
}
