//! `POST /webhook/stripe`: what Stripe tells of customers and their subscriptions.

use domain::stripe::event::Event;
use domain::stripe::signature;
use serde::Serialize;
use web_sys::Response;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::objects::customer::{NOBODY, Receive};
use crate::upstream::body;
use crate::{log, reply};

/// Far more than any event that matters here.
const MAX_BODY_BYTES: u64 = 256 * 1024;

#[derive(Serialize)]
struct Received {
    received: bool,
}

/// `POST /webhook/stripe`: 200 once the objects hold it, and for what is of no interest here.
///
/// # Errors
/// [`Error::NotConfigured`] without a secret; [`Error::InvalidSignature`], whatever the body is;
/// [`Error::InvalidJson`]; [`Error::Internal`] where an object doesn't hold it yet: Stripe sends it
/// again, and it changes nothing the second time.
pub async fn receive(incoming: &Incoming, context: &Context) -> Result<Response, Error> {
    let secrets = &context.settings()?.billing.webhook_secrets;
    if secrets.is_empty() {
        return Err(Error::NotConfigured("STRIPE_WEBHOOK_SECRET is missing".to_owned()));
    }
    body::check_size(incoming, MAX_BODY_BYTES)?;
    let body = body::read(incoming, MAX_BODY_BYTES).await?;
    let header = incoming.header("stripe-signature").unwrap_or_default();
    if !signature::is_good(&header, &body, secrets, incoming.arrived) {
        return Err(Error::InvalidSignature);
    }
    let event = Event::read(&body, secrets)
        .map_err(|error| Error::InvalidJson { problem: error.to_string() })?;
    if let Some(event) = event {
        let name = event.customer.clone().unwrap_or_else(|| NOBODY.to_owned());
        let request_id = incoming.request_id.clone();
        call(context, &name, Receive { event, request_id }).await?;
    }
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Received { received: true }))
}
