//! Sending a request upstream, and waiting for the answer's head.

use std::time::Duration;

use domain::settings::Settings;
use futures::channel::oneshot;
use futures::future::pending;
use futures::{FutureExt, select_biased};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::{AbortController, AbortSignal, RequestInit, RequestRedirect, Response};
use worker::Delay;

use super::body::{Body, UploadFailure};
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
    /// The most bytes of a body.
    pub max_body_bytes: u64,
}

impl Patience {
    /// As the operator set it.
    pub fn of(settings: &Settings) -> Self {
        Self {
            first_byte: Duration::from_millis(settings.upstream_first_byte_ms.into()),
            max_body_bytes: settings.max_body_bytes,
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
        failure = upload_failure(upload).fuse() => Err(match failure {
            UploadFailure::ClientLeft => NoAnswer::ClientLeft,
            UploadFailure::TooLarge => {
                Error::RequestTooLarge { limit: patience.max_body_bytes }.into()
            }
        }),
        () = departure.fuse() => Err(NoAnswer::ClientLeft),
        answer = answered.fuse() => match answer {
            Ok(response) => status_error(&response).map_or(Ok(response), |error| Err(error.into())),
            Err(_) => Err(Error::UpstreamUnreachable.into()),
        },
        () = Delay::from(patience.first_byte).fuse() => Err(Error::UpstreamTimeout.into()),
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
async fn upload_failure(upload: Option<oneshot::Receiver<UploadFailure>>) -> UploadFailure {
    if let Some(upload) = upload
        && let Ok(failure) = upload.await
    {
        return failure;
    }
    pending().await
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

/// The answers that are not passed on: redirects, a tunnel's word for a timeout, and what is no
/// status.
fn status_error(response: &Response) -> Option<Error> {
    match response.status() {
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
