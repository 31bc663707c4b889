//! One subscription: how it stands, by what is known of its life.
//!
//! Of the events that describe the subscription, the newest counts. Of those that say that it was
//! paid for, the latest; of those that say that a payment failed, the first since then, for with it
//! the grace begins. So what follows doesn't depend on the order in which events come, and an event
//! that isn't one of those can be forgotten.

use super::event::{CHECKOUT, CREATED, DELETED, Event, FAILED, PAID, UPDATED};
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::tier::{Standing, Subscription, Wares};

/// How many failed payments since the last good one are kept. Stripe tries at most eight times, and
/// tells each twice.
const MOST_FAILURES: usize = 64;

/// The events of one subscription.
#[derive(Clone, Debug)]
pub struct Life<'a>(Vec<&'a Event>);

/// A moment at which a payment was good or not. What happened in the same second is told apart by
/// what it was: a payment goes before whatever was said of one that is due.
type Mark = (Millis, Sign);

/// The signs of a payment, in the order that they have in one second.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sign {
    Failed,
    Active,
    Due,
    Paid,
}

impl<'a> Life<'a> {
    /// What is known of the subscription of this id.
    #[must_use]
    pub fn of(id: &str, events: &'a [Event]) -> Self {
        Self(events.iter().filter(|event| event.subject == id).collect())
    }

    /// Stripe's id of it; `None` where nothing is known of it.
    #[must_use]
    pub fn id(&self) -> Option<&'a str> {
        self.0.first().map(|event| event.subject.as_str())
    }

    /// What is known of it as a whole; a checkout is only asked where nothing else is known.
    ///
    /// A later moment is newer. Within one second, an end is newer than a change, and that than a
    /// beginning; then whatever is further along a subscription's life. The id only decides for good.
    #[must_use]
    pub fn newest(&self) -> Option<&'a Event> {
        let whole = self.0.iter().filter(|event| !event.status.is_empty());
        whole.max_by_key(|event| version(event)).copied()
    }

    /// The event that says whose it is: its newest, else a checkout or an invoice, else the newest of
    /// its own that ever said so.
    #[must_use]
    pub fn word(&self) -> Option<&'a Event> {
        let newest = self.newest().filter(|event| rank(event) > 0 && event.user.is_some());
        newest.or_else(|| self.claim()).or_else(|| self.named())
    }

    /// Whose it is, as its events say.
    #[must_use]
    pub fn user(&self) -> Option<&'a UserId> {
        self.word().and_then(|event| event.user.as_ref())
    }

    /// Whether a checkout named somebody in a way that anybody can.
    #[must_use]
    pub fn is_unsigned(&self) -> bool {
        self.0.iter().any(|event| event.is_unsigned)
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let Some(newest) = self.newest() else { return Standing::Over };
        let is_alive = match newest.status.as_str() {
            "active" | "trialing" | "past_due" => true,
            // Nothing was paid then; perhaps it was later.
            "incomplete" | "unpaid" => self.paid() > Some((newest.created, Sign::Due)),
            _ => false,
        };
        let paid = self.paid();
        let failures = self.0.iter().filter_map(|event| mark(event));
        let first = failures.filter(|mark| !is_good(mark) && Some(*mark) > paid).min();
        match first {
            _ if !is_alive => Standing::Over,
            Some((since, _)) => Standing::PastDue { since },
            None => Standing::Live,
        }
    }

    /// What it is to its user; `None` where it is over.
    #[must_use]
    pub fn bought(&self) -> Option<Subscription> {
        let (newest, standing) = (self.newest()?, self.standing());
        (standing != Standing::Over).then(|| Subscription {
            id: newest.subject.clone(),
            standing,
            items: newest.items.clone(),
            named: newest.named,
            checkout: self.checkout().filter(|checkout| checkout.id != newest.id).map(wares),
            since: newest.since,
            cancel_at: newest.cancel_at,
        })
    }

    /// When it was last heard of.
    #[must_use]
    pub fn last_heard(&self) -> Option<Millis> {
        self.0.iter().map(|event| event.created).max()
    }

    /// Whether anything follows from this event of its own, or may yet.
    #[must_use]
    pub fn needs(&self, event: &Event) -> bool {
        let is = |other: Option<&Event>| other.is_some_and(|other| other.id == event.id);
        let unsigned = self.0.iter().find(|event| event.is_unsigned).copied();
        let kept = [self.newest(), self.claim(), self.named(), self.checkout(), unsigned];
        kept.into_iter().any(is) || self.needs_mark(event)
    }

    fn needs_mark(&self, event: &Event) -> bool {
        let (paid, marked) = (self.paid(), mark(event));
        let Some(marked) = marked.filter(|_| marked >= paid) else { return false };
        let earlier = self.0.iter().filter_map(|event| mark(event));
        let earlier = earlier.filter(|mark| Some(*mark) > paid && *mark < marked).count();
        earlier < MOST_FAILURES
    }

    /// Who was named by a checkout or an invoice: the merchant's word first, then the latest.
    fn claim(&self) -> Option<&'a Event> {
        let claims = self.0.iter().filter(|event| rank(event) == 0 && event.user.is_some());
        claims.max_by_key(|event| (event.is_by_merchant, event.created, event.id.clone())).copied()
    }

    /// The newest of its own events that names somebody.
    fn named(&self) -> Option<&'a Event> {
        let naming = self.0.iter().filter(|event| rank(event) > 0 && event.user.is_some());
        naming.max_by_key(|event| version(event)).copied()
    }

    /// The checkout that says what was bought.
    fn checkout(&self) -> Option<&'a Event> {
        let says = |event: &Event| !event.items.is_empty() || event.named.is_some();
        let checkouts = self.0.iter().filter(|event| event.kind == CHECKOUT && says(event));
        checkouts.max_by_key(|event| version(event)).copied()
    }

    fn paid(&self) -> Option<Mark> {
        self.0.iter().filter_map(|event| mark(event)).filter(is_good).max()
    }
}

/// What makes one event newer than another.
fn version(event: &Event) -> (bool, Millis, u8, u8, String) {
    let is_own = event.kind != CHECKOUT;
    (is_own, event.created, rank(event), progress(event), event.id.clone())
}

fn wares(checkout: &Event) -> Wares {
    Wares { items: checkout.items.clone(), named: checkout.named }
}

fn is_good(mark: &Mark) -> bool {
    matches!(mark.1, Sign::Active | Sign::Paid)
}

fn mark(event: &Event) -> Option<Mark> {
    let sign = match (event.kind.as_str(), event.status.as_str()) {
        (PAID, _) => Sign::Paid,
        (FAILED, _) => Sign::Failed,
        (_, "active" | "trialing") => Sign::Active,
        (_, "past_due") => Sign::Due,
        _ => return None,
    };
    Some((event.created, sign))
}

/// What kind of an event of the subscription's own it is; 0 for those of others.
fn rank(event: &Event) -> u8 {
    match event.kind.as_str() {
        CREATED => 1,
        UPDATED => 2,
        DELETED => 3,
        _ => 0,
    }
}

fn progress(event: &Event) -> u8 {
    match event.status.as_str() {
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
