//! The way of an answer back to the client: chunk by chunk, metered, settled at its end.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use domain::entry::{Outcome, gives_back};
use domain::meter::{Answer as Metered, Cause, Format, Meter, Output, TokensSource};
use domain::redactor::Redactor;
use domain::upstream_policy;
use futures::future::LocalBoxFuture;
use futures::{FutureExt, select_biased};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::{JsFuture, future_to_promise};
use web_sys::AbortController;
use worker::Delay;

use super::bounded::{self, Unread};
use super::departure::Departure;
use super::encoding;
use super::exchange::{Answer, NoAnswer};
use super::plan::Plan;
use super::witness::Witness;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::reply::{self, Reply};
use crate::settlement::Settlement;

/// After so long a silence a stream of events gets a comment, so that no proxy on the way takes
/// it for dead.
const PING_AFTER: u32 = 15_000;

/// The longest answer that is read before it is sent, in bytes.
const SHORT: usize = 256 * 1024;

/// What comes out of an encoding has at most so many bytes.
const DECODED: u64 = 2 * 1024 * 1024;

/// The most that passes of an error, in bytes.
const MOST_OF_AN_ERROR: usize = 1024 * 1024;

/// The most that is held of an answer until its id is known, in bytes.
const MOST_HELD: usize = 256 * 1024;

/// Begins the client's answer: status and the listed headers now, the body as it comes. A short one
/// is read before.
///
/// # Errors
/// [`Error::UpstreamInterrupted`] where a short answer broke off, [`Error::UpstreamTimeout`] where it never
/// came to its end.
pub async fn respond(
    answer: Answer,
    plan: &Plan,
    settlement: Settlement,
    witness: Option<Witness>,
    departure: &mut Departure,
) -> Result<Reply, Error> {
    let Answer { response: upstream, controller } = answer;
    let (status, is_ok) = (upstream.status(), upstream.ok());
    let head = HeaderList::read(&upstream.headers());
    let encoding = upstream_policy::remaining_encoding(head.get("content-encoding"));
    // What may have the upstream's words in it is read, whatever it is in.
    let is_decoded = encoding.is_some() && (!is_ok || is_short(&head));
    let format = match encoding {
        Some(_) if !is_decoded => Format::Encoded,
        _ => upstream_policy::format(head.get("content-type")),
    };
    let is_event_stream = is_ok && format == Format::EventStream;
    let metered = Metered {
        format,
        endpoint: plan.endpoint,
        strip_usage: plan.strip_usage,
        request_id: plan.headers.get("x-request-id").unwrap_or_default().to_owned(),
    };
    let redactor = Redactor::of_headers(plan.headers.iter());
    let mut headers = passed_headers(&head, &redactor);
    let mut passage = Passage {
        meter: Meter::new(metered),
        redactor,
        passed: 0,
        is_ok,
        status,
        is_begun: false,
        is_event_stream,
        witness: witness.filter(|_| is_ok),
        held: Vec::new(),
        settlement: Some(settlement),
        controller,
    };
    let is_whole = encoding.is_none() && format == Format::Json && is_short(&head);
    let body = match (upstream.body(), encoding) {
        _ if matches!(status, 204 | 205 | 304) || plan.method == "HEAD" => passage.bare(),
        (None, _) => passage.end().wait().await,
        (Some(_), encoding) if is_whole || is_decoded => {
            match passage.at_once(&upstream, encoding, plan, departure).await {
                Ok(body) => body,
                Err(NoAnswer::ClientLeft) => return Ok(reply::empty(499)),
                Err(NoAnswer::Failed(error)) => return Err(error),
            }
        }
        (Some(body), encoding) => {
            if let Some(encoding) = encoding {
                headers.set("content-encoding", &encoding);
            }
            let ping_after = if is_event_stream { PING_AFTER } else { 0 };
            relayed(&body, passage, ping_after, plan.stream_idle_ms)
        }
    };
    let mut reply = Reply::new(status, headers, body);
    plan.forbid_retry_of(&mut reply);
    Ok(reply)
}

fn passed_headers(head: &HeaderList, redactor: &Redactor) -> HeaderList {
    let mut headers = HeaderList::default();
    for (name, value) in
        head.iter().filter(|(name, value)| upstream_policy::is_sensible(name, value))
    {
        if let Some(name) = upstream_policy::response_header_name(name) {
            headers.set(&name, &redactor.text(value));
        }
    }
    headers
}

