//! Reads one JSON document as it passes by, and tells a [`Visitor`] what is in it.
//!
//! It keeps nothing of the document but names and numbers that are short, needs no stack for its depth,
//! and does not judge: what is no JSON gives some answer, the same one however it was cut into chunks.

use memchr::memchr2;

/// The longest name of a member that is told, in bytes of its decoded text.
pub const MAX_NAME_BYTES: usize = 48;

/// The longest number or word that is told, in bytes.
const MAX_SCALAR_BYTES: usize = 32;

/// So many levels deep it is known what is a list; below, all are taken for objects.
const KNOWN_LEVELS: usize = 128;

/// Hears what is in a document, in its order.
pub trait Visitor {
    /// A member of this name; its value comes next. A name that is too long comes as an empty one.
    fn name(&mut self, name: &[u8]);
    /// An object or a list begins.
    fn open(&mut self, is_list: bool);
    /// The object or list that began last ends.
    fn close(&mut self);
    /// A string begins.
    fn begin_text(&mut self);
    /// A piece of the string, decoded; a character may be cut in two.
    fn text(&mut self, piece: &[u8]);
    /// The string ends.
    fn end_text(&mut self) {}
    /// A number or a word; one that is too long comes as an empty one.
    fn scalar(&mut self, text: &[u8]);
}

/// The reader's state between two chunks.
#[derive(Debug, Default)]
pub struct JsonReader<V> {
    visitor: V,
    progress: Progress,
    /// How many objects and lists are open.
    depth: usize,
    /// A bit for each of them, the innermost is the lowest: whether it is a list.
    lists: u128,
    /// A colon came: a value is next, and no name.
    is_value_next: bool,
    string: Option<StringReader>,
    /// The name or the scalar that is being read.
    token: Token,
}

/// How far a document has been read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Progress {
    /// Nothing but white space has come.
    #[default]
    Blank,
    /// An object or a list has begun.
    Open,
    /// It has ended. What follows is ignored.
    Whole,
    /// What came is neither an object nor a list.
    Other,
}

/// Where inside a string the reader is.
#[derive(Clone, Copy, Debug)]
struct StringReader {
    is_name: bool,
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

/// The beginning of a name or a scalar.
#[derive(Debug, Default)]
struct Token {
    bytes: Vec<u8>,
    overflowed: bool,
}

impl<V: Visitor> JsonReader<V> {
    /// A reader that tells this visitor.
    pub fn new(visitor: V) -> Self {
        Self {
            visitor,
            progress: Progress::Blank,
            depth: 0,
            lists: 0,
            is_value_next: false,
            string: None,
            token: Token::default(),
        }
    }

    /// What the visitor has heard.
    pub fn visitor(&self) -> &V {
        &self.visitor
    }

    /// Gives the visitor back, for a new one, and is ready for a new document.
    pub fn restart(&mut self, visitor: V) -> V {
        self.progress = Progress::Blank;
        (self.depth, self.lists) = (0, 0);
        self.is_value_next = false;
        self.string = None;
        self.token.clear();
        std::mem::replace(&mut self.visitor, visitor)
    }

    /// How far the document has been read.
    pub fn progress(&self) -> Progress {
        self.progress
    }

    /// Reads on.
    pub fn push(&mut self, chunk: &[u8]) {
        let mut rest = if self.progress == Progress::Blank { self.begin(chunk) } else { chunk };
        while self.progress == Progress::Open {
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

    /// Looks for the beginning, past white space and a byte order mark.
    fn begin<'a>(&mut self, chunk: &'a [u8]) -> &'a [u8] {
        let is_blank = |byte: &u8| byte.is_ascii_whitespace() || b"\xEF\xBB\xBF".contains(byte);
        let Some(at) = chunk.iter().position(|byte| !is_blank(byte)) else { return &[] };
        let rest = chunk.get(at..).unwrap_or_default();
        let is_document = matches!(rest.first(), Some(b'{' | b'['));
        self.progress = if is_document { Progress::Open } else { Progress::Other };
        rest
    }

