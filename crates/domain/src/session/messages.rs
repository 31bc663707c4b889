//! What the front Worker says to a user's object, and what the object replies.

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Outcome};
use crate::gateway_key::KeyHash;

/// Every message that a user's object takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMessage {
    /// May this request go upstream?
    Admit(Admit),
    /// The request ended.
    Settle(Settle),
    /// The request is still running.
    Renew(Renew),
    /// The upstream named an answer that the user may continue from.
    Remember(Remember),
    /// A new gateway key.
    AddKey(AddKey),
    /// Are these the user's keys?
    Prove(Prove),
}

/// Asks whether every key is one of the user's, and nothing else. The reply says so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Prove {
    /// The keys that the caller showed.
    pub keys: Vec<KeyHash>,
}

/// Asks for a place in the window and a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Admit {
    /// The keys that the caller showed; each must be one of the user's.
    pub keys: Vec<KeyHash>,
    /// The answer that the caller wants to continue from.
    pub previous_response_id: Option<String>,
    /// The log row as it stands until the request is settled. Its request id names the lease, so
    /// that a message that arrives twice is admitted once.
    pub entry: Entry,
}

/// The reply to [`Admit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// The request may go upstream and must be settled.
    Admitted(Permit),
    /// The request may not; it has cost nothing.
    Refused(Refusal),
}

/// What an admitted request may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Where the user stands after this admission.
    pub standing: Standing,
    /// The session of the answer that the caller continues from.
    pub session_key: Option<String>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// Where the user stands; `None` for a caller who has not proven to be that user.
    pub standing: Option<Standing>,
}

/// The reasons for which an object refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A key was shown that isn't one of the user's.
    InvalidKey,
    /// The answer to continue from is not among those that this user may continue from.
    PreviousResponseNotFound,
    /// The window is full; one slot frees in so many milliseconds.
    RateLimited {
        /// At least 1.
        retry_after_ms: i64,
    },
    /// As many requests are in flight as may be.
    TooManyInFlight,
}

impl Reason {
    /// The status and the code of the contract.
    #[must_use]
    pub const fn status_and_code(self) -> (u16, &'static str) {
        match self {
            Self::InvalidKey => (401, "invalid_key"),
            Self::PreviousResponseNotFound => (400, "previous_response_not_found"),
            Self::RateLimited { .. } => (429, "rate_limit_exceeded"),
            Self::TooManyInFlight => (429, "concurrency_limit_exceeded"),
        }
    }
}

/// How full a user's window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Requests a window.
    pub limit: u32,
    /// Requests that would be admitted now.
    pub remaining: u32,
    /// Milliseconds until the window is empty.
    pub empty_in_ms: i64,
    /// Milliseconds until one slot is free; 0 where one is.
    pub next_free_ms: i64,
}

/// Says how an admitted request ended. The reply is whether the lease was still open; if it was
/// not, its row says `interrupted` and stays so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settle {
    /// The lease.
    pub request_id: String,
    /// The end.
    pub outcome: Outcome,
}

/// A sign of life of a running request. The reply is whether the lease was still open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renew {
    /// The lease.
    pub request_id: String,
}

/// Keeps the session of an answer, before the answer's id reaches the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remember {
    /// The answer's id.
    pub response_id: String,
    /// The upstream session that it belongs to.
    pub session_key: String,
}

/// Adds a gateway key. The reply is whether it was added: a key of the same id is kept as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AddKey(pub KeyRecord);

/// What an object keeps of a gateway key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The hash of its secret.
    pub hash: KeyHash,
    /// What its owner calls it.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
}
