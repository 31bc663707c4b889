//! What is said to a user's object about Codex tokens and sign-ins, and what it replies.

use serde::{Deserialize, Serialize};

use super::{AccessToken, TokenRecord};
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::session::messages::Reason;

/// Keeps tokens that the user brought, sealed already. The reply is whether they are kept: a blocked
/// user's aren't.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeepTokens(pub TokenRecord);

/// Forgets tokens and sign-in. The reply is whether there were any.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct ForgetTokens {}

/// Asks for a token that is good for a while, refreshed if need be. The reply is [`Fresh`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct FreshToken {
    /// Whose; the tokens are sealed for that name.
    pub user_id: UserId,
    /// The request that it pays for.
    pub request_id: String,
    /// The version of the token that the upstream has just rejected.
    pub rejected: Option<u64>,
}

/// The reply to [`FreshToken`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fresh {
    /// The freshest that there is; the rejected one where a refresh can't help.
    Token(AccessToken),
    /// There is none, and there won't be before a new sign-in.
    Refused(Reason),
    /// The provider couldn't be asked; the tokens are kept as they were.
    Unavailable,
}

/// Begins a sign-in by device code. The reply is [`Begun`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BeginSignIn {
    /// Who signs in.
    pub user_id: UserId,
}

/// The reply to [`BeginSignIn`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Begun {
    /// What the person needs.
    Codes(Codes),
    /// One was begun just now.
    TooSoon {
        /// At least 1.
        retry_after_ms: Millis,
    },
    /// The provider gave no codes.
    Unavailable,
    /// The user is blocked.
    Blocked,
}

/// What a person needs for signing in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Codes {
    /// The sign-in's name.
    pub id: String,
    /// The code to type.
    pub user_code: String,
    /// Where to type it.
    pub verification_uri: String,
    /// The same with the code filled in.
    pub verification_uri_complete: Option<String>,
    /// When the code ends.
    pub expires_at: Millis,
    /// The pause between two polls.
    pub interval: Millis,
}

/// Asks how far a sign-in is. The reply is a [`SignInStanding`](super::SignInStanding), or nothing
/// where there is no sign-in of that name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TellSignIn {
    /// The sign-in's name.
    pub id: String,
}
