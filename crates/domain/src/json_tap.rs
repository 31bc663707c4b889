//! Reads one JSON document as it passes by, and keeps three things of it: the top-level members
//! `usage` and `id`, and how many characters of text it holds.
//!
//! It never keeps the document, needs no stack for its depth, and does not judge: what is no
//! JSON gives some answer, the same one however it was cut into chunks. A member that appears
//! twice counts as `JSON.parse` has it: the later one holds.

use memchr::memchr2;

/// The largest `usage` object that is kept, in bytes.
pub const MAX_USAGE_BYTES: usize = 64 * 1024;

/// The longest `id` that is kept, in bytes of its decoded text.
pub const MAX_ID_BYTES: usize = 512;

/// Longer than every member name looked for, in bytes.
const MAX_NAME_BYTES: usize = 16;

/// The scanner's state between two chunks.
#[derive(Debug, Default)]
pub struct JsonTap {
    characters: u64,
    usage: Option<String>,
    id: Option<String>,

    /// How many objects and arrays are open.
    depth: usize,
    /// The document has ended; what follows is ignored.
    ended: bool,
    /// What the next value is to the document.
    next: Next,
    /// The string that has just ended, if it can be the name of a member.
    name: Member,
    string: Option<StringReader>,
    /// The decoded beginning of the current string, as far as somebody wants it.
    token: Token,
    /// The `usage` object so far, while it passes.
    capture: Option<Vec<u8>>,
}

/// What comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Next {
    /// A name, or an element of an array.
    #[default]
    NameOrElement,
    /// The value of a member.
    Value(Member),
}

/// A member by its name and place.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Text,
    Usage,
    Id,
}

/// Where inside a string the scanner is.
#[derive(Clone, Copy, Debug)]
struct StringReader {
    role: Next,
    escape: Escape,
    /// The first half of a surrogate pair, waiting for its second.
    high_surrogate: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
enum Escape {
    None,
    Backslash,
    /// So many of four hexadecimal digits have come, with this value.
    Unicode(u8, u32),
}

/// The beginning of a decoded string.
#[derive(Debug, Default)]
struct Token {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl JsonTap {
    /// Reads on.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !self.ended {
            let (plain, after) = rest.split_at(self.plain_length(rest));
            self.pass_plain(plain);
            let Some((&byte, after)) = after.split_first() else { return };
            match self.string {
                Some(string) => self.step_in_string(string, byte),
                None => self.step(byte),
            }
            rest = after;
        }
    }

    /// The Unicode scalar values of all strings that are the value of a member `content`,
    /// `text`, `arguments` or `refusal`, at any depth.
    #[must_use]
    pub fn characters(&self) -> u64 {
        self.characters
    }

    /// The top-level member `usage` as JSON text, once all of it has passed, if it is an object.
    #[must_use]
    pub fn usage(&self) -> Option<&str> {
        self.usage.as_deref()
    }

    /// The top-level member `id`, once all of it has passed, if it is a string.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// How many of the next bytes change nothing but what is counted or kept.
    fn plain_length(&self, rest: &[u8]) -> usize {
        let found = match self.string {
            Some(StringReader { escape: Escape::None, .. }) => memchr2(b'"', b'\\', rest),
            Some(_) => return 0,
            None => rest
                .iter()
                .position(|byte| matches!(byte, b'"' | b':' | b',' | b'{' | b'}' | b'[' | b']')),
        };
        found.unwrap_or(rest.len())
    }

    fn pass_plain(&mut self, plain: &[u8]) {
        if plain.is_empty() {
            return;
        }
        self.record(plain);
        if let Some(mut string) = self.string {
            self.flush_surrogate(&mut string);
            self.string = Some(string);
            self.token.push(plain);
            if string.role == Next::Value(Member::Text) {
                // One byte of every character is no continuation byte.
                let characters = plain.iter().filter(|byte| **byte & 0xC0 != 0x80).count();
                self.characters += characters as u64;
            }
        }
    }