    /// How many of the next bytes are no structure.
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
        match self.string {
            None => self.pass_scalar(plain),
            Some(mut string) => {
                self.flush_surrogate(&mut string);
                self.string = Some(string);
                self.emit(string, plain);
            }
        }
    }

    fn pass_scalar(&mut self, plain: &[u8]) {
        for part in plain.split(u8::is_ascii_whitespace).filter(|part| !part.is_empty()) {
            self.token.push(part, MAX_SCALAR_BYTES);
        }
    }

    /// One byte of structure, outside of strings.
    fn step(&mut self, byte: u8) {
        match byte {
            b':' => {
                self.is_value_next = true;
                self.token.clear();
                return;
            }
            b'"' => {
                let is_name = !self.is_value_next && !self.is_in_list();
                self.string =
                    Some(StringReader { is_name, escape: Escape::None, high_surrogate: None });
                self.token.clear();
                if !is_name {
                    self.visitor.begin_text();
                }
            }
            b'{' | b'[' => {
                self.token.clear();
                self.visitor.open(byte == b'[');
                self.depth += 1;
                self.lists = self.lists << 1 | u128::from(byte == b'[');
            }
            b'}' | b']' => {
                self.end_scalar();
                self.visitor.close();
                self.depth = self.depth.saturating_sub(1);
                self.lists >>= 1;
                if self.depth == 0 {
                    self.progress = Progress::Whole;
                }
            }
            _ => self.end_scalar(),
        }
        self.is_value_next = false;
    }

    fn is_in_list(&self) -> bool {
        self.lists & 1 == 1 && self.depth <= KNOWN_LEVELS
    }

    fn end_scalar(&mut self) {
        if !self.token.is_empty() {
            self.visitor.scalar(self.token.text());
            self.token.clear();
        }
    }

    /// A quote, a backslash, or a byte of an escape.
    fn step_in_string(&mut self, mut string: StringReader, byte: u8) {
        match string.escape {
            Escape::None if byte == b'"' => {
                self.flush_surrogate(&mut string);
                self.string = None;
                if string.is_name {
                    self.visitor.name(self.token.text());
                    self.token.clear();
                } else {
                    self.visitor.end_text();
                }
                return;
            }
            Escape::None => string.escape = Escape::Backslash,
            Escape::Backslash if byte == b'u' => string.escape = Escape::Unicode(0, 0),
            Escape::Backslash => {
                self.flush_surrogate(&mut string);
                self.emit_character(string, unescape(byte));
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

    /// One UTF-16 unit out of a `\u` escape.
    fn emit_unit(&mut self, string: &mut StringReader, unit: u32) {
        if let (Some(high), 0xDC00..=0xDFFF) = (string.high_surrogate, unit) {
            string.high_surrogate = None;
            let code = 0x1_0000 + ((high - 0xD800) << 10) + (unit - 0xDC00);
            return self.emit_character(*string, char::from_u32(code));
        }
        self.flush_surrogate(string);
        if (0xD800..=0xDBFF).contains(&unit) {
            string.high_surrogate = Some(unit);
        } else {
            self.emit_character(*string, char::from_u32(unit));
        }
    }

    /// Half a surrogate pair whose other half did not come is one character of its own.
    fn flush_surrogate(&mut self, string: &mut StringReader) {
        if string.high_surrogate.take().is_some() {
            self.emit_character(*string, None);
        }
    }

    fn emit_character(&mut self, string: StringReader, character: Option<char>) {
        let character = character.unwrap_or(char::REPLACEMENT_CHARACTER);
        self.emit(string, character.encode_utf8(&mut [0; 4]).as_bytes());
    }

    fn emit(&mut self, string: StringReader, piece: &[u8]) {
        if string.is_name {
            self.token.push(piece, MAX_NAME_BYTES);
        } else {
            self.visitor.text(piece);
        }
    }
}

impl Token {
    fn push(&mut self, bytes: &[u8], limit: usize) {
        if self.overflowed || self.bytes.len() + bytes.len() > limit {
            self.overflowed = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.overflowed = false;
    }

    fn is_empty(&self) -> bool {
        self.bytes.is_empty() && !self.overflowed
    }

    fn text(&self) -> &[u8] {
        if self.overflowed { b"" } else { &self.bytes }
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
