//! A user's state, live from its object: for the user at `/me`, and for the operator.

use domain::identifiers::UserId;
use domain::session::messages::Describe;
use domain::session::view::View;
use serde::Serialize;
use web_sys::Response;

use super::caller;
use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::{log, reply};

/// A user's state, and whose it is.
#[derive(Serialize)]
struct Named<'a> {
    user_id: &'a UserId,
    #[serde(flatten)]
    view: View,
}

/// `GET /me`: 200.
///
/// # Errors
/// Where the caller isn't proven.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Response, Error> {
    let user_id = caller::proven(incoming, context).await?.user_id;
    let view = call(context, user_id.as_str(), Describe {}).await?.for_the_user();
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Named { user_id: &user_id, view }))
}

/// `GET /operator/api/users/{id}`: 200, of a name that nobody has too.
///
/// # Errors
/// [`Error::InvalidUserId`].
pub async fn show(
    incoming: &Incoming,
    context: &Context,
    user_id: &str,
) -> Result<Response, Error> {
    let user_id = UserId::parse(user_id)?;
    let view = call(context, user_id.as_str(), Describe {}).await?;
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Named { user_id: &user_id, view }))
}
