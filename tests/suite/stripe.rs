//! What Stripe tells: who is believed, and what it comes to in whatever order it comes.

use std::time::Duration;

use futures::future::join_all;
use gateway_tests::stripe::{Event, now, signature};
use gateway_tests::{Gateway, Options, wait_for};
use reqwest::{Method, RequestBuilder};
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::clients;
use crate::runner::Test;
use crate::shared::{SIGNED_EARLIER, SIGNING, user};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        the_official_sdk_signs_what_is_believed,
        what_is_not_signed_is_refused_whatever_it_is,
        a_signature_lasts_five_minutes,
        who_sells_nothing_is_told_nothing,
        test_mode_gives_nothing_but_where_it_is_tried,
        a_life_gives_a_tier_and_takes_it,
        a_checkout_that_is_paid_for_later_gives_a_tier_then,
        a_thin_event_is_a_note,
        duplicates_and_replays_change_nothing,
        a_late_checkout_revives_nothing,
        an_old_subscriptions_end_leaves_the_newer_one,
        what_comes_early_waits_for_its_user,
        what_comes_while_d1_is_told_is_told_too,
        what_nobody_signed_and_nobody_knows_waits_for_the_operator,
        a_note_that_was_dismissed_stays_so_while_it_says_the_same,
        a_corrected_user_has_it_and_the_other_has_not,
        money_that_goes_back_is_a_note,
    ]
}

/// Sends an event as Stripe does.
pub fn sending(gateway: &Gateway, event: &Event) -> RequestBuilder {
    let body = event.body();
    let signature = signature(&body, SIGNING, now());
    let request = gateway.request(Method::POST, "/webhook/stripe");
    request.header("stripe-signature", signature).body(body)
}

/// Sends an event, which arrives.
pub async fn send(gateway: &Gateway, event: &Event) {
    let sent = answer(sending(gateway, event)).await;
    sent.is(200);
    assert_eq!(sent.json(), json!({ "received": true }));
}

/// The tier that a user has, as the operator sees it.
pub async fn tier(gateway: &Gateway, user: &str) -> Value {
    let path = format!("/operator/api/users/{user}");
    let view = answer(gateway.operator(Method::GET, &path)).await;
    view.is(200);
    view.json()["tier"].clone()
}

/// A customer and a subscription that no other test has.
pub fn names() -> (String, String) {
    let number = fastrand::u64(..);
    (format!("cus_{number:016x}"), format!("sub_{number:016x}"))
}

/// What D1 has to say, once it has it.
async fn told<T>(gateway: &Gateway, what: &str, ask: impl Fn(&Connection) -> Option<T>) -> T {
    let ledger = gateway.ledger();
    wait_for(what, Duration::from_secs(40), || ask(&ledger.open())).await
}

/// The notes of a customer that wait for the operator, as soon as there are so many.
async fn notes(gateway: &Gateway, customer: &str, count: usize) -> Vec<(String, String)> {
    told(gateway, "note", |connection| {
        let query = "select kind, text from notes where customer_id = ? and resolved_at is null";
        let mut statement = connection.prepare(query).unwrap();
        let rows = statement.query_map([customer], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        let notes: Vec<_> = rows.map(Result::unwrap).collect();
        (notes.len() == count).then_some(notes)
    })
    .await
}

async fn the_official_sdk_signs_what_is_believed() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let event = Event::subscription(&subscription, "created", "active").of(&customer);
    let text = clients::node(
        "stripe",
        &[
            ("GATEWAY_URL", &gateway.url("")),
            ("SECRET", SIGNING),
            ("OTHER_SECRET", SIGNED_EARLIER),
            ("EVENT", &event.for_user(&ada).body()),
        ],
    )
    .await;
    for step in ["refused", "too old", "signed", "signed twice", "rolled"] {
        assert!(text.lines().any(|line| line == format!("ok {step}")), "no {step} in:\n{text}");
    }
    assert_eq!(tier(gateway, &ada).await, "tier1");
}

