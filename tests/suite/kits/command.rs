//! `gatewayctl kit`: what it writes, what it keeps when it is run again, and what it refuses.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gateway_tests::ctl::{Ctl, Ended};
use gateway_tests::redaction::RUN;
use gateway_tests::{Gateway, Options};
use serde_json::json;

use crate::answer::answer;
use crate::onboarding::claiming;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        the_same_people_get_the_same_kits,
        who_comes_later_takes_nobody_s_place,
        codes_that_nobody_knows_are_asked_for,
        what_can_t_be_used_is_refused_before_anything_is_done,
    ];
    tests.extend(tests![Patient: an_upload_goes_on_where_it_broke_off]);
    tests
}

/// A folder in which the command is run.
pub struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    pub fn command(&self, gateway: &Gateway, words: &str) -> Ctl {
        let words: Vec<_> = words.split(' ').collect();
        Ctl::new(&words).at(gateway).within(self.folder.path())
    }

    /// Runs the command, for people; what it kept is noted.
    pub async fn run(&self, gateway: &Gateway, words: &str) -> Ended {
        let ended = self.command(gateway, words).run().await;
        for folder in ["kits", "other"] {
            if self.path(folder).join("kits.csv").exists() {
                self.list(folder);
            }
        }
        ended
    }

    /// The same of what is to be done.
    pub async fn done(&self, gateway: &Gateway, words: &str) -> Ended {
        self.run(gateway, words).await.is(0)
    }

    /// The rows of a folder's list, by their columns.
    pub fn list(&self, folder: &str) -> Vec<BTreeMap<String, String>> {
        let mut reader = csv::Reader::from_path(self.path(folder).join("kits.csv")).unwrap();
        let rows: Vec<BTreeMap<String, String>> =
            reader.deserialize().map(Result::unwrap).collect();
        for row in &rows {
            RUN.note("a code", &row["code"]);
            RUN.note("a kit's address", row["url"].rsplit('/').next().unwrap());
        }
        rows
    }

    /// The names of the files in a folder.
    fn files(&self, folder: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.path(folder)).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

async fn gateway() -> shared::Pair {
    shared::pair(Options::new().var("USER_BINDING", "key")).await
}

fn column(rows: &[BTreeMap<String, String>], name: &str) -> Vec<String> {
    rows.iter().map(|row| row[name].clone()).collect()
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o777
}

async fn the_same_people_get_the_same_kits() {
    let pair = gateway().await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,ada@x\n\"=Bob <i>O'Neil</i>\",bob@x\n");
    let first = desk.done(gateway, "kit --roster people.csv").await;
    first.says("3 kits in kits: one each for 2 people, and one for anybody.");
    first.says("run it again with --upload");
    first.says("These kits lead to this very machine");
    let files = [
        "agent-kit-ada-lovelace.zip",
        "agent-kit-bob-i-oneil-i.zip",
        "agent-kit.zip",
        "cards.html",
        "kits.csv",
    ];
    assert_eq!(desk.files("kits"), files);
    assert_eq!(mode(&desk.path("kits")), 0o700);
    for file in files {
        assert_eq!(mode(&desk.path("kits").join(file)), 0o600, "{file}");
    }
    let list = desk.list("kits");
    assert_eq!(column(&list, "name"), ["Ada Lovelace", "'=Bob <i>O'Neil</i>", "Anybody"]);
    assert_eq!(column(&list, "expires_at"), [""; 3]);
    let cards = desk.read("kits/cards.html");
    assert!(cards.contains("=Bob &lt;i&gt;O&#39;Neil&lt;/i&gt;") && !cards.contains("<script"));
    answer(gateway.request(reqwest::Method::GET, path_of(&list[0])))
        .await
        .refuses(404, "not_found");

    // The gateway tells codes once; they are in the folder.
    let before: Vec<_> =
        files.map(|file| std::fs::read(desk.path("kits").join(file)).unwrap()).into();
    desk.done(gateway, "kit --roster people.csv").await;
    for (file, before) in files.iter().zip(&before) {
        assert!(std::fs::read(desk.path("kits").join(file)).unwrap() == *before, "{file}");
    }
    // The same settings make the same ZIPs elsewhere, at other addresses.
    let seat = |row: &BTreeMap<String, String>| {
        format!("{};{};;{}\n", row["user_id"], row["name"], row["code"].to_lowercase())
    };
    let seats = format!("user_id;name;email;code\n{}{}", seat(&list[0]), seat(&list[1]));
    desk.write("seats.csv", &seats);
    let json = desk.done(gateway, "kit --roster seats.csv -o other --json").await.json();
    for (file, before) in files[..3].iter().zip(&before) {
        assert!(std::fs::read(desk.path("other").join(file)).unwrap() == *before, "{file}");
    }
    assert_ne!(column(&desk.list("other"), "url"), column(&list, "url"));
    assert_eq!(json["uploaded"], json!(false));
    assert_eq!(json["cards"], "other/cards.html");
    assert_eq!(json["kits"].as_array().unwrap().len(), 3);
    assert_eq!(json["kits"][0]["file"], "other/agent-kit-ada-lovelace.zip");
    assert_eq!(json["kits"][0]["url"], desk.list("other")[0]["url"]);
    assert!(!json.to_string().contains(&list[0]["code"]), "codes are in the files");

    // Somebody watches.
    let words = "kit --roster people.csv --upload --expires 2h --for https://gw.example.com/v1";
    let mut terminal = desk.command(gateway, words).on_a_terminal(100, 30);
    for part in ["3 of 3 kits made", "3 of 3 kits uploaded", "They are at their addresses until"] {
        terminal.shows(part).await;
    }
    assert_eq!(terminal.ended().await, Some(0));
    let uploaded = desk.list("kits");
    assert!(uploaded.iter().all(|row| row["url"].starts_with("https://gw.example.com/kit/")));
    assert!(uploaded.iter().all(|row| row["expires_at"].ends_with('Z')));
    let got = answer(gateway.request(reqwest::Method::GET, path_of(&uploaded[0]))).await;
    got.is(200);
    assert!(got.body == std::fs::read(desk.path("kits").join(files[0])).unwrap());
}

