//! Turns to have a body read: so many of one sender are read at once in this isolate, and of all
//! together, that bodies which never end fill nobody's memory. What is unproven takes no turn from what
//! is proven.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use domain::clock::Millis;
use domain::identifiers::UserId;
use worker::Delay;

use crate::clock;
use crate::incoming::Incoming;

/// Bodies of one sender that are read at once.
const OF_ONE: usize = 16;

/// Bodies of all senders of a kind that are read at once: 16 MB of them at most, where they are small.
const OF_ALL: usize = 64;

/// The same of large bodies, in MB, which only users have that their objects know. An isolate has 128.
const LARGE_OF_ONE: usize = 40;
const LARGE_OF_ALL: usize = 60;

/// How often somebody who waits looks again. In this runtime no request can wake another.
const GLANCE: Duration = Duration::from_millis(25);

thread_local! {
    static TAKEN: RefCell<BTreeMap<Sender, usize>> = const { RefCell::new(BTreeMap::new()) };
}

/// Who sends a body, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sender {
    /// An address, of whose callers nothing has been asked yet.
    Unknown(String),
    /// An address that had room for one more caller without proof.
    Unproven(String),
    /// A user that its object knows.
    Proven(UserId),
    /// The same, with a large body.
    Large(UserId),
}

impl Sender {
    /// The address of a request.
    pub fn unknown(incoming: &Incoming) -> Self {
        Self::Unknown(incoming.network())
    }

    /// The same, counted.
    pub fn unproven(incoming: &Incoming) -> Self {
        Self::Unproven(incoming.network())
    }

    /// How much of one such sender is read at once, and of all such senders.
    const fn most(&self) -> (usize, usize) {
        match self {
            Self::Unknown(_) | Self::Unproven(_) | Self::Proven(_) => (OF_ONE, OF_ALL),
            Self::Large(_) => (LARGE_OF_ONE, LARGE_OF_ALL),
        }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

/// A turn, and how much it weighs; dropping it gives it back.
pub struct Turn(Sender, usize);

impl Drop for Turn {
    fn drop(&mut self) {
        TAKEN.with_borrow_mut(|taken| {
            if let Some(count) = taken.get_mut(&self.0) {
                *count = count.saturating_sub(self.1);
                if *count == 0 {
                    taken.remove(&self.0);
                }
            }
        });
    }
}

/// A turn of this weight, where there is room for it: a body, or so many MB of a large one.
pub fn take(sender: &Sender, weight: usize) -> Option<Turn> {
    TAKEN.with_borrow_mut(|taken| {
        let alike = taken.iter().filter(|(other, _)| other.is_like(sender));
        let all: usize = alike.map(|(_, count)| count).sum();
        let own = taken.get(sender).copied().unwrap_or(0);
        let (most_of_one, most_of_all) = sender.most();
        // What is larger than all the room there is goes alone.
        let is_full = |taken: usize, most: usize| taken > 0 && taken.saturating_add(weight) > most;
        if is_full(own, most_of_one) || is_full(all, most_of_all) {
            return None;
        }
        taken.insert(sender.clone(), own.saturating_add(weight));
        Some(Turn(sender.clone(), weight))
    })
}

/// A turn, as soon as one is free; `None` where that takes longer than this.
pub async fn wait(sender: &Sender, weight: usize, patience: Duration) -> Option<Turn> {
    let since = clock::reading();
    loop {
        if let Some(turn) = take(sender, weight) {
            return Some(turn);
        }
        let waited = (clock::reading() - since).max(0);
        if waited >= Millis::try_from(patience.as_millis()).unwrap_or(Millis::MAX) {
            return None;
        }
        Delay::from(GLANCE).await;
    }
}
