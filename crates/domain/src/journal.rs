//! The journal of an object: one row a request, from admission until D1 has it and the window no
//! longer needs it.
//!
//! A row lives in a slot. It is written at admission, overwritten once by its settlement, and
//! then its slot is given to a new request: no row is ever deleted, so that a request costs two
//! row writes in the object rather than three. The last [`KEPT`] rows stay for the operator.
//!
//! A row gets its `position` when it is settled. Positions only grow, rows go to D1 in their
//! order, and D1 keeps the highest it has seen in the batch that carries the rows.
//!
//! While D1 is away the journal grows. Beyond [`CROWDED`] rows the oldest refusals are folded into
//! rows with a count; an admitted request's row is never given up.

use std::collections::{HashSet, VecDeque};

use crate::clock::Millis;
use crate::window::MINUTE;

/// How many settled rows stay although nothing needs them but an operator's eyes.
pub const KEPT: usize = 50;

/// How many rows may wait for D1 before refusals are folded.
pub const CROWDED: usize = 10_000;

/// How many settled rows a journal keeps at rest.
const LARGEST: usize = 5_000;

/// How many refusals are folded at once, at most.
const FOLDED_AT_ONCE: usize = 5_000;

/// How long a settled row waits for others before it goes to D1, at least and at most. Each flush costs
/// as much as a request; rows are to be there within two seconds.
const SHORTEST_WAIT: Millis = 900;
const LONGEST_WAIT: Millis = 1_500;
/// The first pause between two attempts while D1 is away.
const FIRST_BACKOFF: Millis = 500;
/// The longest pause between two attempts while D1 is away.
const LONGEST_BACKOFF: Millis = 10_000;

/// A row that is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// Where the row is.
    pub slot: i64,
    /// Its place in the order in which rows go to D1.
    pub position: i64,
    /// When its request was admitted; `None` for a refusal.
    pub admitted_at: Option<Millis>,
}

/// Which slots are free, which rows D1 has, and when the next flush is due.
#[derive(Clone, Debug, Default)]
pub struct Journal {
    slots: i64,
    last_position: i64,
    flushed: i64,
    /// D1 may have rows up to here: they were sent, or may have been before a restart.
    sent: i64,
    /// Settled rows by position; from the front they become free.
    settled: VecDeque<Settled>,
    flush_due: Option<Millis>,
    failures: u32,
}

impl Journal {
    /// Rebuilds the journal: the number of slots, what D1 is known to have, the settled rows.
    #[must_use]
    pub fn restore(slots: i64, flushed: i64, mut settled: Vec<Settled>, now: Millis) -> Self {
        settled.sort_unstable_by_key(|row| row.position);
        let last_position = settled.last().map_or(flushed, |row| row.position.max(flushed));
        let flush_due = (last_position > flushed).then_some(now);
        let (sent, settled) = (last_position, settled.into());
        Self { slots, last_position, flushed, sent, settled, flush_due, failures: 0 }
    }

    /// Takes every time for earlier, after the clock has stepped back.
    pub fn move_back(&mut self, step: Millis) {
        self.age_admissions(step);
        self.flush_due = self.flush_due.map(|due| due - step);
    }

    /// Takes every admission for earlier, so that the window no longer needs its row.
    pub fn age_admissions(&mut self, by: Millis) {
        for time in self.settled.iter_mut().filter_map(|row| row.admitted_at.as_mut()) {
            *time -= by;
        }
    }

    /// A slot for a new row.
    pub fn take_slot(&mut self, now: Millis) -> i64 {
        if self.settled.len() > KEPT
            && let Some(slot) = self.reusable(now)
        {
            self.settled.pop_front();
            return slot;
        }
        self.slots += 1;
        self.slots
    }

    /// Gives a row its position and has it flushed soon.
    pub fn settle(&mut self, slot: i64, admitted_at: Option<Millis>, now: Millis) -> i64 {
        self.last_position += 1;
        let position = self.last_position;
        self.settled.push_back(Settled { slot, position, admitted_at });
        self.ask_to_flush(now);
        position
    }

