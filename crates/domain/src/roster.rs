//! The roster: a list of people as a spreadsheet saves it, and the USER_ID that each of them gets.
//!
//! The list is CSV with the columns `name` and `email`, in any order and among others; the columns
//! may also be separated by semicolons or tabs, as some spreadsheets do. Everyone on it gets a
//! USER_ID made of the name; who has the same name and another email is another person.

mod user_ids;

use std::collections::BTreeMap;

use csv::{ByteRecord, ReaderBuilder};
use serde::{Deserialize, Serialize};

pub use self::user_ids::candidates;

/// People on a list, at most.
pub const MOST_PEOPLE: usize = 1_000;

/// Bytes of a list, at most.
pub const MOST_BYTES: u64 = 1_000_000;

/// Characters of a name and bytes of an email, at most; the second is RFC 5321's.
const LONGEST_NAME: usize = 200;
const LONGEST_EMAIL: usize = 254;

/// What may stand between columns: most files, those of spreadsheets that write numbers with a
/// comma, and what was copied out of a spreadsheet.
const SEPARATORS: [u8; 3] = [b',', b';', b'\t'];

/// Someone on the roster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// As it was written, on one line.
    pub name: String,
    /// The same in plain letters: what the person's USER_ID begins with.
    pub plain: String,
    /// As it was written; empty where none is known.
    pub email: String,
}

impl Person {
    /// Whether both are the same person, as far as can be told: the names give the same USER_ID, and
    /// the emails are the same but for case. An email that is missing contradicts none.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        let [ours, theirs] = [self, other].map(|person| person.email.to_lowercase());
        let is_same_email = ours == theirs || ours.is_empty() || theirs.is_empty();
        is_same_email && self.plain == other.plain
    }

    /// Takes over how the same person is written now; an email that is missing takes none away.
    pub fn amend(&mut self, now: Self) {
        self.name = now.name;
        if !now.email.is_empty() {
            self.email = now.email;
        }
    }
}

/// Someone on a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Where, counted from 1 as an editor does.
    pub line: u64,
    /// Who.
    pub person: Person,
}

/// A list that can't be used. Each says what to do; none repeats what the list says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RosterError {
    /// Some program saved it in an older encoding.
    #[error(
        "Line {line} of the list has letters that can't be read. Save the list as UTF-8: in Excel, \
         choose \u{201c}CSV UTF-8 (Comma delimited)\u{201d}."
    )]
    NotUtf8 {
        /// Counted from 1, as an editor does.
        line: u64,
    },
    /// The first line doesn't name the columns.
    #[error(
        "The first line of the list must name the columns: name,email. Below it comes one person a \
         line."
    )]
    NoHeader,
    /// There is no line below the first.
    #[error("There is nobody on the list. Below the line name,email comes one person a line.")]
    Nobody,
    /// More than may be on one list.
    #[error("There are more than {MOST_PEOPLE} people on the list. Send it in several parts.")]
    TooMany,
    /// An email or another column without a name.
    #[error("Line {line} of the list has no name. Add the name, or remove the line.")]
    NoName {
        /// Counted from 1.
        line: u64,
    },
    /// Longer than any name.
    #[error(
        "The name in line {line} of the list is longer than {LONGEST_NAME} letters. Shorten it."
    )]
    LongName {
        /// Counted from 1.
        line: u64,
    },
    /// Not an email address.
    #[error(
        "The email in line {line} of the list isn't one. Mend it, or leave it out; a name with a \
         comma has to be in quotes."
    )]
    NotAnEmail {
        /// Counted from 1.
        line: u64,
    },
    /// More than the first line names.
    #[error(
        "Line {line} of the list has more columns than the first line. Put a name with a comma in \
         quotes: \"Lovelace, Ada\"."
    )]
    ExtraColumn {
        /// Counted from 1.
        line: u64,
    },
    /// Two who can't be told apart.
    #[error(
        "Lines {first} and {second} of the list have the same name, accents and letters that aren't \
         Latin aside. Give both their emails, so that they can be told apart, or remove one line."
    )]
    Namesakes {
        /// Counted from 1.
        first: u64,
        /// Counted from 1.
        second: u64,
    },
}