/// The path of a row's address.
fn path_of(row: &BTreeMap<String, String>) -> &str {
    let url = &row["url"];
    &url[url.find("/kit/").unwrap()..]
}

async fn who_comes_later_takes_nobody_s_place() {
    let pair = gateway().await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,\nBob Ross,\n");
    desk.write("late.csv", "name,email\nCy Young,\n");
    desk.done(gateway, "kit --roster people.csv").await;
    let before = desk.list("kits");
    let late = desk.done(gateway, "kit --roster late.csv --upload").await;
    late.says("2 kits in kits: one each for 1 people");
    let after = desk.list("kits");
    assert_eq!(column(&after, "user_id"), ["cy-young", "ada-lovelace", "bob-ross", ""]);
    assert_eq!(after[1..3], before[..2]);
    assert_eq!(after[3]["url"], before[2]["url"]);
    let cards = desk.read("kits/cards.html");
    assert!(cards.contains("Cy Young") && !cards.contains("Ada Lovelace"), "only the new ones");
    desk.done(gateway, "kit --roster people.csv").await;
    assert_eq!(column(&desk.list("kits"), "user_id"), ["ada-lovelace", "bob-ross", "cy-young", ""]);
    assert_eq!(desk.list("kits")[..2], before[..2]);
}

async fn codes_that_nobody_knows_are_asked_for() {
    let pair = gateway().await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,\nBob Ross,\n");
    desk.done(gateway, "roster import people.csv -o codes.csv").await;
    desk.write("more.csv", "name,email\nAda Lovelace,\nBob Ross,\nCy Young,\n");
    let refused = desk.run(gateway, "kit --roster more.csv").await.is(1);
    refused.says(
        "has told the codes of 2 people before, and tells each only once: Ada Lovelace, Bob Ross.",
    );
    refused.says("--reissue");
    // What was told now is kept, for nobody tells it again.
    assert_eq!(desk.files("kits"), ["kits.csv"]);
    let kept = desk.list("kits");
    assert!(kept[0]["code"].is_empty() && kept[1]["code"].is_empty() && kept[2]["code"].len() == 9);

    // One way out: the file with the codes.
    desk.done(gateway, "kit --roster codes.csv").await;
    let list = desk.list("kits");
    assert_eq!(column(&list, "user_id"), ["ada-lovelace", "bob-ross", "cy-young", ""]);
    desk.done(gateway, "kit --roster more.csv").await;
    assert_eq!(column(&desk.list("kits"), "code"), column(&list, "code"), "all are known now");

    // The other: new codes for all, and new addresses; but for the kit for anybody, which has no code.
    desk.run(gateway, "kit --roster more.csv --reissue").await.is(2).says("--yes");
    assert_eq!(desk.list("kits"), list);
    desk.done(gateway, "kit --roster more.csv --reissue --yes").await;
    let renewed = desk.list("kits");
    for (before, after) in list.iter().zip(&renewed) {
        assert_eq!(before["url"] == after["url"], before["code"].is_empty());
        if !before["code"].is_empty() {
            answer(claiming(gateway, &before["user_id"], &before["code"]))
                .await
                .refuses(410, "code_expired");
            answer(claiming(gateway, &after["user_id"], &after["code"])).await.is(201);
        }
    }
    desk.run(gateway, "kit --roster codes.csv --reissue --yes").await.is(2).says("name and email");
}

