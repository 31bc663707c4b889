//! How refusals are logged: the first hundred a minute and code as rows of their own, the rest
//! folded into rows with a count.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::entry::Entry;
use crate::window::MINUTE;

const ROWS_PER_MINUTE: u32 = 100;

/// Counts the refusals of one user by code.
#[derive(Clone, Debug, Default)]
pub struct RefusalLog {
    counts: BTreeMap<String, (Millis, u32)>,
}

impl RefusalLog {
    /// Whether a refusal deserves a row of its own.
    pub fn deserves_row(&mut self, refusal: &Entry, now: Millis) -> bool {
        let minute = now.div_euclid(MINUTE);
        let (counted, count) = self.counts.entry(code_of(refusal)).or_default();
        if *counted != minute {
            (*counted, *count) = (minute, 0);
        }
        let is_early = *count < ROWS_PER_MINUTE;
        *count += u32::from(is_early);
        is_early
    }
}

/// Folds refusals, and rows of some, into one row a code.
#[must_use]
pub fn fold(refusals: impl IntoIterator<Item = Entry>) -> Vec<Entry> {
    let mut folded: BTreeMap<String, Entry> = BTreeMap::new();
    for refusal in refusals {
        let count = refusal.count;
        folded
            .entry(code_of(&refusal))
            .and_modify(|row| row.count = row.count.saturating_add(count))
            .or_insert(refusal);
    }
    folded.into_values().collect()
}

fn code_of(entry: &Entry) -> String {
    entry.outcome.error_code.clone().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Outcome, tests::entry};

    fn refusal(code: &str) -> Entry {
        Entry { outcome: Outcome::failed(429, code), ..entry("r") }
    }

    #[test]
    fn the_hundred_and_first_of_a_minute_has_no_row() {
        let mut log = RefusalLog::default();
        let own_rows = (0..250).filter(|_| log.deserves_row(&refusal("a"), 59_999)).count();
        assert_eq!(own_rows, 100);
        assert!(log.deserves_row(&refusal("b"), 59_999), "codes are counted apart");
        assert!(log.deserves_row(&refusal("a"), 60_000), "a new minute");
    }

    #[test]
    fn refusals_fold_by_code() {
        let five = Entry { count: 5, ..refusal("a") };
        let folded = fold([refusal("a"), refusal("b"), five]);
        assert_eq!(folded.iter().map(|row| row.count).collect::<Vec<_>>(), [6, 1]);
    }
}
