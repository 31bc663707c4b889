//! The suite: the release Wasm on workerd, through `cargo xtask serve`, over HTTP.
//!
//! Each module has a function `tests` that lists what it holds; a test is an `async fn` that
//! panics when it fails. [`runner`] says who runs beside whom.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test that can't go on has to panic, and the figures that it measured are printed"
)]

mod alerts;
mod answer;
mod bench;
mod binding;
mod bodies;
mod budget;
mod burst;
mod capacity;
mod chaos;
mod clients;
mod codex;
mod codex_custody;
mod codex_sign_in;
mod console;
mod costs;
mod ctl;
mod ctl_terminal;
mod daily;
mod deploy;
mod echoes;
mod endpoints;
mod ends;
mod faults;
mod floods;
mod forgetting;
mod guesses;
mod hostile;
mod identity;
mod kit;
mod kits;
mod leaving;
mod ledger;
mod limits;
mod long;
mod matrix;
mod measures;
mod metrics;
mod mirror;
mod onboarding;
mod openapi;
mod openclaw;
mod openclaw_bodies;
mod openclaw_conversations;
mod openclaw_isolation;
mod openclaw_people;
mod openclaw_provisioning;
mod openclaw_return;
mod openclaw_siege;
mod openclaw_trouble;
mod operator;
mod operator_access;
mod operator_session;
mod paths;
mod proxying;
mod queue;
mod quota;
mod redaction;
mod report;
mod return_path;
mod return_refusals;
mod room;
mod roster;
mod runner;
mod secrets;
mod serving;
mod shared;
mod streaming;
mod stripe;
mod stripe_trouble;
mod surface;
mod tiers;
mod trouble;
mod upgrade;
mod uploads;
mod upstreams;

use std::process::ExitCode;

use nix::sys::signal::{SigHandler, Signal, signal};

/// Whoever starts this in the background may have it ignore Ctrl-C, and a shell that is started so can
/// never hear of it.
#[expect(unsafe_code, reason = "the default is no function of ours, and no thread runs yet")]
fn hear_ctrl_c() {
    unsafe { signal(Signal::SIGINT, SigHandler::SigDfl) }.expect("the default for Ctrl-C");
}

fn main() -> ExitCode {
    hear_ctrl_c();
    let lists = [
        long::tests(),
        surface::tests(),
        paths::tests(),
        echoes::tests(),
        ends::tests(),
        endpoints::tests(),
        identity::tests(),
        binding::tests(),
        operator::tests(),
        operator_access::tests(),
        operator_session::tests(),
        console::tests(),
        onboarding::tests(),
        roster::tests(),
        guesses::tests(),
        matrix::tests(),
        proxying::tests(),
        report::tests(),
        return_path::tests(),
        return_refusals::tests(),
        bodies::tests(),
        uploads::tests(),
        streaming::tests(),
        trouble::tests(),
        stripe::tests(),
        stripe_trouble::tests(),
        upgrade::tests(),
        limits::tests(),
        queue::tests(),
        upstreams::tests(),
        burst::tests(),
        ledger::tests(),
        secrets::tests(),
        serving::tests(),
        costs::tests(),
        redaction::tests(),
        leaving::tests(),
        faults::tests(),
        floods::tests(),
        chaos::tests(),
        hostile::tests(),
        clients::tests(),
        codex::tests(),
        codex_sign_in::tests(),
        kit::tests(),
        kits::tests(),
        codex_custody::tests(),
        measures::tests(),
        bench::tests(),
        tiers::tests(),
        daily::tests(),
        deploy::tests(),
        room::tests(),
        ctl::tests(),
        ctl_terminal::tests(),
        capacity::tests(),
        openapi::tests(),
        alerts::tests(),
        metrics::tests(),
        mirror::tests(),
        forgetting::tests(),
        quota::tests(),
        openclaw::tests(),
        openclaw_conversations::tests(),
        openclaw_bodies::tests(),
        openclaw_isolation::tests(),
        openclaw_people::tests(),
        openclaw_trouble::tests(),
    ];
    runner::run(lists.into_iter().flatten().collect())
}