async fn what_is_not_signed_is_refused_whatever_it_is() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let event = Event::subscription(&subscription, "created", "active").of(&customer);
    let body = event.for_user(&ada).body();
    let good = signature(&body, SIGNING, now());
    let post = |header: &str, body: &str| {
        let request = gateway.request(Method::POST, "/webhook/stripe").body(body.to_owned());
        answer(request.header("stripe-signature", header))
    };
    for header in ["", "t=1", "v1=00", &signature(&body, "whsec_of-somebody-else", now())] {
        post(header, &body).await.refuses(400, "invalid_signature");
        post(header, "{").await.refuses(400, "invalid_signature");
    }
    let changed = body.replace("active", "trialing");
    post(&good, &changed).await.refuses(400, "invalid_signature");
    let bare = answer(gateway.request(Method::POST, "/webhook/stripe").body(body.clone())).await;
    bare.refuses(400, "invalid_signature");
    assert_eq!(tier(gateway, &ada).await, Value::Null);
    let signed = |body: &str| signature(body, SIGNING, now());
    for broken in ["", "{", "[]", "null", r#"{"id":"evt_1"}"#] {
        post(&signed(broken), broken).await.refuses(400, "invalid_json");
    }
    let large = "x".repeat(256 * 1024 + 1);
    post(&signed(&large), &large).await.refuses(413, "request_too_large");
    let unsigned = gateway.request(Method::POST, "/webhook/stripe").body(large);
    answer(unsigned).await.refuses(400, "invalid_signature");
    let other = r#"{"id":"evt_1","object":"event","type":"customer.created"}"#;
    post(&signed(other), other).await.is(200);
    let read = answer(gateway.request(Method::GET, "/webhook/stripe")).await;
    read.refuses(405, "method_not_allowed");
}

async fn a_signature_lasts_five_minutes() {
    let gateway = &shared::sold().await.gateway;
    let (customer, subscription) = names();
    let body = Event::subscription(&subscription, "created", "active").of(&customer).body();
    let post = |second: u64, secret: &'static str| {
        let request = gateway.request(Method::POST, "/webhook/stripe").body(body.clone());
        answer(request.header("stripe-signature", signature(&body, secret, second)))
    };
    post(now() - 290, SIGNING).await.is(200);
    post(now() - 290, SIGNED_EARLIER).await.is(200);
    for second in [now() - 302, now() + 310] {
        post(second, SIGNING).await.refuses(400, "invalid_signature");
    }
}

async fn who_sells_nothing_is_told_nothing() {
    let gateway = &shared::open().await.gateway;
    let event = Event::subscription("sub_1", "created", "active");
    answer(sending(gateway, &event)).await.refuses(503, "not_configured");
}

async fn test_mode_gives_nothing_but_where_it_is_tried() {
    let mut pair = shared::pair(shared::selling(Options::new())).await;
    let ada = user("ada");
    let (customer, subscription) = names();
    let begun = Event::subscription(&subscription, "created", "active").of(&customer);
    let begun = begun.for_user(&ada).with("/livemode", false);
    send(&pair.gateway, &begun).await;
    assert_eq!(tier(&pair.gateway, &ada).await, Value::Null);
    let trying = shared::selling(Options::new()).var("STRIPE_TEST_MODE", "true");
    pair.gateway.restart_with(trying.upstream(pair.upstream.url())).await;
    send(&pair.gateway, &begun).await;
    assert_eq!(tier(&pair.gateway, &ada).await, "tier1");
}

async fn a_life_gives_a_tier_and_takes_it() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let says = |kind: &str, status: &str, second: i64| {
        Event::subscription(&subscription, kind, status).of(&customer).for_user(&ada).at(second)
    };
    let invoice = |kind: &str, second: i64| {
        Event::invoice(&subscription, kind).of(&customer).for_user(&ada).at(second)
    };
    let price = ("/data/object/items/data/0/price/id", "price_3");
    let pause = "/data/object/pause_collection";
    for (event, expected) in [
        (says("created", "incomplete", 0), Value::Null),
        (invoice("paid", 0), json!("tier1")),
        (says("updated", "active", 0), json!("tier1")),
        (says("updated", "active", 50).with(price.0, price.1), json!("tier3")),
        (says("updated", "active", 60), json!("tier1")),
        (says("updated", "active", 62).with(pause, json!({ "behavior": "void" })), Value::Null),
        (says("updated", "active", 64).with(pause, Value::Null), json!("tier1")),
        (says("updated", "active", 66).with("/data/object/items/data/0/quantity", 0), Value::Null),
        (says("paused", "paused", 67), Value::Null),
        (says("resumed", "active", 68), json!("tier1")),
        (says("updated", "unpaid", 70), Value::Null),
        (says("updated", "active", 80), json!("tier1")),
        (says("deleted", "canceled", 90), Value::Null),
        (invoice("paid", 100), Value::Null),
    ] {
        send(gateway, &event).await;
        assert_eq!(tier(gateway, &ada).await, expected, "after {:#}", event.0["type"]);
    }
    let row = told(gateway, "end in D1", |connection| {
        let query = "select user_id, subscription_id from customers
            where customer_id = ? and status = 'canceled'";
        connection.query_row(query, [&customer], |row| Ok((row.get(0)?, row.get(1)?))).ok()
    });
    let row: (String, String) = row.await;
    assert_eq!(row, (ada, subscription));
}

