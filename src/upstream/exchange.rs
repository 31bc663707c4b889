//! Sending a request upstream, and waiting for the answer's head.

use std::pin::pin;
use std::time::Duration;

use domain::settings::Settings;
use futures::future::{Either, pending, select};
use futures::{FutureExt, select_biased};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, RequestInit, RequestRedirect, Response};
use worker::Delay;

use super::body::{Body, BodyLimits, Progress, Upload};
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

/// How long the upstream has to begin its answer, and how large a body may be.
#[derive(Clone, Copy)]
pub struct Patience {
    /// Until the answer's head.
    pub first_byte: Duration,
    /// How large a body may be, and how long it may take.
    pub body: BodyLimits,
}

impl Patience {
    /// As the operator set it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            first_byte: Duration::from_millis(settings.upstream_first_byte_ms.into()),
            body: BodyLimits::of(settings),
        }
    }
}

/// Sends the request and waits until the answer begins, the time is up, or the client leaves.
///
/// # Errors
/// [`NoAnswer`]; the exchange is ended then.
pub async fn send(
    plan: &mut Plan,
    patience: Patience,
    departure: &mut Departure,
) -> Result<Answer, NoAnswer> {
    let controller = AbortController::new().map_err(|_| Error::Internal)?;
    let signal = controller.signal();
    let upload = plan.upload.take();
    let answered = async {
        match attempt(plan, &signal).await {
            // The runtime has one word for "refused" and "broken off", so whether the upstream got
            // the request can't be known: only what may be done twice is tried twice.
            Err(_) if matches!(plan.method.as_str(), "GET" | "HEAD") => {
                attempt(plan, &signal).await
            }
            other => other,
        }
    };
    let ended = select_biased! {
        failure = upload_failure(upload.as_ref()).fuse() => Err(failure),
        () = departure.fuse() => Err(NoAnswer::ClientLeft),
        answer = answered.fuse() => match answer {
            Ok(response) => status_error(&response).map_or(Ok(response), |error| Err(error.into())),
            Err(_) => Err(Error::UpstreamUnreachable.into()),
        },
        () = silence(upload.as_ref(), patience.first_byte).fuse() => {
            Err(Error::UpstreamTimeout.into())
        }
    };
    match ended {
        Ok(response) => Ok(Answer { response, controller }),
        Err(failure) => {
            controller.abort();
            Err(failure)
        }
    }
}

/// Ends when the upload fails, and not before.
async fn upload_failure(upload: Option<&Upload>) -> NoAnswer {
    let Some(upload) = upload else { return pending().await };
    match upload.ended().await {
        Progress::Whole => pending().await,
        Progress::Left => NoAnswer::ClientLeft,
        failure => upload.error(failure).into(),
    }
}

/// Ends when the upstream has been silent for so long: after it has all of the request, or while it takes
/// no more of it. What the client takes to send it is the client's.
async fn silence(upload: Option<&Upload>, patience: Duration) {
    if let Some(upload) = upload {
        let refused = async {
            loop {
                let refused = Duration::from_millis(upload.refused_for().into());
                let Some(rest) = patience.checked_sub(refused).filter(|rest| !rest.is_zero())
                else {
                    return;
                };
                Delay::from(rest).await;
            }
        };
        match select(pin!(upload.ended()), pin!(refused)).await {
            Either::Left((Progress::Whole, _)) => {}
            Either::Left(_) => pending().await,
            Either::Right(_) => return,
        }
    }
    Delay::from(patience).await;
}

async fn attempt(plan: &Plan, signal: &AbortSignal) -> Result<Response, JsValue> {
    let init = RequestInit::new();
    init.set_method(&plan.method);
    init.set_headers(&plan.headers.to_object());
    init.set_signal(Some(signal));
    init.set_redirect(RequestRedirect::Manual);
    match &plan.body {
        Body::Empty => {}
        Body::Stream(stream) => init.set_body(stream),
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

/// The answers that are not passed on: an upgrade that nobody asked for, redirects, a tunnel's word for a timeout, and what is no
/// status.
fn status_error(response: &Response) -> Option<Error> {
    match response.status() {
        100..=199 => Some(Error::UpstreamNonsense),
        300..=303 | 305..=399 => Some(Error::UpstreamRedirect),
        524 => Some(Error::UpstreamTimeout),
        600.. => Some(Error::UpstreamUnreachable),
        _ => None,
    }
}

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(catch, js_name = fetch)]
    fn global_fetch(url: &str, init: &RequestInit) -> Result<js_sys::Promise, JsValue>;
}
