//! Starts the gateway, its upstream and its clients for the suite.
//!
//! A [`Gateway`] is `cargo xtask serve` as a person would run it, on a port and a state folder of
//! its own. An [`Upstream`] answers as each test scripts it and remembers what it was asked. The
//! [`Ledger`] is D1 as the operator sees it. All of them keep a [`redaction`] record of the run.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::missing_panics_doc,
    reason = "a test that can't go on has to fail, and panicking is how tests do that"
)]

pub mod access;
pub mod cloudflare;
pub mod commits;
pub mod ctl;
pub mod distance;
pub mod fork;
pub mod gateway;
pub mod ledger;
pub mod load;
pub mod oauth;
pub mod openclaw;
pub mod openclaw_install;
pub mod openclaw_provider;
pub mod openclaw_search;
pub mod openclaw_tunnel;
pub mod ports;
pub mod raw;
pub mod redaction;
pub mod report;
pub mod script;
pub mod serve;
pub mod stripe;
pub mod upstream;
pub mod workerd;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

pub use cloudflare::Cloudflare;
pub use distance::Distance;
pub use fork::Fork;
pub use gateway::{Gateway, Options};
pub use ledger::{Ledger, Row};
pub use script::Script;
pub use upstream::{Seen, Upstream, Weather};

/// The folder that holds the workspace's Cargo.toml.
#[must_use]
pub fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is inside the workspace")
}

/// A tool that npm installed, by its name.
#[must_use]
pub fn node_tool(name: &str) -> PathBuf {
    workspace().join("node_modules/.bin").join(name)
}

/// Asks `question` again and again until it has an answer.
///
/// # Panics
/// When there is none within `patience`.
pub async fn wait_for<T>(
    what: &str,
    patience: Duration,
    mut question: impl FnMut() -> Option<T>,
) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = question() {
            return answer;
        }
        assert!(began.elapsed() < patience, "no {what} within {patience:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The middle value; of an even number the upper one of the two.
///
/// # Panics
/// When there are no values.
#[must_use]
pub fn median<T: PartialOrd + Copy>(values: &[T]) -> T {
    let mut sorted = values.to_vec();
    sorted.sort_by(|left, right| left.partial_cmp(right).expect("values that compare"));
    sorted[sorted.len() / 2]
}
