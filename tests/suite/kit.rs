//! The trainee's kit: its script against the served gateway.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use gateway_tests::oauth::{Provider, Verdict};
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, workspace};
use reqwest::Method;

use crate::answer::{Answer, answer};
use crate::codex::{Stage, options};
use crate::runner::Test;
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Patient:
        one_command_makes_a_codex_user_of_whoever_brought_a_key,
        what_is_wrong_is_said_in_a_sentence,
    ]
}

/// A kit as somebody unzipped it, with their `.env`.
struct Kit(tempfile::TempDir);

impl Kit {
    fn unzip(env: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let script = workspace().join("trainee-kit/setup.sh");
        std::fs::copy(script, folder.path().join("setup.sh")).unwrap();
        std::fs::write(folder.path().join(".env"), env).unwrap();
        Self(folder)
    }

    fn run(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("bash");
        command.arg(self.0.path().join("setup.sh")).args(arguments).current_dir(Path::new("/"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Runs it to its end: the exit code, and what it said about what is wrong.
    async fn fails(env: String, arguments: &'static [&'static str]) -> (Option<i32>, String) {
        let run = move || Self::unzip(&env).run(arguments).output().unwrap();
        let output = tokio::task::spawn_blocking(run).await.unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    /// Signs in: says yes to the code that the script shows, and waits for its end. What it said.
    async fn signs_in(self, provider: &Provider) -> (Option<i32>, String) {
        let (tell, told) = tokio::sync::oneshot::channel();
        let running = tokio::task::spawn_blocking(move || {
            let mut child = self.run(&["--auth", "codex"]).spawn().unwrap();
            let (mut said, mut tell) = (String::new(), Some(tell));
            for line in BufReader::new(child.stdout.take().unwrap()).lines() {
                let line = line.unwrap();
                if let Some(code) = line.strip_prefix("2. Type this code there:") {
                    tell.take().unwrap().send(code.trim().to_owned()).unwrap();
                }
                said.push_str(&line);
                said.push('\n');
            }
            child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            (child.wait().unwrap().code(), said)
        });
        if let Ok(code) = told.await {
            provider.decide(&code, Verdict::Approved);
        }
        running.await.unwrap()
    }
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

    // As people write it: quotes, blanks, capitals, a `/v1`, and the line ends of Windows.
    let url = stage.gateway.url("/v1/");
    let env = format!(
        "# mine\r\n\r\nOPENCLAW_URL = \"{url}\"\r\nexport USER_ID=' Ada '\r\n\
                       OPENAI_API_KEY=  sk-ada  \r\n"
    );
    let (code, said) = Kit::unzip(&env).signs_in(&stage.provider).await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains(&stage.provider.url("/activate")), "{said}");
    assert!(said.ends_with("the same USER_ID (ada).\n"), "{said}");
    for secret in stage.provider.secrets() {
        assert!(!said.contains(&secret), "the script never sees a token");
    }

    stage.gateway.restart_with(options(&stage.provider)).await;
    says(&stage).await.is(200);
    let key = stage.gateway.mint_key("ada").await.key;
    let me = answer(stage.gateway.request(Method::GET, "/me").bearer_auth(&key)).await.json();
    assert_eq!(me["codex"]["state"], "ok");
    assert_eq!(me["window"]["used"], 2, "nothing is lost on the way");

    // Again, with the gateway key in place of the old one.
    let env = format!(
        "OPENCLAW_URL={}\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\n",
        stage.gateway.url("")
    );
    tokio::time::sleep(std::time::Duration::from_secs(11)).await;
    let (code, said) = Kit::unzip(&env).signs_in(&stage.provider).await;
    assert_eq!(code, Some(0), "{said}");
}

async fn what_is_wrong_is_said_in_a_sentence() {
    let pair = shared::keyed().await;
    let url = pair.gateway.url("");
    let codex: &[&str] = &["--auth", "codex"];
    let key = format!("ogk_ada_{}", "0".repeat(43));
    for (env, arguments, code, word) in [
        (String::new(), &[][..], 1, "bash setup.sh --auth codex"),
        (String::new(), codex, 2, "OPENCLAW_URL is missing"),
        (format!("OPENCLAW_URL={url}\n"), codex, 2, "USER_ID is missing"),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\n"), codex, 2, "key is missing"),
        (format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENAI_API_KEY=sk-\"1\n"), codex, 2, "Copy it"),
        (
            "OPENCLAW_URL=http://127.0.0.1:9\nUSER_ID=ada\nOPENAI_API_KEY=sk-1\n".to_owned(),
            codex,
            3,
            "can't be reached",
        ),
        (
            format!("OPENCLAW_URL={url}\nUSER_ID=ada\nOPENCLAW_GATEWAY_KEY={key}\n"),
            codex,
            4,
            "This gateway key isn't valid for this user. Copy it again",
        ),
    ] {
        let (ended, said) = Kit::fails(env.clone(), arguments).await;
        assert_eq!(ended, Some(code), "{env:?}: {said}");
        assert!(said.contains(word), "{env:?}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1 + usize::from(code == 3), "{said}");
    }
}
