//! What one JSON document says: an answer's body, or the data of one event.
//!
//! Output is any string at a place where answers are, whatever its member is called; what isn't output is
//! a list of names (`names.rs`).

use super::names::Name;
use super::usage::Usage;
use crate::endpoint::Protocol;
use crate::json_reader::Visitor;

/// The longest text that is kept of an error's message, in bytes.
const MAX_MESSAGE_BYTES: usize = 512;

/// The longest id or word that is kept, in bytes.
const MAX_WORD_BYTES: usize = 512;

/// So many levels deep it is known what a member is in. Nothing that matters is deeper.
const LEVELS: usize = 6;

/// The place of a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scope {
    /// The protocol that the answer speaks.
    pub protocol: Protocol,
    /// Whether it is the data of an event, and no whole body.
    pub is_event: bool,
}

/// What an upstream says of an error of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Complaint {
    /// A sentence.
    pub message: String,
    /// A word, or a number.
    pub code: String,
}

/// What was found.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "each is a finding of its own")]
pub struct Facts {
    /// The top-level member `type`.
    pub kind: String,
    /// The id of a response.
    pub id: Option<String>,
    /// What was reported as used.
    pub usage: Option<Usage>,
    /// The top-level member `sequence_number`.
    pub sequence_number: Option<u64>,
    /// The Unicode scalar values of all text.
    pub characters: u64,
    /// There is output: text, or bytes of an image or of sound.
    pub says_something: bool,
    /// A choice says why it ended.
    pub is_finished: bool,
    /// There are choices, but none in the list.
    pub has_empty_choices: bool,
    /// There is something of what was asked for.
    pub has_result: bool,
    /// There is a top-level member `id`: the document is a thing, whatever happened to it.
    pub has_id: bool,
    /// What is said of an error, if there is one.
    pub complaint: Complaint,
    /// There is an error where an error is.
    has_error: bool,
    /// A number or a word says that this is an error. It isn't where there is a result.
    has_failure: bool,

    scope: Scope,
    /// How many objects and lists are open.
    depth: usize,
    /// 1 where all of it is in a list.
    base: usize,
    /// The names of the open ones, the outermost first.
    path: [Name; LEVELS],
    /// The name of the value that comes next.
    name: Name,
    /// Nothing says something until no more than so many are open.
    muted: Option<usize>,
    /// The string that passes: whether it says something, and which one is kept.
    is_text: bool,
    slot: Option<Slot>,
    kept: Vec<u8>,
}

/// A string that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Kind,
    Id,
    Message,
    Code,
    Status,
    Finish,
}

impl Facts {
    /// Nothing yet.
    pub fn new(scope: Scope) -> Self {
        Self {
            kind: String::new(),
            id: None,
            usage: None,
            sequence_number: None,
            characters: 0,
            says_something: false,
            is_finished: false,
            has_empty_choices: false,
            has_result: false,
            has_id: false,
            complaint: Complaint::default(),
            has_error: false,
            has_failure: false,
            scope,
            depth: 0,
            base: 0,
            path: [Name::Other; LEVELS],
            name: Name::Other,
            muted: None,
            is_text: false,
            slot: None,
            kept: Vec::new(),
        }
    }

    /// The same of data that is no JSON: nothing but what the event is called.
    pub fn of_kind(kind: String) -> Self {
        Self { kind, ..Self::new(Scope { protocol: Protocol::Other, is_event: true }) }
    }

    /// Whether the document is an error, and no answer.
    pub fn is_error(&self) -> bool {
        let is_relayed = self.has_failure && !self.has_result && self.kind.is_empty();
        self.has_error || is_relayed || matches!(self.kind.as_str(), "error" | "response.failed")
    }

    /// How many levels below the document's own members the next value is.
    fn level(&self) -> usize {
        self.depth.saturating_sub(self.base + 1)
    }

    /// The name of what the current one is in, so many levels below the document; 1 is the highest.
    fn within(&self, level: usize) -> Name {
        self.path.get(level).copied().unwrap_or_default()
    }

