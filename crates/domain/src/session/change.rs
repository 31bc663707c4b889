//! What is written to an object's storage, and what is read from it.

use serde::{Deserialize, Serialize};

use super::LEASE;
use super::access::AccessRecord;
use super::codex::CodexRecord;
use super::farewell::Farewell;
use super::mirror::Mirror;
use super::projects::Projects;
use super::responses::Remembered;
use super::return_path::ReturnRecord;
use crate::clock::Millis;
use crate::entry::{Entry, Outcome};
use crate::month::{Counted, Months};
use crate::tier::TierRecord;

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
    /// D1 has this now.
    Flushed(Arrived),
    /// An answer to continue from.
    Remember(usize, Remembered),
    /// Who may speak for the user now.
    Access(Box<AccessRecord>),
    /// What is kept of the user's Codex session now.
    Codex(Box<CodexRecord>),
    /// What says which tier the user has now.
    Tier(Box<TierRecord>),
    /// The projects that the user has used.
    Projects(Box<Projects>),
    /// What is meant to be shown of the user now.
    Mirror(Box<Mirror>),
    /// What is kept for the way back now.
    Returns(Box<ReturnRecord>),
    /// No admission before this moment counts in the window: each inside it is a minute earlier.
    ResetWindow(Millis),
    /// Nothing of what was stored is there any more, and this is.
    Leave(Box<Farewell>),
}

/// What D1 is known to have; stored as it is, as one row.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arrived {
    /// The position up to which it has the rows.
    pub position: i64,
    /// What these rows add to their months.
    pub months: Months,
    /// The revision of what it shows of the user.
    #[serde(default)]
    pub revision: u64,
}

/// What was read from storage.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// How many slots the journal has.
    pub slots: i64,
    /// What D1 has.
    pub flushed: Arrived,
    /// The journal's rows.
    pub rows: Vec<StoredRow>,
    /// Who may speak for the user.
    pub access: AccessRecord,
    /// What is kept of the user's Codex session.
    pub codex: CodexRecord,
    /// What says which tier the user has.
    pub tier: TierRecord,
    /// The projects that the user has used.
    pub projects: Projects,
    /// What is meant to be shown of the user.
    pub mirror: Mirror,
    /// The answers to continue from, by slot.
    pub responses: Vec<(usize, Remembered)>,
    /// What is kept for the way back.
    pub returns: ReturnRecord,
    /// Set while the USER_ID is closed.
    pub farewell: Option<Farewell>,
}

impl Stored {
    /// Whether anything is stored that lies in the future.
    pub(super) fn is_ahead_of(&self, now: Millis) -> bool {
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
    /// What it adds to its month; none where it doesn't count, or where D1 has it.
    pub counted: Option<Counted>,
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
