//! Several upstreams: whose requests go to which, and what keeps them apart.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use gateway_tests::openclaw::TOKEN;
use gateway_tests::script::chat_request;
use gateway_tests::{Gateway, Options, Script, Seen, Upstream, wait_for};
use reqwest::{Method, RequestBuilder};
use rusqlite::Connection;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::answer::{Answer, answer};
use crate::costs::messages;
use crate::openclaw::{self, Person};
use crate::runner::Test;
use crate::{tests, tiers};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_users_requests_go_where_the_operator_says,
        a_tiers_node_is_for_who_has_the_tier,
        what_is_no_upstream_is_refused,
        each_node_is_shown_its_own_credentials_alone,
        a_node_that_is_gone_fails_its_own_users_only,
        an_answer_is_continued_at_its_own_node_only,
        an_answer_that_an_earlier_version_kept_is_the_defaults,
        a_full_node_holds_up_nobody_elsewhere,
        a_higher_tier_is_served_ahead_and_starves_nobody,
        ready_speaks_of_all_nodes_and_names_none,
    ]
}

/// Three upstreams, the first of which is everybody's.
struct Nodes {
    default: Upstream,
    studio: Upstream,
    attic: Upstream,
}

impl Nodes {
    async fn start() -> Self {
        let (default, studio) = (Upstream::start().await, Upstream::start().await);
        Self { default, studio, attic: Upstream::start().await }
    }

    /// The nodes of `UPSTREAMS`, the studio with more members.
    fn settings(&self, studio: &Value) -> Value {
        let mut studio = studio.clone();
        studio["url"] = json!(self.studio.url());
        json!({ "studio": studio, "attic": { "url": self.attic.url() } })
    }

    /// A gateway in front of them that believes the header.
    async fn gateway(&self, studio: &Value, options: Options) -> Gateway {
        Gateway::start(self.options(&self.settings(studio), options)).await
    }

    fn options(&self, nodes: &Value, options: Options) -> Options {
        let options = options.upstream(self.default.url()).var("USER_BINDING", "open");
        options.var("UPSTREAMS", nodes.to_string())
    }

    /// How many requests came to each, but for the gateway's own looks at it, which have no name.
    fn seen(&self) -> [usize; 3] {
        let is_passed_on = |seen: &&Seen| seen.header("x-request-id").is_some();
        self.all().map(|node| node.unscripted().iter().filter(is_passed_on).count())
    }

    fn all(&self) -> [&Upstream; 3] {
        [&self.default, &self.studio, &self.attic]
    }
}

/// Asks for a user's upstream to be this one.
async fn assign(gateway: &Gateway, user: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = gateway.operator(Method::PUT, &format!("/operator/api/users/{user}/upstream"));
    answer(request.header("content-type", "application/json").body(body)).await
}

/// Gives a user an upstream, or takes it away.
async fn give(gateway: &Gateway, user: &str, upstream: Option<&str>) -> Value {
    let given = assign(gateway, user, json!({ "upstream": upstream }).to_string()).await;
    given.is(200);
    given.json()
}

fn chat(gateway: &Gateway, user: &str) -> RequestBuilder {
    gateway.post(user, "/v1/chat/completions", &chat_request("hi", false))
}