async fn a_checkout_that_is_paid_for_later_gives_a_tier_then() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let link = ("/data/object/payment_link", "price_2");
    let says = |kind: &str, payment: &str, second: i64| {
        let event = Event::checkout(&subscription).of(&customer).for_user(&ada).at(second);
        let event = event.with("/type", format!("checkout.session.{kind}")).with(link.0, link.1);
        event.with("/data/object/payment_status", payment)
    };
    for (event, expected) in [
        (says("completed", "unpaid", 0), Value::Null),
        (says("async_payment_failed", "unpaid", 5), Value::Null),
        (says("async_payment_succeeded", "paid", 9), json!("tier2")),
    ] {
        send(gateway, &event).await;
        assert_eq!(tier(gateway, &ada).await, expected, "after {:#}", event.0["type"]);
    }
}

async fn a_thin_event_is_a_note() {
    let gateway = &shared::pair(shared::selling(Options::new())).await.gateway;
    let event = Event(json!({
        "id": "evt_thin", "object": "v2.core.event", "type": "v1.customer.subscription.updated",
        "created": "2026-11-18T11:06:40.000Z", "livemode": true,
        "related_object": { "id": "sub_1", "type": "subscription", "url": "/v1/subscriptions/sub_1" },
    }));
    send(gateway, &event).await;
    send(gateway, &event).await;
    let notes = notes(gateway, "", 1).await;
    assert_eq!(notes[0].0, "thin_event");
    assert!(notes[0].1.contains("payload style is snapshot"), "{notes:?}");
}

async fn duplicates_and_replays_change_nothing() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let event = |kind: &str, status: &str, second: i64| {
        Event::subscription(&subscription, kind, status).of(&customer).for_user(&ada).at(second)
    };
    let life = [
        event("created", "incomplete", 0),
        event("updated", "active", 1),
        Event::invoice(&subscription, "paid").of(&customer).at(1),
        Event::checkout(&subscription).of(&customer).at(2),
        event("updated", "past_due", 100),
        event("deleted", "canceled", 200),
    ];
    for _ in 0..3 {
        let mut shuffled: Vec<_> = life.iter().chain(&life).collect();
        fastrand::shuffle(&mut shuffled);
        let sent =
            join_all(shuffled.into_iter().map(|event| answer(sending(gateway, event)))).await;
        for sent in &sent {
            sent.is(200);
        }
        assert_eq!(tier(gateway, &ada).await, Value::Null, "the end is the newest");
    }
    // Twice the same at once, and again: one tier.
    let bob = user("bob");
    let (customer, subscription) = names();
    let begun = Event::subscription(&subscription, "created", "active").of(&customer);
    let begun = begun.for_user(&bob);
    let sent = join_all((0..10).map(|_| answer(sending(gateway, &begun)))).await;
    for sent in &sent {
        sent.is(200);
    }
    assert_eq!(tier(gateway, &bob).await, "tier1");
}

async fn a_late_checkout_revives_nothing() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let ended = Event::subscription(&subscription, "deleted", "canceled").of(&customer);
    send(gateway, &ended.for_user(&ada).at(50)).await;
    let checkout = Event::checkout(&subscription).of(&customer).for_user(&ada).at(60);
    send(gateway, &checkout.with("/data/object/metadata/tier", "tier2")).await;
    assert_eq!(tier(gateway, &ada).await, Value::Null);
}

