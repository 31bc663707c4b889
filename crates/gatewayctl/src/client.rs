//! Asking the gateway: one request, its refusals in words, and patience where it asks for it.

use std::io::Read;
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::Value;
use ureq::Agent;
use ureq::config::Config;
use ureq::http::{HeaderMap, Method, Request, Response};

use crate::base_url::BaseUrl;
use crate::failure::{Failure, Kind};
use crate::output::Output;
use crate::refusal;
use crate::target::{Credentials, Target};
use crate::tls;

/// How often something is asked that changes nothing.
const ATTEMPTS: u32 = 3;

/// Longer than this nobody waits because the gateway says so.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Importing a large list takes the longest.
const PATIENCE: Duration = Duration::from_mins(2);

const CONNECT: Duration = Duration::from_secs(10);

/// Far more than any answer that is read as a whole.
const MOST_BYTES: u64 = 256 << 20;

/// A gateway that can be asked.
pub struct Client {
    agent: Agent,
    base: BaseUrl,
    credentials: Credentials,
    is_patient: bool,
    allow_http: bool,
    output: Output,
}

/// What is asked of a gateway.
pub struct Question<'a> {
    /// The method.
    pub method: Method,
    /// The path, by its segments.
    pub path: &'a [&'a str],
    /// The query.
    pub query: &'a [(&'a str, &'a str)],
    /// What is sent along, and what it is.
    pub body: Option<(&'static str, Vec<u8>)>,
}

/// An answer that isn't read yet.
pub type Answer = Response<ureq::Body>;

impl<'a> Question<'a> {
    /// A question that changes nothing.
    pub fn get(path: &'a [&'a str]) -> Self {
        Self { method: Method::GET, path, query: &[], body: None }
    }

    /// An action, with JSON.
    pub fn send(method: Method, path: &'a [&'a str], body: &Value) -> Self {
        let body = Some(("application/json", body.to_string().into_bytes()));
        Self { method, path, query: &[], body }
    }

    /// An action that needs no words.
    pub fn delete(path: &'a [&'a str]) -> Self {
        Self { method: Method::DELETE, path, query: &[], body: None }
    }

    /// With a query.
    pub fn with(mut self, query: &'a [(&'a str, &'a str)]) -> Self {
        self.query = query;
        self
    }
}

impl Client {
    /// A client for a gateway.
    ///
    /// # Errors
    /// Where the token would go over the network for all to read.
    pub fn new(target: Target, output: Output, allow_http: bool) -> Result<Self, Failure> {
        let Target { base, credentials, .. } = target;
        refuse_plain(&base, allow_http)?;
        let agent = config(&base)?.new_agent();
        Ok(Self { agent, base, credentials, is_patient: true, allow_http, output })
    }

    /// The same, which says at once what goes wrong, however soon it may be well.
    #[must_use]
    pub fn impatient(mut self) -> Self {
        self.is_patient = false;
        self
    }

    /// Whether tokens may go where others could read them.
    pub fn allows_http(&self) -> bool {
        self.allow_http
    }

    /// Where it asks.
    pub fn base(&self) -> &BaseUrl {
        &self.base
    }

    /// Asks, and reads the answer as JSON.
    ///
    /// # Errors
    /// What the gateway refuses, and where it can't be reached.
    pub fn json<T: DeserializeOwned>(&self, question: &Question<'_>) -> Result<T, Failure> {
        let body = self.bytes(question)?;
        serde_json::from_slice(&body).map_err(|_| refusal::not_a_gateway(&self.base.text()))
    }

    /// Asks, and reads the answer as it is.
    ///
    /// # Errors
    /// What the gateway refuses, and where it can't be reached.
    pub fn bytes(&self, question: &Question<'_>) -> Result<Vec<u8>, Failure> {
        let mut answer = self.ask(question)?;
        let body = answer.body_mut().with_config().limit(MOST_BYTES).read_to_vec();
        body.map_err(|error| self.broken(&error, question))
    }

