use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

/// User `n` of these has the weight at its place.
const WEIGHTS: [u32; 6] = [1, 1, 1, 2, 4, 4];

fn ask(number: usize, user: usize) -> Ask {
    Ask {
        request_id: format!("r{number}"),
        user_id: format!("u{user}"),
        weight: WEIGHTS[user],
        slots: 8,
        wait_ms: 20_000,
    }
}

/// Grants one slot after another, each freed at once; who got them.
fn serve(queue: &mut FairQueue, owners: &BTreeMap<String, usize>, slots: usize) -> Vec<usize> {
    let mut served = Vec::new();
    for _ in 0..slots {
        for request_id in queue.grant(1, 0) {
            queue.free(&request_id);
            served.push(owners[&request_id]);
        }
    }
    served
}

/// A queue in which each of `users` waits with so many requests.
fn waiting(users: &[usize], requests: usize) -> (FairQueue, BTreeMap<String, usize>) {
    let (mut queue, mut owners) = (FairQueue::default(), BTreeMap::new());
    for (number, user) in (0..requests).flat_map(|_| users).enumerate() {
        queue.ask(&ask(number, *user), 0);
        owners.insert(format!("r{number}"), *user);
    }
    (queue, owners)
}

#[test]
fn what_is_stored_and_said_is_pinned() {
    let said = |message: SlotMessage| serde_json::to_string(&message).unwrap();
    assert_eq!(said(SlotMessage::Ask(ask(1, 3))), r#"{"ask":["r1","u3",2,8,20000]}"#);
    assert_eq!(serde_json::from_str::<Ask>(r#"["r1","u3",2,8,20000]"#).unwrap(), ask(1, 3));
    assert_eq!(said(SlotMessage::Free("r1".to_owned())), r#"{"free":"r1"}"#);
    let replies = [Place::Slot(0), Place::Busy(1_500), Place::Nothing];
    assert_eq!(serde_json::to_string(&replies).unwrap(), r#"[{"slot":0},{"busy":1500},"nothing"]"#);
    let mut queue = FairQueue::default();
    queue.ask(&ask(1, 0), 0);
    assert_eq!(queue.grant(8, 5), ["r1"]);
    let stored = serde_json::to_string(queue.changed_leases().unwrap()).unwrap();
    assert_eq!(stored, r#"[["r1",90005]]"#);
    assert_eq!(queue.changed_leases(), None);
    // What is read again holds its slot, and no longer than it would have.
    let mut queue = FairQueue::restore(serde_json::from_str(&stored).unwrap());
    queue.ask(&ask(2, 0), 0);
    assert_eq!(queue.grant(1, 90_004), [""; 0]);
    assert_eq!(queue.next_expiry(), Some(90_005));
    assert_eq!(queue.grant(1, 90_005), ["r2"]);
}

#[test]
fn shares_are_the_weights() {
    let (mut queue, owners) = waiting(&[0, 3, 4], 400);
    let served = serve(&mut queue, &owners, 700);
    let count = |user| served.iter().filter(|served| **served == user).count();
    for (user, share) in [(0, 100), (3, 200), (4, 400)] {
        assert!(count(user).abs_diff(share) <= 1, "{} of {share}", count(user));
    }
    // Not in blocks: each has its share of every round.
    for round in served.chunks_exact(7) {
        assert!(round.iter().filter(|user| **user == 0).count() <= 2, "{round:?}");
    }
}

#[test]
fn equal_users_take_turns_however_much_each_has_waiting() {
    let (mut queue, mut owners) = waiting(&[0], 50);
    for user in [1, 2] {
        queue.ask(&ask(100 + user, user), 0);
        owners.insert(format!("r{}", 100 + user), user);
    }
    assert_eq!(serve(&mut queue, &owners, 5), [0, 1, 2, 0, 0]);
}

#[test]
fn who_was_away_has_nothing_saved_up() {
    let (mut queue, mut owners) = waiting(&[0, 1], 100);
    assert_eq!(serve(&mut queue, &owners, 100).len(), 100);
    for number in 1_000..1_050 {
        queue.ask(&ask(number, 2), 0);
        owners.insert(format!("r{number}"), 2);
    }
    let after = serve(&mut queue, &owners, 30);
    let of_the_new = after.iter().filter(|user| **user == 2).count();
    assert!((9..=11).contains(&of_the_new), "{after:?}");
}

#[test]
fn a_question_that_comes_twice_takes_one_place() {
    let mut queue = FairQueue::default();
    assert!(!queue.ask(&ask(1, 0), 0) && !queue.ask(&ask(1, 0), 0));
    assert_eq!(queue.grant(8, 0), ["r1"]);
    assert!(queue.changed_leases().is_some());
    assert!(queue.ask(&ask(1, 0), 10));
    assert_eq!(queue.grant(8, 10), [""; 0]);
    assert_eq!(queue.changed_leases(), Some(&vec![("r1".to_owned(), 10 + LEASE)]));
    queue.free("r1");
    assert_eq!(queue.next_expiry(), None);
}

#[test]
fn a_clock_that_steps_back_holds_a_slot_no_longer_than_a_lease() {
    let mut queue = FairQueue::restore(vec![("dead".to_owned(), 10_000_000)]);
    queue.ask(&ask(1, 0), 0);
    assert_eq!(queue.grant(1, 1_000), [""; 0]);
    assert_eq!(queue.next_expiry(), Some(1_000 + LEASE));
    assert_eq!(queue.grant(1, 1_000 + LEASE), ["r1"]);
}

/// The object is put away when it has been idle for ten seconds, so who remembers must be the disk. Found
/// by `cargo xtask chaos --minutes 0.13 --seed 4`.
#[test]
fn that_the_clock_has_stepped_back_is_written_down() {
    let mut queue = FairQueue::restore(vec![("dead".to_owned(), 10_000_000)]);
    queue.grant(1, 5_000);
    let stored = queue.changed_leases().expect("what it was looked at with is stored").clone();
    let mut later = FairQueue::restore(stored);
    later.ask(&ask(1, 0), 5_000 + LEASE);
    assert_eq!(later.grant(1, 5_000 + LEASE), ["r1"]);
}

#[test]
fn the_wait_is_judged_by_what_was_granted() {
    let (queue, _) = waiting(&[0, 1, 2], 3);
    assert_eq!(queue.expected_wait(20, 20_000), 10_000);
    assert_eq!(queue.expected_wait(1_000, 20_000), 1_000);
    assert_eq!(queue.expected_wait(0, 20_000), 60_000);
    assert_eq!(queue.expected_wait(u64::MAX, Millis::MAX), 1_000);
}

#[test]
fn the_load_tells_how_long_the_oldest_has_waited() {
    let mut queue = FairQueue::default();
    assert_eq!(queue.load(5), Load::default());
    for (number, asked) in [(1, 0), (2, 100), (3, 300)] {
        queue.ask(&ask(number, number % 2), asked);
    }
    queue.grant(1, 300);
    let load = Load { running: 1, waiting: 2, longest_wait_ms: 900 };
    assert_eq!(queue.load(1_000), load);
    queue.free("r2");
    assert_eq!(queue.load(1_000), Load { waiting: 1, longest_wait_ms: 700, ..load });
}

#[derive(Clone, Debug)]
enum Step {
    Ask(usize),
    /// The running request that this number falls on ends.
    End(usize),
    /// The waiting one leaves.
    Leave(usize),
    Slots(usize),
    Pause(Millis),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => (0..WEIGHTS.len()).prop_map(Step::Ask),
        5 => any::<usize>().prop_map(Step::End),
        1 => any::<usize>().prop_map(Step::Leave),
        1 => (1_usize..5).prop_map(Step::Slots),
        1 => (0..40_000_i64).prop_map(Step::Pause),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn no_slot_too_many_none_idle_and_nobody_starves(steps in steps()) {
        let (mut queue, mut now, mut slots) = (FairQueue::default(), 0, 2);
        let mut waiting: Vec<(String, usize)> = Vec::new();
        let mut running: Vec<(String, Millis)> = Vec::new();
        // How often each user was granted since the other began to wait for the next grant.
        let mut passed = [[0_u32; WEIGHTS.len()]; WEIGHTS.len()];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Ask(user) => {
                    queue.ask(&ask(number, user), now);
                    if waiting.iter().all(|(_, other)| *other != user) {
                        passed[user] = [0; WEIGHTS.len()];
                    }
                    waiting.push((format!("r{number}"), user));
                }
                Step::End(place) if !running.is_empty() => {
                    let (request_id, _) = running.remove(place % running.len());
                    queue.free(&request_id);
                }
                Step::Leave(place) if !waiting.is_empty() => {
                    let (request_id, _) = waiting.remove(place % waiting.len());
                    queue.free(&request_id);
                }
                Step::End(_) | Step::Leave(_) => {}
                Step::Slots(number) => slots = number,
                Step::Pause(pause) => now += pause,
            }
            let granted = queue.grant(slots, now);
            running.retain(|(_, until)| *until > now);
            for request_id in granted {
                let place = waiting.iter().position(|(id, _)| *id == request_id);
                prop_assert!(place.is_some(), "{request_id} was granted and didn't wait");
                let (_, user) = waiting.remove(place.unwrap());
                let first = waiting.iter().find(|(_, other)| *other == user);
                prop_assert!(
                    first.is_none_or(|(id, _)| id[1..].parse::<usize>().unwrap()
                        > request_id[1..].parse::<usize>().unwrap()),
                    "a user's requests keep their order"
                );
                running.push((request_id, now + LEASE));
                prop_assert!(running.len() <= slots, "one too many");
                passed[user] = [0; WEIGHTS.len()];
                let others: BTreeSet<usize> = waiting.iter().map(|(_, other)| *other).collect();
                for other in others.into_iter().filter(|other| *other != user) {
                    passed[other][user] += 1;
                    let most = WEIGHTS[user].div_ceil(WEIGHTS[other]) + 1;
                    prop_assert!(
                        passed[other][user] <= most,
                        "u{other} was passed by u{user} {} times", passed[other][user]
                    );
                }
            }
            prop_assert!(running.len() >= slots || waiting.is_empty(), "a slot is idle");
            let load = queue.load(now);
            prop_assert_eq!((load.running, load.waiting), (running.len(), waiting.len()));
            prop_assert_eq!(&queue.leases, &running);
        }
    }
}
