//! A user's session: what the object holds in memory, and what it decides.
//!
//! Every method takes the time as an argument, changes the memory and gives back what must be
//! written, as [`Change`]s. The object applies them in the same stretch without `await`; where
//! that fails it throws the memory away and reads it anew, so memory never runs ahead of the disk.

pub mod messages;
mod responses;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use self::messages::{
    Admission, Admit, KeyRecord, Permit, Reason, Refusal, Remember, Settle, Standing,
};
pub use self::responses::{Remembered, Responses};
use crate::clock::{ClockWatch, Millis};
use crate::entry::{Entry, Outcome};
use crate::gateway_key::KeyHash;
use crate::journal::{Journal, Settled};
use crate::refusals::RefusalLog;
use crate::window::{Rate, SlidingWindow};

/// How long a lease lives without a sign of life.
pub const LEASE: Millis = 90_000;

/// What a user may do.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Admissions a window.
    pub rate: Rate,
    /// Requests that may run at once.
    pub in_flight: usize,
}

/// Something to be written to the object's storage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An admitted request's row.
    Open {
        /// Where the row goes; what was there is overwritten.
        slot: i64,
        /// The time that counts in the window.
        admitted_at: Millis,
        /// When the lease ends.
        lease_until: Millis,
        /// The row.
        entry: Box<Entry>,
    },
    /// The end of an admitted request.
    Close {
        /// Where its row is.
        slot: i64,
        /// Its place on the way to D1.
        position: i64,
        /// How it ended; `None` leaves the row as it was opened: interrupted.
        outcome: Option<Outcome>,
    },
    /// A refusal's row.
    Refuse {
        /// Where the row goes; what was there is overwritten.
        slot: i64,
        /// Its place on the way to D1.
        position: i64,
        /// The row.
        entry: Box<Entry>,
    },
    /// These rows are gone: folded into others, or needed by nothing any more.
    GiveUp(Vec<i64>),
    /// A lease goes on.
    Renew {
        /// Where its row is.
        slot: i64,
        /// When the lease ends now.
        lease_until: Millis,
    },
    /// The clock has stepped back: every time is earlier by so much.
    MoveBack(Millis),
    /// No time is later than this one, and no lease ends later than one that begins now.
    NotAfter(Millis),
    /// D1 has every row up to this position.
    Flushed(i64),
    /// An answer to continue from.
    Remember(usize, Remembered),
    /// A new key.
    AddKey(KeyRecord),
}

/// What was read from storage.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// How many slots the journal has.
    pub slots: i64,
    /// The position up to which D1 has the rows.
    pub flushed: i64,
    /// The journal's rows.
    pub rows: Vec<StoredRow>,
    /// The user's keys.
    pub keys: Vec<KeyRecord>,
    /// The answers to continue from, by slot.
    pub responses: Vec<(usize, Remembered)>,
}

impl Stored {
    /// Whether anything is stored that lies in the future.
    fn is_ahead_of(&self, now: Millis) -> bool {
        let admitted = self.rows.iter().filter_map(|row| row.admitted_at);
        let leases = self.rows.iter().filter_map(|row| match row.state {
            RowState::Open { lease_until, .. } => Some(lease_until - LEASE),
            RowState::Settled(_) => None,
        });
        let answers = self.responses.iter().map(|(_, answer)| answer.at);
        admitted.chain(leases).chain(answers).any(|time| time > now)
    }
}

/// A row of the journal, as far as decisions need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRow {
    /// Where it is.
    pub slot: i64,
    /// When its request was admitted; `None` for a refusal.
    pub admitted_at: Option<Millis>,
    /// Settled, at this position; or open.
    pub state: RowState,
}

/// Whether a row's request has ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RowState {
    /// At this position.
    Settled(i64),
    /// Still running.
    Open {
        /// The lease's name.
        request_id: String,
        /// Its end.
        lease_until: Millis,
    },
}

#[derive(Clone, Debug)]
struct Lease {
    slot: i64,
    admitted_at: Millis,
    until: Millis,
}

/// One user's state.
#[derive(Clone, Debug)]
pub struct Session {
    clock: ClockWatch,
    keys: Vec<KeyRecord>,
    window: SlidingWindow,
    leases: BTreeMap<String, Lease>,
    journal: Journal,
    refusals: RefusalLog,
    responses: Responses,
}

