//! What D1 has of a user, and what it is to be sent.

use super::mirror::Mirror;
use super::{Change, Session};
use crate::clock::Millis;
use crate::journal::Journal;
use crate::month::Usage;

impl Session {
    /// The outbox: which rows D1 has and when to send it more.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Rows up to `position` are being sent to D1. What their months come to, once it has them, and
    /// what else it doesn't know of the user.
    pub fn sending(&mut self, position: i64) -> ((Vec<Usage>, Option<Mirror>), Vec<Change>) {
        self.journal.sending(position);
        ((self.tally.due(position), self.unmirrored().cloned()), Vec::new())
    }

    /// D1 has the rows up to `position`, and the mirror up to this revision.
    pub fn flush_succeeded(
        &mut self,
        position: i64,
        revision: u64,
        now: Millis,
    ) -> ((), Vec<Change>) {
        self.journal.flush_succeeded(position, now);
        self.mirrored = self.mirrored.max(revision);
        if self.unmirrored().is_some() {
            self.journal.ask_to_flush(now);
        }
        self.tally.arrive(self.journal.flushed());
        let mut changes = vec![Change::Flushed(self.arrived())];
        let surplus = self.journal.shrink(now);
        if !surplus.is_empty() {
            changes.push(Change::GiveUp(surplus));
        }
        ((), changes)
    }

    /// D1 could not be reached.
    pub fn flush_failed(&mut self, now: Millis) -> ((), Vec<Change>) {
        self.journal.flush_failed(now);
        ((), Vec::new())
    }

    /// Whether D1 has all rows, and what it shows of the user.
    #[must_use]
    pub fn is_sent(&self) -> bool {
        self.journal.backlog() == 0 && self.unmirrored().is_none()
    }

    /// How far the outbox has come; grows with whatever arrives in D1.
    #[must_use]
    pub const fn progress(&self) -> (i64, u64) {
        (self.journal.flushed(), self.mirrored)
    }
}
