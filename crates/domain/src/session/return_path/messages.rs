//! What is said to a user's object about the way back, and what it replies.

use serde::{Deserialize, Serialize};

use super::HandleRecord;
use crate::custody::Sealed;
use crate::fingerprint::Fingerprint;
use crate::meter::TokensSource;
use crate::session::codex::AccessToken;
use crate::session::messages::Reason;

/// Gives the user a handle, and takes the one from before; none takes it alone. The reply is whether
/// that changed anything.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeepHandle(pub Option<HandleRecord>);

/// What pays for a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Funds {
    /// The key that the caller sent along.
    Key {
        /// Its fingerprint, by which two are told apart.
        hash: Fingerprint,
        /// The key itself.
        sealed: Sealed,
    },
    /// The user's Codex token, as it is when it is needed.
    Token,
}

impl Funds {
    /// Whether both are the same credential.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Key { hash, .. }, Self::Key { hash: other, .. }) => hash == other,
            (Self::Token, Self::Token) => true,
            _ => false,
        }
    }
}

/// A call of OpenClaw's to a provider begins. The reply is [`Drawn`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Draw {
    /// The hash of the handle with which it comes.
    pub handle: Fingerprint,
    /// The call's own name.
    pub call: String,
}

/// The reply to [`Draw`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drawn {
    /// This key pays.
    Key {
        /// The request whose run it is.
        run: String,
        /// The key.
        sealed: Sealed,
    },
    /// This token pays.
    Token {
        /// The request whose run it is.
        run: String,
        /// The token.
        token: AccessToken,
    },
    /// There is none that pays any more.
    Refused(Reason),
    /// The handle isn't the user's, or not any more.
    UnknownHandle,
    /// The handle is good, but no run of the user's is in progress.
    NoRun,
}

/// A call has ended. The reply is whether its run's row has what it cost.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spent {
    /// The request whose run it was.
    pub run: String,
    /// The call's name.
    pub call: String,
    /// Tokens, reported or estimated.
    pub tokens: u64,
    /// Where that number is from.
    pub source: TokensSource,
}