    /// Whether answers are in the top-level member of this name.
    fn holds_answers(&self, name: Name) -> bool {
        match (self.scope.protocol, self.scope.is_event) {
            (Protocol::Chat, _) => name == Name::Choices,
            (Protocol::Responses, false) => name == Name::Output,
            (Protocol::Messages, false) => name == Name::Content,
            (_, true) => !is_bookkeeping(name),
            (_, false) => matches!(
                name,
                Name::Choices | Name::Content | Name::Output | Name::Result | Name::Bytes
            ),
        }
    }

    /// Whether an object or a list of this name has nothing in it that says something.
    fn mutes(&self, name: Name) -> bool {
        if is_bookkeeping(name) {
            return true;
        }
        match self.level() {
            _ if self.depth <= self.base => false,
            0 => !self.holds_answers(name),
            // All but its output is what was asked, once more.
            1 => self.within(1) == Name::Response && name != Name::Output,
            _ => false,
        }
    }

    fn says(&self, name: Name) -> bool {
        self.muted.is_none()
            && !is_bookkeeping(name)
            && match self.level() {
                0 => name != Name::Message && self.holds_answers(name),
                1 => self.within(1) != Name::Response,
                _ => true,
            }
    }

    /// Notes that there is a value, whatever it is.
    fn note_member(&mut self) {
        self.has_empty_choices &= self.level() == 0 || self.within(1) != Name::Choices;
    }

    /// Notes a value that isn't nothing.
    fn note_value(&mut self) {
        let level = self.level();
        let top = if level == 0 { self.name } else { self.within(1) };
        self.has_result |= self.depth > self.base && self.holds_answers(top);
        if self.is_error_here() {
            self.has_error = true;
        }
    }

    /// Whether the value is one of an error: the document's own, or that of a choice.
    fn is_error_here(&self) -> bool {
        match self.level() {
            0 => self.name == Name::Error && self.depth > self.base,
            1 => self.within(1) == Name::Error,
            2 => self.within(1) == Name::Choices && self.name == Name::Error,
            3 => self.within(1) == Name::Choices && self.within(3) == Name::Error,
            _ => false,
        }
    }

    fn slot(&self) -> Option<Slot> {
        let (level, name) = (self.level(), self.name);
        let is_response = self.within(1) == Name::Response;
        match (level, name) {
            (0, Name::Type | Name::Object) => Some(Slot::Kind),
            (0, Name::Error | Name::Message) => Some(Slot::Message),
            (0, Name::Status) => Some(Slot::Status),
            (0, Name::Code) => Some(Slot::Code),
            (0 | 1, Name::Id) if self.scope.protocol == Protocol::Responses => {
                let is_its_own = if level == 0 { !self.scope.is_event } else { is_response };
                is_its_own.then_some(Slot::Id)
            }
            (2, Name::FinishReason) if self.within(1) == Name::Choices => Some(Slot::Finish),
            (_, Name::Message) if self.is_in_error() => Some(Slot::Message),
            (_, Name::Code | Name::Type) if self.is_in_error() => Some(Slot::Code),
            _ => None,
        }
    }

    /// Whether the value is a member of an error: the document's own, or that of a response or a choice.
    fn is_in_error(&self) -> bool {
        let level = self.level();
        (1..=3).contains(&level) && self.within(level) == Name::Error
    }

    fn fill(&mut self, slot: Slot) {
        let text = String::from_utf8_lossy(&self.kept).into_owned();
        match slot {
            // An object's own name is no event's.
            Slot::Kind if self.name == Name::Object => self.has_failure |= text == "error",
            Slot::Kind => self.kind = text,
            Slot::Id => self.id = Some(text),
            Slot::Message => self.complaint.message = text,
            Slot::Code => self.note_code(text),
            Slot::Status => {
                self.has_failure |= matches!(text.as_str(), "error" | "fail" | "failed");
            }
            Slot::Finish => {
                self.is_finished = true;
                self.has_error |= text == "error";
            }
        }
    }

