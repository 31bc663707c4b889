//! Cloudflare's API for one account, as far as the real wrangler needs it for a deploy.
//!
//! It stands only for what can't be had here, and is as strict as the real one: a database that doesn't
//! exist can't be bound, a secret that isn't kept is lost, a name exists once, and whoever has no token
//! gets nothing. Its D1 is `SQLite`, so that migrations really apply. It remembers every call.

mod d1;
mod multipart;
mod workers;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

pub use multipart::Part;
pub use workers::Worker;

/// The account's id.
pub const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";

/// The token that is good for it.
pub const TOKEN: &str = "a-token-of-the-account-for-tests";

const BASE: &str = "/client/v4";

/// The API, which answers until it is dropped.
pub struct Cloudflare {
    url: String,
    account: Arc<Mutex<Account>>,
    task: JoinHandle<()>,
}

/// What the account has.
pub struct Account {
    /// Its databases by their ids: the name, and the file.
    pub databases: BTreeMap<String, (String, PathBuf)>,
    /// Its buckets.
    pub buckets: BTreeSet<String>,
    /// Its Workers by their names.
    pub workers: BTreeMap<String, Worker>,
    /// The hashes of the static files that were uploaded.
    pub assets: BTreeSet<String>,
    /// What comes before `.workers.dev`, once somebody has chosen it.
    pub subdomain: Option<String>,
    /// Every call that came, such as `POST /d1/database`; the account's part of the path is left out.
    pub calls: Vec<String>,
    /// The calls that are refused from now on.
    pub refusals: Vec<Refusal>,
    /// The file of the next database that is created, where it isn't an empty one.
    pub next_file: Option<PathBuf>,
    folder: tempfile::TempDir,
}

/// Calls that are refused.
#[derive(Clone, Debug)]
pub struct Refusal {
    /// How the call begins, as in `POST /r2/buckets`.
    pub call: &'static str,
    /// How many of them pass before.
    pub after: usize,
    /// The status of the answer.
    pub status: u16,
    /// The error's number.
    pub code: u32,
    /// The error's words.
    pub message: &'static str,
}

/// A call, taken apart.
struct Call {
    method: Method,
    path: Vec<String>,
    query: String,
    headers: HeaderMap,
    body: Bytes,
}

/// What an endpoint answers: a result, or a status with an error's number and words.
type Answer = Result<Value, (u16, u32, String)>;

fn no(status: u16, code: u32, message: impl Into<String>) -> Answer {
    Err((status, code, message.into()))
}

impl Cloudflare {
    /// Starts it, with an account that has nothing but a workers.dev name.
    ///
    /// # Panics
    /// When no port can be had.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}{BASE}", listener.local_addr().unwrap());
        let account = Arc::new(Mutex::new(Account {
            databases: BTreeMap::new(),
            buckets: BTreeSet::new(),
            workers: BTreeMap::new(),
            assets: BTreeSet::new(),
            subdomain: Some("tests".to_owned()),
            calls: Vec::new(),
            refusals: Vec::new(),
            next_file: None,
            folder: tempfile::tempdir().unwrap(),
        }));
        let router = Router::new().fallback(answer).with_state(Arc::clone(&account));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, account, task }
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The account, to look at and to change.
    ///
    /// # Panics
    /// When a call has panicked.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap()
    }
}

impl Drop for Cloudflare {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Account {
    /// The calls that changed something, in their order.
    #[must_use]
    pub fn changes(&self) -> Vec<&str> {
        let changes = self.calls.iter().map(String::as_str);
        let is_reading = |call: &&str| call.starts_with("GET ") || call.ends_with("/query");
        changes.filter(|call| !is_reading(call)).collect()
    }

    /// A new database.
    pub fn add_database(&mut self, name: &str) -> String {
        let id = format!("dddddddd-0000-4000-8000-{:012}", self.databases.len() + 1);
        let file = self.next_file.take().unwrap_or_else(|| self.folder.path().join(&id));
        self.databases.insert(id.clone(), (name.to_owned(), file));
        id
    }

    fn refusal(&mut self, call: &str) -> Option<Refusal> {
        let refusal = self.refusals.iter_mut().find(|it| call.starts_with(it.call))?;
        if refusal.after == 0 {
            return Some(refusal.clone());
        }
        refusal.after -= 1;
        None
    }

