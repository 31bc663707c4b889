//! How a person is forgotten by the user's object.
//!
//! In one turn all that the object holds is dropped, and in its place there is what has to be known to
//! forget the person elsewhere: no name, no secret, nothing that the person has done. Until that is
//! done the USER_ID is closed; then the object is emptied, and the USER_ID is as new.

use serde::{Deserialize, Serialize};

use super::access::Proof;
use super::codex::SignedOut;
use super::codex::messages::{Begun, Fresh};
use super::messages::{Admission, Reason, Refusal, SessionMessage};
use super::onboarding::Claimed;
use super::return_path::messages::Drawn;
use super::{Change, Session, Stored};
use crate::clock::Millis;
use crate::month::Months;
use crate::tier::Tier;

/// What the operator sees of a USER_ID that is closed.
pub(super) const CLOSED: &str = "This person is being forgotten.";

/// Asks for the subscriptions that go on being paid for, by Stripe's ids. The reply is a list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TellPaying {}

/// Drops all that is held of the person, and closes the USER_ID. The reply is a [`Farewell`], the same
/// one until the USER_ID is open again.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Forget {}

/// The person is forgotten elsewhere too: empties the object. The reply is nothing; where the USER_ID
/// isn't closed, nothing happens.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reopen {}

/// What is left of a person in its object, until it is forgotten elsewhere; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// The outbox, from which nothing more may arrive in D1.
    pub outbox: String,
    /// The Stripe customers that bought something for the person.
    pub customers: Vec<String>,
    /// The subscriptions that go on being paid for.
    pub paying: Vec<String>,
    /// What was used, running requests too: amounts, which are kept.
    pub months: Months,
    /// What the object held.
    pub held: Held,
}

/// How much an object held of a person.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// A name, and perhaps an email, from the roster.
    pub on_roster: bool,
    /// Gateway keys.
    pub keys: usize,
    /// Claim codes, used ones too.
    pub codes: usize,
    /// An API key that came first.
    pub first_key: bool,
    /// Codex tokens.
    pub codex_tokens: bool,
    /// Handles, with which OpenClaw came back: one or none.
    #[serde(default)]
    pub handles: usize,
    /// The tier that the operator gave, which ends with this.
    pub given_tier: Option<Tier>,
    /// Projects.
    pub projects: usize,
    /// Requests that were running. They go on to their ends, and leave nothing.
    pub in_flight: usize,
    /// Requests whose rows D1 did not have yet.
    pub unsent: usize,
}

impl Session {
    /// Drops all that is held of the person. Said again, it changes nothing.
    pub fn forget(&mut self, outbox: String, now: Millis) -> (Farewell, Vec<Change>) {
        if let Some(farewell) = &self.farewell {
            return (farewell.clone(), Vec::new());
        }
        let access = &self.access;
        let held = Held {
            on_roster: access.place.is_some(),
            keys: access.keys.len(),
            codes: access.codes.len(),
            first_key: access.bound.is_some(),
            codex_tokens: self.codex.has_tokens(),
            handles: usize::from(self.returns.handle.is_some()),
            given_tier: self.tier.given(),
            projects: self.projects.list().len(),
            in_flight: self.leases.len(),
            unsent: self.journal.backlog(),
        };
        let (customers, paying) = (self.tier.customers(), self.tier.paying());
        let farewell =
            Farewell { outbox, customers, paying, months: self.tally.all().clone(), held };
        let stored = Stored { farewell: Some(farewell.clone()), ..Stored::default() };
        *self = Self::restore(stored, now).0;
        (farewell.clone(), vec![Change::Leave(Box::new(farewell))])
    }

    /// Whether the USER_ID is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.farewell.is_some()
    }

    /// The subscriptions that go on being paid for.
    #[must_use]
    pub fn paying(&self) -> Vec<String> {
        self.tier.paying()
    }
}

/// What a closed USER_ID replies, as JSON: no to everything, and nothing is written.
///
/// `None` for what is answered as ever, of somebody of whom nothing is known.
///
/// # Errors
/// For what can't be refused, and has to be said again later.
#[must_use]
pub fn reply_of_the_closed(message: &SessionMessage) -> Option<Result<String, &'static str>> {
    let reason = Reason::Blocked;
    let refusal = Refusal { reason, standing: None, buyer: None, is_uncounted: false };
    let reply = match message {
        SessionMessage::Admit(_) => serde_json::to_string(&Admission::Refused(refusal)),
        SessionMessage::Prove(_) => serde_json::to_string(&Proof::Refused(Reason::Blocked)),
        SessionMessage::Claim(_) => serde_json::to_string(&Claimed::Blocked),
        SessionMessage::BeginSignIn(_) => serde_json::to_string(&Begun::Blocked),
        SessionMessage::FreshToken(_) => {
            serde_json::to_string(&Fresh::Refused(SignedOut::NoSession.into()))
        }
        SessionMessage::Draw(_) => serde_json::to_string(&Drawn::UnknownHandle),
        SessionMessage::Settle(_)
        | SessionMessage::Spent(_)
        | SessionMessage::Renew(_)
        | SessionMessage::Bind(_)
        | SessionMessage::AddKey(_)
        | SessionMessage::KeepHandle(_)
        | SessionMessage::Repair(_)
        | SessionMessage::KeepTokens(_)
        | SessionMessage::ForgetTokens(_)
        | SessionMessage::RemoveProject(_) => Ok("false".to_owned()),
        SessionMessage::CountRefusals(_)
        | SessionMessage::Remember(_)
        | SessionMessage::TellSignIn(_) => Ok("null".to_owned()),
        SessionMessage::IssueCode(_)
        | SessionMessage::Enroll(_)
        | SessionMessage::Entitle(_)
        | SessionMessage::SetTier(_) => return Some(Err("the user is being forgotten")),
        SessionMessage::Describe(_)
        | SessionMessage::TellMonth(_)
        | SessionMessage::Flush(_)
        | SessionMessage::TellPaying(_)
        | SessionMessage::Forget(_)
        | SessionMessage::Reopen(_) => return None,
    };
    Some(reply.map_err(|_| "the reply can't be written"))
}

#[cfg(test)]
mod tests;
