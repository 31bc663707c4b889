//! Watches one answer pass by: whether it is one, whether it is whole, and what was used.
//!
//! The status line decides nothing here: an answer is what its body says. An event stream leaves in whole
//! events, so that one that doesn't come to its protocol's end can be ended with an error that a client
//! understands. Nothing else is held back, and nothing is changed but the one usage chunk that the
//! gateway itself had asked for. A [`Tally`] taken at any moment is right for what was seen until then;
//! whether the client is still there is not the meter's business.

mod event;
mod facts;
mod last_words;
mod names;
mod seen;
mod usage;

use serde::{Deserialize, Serialize};

use crate::endpoint::{Endpoint, Protocol};
use crate::json_reader::{JsonReader, Progress};
use crate::sse::{PieceKind, Splitter};
use event::EventTap;
use facts::{Facts, Scope};
use seen::Seen;
use usage::Usage;

/// A comment that keeps an idle stream alive, and means nothing to a client. A blank line after it would
/// end an event, and some clients take one of nothing for a fault.
pub const PING: &[u8] = b": ping\n";

/// The kind of an answer's body, from its `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`, and what may be JSON under another name.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// A page for a browser: no answer of any model.
    Page,
    /// Anything else: passes unread, where it may be an answer.
    Opaque,
    /// In an encoding that nobody reads here.
    Encoded,
}

/// What is known of an answer before its body comes.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The kind of its body.
    pub format: Format,
    /// Where it was asked for.
    pub endpoint: Endpoint,
    /// The usage chunk is not for the client: see [`crate::chat_body`].
    pub strip_usage: bool,
    /// The id of the request, for the error that may end it.
    pub request_id: String,
}

/// What to send on in place of a chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// The chunk itself, as it came.
    Unchanged,
    /// These bytes; none means that there is nothing to send yet.
    Replaced(Vec<u8>),
}

/// What was used, as far as it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tally {
    /// Tokens, reported or estimated.
    pub tokens: u64,
    /// Where the number is from.
    pub source: TokensSource,
    /// Some of the answer's output came, and came before any error.
    pub output_seen: bool,
}

/// Where a number of tokens is from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokensSource {
    /// The upstream counted.
    Reported,
    /// Characters of text ÷ 4, rounded up, as the upstream reported nothing.
    Estimated,
    /// There was nothing to count.
    None,
}

impl TokensSource {
    /// The word for it in rows and replies.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Reported => "reported",
            Self::Estimated => "estimated",
            Self::None => "none",
        }
    }
}

/// Why an answer isn't one, or not a whole one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The connection broke off.
    BrokeOff,
    /// It ended as if it were whole, and isn't.
    EndedEarly,
    /// It ended, and there was nothing.
    Empty,
    /// It says itself that it failed.
    Failed,
    /// Nothing came for too long.
    Silent,
}

/// The watch over one answer.
#[derive(Debug)]
pub struct Meter {
    endpoint: Endpoint,
    request_id: String,
    reader: Reader,
    is_empty: bool,
}

#[derive(Debug)]
enum Reader {
    Json(Box<JsonReader<Facts>>),
    EventStream(Box<EventReader>),
    Page,
    Opaque,
}

#[derive(Debug)]
struct EventReader {
    protocol: Protocol,
    splitter: Splitter,
    tap: EventTap,
    seen: Seen,
    strip_usage: bool,
    /// The last piece was taken out; the LF that may still follow it goes the same way.
    stripped_last: bool,
    /// A ping went out: a byte order mark is then no longer at the beginning, and would spoil
    /// the event after it.
    pinged: bool,
}

impl Meter {
    /// A meter for one answer.
    #[must_use]
    pub fn new(answer: Answer) -> Self {
        let Answer { format, endpoint, strip_usage, request_id } = answer;
        let protocol = endpoint.protocol;
        let is_json_due =
            matches!(protocol, Protocol::Chat | Protocol::Responses | Protocol::Messages);
        let reader = match format {
            Format::EventStream => {
                Reader::EventStream(Box::new(EventReader::new(protocol, strip_usage)))
            }
            Format::Page => Reader::Page,
            Format::Encoded => Reader::Opaque,
            Format::Opaque if !(is_json_due && endpoint.is_inference()) => Reader::Opaque,
            Format::Json | Format::Opaque => {
                let facts = Facts::new(Scope { protocol, is_event: false });
                Reader::Json(Box::new(JsonReader::new(facts)))
            }
        };
        Self { endpoint, request_id, reader, is_empty: true }
    }

