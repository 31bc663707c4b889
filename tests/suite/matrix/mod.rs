//! Who may call what: every answer of `docs/who-may-call.md`, asked of the gateway.

mod people;
mod table;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use gateway_tests::stripe::{Event, now, signature};
use gateway_tests::{Gateway, Options, Script, Upstream};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use self::people::{CHANGING, People, Shows};
pub use self::table::routes;
use self::table::{CREDENTIALS, Combination, OPERATOR, Table};
use crate::answer::{Answer, answer};
use crate::kits::{Kit, ZIP};
use crate::runner::Test;
use crate::{shared, tests};

/// How many gateways run at once, and how many requests at each.
const GATEWAYS: usize = 3;
const REQUESTS: usize = 6;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        the_page_is_about_every_route,
        what_the_page_says_is_refused_does_not_start,
        every_caller_gets_the_answer_on_the_page,
    ]
}

async fn the_page_is_about_every_route() {
    table::assert_complete(&Table::read());
}

async fn what_the_page_says_is_refused_does_not_start() {
    let table = Table::read();
    for refused in &table.refused {
        let mut combinations = Combination::all();
        combinations.retain(|combination| refused.is(*combination));
        let mut every_way: Vec<Vec<(&str, &str)>> =
            combinations.iter().map(|combination| combination.settings().to_vec()).collect();
        // A row about other settings than those that a combination is made of.
        let plain = refused.settings.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        every_way.push(plain.collect());
        for settings in every_way {
            let options = settings
                .iter()
                .fold(agent(Options::new()), |options, (name, value)| options.var(name, *value));
            let Err(said) = Gateway::try_start(options).await else {
                panic!("it starts with {settings:?}");
            };
            // The command line has the names too: it is in the first two lines.
            let said: String = said.lines().skip(2).collect();
            assert!(said.contains(&format!("{} ", refused.names)), "{settings:?}: {said}");
        }
    }
}

async fn every_caller_gets_the_answer_on_the_page() {
    let table = Table::read();
    let upstream = Upstream::start().await;
    let models = json!({ "object": "list", "data": [{ "id": "openclaw/default" }] });
    upstream.place("/v1/models", Script::json(200, &models));
    let codes = json!({
        "device_code": format!("device-{:032x}", fastrand::u128(..)),
        "user_code": "ABCD-1234",
        "verification_uri": "https://provider.example/device",
        "expires_in": 900,
        "interval": 5,
    });
    upstream.place("/device", Script::json(200, &codes));
    upstream.place("/token", Script::json(400, &json!({ "error": "authorization_pending" })));
    // Some are bound to a bearer from a time when that was possible.
    let earlier = Gateway::start(Options::new().upstream(upstream.url())).await;
    people::bind_all(&earlier).await;
    earlier.stop();

    let mut stages = Vec::new();
    for combination in table.combinations() {
        let options = options(combination, &upstream.url()).state(earlier.state());
        stages.push(play(combination, Gateway::start(options), &table));
    }
    let wrong: Vec<_> = stream::iter(stages).buffer_unordered(GATEWAYS).collect().await;
    let wrong = wrong.concat();
    assert!(wrong.is_empty(), "{} answers aren't on the page:\n{}", wrong.len(), wrong.join("\n"));
}

/// Settings that a real OpenClaw needs, and that nobody else minds.
fn agent(options: Options) -> Options {
    options
        .var("OPENCLAW_GATEWAY_TOKEN", "openclaw-token-of-the-matrix")
        .var("SESSION_KEY_SECRET", "session-key-secret-of-the-matrix")
}

fn options(combination: Combination, upstream: &str) -> Options {
    let limits = ["REQUESTS_PER_MINUTE", "MAX_IN_FLIGHT", "UNPROVEN_PER_MINUTE"];
    let options = limits.iter().fold(Options::new(), |options, name| options.var(name, "100000"));
    let settings = combination.settings();
    let options =
        settings.iter().fold(agent(options), |options, (name, value)| options.var(name, *value));
    shared::selling(options)
        .upstream(upstream)
        .var("CODEX_DEVICE_URL", format!("{upstream}/device"))
        .var("CODEX_TOKEN_URL", format!("{upstream}/token"))
}

