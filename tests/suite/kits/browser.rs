//! The cards and the addresses on them in a real browser, whose script is tests/clients/cards.mjs.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use gateway_tests::{node_tool, workspace};
use serde::Deserialize;
use tokio::process::Command;

/// What came of printing cards.
#[derive(Debug, Deserialize)]
pub struct Printed {
    /// How many cards there are.
    pub cards: usize,
    /// What doesn't fit onto its card, or lies over something else.
    pub misfits: Vec<String>,
    /// What the page asked of anybody.
    pub requests: Vec<String>,
    /// Pages on A4.
    pub a4: usize,
    /// Pages on Letter.
    pub letter: usize,
    /// A picture of each page.
    pub pictures: Vec<PathBuf>,
}

/// What came of opening an address.
#[derive(Debug, Deserialize)]
pub struct Opened {
    /// The file that the laptop saved.
    pub file: String,
    /// Where it is.
    pub path: PathBuf,
    /// The heading that a phone shows.
    pub heading: String,
    /// What the browser complained of.
    pub complaints: Vec<String>,
}

/// Prints the cards in a file.
pub async fn print(cards: &Path, folder: &Path) -> Printed {
    run("print", &format!("file://{}", cards.display()), folder).await
}

/// Opens an address on a laptop, and on a phone.
pub async fn open(url: &str, folder: &Path) -> Opened {
    run("open", url, folder).await
}

/// The addresses in the QR codes of pictures, as zbar reads them.
pub async fn scan(pictures: &[PathBuf]) -> Vec<String> {
    let output = Command::new("zbarimg").args(["--quiet", "--raw"]).args(pictures).output();
    let output = output.await.expect("no zbar: `cargo xtask test` installs it");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

async fn run<T: for<'a> Deserialize<'a>>(part: &str, url: &str, folder: &Path) -> T {
    let chromium = Path::new("/usr/bin/chromium");
    assert!(chromium.exists(), "no Chromium: `cargo xtask test` installs it");
    let child = Command::new(node_tool("node"))
        .arg(workspace().join("tests/clients/cards.mjs"))
        .args([part, url])
        .arg(folder)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CHROMIUM", chromium)
        .env("HOME", folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output =
        tokio::time::timeout(Duration::from_mins(2), child).await.expect("an end").unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}\n{err}");
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("JSON: {out}"))
}
