//! A storage for tests, which does what the changes say.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::entry::Entry;
use crate::month::Counted;
use crate::session::{Change, LEASE, RowState, Session, Stored, StoredRow};
use crate::window::MINUTE;

/// A storage in miniature: what the changes leave behind.
#[derive(Clone, Debug, Default)]
pub(in crate::session) struct Disk {
    pub(in crate::session) rows: BTreeMap<i64, (StoredRow, Entry)>,
    pub(in crate::session) stored: Stored,
}

impl Disk {
    pub(in crate::session) fn apply(&mut self, changes: Vec<Change>) {
        for change in changes {
            match change {
                Change::Open { slot, admitted_at, lease_until, entry } => {
                    let request_id = entry.request_id.clone();
                    let state = RowState::Open { request_id, lease_until };
                    let row =
                        StoredRow { slot, admitted_at: Some(admitted_at), state, counted: None };
                    self.rows.insert(slot, (row, *entry));
                }
                Change::Close { slot, position, outcome } => {
                    let (row, entry) = self.rows.get_mut(&slot).unwrap();
                    assert!(matches!(row.state, RowState::Open { .. }), "settled twice");
                    row.state = RowState::Settled(position);
                    if let Some(outcome) = outcome {
                        entry.outcome = outcome;
                    }
                }
                Change::Refuse { slot, position, entry } => {
                    let state = RowState::Settled(position);
                    let row = StoredRow { slot, admitted_at: None, state, counted: None };
                    self.rows.insert(slot, (row, *entry));
                }
                Change::Renew { slot, lease_until: until } => {
                    let (row, _) = self.rows.get_mut(&slot).unwrap();
                    let RowState::Open { lease_until, .. } = &mut row.state else {
                        panic!("renewed after the end")
                    };
                    *lease_until = until;
                }
                Change::GiveUp(slots) => self.rows.retain(|slot, _| !slots.contains(slot)),
                Change::MoveBack(step) => self.change_times(|time| time - step, |end| end - step),
                Change::NotAfter(now) => {
                    self.change_times(|time| time.min(now), |end| end.min(now + LEASE));
                }
                Change::Flushed(arrived) => self.stored.flushed = arrived,
                Change::Remember(slot, answer) => self.stored.responses.push((slot, answer)),
                Change::Access(access) => self.stored.access = *access,
                Change::Codex(codex) => self.stored.codex = *codex,
                Change::Tier(tier) => self.stored.tier = *tier,
                Change::Mirror(mirror) => self.stored.mirror = *mirror,
                Change::Returns(returns) => self.stored.returns = *returns,
                Change::Projects(projects) => self.stored.projects = *projects,
                Change::Leave(farewell) => {
                    self.rows.clear();
                    self.stored = Stored { farewell: Some(*farewell), ..Stored::default() };
                }
                Change::ResetWindow(now) => {
                    self.change_times(|t| if t > now - MINUTE { t - MINUTE } else { t }, |end| end);
                }
            }
        }
    }

    pub(in crate::session) fn restart(&mut self, now: Millis) -> Session {
        let rows = self.rows.values().map(|(row, entry)| self.loaded(row, entry)).collect();
        let slots = self.rows.keys().max().copied().unwrap_or(0);
        let stored = Stored { slots, rows, ..self.stored.clone() };
        let (session, changes) = Session::restore(stored, now);
        self.apply(changes);
        session
    }

    /// A row as the storage reads it.
    fn loaded(&self, row: &StoredRow, entry: &Entry) -> StoredRow {
        let tokens = match row.state {
            RowState::Settled(position) if position <= self.stored.flushed.position => None,
            _ if entry.outcome.gives_back => None,
            RowState::Settled(_) => Some(entry.outcome.tokens_est),
            RowState::Open { .. } => Some(0),
        };
        let counted = entry.month.zip(tokens).map(|(month, tokens)| Counted { month, tokens });
        StoredRow { counted, ..row.clone() }
    }

    /// Changes every stored time: of admissions and answers, and of the ends of leases.
    fn change_times(&mut self, time: impl Fn(Millis) -> Millis, end: impl Fn(Millis) -> Millis) {
        for (row, _) in self.rows.values_mut() {
            row.admitted_at = row.admitted_at.map(&time);
            if let RowState::Open { lease_until, .. } = &mut row.state {
                *lease_until = end(*lease_until);
            }
        }
        for (_, answer) in &mut self.stored.responses {
            answer.at = time(answer.at);
        }
    }

    /// What a flush would send: the rows after `flushed`, in their order.
    pub(in crate::session) fn pending(&self, flushed: i64) -> Vec<(i64, Entry)> {
        let mut rows: Vec<_> = self
            .rows
            .values()
            .filter_map(|(row, entry)| match row.state {
                RowState::Settled(position) if position > flushed => {
                    Some((position, entry.clone()))
                }
                _ => None,
            })
            .collect();
        rows.sort_by_key(|(position, _)| *position);
        rows
    }
}