    /// Asks. What changes something is sent once; anything else again, where the gateway says when.
    ///
    /// # Errors
    /// What the gateway refuses, and where it can't be reached.
    pub fn ask(&self, question: &Question<'_>) -> Result<Answer, Failure> {
        let is_safe = question.method == Method::GET;
        let mut attempt = 1;
        loop {
            let answer = self.send(question).map_err(|error| self.broken(&error, question))?;
            let status = answer.status().as_u16();
            if (200..300).contains(&status) {
                return Ok(answer);
            }
            let wait = retry_after(answer.headers());
            let failure = refused(answer, question);
            let may_wait = self.is_patient && is_safe && attempt < ATTEMPTS;
            match wait
                .filter(|wait| may_wait && failure.kind == Kind::Busy && *wait <= LONGEST_WAIT)
            {
                Some(wait) => {
                    let seconds = wait.as_secs();
                    self.output.note(&format!("{} Trying again in {seconds} s.", failure.message));
                    std::thread::sleep(wait);
                    attempt += 1;
                }
                None => return Err(failure),
            }
        }
    }

    /// Sends one request, whatever its answer.
    ///
    /// # Errors
    /// Where there is none.
    pub fn send(&self, question: &Question<'_>) -> Result<Answer, ureq::Error> {
        let url = self.base.at(question.path, question.query);
        let mut request = Request::builder().method(&question.method).uri(url.as_str());
        let Credentials { token, access } = &self.credentials;
        if let Some(token) = token {
            request = request.header("authorization", format!("Bearer {}", token.expose()));
        }
        if let Some((id, secret)) = access {
            request = request.header("cf-access-client-id", id.expose());
            request = request.header("cf-access-client-secret", secret.expose());
        }
        match &question.body {
            Some((kind, body)) => {
                self.agent.run(request.header("content-type", *kind).body(body.as_slice())?)
            }
            None => self.agent.run(request.body(())?),
        }
    }

    /// A request that got no whole answer.
    pub fn broken(&self, error: &ureq::Error, question: &Question<'_>) -> Failure {
        let failure = refusal::of_connection(error, &self.base);
        if question.method == Method::GET || refusal::came_to_nobody(error) {
            return failure;
        }
        failure.next(
            "It may have been done all the same. Look with `gatewayctl actions` before you repeat it.",
        )
    }
}

/// The failure that an answer means; without an operator, the operator's routes aren't there.
fn refused(mut answer: Answer, question: &Question<'_>) -> Failure {
    let status = answer.status().as_u16();
    let leads_to = header(answer.headers(), "location").map(str::to_owned);
    let mut body = Vec::new();
    // What can't be read says nothing; the status does.
    let _ = answer.body_mut().as_reader().take(64 * 1024).read_to_end(&mut body);
    let failure = refusal::of_answer(status, leads_to.as_deref(), &body);
    let names_something =
        question.method == Method::DELETE || question.path.ends_with(&["resolve"]);
    let is_missing = failure.code.as_deref() == Some("not_found") && !names_something;
    if is_missing { refusal::no_operator() } else { failure }
}

/// Waits as long as the gateway says, and a little, for its clock isn't this one.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = header(headers, "retry-after")?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds))
}

/// A header's text.
pub fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Refuses a URL at which a token would be readable on the way.
///
/// # Errors
/// There, unless that is allowed.
pub fn refuse_plain(base: &BaseUrl, allow_http: bool) -> Result<(), Failure> {
    if base.is_tls() || base.is_loopback() || allow_http {
        return Ok(());
    }
    let message =
        format!("{} isn't encrypted: anybody on the way could read the token.", base.text());
    Err(Failure::new(Kind::Usage, message)
        .next("Use https://. If nobody else is on this network, add --allow-http."))
}

/// How connections to a gateway are made.
///
/// # Errors
/// Where this machine trusts nobody.
pub fn config(base: &BaseUrl) -> Result<Config, Failure> {
    let mut config = Agent::config_builder()
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("gatewayctl/", env!("CARGO_PKG_VERSION")))
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(PATIENCE))
        .timeout_per_read(Some(PATIENCE));
    if base.is_loopback() {
        config = config.proxy(None);
    }
    if base.is_tls() {
        config = config.tls_config(tls::for_requests()?);
    }
    Ok(config.build())
}
