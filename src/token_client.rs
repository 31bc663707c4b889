//! Asking who issues tokens: the provider of Codex tokens, and Cloudflare Access for its keys.

use std::time::Duration;

use domain::token_endpoint::Question;
use futures::future::{Either, select};
use futures::pin_mut;
use web_sys::{AbortController, RequestInit, RequestRedirect};
use worker::Delay;

use crate::headers::HeaderList;
use crate::upstream::bounded::{self, Unread};
use crate::upstream::exchange::fetch;

/// How long an answer may take, to its end.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer that is read, in bytes.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// An answer: its status, and its body.
pub type Answer = (u16, Vec<u8>);

/// Asks, and waits for the whole answer. Redirects are not followed: the question holds secrets.
///
/// # Errors
/// Why there is no answer, in words for the operator.
pub async fn ask(question: &Question) -> Result<Answer, &'static str> {
    let mut headers = HeaderList::default();
    headers.set("content-type", question.content_type);
    headers.set("accept", "application/json");
    let init = RequestInit::new();
    init.set_method("POST");
    init.set_headers(&headers.to_object());
    init.set_body(&question.body.expose().into());
    send(&question.url, &init).await
}

/// Reads what is there for everyone. Redirects are not followed.
///
/// # Errors
/// Why there is no answer, in words for the operator.
pub async fn get(url: &str) -> Result<Answer, &'static str> {
    send(url, &RequestInit::new()).await
}

async fn send(url: &str, init: &RequestInit) -> Result<Answer, &'static str> {
    let controller = AbortController::new().map_err(|_| "the runtime can't abort")?;
    init.set_signal(Some(&controller.signal()));
    init.set_redirect(RequestRedirect::Manual);
    let answered = exchange(url, init);
    pin_mut!(answered);
    match select(answered, Delay::from(PATIENCE)).await {
        Either::Left((answer, _)) => answer,
        Either::Right(_) => {
            controller.abort();
            Err("it took too long")
        }
    }
}

async fn exchange(url: &str, init: &RequestInit) -> Result<Answer, &'static str> {
    // What the runtime says of a failure may hold the address, and so whatever is in it.
    let response = fetch(url, init).await.map_err(|_| "it can't be reached")?;
    match bounded::read(&response, MAX_BODY_BYTES).await {
        Ok(body) => Ok((response.status(), body)),
        Err(Unread::Broken) => Err("its answer broke off"),
        Err(Unread::TooLong) => Err("its answer is too long"),
    }
}
