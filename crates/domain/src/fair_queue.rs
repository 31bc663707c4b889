//! Whose request is next where an upstream runs only so many at once.
//!
//! Self-clocked fair queueing (S. J. Golestani, 1994) of requests that all cost the same. Time is
//! virtual: it is the turn of the request that was granted last. A user who begins to wait gets a
//! turn one round later, divided by the user's weight; so does a user who was granted and waits
//! still. The earliest turn is granted first, and of equal ones the one that was fixed first. So
//! users who wait get shares by their weights, nobody is passed by another more often than their
//! weights say and once more, and who was away has nothing saved up.

pub mod report;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use self::report::Load;
use crate::clock::Millis;
use crate::session::LEASE;

/// From one turn of a user of weight 1 to the next, in virtual time.
const ROUND: u64 = 1 << 20;

/// Every message that an upstream's object takes: each is about one request, by its id. The reply is
/// what the request has then, a [`Place`].
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SlotMessage {
    /// May this request begin? And later: it is still running.
    Ask(Ask),
    /// The request ended, or waits no more.
    Free(String),
}

/// Asks for a slot, and waits for it. Asked again, a request keeps its place, or its slot for longer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "AskTuple", into = "AskTuple")]
pub struct Ask {
    /// What names the slot from then on.
    pub request_id: String,
    /// Whose turn it takes.
    pub user_id: String,
    /// How many turns the user has where another has one; 0 counts as 1.
    pub weight: u32,
    /// How many slots there are.
    pub slots: u32,
    /// How long it may wait, in milliseconds.
    pub wait_ms: u32,
}

/// The form in which a question travels: reading one with named members takes thrice the code.
type AskTuple = (String, String, u32, u32, u32);

impl From<AskTuple> for Ask {
    fn from((request_id, user_id, weight, slots, wait_ms): AskTuple) -> Self {
        Self { request_id, user_id, weight, slots, wait_ms }
    }
}

impl From<Ask> for AskTuple {
    fn from(ask: Ask) -> Self {
        (ask.request_id, ask.user_id, ask.weight, ask.slots, ask.wait_ms)
    }
}

/// What a request has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// A slot, until it is freed, or [`LEASE`] after its last sign of life; it waited for so many
    /// milliseconds.
    Slot(Millis),
    /// Nothing, for its wait was over. In so many milliseconds a place at the end of the queue
    /// should have become a slot.
    Busy(Millis),
    /// Nothing.
    Nothing,
}

/// The requests that have a slot, and when each loses it: the form that is stored.
pub type Leases = Vec<(String, Millis)>;

/// One upstream's slots, and those who wait for one.
#[derive(Clone, Debug, Default)]
pub struct FairQueue {
    leases: Leases,
    /// Users who wait, in the order in which their turns were fixed.
    lines: Vec<Line>,
    virtual_time: u64,
    granted: u64,
    is_changed: bool,
}

#[derive(Clone, Debug)]
struct Line {
    user_id: String,
    weight: u32,
    /// When the first of the requests is due, in virtual time.
    turn: u64,
    /// The oldest first, each with when it began to wait.
    requests: VecDeque<(String, Millis)>,
}

impl Line {
    fn holds(&self, request_id: &str) -> bool {
        self.requests.iter().any(|(id, _)| id == request_id)
    }
}

impl FairQueue {
    /// Takes up the leases that were stored. Who waited has to ask again.
    #[must_use]
    pub fn restore(leases: Leases) -> Self {
        Self { leases, ..Self::default() }
    }

    /// Puts a request at the end of its user's line. `true` where it has a slot already; it is held
    /// for longer then.
    pub fn ask(&mut self, ask: &Ask, now: Millis) -> bool {
        let Ask { request_id, user_id, weight, .. } = ask;
        if let Some((_, until)) = self.leases.iter_mut().find(|(id, _)| id == request_id) {
            *until = now + LEASE;
            self.is_changed = true;
            return true;
        }
        if self.lines.iter().any(|line| line.holds(request_id)) {
            return false;
        }
        if let Some(line) = self.lines.iter_mut().find(|line| line.user_id == *user_id) {
            line.weight = *weight;
            line.requests.push_back((request_id.clone(), now));
            return false;
        }
        let (user_id, weight) = (user_id.clone(), *weight);
        let turn = self.virtual_time + step(weight);
        let requests = VecDeque::from([(request_id.clone(), now)]);
        self.lines.push(Line { user_id, weight, turn, requests });
        false
    }

