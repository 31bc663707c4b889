//! `openclaw` where something is wrong before anything is done: with a script in OpenClaw's place, that
//! writes down what it was asked. What it does with a real one is in the suite.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::server::{Server, json};
use crate::{Ctl, Ended};

/// Says where its settings are, and is well with everything but the word that it is to fail at.
const SCRIPT: &str = r#"#!/bin/sh
cd "$(dirname "$0")"
echo "$*" >> asked
env | grep -c OPERATOR_TOKEN >> seen
case "$*" in
*"$BUSY"*) [ -e was-busy ] || { touch was-busy; echo "another OpenClaw process owns state-lifecycle" >&2; exit 1; } ;;
esac
case "$*" in
*"$FAILS"*) echo "first line" >&2; echo "It is broken." >&2; exit 1 ;;
"config file --json") echo "{\"path\": \"$PWD/openclaw.json\"}" ;;
"config patch --stdin") cat > patch ;;
"secrets apply"*) [ -e tombstone ] && [ ! -e added ] && { echo "OpenClaw agent database is unavailable while agent $(cat tombstone) is deleted." >&2; exit 1; }; echo '{"changed": false, "changedFiles": []}' ;;
"agents list"*) echo "[{\"id\": \"main\", \"agentDir\": \"$PWD/state/agents/main/agent\"}]" ;;
"agents add"*) touch added; echo '{}' ;;
"agents delete"*) cat deleted ;;
*) echo '{}' ;;
esac
"#;