/// Whether an answer says that it is so short that its pieces aren't worth passing on one by one. What
/// the runtime has taken out of an encoding may have any length.
fn is_short(head: &HeaderList) -> bool {
    let length = head.get("content-length").and_then(|text| text.parse::<usize>().ok());
    let is_its_own = !matches!(head.get("content-encoding"), Some("gzip" | "br"));
    is_its_own && length.is_some_and(|length| length <= SHORT)
}

/// What is done with an answer's body on its way, and with its end.
#[wasm_bindgen]
pub struct Passage {
    meter: Meter,
    /// Takes the credentials of the request out of all that is sent.
    redactor: Redactor,
    /// How much of an error has passed, in bytes.
    passed: usize,
    /// Whether the answer may be one: what isn't passes unread.
    is_ok: bool,
    status: u16,
    /// Whether any of the body has come.
    is_begun: bool,
    is_event_stream: bool,
    /// What is to be told before the client gets what shows it.
    witness: Option<Witness>,
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
    /// This is sent once the user's object knows of it.
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
        if self.witness.as_ref().is_some_and(Witness::waits_for_id) {
            return None;
        }
        self.meter.ping().map(Uint8Array::from)
    }

    /// Whether the answer itself has said that nothing more comes.
    pub fn is_over(&self) -> bool {
        self.meter.is_over()
    }

    /// The upstream broke off: a stream of events ends with an error that says so, any other body
    /// breaks off too.
    pub fn broken(&mut self) -> Option<Uint8Array> {
        self.break_off(Cause::BrokeOff)
    }

    /// The same of one that has been silent for too long.
    pub fn silent(&mut self) -> Option<Uint8Array> {
        self.controller.abort();
        self.break_off(Cause::Silent)
    }
}

impl Passage {
    /// There is no body.
    fn bare(&mut self) -> JsValue {
        if let Some(settlement) = self.settlement.take() {
            settlement.end(Outcome::answered(self.status, 0));
        }
        JsValue::NULL
    }

    /// The whole body: what the client gets, once all of it is here.
    async fn at_once(
        &mut self,
        upstream: &web_sys::Response,
        encoding: Option<String>,
        plan: &Plan,
        departure: &mut Departure,
    ) -> Result<JsValue, NoAnswer> {
        let silence = Delay::from(Duration::from_millis(plan.stream_idle_ms.into()));
        let (code, error) = select_biased! {
            whole = whole(upstream, encoding).fuse() => match whole {
                Ok(whole) => {
                    let passed = self.pass(whole).wait().await;
                    let rest = self.end().wait().await;
                    return Ok(joined(passed, rest));
                }
                Err(error) => (error.code(), error),
            },
            () = departure.fuse() => return Err(NoAnswer::ClientLeft),
            () = silence.fuse() => (Cause::Silent.code(), Error::UpstreamTimeout),
        };
        self.controller.abort();
        finish(self.ending_as(error.status(), Some(code)));
        Err(error.into())
    }

    fn pass(&mut self, chunk: Uint8Array) -> Passed {
        self.is_begun = true;
        let bytes = chunk.to_vec();
        let output = match self.read(&bytes) {
            Output::Unchanged => match self.redactor.push(&bytes) {
                Cow::Borrowed(said) if said.len() == bytes.len() && self.witness.is_none() => {
                    return Passed::Bytes(chunk.into());
                }
                said => said.into_owned(),
            },
            Output::Replaced(bytes) => self.redactor.push(&bytes).into_owned(),
        };
        if self.held.is_empty() {
            self.held = output;
        } else {
            self.held.extend(output);
        }
        let told = self.witness.as_mut().and_then(|witness| witness.tell(&self.meter));
        let waits = self.witness.as_mut().is_some_and(|witness| {
            if self.held.len() > MOST_HELD {
                witness.forget();
            }
            witness.waits_for_id()
        });
        if self.held.is_empty() || waits {
            return told.map_or(Passed::Nothing, |told| {
                Passed::Later(told.map(|()| JsValue::UNDEFINED).boxed_local())
            });
        }
        let held = std::mem::take(&mut self.held);
        match told {
            None => Passed::Bytes(to_js(&held)),
            Some(told) => Passed::Later(told.map(move |()| to_js(&held)).boxed_local()),
        }
    }

