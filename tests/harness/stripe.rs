//! Stripe as a test plays it: events of true shape, signed as Stripe signs them.

use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::{Value, json};
use sha2::Sha256;

/// An event in the making: a fixture, changed.
#[derive(Clone, Debug)]
pub struct Event(pub Value);

impl Event {
    /// A `customer.subscription.{kind}` of `subscription`, which stands as `status` says.
    #[must_use]
    pub fn subscription(subscription: &str, kind: &str, status: &str) -> Self {
        Self::like(include_str!("../fixtures/stripe/subscription.json"))
            .with("/type", format!("customer.subscription.{kind}"))
            .with("/data/object/id", subscription)
            .with("/data/object/status", status)
    }

    /// An `invoice.{kind}` for `subscription`.
    #[must_use]
    pub fn invoice(subscription: &str, kind: &str) -> Self {
        Self::like(include_str!("../fixtures/stripe/invoice.json"))
            .with("/type", format!("invoice.{kind}"))
            .with("/data/object/parent/subscription_details/subscription", subscription)
    }

    /// The `checkout.session.completed` in which `subscription` was bought.
    #[must_use]
    pub fn checkout(subscription: &str) -> Self {
        Self::like(include_str!("../fixtures/stripe/checkout.json"))
            .with("/data/object/subscription", subscription)
    }

    /// A `charge.refunded`.
    #[must_use]
    pub fn refund() -> Self {
        Self::like(include_str!("../fixtures/stripe/charge.json"))
    }

    /// A `charge.dispute.created`, which names no customer.
    #[must_use]
    pub fn dispute() -> Self {
        Self::like(include_str!("../fixtures/stripe/dispute.json"))
    }

    /// A live event with a new id, and all else like the fixture.
    fn like(fixture: &str) -> Self {
        let event = Self(serde_json::from_str(fixture).unwrap());
        event.with("/id", format!("evt_{:024x}", fastrand::u128(..))).with("/livemode", true)
    }

    /// The same, with something else at a place. The last part of the place may be new.
    #[must_use]
    pub fn with(mut self, place: &str, value: impl Into<Value>) -> Self {
        let (parent, name) = place.rsplit_once('/').unwrap();
        self.0.pointer_mut(parent).unwrap()[name] = value.into();
        self
    }

    /// The same, of another customer.
    #[must_use]
    pub fn of(self, customer: &str) -> Self {
        self.with("/data/object/customer", customer)
    }

    /// The same, so many seconds after the fixture's beginning.
    #[must_use]
    pub fn at(self, seconds: i64) -> Self {
        self.with("/created", 1_795_000_000 + seconds)
    }

    /// The same, with the merchant's word for who it is about.
    #[must_use]
    pub fn for_user(self, user: &str) -> Self {
        let place = if self.0.pointer("/data/object/parent/subscription_details").is_some() {
            "/data/object/parent/subscription_details/metadata"
        } else {
            "/data/object/metadata"
        };
        self.with(place, json!({ "user_id": user }))
    }

    /// The same, with something written into the page's URL.
    #[must_use]
    pub fn referring(self, reference: &str) -> Self {
        self.with("/data/object/client_reference_id", reference)
    }

    /// The body in which it comes.
    #[must_use]
    pub fn body(&self) -> String {
        serde_json::to_string_pretty(&self.0).unwrap()
    }
}

/// `Stripe-Signature` of a body that is signed at `second`.
#[must_use]
pub fn signature(body: &str, secret: &str, second: u64) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{second}.{body}").as_bytes());
    format!("t={second},v1={}", hex::encode(mac.finalize().into_bytes()))
}

/// This second.
#[must_use]
pub fn now() -> u64 {
    let since = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    since.as_secs()
}
