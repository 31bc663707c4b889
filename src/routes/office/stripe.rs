//! `POST /webhook/stripe`: what Stripe tells of customers and their subscriptions.

use domain::stripe::event::{Event, is_of_test_mode};
use domain::stripe::signature;
use serde::Serialize;
use serde_json::json;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::objects::customer::{NOBODY, Receive};
use crate::reply::Reply;
use crate::upstream::body;
use crate::{log, reply};

/// Far more than any event that matters here.
const MAX_BODY_BYTES: u64 = 256 * 1024;

#[derive(Serialize)]
struct Received {
    received: bool,
}

/// `POST /webhook/stripe`: 200 once the objects hold it, and for what is of no interest here: test
/// mode, too, but where it is being tried out.
///
/// # Errors
/// [`Error::NotConfigured`] without a secret; [`Error::InvalidSignature`], whatever the body is;
/// [`Error::InvalidJson`]; [`Error::Internal`] where an object doesn't hold it yet: Stripe sends it
/// again, and it changes nothing the second time.
pub async fn receive(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let billing = &context.settings()?.billing;
    let secrets = &billing.webhook_secrets;
    if secrets.is_empty() {
        return Err(Error::NotConfigured("STRIPE_WEBHOOK_SECRET is missing".to_owned()));
    }
    // Whoever signs nothing isn't read.
    let header = incoming.header("stripe-signature").ok_or(Error::InvalidSignature)?;
    body::check_size(incoming, MAX_BODY_BYTES)?;
    let body = body::read(incoming, context, MAX_BODY_BYTES).await?;
    if !signature::is_good(header, &body, secrets, incoming.arrived) {
        return Err(Error::InvalidSignature);
    }
    let event = Event::read(&body, secrets)
        .map_err(|error| Error::InvalidJson { problem: error.to_string() })?;
    let is_a_try = is_of_test_mode(&body) && !billing.takes_tests;
    if let Some(event) = event.as_ref().filter(|_| is_a_try) {
        let event =
            json!({ "id": event.id, "why": "of test mode, and STRIPE_TEST_MODE isn't true" });
        log::event("stripe_event_ignored", &event);
    }
    if let Some(event) = event.filter(|_| !is_a_try) {
        let name = event.customer.clone().unwrap_or_else(|| NOBODY.to_owned());
        let request_id = incoming.request_id.clone();
        call(context, &name, Receive { event, request_id }).await?;
    }
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Received { received: true }))
}
