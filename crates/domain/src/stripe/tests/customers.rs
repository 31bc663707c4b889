//! What follows from a customer's events: for whom, for what, and what the operator hears.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::super::customer::{Customer, Mirror};
use super::super::reference::reference_of;
use super::{CHARGE, SUBSCRIPTION, changed, checkout, invoice, read, secrets, subscription, user};
use crate::identifiers::UserId;
use crate::tier::{Standing, Tier};

fn customer(events: &[Value]) -> Customer {
    let mut customer = Customer::default();
    for event in events {
        customer.receive(read(event), &secrets());
    }
    customer
}

/// Who has been told of which subscriptions, and how they stand.
fn told(customer: &Customer) -> Vec<(UserId, Vec<(String, Standing)>)> {
    let standing = |(user, purchases): (UserId, crate::tier::Purchases)| {
        let subscriptions = purchases.subscriptions.into_iter();
        (user, subscriptions.map(|bought| (bought.id, bought.standing)).collect())
    };
    customer.untold().into_iter().map(standing).collect()
}

fn mirror(customer: &Customer) -> Mirror {
    customer.mirror(&BTreeMap::from([("price_1QTier1".to_owned(), Tier::Tier1)]))
}

fn kinds(customer: &Customer) -> Vec<String> {
    mirror(customer).notes.into_iter().map(|note| note.kind).collect()
}

fn with_user(event: &Value, name: &str) -> Value {
    changed(&event.to_string(), &[("/data/object/metadata", json!({ "user_id": name }))])
}

fn live(user_name: &str, id: &str) -> (UserId, Vec<(String, Standing)>) {
    (user(user_name), vec![(id.to_owned(), Standing::Live)])
}

#[test]
fn what_comes_before_its_user_waits() {
    let mut customer = customer(&[
        subscription("sub_1", "created", 1, "incomplete"),
        subscription("sub_1", "updated", 2, "active"),
        invoice("sub_1", "paid", 2),
    ]);
    assert_eq!(told(&customer), []);
    assert_eq!(kinds(&customer), ["unknown_user"]);
    let reference = reference_of(&user("ada"), &secrets()[0]);
    customer.receive(read(&checkout("sub_1", 3, json!(reference))), &secrets());
    assert_eq!(told(&customer), [live("ada", "sub_1")]);
    assert!(kinds(&customer).is_empty());
    // What comes later has the customer's user.
    customer.receive(read(&subscription("sub_2", "created", 9, "active")), &secrets());
    let (_, subscriptions) = &told(&customer)[0];
    assert_eq!(subscriptions.len(), 2);
}

#[test]
fn a_reference_that_nobody_signed_names_nobody() {
    let forged = reference_of(&user("ada"), &crate::secret::Secret::new("other".to_owned()));
    for reference in ["ada", forged.as_str()] {
        let mut customer = customer(&[
            subscription("sub_1", "created", 1, "active"),
            checkout("sub_1", 2, json!(reference)),
        ]);
        assert_eq!(told(&customer), []);
        assert_eq!(kinds(&customer), ["unsigned_reference"]);
        let mended = with_user(&subscription("sub_1", "updated", 3, "active"), "eve");
        customer.receive(read(&mended), &secrets());
        assert_eq!(told(&customer), [live("eve", "sub_1")]);
        assert!(kinds(&customer).is_empty());
    }
}

#[test]
fn metadata_goes_before_a_reference_and_a_subscriptions_own_before_the_customers() {
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let events = [
        checkout("sub_1", 1, reference),
        with_user(&subscription("sub_2", "created", 2, "active"), "bob"),
    ];
    // The merchant's word is the customer's user; the checkout's own subscription is ada's.
    let both = [live("ada", "sub_1"), live("bob", "sub_2")];
    assert_eq!(told(&customer(&events)), both);
    let mut customer = customer(&events);
    let corrected = with_user(&subscription("sub_1", "updated", 3, "active"), "bob");
    customer.receive(read(&corrected), &secrets());
    let told = told(&customer);
    assert_eq!(told[0], (user("ada"), Vec::new()), "who loses it hears of it");
    assert_eq!(told[1].1.len(), 2);
}

#[test]
fn who_was_told_is_told_again_only_where_something_changed() {
    let renewal = invoice("sub_1", "paid", 50);
    let mut customer =
        customer(&[with_user(&subscription("sub_1", "created", 1, "active"), "ada")]);
    let (ada, first) = customer.untold().remove(0);
    customer.taken(&ada, first.revision);
    assert!(customer.untold().is_empty());
    assert!(customer.receive(read(&renewal), &secrets()));
    assert!(customer.untold().is_empty(), "a renewal is no change");
    assert!(!customer.receive(read(&renewal), &secrets()), "nor is what comes again");
    customer.receive(read(&invoice("sub_1", "payment_failed", 60)), &secrets());
    let (_, second) = customer.untold().remove(0);
    customer.receive(read(&subscription("sub_1", "deleted", 70, "canceled")), &secrets());
    customer.taken(&ada, second.revision);
    let (_, third) = customer.untold().remove(0);
    assert!(third.subscriptions.is_empty() && first.revision < second.revision);
    assert!(second.revision < third.revision, "an old answer settles nothing new");
    customer.taken(&ada, third.revision);
    assert!(customer.untold().is_empty());
}

