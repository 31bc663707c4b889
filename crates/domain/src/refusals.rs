//! How refusals are logged: the first hundred a minute and code as rows of their own, the rest
//! folded into rows with a count.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::entry::Entry;
use crate::window::MINUTE;

const ROWS_PER_MINUTE: u32 = 100;

/// Counts the refusals of one user by code, and holds those that are being folded.
#[derive(Clone, Debug, Default)]
pub struct RefusalLog {
    counts: BTreeMap<String, (Millis, u32)>,
    folding: BTreeMap<String, Entry>,
}

impl RefusalLog {
    /// Takes a refusal: gives it back where it deserves a row of its own, else folds it.
    pub fn take(&mut self, entry: Entry, now: Millis) -> Option<Entry> {
        let code = code_of(&entry);
        let minute = now.div_euclid(MINUTE);
        let (counted, count) = self.counts.entry(code.clone()).or_default();
        if *counted != minute {
            (*counted, *count) = (minute, 0);
        }
        if *count < ROWS_PER_MINUTE {
            *count += 1;
            return Some(entry);
        }
        self.fold(entry);
        None
    }

    /// Folds a refusal, or a row of some.
    pub fn fold(&mut self, entry: Entry) {
        self.folding
            .entry(code_of(&entry))
            .and_modify(|folded| folded.count = folded.count.saturating_add(entry.count))
            .or_insert(entry);
    }

    /// Whether refusals wait to be written.
    #[must_use]
    pub fn is_folding(&self) -> bool {
        !self.folding.is_empty()
    }

    /// The folded refusals, one row a code.
    pub fn drain(&mut self) -> impl Iterator<Item = Entry> {
        std::mem::take(&mut self.folding).into_values()
    }
}

fn code_of(entry: &Entry) -> String {
    entry.outcome.error_code.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Outcome, tests::entry};

    fn refusal(code: &str) -> Entry {
        let outcome = Outcome { error_code: Some(code.to_owned()), ..Outcome::answered(429, 0) };
        Entry { outcome, ..entry("r") }
    }

    #[test]
    fn the_hundred_and_first_of_a_minute_is_folded() {
        let mut log = RefusalLog::default();
        let own_rows = (0..250).filter(|_| log.take(refusal("a"), 59_999).is_some()).count();
        assert_eq!(own_rows, 100);
        assert!(log.take(refusal("b"), 59_999).is_some(), "codes are counted apart");
        let folded: Vec<_> = log.drain().collect();
        assert_eq!((folded.len(), folded[0].count), (1, 150));
        assert!(!log.is_folding());
        assert!(log.take(refusal("a"), 60_000).is_some(), "a new minute");
    }
}
