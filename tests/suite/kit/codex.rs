//! Signing in by device code: the script shows a code and waits; no token comes by.

use std::time::Duration;

use gateway_tests::oauth::{Provider, Verdict};
use gateway_tests::ports::free_address;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options};
use reqwest::Method;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};

use super::setup::terminal;
use super::{Ended, Kit, finish, read_until};
use crate::answer::{Answer, answer};
use crate::codex::{Stage, options};
use crate::onboarding::issue;
use crate::runner::Test;
use crate::{codex, shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        one_command_makes_a_codex_user_of_whoever_brought_a_key,
        a_sign_in_outlives_the_network,
        who_says_no_or_waits_too_long_hears_it,
        whoever_has_to_sign_in_is_led_there,
    ]
}

/// Begins a sign-in, does `what` with the code that is shown, and waits for the end.
async fn signs_in(kit: &Kit, what: impl AsyncFnOnce(String)) -> Ended {
    let began = std::time::Instant::now();
    let mut child = kit.command("setup.sh", &["--auth", "codex"]).spawn().unwrap();
    let output = child.stdout.as_mut().unwrap();
    let mut said = read_until(output, "Keep this window open.\n").await;
    let code = said.lines().find_map(|line| line.strip_prefix("2. Type this code there:"));
    what(code.unwrap().trim().to_owned()).await;
    let mut ended = finish(child, began).await;
    said.push_str(&ended.said);
    ended.said = said;
    ended
}

async fn one_command_makes_a_codex_user_of_whoever_brought_a_key() {
    let provider = Provider::start().await;
    let byok = shared::pair(Options::new()).await;
    let first = options(&provider).upstream(byok.upstream.url()).var("AUTH_MODE", "openai");
    let mut stage = Stage { gateway: Gateway::start(first).await, provider };
    let says = async |stage: &Stage| -> Answer {
        let request = stage.gateway.request(Method::POST, "/u/ada/v1/chat/completions");
        answer(request.bearer_auth("sk-ada").json(&chat_request("hi", false))).await
    };
    says(&stage).await.is(200);

    // Ahead of the switch: the key pays still, and the token is there.
    let env =
        format!("OPENCLAW_URL={}\nUSER_ID=ada\nOPENAI_API_KEY=sk-ada\n", stage.gateway.url(""));
    let kit = Kit::with(env);
    let approve = async |code: String| stage.provider.decide(&code, Verdict::Approved);
    let ended = signs_in(&kit, approve).await;
    ended.is_ready();
    assert!(ended.said.contains(&stage.provider.url("/activate")), "{ended:?}");
    assert!(ended.said.contains("the same USER_ID (ada).\n"), "{ended:?}");
    for secret in stage.provider.secrets() {
        let kept = format!("{ended:?}{}", kit.env());
        assert!(!kept.contains(&secret), "no token touches the laptop");
    }

    stage.gateway.restart_with(options(&stage.provider)).await;
    says(&stage).await.is(200);
    let key = stage.gateway.mint_key("ada").await.key;
    let me = answer(stage.gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!(me["codex"]["state"], "ok");
    assert_eq!(me["window"]["used"], 3, "nothing is lost on the way, and the kit asked once");

    // Again, with the gateway key in place of the old one.
    let url = stage.gateway.url("");
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\n"));
    tokio::time::sleep(Duration::from_secs(11)).await;
    let approve = async |code: String| stage.provider.decide(&code, Verdict::Approved);
    signs_in(&kit, approve).await.is_ready();
}

/// A Wi-Fi between the laptop and the gateway, that can go away.
struct WiFi {
    address: std::net::SocketAddr,
    gateway: std::net::SocketAddr,
    task: Option<tokio::task::JoinHandle<()>>,
}

impl WiFi {
    async fn start(gateway: std::net::SocketAddr) -> Self {
        let address = free_address();
        let listener = TcpListener::bind(address).await.unwrap();
        let task = Some(tokio::spawn(relay(listener, gateway)));
        Self { address, gateway, task }
    }

    async fn goes(&mut self) {
        let task = self.task.take().unwrap();
        task.abort();
        task.await.ok();
    }

    async fn comes_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        self.task = Some(tokio::spawn(relay(listener, self.gateway)));
    }
}

