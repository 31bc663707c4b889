//! The way of an answer back to the client: chunk by chunk, metered, settled at its end.

use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use domain::entry::{Outcome, gives_back};
use domain::meter::{Answer as Metered, Format, Meter, Output, TokensSource};
use domain::session::messages::Remember;
use domain::upstream_policy;
use futures::FutureExt;
use futures::future::{Either, LocalBoxFuture, select};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::AbortController;

use super::departure::Departure;
use super::exchange::{Answer, NoAnswer};
use super::plan::Plan;
use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::log;
use crate::objects::call;
use crate::reply::{self, Reply};
use crate::settlement::Settlement;

/// After so long a silence a stream of events gets a comment, so that no proxy on the way takes
/// it for dead.
const PING_AFTER: u32 = 15_000;

/// The longest answer that is read before it is sent, in bytes.
const SHORT: u64 = 256 * 1024;

/// The user's object that must know an answer's id before the client does.
pub struct Memory {
    /// How to reach it.
    pub context: Context,
    /// Its name.
    pub user_id: String,
    /// The request that is answered.
    pub request_id: String,
    /// The session that the answer belongs to.
    pub session_key: String,
    /// The name of the upstream that gives it.
    pub upstream: String,
}

/// Begins the client's answer: status and the listed headers now, the body as it comes. A short one
/// is read before.
///
/// # Errors
/// [`Error::UpstreamInterrupted`] where a short answer broke off.
pub async fn respond(
    answer: Answer,
    plan: &Plan,
    settlement: Settlement,
    memory: Option<Memory>,
    departure: &mut Departure,
) -> Result<Reply, Error> {
    let Answer { response: upstream, controller } = answer;
    let (status, is_ok) = (upstream.status(), upstream.ok());
    let head = HeaderList::read(&upstream.headers());
    let format = upstream_policy::format(head.get("content-type"));
    let mut headers = HeaderList::default();
    for (name, value) in head.iter() {
        if let Some(name) = upstream_policy::response_header_name(name) {
            headers.set(&name, value);
        }
    }
    let body =
        upstream.body().filter(|_| !matches!(status, 204 | 205 | 304) && plan.method != "HEAD");
    let Some(body) = body else {
        settlement.end(Outcome::answered(status, 0));
        return Ok(Reply::new(status, headers, JsValue::NULL));
    };
    let metered =
        Metered { format, protocol: plan.endpoint.protocol, strip_usage: plan.strip_usage };
    let mut passage = Passage {
        meter: Meter::new(metered),
        is_metered: is_ok && format != Format::Opaque,
        status,
        is_begun: false,
        is_event_stream: is_ok && format == Format::EventStream,
        memory: memory.filter(|_| is_ok),
        held: Vec::new(),
        settlement: Some(settlement),
        controller,
    };
    let body = if format == Format::Json && is_short(&head) {
        match passage.at_once(&upstream, departure).await {
            Ok(body) => body,
            Err(NoAnswer::ClientLeft) => return Ok(reply::empty(499)),
            Err(NoAnswer::Failed(error)) => return Err(error),
        }
    } else {
        let ping_after = if passage.is_event_stream { PING_AFTER } else { 0 };
        relayed(&body, passage, ping_after)
    };
    let mut reply = Reply::new(status, headers, body);
    plan.forbid_retry_of(&mut reply);
    Ok(reply)
}

/// Whether an answer says that it is so short that its pieces aren't worth passing on one by one. What
/// is compressed may become any length.
fn is_short(head: &HeaderList) -> bool {
    let length = head.get("content-length").and_then(|text| text.parse::<u64>().ok());
    length.is_some_and(|length| length <= SHORT) && head.get("content-encoding").is_none()
}

/// What is done with an answer's body on its way, and with its end.
#[wasm_bindgen]
pub struct Passage {
    meter: Meter,
    /// Whether the meter has anything to read; what it has not passes without a copy.
    is_metered: bool,
    status: u16,
    /// Whether any of the body has come.
    is_begun: bool,
    is_event_stream: bool,
    /// Set until the answer's id is known and remembered; until then chunks are held.
    memory: Option<Memory>,
    held: Vec<u8>,
    /// Set until the end is known. One that is dropped before had its client leave.
    settlement: Option<Settlement>,
    controller: AbortController,
}

// After a panic nothing is asked of it but its end.
impl UnwindSafe for Passage {}
impl RefUnwindSafe for Passage {}

/// What a piece of a body becomes.
enum Passed {
    /// Nothing may be sent yet.
    Nothing,
    /// This is sent.
    Bytes(JsValue),
    /// This is sent once the user's object knows the answer's id.
    Later(LocalBoxFuture<'static, JsValue>),
}

impl Passed {
    async fn wait(self) -> JsValue {
        match self {
            Self::Nothing => JsValue::UNDEFINED,
            Self::Bytes(bytes) => bytes,
            Self::Later(bytes) => bytes.await,
        }
    }
}

impl From<Passed> for JsValue {
    fn from(passed: Passed) -> Self {
        match passed {
            Passed::Nothing => Self::UNDEFINED,
            Passed::Bytes(bytes) => bytes,
            Passed::Later(bytes) => future_to_promise(AssertUnwindSafe(bytes.map(Ok))).into(),
        }
    }
}

/// What `boundary.js` asks.
#[wasm_bindgen]
impl Passage {
    /// What a chunk becomes.
    pub fn push(&mut self, chunk: Uint8Array) -> JsValue {
        self.pass(chunk).into()
    }

