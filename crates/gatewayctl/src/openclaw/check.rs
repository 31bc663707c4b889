//! Whose handle each agent shows: asked through OpenClaw itself, once a person.
//!
//! Nobody on the list has a request in progress at the gateway, so it answers what an agent asks with an
//! error that names the handle's owner, whatever the request was. OpenClaw hands that text on. An agent
//! with somebody else's handle names somebody else; one that falls over to another credential gets
//! another answer. No model is asked.

use std::io::Read as _;
use std::time::Duration;

use domain::identifiers::UserId;
use domain::secret::Secret;
use serde::Serialize;
use serde_json::{Value, json};
use ureq::http::Request;
use ureq::{Agent, Timeout};

use super::settings::agent;
use crate::base_url::BaseUrl;
use crate::client;
use crate::failure::{Failure, Kind};
use crate::several;

/// As many as OpenClaw does at once without a queue.
const AT_ONCE: usize = 4;

/// What the gateway says before the USER_ID.
const OWNER: &str = "handle of ";

/// How long OpenClaw lets a profile rest that was refused, and a little.
const REST: Duration = Duration::from_secs(35);

/// What is read of an answer.
const MOST_BYTES: u64 = 256 * 1024;

/// An OpenClaw that can be asked.
pub struct House {
    agent: Agent,
    base: BaseUrl,
    token: Secret<String>,
}

/// What an agent's answer says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "verdict", content = "detail")]
pub enum Verdict {
    /// It showed the handle of the person whom it is for.
    Right,
    /// It showed this person's.
    Wrong(String),
    /// It was answered: by a request of this person's that was in progress, or with another credential.
    Answered,
    /// The gateway knows no such handle.
    Unknown,
    /// OpenClaw doesn't ask with this profile for half a minute, because it was refused just before.
    Resting,
    /// Something else came.
    Unclear(String),
}

/// A person, and what its agent's answer says.
#[derive(Debug, Serialize)]
pub struct Finding {
    /// Who.
    pub user_id: UserId,
    /// What.
    #[serde(flatten)]
    pub verdict: Verdict,
}

impl House {
    /// The OpenClaw at a URL.
    ///
    /// # Errors
    /// Where the token would be readable on the way, or this machine can't make connections.
    pub fn new(base: BaseUrl, token: Secret<String>, allow_http: bool) -> Result<Self, Failure> {
        client::refuse_plain(&base, allow_http)?;
        let agent = client::config(&base)?.new_agent();
        Ok(Self { agent, base, token })
    }

    /// Asks everybody's agent, several at once; `done` hears of each.
    ///
    /// # Errors
    /// Where nothing answers there, or not to this token.
    pub fn check(
        &self,
        people: &[UserId],
        done: &mut dyn FnMut(),
    ) -> Result<Vec<Finding>, Failure> {
        let mut found: Vec<Finding> = Vec::new();
        let ask = |user_id| self.ask_patiently(user_id);
        several::each(people, AT_ONCE, ask, |_, finding| {
            found.push(finding);
            done();
        })?;
        found.sort_by(|one, other| one.user_id.as_str().cmp(other.user_id.as_str()));
        Ok(found)
    }

    /// Asks, and once more where the profile rests.
    fn ask_patiently(&self, user_id: &UserId) -> Result<Finding, Failure> {
        let finding = self.ask(user_id)?;
        if finding.verdict != Verdict::Resting {
            return Ok(finding);
        }
        std::thread::sleep(REST);
        self.ask(user_id)
    }

    fn ask(&self, user_id: &UserId) -> Result<Finding, Failure> {
        let body = json!({
            "model": format!("openclaw/{}", agent(user_id)?),
            "messages": [{ "role": "user", "content": "organized-gateway checks whose handle this is." }],
        });
        let url = self.base.at(&["v1", "chat", "completions"], &[]);
        let request = Request::builder()
            .method("POST")
            .uri(url.as_str())
            .header("authorization", format!("Bearer {}", self.token.expose()))
            .header("content-type", "application/json")
            .body(body.to_string());
        let sent = request.map_err(ureq::Error::from).and_then(|request| self.agent.run(request));
        let mut answer = match sent {
            // It is there, and busy: that says nothing of the others.
            Err(ureq::Error::Timeout(which)) if which != Timeout::Connect => {
                let verdict = Verdict::Unclear("It took too long.".to_owned());
                return Ok(Finding { user_id: user_id.clone(), verdict });
            }
            sent => sent.map_err(|error| self.absent(&error))?,
        };
        let status = answer.status().as_u16();
        let mut text = String::new();
        // What can't be read says nothing; the status does.
        let _ = answer.body_mut().as_reader().take(MOST_BYTES).read_to_string(&mut text);
        let message = message_of(&text);
        if status == 401 && message == "Unauthorized" {
            return Err(refused());
        }
        Ok(Finding { user_id: user_id.clone(), verdict: judge(user_id, status, &message) })
    }

