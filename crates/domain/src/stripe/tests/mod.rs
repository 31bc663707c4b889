//! Events of true shape, and what follows from any sequence of them.

mod customers;
mod events;
mod forgotten;
mod sequences;

use serde_json::{Value, json};

use super::event::Event;
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::secret::Secret;

const SUBSCRIPTION: &str = include_str!("../../../../../tests/fixtures/stripe/subscription.json");
const CHECKOUT: &str = include_str!("../../../../../tests/fixtures/stripe/checkout.json");
const INVOICE: &str = include_str!("../../../../../tests/fixtures/stripe/invoice.json");
const CHARGE: &str = include_str!("../../../../../tests/fixtures/stripe/charge.json");
const DISPUTE: &str = include_str!("../../../../../tests/fixtures/stripe/dispute.json");

fn secrets() -> [Secret<String>; 1] {
    [Secret::new("whsec_1".to_owned())]
}

fn user(name: &str) -> UserId {
    UserId::parse(name).unwrap()
}

/// An event like the fixture, but for what is at these places. The last part of a place may be new.
fn changed(fixture: &str, changes: &[(&str, Value)]) -> Value {
    let mut event: Value = serde_json::from_str(fixture).unwrap();
    for (place, value) in changes {
        let (parent, name) = place.rsplit_once('/').unwrap();
        event.pointer_mut(parent).unwrap()[name] = value.clone();
    }
    event
}

fn read(event: &Value) -> Event {
    Event::read(event.to_string().as_bytes(), &secrets()).unwrap().unwrap()
}

/// A customer.subscription.* event of the subscription, of this kind, second and status.
fn subscription(id: &str, kind: &str, second: Millis, status: &str) -> Value {
    let event = format!("evt_{id}_{kind}_{second}_{status}");
    changed(
        SUBSCRIPTION,
        &[
            ("/id", json!(event)),
            ("/type", json!(format!("customer.subscription.{kind}"))),
            ("/created", json!(second)),
            ("/data/object/id", json!(id)),
            ("/data/object/status", json!(status)),
        ],
    )
}

/// An invoice event for the subscription.
fn invoice(id: &str, kind: &str, second: Millis) -> Value {
    changed(
        INVOICE,
        &[
            ("/id", json!(format!("evt_{id}_{kind}_{second}"))),
            ("/type", json!(format!("invoice.{kind}"))),
            ("/created", json!(second)),
            ("/data/object/parent/subscription_details/subscription", json!(id)),
        ],
    )
}

/// A completed checkout of the subscription, with a reference.
fn checkout(id: &str, second: Millis, reference: Value) -> Value {
    changed(
        CHECKOUT,
        &[
            ("/id", json!(format!("evt_{id}_checkout_{second}_{reference}"))),
            ("/created", json!(second)),
            ("/data/object/subscription", json!(id)),
            ("/data/object/client_reference_id", reference),
        ],
    )
}
