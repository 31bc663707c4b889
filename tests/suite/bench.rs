//! `cargo xtask bench`, so that it doesn't rot between two runs that count. Its figures are nobody's here:
//! a quick run tells whether everybody can be started, asked, counted and shown.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use gateway_tests::serve::xtask;
use gateway_tests::{wait_for, workspace};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::runner::Test;
use crate::{budget, tests};

pub fn tests() -> Vec<Test> {
    tests![Alone:
        a_quick_run_measures_everybody_and_shows_it,
        a_run_that_is_stopped_leaves_nothing_behind,
    ]
}

/// Far more than it takes: it compiles itself first.
const PATIENCE: Duration = Duration::from_mins(10);

fn bench(out: &Path, words: &[&str]) -> Child {
    let mut command = Command::from(xtask());
    command.args(["bench", "--quick", "--seed", "1", "--out"]).arg(out).args(words);
    command.current_dir(workspace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command.spawn().unwrap()
}

async fn a_quick_run_measures_everybody_and_shows_it() {
    let out = tempfile::tempdir().unwrap();
    let run = bench(out.path(), &["--state-on", "tmpfs"]);
    let said = timeout(PATIENCE, run.wait_with_output()).await.expect("an end").unwrap();
    let errors = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{errors}");

    let text = std::fs::read_to_string(out.path().join("results/tmpfs.json")).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let names = |object: &Value| -> BTreeSet<String> {
        object.as_object().unwrap().keys().cloned().collect()
    };
    let all = ["gateway", "original", "pass-through", "upstream"].map(str::to_owned).into();
    let round = &results["rounds"][0];
    for load in ["json-16", "sse-16"] {
        let measures = &round["loads"][load];
        assert_eq!(names(measures), all, "{load}");
        for name in &all {
            let measure = &measures[name];
            assert!(measure["requests"].as_u64().unwrap() > 0, "{load} of {name}: {measure}");
            assert!(measure["highest_memory"].as_u64().unwrap() > 1_000_000, "{measure}");
        }
    }
    // What a request costs doesn't depend on how busy the machine is.
    let costs = &results["costs"]["gateway"];
    let calls = budget::WHOLE.len() as u64 * costs["requests"].as_u64().unwrap();
    assert_eq!(costs["object_calls"], calls, "{costs}");
    let costs = &results["costs"]["original"];
    assert_eq!(costs["d1_rows_written"], 3 * costs["requests"].as_u64().unwrap(), "{costs}");
    let flood = &round["floods"]["gateway"];
    assert_eq!(flood["admitted"], 600, "{flood}");
    assert!(flood["refused"].as_u64().unwrap() > 100, "{flood}");
    assert_eq!(results["crowd"]["requests"], 4_000);

    let page = std::fs::read_to_string(out.path().join("RESULTS.md")).unwrap();
    for part in ["## State on tmpfs", "the original design", "results/throughput-tmpfs.svg"] {
        assert!(page.contains(part), "{part} is missing in {page}");
    }
    let plot = std::fs::read_to_string(out.path().join("results/memory-tmpfs.svg")).unwrap();
    assert!(plot.starts_with("<svg"), "{plot}");
    // On a terminal there is the same.
    assert!(String::from_utf8_lossy(&said.stdout).contains("## State on tmpfs"), "{errors}");
}

async fn a_run_that_is_stopped_leaves_nothing_behind() {
    let out = tempfile::tempdir().unwrap();
    let mut run = bench(out.path(), &["--only", "gateway", "--load", "json-16"]);
    let id = run.id().unwrap().cast_signed();
    let mut lines = BufReader::new(run.stderr.take().unwrap()).lines();
    let counted = async {
        while let Some(line) = lines.next_line().await.unwrap() {
            if line.contains("counted: ") {
                return;
            }
        }
        panic!("it ended before anything was counted");
    };
    timeout(PATIENCE, counted).await.expect("a first step");
    let family = wait_for("gateway", Duration::from_secs(30), || {
        let family = family(id);
        family.iter().any(|(_, name)| name == "workerd").then_some(family)
    });
    let family = family.await;
    kill(Pid::from_raw(id), Signal::SIGINT).unwrap();
    let status = timeout(Duration::from_secs(30), run.wait()).await.expect("an end").unwrap();
    assert!(!status.success());
    let gone = || family.iter().all(|(id, name)| name_of(*id).as_ref() != Some(name)).then_some(());
    wait_for("end of all its processes", Duration::from_secs(10), gone).await;
    assert!(!out.path().join("RESULTS.md").exists());
}

/// The processes that descend from one, with their names.
fn family(root: i32) -> Vec<(i32, String)> {
    let mut found = Vec::new();
    // Each thread has its own.
    for thread in std::fs::read_dir(format!("/proc/{root}/task")).into_iter().flatten().flatten() {
        let children = std::fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        for id in children.split_ascii_whitespace().map(|id| id.parse().unwrap()) {
            found.extend(name_of(id).map(|name| (id, name)));
            found.extend(family(id));
        }
    }
    found
}

fn name_of(id: i32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{id}/comm")).ok()?.trim().to_owned())
}
