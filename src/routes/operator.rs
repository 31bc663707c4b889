//! `/operator/api/*`: what the operator may do.

use domain::clock::rfc3339;
use domain::gateway_key;
use domain::identifiers::UserId;
use domain::identity::bearer_of;
use domain::session::access::KeyRecord;
use domain::session::messages::AddKey;
use serde::{Deserialize, Serialize};
use web_sys::Response;

use crate::context::{Context, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::upstream::body;
use crate::{guessing, log, reply};

/// Far more than any body that an operator sends here.
const MAX_BODY_BYTES: u64 = 64 * 1024;
const LONGEST_LABEL: usize = 64;

/// Checks that the operator calls. Wrong tokens are counted; the right one is never refused.
///
/// # Errors
/// [`Error::NotFound`] where no operator is configured, so that the routes don't seem to exist;
/// [`Error::OperatorRequired`] where somebody else calls; [`Error::TooManyAttempts`] where wrong
/// tokens come too fast.
pub async fn authorize(incoming: &Incoming, context: &Context) -> Result<(), Error> {
    let settings = context.settings()?;
    let token = settings.operator_token.as_ref().ok_or(Error::NotFound)?;
    let authorization = incoming.header("authorization").unwrap_or_default();
    let shown = bearer_of(&authorization).unwrap_or_default();
    if token.is_known_by(shown) {
        return Ok(());
    }
    if !shown.is_empty() {
        guessing::wrong_operator(incoming, context).await?;
    }
    Err(Error::OperatorRequired)
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewKey {
    label: Option<String>,
}

#[derive(Serialize)]
struct MintedKey<'a> {
    key: &'a str,
    key_id: &'a str,
    label: &'a str,
    created_at: &'a str,
}

/// `POST /operator/api/users/{id}/keys`: 201 and the key, this once.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's; [`Error::InvalidJson`].
pub async fn mint_key(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
) -> Result<Response, Error> {
    let user_id = UserId::parse(user_id)?;
    if user_id.is_anonymous() {
        return Err(Error::InvalidUserId);
    }
    let label = read_label(&body::read(incoming, MAX_BODY_BYTES).await?)?;
    let (key, hash) = gateway_key::mint(&user_id, &random_bytes());
    let created_at = rfc3339(incoming.arrived);
    let record = KeyRecord { hash: hash.clone(), label, created_at, last_use: None };
    if !call(context, user_id.as_str(), AddKey(record.clone())).await? {
        // Two keys of 256 random bits share 32 bits of their hashes: to be tried again.
        return Err(Error::Internal);
    }
    log::early(incoming, 201, None);
    let KeyRecord { label, created_at, .. } = &record;
    let key_id = hash.id();
    Ok(reply::json(201, &MintedKey { key: key.expose(), key_id, label, created_at }))
}

fn read_label(body: &[u8]) -> Result<String, Error> {
    let invalid = |problem: String| Error::InvalidJson { problem };
    let new_key: NewKey = if body.is_empty() {
        NewKey::default()
    } else {
        serde_json::from_slice(body).map_err(|error| {
            invalid(format!("This isn't the JSON that is expected here: {error}."))
        })?
    };
    let label = new_key.label.unwrap_or_default();
    if label.chars().count() > LONGEST_LABEL || label.chars().any(char::is_control) {
        let problem = format!("A label has at most {LONGEST_LABEL} characters, on one line.");
        return Err(invalid(problem));
    }
    Ok(label)
}