    /// Takes the next chunk of the upstream's answer; says what to send for it.
    pub fn push(&mut self, chunk: &[u8]) -> Output {
        self.is_empty &= chunk.is_empty();
        match &mut self.reader {
            Reader::Json(json) => {
                json.push(chunk);
                Output::Unchanged
            }
            Reader::EventStream(events) => events.push(chunk),
            Reader::Page | Reader::Opaque => Output::Unchanged,
        }
    }

    /// What is still to be sent when the upstream has ended its answer, and what the answer lacks to be
    /// a whole one.
    pub fn finish(&mut self) -> (Vec<u8>, Option<Cause>) {
        match &mut self.reader {
            Reader::EventStream(events) => {
                events.finish(self.endpoint.is_inference(), &self.request_id)
            }
            _ => (Vec::new(), self.lack()),
        }
    }

    /// What is to be sent when the upstream broke off or fell silent, and what the answer lacks. An
    /// unfinished event is dropped; other kinds of body have no way to tell.
    pub fn break_off(&mut self, cause: Cause) -> (Vec<u8>, Option<Cause>) {
        match &mut self.reader {
            Reader::EventStream(events) => events.break_off(cause, &self.request_id),
            _ => (Vec::new(), Some(cause)),
        }
    }

    /// What to send after a long silence; `None` where a ping has no place.
    pub fn ping(&mut self) -> Option<&'static [u8]> {
        match &mut self.reader {
            Reader::EventStream(events) if !events.splitter.is_inside_event() => {
                events.pinged = true;
                // It ends a line, and needs no end of the one before.
                events.stripped_last = true;
                Some(PING)
            }
            _ => None,
        }
    }

    /// What was used so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let (usage, characters, output_seen) = match &self.reader {
            Reader::Json(json) => {
                let facts = json.visitor();
                let is_output = facts.says_something && !self.is_error(facts);
                (facts.usage, facts.characters, is_output)
            }
            Reader::EventStream(events) => {
                let seen = &events.seen;
                (seen.usage, seen.characters(), seen.output)
            }
            Reader::Page => (None, 0, false),
            Reader::Opaque => (None, 0, !self.is_empty),
        };
        let (tokens, source) = match usage.as_ref().and_then(Usage::tokens) {
            _ if self.endpoint.is_free() => (0, TokensSource::None),
            Some(tokens) => (tokens, TokensSource::Reported),
            None if characters > 0 => (characters.div_ceil(4), TokensSource::Estimated),
            None => (0, TokensSource::None),
        };
        Tally { tokens, source, output_seen }
    }

    /// What the answer would lack to be a whole one, if it ended now.
    #[must_use]
    pub fn lack(&self) -> Option<Cause> {
        let is_inference = self.endpoint.is_inference();
        match &self.reader {
            Reader::EventStream(events) => events.lack(is_inference),
            Reader::Json(json) => {
                let facts = json.visitor();
                match json.progress() {
                    Progress::Blank => is_inference.then_some(Cause::Empty),
                    Progress::Other => is_inference.then_some(Cause::Failed),
                    Progress::Open => Some(Cause::EndedEarly),
                    Progress::Whole => self.is_error(facts).then_some(Cause::Failed),
                }
            }
            Reader::Page => is_inference.then_some(Cause::Failed),
            Reader::Opaque => (is_inference && self.is_empty).then_some(Cause::Empty),
        }
    }

    /// Whether what has come so far is known to be a whole answer, whatever comes after it.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        let has_ended = match &self.reader {
            Reader::EventStream(events) => events.seen.is_whole,
            Reader::Json(json) => json.progress() == Progress::Whole,
            Reader::Page | Reader::Opaque => false,
        };
        has_ended && self.lack().is_none()
    }

    /// Whether nothing more is to be expected: the stream itself has said that it is over.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(&self.reader, Reader::EventStream(events) if events.seen.is_over)
    }

    /// Whether the upstream has shown that it answers this caller: by output, or by a whole answer.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let has_output = matches!(&self.reader, Reader::EventStream(events) if events.seen.output);
        has_output || !self.is_empty && self.lack().is_none()
    }

    /// The id of the response, for the responses endpoint, as soon as it is known: before the
    /// bytes that carry it are sent on.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        match &self.reader {
            Reader::Json(json) => json.visitor().id.as_deref(),
            Reader::EventStream(events) => events.seen.response_id.as_deref(),
            Reader::Page | Reader::Opaque => None,
        }
    }

    /// Whether a body is an error. Something that is stored may say what became of it, and is an answer.
    fn is_error(&self, facts: &Facts) -> bool {
        facts.is_error() && (self.endpoint.is_inference() || !facts.has_id)
    }
}

