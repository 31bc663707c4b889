//! A provider of Codex tokens: it issues and refreshes them, signs people in by device code, and is
//! the upstream that takes them.
//!
//! It is as strict as the real one: a refresh token is good once where it rotates, and a used one is
//! refused. Each person's session has a behaviour of its own, so tests can share a provider.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Request as AnyRequest, State};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::map_request;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::redaction::RUN;
use crate::script::completion;

/// What the gateway calls itself, unless a test says otherwise.
const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// How the provider treats one session.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Whether each refresh brings a new refresh token and spends the old one.
    pub rotates: bool,
    /// How long it thinks before it does anything.
    pub delay: Duration,
    /// `expires_in` of its answers.
    pub expires_in: Value,
    /// What it answers instead of doing anything: a status and a body.
    pub lie: Option<(u16, String)>,
    /// Whether the session is over.
    pub is_revoked: bool,
    /// Whether the upstream takes no token of it at all.
    pub is_barred: bool,
}

impl Default for Behaviour {
    fn default() -> Self {
        let expires_in = json!(3_600);
        let (delay, lie) = (Duration::ZERO, None);
        Self { rotates: true, delay, expires_in, lie, is_revoked: false, is_barred: false }
    }
}

/// A pair of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: String,
    /// The refresh token.
    pub refresh: String,
}

/// One person's session.
#[derive(Clone, Debug, Default)]
pub struct Session {
    /// How it is treated.
    pub behaviour: Behaviour,
    /// The access tokens that were issued.
    pub issued: Vec<String>,
    /// Those that the upstream takes.
    pub live: Vec<String>,
    /// The refresh token that is good.
    pub refresh: String,
    /// Those that were.
    pub spent: Vec<String>,
    /// How often a refresh was asked for.
    pub asked: usize,
    /// How often that was with a spent token.
    pub reused: usize,
    /// The requests that came upstream with a token of it, in their order.
    pub requests: Vec<Request>,
}

/// A request that came upstream.
#[derive(Clone, Debug)]
pub struct Request {
    /// The path.
    pub path: String,
    /// The token.
    pub token: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What a person does with the code of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing yet.
    Pending,
    /// Nothing yet, and the next poll is told to slow down.
    SlowDown,
    /// Signs in.
    Approved,
    /// Says no.
    Denied,
    /// Lets the code grow old.
    Expired,
    /// Nothing yet, and the provider leaves the poll without an answer.
    Silent,
}

/// A sign-in that was begun.
#[derive(Clone, Debug)]
pub struct SignIn {
    /// The code to poll with.
    pub device_code: String,
    /// What the person does.
    pub verdict: Verdict,
    /// How often it was polled for, and when.
    pub polls: Vec<std::time::Instant>,
}

#[derive(Default)]
struct Book {
    sessions: HashMap<String, Session>,
    sign_ins: HashMap<String, SignIn>,
    /// What the device endpoint answers instead of codes.
    device_lie: Option<(u16, String)>,
    device_lifetime: Option<u64>,
    issued: u64,
    /// Everything secret that was ever issued.
    secrets: Vec<String>,
}

/// A running provider; dropping it ends it.
pub struct Provider {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    task: JoinHandle<()>,
}

type Shared = Arc<Mutex<Book>>;