    /// Something besides rows is to go to D1 soon.
    pub fn ask_to_flush(&mut self, now: Millis) {
        self.flush_due.get_or_insert(flush_due(now));
    }

    /// The highest position that D1 is known to have.
    #[must_use]
    pub const fn flushed(&self) -> i64 {
        self.flushed
    }

    /// How many rows D1 may not have yet.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.settled.len() - self.settled.partition_point(|row| row.position <= self.flushed)
    }

    /// Whether there never was a row.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.slots == 0
    }

    /// Whether so many rows wait that refusals are folded.
    #[must_use]
    pub fn is_crowded(&self) -> bool {
        self.backlog() >= CROWDED
    }

    /// The slots of the oldest refusals that may be folded: those that D1 can't have, for a row
    /// that it has must not be counted again.
    #[must_use]
    pub fn foldable(&self) -> Vec<i64> {
        if !self.is_crowded() {
            return Vec::new();
        }
        let unsent = self.settled.iter().filter(|row| row.position > self.sent);
        let refusals = unsent.filter(|row| row.admitted_at.is_none());
        refusals.map(|row| row.slot).take(FOLDED_AT_ONCE).collect()
    }

    /// Gives up rows that were folded into others.
    pub fn give_up(&mut self, slots: &[i64]) {
        let slots: HashSet<_> = slots.iter().collect();
        self.settled.retain(|row| !slots.contains(&row.slot));
    }

    /// Gives up the oldest rows that nothing needs any more, where an outage or a rush has left
    /// far more than a user's usual minute; their slots.
    pub fn shrink(&mut self, now: Millis) -> Vec<i64> {
        let mut slots = Vec::new();
        while self.settled.len() > LARGEST
            && let Some(slot) = self.reusable(now)
        {
            self.settled.pop_front();
            slots.push(slot);
        }
        slots
    }

    /// The slot of the oldest row, if D1 has it and the window no longer needs it.
    fn reusable(&self, now: Millis) -> Option<i64> {
        let outside = |admitted_at: Millis| admitted_at <= now - MINUTE;
        let oldest = self.settled.front()?;
        let is_free = oldest.position <= self.flushed && oldest.admitted_at.is_none_or(outside);
        is_free.then_some(oldest.slot)
    }

    /// Rows up to `position` are on their way.
    pub fn sending(&mut self, position: i64) {
        self.sent = self.sent.max(position);
    }

    /// When the next flush is due, if there is anything to flush.
    #[must_use]
    pub const fn flush_due(&self) -> Option<Millis> {
        self.flush_due
    }

    /// D1 has everything up to `position`.
    pub fn flush_succeeded(&mut self, position: i64, now: Millis) {
        self.flushed = self.flushed.max(position);
        self.failures = 0;
        self.flush_due = (self.backlog() > 0).then_some(now);
    }

    /// How many flushes have failed in a row.
    #[must_use]
    pub const fn failures(&self) -> u32 {
        self.failures
    }

    /// D1 is away: the next attempt waits twice as long as the last.
    pub fn flush_failed(&mut self, now: Millis) {
        let pause = FIRST_BACKOFF.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.flush_due = Some(now + pause.min(LONGEST_BACKOFF));
    }
}