    /// Grants the slots that are free to those whose turn it is, in that order.
    pub fn grant(&mut self, slots: usize, now: Millis) -> Vec<String> {
        self.expire(now);
        let mut granted = Vec::new();
        while self.leases.len() < slots
            && let Some(request_id) = self.next()
        {
            self.leases.push((request_id.clone(), now + LEASE));
            self.granted += 1;
            self.is_changed = true;
            granted.push(request_id);
        }
        granted
    }

    /// Takes away a request's slot, or its place.
    pub fn free(&mut self, request_id: &str) {
        let before = self.leases.len();
        self.leases.retain(|(id, _)| id != request_id);
        self.is_changed |= self.leases.len() != before;
        for line in &mut self.lines {
            line.requests.retain(|(id, _)| id != request_id);
        }
        self.lines.retain(|line| !line.requests.is_empty());
    }

    /// How many slots were granted since the object began to remember.
    #[must_use]
    pub const fn granted(&self) -> u64 {
        self.granted
    }

    /// How long a request waits that joins the queue now, where `granted` were granted in
    /// `elapsed_ms`; 1 to 60 seconds.
    #[must_use]
    pub fn expected_wait(&self, granted: u64, elapsed_ms: Millis) -> Millis {
        let waiting = Millis::try_from(self.waiting()).unwrap_or(Millis::MAX);
        let granted = Millis::try_from(granted).unwrap_or(Millis::MAX).max(1);
        (elapsed_ms.saturating_mul(waiting.saturating_add(1)) / granted).clamp(1_000, 60_000)
    }

    /// How busy the upstream is.
    #[must_use]
    pub fn load(&self, now: Millis) -> Load {
        let oldest = self.lines.iter().filter_map(|line| line.requests.front());
        let longest_wait_ms = oldest.map(|(_, since)| (now - since).max(0)).max().unwrap_or(0);
        Load { running: self.leases.len(), waiting: self.waiting(), longest_wait_ms }
    }

    fn waiting(&self) -> usize {
        self.lines.iter().map(|line| line.requests.len()).sum()
    }

    /// When the next slot is lost of which nothing is heard.
    #[must_use]
    pub fn next_expiry(&self) -> Option<Millis> {
        self.leases.iter().map(|(_, until)| *until).min()
    }

    /// The leases, where they have changed since the last call.
    pub fn changed_leases(&mut self) -> Option<&Leases> {
        std::mem::take(&mut self.is_changed).then_some(&self.leases)
    }

    /// Ends the leases of which nothing was heard. One that lies further ahead than any can was
    /// made before the clock stepped back; that is stored, for whoever reads it next can't know since
    /// when the clock is right.
    fn expire(&mut self, now: Millis) {
        let (before, latest) = (self.leases.len(), now + LEASE);
        for (_, until) in self.leases.iter_mut().filter(|(_, until)| *until > latest) {
            *until = latest;
            self.is_changed = true;
        }
        self.leases.retain(|(_, until)| *until > now);
        self.is_changed |= self.leases.len() != before;
    }

    fn next(&mut self) -> Option<String> {
        let (place, _) = self.lines.iter().enumerate().min_by_key(|(_, line)| line.turn)?;
        let mut line = self.lines.remove(place);
        self.virtual_time = line.turn;
        let request = line.requests.pop_front();
        if !line.requests.is_empty() {
            line.turn += step(line.weight);
            self.lines.push(line);
        }
        request.map(|(request_id, _)| request_id)
    }
}

/// From one turn of a user to the next.
fn step(weight: u32) -> u64 {
    ROUND / u64::from(weight.max(1))
}
