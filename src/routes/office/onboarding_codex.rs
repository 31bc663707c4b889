//! `/onboarding/codex`: how a user's Codex tokens come here, and how they go.
//!
//! `PUT` and `DELETE` need a gateway key. A sign-in by device code needs proof of any kind: it is how
//! somebody who has worked with a key of their own becomes a Codex user, under the same USER_ID.

use std::ops::RangeInclusive;

use domain::clock::{Millis, rfc3339};
use domain::custody::{Label, Purpose};
use domain::identifiers::UserId;
use domain::identity::Caller;
use domain::secret::Secret;
use domain::session::codex::messages::{
    BeginSignIn, Begun, Codes, ForgetTokens, KeepTokens, TellSignIn,
};
use domain::session::codex::{SignInState, TokenRecord};
use domain::settings::{CodexSettings, Settings};
use domain::token_endpoint::is_token;
use serde::{Deserialize, Serialize};

use crate::context::{Context, random_bytes};
use crate::error::{Error, GATEWAY_KEY_MISSING};
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::routes::caller;
use crate::upstream::body;
use crate::{log, reply};

/// Two tokens of the longest, and what is around them.
const MAX_BODY_BYTES: u64 = 64 * 1024;

/// The Unix seconds that an expiry may be: to the year 5138, which milliseconds are beyond.
const EXPIRY: RangeInclusive<i64> = 0..=100_000_000_000;

/// Tokens as somebody brings them. `account_id` is taken too, and not needed: the access token has
/// it inside.
#[derive(Deserialize)]
struct Brought {
    access_token: String,
    refresh_token: String,
    /// Unix seconds.
    expires_at: i64,
}

/// `PUT /onboarding/codex`: 204.
///
/// # Errors
/// Where no gateway key is shown, or the user is blocked; [`Error::InvalidJson`] for what are no
/// tokens.
pub async fn keep(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let user_id = keyed(incoming, context).await?;
    let settings = context.settings()?;
    let CodexSettings { keyring, .. } = codex_of(&settings)?;
    let brought = read(&body::read(incoming, context, MAX_BODY_BYTES).await?)?;
    let sealed = |purpose, token| {
        let label = Label { purpose, owner: &user_id };
        keyring.seal(label, &Secret::new(token), random_bytes())
    };
    let access = sealed(Purpose::Access, brought.access_token);
    let refresh = sealed(Purpose::Refresh, brought.refresh_token);
    let expires_at = brought.expires_at * 1_000;
    let tokens = TokenRecord::new(access, refresh, expires_at);
    if !call(context, user_id.as_str(), KeepTokens(tokens)).await? {
        return Err(Error::UserBlocked);
    }
    Ok(done(incoming, 204))
}

/// `DELETE /onboarding/codex`: 204, whether there was anything or not.
///
/// # Errors
/// Where no gateway key is shown.
pub async fn forget(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let user_id = keyed(incoming, context).await?;
    forget_of(incoming, context, &user_id).await
}

/// `DELETE /operator/api/users/{id}/codex`: 204, whether there was anything or not.
///
/// # Errors
/// [`Error::InvalidUserId`].
pub async fn forget_as_operator(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
) -> Result<Reply, Error> {
    forget_of(incoming, context, &UserId::parse(user_id)?).await
}

async fn forget_of(
    incoming: &Incoming,
    context: &Context,
    user_id: &UserId,
) -> Result<Reply, Error> {
    call(context, user_id.as_str(), ForgetTokens {}).await?;
    Ok(done(incoming, 204))
}

#[derive(Serialize)]
struct BegunBody<'a> {
    id: &'a str,
    user_code: &'a str,
    verification_uri: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    verification_uri_complete: Option<&'a str>,
    expires_at: String,
    /// Seconds.
    interval: Millis,
}

/// `POST /onboarding/codex/device`: 201 and what the person needs for signing in.
///
/// # Errors
/// Where the caller isn't proven, or is blocked; [`Error::SignInTooSoon`] where a sign-in was begun just now;
/// [`Error::TokenEndpointUnavailable`] where the provider gives no codes.
pub async fn begin(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let Caller { user_id, .. } = caller::proven(incoming, context).await?;
    let settings = context.settings()?;
    if codex_of(&settings)?.provider.device.is_none() {
        return Err(Error::NotConfigured("CODEX_DEVICE_URL is missing".to_owned()));
    }
    let message = BeginSignIn { user_id: user_id.clone() };
    let codes = match call(context, user_id.as_str(), message).await? {
        Begun::Codes(codes) => codes,
        Begun::TooSoon { retry_after_ms } => return Err(Error::SignInTooSoon { retry_after_ms }),
        Begun::Blocked => return Err(Error::UserBlocked),
        Begun::Unavailable => return Err(Error::TokenEndpointUnavailable),
    };
    log::early(incoming, 201, None);
    let Codes { id, user_code, verification_uri, verification_uri_complete, .. } = &codes;
    Ok(reply::json(
        201,
        &BegunBody {
            id,
            user_code,
            verification_uri,
            verification_uri_complete: verification_uri_complete.as_deref(),
            expires_at: rfc3339(codes.expires_at),
            interval: codes.interval / 1_000,
        },
    ))
}

#[derive(Serialize)]
struct Standing<'a> {
    id: &'a str,
    state: SignInState,
    expires_at: String,
}

/// `GET /onboarding/codex/device/{id}`: 200 and how far the sign-in is.
///
/// # Errors
/// Where the caller isn't proven; [`Error::NotFound`] for another user's sign-in, or an older one.
pub async fn tell(incoming: &Incoming, context: &Context, id: &str) -> Result<Reply, Error> {
    let Caller { user_id, .. } = caller::proven(incoming, context).await?;
    let asked = call(context, user_id.as_str(), TellSignIn { id: id.to_owned() }).await?;
    let standing = asked.ok_or(Error::NotFound)?;
    log::early(incoming, 200, None);
    let (state, expires_at) = (standing.state, rfc3339(standing.expires_at));
    Ok(reply::json(200, &Standing { id, state, expires_at }))
}

/// The user whose gateway key is shown.
async fn keyed(incoming: &Incoming, context: &Context) -> Result<UserId, Error> {
    let caller = caller::proven(incoming, context).await?;
    if caller.shown.keys.is_empty() {
        return Err(Error::MissingKey(GATEWAY_KEY_MISSING));
    }
    Ok(caller.user_id)
}

fn codex_of(settings: &Settings) -> Result<&CodexSettings, Error> {
    let missing = || Error::NotConfigured("TOKEN_ENCRYPTION_KEY is missing".to_owned());
    settings.codex.as_ref().ok_or_else(missing)
}

fn read(body: &[u8]) -> Result<Brought, Error> {
    let invalid = |problem: &str| Error::InvalidJson { problem: problem.to_owned() };
    // What serde says of a wrong body may quote a token.
    let brought: Brought = serde_json::from_slice(body).map_err(|_| {
        invalid(
            "This isn't the JSON that is expected here: access_token and refresh_token are texts, \
             expires_at is a number of Unix seconds.",
        )
    })?;
    if !EXPIRY.contains(&brought.expires_at) {
        return Err(invalid("expires_at is a number of Unix seconds, not of milliseconds."));
    }
    if !is_token(&brought.access_token) || !is_token(&brought.refresh_token) {
        return Err(invalid("These aren't tokens: they have blanks or other unusual characters."));
    }
    Ok(brought)
}

fn done(incoming: &Incoming, status: u16) -> Reply {
    log::early(incoming, status, None);
    reply::empty(status)
}
