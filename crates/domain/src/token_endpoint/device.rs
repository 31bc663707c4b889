//! The sign-in by device code, in two dialects.
//!
//! RFC 8628 is one. The other is the one that OpenAI's own Codex CLI speaks: it asks and is answered
//! in JSON, says "pending" by a 403 or 404, and gives a code that is still to be exchanged for the
//! tokens. The address tells which one it is.

use serde_json::json;
use url::Url;

use super::answer::Answer;
use super::{Granted, NoTokens, Provider, Question, Tokens, tokens_of};
use crate::clock::Millis;
use crate::secret::Secret;

/// Seconds between polls where the provider doesn't say (RFC 8628 §3.2).
const USUAL_INTERVAL: i64 = 5;
const LONGEST_INTERVAL: i64 = 60;
/// How long a code lives where the provider doesn't say, in seconds.
const USUAL_LIFETIME: i64 = 15 * 60;
const LONGEST_LIFETIME: i64 = 60 * 60;
const LONGEST_USER_CODE: usize = 64;
const LONGEST_URI: usize = 2_048;

/// What most providers want to hear of a client that needs a refresh token.
const SCOPE: &str = "openid profile email offline_access";

/// Where a sign-in begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeviceEndpoint {
    /// As in RFC 8628; polled for at the token endpoint.
    Standard {
        /// The device authorization endpoint.
        url: String,
    },
    /// As OpenAI does it.
    Codex {
        /// Where the code for the person comes from.
        url: String,
        /// Where the person's answer is polled for.
        poll_url: String,
        /// Where the person types the code.
        verification_uri: String,
        /// A name for the way by which the authorization code came; nothing is redirected.
        redirect_uri: String,
    },
}

impl DeviceEndpoint {
    /// The endpoint at an address; `…/deviceauth/usercode` is OpenAI's way.
    #[must_use]
    pub fn at(url: &Url) -> Self {
        let text = url.to_string();
        let Some(base) = text.strip_suffix("/deviceauth/usercode") else {
            return Self::Standard { url: text };
        };
        let origin = url.origin().ascii_serialization();
        Self::Codex {
            poll_url: format!("{base}/deviceauth/token"),
            verification_uri: format!("{origin}/codex/device"),
            redirect_uri: format!("{origin}/deviceauth/callback"),
            url: text,
        }
    }
}

/// A provider that people can sign in to by device code.
#[derive(Clone, Copy, Debug)]
pub struct DeviceLogin<'a> {
    pub(super) provider: &'a Provider,
    pub(super) endpoint: &'a DeviceEndpoint,
}

/// What a person needs for signing in, and what polling needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceCode {
    /// The code to poll with.
    pub device_code: Secret<String>,
    /// The code that the person types.
    pub user_code: String,
    /// Where the person types it.
    pub verification_uri: String,
    /// The same with the code filled in.
    pub verification_uri_complete: Option<String>,
    /// The least pause between two polls.
    pub interval: Millis,
    /// For how long the codes are good.
    pub lifetime: Millis,
}

/// The answer to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Polled {
    /// The person has signed in.
    Tokens(Tokens),
    /// The person has signed in; the tokens are to be asked for with this.
    Exchange(Question),
    /// The person hasn't decided yet.
    Pending,
    /// Nor that, and the polls come too often.
    SlowDown,
    /// The person said no.
    Denied,
    /// The codes are too old.
    Expired,
    /// Nothing that can be made sense of; in words for the operator.
    Unusable(String),
}