#[test]
fn the_end_of_an_old_subscription_leaves_the_newer_one() {
    let customer = customer(&[
        with_user(&subscription("sub_old", "created", 1, "active"), "ada"),
        subscription("sub_new", "created", 10, "active"),
        subscription("sub_old", "deleted", 20, "canceled"),
    ]);
    assert_eq!(told(&customer), [live("ada", "sub_new")]);
    let mirror = mirror(&customer);
    assert_eq!(mirror.subscription_id.as_deref(), Some("sub_new"));
    assert_eq!((mirror.status.as_deref(), mirror.user_id), (Some("active"), Some(user("ada"))));
}

#[test]
fn a_late_checkout_or_invoice_revives_nothing() {
    for end in ["canceled", "incomplete_expired"] {
        let reference = json!(reference_of(&user("ada"), &secrets()[0]));
        let customer = customer(&[
            subscription("sub_1", "updated", 10, end),
            checkout("sub_1", 20, reference),
            invoice("sub_1", "paid", 20),
        ]);
        assert_eq!(told(&customer), [], "{end}");
    }
}

#[test]
fn an_unknown_price_is_told_and_a_tier_in_the_metadata_is_as_good() {
    let bought = |items: Value, metadata: Value| {
        let items = ("/data/object/items/data", items);
        customer(&[changed(SUBSCRIPTION, &[items, ("/data/object/metadata", metadata)])])
    };
    let other = || json!([{ "id": "si_1", "price": { "id": "price_9" } }]);
    let unknown = bought(other(), json!({ "user_id": "ada" }));
    assert_eq!(kinds(&unknown), ["unknown_price"]);
    assert!(mirror(&unknown).notes[0].text.contains("price_9"));
    assert_eq!(told(&unknown).len(), 1, "the user has it: it counts once the price is known");
    assert!(kinds(&bought(other(), json!({ "user_id": "ada", "tier": "tier3" }))).is_empty());
}

#[test]
fn a_refund_is_a_note_and_nothing_else() {
    let mut customer = customer(&[
        with_user(&subscription("sub_1", "created", 1, "active"), "ada"),
        changed(CHARGE, &[]),
        changed(CHARGE, &[]),
    ]);
    assert_eq!(told(&customer), [live("ada", "sub_1")]);
    let mirror = mirror(&customer);
    let [refund] = mirror.notes.as_slice() else { panic!("one note: {mirror:?}") };
    assert_eq!((refund.kind.as_str(), refund.subject.as_str()), ("refund", "evt_3QRefund"));
    assert_eq!(refund.user_id, Some(user("ada")));
    assert!(!mirror.is_waiting() && !customer.is_mirrored());
    customer.mirrored(&mirror);
    assert!(customer.is_mirrored() && kinds(&customer).is_empty());
}

#[test]
fn only_so_many_subscriptions_are_kept_and_none_that_is_alive() {
    let mut customer =
        customer(&[with_user(&subscription("sub_a", "created", 0, "active"), "ada")]);
    for number in 1..300 {
        let ended = subscription(&format!("sub_{number}"), "deleted", number, "canceled");
        customer.receive(read(&ended), &secrets());
    }
    let stored = serde_json::to_value(&customer).unwrap();
    assert_eq!(stored["subscriptions"].as_object().unwrap().len(), 200);
    assert_eq!(told(&customer), [live("ada", "sub_a")]);
}

#[test]
fn the_stored_format_is_pinned() {
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let mut customer = customer(&[
        checkout("sub_1", 2, reference),
        with_user(&subscription("sub_1", "updated", 5, "past_due"), "ada"),
        changed(CHARGE, &[]),
    ]);
    customer.mirrored(&Mirror { notes: Vec::new(), revision: 2, ..mirror(&customer) });
    let by = |is_by_merchant: bool, created: i64, event: &str| json!({ "is_by_merchant": is_by_merchant, "created": created, "event": event, "user": "ada" });
    let bought = json!({
        "id": "sub_1", "standing": { "past_due": { "since": 5_000 } }, "items": ["price_1QTier1"],
        "named": null, "since": 1_795_000_000_000_i64, "cancel_at": null,
    });
    let literal = json!({
        "id": "cus_QAda",
        "user": by(true, 5_000, "evt_sub_1_updated_5_past_due"),
        "subscriptions": { "sub_1": {
            "newest": {
                "event": "evt_sub_1_updated_5_past_due", "created": 5_000, "rank": 2,
                "status": "past_due", "items": ["price_1QTier1"], "named": null, "user": "ada",
                "since": 1_795_000_000_000_i64, "cancel_at": null,
            },
            "claim": by(false, 2_000, "evt_sub_1_checkout_2"),
            "is_claim_unsigned": false,
            "paid": [2_000, "Active"],
            "failures": [[5_000, "Due"]],
        } },
        "told": { "ada": {
            "purchases": { "revision": 2, "subscriptions": [bought] }, "is_taken": false,
        } },
        "notes": [{
            "kind": "refund", "subject": "evt_3QRefund", "user_id": "ada",
            "text": mirror(&customer).notes[0].text, "created_at": "2026-11-21 22:26:40.000",
        }],
        "revision": 3,
        "mirrored": 2,
    });
    assert_eq!(serde_json::to_value(&customer).unwrap(), literal);
    assert_eq!(serde_json::from_value::<Customer>(literal).unwrap(), customer);
}
