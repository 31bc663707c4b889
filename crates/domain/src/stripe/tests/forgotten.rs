//! A customer whose user was forgotten keeps its accounts, and brings nobody back.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::customer::Customer;
use super::{CHARGE, changed, invoice, read, subscription, user};
use crate::clock::Millis;
use crate::tier::Tier;

/// When the user is forgotten: a second of Stripe's clock.
const SECOND: i64 = 1_795_000_100;
const AT: Millis = SECOND * 1_000;

/// An event that names a user, of a subscription that began at a second.
fn naming(event: &Value, name: &str, began: i64) -> Value {
    let is_invoice = event.pointer("/data/object/parent/subscription_details").is_some();
    let place = if is_invoice {
        "/data/object/parent/subscription_details/metadata"
    } else {
        "/data/object/metadata"
    };
    let start = if is_invoice { "/data/object/began" } else { "/data/object/start_date" };
    changed(&event.to_string(), &[(place, json!({ "user_id": name })), (start, json!(began))])
}

fn begun(id: &str, kind: &str, second: i64, began: i64) -> Value {
    naming(&subscription(id, kind, second, "active"), "ada", began)
}

/// A customer of ada's with one subscription, who is forgotten then.
fn forgotten() -> Customer {
    let mut customer = Customer::default();
    customer.receive(read(&begun("sub_1", "created", SECOND - 50, SECOND - 50)));
    customer.receive(read(&naming(&invoice("sub_1", "paid", SECOND - 49), "ada", 0)));
    assert_eq!(customer.untold().len(), 1);
    assert!(!customer.forget(&user("eve"), AT), "whom it doesn't know it can't forget");
    assert!(customer.forget(&user("ada"), AT));
    customer
}

fn notes(customer: &Customer) -> Vec<String> {
    let prices = [("price_1QTier1".to_owned(), Tier::Tier1)].into();
    let notes = customer.mirror(&prices).row["notes"].as_array().unwrap().clone();
    notes.iter().map(|note| note["kind"].as_str().unwrap().to_owned()).collect()
}

fn names_nobody(customer: &Customer) -> bool {
    let stored = serde_json::to_string(customer).unwrap();
    let shown = customer.mirror(&[].into()).row.to_string();
    customer.untold().is_empty() && !format!("{stored}{shown}").contains("ada")
}

#[test]
fn it_keeps_its_accounts_and_says_what_is_paid_for_nobody() {
    let mut customer = forgotten();
    assert!(names_nobody(&customer) && !customer.is_mirrored());
    assert_eq!(customer.paid_for_nobody(), ["sub_1"]);
    let row = customer.mirror(&[].into()).row;
    assert_eq!((&row["user_id"], &row["subscription_id"]), (&Value::Null, &json!("sub_1")));
    assert_eq!(notes(&customer), ["forgotten_user"]);
    let stored = serde_json::to_string(&customer).unwrap();
    assert_eq!(serde_json::from_str::<Customer>(&stored).unwrap(), customer);
    // The operator cancels it.
    customer.receive(read(&begun("sub_1", "deleted", SECOND + 9, SECOND - 50)));
    assert!(names_nobody(&customer) && customer.paid_for_nobody().is_empty());
    assert!(notes(&customer).is_empty());
}

#[test]
fn who_comes_back_buys_anew() {
    let mut customer = forgotten();
    customer.receive(read(&begun("sub_2", "created", SECOND + 50, SECOND + 50)));
    let untold = customer.untold();
    assert_eq!((untold.len(), &untold[0].0), (1, &user("ada")));
    let bought: Vec<_> = untold[0].1.subscriptions.iter().map(|bought| &bought.id).collect();
    assert_eq!(bought, ["sub_2"], "what was forgotten stays so");
    assert!(customer.forget(&user("ada"), AT + 90_000));
    assert!(names_nobody(&customer));
    assert_eq!(customer.paid_for_nobody(), ["sub_1", "sub_2"]);
}

#[test]
fn a_refund_names_nobody() {
    let mut customer = forgotten();
    let refund = changed(
        CHARGE,
        &[("/created", json!(SECOND + 5)), ("/data/object/metadata", json!({ "user_id": "ada" }))],
    );
    customer.receive(read(&refund));
    assert!(names_nobody(&customer));
    assert_eq!(notes(&customer), ["refund", "forgotten_user"]);
}

#[test]
fn somebody_else_of_the_same_customer_is_untouched() {
    let mut customer = Customer::default();
    customer.receive(read(&begun("sub_1", "created", SECOND - 50, SECOND - 50)));
    let of_eve =
        |kind, second| naming(&subscription("sub_9", kind, second, "active"), "eve", SECOND - 40);
    customer.receive(read(&of_eve("created", SECOND - 40)));
    customer.forget(&user("ada"), AT);
    let told = || customer.untold().into_iter().map(|(user, _)| user).collect::<Vec<_>>();
    assert_eq!(told(), [user("eve")]);
    // What is said of eve's, late or of later, names eve.
    for second in [SECOND - 30, SECOND + 30] {
        customer.receive(read(&of_eve("updated", second)));
    }
    let row = customer.mirror(&[].into()).row;
    assert_eq!(row["user_id"], "eve");
}

proptest! {
    /// Whatever else there is of subscriptions that began before, late, again and in any order.
    #[test]
    fn nothing_that_comes_later_brings_anybody_back(
        events in proptest::collection::vec((0usize..3, 0usize..5, -60i64..60), 0..12)
    ) {
        let mut customer = forgotten();
        for (subscription, kind, second) in events {
            let (id, second) = (["sub_1", "sub_2", "sub_3"][subscription], SECOND + second);
            let event = match kind {
                0 => begun(id, "created", second, SECOND - 60),
                1 => begun(id, "updated", second, SECOND - 60),
                2 => begun(id, "deleted", second, SECOND - 60),
                3 => naming(&invoice("sub_1", "paid", second), "ada", 0),
                _ => naming(&invoice("sub_1", "payment_failed", second), "ada", 0),
            };
            customer.receive(read(&event));
            prop_assert!(names_nobody(&customer), "{customer:?}");
        }
    }
}
