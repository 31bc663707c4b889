//! Watches one answer pass by: says what goes out, and what was used.
//!
//! An event stream leaves in whole events, so that one that breaks off can be ended with an error
//! that a client understands. Nothing else is held back, and nothing is changed but the one
//! usage chunk that the gateway itself had asked for. A [`Tally`] taken at any moment is right
//! for what was seen until then; whether the client is still there is not the meter's business.

mod interruption;
mod seen;
mod usage;

use serde::{Deserialize, Serialize};

use crate::endpoint::Protocol;
use crate::json_tap::JsonTap;
use crate::sse::{PieceKind, Splitter};
use seen::Seen;
use usage::total_tokens;

/// A comment that keeps an idle stream alive, and means nothing to a client.
pub const PING: &[u8] = b": ping\n\n";

/// The kind of an answer's body, from its `content-type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `text/event-stream`.
    EventStream,
    /// Anything else: passes unread.
    Opaque,
}

/// What is known of an answer before its body comes.
#[derive(Clone, Copy, Debug)]
pub struct Answer {
    /// The kind of its body.
    pub format: Format,
    /// The protocol that it speaks.
    pub protocol: Protocol,
    /// The usage chunk is not for the client: see [`crate::chat_body`].
    pub strip_usage: bool,
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
    /// Some of the answer's text came, and came before any error event.
    pub output_seen: bool,
    /// The stream itself said that the answer failed.
    pub error_event: bool,
    /// The stream itself said that it is over.
    pub done_seen: bool,
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

/// The watch over one answer.
#[derive(Debug)]
pub struct Meter {
    protocol: Protocol,
    reader: Reader,
}

#[derive(Debug)]
enum Reader {
    Json(JsonTap),
    EventStream(EventReader),
    Opaque,
}

#[derive(Debug, Default)]
struct EventReader {
    splitter: Splitter,
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
        let reader = match answer.format {
            Format::Json => Reader::Json(JsonTap::default()),
            Format::EventStream => Reader::EventStream(EventReader {
                strip_usage: answer.strip_usage,
                ..EventReader::default()
            }),
            Format::Opaque => Reader::Opaque,
        };
        Self { protocol: answer.protocol, reader }
    }

    /// Takes the next chunk of the upstream's answer; says what to send for it.
    pub fn push(&mut self, chunk: &[u8]) -> Output {
        match &mut self.reader {
            Reader::Json(tap) => {
                tap.push(chunk);
                Output::Unchanged
            }
            Reader::EventStream(events) => events.push(chunk),
            Reader::Opaque => Output::Unchanged,
        }
    }

    /// What is still to be sent when the upstream has ended its answer.
    pub fn finish(&mut self) -> Vec<u8> {
        match &mut self.reader {
            Reader::EventStream(events) => events.finish(),
            Reader::Json(_) | Reader::Opaque => Vec::new(),
        }
    }

    /// What is to be sent when the upstream broke off. An unfinished event is dropped; a stream
    /// that had said that it is over needs nothing; other kinds of body have no way to tell.
    pub fn interrupted(&mut self) -> Vec<u8> {
        match &mut self.reader {
            Reader::EventStream(events) => events.interrupted(self.protocol),
            Reader::Json(_) | Reader::Opaque => Vec::new(),
        }
    }

    /// What to send after a long silence; `None` where a ping has no place.
    pub fn ping(&mut self) -> Option<&'static [u8]> {
        match &mut self.reader {
            Reader::EventStream(events) if !events.splitter.is_inside_event() => {
                events.pinged = true;
                Some(PING)
            }
            _ => None,
        }
    }

    /// What was used so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let nothing = Seen::default();
        let (seen, reported, characters) = match &self.reader {
            Reader::Json(tap) => (&nothing, tap.usage().and_then(total_tokens), tap.characters()),
            Reader::EventStream(events) => {
                (&events.seen, events.seen.reported, events.seen.characters)
            }
            Reader::Opaque => (&nothing, None, 0),
        };
        let (tokens, source) = match reported {
            Some(tokens) => (tokens, TokensSource::Reported),
            None if characters > 0 => (characters.div_ceil(4), TokensSource::Estimated),
            None => (0, TokensSource::None),
        };
        Tally {
            tokens,
            source,
            output_seen: seen.output || (characters > 0 && !seen.error),
            error_event: seen.error,
            done_seen: seen.done,
        }
    }

    /// The id of the response, for the responses endpoint, as soon as it is known: before the
    /// bytes that carry it are sent on.
    #[must_use]
    pub fn response_id(&self) -> Option<&str> {
        match &self.reader {
            _ if self.protocol != Protocol::Responses => None,
            Reader::Json(tap) => tap.id(),
            Reader::EventStream(events) => events.seen.response_id.as_deref(),
            Reader::Opaque => None,
        }
    }
}

impl EventReader {
    fn push(&mut self, chunk: &[u8]) -> Output {
        // Bytes are copied only from where what goes out differs from what came in.
        let mut copy = self.splitter.is_holding().then(Vec::new);
        let mut rest = chunk;
        let mut passed = 0;
        while let Some(piece) = self.splitter.next_piece(&mut rest) {
            let strip = match piece.kind {
                PieceKind::Event => self.seen.read(piece.raw) && self.strip_usage,
                PieceKind::ByteOrderMark => self.pinged,
                PieceKind::LateLineFeed => self.stripped_last,
                PieceKind::Between | PieceKind::Oversized => false,
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

    fn finish(&mut self) -> Vec<u8> {
        // Some upstreams forget the last blank line, and some clients forgive it.
        let rest = self.splitter.take_rest();
        let strip = !rest.is_empty() && self.seen.read(&rest) && self.strip_usage;
        if strip { Vec::new() } else { rest }
    }

    fn interrupted(&mut self, protocol: Protocol) -> Vec<u8> {
        let inside = self.splitter.is_inside_event();
        self.splitter.take_rest();
        if self.seen.done && !inside {
            return Vec::new();
        }
        let end_of_event = if inside { "\n\n" } else { "" };
        format!("{end_of_event}{}", interruption::last_events(protocol, &self.seen)).into_bytes()
    }
}

#[cfg(test)]
mod tests;
