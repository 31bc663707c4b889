//! What the command does where a gateway, or something before it, refuses or breaks off.

use crate::Ctl;
use crate::server::{Server, json, nobody, well};

fn busy(head: &str) -> String {
    let error = r#"{"error":{"message":"Not now.","type":"server_error","param":null,
        "code":"database_unavailable"}}"#;
    // Users are there once somebody has asked again.
    if head.starts_with("GET /operator/api/users/ada ") {
        let view = r#"{"user_id":"ada","tier":null,"tier_since":null,"tier_until":null,
            "blocked":true,"binding":"open","window":{"limit":50,"used":0,"next_free_ms":0},
            "in_flight":0,"month":{"month":"2026-11","requests":0,"limit":null,"tokens":0},
            "projects":[],"keys":[],"codex":{"state":"none","expires_at":null},"recent":[]}"#;
        return json("200 OK", "", view);
    }
    json("503 Service Unavailable", "retry-after: 1\r\n", error)
}

#[test]
fn what_changes_nothing_is_asked_again_when_the_gateway_says() {
    let server = Server::start(busy);
    let began = std::time::Instant::now();
    let notes = Ctl::new(&["notes", "--url", &server.url()]).run().is(6);
    notes.says("Not now. Trying again in 1 s.").says("error: Not now.");
    assert_eq!(server.heads().len(), 3);
    assert!(began.elapsed().as_millis() >= 2_000, "it waits as long as it is told");
}

#[test]
fn what_changes_something_is_sent_once() {
    let server = Server::start(busy);
    let url = server.url();
    Ctl::new(&["user", "unblock", "ada", "--url", &url]).run().is(6).says("Not now.");
    let sent = server.heads().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(sent, 1);
}

#[test]
fn an_action_without_an_answer_may_have_been_done() {
    let server =
        Server::start(|head| if head.starts_with("POST") { String::new() } else { busy(head) });
    let reset = Ctl::new(&["user", "reset", "ada", "--url", &server.url()]);
    reset.run().is(3).says("It may have been done all the same.");
    let sent = server.heads().iter().filter(|head| head.starts_with("POST")).count();
    assert_eq!(sent, 1);
}

#[test]
fn where_nobody_listens_nothing_was_done() {
    let url = format!("http://127.0.0.1:{}", nobody());
    let mint = Ctl::new(&["user", "keys", "mint", "ada", "--url", &url]).run().is(3);
    assert!(!mint.err.contains("may have been done"), "{}", mint.err);
    let users = Ctl::new(&["users", "--json", "--url", &url]).run().is(3);
    assert_eq!(users.failure()["code"], "unreachable");
    let users = Ctl::new(&["users", "--url", "https://nowhere.invalid"]).run().is(3);
    users.says("There is no host called nowhere.invalid.");
}

#[test]
fn cloudflare_access_is_told_from_a_wrong_address() {
    let access = Server::start(|_| {
        let to = "location: https://team.cloudflareaccess.com/cdn-cgi/access/login\r\n";
        json("302 Found", to, "")
    });
    let users = Ctl::new(&["users", "--url", &access.url()]).run().is(4);
    users.says("CF_ACCESS_CLIENT_ID");
    let doctor = Ctl::new(&["doctor", "--url", &access.url()]).run().is(1);
    assert!(doctor.out.contains("Cloudflare Access wants a sign-in first."), "{}", doctor.out);
    let users = Ctl::new(&["users", "--url", &access.url()])
        .env("CF_ACCESS_CLIENT_ID", "id.access")
        .env("CF_ACCESS_CLIENT_SECRET", "hush-of-the-tests");
    let users = users.run().is(4);
    assert!(!users.err.contains("hush-of-the-tests"));
    let head = access.heads().pop().unwrap();
    assert!(head.contains("cf-access-client-secret: hush-of-the-tests"), "{head}");
}

#[test]
fn what_isn_t_a_gateway_is_said_to_be_none() {
    let other = Server::start(|_| json("200 OK", "", "<html>It works!</html>"));
    let users = Ctl::new(&["users", "--url", &other.url()]).run().is(1);
    users.says("isn't an organized-gateway");
    let doctor = Ctl::new(&["doctor", "--url", &other.url()]).run().is(1);
    assert!(doctor.out.contains("FAIL  gateway    Something else answers there"), "{}", doctor.out);
}

#[test]
fn a_clock_that_is_off_is_warned_of() {
    let server = Server::start(|head| {
        well(head).replace(
            "connection: close",
            "date: Sat, 01 Jan 2000 00:00:00 GMT\r\nconnection: close",
        )
    });
    let doctor = Ctl::new(&["doctor", "--json", "--url", &server.url()]).run().is(0);
    let report = doctor.json();
    let checks = report["checks"].as_array().unwrap();
    let clock = checks.iter().find(|check| check["name"] == "clock").unwrap();
    assert_eq!((&clock["verdict"], &report["verdict"]), (&"warn".into(), &"warn".into()));
    assert!(clock["why"].as_str().unwrap().contains("ahead of the gateway"), "{clock}");
}

/// Two rows, and then the connection ends before the body does.
fn broken_off(_: &str) -> String {
    "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\ntransfer-encoding: chunked\r\n\r\n\
     8\r\nid\r\n1\r\n2\r\n"
        .to_owned()
}

#[test]
fn half_an_export_never_has_the_file_s_name() {
    let server = Server::start(broken_off);
    let url = server.url();
    let export = Ctl::new(&["export", "--url", &url, "-o", "rows.csv"]);
    std::fs::write(export.home().join("rows.csv"), "what was there").unwrap();
    let export = export.run().is(1).says("broke off").says("rows.csv was left as it was");
    let left = std::fs::read_to_string(export.home.path().join("rows.csv")).unwrap();
    assert_eq!(left, "what was there");
    assert_eq!(std::fs::read_dir(export.home.path()).unwrap().count(), 1, "and nothing beside it");
    let printed = Ctl::new(&["export", "--url", &url]).run().is(1).says("isn't all of it");
    assert!(printed.out.starts_with("id\r\n1"), "{:?}", printed.out);
}
