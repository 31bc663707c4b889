//! `cargo xtask chaos`, a short run of it: the ledger holds, whatever happens at once.
//!
//! A seed that found something has its run here, too.

use std::process::Stdio;
use std::time::Duration;

use gateway_tests::workspace;
use tokio::process::Command;
use tokio::time::timeout;

use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Patient: the_ledger_holds_through_all_faults_at_once]
}

/// The run, the rest of its leases, and what a busy machine makes of it.
const PATIENCE: Duration = Duration::from_mins(12);

async fn the_ledger_holds_through_all_faults_at_once() {
    // `plan` has a test that this seed has every kind of fault in it.
    let mut command = Command::new(env!("CARGO_BIN_EXE_chaos"));
    command.args(["40", "1"]).current_dir(workspace()).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let run = command.spawn().unwrap();
    let said = timeout(PATIENCE, run.wait_with_output()).await.expect("an end").unwrap();
    let told = String::from_utf8_lossy(&said.stdout);
    assert!(said.status.success(), "{told}{}", String::from_utf8_lossy(&said.stderr));
    assert!(told.contains("The ledger holds. Seed 1."), "{told}");
    println!("{told}");
}