    /// One byte of structure, outside of strings.
    fn step(&mut self, byte: u8) {
        let next = std::mem::take(&mut self.next);
        let name = std::mem::take(&mut self.name);
        match byte {
            b'"' => {
                self.token.restart(next);
                self.string =
                    Some(StringReader { role: next, escape: Escape::None, high_surrogate: None });
            }
            b':' => {
                match name {
                    Member::Usage => self.usage = None,
                    Member::Id => self.id = None,
                    Member::Text | Member::Other => {}
                }
                self.next = Next::Value(name);
            }
            b'{' | b'[' => {
                self.depth += 1;
                if byte == b'{' && next == Next::Value(Member::Usage) {
                    self.capture = Some(Vec::new());
                }
            }
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
        self.record(&[byte]);
        if matches!(byte, b'}' | b']') && self.depth <= 1 {
            // The object closes: a capture can't outlive the depth at which it began.
            self.usage = match self.capture.take() {
                Some(bytes) => String::from_utf8(bytes).ok(),
                None => self.usage.take(),
            };
            self.ended = self.depth == 0;
        }
    }

    /// A quote, a backslash, or a byte of an escape.
    fn step_in_string(&mut self, mut string: StringReader, byte: u8) {
        self.record(&[byte]);
        match string.escape {
            Escape::None if byte == b'"' => {
                self.flush_surrogate(&mut string);
                self.string = None;
                return self.end_string(string.role);
            }
            Escape::None => string.escape = Escape::Backslash,
            Escape::Backslash if byte == b'u' => string.escape = Escape::Unicode(0, 0),
            Escape::Backslash => {
                self.flush_surrogate(&mut string);
                self.emit(&string, unescape(byte));
                string.escape = Escape::None;
            }
            Escape::Unicode(digits, value) => match char::from(byte).to_digit(16) {
                Some(digit) if digits < 3 => {
                    string.escape = Escape::Unicode(digits + 1, value * 16 + digit);
                }
                digit => {
                    string.escape = Escape::None;
                    let unit = digit
                        .map_or(u32::from(char::REPLACEMENT_CHARACTER), |digit| value * 16 + digit);
                    self.emit_unit(&mut string, unit);
                }
            },
        }
        self.string = Some(string);
    }

    fn end_string(&mut self, role: Next) {
        match role {
            Next::NameOrElement => self.name = self.token.member(self.depth),
            Next::Value(Member::Id) => self.id = self.token.text(),
            Next::Value(_) => {}
        }
    }

    /// One UTF-16 unit out of a `\u` escape.
    fn emit_unit(&mut self, string: &mut StringReader, unit: u32) {
        if let (Some(high), 0xDC00..=0xDFFF) = (string.high_surrogate, unit) {
            string.high_surrogate = None;
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
            return self.emit(string, char::from_u32(code));
        }
        self.flush_surrogate(string);
        if (0xD800..=0xDBFF).contains(&unit) {
            string.high_surrogate = Some(unit);
        } else {
            self.emit(string, char::from_u32(unit));
        }
    }

    /// Half a surrogate pair whose other half did not come is one character of its own.
    fn flush_surrogate(&mut self, string: &mut StringReader) {
        if string.high_surrogate.take().is_some() {
            self.emit(string, None);
        }
    }

    fn emit(&mut self, string: &StringReader, character: Option<char>) {
        if string.role == Next::Value(Member::Text) {
            self.characters += 1;
        }
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.token.push(character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn record(&mut self, bytes: &[u8]) {
        if let Some(capture) = &mut self.capture {
            if capture.len() + bytes.len() > MAX_USAGE_BYTES {
                self.capture = None;
            } else {
                capture.extend_from_slice(bytes);
            }
        }
    }
}

impl Token {
    fn restart(&mut self, role: Next) {
        self.bytes.clear();
        self.overflowed = false;
        self.limit = match role {
            Next::NameOrElement => MAX_NAME_BYTES,
            Next::Value(Member::Id) => MAX_ID_BYTES,
            Next::Value(_) => 0,
        };
    }

    fn push(&mut self, bytes: &[u8]) {
        if self.overflowed || self.bytes.len() + bytes.len() > self.limit {
            self.overflowed = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn member(&self, depth: usize) -> Member {
        match self.bytes.as_slice() {
            _ if self.overflowed => Member::Other,
            b"content" | b"text" | b"arguments" | b"refusal" => Member::Text,
            b"usage" if depth == 1 => Member::Usage,
            b"id" if depth == 1 => Member::Id,
            _ => Member::Other,
        }
    }

    fn text(&self) -> Option<String> {
        if self.overflowed { None } else { String::from_utf8(self.bytes.clone()).ok() }
    }
}

fn unescape(byte: u8) -> Option<char> {
    Some(match byte {
        b'n' => '\n',
        b't' => '\t',
        b'r' => '\r',
        b'b' => '\u{8}',
        b'f' => '\u{c}',
        b'"' | b'\\' | b'/' => char::from(byte),
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