/// When a row that is settled now goes to D1. Those who ask in step don't go there in step: Knuth's
/// multiplicative hash gives moments that are close together waits that are not.
fn flush_due(now: Millis) -> Millis {
    let scattered = now.wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()) >> 32;
    now + SHORTEST_WAIT + scattered.rem_euclid(LONGEST_WAIT - SHORTEST_WAIT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_reused_only_when_flushed_and_out_of_the_window_and_not_among_the_last() {
        let mut journal = Journal::default();
        for time in 0..=50 {
            let slot = journal.take_slot(time);
            journal.settle(slot, Some(time), time);
        }
        assert_eq!(journal.take_slot(MINUTE), 52, "D1 doesn't have it");
        journal.flush_succeeded(51, 100);
        assert_eq!(journal.take_slot(MINUTE - 1), 53, "the window needs it");
        assert_eq!(journal.take_slot(MINUTE), 1);
        assert_eq!(journal.take_slot(i64::MAX), 54, "the last 50 stay");
    }

    #[test]
    fn those_who_ask_in_step_go_to_d1_apart() {
        let began = 1_763_791_200_000;
        let mut waits: Vec<_> = (began..began + 100).map(|now| flush_due(now) - began).collect();
        assert!((0..100).zip(&waits).all(|(late, due)| (900..1_500).contains(&(due - late))));
        waits.sort_unstable();
        let most_at_once = waits.windows(20).map(|twenty| twenty[19] - twenty[0]).min();
        assert!(most_at_once >= Some(50), "twenty of a hundred within {most_at_once:?} ms");
    }

    #[test]
    fn a_failed_flush_backs_off_and_a_good_one_resets() {
        let mut journal = Journal::default();
        assert_eq!(journal.flush_due(), None);
        journal.settle(1, None, 1_000);
        journal.settle(2, None, 1_400);
        assert_eq!(journal.flush_due(), Some(flush_due(1_000)), "the first row's deadline holds");
        let pauses: Vec<_> = (0..7)
            .map(|_| {
                journal.flush_failed(0);
                journal.flush_due().unwrap()
            })
            .collect();
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
        journal.flush_succeeded(1, 9_000);
        assert_eq!((journal.flush_due(), journal.backlog()), (Some(9_000), 1));
        journal.flush_succeeded(2, 9_001);
        assert_eq!((journal.flush_due(), journal.backlog()), (None, 0));
    }

    #[test]
    fn a_crowded_journal_folds_only_refusals_that_were_never_sent() {
        let mut journal = Journal::default();
        for number in 1..=CROWDED {
            let slot = journal.take_slot(0);
            journal.settle(slot, (number % 2 == 0).then_some(0), 0);
        }
        journal.sending(500);
        let slots = journal.foldable();
        assert_eq!((slots.len(), slots[0]), (CROWDED / 2 - 250, 501));
        journal.give_up(&slots);
        assert_eq!(journal.backlog(), CROWDED / 2 + 250);
        assert!(journal.foldable().is_empty());
        journal.flush_succeeded(500, 0);
        assert_eq!(journal.backlog(), CROWDED / 2 - 250);
    }

    #[test]
    fn a_journal_shrinks_after_an_outage() {
        let mut journal = Journal::default();
        for _ in 0..LARGEST + 10 {
            let slot = journal.take_slot(0);
            journal.settle(slot, Some(0), 0);
        }
        journal.flush_succeeded(4, 0);
        assert_eq!(journal.shrink(MINUTE - 1), [0; 0], "the window needs them");
        assert_eq!(journal.shrink(MINUTE), [1, 2, 3, 4], "D1 doesn't have the rest");
        journal.flush_succeeded(1_000_000, 0);
        assert_eq!(journal.shrink(MINUTE).len(), 6);
        assert_eq!(journal.settled.len(), LARGEST);
    }

    #[test]
    fn positions_go_on_after_a_restart() {
        let rows = vec![
            Settled { slot: 2, position: 9, admitted_at: Some(5) },
            Settled { slot: 1, position: 8, admitted_at: None },
        ];
        let mut journal = Journal::restore(2, 8, rows, 77);
        assert_eq!((journal.backlog(), journal.flush_due()), (1, Some(77)));
        assert_eq!(journal.settle(3, None, 80), 10);
        assert!(journal.foldable().is_empty());
        let mut flushed = Journal::restore(0, 8, Vec::new(), 77);
        assert_eq!(flushed.settle(1, None, 80), 9);
    }
}
