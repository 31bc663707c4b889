//! The log row of one request, as it is kept in the user's object and sent to D1.

use serde::{Deserialize, Serialize};

use crate::identifiers::UserId;
use crate::meter::TokensSource;
use crate::month::Month;

/// The `error_code` of a request whose Worker died before it could say how the request ended.
pub const INTERRUPTED: &str = "interrupted";

/// One row of D1's `requests`; the members bear the names of its columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The id that the answer carries as `x-request-id`.
    pub request_id: String,
    /// Whose request it was.
    pub user_id: UserId,
    /// The path upstream, `/v1/chat/completions`.
    pub endpoint: String,
    /// `X-Project-ID`, or `default`.
    pub project: String,
    /// The model asked for, where the body was read.
    pub model: Option<String>,
    /// A keyed hash of the caller's address, where it is known.
    pub ip_hash: Option<String>,
    /// The id of the gateway key that was shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_id: Option<String>,
    /// When the request came in: `YYYY-MM-DD HH:MM:SS.SSS`, UTC.
    pub created_at: String,
    /// How many requests the row stands for.
    pub count: u32,
    /// The month of its admission, by the object's clock; none for a refusal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
    /// How the request ended.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The status that the client saw; 499 where it left, 0 where nobody knows.
    pub status: u16,
    /// Milliseconds from the request's arrival to the end of the answer.
    pub latency_ms: i64,
    /// Milliseconds until the upstream's first byte, where there was one.
    pub ttfb_ms: Option<i64>,
    /// Tokens used.
    pub tokens_est: u64,
    /// Where that number comes from.
    pub tokens_source: TokensSource,
    /// The error's code, where there was an error.
    pub error_code: Option<String>,
    /// How many calls to a model's provider OpenClaw made for it, where it comes back for these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_requests: Option<u32>,
    /// Whether the upstream failed the request, which then doesn't count in its month.
    #[serde(default, skip_serializing_if = "is_false")]
    pub gives_back: bool,
}

impl Outcome {
    /// What is known of a request that has just been admitted: should nothing more be heard of
    /// it, it was interrupted.
    #[must_use]
    pub fn interrupted() -> Self {
        Self::failed(0, INTERRUPTED)
    }

    /// A request that ended with an error of the gateway's.
    #[must_use]
    pub fn failed(status: u16, code: &str) -> Self {
        Self { error_code: Some(code.to_owned()), ..Self::answered(status, 0) }
    }

    /// The same of a request for which no model ran.
    #[must_use]
    pub fn free(self) -> Self {
        Self { tokens_est: 0, tokens_source: TokensSource::None, ..self }
    }

    /// An answer without tokens, and without output where it is an error.
    #[must_use]
    pub const fn answered(status: u16, latency_ms: i64) -> Self {
        Self {
            status,
            latency_ms,
            ttfb_ms: None,
            tokens_est: 0,
            tokens_source: TokensSource::None,
            error_code: None,
            provider_requests: None,
            gives_back: gives_back(status, false),
        }
    }
}

/// Whether a request that ended so doesn't count in its month: the upstream, or the gateway, failed
/// before the client had anything of an answer. Leaving is no failure, nor is a mistake of the
/// client's, nor is what nobody knows the end of.
#[must_use]
pub const fn gives_back(status: u16, is_output_seen: bool) -> bool {
    status >= 500 && !is_output_seen
}

/// For `skip_serializing_if`: what is absent is `false`.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it")]
pub(crate) const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn entry(request_id: &str) -> Entry {
        Entry {
            request_id: request_id.to_owned(),
            user_id: UserId::parse("ada").unwrap(),
            endpoint: "/v1/chat/completions".to_owned(),
            project: "default".to_owned(),
            model: Some("gpt-4o".to_owned()),
            ip_hash: None,
            key_id: None,
            created_at: "2026-11-21 06:23:36.000".to_owned(),
            count: 1,
            month: None,
            outcome: Outcome::interrupted(),
        }
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let text = r#"{"request_id":"r1","user_id":"ada","endpoint":"/v1/chat/completions","project":"default","model":"gpt-4o","ip_hash":null,"created_at":"2026-11-21 06:23:36.000","count":1,"status":0,"latency_ms":0,"ttfb_ms":null,"tokens_est":0,"tokens_source":"none","error_code":"interrupted"}"#;
        assert_eq!(serde_json::to_string(&entry("r1")).unwrap(), text);
        assert_eq!(serde_json::from_str::<Entry>(text).unwrap(), entry("r1"));
        let month = Some(Month::of(1_795_242_216_007));
        let failed = Entry { month, outcome: Outcome::answered(504, 0), ..entry("r1") };
        let literal = r#"{"request_id":"r1","user_id":"ada","endpoint":"/v1/chat/completions","project":"default","model":"gpt-4o","ip_hash":null,"created_at":"2026-11-21 06:23:36.000","count":1,"month":"2026-11","status":504,"latency_ms":0,"ttfb_ms":null,"tokens_est":0,"tokens_source":"none","error_code":null,"gives_back":true}"#;
        assert_eq!(serde_json::to_string(&failed).unwrap(), literal);
        assert_eq!(serde_json::from_str::<Entry>(literal).unwrap(), failed);
    }

    #[test]
    fn only_what_failed_without_output_is_given_back() {
        let back = [500, 502, 503, 504, 599].map(|status| gives_back(status, false));
        assert_eq!(back, [true; 5]);
        let counts = [0, 200, 400, 401, 413, 429, 499].map(|status| gives_back(status, false));
        assert_eq!(counts, [false; 7]);
        assert!(!gives_back(502, true), "the client has had some of it");
    }
}
