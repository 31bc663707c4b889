//! One of Stripe's customers: what it has bought, for whom, and what the operator should know.
//!
//! What comes before its user is known simply waits here. Whenever what somebody has from this
//! customer changes, that is told to the user's object as a whole list, until it is taken.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::event::{Event, News};
use super::reference;
use super::subscription::{Claim, Record, Snapshot};
use crate::clock::sql_text;
use crate::identifiers::UserId;
use crate::secret::Secret;
use crate::tier::{Purchases, Standing, Subscription, Tier};

/// How many subscriptions are remembered, ended ones too, so that nothing late revives one.
const MOST_SUBSCRIPTIONS: usize = 200;

/// What a customer's user was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    purchases: Purchases,
    is_taken: bool,
}

/// Something that the operator should know, a row of D1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// What it is about, in a word.
    pub kind: String,
    /// The subscription that it is about, or the event.
    pub subject: String,
    /// Whose it is, as far as that is known.
    pub user_id: Option<UserId>,
    /// What it is, and what to do about it.
    pub text: String,
    /// When it came to be, as D1 keeps moments.
    pub created_at: String,
}

/// What D1 is to know of a customer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mirror {
    /// Grows with each change.
    pub revision: u64,
    /// Stripe's id of it; none for what belongs to nobody.
    pub customer_id: Option<String>,
    /// Whose subscription it is.
    pub user_id: Option<UserId>,
    /// The subscription that counts most.
    pub subscription_id: Option<String>,
    /// Stripe's word for how that stands.
    pub status: Option<String>,
    /// What has happened, and what waits for the operator as long as it does.
    pub notes: Vec<Note>,
}

impl Mirror {
    /// Whether something waits for the operator, so that it has to be looked at again.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.notes.iter().any(|note| WAITING.contains(&note.kind.as_str()))
    }
}

/// The kinds of notes that are resolved by themselves, once what they ask for was done.
pub const WAITING: [&str; 3] = [UNKNOWN_USER, UNSIGNED, UNKNOWN_PRICE];
const UNKNOWN_USER: &str = "unknown_user";
const UNSIGNED: &str = "unsigned_reference";
const UNKNOWN_PRICE: &str = "unknown_price";

/// All that is kept of a customer; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Customer {
    /// Stripe's id of it.
    id: Option<String>,
    /// Who pays through it.
    user: Option<Claim>,
    subscriptions: BTreeMap<String, Record>,
    told: BTreeMap<UserId, Told>,
    /// What happened, and D1 doesn't have yet.
    notes: Vec<Note>,
    revision: u64,
    /// The revision that D1 has.
    mirrored: u64,
}

impl Customer {
    /// Takes in an event. `false` where it changes nothing.
    pub fn receive(&mut self, event: Event, secrets: &[Secret<String>]) -> bool {
        let mut after = self.clone();
        after.take(event, secrets);
        if after == *self {
            return false;
        }
        after.forget_ended();
        after.revision += 1;
        after.tell();
        *self = after;
        true
    }

    /// What users have to be told yet.
    #[must_use]
    pub fn untold(&self) -> Vec<(UserId, Purchases)> {
        let untold = self.told.iter().filter(|(_, told)| !told.is_taken);
        untold.map(|(user, told)| (user.clone(), told.purchases.clone())).collect()
    }

    /// A user's object has taken what it was told.
    pub fn taken(&mut self, user: &UserId, revision: u64) {
        let Some(told) = self.told.get_mut(user) else { return };
        if told.purchases.revision == revision {
            told.is_taken = true;
            if told.purchases.subscriptions.is_empty() {
                self.told.remove(user);
            }
        }
    }

    /// Stripe's id of it.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Whether D1 has all of it.
    #[must_use]
    pub fn is_mirrored(&self) -> bool {
        self.mirrored == self.revision
    }

    /// What D1 is to know.
    #[must_use]
    pub fn mirror(&self, prices: &BTreeMap<String, Tier>) -> Mirror {
        let described = self
            .subscriptions
            .iter()
            .filter_map(|(id, record)| Some((id, record, record.newest()?)));
        let weight = |record: &Record, newest: &Snapshot| {
            (record.standing() != Standing::Over, newest.created)
        };
        let first = described.max_by_key(|(_, record, newest)| weight(record, newest));
        let waiting =
            self.subscriptions.iter().flat_map(|(id, record)| self.wanting(id, record, prices));
        Mirror {
            revision: self.revision,
            customer_id: self.id.clone(),
            user_id: match first {
                Some((_, record, _)) => self.user_of(record).cloned(),
                None => self.user.as_ref().map(|claim| claim.user.clone()),
            },
            subscription_id: first.map(|(id, ..)| id.clone()),
            status: first.map(|(.., newest)| newest.status.clone()),
            notes: self.notes.iter().cloned().chain(waiting).collect(),
        }
    }

    /// D1 has this.
    pub fn mirrored(&mut self, mirror: &Mirror) {
        self.mirrored = self.mirrored.max(mirror.revision);
        self.notes.retain(|note| !mirror.notes.contains(note));
    }