async fn an_old_subscriptions_end_leaves_the_newer_one() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let [(customer, old), (_, new)] = [names(), names()];
    let event = |id: &str, kind: &str, status: &str, second: i64| {
        Event::subscription(id, kind, status).of(&customer).for_user(&ada).at(second)
    };
    let price = "/data/object/items/data/0/price/id";
    send(gateway, &event(&old, "created", "active", 0)).await;
    send(gateway, &event(&new, "created", "active", 10).with(price, "price_2")).await;
    assert_eq!(tier(gateway, &ada).await, "tier2");
    send(gateway, &event(&old, "deleted", "canceled", 20)).await;
    assert_eq!(tier(gateway, &ada).await, "tier2");
    // Nor does another customer's, who pays for the same person.
    let (other, third) = names();
    let event = |kind: &str, status: &str, second: i64| {
        let event = Event::subscription(&third, kind, status).of(&other).for_user(&ada);
        event.with(price, "price_3").at(second)
    };
    send(gateway, &event("created", "active", 20)).await;
    assert_eq!(tier(gateway, &ada).await, "tier3");
    send(gateway, &event("deleted", "canceled", 30)).await;
    assert_eq!(tier(gateway, &ada).await, "tier2");
}

async fn what_comes_early_waits_for_its_user() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada.of_the-early");
    let key = gateway.mint_key(&ada).await.key;
    let reference = crate::upgrade::reference(gateway, &key).await;
    let (customer, subscription) = names();
    send(gateway, &Event::subscription(&subscription, "created", "incomplete").of(&customer)).await;
    send(gateway, &Event::invoice(&subscription, "paid").of(&customer).at(1)).await;
    send(gateway, &Event::subscription(&subscription, "updated", "active").of(&customer)).await;
    assert_eq!(tier(gateway, &ada).await, Value::Null);
    assert_eq!(notes(gateway, &customer, 1).await[0].0, "unknown_user");
    let checkout = Event::checkout(&subscription).of(&customer).referring(&reference).at(2);
    send(gateway, &checkout).await;
    assert_eq!(tier(gateway, &ada).await, "tier1");
    notes(gateway, &customer, 0).await;
}

async fn what_comes_while_d1_is_told_is_told_too() {
    let gateway = &shared::sold().await.gateway;
    let customers: Vec<_> = (0..150).map(|_| names()).collect();
    // Each is told to D1 half a second after it has come; the next comes at about that time.
    let lives = customers.iter().zip(0_u64..).map(async |((customer, subscription), number)| {
        let says = |kind| Event::subscription(subscription, kind, "active").of(customer);
        send(gateway, &says("created")).await;
        tokio::time::sleep(Duration::from_millis(440 + number)).await;
        send(gateway, &says("updated").for_user(&user("ada")).at(1)).await;
    });
    join_all(lives).await;
    told(gateway, "users in D1", |connection| {
        let query =
            "select not exists (select 1 from notes where customer_id = ?1 and resolved_at is null)
            and exists (select 1 from customers where customer_id = ?1 and user_id is not null)";
        let mut statement = connection.prepare(query).unwrap();
        let mut is_there = |id: &String| statement.query_row([id], |row| row.get::<_, bool>(0));
        customers.iter().all(|(customer, _)| is_there(customer).unwrap()).then_some(())
    })
    .await;
}

async fn what_nobody_signed_and_nobody_knows_waits_for_the_operator() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let key = gateway.mint_key(&ada).await.key;
    let genuine = crate::upgrade::reference(gateway, &key).await;
    let (name, seal) = genuine.rsplit_once('S').unwrap();
    let others = format!("{}S{seal}", user("eve"));
    for reference in [&ada, name, &others, &format!("{genuine}0")] {
        let (customer, subscription) = names();
        send(gateway, &Event::checkout(&subscription).of(&customer).referring(reference)).await;
        let begun = Event::subscription(&subscription, "created", "active").of(&customer).at(1);
        send(gateway, &begun).await;
        assert_eq!(tier(gateway, &ada).await, Value::Null, "{reference}");
        let (kind, text) = notes(gateway, &customer, 1).await.remove(0);
        assert_eq!(kind, "unsigned_reference");
        assert!(text.contains(&subscription) && text.contains("user_id"), "{text}");
    }
    // A price that isn't on the list, and what is done about it.
    let (customer, subscription) = names();
    let event = |second: i64| {
        let event = Event::subscription(&subscription, "updated", "active").of(&customer);
        let event = event.with("/data/object/items/data/0/price/id", "price_unknown");
        event.for_user(&ada).at(second)
    };
    send(gateway, &event(0)).await;
    assert_eq!(tier(gateway, &ada).await, Value::Null);
    let (kind, text) = notes(gateway, &customer, 1).await.remove(0);
    assert_eq!(kind, "unknown_price");
    assert!(text.contains("price_unknown") && text.contains("STRIPE_PRICES"), "{text}");
    send(gateway, &event(1).with("/data/object/metadata/tier", "tier2")).await;
    assert_eq!(tier(gateway, &ada).await, "tier2");
    notes(gateway, &customer, 0).await;
}

