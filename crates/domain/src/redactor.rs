//! Takes a request's own secrets out of all that is said back, in each usual spelling.
//!
//! An upstream that refuses a key often repeats it, and a hostile one may on purpose. A secret is known here by
//! its value: as it is, in base64 and in hexadecimal; each of these also where characters are escaped, for a
//! URL, in JSON or in HTML. What passes is held only where its end may be the beginning of a secret.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

use crate::keyed_hash::hex;

/// What stands in a secret's place.
pub const REDACTED: &[u8] = b"[redacted]";

/// A shorter secret can't be told from a word, in bytes.
pub const SHORTEST: usize = 8;

/// Bits of the filter that tells where a secret can't begin.
const FILTER_BITS: usize = 4096;

/// A redactor of one answer.
#[derive(Debug, Default)]
pub struct Redactor {
    /// What a secret may look like before characters are escaped.
    needles: Vec<Vec<u8>>,
    /// The pairs of bytes with which one may begin.
    filter: Vec<u64>,
    /// What may be the beginning of one.
    held: Vec<u8>,
}

/// What is at a place.
enum Found {
    Nothing,
    /// A secret of so many bytes.
    Secret(usize),
    /// The beginning of one, as far as there are bytes.
    Beginning,
}

impl Redactor {
    /// A redactor of these secrets. What is too short is left out.
    #[must_use]
    pub fn new<'a>(secrets: impl IntoIterator<Item = &'a str>) -> Self {
        let mut redactor = Self::default();
        for secret in secrets.into_iter().map(str::as_bytes) {
            if secret.len() >= SHORTEST {
                redactor.needles.extend(spellings(secret));
            }
        }
        redactor.needles.sort_unstable();
        redactor.needles.dedup();
        if !redactor.needles.is_empty() {
            redactor.filter = filter_of(&redactor.needles);
        }
        redactor
    }

    /// A redactor of the credentials in a request's headers.
    #[must_use]
    pub fn of_headers<'a>(headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let headers = headers.into_iter();
        let secrets: Vec<_> = headers.flat_map(|(name, value)| secrets_in(name, value)).collect();
        Self::new(secrets.iter().map(AsRef::as_ref))
    }

    /// What of the next bytes may be said.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.needles.is_empty() {
            return Cow::Borrowed(bytes);
        }
        if self.held.is_empty() {
            let (said, rest) = self.redact(bytes, false);
            self.held.extend_from_slice(rest);
            return said;
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let (said, rest) = self.redact(&all, false);
        let (said, rest) = (said.into_owned(), rest.to_vec());
        self.held = rest;
        Cow::Owned(said)
    }

    /// What is still to be said at the end.
    pub fn finish(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        self.redact(&held, true).0.into_owned()
    }

    /// The same of a whole text.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.redact(text.as_bytes(), true).0 {
            Cow::Borrowed(_) => Cow::Borrowed(text),
            Cow::Owned(said) => Cow::Owned(String::from_utf8_lossy(&said).into_owned()),
        }
    }

    /// What may be said of these bytes, and what is to be held of them.
    fn redact<'a>(&self, bytes: &'a [u8], is_end: bool) -> (Cow<'a, [u8]>, &'a [u8]) {
        let mut said: Option<Vec<u8>> = None;
        let (mut copied, mut at) = (0, 0);
        let mut end = bytes.len();
        while at < bytes.len() {
            if !self.may_begin(bytes, at, is_end) {
                at += 1;
                continue;
            }
            match self.find(bytes.get(at..).unwrap_or_default()) {
                Found::Secret(length) => {
                    let said = said.get_or_insert_default();
                    said.extend_from_slice(bytes.get(copied..at).unwrap_or_default());
                    said.extend_from_slice(REDACTED);
                    at += length;
                    copied = at;
                }
                Found::Beginning if !is_end => {
                    end = at;
                    break;
                }
                Found::Beginning | Found::Nothing => at += 1,
            }
        }
        let (passed, rest) = bytes.split_at(end);
        let last = passed.get(copied..).unwrap_or_default();
        match said {
            None => (Cow::Borrowed(passed), rest),
            Some(mut said) => {
                said.extend_from_slice(last);
                (Cow::Owned(said), rest)
            }
        }
    }

    fn may_begin(&self, bytes: &[u8], at: usize, is_end: bool) -> bool {
        let Some((&first, rest)) = bytes.get(at..).and_then(<[u8]>::split_first) else {
            return false;
        };
        match rest.first() {
            Some(&second) => is_set(&self.filter, first, second),
            None => !is_end && !self.needles.is_empty(),
        }
    }

    fn find(&self, bytes: &[u8]) -> Found {
        let mut found = Found::Nothing;
        for needle in &self.needles {
            match (walk(needle, bytes), &found) {
                (Found::Secret(length), Found::Secret(longest)) if length <= *longest => {}
                (Found::Secret(length), _) => found = Found::Secret(length),
                (Found::Beginning, Found::Nothing) => found = Found::Beginning,
                _ => {}
            }
        }
        found
    }
}

/// Whether bytes begin with a needle, each of its characters as it is or escaped.
fn walk(needle: &[u8], bytes: &[u8]) -> Found {
    let mut at = 0;
    for wanted in needle {
        let rest = bytes.get(at..).unwrap_or_default();
        match rest.first() {
            None => return Found::Beginning,
            Some(byte) if byte == wanted => at += 1,
            Some(_) => match unescape(rest) {
                Unescaped::Byte(byte, length) if byte == *wanted => at += length,
                Unescaped::Unfinished => return Found::Beginning,
                Unescaped::Byte(..) | Unescaped::None => return Found::Nothing,
            },
        }
    }
    Found::Secret(at)
}