    fn note_number(&mut self, text: &[u8]) {
        let Some(code) = number(text) else { return };
        self.has_failure |= code >= 400;
        self.complaint.code = code.to_string();
    }

    /// A code is worth more than a type, and comes in any order.
    fn note_code(&mut self, code: String) {
        if self.level() == 0 {
            self.has_failure |= code.parse::<u32>().is_ok_and(|code| code >= 400);
        }
        if self.complaint.code.is_empty() || self.name == Name::Code {
            self.complaint.code = code;
        }
    }
}

/// What says nothing, at whatever place.
fn is_bookkeeping(name: Name) -> bool {
    !matches!(
        name,
        Name::Bytes
            | Name::Choices
            | Name::Content
            | Name::Message
            | Name::Other
            | Name::Output
            | Name::Response
            | Name::Result
    )
}

impl Visitor for Facts {
    fn name(&mut self, name: &[u8]) {
        self.name = Name::of(name);
        self.has_id |= self.name == Name::Id && self.depth == self.base + 1;
    }

    fn open(&mut self, is_list: bool) {
        if self.depth == 0 && is_list {
            self.base = 1;
            self.path = [Name::Other; LEVELS];
        } else {
            if self.depth > self.base {
                let (level, name) = (self.level(), self.name);
                self.note_member();
                self.has_empty_choices |= level == 0 && name == Name::Choices && is_list;
                if level > 0 {
                    self.note_value();
                }
                if self.muted.is_none() && self.mutes(name) {
                    self.muted = Some(self.depth);
                }
            }
            if let Some(place) = self.path.get_mut(self.depth - self.base) {
                *place = self.name;
            }
            if !is_list {
                self.name = Name::Other;
            }
        }
        self.depth += 1;
    }

    fn close(&mut self) {
        self.depth = self.depth.saturating_sub(1);
        if self.muted == Some(self.depth) {
            self.muted = None;
        }
        self.name = match self.depth.checked_sub(self.base + 1) {
            Some(level) => self.within(level),
            None => Name::Other,
        };
    }

    fn begin_text(&mut self) {
        self.note_member();
        self.is_text = self.says(self.name);
        self.slot = self.slot();
        self.kept.clear();
    }

    fn text(&mut self, piece: &[u8]) {
        self.note_value();
        if self.is_text {
            self.says_something = true;
            if self.name != Name::Bytes {
                // One byte of every character is no continuation byte.
                let characters = piece.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
                self.characters += characters as u64;
            }
        }
        let most =
            if self.slot == Some(Slot::Message) { MAX_MESSAGE_BYTES } else { MAX_WORD_BYTES };
        let Some(slot) = self.slot else { return };
        let room = most.saturating_sub(self.kept.len());
        // A part of an id is none.
        if slot == Slot::Id && piece.len() > room {
            self.slot = None;
        }
        self.kept.extend_from_slice(piece.get(..room).unwrap_or(piece));
    }

    fn end_text(&mut self) {
        if let Some(slot) = self.slot.take() {
            self.fill(slot);
        }
    }

    fn scalar(&mut self, text: &[u8]) {
        let (level, name) = (self.level(), self.name);
        match (level, name) {
            (0, Name::SequenceNumber) => self.sequence_number = number(text),
            (0, Name::Success) => self.has_failure |= text == b"false",
            (0, Name::Status) => self.has_failure |= number(text).is_some_and(|code| code >= 400),
            (_, Name::Code) if level == 0 || self.is_in_error() => self.note_number(text),
            // Some relays wrap the code, and nothing else.
            (1, Name::Code) if self.within(1) == Name::Other => self.note_number(text),
            (1 | 2, Name::UsagePart(part)) if self.within(level) == Name::Usage => {
                let is_known =
                    level == 1 || matches!(self.within(1), Name::Response | Name::Message);
                if is_known {
                    self.usage.get_or_insert_default().note(part, text);
                }
            }
            _ => {}
        }
        self.note_member();
        if !matches!(text, b"null" | b"false" | b"0") {
            self.note_value();
        }
    }
}

fn number(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
