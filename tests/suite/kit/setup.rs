//! From unzipping to `Agent ready.`, and what is left behind.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use gateway_tests::Script;
use gateway_tests::redaction::RUN;
use reqwest::Method;
use tokio::io::AsyncWriteExt;

use super::{Kit, finish, hosted, read_until};
use crate::answer::answer;
use crate::onboarding::{claim, issue};
use crate::runner::Test;
use crate::shared::{self, user};
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        from_unzipping_to_ready_takes_seconds,
        it_is_safe_to_run_again,
        what_else_is_in_the_file_stays,
        what_is_missing_is_asked_for_and_a_key_stays_hidden,
        after_ctrl_c_the_terminal_shows_again_what_is_typed,
        an_own_key_is_asked_for_where_it_pays,
        no_list_of_processes_shows_a_key,
        nothing_is_spent_where_nothing_can_be_saved,
        a_used_code_is_no_harm_beside_its_key,
        stopped_halfway_it_leaves_nothing_behind,
    ]
}

async fn from_unzipping_to_ready_takes_seconds() {
    let gateway = &hosted().await.gateway;
    let bob = user("bob");
    let code = issue(gateway, &bob).await;
    let url = gateway.url("");
    let began = Instant::now();
    let kit = Kit::with(format!("OPENCLAW_URL={url}\nUSER_ID={bob}\nCLAIM_CODE={code}\n"));
    let ended = kit.setup().await;
    let took = began.elapsed();
    ended.is_ready();
    assert!(took < Duration::from_secs(10), "{took:?}");
    println!("from unzipping to `Agent ready.` in {took:?}");

    let key = kit.setting("OPENCLAW_GATEWAY_KEY");
    assert!(key.starts_with(&format!("ogk_{bob}_")), "{}", key.len());
    assert_eq!(kit.setting("CLAIM_CODE"), "", "it is spent");
    ended.tells_none_of(&[&key, &code]);
    let mode = std::fs::metadata(kit.folder.join(".env")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let rows = gateway.ledger().settled(&bob, 1).await;
    assert_eq!((rows[0].status, rows[0].endpoint.as_str()), (200, "/v1/chat/completions"));
    let me = answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!(me["user_id"], bob);
}

async fn it_is_safe_to_run_again() {
    let gateway = &hosted().await.gateway;
    let name = user("again");
    let code = issue(gateway, &name).await;
    let url = gateway.url("");
    // A folder as people name them.
    let kit = Kit::unzip_as("Für Zoë’s agent (1) & co")
        .saved(".env", format!("OPENCLAW_URL={url}\nUSER_ID={name}\nCLAIM_CODE={code}\n"));
    kit.setup().await.is_ready();
    let before = (kit.env(), names(&kit));
    for _ in 0..2 {
        kit.setup().await.is_ready();
        kit.doctor().await.is_ready();
        assert_eq!((kit.env(), names(&kit)), before);
    }
    assert!(!before.1.iter().any(|name| name.starts_with(".env.") && name != ".env.example"));
}

fn names(kit: &Kit) -> Vec<String> {
    let entries = std::fs::read_dir(&kit.folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn what_else_is_in_the_file_stays() {
    let gateway = &hosted().await.gateway;
    let name = user("tidy");
    let key = gateway.mint_key(&name).await.key;
    let url = gateway.url("");
    let kit = Kit::with(format!(
        "# mine\nSTRIPE=x \"y\" $z\n\nOPENCLAW_URL={url}/v1\n  # indented\nUSER_ID={name}\nodd line\n\
         OPENCLAW_GATEWAY_KEY=old\nOPENCLAW_GATEWAY_KEY={key}\nMORE=`a`",
    ));
    kit.setup().await.is_ready();
    assert_eq!(
        kit.env(),
        format!(
            "# mine\nSTRIPE=x \"y\" $z\n\nOPENCLAW_URL={url}\n  # indented\nUSER_ID={name}\nodd line\n\
             OPENCLAW_GATEWAY_KEY={key}\nMORE=`a`\n",
        )
    );
}

/// On a terminal, where what is typed is shown unless that was switched off.
async fn what_is_missing_is_asked_for_and_a_key_stays_hidden() {
    let gateway = &hosted().await.gateway;
    let name = user("typist");
    let code = issue(gateway, &name).await;
    let kit = Kit::unzip();
    let said = on_a_terminal(
        &kit,
        &[
            ("The address that your operator has told you (https://…): ", &gateway.url("/v1")),
            ("Your USER_ID (such as ada-lovelace): ", &format!(" {}", name.to_uppercase())),
            ("it stays hidden while you type: ", &code.to_lowercase()),
        ],
    )
    .await;
    assert!(said.contains("Agent ready."), "{said}");
    assert!(said.contains(&name.to_uppercase()), "what isn't secret is shown: {said}");
    assert!(!said.contains(&code.to_lowercase()), "the code was shown");
    assert!(!said.contains(&kit.setting("OPENCLAW_GATEWAY_KEY")), "the key was shown");
    assert_eq!((kit.setting("USER_ID"), kit.setting("CLAIM_CODE")), (name, String::new()));
}

/// Runs `setup.sh` on a terminal and types what each prompt asks for; all that the terminal showed.
async fn on_a_terminal(kit: &Kit, talk: &[(&str, &str)]) -> String {
    let mut child = terminal(kit, "SETUP");
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut shown = String::new();
    for (prompt, reply) in talk {
        shown += &read_until(&mut output, prompt).await;
        input.write_all(format!("{reply}\n").as_bytes()).await.unwrap();
    }
    shown += &read_until(&mut output, "bash agent").await;
    drop(input);
    assert!(child.wait().await.unwrap().success(), "{shown}");
    shown
}

/// Starts a shell's command on a terminal, `SETUP` in it being `setup.sh`.
pub fn terminal(kit: &Kit, command: &str) -> tokio::process::Child {
    let script = kit.folder.join("setup.sh");
    let setup = format!("{} {}", kit.shell.display(), script.display());
    let command = command.replace("SETUP", &setup);
    tokio::process::Command::new("script")
        .args(["--quiet", "--return", "--command", &command, "/dev/null"])
        .env_clear()
        .envs(&kit.environment)
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn after_ctrl_c_the_terminal_shows_again_what_is_typed() {
    let kit = Kit::with("OPENCLAW_URL=http://127.0.0.1:9\nUSER_ID=ada\n");
    let mut child = terminal(&kit, "trap : INT; SETUP || stty -a; echo the end");
    let mut input = child.stdin.take().unwrap();
    let mut output = child.stdout.take().unwrap();
    read_until(&mut output, "it stays hidden while you type: ").await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    input.write_all(b"\x03").await.unwrap();
    let shown = read_until(&mut output, "the end").await;
    assert!(shown.contains(" echo ") && !shown.contains("-echo "), "{shown}");
}

async fn an_own_key_is_asked_for_where_it_pays() {
    let gateway = &shared::keyed().await.gateway;
    let name = user("payer");
    let key = gateway.mint_key(&name).await.key;
    let url = gateway.url("");
    let env = format!("OPENCLAW_URL={url}\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n");
    let kit = Kit::with(&env);
    kit.setup().await.fails(2, "Your own API key (sk-…) is missing.");
    RUN.note("a provider key", "sk-typed-by-hand");
    let said =
        on_a_terminal(&kit, &[("it stays hidden while you type: ", "sk-typed-by-hand")]).await;
    assert!(!said.contains("sk-typed-by-hand"), "the key was shown");
    assert_eq!(kit.setting("OPENAI_API_KEY"), "sk-typed-by-hand");
    kit.setup().await.is_ready();
}

/// While each of the requests is on its way, what every process was started with is read.
async fn no_list_of_processes_shows_a_key() {
    let stranger = super::stranger(Script::json(200, &serde_json::json!({ "status": "ok" }))).await;
    let slowly = Duration::from_millis(700);
    let claimed = serde_json::json!({ "gateway_key": format!("ogk_eve_{}", "k3y".repeat(14)) });
    let claimed = claimed.to_string();
    let json = [("content-type", "application/json")];
    let claim = Script::new().wait(slowly).respond(201, &json, &claimed);
    stranger.place("/onboarding/claim", claim);
    let chat = Script::new().wait(slowly).respond(200, &json, r#"{"choices":[]}"#);
    stranger.place("/v1/chat/completions", chat);
    let url = stranger.url();
    let secrets = ["SEEN-CODE", "k3yk3yk3y", "sk-seen-by-nobody"];
    let kit = Kit::with(format!(
        "OPENCLAW_URL={url}\nUSER_ID=eve\nCLAIM_CODE={}\nOPENAI_API_KEY={}\n",
        secrets[0], secrets[2]
    ));
    let kit = kit.set("KIT_OF", OURS);
    let running = tokio::spawn(async move { (kit.setup().await, kit) });
    let mut looks = 0;
    while !running.is_finished() {
        looks += usize::from(curl_runs_without(&secrets));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (ended, kit) = running.await.unwrap();
    ended.is_ready();
    ended.tells_none_of(&secrets);
    assert!(kit.env().contains("k3yk3y"), "the key did arrive");
    assert!(looks >= 4, "curl was seen {looks} times");
}

/// How processes of this test are told from those of others.
const OURS: &str = "no_list_of_processes_shows_a_key";

/// Whether a curl of ours is running. Asserts that no process shows a secret, in its arguments or
/// in its environment.
fn curl_runs_without(secrets: &[&str]) -> bool {
    let mut runs = false;
    for process in std::fs::read_dir("/proc").unwrap() {
        let folder = process.unwrap().path();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap_or_default();
        let (arguments, environment) = (read("cmdline"), read("environ"));
        let texts = [&arguments, &environment].map(|text| String::from_utf8_lossy(text));
        runs |= texts[0].starts_with("curl\0") && texts[1].contains(OURS);
        for secret in secrets {
            let is_shown = texts.iter().any(|text| text.contains(secret));
            assert!(!is_shown, "{} shows {secret}", folder.display());
        }
    }
    runs
}

async fn nothing_is_spent_where_nothing_can_be_saved() {
    let gateway = &hosted().await.gateway;
    let name = user("reader");
    let code = issue(gateway, &name).await;
    let url = gateway.url("");
    let env = format!("OPENCLAW_URL={url}\nUSER_ID={name}\nCLAIM_CODE={code}\n");
    let is_root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    let kit = Kit::with(env).inside(if is_root { &NOBODY[..] } else { &[] });
    std::fs::set_permissions(&kit.folder, PermissionsExt::from_mode(0o555)).unwrap();
    let ended = kit.setup().await;
    ended.fails(2, "can't be written to. Move the kit to a folder of your own");
    ended.tells_none_of(&[&code]);
    // With a key there is nothing that must be written.
    let key = claim(gateway, &name, &code).await;
    key.is(201);
    let key = key.json()["gateway_key"].as_str().unwrap().to_owned();
    std::fs::set_permissions(&kit.folder, PermissionsExt::from_mode(0o755)).unwrap();
    let env = format!("OPENCLAW_URL={url}/v1\nUSER_ID={name}\nOPENCLAW_GATEWAY_KEY={key}\n");
    let kit = kit.saved(".env", env);
    std::fs::set_permissions(&kit.folder, PermissionsExt::from_mode(0o555)).unwrap();
    let ended = kit.setup().await;
    ended.is_ready();
    assert!(ended.said.contains(".env couldn't be saved"), "{ended:?}");
}

/// Somebody else than root, for whom no folder is read-only.
const NOBODY: [&str; 5] = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--"];

async fn a_used_code_is_no_harm_beside_its_key() {
    let gateway = &hosted().await.gateway;
    let name = user("twice");
    let code = issue(gateway, &name).await;
    let url = gateway.url("");
    let env = format!("OPENCLAW_URL={url}\nUSER_ID={name}\nCLAIM_CODE={code}\n");
    let kit = Kit::with(&env);
    kit.setup().await.is_ready();
    // Somebody writes the code into the file once more.
    let kept = kit.env();
    let kit = kit.saved(".env", kept.replace("CLAIM_CODE=", &format!("CLAIM_CODE={code}")));
    kit.setup().await.is_ready();
    assert_eq!(kit.env(), kept);
    // Without the key there is nothing to go on with.
    Kit::with(&env).setup().await.fails(6, "This code has been used.");
}

async fn stopped_halfway_it_leaves_nothing_behind() {
    let stranger = super::stranger(Script::json(200, &serde_json::json!({ "status": "ok" }))).await;
    stranger.place("/onboarding/claim", Script::new().hang());
    let url = stranger.url();
    let env = format!("OPENCLAW_URL={url}\nUSER_ID=eve\nCLAIM_CODE=ABCD-EFGH\n");
    let kit = Kit::with(&env);
    let before = names(&kit);
    let began = Instant::now();
    let child = kit.command("setup.sh", &[]).process_group(0).spawn().unwrap();
    let group = nix::unistd::Pid::from_raw(child.id().unwrap().cast_signed());
    let asked = || {
        let mut seen = stranger.unscripted().into_iter();
        seen.any(|seen| seen.target == "/onboarding/claim").then_some(())
    };
    gateway_tests::wait_for("claim", Duration::from_secs(20), asked).await;
    nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGINT).unwrap();
    let ended = finish(child, began).await;
    // A shell that hands on the signal that ended it has no code of its own.
    assert!([Some(130), None].contains(&ended.code), "{ended:?}");
    assert_eq!((names(&kit), kit.env()), (before, env));
}
