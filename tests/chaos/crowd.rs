//! Those who ask: many users at once, some with tiers, some far over their limits, some who leave.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use fastrand::Rng;
use futures::StreamExt;
use futures::future::join_all;
use gateway_tests::script::{chat_chunk, chat_request};
use gateway_tests::upstream::Route;
use gateway_tests::{Gateway, Script, Upstream};
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::book::{Asked, Book, End, Head};

/// A request that takes longer hangs: far beyond queue, first byte, stall and the longest stream.
const PATIENCE: Duration = Duration::from_mins(2);

/// How a user asks.
pub struct Manner {
    pub name: &'static str,
    /// How many such users there are.
    pub users: usize,
    pub tier: Option<&'static str>,
    /// How many requests a user has under way, at most.
    pub lanes: usize,
    /// Between two requests of a lane, at most, in milliseconds.
    pub pause: u64,
    /// How often a request is a stream of half a minute, in percent.
    pub long: u8,
    /// How often the client leaves before the end, in percent.
    pub leaves: u8,
    /// Whether the lanes ask all at once rather than each by itself.
    pub at_once: bool,
    /// How many requests of the month are used before anything else.
    pub spent: usize,
}

impl Manner {
    const fn new(name: &'static str, users: usize, lanes: usize, pause: u64) -> Self {
        let (tier, at_once) = (None, false);
        Self { name, users, tier, lanes, pause, long: 5, leaves: 5, at_once, spent: 0 }
    }
}

/// The name of the users whose month is nearly over.
pub const SPENT: &str = "spent";

/// Everybody.
pub const MANNERS: [Manner; 8] = [
    Manner::new("steady", 4, 1, 4_000),
    Manner { long: 0, leaves: 10, ..Manner::new("eager", 3, 3, 900) },
    Manner { long: 0, leaves: 0, at_once: true, ..Manner::new("rush", 1, 25, 8_000) },
    Manner { long: 60, leaves: 25, ..Manner::new("listens", 3, 2, 3_000) },
    Manner { tier: Some("tier1"), ..Manner::new("small", 2, 1, 2_500) },
    Manner { tier: Some("tier2"), long: 10, leaves: 10, ..Manner::new("middle", 1, 2, 2_000) },
    Manner { tier: Some("tier3"), long: 15, leaves: 10, ..Manner::new("large", 1, 2, 1_500) },
    Manner { tier: Some("tier1"), spent: 9_950, ..Manner::new(SPENT, 1, 2, 2_000) },
];

impl User {
    /// Whether the month, and not the minute, is what it runs out of.
    pub fn is_spent(&self) -> bool {
        self.manner.spent > 0
    }
}

/// A user of the load.
pub struct User {
    pub id: String,
    key: Option<String>,
    manner: &'static Manner,
}

/// What the upstream does with the requests.
pub struct Mix {
    whole: Route,
    stream: Route,
    long: Route,
    failing: Route,
    missing: Route,
    broken: Route,
    gone: Route,
    listed: Route,
}

impl Mix {
    fn new(upstream: &Upstream) -> Self {
        let gap = Duration::from_millis(120);
        let chunks = |count: usize, gap: Duration| {
            let begun = Script::new().event_stream();
            (0..count).fold(begun, |script, _| script.event(&chat_chunk("twelve chars")).wait(gap))
        };
        Self {
            whole: upstream.route(Script::new().wait(gap).respond(
                200,
                &[("content-type", "application/json")],
                gateway_tests::script::completion("hi", 7).to_string(),
            )),
            stream: upstream.route(chunks(8, gap).done()),
            long: upstream.route(chunks(36, Duration::from_secs(1)).done()),
            failing: upstream.route(Script::json(500, &json!({ "error": { "message": "no" } }))),
            missing: upstream.route(Script::json(404, &json!({ "error": { "message": "no" } }))),
            broken: upstream.route(chunks(2, gap).reset()),
            gone: upstream.route(Script::new().reset()),
            listed: upstream.route(Script::json(200, &json!({ "data": [] }))),
        }
    }

    /// Each request that the upstream was asked: its number, and its id and moment there.
    pub fn arrived(&self) -> Vec<(u64, String, Instant)> {
        let Self { whole, stream, long, failing, missing, broken, gone, listed } = self;
        let routes = [whole, stream, long, failing, missing, broken, gone, listed];
        let seen = routes.into_iter().flat_map(Route::seen);
        let number = |target: &str| target.rsplit_once("&number=")?.1.parse().ok();
        let told = seen.filter_map(|seen| {
            Some((number(&seen.target)?, seen.header("x-request-id")?, seen.at))
        });
        told.collect()
    }
}

