mod disk;
mod free_calls;

use std::borrow::Cow;

use proptest::prelude::*;

pub(super) use self::disk::Disk;
use super::messages::{AddKey, Bind, Describe, Prove, Remember, Renew, SessionMessage};
use super::*;
use crate::entry::{INTERRUPTED, tests::entry};
use crate::fingerprint::Fingerprint;
use crate::gateway_key::mint;
use crate::identifiers::UserId;
use crate::journal::CROWDED;
use crate::refusals;
use crate::secret::Secret;
use crate::tier::Tier;
use crate::upstreams::DEFAULT;
use crate::window::MINUTE;

const LIMITS: Limits<'_> = limits(3, 2);

/// Nothing is sold, and nothing is required.
pub(super) static FREE: TierRules =
    TierRules { is_required: false, grace: 0, prices: BTreeMap::new() };

/// One upstream, and everybody's.
pub(super) static ONE: &[Upstream] = &[node(DEFAULT, Vec::new())];

pub(super) const fn node(name: &'static str, tiers: Vec<Tier>) -> Upstream {
    Upstream {
        name: Cow::Borrowed(name),
        url: Secret::new(String::new()),
        token: None,
        access: None,
        slots: None,
        stream_idle_ms: crate::upstreams::STREAM_IDLE_MS,
        tiers,
    }
}

pub(super) const fn limits(per_minute: u32, in_flight: usize) -> Limits<'static> {
    let rate = Rate { limit: per_minute, window: MINUTE };
    Limits {
        binding: UserBinding::Open,
        rate,
        in_flight,
        needs_token: false,
        rules: &FREE,
        upstreams: ONE,
    }
}

pub(super) fn admit(request_id: &str) -> Admit {
    let (shown, entry) = (Shown::default(), entry(request_id));
    Admit { shown, vouched: false, is_free: false, previous_response_id: None, funds: None, entry }
}

fn settle(request_id: &str) -> Settle {
    Settle { request_id: request_id.to_owned(), outcome: Outcome::answered(200, 7) }
}

fn with_keys(numbers: &[u8]) -> Shown {
    Shown { keys: numbers.iter().map(|number| key(*number)).collect(), bearer: None }
}

pub(super) fn with_bearer(bearer: &str) -> Shown {
    Shown { keys: Vec::new(), bearer: Some(Fingerprint::of(bearer)) }
}

fn key(number: u8) -> Fingerprint {
    mint(&UserId::anonymous(), &[number; 32]).1
}

fn record(number: u8) -> KeyRecord {
    let (label, created_at) = ("laptop".to_owned(), "2026".to_owned());
    KeyRecord { hash: key(number), label, created_at, last_use: None }
}

pub(super) fn reason(admission: &Admission) -> Option<Reason> {
    match admission {
        Admission::Admitted(_) => None,
        Admission::Refused(refusal) => Some(refusal.reason.clone()),
        Admission::Unproven => panic!("it is not vouched for"),
    }
}

#[test]
fn the_window_comes_before_the_requests_in_flight() {
    let mut session = Session::restore(Stored::default(), 0).0;
    assert_eq!(reason(&session.admit(admit("a"), LIMITS, 0).0), None);
    assert_eq!(reason(&session.admit(admit("b"), LIMITS, 0).0), None);
    assert_eq!(reason(&session.admit(admit("c"), LIMITS, 0).0), Some(Reason::TooManyInFlight));
    assert!(session.settle(settle("a"), 1).0);
    let (admission, _) = session.admit(admit("d"), LIMITS, 10);
    let standing =
        Standing { limit: 3, remaining: 0, empty_in_ms: MINUTE, next_free_ms: 59_990, month: None };
    assert_eq!(
        admission,
        Admission::Admitted(Permit {
            standing,
            session_key: None,
            binds: false,
            token: None,
            upstream: DEFAULT.to_owned(),
            tier: None,
        })
    );
    let full = Some(Reason::RateLimited { retry_after_ms: 59_990 });
    assert_eq!(reason(&session.admit(admit("e"), LIMITS, 10).0), full);
}

#[test]
fn a_message_sent_twice_is_admitted_once() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let (first, changes) = session.admit(admit("a"), LIMITS, 0);
    assert!(matches!(changes[..], [Change::Projects(_), Change::Open { .. }]));
    assert_eq!(session.admit(admit("a"), LIMITS, 0), (first, Vec::new()));
}

