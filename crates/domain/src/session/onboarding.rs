//! How a person becomes a user: a place on the roster, a claim code, and the key that it buys.

use serde::{Deserialize, Serialize};

use super::access::{AccessRecord, KeyRecord};
use super::{Change, Session};
use crate::claim_code::{self, CodeRecord, Worth};
use crate::clock::Millis;
use crate::fingerprint::Fingerprint;
use crate::guesses::{CLAIMS_OF_A_USER, Count, Counted, Counter};
use crate::roster::Person;

/// Adds a claim code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct IssueCode {
    /// What is kept of it.
    pub hash: Fingerprint,
    /// From when on it is no good any more.
    pub expires_at: Millis,
}

/// Redeems a code for a key, in one turn. The reply is [`Claimed`].
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Claim {
    /// The code that is shown.
    pub code: Fingerprint,
    /// The key to be added.
    pub key: KeyRecord,
    /// Where the code was typed, hashed: the network's name.
    pub network: String,
}

/// The reply to [`Claim`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Claimed {
    /// The key is the user's.
    Redeemed,
    /// The code is none of the user's.
    Invalid,
    /// The code was redeemed before.
    Used,
    /// The code is no good any more.
    Expired,
    /// The code is good and stays so: the user is blocked.
    Blocked,
    /// The code is good and stays so: there is a key of the same id. To be tried with another.
    KeyTaken,
}

/// Gives a person this USER_ID's place on the roster, and a code to whoever is new there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Enroll {
    /// The person.
    pub person: Person,
    /// The code, should one be needed.
    pub code: IssueCode,
    /// Whether a person who isn't new gets a code too, in place of those that nobody has used.
    pub reissue: bool,
}

/// The reply to [`Enroll`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Enrolled {
    /// The place is the person's.
    Seated {
        /// Whether the code is good now.
        has_code: bool,
    },
    /// The place is somebody else's.
    Taken,
}

impl AccessRecord {
    /// Adds a code.
    pub fn issue(&mut self, code: IssueCode) {
        self.reserved = true;
        claim_code::issue(&mut self.codes, CodeRecord::open(code.hash, code.expires_at));
    }

    /// Redeems a code for a key. A code is the operator's word, so a bearer that merely came first
    /// is bound no more.
    pub fn claim(&mut self, claim: Claim, now: Millis) -> Claimed {
        match claim_code::judge(&self.codes, &claim.code, now) {
            Worth::Invalid => Claimed::Invalid,
            Worth::Used => Claimed::Used,
            Worth::Expired => Claimed::Expired,
            Worth::Good if self.blocked.is_some() => Claimed::Blocked,
            Worth::Good if !self.add_key(claim.key) => Claimed::KeyTaken,
            Worth::Good => {
                claim_code::use_up(&mut self.codes, &claim.code);
                self.bound = None;
                Claimed::Redeemed
            }
        }
    }

    /// Gives a person the place on the roster. The same message twice has the same reply twice.
    pub fn enroll(&mut self, message: Enroll) -> Enrolled {
        let Enroll { person, code, reissue } = message;
        let place = &mut self.place;
        let is_new = place.is_none();
        match place {
            Some(known) if !known.is(&person) => return Enrolled::Taken,
            Some(known) => known.amend(person),
            None => *place = Some(person),
        }
        if self.codes.iter().any(|known| known.hash == code.hash) {
            return Enrolled::Seated { has_code: true };
        }
        if reissue {
            claim_code::void_open(&mut self.codes);
        }
        let has_code = is_new || reissue;
        if has_code {
            self.issue(code);
        }
        Enrolled::Seated { has_code }
    }
}

impl Session {
    /// Adds a claim code.
    pub fn issue_code(&mut self, message: IssueCode) -> ((), Vec<Change>) {
        self.change_access(|access| access.issue(message))
    }

    /// Redeems a claim code for a key. A wrong one counts against the codes that are good, a few
    /// times a minute and network: a code dies of patient guessing, and not of a flood.
    pub fn claim(&mut self, message: Claim, now: Millis) -> (Claimed, Vec<Change>) {
        let counters = vec![(Counter::claims_from(&message.network), CLAIMS_OF_A_USER)];
        let is_strangers = self.is_first_comers();
        let (claimed, mut changes) = self.change_access(|access| access.claim(message, now));
        match claimed {
            Claimed::Redeemed if is_strangers => changes.extend(self.forget_tokens().1),
            Claimed::Invalid
                if claim_code::is_any_good(&self.access.codes, now)
                    && self.wrong_claims.count(&Count { counters }, now) == Counted::Allowed =>
            {
                claim_code::count_wrong(&mut self.access.codes, now);
                changes.push(self.access_changed());
            }
            _ => {}
        }
        (claimed, changes)
    }

    /// Whether all that there is here came by a bearer that merely came first. Whoever the operator
    /// then gives the USER_ID to may be somebody else, who must neither spend that one's tokens nor
    /// send words to that one's account.
    pub(super) const fn is_first_comers(&self) -> bool {
        self.access.bound.is_some() && self.access.keys.is_empty()
    }

    /// Gives a person the place on the roster.
    pub fn enroll(&mut self, message: Enroll) -> (Enrolled, Vec<Change>) {
        self.change_access(|access| access.enroll(message))
    }

    fn change_access<R>(
        &mut self,
        change: impl FnOnce(&mut AccessRecord) -> R,
    ) -> (R, Vec<Change>) {
        let before = self.access.clone();
        let reply = change(&mut self.access);
        let is_changed = self.access != before;
        (reply, is_changed.then(|| self.access_changed()).into_iter().collect())
    }
}

#[cfg(test)]
mod tests;