impl DeviceLogin<'_> {
    /// Asks for the codes.
    #[must_use]
    pub fn begin(&self) -> Question {
        let client_id = self.provider.client_id.as_str();
        match self.endpoint {
            DeviceEndpoint::Standard { url } => {
                Question::form(url, &[("client_id", client_id), ("scope", SCOPE)])
            }
            DeviceEndpoint::Codex { url, .. } => as_json(url, &json!({ "client_id": client_id })),
        }
    }

    /// Reads the codes.
    ///
    /// # Errors
    /// What is wrong with the answer, in words for the operator.
    pub fn read_codes(&self, status: u16, body: &[u8]) -> Result<DeviceCode, String> {
        let answer = Answer::read(status, body);
        self.codes_of(&answer).ok_or_else(|| answer.describe("no usable codes"))
    }

    fn codes_of(&self, answer: &Answer) -> Option<DeviceCode> {
        let name = match self.endpoint {
            DeviceEndpoint::Standard { .. } => "device_code",
            DeviceEndpoint::Codex { .. } => "device_auth_id",
        };
        let device_code = answer.text(name).filter(|code| super::is_token(code))?;
        let user_code = answer.text("user_code").or_else(|| answer.text("usercode"))?;
        let (verification_uri, verification_uri_complete) = match self.endpoint {
            DeviceEndpoint::Standard { .. } => {
                // Google's name for it is older than the RFC.
                let uri =
                    answer.text("verification_uri").or_else(|| answer.text("verification_url"))?;
                (web_address(uri)?, answer.text("verification_uri_complete").and_then(web_address))
            }
            DeviceEndpoint::Codex { verification_uri, .. } => (verification_uri.clone(), None),
        };
        (answer.is_success() && is_user_code(user_code)).then(|| DeviceCode {
            device_code: Secret::new(device_code.to_owned()),
            user_code: user_code.to_owned(),
            verification_uri,
            verification_uri_complete,
            interval: answer.seconds("interval", USUAL_INTERVAL, 1..=LONGEST_INTERVAL),
            lifetime: answer.seconds("expires_in", USUAL_LIFETIME, 1..=LONGEST_LIFETIME),
        })
    }

    /// Asks whether the person has decided.
    #[must_use]
    pub fn poll(&self, device_code: &Secret<String>, user_code: &str) -> Question {
        match self.endpoint {
            DeviceEndpoint::Standard { .. } => {
                let fields = [
                    ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
                    ("device_code", device_code.expose()),
                    ("client_id", &self.provider.client_id),
                ];
                Question::form(&self.provider.token_url, &fields)
            }
            DeviceEndpoint::Codex { poll_url, .. } => {
                let device_auth_id = device_code.expose();
                let body = json!({ "device_auth_id": device_auth_id, "user_code": user_code });
                as_json(poll_url, &body)
            }
        }
    }

    /// Reads the answer to a poll.
    #[must_use]
    pub fn read_poll(&self, status: u16, body: &[u8]) -> Polled {
        let answer = Answer::read(status, body);
        match (answer.error_code(), self.endpoint) {
            (Some("authorization_pending"), _) => Polled::Pending,
            (Some("slow_down"), _) => Polled::SlowDown,
            (Some("access_denied"), _) => Polled::Denied,
            (Some("expired_token"), _) => Polled::Expired,
            (_, DeviceEndpoint::Standard { .. }) => Polled::of_tokens(tokens_of(&answer)),
            (_, DeviceEndpoint::Codex { redirect_uri, .. }) => {
                match self.exchange(&answer, redirect_uri) {
                    Some(question) => Polled::Exchange(question),
                    None if matches!(answer.status(), 403 | 404) => Polled::Pending,
                    None => Polled::Unusable(answer.describe("no usable authorization code")),
                }
            }
        }
    }

    /// Exchanges an authorization code for the tokens (RFC 6749 §4.1.3, with RFC 7636's verifier,
    /// which the provider made itself).
    fn exchange(&self, answer: &Answer, redirect_uri: &str) -> Option<Question> {
        let secret = |name| answer.text(name).filter(|text| super::is_token(text));
        let (code, verifier) = (secret("authorization_code")?, secret("code_verifier")?);
        let fields = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_uri),
            ("client_id", &self.provider.client_id),
            ("code_verifier", verifier),
        ];
        answer.is_success().then(|| Question::form(&self.provider.token_url, &fields))
    }
}

impl Polled {
    /// What a token endpoint's answer means for a sign-in.
    #[must_use]
    pub fn of_tokens(tokens: Result<Granted, NoTokens>) -> Self {
        match tokens {
            // Without one, the sign-in would be over with its first access token.
            Ok(Granted { refresh: None, .. }) => {
                Self::Unusable("it gave no refresh token".to_owned())
            }
            Ok(Granted { access, refresh: Some(refresh), lifetime }) => {
                Self::Tokens(Tokens { access, refresh, lifetime })
            }
            Err(NoTokens::Invalid) => Self::Expired,
            Err(NoTokens::Unavailable(problem)) => Self::Unusable(problem),
        }
    }
}

fn as_json(url: &str, body: &serde_json::Value) -> Question {
    let body = Secret::new(body.to_string());
    Question { url: url.to_owned(), content_type: "application/json", body }
}

/// Whether a text can be shown to a person, in a terminal too.
fn is_user_code(text: &str) -> bool {
    let is_printable = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
    (1..=LONGEST_USER_CODE).contains(&text.len()) && text.bytes().all(is_printable)
}

/// An address that a person can be sent to, as a parser reads it.
fn web_address(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    let text = url.to_string();
    (text.len() <= LONGEST_URI).then_some(text)
}