enum Unescaped {
    /// This byte, written in so many.
    Byte(u8, usize),
    /// It may become one.
    Unfinished,
    None,
}

/// The character that an escape means: `%2F` and `%252F` of URLs, `\/`, `\u002f` and `\x2f` of JSON and other
/// languages, `&#47;` and `&#x2f;` of HTML.
fn unescape(bytes: &[u8]) -> Unescaped {
    match bytes {
        [b'%', b'2', b'5', rest @ ..] => hexadecimal(rest, 2, 3),
        [b'%', rest @ ..] => hexadecimal(rest, 2, 1),
        [b'\\', b'u', rest @ ..] => hexadecimal(rest, 4, 2),
        [b'\\', b'x', rest @ ..] => hexadecimal(rest, 2, 2),
        [b'\\', byte, ..] => Unescaped::Byte(*byte, 2),
        [b'&', b'#', b'x' | b'X', rest @ ..] => entity(rest, 16, 3),
        [b'&', b'#', rest @ ..] => entity(rest, 10, 2),
        [b'\\' | b'&'] => Unescaped::Unfinished,
        _ => Unescaped::None,
    }
}

/// A number of so many hexadecimal digits, behind so many bytes.
fn hexadecimal(bytes: &[u8], digits: usize, before: usize) -> Unescaped {
    let mut value = 0;
    for place in 0..digits {
        let Some(byte) = bytes.get(place) else { return Unescaped::Unfinished };
        let Some(digit) = char::from(*byte).to_digit(16) else { return Unescaped::None };
        value = value * 16 + digit;
    }
    u8::try_from(value).map_or(Unescaped::None, |byte| Unescaped::Byte(byte, before + digits))
}

/// A number up to a semicolon, behind so many bytes.
fn entity(bytes: &[u8], radix: u32, before: usize) -> Unescaped {
    let mut value = 0;
    for (place, byte) in bytes.iter().enumerate().take(7) {
        if *byte == b';' && place > 0 {
            let length = before + place + 1;
            return u8::try_from(value)
                .map_or(Unescaped::None, |byte| Unescaped::Byte(byte, length));
        }
        let Some(digit) = char::from(*byte).to_digit(radix) else { return Unescaped::None };
        value = value * radix + digit;
    }
    if bytes.len() < 7 { Unescaped::Unfinished } else { Unescaped::None }
}

/// A secret as it is, in hexadecimal, and in base64 wherever in a longer text it stands.
fn spellings(secret: &[u8]) -> Vec<Vec<u8>> {
    let lower = hex(secret);
    let mut spellings =
        vec![secret.to_vec(), lower.to_ascii_uppercase().into_bytes(), lower.into_bytes()];
    for before in 0..3 {
        let padded = [vec![0; before], secret.to_vec()].concat();
        for engine in [&STANDARD, &URL_SAFE] {
            let text = engine.encode(&padded);
            // The characters that hold nothing but the secret's own bits.
            let whole = text.get((8_usize * before).div_ceil(6)..padded.len() * 8 / 6);
            spellings.extend(whole.map(|whole| whole.as_bytes().to_vec()));
        }
    }
    spellings
}

/// What of a header is secret.
fn secrets_in<'a>(name: &str, value: &'a str) -> Vec<Cow<'a, str>> {
    let is_credential = matches!(
        name,
        "authorization"
            | "x-api-key"
            | "api-key"
            | "x-codex-token"
            | "cf-access-client-secret"
            | "proxy-authorization"
    );
    if !is_credential {
        return Vec::new();
    }
    let (scheme, rest) = value.trim().split_once(' ').unwrap_or(("", value));
    let mut secrets = vec![Cow::Borrowed(rest.trim())];
    if scheme.eq_ignore_ascii_case("basic") {
        let decoded =
            STANDARD.decode(rest.trim()).ok().and_then(|text| String::from_utf8(text).ok());
        let password = decoded.and_then(|text| Some(text.split_once(':')?.1.to_owned()));
        secrets.extend(password.map(Cow::Owned));
    }
    secrets
}

/// The pairs with which needles begin, the characters as they are or escaped.
fn filter_of(needles: &[Vec<u8>]) -> Vec<u64> {
    let mut filter = vec![0; FILTER_BITS / 64];
    let mut set = |first: u8, second: u8| {
        let (word, bit) = place_of(first, second);
        if let Some(word) = filter.get_mut(word) {
            *word |= bit;
        }
    };
    for needle in needles {
        if let [first, second, ..] = needle.as_slice() {
            set(*first, *second);
            for escape in *b"%\\&" {
                set(*first, escape);
            }
        }
    }
    for second in 0..=u8::MAX {
        let is_digit = second.is_ascii_hexdigit();
        if is_digit {
            set(b'%', second);
        }
        if second.is_ascii_graphic() {
            set(b'\\', second);
        }
    }
    set(b'&', b'#');
    filter
}

fn is_set(filter: &[u64], first: u8, second: u8) -> bool {
    let (word, bit) = place_of(first, second);
    filter.get(word).is_some_and(|word| word & bit != 0)
}

fn place_of(first: u8, second: u8) -> (usize, u64) {
    let hash = (usize::from(first) * 31 + usize::from(second) * 7) % FILTER_BITS;
    (hash / 64, 1 << (hash % 64))
}

#[cfg(test)]
mod tests;
