//! Twenty people behind one real OpenClaw: an agent and a handle each, as `gatewayctl openclaw` makes
//! them, and everybody pays for themselves.
//!
//! It is one story, for an OpenClaw of its own takes a gigabyte, each of its commands some seconds and each
//! agent's first answer some more.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use gateway_tests::ctl::{Ctl, Ended};
use gateway_tests::openclaw::{OpenClaw, TOKEN};
use gateway_tests::openclaw_provider::Provider;
use gateway_tests::ports::free_port;
use gateway_tests::redaction::RUN;
use gateway_tests::{Gateway, Options};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::openclaw::options;
use crate::runner::Test;
use crate::{openclaw_provisioning as provisioning, openclaw_return as paying, tests};

pub fn tests() -> Vec<Test> {
    tests![Alone: everybody_has_an_agent_and_pays_for_themselves]
}

/// How many people.
pub const PEOPLE: usize = 20;

/// Twenty agents that were never used cost OpenClaw a minute of its processor.
pub const PATIENCE: Duration = Duration::from_mins(15);

/// An OpenClaw, what stands before and behind it, and who asks.
pub struct Site {
    pub provider: Provider,
    pub openclaw: OpenClaw,
    pub gateway: Gateway,
    pub folder: tempfile::TempDir,
    pub command: PathBuf,
    /// Everybody's gateway key.
    pub keys: BTreeMap<String, String>,
    /// Everybody's key at the provider.
    pub own_keys: BTreeMap<String, String>,
    /// Where the gateway is, each time that it is started.
    port: u16,
}

pub fn person(number: usize) -> String {
    format!("person-{number:02}")
}

async fn everybody_has_an_agent_and_pays_for_themselves() {
    let mut site = Site::start().await;
    let before = site.settings();
    provisioning::a_plan_does_nothing(&site, &before).await;
    provisioning::what_broke_off_goes_on(&site).await;
    provisioning::the_operators_own_settings_stay(&site, &before);
    paying::everybody_pays_for_their_first_answer(&site).await;
    paying::a_token_that_ends_in_mid_run_is_renewed_once(&mut site).await;
    paying::a_refused_key_is_its_owners_trouble_alone(&site).await;
    paying::a_killed_gateway_leaves_no_key_behind(&mut site).await;
    provisioning::a_stray_credential_is_never_used(&site).await;
    provisioning::whose_handle_it_is_can_be_proven(&site).await;
    provisioning::who_is_gone_goes_only_where_it_is_meant(&site).await;
    site.gateway.stop();
    site.openclaw.stop();
}

impl Site {
    async fn start() -> Self {
        let provider = Provider::start().await;
        let (openclaw, port) = (OpenClaw::start(&provider.url()).await, free_port());
        let options = Self::options_of(&openclaw, &provider, port);
        let gateway = Gateway::start(options).await;
        let (mut keys, mut own_keys) = (BTreeMap::new(), BTreeMap::new());
        for user in (1..=PEOPLE).map(person) {
            let key = gateway.mint_key(&user).await.key;
            let own_key = format!("sk-{user}-{:032x}", fastrand::u128(..));
            RUN.note("a person's own key", &own_key);
            keys.insert(user.clone(), key);
            own_keys.insert(user, own_key);
        }
        let folder = tempfile::tempdir().unwrap();
        let command = openclaw.command();
        Self { provider, openclaw, gateway, folder, command, keys, own_keys, port }
    }

    /// The settings of the gateway, each time that it is started.
    pub fn options(&self) -> Options {
        Self::options_of(&self.openclaw, &self.provider, self.port)
    }

    fn options_of(openclaw: &OpenClaw, provider: &Provider, port: u16) -> Options {
        options(&openclaw.url())
            .port(port)
            .var("OPENCLAW_MODEL", "openclaw/u-{user}")
            .var("RETURN_PATH", "on")
            .var("BYOK_PROVIDER_URL", provider.url())
    }

    /// Writes a list of these people.
    pub fn roster(&self, numbers: impl IntoIterator<Item = usize>) -> String {
        let lines = numbers.into_iter().map(|number| format!("{},Somebody,,", person(number)));
        let head = std::iter::once("user_id,name,email,code".to_owned());
        let list = head.chain(lines).collect::<Vec<_>>().join("\n");
        let file = self.folder.path().join("people.csv");
        std::fs::write(&file, list).unwrap();
        file.display().to_string()
    }

    pub fn ctl(&self, words: &str) -> Ctl {
        let command = self.command.display().to_string();
        let mut all = vec!["openclaw"];
        all.extend(words.split(' '));
        all.extend(["--openclaw", &command]);
        Ctl::new(&all).at(&self.gateway).env("OPENCLAW_GATEWAY_TOKEN", TOKEN).patience(PATIENCE)
    }

    /// For those on the list that was written last.
    pub async fn run(&self, words: &str) -> Ended {
        let roster = self.folder.path().join("people.csv");
        self.ctl(&format!("{words} --roster {}", roster.display())).run().await
    }

    pub async fn ask(&self, words: &str) -> Value {
        self.run(&format!("{words} --json")).await.is(0).json()
    }

    pub fn settings(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.openclaw.settings_file()).unwrap()).unwrap()
    }

    pub fn handles_file(&self) -> PathBuf {
        self.openclaw.settings_file().with_file_name("organized-gateway-handles.json")
    }

    pub fn handles(&self) -> BTreeMap<String, String> {
        let text = std::fs::read(self.handles_file()).unwrap_or_else(|_| b"{}".to_vec());
        let handles: BTreeMap<String, String> = serde_json::from_slice(&text).unwrap();
        for handle in handles.values() {
            RUN.note("a handle", handle);
        }
        handles
    }

    /// What a person says, in one of four ways: chat and responses, streamed and not.
    pub fn says(&self, user: &str, way: usize, text: &str) -> RequestBuilder {
        let stream = way.is_multiple_of(2);
        let (path, body) = if way < 2 {
            let messages = json!([{ "role": "user", "content": text }]);
            ("/v1/chat/completions", json!({ "stream": stream, "messages": messages }))
        } else {
            ("/v1/responses", json!({ "stream": stream, "input": text }))
        };
        let request = self.gateway.request(Method::POST, path).json(&body);
        let request = request.header("x-gateway-key", &self.keys[user]);
        match self.own_keys.get(user) {
            Some(own_key) => request.bearer_auth(own_key),
            None => request,
        }
    }

    /// What is answered to that.
    pub async fn say(&self, user: &str, way: usize, text: &str) -> Answer {
        answer(self.says(user, way, text)).await
    }

    /// The keys that the provider was shown for something that was said.
    pub fn shown_for(&self, text: &str) -> Vec<String> {
        self.provider.calls(text).into_iter().map(|call| call.key).collect()
    }
}
