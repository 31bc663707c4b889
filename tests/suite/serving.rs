//! `serve` on somebody's own machine: what other accounts see of it, and what it says of a broken disk.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gateway_tests::{Gateway, Options, Upstream};
use reqwest::Method;

use crate::answer::answer;
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        other_accounts_see_nothing_of_the_state,
        no_secret_stands_in_a_command_line,
        a_damaged_database_is_named_at_the_start,
        a_base_url_may_end_in_v1,
    ]
}

fn files_below(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![folder.to_owned()];
    for entry in std::fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => found.extend(files_below(&entry.path())),
            kind if kind.is_file() => found.push(entry.path()),
            _ => {}
        }
    }
    found
}

/// The permissions that others have, of what has any.
fn open_to_others(folder: &Path) -> Vec<(PathBuf, u32)> {
    let mode = |path: &Path| path.metadata().map_or(0, |it| it.permissions().mode() & 0o077);
    let found = files_below(folder).into_iter().map(|path| (path.clone(), mode(&path)));
    found.filter(|(_, mode)| *mode != 0).collect()
}

async fn other_accounts_see_nothing_of_the_state() {
    let gateway = Gateway::start(Options::new()).await;
    gateway.mint_key("ada").await;
    assert_eq!(open_to_others(gateway.state()), []);
    // A state from before is mended.
    gateway.stop();
    for path in files_below(gateway.state()) {
        let mode = if path.is_dir() { 0o755 } else { 0o644 };
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
    }
    gateway.restart().await;
    assert_eq!(open_to_others(gateway.state()), []);
    answer(gateway.operator(Method::GET, "/operator/api/users/ada")).await.is(200);
}

async fn no_secret_stands_in_a_command_line() {
    let gateway =
        Gateway::start(Options::new().var("IP_HASH_PEPPER", "pepper-of-nobody-else")).await;
    let mut seen = 0;
    for entry in std::fs::read_dir("/proc").unwrap() {
        let line = std::fs::read(entry.unwrap().path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        seen += usize::from(line.contains("--no-build"));
        for secret in [gateway.operator_token(), "pepper-of-nobody-else"] {
            assert!(!line.contains(secret), "{line}");
        }
    }
    assert!(seen > 0, "serve itself is among them");
    answer(gateway.operator(Method::GET, "/operator/api/overview")).await.is(200);
}

async fn a_damaged_database_is_named_at_the_start() {
    let gateway = Gateway::start(Options::new()).await;
    let database = gateway.runtime().d1_path;
    gateway.stop();
    // What stands in the log beside it goes into the file.
    let connection = rusqlite::Connection::open(&database).unwrap();
    connection.query_row("pragma wal_checkpoint(truncate)", [], |_| Ok(())).unwrap();
    drop(connection);
    let whole = std::fs::read(&database).unwrap();
    assert!(whole.len() > 8_192, "{}", whole.len());
    let mut no_head = whole.clone();
    no_head[..512].fill(b'x');
    let mut holes = whole.clone();
    holes[4_096..].fill(0xff);
    for damaged in [no_head, holes] {
        std::fs::write(&database, damaged).unwrap();
        for ending in ["-wal", "-shm"] {
            let _ = std::fs::remove_file(format!("{}{ending}", database.display()));
        }
        let started = Gateway::try_start(Options::new().state(gateway.state())).await;
        let said = started.err().expect("a damaged database was served");
        let name = database.file_name().unwrap().to_str().unwrap();
        for part in [name, "is damaged", "backup", "--state"] {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert!(!said.contains("internal error"), "{said}");
    }
    // The whole run's rows are searched for secrets in the end.
    std::fs::write(&database, whole).unwrap();
}

async fn a_base_url_may_end_in_v1() {
    let upstream = Upstream::start().await;
    let options = Options::new().var("USER_BINDING", "open");
    let gateway = Gateway::start(options.upstream(format!("{}/v1/", upstream.url()))).await;
    answer(gateway.get("ada", "/v1/models")).await.is(200);
    assert_eq!(upstream.unscripted().last().unwrap().target, "/v1/models");
}