impl Session {
    /// Rebuilds the state. A stored time in the future counts as now, and is written so: else it
    /// would count as now again after the next restart, and again.
    #[must_use]
    pub fn restore(stored: Stored, now: Millis) -> (Self, Vec<Change>) {
        let is_ahead = stored.is_ahead_of(now);
        let window = SlidingWindow::restore(stored.rows.iter().filter_map(|r| r.admitted_at), now);
        let (mut settled, mut leases) = (Vec::new(), BTreeMap::new());
        for StoredRow { slot, admitted_at, state } in stored.rows {
            match state {
                RowState::Settled(position) => {
                    let admitted_at = admitted_at.map(|time| time.min(now));
                    settled.push(Settled { slot, position, admitted_at });
                }
                RowState::Open { request_id, lease_until } => {
                    let admitted_at = admitted_at.unwrap_or(now).min(now);
                    let until = lease_until.min(now + LEASE);
                    leases.insert(request_id, Lease { slot, admitted_at, until });
                }
            }
        }
        let session = Self {
            clock: ClockWatch::new(now),
            keys: stored.keys,
            window,
            leases,
            journal: Journal::restore(stored.slots, stored.flushed, settled, now),
            refusals: RefusalLog::default(),
            responses: Responses::restore(stored.responses, now),
        };
        (session, is_ahead.then_some(Change::NotAfter(now)).into_iter().collect())
    }

    /// Looks at the wall clock. Comes before every decision, and is where a step back is dealt with.
    pub fn observe(&mut self, now: Millis) -> Option<Change> {
        let step = self.clock.step_back(now);
        if step == 0 {
            return None;
        }
        self.window.move_back(step);
        self.journal.move_back(step);
        self.responses.move_back(step);
        for lease in self.leases.values_mut() {
            lease.admitted_at -= step;
            lease.until -= step;
        }
        Some(Change::MoveBack(step))
    }

    /// Decides on a request: proof, then what it continues from, then the window, then the
    /// requests in flight. Only the last step takes anything.
    pub fn admit(
        &mut self,
        message: Admit,
        limits: Limits,
        now: Millis,
    ) -> (Admission, Vec<Change>) {
        let mut changes = self.expire(now);
        if !self.proves(&message.keys) {
            // A caller who isn't the user learns nothing of the user, and can't fill the journal
            // of a name that nobody has.
            if !self.keys.is_empty() {
                changes.extend(self.log_refusal(message.entry, Reason::InvalidKey, now));
            }
            let refusal = Refusal { reason: Reason::InvalidKey, standing: None };
            return (Admission::Refused(refusal), changes);
        }
        if self.leases.contains_key(&message.entry.request_id) {
            return (Admission::Admitted(self.permit(&message, limits, now)), changes);
        }
        if let Some(reason) = self.reason_to_refuse(&message, limits, now) {
            changes.extend(self.log_refusal(message.entry, reason, now));
            let standing = Some(self.standing(limits.rate, now));
            return (Admission::Refused(Refusal { reason, standing }), changes);
        }
        self.window.admit(now);
        let slot = self.journal.take_slot(now);
        let lease_until = now + LEASE;
        let lease = Lease { slot, admitted_at: now, until: lease_until };
        self.leases.insert(message.entry.request_id.clone(), lease);
        let permit = self.permit(&message, limits, now);
        let entry = Box::new(message.entry);
        changes.push(Change::Open { slot, admitted_at: now, lease_until, entry });
        (Admission::Admitted(permit), changes)
    }

    /// Ends a lease with the outcome of its request. `false` where it had ended already.
    pub fn settle(&mut self, message: Settle, now: Millis) -> (bool, Vec<Change>) {
        let mut changes = self.expire(now);
        let Some(lease) = self.leases.remove(&message.request_id) else {
            return (false, changes);
        };
        changes.push(self.close(&lease, Some(message.outcome), now));
        (true, changes)
    }

    /// Prolongs a lease. `false` where it had ended already.
    pub fn renew(&mut self, request_id: &str, now: Millis) -> (bool, Vec<Change>) {
        let mut changes = self.expire(now);
        let Some(lease) = self.leases.get_mut(request_id) else { return (false, changes) };
        lease.until = now + LEASE;
        changes.push(Change::Renew { slot: lease.slot, lease_until: lease.until });
        (true, changes)
    }

    /// Keeps an answer to continue from.
    pub fn remember(&mut self, message: Remember, now: Millis) -> ((), Vec<Change>) {
        let Remember { response_id, session_key } = message;
        let answer = Remembered { response_id, session_key, at: now };
        let slot = self.responses.remember(answer.clone());
        ((), vec![Change::Remember(slot, answer)])
    }

    /// Adds a key, unless there is one of the same id.
    pub fn add_key(&mut self, key: KeyRecord) -> (bool, Vec<Change>) {
        if self.keys.iter().any(|known| known.hash.key_id() == key.hash.key_id()) {
            return (false, Vec::new());
        }
        self.keys.push(key.clone());
        (true, vec![Change::AddKey(key)])
    }