async fn a_note_that_was_dismissed_stays_so_while_it_says_the_same() {
    let gateway = &shared::sold().await.gateway;
    let (customer, subscription) = names();
    let event = |second: i64, price: &str| {
        let event = Event::subscription(&subscription, "updated", "active").of(&customer);
        let event = event.with("/data/object/items/data/0/price/id", price);
        event.for_user(&user("ada")).at(second)
    };
    let revision = async |revision: i64| {
        let query = "select 1 from customers where customer_id = ? and revision = ?";
        told(gateway, "revision", |connection| {
            connection.query_row(query, (&customer, revision), |_| Ok(())).ok()
        })
        .await;
    };
    send(gateway, &event(0, "price_unknown")).await;
    notes(gateway, &customer, 1).await;
    let note = json!({ "customer_id": customer, "kind": "unknown_price", "subject": subscription });
    let dismissed = gateway.operator(Method::POST, "/operator/api/notes/resolve").json(&note);
    answer(dismissed).await.is(204);
    send(gateway, &event(1, "price_unknown")).await;
    revision(2).await;
    notes(gateway, &customer, 0).await;
    send(gateway, &event(2, "price_unknown_too")).await;
    assert!(notes(gateway, &customer, 1).await[0].1.contains("price_unknown_too"));
    // What was mended, and is as it was, is news.
    send(gateway, &event(3, "price_2")).await;
    notes(gateway, &customer, 0).await;
    send(gateway, &event(4, "price_unknown_too")).await;
    notes(gateway, &customer, 1).await;
}

async fn a_corrected_user_has_it_and_the_other_has_not() {
    let gateway = &shared::sold().await.gateway;
    let [ada, bob] = ["ada", "bob"].map(user);
    let (customer, subscription) = names();
    let event = Event::subscription(&subscription, "updated", "active").of(&customer);
    send(gateway, &event.clone().for_user(&ada)).await;
    assert_eq!(tier(gateway, &ada).await, "tier1");
    send(gateway, &event.with("/id", "evt_corrected").for_user(&bob).at(5)).await;
    assert_eq!(tier(gateway, &ada).await, Value::Null);
    assert_eq!(tier(gateway, &bob).await, "tier1");
}

async fn money_that_goes_back_is_a_note() {
    let gateway = &shared::sold().await.gateway;
    let ada = user("ada");
    let (customer, subscription) = names();
    let begun = Event::subscription(&subscription, "created", "active").of(&customer);
    send(gateway, &begun.for_user(&ada)).await;
    let (refund, dispute) = (Event::refund().of(&customer), Event::dispute());
    for event in [&refund, &refund, &dispute, &dispute] {
        send(gateway, event).await;
    }
    assert_eq!(tier(gateway, &ada).await, "tier1");
    let kinds = |event: &Event| {
        let id = event.0["id"].as_str().unwrap().to_owned();
        told(gateway, "note", move |connection| {
            let query = "select kind, customer_id, user_id, text from notes where subject = ?";
            let mut statement = connection.prepare(query).unwrap();
            let row = |row: &rusqlite::Row<'_>| {
                Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get(2)?, row.get(3)?))
            };
            let rows: Vec<(_, _, Option<String>, String)> =
                statement.query_map([&id], row).unwrap().map(Result::unwrap).collect();
            assert!(rows.len() <= 1, "{rows:?}");
            rows.into_iter().next()
        })
    };
    let (kind, whose, user_id, text) = kinds(&refund).await;
    assert_eq!((kind.as_str(), whose, user_id), ("refund", customer, Some(ada)));
    assert!(text.contains("ch_3QAda"), "{text}");
    let (kind, whose, user_id, _) = kinds(&dispute).await;
    assert_eq!((kind.as_str(), whose.as_str(), user_id), ("dispute", "", None));
}

/// What is told of a user to whoever calls with this key.
pub async fn me(gateway: &Gateway, key: &str) -> Answer {
    answer(gateway.request(Method::GET, "/me").bearer_auth(key)).await
}