impl EventReader {
    fn new(protocol: Protocol, strip_usage: bool) -> Self {
        Self {
            protocol,
            splitter: Splitter::default(),
            tap: EventTap::new(Scope { protocol, is_event: true }),
            seen: Seen::default(),
            strip_usage,
            stripped_last: false,
            pinged: false,
        }
    }

    fn push(&mut self, chunk: &[u8]) -> Output {
        // Bytes are copied only from where what goes out differs from what came in.
        let mut copy = self.splitter.is_holding().then(Vec::new);
        let mut rest = chunk;
        let mut passed = 0;
        while let Some(piece) = self.splitter.next_piece(&mut rest) {
            let strip = match piece.kind {
                PieceKind::Event => {
                    self.tap.push(piece.raw);
                    let event = self.tap.finish();
                    event.is_some_and(|event| self.seen.read(event, self.protocol))
                        && self.strip_usage
                }
                PieceKind::ByteOrderMark => self.pinged,
                PieceKind::LateLineFeed => self.stripped_last,
                PieceKind::Oversized { is_last } => {
                    self.tap.push(piece.raw);
                    if is_last && let Some(event) = self.tap.finish() {
                        self.seen.read(event, self.protocol);
                    }
                    false
                }
                PieceKind::Between => false,
            };
            self.stripped_last = strip;
            if strip && copy.is_none() {
                copy = chunk.get(..passed).map(<[u8]>::to_vec);
            } else if !strip && let Some(copy) = &mut copy {
                copy.extend_from_slice(piece.raw);
            }
            passed = chunk.len() - rest.len();
        }
        if copy.is_none() && self.splitter.is_holding() {
            copy = chunk.get(..passed).map(<[u8]>::to_vec);
        }
        copy.map_or(Output::Unchanged, Output::Replaced)
    }

    /// What is still to be sent, and the last words where the stream lacks its end.
    fn finish(&mut self, is_inference: bool, request_id: &str) -> (Vec<u8>, Option<Cause>) {
        let is_inside = self.splitter.is_inside_event();
        let mut rest = self.splitter.take_rest();
        // Some upstreams forget the last blank line, and some clients forgive it.
        self.tap.push(&rest);
        let is_readable = match self.tap.finish() {
            Some(event) => {
                let is_readable = event.is_done || event.facts.is_some();
                if self.seen.read(event, self.protocol) && self.strip_usage {
                    rest.clear();
                }
                is_readable
            }
            None => false,
        };
        let cause = self.lack(is_inference);
        let Some(why) = cause.filter(|cause| *cause != Cause::Failed || !self.seen.is_told) else {
            return (rest, cause);
        };
        if !is_readable {
            rest.clear();
        }
        if is_inside || !rest.is_empty() {
            rest.extend_from_slice(b"\n\n");
        }
        rest.extend(last_words::last_events(self.protocol, &self.seen, why, request_id).bytes());
        (rest, cause)
    }

    fn break_off(&mut self, cause: Cause, request_id: &str) -> (Vec<u8>, Option<Cause>) {
        let inside = self.splitter.is_inside_event();
        self.splitter.take_rest();
        if self.seen.is_whole && !inside {
            return (Vec::new(), self.lack(false));
        }
        let end_of_event = if inside { "\n\n" } else { "" };
        let last = last_words::last_events(self.protocol, &self.seen, cause, request_id);
        let cause = if self.seen.error.is_some() { Cause::Failed } else { cause };
        (format!("{end_of_event}{last}").into_bytes(), Some(cause))
    }

    fn lack(&self, is_inference: bool) -> Option<Cause> {
        let seen = &self.seen;
        if seen.error.is_some() {
            Some(Cause::Failed)
        } else if !seen.any {
            is_inference.then_some(Cause::Empty)
        } else {
            (!seen.is_whole && self.protocol != Protocol::Other).then_some(Cause::EndedEarly)
        }
    }
}

#[cfg(test)]
mod tests;
