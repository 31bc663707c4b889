//! The rows of refusals.

use super::messages::Reason;
use super::{Change, Session};
use crate::clock::Millis;
use crate::entry::{Entry, Outcome};
use crate::refusals;

impl Session {
    /// Writes refusals that have no rows, and folds into theirs the old ones whose `slots`
    /// [`crate::journal::Journal::foldable`] named and whose rows are `old`.
    pub fn count_refusals(
        &mut self,
        refusals: Entry,
        (slots, old): (Vec<i64>, Vec<Entry>),
        now: Millis,
    ) -> ((), Vec<Change>) {
        // Others had rows before these. Where there are none, the person was forgotten since.
        if self.journal.is_new() {
            return ((), Vec::new());
        }
        let rows = refusals::fold(std::iter::once(refusals).chain(old));
        let mut changes = Vec::new();
        if !slots.is_empty() {
            self.journal.give_up(&slots);
            changes.push(Change::GiveUp(slots));
        }
        changes.extend(rows.into_iter().map(|entry| self.refuse(entry, now)));
        ((), changes)
    }

    /// Gives a refusal a row, and says whether it got one.
    pub(super) fn log_refusal(
        &mut self,
        entry: Entry,
        reason: &Reason,
        now: Millis,
        changes: &mut Vec<Change>,
    ) -> bool {
        let (status, code) = reason.status_and_code();
        let entry = Entry { outcome: Outcome::failed(status, code), ..entry };
        let has_row = !self.journal.is_crowded() && self.refusals.deserves_row(&entry, now);
        if has_row {
            changes.push(self.refuse(entry, now));
        }
        has_row
    }

    fn refuse(&mut self, entry: Entry, now: Millis) -> Change {
        let slot = self.journal.take_slot(now);
        let position = self.journal.settle(slot, None, now);
        Change::Refuse { slot, position, entry: Box::new(entry) }
    }
}
