//! What a run used in secret, and what it wrote down: the one is searched for in the other when the
//! run is over.
//!
//! **Secrets** are noted where the harness makes, sends or sees them: settings whose names say so,
//! and those that `serve` makes for itself; what `Authorization`, `X-Gateway-Key`, `X-Codex-Token`
//! and an Access service token's headers held, on the way to the gateway or to the upstream; the
//! members of JSON and form bodies that are called `access_token`, `code`, `key` and the like. Of a
//! gateway key only the part behind its user is secret. What is shorter than nine characters can't
//! be told from a word, and is left out; so is what consists of one or two characters, as a test's
//! key of zeros does.
//!
//! **Searched** are all lines that a gateway and its runtime wrote to stderr; every row of every
//! table of its D1, as it was when the gateway was last stopped; every URL that it asked of an
//! upstream; and of the answers that were read as a whole or byte by byte, every error, and on the
//! gateway's own paths everything but what is there to hand out a secret: a 201, the roster, and a kit.
//!
//! **Not searched**: those answers; what `serve` prints for the operator, whose token is in it; what
//! the upstream is sent in headers and bodies; what passes through from an upstream in a 2xx; what
//! the SDKs' own programs read. A secret is found as it is, not where it is encoded. The files of the
//! objects are searched by `suite::secrets`, for one gateway.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, LazyLock, Mutex};

use aho_corasick::AhoCorasick;
use reqwest::Url;
use serde_json::Value;

use crate::report::Log;

/// The record of this run.
pub static RUN: LazyLock<Record> = LazyLock::new(Record::default);

/// Below this length, a text that is secret in one place may be a word in another.
const SHORTEST: usize = 9;

const HEADERS: [&str; 6] = [
    "authorization",
    "x-gateway-key",
    "x-codex-token",
    "cf-access-client-id",
    "cf-access-client-secret",
    "cf-access-jwt-assertion",
];

const MEMBERS: [&str; 10] = [
    "access_client_id",
    "access_client_secret",
    "access_token",
    "code",
    "device_code",
    "gateway_key",
    "id_token",
    "key",
    "refresh_token",
    "token",
];

/// The secrets by what they are called.
pub type Secrets = BTreeMap<String, String>;

/// What a run used in secret, and what it wrote down.
#[derive(Default)]
pub struct Record {
    secrets: Mutex<Secrets>,
    logs: Mutex<Vec<Log>>,
    rows: Mutex<BTreeMap<PathBuf, Vec<String>>>,
    urls: Mutex<Vec<String>>,
    answers: Mutex<Vec<String>>,
}

/// The kinds of places that are searched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A line of a gateway's log.
    LogLine,
    /// A row of D1.
    Row,
    /// A URL that an upstream was asked.
    Url,
    /// The body of an answer.
    Answer,
}

/// A secret that was found where it must not be.
#[derive(Clone, Debug)]
pub struct Told {
    /// Where.
    pub place: Place,
    /// What the secret is called.
    pub what: String,
    /// What stands around it, without it.
    pub text: String,
}

impl Record {
    /// Notes a secret, and what it is called.
    pub fn note(&self, what: &str, secret: &str) {
        let secret = if secret.starts_with("ogk_") || secret.starts_with("ogr_") {
            secret.rsplit('_').next().unwrap_or_default()
        } else {
            secret
        };
        let is_varied = secret.chars().collect::<BTreeSet<_>>().len() > 2;
        if secret.len() >= SHORTEST && is_varied {
            self.secrets.lock().unwrap().insert(secret.to_owned(), what.to_owned());
        }
    }

    /// Notes a setting, where its name says that it is secret.
    pub fn note_setting(&self, name: &str, value: &str) {
        let is_secret = ["TOKEN", "SECRET", "PEPPER", "KEY"].iter().any(|word| name.contains(word));
        if is_secret && !name.ends_with("_URL") {
            self.note(name, value);
        }
        if name == "UPSTREAMS" {
            let nodes: Value = serde_json::from_str(value).unwrap_or_default();
            let nodes = nodes.as_object().into_iter().flatten();
            self.note_members(&nodes.map(|(_, node)| node.clone()).collect());
        }
    }

