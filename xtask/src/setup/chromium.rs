//! The browser in which the suite opens the operator's console: Debian's Chromium.

use std::path::Path;

use anyhow::Result;

use super::wasm_toolchain::{apt_get, privilege};
use crate::progress::{Progress, Step};

/// Where Debian has it, and the suite looks for it.
const PROGRAM: &str = "/usr/bin/chromium";

/// With a font, for the screenshots are looked at.
const PACKAGES: [&str; 2] = ["chromium", "fonts-liberation"];

const ADVICE: &str = "The suite opens the console in Chromium at /usr/bin/chromium (Debian: apt-get \
     install chromium). Install it and run the command again.";

/// Installs it, if it isn't there.
pub fn install(progress: &Progress) -> Result<()> {
    if Path::new(PROGRAM).exists() {
        return Ok(());
    }
    let command = apt_get(&privilege()?, &PACKAGES);
    progress.run(Step { name: "installing Chromium", command, advice: ADVICE, patience: None })
}