#[test]
fn a_lease_without_a_sign_of_life_ends_as_interrupted() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let mut disk = Disk::default();
    disk.apply(session.admit(admit("a"), LIMITS, 0).1);
    disk.apply(session.renew("a", 30_000).1);
    assert_eq!(session.next_wake(), Some(30_000 + LEASE));
    assert!(session.expire(30_000 + LEASE - 1).is_empty());
    disk.apply(session.expire(30_000 + LEASE));
    let pending = disk.pending(0);
    assert_eq!(pending[0].1.outcome.error_code.as_deref(), Some(INTERRUPTED));
    assert!(!session.settle(settle("a"), 130_000).0, "it was settled by the alarm");
    assert!(!session.renew("a", 130_000).0);
}

#[test]
fn only_the_users_own_keys_prove() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let shown = |number| Admit { shown: with_keys(&[number]), ..admit("a") };
    let (admission, changes) = session.admit(shown(1), LIMITS, 0);
    let nothing =
        Refusal { reason: Reason::InvalidKey, standing: None, buyer: None, is_uncounted: false };
    assert_eq!(admission, Admission::Refused(nothing));
    assert!(changes.is_empty(), "a name that nobody has leaves nothing behind");

    assert!(session.add_key(record(1)).0);
    assert!(!session.add_key(record(1)).0);
    assert_eq!(reason(&session.admit(shown(1), LIMITS, 0).0), None);
    let (admission, changes) = session.admit(shown(2), LIMITS, 0);
    assert_eq!(reason(&admission), Some(Reason::InvalidKey));
    assert!(matches!(changes[..], [Change::Refuse { .. }]), "a user's own mistake is logged");
    let both = Admit { shown: with_keys(&[1, 2]), ..admit("c") };
    assert_eq!(reason(&session.admit(both, LIMITS, 0).0), Some(Reason::InvalidKey));
}

#[test]
fn the_first_bearer_that_succeeds_is_the_users_own() {
    let limits = Limits { binding: UserBinding::FirstKey, ..limits(9, 9) };
    let mut session = Session::restore(Stored::default(), 0).0;
    let by = |id: &str, bearer| Admit { shown: with_bearer(bearer), ..admit(id) };
    let vouched = |message| Admit { vouched: true, ..message };
    assert_eq!(session.admit(by("a", "sk-1"), limits, 0), (Admission::Unproven, Vec::new()));
    let mut binds = |message| match session.admit(message, limits, 0).0 {
        Admission::Admitted(permit) => permit.binds,
        other => panic!("{other:?}"),
    };
    assert!(binds(vouched(by("a", "sk-1"))));
    assert!(binds(vouched(by("a", "sk-1"))), "a message that comes twice has one answer");
    assert!(!binds(vouched(admit("b"))), "nothing to bind to");
    let mut disk = Disk::default();
    let (is_bound, changes) = session.bind(Fingerprint::of("sk-1"));
    assert!(is_bound);
    disk.apply(changes);
    assert_eq!(session.bind(Fingerprint::of("sk-2")), (false, Vec::new()));
    for mut session in [disk.restart(0), session] {
        let (admission, changes) = session.admit(vouched(by("c", "sk-2")), limits, MINUTE);
        assert_eq!(reason(&admission), Some(Reason::UserIdBound));
        assert!(matches!(changes[..], [Change::Refuse { .. }]), "it costs a row and nothing else");
        assert_eq!(reason(&session.admit(by("d", "sk-1"), limits, MINUTE).0), None);
    }
}

#[test]
fn everyone_may_speak_for_anonymous_and_it_is_never_bound() {
    let limits = Limits { binding: UserBinding::FirstKey, ..LIMITS };
    let mut session = Session::restore(Stored::default(), 0).0;
    let entry = Entry { user_id: UserId::anonymous(), ..entry("a") };
    let message = Admit { shown: with_bearer("sk-1"), vouched: true, entry, ..admit("a") };
    let Admission::Admitted(permit) = session.admit(message, limits, 0).0 else { panic!() };
    assert!(!permit.binds);
}

#[test]
fn the_operator_blocks_and_empties_the_window() {
    let (mut session, mut disk) = (Session::restore(Stored::default(), 0).0, Disk::default());
    for (id, expected) in [("a", None), ("b", None), ("c", None)] {
        let (admission, changes) = session.admit(admit(id), limits(3, 9), 5);
        assert_eq!(reason(&admission), expected);
        disk.apply(changes);
    }
    disk.apply(session.settle(settle("a"), 6).1);
    disk.apply(session.repair(&Repair::Block { reason: None }, 7).1);
    for mut session in [disk.restart(7), session.clone()] {
        assert_eq!(reason(&session.admit(admit("d"), limits(3, 9), 7).0), Some(Reason::Blocked));
    }
    disk.apply(session.repair(&Repair::Unblock, 8).1);
    assert!(!session.repair(&Repair::Unblock, 8).0);
    disk.apply(session.repair(&Repair::ResetWindow, 9).1);
    for mut session in [disk.restart(9), session] {
        for id in ["d", "e", "f"] {
            assert_eq!(reason(&session.admit(admit(id), limits(3, 9), 9).0), None);
        }
        let full = Some(Reason::RateLimited { retry_after_ms: MINUTE });
        assert_eq!(reason(&session.admit(admit("g"), limits(3, 9), 9).0), full);
        assert!(session.settle(settle("b"), 10).0, "what runs goes on");
    }
}

