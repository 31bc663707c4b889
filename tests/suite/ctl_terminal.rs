//! `gatewayctl` on a terminal: the room as a picture, questions, and the token that isn't shown.

use std::time::Duration;

use gateway_tests::ctl::{Ctl, Terminal};
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options};
use nix::sys::signal::Signal;

use crate::answer::answer;
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        the_room_is_drawn_until_somebody_quits,
        the_terminal_is_left_as_it_was,
        a_watch_ends_with_its_terminal,
        what_can_t_be_taken_back_is_asked_about,
        the_token_isn_t_shown_while_it_is_typed,
    ]
}

const LEFT: &str = "\x1b[?1049l";

async fn seen(gateway: &Gateway, user: &str) {
    let chat = gateway.post(user, "/v1/chat/completions", &chat_request("hi", false));
    answer(chat).await;
    gateway.ledger().settled(user, 1).await;
}

async fn pair() -> shared::Pair {
    shared::pair(Options::new().var("USER_BINDING", "open")).await
}

fn watch(gateway: &Gateway) -> Ctl {
    Ctl::new(&["watch", "--every", "1"]).at(gateway)
}

async fn the_room_is_drawn_until_somebody_quits() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    seen(gateway, "ada").await;
    let mut terminal = watch(gateway).on_a_terminal(130, 30);
    terminal.shows("1 request was answered").await;
    for part in ["organized-gateway", "1 working", "USER_ID", "q quits", "\x1b[?1049h"] {
        terminal.shows(part).await;
    }
    // Someone who comes is seen at the next look, and nothing is emptied before it is filled.
    seen(gateway, "grace").await;
    terminal.shows("grace").await;
    terminal.forget();
    terminal.resize(60, 12);
    terminal.shows("WHY").await;
    let drawn = terminal.text();
    assert!(!drawn.contains("ASKED"), "a narrow one has fewer columns: {drawn:?}");
    // A connection that is lost is said, and what was seen stays.
    gateway.stop();
    terminal.forget();
    terminal.shows("Trying again.").await;
    terminal.shows("grace").await;
    assert!(!terminal.text().contains("\x1b[2J"));
    terminal.type_in("q");
    assert_eq!(terminal.ended().await, Some(0));
    terminal.shows(LEFT).await;
}

async fn the_terminal_is_left_as_it_was() {
    let pair = pair().await;
    let ends: [fn(&mut Terminal); 3] = [
        |terminal| terminal.type_in("\x03"),
        |terminal| terminal.type_in("\x1b"),
        |terminal| terminal.signal(Signal::SIGTERM),
    ];
    for end in ends {
        let mut terminal = watch(&pair.gateway).on_a_terminal(80, 24);
        terminal.shows("Nobody has come yet").await;
        end(&mut terminal);
        assert_eq!(terminal.ended().await, Some(0));
        terminal.shows("\x1b[?25h").await;
        terminal.shows(LEFT).await;
    }
    // Without colours the picture is the same.
    let mut terminal = watch(&pair.gateway).env("NO_COLOR", "1").on_a_terminal(80, 24);
    terminal.shows("0 failing · 0 limited").await;
    terminal.type_in("q");
    assert_eq!(terminal.ended().await, Some(0));
    // What is wrong from the beginning is said on an ordinary screen.
    let watch = watch(&pair.gateway).env("OPERATOR_TOKEN", "not-the-token");
    let mut terminal = watch.on_a_terminal(80, 24);
    assert_eq!(terminal.ended().await, Some(4));
    terminal.shows("Sign in with the operator's token.").await;
    assert!(!terminal.text().contains("\x1b[?1049h"), "{:?}", terminal.text());
}

async fn a_watch_ends_with_its_terminal() {
    let pair = pair().await;
    let terminal = watch(&pair.gateway).on_a_terminal(80, 24);
    terminal.shows("Nobody has come yet").await;
    let mut child = terminal.unplug().await;
    let ended = tokio::time::timeout(Duration::from_secs(10), child.wait()).await;
    assert!(ended.is_ok(), "it went on without a terminal");
}

async fn what_can_t_be_taken_back_is_asked_about() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    seen(gateway, "ada").await;
    let status = async || answer(gateway.get("ada", "/v1/models")).await.status;
    for (answered, code, after) in [("n\r", 1, 200), ("\r", 1, 200), ("y\r", 0, 403)] {
        let block = Ctl::new(&["user", "block", "ada"]).at(gateway);
        let mut terminal = block.on_a_terminal(80, 24);
        terminal.shows("ada will be blocked. Go on? [y/N]").await;
        terminal.type_in(answered);
        assert_eq!(terminal.ended().await, Some(code), "{answered:?}");
        assert_eq!(status().await, after, "{answered:?}");
    }
}

async fn the_token_isn_t_shown_while_it_is_typed() {
    let pair = pair().await;
    let gateway = &pair.gateway;
    let login = || Ctl::new(&["login", &gateway.url("/v1")]);
    let mut terminal = login().on_a_terminal(120, 24);
    terminal.shows("Operator's token for").await;
    assert!(!terminal.echoes());
    terminal.type_in(&format!("{}\r", gateway.operator_token()));
    assert_eq!(terminal.ended().await, Some(0), "{:?}", terminal.text());
    terminal.shows("Signed in at").await;
    assert!(!terminal.text().contains(gateway.operator_token()));

    // Who would rather not has their terminal back.
    for key in ["\x03", "\x1b"] {
        let mut terminal = login().on_a_terminal(120, 24);
        terminal.shows("Operator's token for").await;
        terminal.type_in(key);
        let ended = terminal.ended().await;
        assert!(terminal.is_as_before(), "{key:?}");
        assert_eq!(ended, Some(1), "{key:?}: {:?}", terminal.text());
        terminal.shows("Nothing was done.").await;
    }
}
