//! `gatewayctl capacity` against upstreams of which it is known how many people fit.

use std::path::Path;
use std::time::{Duration, Instant};

use gateway_tests::ctl::{Ctl, Ended};
use gateway_tests::redaction::RUN;
use gateway_tests::script::{chat_chunk, chat_request, usage_chunk};
use gateway_tests::{Gateway, Options, Script, Upstream, wait_for};
use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::{self, Pair};
use crate::{openclaw, tests};

pub fn tests() -> Vec<Test> {
    let mut tests = tests![Ordinary:
        all_fit_where_nothing_limits_them,
        failures_end_it_early_and_are_named,
        ctrl_c_stops_it_and_what_was_made_is_forgotten,
        nothing_is_sent_unless_it_is_meant,
        what_is_wrong_from_the_beginning_is_said,
        what_a_killed_check_left_behind_is_forgotten_later,
        where_the_operator_s_model_pays_no_api_key_is_needed,
    ];
    tests.extend(tests![Alone: as_many_fit_as_the_slots_have_room_for]);
    tests
}

const API_KEY: &str = "sk-that-pays-for-the-capacity-check";

async fn pair(settings: &[(&str, &str)]) -> Pair {
    RUN.note("an API key", API_KEY);
    let options = Options::new().var("USER_BINDING", "key");
    let options = settings.iter().fold(options, |options, (name, value)| options.var(name, *value));
    shared::pair(options).await
}

/// What the model says after so long; fifty people's every request.
fn says(upstream: &Upstream, after: Duration) {
    let script = Script::new().wait(after).event_stream();
    let script = script.event(&chat_chunk("Because ")).event(&chat_chunk("of the air."));
    upstream.place("/v1/chat/completions", script.event(&usage_chunk(9)).done());
}

/// The command, as somebody who means it gives it.
fn capacity(gateway: &Gateway, folder: &Path, words: &str) -> Ctl {
    let url = gateway.url("");
    let words: Vec<_> =
        ["capacity", "--url", &url].into_iter().chain(words.split_whitespace()).collect();
    let ctl = Ctl::new(&words).env("OPERATOR_TOKEN", gateway.operator_token());
    ctl.env("CAPACITY_API_KEY", API_KEY).within(folder)
}

/// What is kept of people of a check, row by row. The object of a farewell remembers for a minute whom it
/// forgets, for what comes late: `suite::forgetting`.
fn traces(gateway: &Gateway) -> Vec<String> {
    let rows = gateway_tests::Ledger::everywhere(gateway.state());
    let is_trace = |row: &String| row.contains("capacity-") && !row.contains("-Farewell/");
    rows.into_iter().filter(is_trace).collect()
}