pub(super) fn answer_of(upstream: &str) -> Remember {
    let (response_id, session_key) = ("r1".to_owned(), "p-1".to_owned());
    let request_id = "r".to_owned();
    Remember { request_id, response_id, session_key, upstream: upstream.to_owned() }
}

#[test]
fn an_answer_is_continued_by_its_own_user() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let next = |id: &str| Admit { previous_response_id: Some("r1".to_owned()), ..admit(id) };
    assert_eq!(
        reason(&session.admit(next("a"), LIMITS, 0).0),
        Some(Reason::PreviousResponseNotFound)
    );
    let mut disk = Disk::default();
    disk.apply(session.admit(admit("r"), LIMITS, 0).1);
    let unheard_of = Remember { request_id: "unheard-of".to_owned(), ..answer_of(DEFAULT) };
    assert_eq!(session.remember(unheard_of, 0), ((), Vec::new()));
    disk.apply(session.remember(answer_of(DEFAULT), 0).1);
    disk.apply(session.settle(settle("r"), 0).1);
    for mut session in [disk.restart(0), session] {
        let (admission, _) = session.admit(next("b"), LIMITS, 1);
        let Admission::Admitted(permit) = admission else { panic!("{admission:?}") };
        assert_eq!(permit.session_key.as_deref(), Some("p-1"));
    }
}

#[test]
fn a_step_back_outlives_a_restart() {
    let limits = limits(1, 9);
    let hour = 60 * MINUTE;
    let (mut session, mut disk) = (Session::restore(Stored::default(), hour).0, Disk::default());
    disk.apply(session.admit(admit("a"), limits, hour).1);
    disk.apply(session.observe(0));
    let wait = Some(Reason::RateLimited { retry_after_ms: MINUTE });
    assert_eq!(reason(&session.admit(admit("b"), limits, 0).0), wait);
    // The object is evicted while its user waits as it was told to.
    assert_eq!(reason(&disk.restart(MINUTE).admit(admit("c"), limits, MINUTE).0), None);
}

#[test]
fn a_time_ahead_of_a_restarted_clock_counts_as_now_once() {
    let limits = limits(1, 9);
    let mut disk = Disk::default();
    let mut session = disk.restart(60 * MINUTE);
    disk.apply(session.admit(admit("a"), limits, 60 * MINUTE).1);
    let wait = Some(Reason::RateLimited { retry_after_ms: MINUTE });
    assert_eq!(reason(&disk.restart(0).admit(admit("b"), limits, 0).0), wait);
    let mut session = disk.restart(MINUTE);
    assert_eq!(reason(&session.admit(admit("c"), limits, MINUTE).0), None);
    assert_eq!(session.next_wake(), Some(LEASE), "the lease was cut to one that began at 0");
}

#[test]
fn while_d1_is_away_old_refusals_fold_and_nothing_is_lost() {
    let limits = limits(1, 1);
    let (mut session, mut disk, mut now) =
        (Session::restore(Stored::default(), 0).0, Disk::default(), 0);
    let asked = 15_000;
    for number in 0..asked {
        // Refusals of many minutes, each with a row of its own until it gets crowded.
        now += MINUTE / 90;
        let request_id = format!("r{number}");
        let (admission, changes) = session.admit(admit(&request_id), limits, now);
        disk.apply(changes);
        disk.apply(session.settle(settle(&request_id), now).1);
        if let Some(refusal) = uncounted(&admission, &request_id) {
            let slots = session.journal().foldable();
            let old = slots.iter().map(|slot| disk.rows[slot].1.clone()).collect();
            disk.apply(session.count_refusals(refusal, (slots, old), now).1);
        }
    }
    let pending = disk.pending(0);
    assert!(pending.len() <= CROWDED, "{}", pending.len());
    assert_eq!(pending.iter().map(|(_, entry)| entry.count).sum::<u32>(), asked);
}

