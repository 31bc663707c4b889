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
        customer.receive(read(event));
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

fn notes(customer: &Customer) -> Vec<Value> {
    mirror(customer).row["notes"].as_array().unwrap().clone()
}

fn kinds(customer: &Customer) -> Vec<String> {
    notes(customer).iter().map(|note| note["kind"].as_str().unwrap().to_owned()).collect()
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
    customer.receive(read(&checkout("sub_1", 3, json!(reference))));
    assert_eq!(told(&customer), [live("ada", "sub_1")]);
    assert!(kinds(&customer).is_empty());
    // What comes later has the customer's user.
    customer.receive(read(&subscription("sub_2", "created", 9, "active")));
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
        customer.receive(read(&mended));
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
    customer.receive(read(&corrected));
    let told = told(&customer);
    assert_eq!(told[0], (user("ada"), Vec::new()), "who loses it hears of it");
    assert_eq!(told[1].1.len(), 2);
}

/// A subscription that began at a second of Stripe's clock.
fn begun(id: &str, second: i64) -> Value {
    let event = subscription(id, "created", second, "active");
    changed(&event.to_string(), &[("/data/object/start_date", json!(second))])
}

#[test]
fn what_names_nobody_is_whose_the_first_is_that_does() {
    let reference = |name: &str| json!(reference_of(&user(name), &secrets()[0]));
    let mut customer = customer(&[
        begun("sub_1", 1),
        checkout("sub_1", 2, reference("ada")),
        begun("sub_2", 10),
        begun("sub_3", 20),
        checkout("sub_3", 21, reference("bob")),
    ]);
    let list = told(&customer);
    assert_eq!((&list[0].0, list[0].1.len()), (&user("ada"), 2), "{list:?}");
    assert_eq!(list[1], live("bob", "sub_3"), "a colleague's is a colleague's alone");
    // The merchant corrects the first: what hung on it goes along.
    let corrected = with_user(&subscription("sub_1", "updated", 30, "active"), "eve");
    customer.receive(read(&corrected));
    let list: Vec<_> = told(&customer).into_iter().map(|(user, list)| (user, list.len())).collect();
    assert_eq!(list, [(user("ada"), 0), (user("bob"), 1), (user("eve"), 2)]);
}

#[test]
fn what_belongs_to_no_customer_says_nothing_of_anything_else() {
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let nobodys = [
        checkout("sub_1", 1, reference),
        subscription("sub_1", "created", 2, "active"),
        subscription("sub_2", "created", 2, "active"),
        checkout("sub_2", 1, json!("eve")),
    ]
    .map(|event| changed(&event.to_string(), &[("/data/object/customer", json!(null))]));
    let customer = customer(&nobodys);
    assert_eq!(told(&customer), [live("ada", "sub_1")]);
    assert_eq!(kinds(&customer), ["unsigned_reference"]);
}

#[test]
fn what_it_was_bought_as_counts_until_its_own_prices_are_known() {
    let prices = |known: &[(&str, Tier)]| -> BTreeMap<String, Tier> {
        known.iter().map(|(id, tier)| ((*id).to_owned(), *tier)).collect()
    };
    let (link, price) = (("plink_1QTier1", Tier::Tier2), ("price_1QTier1", Tier::Tier1));
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let bought = checkout("sub_1", 1, reference);
    let named =
        changed(&bought.to_string(), &[("/data/object/metadata", json!({ "tier": "tier3" }))]);
    let begun = subscription("sub_1", "created", 2, "active");
    let changed_since = subscription("sub_1", "updated", 3, "active");
    for (events, known, expected) in [
        ([&bought, &begun, &changed_since], prices(&[link]), Some(Tier::Tier2)),
        ([&changed_since, &begun, &bought], prices(&[link]), Some(Tier::Tier2)),
        ([&begun, &named, &changed_since], prices(&[]), Some(Tier::Tier3)),
        ([&begun, &bought, &changed_since], prices(&[link, price]), Some(Tier::Tier1)),
        ([&begun, &bought, &changed_since], prices(&[]), None),
    ] {
        let customer = customer(&events.map(Clone::clone));
        let (_, purchases) = customer.untold().remove(0);
        assert_eq!(purchases.subscriptions[0].tier(&known), expected, "{known:?}");
        let mirror = customer.mirror(&known);
        assert_eq!(mirror.row["notes"].as_array().unwrap().is_empty(), expected.is_some());
    }
}

#[test]
fn who_was_told_is_told_again_only_where_something_changed() {
    let renewal = invoice("sub_1", "paid", 50);
    let mut customer =
        customer(&[with_user(&subscription("sub_1", "created", 1, "active"), "ada")]);
    let (ada, first) = customer.untold().remove(0);
    customer.taken(&ada, first.revision);
    assert!(customer.untold().is_empty());
    assert!(customer.receive(read(&renewal)));
    assert!(customer.untold().is_empty(), "a renewal is no change");
    assert!(!customer.receive(read(&renewal)), "nor is what comes again");
    customer.receive(read(&invoice("sub_1", "payment_failed", 60)));
    let (_, second) = customer.untold().remove(0);
    customer.receive(read(&subscription("sub_1", "deleted", 70, "canceled")));
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
    let row = mirror(&customer).row;
    assert_eq!((&row["subscription_id"], &row["status"]), (&json!("sub_new"), &json!("active")));
    assert_eq!((&row["customer_id"], &row["user_id"]), (&json!("cus_QAda"), &json!("ada")));
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
    assert!(mirror(&unknown).is_waiting, "the price may be added");
    assert!(notes(&unknown)[0]["text"].as_str().unwrap().contains("price_9"));
    assert_eq!(told(&unknown).len(), 1, "the user has it: it counts once the price is known");
    assert!(kinds(&bought(other(), json!({ "user_id": "ada", "tier": "tier3" }))).is_empty());
}