fn gateway(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    let user = path.split('/').nth(4).unwrap_or_default();
    json("201 Created", "", &format!(r#"{{"handle":"ogr_{user}_of-the-tests"}}"#))
}

fn refusing(_head: &str) -> String {
    let error = r#"{"error":{"message":"No.","type":"x","param":null,"code":"user_blocked"}}"#;
    json("403 Forbidden", "", error)
}

fn strange(_head: &str) -> String {
    json("201 Created", "", r#"{"handle":"ogr_somebody-else_of-the-tests"}"#)
}

/// The command with the script, and a list.
fn openclaw(server: &Server, words: &[&str], list: &str) -> Ctl {
    let url = server.url();
    let all = ["openclaw"].iter().chain(words);
    let rest = ["--roster", "people.csv", "--openclaw", "./openclaw", "--url", &url];
    let all: Vec<&str> = all.chain(&rest).copied().collect();
    let ctl = Ctl::new(&all)
        .env("PATH", "/usr/bin:/bin")
        .env("FAILS", "nothing that is asked")
        .env("BUSY", "nothing that is asked");
    let script = ctl.home().join("openclaw");
    std::fs::write(&script, SCRIPT).unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o700)).unwrap();
    std::fs::write(ctl.home().join("people.csv"), list).unwrap();
    ctl
}

const TWO: &str = "user_id,name,email,code\nada,Ada,,\nbob,Bob,,\n";

/// What the script was asked that changes something.
fn changes(home: &Path) -> Vec<String> {
    let asked = std::fs::read_to_string(home.join("asked")).unwrap_or_default();
    let looks = ["config file --json", "agents list --json"];
    let changes = asked.lines().filter(|line| !looks.contains(line));
    changes.map(|line| line.split(" --").next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn everything_is_asked_of_openclaw_in_order_and_without_the_operators_token() {
    let server = Server::start(gateway);
    let ended = openclaw(&server, &["apply", "--model", "m"], TWO).run().is(0);
    assert_eq!(changes(ended.home.path()), ["config patch", "secrets apply", "secrets reload"]);
    let read = |name: &str| std::fs::read_to_string(ended.home.path().join(name)).unwrap();
    assert!(read("seen").lines().all(|line| line == "0"), "{}", read("seen"));
    let patch: serde_json::Value = serde_json::from_str(&read("patch")).unwrap();
    assert_eq!(
        patch["auth"]["order"]["organized-gateway"],
        serde_json::json!(["organized-gateway:own"])
    );
    let handles = read("organized-gateway-handles.json");
    assert!(handles.contains("ogr_ada_of-the-tests"), "{handles}");
    assert!(!ended.out.contains("of-the-tests") && !read("patch").contains("of-the-tests"));
}

#[test]
fn what_is_wrong_is_found_before_anything_is_done() {
    let server = Server::start(gateway);
    for (list, words, code, said) in [
        ("user_id\nada.l\n", &["apply", "--model", "m"][..], 2, "ada.l can't have an agent"),
        (TWO, &["apply"], 2, "Name it with --model"),
        (TWO, &["apply", "--model", "m", "--rotate"], 2, "Add --yes"),
        ("user_id\nad a\n", &["plan", "--model", "m"], 2, "Line 2"),
    ] {
        let ended = openclaw(&server, words, list).run().is(code).says(said);
        assert!(changes(ended.home.path()).is_empty(), "{words:?}");
        assert!(!ended.home.path().join("organized-gateway-handles.json").exists());
    }
    assert!(server.heads().is_empty(), "the gateway was asked: {:?}", server.heads());
}

#[test]
fn a_file_that_would_lose_something_is_left_alone() {
    let server = Server::start(gateway);
    for text in ["{ // mine\n }", "[]", r#"{"agents":{"$include":"./a.json"}}"#] {
        let ctl = openclaw(&server, &["apply", "--model", "m"], TWO);
        let file = ctl.home().join("openclaw.json");
        std::fs::write(&file, text).unwrap();
        let ended = ctl.run().is(2).says("isn't plain JSON in one file");
        assert_eq!(std::fs::read_to_string(&file).unwrap(), text);
        assert!(changes(ended.home.path()).is_empty());
    }
}

#[test]
fn no_openclaw_is_said_so() {
    let server = Server::start(gateway);
    let ctl = openclaw(&server, &["plan", "--model", "m"], TWO);
    std::fs::remove_file(ctl.home().join("openclaw")).unwrap();
    ctl.run().is(2).says("name its command with --openclaw");
}

#[test]
fn what_openclaw_refuses_is_told_in_its_words() {
    let server = Server::start(gateway);
    for (fails, said) in [
        ("config patch", "`./openclaw config patch` failed: first line It is broken."),
        ("secrets apply", "`openclaw secrets audit` names what doesn't."),
    ] {
        let ctl = openclaw(&server, &["apply", "--model", "m"], TWO).env("FAILS", fails);
        let ended = ctl.run().is(1).says(said);
        // What was minted isn't lost: the next run has it.
        let handles = ended.home.path().join("organized-gateway-handles.json");
        assert!(std::fs::read_to_string(handles).unwrap().contains("ogr_bob_of-the-tests"));
    }
    // Where none runs, all is done but that.
    let ctl = openclaw(&server, &["apply", "--model", "m"], TWO).env("FAILS", "secrets reload");
    ctl.run().is(0).says("No OpenClaw that runs could be told");
    // But handles that are void can't wait.
    let rotate = ["apply", "--model", "m", "--rotate", "--yes"];
    let ctl = openclaw(&server, &rotate, TWO).env("FAILS", "secrets reload");
    ctl.run().is(1).says("The handles of before are void.");
}

#[test]
fn who_broke_off_while_handles_were_minted_anew_has_none() {
    let server = Server::start(|head| match gateway(head) {
        minted if head.contains("/ada/") => minted,
        _ => refusing(head),
    });
    let ctl = openclaw(&server, &["apply", "--model", "m", "--rotate", "--yes"], TWO);
    let handles = ctl.home().join("organized-gateway-handles.json");
    std::fs::write(&handles, r#"{"ada":"ogr_ada_old","bob":"ogr_bob_old"}"#).unwrap();
    let ended = ctl.run().is(4);
    let handles = ended.home.path().join("organized-gateway-handles.json");
    let kept = std::fs::read_to_string(handles).unwrap();
    assert!(kept.contains("ogr_ada_of-the-tests") && !kept.contains("bob"), "{kept}");
}

/// One agent of somebody who is gone, and what OpenClaw says of its end.
fn pruned(said: &str) -> Ended {
    let server = Server::start(gateway);
    let ctl = openclaw(&server, &["apply", "--model", "m", "--prune", "--yes"], TWO);
    let eve = r#"{"agents":{"entries":{"u-eve":{"model":{"primary":"organized-gateway/m"}}}}}"#;
    std::fs::write(ctl.home().join("openclaw.json"), eve).unwrap();
    std::fs::write(ctl.home().join("deleted"), said).unwrap();
    ctl.run()
}

#[test]
fn what_openclaw_left_of_somebody_who_is_gone_is_told() {
    pruned("{}").is(0);
    let trash = r#"{"failed":[{"path":"/x/u-eve","reason":"busy"}]}"#;
    pruned(trash).is(1).says("/x/u-eve isn't in the trash.");
    pruned(r#"{"failed":[],"purgeFailed":true}"#).is(1).says("Conversations of u-eve are still");
}

#[test]
fn an_agent_that_left_its_folder_is_added_before_settings_name_it() {
    let server = Server::start(gateway);
    let ctl = openclaw(&server, &["apply", "--model", "m"], TWO);
    std::fs::write(ctl.home().join("tombstone"), "u-bob").unwrap();
    std::fs::create_dir_all(ctl.home().join("state/agents/u-bob")).unwrap();
    let ended = ctl.run().is(0);
    let asked = ["agents add u-bob", "config patch", "secrets apply", "secrets reload"];
    assert_eq!(changes(ended.home.path()), asked);
    let all = std::fs::read_to_string(ended.home.path().join("asked")).unwrap();
    assert!(all.contains("/state/workspace-u-bob\n"), "{all}");
}

#[test]
fn an_agent_that_went_and_left_nothing_is_added_once_openclaw_says_so() {
    let server = Server::start(gateway);
    let ctl = openclaw(&server, &["apply", "--model", "m"], TWO);
    std::fs::write(ctl.home().join("tombstone"), "u-bob").unwrap();
    std::fs::write(ctl.home().join("deleted"), "{}").unwrap();
    let ended = ctl.run().is(0);
    let asked = [
        "config patch",
        "secrets apply",
        "agents delete u-bob",
        "agents add u-bob",
        "config patch",
        "secrets apply",
        "secrets reload",
    ];
    assert_eq!(changes(ended.home.path()), asked);
}

#[test]
fn handles_aren_t_sent_in_the_clear() {
    let server = Server::start(gateway);
    let plan = ["plan", "--model", "m", "--for", "http://192.0.2.1:1"];
    openclaw(&server, &plan, TWO).run().is(2).says("isn't encrypted");
}

#[test]
fn an_openclaw_that_is_busy_is_asked_again() {
    let server = Server::start(gateway);
    let ctl = openclaw(&server, &["apply", "--model", "m"], TWO).env("BUSY", "config patch");
    let ended = ctl.run().is(0);
    let asked = ["config patch", "config patch", "secrets apply", "secrets reload"];
    assert_eq!(changes(ended.home.path()), asked);
}

#[test]
fn a_gateway_that_mints_nothing_leaves_openclaw_as_it_is() {
    for (answers, code, said) in
        [(refusing as fn(&str) -> String, 4, "No."), (strange, 1, "a handle that isn't ada's")]
    {
        let server = Server::start(answers);
        let ended: Ended =
            openclaw(&server, &["apply", "--model", "m"], TWO).run().is(code).says(said);
        assert!(changes(ended.home.path()).is_empty());
        assert!(!ended.home.path().join("organized-gateway-handles.json").exists());
    }
}

#[test]
fn who_verifies_is_told_what_is_missing() {
    let server = Server::start(gateway);
    openclaw(&server, &["verify", "--model", "m"], TWO).run().is(1).says("Run `apply` first, with");
}
