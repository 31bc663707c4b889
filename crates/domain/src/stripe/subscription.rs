//! One subscription: what is kept of its events, and how it stands by them.
//!
//! Of the events that describe the subscription, the newest is kept. Of those that say that it was
//! paid for, the latest; of those that say that a payment failed, all since then, for the grace
//! begins with the first. So every record is the maximum of its events, in whatever order they come.

use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::tier::{Standing, Subscription, Tier};

/// How many failed payments since the last good one are kept. Stripe tries at most eight times, and
/// tells each twice.
const MOST_FAILURES: usize = 64;

/// What an event says of a subscription as a whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The event's id.
    pub event: String,
    /// When it happened, to the second.
    pub created: Millis,
    /// Of what kind it is: a checkout, created, updated, deleted.
    pub rank: u8,
    /// Stripe's word for how the subscription stands.
    pub status: String,
    /// The prices that are subscribed to, or the payment link.
    pub items: Vec<String>,
    /// The tier in its metadata.
    pub named: Option<Tier>,
    /// The user in its metadata.
    pub user: Option<UserId>,
    /// When it began.
    pub since: Millis,
    /// When it will end, where that is decided.
    pub cancel_at: Option<Millis>,
}

impl Snapshot {
    /// The rank of what a checkout says; any event of the subscription's own counts for more.
    pub const CHECKOUT: u8 = 0;

    /// A later moment is newer. Within one second, an end is newer than a change, and that than a
    /// beginning; then whatever is further along a subscription's life. The id only decides for good.
    fn version(&self) -> impl Ord + '_ {
        let is_own = self.rank != Self::CHECKOUT;
        (is_own, self.created, self.rank, self.progress(), &self.event)
    }

    fn progress(&self) -> u8 {
        match self.status.as_str() {
            "trialing" => 1,
            "active" => 2,
            "paused" => 3,
            "past_due" => 4,
            "unpaid" => 5,
            "incomplete_expired" => 6,
            "canceled" => 7,
            _ => 0,
        }
    }
}

/// A moment at which a payment was good or not. What happened in the same second is told apart by
/// what it was: a payment goes before whatever was said of one that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Mark(Millis, Sign);

/// The signs of a payment, in the order that they have in one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Sign {
    Failed,
    Active,
    Due,
    Paid,
}

/// Somebody who has been named as the one who pays.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Claim {
    /// In metadata, which only the merchant can write, rather than in a page's URL.
    pub is_by_merchant: bool,
    /// When.
    pub created: Millis,
    /// By which event.
    pub event: String,
    /// Who.
    pub user: UserId,
}

/// What is kept of one subscription.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    newest: Option<Snapshot>,
    /// Who was named by a checkout or an invoice.
    claim: Option<Claim>,
    /// A checkout named somebody in a way that anybody can.
    is_claim_unsigned: bool,
    paid: Option<Mark>,
    failures: BTreeSet<Mark>,
}

impl Record {
    /// Takes in what an event says of the subscription as a whole.
    pub fn describe(&mut self, snapshot: Snapshot) {
        match snapshot.status.as_str() {
            "active" | "trialing" => self.mark(Mark(snapshot.created, Sign::Active)),
            "past_due" => self.mark(Mark(snapshot.created, Sign::Due)),
            _ => {}
        }
        let is_newer =
            |known: &Snapshot| snapshot.version().cmp(&known.version()) == Ordering::Greater;
        if self.newest.as_ref().is_none_or(is_newer) {
            self.newest = Some(snapshot);
        }
    }

    /// Takes in that an invoice was paid.
    pub fn pay(&mut self, created: Millis) {
        self.mark(Mark(created, Sign::Paid));
    }

    /// Takes in that an invoice could not be paid.
    pub fn fail(&mut self, created: Millis) {
        self.mark(Mark(created, Sign::Failed));
    }

    /// Takes in who pays, by a checkout or an invoice.
    pub fn claim(&mut self, claim: Option<Claim>) {
        self.claim = self.claim.take().max(claim);
    }

    /// Takes in whether a checkout named somebody in a way that anybody can.
    pub fn doubt(&mut self, is_unsigned: bool) {
        self.is_claim_unsigned |= is_unsigned;
    }

    /// Whose it is, as its own events say.
    #[must_use]
    pub fn user(&self) -> Option<&UserId> {
        let named = self.newest.as_ref().and_then(|newest| newest.user.as_ref());
        named.or(self.claim.as_ref().map(|claim| &claim.user))
    }

    /// Whether a checkout named somebody in a way that anybody can.
    #[must_use]
    pub fn is_claim_unsigned(&self) -> bool {
        self.is_claim_unsigned
    }

    /// What is known of it as a whole.
    #[must_use]
    pub fn newest(&self) -> Option<&Snapshot> {
        self.newest.as_ref()
    }

    /// When the latest event came to be that is kept of it.
    #[must_use]
    pub fn last_heard(&self) -> Millis {
        let marks = self.failures.last().or(self.paid.as_ref()).map(|mark| mark.0);
        marks.max(self.newest.as_ref().map(|newest| newest.created)).unwrap_or(Millis::MIN)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Some(newest) = &self.newest else { return Standing::Over };
        let is_alive = match newest.status.as_str() {
            "active" | "trialing" | "past_due" => true,
            // Nothing was paid then; perhaps it was later.
            "incomplete" | "unpaid" => self.paid > Some(Mark(newest.created, Sign::Due)),
            _ => false,
        };
        match self.failures.first() {
            _ if !is_alive => Standing::Over,
            Some(&Mark(since, _)) => Standing::PastDue { since },
            None => Standing::Live,
        }
    }

    /// What it is to its user; `None` where it is over.
    #[must_use]
    pub fn bought(&self, id: &str) -> Option<Subscription> {
        let (newest, standing) = (self.newest.as_ref()?, self.standing());
        (standing != Standing::Over).then(|| Subscription {
            id: id.to_owned(),
            standing,
            items: newest.items.clone(),
            named: newest.named,
            since: newest.since,
            cancel_at: newest.cancel_at,
        })
    }

    fn mark(&mut self, mark: Mark) {
        if matches!(mark.1, Sign::Active | Sign::Paid) {
            self.paid = self.paid.max(Some(mark));
        } else {
            self.failures.insert(mark);
        }
        let paid = self.paid;
        self.failures.retain(|failure| Some(*failure) > paid);
        while self.failures.len() > MOST_FAILURES {
            self.failures.pop_last();
        }
    }
}