#[test]
fn refusals_of_who_was_forgotten_since_are_not_counted() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let ((), changes) = session.count_refusals(admit("a").entry, nothing_old(), 0);
    assert!(changes.is_empty());
}

const fn nothing_old() -> (Vec<i64>, Vec<Entry>) {
    (Vec::new(), Vec::new())
}

/// What the object leaves to be counted.
fn uncounted(admission: &Admission, request_id: &str) -> Option<Entry> {
    let Admission::Refused(Refusal { reason, is_uncounted: true, .. }) = admission else {
        return None;
    };
    let (status, code) = reason.status_and_code();
    Some(Entry { outcome: Outcome::failed(status, code), ..admit(request_id).entry })
}

#[test]
fn the_wire_format_is_pinned() {
    let entry = serde_json::to_value(entry("r1")).unwrap();
    let message = SessionMessage::Admit(Admit { shown: with_keys(&[0]), ..admit("r1") });
    let hash = "b918b22a1581fedd39058065f00e6aad35bd561f20257151131a1ddcd21803de";
    let literal = serde_json::json!({
        "admit": { "shown": { "keys": [hash], "bearer": null }, "vouched": false,
            "previous_response_id": null, "entry": entry }
    });
    assert_eq!(serde_json::to_value(message).unwrap(), literal);

    let settled = r#"{"settle":{"request_id":"r1","outcome":{"status":200,"latency_ms":7,"ttfb_ms":null,"tokens_est":0,"tokens_source":"none","error_code":null}}}"#;
    assert_eq!(serde_json::to_string(&SessionMessage::Settle(settle("r1"))).unwrap(), settled);
    let renew = SessionMessage::Renew(Renew { request_id: "r1".to_owned() });
    assert_eq!(serde_json::to_string(&renew).unwrap(), r#"{"renew":{"request_id":"r1"}}"#);

    let remember = answer_of(DEFAULT);
    let literal = r#"{"remember":{"request_id":"r","response_id":"r1","session_key":"p-1","upstream":"default"}}"#;
    assert_eq!(serde_json::to_string(&SessionMessage::Remember(remember)).unwrap(), literal);
    let prove = SessionMessage::Prove(Prove(with_keys(&[0])));
    let literal = format!(r#"{{"prove":{{"keys":["{hash}"],"bearer":null}}}}"#);
    assert_eq!(serde_json::to_string(&prove).unwrap(), literal);
    let add = SessionMessage::AddKey(AddKey(record(0)));
    let literal = format!(
        r#"{{"add_key":{{"hash":"{hash}","label":"laptop","created_at":"2026","last_use":null}}}}"#
    );
    assert_eq!(serde_json::to_string(&add).unwrap(), literal);

    let bind = SessionMessage::Bind(Bind { request_id: "q1".to_owned(), bearer: key(0) });
    let literal = format!(r#"{{"bind":{{"request_id":"q1","bearer":"{hash}"}}}}"#);
    assert_eq!(serde_json::to_string(&bind).unwrap(), literal);
    let describe = SessionMessage::Describe(Describe {});
    assert_eq!(serde_json::to_string(&describe).unwrap(), r#"{"describe":{}}"#);
    for (repair, literal) in [
        (Repair::ResetWindow, r#"{"repair":"reset_window"}"#),
        (Repair::Unbind, r#"{"repair":"unbind"}"#),
        (Repair::Block { reason: None }, r#"{"repair":{"block":{"reason":null}}}"#),
        (Repair::Unblock, r#"{"repair":"unblock"}"#),
        (Repair::Assign { upstream: None }, r#"{"repair":{"assign":{"upstream":null}}}"#),
        (
            Repair::RevokeKey { key_id: "1".to_owned() },
            r#"{"repair":{"revoke_key":{"key_id":"1"}}}"#,
        ),
    ] {
        assert_eq!(serde_json::to_string(&SessionMessage::Repair(repair)).unwrap(), literal);
    }

    let standing =
        Standing { limit: 3, remaining: 0, empty_in_ms: 9, next_free_ms: 8, month: None };
    let admitted = Admission::Admitted(Permit {
        standing,
        session_key: None,
        binds: false,
        token: None,
        upstream: DEFAULT.to_owned(),
        tier: None,
    });
    let literal = r#"{"admitted":{"standing":{"limit":3,"remaining":0,"empty_in_ms":9,"next_free_ms":8},"session_key":null,"binds":false,"token":null,"upstream":"default","tier":null}}"#;
    assert_eq!(serde_json::to_string(&admitted).unwrap(), literal);
    let reason = Reason::RateLimited { retry_after_ms: 8 };
    let refused = Admission::Refused(Refusal {
        reason,
        standing: Some(standing),
        buyer: None,
        is_uncounted: false,
    });
    let literal = r#"{"refused":{"reason":{"rate_limited":{"retry_after_ms":8}},"standing":{"limit":3,"remaining":0,"empty_in_ms":9,"next_free_ms":8}}}"#;
    assert_eq!(serde_json::to_string(&refused).unwrap(), literal);
}

/// What can happen to an object.
#[derive(Clone, Debug)]
enum Event {
    Admit,
    Settle(usize),
    Renew(usize),
    Restart,
    Reset,
    Wake,
    Flush { arrives: bool, acknowledged: bool },
}

fn event() -> impl Strategy<Value = (Millis, Event)> {
    let flush = (any::<bool>(), any::<bool>())
        .prop_map(|(arrives, acknowledged)| Event::Flush { arrives, acknowledged });
    let event = prop_oneof![
        6 => Just(Event::Admit),
        4 => (0_usize..8).prop_map(Event::Settle),
        1 => (0_usize..8).prop_map(Event::Renew),
        1 => Just(Event::Restart),
        1 => Just(Event::Reset),
        2 => Just(Event::Wake),
        3 => flush,
    ];
    (prop_oneof![8 => 0_i64..3_000, 1 => 0_i64..LEASE, 1 => -5_000_i64..0], event)
}

proptest! {
    /// Whatever happens and wherever the object dies: never over the limits, and in the end D1 has
    /// exactly one row for each request that was answered or admitted.
    #[test]
    fn the_ledger_holds(events in prop::collection::vec(event(), 1..300)) {
        let limits = limits(12, 5);
        let (mut disk, mut now) = (Disk::default(), 1_000_000);
        let mut session = disk.restart(now);
        let (mut open, mut answered): (Vec<String>, usize) = (Vec::new(), 0);
        let mut d1: (i64, Vec<Entry>) = (0, Vec::new());
        let mut gathered = Vec::new();
        for (step, event) in events {
            now += step;
            disk.apply(session.observe(now));
            let changes = match event {
                Event::Admit => {
                    let request_id = format!("r{answered}");
                    answered += 1;
                    let (admission, changes) = session.admit(admit(&request_id), limits, now);
                    gathered.extend(uncounted(&admission, &request_id));
                    if reason(&admission).is_none() {
                        open.push(request_id);
                        prop_assert!(session.window.used(limits.rate, now) <= 12, "over the limit");
                    }
                    changes
                }
                Event::Settle(which) if which < open.len() => {
                    session.settle(settle(&open.remove(which)), now).1
                }
                Event::Renew(which) if which < open.len() => session.renew(&open[which], now).1,
                Event::Settle(_) | Event::Renew(_) => Vec::new(),
                Event::Restart => {
                    session = disk.restart(now);
                    Vec::new()
                }
                Event::Reset => session.repair(&Repair::ResetWindow, now).1,
                Event::Wake => {
                    let mut changes = session.expire(now);
                    for row in refusals::fold(std::mem::take(&mut gathered)) {
                        changes.extend(session.count_refusals(row, nothing_old(), now).1);
                    }
                    changes
                }
                Event::Flush { arrives, acknowledged } => {
                    let rows = disk.pending(session.journal().flushed());
                    match rows.last() {
                        None => Vec::new(),
                        Some((last, _)) => {
                            if arrives {
                                let cursor = d1.0;
                                let new = rows.iter().filter(|(position, _)| *position > cursor);
                                d1.1.extend(new.map(|(_, entry)| entry.clone()));
                                d1.0 = cursor.max(*last);
                            }
                            if arrives && acknowledged {
                                session.flush_succeeded(*last, 0, now).1
                            } else {
                                session.flush_failed(now).1
                            }
                        }
                    }
                }
            };
            disk.apply(changes);
            prop_assert!(session.leases.len() <= limits.in_flight);
        }
        now += 10 * LEASE;
        disk.apply(session.expire(now));
        for row in refusals::fold(gathered) {
            disk.apply(session.count_refusals(row, nothing_old(), now).1);
        }
        let rows = disk.pending(d1.0);
        d1.1.extend(rows.into_iter().map(|(_, entry)| entry));
        let logged: u32 = d1.1.iter().map(|entry| entry.count).sum();
        prop_assert_eq!(logged as usize, answered);
        let mut ids: Vec<_> = d1.1.iter().map(|entry| &entry.request_id).collect();
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), d1.1.len(), "a row was doubled");
        prop_assert!(session.next_wake().is_none_or(|wake| wake <= now + LEASE));
    }
}