/// Those who ask, and what they need for it.
pub struct Crowd {
    pub gateway: Gateway,
    pub mix: Mix,
    pub users: Vec<User>,
    pub book: Book,
    /// Counts how often all were asked to leave.
    pub leave: watch::Sender<u64>,
    next: AtomicU64,
}

impl Crowd {
    /// Has users made: those with tiers get a key and the tier. Who has spent most of a month takes some
    /// time to make.
    pub async fn gather(gateway: Gateway, upstream: &Upstream, with_spent: bool) -> Self {
        let mut users = Vec::new();
        for manner in MANNERS.iter().filter(|manner| with_spent || manner.spent == 0) {
            for number in 1..=manner.users {
                let id = format!("{}-{number}", manner.name);
                let key = match manner.tier {
                    Some(tier) => Some(entitle(&gateway, &id, tier).await),
                    None => None,
                };
                users.push(User { id, key, manner });
            }
        }
        let (leave, mix) = (watch::Sender::new(0), Mix::new(upstream));
        let (book, next) = (Book::default(), AtomicU64::new(1));
        let crowd = Self { gateway, mix, users, book, leave, next };
        // Where a tier has room for one project, it is this.
        crowd.ask_once().await;
        crowd.spend().await;
        crowd
    }

    async fn spend(&self) {
        const LANES: usize = 25;
        let path = self.mix.listed.path("/v1/embeddings");
        for user in &self.users {
            let lane = async || {
                for _ in 0..user.manner.spent / LANES {
                    let request = self.as_user(user, Method::POST, &path).json(&json!({}));
                    self.ask_as(user, request).await;
                }
            };
            join_all((0..LANES).map(|_| lane())).await;
        }
    }

    /// Has everybody ask for so long, and waits for the last answers.
    pub async fn ask(self: &Arc<Self>, seed: u64, length: Duration) {
        let began = Instant::now();
        let mut lanes = tokio::task::JoinSet::new();
        for (number, user) in self.users.iter().enumerate() {
            for lane in 0..user.manner.lanes {
                let rng = Rng::with_seed(seed ^ ((number as u64 * 100 + lane as u64 + 1) << 20));
                lanes.spawn(Arc::clone(self).lane(number, rng, began..began + length));
            }
        }
        lanes.join_all().await;
    }

    async fn lane(self: Arc<Self>, user: usize, mut rng: Rng, time: Range<Instant>) {
        let (user, began) = (&self.users[user], time.start);
        while Instant::now() < time.end {
            let (route, path, is_stream) = self.draw(user.manner, &mut rng);
            let number = self.next.fetch_add(1, Ordering::Relaxed);
            let path = format!("{}&number={number}", route.path(path));
            let request = self.request(user, &path, is_stream, &mut rng);
            let stay = (rng.u8(0..100) < user.manner.leaves)
                .then(|| Duration::from_millis(rng.u64(20..3_000)));
            let is_fickle = rng.bool();
            self.converse(user, number, request, Stay { at_most: stay, is_fickle }).await;
            let pause = Duration::from_millis(user.manner.pause);
            if user.manner.at_once {
                let rounds = began.elapsed().as_millis() / pause.as_millis() + 1;
                let next = began + pause * u32::try_from(rounds).unwrap();
                tokio::time::sleep_until(next.into()).await;
            } else {
                let least = Duration::from_millis(50);
                tokio::time::sleep(least + pause.mul_f64(rng.f64())).await;
            }
        }
    }

    /// One more request of each user, and what it was answered; nobody leaves.
    pub async fn ask_once(&self) -> Vec<(String, Option<Head>)> {
        let path = self.mix.listed.path("/v1/embeddings");
        let all = self.users.iter().map(async |user| {
            let request = self.as_user(user, Method::POST, &path).json(&json!({}));
            (user.id.clone(), self.ask_as(user, request).await)
        });
        join_all(all).await
    }

