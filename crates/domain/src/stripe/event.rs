//! One event of Stripe's, as far as it matters here.
//!
//! Members are looked up where the API of any version since 2022 has them: periods moved from a
//! subscription to its items, and an invoice's subscription to its `parent`, in 2025-03-31. An id
//! may be a text, or the object that has it.

use serde_json::Value;

use super::subscription::Snapshot;
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::tier::Tier;

/// An event that matters here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// When it happened, to the second.
    pub created: Millis,
    /// Stripe's id of the customer. Disputes name none.
    pub customer: Option<String>,
    /// Whom the merchant has named in the metadata.
    pub user: Option<UserId>,
    /// What happened.
    pub news: News,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// A subscription was made, has changed, or has ended.
    Subscription(String, Snapshot),
    /// A checkout was completed.
    Checkout {
        /// The subscription that was bought in it, and what the checkout says of that.
        subscription: Option<(String, Snapshot)>,
        /// Who was said to pay, in the page's URL.
        reference: Option<String>,
    },
    /// An invoice for a subscription was paid.
    Paid(String),
    /// An invoice for a subscription could not be paid.
    Failed(String),
    /// Money went back, or is disputed: something for the operator to look at.
    MoneyBack {
        /// What to call it.
        kind: &'static str,
        /// The charge that it is about.
        charge: String,
    },
}

/// A body that is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("This isn't an event of Stripe's.")]
pub struct NotAnEvent;

impl Event {
    /// Reads an event; `None` for one that is about something else.
    ///
    /// # Errors
    /// [`NotAnEvent`] where it isn't JSON, or lacks a member that all such events have.
    pub fn read(body: &[u8]) -> Result<Option<Self>, NotAnEvent> {
        let event: Value = serde_json::from_slice(body).map_err(|_| NotAnEvent)?;
        let (id, kind) = (text(&event, "/id"), text(&event, "/type"));
        let (id, kind) = id.zip(kind).ok_or(NotAnEvent)?;
        let Some(read) = reader_of(&kind) else { return Ok(None) };
        let created = moment(&event, "/created").ok_or(NotAnEvent)?;
        let object = event.pointer("/data/object").filter(|object| object.is_object());
        let object = object.ok_or(NotAnEvent)?;
        let Some(news) = read(object, &Stamp { id: &id, created, kind: &kind }) else {
            return Ok(None);
        };
        let user = METADATA.iter().find_map(|place| text(object, &format!("{place}/user_id")));
        // A name that nobody can have is as good as none.
        let user = user.and_then(|name| UserId::parse(&name).ok());
        let user = user.filter(|user| !user.is_anonymous());
        Ok(Some(Self { customer: text(object, "/customer"), id, created, user, news }))
    }
}

/// Where an object has its metadata, or an invoice those of its subscription.
const METADATA: [&str; 3] =
    ["/metadata", "/parent/subscription_details/metadata", "/subscription_details/metadata"];

/// What an event is, apart from its object.
struct Stamp<'a> {
    id: &'a str,
    created: Millis,
    kind: &'a str,
}

type Reader = fn(&Value, &Stamp) -> Option<News>;

/// What reads the object of an event of this type.
fn reader_of(kind: &str) -> Option<Reader> {
    Some(match kind {
        "customer.subscription.created"
        | "customer.subscription.updated"
        | "customer.subscription.deleted" => subscription,
        "checkout.session.completed" => checkout,
        "invoice.paid" => |invoice, _| subscription_of(invoice).map(News::Paid),
        "invoice.payment_failed" => |invoice, _| subscription_of(invoice).map(News::Failed),
        "charge.refunded" => |charge, _| money_back("refund", text(charge, "/id")),
        "charge.dispute.created" => |dispute, _| money_back("dispute", text(dispute, "/charge")),
        _ => return None,
    })
}

fn subscription(object: &Value, stamp: &Stamp) -> Option<News> {
    let (rank, ended) = match stamp.kind {
        "customer.subscription.created" => (1, None),
        "customer.subscription.updated" => (2, None),
        _ => (3, Some("canceled".to_owned())),
    };
    let items = list(object, "/items/data");
    let prices = items.iter().filter_map(|item| text(item, "/price").or(text(item, "/plan")));
    let period_ends = items.iter().filter_map(|item| moment(item, "/current_period_end"));
    let period_ends = period_ends.chain(moment(object, "/current_period_end"));
    let ends_with_period = object.get("cancel_at_period_end") == Some(&Value::Bool(true));
    let period_end = period_ends.max().filter(|_| ends_with_period);
    let snapshot = Snapshot {
        event: stamp.id.to_owned(),
        created: stamp.created,
        rank,
        status: ended.or_else(|| text(object, "/status"))?,
        items: prices.collect(),
        named: tier(object),
        since: moment(object, "/start_date")
            .or_else(|| moment(object, "/created"))
            .unwrap_or(stamp.created),
        cancel_at: moment(object, "/cancel_at").into_iter().chain(period_end).min(),
        user: None,
    };
    Some(News::Subscription(text(object, "/id")?, snapshot))
}

/// What a checkout says of a subscription holds until the subscription speaks for itself. It has no
/// list of what was bought, so the payment link stands for it.
#[expect(clippy::unnecessary_wraps, reason = "it is what a reader returns")]
fn checkout(object: &Value, stamp: &Stamp) -> Option<News> {
    let payment = text(object, "/payment_status");
    let is_paid = matches!(payment.as_deref(), Some("paid" | "no_payment_required"));
    let snapshot = Snapshot {
        event: stamp.id.to_owned(),
        created: stamp.created,
        rank: Snapshot::CHECKOUT,
        status: if is_paid { "active" } else { "incomplete" }.to_owned(),
        items: text(object, "/payment_link").into_iter().collect(),
        named: tier(object),
        since: stamp.created,
        cancel_at: None,
        user: None,
    };
    Some(News::Checkout {
        subscription: text(object, "/subscription").map(|id| (id, snapshot)),
        reference: text(object, "/client_reference_id"),
    })
}

fn money_back(kind: &'static str, charge: Option<String>) -> Option<News> {
    charge.map(|charge| News::MoneyBack { kind, charge })
}

fn subscription_of(invoice: &Value) -> Option<String> {
    text(invoice, "/parent/subscription_details/subscription")
        .or_else(|| text(invoice, "/subscription"))
}

fn tier(object: &Value) -> Option<Tier> {
    text(object, "/metadata/tier").and_then(|name| Tier::named(&name))
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
