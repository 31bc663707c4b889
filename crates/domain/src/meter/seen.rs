//! What the events of one stream have said so far.

use super::event::Event;
use super::facts::{Complaint, Facts};
use super::usage::Usage;
use crate::endpoint::Protocol;

/// Everything that is counted or remembered of a stream.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Seen {
    /// What was reported as used.
    pub usage: Option<Usage>,
    /// There is output, and no error before it.
    pub output: bool,
    /// What an event said that said that the answer failed.
    pub error: Option<Complaint>,
    /// A client of the answer's protocol understands the event that said so.
    pub is_told: bool,
    /// Any event came, besides one that ends the stream.
    pub any: bool,
    /// An event said that the answer is complete.
    pub is_whole: bool,
    /// An event said that nothing comes any more.
    pub is_over: bool,
    /// The id of the response, from the first event that carries it.
    pub response_id: Option<String>,
    /// The number of the last numbered event.
    pub sequence_number: Option<u64>,
    /// The characters of the text that came piece by piece.
    in_pieces: u64,
    /// The most characters of an event that says again what came in pieces, or would have.
    at_once: u64,
}

impl Seen {
    /// Reads one event; true if it is the usage chunk of a chat: no choices, and a usage.
    pub fn read(&mut self, event: Event, protocol: Protocol) -> bool {
        if event.is_done {
            self.is_whole |= protocol != Protocol::Responses && protocol != Protocol::Messages;
            self.is_over |= self.is_whole;
            return false;
        }
        self.any = true;
        let Some(facts) = event.facts else { return false };
        self.count(&facts);
        let is_usage_chunk = facts.has_empty_choices && facts.usage.is_some() && !facts.is_error();
        if let Some(usage) = facts.usage {
            self.usage.get_or_insert_default().update(usage);
        }
        if facts.is_error() {
            self.is_told |= match protocol {
                Protocol::Responses => facts.kind == "response.failed",
                Protocol::Messages => facts.kind == "error",
                Protocol::Chat | Protocol::Media | Protocol::Other => true,
            };
            self.error.get_or_insert(facts.complaint);
        }
        if self.response_id.is_none() {
            self.response_id = facts.id;
        }
        self.sequence_number = facts.sequence_number.or(self.sequence_number);
        let (is_whole, is_over) = end(protocol, &facts.kind);
        self.is_whole |= is_whole || (facts.is_finished && protocol == Protocol::Chat);
        self.is_over |= is_over;
        is_usage_chunk
    }

    /// The Unicode scalar values of the answer's text.
    pub fn characters(&self) -> u64 {
        self.in_pieces.max(self.at_once)
    }

    fn count(&mut self, facts: &Facts) {
        if repeats(&facts.kind) {
            self.at_once = self.at_once.max(facts.characters);
        } else {
            self.in_pieces += facts.characters;
        }
        self.output |= facts.says_something && !facts.is_error() && self.error.is_none();
    }
}

/// Whether an event of this type says that its answer is complete, and that nothing comes any more.
fn end(protocol: Protocol, kind: &str) -> (bool, bool) {
    match protocol {
        Protocol::Chat | Protocol::Other => (false, false),
        Protocol::Responses => {
            let is_end =
                matches!(kind, "response.completed" | "response.incomplete" | "response.failed");
            (is_end, is_end)
        }
        Protocol::Messages => (kind == "message_stop", kind == "message_stop"),
        // There is one for each image.
        Protocol::Media => {
            let last = kind.rsplit_once('.').map(|(_, last)| last);
            (matches!(last, Some("completed" | "done")), false)
        }
    }
}

/// Whether an event of this type carries the whole of something: what other events bring in pieces.
fn repeats(kind: &str) -> bool {
    let last = kind.rsplit(['.', '_']).next().unwrap_or_default();
    matches!(
        last,
        "added"
            | "completed"
            | "created"
            | "done"
            | "failed"
            | "incomplete"
            | "progress"
            | "queued"
            | "start"
            | "stop"
    )
}
