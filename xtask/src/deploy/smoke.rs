//! Whether what was deployed works: asked from outside, as a user would.
//!
//! One request goes all the way as USER_ID `smoke-test`, with a key that is minted for it and revoked
//! afterwards, and its row is looked for in D1.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use domain::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::cloudflare::Cloudflare;
use crate::progress::Progress;
use crate::{random, workspace};

const USER: &str = "smoke-test";
/// What `GET /health` answers.
const HEALTH: &str = r#"{"status":"ok","gateway":"organized-gateway"}"#;
/// Between two looks at an address that isn't there yet.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a row may take to be in D1.
const ROW: Duration = Duration::from_secs(30);

/// What was found out about one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is as it should be.
    Good(String),
    /// It couldn't be tried, and why.
    Untried(String),
    /// It is not.
    Bad(String),
}

impl Finding {
    fn line(&self) -> String {
        match self {
            Self::Good(text) => format!("✓ {text}"),
            Self::Untried(text) => format!("· {text}"),
            Self::Bad(text) => format!("✗ {text}"),
        }
    }
}

/// Where and with what it is tried.
pub struct Smoke<'a> {
    pub progress: &'a Progress,
    pub cloudflare: &'a Cloudflare<'a>,
    /// The binding of the database with the rows.
    pub database: &'a str,
    pub url: &'a str,
    pub token: Option<&'a Secret<String>>,
    /// How long a new address may take.
    pub patience: Duration,
}

/// An HTTP request.
#[derive(Serialize)]
struct Request<'a> {
    method: &'a str,
    url: String,
    headers: BTreeMap<&'a str, String>,
    body: Option<&'a str>,
}