async fn a_users_requests_go_where_the_operator_says() {
    let nodes = Nodes::start().await;
    let gateway = nodes.gateway(&json!({}), Options::new().fault_injection()).await;
    let key = gateway.mint_key("ada").await.key;
    answer(chat(&gateway, "ada")).await.is(200);
    answer(chat(&gateway, "bob")).await.is(200);
    assert_eq!(nodes.seen(), [2, 0, 0]);
    let given = give(&gateway, "ada", Some("studio")).await;
    assert_eq!((&given["user_id"], &given["upstream"]), (&json!("ada"), &json!("studio")));
    answer(chat(&gateway, "ada")).await.is(200);
    answer(chat(&gateway, "bob")).await.is(200);
    answer(gateway.get("ada", "/v1/models?x=1")).await.is(200);
    assert_eq!(nodes.seen(), [3, 2, 0]);
    let studio = nodes.studio.unscripted();
    assert_eq!(
        (&*studio[0].target, &*studio[1].target),
        ("/v1/chat/completions", "/v1/models?x=1")
    );
    assert_eq!(studio[0].header("x-forwarded-user").as_deref(), Some("ada"));
    for (user, requests) in [("ada", 3), ("bob", 2)] {
        gateway.ledger().settled(user, requests).await;
    }
    // It survives the runtime, and the operator sees it; the user doesn't.
    gateway.kill_runtime().await;
    gateway.restart().await;
    answer(chat(&gateway, "ada")).await.is(200);
    assert_eq!(nodes.seen(), [3, 3, 0]);
    let shown = answer(gateway.operator(Method::GET, "/operator/api/users/ada")).await;
    assert_eq!(shown.json()["upstream"], "studio");
    let me = answer(gateway.request(Method::GET, "/me").bearer_auth(&key)).await;
    me.is(200);
    assert!(!me.text().contains("studio"), "{me:?}");
    // Whatever the upstream, a request costs its user's object two messages.
    gateway.ledger().settled("ada", 4).await;
    for (user, requests) in [("ada", 4), ("bob", 2)] {
        let mut said = messages(&gateway, user).await;
        let of_the_operator = ["AddKey", "Repair", "Describe", "Prove"];
        said.retain(|message| user == "bob" || !of_the_operator.contains(&message.as_str()));
        said.sort();
        let each = |message| vec![message; requests];
        assert_eq!(said, [each("Admit"), each("Settle")].concat(), "{user}");
    }
    let taken = give(&gateway, "ada", None).await;
    assert_eq!(taken.get("upstream"), None);
    answer(chat(&gateway, "ada")).await.is(200);
    assert_eq!(nodes.seen(), [4, 3, 0]);
    let ledger = gateway.ledger();
    let actions = || Some(ledger.actions("ada")).filter(|rows| rows.len() >= 3);
    let mut actions = wait_for("row of each action", Duration::from_secs(10), actions).await;
    actions.retain(|[_, what, _]| what == "assign_upstream");
    actions.sort();
    let action = |detail: &str| ["token", "assign_upstream", detail].map(str::to_owned);
    assert_eq!(actions, [action(""), action("studio")]);
}

