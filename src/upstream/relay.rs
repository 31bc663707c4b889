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
use wasm_streams::ReadableStream;
use wasm_streams::readable::IntoStream;
use web_sys::{AbortController, Response, ResponseInit};
use worker::Delay;

use super::body::append;
use super::exchange::Answer;
use super::plan::{Plan, entries};
use crate::context::Context;
use crate::error::Error;
use crate::objects::call;
use crate::reply::set;
use crate::settlement::Settlement;
use crate::{clock, log};

/// After so long a silence a stream of events gets a comment, so that no proxy on the way takes
/// it for dead.
const PING_AFTER: Millis = 15_000;

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

/// Begins the client's answer: status and the listed headers now, the body as it comes.
///
/// # Errors
/// [`Error::Internal`] where the runtime refuses the response.
pub fn respond(
    answer: Answer,
    plan: &Plan,
    settlement: Settlement,
    memory: Option<Memory>,
) -> Result<Response, Error> {
    let Answer { response: upstream, controller } = answer;
    let status = upstream.status();
    let format =
        upstream_policy::format(upstream.headers().get("content-type").ok().flatten().as_deref());
    let is_ok = upstream.ok();
    let body =
        upstream.body().filter(|_| !matches!(status, 204 | 205 | 304) && plan.method != "HEAD");
    let body = match body {
        None => {
            settlement.end(Outcome::answered(status, 0));
            None
        }
        Some(body) => {
            let metered =
                Metered { format, endpoint: plan.endpoint, strip_usage: plan.strip_usage };
            let relay = Relay {
                chunks: ReadableStream::from_raw(body).into_stream(),
                meter: Meter::new(metered),
                is_metered: is_ok && format != Format::Opaque,
                status,
                is_begun: false,
                is_event_stream: is_ok && format == Format::EventStream,
                last_sign: clock::reading(),
                memory: memory.filter(|_| is_ok),
                held: Vec::new(),
                settlement: Some(settlement),
                controller,
            };
            let chunks = stream::unfold(relay, |mut relay| async move {
                relay.next().await.map(|chunk| (chunk, relay))
            });
            Some(ReadableStream::from_stream(chunks).into_raw())
        }
    };
    let init = ResponseInit::new();
    init.set_status(status);
    let response = Response::new_with_opt_readable_stream_and_init(body.as_ref(), &init)
        .map_err(|_| Error::Internal)?;
    let headers = response.headers();
    for (name, value) in entries(&upstream.headers()) {
        if let Some(name) = upstream_policy::response_header_name(&name) {
            set(&headers, &name, &value);
        }
    }
    plan.forbid_retry_of(&response);
    Ok(response)
}

struct Relay {
    chunks: IntoStream<'static>,
    meter: Meter,
    /// Whether the meter has anything to read; what it has not passes without a copy.
    is_metered: bool,
    status: u16,
    /// Whether any of the body has come.
    is_begun: bool,
    /// When anything was last heard of the upstream, or said to the client.
    last_sign: Millis,
    is_event_stream: bool,
    /// Set until the answer's id is known and remembered; until then chunks are held.
    memory: Option<Memory>,
    held: Vec<u8>,
    /// Set until the end is known. A relay that is dropped before had its client leave.
    settlement: Option<Settlement>,
    controller: AbortController,
}

impl Relay {
    /// The next chunk for the client; `None` at the end.
    async fn next(&mut self) -> Option<Result<JsValue, JsValue>> {
        self.settlement.as_ref()?;
        loop {
            let ping_due = pin!(self.ping_due());
            match select(self.chunks.next(), ping_due).await {
                Either::Left((Some(Ok(chunk)), _)) => {
                    self.last_sign = clock::reading();
                    self.is_begun = true;
                    if let Some(chunk) = self.pass(chunk.unchecked_into()).await {
                        return Some(Ok(chunk));
                    }
                }
                Either::Left((Some(Err(error)), _)) => return Some(self.break_off(error)),
                Either::Left((None, _)) => return self.finish().await,
                Either::Right(((), _)) => {
                    self.last_sign = clock::reading();
                    if let Some(ping) = self.meter.ping() {
                        return Some(Ok(to_js(ping)));
                    }
                }
            }
        }
    }

    /// Ends when a stream of events has been silent for so long that a ping is due. A new timer
    /// each time: one wakes only the task that first waited for it, and each chunk is a task.
    fn ping_due(&self) -> impl Future<Output = ()> + use<> {
        let pings = self.is_event_stream && self.memory.is_none();
        let rest = PING_AFTER - (clock::reading() - self.last_sign).clamp(0, PING_AFTER);
        async move {
            if pings {
                Delay::from(Duration::from_millis(rest.unsigned_abs())).await;
            } else {
                pending::<()>().await;
            }
        }
    }

    /// What a chunk becomes; `None` where nothing of it may be sent yet.
    async fn pass(&mut self, chunk: Uint8Array) -> Option<JsValue> {
        if !self.is_metered {
            return Some(chunk.into());
        }
        let mut bytes = Vec::new();
        append(&mut bytes, &chunk);
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

    /// The upstream has ended its answer.
    async fn finish(&mut self) -> Option<Result<JsValue, JsValue>> {
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
        (!rest.is_empty()).then(|| Ok(to_js(&rest)))
    }

    /// The upstream broke off: a stream of events ends with an error that says so, any other body
    /// breaks off too.
    fn break_off(&mut self, error: JsValue) -> Result<JsValue, JsValue> {
        let last_words = self.meter.interrupted();
        self.settle(502, Some("upstream_interrupted"));
        if last_words.is_empty() { Err(error) } else { Ok(to_js(&last_words)) }
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

impl Drop for Relay {
    fn drop(&mut self) {
        if self.settlement.is_some() {
            self.controller.abort();
            self.settle(499, Some("client_left"));
        }
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
