//! `cargo xtask gates`: the rules on the way of a request under `/v1`, each called once so that callgrind
//! can count its instructions. Without a name it lists them.
//!
//! What comes before a call is not counted: everything stands as it does in the midst of an event.

// Printing is what this program does.
#![allow(clippy::print_stdout, reason = "a program for another program to read")]

mod rules;

use std::hint::black_box;
use std::process::ExitCode;

use rules::RULES;

/// Calls what is to be counted. `xtask/src/gates.rs` knows it by this name.
#[inline(never)]
fn counted<T>(call: impl FnOnce() -> T) -> T {
    black_box(call())
}

fn main() -> ExitCode {
    let Some(name) = std::env::args().nth(1) else {
        for (name, _) in RULES {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    };
    let Some((_, call)) = RULES.iter().find(|(known, _)| *known == name) else {
        return ExitCode::FAILURE;
    };
    call();
    ExitCode::SUCCESS
}