    fn absent(&self, error: &ureq::Error) -> Failure {
        let message = format!("No OpenClaw answers at {}: {error}.", self.base.text());
        Failure::new(Kind::Unreachable, message)
            .next("Start it, or say with --at where it listens.")
    }
}

fn refused() -> Failure {
    Failure::new(Kind::NotAllowed, "OpenClaw doesn't accept this token.")
        .next("OPENCLAW_GATEWAY_TOKEN is to be the one that OpenClaw was started with.")
}

/// An error's message; the text itself where it is none.
fn message_of(text: &str) -> String {
    let body: Value = serde_json::from_str(text).unwrap_or_default();
    match body.pointer("/error/message").and_then(Value::as_str) {
        Some(message) => message.to_owned(),
        None => text.chars().take(200).collect(),
    }
}

/// What an answer says of the handle that an agent showed.
fn judge(user_id: &UserId, status: u16, message: &str) -> Verdict {
    if status < 300 {
        return Verdict::Answered;
    }
    if let Some((_, rest)) = message.split_once(OWNER) {
        let is_of_a_name = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
        let end = rest.find(|letter| !is_of_a_name(letter)).unwrap_or(rest.len());
        let owner = rest.get(..end).unwrap_or_default().trim_end_matches('.');
        return if owner == user_id.as_str() {
            Verdict::Right
        } else {
            Verdict::Wrong(owner.to_owned())
        };
    }
    if message.contains("skipping all models") {
        return Verdict::Resting;
    }
    match status {
        401 => Verdict::Unknown,
        _ => Verdict::Unclear(format!("{status}: {message}")),
    }
}

impl Verdict {
    /// Whether it is as it is to be.
    pub fn is_well(&self) -> bool {
        *self == Self::Right
    }

    /// In a sentence, with what to do.
    pub fn words(&self) -> String {
        match self {
            Self::Right => "its own handle".to_owned(),
            Self::Wrong(owner) => {
                format!("The handle of {owner}! Stop OpenClaw; then `apply --rotate`.")
            }
            Self::Answered => {
                "A model answered. Either a request of this person's was in progress: try \
                               again. Or the agent has another credential: see `plan`."
                    .to_owned()
            }
            Self::Unknown => {
                "The gateway doesn't know this handle: `apply --rotate` with this person alone."
                    .to_owned()
            }
            Self::Resting => "OpenClaw rests after a refusal: try again in a minute.".to_owned(),
            Self::Unclear(what) if what.starts_with("400: Unknown agent") => {
                "OpenClaw has no such agent: run `apply`.".to_owned()
            }
            Self::Unclear(what) => format!("Not to be told from its answer. {what}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(status: u16, message: &str) -> Verdict {
        judge(&UserId::parse("ada").unwrap(), status, message)
    }

    #[test]
    fn an_answer_says_whose_handle_it_was() {
        for said in [
            "409 This is the handle of ada, who has no request in progress.",
            "This is the handle of ada. Nothing else.",
            "the handle of ada",
        ] {
            assert_eq!(verdict(409, said), Verdict::Right, "{said}");
        }
        for (said, owner) in [
            ("401 This is the handle of ada-2, who", "ada-2"),
            ("This is the handle of bob.", "bob"),
            ("This is the handle of ada.l, who", "ada.l"),
            ("This is the handle of ", ""),
        ] {
            assert_eq!(verdict(401, said), Verdict::Wrong(owner.to_owned()), "{said}");
        }
    }

    #[test]
    fn every_other_answer_is_no_proof() {
        assert_eq!(verdict(200, "the handle of ada"), Verdict::Answered);
        assert_eq!(verdict(401, "401 No such handle."), Verdict::Unknown);
        let resting = "All models failed (1): x/y: Provider x has auth issue (skipping all models)";
        assert_eq!(verdict(401, resting), Verdict::Resting);
        let unclear = verdict(400, "Unknown agent 'u-ada'.");
        assert!(unclear.words().contains("run `apply`") && !unclear.is_well());
        assert!(verdict(500, "internal error").words().contains("500: internal error"));
    }

    #[test]
    fn messages_are_found_in_errors() {
        assert_eq!(message_of(r#"{"error":{"message":"No."}}"#), "No.");
        assert_eq!(message_of("<html>"), "<html>");
    }
}
