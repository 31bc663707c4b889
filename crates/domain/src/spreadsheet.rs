//! Comma-separated values for spreadsheets (RFC 4180), in which nothing that a client sent becomes a
//! formula: <https://owasp.org/www-community/attacks/CSV_Injection>.

use std::borrow::Cow;

use csv::{Terminator, WriterBuilder};

/// What a JSON value is in a cell: a text as it is, nothing for null.
#[must_use]
pub fn cell(json: &str) -> Cow<'_, str> {
    match json {
        "null" => Cow::Borrowed(""),
        json if json.starts_with('"') => match serde_json::from_str::<String>(json) {
            Ok(text) => Cow::Owned(defused(text)),
            Err(_) => Cow::Borrowed(""),
        },
        // A number, which may begin with a minus.
        number => Cow::Borrowed(number),
    }
}

/// What a formula may begin with.
const FORMULAS: [char; 7] = ['=', '+', '-', '@', '\t', '\r', '\n'];

/// A text that a spreadsheet would take for a formula gets an apostrophe before it.
fn defused(text: String) -> String {
    if text.starts_with(FORMULAS) { format!("'{text}") } else { text }
}

/// The text that a cell was before it was defused.
#[must_use]
pub fn plain(cell: &str) -> String {
    let text = cell.strip_prefix('\'').filter(|text| text.starts_with(FORMULAS));
    text.unwrap_or(cell).to_owned()
}

/// A row, with its line's end.
pub fn row<T: AsRef<str>>(cells: impl Iterator<Item = T>) -> String {
    let mut builder = WriterBuilder::new();
    let mut writer = builder.terminator(Terminator::CRLF).from_writer(Vec::new());
    let cells: Vec<_> = cells.collect();
    // It writes to memory, which takes everything, and what it writes is the cells' own text.
    let _ = writer.write_record(cells.iter().map(AsRef::as_ref));
    let bytes = writer.into_inner().unwrap_or_default();
    String::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_would_be_a_formula_is_a_text() {
        for (json, text) in [
            (r#""=1+1""#, "'=1+1"),
            (r#""@SUM(A1)""#, "'@SUM(A1)"),
            (r#""-2""#, "'-2"),
            (r#""\t=1""#, "'\t=1"),
            ("-2", "-2"),
            ("null", ""),
            (r#""gpt-4o""#, "gpt-4o"),
        ] {
            assert_eq!(cell(json), text);
            let before: String = serde_json::from_str(json).unwrap_or_else(|_| text.to_owned());
            assert_eq!(plain(text), before);
        }
        assert_eq!(plain("'tis"), "'tis");
    }

    proptest! {
        #[test]
        fn every_row_is_read_as_it_was_written(cells in proptest::collection::vec("\\PC*|[\"',\r\n=]*", 2..6)) {
            let text = row(cells.iter());
            let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
            let read: Vec<_> = reader.records().map(Result::unwrap).collect();
            prop_assert_eq!(read.len(), 1);
            prop_assert_eq!(read[0].iter().collect::<Vec<_>>(), cells);
        }
    }
}
