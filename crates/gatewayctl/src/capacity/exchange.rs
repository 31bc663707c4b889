//! One request of one person: a streamed chat completion, timed.

use std::io::Read as _;
use std::time::{Duration, Instant};

use domain::endpoint::Endpoint;
use domain::meter::{self, Cause, Meter};
use domain::secret::Secret;
use domain::upstream_policy;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;
use url::Url;

use super::figures::{Outcome, Trouble};
use crate::client::{Answer, header};

/// What is read of an answer that is an error.
const MOST_ERROR_BYTES: u64 = 64 * 1024;

/// What everybody asks.
pub struct Question {
    url: Url,
    body: Vec<u8>,
    /// The key that goes on to the upstream, where it wants the caller's own.
    api_key: Option<Secret<String>>,
}

/// What came of it.
pub struct Exchange {
    /// How long the first of the answer's text took.
    pub first: Option<Duration>,
    /// How long it took in all, or until it broke off.
    pub total: Duration,
    /// How long it waited in the gateway's queue.
    pub queued: Option<Duration>,
    /// The tokens of question and answer.
    pub tokens: u64,
    /// How it ended; never unfinished.
    pub outcome: Outcome,
    /// What was said of a failure.
    pub said: String,
    /// How many requests a minute the gateway allows this person.
    pub minute: Option<u32>,
}

/// Why there is no whole answer.
struct Broken {
    status: u16,
    code: String,
    said: String,
}

/// A request while it runs.
struct Running<'a> {
    began: Instant,
    exchange: Exchange,
    on_first: &'a mut dyn FnMut(),
}

impl Question {
    /// The question for a gateway's `/v1/chat/completions`.
    pub fn new(url: Url, model: &str, prompt: &str, api_key: Option<Secret<String>>) -> Self {
        let body = json!({
            "model": model,
            "messages": [{ "role": "user", "content": prompt }],
            "stream": true,
            "stream_options": { "include_usage": true },
        });
        Self { url, body: body.to_string().into_bytes(), api_key }
    }

    /// Asks with a gateway key and reads the answer to its end; says so when its text begins.
    pub fn ask(&self, agent: &Agent, key: &Secret<String>, on_first: &mut dyn FnMut()) -> Exchange {
        let mut running = Running { began: Instant::now(), exchange: Exchange::begun(), on_first };
        let ended = match self.send(agent, key) {
            Ok(answer) => running.read(answer),
            Err(error) => Err(Broken::connection(&error)),
        };
        let Running { began, mut exchange, .. } = running;
        exchange.total = began.elapsed();
        if let Err(Broken { status, code, said }) = ended {
            exchange.outcome = Outcome::Failed(Trouble { status, code });
            exchange.said = said;
        }
        exchange
    }

    fn send(&self, agent: &Agent, key: &Secret<String>) -> Result<Answer, ureq::Error> {
        let bearer = self.api_key.as_ref().unwrap_or(key).expose();
        let mut request = Request::builder()
            .method("POST")
            .uri(self.url.as_str())
            .header("authorization", format!("Bearer {bearer}"))
            .header("content-type", "application/json")
            .header("accept", "text/event-stream");
        if self.api_key.is_some() {
            request = request.header("x-gateway-key", key.expose());
        }
        agent.run(request.body(self.body.as_slice())?)
    }
}

impl Exchange {
    fn begun() -> Self {
        Self {
            first: None,
            total: Duration::ZERO,
            queued: None,
            tokens: 0,
            outcome: Outcome::Answered,
            said: String::new(),
            minute: None,
        }
    }
}

impl Running<'_> {
    fn read(&mut self, mut answer: Answer) -> Result<(), Broken> {
        let status = answer.status().as_u16();
        let number = |name| header(answer.headers(), name)?.parse().ok();
        self.exchange.queued = number("x-queue-ms").map(Duration::from_millis);
        self.exchange.minute =
            number("x-ratelimit-limit-requests").and_then(|limit| u32::try_from(limit).ok());
        if !(200..300).contains(&status) {
            return Err(Broken::refused(status, &mut answer));
        }
        let format = upstream_policy::format(header(answer.headers(), "content-type"));
        let endpoint = Endpoint::of("POST", "/v1/chat/completions");
        let request_id = String::new();
        let mut meter =
            Meter::new(meter::Answer { format, endpoint, strip_usage: false, request_id });
        let mut body = answer.body_mut().with_config().limit(u64::MAX).reader();
        let mut buffer = vec![0; 16 * 1024];
        let broke = |said: String| Broken { status, code: "stream_broke".to_owned(), said };
        loop {
            let length = body.read(&mut buffer).map_err(|error| broke(error.to_string()))?;
            meter.push(buffer.get(..length).unwrap_or_default());
            if self.exchange.first.is_none() && meter.tally().output_seen {
                self.exchange.first = Some(self.began.elapsed());
                (self.on_first)();
            }
            if length == 0 {
                break;
            }
        }
        self.exchange.tokens = meter.tally().tokens;
        match meter.lack() {
            None => Ok(()),
            Some(Cause::Failed) => {
                let said = "The answer says that it failed.".to_owned();
                Err(Broken { status, code: "stream_error".to_owned(), said })
            }
            Some(_) => Err(broke("The answer ends in the middle.".to_owned())),
        }
    }
}

impl Broken {
    fn connection(error: &ureq::Error) -> Self {
        let code = if matches!(error, ureq::Error::Timeout(_)) { "timeout" } else { "connection" };
        Self { status: 0, code: code.to_owned(), said: format!("No answer came: {error}.") }
    }

    fn refused(status: u16, answer: &mut Answer) -> Self {
        let mut body = Vec::new();
        // What can't be read says nothing; the status does.
        let _ = answer.body_mut().as_reader().take(MOST_ERROR_BYTES).read_to_end(&mut body);
        let (code, said) = error_in(&body);
        // The gateway's own limit leaves nothing; the upstream's may have the same name.
        let is_own = header(answer.headers(), "x-ratelimit-remaining-requests") == Some("0");
        let is_upstream_s = status == 429 && code == "rate_limit_exceeded" && !is_own;
        let code = if is_upstream_s { "upstream_rate_limit".to_owned() } else { code };
        Self { status, code, said }
    }
}

#[derive(Deserialize)]
struct ErrorBody {
    error: Value,
}

/// Code and message of an error in OpenAI's shape; the code is a word that can be shown.
fn error_in(body: &[u8]) -> (String, String) {
    let error = serde_json::from_slice::<ErrorBody>(body).map_or(Value::Null, |body| body.error);
    let text = |name: &str| error.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    let is_word = |code: &String| {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
        (1..=60).contains(&code.len()) && code.bytes().all(is_plain)
    };
    let code = [text("code"), text("type")].into_iter().find(is_word);
    (code.unwrap_or_else(|| "no_code".to_owned()), text("message"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_s_code_is_a_word() {
        for (body, code) in [
            (r#"{"error":{"code":"upstream_busy","message":"Wait.","type":"x"}}"#, "upstream_busy"),
            (r#"{"error":{"code":null,"type":"server_error"}}"#, "server_error"),
            (r#"{"error":{"code":"<script>","message":"x"}}"#, "no_code"),
            (r#"{"error":"no"}"#, "no_code"),
            ("<html>", "no_code"),
            ("", "no_code"),
        ] {
            assert_eq!(error_in(body.as_bytes()).0, code, "{body}");
        }
    }
}
