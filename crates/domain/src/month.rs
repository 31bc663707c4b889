//! What a user has used in a calendar month, UTC.
//!
//! A request counts in the month in which it was admitted, from its admission on, until its end says
//! that the upstream failed it. The count costs no row of its own: what D1 has is kept as sums, in the
//! row that says how far it has come, and what it hasn't is counted from the journal's rows when the
//! object is read anew.

use std::collections::VecDeque;

use chrono::{DateTime, Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::entry::Outcome;

/// How many months are kept: by number and not by age, so that a clock that was far ahead for a moment
/// costs none of them.
const KEPT: usize = 13;

/// A calendar month, UTC; written `2026-11`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Month(
    /// Since the year 0.
    i32,
);

/// Text that is no month.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("not a month such as 2026-11")]
pub struct InvalidMonth;

impl Month {
    /// The month of a moment.
    #[must_use]
    pub fn of(moment: Millis) -> Self {
        let date = DateTime::from_timestamp_millis(moment).unwrap_or_default();
        Self(date.year() * 12 + date.month0().cast_signed())
    }

    /// The one after it.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The one before it.
    #[must_use]
    pub const fn previous(self) -> Self {
        Self(self.0 - 1)
    }

    /// Its first moment.
    #[must_use]
    pub fn begins(self) -> Millis {
        let day = NaiveDate::from_ymd_opt(self.0.div_euclid(12), self.month(), 1);
        let midnight = day.unwrap_or_default().and_time(chrono::NaiveTime::MIN);
        midnight.and_utc().timestamp_millis()
    }

    /// Its first day in words: `1 December 2026`.
    #[must_use]
    pub fn first_day(self) -> String {
        const NAMES: [&str; 12] = [
            "January",
            "February",
            "March",
            "April",
            "May",
            "June",
            "July",
            "August",
            "September",
            "October",
            "November",
            "December",
        ];
        let name = usize::try_from(self.0.rem_euclid(12)).ok().and_then(|index| NAMES.get(index));
        format!("1 {} {}", name.unwrap_or(&""), self.0.div_euclid(12))
    }

    const fn month(self) -> u32 {
        self.0.rem_euclid(12).cast_unsigned() + 1
    }
}

impl From<Month> for String {
    fn from(month: Month) -> Self {
        format!("{:04}-{:02}", month.0.div_euclid(12), month.month())
    }
}

impl TryFrom<String> for Month {
    type Error = InvalidMonth;

    fn try_from(text: String) -> Result<Self, InvalidMonth> {
        let (year, month) = text.split_once('-').ok_or(InvalidMonth)?;
        let number = |text: &str| text.parse::<u16>().map_err(|_| InvalidMonth);
        let (year, month) = (number(year)?, number(month)?);
        let is_month = (1..=12).contains(&month) && year <= 9_999;
        if is_month {
            Ok(Self(i32::from(year) * 12 + i32::from(month) - 1))
        } else {
            Err(InvalidMonth)
        }
    }
}

/// What was used in a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Which.
    pub month: Month,
    /// Requests that count.
    pub requests: u64,
    /// Their tokens.
    pub tokens: u64,
}

/// What a row of the journal adds to its month.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The month of its admission.
    pub month: Month,
    /// The tokens that it has used, as far as they are known.
    pub tokens: u64,
}

/// A user's months: at most a few, the latest last.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Months(Vec<Usage>);

impl Months {
    /// What was used in a month.
    #[must_use]
    pub fn of(&self, month: Month) -> Usage {
        let known = self.0.iter().find(|usage| usage.month == month);
        known.copied().unwrap_or(Usage { month, requests: 0, tokens: 0 })
    }

    fn change(&mut self, month: Month, change: impl FnOnce(&mut Usage)) {
        let at = self.0.partition_point(|usage| usage.month < month);
        if self.0.get(at).is_none_or(|usage| usage.month != month) {
            self.0.insert(at, Usage { month, requests: 0, tokens: 0 });
        }
        self.0.get_mut(at).map(change);
    }

    fn add(&mut self, counted: Counted) {
        self.change(counted.month, |usage| {
            usage.requests += 1;
            usage.tokens += counted.tokens;
        });
    }

    /// Forgets what is so long ago that nobody asks for it.
    fn prune(&mut self) {
        self.0.drain(..self.0.len().saturating_sub(KEPT));
    }
}

/// What a user has used: all of it, what D1 knows, and what is on its way there.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    all: Months,
    arrived: Months,
    /// What settled rows add, by their positions; from the front they arrive.
    waiting: VecDeque<(i64, Counted)>,
}

impl Tally {
    /// Rebuilds it: the sums of what has arrived, what running requests add, and settled rows that
    /// have not arrived.
    #[must_use]
    pub fn restore(
        arrived: Months,
        running: impl IntoIterator<Item = Counted>,
        mut waiting: Vec<(i64, Counted)>,
    ) -> Self {
        waiting.sort_unstable_by_key(|(position, _)| *position);
        let mut all = arrived.clone();
        let settled = waiting.iter().map(|(_, counted)| *counted);
        running.into_iter().chain(settled).for_each(|counted| all.add(counted));
        Self { all, arrived, waiting: waiting.into() }
    }

    /// What was used in a month, by running requests too.
    #[must_use]
    pub fn of(&self, month: Month) -> Usage {
        self.all.of(month)
    }

    /// What was used, month by month, by running requests too.
    #[must_use]
    pub const fn all(&self) -> &Months {
        &self.all
    }

    /// What has arrived in D1.
    #[must_use]
    pub const fn arrived(&self) -> &Months {
        &self.arrived
    }

    /// A request is admitted.
    pub fn admit(&mut self, month: Month) {
        self.all.add(Counted { month, tokens: 0 });
    }

    /// A request that was admitted in this month has ended, and its row has this position. One of
    /// which nothing was heard any more counts.
    pub fn settle(&mut self, month: Month, outcome: Option<&Outcome>, position: i64) {
        if outcome.is_some_and(|outcome| outcome.gives_back) {
            self.all.change(month, |usage| usage.requests = usage.requests.saturating_sub(1));
            return;
        }
        let tokens = outcome.map_or(0, |outcome| outcome.tokens_est);
        self.all.change(month, |usage| usage.tokens += tokens);
        self.waiting.push_back((position, Counted { month, tokens }));
    }

    /// What D1 is to know of the months that the rows up to this position touch, once it has them.
    #[must_use]
    pub fn due(&self, position: i64) -> Vec<Usage> {
        let mut sums = self.arrived.clone();
        let going = self.waiting.iter().take_while(|(at, _)| *at <= position);
        let going: Vec<_> = going.map(|(_, counted)| *counted).collect();
        for counted in &going {
            sums.add(*counted);
        }
        sums.0.retain(|usage| going.iter().any(|counted| counted.month == usage.month));
        sums.0
    }

    /// D1 has the rows up to this position.
    pub fn arrive(&mut self, position: i64) {
        while self.waiting.front().is_some_and(|(at, _)| *at <= position) {
            if let Some((_, counted)) = self.waiting.pop_front() {
                self.arrived.add(counted);
            }
        }
        self.arrived.prune();
        self.all.prune();
    }
}

#[cfg(test)]
mod tests;