async fn a_tiers_node_is_for_who_has_the_tier() {
    let nodes = Nodes::start().await;
    let gateway = nodes.gateway(&json!({ "tiers": ["tier3"] }), Options::new()).await;
    let key = gateway.mint_key("ada").await.key;
    let says = async || {
        let request = chat(&gateway, "ada").header("x-gateway-key", &key);
        answer(request).await.is(200);
        nodes.seen()
    };
    assert_eq!(says().await, [1, 0, 0]);
    for (tier, expected) in [("tier2", [2, 0, 0]), ("tier3", [2, 1, 0])] {
        tiers::give(&gateway, "ada", tier).await;
        assert_eq!(says().await, expected, "{tier}");
    }
    // One's own goes before the tier's.
    give(&gateway, "ada", Some("attic")).await;
    assert_eq!(says().await, [2, 1, 1]);
    give(&gateway, "ada", Some("default")).await;
    assert_eq!(says().await, [3, 1, 1]);
    give(&gateway, "ada", None).await;
    assert_eq!(says().await, [3, 2, 1]);
    tiers::set(&gateway, "ada", r#"{"tier":null}"#).await.is(200);
    assert_eq!(says().await, [4, 2, 1]);
    // Whoever only says to be her gets neither.
    tiers::give(&gateway, "ada", "tier3").await;
    answer(chat(&gateway, "ada")).await.refuses(401, "missing_key");
    assert_eq!(nodes.seen(), [4, 2, 1]);
}

async fn what_is_no_upstream_is_refused() {
    let nodes = Nodes::start().await;
    let gateway = nodes.gateway(&json!({}), Options::new()).await;
    let none = ["", "{}", "null", r#"{"upstream":1}"#, r#"{"upstream":null,"x":1}"#];
    for body in none {
        assign(&gateway, "ada", body).await.refuses(400, "invalid_json");
    }
    for name in ["cellar", "", "Studio", "default "] {
        let refused = assign(&gateway, "ada", json!({ "upstream": name }).to_string()).await;
        refused.refuses(400, "invalid_json");
        assert!(refused.text().contains("default, attic, studio"), "{refused:?}");
        for upstream in nodes.all() {
            assert!(!refused.text().contains(&upstream.address().to_string()), "{refused:?}");
        }
    }
    for nobody in ["anonymous", "-ada"] {
        let refused = assign(&gateway, nobody, r#"{"upstream":"studio"}"#).await;
        refused.refuses(400, "invalid_user_id");
    }
    answer(chat(&gateway, "ada")).await.is(200);
    assert_eq!(nodes.seen(), [1, 0, 0]);
    let actions = gateway.ledger().actions("ada");
    assert!(actions.is_empty(), "what was refused was not done: {actions:?}");
}

/// What each upstream is reached with, in their order.
const TOKENS: [&str; 3] = [TOKEN, "token-of-studio-4711", "token-of-attic-0815"];
const CLIENTS: [Option<[&str; 2]>; 3] = [
    Some(["access-id-of-default-1", "access-secret-of-default-1"]),
    Some(["access-id-of-studio-2", "access-secret-of-studio-2"]),
    None,
];

/// A gateway in front of three that are as OpenClaw.
async fn agents(nodes: &Nodes) -> Gateway {
    let [client_id, client_secret] = CLIENTS[1].unwrap();
    let more = json!({
        "token": TOKENS[1],
        "access_client_id": client_id,
        "access_client_secret": client_secret,
    });
    let mut settings = nodes.settings(&more);
    settings["attic"]["token"] = json!(TOKENS[2]);
    let [client_id, client_secret] = CLIENTS[0].unwrap();
    let options = openclaw::options(&nodes.default.url())
        .var("UPSTREAMS", settings.to_string())
        .var("UPSTREAM_ACCESS_CLIENT_ID", client_id)
        .var("UPSTREAM_ACCESS_CLIENT_SECRET", client_secret);
    Gateway::start(options).await
}

/// All that a request showed.
fn shown(seen: &Seen) -> String {
    format!("{} {:?} {}", seen.target, seen.headers, String::from_utf8_lossy(&seen.body))
}

async fn each_node_is_shown_its_own_credentials_alone() {
    let nodes = Nodes::start().await;
    let gateway = agents(&nodes).await;
    for upstream in [None, Some("studio"), Some("attic")] {
        let ada = Person::new(&gateway, "ada").await;
        give(&gateway, &ada.user, upstream).await;
        ada.post("/v1/chat/completions", &chat_request("hi", true)).await.is(200);
        ada.post("/v1/responses", &json!({ "input": "hi" })).await.is(200);
        ada.post("/v1/embeddings", &json!({ "input": "hi" })).await.is(200);
        answer(ada.request(Method::GET, "/v1/models")).await;
    }
    answer(gateway.request(Method::GET, "/ready")).await;
    for ((upstream, token), client) in nodes.all().into_iter().zip(TOKENS).zip(CLIENTS) {
        let seen = upstream.unscripted();
        assert!(seen.len() > 4, "its own requests, and is it ready: {seen:?}");
        for seen in seen {
            let authorization = format!("Bearer {token}");
            assert_eq!(seen.header("authorization"), Some(authorization), "{seen:?}");
            let [client_id, client_secret] =
                client.map_or([None, None], |client| client.map(|text| Some(text.to_owned())));
            assert_eq!(seen.header("cf-access-client-id"), client_id, "{seen:?}");
            assert_eq!(seen.header("cf-access-client-secret"), client_secret, "{seen:?}");
            let shown = shown(&seen);
            let of_others = TOKENS.iter().filter(|other| **other != token);
            let clients = CLIENTS.iter().filter(|other| **other != client);
            for secret in of_others.chain(clients.flatten().flatten()) {
                assert!(!shown.contains(secret), "{secret} is another's: {shown}");
            }
        }
    }
}

async fn a_node_that_is_gone_fails_its_own_users_only() {
    let nodes = Nodes::start().await;
    let mut gateway = nodes.gateway(&json!({}), Options::new()).await;
    for (user, upstream) in [("ada", "attic"), ("bob", "studio")] {
        give(&gateway, user, Some(upstream)).await;
        answer(chat(&gateway, user)).await.is(200);
    }
    gateway.ledger().settled("ada", 1).await;
    let mut fewer = nodes.settings(&json!({}));
    fewer.as_object_mut().unwrap().remove("attic");
    gateway.restart_with(nodes.options(&fewer, Options::new())).await;
    for _ in 0..3 {
        let refused = answer(chat(&gateway, "ada")).await;
        refused.refuses(503, "not_configured");
        assert!(refused.text().contains("UPSTREAMS"), "{refused:?}");
        assert_eq!(refused.header("x-ratelimit-remaining-requests"), "49", "it costs nothing");
    }
    answer(chat(&gateway, "bob")).await.is(200);
    answer(chat(&gateway, "cy")).await.is(200);
    assert_eq!(nodes.seen(), [1, 2, 1], "nobody went elsewhere");
    let rows = gateway.ledger().settled("ada", 4).await;
    let refused = rows.iter().filter(|row| row.error_code.as_deref() == Some("not_configured"));
    assert_eq!(refused.count(), 3);
    let shown = answer(gateway.operator(Method::GET, "/operator/api/users/ada")).await;
    assert_eq!(shown.json()["upstream"], "attic", "the operator sees why");
    give(&gateway, "ada", None).await;
    answer(chat(&gateway, "ada")).await.is(200);
    assert_eq!(nodes.seen(), [2, 2, 1]);
}

async fn an_answer_is_continued_at_its_own_node_only() {
    let nodes = Nodes::start().await;
    let gateway = agents(&nodes).await;
    let ada = Person::new(&gateway, "ada").await;
    let of = |id: &str| Script::json(200, &json!({ "id": id }));
    nodes.default.place("/v1/responses", of("resp_of_default"));
    nodes.studio.place("/v1/responses", of("resp_of_studio"));
    let next = async |previous: Option<&str>| {
        let mut body = json!({ "input": "hi" });
        if let Some(previous) = previous {
            body["previous_response_id"] = json!(previous);
        }
        ada.post("/v1/responses", &body).await
    };
    next(None).await.is(200);
    next(Some("resp_of_default")).await.is(200);
    give(&gateway, &ada.user, Some("studio")).await;
    let refused = next(Some("resp_of_default")).await;
    refused.refuses(400, "previous_response_not_found");
    assert!(refused.text().contains("another node"), "{refused:?}");
    assert_eq!(nodes.seen(), [2, 0, 0], "and no node was asked");
    next(None).await.is(200);
    next(Some("resp_of_studio")).await.is(200);
    // Back again, where the earlier one is known still; across a restart too.
    gateway.restart().await;
    give(&gateway, &ada.user, None).await;
    next(Some("resp_of_studio")).await.refuses(400, "previous_response_not_found");
    next(Some("resp_of_default")).await.is(200);
    let sessions = |upstream: &Upstream| -> Vec<_> {
        let seen = upstream.unscripted();
        seen.iter().map(|seen| seen.header("x-openclaw-session-key").unwrap()).collect()
    };
    let (default, studio) = (sessions(&nodes.default), sessions(&nodes.studio));
    assert_eq!((default.len(), studio.len()), (3, 2));
    assert!(default.iter().all(|session| *session == default[0]), "{default:?}");
    assert_eq!(studio[0], studio[1]);
    assert_ne!(studio[0], default[0]);
    // A conversation that is named is the same at each, for what the node knows of it.
    for upstream in [None, Some("attic")] {
        give(&gateway, &ada.user, upstream).await;
        let mut body = chat_request("hi", false);
        body["user"] = json!("our talk");
        ada.post("/v1/chat/completions", &body).await.is(200);
    }
    assert_eq!(sessions(&nodes.default).last(), sessions(&nodes.attic).last());
}

/// Takes the objects' tables back to the version before answers had an upstream.
fn forget_upstreams_of_answers(gateway: &Gateway) {
    let folder = gateway.state().join("do/organized-gateway-UserSession");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let objects = files
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "metadata"));
    let before = "alter table responses drop column upstream;
        update meta set value = 2 where name = 'schema_version';";
    let changed =
        objects.map(|path| Connection::open(path).unwrap().execute_batch(before).unwrap());
    assert_eq!(changed.count(), 1);
}

async fn an_answer_that_an_earlier_version_kept_is_the_defaults() {
    let nodes = Nodes::start().await;
    let gateway = agents(&nodes).await;
    let ada = Person::new(&gateway, "ada").await;
    nodes.default.place("/v1/responses", Script::json(200, &json!({ "id": "resp_1" })));
    ada.post("/v1/responses", &json!({ "input": "hi" })).await.is(200);
    gateway.stop();
    forget_upstreams_of_answers(&gateway);
    gateway.restart().await;
    let next = json!({ "input": "hi", "previous_response_id": "resp_1" });
    ada.post("/v1/responses", &next).await.is(200);
    give(&gateway, &ada.user, Some("studio")).await;
    ada.post("/v1/responses", &next).await.refuses(400, "previous_response_not_found");
    assert_eq!(nodes.seen(), [2, 0, 0]);
}

/// Waits until so many questions and farewells were said to a node's queue.
async fn when_said(gateway: &Gateway, node: &str, number: usize) {
    let mut patience = 300;
    while messages(gateway, node).await.len() < number {
        patience -= 1;
        assert!(patience > 0, "the queue of {node} isn't asked");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn gated(gate: &Arc<Semaphore>) -> Script {
    Script::new().gate(gate).respond(200, &[("content-type", "application/json")], "{}")
}

async fn a_full_node_holds_up_nobody_elsewhere() {
    let nodes = Nodes::start().await;
    let options = Options::new().fault_injection().var("UPSTREAM_SLOTS", "2");
    let gateway = nodes.gateway(&json!({ "slots": 1 }), options).await;
    let gate = Arc::new(Semaphore::new(0));
    nodes.studio.place("/v1/chat/completions", gated(&gate));
    for (user, upstream) in [("ada", "studio"), ("bob", "studio"), ("cy", "attic")] {
        give(&gateway, user, Some(upstream)).await;
    }
    let running = tokio::spawn(answer(chat(&gateway, "ada")));
    when_said(&gateway, "studio", 1).await;
    let waiting = tokio::spawn(answer(chat(&gateway, "bob")));
    when_said(&gateway, "studio", 2).await;
    for user in ["cy", "eve"] {
        let served = answer(chat(&gateway, user)).await;
        served.is(200);
        assert!(served.number("x-queue-ms") < 200, "{served:?}");
    }
    assert_eq!(nodes.seen(), [1, 1, 1], "one at once in the studio");
    gate.add_permits(2);
    running.await.unwrap().is(200);
    waiting.await.unwrap().is(200);
    assert_eq!(nodes.seen(), [1, 2, 1]);
    for (node, said) in [("studio", 4), ("attic", 2), ("default", 2)] {
        when_said(&gateway, node, said).await;
        assert_eq!(messages(&gateway, node).await, vec!["SlotMessage"; said], "{node}");
    }
}

async fn a_higher_tier_is_served_ahead_and_starves_nobody() {
    let nodes = Nodes::start().await;
    let options =
        Options::new().fault_injection().var("UPSTREAM_SLOTS", "1").var("QUEUE_WAIT_MS", "120000");
    let gateway = nodes.gateway(&json!({}), options).await;
    let mut keys = BTreeMap::new();
    for tier in ["tier1", "tier2", "tier3"] {
        keys.insert(tier, gateway.mint_key(tier).await.key);
        tiers::give(&gateway, tier, tier).await;
    }
    let gate = Arc::new(Semaphore::new(0));
    nodes.default.place("/v1/chat/completions", gated(&gate));
    let first = tokio::spawn(answer(chat(&gateway, "first")));
    when_said(&gateway, "default", 1).await;
    let mut waiting = Vec::new();
    // The least come first.
    for user in ["none", "tier1", "tier2", "tier3"] {
        for _ in 0..8 {
            let request = chat(&gateway, user);
            let request = match keys.get(user) {
                Some(key) => request.header("x-gateway-key", key),
                None => request,
            };
            waiting.push(tokio::spawn(answer(request)));
        }
        when_said(&gateway, "default", 1 + waiting.len()).await;
    }
    gate.add_permits(1 + waiting.len());
    first.await.unwrap().is(200);
    for waiting in waiting {
        waiting.await.unwrap().is(200);
    }
    let seen = nodes.default.unscripted();
    let order: Vec<_> = seen.iter().map(|seen| seen.header("x-forwarded-user").unwrap()).collect();
    assert_eq!((order.len(), order[0].as_str()), (33, "first"));
    // In each round everybody has as many turns as they weigh, while they wait.
    for round in order[1..17].chunks(8) {
        for (user, turns) in [("none", 1), ("tier1", 1), ("tier2", 2), ("tier3", 4)] {
            assert_eq!(round.iter().filter(|who| *who == user).count(), turns, "{order:?}");
        }
    }
    assert_eq!(order[1], "tier3", "{order:?}");
}

async fn ready_speaks_of_all_nodes_and_names_none() {
    let nodes = Nodes::start().await;
    let gateway = nodes.gateway(&json!({}), Options::new()).await;
    let ready = async || answer(gateway.request(Method::GET, "/ready")).await;
    let well = ready().await;
    well.is(200);
    assert_eq!(well.json()["checks"], json!({ "d1": "ok", "upstream": "ok" }));
    assert_eq!(nodes.all().map(|node| node.unscripted().len()), [1, 1, 1]);
    let Nodes { default, studio, attic } = nodes;
    let address = studio.address().to_string();
    drop(studio);
    // The answer is kept for five seconds.
    tokio::time::sleep(Duration::from_secs(6)).await;
    let said = ready().await;
    said.is(200);
    assert_eq!((&said.json()["status"], said.text().contains("1 of 2")), (&json!("ready"), true));
    assert!(!said.text().contains("studio") && !said.text().contains(&address), "{said:?}");
    let told = || gateway.log_text().contains("studio: no answer from its url").then_some(());
    wait_for("line in the log", Duration::from_secs(10), told).await;
    assert!(!gateway.log_text().contains(&address), "an address in the log");
    drop((default, attic));
    tokio::time::sleep(Duration::from_secs(6)).await;
    ready().await.is(503);
}
