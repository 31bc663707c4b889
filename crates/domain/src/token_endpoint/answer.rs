//! An endpoint's answer, as far as it can be made out.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::clock::Millis;

/// The errors that may be told to the operator by name: those of RFC 6749 §5.2 and RFC 8628 §3.5.
/// Any other text of an answer might be a secret, or anything.
const KNOWN: &[&str] = &[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "server_error",
    "temporarily_unavailable",
];

/// A status, and the JSON object of the body, if that is what the body is.
pub(super) struct Answer {
    status: u16,
    members: Option<Map<String, Value>>,
}

impl Answer {
    pub(super) fn read(status: u16, body: &[u8]) -> Self {
        Self { status, members: serde_json::from_slice(body).ok() }
    }

    pub(super) const fn status(&self) -> u16 {
        self.status
    }

    /// Whether it is a JSON object with a status of success, and no error.
    pub(super) fn is_success(&self) -> bool {
        (200..300).contains(&self.status) && self.members.is_some() && self.error_code().is_none()
    }

    /// The error's code: `error` itself, or its member `code`. A server that fails has none to say.
    pub(super) fn error_code(&self) -> Option<&str> {
        let error = self.member("error").filter(|_| self.status < 500)?;
        error.as_str().or_else(|| error.get("code")?.as_str())
    }

    /// A member that is a text.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.member(name)?.as_str()
    }

    /// Whether there is such a member, and it is neither a text nor null.
    pub(super) fn has_other(&self, name: &str) -> bool {
        self.member(name).is_some_and(|value| !value.is_string() && !value.is_null())
    }

    /// A member that is a number of seconds, or a text of one.
    pub(super) fn seconds(&self, name: &str, default: i64, bounds: RangeInclusive<i64>) -> Millis {
        let number = self.member(name).and_then(|value| match value {
            Value::String(text) => text.trim().parse::<f64>().ok(),
            other => other.as_f64(),
        });
        #[expect(clippy::cast_possible_truncation, reason = "it saturates, and has bounds")]
        let seconds = number.filter(|number| !number.is_nan()).map_or(default, |n| n as i64);
        seconds.clamp(*bounds.start(), *bounds.end()) * 1_000
    }

    /// What the answer was, in words that hold nothing of it but its status and a known error.
    pub(super) fn describe(&self, problem: &str) -> String {
        let known = self.error_code().and_then(|code| KNOWN.iter().find(|known| **known == code));
        match (known, &self.members) {
            (Some(known), _) => format!("it answered {} and {known}", self.status),
            (None, Some(_)) => format!("it answered {} and {problem}", self.status),
            (None, None) => format!("it answered {} and no JSON object", self.status),
        }
    }

    fn member(&self, name: &str) -> Option<&Value> {
        self.members.as_ref()?.get(name)
    }
}
