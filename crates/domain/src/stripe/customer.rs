//! One of Stripe's customers: what it has bought, for whom, and what the operator should know.
//!
//! What comes before its user is known simply waits here. Whenever what somebody has from this
//! customer changes, that is told to the user's object as a whole list, until it is taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::event::{CHECKOUT, DISPUTE, Event, REFUND, THIN};
use super::subscription::Life;
use crate::clock::{Millis, sql_text};
use crate::identifiers::UserId;
use crate::tier::{Purchases, Standing, Subscription, Tier};

/// How many subscriptions are remembered, ended ones too, so that nothing late revives one.
const MOST_SUBSCRIPTIONS: usize = 200;

/// The note of a subscription that nobody knows the tier of.
const UNKNOWN_PRICE: &str = "unknown_price";

/// What somebody was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    user: UserId,
    purchases: Purchases,
    is_taken: bool,
}

/// What is left of users who were forgotten: whose they were is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Forgotten {
    /// When the last of them was.
    at: Millis,
    /// Their subscriptions, which are nobody's from then on.
    subscriptions: Vec<String>,
}

/// What D1 is to know of a customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// Grows with each change.
    pub revision: u64,
    /// Whether something waits that a setting would mend, perhaps by the next time that one looks.
    pub is_waiting: bool,
    /// A JSON object: `revision`, `customer_id`, `user_id`, `subscription_id` and `status` of the
    /// subscription that counts most, and `notes` with `kind`, `subject`, `user_id`, `text` and
    /// `created_at`: all that has happened since, the oldest first, and all that waits.
    pub row: Value,
}

/// All that is kept of a customer; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// The events from which something follows.
    events: Vec<Event>,
    told: Vec<Told>,
    revision: u64,
    /// The revision that D1 has.
    mirrored: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    forgotten: Option<Forgotten>,
}

impl Customer {
    /// Takes in an event. `false` where it changes nothing.
    pub fn receive(&mut self, mut event: Event) -> bool {
        if self.events.iter().any(|known| known.id == event.id) {
            return false;
        }
        self.keep_forgotten(&mut event);
        let id = event.id.clone();
        self.events.push(event);
        self.forget_needless();
        if self.events.last().is_none_or(|last| last.id != id) {
            return false;
        }
        self.forget_ended();
        self.revision += 1;
        self.tell();
        true
    }

    /// What users have to be told yet.
    #[must_use]
    pub fn untold(&self) -> Vec<(UserId, Purchases)> {
        let untold = self.told.iter().filter(|told| !told.is_taken);
        untold.map(|told| (told.user.clone(), told.purchases.clone())).collect()
    }

    /// A user's object has taken what it was told. `false` where that changes nothing.
    pub fn taken(&mut self, user: &UserId, revision: u64) -> bool {
        let is_it = |told: &&mut Told| {
            told.user == *user && told.purchases.revision == revision && !told.is_taken
        };
        let Some(told) = self.told.iter_mut().find(is_it) else { return false };
        told.is_taken = true;
        self.told.retain(|told| !(told.is_taken && told.purchases.subscriptions.is_empty()));
        true
    }

    /// Forgets whose the subscriptions are that are this user's. `false` where the user isn't known here.
    pub fn forget(&mut self, user: &UserId, now: Millis) -> bool {
        let is_named = |named: Option<&UserId>| named == Some(user);
        let is_known = self.events.iter().any(|event| is_named(event.user.as_ref()))
            || self.told.iter().any(|told| told.user == *user);
        if !is_known {
            return false;
        }
        let theirs = self.lives().into_iter().filter(|life| is_named(self.user_of(life)));
        let theirs: Vec<_> = theirs.filter_map(|life| life.id().map(str::to_owned)).collect();
        let subscriptions = self.forgotten.take().map(|old| old.subscriptions).unwrap_or_default();
        let subscriptions = subscriptions.into_iter().chain(theirs).collect();
        self.forgotten = Some(Forgotten { at: now, subscriptions });
        for event in self.events.iter_mut().filter(|event| event.user.as_ref() == Some(user)) {
            strip(event);
        }
        self.told.retain(|told| told.user != *user);
        self.revision += 1;
        true
    }