/// Its answer.
#[derive(Debug, Default, Deserialize)]
struct Answer {
    status: u16,
    #[serde(default)]
    request_id: Option<String>,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }

    /// The code of an error.
    fn code(&self) -> String {
        self.json()["error"]["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Smoke<'_> {
    /// Tries everything and says what it found; whether all of it is good.
    pub fn run(&self) -> bool {
        self.progress.say(&format!("trying {}", self.url));
        let mut findings = vec![self.health()];
        if matches!(findings[..], [Finding::Good(_)]) {
            findings.push(self.ready());
            findings.extend(self.request());
        }
        for finding in &findings {
            self.progress.say(&finding.line());
        }
        !findings.iter().any(|finding| matches!(finding, Finding::Bad(_)))
    }

    /// `/health`, as soon as the address is known everywhere.
    fn health(&self) -> Finding {
        let began = Instant::now();
        let mut reminded = began;
        loop {
            let problem = match self.send("GET", "/health", &[], None) {
                Ok(answer) if answer.status == 200 && answer.body == HEALTH => {
                    return Finding::Good("the gateway answers".to_owned());
                }
                Ok(answer) => format!("{} instead of the gateway's answer", answer.status),
                Err(error) => error.to_string(),
            };
            if began.elapsed() >= self.patience {
                return Finding::Bad(format!(
                    "the gateway doesn't answer: {problem}. A new address may take some minutes: run \
                     this again, or ask {}/health yourself",
                    self.url
                ));
            }
            if reminded.elapsed() >= 5 * PAUSE {
                reminded = Instant::now();
                let seconds = began.elapsed().as_secs();
                self.progress
                    .say(&format!("  the address isn't there yet … {seconds} s: {problem}"));
            }
            std::thread::sleep(PAUSE.min(self.patience));
        }
    }

    fn ready(&self) -> Finding {
        match self.send("GET", "/ready", &[], None) {
            Ok(answer) => readiness(&answer),
            Err(error) => Finding::Bad(format!("/ready doesn't answer: {error}")),
        }
    }

    /// The synthetic request and its row.
    fn request(&self) -> Vec<Finding> {
        let Some(token) = self.token else {
            return vec![Finding::Untried(
                "no request was tried, for it takes the operator's token: set OPERATOR_TOKEN, or name \
                 the file with --secrets"
                    .to_owned(),
            )];
        };
        let operator = [("authorization", format!("Bearer {}", token.expose()))];
        let path = format!("/operator/api/users/{USER}/keys");
        let minted = self.send("POST", &path, &operator, Some(r#"{"label":"cargo xtask deploy"}"#));
        let minted = match minted {
            Ok(answer) if answer.status == 201 => answer.json(),
            Ok(answer) if matches!(answer.status, 302 | 303) => {
                return vec![Finding::Untried(
                    "no request was tried: something in front of the gateway, such as Cloudflare Access, \
                     wants a sign-in for /operator"
                        .to_owned(),
                )];
            }
            Ok(answer) => {
                return vec![Finding::Bad(format!(
                    "no key could be minted for {USER}: {} {}",
                    answer.status,
                    answer.code()
                ))];
            }
            Err(error) => return vec![Finding::Bad(format!("no key could be minted: {error}"))],
        };
        let key = minted["key"].as_str().unwrap_or_default();
        let findings =
            self.try_key(key).unwrap_or_else(|error| vec![Finding::Bad(error.to_string())]);
        let path = format!("{path}/{}", minted["key_id"].as_str().unwrap_or_default());
        let revoked = self.send("DELETE", &path, &operator, None);
        let is_revoked = revoked.is_ok_and(|answer| answer.status == 204);
        let left = Finding::Bad(format!(
            "the key of {USER} couldn't be revoked: `gatewayctl user keys list {USER}`"
        ));
        findings.into_iter().chain((!is_revoked).then_some(left)).collect()
    }

    fn try_key(&self, key: &str) -> Result<Vec<Finding>> {
        // Nobody's: an upstream that takes callers' own keys refuses it, and that is an answer too.
        let nobody = random::secret("smoke")?;
        let headers = [
            ("x-gateway-key", key.to_owned()),
            ("authorization", format!("Bearer sk-{}", nobody.expose())),
        ];
        let answer = self.send("GET", "/v1/models", &headers, None)?;
        let finding = verdict(&answer);
        let Some(id) = answer.request_id.as_deref().filter(|id| is_plain(id)) else {
            return Ok(vec![finding, Finding::Bad("the answer has no x-request-id".to_owned())]);
        };
        Ok(vec![finding, self.row(id, answer.status)])
    }

    /// The request's row in D1.
    fn row(&self, request_id: &str, status: u16) -> Finding {
        #[derive(Deserialize)]
        struct Row {
            status: u16,
        }
        let sql = format!("select status from requests where request_id = '{request_id}'");
        let began = Instant::now();
        loop {
            match self.cloudflare.query::<Row>(self.database, &sql) {
                Ok(rows) => match &rows[..] {
                    [row] if row.status == status => {
                        return Finding::Good("its row is in D1".to_owned());
                    }
                    [] => {}
                    [row, ..] => {
                        return Finding::Bad(format!("its row in D1 says {}", row.status));
                    }
                },
                Err(error) => return Finding::Bad(format!("D1 doesn't answer: {error}")),
            }
            if began.elapsed() > ROW {
                return Finding::Bad(format!(
                    "its row isn't in D1 after {} s: look at `npx wrangler tail`",
                    ROW.as_secs()
                ));
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Sends a request by way of the pinned Node, which has TLS and the machine's proxies.
    fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, String)],
        body: Option<&str>,
    ) -> Result<Answer> {
        let mut headers: BTreeMap<_, _> = headers.iter().cloned().collect();
        if body.is_some() {
            headers.insert("content-type", "application/json".to_owned());
        }
        let request = Request { method, url: format!("{}{path}", self.url), headers, body };
        fetch(&serde_json::to_vec(&request)?)
    }
}

fn fetch(request: &[u8]) -> Result<Answer> {
    let mut node: Command = workspace::command(workspace::node_program("node"));
    node.arg(workspace::root().join("xtask/fetch.mjs"));
    node.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut node = node.spawn().context("can't start Node")?;
    // What is shown to the gateway goes through the pipe: arguments are everybody's to see.
    node.stdin.take().context("Node takes nothing")?.write_all(request)?;
    let said: Value = serde_json::from_slice(&node.wait_with_output()?.stdout)?;
    match said["problem"].as_str() {
        Some(problem) => Err(anyhow!("{problem}")),
        None => Ok(serde_json::from_value(said)?),
    }
}

fn is_plain(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    !id.is_empty() && id.bytes().all(plain)
}

/// What `/ready` says.
fn readiness(answer: &Answer) -> Finding {
    let checks = answer.json();
    let checks = checks["checks"].as_object().cloned().unwrap_or_default();
    let bad: Vec<_> = checks
        .iter()
        .filter(|(_, words)| words.as_str().is_none_or(|words| words != "ok"))
        .map(|(name, words)| format!("{name}: {}", words.as_str().unwrap_or_default()))
        .collect();
    match (answer.status, bad.is_empty()) {
        (200, true) => Finding::Good("D1 and the upstream are there".to_owned()),
        (200, false) => Finding::Good(format!("D1 and the upstream are there; {}", bad.join("; "))),
        _ if bad.is_empty() => Finding::Bad(format!("/ready answers {}", answer.status)),
        _ => Finding::Bad(format!("not ready: {}", bad.join("; "))),
    }
}

/// What the answer to the synthetic request means.
fn verdict(answer: &Answer) -> Finding {
    let code = answer.code();
    let ours = ["invalid_key", "missing_key", "user_id_bound", "too_many_attempts"];
    match (answer.status, code.as_str()) {
        (200..300, _) => {
            Finding::Good(format!("a request of {USER} got through: {}", answer.status))
        }
        (401, "no_codex_session") => Finding::Good(format!(
            "a request of {USER} came as far as it can: it has no Codex token, as it should be"
        )),
        (402, "payment_required") => Finding::Good(format!(
            "a request of {USER} came as far as it can: REQUIRE_TIER lets nobody through without a tier"
        )),
        (401 | 403, code) if !ours.contains(&code) => Finding::Good(format!(
            "a request of {USER} reached the upstream, which wants a real API key: {}",
            answer.status
        )),
        (status, code) => {
            let words = answer.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
            Finding::Bad(format!("a request of {USER} was answered with {status} {code}: {words}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, request_id: None, body: body.to_owned() }
    }

    fn is_good(finding: &Finding) -> bool {
        matches!(finding, Finding::Good(_))
    }

    #[test]
    fn who_refuses_whom_decides_whether_it_works() {
        let error = |status, code: &str| {
            let body = format!(r#"{{"error":{{"code":"{code}","message":"because"}}}}"#);
            verdict(&answer(status, &body))
        };
        assert!(is_good(&verdict(&answer(200, r#"{"data":[]}"#))));
        assert!(is_good(&error(401, "invalid_api_key")), "the upstream refuses nobody's key");
        assert!(is_good(&verdict(&answer(401, "who are you?"))));
        assert!(is_good(&error(401, "no_codex_session")));
        assert!(is_good(&error(402, "payment_required")));
        for (status, code) in [
            (401, "invalid_key"),
            (401, "user_id_bound"),
            (502, "upstream_unreachable"),
            (504, "upstream_timeout"),
            (503, "not_configured"),
            (404, "not_found"),
            (500, "internal_error"),
        ] {
            let Finding::Bad(text) = error(status, code) else { panic!("{code}") };
            assert!(text.contains(code) && text.contains("because"), "{text}");
        }
    }

    #[test]
    fn readiness_is_told_in_the_gateway_s_words() {
        let ready = r#"{"status":"ready","checks":{"d1":"ok","upstream":"ok"}}"#;
        assert!(is_good(&readiness(&answer(200, ready))));
        let body = r#"{"status":"degraded","checks":{"d1":"ok","upstream":"it is unreachable"}}"#;
        let Finding::Bad(text) = readiness(&answer(503, body)) else { panic!("bad") };
        assert_eq!(text, "not ready: upstream: it is unreachable");
        assert!(!is_good(&readiness(&answer(500, "<html>"))));
    }

    #[test]
    fn nothing_but_an_id_goes_into_a_query() {
        assert!(is_plain("req_0123456789abcdef") && !is_plain("") && !is_plain("a' or '1'='1"));
    }
}
