//! `/operator/api/users/{id}/handle`: what OpenClaw shows for a user on its way back.

use domain::handle;
use domain::identifiers::UserId;
use domain::session::return_path::HandleRecord;
use domain::session::return_path::messages::KeepHandle;
use serde::Serialize;

use super::operator::person;
use crate::context::{Context, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::{log, reply};

#[derive(Serialize)]
struct MintedHandle<'a> {
    handle: &'a str,
}

/// `POST /operator/api/users/{id}/handle`: 201 and the handle, this once. The one from before is good
/// no more.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's.
pub async fn mint(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = person(user_id)?;
    let (handle, hash) = handle::mint(&user_id, &random_bytes());
    let record = HandleRecord { hash, since: incoming.arrived };
    if !call(context, user_id.as_str(), KeepHandle(Some(record))).await? {
        // The person is being forgotten, and nothing is given to who is.
        return Err(Error::UserBlocked);
    }
    log::early(incoming, 201, None);
    Ok(reply::json(201, &MintedHandle { handle: handle.expose() }))
}

/// `DELETE /operator/api/users/{id}/handle`: 204, whether there was one or not.
///
/// # Errors
/// [`Error::InvalidUserId`].
pub async fn void(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    call(context, user_id.as_str(), KeepHandle(None)).await?;
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}
