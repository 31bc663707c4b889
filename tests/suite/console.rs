//! The console: its files as they are served, and an operator at work in a real browser, whose hands
//! are tests/clients/console.mjs.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use gateway_tests::redaction::RUN;
use gateway_tests::script::chat_request;
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Options, Script, Upstream, node_tool, workspace};
use regex::Regex;
use reqwest::{Method, RequestBuilder};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        the_page_and_all_that_it_names_are_served,
        without_an_operator_there_is_no_console,
        everybody_can_use_every_page,
    ];
    tests.extend(tests![Alone: an_operator_sees_a_limit_and_mends_what_is_wrong]);
    tests
}

async fn the_page_and_all_that_it_names_are_served() {
    let gateway = &shared::open().await.gateway;
    let page = answer(gateway.request(Method::GET, "/operator")).await;
    page.is(200);
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    let text = page.text();
    let named = Regex::new(r#"(?:src|href)="([^"]+)""#).unwrap();
    let files: Vec<_> = named.captures_iter(&text).map(|found| found[1].to_owned()).collect();
    assert_eq!(files.len(), 3, "{text}");
    for path in ["/operator".to_owned(), "/operator/".to_owned()].iter().chain(&files) {
        let file = answer(gateway.request(Method::GET, path)).await;
        file.is(200);
        let policy = file.header("content-security-policy");
        for part in ["default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        assert_eq!(file.header("referrer-policy"), "no-referrer");
        assert_eq!(file.header("cache-control"), "no-cache");
        let tag = file.header("etag");
        let known = gateway.request(Method::GET, path).header("if-none-match", tag);
        answer(known).await.is(304);
        let head = answer(gateway.request(Method::HEAD, path)).await;
        head.is(200);
        assert_eq!((head.text().as_ref(), head.header("etag")), ("", tag));
        answer(gateway.request(Method::POST, path)).await.refuses(405, "method_not_allowed");
    }
    for path in ["/operator/assets/none.js", "/console.js", "/index.html", "/operator/assets/"] {
        answer(gateway.request(Method::GET, path)).await.refuses(404, "not_found");
    }
    let session = answer(gateway.request(Method::GET, "/operator/session")).await;
    assert_eq!(session.header("content-security-policy"), "sandbox");
}

async fn without_an_operator_there_is_no_console() {
    let options = Options::new().var("USER_BINDING", "open").no_operator();
    let pair = shared::pair(options).await;
    for path in ["/operator", "/operator/", "/operator/assets/console.js"] {
        answer(pair.gateway.request(Method::GET, path)).await.refuses(404, "not_found");
    }
}

/// Whose requests are refused, and mended.
const VICTIM: &str = "vera-rubin";

/// How many people are in the room besides.
const PEOPLE: usize = 40;

/// A limit is to be seen within this, in milliseconds: the refusal's row takes up to two seconds to
/// D1, and the page asks every other second.
const SOON: u64 = 5_000;

/// A room full of people.
struct Room {
    gateway: Arc<Gateway>,
    _upstream: Upstream,
    route: Route,
    victim_key: String,
    rests: Arc<AtomicBool>,
}

impl Room {
    async fn open() -> Self {
        let upstream = Upstream::start().await;
        let options = Options::new().upstream(upstream.url()).fault_injection();
        let gateway = Arc::new(Gateway::start(options).await);
        let route = upstream.route(Script::chat("hello", 3).wait(Duration::from_millis(100)));
        let mut list = "name,email\nVera Rubin,vera@example.com\n".to_owned();
        for number in 1..=PEOPLE {
            let _ = writeln!(list, "Person {number},person{number}@example.com");
        }
        let roster = gateway.operator(Method::POST, "/operator/api/roster").body(list);
        answer(roster.header("content-type", "text/csv")).await.is(200);
        let victim_key = gateway.mint_key(VICTIM).await.key;
        let room = Self { gateway, _upstream: upstream, route, victim_key, rests: Arc::default() };
        room.ask(&room.victim_key).await;
        room.fill().await;
        room
    }

    /// Has most of the people ask now and then, one with a wrong key.
    async fn fill(&self) {
        for number in 1..=PEOPLE * 3 / 4 {
            let user = format!("person-{number}");
            let mut key = self.gateway.mint_key(&user).await.key;
            if number == 7 {
                key = format!("ogk_{user}_{:043}", fastrand::u64(..));
            }
            let (gateway, path) = (Arc::clone(&self.gateway), self.route.chat());
            let rests = Arc::clone(&self.rests);
            tokio::spawn(async move {
                while !rests.load(Ordering::Relaxed) {
                    asks(&gateway, &path, &key).send().await.ok();
                    let pause = Duration::from_millis(1_500 + fastrand::u64(..2_000));
                    tokio::time::sleep(pause).await;
                }
            });
        }
    }

    async fn ask(&self, key: &str) -> u16 {
        answer(asks(&self.gateway, &self.route.chat(), key)).await.status
    }

    /// The messages to objects, but for the one that every minute costs by itself.
    fn object_calls(&self) -> usize {
        let is_call = |line: &&serde_json::Value| {
            line["event"] == "object_call" && line["object"] != "alerts"
        };
        self.gateway.log().iter().filter(is_call).count()
    }

    /// Does what the operator's hands ask for.
    async fn please(&self, request: &str, counted: &mut usize) -> String {
        let (what, with) = request.split_once(' ').unwrap_or((request, ""));
        match what {
            "limit" => {
                while self.ask(&self.victim_key).await != 429 {}
                "limited".to_owned()
            }
            "ask" => self.ask(&self.victim_key).await.to_string(),
            "use" => {
                RUN.note("a gateway key", with);
                self.ask(with).await.to_string()
            }
            "rest" => {
                self.rests.store(true, Ordering::Relaxed);
                // The last requests end, and their rows go to D1.
                tokio::time::sleep(Duration::from_secs(6)).await;
                "quiet".to_owned()
            }
            "count" => {
                *counted = self.object_calls();
                counted.to_string()
            }
            "counted" => (self.object_calls() - *counted).to_string(),
            unknown => panic!("what is {unknown}?"),
        }
    }

    /// Has the browser go through a part of its script; the lines that it printed.
    async fn visit(&self, part: &str) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        let screenshots = screenshots();
        let mut child = Command::new(node_tool("node"))
            .arg(workspace().join("tests/clients/console.mjs"))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("CHROMIUM", chromium())
            .env("GATEWAY_URL", self.gateway.url(""))
            .env("HOME", folder.path())
            .env("OPERATOR_TOKEN", self.gateway.operator_token())
            .env("PART", part)
            .env("SCREENSHOTS", screenshots)
            .env("TMPDIR", folder.path())
            .env("VICTIM", VICTIM)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let hands = child.stdin.take().unwrap();
        let said = BufReader::new(child.stdout.take().unwrap()).lines();
        let patience = Duration::from_mins(4);
        let said = tokio::time::timeout(patience, self.converse(hands, said)).await;
        let said = said.expect("an end");
        let ended = child.wait_with_output().await.unwrap();
        let errors = String::from_utf8_lossy(&ended.stderr);
        assert!(ended.status.success(), "{}\n{errors}", said.join("\n"));
        said
    }

    async fn converse(
        &self,
        mut hands: ChildStdin,
        mut lines: tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    ) -> Vec<String> {
        let (mut said, mut counted) = (Vec::new(), 0);
        while let Some(line) = lines.next_line().await.unwrap() {
            if let Some(request) = line.strip_prefix("please ") {
                let done = self.please(request, &mut counted).await;
                hands.write_all(format!("{done}\n").as_bytes()).await.ok();
            }
            said.push(line);
        }
        said
    }
}

fn asks(gateway: &Gateway, path: &str, key: &str) -> RequestBuilder {
    let request = gateway.request(Method::POST, path).json(&chat_request("hi", true));
    request.header("x-gateway-key", key).bearer_auth("sk-caller")
}

fn chromium() -> &'static Path {
    let program = Path::new("/usr/bin/chromium");
    assert!(program.exists(), "no Chromium: `cargo xtask test` installs it");
    program
}