    /// One more request of a user's, who waits for its end.
    pub async fn ask_as(&self, user: &User, request: RequestBuilder) -> Option<Head> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.converse(user, number, request, Stay::default()).await
    }

    fn draw(&self, manner: &Manner, rng: &mut Rng) -> (&Route, &'static str, bool) {
        const CHAT: &str = "/v1/chat/completions";
        let mix = &self.mix;
        if rng.u8(0..100) < manner.long {
            return (&mix.long, CHAT, true);
        }
        match rng.u8(0..100) {
            0..40 => (&mix.whole, CHAT, false),
            40..70 => (&mix.stream, CHAT, true),
            70..77 => (&mix.failing, CHAT, rng.bool()),
            77..81 => (&mix.missing, CHAT, false),
            81..87 => (&mix.broken, CHAT, true),
            87..91 => (&mix.gone, CHAT, false),
            _ => (&mix.listed, "/v1/models", false),
        }
    }

    fn request(&self, user: &User, path: &str, is_stream: bool, rng: &mut Rng) -> RequestBuilder {
        let request = if path.starts_with("/v1/models") {
            self.as_user(user, Method::GET, path)
        } else {
            self.as_user(user, Method::POST, path).json(&chat_request("hi", is_stream))
        };
        // More than the lower tiers have room for.
        let project = rng.choice(["default", "default", "shop", "blog", "lab"]).unwrap_or_default();
        request.header("x-project-id", project)
    }

    /// A request of this user's.
    pub fn as_user(&self, user: &User, method: Method, path: &str) -> RequestBuilder {
        let request = self.gateway.request(method, path).header("x-user-id", &user.id);
        match &user.key {
            Some(key) => request.header("x-gateway-key", key).bearer_auth("sk-caller"),
            None => request.bearer_auth("sk-caller"),
        }
    }

    /// Sends a request, reads its answer, and writes into the book what came of it.
    async fn converse(
        &self,
        user: &User,
        number: u64,
        request: RequestBuilder,
        stay: Stay,
    ) -> Option<Head> {
        let sent = Instant::now();
        let mut head = None;
        let mut leave = self.leave.subscribe();
        let gone = async {
            let all_leave = async {
                if !stay.is_fickle || leave.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = all_leave => {}
                () = tokio::time::sleep(stay.at_most.unwrap_or(PATIENCE)) => {}
            }
        };
        let end = tokio::select! {
            end = exchange(request, &mut head) => end,
            () = gone => {
                if sent.elapsed() < PATIENCE { End::Left } else { End::Hung }
            }
        };
        let (user, ended) = (user.id.clone(), Instant::now());
        self.book.note(Asked { number, user, sent, head: head.clone(), ended, end });
        head
    }
}

/// How long a client stays.
#[derive(Clone, Copy, Default)]
struct Stay {
    at_most: Option<Duration>,
    /// Whether it leaves with all the others.
    is_fickle: bool,
}

async fn exchange(request: RequestBuilder, head: &mut Option<Head>) -> End {
    let response = match request.send().await {
        Ok(response) => response,
        Err(error) if error.is_connect() => return End::Unreached,
        Err(_) => return End::Broke,
    };
    let (at, status) = (Instant::now(), response.status().as_u16());
    let id = response.headers().get("x-request-id").and_then(|id| id.to_str().ok());
    let id = id.unwrap_or_default().to_owned();
    let head = head.insert(Head { at, id, status, code: None });
    read(response, head).await
}

async fn read(response: Response, head: &mut Head) -> End {
    let kind = response.headers().get("content-type");
    let is_stream = kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/event-stream"));
    let mut body = response.bytes_stream();
    let mut text = Vec::new();
    while let Some(piece) = body.next().await {
        let Ok(piece) = piece else { return End::Broke };
        text.extend_from_slice(&piece);
    }
    let text = String::from_utf8_lossy(&text);
    // A stream that breaks ends in good order, with an event that says so.
    if is_stream && (text.contains("upstream_interrupted") || !text.ends_with("data: [DONE]\n\n")) {
        return End::Broke;
    }
    let error: Value = serde_json::from_str(&text).unwrap_or_default();
    head.code = error["error"]["code"].as_str().map(str::to_owned);
    End::Whole
}

/// Gives a user a key and a tier; the key.
async fn entitle(gateway: &Gateway, user: &str, tier: &str) -> String {
    let key = gateway.mint_key(user).await.key;
    let path = format!("/operator/api/users/{user}/tier");
    let request = gateway.operator(Method::PUT, &path).json(&json!({ "tier": tier }));
    assert_eq!(request.send().await.unwrap().status(), 200);
    key
}
