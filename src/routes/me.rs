//! `GET /me`: a proven caller's own state.

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
pub struct Named<'a> {
    /// The user.
    pub user_id: &'a UserId,
    /// Its state.
    #[serde(flatten)]
    pub view: View,
}

/// `GET /me`.
///
/// # Errors
/// Where the caller isn't proven.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Response, Error> {
    let caller = caller::proven(incoming, context).await?;
    let view = call(context, caller.user_id.as_str(), Describe {}).await?.for_the_user();
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Named { user_id: &caller.user_id, view }))
}
