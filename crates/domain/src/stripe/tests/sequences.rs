//! Whatever order events come in, and however often: the end is what the newest of them says.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::super::customer::Customer;
use super::super::event::Event;
use super::super::reference::reference_of;
use super::super::subscription::Life;
use super::{CHARGE, changed, checkout, invoice, read, secrets, subscription, user};
use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::tier::{Standing, Subscription};

/// All that anybody can tell of a customer, but for how many steps led there.
type Outcome = (Vec<(UserId, Vec<Subscription>)>, Value);

fn outcome<'a>(events: impl IntoIterator<Item = &'a Event>) -> Outcome {
    let mut customer = Customer::default();
    for event in events {
        customer.receive(event.clone());
    }
    let told = customer.untold().into_iter();
    // Who was told of something that came to nothing knows of nothing.
    let told = told.map(|(user, purchases)| (user, purchases.subscriptions));
    let mut told: Vec<_> = told.filter(|(_, subscriptions)| !subscriptions.is_empty()).collect();
    told.sort_by_key(|(user, _)| user.clone());
    let mut row = customer.mirror(&BTreeMap::new()).row;
    row["revision"] = Value::Null;
    (told, row)
}

/// Calls `look` with every order of `events`.
fn permute(events: &mut [Event], fixed: usize, look: &mut impl FnMut(&[Event])) {
    if fixed == events.len() {
        return look(events);
    }
    for place in fixed..events.len() {
        events.swap(fixed, place);
        permute(events, fixed + 1, look);
        events.swap(fixed, place);
    }
}

#[test]
fn a_life_in_any_order_ends_the_same() {
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let life = [
        subscription("sub_1", "created", 1, "incomplete"),
        subscription("sub_1", "updated", 1, "active"),
        checkout("sub_1", 3, reference),
        invoice("sub_1", "payment_failed", 100),
        subscription("sub_1", "updated", 100, "past_due"),
        invoice("sub_1", "paid", 200),
        subscription("sub_1", "deleted", 300, "canceled"),
    ];
    let ends = [
        (3, Standing::Live),
        (4, Standing::PastDue { since: 100_000 }),
        (5, Standing::PastDue { since: 100_000 }),
        (6, Standing::Live),
        (7, Standing::Over),
    ];
    for (length, standing) in ends {
        let mut events: Vec<_> = life[..length].iter().map(read).collect();
        let expected = outcome(&events);
        let stands = expected.0.first().map_or(Standing::Over, |(_, list)| list[0].standing);
        assert_eq!(stands, standing, "after {length} events");
        let mut orders = 0;
        permute(&mut events, 0, &mut |events| {
            assert_eq!(outcome(events), expected, "{events:#?}");
            orders += 1;
        });
        assert_eq!(orders, (1..=length).product::<usize>());
    }
}