    /// The subscriptions of users who were forgotten that go on being paid for.
    #[must_use]
    pub fn paid_for_nobody(&self) -> Vec<String> {
        let lives = self.lives();
        let nobodys = lives.iter().filter(|life| self.is_forgotten(life)).filter_map(Life::bought);
        nobodys.filter(Subscription::is_paying).map(|bought| bought.id).collect()
    }

    /// Stripe's id of it; `None` for what belongs to nobody.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.events.iter().find_map(|event| event.customer.as_deref())
    }

    /// Whether D1 has all of it.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored == self.revision
    }

    /// What D1 is to know.
    #[must_use]
    pub fn mirror(&self, prices: &BTreeMap<String, Tier>) -> Mirror {
        let lives = self.lives();
        let known = lives.iter().filter_map(|life| Some((life, life.newest()?)));
        let weight =
            |life: &Life, newest: &Event| (life.standing() != Standing::Over, newest.created);
        let first = known.max_by_key(|(life, newest)| weight(life, newest));
        let user = first.map_or_else(|| self.user(), |(life, _)| self.user_of(life));
        // Disputes name no customer: anything may be of one.
        let is_ours = self.id().is_none()
            || self.forgotten.is_some()
            || lives.iter().any(|life| self.user_of(life).is_some() || is_sold(life, prices));
        let is_told = |event: &&Event| is_told_once(event) && (is_ours || event.user.is_some());
        let mut back: Vec<_> = self.events.iter().filter(is_told).collect();
        back.sort_by_key(|event| (event.created, &event.id));
        let mut notes: Vec<_> = back.into_iter().map(|event| self.happened(event)).collect();
        notes.extend(lives.iter().flat_map(|life| self.wanting(life, prices)));
        Mirror {
            revision: self.revision,
            is_waiting: notes.iter().any(|note| note["kind"] == UNKNOWN_PRICE),
            row: json!({
                "revision": self.revision,
                "customer_id": self.id(),
                "user_id": user,
                "subscription_id": first.map(|(_, newest)| newest.subject.as_str()),
                "status": first.map(|(_, newest)| newest.status.as_str()),
                "notes": notes,
            }),
        }
    }

    /// D1 has this revision. `false` where that changes nothing.
    pub fn mirrored(&mut self, revision: u64) -> bool {
        let is_news = revision > self.mirrored;
        self.mirrored = self.mirrored.max(revision);
        if self.is_mirrored() {
            // The customer keeps its name, by what else is known of it.
            self.events.retain(|event| !is_told_once(event));
        }
        is_news
    }

    fn lives(&self) -> Vec<Life<'_>> {
        let about = self.events.iter().filter(|event| !is_told_once(event));
        let mut ids: Vec<_> = about.map(|event| event.subject.as_str()).collect();
        ids.sort_unstable();
        ids.dedup();
        ids.retain(|id| !id.is_empty());
        ids.into_iter().map(|id| Life::of(id, &self.events)).collect()
    }

    /// Whom the first subscription that names somebody names, or a checkout of none: the merchant's
    /// word first. Of what belongs to no customer nothing follows for anything else.
    fn user(&self) -> Option<&UserId> {
        self.id()?;
        let lives = self.lives().into_iter().filter_map(|life| {
            let word = life.word()?;
            Some((life.newest().map_or(word.created, |newest| newest.since), word))
        });
        let words = lives.chain(self.loose().map(|event| (event.created, event)));
        let first = |(began, word): &(Millis, &Event)| {
            (!word.is_by_merchant, *began, word.created, word.id.clone())
        };
        words.min_by_key(first).and_then(|(_, word)| word.user.as_ref())
    }

    /// What names somebody and is about no subscription.
    fn loose(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| event.subject.is_empty() && event.user.is_some())
    }

    fn user_of<'a>(&'a self, life: &Life<'a>) -> Option<&'a UserId> {
        if self.is_forgotten(life) {
            return None;
        }
        life.user().or_else(|| self.user())
    }

    fn is_forgotten(&self, life: &Life<'_>) -> bool {
        life.id().is_some_and(|id| self.is_forgottens(id))
    }

    fn is_forgottens(&self, subscription: &str) -> bool {
        let forgotten = self.forgotten.as_ref();
        forgotten
            .is_some_and(|forgotten| forgotten.subscriptions.iter().any(|id| id == subscription))
    }

    /// Sees to it that an event brings nobody back. Whatever is said of a subscription that was
    /// forgotten names nobody; nor does what is of a time before, unless it names somebody whom the
    /// customer still has. A subscription that began later is somebody's who has come back.
    fn keep_forgotten(&mut self, event: &mut Event) {
        let Some(at) = self.forgotten.as_ref().map(|forgotten| forgotten.at) else { return };
        let is_forgottens = self.is_forgottens(&event.subject);
        let is_elses = self.events.iter().any(|known| known.user == event.user);
        let is_past = event.created.min(event.since) <= at && !is_elses;
        if event.user.is_none() || !(is_forgottens || is_past || is_told_once(event)) {
            return;
        }
        strip(event);
        let is_news = is_past && !is_forgottens && !event.subject.is_empty();
        if is_news && !is_told_once(event) {
            let earlier = self.events.iter_mut().filter(|known| known.subject == event.subject);
            earlier.for_each(strip);
            if let Some(forgotten) = &mut self.forgotten {
                forgotten.subscriptions.push(event.subject.clone());
            }
        }
    }

    /// Forgets what the last event has made needless.
    fn forget_needless(&mut self) {
        let Some(subject) = self.events.last().map(|event| event.subject.clone()) else { return };
        let life = Life::of(&subject, &self.events);
        let first = self
            .loose()
            .min_by_key(|event| (!event.is_by_merchant, event.created, event.id.clone()));
        let first = first.map(|event| event.id.clone());
        let is_needed = |event: &Event| {
            event.subject != subject
                || is_told_once(event)
                || first.as_ref() == Some(&event.id)
                || !subject.is_empty() && life.needs(event)
        };
        let needed: Vec<_> = self.events.iter().map(is_needed).collect();
        let mut needed = needed.into_iter();
        self.events.retain(|_| needed.next().unwrap_or(true));
    }

    /// Forgets the ended subscription that was heard of the longest ago, where there are too many.
    fn forget_ended(&mut self) {
        let lives = self.lives();
        if lives.len() <= MOST_SUBSCRIPTIONS {
            return;
        }
        let ended = lives.iter().filter(|life| life.standing() == Standing::Over);
        let oldest = ended.min_by_key(|life| life.last_heard()).and_then(Life::newest);
        if let Some(id) = oldest.map(|event| event.subject.clone()) {
            self.events.retain(|event| event.subject != id);
        }
    }

    /// Sees to it that each user is told what is new to it, and who has nothing left, that.
    fn tell(&mut self) {
        let mut lists: Vec<(UserId, Vec<Subscription>)> =
            self.told.iter().map(|told| (told.user.clone(), Vec::new())).collect();
        for life in self.lives() {
            let Some((user, bought)) = self.user_of(&life).zip(life.bought()) else { continue };
            match lists.iter_mut().find(|(known, _)| known == user) {
                Some((_, list)) => list.push(bought),
                None => lists.push((user.clone(), vec![bought])),
            }
        }
        for (user, subscriptions) in lists {
            let known = self.told.iter().position(|told| told.user == user);
            let known = known.and_then(|place| self.told.get_mut(place));
            let purchases = Purchases { revision: self.revision, subscriptions };
            match known {
                Some(told) if told.purchases.subscriptions == purchases.subscriptions => {}
                Some(told) => (told.purchases, told.is_taken) = (purchases, false),
                None => self.told.push(Told { user, purchases, is_taken: false }),
            }
        }
    }

    /// What the operator has to do for a subscription to be worth something. Of one that is for
    /// nothing that is sold here, and for nobody who is known here, there is nothing to say: the same
    /// account may sell other things.
    fn wanting(&self, life: &Life<'_>, prices: &BTreeMap<String, Tier>) -> Vec<Value> {
        let Some((newest, bought)) = life.newest().zip(life.bought()) else { return Vec::new() };
        let (user, tier) = (self.user_of(life), bought.tier(prices));
        let id = &bought.id;
        let mut notes = Vec::new();
        match user {
            Some(_) => {}
            None if self.is_forgotten(life) => return of_nobody(newest, &bought),
            None if tier.is_none() => return Vec::new(),
            None if life.is_unsigned() => notes.push(("unsigned_reference", unsigned(id))),
            None => notes.push(("unknown_user", unknown_user(id))),
        }
        // What a checkout can't tell, the subscription will.
        if tier.is_none() && newest.kind != CHECKOUT {
            notes.push((UNKNOWN_PRICE, unknown_price(id, &bought.items)));
        }
        notes.into_iter().map(|(kind, text)| note(kind, newest, id, user, &text)).collect()
    }

    /// Something that has happened, and that the operator may want to do something about.
    fn happened(&self, event: &Event) -> Value {
        if event.kind == THIN {
            return note("thin_event", event, &event.subject, None, &thin_event(&event.subject));
        }
        let kind = if event.kind == DISPUTE { "dispute" } else { "refund" };
        let user = event.user.as_ref().or_else(|| self.user());
        note(kind, event, &event.id, user, &money_back(kind, &event.subject))
    }
}

