//! What the scripts are written in: bash as macOS has it.

use std::path::{Path, PathBuf};

use regex::bytes::Regex;
use serde_json::Value;
use tokio::process::Command;

use super::sources;
use crate::runner::Test;
use crate::tests;
use gateway_tests::workspace;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        shellcheck_has_nothing_to_say,
        nothing_newer_than_bash_3_2_is_used,
        what_is_json_parses,
    ]
}

pub fn files(ending: &str) -> Vec<PathBuf> {
    let lib = std::fs::read_dir(sources().join("lib")).unwrap();
    let mut files: Vec<_> = lib.map(|entry| entry.unwrap().path()).collect();
    let agent = if ending == "sh" { "agent" } else { "agent.ps1" };
    files.push(sources().join(format!("setup.{ending}")));
    files.retain(|path| path.extension().is_some_and(|it| it == ending));
    files.push(sources().join(agent));
    assert!(files.len() >= 5, "{files:?}");
    files
}

pub fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A program of the tests' Python.
pub fn python(name: &str) -> PathBuf {
    workspace().join("target/python/bin").join(name)
}

async fn shellcheck_has_nothing_to_say() {
    let mut command = Command::new(python("shellcheck"));
    command.args(["--shell", "bash", "--external-sources", "--format", "gcc", "--enable"]);
    command.args([
        "quote-safe-variables,check-unassigned-uppercase,deprecate-which",
        "setup.sh",
        "agent",
    ]);
    let output = command.current_dir(sources()).output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
}

/// What macOS's bash doesn't know, and options that only GNU's tools have.
const TOO_NEW: [(&str, &str); 22] = [
    (r"\bdeclare -[a-zA-Z]*[Ag]|\blocal -[An]|\btypeset\b", "associative arrays, name references"),
    (r"\bmapfile\b|\breadarray\b|\bcoproc\b", "mapfile, coproc"),
    (r"\$\{[A-Za-z_]+(\^|,)", "${x^^}, ${x,,}"),
    (r"\$\{[A-Za-z_]+@[A-Za-z]\}", "${x@Q}"),
    (r"\[\[? -v ", "[[ -v name ]]"),
    (r"\|&|&>>", "|& and &>>"),
    (r";;&|;&", "case that falls through"),
    (r"\bshopt -s (globstar|lastpipe|inherit_errexit)", "options of bash 4"),
    (r"\$\{[A-Za-z_]+: -|\$\{[A-Za-z_]+:\(?-[0-9]", "offsets from the end"),
    (r"\bread [^|;]*-t 0?\.|\bread [^|;]*-[NiI]\b", "read -t 0.5, -N, -i"),
    (r"\bprintf [^|;]*%\(", "printf %(…)T"),
    (r"\\u[0-9a-fA-F]{4}'|\$'[^']*\\u", "$'\\u…'"),
    (r"\bEPOCH(SECONDS|REALTIME)\b|\bBASHPID\b|\bSRANDOM\b", "variables of bash 4 and 5"),
    (r"\bwait -n\b", "wait -n"),
    (r"\{[A-Za-z_]+\}[<>]", "{fd}> redirections"),
    (r"\bsed\b[^|]*( -r| -E?i| --)|\bgrep\b[^|]*( -P| --)", "GNU's sed and grep"),
    (r"\bdate\b[^|;]*( -d| --|%N)", "GNU's date"),
    (r"(^|[|;&(]) *(stat|readlink|realpath|timeout|tac|shuf|seq|nproc) ", "tools that macOS lacks"),
    (r"\bmktemp -[-tp]|\bmktemp --", "mktemp's options"),
    (r"\bpython|\bnode\b|\bjq\b|\bperl\b|\bawk\b|\bopenssl\b|\bsudo\b", "more than bash and curl"),
    (r"\becho -[ne]", "echo's options"),
    (r"<<<", "a temporary file for what may be a key"),
];

async fn nothing_newer_than_bash_3_2_is_used() {
    for path in files("sh") {
        for (index, line) in read(&path).lines().enumerate() {
            if line.trim_start().starts_with('#') {
                continue;
            }
            for (pattern, what) in TOO_NEW {
                let found = pattern_of(pattern).is_match(line.as_bytes());
                assert!(!found, "{}:{}: {what}: {line}", path.display(), index + 1);
            }
        }
    }
    // The list can fail.
    for (line, what) in [
        ("declare -A keys", 0),
        ("mapfile -t lines", 1),
        ("x=${name,,}", 2),
        ("sed -i s/a/b/ file", 15),
        ("date -d @1", 16),
        ("read -t 0.5 x", 9),
    ] {
        assert!(pattern_of(TOO_NEW[what].0).is_match(line.as_bytes()), "{line}");
    }
}

/// A pattern over bytes.
pub fn pattern_of(text: &str) -> Regex {
    Regex::new(&format!("(?m-u){text}")).unwrap()
}

async fn what_is_json_parses() {
    let page = read(&sources().join(".claude/agents/project-agent.json"));
    let page: Value = serde_json::from_str(&page).unwrap();
    let agent = &page["project-agent"];
    assert!(agent["description"].is_string() && agent["prompt"].as_str().unwrap().len() > 200);
    let env = read(&sources().join(".env.example"));
    for line in env.lines().filter(|line| !line.starts_with('#') && !line.is_empty()) {
        assert!(line.ends_with('='), "no secret, no placeholder: {line}");
    }
}