/// Something that happens to a subscription.
#[derive(Clone, Debug)]
enum Step {
    Says(&'static str, &'static str),
    /// The merchant writes a name into the metadata.
    Names(&'static str),
    Paid,
    Failed,
    Checkout(&'static str),
    /// A checkout of no subscription.
    Loose(&'static str),
    Refunded,
}

fn steps() -> impl Strategy<Value = Vec<(usize, Millis, Step)>> {
    let statuses = prop::sample::select(vec![
        "active",
        "trialing",
        "past_due",
        "unpaid",
        "incomplete",
        "incomplete_expired",
        "paused",
        "canceled",
        "something_new",
    ]);
    let step = prop_oneof![
        4 => (prop::sample::select(vec!["created", "updated", "updated", "deleted"]), statuses)
            .prop_map(|(kind, status)| Step::Says(kind, status)),
        2 => Just(Step::Paid),
        3 => Just(Step::Failed),
        1 => prop::sample::select(vec!["ada", "bob"]).prop_map(Step::Names),
        1 => prop::sample::select(vec!["ada", "bob"]).prop_map(Step::Checkout),
        1 => prop::sample::select(vec!["eve", "bob"]).prop_map(Step::Loose),
        2 => Just(Step::Refunded),
    ];
    prop::collection::vec((0_usize..2, 0_i64..12, step), 1..14)
}

fn event(&(which, second, ref step): &(usize, Millis, Step)) -> Value {
    let id = ["sub_1", "sub_2"][which];
    let signed = |name: &str| json!(reference_of(&user(name), &secrets()[0]));
    match step {
        Step::Says(kind, status) => subscription(id, kind, second, status),
        Step::Names(name) => {
            let event = subscription(id, "updated", second, "active").to_string();
            let id = ("/id", json!(format!("evt_{id}_{name}_{second}")));
            changed(&event, &[id, ("/data/object/metadata", json!({ "user_id": name }))])
        }
        Step::Loose(name) => {
            let event = checkout("", second, signed(name)).to_string();
            changed(&event, &[("/data/object/subscription", Value::Null)])
        }
        Step::Paid => invoice(id, "paid", second),
        Step::Failed => invoice(id, "payment_failed", second),
        Step::Checkout(name) => checkout(id, second, signed(name)),
        Step::Refunded => {
            let event = json!(format!("evt_{id}_refund_{second}"));
            changed(CHARGE, &[("/id", event), ("/created", json!(second))])
        }
    }
}

/// How a subscription stands, told as a story: one thing after the other.
fn story(steps: &[(Millis, Step)]) -> Standing {
    let (mut status, mut due, mut is_paid) = ("", None, false);
    for (second, step) in steps {
        match step {
            Step::Says(kind, says) => {
                status = if *kind == "deleted" { "canceled" } else { says };
                is_paid = false;
                match status {
                    "active" | "trialing" => due = None,
                    "past_due" => due = due.or(Some(second * 1_000)),
                    _ => {}
                }
            }
            Step::Paid => (due, is_paid) = (None, true),
            Step::Failed => due = due.or(Some(second * 1_000)),
            Step::Names(_) | Step::Checkout(_) | Step::Loose(_) | Step::Refunded => {}
        }
    }
    let is_alive = matches!(status, "active" | "trialing" | "past_due")
        || is_paid && matches!(status, "unpaid" | "incomplete");
    match due {
        _ if !is_alive => Standing::Over,
        Some(since) => Standing::PastDue { since },
        None => Standing::Live,
    }
}

proptest! {
    #[test]
    fn any_order_and_any_repetition_ends_the_same(
        steps in steps(),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        shuffle in any::<u64>(),
    ) {
        let events: Vec<_> = steps.iter().map(|step| read(&event(step))).collect();
        let expected = outcome(&events);
        // Some of them, in any order, then all in another.
        let first = order.iter().map(|index| index.get(&events));
        let mut rest: Vec<_> = events.iter().collect();
        rest.sort_by_key(|event| {
            event.id.bytes().fold(shuffle, |hash, byte| hash.rotate_left(7) ^ u64::from(byte) ^ shuffle)
        });
        prop_assert_eq!(outcome(first.chain(rest)), expected);
    }

    #[test]
    fn how_it_stands_is_what_the_story_says(steps in steps()) {
        let (mut story_of, mut events) = (Vec::new(), Vec::new());
        for (number, (_, _, step)) in steps.into_iter().enumerate() {
            // One thing a second, to one subscription, which tells of itself.
            let second = Millis::try_from(number).unwrap();
            if matches!(step, Step::Says(..) | Step::Paid | Step::Failed) {
                events.push(read(&event(&(0, second, step.clone()))));
                story_of.push((second, step));
            }
        }
        events.reverse();
        let record = Life::of("sub_1", &events);
        prop_assert_eq!(record.standing(), story(&story_of));
    }
}

#[test]
fn within_a_second_whatever_is_further_along_is_newer() {
    let stands = |events: &[Value]| {
        let (told, _) = outcome(&events.iter().map(read).collect::<Vec<_>>());
        told.first().map_or(Standing::Over, |(_, list)| list[0].standing)
    };
    let reference = json!(reference_of(&user("ada"), &secrets()[0]));
    let with =
        |more: &[Value]| stands(&[&[checkout("sub_1", 0, reference.clone())], more].concat());
    let active = subscription("sub_1", "updated", 5, "active");
    let due = subscription("sub_1", "updated", 5, "past_due");
    let since = Standing::PastDue { since: 5_000 };
    assert_eq!(
        with(&[active.clone(), subscription("sub_1", "created", 5, "incomplete")]),
        Standing::Live
    );
    assert_eq!(with(&[due.clone(), active.clone(), invoice("sub_1", "payment_failed", 5)]), since);
    assert_eq!(with(&[active.clone(), invoice("sub_1", "payment_failed", 5)]), Standing::Live);
    assert_eq!(with(&[invoice("sub_1", "paid", 5), due.clone()]), Standing::Live);
    assert_eq!(with(&[subscription("sub_1", "deleted", 5, "canceled"), active]), Standing::Over);
}
