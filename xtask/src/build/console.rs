//! The operator's console: the sources in `console/`, bundled into the static files of `/operator`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::gzipped;
use crate::progress::{Progress, Step};
use crate::stamp::{self, Stamp};
use crate::workspace;

/// As `[assets]` in wrangler.toml names it.
const FOLDER: &str = "build-console";

/// The packages that become part of it, whose licences go along.
const PACKAGES: [&str; 2] = ["preact", "uplot"];

/// The file that is the page.
pub fn page() -> PathBuf {
    workspace::root().join(FOLDER).join("index.html")
}

/// Bundles it, if an input has changed since the last time.
///
/// # Errors
/// When esbuild refuses a source.
pub fn build(progress: &Progress) -> Result<()> {
    let root = workspace::root();
    let (sources, folder) = (root.join("console"), root.join(FOLDER));
    let (script, style) = (folder.join("console.js"), folder.join("console.css"));
    let inputs = [sources.clone(), root.join("package-lock.json"), here()];
    let stamp = Stamp::new(FOLDER, stamp::hash("", &inputs)?);
    if !stamp.is_current(&[page(), script.clone(), style.clone()]) {
        // Nothing stays of an earlier build: all that is in there is served.
        if folder.exists() {
            std::fs::remove_dir_all(&folder)
                .with_context(|| format!("can't empty {}", folder.display()))?;
        }
        let mut command = workspace::command(workspace::node_program("esbuild"));
        command.args(["console/console.jsx", "console/console.css", "--bundle", "--minify"]);
        command.args(["--format=esm", "--target=es2022", "--charset=utf8"]);
        command.args(["--jsx=automatic", "--jsx-import-source=preact", "--legal-comments=none"]);
        command.arg(format!("--outdir={FOLDER}")).arg("--log-level=warning");
        let name = format!("building the console into {FOLDER}/");
        let advice = "Mend what esbuild names above.";
        progress.run(Step { name: &name, command, advice, patience: None })?;
        for file in ["index.html", "icon.svg"] {
            copy(&sources.join(file), &folder.join(file))?;
        }
        workspace::write_whole(&folder.join("licenses.txt"), &licenses()?)?;
        stamp.set()?;
    }
    let mut sizes = Vec::new();
    for file in [script, style] {
        let bytes = std::fs::read(&file).with_context(|| format!("no {}", file.display()))?;
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        sizes.push(format!("{name} {} KB gzipped", gzipped(&bytes)?.div_ceil(1000)));
    }
    progress.say(&format!("  {FOLDER}/: {}", sizes.join(", ")));
    Ok(())
}

/// This file says how it is built.
fn here() -> PathBuf {
    workspace::root().join("xtask/src/build/console.rs")
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::copy(from, to).with_context(|| format!("can't copy {}", from.display()))?;
    Ok(())
}

fn licenses() -> Result<String> {
    let mut text = String::new();
    for package in PACKAGES {
        let path = workspace::root().join("node_modules").join(package).join("LICENSE");
        let license = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}", path.display()))?;
        text.push_str(&format!("{package}\n\n{}\n\n", license.trim()));
    }
    Ok(text)
}
