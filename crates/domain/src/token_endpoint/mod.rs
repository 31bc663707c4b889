//! Talking to the provider of Codex tokens: what is asked, and what its answers mean.
//!
//! Refreshing is RFC 6749 §6. Nothing that an endpoint answers is trusted: a token has to fit into
//! a header, a time is held within bounds, and no word of an answer reaches a log line or a person,
//! the codes of a sign-in apart.

mod answer;
mod device;
#[cfg(test)]
mod tests;

use url::form_urlencoded::Serializer;

use self::answer::Answer;
pub use self::device::{DeviceCode, DeviceEndpoint, DeviceLogin, Polled};
use crate::clock::Millis;
use crate::secret::Secret;

/// The longest token that is kept, in bytes.
const LONGEST_TOKEN: usize = 16 * 1024;
/// How long an access token lives where the provider doesn't say, in seconds.
const USUAL_LIFETIME: i64 = 3_600;
/// A shorter life would have every request refresh; a token that dies before is rejected upstream,
/// and refreshed then.
const SHORTEST_LIFETIME: i64 = 120;
const LONGEST_LIFETIME: i64 = 365 * 24 * 3_600;

/// The errors after which a refresh token is worth nothing: RFC 6749's own, and OpenAI's.
const INVALID: &[&str] = &[
    "invalid_grant",
    "invalid_refresh_token",
    "refresh_token_expired",
    "refresh_token_invalidated",
    "refresh_token_reused",
];

/// Who issues the tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provider {
    /// `CODEX_TOKEN_URL`.
    pub token_url: String,
    /// `CODEX_CLIENT_ID`.
    pub client_id: String,
    /// `CODEX_DEVICE_URL`.
    pub device: Option<DeviceEndpoint>,
}

/// A POST to the provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// Where to.
    pub url: String,
    /// What the body is.
    pub content_type: &'static str,
    /// The body. It holds tokens or codes.
    pub body: Secret<String>,
}

impl Question {
    fn form(url: &str, fields: &[(&str, &str)]) -> Self {
        Self {
            url: url.to_owned(),
            content_type: "application/x-www-form-urlencoded",
            body: Secret::new(Serializer::new(String::new()).extend_pairs(fields).finish()),
        }
    }
}

/// The tokens of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Granted {
    /// The access token.
    pub access: Secret<String>,
    /// A new refresh token, where there is one; else the old one stays good.
    pub refresh: Option<Secret<String>>,
    /// For how long the access token is good.
    pub lifetime: Millis,
}

/// A whole set of tokens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// The access token.
    pub access: Secret<String>,
    /// The refresh token.
    pub refresh: Secret<String>,
    /// For how long the access token is good.
    pub lifetime: Millis,
}

impl Granted {
    /// The set, with the refresh token from before where there is no new one.
    #[must_use]
    pub fn beside(self, refresh: Secret<String>) -> Tokens {
        let Self { access, refresh: new, lifetime } = self;
        Tokens { access, refresh: new.unwrap_or(refresh), lifetime }
    }
}

/// Why there are no tokens. Its `Display` is for the operator, and holds nothing of the answer but
/// its status and a known error's name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoTokens {
    /// What was shown for them is worth nothing any more, now or later.
    #[error("the provider doesn't take the grant any more")]
    Invalid,
    /// The endpoint didn't do its work; it may later.
    #[error("{0}")]
    Unavailable(String),
}

impl Provider {
    /// Asks for new tokens.
    #[must_use]
    pub fn refresh(&self, refresh_token: &Secret<String>) -> Question {
        let fields = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
            ("client_id", &self.client_id),
        ];
        Question::form(&self.token_url, &fields)
    }

    /// The sign-in by device code; `None` where there is no endpoint for it.
    #[must_use]
    pub fn device_login(&self) -> Option<DeviceLogin<'_>> {
        self.device.as_ref().map(|endpoint| DeviceLogin { provider: self, endpoint })
    }
}

/// Reads the answer of a token endpoint.
///
/// # Errors
/// [`NoTokens`].
pub fn read_tokens(status: u16, body: &[u8]) -> Result<Granted, NoTokens> {
    tokens_of(&Answer::read(status, body))
}

fn tokens_of(answer: &Answer) -> Result<Granted, NoTokens> {
    if answer.error_code().is_some_and(|code| INVALID.contains(&code)) {
        return Err(NoTokens::Invalid);
    }
    let unavailable = |problem| NoTokens::Unavailable(answer.describe(problem));
    if !answer.is_success() {
        return Err(unavailable("an error"));
    }
    let access = answer.text("access_token").filter(|token| is_token(token));
    let access = access.ok_or_else(|| unavailable("no usable access token"))?;
    let refresh = answer.text("refresh_token").filter(|token| !token.is_empty());
    if refresh.is_some_and(|token| !is_token(token)) || answer.has_other("refresh_token") {
        return Err(unavailable("an unusable refresh token"));
    }
    let bounds = SHORTEST_LIFETIME..=LONGEST_LIFETIME;
    Ok(Granted {
        access: Secret::new(access.to_owned()),
        refresh: refresh.map(|token| Secret::new(token.to_owned())),
        lifetime: answer.seconds("expires_in", USUAL_LIFETIME, bounds),
    })
}

/// Whether a text can be a token: visible ASCII, so that it can go into a header, and at most 16 KB.
#[must_use]
pub fn is_token(text: &str) -> bool {
    (1..=LONGEST_TOKEN).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}
