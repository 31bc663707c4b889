//! `DELETE /operator/api/users/{id}`: a person is forgotten.

use domain::session::farewell::TellPaying;

use super::operator::person;
use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::objects::farewell::Part;
use crate::reply::Reply;
use crate::{log, reply};

/// `DELETE /operator/api/users/{id}`: 200 and what was done; 202 where it goes on after the answer,
/// since D1 can't be reached.
///
/// # Errors
/// [`Error::InvalidUserId`] for a name that is none, or everyone's; [`Error::SubscriptionRunning`]
/// where Stripe goes on charging the person, unless `?force=true` says that this is known;
/// [`Error::InvalidQuery`].
pub async fn forget(incoming: &Incoming, context: &Context, user_id: &str) -> Result<Reply, Error> {
    let user_id = person(user_id)?;
    let is_known = incoming.asked_flag("force")?;
    let paying = call(context, user_id.as_str(), TellPaying {}).await?;
    if !paying.is_empty() && !is_known {
        return Err(Error::SubscriptionRunning { subscriptions: paying.join(", ") });
    }
    let (name, request_id) = (user_id.to_string(), incoming.request_id.clone());
    let part = Part { user_id, request_id, at: incoming.arrived };
    let report = call(context, &name, part).await?.report();
    let status = if report.done { 200 } else { 202 };
    log::early(incoming, status, None);
    Ok(reply::json(status, &report))
}
