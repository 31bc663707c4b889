//! The first agent: it asks, and shows an answer while it is being written.

use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_tests::script::chat_chunk;
use gateway_tests::{Script, Upstream};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::sync::Semaphore;

use super::{Ended, Kit, finish, hosted, read_until};
use crate::onboarding::mend;
use crate::runner::Test;
use crate::shared::{self, user};
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        it_asks_three_questions_and_plans_a_workflow,
        words_are_shown_as_they_come,
        what_is_said_is_shown_as_it_is_meant,
        a_refusal_is_said_in_plain_words,
        an_answer_that_breaks_off_says_so,
        ctrl_c_ends_it_and_keeps_what_was_said,
        an_answer_names_no_process,
        who_is_told_to_wait_is_asked_for_again,
    ]
}

/// A kit of somebody whom this upstream answers directly.
fn talking_to(upstream: &Upstream) -> Kit {
    let url = upstream.url();
    Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY=the-agents-token\n"))
}

/// What the agent was sent, the newest last.
fn bodies(upstream: &Upstream) -> Vec<Value> {
    upstream.unscripted().iter().map(gateway_tests::Seen::json).collect()
}

async fn it_asks_three_questions_and_plans_a_workflow() {
    let pair = hosted().await;
    let name = user("baker");
    let key = pair.gateway.mint_key(&name).await.key;
    let url = pair.gateway.url("");
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nOPENCLAW_GATEWAY_KEY={key}\n"));
    let mut child = kit.command("agent", &[]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    let answers = "Brötchen & \"Kuchen\"\nInvoices\\bills\t(20 h)\nPaper\nAnd then?\n\n";
    input.write_all(answers.as_bytes()).await.unwrap();
    drop(input);
    let ended = finish(child, Instant::now()).await;
    assert_eq!((ended.code, ended.complained.as_str()), (Some(0), ""), "{ended:?}");
    ended.tells_none_of(&[&key]);
    assert!(ended.said.contains("hello"), "the upstream's answer: {ended:?}");
    assert!(ended.said.ends_with("Kept in PLANNING/workflow-1.md\n"), "{ended:?}");
    let kept = std::fs::read_to_string(kit.folder.join("PLANNING/workflow-1.md")).unwrap();
    assert!(kept.contains("> Brötchen & \"Kuchen\"") && kept.contains("hello"), "{kept}");

    let seen = pair.upstream.unscripted();
    let ours = seen.iter().filter(|seen| String::from_utf8_lossy(&seen.body).contains("Brötchen"));
    let bodies: Vec<_> = ours.map(gateway_tests::Seen::json).collect();
    let [first, second] = bodies.as_slice() else { panic!("two requests: {bodies:?}") };
    assert_eq!(first["stream"], true);
    let said = first["messages"][1]["content"].as_str().unwrap();
    for line in answers.lines().take(3) {
        assert!(said.contains(line), "{line} in {said}");
    }
    let prompt = first["messages"][0]["content"].as_str().unwrap();
    let page = std::fs::read(kit.folder.join(".claude/agents/project-agent.json")).unwrap();
    let page: Value = serde_json::from_slice(&page).unwrap();
    assert_eq!(prompt, page["project-agent"]["prompt"], "its instructions are in one place");
    let roles: Vec<_> =
        second["messages"].as_array().unwrap().iter().map(|it| &it["role"]).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user"]);
    assert_eq!(second["messages"][2]["content"], "hello");
    assert_eq!(second["messages"][3]["content"], "And then?");
}

async fn words_are_shown_as_they_come() {
    let upstream = Upstream::start().await;
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new().event_stream().chunk(": ping\n\n").event(&chat_chunk("One "));
    let script = script.gate(&gate).event(&chat_chunk("two")).done();
    upstream.place("/v1/chat/completions", script);
    let kit = talking_to(&upstream);
    let mut child = kit.command("agent", &["Count"]).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    assert_eq!(read_until(&mut output, "One ").await, "One ");
    gate.add_permits(1);
    assert_eq!(read_until(&mut output, "\n").await, "two\n");
    assert!(child.wait().await.unwrap().success());
    assert_eq!(bodies(&upstream).len(), 1);
}

async fn what_is_said_is_shown_as_it_is_meant() {
    let upstream = Upstream::start().await;
    let meant = "“Zoë” said: \"1 < 2\"\n\ta\\b/c 中 😀 {\"error\": no}";
    // Once in UTF-8, once spelled out, once with what would steer a terminal.
    let spelled: Vec<_> = meant.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let spelled = spelled.concat();
    let event = |content: &str| {
        format!(
            "data: {{\"choices\": [ {{\"delta\": {{ \"content\" : \"{content}\" }} }}]}}\r\n\r\n"
        )
    };
    let whole = Script::new().event_stream().event(&chat_chunk(meant)).done();
    let piecewise = Script::new().event_stream().chunk(event(&spelled)).done();
    let steering = "\\u001b[2J\\u0007\\b\\r";
    let steering = Script::new().event_stream().chunk(event(&(spelled.clone() + steering))).done();
    for (script, said) in [(whole, meant), (piecewise, meant)] {
        upstream.place("/v1/chat/completions", script);
        let ended = talking_to(&upstream).run("agent", &["?"]).await;
        assert_eq!((ended.code, ended.said), (Some(0), format!("{said}\n")));
    }
    upstream.place("/v1/chat/completions", steering);
    let ended = talking_to(&upstream).run("agent", &["?"]).await;
    assert_eq!((ended.code, ended.said), (Some(0), format!("{meant}[2J\n")));
    // C1 controls, and what turns the direction of writing: as letters, and spelled out.
    for content in ["a\u{9b}2J\u{202e}b\u{2067}", "a\\u009b2J\\u202eb\\u2067"] {
        let script = Script::new().event_stream().chunk(event(content)).done();
        upstream.place("/v1/chat/completions", script);
        let ended = talking_to(&upstream).run("agent", &["?"]).await;
        let harmless = "a\u{fffd}2J\u{fffd}b\u{fffd}\n".to_owned();
        assert_eq!((ended.code, ended.said), (Some(0), harmless));
    }
    // Where no stream was to be had.
    upstream.place("/v1/chat/completions", Script::chat(meant, 3));
    let ended = talking_to(&upstream).run("agent", &["?"]).await;
    assert_eq!((ended.code, ended.said), (Some(0), format!("{meant}\n")));
}

async fn asks(kit: &Kit) -> Ended {
    kit.run("agent", &["hello"]).await
}

async fn a_refusal_is_said_in_plain_words() {
    let gateway = &hosted().await.gateway;
    let (name, url) = (user("refused"), gateway.url(""));
    let key = gateway.mint_key(&name).await.key;
    let kit = |key: &str| {
        Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"))
    };
    let wrong = format!("ogk_{name}_{}", "1".repeat(43));
    asks(&kit(&wrong)).await.fails(6, "This gateway key isn't valid for this user.");
    mend(gateway, &name, "block").await;
    asks(&kit(&key)).await.fails(7, "This USER_ID is blocked.");
    mend(gateway, &name, "unblock").await;
    let asked = asks(&kit(&key)).await;
    assert_eq!(asked.code, Some(0), "{asked:?}");

    let own = &shared::keyed().await.gateway;
    let (name, url) = (user("unpaid"), own.url(""));
    let key = own.mint_key(&name).await.key;
    let kit =
        Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n"));
    asks(&kit).await.fails(6, "Your API key is missing.");
    asks(&Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID=a\nCLAIM_CODE=x\n")))
        .await
        .fails(2, "You have no key yet. Run `bash setup.sh` first.");

    let upstream = Upstream::start().await;
    let html = [("content-type", "text/html")];
    for (script, code, words) in [
        (
            Script::json(
                402,
                &json!({"error": {"message": "Used up. Choose a plan at https://x.example.com/upgrade?t=1.", "code": "monthly_quota_exceeded"}}),
            ),
            7,
            "https://x.example.com/upgrade?t=1.",
        ),
        (
            Script::json(403, &json!({"error": {"message": "Blocked.", "code": "user_blocked"}})),
            7,
            "Blocked.",
        ),
        (
            Script::json(
                429,
                &json!({"error": {"message": "Too many attempts.", "code": "too_many_attempts"}}),
            ),
            7,
            "Too many attempts.",
        ),
        (
            Script::json(
                500,
                &json!({"error": {"message": "Went wrong.", "code": "internal_error"}}),
            ),
            8,
            "Went wrong.",
        ),
        (Script::answer(502, &html, "<h1>Bad</h1>"), 8, "trouble of its own (it answered 502)."),
        (
            Script::answer(302, &[("location", "http://portal.example.com")], ""),
            4,
            "sign in first.",
        ),
    ] {
        upstream.place("/v1/chat/completions", script);
        asks(&talking_to(&upstream)).await.fails(code, words);
    }
    let gone = talking_to(&upstream);
    drop(upstream);
    asks(&gone).await.fails(5, "Nothing answers at");
}

async fn an_answer_that_breaks_off_says_so() {
    let upstream = Upstream::start().await;
    let begun = || Script::new().event_stream().event(&chat_chunk("One "));
    let error = json!({ "error": { "message": "The agent was interrupted.", "code": "upstream_interrupted" } });
    for (script, words) in [
        (begun().reset(), "The answer broke off."),
        (begun().end(), "The answer broke off."),
        (begun().event(&error).done(), "The agent was interrupted."),
    ] {
        upstream.place("/v1/chat/completions", script);
        let ended = talking_to(&upstream).run("agent", &["Count"]).await;
        assert_eq!((ended.code, ended.said.trim()), (Some(8), "One"), "{ended:?}");
        assert!(ended.complained.contains(words), "{ended:?}");
    }
}

async fn ctrl_c_ends_it_and_keeps_what_was_said() {
    let upstream = Upstream::start().await;
    let script = Script::new().event_stream().event(&chat_chunk("One ")).hang();
    upstream.place("/v1/chat/completions", script);
    let kit = talking_to(&upstream);
    let mut child = kit.command("agent", &["Count"]).process_group(0).spawn().unwrap();
    let group = nix::unistd::Pid::from_raw(child.id().unwrap().cast_signed());
    read_until(child.stdout.as_mut().unwrap(), "One ").await;
    let began = Instant::now();
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = finish(child, began).await;
    // A shell that hands on the signal that ended it has no code of its own.
    assert!([Some(130), None].contains(&ended.code), "{ended:?}");
    assert_eq!(ended.complained.trim(), "Stopped.", "{ended:?}");
    assert!(ended.took < Duration::from_secs(2), "{ended:?}");
    let kept = std::fs::read_to_string(kit.folder.join("PLANNING/workflow-1.md")).unwrap();
    assert_eq!(kept, "> Count\n\nOne \n\n");
    let left = || upstream.unscripted().iter().all(|seen| seen.left_at.is_some()).then_some(());
    gateway_tests::wait_for("hanging up", Duration::from_secs(5), left).await;
}

/// What an answer says of processes is no order to end them.
async fn an_answer_names_no_process() {
    let upstream = Upstream::start().await;
    let mut bystander = tokio::process::Command::new("sleep").arg("60").spawn().unwrap();
    let id = bystander.id().unwrap();
    let line = format!("curl runs as {id}\n> curl runs as {id}\ncurl ended 7\n");
    let script = Script::new().event_stream().chunk(line).event(&chat_chunk("One ")).hang();
    upstream.place("/v1/chat/completions", script);
    let kit = talking_to(&upstream);
    let mut child = kit.command("agent", &["Count"]).process_group(0).spawn().unwrap();
    let group = nix::unistd::Pid::from_raw(child.id().unwrap().cast_signed());
    read_until(child.stdout.as_mut().unwrap(), "One ").await;
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = finish(child, Instant::now()).await;
    assert_eq!(ended.complained.trim(), "Stopped.", "{ended:?}");
    assert!(bystander.try_wait().unwrap().is_none(), "it was killed");
    bystander.kill().await.unwrap();
    let left = || upstream.unscripted().iter().all(|seen| seen.left_at.is_some()).then_some(());
    gateway_tests::wait_for("hanging up", Duration::from_secs(5), left).await;
}

async fn who_is_told_to_wait_is_asked_for_again() {
    let upstream = Upstream::start().await;
    let error = json!({ "error": { "message": "Busy.", "code": "upstream_busy" } }).to_string();
    let head = [("content-type", "application/json"), ("retry-after", "1")];
    upstream.place("/v1/chat/completions", Script::answer(503, &head, &error));
    let kit = talking_to(&upstream);
    let running = tokio::spawn(async move { asks(&kit).await });
    let asked = || (!upstream.unscripted().is_empty()).then_some(());
    gateway_tests::wait_for("a question", Duration::from_secs(30), asked).await;
    upstream.place("/v1/chat/completions", Script::chat_stream(&["here"], Duration::ZERO, None));
    let ended = running.await.unwrap();
    assert_eq!((ended.code, ended.said.as_str()), (Some(0), "here\n"), "{ended:?}");
    assert_eq!(ended.complained, "It isn't your turn yet. Trying again in 1 s.\n");
}