/// Whether it is alive, and for something that is sold here.
fn is_sold(life: &Life<'_>, prices: &BTreeMap<String, Tier>) -> bool {
    life.bought().is_some_and(|bought| bought.tier(prices).is_some())
}

/// Whom it named is not known any more.
fn strip(event: &mut Event) {
    event.user = None;
    event.is_by_merchant = false;
}

/// Whether it is something that has happened, from which nothing follows but a note.
fn is_told_once(event: &Event) -> bool {
    matches!(event.kind.as_str(), REFUND | DISPUTE | THIN)
}

/// What the operator has to do about a subscription whose user was forgotten.
fn of_nobody(newest: &Event, bought: &Subscription) -> Vec<Value> {
    let text = forgotten_user(&bought.id);
    let note = || note("forgotten_user", newest, &bought.id, None, &text);
    bought.is_paying().then(note).into_iter().collect()
}

/// A row of `notes`.
fn note(kind: &str, event: &Event, subject: &str, user: Option<&UserId>, text: &str) -> Value {
    let created_at = sql_text(event.created);
    json!({ "kind": kind, "subject": subject, "user_id": user, "text": text, "created_at": created_at })
}

fn unknown_user(id: &str) -> String {
    format!(
        "Nobody knows whose subscription {id} is, so it grants nothing. In Stripe's dashboard, add \
         the metadata user_id to it, with the person's USER_ID; the tier is there a moment later."
    )
}

