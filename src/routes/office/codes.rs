//! Claim codes: the operator gives one out, a person turns it into a gateway key.

use std::ops::RangeInclusive;

use domain::claim_code::{ClaimCode, DEFAULT_TTL_SECONDS, TTL_SECONDS};
use domain::clock::rfc3339;
use domain::gateway_key;
use domain::identifiers::UserId;
use domain::session::access::KeyRecord;
use domain::session::onboarding::{Claim, Claimed, IssueCode};
use domain::settings::AuthMode;
use serde::{Deserialize, Serialize};

use super::operator;
use crate::context::{Context, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::upstream::body;
use crate::{guessing, log, reply};

/// Far more than a USER_ID and a code.
const MAX_BODY_BYTES: u64 = 4 * 1024;

/// What a claimed key is called, for its owner and the operator.
const LABEL: &str = "claimed";

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCode {
    ttl_seconds: Option<i64>,
}

#[derive(Serialize)]
struct IssuedCode {
    code: String,
    expires_at: String,
}

/// `POST /operator/api/users/{id}/codes`: 201 and the code, this once.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's; [`Error::InvalidJson`].
pub async fn issue(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = operator::person(user_id)?;
    let new_code: NewCode = operator::read_json(incoming, context).await?;
    let ttl_seconds = new_code.ttl_seconds.unwrap_or(DEFAULT_TTL_SECONDS);
    if !TTL_SECONDS.contains(&ttl_seconds) {
        let (least, most) = RangeInclusive::into_inner(TTL_SECONDS);
        let problem = format!("ttl_seconds is a whole number from {least} to {most}.");
        return Err(Error::InvalidJson { problem });
    }
    let expires_at = incoming.arrived + ttl_seconds * 1_000;
    let code = ClaimCode::mint(random_bytes());
    let hash = code.fingerprint(&user_id);
    call(context, user_id.as_str(), IssueCode { hash, expires_at }).await?;
    log::early(incoming, 201, None);
    let issued = IssuedCode { code: code.expose(), expires_at: rfc3339(expires_at) };
    Ok(reply::json(201, &issued))
}

#[derive(Deserialize)]
struct Shown {
    user_id: String,
    code: String,
}

#[derive(Serialize)]
struct ClaimedKey<'a> {
    gateway_key: &'a str,
    key_id: &'a str,
    user_id: &'a UserId,
    auth_mode: AuthMode,
}

/// `POST /onboarding/claim`: 201 and a gateway key, once a code.
///
/// The code comes first and the counters after it, so that a right one is never refused. Whoever
/// doesn't hold one hears the same, whatever the USER_ID.
///
/// # Errors
/// [`Error::InvalidCode`], or [`Error::TooManyAttempts`] where it has been wrong too often;
/// [`Error::CodeUsed`], [`Error::CodeExpired`] and [`Error::UserBlocked`] for who holds the code.
pub async fn claim(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let auth_mode = context.settings()?.auth_mode;
    let body = body::read(incoming, context, MAX_BODY_BYTES).await?;
    // What was sent may be a code, so it isn't repeated.
    let shown: Shown = serde_json::from_slice(&body).map_err(|_| Error::InvalidJson {
        problem: r#"Send your USER_ID and your code: {"user_id":"ada","code":"ABCD-EFGH"}."#.into(),
    })?;
    let user_id = operator::person(&shown.user_id)?;
    let Some(code) = ClaimCode::parse(&shown.code) else {
        // No code at all, so no guess at one.
        guessing::wrong_claim(incoming, context, &user_id).await?;
        return Err(Error::InvalidCode);
    };
    let (key, hash) = gateway_key::mint(&user_id, &random_bytes());
    let (label, created_at) = (LABEL.to_owned(), rfc3339(incoming.arrived));
    let record = KeyRecord { hash: hash.clone(), label, created_at, last_use: None };
    let network = guessing::network(incoming, context)?;
    let claim = Claim { code: code.fingerprint(&user_id), key: record, network };
    match call(context, user_id.as_str(), claim).await? {
        Claimed::Redeemed => {}
        Claimed::Invalid => {
            guessing::wrong_claim(incoming, context, &user_id).await?;
            return Err(Error::InvalidCode);
        }
        Claimed::Used => return Err(Error::CodeUsed),
        Claimed::Expired => return Err(Error::CodeExpired),
        Claimed::Blocked => return Err(Error::UserBlocked),
        Claimed::KeyTaken => return Err(Error::Internal),
    }
    log::early(incoming, 201, None);
    Ok(reply::json(
        201,
        &ClaimedKey { gateway_key: key.expose(), key_id: hash.id(), user_id: &user_id, auth_mode },
    ))
}
