//! What is read of each event, in the shapes of the API's versions.

use serde_json::json;

use super::super::event::{Event, News, NotAnEvent};
use super::super::subscription::Snapshot;
use super::{CHARGE, CHECKOUT, DISPUTE, INVOICE, SUBSCRIPTION, changed, read, subscription, user};
use crate::clock::Millis;
use crate::tier::Tier;

const BEGAN: Millis = 1_795_000_000_000;
const PERIOD_END: Millis = BEGAN + 2_592_000_000;

fn snapshot(event: &serde_json::Value) -> Snapshot {
    match read(event).news {
        News::Subscription(_, snapshot) => snapshot,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_subscription_says_what_it_is() {
    let event = changed(
        SUBSCRIPTION,
        &[("/data/object/metadata", json!({ "user_id": "Ada", "tier": "tier2" }))],
    );
    let event = read(&event);
    assert_eq!(event.customer.as_deref(), Some("cus_QAda"));
    assert_eq!((event.id.as_str(), event.created), ("evt_1QSubscription", BEGAN));
    assert_eq!(event.user, Some(user("ada")));
    let expected = Snapshot {
        event: "evt_1QSubscription".to_owned(),
        created: BEGAN,
        rank: 2,
        status: "active".to_owned(),
        items: vec!["price_1QTier1".to_owned()],
        named: Some(Tier::Tier2),
        user: None,
        since: BEGAN,
        cancel_at: None,
    };
    assert_eq!(event.news, News::Subscription("sub_1QAda".to_owned(), expected));
}

#[test]
fn the_end_of_a_subscription_is_found_wherever_it_is() {
    let end = |changes: &[_]| snapshot(&changed(SUBSCRIPTION, changes)).cancel_at;
    assert_eq!(end(&[("/data/object/cancel_at", json!(1_795_000_007))]), Some(BEGAN + 7_000));
    let at_period_end = ("/data/object/cancel_at_period_end", json!(true));
    assert_eq!(end(std::slice::from_ref(&at_period_end)), Some(PERIOD_END));
    // Before 2025-03-31 the subscription itself had its period.
    let earlier = [
        at_period_end,
        ("/data/object/items/data/0/current_period_end", json!(null)),
        ("/data/object/current_period_end", json!(1_795_000_009)),
    ];
    assert_eq!(end(&earlier), Some(BEGAN + 9_000));
    let deleted = subscription("sub_1", "deleted", 1, "active");
    assert_eq!(snapshot(&deleted).status, "canceled");
}

#[test]
fn an_invoice_names_its_subscription_in_two_ways() {
    let event = changed(
        INVOICE,
        &[("/data/object/parent/subscription_details/metadata", json!({ "user_id": "ada" }))],
    );
    let event = read(&event);
    assert_eq!(event.news, News::Paid("sub_1QAda".to_owned()));
    assert_eq!(event.user, Some(user("ada")));
    let earlier = changed(
        INVOICE,
        &[
            ("/type", json!("invoice.payment_failed")),
            ("/data/object/parent", json!(null)),
            ("/data/object/subscription", json!({ "id": "sub_1QAda", "object": "subscription" })),
            ("/data/object/subscription_details", json!({ "metadata": { "user_id": "ada" } })),
        ],
    );
    let earlier = read(&earlier);
    assert_eq!(earlier.news, News::Failed("sub_1QAda".to_owned()));
    assert_eq!(earlier.user, Some(user("ada")));
    let of_its_own = changed(INVOICE, &[("/data/object/parent", json!(null))]);
    assert_eq!(Event::read(of_its_own.to_string().as_bytes()), Ok(None));
}

#[test]
fn a_checkout_is_provisional() {
    let event = changed(CHECKOUT, &[("/data/object/client_reference_id", json!("ada"))]);
    let News::Checkout { subscription: Some((id, snapshot)), reference } = read(&event).news else {
        panic!("a subscription was bought");
    };
    assert_eq!((id.as_str(), reference.as_deref()), ("sub_1QAda", Some("ada")));
    assert_eq!((snapshot.rank, snapshot.status.as_str()), (Snapshot::CHECKOUT, "active"));
    assert_eq!(snapshot.items, ["plink_1QTier1"]);
    let unpaid = changed(CHECKOUT, &[("/data/object/payment_status", json!("unpaid"))]);
    let News::Checkout { subscription: Some((_, snapshot)), .. } = read(&unpaid).news else {
        panic!("a subscription was begun");
    };
    assert_eq!(snapshot.status, "incomplete");
}

#[test]
fn money_that_goes_back_is_told() {
    let charge = "ch_3QAda".to_owned();
    let refund = read(&changed(CHARGE, &[]));
    assert_eq!(refund.news, News::MoneyBack { kind: "refund", charge: charge.clone() });
    let dispute = read(&changed(DISPUTE, &[]));
    assert_eq!(dispute.news, News::MoneyBack { kind: "dispute", charge });
    assert_eq!(dispute.customer, None, "Stripe names none");
}

#[test]
fn nobody_is_anybody() {
    for name in [json!("anonymous"), json!("no such name"), json!(""), json!(7), json!(null)] {
        let event = changed(SUBSCRIPTION, &[("/data/object/metadata", json!({ "user_id": name }))]);
        assert_eq!(read(&event).user, None, "{name}");
    }
}

#[test]
fn what_is_about_something_else_is_passed_over_and_what_is_no_event_refused() {
    for other in [r#"{"id":"evt_1","type":"customer.created"}"#, r#"{"id":"e","type":"v2.x"}"#] {
        assert_eq!(Event::read(other.as_bytes()), Ok(None), "{other}");
    }
    let mut broken = vec![String::new(), "{".to_owned(), "[]".to_owned(), "{}".to_owned()];
    for place in ["/id", "/type", "/created", "/data/object"] {
        broken.push(changed(SUBSCRIPTION, &[(place, json!(null))]).to_string());
    }
    for broken in broken {
        assert_eq!(Event::read(broken.as_bytes()), Err(NotAnEvent), "{broken}");
    }
}