    /// Notes what a header holds, where it is one for credentials.
    pub fn note_header(&self, name: &str, value: &str) {
        if HEADERS.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            // Behind a scheme; what has none, in `Authorization`, is a hostile test's nonsense.
            let is_bare = !name.eq_ignore_ascii_case("authorization");
            let credential = value.split_once(' ').map(|(_scheme, credential)| credential.trim());
            self.note(name, credential.unwrap_or(if is_bare { value } else { "" }));
        }
    }

    /// Notes the members of a body that hold secrets.
    pub fn note_members(&self, body: &Value) {
        let objects = match body {
            Value::Array(objects) => objects.as_slice(),
            object => std::slice::from_ref(object),
        };
        for (name, value) in objects.iter().filter_map(Value::as_object).flatten() {
            if MEMBERS.contains(&name.as_str()) {
                self.note(name, value.as_str().unwrap_or_default());
            }
        }
    }

    /// Notes what a request shows, that is about to be sent.
    pub fn note_request(&self, request: &reqwest::Request) {
        for (name, value) in request.headers() {
            self.note_header(name.as_str(), &String::from_utf8_lossy(value.as_bytes()));
        }
        if let Some(body) = request.body().and_then(|body| body.as_bytes()) {
            self.note_body(body);
        }
    }

    /// Notes what a body says, be it JSON or a form.
    pub fn note_body(&self, body: &[u8]) {
        if let Ok(json) = serde_json::from_slice(body) {
            return self.note_members(&json);
        }
        let Some(form) = std::str::from_utf8(body).ok().filter(|text| text.contains('=')) else {
            return;
        };
        let mut url = Url::parse("http://form/").unwrap();
        url.set_query(Some(form));
        for (name, value) in url.query_pairs() {
            if MEMBERS.contains(&&*name) {
                self.note(&name, &value);
            }
        }
    }

    /// Will search all that is written to this log.
    pub(crate) fn keep_log(&self, log: &Log) {
        self.logs.lock().unwrap().push(Arc::clone(log));
    }

    /// Will search the rows of the D1 in this file, as they are now.
    ///
    /// # Panics
    /// When they can't be read.
    pub fn keep_rows(&self, path: &Path) {
        match crate::Ledger::new(path.to_owned()).everything() {
            Ok(rows) => drop(self.rows.lock().unwrap().insert(path.to_owned(), rows)),
            // The test has failed already, and two panics at once end the run.
            Err(_) if std::thread::panicking() => {}
            Err(error) => panic!("the rows of {} can't be read: {error}", path.display()),
        }
    }

    /// Will search a URL that an upstream was asked.
    pub fn keep_url(&self, url: &str) {
        self.urls.lock().unwrap().push(url.to_owned());
    }

    /// Will search the body of an answer, unless it is there to hand out a secret, which is noted.
    /// `path` is where the answer came from; empty where nobody knows.
    pub fn keep_answer(&self, path: &str, status: u16, body: &[u8]) {
        let is_own = !(path.is_empty() || path.starts_with("/v1") || path.starts_with("/u/"));
        if status == 201 || path == "/operator/api/roster" {
            self.note_body(body);
        } else if status == 200 && path.starts_with("/kit/") {
            // What it hands out is its owner's.
        } else if is_own || status >= 400 {
            self.answers.lock().unwrap().push(String::from_utf8_lossy(body).into_owned());
        }
    }

    /// Every place where one of the secrets that were noted has been told.
    #[must_use]
    pub fn told(&self) -> Vec<Told> {
        let secrets = self.secrets.lock().unwrap().clone();
        self.find(&secrets)
    }

    /// Every place where one of `secrets` stands.
    ///
    /// # Panics
    /// When there are too many secrets to search for.
    #[must_use]
    pub fn find(&self, secrets: &Secrets) -> Vec<Told> {
        let (texts, names): (Vec<_>, Vec<_>) = secrets.iter().unzip();
        let searcher = AhoCorasick::new(texts).expect("secrets that can be searched for");
        let mut told = Vec::new();
        self.each(|place, text| {
            let mut found = searcher.find_iter(text).peekable();
            let Some(first) = found.peek() else { return };
            let what = names[first.pattern()].clone();
            let mut shown = String::new();
            let mut end = 0;
            for hit in found {
                shown.push_str(&text[end..hit.start()]);
                write!(shown, "[{}]", names[hit.pattern()]).unwrap();
                end = hit.end();
            }
            shown.push_str(&text[end..]);
            told.push(Told { place, what, text: shown });
        });
        told
    }

    /// How much there is: the secrets, then the texts of each kind of place.
    #[must_use]
    pub fn size(&self) -> (usize, BTreeMap<Place, usize>) {
        let mut texts = BTreeMap::new();
        self.each(|place, _| *texts.entry(place).or_default() += 1);
        (self.secrets.lock().unwrap().len(), texts)
    }

    fn each(&self, mut look: impl FnMut(Place, &str)) {
        for lines in self.logs.lock().unwrap().iter() {
            lines.lock().unwrap().iter().for_each(|line| look(Place::LogLine, line));
        }
        self.rows.lock().unwrap().values().flatten().for_each(|row| look(Place::Row, row));
        self.urls.lock().unwrap().iter().for_each(|url| look(Place::Url, url));
        self.answers.lock().unwrap().iter().for_each(|body| look(Place::Answer, body));
    }
}
