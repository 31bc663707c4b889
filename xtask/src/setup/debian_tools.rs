//! Small programs that only tests use, and that Debian has.

use std::path::Path;

use anyhow::Result;

use super::wasm_toolchain::{apt_get, privilege};
use crate::progress::{Progress, Step};

/// Programs for one purpose.
pub struct Tools {
    /// What they are, as in "zbar and unzip".
    names: &'static str,
    /// Where they are, and the packages that they are in.
    programs: &'static [(&'static str, &'static str)],
    advice: &'static str,
}

/// What the suite reads cards and opens kits with.
pub const FOR_KITS: Tools = Tools {
    names: "zbar and unzip",
    programs: &[("/usr/bin/zbarimg", "zbar-tools"), ("/usr/bin/unzip", "unzip")],
    advice: "The suite reads QR codes with zbarimg and opens ZIPs with unzip (Debian: apt-get \
             install zbar-tools unzip). Install them and run the command again.",
};

/// What counts the instructions of the rules.
pub const FOR_GATES: Tools = Tools {
    names: "valgrind",
    programs: &[("/usr/bin/valgrind", "valgrind")],
    advice: "Instructions are counted with valgrind (Debian: apt-get install valgrind). Install it \
             and run the command again.",
};

/// What compiles libFuzzer.
pub const FOR_FUZZ: Tools = Tools {
    names: "a C++ compiler",
    programs: &[("/usr/bin/c++", "g++")],
    advice: "libFuzzer is compiled with a C++ compiler (Debian: apt-get install g++). Install one \
             and run the command again.",
};

/// Installs those that aren't there.
pub fn install(progress: &Progress, tools: &Tools) -> Result<()> {
    let missing = tools.programs.iter().filter(|(program, _)| !Path::new(program).exists());
    let packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let command = apt_get(&privilege()?, &packages);
    let name = format!("installing {}", tools.names);
    progress.run(Step { name: &name, command, advice: tools.advice, patience: None })
}
