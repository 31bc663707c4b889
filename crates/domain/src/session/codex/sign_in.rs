//! A sign-in by device code: when to poll, and what the answers make of it.

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::custody::Sealed;
use crate::identifiers::UserId;

/// How much slower polling becomes where the provider wishes it so (RFC 8628 §3.5).
const SLOWER: Millis = 5_000;
/// Polling that fails becomes no slower than this.
const SLOWEST: Millis = 30_000;
/// No stored end of a sign-in is later than this after now.
const LONGEST: Millis = 3_600_000;

/// A sign-in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignIn {
    /// Its name.
    pub id: String,
    /// Who signs in; an object that its alarm woke may not know it otherwise.
    pub user_id: UserId,
    /// When its codes end.
    pub expires_at: Millis,
    /// How far it is.
    pub progress: Progress,
}

/// How far a sign-in is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The person hasn't decided yet.
    Pending(Polling),
    /// The tokens are here.
    SignedIn,
    /// The person said no.
    Denied,
    /// The codes became too old.
    Expired,
}

/// What polling for a sign-in needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Polling {
    /// The code to poll with.
    pub device_code: Sealed,
    /// The code that the person types.
    pub user_code: String,
    /// The least pause between two polls.
    pub interval: Millis,
    /// When the next poll is due.
    pub next_poll: Millis,
}

/// The answer to a poll that brought no tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotSignedIn {
    /// Not yet.
    Pending,
    /// Not yet, and to be asked less often.
    SlowDown,
    /// The person said no.
    Denied,
    /// The codes are too old.
    Expired,
    /// The provider couldn't be reached, or made no sense.
    Failed,
}

/// A sign-in, as it is told to the person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignInStanding {
    /// How far it is.
    pub state: SignInState,
    /// When its codes end.
    pub expires_at: Millis,
}

/// The words for how far a sign-in is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SignInState {
    /// The person hasn't decided yet.
    Pending,
    /// The tokens are here.
    SignedIn,
    /// The person said no.
    Denied,
    /// The codes became too old.
    Expired,
}

impl SignIn {
    /// Whether the person may still decide.
    #[must_use]
    pub const fn is_pending(&self, now: Millis) -> bool {
        matches!(self.progress, Progress::Pending(_)) && now < self.expires_at
    }

    /// How to poll, if a poll is due.
    #[must_use]
    pub fn poll_due(&self, now: Millis) -> Option<&Polling> {
        match &self.progress {
            Progress::Pending(polling) if now >= polling.next_poll => {
                (now < self.expires_at).then_some(polling)
            }
            _ => None,
        }
    }

    /// When something is to be done: to poll, or to end it.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        match &self.progress {
            Progress::Pending(polling) => Some(polling.next_poll.min(self.expires_at)),
            _ => None,
        }
    }

    /// How far it is.
    #[must_use]
    pub const fn standing(&self, now: Millis) -> SignInStanding {
        let state = match self.progress {
            Progress::Pending(_) if now < self.expires_at => SignInState::Pending,
            Progress::SignedIn => SignInState::SignedIn,
            Progress::Denied => SignInState::Denied,
            Progress::Pending(_) | Progress::Expired => SignInState::Expired,
        };
        SignInStanding { state, expires_at: self.expires_at }
    }

    /// Ends it where its codes are too old. Says whether that was so.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        let is_over = matches!(self.progress, Progress::Pending(_)) && now >= self.expires_at;
        if is_over {
            self.progress = Progress::Expired;
        }
        is_over
    }

    /// Takes the answer to a poll.
    pub(super) fn polled(&mut self, answer: NotSignedIn, now: Millis) {
        let Progress::Pending(polling) = &mut self.progress else { return };
        match answer {
            NotSignedIn::Pending => {}
            NotSignedIn::SlowDown => polling.interval += SLOWER,
            // RFC 8628 §3.5: who can't reach the provider asks less and less often.
            NotSignedIn::Failed => {
                polling.interval = polling.interval.max((polling.interval * 2).min(SLOWEST));
            }
            NotSignedIn::Denied => return self.progress = Progress::Denied,
            NotSignedIn::Expired => return self.progress = Progress::Expired,
        }
        polling.next_poll = now + polling.interval;
    }

    /// Holds stored times to what they can be now.
    pub(super) fn restore(&mut self, now: Millis) {
        self.expires_at = self.expires_at.min(now + LONGEST);
        if let Progress::Pending(polling) = &mut self.progress {
            polling.next_poll = polling.next_poll.min(now + polling.interval);
        }
    }

    /// Takes every time for earlier.
    pub(super) const fn move_back(&mut self, step: Millis) {
        self.expires_at -= step;
        if let Progress::Pending(polling) = &mut self.progress {
            polling.next_poll -= step;
        }
    }
}