/// Reads a list. `decompose` takes letters and their accents apart (Unicode's form NFD), which the
/// runtime does and whose tables would be a twentieth of the Wasm. Namesakes are together, in the list's order; who is on it twice, with the same
/// name and email, comes once.
///
/// # Errors
/// The first thing that is wrong with it.
pub fn parse(
    list: &[u8],
    decompose: impl Fn(&str) -> String,
) -> Result<Vec<Vec<Listed>>, RosterError> {
    let list = list.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(list);
    let layout = SEPARATORS.iter().find_map(|separator| Layout::read(list, *separator));
    let layout = layout.ok_or_else(|| why_no_header(list))?;
    let (mut people, mut count) = (BTreeMap::<String, Vec<Listed>>::new(), 0);
    let mut lines = Lines { list, at: 0, line: 1 };
    let mut reader = layout.reader(list);
    let mut record = ByteRecord::new();
    // The reader neither fails to read bytes in memory, nor minds how many fields there are.
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        let line = lines.of(record.position().map_or(0, csv::Position::byte));
        let Some((name, email)) = layout.person(&record, line)? else { continue };
        let plain = user_ids::plain(&decompose(&name));
        let namesakes = people.entry(plain.clone()).or_default();
        let person = Person { name, plain, email };
        let is_vague = |other: &&Listed| other.person.email.is_empty() || person.email.is_empty();
        if let Some(other) = namesakes.iter().find(is_vague) {
            return Err(RosterError::Namesakes { first: other.line, second: line });
        }
        if namesakes.iter().any(|other| other.person.is(&person)) {
            continue;
        }
        namesakes.push(Listed { line, person });
        count += 1;
        if count > MOST_PEOPLE {
            return Err(RosterError::TooMany);
        }
    }
    if count == 0 { Err(RosterError::Nobody) } else { Ok(people.into_values().collect()) }
}

/// Finds the line that a record begins on, as an editor counts. The reader's own count takes empty
/// lines, and the second half of a line's end, for the beginning of the next record.
struct Lines<'a> {
    list: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the first record from `byte` on; `byte` must not be before the last one.
    fn of(&mut self, byte: u64) -> u64 {
        let byte = usize::try_from(byte).unwrap_or(usize::MAX);
        while let Some(letter) = self.list.get(self.at) {
            let is_end = matches!(letter, b'\r' | b'\n');
            if self.at >= byte && !is_end {
                break;
            }
            self.at += 1;
            let is_half = *letter == b'\r' && self.list.get(self.at) == Some(&b'\n');
            self.line += u64::from(is_end && !is_half);
        }
        self.line
    }
}

/// A first line that can't be read in full isn't one that is missing.
fn why_no_header(list: &[u8]) -> RosterError {
    let first = list.split(|byte| *byte == b'\n').next().unwrap_or_default();
    if std::str::from_utf8(first).is_err() {
        return RosterError::NotUtf8 { line: 1 };
    }
    RosterError::NoHeader
}

/// Which column is where.
struct Layout {
    separator: u8,
    columns: usize,
    name: usize,
    email: usize,
}

impl Layout {
    /// Reads the first line; `None` where it doesn't name both columns with this separator.
    fn read(list: &[u8], separator: u8) -> Option<Self> {
        let mut layout = Self { separator, columns: 0, name: 0, email: 0 };
        let mut header = ByteRecord::new();
        let is_there = layout.raw_reader(list, false).read_byte_record(&mut header);
        if !is_there.unwrap_or(false) {
            return None;
        }
        let place_of = |name: &str| {
            header.iter().position(|field| field.trim_ascii().eq_ignore_ascii_case(name.as_bytes()))
        };
        layout.name = place_of("name")?;
        layout.email = place_of("email")?;
        layout.columns = header.len();
        Some(layout)
    }

    fn reader<'a>(&self, list: &'a [u8]) -> csv::Reader<&'a [u8]> {
        self.raw_reader(list, true)
    }

    fn raw_reader<'a>(&self, list: &'a [u8], has_headers: bool) -> csv::Reader<&'a [u8]> {
        let mut builder = ReaderBuilder::new();
        builder.delimiter(self.separator).flexible(true).has_headers(has_headers);
        builder.from_reader(list)
    }

    /// Reads a line, name and email; `None` where there is nothing on it.
    fn person(
        &self,
        record: &ByteRecord,
        line: u64,
    ) -> Result<Option<(String, String)>, RosterError> {
        let mut fields = Vec::new();
        for field in record {
            let field = std::str::from_utf8(field).map_err(|_| RosterError::NotUtf8 { line })?;
            fields.push(field.split_whitespace().collect::<Vec<_>>().join(" "));
        }
        if fields.iter().all(String::is_empty) {
            return Ok(None);
        }
        if fields.iter().skip(self.columns).any(|field| !field.is_empty()) {
            return Err(RosterError::ExtraColumn { line });
        }
        let field = |place| fields.get(place).cloned().unwrap_or_default();
        let (name, email) = (field(self.name), field(self.email));
        if name.is_empty() {
            return Err(RosterError::NoName { line });
        }
        if name.chars().count() > LONGEST_NAME {
            return Err(RosterError::LongName { line });
        }
        if !email.is_empty() && !looks_like_email(&email) {
            return Err(RosterError::NotAnEmail { line });
        }
        Ok(Some((name, email)))
    }
}

fn looks_like_email(text: &str) -> bool {
    let sides = text.split_once('@');
    let is_whole = sides
        .is_some_and(|(name, host)| !name.is_empty() && !host.is_empty() && !host.contains('@'));
    is_whole && text.len() <= LONGEST_EMAIL && !text.contains(' ')
}

#[cfg(test)]
mod tests;