    /// What is still to be sent now that the upstream has ended its answer.
    pub fn finish(&mut self) -> JsValue {
        self.end().into()
    }

    /// A sign of life, where one may be sent.
    pub fn ping(&mut self) -> Option<Uint8Array> {
        if self.memory.is_some() {
            return None;
        }
        self.meter.ping().map(Uint8Array::from)
    }

    /// The upstream broke off: a stream of events ends with an error that says so, any other body
    /// breaks off too.
    pub fn broken(&mut self) -> Option<Uint8Array> {
        let last_words = self.meter.interrupted();
        self.settle(502, Some("upstream_interrupted"));
        (!last_words.is_empty()).then(|| Uint8Array::from(last_words.as_slice()))
    }
}

impl Passage {
    /// The whole body: what the client gets, once all of it is here.
    async fn at_once(
        &mut self,
        upstream: &web_sys::Response,
        departure: &mut Departure,
    ) -> Result<JsValue, NoAnswer> {
        let whole = upstream.array_buffer().map_err(|_| Error::Internal)?;
        let whole = match select(JsFuture::from(whole), departure).await {
            Either::Left((Ok(whole), _)) => Uint8Array::new(&whole),
            Either::Left((Err(_), _)) => {
                self.settle(502, Some("upstream_interrupted"));
                return Err(Error::UpstreamInterrupted.into());
            }
            Either::Right(((), _)) => return Err(NoAnswer::ClientLeft),
        };
        let passed = self.pass(whole).wait().await;
        let rest = self.end().wait().await;
        Ok(if passed.is_undefined() { rest } else { passed })
    }

    fn pass(&mut self, chunk: Uint8Array) -> Passed {
        self.is_begun = true;
        if !self.is_metered {
            return Passed::Bytes(chunk.into());
        }
        let bytes = chunk.to_vec();
        let output = match self.meter.push(&bytes) {
            Output::Unchanged if self.memory.is_none() => return Passed::Bytes(chunk.into()),
            Output::Unchanged => bytes,
            Output::Replaced(bytes) => bytes,
        };
        if self.memory.is_none() {
            let is_something = !output.is_empty();
            return if is_something { Passed::Bytes(to_js(&output)) } else { Passed::Nothing };
        }
        self.held.extend(output);
        let Some(keep) = self.keep() else { return Passed::Nothing };
        let held = std::mem::take(&mut self.held);
        Passed::Later(keep.map(move |()| to_js(&held)).boxed_local())
    }

    /// Has the user's object remember the answer's id, once it is known.
    fn keep(&mut self) -> Option<impl Future<Output = ()> + use<>> {
        let response_id = self.meter.response_id()?.to_owned();
        let memory = self.memory.take()?;
        Some(async move { memory.keep(response_id).await })
    }

    fn end(&mut self) -> Passed {
        let mut rest = std::mem::take(&mut self.held);
        rest.extend(self.meter.finish());
        let ending = if self.meter.tally().error_event {
            self.ending(502, Some("upstream_error"))
        } else {
            self.ending(self.status, None)
        };
        let rest = if rest.is_empty() { JsValue::UNDEFINED } else { to_js(&rest) };
        let Some(keep) = self.keep() else {
            finish(ending);
            return Passed::Bytes(rest);
        };
        let finished = async move {
            keep.await;
            finish(ending);
            rest
        };
        Passed::Later(finished.boxed_local())
    }

    fn settle(&mut self, status: u16, code: Option<&str>) {
        finish(self.ending(status, code));
    }

    /// The duty to settle, and how; `None` where that is done.
    fn ending(&mut self, status: u16, code: Option<&str>) -> Option<(Settlement, Outcome)> {
        let settlement = self.settlement.take()?;
        let tally = self.meter.tally();
        let (tokens_est, tokens_source) =
            if self.is_metered { (tally.tokens, tally.source) } else { (0, TokensSource::None) };
        // What isn't a stream of events is output from its first byte on; an error's body is none.
        let is_output = tally.output_seen || (self.is_begun && !self.is_event_stream);
        let gives_back = gives_back(status, (200..300).contains(&self.status) && is_output);
        let error_code = code.map(str::to_owned);
        let answered = Outcome::answered(status, 0);
        let outcome = Outcome { tokens_est, tokens_source, error_code, gives_back, ..answered };
        Some((settlement, outcome))
    }
}

fn finish(ending: Option<(Settlement, Outcome)>) {
    if let Some((settlement, outcome)) = ending {
        settlement.end(outcome);
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.settlement.is_some() {
            self.controller.abort();
            self.settle(499, Some("client_left"));
        }
    }
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    fn relayed(body: &web_sys::ReadableStream, passage: Passage, ping_after: u32) -> JsValue;
}

impl Memory {
    async fn keep(&self, response_id: String) {
        let (request_id, session_key) = (self.request_id.clone(), self.session_key.clone());
        let upstream = self.upstream.clone();
        let remember = Remember { request_id, response_id, session_key, upstream };
        if call(&self.context, &self.user_id, remember).await.is_err() {
            // The answer is worth more than its continuation: it goes on without.
            log::fault("an answer was not remembered", &self.user_id);
        }
    }
}

fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}
