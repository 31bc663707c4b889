//! One event of Stripe's, as far as it matters here.
//!
//! Members are looked up where the API of any version since 2022 has them: periods moved from a
//! subscription to its items, and an invoice's subscription to its `parent`, in 2025-03-31. An id
//! may be a text, or the object that has it.

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::reference;
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::secret::Secret;
use crate::tier::Tier;

/// An event that matters here: sent to its customer's object and stored there, as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Stripe's word for what happened.
    pub kind: String,
    /// When it happened, to the second.
    pub created: Millis,
    /// Stripe's id of the customer, or of the account that is one. Disputes name none.
    pub customer: Option<String>,
    /// The subscription that it is about; of money that goes back, the charge. Empty where there is
    /// none.
    pub subject: String,
    /// Whom it names as the one who pays.
    pub user: Option<UserId>,
    /// Whether that is the merchant's word, in metadata, rather than a reference that was signed.
    pub is_by_merchant: bool,
    /// Whether it has a reference that nobody signed here.
    pub is_unsigned: bool,
    /// Stripe's word for how the subscription stands; empty where the event doesn't say.
    pub status: String,
    /// The prices that are subscribed to; of a checkout the payment link, for it has no such list.
    pub items: Vec<String>,
    /// The tier in the metadata.
    pub named: Option<Tier>,
    /// When the subscription began.
    pub since: Millis,
    /// When it will end, where that is decided.
    pub cancel_at: Option<Millis>,
}

/// Whether an event is of Stripe's test mode, in which cards are pretended and nobody pays.
#[must_use]
pub fn is_of_test_mode(body: &[u8]) -> bool {
    let event = serde_json::from_slice::<Value>(body).unwrap_or_default();
    event.get("livemode") == Some(&Value::Bool(false))
}

/// A body that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This isn't an event of Stripe's.")]
pub struct NotAnEvent;

impl Event {
    /// Reads an event, and who of its references was signed under one of the secrets; `None` for an
    /// event that is about something else.
    ///
    /// # Errors
    /// [`NotAnEvent`] where it isn't JSON, or lacks a member that all such events have.
    pub fn read(body: &[u8], secrets: &[Secret<String>]) -> Result<Option<Self>, NotAnEvent> {
        let event: Value = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
        let (id, kind) = (text(&event, "/id"), text(&event, "/type"));
        let (id, kind) = id.zip(kind).ok_or(NotAnEvent)?;
        if text(&event, "/object").as_deref() == Some(THIN) {
            return Ok(thin(&event, id, &kind));
        }
        let Some(kind) = kind_of(&kind).map(str::to_owned) else { return Ok(None) };
        let created = moment(&event, "/created").ok_or(NotAnEvent)?;
        let object = event.pointer("/data/object").filter(|object| object.is_object());
        let object = object.ok_or(NotAnEvent)?;
        let subject = subject(object, &kind);
        // A change of plan may make an invoice for nothing, which mends no payment that failed.
        let is_for_nothing = kind == PAID && object.get("amount_paid") == Some(&Value::from(0));
        if subject.is_empty() && kind != CHECKOUT || is_for_nothing {
            return Ok(None);
        }
        let named = METADATA.iter().find_map(|place| text(object, &format!("{place}/user_id")));
        // A name that nobody can have is as good as none.
        let named = named.and_then(|name| UserId::parse(&name).ok());
        let named = named.filter(|user| !user.is_anonymous());
        let reference = text(object, "/client_reference_id").filter(|_| kind == CHECKOUT);
        let signed = reference.as_ref().and_then(|text| reference::user_of(text, secrets));
        Ok(Some(Self {
            customer: text(object, "/customer").or_else(|| text(object, "/customer_account")),
            is_by_merchant: named.is_some(),
            is_unsigned: reference.is_some() && signed.is_none(),
            user: named.or(signed),
            status: status(object, &kind),
            items: items(object),
            named: text(object, "/metadata/tier").and_then(|name| Tier::named(&name)),
            since: moment(object, "/start_date").unwrap_or(created),
            cancel_at: end(object),
            id,
            kind,
            created,
            subject,
        }))
    }
}

/// Of a destination that sends its events without what they are about: nothing can be read in them.
fn thin(event: &Value, id: String, kind: &str) -> Option<Event> {
    let kind = kind.strip_prefix("v1.").unwrap_or(kind);
    kind_of(kind)?;
    let created = text(event, "/created").and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
    let created = created.map_or(0, |created| created.timestamp_millis());
    Some(Event {
        id,
        kind: THIN.to_owned(),
        created,
        customer: None,
        subject: kind.to_owned(),
        user: None,
        is_by_merchant: false,
        is_unsigned: false,
        status: String::new(),
        items: Vec::new(),
        named: None,
        since: created,
        cancel_at: None,
    })
}

