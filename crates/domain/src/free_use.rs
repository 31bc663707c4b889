//! What a user has used of a month without a tier, which counts against no tier's quota.
//!
//! The months' sums go on counting everything. What is kept here says where a quota's zero is: it moves
//! when a tier comes, by what had been used without one, and whoever lets a tier go and takes it again
//! finds it where it was.

use serde::{Deserialize, Serialize};

use crate::month::Month;

/// How many requests of a month there have been.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The month.
    pub month: Month,
    /// All that count, running ones too.
    pub all: u64,
    /// Those that are running: they may yet be given back.
    pub running: u64,
}

/// What was used without a tier; stored with the tier, as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FreeUse {
    /// Of which month.
    month: Month,
    /// How many requests.
    requests: u64,
    /// How many of the month there were when the tier went; none while there is one.
    since: Option<u64>,
}

impl FreeUse {
    /// What is known once it is seen whether there is a tier; nothing of who never had one.
    ///
    /// Requests that run when a tier comes count against it, and those that ran when it went: a few at
    /// most, never in the user's favour.
    #[must_use]
    pub fn seen(known: Option<Self>, has_tier: bool, count: Count) -> Option<Self> {
        let Count { month, all, running } = count;
        let (requests, since) = match known {
            None => (0, Some(0)),
            Some(known) if known.month == month => (known.requests, known.since),
            Some(known) => (0, known.since.map(|_| 0)),
        };
        let ended = all.saturating_sub(running);
        match (has_tier, since) {
            (false, _) if known.is_none() => None,
            (true, Some(since)) => {
                let requests = requests + ended.saturating_sub(since);
                Some(Self { month, requests, since: None })
            }
            (false, None) => Some(Self { month, requests, since: Some(all) }),
            (true, None) | (false, Some(_)) => Some(Self { month, requests, since }),
        }
    }

    /// Whether a tier comes with this look, where it wasn't there at the last.
    #[must_use]
    pub fn begins(known: Option<Self>, has_tier: bool) -> bool {
        has_tier && known.is_none_or(|known| known.since.is_some())
    }

    /// The requests that don't count against the tier.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(month: i64, all: u64, running: u64) -> Count {
        Count { month: Month::of(month * 2_678_400_000), all, running }
    }

    /// What is free after each look.
    fn free(looks: &[(bool, Count)]) -> Vec<Option<u64>> {
        let mut known = None;
        let look = |&(has_tier, count)| {
            known = FreeUse::seen(known, has_tier, count);
            known.map(|known: FreeUse| known.requests())
        };
        looks.iter().map(look).collect()
    }

    #[test]
    fn what_was_used_before_the_tier_is_free() {
        let looks = [(false, count(0, 7, 0)), (true, count(0, 12, 2)), (true, count(0, 15, 1))];
        assert_eq!(free(&looks), [None, Some(10), Some(10)]);
        assert_eq!(free(&[(true, count(0, 0, 0)), (true, count(0, 5, 0))]), [Some(0), Some(0)]);
    }

    #[test]
    fn who_lets_a_tier_go_and_takes_it_again_begins_where_it_was() {
        let [had, gone, again] = [true, false, true];
        let looks = [
            (had, count(0, 3, 0)),
            (gone, count(0, 10, 0)),
            (again, count(0, 10, 0)),
            (gone, count(0, 11, 0)),
            (gone, count(0, 13, 0)),
            (again, count(0, 15, 0)),
        ];
        let expected = [3, 3, 3, 3, 3, 7].map(Some);
        assert_eq!(free(&looks), expected);
    }

    #[test]
    fn a_month_begins_with_nothing() {
        let looks = [(true, count(0, 9, 0)), (true, count(1, 1, 0)), (false, count(1, 5, 0))];
        assert_eq!(free(&looks), [Some(9), Some(0), Some(0)]);
        let looks = [(true, count(0, 0, 0)), (false, count(0, 4, 0)), (true, count(1, 6, 0))];
        assert_eq!(free(&looks), [Some(0), Some(0), Some(6)]);
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let known = FreeUse::seen(None, true, count(0, 9, 2)).unwrap();
        let literal = serde_json::json!({ "month": "1970-01", "requests": 7, "since": null });
        assert_eq!(serde_json::to_value(known).unwrap(), literal);
        assert_eq!(serde_json::from_value::<FreeUse>(literal).unwrap(), known);
    }
}