impl Provider {
    /// Starts to listen on a port of its own.
    ///
    /// # Panics
    /// When it can't.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let book = Shared::default();
        let router = Router::new()
            .route("/oauth/token", post(token))
            .route("/oauth/device", post(device))
            .route("/api/accounts/deviceauth/usercode", post(user_code))
            .route("/api/accounts/deviceauth/token", post(device_token))
            .fallback(upstream)
            .layer(DefaultBodyLimit::disable())
            .layer(map_request(keep_url))
            .with_state(Arc::clone(&book));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, book, task }
    }

    /// Its URL with `path` behind it.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Signs a person in, without any ceremony.
    #[must_use]
    pub fn sign_in(&self, person: &str) -> Tokens {
        self.book().sign_in(person)
    }

    /// A person's session as it is now.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn session(&self, person: &str) -> Session {
        self.book().sessions.get(person).cloned().expect("a session")
    }

    /// Changes how a person's session is treated.
    ///
    /// # Panics
    /// When there is none.
    pub fn behave(&self, person: &str, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.book().sessions.get_mut(person).expect("a session").behaviour);
    }

    /// Has the upstream take none of a person's access tokens any more.
    ///
    /// # Panics
    /// When there is no session.
    pub fn reject_access(&self, person: &str) {
        self.book().sessions.get_mut(person).expect("a session").live.clear();
    }

    /// What the device endpoint answers from now on instead of codes.
    pub fn lie_about_codes(&self, lie: Option<(u16, String)>) {
        self.book().device_lie = lie;
    }

    /// For how many seconds codes are good from now on.
    pub fn codes_live_for(&self, seconds: u64) {
        self.book().device_lifetime = Some(seconds);
    }

    /// What the person does who was shown `user_code`. Who signs in has a session of that name.
    ///
    /// # Panics
    /// When that code was never issued.
    pub fn decide(&self, user_code: &str, verdict: Verdict) {
        self.book().sign_ins.get_mut(user_code).expect("a code").verdict = verdict;
    }

    /// A sign-in as it is now.
    ///
    /// # Panics
    /// When that code was never issued.
    #[must_use]
    pub fn sign_in_of(&self, user_code: &str) -> SignIn {
        self.book().sign_ins.get(user_code).cloned().expect("a code")
    }

    /// Every token and code that was issued and is nobody's to see.
    #[must_use]
    pub fn secrets(&self) -> Vec<String> {
        self.book().secrets.clone()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Book {
    fn secret(&mut self, kind: &str) -> String {
        self.issued += 1;
        let secret = format!("{kind}-{}-{:032x}", self.issued, fastrand::u128(..));
        RUN.note(kind, &secret);
        self.secrets.push(secret.clone());
        secret
    }

    fn sign_in(&mut self, person: &str) -> Tokens {
        let (access, refresh) = (self.secret("access-token"), self.secret("refresh-token"));
        let live = vec![access.clone()];
        let (issued, refresh_now) = (live.clone(), refresh.clone());
        let session = Session { issued, live, refresh: refresh_now, ..Session::default() };
        self.sessions.insert(person.to_owned(), session);
        Tokens { access, refresh }
    }

    fn holder_of(&mut self, refresh: &str) -> Option<&mut Session> {
        let holds = |session: &&mut Session| {
            session.refresh == refresh || session.spent.iter().any(|spent| spent == refresh)
        };
        self.sessions.values_mut().find(holds)
    }

    fn refresh(&mut self, shown: &str) -> Response {
        let (access, next) = (self.secret("access-token"), self.secret("refresh-token"));
        let Some(session) = self.holder_of(shown) else {
            return answer(400, &json!({"error": "invalid_grant"}));
        };
        if session.behaviour.is_revoked {
            return answer(400, &json!({"error": "invalid_grant", "error_description": shown}));
        }
        if session.refresh != shown {
            session.reused += 1;
            let error = json!({"code": "refresh_token_reused", "message": "it was used already"});
            return answer(401, &json!({ "error": error }));
        }
        session.issued.push(access.clone());
        session.live.push(access.clone());
        let mut granted = json!({"access_token": access, "token_type": "Bearer"});
        granted["expires_in"] = session.behaviour.expires_in.clone();
        if session.behaviour.rotates {
            session.spent.push(std::mem::replace(&mut session.refresh, next.clone()));
            granted["refresh_token"] = json!(next);
        }
        answer(200, &granted)
    }

    /// A device code and a user code; or the lie that is to be told instead.
    fn begin(&mut self) -> Result<(String, String), (u16, String)> {
        if let Some(lie) = self.device_lie.clone() {
            return Err(lie);
        }
        let device_code = self.secret("device-code");
        let user_code = format!("CODE-{:04}", self.issued);
        let (verdict, polls) = (Verdict::Pending, Vec::new());
        let sign_in = SignIn { device_code: device_code.clone(), verdict, polls };
        self.sign_ins.insert(user_code.clone(), sign_in);
        Ok((device_code, user_code))
    }

    /// The person's code and verdict, where the device code is known.
    fn poll(&mut self, device_code: &str) -> Option<(String, Verdict)> {
        let found = self.sign_ins.iter_mut().find(|(_, known)| known.device_code == device_code);
        let (user_code, sign_in) = found?;
        sign_in.polls.push(std::time::Instant::now());
        let verdict = sign_in.verdict.clone();
        if verdict == Verdict::SlowDown {
            sign_in.verdict = Verdict::Pending;
        }
        Some((user_code.clone(), verdict))
    }

    fn grant(&mut self, person: &str) -> Response {
        let Tokens { access, refresh } = self.sign_in(person);
        answer(200, &json!({"access_token": access, "refresh_token": refresh, "expires_in": 3_600}))
    }
}

/// For the search at the end of the run.
async fn keep_url(request: AnyRequest) -> AnyRequest {
    RUN.keep_url(&request.uri().to_string());
    request
}

/// The token endpoint, for each kind of grant.
async fn token(State(book): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-www-form-urlencoded");
    let form: HashMap<String, String> = url::form_urlencoded::parse(&body).into_owned().collect();
    assert_eq!(form["client_id"], CLIENT_ID);
    match form["grant_type"].as_str() {
        "refresh_token" => {
            let shown = form["refresh_token"].clone();
            let behaviour = book.lock().unwrap().holder_of(&shown).map(|session| {
                session.asked += 1;
                session.behaviour.clone()
            });
            let Behaviour { delay, lie, .. } = behaviour.unwrap_or_default();
            // A client that leaves meanwhile takes this handler along: nothing is spent then.
            tokio::time::sleep(delay).await;
            match lie {
                Some((status, body)) => raw(status, body),
                None => book.lock().unwrap().refresh(&shown),
            }
        }
        "urn:ietf:params:oauth:grant-type:device_code" => {
            let error = |error: &str| answer(400, &json!({ "error": error }));
            let polled = book.lock().unwrap().poll(&form["device_code"]);
            match polled {
                Some((_, Verdict::Silent)) => std::future::pending().await,
                None => error("invalid_grant"),
                Some((_, Verdict::Pending)) => error("authorization_pending"),
                Some((_, Verdict::SlowDown)) => error("slow_down"),
                Some((_, Verdict::Denied)) => error("access_denied"),
                Some((_, Verdict::Expired)) => error("expired_token"),
                Some((person, Verdict::Approved)) => book.lock().unwrap().grant(&person),
            }
        }
        "authorization_code" => {
            let mut book = book.lock().unwrap();
            assert!(form["redirect_uri"].ends_with("/deviceauth/callback"));
            assert_eq!(form["code_verifier"], format!("verifier-of-{}", form["code"]));
            let person = form["code"].trim_start_matches("code-of-").to_owned();
            book.grant(&person)
        }
        other => panic!("no grant of the type {other} is known"),
    }
}

/// Codes as in RFC 8628.
async fn device(State(book): State<Shared>, headers: HeaderMap) -> Response {
    let mut book = book.lock().unwrap();
    let (device_code, user_code) = match book.begin() {
        Ok(codes) => codes,
        Err((status, body)) => return raw(status, body),
    };
    let uri = format!("http://{}/activate", headers[header::HOST].to_str().unwrap());
    answer(
        200,
        &json!({
            "device_code": device_code, "user_code": user_code, "verification_uri": uri,
            "verification_uri_complete": format!("{uri}?user_code={user_code}"),
            "expires_in": book.device_lifetime.unwrap_or(900), "interval": 1,
        }),
    )
}

/// Codes in OpenAI's own way.
async fn user_code(State(book): State<Shared>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(asked, json!({ "client_id": CLIENT_ID }));
    match book.lock().unwrap().begin() {
        Ok((id, user_code)) => {
            answer(200, &json!({"device_auth_id": id, "user_code": user_code, "interval": "1"}))
        }
        Err((status, body)) => raw(status, body),
    }
}

/// The poll in OpenAI's own way.
async fn device_token(State(book): State<Shared>, body: Bytes) -> Response {
    let asked: Value = serde_json::from_slice(&body).unwrap();
    let polled = book.lock().unwrap().poll(asked["device_auth_id"].as_str().unwrap());
    let Some((person, verdict)) = polled else { return answer(400, &json!({})) };
    assert_eq!(asked["user_code"], person);
    if verdict != Verdict::Approved {
        return answer(403, &json!({"error": {"code": "deviceauth_authorization_unknown"}}));
    }
    let code = format!("code-of-{person}");
    RUN.note("an authorization code", &code);
    answer(
        200,
        &json!({
            "authorization_code": code, "code_verifier": format!("verifier-of-{code}"),
            "code_challenge": "challenge",
        }),
    )
}

/// The token that a request shows, as an agent gateway is shown it, or a provider.
fn shown(headers: &HeaderMap) -> String {
    let bearer = || headers.get(header::AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ");
    let header = headers.get("x-codex-token").and_then(|token| token.to_str().ok());
    header.or_else(bearer).unwrap_or_default().to_owned()
}

/// The upstream: it answers whoever shows a token that lives.
async fn upstream(
    State(book): State<Shared>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let token = shown(&headers);
    let path = uri.path().to_owned();
    let mut book = book.lock().unwrap();
    let is_its = |session: &&mut Session| session.issued.contains(&token);
    let is_live = match book.sessions.values_mut().find(is_its) {
        Some(session) => {
            let is_live = session.live.contains(&token) && !session.behaviour.is_barred;
            session.requests.push(Request { path, token, headers, body });
            is_live
        }
        None => false,
    };
    if is_live {
        return answer(200, &completion("paid", 7));
    }
    answer(
        401,
        &json!({"error": {"message": "Your token isn't taken.", "code": "upstream_says_no"}}),
    )
}

fn answer(status: u16, body: &Value) -> Response {
    raw(status, body.to_string())
}

fn raw(status: u16, body: String) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}
