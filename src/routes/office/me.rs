//! A user's state, live from its object: for the user at `/me`, and for the operator.

use std::collections::BTreeMap;

use domain::identifiers::UserId;
use domain::session::messages::Describe;
use domain::session::view::View;
use domain::tier::Tier;
use serde::Serialize;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::routes::caller;
use crate::{log, reply, upgrade};

/// A user's state, and whose it is.
#[derive(Serialize)]
struct Named<'a> {
    user_id: &'a UserId,
    #[serde(flatten)]
    view: View,
    #[serde(flatten)]
    pages: Option<Pages<'a>>,
}

/// Where the user can buy, and manage what was bought.
#[derive(Serialize)]
struct Pages<'a> {
    upgrade: BTreeMap<Tier, String>,
    billing_portal: Option<&'a str>,
}

/// `GET /me`: 200.
///
/// # Errors
/// Where the caller isn't proven.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let user_id = caller::proven(incoming, context).await?.user_id;
    let view = call(context, user_id.as_str(), Describe {}).await?.for_the_user();
    let settings = context.settings()?;
    // Who has a subscription would pay for another beside it; it is changed in the portal.
    let upgrade = if view.subscribed {
        BTreeMap::new()
    } else {
        upgrade::links(incoming, &settings, &user_id)
    };
    let pages = Some(Pages { upgrade, billing_portal: settings.billing.portal_url.as_deref() });
    log::early(incoming, 200, None);
    let reply = reply::json(200, &Named { user_id: &user_id, view, pages });
    // The links are the user's own.
    Ok(reply.with([("cache-control", "no-store")]))
}

/// `GET /operator/api/users/{id}`: 200, of a name that nobody has too.
///
/// # Errors
/// [`Error::InvalidUserId`].
pub async fn show(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = UserId::parse(user_id)?;
    let view = call(context, user_id.as_str(), Describe {}).await?;
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Named { user_id: &user_id, view, pages: None }))
}
