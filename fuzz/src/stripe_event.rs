//! Stripe's events, each a line of any bytes: what is read is stored and read back the same, and what
//! follows from several doesn't depend on the order in which they come, nor on how often.

use std::collections::{BTreeMap, BTreeSet};

use domain::identifiers::UserId;
use domain::secret::Secret;
use domain::stripe::customer::Customer;
use domain::stripe::event::{Event, is_of_test_mode};
use domain::tier::Subscription;
use serde_json::Value;

pub fn hold(input: &[u8]) {
    let secrets = [Secret::new("whsec_1".to_owned())];
    let (mut events, mut ids) = (Vec::new(), BTreeSet::new());
    for line in input.split(|byte| *byte == b'\n') {
        let is_json = serde_json::from_slice::<Value>(line).is_ok();
        assert!(is_json || !is_of_test_mode(line));
        let Ok(read) = Event::read(line, &secrets) else { continue };
        assert!(is_json);
        let Some(event) = read else { continue };
        check(&event);
        if ids.insert(event.id.clone()) {
            events.push(event);
        }
    }
    // An object is sent what is about one customer.
    let customer = events.first().and_then(|event| event.customer.clone());
    events.retain(|event| event.customer == customer);
    let once = outcome(events.iter());
    assert_eq!(outcome(events.iter().rev()), once);
    assert_eq!(outcome(events.iter().chain(&events)), once);
}

fn check(event: &Event) {
    assert!(!event.id.is_empty() && event.created % 1_000 == 0);
    assert!(!event.subject.is_empty() || event.kind == "checkout.session.completed");
    assert!(event.user.as_ref().is_none_or(|user| !user.is_anonymous()));
    assert!(!event.is_by_merchant || event.user.is_some());
    let stored = serde_json::to_string(event).expect("an event is stored");
    assert_eq!(serde_json::from_str::<Event>(&stored).expect("an event is read"), *event);
}

/// All that anybody can tell of a customer, but for how many steps led there.
type Outcome = (BTreeMap<UserId, Vec<Subscription>>, Value);

fn outcome<'a>(events: impl Iterator<Item = &'a Event>) -> Outcome {
    let mut customer = Customer::default();
    for event in events {
        customer.receive(event.clone());
    }
    let stored = serde_json::to_string(&customer).expect("a customer is stored");
    assert_eq!(serde_json::from_str::<Customer>(&stored).expect("a customer is read"), customer);
    let told = customer.untold().into_iter();
    let told = told.map(|(user, purchases)| (user, purchases.subscriptions));
    let mut row = customer.mirror(&BTreeMap::new()).row;
    row["revision"] = Value::Null;
    (told.filter(|(_, subscriptions)| !subscriptions.is_empty()).collect(), row)
}
