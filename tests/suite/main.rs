//! The suite: the release Wasm on workerd, through `cargo xtask serve`, over HTTP.
//!
//! Each module has a function `tests` that lists what it holds; a test is an `async fn` that
//! panics when it fails. [`runner`] says who runs beside whom.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that can't go on has to fail, and panicking is how tests do that"
)]

mod answer;
mod identity;
mod limits;
mod operator;
mod paths;
mod proxying;
mod runner;
mod shared;
mod streaming;
mod surface;
mod trouble;

use std::process::ExitCode;

fn main() -> ExitCode {
    let lists = [
        surface::tests(),
        paths::tests(),
        identity::tests(),
        operator::tests(),
        proxying::tests(),
        streaming::tests(),
        trouble::tests(),
        limits::tests(),
    ];
    runner::run(lists.into_iter().flatten().collect())
}
