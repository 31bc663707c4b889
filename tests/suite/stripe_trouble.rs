//! Stripe's events while something breaks: none is lost, and nobody waits for another's.

use std::time::Duration;

use gateway_tests::stripe::Event;
use gateway_tests::{Gateway, Options, wait_for};
use reqwest::Method;

use crate::answer::answer;
use crate::runner::Test;
use crate::shared::{Pair, user};
use crate::stripe::{names, send, sending, tier};
use crate::{shared, tests};

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        an_event_is_kept_through_a_kill,
        an_event_whose_user_is_out_of_reach_arrives_later,
        who_cant_be_told_keeps_nobody_else_from_it,
    ]
}

async fn an_event_is_kept_through_a_kill() {
    let (pair, ada, event) = about_to_subscribe().await;
    let gateway = &pair.gateway;
    // It is written, and its user hears of it in eight seconds.
    let lost = sending(gateway, &event).header("x-fault", "slow-customer").send();
    let kill = async {
        let lingers = || gateway.log().iter().any(|line| line["event"] == "linger").then_some(());
        wait_for("event that is taken in", Duration::from_secs(30), lingers).await;
        // The turn in which it said so ends with the commit.
        tokio::time::sleep(Duration::from_millis(200)).await;
        gateway.kill_runtime().await;
    };
    let (lost, ()) = tokio::join!(lost, kill);
    assert!(lost.is_err(), "nobody could have answered that");
    gateway.restart().await;
    becomes(gateway, &ada, "tier1").await;
    send(gateway, &event).await;
    assert_eq!(tier(gateway, &ada).await, "tier1");
}

async fn an_event_whose_user_is_out_of_reach_arrives_later() {
    let (pair, ada, event) = about_to_subscribe().await;
    let gateway = &pair.gateway;
    let failed = answer(sending(gateway, &event).header("x-fault", "panic-customer")).await;
    failed.refuses(500, "internal_error");
    // Nobody sends it again.
    becomes(gateway, &ada, "tier1").await;
}

async fn who_cant_be_told_keeps_nobody_else_from_it() {
    let pair = shared::pair(shared::selling(Options::new())).await;
    let gateway = &pair.gateway;
    let [eve, bob] = ["eve", "bob"].map(user);
    gateway.mint_key(&eve).await;
    // Eve is being forgotten for as long as D1 is away.
    let lock = gateway.ledger().lock();
    let path = format!("/operator/api/users/{eve}");
    answer(gateway.operator(Method::DELETE, &path)).await.is(202);
    let (customer, _) = names();
    for name in [&eve, &bob] {
        let begun = Event::subscription(&names().1, "created", "active").of(&customer);
        answer(sending(gateway, &begun.for_user(name))).await.refuses(500, "internal_error");
    }
    assert_eq!(tier(gateway, &bob).await, "tier1");
    drop(lock);
}

/// A gateway that sells and meets faults, a user, and the event that this user has begun to pay.
async fn about_to_subscribe() -> (Pair, String, Event) {
    let pair = shared::pair(shared::selling(Options::new()).fault_injection()).await;
    let ada = user("ada");
    let (customer, subscription) = names();
    let event = Event::subscription(&subscription, "created", "active").of(&customer);
    let event = event.for_user(&ada);
    (pair, ada, event)
}

/// Waits until a user has a tier.
async fn becomes(gateway: &Gateway, user: &str, expected: &str) {
    for _ in 0..100 {
        if tier(gateway, user).await == expected {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{user} has {} instead of {expected}", tier(gateway, user).await);
}
