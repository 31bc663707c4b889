//! What is read of each event, in the shapes of the API's versions.

use serde_json::json;

use super::super::event::{Event, NotAnEvent, is_of_test_mode};
use super::super::reference::reference_of;
use super::{
    CHARGE, CHECKOUT, DISPUTE, INVOICE, SUBSCRIPTION, changed, checkout, read, secrets,
    subscription, user,
};
use crate::clock::Millis;
use crate::tier::Tier;

const BEGAN: Millis = 1_795_000_000_000;
const PERIOD_END: Millis = BEGAN + 2_592_000_000;

fn reading(event: &serde_json::Value) -> Result<Option<Event>, NotAnEvent> {
    Event::read(event.to_string().as_bytes(), &secrets())
}

#[test]
fn a_subscription_says_what_it_is() {
    let event = changed(
        SUBSCRIPTION,
        &[("/data/object/metadata", json!({ "user_id": "Ada", "tier": "tier2" }))],
    );
    let expected = Event {
        id: "evt_1QSubscription".to_owned(),
        kind: "customer.subscription.updated".to_owned(),
        created: BEGAN,
        customer: Some("cus_QAda".to_owned()),
        subject: "sub_1QAda".to_owned(),
        user: Some(user("ada")),
        is_by_merchant: true,
        is_unsigned: false,
        status: "active".to_owned(),
        items: vec!["price_1QTier1".to_owned()],
        named: Some(Tier::Tier2),
        since: BEGAN,
        cancel_at: None,
    };
    assert_eq!(read(&event), expected);
}

#[test]
fn the_end_of_a_subscription_is_found_wherever_it_is() {
    let end = |changes: &[_]| read(&changed(SUBSCRIPTION, changes)).cancel_at;
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
    assert_eq!(read(&deleted).status, "canceled");
}

#[test]
fn an_invoice_names_its_subscription_in_two_ways() {
    let event = changed(
        INVOICE,
        &[("/data/object/parent/subscription_details/metadata", json!({ "user_id": "ada" }))],
    );
    let event = read(&event);
    assert_eq!((event.subject.as_str(), event.status.as_str()), ("sub_1QAda", ""));
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
    assert_eq!((earlier.subject.as_str(), earlier.user), ("sub_1QAda", Some(user("ada"))));
    let of_its_own = changed(INVOICE, &[("/data/object/parent", json!(null))]);
    assert_eq!(reading(&of_its_own), Ok(None));
}

#[test]
fn an_invoice_for_nothing_is_of_no_interest() {
    let paid =
        |amount: i64| reading(&changed(INVOICE, &[("/data/object/amount_paid", json!(amount))]));
    assert_eq!(paid(0), Ok(None));
    assert!(paid(1).unwrap().is_some());
    let failed = ("/type", json!("invoice.payment_failed"));
    let nothing = ("/data/object/amount_paid", json!(0));
    assert!(reading(&changed(INVOICE, &[failed, nothing])).unwrap().is_some());
}

#[test]
fn a_customer_may_be_an_account() {
    let account = ("/data/object/customer_account", json!("acct_1QAda"));
    let nobody = ("/data/object/customer", json!(null));
    let of = |changes: &[_]| read(&changed(SUBSCRIPTION, changes)).customer;
    assert_eq!(of(&[nobody.clone(), account.clone()]).as_deref(), Some("acct_1QAda"));
    assert_eq!(of(&[account]).as_deref(), Some("cus_QAda"));
    assert_eq!(of(&[nobody]), None);
}

#[test]
fn a_checkout_is_provisional() {
    let event = read(&changed(CHECKOUT, &[]));
    assert_eq!((event.subject.as_str(), event.status.as_str()), ("sub_1QAda", "active"));
    assert_eq!(event.items, ["plink_1QTier1"]);
    let unpaid = changed(CHECKOUT, &[("/data/object/payment_status", json!("unpaid"))]);
    assert_eq!(read(&unpaid).status, "incomplete");
}

#[test]
fn a_reference_counts_where_it_was_signed_and_metadata_before_it() {
    let signed = json!(reference_of(&user("ada"), &secrets()[0]));
    let event = read(&checkout("sub_1", 1, signed.clone()));
    assert_eq!((event.user, event.is_by_merchant), (Some(user("ada")), false));
    assert!(!event.is_unsigned);
    let event = read(&checkout("sub_1", 1, json!("ada")));
    assert_eq!((event.user, event.is_unsigned), (None, true));
    let both = changed(
        &checkout("sub_1", 1, signed).to_string(),
        &[("/data/object/metadata", json!({ "user_id": "bob" }))],
    );
    let event = read(&both);
    assert_eq!((event.user, event.is_by_merchant), (Some(user("bob")), true));
}

