//! The way of an answer back to the client: chunk by chunk, metered, settled at its end.

use std::pin::pin;
use std::time::Duration;

use domain::clock::Millis;
use domain::entry::{Outcome, gives_back};
use domain::meter::{Answer as Metered, Format, Meter, Output, TokensSource};
use domain::session::messages::Remember;
use domain::upstream_policy;
use futures::future::{Either, pending, select};
use futures::{StreamExt, stream};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_streams::ReadableStream;
use wasm_streams::readable::IntoStream;
use web_sys::AbortController;
use worker::Delay;

use super::departure::Departure;
use super::exchange::{Answer, NoAnswer};
use super::plan::Plan;
use crate::context::Context;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::objects::call;
use crate::reply::{self, Reply};
use crate::settlement::Settlement;
use crate::{clock, log};

/// After so long a silence a stream of events gets a comment, so that no proxy on the way takes
/// it for dead.
const PING_AFTER: Millis = 15_000;

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
/// [`NoAnswer`] where a short answer broke off, or the client left before it was there.
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
    let metered = Metered { format, endpoint: plan.endpoint, strip_usage: plan.strip_usage };
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
        let chunks = ReadableStream::from_raw(body).into_stream();
        let relay = Relay { chunks, last_sign: clock::reading(), passage };
        let chunks = stream::unfold(relay, |mut relay| async move {
            relay.next().await.map(|chunk| (chunk, relay))
        });
        ReadableStream::from_stream(chunks).into_raw().into()
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
struct Passage {
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
        self.is_begun = whole.length() > 0;
        let passed = self.pass(whole).await;
        let rest = self.finish().await;
        Ok(passed.or(rest).unwrap_or(JsValue::NULL))
    }

    /// What a chunk becomes; `None` where nothing of it may be sent yet.
    async fn pass(&mut self, chunk: Uint8Array) -> Option<JsValue> {
        if !self.is_metered {
            return Some(chunk.into());
        }
        let bytes = chunk.to_vec();
        let output = match self.meter.push(&bytes) {
            Output::Unchanged if self.memory.is_none() => return Some(chunk.into()),
            Output::Unchanged => bytes,
            Output::Replaced(bytes) => bytes,
        };
        if let Some(memory) = &self.memory {
            self.held.extend(output);
            let response_id = self.meter.response_id()?.to_owned();
            memory.keep(response_id).await;
            self.memory = None;
            return Some(to_js(&std::mem::take(&mut self.held)));
        }
        (!output.is_empty()).then(|| to_js(&output))
    }

    /// The upstream has ended its answer; what is still to be sent, if anything.
    async fn finish(&mut self) -> Option<JsValue> {
        let mut rest = std::mem::take(&mut self.held);
        rest.extend(self.meter.finish());
        if let (Some(memory), Some(id)) = (self.memory.take(), self.meter.response_id()) {
            memory.keep(id.to_owned()).await;
        }
        let tally = self.meter.tally();
        if tally.error_event {
            self.settle(502, Some("upstream_error"));
        } else {
            self.settle(self.status, None);
        }
        (!rest.is_empty()).then(|| to_js(&rest))
    }

    fn settle(&mut self, status: u16, code: Option<&str>) {
        let Some(settlement) = self.settlement.take() else { return };
        let tally = self.meter.tally();
        let (tokens_est, tokens_source) =
            if self.is_metered { (tally.tokens, tally.source) } else { (0, TokensSource::None) };
        // What isn't a stream of events is output from its first byte on; an error's body is none.
        let is_output = tally.output_seen || (self.is_begun && !self.is_event_stream);
        let gives_back = gives_back(status, (200..300).contains(&self.status) && is_output);
        let error_code = code.map(str::to_owned);
        let answered = Outcome::answered(status, 0);
        settlement.end(Outcome { tokens_est, tokens_source, error_code, gives_back, ..answered });
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

/// An answer that passes chunk by chunk.
struct Relay {
    chunks: IntoStream<'static>,
    /// When anything was last heard of the upstream, or said to the client.
    last_sign: Millis,
    passage: Passage,
}

impl Relay {
    /// The next chunk for the client; `None` at the end.
    async fn next(&mut self) -> Option<Result<JsValue, JsValue>> {
        self.passage.settlement.as_ref()?;
        loop {
            let ping_due = pin!(self.ping_due());
            match select(self.chunks.next(), ping_due).await {
                Either::Left((Some(Ok(chunk)), _)) => {
                    self.last_sign = clock::reading();
                    self.passage.is_begun = true;
                    if let Some(chunk) = self.passage.pass(chunk.unchecked_into()).await {
                        return Some(Ok(chunk));
                    }
                }
                Either::Left((Some(Err(error)), _)) => return Some(self.break_off(error)),
                Either::Left((None, _)) => return self.passage.finish().await.map(Ok),
                Either::Right(((), _)) => {
                    self.last_sign = clock::reading();
                    if let Some(ping) = self.passage.meter.ping() {
                        return Some(Ok(to_js(ping)));
                    }
                }
            }
        }
    }

    /// Ends when a stream of events has been silent for so long that a ping is due. A new timer
    /// each time: one wakes only the task that first waited for it, and each chunk is a task.
    fn ping_due(&self) -> impl Future<Output = ()> + use<> {
        let pings = self.passage.is_event_stream && self.passage.memory.is_none();
        let rest = PING_AFTER - (clock::reading() - self.last_sign).clamp(0, PING_AFTER);
        async move {
            if pings {
                Delay::from(Duration::from_millis(rest.unsigned_abs())).await;
            } else {
                pending::<()>().await;
            }
        }
    }

    /// The upstream broke off: a stream of events ends with an error that says so, any other body
    /// breaks off too.
    fn break_off(&mut self, error: JsValue) -> Result<JsValue, JsValue> {
        let last_words = self.passage.meter.interrupted();
        self.passage.settle(502, Some("upstream_interrupted"));
        if last_words.is_empty() { Err(error) } else { Ok(to_js(&last_words)) }
    }
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
