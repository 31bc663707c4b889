//! Sending a request upstream, and waiting for the answer's head.

use std::pin::pin;
use std::time::Duration;

use domain::clock::Millis;
use futures::future::{Either, select};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, RequestInit, RequestRedirect, Response};
use worker::Delay;

use super::body::Body;
use super::departure::Departure;
use super::plan::Plan;
use crate::error::Error;

/// An answer whose head has come.
pub struct Answer {
    /// The upstream's response, its body still to come.
    pub response: Response,
    /// Ends the exchange.
    pub controller: AbortController,
}

/// Why there is no answer.
pub enum NoAnswer {
    /// The client left.
    ClientLeft,
    /// The upstream failed.
    Failed(Error),
}

impl From<Error> for NoAnswer {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// Sends the request and waits until the answer begins, the time is up, or the client leaves.
///
/// # Errors
/// [`NoAnswer`]; the exchange is ended then.
pub async fn send(
    plan: &Plan,
    first_byte: Millis,
    departure: &mut Departure,
) -> Result<Answer, NoAnswer> {
    let controller = AbortController::new().map_err(|_| Error::Internal)?;
    let signal = controller.signal();
    let waiting = async {
        match attempt(plan, &signal).await {
            // The runtime has one word for "refused" and "broken off", so whether the upstream got
            // the request can't be known: only what may be done twice is tried twice.
            Err(_) if matches!(plan.method.as_str(), "GET" | "HEAD") => {
                attempt(plan, &signal).await
            }
            other => other,
        }
    };
    let patience = Delay::from(Duration::from_millis(first_byte.unsigned_abs()));
    let waiting = pin!(waiting);
    let in_time = select(waiting, patience);
    let failure = match select(in_time, departure).await {
        Either::Left((Either::Left((Ok(response), _)), _)) => {
            return match status_error(&response) {
                None => Ok(Answer { response, controller }),
                Some(error) => {
                    controller.abort();
                    Err(error.into())
                }
            };
        }
        Either::Left((Either::Left((Err(_), _)), _)) => failed_to_send(plan).into(),
        Either::Left((Either::Right(_), _)) => Error::UpstreamTimeout.into(),
        Either::Right(_) => NoAnswer::ClientLeft,
    };
    controller.abort();
    Err(failure)
}

async fn attempt(plan: &Plan, signal: &AbortSignal) -> Result<Response, JsValue> {
    let init = RequestInit::new();
    init.set_method(&plan.method);
    init.set_headers(&plan.headers);
    init.set_signal(Some(signal));
    init.set_redirect(RequestRedirect::Manual);
    match &plan.body {
        Body::Empty => {}
        Body::Stream(stream, _) => init.set_body(stream),
        Body::Bytes(bytes) => init.set_body(bytes),
    }
    fetch(&plan.url, &init).await
}

/// The runtime's own `fetch`.
///
/// # Errors
/// What it throws: nothing was answered.
pub async fn fetch(url: &str, init: &RequestInit) -> Result<Response, JsValue> {
    JsFuture::from(global_fetch(url, init)?).await?.dyn_into()
}

fn failed_to_send(plan: &Plan) -> Error {
    match &plan.body {
        Body::Stream(_, watch) if watch.has_tripped() => {
            Error::RequestTooLarge { limit: watch.limit }
        }
        _ => Error::UpstreamUnreachable,
    }
}

/// The answers that are not passed on: redirects, and a tunnel's word for a timeout.
fn status_error(response: &Response) -> Option<Error> {
    match response.status() {
        300..=303 | 305..=399 => Some(Error::UpstreamRedirect),
        524 => Some(Error::UpstreamTimeout),
        _ => None,
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Result<js_sys::Promise, JsValue>;
}