fn forgotten_user(id: &str) -> String {
    format!(
        "Subscription {id} is paid for, and grants nothing: whose it was has been forgotten. Cancel \
         it in Stripe's dashboard."
    )
}

fn unsigned(id: &str) -> String {
    format!(
        "The checkout of subscription {id} names its user in a client_reference_id that this gateway \
         has not signed, so it grants nothing. Find out who paid. Then, in Stripe's dashboard, add \
         the metadata user_id to the subscription, with the person's USER_ID."
    )
}

fn unknown_price(id: &str, items: &[String]) -> String {
    let items = items.join(", ");
    format!(
        "Subscription {id} is for {items}, which STRIPE_PRICES has no tier for, so it grants nothing. \
         Add it there, or in Stripe's dashboard add the metadata tier to the subscription."
    )
}

fn thin_event(kind: &str) -> String {
    format!(
        "Stripe has told of {kind} in a thin event, which doesn't say what it is about, so nothing was \
         changed. In Stripe's dashboard, make a webhook endpoint whose payload style is snapshot, with the \
         same events, and send these from there."
    )
}

fn money_back(kind: &str, charge: &str) -> String {
    let what = if kind == "dispute" { "is disputed" } else { "was refunded, in whole or in part" };
    format!(
        "Charge {charge} {what}. Nothing has changed here: if the person is to lose the tier, cancel \
         the subscription in Stripe's dashboard."
    )
}
