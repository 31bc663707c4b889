//! What the suite reads cards and opens kits with: zbar and unzip, Debian's.

use std::path::Path;

use anyhow::Result;

use super::wasm_toolchain::{apt_get, privilege};
use crate::progress::{Progress, Step};

/// The programs and their packages.
const PROGRAMS: [(&str, &str); 2] =
    [("/usr/bin/zbarimg", "zbar-tools"), ("/usr/bin/unzip", "unzip")];

const ADVICE: &str = "The suite reads QR codes with zbarimg and opens ZIPs with unzip (Debian: apt-get \
     install zbar-tools unzip). Install them and run the command again.";

/// Installs those that aren't there.
pub fn install(progress: &Progress) -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| !Path::new(program).exists());
    let packages: Vec<_> = missing.map(|(_, package)| *package).collect();
    if packages.is_empty() {
        return Ok(());
    }
    let command = apt_get(&privilege()?, &packages);
    progress.run(Step {
        name: "installing zbar and unzip",
        command,
        advice: ADVICE,
        patience: None,
    })
}