async fn relay(listener: TcpListener, gateway: std::net::SocketAddr) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((mut near, _)) = listener.accept().await {
        connections.spawn(async move {
            let mut far = TcpStream::connect(gateway).await.unwrap();
            tokio::io::copy_bidirectional(&mut near, &mut far).await.ok();
        });
    }
}

/// From the code on paper to an agent that answers, with a break in between.
async fn a_sign_in_outlives_the_network() {
    let stage = codex::stage().await;
    let mut wifi = WiFi::start(stage.gateway.address()).await;
    let code = issue(&stage.gateway, "ada").await;
    let url = wifi.address;
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=ada\nCLAIM_CODE={code}\n"));
    let ended = signs_in(&kit, async |code: String| {
        wifi.goes().await;
        stage.provider.decide(&code, Verdict::Approved);
        tokio::time::sleep(Duration::from_secs(13)).await;
        wifi.comes_back().await;
    });
    let ended = ended.await;
    ended.is_ready();
    let story = ["The connection is gone.", "The connection is back.", "Signed in."];
    let told: Vec<_> = story.iter().map(|line| ended.said.find(line)).collect();
    assert!(told.is_sorted() && told[0].is_some(), "{ended:?}");
    assert_eq!(ended.said.matches("The connection is gone.").count(), 1, "{ended:?}");
    kit.setup().await.is_ready();
}

async fn who_says_no_or_waits_too_long_hears_it() {
    let stage = codex::stage().await;
    let url = stage.gateway.url("");
    for (user, verdict, words) in [
        ("ada", Verdict::Denied, "The sign-in was declined. Run this again when you are ready."),
        ("eve", Verdict::Expired, "The sign-in took too long, and the code is no longer good."),
    ] {
        let key = stage.gateway.mint_key(user).await.key;
        let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"));
        // Without a sign-in there is nothing that pays.
        let ended = kit.setup().await;
        ended.fails(6, "You haven't signed in for this yet. Run `bash setup.sh --auth codex` once");
        let ended =
            signs_in(&kit, async |code: String| stage.provider.decide(&code, verdict)).await;
        ended.fails(6, words);
    }
    // A second sign-in a moment after the first.
    let key = stage.gateway.mint_key("hasty").await.key;
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"));
    let mut first = kit.command("setup.sh", &["--auth", "codex"]).spawn().unwrap();
    read_until(first.stdout.as_mut().unwrap(), "Keep this window open.\n").await;
    kit.run("setup.sh", &["--auth", "codex"]).await.fails(7, "A sign-in was begun a moment ago.");
    first.start_kill().unwrap();
    let mut rest = String::new();
    first.stderr.take().unwrap().read_to_string(&mut rest).await.unwrap();
    assert_eq!(rest, "");
}

/// On a terminal the plain set-up does it all: from a code on paper to an agent that answers.
async fn whoever_has_to_sign_in_is_led_there() {
    let stage = codex::stage().await;
    let (code, url) = (issue(&stage.gateway, "ada").await, stage.gateway.url(""));
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=ada\nCLAIM_CODE={code}\n"));
    let mut child = terminal(&kit, "SETUP");
    let mut output = child.stdout.take().unwrap();
    let shown = read_until(&mut output, "Keep this window open.").await;
    let line = shown.lines().find_map(|line| line.strip_prefix("2. Type this code there:"));
    stage.provider.decide(line.unwrap().trim(), Verdict::Approved);
    let shown = read_until(&mut output, "bash agent").await;
    assert!(shown.contains("Signed in.") && shown.contains("Agent ready."), "{shown}");
    kit.setup().await.is_ready();
}
