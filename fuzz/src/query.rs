//! What an address asks for, of any text: the end of a page, a moment, a project; and what comes of a
//! client's text in a cell of a spreadsheet.

use domain::clock::{parse_moment, rfc3339, sql_text};
use domain::identifiers::parse_label;
use domain::page::Cursor;
use domain::spreadsheet;

pub fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if let Ok(cursor) = Cursor::parse(text) {
        assert_eq!(Cursor::parse(&cursor.to_string()).as_ref(), Ok(&cursor));
        let key: serde_json::Value = serde_json::from_str(cursor.key()).expect("JSON");
        assert!(key.is_string() || key.is_number());
    }
    for number in [text, "7"] {
        let key = serde_json::to_string(number).expect("a text");
        let cursor = Cursor::new(&key, text);
        assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
    }
    if let Some(moment) = parse_moment(text) {
        assert_eq!(parse_moment(&rfc3339(moment)), Some(moment), "{}", rfc3339(moment));
        // D1 compares moments as texts, which have to be of one length for that.
        assert_eq!(sql_text(moment).len(), "2026-11-21 06:23:36.007".len());
    }
    if let Some(label) = parse_label(text) {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        assert!((1..=64).contains(&label.len()) && label.bytes().all(is_letter) && label == text);
    }
    let json = serde_json::to_string(text).expect("a text");
    let cell = spreadsheet::cell(&json);
    assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']));
    assert!(cell == text || spreadsheet::plain(&cell) == text);
    let row = spreadsheet::row(["first", &cell].into_iter());
    assert!(row.starts_with("first,") && row.ends_with("\r\n"));
}