async fn what_can_t_be_used_is_refused_before_anything_is_done() {
    let pair = gateway().await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    desk.write("people.csv", "name,email\nAda Lovelace,\n");
    let kit = |rest: &str| format!("kit --roster people.csv {rest}");
    desk.run(gateway, "kit --roster nobody.csv").await.is(5).says("nobody.csv can't be read");
    desk.run(gateway, &kit("--for ftp://x")).await.is(2).says("has to begin with https://");
    desk.run(gateway, &kit("--expires 2h")).await.is(2).says("--upload");
    desk.write("file", "");
    desk.run(gateway, &kit("-o file/kits")).await.is(1).says("can't be written to");
    std::fs::create_dir(desk.path("other")).unwrap();
    desk.write("other/kits.csv", "somebody,else\n");
    let refused = Ctl::new(&["kit", "--roster", "people.csv", "-o", "other"]).at(gateway);
    let refused = refused.within(desk.folder.path()).run().await.is(2);
    refused.says("isn't what this command wrote");
    desk.write("wrong.csv", "name,email\nAda,not an email\n");
    desk.run(gateway, "kit --roster wrong.csv").await.is(2).says("line 2");
    desk.write("seats.csv", "user_id,name,email,code\nada,Ada,,ABCD\n");
    desk.run(gateway, "kit --roster seats.csv").await.is(2).says("Line 2");
    std::fs::remove_dir_all(desk.path("other")).unwrap();
    let list = reqwest::Method::GET;
    let users = answer(gateway.operator(list, "/operator/api/users")).await.json();
    assert_eq!(users["users"], json!([]), "nobody was seated");
    let late = desk.run(gateway, &kit("--upload --expires 900d")).await.is(2);
    late.says("`expires_in_seconds` is a whole number from 60 to 31536000.");
    late.says("0 of 2 kits were uploaded.");
    let failure = desk.run(gateway, &kit("--upload --expires 900d --json")).await.failure();
    assert_eq!((&failure["code"], &failure["status"]), (&json!("invalid_query"), &json!(400)));
}

async fn an_upload_goes_on_where_it_broke_off() {
    let pair = gateway().await;
    let (gateway, desk) = (&pair.gateway, Desk::new());
    let people: Vec<_> = (1..=12).map(|number| format!("Pat Number{number},\n")).collect();
    desk.write("people.csv", &format!("name,email\n{}", people.concat()));
    let public = "--for https://gw.example.com";
    desk.done(gateway, &format!("kit --roster people.csv {public}")).await;
    let made = desk.list("kits");
    gateway.stop();
    // What was written is a list of users: only the upload asks the gateway.
    let words = format!("kit --roster kits/kits.csv {public} --upload");
    let broken = desk.run(gateway, &words).await.is(3);
    broken.says("0 of 13 kits were uploaded.");
    broken.says("Send the command again: it goes on.");
    gateway.restart().await;
    desk.done(gateway, &words).await.says("They are at their addresses until");
    let uploaded = desk.list("kits");
    assert_eq!(column(&uploaded, "url"), column(&made, "url"));
    assert_eq!(column(&uploaded, "code"), column(&made, "code"));
    for row in &uploaded {
        let got = answer(gateway.request(reqwest::Method::GET, path_of(row))).await;
        got.is(200);
        assert!(got.body == std::fs::read(desk.path("kits").join(&row["file"])).unwrap());
    }
}
