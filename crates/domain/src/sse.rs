//! Splits a `text/event-stream` into whole events as its bytes arrive (WHATWG HTML, §9.2).
//!
//! The pieces that come out are the bytes that went in, each exactly once and in order, whatever
//! the chunks were. Lines end in LF, CR or CR LF, also where a chunk ends between the last two.
//! An event waits here until the blank line that ends it, unless it grows past
//! [`MAX_EVENT_BYTES`]: then it passes in parts.

use memchr::memchr2;

/// The largest event that is held, in bytes.
pub const MAX_EVENT_BYTES: usize = 256 * 1024;

/// A buffer that grew past this for one large event is given back after it, in bytes.
const MAX_IDLE_BUFFER: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8; 3] = b"\xEF\xBB\xBF";

/// A run of bytes of the stream that belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece<'a> {
    /// What the bytes are.
    pub kind: PieceKind,
    /// The bytes as they came, line ends included.
    pub raw: &'a [u8],
}

/// What a [`Piece`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PieceKind {
    /// A whole event, with the blank line that ends it.
    Event,
    /// A comment line or a blank line between two events.
    Between,
    /// The byte order mark that a stream may begin with.
    ByteOrderMark,
    /// The LF of a CR LF whose CR was the end of the piece before and of its chunk.
    LateLineFeed,
    /// A part of an event that is larger than [`MAX_EVENT_BYTES`].
    Oversized {
        /// The event ends with it.
        is_last: bool,
    },
}

/// The state between two chunks of one stream.
#[derive(Debug, Default)]
pub struct Splitter {
    /// The beginning of a piece whose end has not come yet.
    held: Vec<u8>,
    /// The last piece that was put together here, for as long as the caller looks at it.
    lent: Vec<u8>,
    /// The beginning of the current piece has left already, as it grew too large.
    oversized: bool,
    /// A field line of the current event has been seen.
    in_event: bool,
    /// The last byte was a CR: an LF that comes next is no line end of its own.
    after_carriage_return: bool,
    line: Line,
}

/// What is known of the line that is being read.
#[derive(Clone, Copy, Debug, Default)]
enum Line {
    /// The stream has just begun, and the first byte of a byte order mark may come.
    #[default]
    First,
    /// So many bytes of a byte order mark have come.
    Mark(usize),
    Empty,
    Comment,
    Field,
}

impl Splitter {
    /// The next finished piece, which is taken off the front of `input`.
    ///
    /// `None` means that all of `input` has been taken and more is needed.
    pub fn next_piece<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Option<Piece<'a>> {
        // Nobody looks at it any more.
        self.lent.clear();
        self.lent.shrink_to(MAX_IDLE_BUFFER);
        let bytes = *input;
        let mut at = 0;
        if self.after_carriage_return
            && let Some(&byte) = bytes.first()
        {
            self.after_carriage_return = false;
            if byte == b'\n' {
                if self.held.is_empty() && !self.oversized {
                    return Some(self.take(input, 1, PieceKind::LateLineFeed));
                }
                at = 1;
            }
        }
        while let Some(&byte) = bytes.get(at) {
            if self.begin_line(byte) {
                at += 1;
                if matches!(self.line, Line::Empty) {
                    return Some(self.take(input, at, PieceKind::ByteOrderMark));
                }
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let Some(found) = memchr2(b'\n', b'\r', rest) else { break };
            at += found + 1;
            if rest.get(found) == Some(&b'\r') {
                match bytes.get(at) {
                    Some(b'\n') => at += 1,
                    Some(_) => {}
                    None => self.after_carriage_return = true,
                }
            }
            if let Some(kind) = self.end_line() {
                return Some(self.take(input, at, kind));
            }
        }
        self.hold(input)
    }

    /// Whether the beginning of a piece waits here for its end.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// How many bytes wait here.
    #[cfg(test)]
    pub(crate) fn held(&self) -> usize {
        self.held.len().max(self.lent.len())
    }

    /// Whether what has left so far ends inside an event: only ever in an oversized one.
    #[must_use]
    pub fn is_inside_event(&self) -> bool {
        self.oversized
    }

    /// Takes what waits for an end that will not come, as the stream is over.
    pub fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(self).held
    }

    /// Notes what kind of line begins with `byte`; true if the byte belongs to the mark.
    fn begin_line(&mut self, byte: u8) -> bool {
        let matched = match self.line {
            Line::First => 0,
            Line::Mark(matched) => matched,
            Line::Empty => {
                self.line = line_that_begins_with(byte);
                return false;
            }
            Line::Comment | Line::Field => return false,
        };
        if BYTE_ORDER_MARK.get(matched) == Some(&byte) {
            let complete = matched + 1 == BYTE_ORDER_MARK.len();
            self.line = if complete { Line::Empty } else { Line::Mark(matched + 1) };
            return true;
        }
        // Half a mark is the beginning of a field with a strange name.
        self.line = if matched == 0 { line_that_begins_with(byte) } else { Line::Field };
        false
    }

    /// Notes that the line is over; says what it finished, if it finished a piece.
    fn end_line(&mut self) -> Option<PieceKind> {
        match std::mem::replace(&mut self.line, Line::Empty) {
            Line::Field | Line::Mark(_) => {
                self.in_event = true;
                None
            }
            Line::Comment => (!self.in_event).then_some(PieceKind::Between),
            Line::First | Line::Empty if self.in_event => Some(PieceKind::Event),
            Line::First | Line::Empty => Some(PieceKind::Between),
        }
    }

    /// Hands out everything held and the first `length` bytes of `input` as one piece.
    fn take<'a, 'b: 'a>(
        &'a mut self,
        input: &mut &'b [u8],
        length: usize,
        kind: PieceKind,
    ) -> Piece<'a> {
        let (raw, rest) = input.split_at(length);
        *input = rest;
        let too_large = self.oversized || self.held.len() + length > MAX_EVENT_BYTES;
        self.oversized = false;
        self.in_event = false;
        let kind = if too_large { PieceKind::Oversized { is_last: true } } else { kind };
        Piece { kind, raw: self.with_held(raw) }
    }

    /// Keeps the rest of `input` for later, or hands it out where it has become too large to keep.
    fn hold<'a, 'b: 'a>(&'a mut self, input: &mut &'b [u8]) -> Option<Piece<'a>> {
        let raw = std::mem::take(input);
        self.oversized |= self.held.len() + raw.len() > MAX_EVENT_BYTES;
        if self.oversized {
            let kind = PieceKind::Oversized { is_last: false };
            return (!raw.is_empty()).then(|| Piece { kind, raw: self.with_held(raw) });
        }
        self.held.extend_from_slice(raw);
        None
    }

    fn with_held<'a>(&'a mut self, raw: &'a [u8]) -> &'a [u8] {
        if self.held.is_empty() {
            return raw;
        }
        self.held.extend_from_slice(raw);
        std::mem::swap(&mut self.held, &mut self.lent);
        self.held.clear();
        self.held.shrink_to(MAX_IDLE_BUFFER);
        &self.lent
    }
}

fn line_that_begins_with(byte: u8) -> Line {
    match byte {
        b'\n' | b'\r' => Line::Empty,
        b':' => Line::Comment,
        _ => Line::Field,
    }
}

#[cfg(test)]
mod tests;
