//! From a list of people to an agent that is ready, by way of a printed card: the QR code is read off the
//! picture of the page, as a camera would.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use gateway_tests::Options;
use reqwest::Method;

use super::browser;
use super::command::Desk;
use crate::answer::answer;
use crate::kit;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_card_leads_to_an_agent_that_is_ready,
        fifty_people_fit_onto_seven_pages,
        a_browser_saves_the_kit,
    ]
}

async fn a_card_leads_to_an_agent_that_is_ready() {
    let pair = shared::pair(kit::hosting(Options::new())).await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,ada@x\nGrace Hopper,grace@x\n");
    desk.done(gateway, "kit --roster people.csv --upload").await;
    let printed = browser::print(&desk.path("kits/cards.html"), &desk.path("")).await;
    let urls: BTreeSet<String> = browser::scan(&printed.pictures).await.into_iter().collect();
    let list = desk.list("kits");
    assert_eq!(urls, list.iter().map(|row| row["url"].clone()).collect());
    for row in &list[..2] {
        let path = row["url"].strip_prefix(&gateway.url("")).unwrap();
        let got = answer(gateway.request(Method::GET, path)).await;
        got.is(200);
        let zip = desk.path("downloaded.zip");
        std::fs::write(&zip, &got.body).unwrap();
        check_rights(&zip);
        let kit = kit::Kit::unzipped(&zip, "agent-kit");
        assert_eq!(kit.setting("USER_ID"), row["user_id"]);
        assert_eq!(kit.setting("CLAIM_CODE"), row["code"]);
        assert_eq!(kit.setting("OPENCLAW_URL"), gateway.url(""));
        let ended = kit.setup().await;
        ended.is_ready();
        ended.tells_none_of(&[&row["code"]]);
        assert_eq!(kit.setting("CLAIM_CODE"), "");
        assert!(
            kit.setting("OPENCLAW_GATEWAY_KEY").starts_with(&format!("ogk_{}_", row["user_id"]))
        );
        // Safe to run again; and the same kit unzipped elsewhere has a code that was used.
        kit.setup().await.is_ready();
        kit::Kit::unzipped(&zip, "agent-kit").setup().await.fails(6, "code has been used");
    }
    // The one for anybody asks.
    let zip = desk.path("kits/agent-kit.zip");
    let anybodys = kit::Kit::unzipped(&zip, "agent-kit");
    assert_eq!(anybodys.setting("OPENCLAW_URL"), gateway.url(""));
    anybodys.setup().await.fails(2, "USER_ID is missing");
}

/// Rights as another program reads them.
fn check_rights(zip: &Path) {
    let script = "import sys, zipfile
for file in zipfile.ZipFile(sys.argv[1]).infolist():
    print(oct(file.external_attr >> 16), file.create_system, file.filename)";
    let output = Command::new("python3").args(["-c", script]).arg(zip).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    for line in [
        "0o100755 3 agent-kit/setup.sh",
        "0o100755 3 agent-kit/agent",
        "0o100644 3 agent-kit/setup.ps1",
        "0o100600 3 agent-kit/.env",
        "0o100644 3 agent-kit/.claude/agents/project-agent.json",
    ] {
        assert!(said.lines().any(|said| said == line), "{line}: {said}");
    }
}

async fn fifty_people_fit_onto_seven_pages() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    let long = "Wolfeschlegelsteinhausenbergerdorff ".repeat(5);
    let mut names = vec![
        "Jo".to_owned(),
        "Maximilian Alexander von Hohenzollern-Sigmaringen zu Brandenburg".to_owned(),
        "علي بن محمد".to_owned(),
        long.trim().to_owned(),
        "Elizabeth Alexandra Mary Windsor".to_owned(),
        "x".repeat(200),
    ];
    names.extend((names.len()..50).map(|number| format!("Person Number {number}")));
    let rows: Vec<_> = names.iter().map(|name| format!("{name},\n")).collect();
    desk.write("people.csv", &format!("name,email\n{}", rows.concat()));
    // As long as an address on workers.dev may well be.
    let words = "kit --roster people.csv --for \
                 https://organized-gateway.some-longer-company-name.workers.dev";
    desk.done(gateway, words).await.says("51 kits in kits");
    let printed = browser::print(&desk.path("kits/cards.html"), &desk.path("")).await;
    assert_eq!(printed.misfits, [""; 0]);
    assert_eq!(printed.requests, [""; 0], "it needs nothing else");
    assert_eq!((printed.cards, printed.a4, printed.letter), (51, 7, 7));
    assert_eq!(printed.pictures.len(), 7);
    let read: BTreeSet<_> = browser::scan(&printed.pictures).await.into_iter().collect();
    assert_eq!(read, desk.list("kits").into_iter().map(|row| row["url"].clone()).collect());
}

async fn a_browser_saves_the_kit() {
    let pair = shared::pair(Options::new().var("USER_BINDING", "key")).await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,\n");
    desk.done(gateway, "kit --roster people.csv --upload").await;
    let url = desk.list("kits")[0]["url"].clone();
    let opened = browser::open(&url, &desk.path("")).await;
    assert_eq!(opened.file, "agent-kit-ada-lovelace.zip");
    let made = std::fs::read(desk.path("kits/agent-kit-ada-lovelace.zip")).unwrap();
    assert!(std::fs::read(opened.path).unwrap() == made);
    assert_eq!(opened.heading, "Your kit is for your laptop");
    assert_eq!(opened.complaints, [""; 0]);
}