/// What kind of an event this is here; `None` for one that is about something else. All that tells of a
/// subscription shows how it stands, and a checkout that is paid for later is one that is completed.
fn kind_of(kind: &str) -> Option<&str> {
    match kind {
        CREATED | UPDATED | DELETED | CHECKOUT | PAID | FAILED | REFUND | DISPUTE => Some(kind),
        "checkout.session.async_payment_succeeded" | "checkout.session.async_payment_failed" => {
            Some(CHECKOUT)
        }
        other if other.starts_with("customer.subscription.") => Some(UPDATED),
        _ => None,
    }
}

/// The kind of an event that holds nothing but ids (API v2).
pub(super) const THIN: &str = "v2.core.event";
/// A checkout was completed.
pub(super) const CHECKOUT: &str = "checkout.session.completed";
/// A subscription was made, has changed, has ended.
pub(super) const CREATED: &str = "customer.subscription.created";
pub(super) const UPDATED: &str = "customer.subscription.updated";
pub(super) const DELETED: &str = "customer.subscription.deleted";
/// An invoice was paid, or could not be.
pub(super) const PAID: &str = "invoice.paid";
pub(super) const FAILED: &str = "invoice.payment_failed";
/// Money went back, or is disputed: something for the operator to look at.
pub(super) const REFUND: &str = "charge.refunded";
pub(super) const DISPUTE: &str = "charge.dispute.created";

/// Where an object has its metadata, or an invoice those of its subscription.
const METADATA: [&str; 3] =
    ["/metadata", "/parent/subscription_details/metadata", "/subscription_details/metadata"];

fn subject(object: &Value, kind: &str) -> String {
    let places: &[&str] = match kind {
        CREATED | UPDATED | DELETED | REFUND => &["/id"],
        DISPUTE => &["/charge"],
        _ => &["/parent/subscription_details/subscription", "/subscription"],
    };
    places.iter().find_map(|place| text(object, place)).unwrap_or_default()
}

/// How the subscription stands by this. What a checkout says of it holds until it speaks for itself.
fn status(object: &Value, kind: &str) -> String {
    let payment = text(object, "/payment_status");
    let is_paid = matches!(payment.as_deref(), Some("paid" | "no_payment_required"));
    match kind {
        CREATED | UPDATED if is_withheld(object) => PAUSED.to_owned(),
        CREATED | UPDATED => text(object, "/status").unwrap_or_default(),
        DELETED => "canceled".to_owned(),
        CHECKOUT if is_paid => "active".to_owned(),
        CHECKOUT => "incomplete".to_owned(),
        _ => String::new(),
    }
}

/// Stripe's word for a subscription that goes on, and that nobody pays for.
const PAUSED: &str = "paused";

/// Whether nothing is collected for it, though its status is another: its collection is paused, in
/// whatever manner, or there is none of anything in it.
fn is_withheld(object: &Value) -> bool {
    let is_paused = object.get("pause_collection").is_some_and(Value::is_object);
    let items = list(object, "/items/data");
    is_paused || !items.is_empty() && items.iter().all(is_none_of)
}

/// Of what is paid by use there is no quantity.
fn is_none_of(item: &Value) -> bool {
    item.get("quantity") == Some(&Value::from(0))
}

fn items(object: &Value) -> Vec<String> {
    let items = list(object, "/items/data").iter().filter(|item| !is_none_of(item));
    let prices = items.filter_map(|item| text(item, "/price").or(text(item, "/plan")));
    prices.chain(text(object, "/payment_link")).collect()
}

fn end(object: &Value) -> Option<Millis> {
    let items = list(object, "/items/data");
    let period_ends = items.iter().filter_map(|item| moment(item, "/current_period_end"));
    let period_end = period_ends.chain(moment(object, "/current_period_end")).max();
    let ends_with_period = object.get("cancel_at_period_end") == Some(&Value::Bool(true));
    let period_end = period_end.filter(|_| ends_with_period);
    moment(object, "/cancel_at").into_iter().chain(period_end).min()
}

/// The text at a place, or the id of the object that is there.
fn text(value: &Value, place: &str) -> Option<String> {
    let value = value.pointer(place)?;
    let text = value.as_str().or_else(|| value.get("id")?.as_str())?;
    (!text.is_empty()).then(|| text.to_owned())
}

/// A moment, which Stripe gives in seconds.
fn moment(value: &Value, place: &str) -> Option<Millis> {
    value.pointer(place)?.as_i64()?.checked_mul(1_000)
}

fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    value.pointer(place).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}