#[test]
fn money_that_goes_back_is_about_a_charge() {
    let refund = read(&changed(CHARGE, &[]));
    assert_eq!(
        (refund.subject.as_str(), refund.customer.as_deref()),
        ("ch_3QAda", Some("cus_QAda"))
    );
    let dispute = read(&changed(DISPUTE, &[]));
    assert_eq!((dispute.subject.as_str(), dispute.customer), ("ch_3QAda", None));
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
        assert_eq!(Event::read(other.as_bytes(), &[]), Ok(None), "{other}");
    }
    let mut broken = vec![String::new(), "{".to_owned(), "[]".to_owned(), "{}".to_owned()];
    for place in ["/id", "/type", "/created", "/data/object"] {
        broken.push(changed(SUBSCRIPTION, &[(place, json!(null))]).to_string());
    }
    for broken in broken {
        assert_eq!(Event::read(broken.as_bytes(), &[]), Err(NotAnEvent), "{broken}");
    }
}

#[test]
fn test_mode_is_what_the_event_itself_says() {
    let mode =
        |changes: &[_]| is_of_test_mode(changed(SUBSCRIPTION, changes).to_string().as_bytes());
    assert!(mode(&[]));
    assert!(!mode(&[("/livemode", json!(true))]));
    assert!(!is_of_test_mode(b"{") && !is_of_test_mode(b"[]"));
}

#[test]
fn a_subscription_that_nobody_pays_for_is_paused_whatever_its_status() {
    let status = |changes: &[_]| read(&changed(SUBSCRIPTION, changes)).status;
    for behavior in ["keep_as_draft", "mark_uncollectible", "void"] {
        let paused = json!({ "behavior": behavior, "resumes_at": null });
        assert_eq!(status(&[("/data/object/pause_collection", paused)]), "paused", "{behavior}");
    }
    assert_eq!(status(&[("/data/object/pause_collection", json!(null))]), "active");
    let none = changed(SUBSCRIPTION, &[("/data/object/items/data/0/quantity", json!(0))]);
    let none = read(&none);
    assert_eq!((none.status.as_str(), none.items), ("paused", Vec::new()));
    assert_eq!(status(&[("/data/object/items/data/0/quantity", json!(null))]), "active");
    let deleted = changed(
        SUBSCRIPTION,
        &[
            ("/type", json!("customer.subscription.deleted")),
            ("/data/object/pause_collection", json!({ "behavior": "void" })),
        ],
    );
    assert_eq!(read(&deleted).status, "canceled");
}

#[test]
fn whatever_is_told_of_a_subscription_shows_how_it_stands() {
    for (kind, status) in
        [("paused", "paused"), ("resumed", "active"), ("trial_will_end", "trialing")]
    {
        let event = read(&subscription("sub_1", kind, 7, status));
        assert_eq!(
            (event.kind.as_str(), event.status.as_str()),
            ("customer.subscription.updated", status)
        );
    }
}

#[test]
fn a_checkout_that_is_paid_for_later_is_completed_then() {
    let later = |kind: &str, payment: &str| {
        let kind = json!(format!("checkout.session.async_payment_{kind}"));
        let payment = ("/data/object/payment_status", json!(payment));
        read(&changed(CHECKOUT, &[("/type", kind), payment]))
    };
    let paid = later("succeeded", "paid");
    assert_eq!(
        (paid.kind.as_str(), paid.status.as_str()),
        ("checkout.session.completed", "active")
    );
    assert_eq!(later("failed", "unpaid").status, "incomplete");
}

#[test]
fn a_thin_event_is_something_to_be_told() {
    let thin = |kind: &str| {
        reading(&json!({
            "id": "evt_thin", "object": "v2.core.event", "type": kind, "livemode": true,
            "created": "2026-11-18T11:06:40.000Z",
            "related_object": { "id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1" },
        }))
    };
    let event = thin("v1.customer.subscription.updated").unwrap().unwrap();
    assert_eq!(
        (event.kind.as_str(), event.subject.as_str()),
        ("v2.core.event", "customer.subscription.updated")
    );
    assert_eq!((event.customer, event.created), (None, BEGAN));
    assert_eq!(thin("v2.core.account.updated"), Ok(None));
}
