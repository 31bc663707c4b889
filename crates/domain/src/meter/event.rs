//! Reads the events of a stream as they pass by, however large they are (WHATWG HTML, §9.2).

use memchr::memchr2;

use super::facts::{Facts, Scope};
use crate::json_reader::{JsonReader, Progress};

/// The data of the event that ends a stream.
const DONE: &[u8] = b"[DONE]";

/// The longest name of an event that is kept, in bytes.
const MAX_NAME_BYTES: usize = 64;

/// An event that has passed.
#[derive(Debug)]
pub struct Event {
    /// The data says that the stream is over.
    pub is_done: bool,
    /// What the event says; `None` where it has no name and its data is no JSON.
    pub facts: Option<Facts>,
}

/// Reads one event after the other.
#[derive(Debug)]
pub struct EventTap {
    scope: Scope,
    data: JsonReader<Facts>,
    line: Line,
    /// The name of the field whose line passes, as long as it may be one that matters.
    field: Vec<u8>,
    /// The value of the last `event` line.
    name: Vec<u8>,
    /// The beginning of the data, as far as it may be [`DONE`].
    head: Vec<u8>,
    has_data: bool,
}

/// Where in a line the tap is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Field,
    /// Behind the colon, where one space may be left out.
    Colon,
    Value,
}

impl EventTap {
    /// A tap for the events of such a stream.
    pub fn new(scope: Scope) -> Self {
        Self {
            scope,
            data: JsonReader::new(Facts::new(scope)),
            line: Line::Field,
            field: Vec::new(),
            name: Vec::new(),
            head: Vec::new(),
            has_data: false,
        }
    }

    /// Reads on in the event.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let end = memchr2(b'\n', b'\r', bytes);
            let (line, rest) = bytes.split_at(end.unwrap_or(bytes.len()));
            self.read_line(line);
            if end.is_some() {
                self.end_line();
            }
            bytes = rest.get(1..).unwrap_or_default();
        }
    }

    /// The event is over: what it said; `None` where it had no data, so that no client sees it.
    pub fn finish(&mut self) -> Option<Event> {
        if self.line != Line::Field || !self.field.is_empty() {
            self.end_line();
        }
        let is_json = self.data.progress() == Progress::Whole;
        let mut facts = self.data.restart(Facts::new(self.scope));
        let is_done = self.head.trim_ascii() == DONE;
        self.head.clear();
        let name = std::mem::take(&mut self.name);
        if !std::mem::take(&mut self.has_data) {
            return None;
        }
        let name = || String::from_utf8_lossy(&name).into_owned();
        let facts = match (is_json, facts.kind.is_empty()) {
            _ if is_done => None,
            (true, false) => Some(facts),
            (true, true) => {
                facts.kind = name();
                Some(facts)
            }
            (false, _) => Some(Facts::of_kind(name())).filter(|facts| !facts.kind.is_empty()),
        };
        Some(Event { is_done, facts })
    }

    fn read_line(&mut self, mut line: &[u8]) {
        if line.is_empty() {
            return;
        }
        if self.line == Line::Field {
            let colon = line.iter().position(|byte| *byte == b':');
            let (name, rest) = line.split_at(colon.unwrap_or(line.len()));
            // One byte more than the longest that matters tells it from the others.
            let room = (DATA.len() + 2).saturating_sub(self.field.len());
            self.field.extend_from_slice(name.get(..room).unwrap_or(name));
            let Some(rest) = rest.get(1..) else { return };
            self.begin_value();
            line = rest;
        }
        if self.line == Line::Colon && !line.is_empty() {
            self.line = Line::Value;
            line = line.strip_prefix(b" ").unwrap_or(line);
        }
        self.read_value(line);
    }

    fn begin_value(&mut self) {
        self.line = Line::Colon;
        match self.field.as_slice() {
            DATA => {
                // The lines of an event's data are one text.
                if self.has_data {
                    self.read_data(b"\n");
                }
                self.has_data = true;
            }
            NAME => self.name.clear(),
            _ => {}
        }
    }

    fn read_value(&mut self, value: &[u8]) {
        match self.field.as_slice() {
            DATA => self.read_data(value),
            NAME => push_bounded(&mut self.name, value, MAX_NAME_BYTES),
            _ => {}
        }
    }

    fn read_data(&mut self, data: &[u8]) {
        push_bounded(&mut self.head, data, 2 * DONE.len());
        self.data.push(data);
    }

    fn end_line(&mut self) {
        if self.line == Line::Field && self.field == DATA {
            self.begin_value();
        }
        self.line = Line::Field;
        self.field.clear();
    }
}

const DATA: &[u8] = b"data";
const NAME: &[u8] = b"event";

fn push_bounded(buffer: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let room = most.saturating_sub(buffer.len());
    buffer.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
}