    fn take(&mut self, event: Event, secrets: &[Secret<String>]) {
        let Event { id: event, created, customer, user, news } = event;
        self.id = customer;
        let claim =
            |user, is_by_merchant| Claim { is_by_merchant, created, event: event.clone(), user };
        let named = user.clone().map(|user| claim(user, true));
        match news {
            News::Subscription(id, snapshot) => {
                self.record(id).describe(Snapshot { user, ..snapshot });
                self.claim(named);
            }
            News::Checkout { subscription, reference } => {
                let signed = reference.as_ref().and_then(|text| reference::user_of(text, secrets));
                let is_unsigned = reference.is_some() && signed.is_none();
                let claim = named.or(signed.map(|user| claim(user, false)));
                if let Some((id, snapshot)) = subscription {
                    let record = self.record(id);
                    record.describe(snapshot);
                    record.claim(claim.clone());
                    record.doubt(is_unsigned);
                }
                self.claim(claim);
            }
            News::Paid(id) => {
                let record = self.record(id);
                record.pay(created);
                record.claim(named.clone());
                self.claim(named);
            }
            News::Failed(id) => {
                let record = self.record(id);
                record.fail(created);
                record.claim(named.clone());
                self.claim(named);
            }
            News::MoneyBack { kind, charge } => {
                let user_id = user.or(self.user.as_ref().map(|claim| claim.user.clone()));
                let text = money_back(kind, &charge);
                self.note(Note {
                    kind: kind.to_owned(),
                    subject: event,
                    user_id,
                    text,
                    created_at: sql_text(created),
                });
            }
        }
    }

    fn record(&mut self, id: String) -> &mut Record {
        self.subscriptions.entry(id).or_default()
    }

    fn claim(&mut self, claim: Option<Claim>) {
        self.user = self.user.take().max(claim);
    }

    fn note(&mut self, note: Note) {
        let is_same = |known: &Note| known.kind == note.kind && known.subject == note.subject;
        if !self.notes.iter().any(is_same) {
            self.notes.push(note);
        }
    }

    fn user_of<'a>(&'a self, record: &'a Record) -> Option<&'a UserId> {
        record.user().or(self.user.as_ref().map(|claim| &claim.user))
    }

    /// Sees to it that each user is told what is new to it, and who has nothing left, that.
    fn tell(&mut self) {
        let mut lists: BTreeMap<UserId, Vec<Subscription>> =
            self.told.keys().map(|user| (user.clone(), Vec::new())).collect();
        for (id, record) in &self.subscriptions {
            if let Some((user, bought)) = self.user_of(record).zip(record.bought(id)) {
                lists.entry(user.clone()).or_default().push(bought);
            }
        }
        for (user, subscriptions) in lists {
            let is_known = self
                .told
                .get(&user)
                .is_some_and(|told| told.purchases.subscriptions == subscriptions);
            if !is_known {
                let purchases = Purchases { revision: self.revision, subscriptions };
                self.told.insert(user, Told { purchases, is_taken: false });
            }
        }
    }

    /// Forgets the ended subscription that was heard of the longest ago, where there are too many.
    fn forget_ended(&mut self) {
        if self.subscriptions.len() <= MOST_SUBSCRIPTIONS {
            return;
        }
        let ended =
            self.subscriptions.iter().filter(|(_, record)| record.standing() == Standing::Over);
        let oldest = ended.min_by_key(|(_, record)| record.last_heard()).map(|(id, _)| id.clone());
        if let Some(id) = oldest {
            self.subscriptions.remove(&id);
        }
    }

    /// What the operator has to do for a subscription to be worth something.
    fn wanting(&self, id: &str, record: &Record, prices: &BTreeMap<String, Tier>) -> Vec<Note> {
        let Some((newest, bought)) = record.newest().zip(record.bought(id)) else {
            return Vec::new();
        };
        let user = self.user_of(record);
        let note = |kind: &str, text| Note {
            kind: kind.to_owned(),
            subject: id.to_owned(),
            user_id: user.cloned(),
            text,
            created_at: sql_text(newest.created),
        };
        let mut notes = Vec::new();
        match user {
            Some(_) => {}
            None if record.is_claim_unsigned() => notes.push(note(UNSIGNED, unsigned(id))),
            None => notes.push(note(UNKNOWN_USER, unknown_user(id))),
        }
        let is_known =
            bought.named.is_some() || bought.items.iter().any(|item| prices.contains_key(item));
        // What a checkout can't tell, the subscription will.
        if !is_known && newest.rank != Snapshot::CHECKOUT {
            notes.push(note(UNKNOWN_PRICE, unknown_price(id, &bought.items)));
        }
        notes
    }
}

fn unknown_user(id: &str) -> String {
    format!(
        "Nobody knows whose subscription {id} is, so it grants nothing. In Stripe's dashboard, add \
         the metadata user_id to it, with the person's USER_ID; the tier is there a moment later."
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

fn money_back(kind: &str, charge: &str) -> String {
    let what = if kind == "dispute" { "is disputed" } else { "was refunded, in whole or in part" };
    format!(
        "Charge {charge} {what}. Nothing has changed here: if the person is to lose the tier, cancel \
         the subscription in Stripe's dashboard."
    )
}