/// Where somebody may look at what the pages look like.
fn screenshots() -> PathBuf {
    let folder = workspace().join("target/console");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// The figure behind a step that was done.
fn figure(said: &[String], step: &str) -> u64 {
    let step = format!("ok {step} ");
    let line = said.iter().find_map(|line| line.strip_prefix(&step));
    line.unwrap_or_else(|| panic!("no {step} in {said:#?}")).parse().unwrap()
}

async fn an_operator_sees_a_limit_and_mends_what_is_wrong() {
    let room = Room::open().await;
    let said = room.visit("story").await;
    for step in [
        "signed in, and where one wanted to be",
        "a person's page",
        "blocked and unblocked",
        "a key",
        "it is on record",
        "the roster and the export",
        "forgotten",
        "signed out",
        "lost and found",
        "signed in again where one was",
        "done",
    ] {
        assert!(said.contains(&format!("ok {step}")), "no {step} in {said:#?}");
    }
    let took = figure(&said, "a limit is seen");
    println!("a user's 429 is in the room after {took} ms");
    assert!(took <= SOON, "it took {took} ms");
    assert!(figure(&said, "the room") > PEOPLE as u64);
    figure(&said, "a live view is cheap");
}

async fn everybody_can_use_every_page() {
    let room = Room::open().await;
    let said = room.visit("looks").await;
    println!("{} findings of axe that aren't serious", figure(&said, "everybody can use it"));
    assert!(said.contains(&"ok done".to_owned()));
}
