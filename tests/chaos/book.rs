//! What clients and faults did, as it was seen from outside.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::evidence::Months;

/// How a request looked to its client.
#[derive(Clone, Debug)]
pub struct Asked {
    /// In its query, upstream too.
    pub number: u64,
    pub user: String,
    /// Before it was sent.
    pub sent: Instant,
    /// The head of its answer, if one came.
    pub head: Option<Head>,
    /// When the client knew its end.
    pub ended: Instant,
    pub end: End,
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub struct Head {
    pub at: Instant,
    /// `x-request-id`.
    pub id: String,
    pub status: u16,
    /// The gateway's own code, where it was an error of the gateway's.
    pub code: Option<String>,
}

/// How an answer ended for its client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All of it came.
    Whole,
    /// Its body, or its connection, broke.
    Broke,
    /// The client left.
    Left,
    /// Nobody listened: the runtime was down.
    Unreached,
    /// Nothing came for far longer than anything may take.
    Hung,
}

/// What can explain what would be wrong otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// No runtime.
    Down,
    /// No room on the disk.
    Full,
    /// The clock moved by so many milliseconds.
    Step(i64),
}

/// From before something began until after it ended.
#[derive(Clone, Copy, Debug)]
pub struct Disturbance {
    pub kind: Kind,
    pub from: Instant,
    pub to: Instant,
}

/// All that was seen.
#[derive(Default)]
pub struct Book {
    pub asked: Mutex<Vec<Asked>>,
    pub disturbances: Mutex<Vec<Disturbance>>,
    /// By user, the first time that an object's own record showed too many admissions.
    pub crowds: Mutex<BTreeMap<String, String>>,
    /// Those who were told at the end that their month is used up.
    pub used_up: Mutex<BTreeSet<String>>,
    /// What each user's object said at the end of its month.
    pub shown: Mutex<BTreeMap<String, Months>>,
}

impl Book {
    /// Notes a request that is over.
    pub fn note(&self, asked: Asked) {
        self.asked.lock().unwrap().push(asked);
    }

    /// Whether there was such a thing so far.
    pub fn disturbed_by(&self, is_one: impl Fn(Kind) -> bool) -> bool {
        self.disturbances.lock().unwrap().iter().any(|it| is_one(it.kind))
    }

    /// Notes what began at `from` and has ended now.
    pub fn disturbed(&self, kind: Kind, from: Instant) {
        let disturbance = Disturbance { kind, from, to: Instant::now() };
        self.disturbances.lock().unwrap().push(disturbance);
    }
}

/// How long after its end a request's settlement may still be under way.
const SETTLING: Duration = Duration::from_secs(15);

impl Asked {
    /// Whether one of these happened while it ran, or while its end was being written.
    pub fn met(&self, all: &[Disturbance], is_one: impl Fn(Kind) -> bool) -> bool {
        let until = self.ended + SETTLING;
        all.iter().any(|it| is_one(it.kind) && it.from <= until && it.to >= self.sent)
    }
}