    /// Ends the leases of which nothing was heard for too long; their rows say `interrupted`.
    pub fn expire(&mut self, now: Millis) -> Vec<Change> {
        let dead = self.leases.extract_if(.., |_, lease| lease.until <= now);
        let dead: Vec<_> = dead.map(|(_, lease)| lease).collect();
        dead.iter().map(|lease| self.close(lease, None, now)).collect()
    }

    /// Whether refusals wait to be folded into a row.
    #[must_use]
    pub fn is_folding(&self) -> bool {
        self.refusals.is_folding()
    }

    /// Writes the folded refusals, and with them the old ones whose `slots` [`Journal::foldable`]
    /// named and whose rows are these.
    pub fn fold(&mut self, slots: Vec<i64>, rows: Vec<Entry>, now: Millis) -> ((), Vec<Change>) {
        let mut changes = Vec::new();
        if !slots.is_empty() {
            for entry in rows {
                self.refusals.fold(entry);
            }
            self.journal.give_up(&slots);
            changes.push(Change::GiveUp(slots));
        }
        let rows: Vec<_> = self.refusals.drain().collect();
        changes.extend(rows.into_iter().map(|entry| self.refuse(entry, now)));
        ((), changes)
    }

    /// The outbox: which rows D1 has and when to send it more.
    #[must_use]
    pub const fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Rows up to `position` are being sent to D1.
    pub fn sending(&mut self, position: i64) -> ((), Vec<Change>) {
        self.journal.sending(position);
        ((), Vec::new())
    }

    /// D1 has the rows up to `position`.
    pub fn flush_succeeded(&mut self, position: i64, now: Millis) -> ((), Vec<Change>) {
        self.journal.flush_succeeded(position, now);
        let mut changes = vec![Change::Flushed(self.journal.flushed())];
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

    /// When the object has to wake by itself: to flush, or to end a lease.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        let lease = self.leases.values().map(|lease| lease.until).min();
        [lease, self.journal.flush_due()].into_iter().flatten().min()
    }

    /// Whether every key is one of the user's; all are compared, in constant time.
    #[must_use]
    pub fn proves(&self, shown: &[KeyHash]) -> bool {
        shown.iter().all(|shown| self.keys.iter().filter(|known| known.hash == *shown).count() > 0)
    }

    fn reason_to_refuse(&mut self, message: &Admit, limits: Limits, now: Millis) -> Option<Reason> {
        if let Some(id) = &message.previous_response_id
            && self.responses.session_of(id, now).is_none()
        {
            return Some(Reason::PreviousResponseNotFound);
        }
        let retry_after_ms = self.window.next_free(limits.rate, now);
        if retry_after_ms > 0 {
            return Some(Reason::RateLimited { retry_after_ms });
        }
        (self.leases.len() >= limits.in_flight).then_some(Reason::TooManyInFlight)
    }

    fn permit(&mut self, message: &Admit, limits: Limits, now: Millis) -> Permit {
        let session_key = message
            .previous_response_id
            .as_deref()
            .and_then(|id| self.responses.session_of(id, now))
            .map(str::to_owned);
        Permit { standing: self.standing(limits.rate, now), session_key }
    }

    fn standing(&mut self, rate: Rate, now: Millis) -> Standing {
        let used = u32::try_from(self.window.used(rate, now)).unwrap_or(u32::MAX);
        Standing {
            limit: rate.limit,
            remaining: rate.limit.saturating_sub(used),
            empty_in_ms: self.window.empty_in(rate, now),
            next_free_ms: self.window.next_free(rate, now),
        }
    }

    fn log_refusal(&mut self, entry: Entry, reason: Reason, now: Millis) -> Option<Change> {
        let (status, code) = reason.status_and_code();
        let outcome = Outcome { error_code: Some(code.to_owned()), ..Outcome::answered(status, 0) };
        let entry = Entry { outcome, ..entry };
        if self.journal.is_crowded() {
            self.refusals.fold(entry);
            return None;
        }
        let entry = self.refusals.take(entry, now)?;
        Some(self.refuse(entry, now))
    }

    fn refuse(&mut self, entry: Entry, now: Millis) -> Change {
        let slot = self.journal.take_slot(now);
        let position = self.journal.settle(slot, None, now);
        Change::Refuse { slot, position, entry: Box::new(entry) }
    }

    fn close(&mut self, lease: &Lease, outcome: Option<Outcome>, now: Millis) -> Change {
        let position = self.journal.settle(lease.slot, Some(lease.admitted_at), now);
        Change::Close { slot: lease.slot, position, outcome }
    }
}