    /// Has the meter read a chunk. Of an error no more passes than anybody reads.
    fn read(&mut self, bytes: &[u8]) -> Output {
        if self.is_ok {
            return self.meter.push(bytes);
        }
        self.passed = self.passed.saturating_add(bytes.len());
        if self.passed <= MOST_OF_AN_ERROR {
            return Output::Unchanged;
        }
        self.controller.abort();
        Output::Replaced(Vec::new())
    }

    fn end(&mut self) -> Passed {
        let mut rest = std::mem::take(&mut self.held);
        let mut lack = None;
        if self.is_ok {
            let (last, cause) = self.meter.finish();
            rest.extend_from_slice(&self.redactor.push(&last));
            lack = cause;
        }
        rest.extend(self.redactor.finish());
        let told = self.witness.take().and_then(|mut witness| witness.tell(&self.meter));
        let ending = self.ending(lack);
        let rest = if rest.is_empty() { JsValue::UNDEFINED } else { to_js(&rest) };
        let Some(told) = told else {
            finish(ending);
            return Passed::Bytes(rest);
        };
        let finished = async move {
            told.await;
            finish(ending);
            rest
        };
        Passed::Later(finished.boxed_local())
    }

    fn break_off(&mut self, cause: Cause) -> Option<Uint8Array> {
        let is_told = self.is_event_stream;
        let (last_words, cause) =
            if is_told { self.meter.break_off(cause) } else { (Vec::new(), Some(cause)) };
        finish(self.ending(cause));
        let mut said = self.redactor.push(&last_words).into_owned();
        said.extend(self.redactor.finish());
        is_told.then(|| Uint8Array::from(said.as_slice()))
    }

    /// The duty to settle, and how; `None` where that is done.
    fn ending(&mut self, lack: Option<Cause>) -> Option<(Settlement, Outcome)> {
        let status = lack.map_or(self.status, Cause::status);
        self.ending_as(status, lack.map(Cause::code))
    }

    fn ending_as(&mut self, status: u16, code: Option<&str>) -> Option<(Settlement, Outcome)> {
        let settlement = self.settlement.take()?;
        let tally = self.meter.tally();
        let (tokens_est, tokens_source) =
            if self.is_ok { (tally.tokens, tally.source) } else { (0, TokensSource::None) };
        // What isn't a stream of events is output from its first byte on, unless it is an error.
        let is_body =
            !self.is_event_stream && self.is_begun && self.meter.lack() != Some(Cause::Failed);
        let gives_back = gives_back(status, self.is_ok && (tally.output_seen || is_body));
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
        if self.settlement.is_none() {
            return;
        }
        self.controller.abort();
        // Who closes first decides nothing: the answer has come to its end, or has said that it failed.
        let ending = match self.meter.lack() {
            Some(Cause::Failed) if self.is_ok => self.ending(Some(Cause::Failed)),
            _ if self.is_ok && self.meter.is_whole() => self.ending(None),
            _ => self.ending_as(499, Some("client_left")),
        };
        finish(ending);
    }
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    fn relayed(
        body: &web_sys::ReadableStream,
        passage: Passage,
        ping_after: u32,
        idle_after: u32,
    ) -> JsValue;
}

/// All of a body, out of the encoding that it is in.
async fn whole(
    upstream: &web_sys::Response,
    encoding: Option<String>,
) -> Result<Uint8Array, Error> {
    let Some(encoding) = encoding else {
        let whole = JsFuture::from(upstream.array_buffer().map_err(|_| Error::Internal)?).await;
        return whole.map(|whole| Uint8Array::new(&whole)).map_err(|_| Error::UpstreamInterrupted);
    };
    let encoded = match bounded::read(upstream, SHORT).await {
        Ok(encoded) => Uint8Array::from(encoded.as_slice()),
        Err(Unread::Broken) => return Err(Error::UpstreamInterrupted),
        Err(Unread::TooLong) => return Err(Error::UpstreamNonsense),
    };
    encoding::decode(&encoded, &encoding, DECODED).await.map_err(|_| Error::UpstreamNonsense)
}

/// Two parts of a body, each of which may be missing.
fn joined(first: JsValue, second: JsValue) -> JsValue {
    match (first.dyn_into::<Uint8Array>(), second.dyn_into::<Uint8Array>()) {
        (Ok(first), Ok(second)) => to_js(&[first.to_vec(), second.to_vec()].concat()),
        (Ok(part), Err(_)) | (Err(_), Ok(part)) => part.into(),
        (Err(none), Err(_)) => none,
    }
}

fn to_js(bytes: &[u8]) -> JsValue {
    Uint8Array::from(bytes).into()
}
