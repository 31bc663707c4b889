//! What may be shown on a terminal: names, codes and answers come from whoever sends them.

use std::fmt::Write as _;

/// Whether a letter is shown, and does nothing else.
///
/// C0 and C1 controls (ECMA-48) steer a terminal, but for a line's end and a tab; the embeddings,
/// overrides and isolates of Unicode's bidirectional algorithm (UAX #9) make a text read as another.
#[must_use]
pub fn is_printable(letter: char) -> bool {
    let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    !turns && (!letter.is_control() || letter == '\n' || letter == '\t')
}

/// A text that does nothing to a terminal. What isn't printable is replaced by U+FFFD, for what is taken
/// away lets its neighbours meet.
#[must_use]
pub fn printable(text: &str) -> String {
    text.chars().map(|letter| if is_printable(letter) { letter } else { '\u{fffd}' }).collect()
}

/// JSON that says the same, and does nothing to a terminal: what isn't printable is spelled out.
#[must_use]
pub fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for letter in json.chars() {
        if is_printable(letter) {
            printable.push(letter);
        } else {
            // All of them are below U+10000; writing to memory doesn't fail.
            let _ = write!(printable, "\\u{:04x}", u32::from(letter));
        }
    }
    printable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_shown_steers_the_terminal() {
        for letter in (0..0x20).chain(0x7f..0xa0).filter_map(char::from_u32) {
            let shown = printable(&format!("a{letter}b"));
            let is_kept = letter == '\n' || letter == '\t';
            let right = if is_kept { format!("a{letter}b") } else { "a\u{fffd}b".to_owned() };
            assert_eq!(shown, right, "{letter:?}");
        }
        for letter in
            "\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}".chars()
        {
            assert_eq!(printable(&letter.to_string()), "\u{fffd}", "{letter:?}");
        }
    }

    #[test]
    fn every_language_is_shown_as_it_is_written() {
        let text = "Zoë 李 שלום\u{200f} مرحبا 👩\u{200d}🚀 …\u{a0}“x”";
        assert_eq!(printable(text), text);
    }

    #[test]
    fn json_says_the_same() {
        let said = "a\u{9b}2J\u{202e}\u{7f}b\n";
        let json = printable_json(&serde_json::to_string(said).unwrap());
        assert!(json.chars().all(is_printable), "{json}");
        assert_eq!(serde_json::from_str::<String>(&json).unwrap(), said);
    }
}