#[test]
fn what_the_same_account_sells_besides_is_no_note() {
    let other = |reference| {
        let items = json!([{ "id": "si_1", "price": { "id": "price_9" } }]);
        let begun = changed(SUBSCRIPTION, &[("/data/object/items/data", items)]);
        customer(&[begun, checkout("sub_1QAda", 1, reference)])
    };
    for reference in [json!(null), json!("order-17")] {
        assert!(kinds(&other(reference)).is_empty());
    }
    let mut shirts = other(json!(null));
    shirts.receive(read(&changed(CHARGE, &[])));
    assert!(kinds(&shirts).is_empty(), "its refunds neither");
    let ours = json!(reference_of(&user("ada"), &secrets()[0]));
    assert_eq!(kinds(&other(ours)), ["unknown_price"]);
    // Only an event can say whose it is: nobody looks again for that.
    let nobodys = customer(&[changed(SUBSCRIPTION, &[])]);
    assert_eq!((kinds(&nobodys).len(), mirror(&nobodys).is_waiting), (1, false));
}

#[test]
fn a_refund_is_a_note_and_nothing_else() {
    let mut customer = customer(&[
        with_user(&subscription("sub_1", "created", 1, "active"), "ada"),
        changed(CHARGE, &[]),
        changed(CHARGE, &[]),
    ]);
    assert_eq!(told(&customer), [live("ada", "sub_1")]);
    let refunds = notes(&customer);
    assert_eq!(refunds.len(), 1);
    assert_eq!(
        (&refunds[0]["kind"], &refunds[0]["subject"]),
        (&json!("refund"), &json!("evt_3QRefund"))
    );
    assert_eq!(refunds[0]["user_id"], "ada");
    let mirror = mirror(&customer);
    assert!(!mirror.is_waiting && !customer.is_mirrored());
    // Something else came meanwhile: D1 is told of both.
    customer.receive(read(&subscription("sub_1", "updated", 2, "active")));
    assert!(customer.mirrored(mirror.revision) && !customer.is_mirrored());
    assert_eq!(kinds(&customer), ["refund"]);
    assert!(customer.mirrored(mirror.revision + 1) && customer.is_mirrored());
    assert!(kinds(&customer).is_empty() && !customer.mirrored(mirror.revision));
}

#[test]
fn only_so_many_subscriptions_are_kept_and_none_that_is_alive() {
    let mut customer =
        customer(&[with_user(&subscription("sub_a", "created", 0, "active"), "ada")]);
    for number in 1..300 {
        let ended = subscription(&format!("sub_{number}"), "deleted", number, "canceled");
        customer.receive(read(&ended));
    }
    let stored = serde_json::to_value(&customer).unwrap();
    assert_eq!(stored["events"].as_array().unwrap().len(), 200);
    assert_eq!(told(&customer), [live("ada", "sub_a")]);
}

#[test]
fn a_long_life_leaves_little() {
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let mut customer = customer(&[checkout("sub_1", 0, reference)]);
    for month in 1..200 {
        let [early, late] = [month * 100, month * 100 + 50];
        for event in [
            subscription("sub_1", "updated", early, "active"),
            invoice("sub_1", "payment_failed", early + 1),
            subscription("sub_1", "updated", early + 1, "past_due"),
            with_user(&invoice("sub_1", "paid", late), "ada"),
            subscription("sub_1", "updated", late, "active"),
        ] {
            customer.receive(read(&event));
        }
    }
    let stored = serde_json::to_value(&customer).unwrap();
    let kept = stored["events"].as_array().unwrap().len();
    assert!(kept <= 4, "{kept} events are kept");
}

#[test]
fn the_stored_format_is_pinned() {
    let mut customer =
        customer(&[with_user(&subscription("sub_1", "updated", 5, "past_due"), "ada")]);
    customer.mirrored(1);
    let literal = json!({
        "events": [{
            "id": "evt_sub_1_updated_5_past_due", "kind": "customer.subscription.updated",
            "created": 5_000, "customer": "cus_QAda", "subject": "sub_1", "user": "ada",
            "is_by_merchant": true, "is_unsigned": false, "status": "past_due",
            "items": ["price_1QTier1"], "named": null, "since": 1_795_000_000_000_i64,
            "cancel_at": null,
        }],
        "told": [{
            "user": "ada",
            "purchases": { "revision": 1, "subscriptions": [{
                "id": "sub_1", "standing": { "past_due": { "since": 5_000 } },
                "items": ["price_1QTier1"], "named": null, "since": 1_795_000_000_000_i64,
                "cancel_at": null,
            }] },
            "is_taken": false,
        }],
        "revision": 1,
        "mirrored": 1,
    });
    assert_eq!(serde_json::to_value(&customer).unwrap(), literal);
    assert_eq!(serde_json::from_value::<Customer>(literal).unwrap(), customer);
}
