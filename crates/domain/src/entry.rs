//! The log row of one request, as it is kept in the user's object and sent to D1.

use serde::{Deserialize, Serialize};

use crate::identifiers::UserId;
use crate::meter::TokensSource;

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
}

impl Outcome {
    /// What is known of a request that has just been admitted: should nothing more be heard of
    /// it, it was interrupted.
    #[must_use]
    pub fn interrupted() -> Self {
        Self { error_code: Some(INTERRUPTED.to_owned()), ..Self::answered(0, 0) }
    }

    /// An answer without tokens.
    #[must_use]
    pub const fn answered(status: u16, latency_ms: i64) -> Self {
        Self {
            status,
            latency_ms,
            ttfb_ms: None,
            tokens_est: 0,
            tokens_source: TokensSource::None,
            error_code: None,
        }
    }
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
            outcome: Outcome::interrupted(),
        }
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let text = r#"{"request_id":"r1","user_id":"ada","endpoint":"/v1/chat/completions","project":"default","model":"gpt-4o","ip_hash":null,"created_at":"2026-11-21 06:23:36.000","count":1,"status":0,"latency_ms":0,"ttfb_ms":null,"tokens_est":0,"tokens_source":"none","error_code":"interrupted"}"#;
        assert_eq!(serde_json::to_string(&entry("r1")).unwrap(), text);
        assert_eq!(serde_json::from_str::<Entry>(text).unwrap(), entry("r1"));
    }
}
