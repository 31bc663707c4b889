//! libFuzzer, with the target that `FUZZ_TARGET` names: `cargo xtask fuzz` builds and runs it.

#![no_main]

use std::sync::LazyLock;

use fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    let named = TARGETS.iter().find(|target| target.name == name);
    named.unwrap_or_else(|| panic!("FUZZ_TARGET={name} names none of the targets"))
});

fuzz_target!(|input: &[u8]| (TARGET.hold)(input));