    fn answer(&mut self, call: &Call) -> Answer {
        let path: Vec<&str> = call.path.iter().map(String::as_str).collect();
        if matches!(path[..], ["user", ..] | ["memberships" | "accounts"]) {
            return who(&path);
        }
        let ["accounts", ACCOUNT, rest @ ..] = &path[..] else {
            return no(403, 10_000, "Authentication error");
        };
        match (call.method.as_str(), rest) {
            (_, ["d1", "database", rest @ ..]) => self.d1(call, rest),
            ("GET", ["r2", "buckets"]) => {
                let bucket =
                    |name: &String| json!({"name": name, "creation_date": "2026-01-01T00:00:00Z"});
                Ok(json!({ "buckets": self.buckets.iter().map(bucket).collect::<Vec<_>>() }))
            }
            ("POST", ["r2", "buckets"]) => {
                let name = call.json()["name"].as_str().unwrap_or_default().to_owned();
                if self.buckets.insert(name.clone()) {
                    Ok(json!({ "name": name, "location": "WEUR" }))
                } else {
                    let words = "The bucket you tried to create already exists, and you own it.";
                    no(409, 10_004, words)
                }
            }
            ("GET", ["r2", "buckets", name]) => match self.buckets.get(*name) {
                Some(name) => Ok(json!({ "name": name })),
                None => no(404, 10_006, "The specified bucket does not exist."),
            },
            (_, ["workers", rest @ ..]) => self.workers(call, rest),
            _ => no(404, 7_003, "Could not route to this path"),
        }
    }
}

fn who(path: &[&str]) -> Answer {
    let account = json!({ "id": ACCOUNT, "name": "The tests' account" });
    match path {
        ["user", "tokens", "verify"] => Ok(json!({ "id": "t", "status": "active" })),
        ["user"] => Ok(json!({ "email": "operator@example.com" })),
        ["accounts"] => Ok(json!([account])),
        ["memberships"] => Ok(json!([{ "id": "m", "account": account }])),
        _ => no(404, 7_003, "Could not route to this path"),
    }
}

impl Call {
    async fn read(request: Request) -> Self {
        let (parts, body) = request.into_parts();
        let path = parts.uri.path().strip_prefix(BASE).unwrap_or("/").trim_start_matches('/');
        Self {
            method: parts.method,
            path: path.split('/').map(str::to_owned).collect(),
            query: parts.uri.query().unwrap_or_default().to_owned(),
            headers: parts.headers,
            body: to_bytes(body, usize::MAX).await.unwrap_or_default(),
        }
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    fn parts(&self) -> Vec<Part> {
        let kind = self.headers.get(header::CONTENT_TYPE).and_then(|it| it.to_str().ok());
        multipart::parse(kind.unwrap_or_default(), &self.body)
    }

    fn bearer(&self) -> &str {
        let shown = self.headers.get(header::AUTHORIZATION).and_then(|it| it.to_str().ok());
        shown.and_then(|it| it.strip_prefix("Bearer ")).unwrap_or_default()
    }

    fn named(&self) -> String {
        let own = ["accounts", ACCOUNT];
        let is_own = self.path.iter().take(2).eq(own.iter());
        let path = self.path.get(if is_own { 2 } else { 0 }..).unwrap_or_default();
        format!("{} /{}", self.method, path.join("/"))
    }
}

async fn answer(State(account): State<Arc<Mutex<Account>>>, request: Request) -> Response {
    let call = Call::read(request).await;
    let mut account = account.lock().unwrap();
    let named = call.named();
    account.calls.push(named.clone());
    // Static files come with the token that their session gave out.
    let is_asset = named == "POST /workers/assets/upload";
    let answer = if call.bearer() != if is_asset { workers::ASSETS } else { TOKEN } {
        no(403, 10_000, "Authentication error")
    } else if let Some(refusal) = account.refusal(&named) {
        no(refusal.status, refusal.code, refusal.message)
    } else {
        account.answer(&call)
    };
    let (status, body) = match answer {
        Ok(result) => {
            let info = json!({ "page": 1, "per_page": 100, "total_count": 1 });
            (
                200,
                json!({ "success": true, "errors": [], "messages": [], "result": result, "result_info": info }),
            )
        }
        Err((status, code, message)) => {
            let errors = json!([{ "code": code, "message": message }]);
            (status, json!({ "success": false, "errors": errors, "messages": [], "result": null }))
        }
    };
    (StatusCode::from_u16(status).unwrap(), axum::Json(body)).into_response()
}