/// Asks everything of a gateway of this combination, and says what differs from the page.
async fn play(
    combination: Combination,
    starting: impl Future<Output = Gateway>,
    table: &Table,
) -> Vec<String> {
    let gateway = &starting.await;
    let mut people = HashMap::new();
    for request in CHANGING.iter().chain(&[""]) {
        people.insert(*request, People::gather(gateway, combination, request).await);
    }
    let of = |request: &str| people.get(request).unwrap_or(&people[""]);
    let mut asked = Vec::new();
    for group in &table.groups {
        for (request, credential) in group.requests.iter().flat_map(|request| {
            CREDENTIALS.iter().chain(&[OPERATOR]).map(move |credential| (request, *credential))
        }) {
            let Some(expected) = group.answer(combination, credential) else { continue };
            let people = of(request);
            for shows in people.show(credential) {
                let question = Question { request, people, credential, shows, expected };
                asked.push(question.check(gateway, combination));
            }
        }
    }
    let answers: Vec<_> = stream::iter(asked).buffer_unordered(REQUESTS).collect().await;
    let (differences, ids): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
    let unlogged = unlogged(gateway, &ids).await.map(|wrong| format!("{combination}: {wrong}"));
    differences.into_iter().flatten().chain(unlogged).collect()
}

/// The answers that don't have one line each in the log, with their status. Who asks for `/health`
/// leaves none, and gets no id.
async fn unlogged(gateway: &Gateway, answers: &[(String, u16)]) -> Option<String> {
    let began = Instant::now();
    loop {
        let mut lines: HashMap<String, Vec<Value>> = HashMap::new();
        for line in gateway.log().into_iter().filter(|line| line["event"] == "request") {
            lines.entry(line["request_id"].as_str().unwrap().to_owned()).or_default().push(line);
        }
        let is_logged = |(id, status): &&(String, u16)| {
            let of_this = lines.get(id).map_or(&[][..], Vec::as_slice);
            let whole = |line: &Value| {
                line["status"] == *status && line["latency_ms"].is_i64() && line["endpoint"] != ""
            };
            id.is_empty() || of_this.len() == 1 && whole(&of_this[0])
        };
        let mut unlogged = answers.iter().filter(|answer| !is_logged(answer));
        let (first, more) = (unlogged.next()?, unlogged.count());
        if began.elapsed() > Duration::from_secs(20) {
            let of_this = lines.get(&first.0);
            return Some(format!("{first:?} and {more} more aren't in the log once: {of_this:?}"));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// An answer as the page writes it.
fn in_words(answer: &Answer) -> String {
    match answer.status {
        400.. => format!("{} {}", answer.status, answer.json()["error"]["code"].as_str().unwrap()),
        status => status.to_string(),
    }
}

/// One request, and what the page says of it.
struct Question<'a> {
    request: &'a str,
    people: &'a People,
    credential: &'static str,
    shows: Shows,
    expected: &'a str,
}

impl Question<'_> {
    /// What differs from the page, if anything does; and the answer's id and status.
    async fn check(
        self,
        gateway: &Gateway,
        combination: Combination,
    ) -> (Option<String>, (String, u16)) {
        let answer = self.ask(gateway).await;
        let answered = in_words(&answer);
        let Self { request, credential, expected, .. } = self;
        let difference = (answered != expected).then(|| {
            format!("{combination}: {request}: {credential}: {answered}, the page says {expected}")
        });
        (difference, (answer.request_id().to_owned(), answer.status))
    }

    async fn ask(&self, gateway: &Gateway) -> Answer {
        let (plain, special) = self.request.split_once(", ").unwrap_or((self.request, ""));
        let (method, path) = plain.split_once(' ').unwrap();
        let caller = self.shows.user.as_deref();
        let is_named_in_path = path.starts_with("/u/");
        // What the operator does is done to somebody who is nobody here.
        let user = shared::user("target");
        let named = if is_named_in_path { caller.unwrap_or("anonymous") } else { &user };
        let mut path = path.replace("{user_id}", named).replace("{file}", "console.js");
        if path.contains("{key_id}") {
            path = path.replace("{key_id}", &gateway.mint_key(&user).await.key_id);
        }
        if path.contains("{project}") {
            use_project(gateway, &user).await;
            path = path.replace("{project}", "default");
        }
        path = path.replace("{id}", self.people.sign_in_of(caller));
        if path.contains("{token}") {
            let kit = Kit::of(&user);
            if special != "another address" && method != "PUT" {
                kit.put(gateway).await.is(201);
            }
            path = path.replace("{token}", &kit.token);
        }
        if plain == "GET /upgrade?tier=tier1" && !special.is_empty() {
            path = link(gateway, &user, special).await;
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let request = gateway.request(method.clone(), &path);
        let request = match plain {
            "PUT /onboarding/codex" => request.json(&people::tokens()),
            "PUT /operator/api/users/{user_id}/tier" => request.json(&json!({ "tier": null })),
            "POST /webhook/stripe" => event(request, special),
            "PUT /operator/api/users/{user_id}/upstream" => {
                request.json(&json!({ "upstream": null }))
            }
            "POST /onboarding/claim" => request.json(&claim(gateway, &user, special).await),
            "POST /operator/api/notes/resolve" => {
                request.json(&json!({ "customer_id": "", "kind": "", "subject": "" }))
            }
            "PUT /operator/api/kits/{token}" => request.body(ZIP),
            "POST /operator/session" => request.json(&sign_in(gateway, special)),
            "POST /operator/api/roster" => {
                let person = format!("name,email\n{user},{user}@example.com\n");
                request.header("content-type", "text/csv").body(person)
            }
            _ if method == Method::POST => request.json(&json!({})),
            _ => request,
        };
        answer(self.shows.put(request.header("cf-connecting-ip", address()), is_named_in_path))
            .await
    }
}

/// Has a request of a user's project `default` admitted, whoever pays.
async fn use_project(gateway: &Gateway, user: &str) {
    let key = gateway.mint_key(user).await.key;
    let tokens = gateway.request(Method::PUT, "/onboarding/codex").bearer_auth(&key);
    answer(tokens.json(&people::tokens())).await.is(204);
    let request = gateway.post(user, "/v1/embeddings", &json!({})).header("x-gateway-key", &key);
    answer(request.header("cf-connecting-ip", address())).await.is(200);
}

/// A claim of a user with its own code, or with somebody else's.
async fn claim(gateway: &Gateway, user: &str, special: &str) -> Value {
    let owner = match special {
        "a good code" => user.to_owned(),
        "a wrong code" => shared::user("owner"),
        unknown => panic!("a claim with {unknown}?"),
    };
    let path = format!("/operator/api/users/{owner}/codes");
    let made = answer(gateway.operator(Method::POST, &path).json(&json!({}))).await;
    made.is(201);
    json!({ "user_id": user, "code": made.json()["code"] })
}

/// A sign-in at the console.
fn sign_in(gateway: &Gateway, special: &str) -> Value {
    match special {
        "the right token" => json!({ "token": gateway.operator_token() }),
        "a wrong token" => json!({ "token": "not the operator's" }),
        unknown => panic!("a sign-in with {unknown}?"),
    }
}

/// The path of a user's link to the page at which a tier is bought.
async fn link(gateway: &Gateway, user: &str, special: &str) -> String {
    let key = gateway.mint_key(user).await.key;
    let me = gateway.request(Method::GET, "/me").bearer_auth(key);
    let link = answer(me).await.json()["upgrade"]["tier1"].as_str().unwrap().to_owned();
    let path = link.strip_prefix(&gateway.url("")).unwrap().to_owned();
    match special {
        "a good link" => path,
        "a forged link" => path.replace(user, &shared::user("owner")),
        unknown => panic!("an upgrade with {unknown}?"),
    }
}

/// An event of Stripe's, signed well or badly.
fn event(request: RequestBuilder, special: &str) -> RequestBuilder {
    let secret = match special {
        "a good signature" => shared::SIGNING,
        "a wrong signature" => "whsec_of-somebody-else",
        unknown => panic!("an event with {unknown}?"),
    };
    let body = Event::refund().body();
    request.header("stripe-signature", signature(&body, secret, now())).body(body)
}

/// An address, another one for every few requests: nobody is to be refused for having tried often.
fn address() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    Ipv4Addr::from_bits((10 << 24) + NEXT.fetch_add(1, Ordering::Relaxed) / 4).to_string()
}
