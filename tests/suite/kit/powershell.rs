//! The scripts for Windows, which has PowerShell and no bash. There is none here, so they are parsed,
//! and compared with those that are run.

use std::path::PathBuf;

use tokio::process::Command;

use super::scripts::{files, pattern_of, python, read};
use crate::runner::Test;
use crate::tests;
use gateway_tests::workspace;

pub fn tests() -> Vec<Test> {
    tests![Ordinary: powershell_parses, both_shells_say_the_same]
}

/// There is no PowerShell here, so its scripts are parsed.
async fn powershell_parses() {
    let program = workspace().join("tests/clients/powershell.py");
    let parse = async |files: &[PathBuf]| {
        let output =
            Command::new(python("python")).arg(&program).args(files).output().await.unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), said + &String::from_utf8_lossy(&output.stderr))
    };
    let (is_whole, said) = parse(&files("ps1")).await;
    assert!(is_whole, "{said}");
    for path in files("ps1") {
        let text = read(&path);
        // Windows PowerShell 5.1 reads what has no mark as the computer's old code page.
        assert!(text.is_ascii(), "{}: a letter that 5.1 can't read", path.display());
        let newer =
            pattern_of(r"\?\?|\?\.|&&|\|\||-Parallel\b|\$[A-Za-z]+ \? |-SkipHttpErrorCheck");
        for (index, line) in text.lines().enumerate() {
            let is_newer = newer.is_match(line.as_bytes()) && !line.trim_start().starts_with('#');
            assert!(!is_newer, "{}:{}: not in 5.1: {line}", path.display(), index + 1);
        }
    }
    // It can fail.
    let folder = tempfile::tempdir().unwrap();
    let broken = folder.path().join("broken.ps1");
    std::fs::write(&broken, "function Get-It { if ($x -eq 1) { 'a' }\n").unwrap();
    let (is_whole, said) = parse(&[broken]).await;
    assert!(!is_whole && said.contains("broken.ps1"), "{said}");
}

/// The sentences for what is wrong, each with its exit code and without what is filled in.
fn sentences(files: &[PathBuf], call: &str) -> Vec<String> {
    let ends =
        pattern_of(&format!(r#"{call}\s+"?\$?(?:script:)?(\w+)"?\s+"((?:[^"\\`]|[\\`].)*)""#));
    let filled = pattern_of(r"\$\{[^}]*\}|\$\([^)]*\)|\$[A-Za-z_]+|\([^)]*\*[^)]*\)");
    let mut found = Vec::new();
    for path in files {
        for captures in ends.captures_iter(read(path).as_bytes()) {
            let text = filled.replace_all(&captures[2], &b"*"[..]);
            let mut text = String::from_utf8(text.into_owned()).unwrap();
            // How a script is started, and letters that Windows PowerShell can't read.
            for (own, common) in [
                (".\\", ""),
                ("\\", ""),
                ("`", ""),
                ("bash ", ""),
                ("./", ""),
                (".sh", ""),
                (".ps1", ""),
                ("…", "..."),
                ("Run setup", "run setup"),
            ] {
                text = text.replace(own, common);
            }
            let code = String::from_utf8_lossy(&captures[1]).replace('_', "").to_lowercase();
            found.push(format!("{code}: {text}"));
        }
    }
    found.sort();
    found.dedup();
    assert!(found.len() > 25, "{found:#?}");
    found
}

/// Whoever has Windows hears the same, for the same reasons, with the same exit code.
async fn both_shells_say_the_same() {
    let bash = sentences(&files("sh"), "fail");
    let powershell = sentences(&files("ps1"), "Stop-Kit");
    // What only one of the two can meet.
    let own = ["curl", "A part of the kit", "TextEdit"];
    let shared = |list: &[String]| -> Vec<String> {
        list.iter().filter(|text| !own.iter().any(|word| text.contains(word))).cloned().collect()
    };
    let (bash, powershell) = (shared(&bash), shared(&powershell));
    let missing: Vec<_> = bash.iter().filter(|text| !powershell.contains(text)).collect();
    let besides: Vec<_> = powershell.iter().filter(|text| !bash.contains(text)).collect();
    assert!(missing.is_empty() && besides.is_empty(), "missing {missing:#?}, besides {besides:#?}");
}
