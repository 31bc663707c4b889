//! `/operator/api/*`: what the operator may do.

use domain::clock::rfc3339;
use domain::gateway_key;
use domain::identifiers::UserId;
use domain::session::access::KeyRecord;
use domain::session::messages::{AddKey, Flush, RemoveProject, Repair, SetTier};
use domain::tier::Tier;
use domain::upstreams::named;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::me;
use crate::context::{Context, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::upstream::body;
use crate::{log, reply};

/// Far more than any body that an operator sends here.
const MAX_BODY_BYTES: u64 = 64 * 1024;
const LONGEST_TEXT: usize = 64;

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
) -> Result<Reply, Error> {
    let user_id = person(user_id)?;
    let label = read_json::<NewKey>(incoming, context).await?.label.unwrap_or_default();
    check_text(&label, "A label")?;
    let (key, hash) = gateway_key::mint(&user_id, &random_bytes());
    let created_at = rfc3339(incoming.arrived);
    let record = KeyRecord { hash: hash.clone(), label, created_at, last_use: None };
    if !call(context, user_id.as_str(), AddKey(record.clone())).await? {
        // Two keys of 256 random bits share 32 bits of their hashes: to be tried again.
        return Err(Error::Internal);
    }
    incoming.is_about(hash.id());
    log::early(incoming, 201, None);
    let KeyRecord { label, created_at, .. } = &record;
    let key_id = hash.id();
    Ok(reply::json(201, &MintedKey { key: key.expose(), key_id, label, created_at }))
}

/// `DELETE /operator/api/users/{id}/keys/{key_id}`: 204.
///
/// # Errors
/// [`Error::InvalidUserId`]; [`Error::NotFound`] where the user has no such key, so that nobody takes
/// a slip of the pen for a key that is revoked.
pub async fn revoke_key(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
    key_id: &str,
) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    let revoke = Repair::RevokeKey { key_id: key_id.to_owned() };
    if !call(context, user_id.as_str(), revoke).await? {
        return Err(Error::NotFound);
    }
    incoming.is_about(key_id);
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NewBlock {
    reason: Option<String>,
}

/// `POST /operator/api/users/{id}/block`: 204. The reason, if there is one, is for the operator.
///
/// # Errors
/// [`Error::InvalidUserId`], [`Error::InvalidJson`].
pub async fn block(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let NewBlock { reason } = read_json(incoming, context).await?;
    check_text(reason.as_deref().unwrap_or_default(), "A reason")?;
    incoming.is_about(reason.as_deref().unwrap_or_default());
    repair(incoming, context, user_id, Repair::Block { reason }).await
}

/// `POST /operator/api/users/{id}/unblock`, `/unbind` and `/reset`: 204, whether or not there was
/// anything to mend.
///
/// # Errors
/// [`Error::InvalidUserId`].
pub async fn repair(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
    repair: Repair,
) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    call(context, user_id.as_str(), repair).await?;
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

/// `POST /operator/api/users/{id}/flush`: 204 once D1 has all of the user's rows.
///
/// # Errors
/// [`Error::InvalidUserId`]; [`Error::DatabaseUnavailable`] where it doesn't take them now: they go on
/// waiting, and are sent by themselves.
pub async fn flush(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    if !call(context, user_id.as_str(), Flush {}).await? {
        return Err(Error::DatabaseUnavailable);
    }
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

/// `PUT /operator/api/users/{id}/tier`: 200 and the user, who has the tier from now on, until a
/// purchase changes.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's; [`Error::InvalidJson`].
pub async fn set_tier(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
) -> Result<Reply, Error> {
    let user_id = person(user_id)?;
    let body = body::read(incoming, context, MAX_BODY_BYTES).await?;
    let tier: SetTier = from_json(&body)?;
    incoming.is_about(tier.tier.map_or("none", Tier::name));
    call(context, user_id.as_str(), tier).await?;
    me::show(incoming, context, user_id.as_str()).await
}

/// `DELETE /operator/api/users/{id}/projects/{project}`: 204; its place is free for another.
///
/// # Errors
/// [`Error::InvalidUserId`]; [`Error::NotFound`] where the user has no such project.
pub async fn remove_project(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
    project: &str,
) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    incoming.is_about(project);
    if !call(context, user_id.as_str(), RemoveProject(project.to_owned())).await? {
        return Err(Error::NotFound);
    }
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Assignment {
    // It has to be said: `null` is the tier's upstream, or everybody's.
    #[serde(deserialize_with = "Option::deserialize")]
    upstream: Option<String>,
}

/// `PUT /operator/api/users/{id}/upstream`: 200 and the user, whose requests go there from now on.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's; [`Error::InvalidJson`], for an
/// upstream too that isn't there.
pub async fn assign(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = person(user_id)?;
    let Assignment { upstream } = from_json(&body::read(incoming, context, MAX_BODY_BYTES).await?)?;
    let settings = context.settings()?;
    if let Some(name) = &upstream
        && named(name, &settings.upstreams).is_none()
    {
        let names: Vec<_> = settings.upstreams.iter().map(|known| &*known.name).collect();
        let problem = format!(
            "There is no upstream of this name. Those that there are: {}. UPSTREAMS in the settings \
             names more.",
            names.join(", ")
        );
        return Err(Error::InvalidJson { problem });
    }
    incoming.is_about(upstream.as_deref().unwrap_or_default());
    call(context, user_id.as_str(), Repair::Assign { upstream }).await?;
    me::show(incoming, context, user_id.as_str()).await
}

/// A USER_ID that stands for one person, so not everyone's.
pub(super) fn person(user_id: &str) -> Result<UserId, Error> {
    let user_id = UserId::parse(user_id)?;
    if user_id.is_anonymous() { Err(Error::InvalidUserId) } else { Ok(user_id) }
}

/// An operator's JSON; without a body, everything is as if left out.
pub(super) async fn read_json<T: Default + DeserializeOwned>(
    incoming: &Incoming,
    context: &Context,
) -> Result<T, Error> {
    let body = body::read(incoming, context, MAX_BODY_BYTES).await?;
    if body.is_empty() {
        return Ok(T::default());
    }
    from_json(&body)
}

pub(super) fn from_json<T: DeserializeOwned>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|error| Error::InvalidJson {
        problem: format!("This isn't the JSON that is expected here: {error}."),
    })
}

fn check_text(text: &str, what: &str) -> Result<(), Error> {
    if text.chars().count() <= LONGEST_TEXT && !text.chars().any(char::is_control) {
        return Ok(());
    }
    let problem = format!("{what} has at most {LONGEST_TEXT} characters, on one line.");
    Err(Error::InvalidJson { problem })
}