/// Asserts that nothing is kept of them; what was on its way to D1 takes a moment.
async fn nobody_is_left(gateway: &Gateway) {
    let began = Instant::now();
    loop {
        let traces = traces(gateway);
        let Some(first) = traces.first() else { return };
        let number = traces.len();
        assert!(began.elapsed() < Duration::from_secs(20), "{number} traces, the first: {first}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn page(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(name)).unwrap()
}

/// Two slots, a second of work, half a second of thinking: who is one of N waits N/2 - 0.5 s for the first
/// words, once the slots are full. Three seconds are allowed, so five fit, and ten wait 4.5 s.
async fn as_many_fit_as_the_slots_have_room_for() {
    let pair = pair(&[("UPSTREAM_SLOTS", "2")]).await;
    says(&pair.upstream, Duration::from_secs(1));
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 20 --minutes 0.45 --pause 0.5 --patience 3 --yes --json -o page.html";
    let document = capacity(&pair.gateway, folder.path(), words).run().await.is(0).json();
    println!("two slots: {}", document["words"]["headline"]);
    assert_eq!((&document["fits"], &document["limit_ms"]), (&json!(5), &json!(3000)), "{document}");
    assert_eq!((&document["end"], &document["bottleneck"]), (&json!("over"), &json!("queue")));
    assert_eq!(document["settings"]["upstreams"], json!([["default", 2]]));
    assert_eq!(document["settings"]["requests_per_minute"], 50);
    assert_eq!(document["left"], json!([]));
    let steps = document["steps"].as_array().unwrap();
    let (five, ten) = (&steps[2], &steps[3]);
    assert_eq!((&five["people"], &ten["people"]), (&json!(5), &json!(10)));
    let wait = |step: &Value| step["first_byte_ms"]["p50"].as_u64().unwrap();
    assert!((1_500..2_600).contains(&wait(five)), "{five}");
    assert!((3_500..6_000).contains(&wait(ten)), "{ten}");
    assert!(ten["queue_ms"]["p95"].as_u64().unwrap() > 2_000, "{ten}");
    // Two answers of nine tokens a second.
    let rate = five["tokens_per_second"].as_f64().unwrap();
    assert!((11.0..21.0).contains(&rate), "{five}");
    let page = page(folder.path(), "page.html");
    assert!(page.contains("5 people fit, 10 don’t."), "{page}");
    // The upstream got the key that pays, and neither the gateway's nor anybody's twice.
    let seen = pair.upstream.unscripted();
    for request in &seen {
        assert_eq!(request.header("authorization").unwrap(), format!("Bearer {API_KEY}"));
        assert_eq!(request.header("x-gateway-key"), None);
    }
    assert!(page.find(API_KEY).is_none() && page.find("ogk_").is_none());
    nobody_is_left(&pair.gateway).await;
}

async fn all_fit_where_nothing_limits_them() {
    let pair = pair(&[]).await;
    says(&pair.upstream, Duration::from_millis(20));
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 4 --minutes 0.15 --pause 0.4 --patience 8 --yes --tier tier2";
    let ended = capacity(&pair.gateway, folder.path(), words).run().await.is(0);
    ended.says("4 people fit.");
    ended.says("More were not tried");
    ended.says("Forgetting 4 people");
    ended.says("TOKENS/S");
    let written: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    let name = written[0].as_ref().unwrap().file_name().into_string().unwrap();
    assert_eq!((written.len(), name.len()), (1, "capacity-2026-11-21-2015.html".len()), "{name}");
    ended.says(&name);
    // Never more than was announced: seven people's three seconds each, and each once more, and the trial.
    let sent = pair.upstream.unscripted().len();
    assert!((10..=53 + 4 + 1).contains(&sent), "{sent}");
    nobody_is_left(&pair.gateway).await;
}

async fn failures_end_it_early_and_are_named() {
    let pair = pair(&[]).await;
    says(&pair.upstream, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 10 --minutes 1 --pause 0.2 --yes --json -o page.html";
    let check = tokio::spawn(capacity(&pair.gateway, folder.path(), words).run());
    // Once it has tried one.
    let tried = || (!pair.upstream.unscripted().is_empty()).then_some(());
    wait_for("the trial", Duration::from_secs(30), tried).await;
    let broken = json!({ "error": { "message": "Out of memory.", "code": "out_of_memory" } });
    pair.upstream.place("/v1/chat/completions", Script::json(500, &broken));
    let began = Instant::now();
    let document = check.await.unwrap().is(0).json();
    assert!(began.elapsed() < Duration::from_secs(40), "it went on to the end");
    assert_eq!((&document["end"], &document["fits"]), (&json!("over"), &json!(0)), "{document}");
    assert_eq!(document["bottleneck"], "upstream");
    let errors = &document["steps"][0]["errors"][0];
    assert_eq!((&errors["status"], &errors["code"]), (&json!(500), &json!("out_of_memory")));
    assert!(page(folder.path(), "page.html").contains("500 out_of_memory"));
    nobody_is_left(&pair.gateway).await;
}

async fn ctrl_c_stops_it_and_what_was_made_is_forgotten() {
    let pair = pair(&[]).await;
    says(&pair.upstream, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 5 --minutes 5 --pause 0.2 -o page.html";
    let mut terminal = capacity(&pair.gateway, folder.path(), words).on_a_terminal(140, 30);
    terminal.shows("A model's provider may charge for each").await;
    terminal.shows("Type 127.0.0.1 to go on: ").await;
    terminal.type_in("127.0.0.1\r");
    terminal.shows("step 1 of 3 · 1 person · ").await;
    // Whoever asks now gets no end of an answer.
    let endless = Script::new().event_stream().event(&chat_chunk("Because ")).hang();
    let before = pair.upstream.unscripted().len();
    pair.upstream.place("/v1/chat/completions", endless);
    let asks = || (pair.upstream.unscripted().len() > before).then_some(());
    wait_for("another question", Duration::from_secs(20), asks).await;
    // Where that one was answered yet, the next isn't.
    tokio::time::sleep(Duration::from_secs(2)).await;
    terminal.signal(Signal::SIGINT);
    let asked = Instant::now();
    terminal.shows("Forgetting 5 people").await;
    let took = asked.elapsed();
    assert!(took < Duration::from_secs(2), "it went on for {took:?}");
    assert!(page(folder.path(), "page.html").contains("It was stopped before anything was known."));
    assert_eq!(terminal.ended().await, Some(1));
    terminal.shows("It was stopped").await;
    nobody_is_left(&pair.gateway).await;

    // Nor does it wait for the one that it tries before all.
    let words = "--users 3 --yes -o none.html";
    let mut terminal = capacity(&pair.gateway, folder.path(), words).on_a_terminal(140, 30);
    terminal.shows("Trying one request").await;
    terminal.signal(Signal::SIGINT);
    terminal.shows("It was interrupted before anything was measured.").await;
    assert_eq!(terminal.ended().await, Some(1));
    assert!(!folder.path().join("none.html").exists());
    nobody_is_left(&pair.gateway).await;
}

async fn nothing_is_sent_unless_it_is_meant() {
    let pair = pair(&[]).await;
    let gateway = &pair.gateway;
    let folder = tempfile::tempdir().unwrap();
    let check = |words: &str| capacity(gateway, folder.path(), words);
    // What `login` keeps, or the environment says, isn't named.
    let kept = Ctl::new(&["capacity", "--yes"]).at(gateway).run().await.is(2);
    kept.says("Name the gateway on the command line");
    check("--users 3").run().await.is(2).says("Add --yes");
    check("--users 200 --minutes 30 --pause 0.2 --yes")
        .run()
        .await
        .is(2)
        .says("20,000 are the most");
    check("--users 201 --yes").run().await.is(2).says("201");
    check("-o no/page.html --yes").run().await.is(5).says("can't be written to");
    check("--key-file nowhere --yes").run().await.is(5).says("can't be read");
    for typed in ["yes\r", "localhost\r", "\r"] {
        let mut terminal = check("--users 3").on_a_terminal(140, 30);
        terminal.shows("to go on: ").await;
        terminal.type_in(typed);
        assert_eq!(terminal.ended().await, Some(1));
        terminal.shows("Nothing was done.").await;
    }
    assert!(pair.upstream.unscripted().is_empty(), "nobody was asked");
    assert_eq!(traces(gateway), Vec::<String>::new(), "nobody was made");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "nothing was written");
}

async fn what_is_wrong_from_the_beginning_is_said() {
    let pair = pair(&[]).await;
    let gateway = &pair.gateway;
    let folder = tempfile::tempdir().unwrap();
    let check = |words: &str| capacity(gateway, folder.path(), words);
    let tried = |ended: Ended, words: &str| {
        let ended = ended.is(1);
        ended.says("One request was tried and failed");
        ended.says(words);
    };
    let keyless = check("--users 2 --yes").env("CAPACITY_API_KEY", "").run().await;
    tried(keyless, "--key-file");
    let wrong = json!({ "error": { "message": "Incorrect API key.", "code": "invalid_api_key" } });
    for (status, said, words) in [
        (401, wrong, "Is the API key right"),
        (
            404,
            json!({ "error": { "message": "No such model.", "code": "model_not_found" } }),
            "--model",
        ),
    ] {
        pair.upstream.place("/v1/chat/completions", Script::json(status, &said));
        tried(check("--users 2 --yes").run().await, words);
    }
    nobody_is_left(gateway).await;
    let unpaid = self::pair(&[("REQUIRE_TIER", "true")]).await;
    says(&unpaid.upstream, Duration::ZERO);
    let refused = capacity(&unpaid.gateway, folder.path(), "--users 1 --yes").run().await;
    tried(refused, "--tier tier1");
    let words = "--users 1 --yes --tier tier1 --minutes 0.05 --pause 0.2";
    capacity(&unpaid.gateway, folder.path(), words).run().await.is(0).says("1 person fits.");
    nobody_is_left(&unpaid.gateway).await;
}

async fn where_the_operator_s_model_pays_no_api_key_is_needed() {
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(openclaw::options(&upstream.url())).await;
    says(&upstream, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 1 --yes --minutes 0.05 --pause 0.2 --patience 9";
    let check = capacity(&gateway, folder.path(), words).env("CAPACITY_API_KEY", "");
    check.run().await.is(0).says("1 person fits.");
    nobody_is_left(&gateway).await;
}

async fn what_a_killed_check_left_behind_is_forgotten_later() {
    let pair = pair(&[]).await;
    let gateway = &pair.gateway;
    says(&pair.upstream, Duration::ZERO);
    let folder = tempfile::tempdir().unwrap();
    let words = "--users 3 --minutes 5 --pause 0.2 --yes";
    let mut terminal = capacity(gateway, folder.path(), words).on_a_terminal(140, 30);
    terminal.shows("step 1 of 3").await;
    terminal.signal(Signal::SIGKILL);
    terminal.ended().await;
    // Somebody of a like name, whom no check has made.
    let key = gateway.mint_key("capacity-planner").await.key;
    let listed = || {
        let query = "select count(*) from users where user_id like 'capacity-%'";
        let number: i64 = gateway.ledger().open().query_row(query, [], |row| row.get(0)).unwrap();
        (number == 4).then_some(())
    };
    wait_for("four users in D1", Duration::from_secs(30), listed).await;
    capacity(gateway, folder.path(), words).run().await.is(1).says("capacity --clean-up");
    let clean = async |words: &str| {
        let words: Vec<_> =
            ["capacity", "--clean-up"].into_iter().chain(words.split_whitespace()).collect();
        Ctl::new(&words).at(gateway).run().await
    };
    clean("").await.is(2).says("Add --yes");
    clean("--yes").await.is(0).says("3 of 3 are forgotten.");
    clean("--yes").await.is(0).says("Nobody is left of a check.");
    let chat = gateway.post("capacity-planner", "/v1/chat/completions", &chat_request("hi", false));
    answer(chat.header("x-gateway-key", key)).await.is(200);
}
