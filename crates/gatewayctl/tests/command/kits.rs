//! Uploading kits where the way there is bad.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Ctl;
use crate::server::{Server, json};

const KEPT: &str = r#"{"url":"https://gw.example.com/kit/x","expires_at":"2026-12-21T16:20:03.123Z",
    "user_id":null}"#;

fn upload(server: &Server) -> Ctl {
    let ctl = Ctl::new(&["kit", "--roster", "seats.csv", "--upload", "--url", &server.url()]);
    let seats =
        "user_id,name,email,code\nada,Ada,,0000-0001\nbob,Bob,,0000-0002\ncy,Cy,,0000-0003\n";
    std::fs::write(ctl.home().join("seats.csv"), seats).unwrap();
    ctl
}

/// How many kits the list says are up.
fn noted(home: &std::path::Path) -> usize {
    let list = std::fs::read_to_string(home.join("kits/kits.csv")).unwrap();
    list.lines().filter(|line| line.contains(",2026-12-21")).count()
}

/// Breaks off, then is busy, then takes it.
fn flaky(head: &str) -> String {
    static SEEN: Mutex<BTreeSet<(String, usize)>> = Mutex::new(BTreeSet::new());
    let mut seen = SEEN.lock().unwrap();
    let path = head.split(' ').nth(1).unwrap().to_owned();
    let times = seen.iter().filter(|(known, _)| *known == path).count();
    seen.insert((path, times));
    match times {
        0 => String::new(),
        1 => json("503 Service Unavailable", "", "{}"),
        _ => json("201 Created", "", KEPT),
    }
}

#[test]
fn a_kit_is_sent_again_until_it_is_there() {
    let server = Server::start(flaky);
    let ended = upload(&server).run().is(0);
    assert!(ended.out.contains("at their addresses until 2026-12-21."), "{}", ended.out);
    assert_eq!(server.heads().len(), 12, "each three times");
    assert_eq!(noted(ended.home.path()), 4);
}

/// Takes two.
fn full(_head: &str) -> String {
    static TAKEN: AtomicUsize = AtomicUsize::new(0);
    if TAKEN.fetch_add(1, Ordering::Relaxed) < 2 {
        return json("201 Created", "", KEPT);
    }
    let error = r#"{"error":{"message":"Not set up.","type":"server_error","param":null,
        "code":"internal_error"}}"#;
    json("500 Internal Server Error", "", error)
}

#[test]
fn what_is_there_is_noted_when_the_rest_fails() {
    let server = Server::start(full);
    let ended = upload(&server).run().is(1).says("Not set up. 2 of 4 kits were uploaded.");
    let ended = ended.says("Send the command again: it goes on.");
    assert_eq!(noted(ended.home.path()), 2);
    assert!(ended.home.path().join("kits/cards.html").exists());
}
