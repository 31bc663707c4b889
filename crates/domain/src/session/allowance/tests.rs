use proptest::prelude::*;

use super::*;
use crate::entry::Outcome;
use crate::fingerprint::Fingerprint;
use crate::session::messages::{
    Admission, Admit, Reason, RemoveProject, Repair, SessionMessage, Settle, TellMonth,
};
use crate::session::tests::{Disk, FREE, ONE, admit, answer_of, limits, node, reason, with_bearer};
use crate::session::view::Rows;
use crate::session::{LEASE, Limits, Proof, Session, Stored};
use crate::settings::UserBinding;
use crate::tier::{Purchases, Standing, Subscription, Tier, TierRecord, TierRules};
use crate::upstreams::{DEFAULT, Upstream};

const DAY: Millis = 86_400_000;

fn session() -> Session {
    Session::restore(Stored::default(), 0).0
}

fn given(tier: Option<Tier>) -> SetTier {
    SetTier { tier }
}

fn required() -> TierRules {
    TierRules { is_required: true, ..FREE.clone() }
}

#[test]
fn who_needs_a_tier_and_has_none_is_told_so_from_the_next_request_on() {
    let (mut session, rules) = (session(), required());
    let limits = Limits { rules: &rules, ..limits(9, 9) };
    let (refused, changes) = session.admit(admit("a"), limits, 0);
    assert_eq!(reason(&refused), Some(Reason::PaymentRequired));
    assert!(changes.is_empty(), "a name that somebody made up leaves nothing behind");
    assert!(session.bind(Fingerprint::of("sk-1")).0);
    let asks = |session: &mut Session, id: &str| {
        let message = Admit { shown: with_bearer("sk-1"), ..admit(id) };
        let (admission, changes) = session.admit(message, limits, 0);
        (reason(&admission), changes.len())
    };
    assert_eq!(asks(&mut session, "b"), (Some(Reason::PaymentRequired), 1));
    session.set_tier(&given(Some(Tier::Tier1)), 0);
    assert_eq!(asks(&mut session, "c").0, None);
    session.set_tier(&given(None), 0);
    assert_eq!(asks(&mut session, "d").0, Some(Reason::PaymentRequired));
    session.repair(&Repair::Block { reason: None }, 0);
    assert_eq!(asks(&mut session, "e").0, Some(Reason::Blocked), "paying would not help");
}

#[test]
fn who_could_buy_is_known_by_what_it_shows_and_met_a_limit_of_tiers() {
    let rules = TierRules {
        is_required: true,
        prices: [("price_1".to_owned(), Tier::Tier1)].into(),
        ..FREE.clone()
    };
    let terms = Limits { rules: &rules, ..limits(9, 9) };
    let buyer = |session: &mut Session, limits| match session
        .admit(Admit { shown: with_bearer("sk-1"), ..admit("a") }, limits, 9)
        .0
    {
        Admission::Refused(refusal) => refusal.buyer,
        admission => panic!("{admission:?}"),
    };
    let mut session = session();
    assert_eq!(buyer(&mut session, terms), None, "it would pay, and not be let in");
    assert!(session.bind(Fingerprint::of("sk-1")).0);
    assert_eq!(buyer(&mut session, terms), Some(Buyer::New));
    let late = Subscription {
        id: "sub_1".to_owned(),
        standing: Standing::PastDue { since: 0 },
        items: vec!["price_1".to_owned()],
        named: None,
        checkout: None,
        since: 0,
        cancel_at: None,
    };
    let purchases = Purchases { revision: 1, subscriptions: vec![late] };
    session.entitle(Entitle { customer: "cus_1".to_owned(), purchases });
    assert_eq!(buyer(&mut session, terms), Some(Buyer::Subscribed), "its grace is over");
    let full = limits(1, 9);
    session.admit(Admit { shown: with_bearer("sk-1"), ..admit("b") }, full, 9);
    assert_eq!(buyer(&mut session, full), None, "no tier makes a minute longer");
}

#[test]
fn a_tier_lifts_what_it_has_more_of() {
    let lifted = |reason: Reason| Tier::ALL.map(|tier| reason.is_lifted_by(tier));
    let month = Reason::MonthlyQuotaExceeded { used: 10_000, limit: 10_000, resets: Month::of(0) };
    let projects = Reason::ProjectLimitExceeded { projects: vec!["a".to_owned(); 3] };
    assert_eq!(lifted(Reason::PaymentRequired), [true, true, true]);
    assert_eq!(lifted(month), [false, true, true]);
    assert_eq!(lifted(projects), [false, false, true]);
    assert_eq!(lifted(Reason::RateLimited { retry_after_ms: 1 }), [false; 3]);
}

#[test]
fn a_tier_is_for_who_has_proven_under_any_binding() {
    let mut session = session();
    session.set_tier(&given(Some(Tier::Tier1)), 0);
    let nobody = session.clone();
    let mut bound = nobody.clone();
    assert!(bound.bind(Fingerprint::of("sk-1")).0, "which came first, before the tier");
    for binding in [UserBinding::Open, UserBinding::FirstKey] {
        let limits = Limits { binding, ..limits(9, 9) };
        let prove = |session: &Session, bearer| session.prove(&with_bearer(bearer), limits, 0);
        assert_eq!(prove(&nobody, "sk-1"), Proof::Refused(Reason::MissingKey));
        assert_eq!(prove(&bound, "sk-1"), Proof::Proven, "the same bearer goes on working");
        assert_eq!(prove(&bound, "sk-2"), Proof::Refused(Reason::UserIdBound));
    }
}

#[test]
fn a_tier_ends_by_itself() {
    let rules = TierRules { is_required: true, grace: DAY, ..FREE.clone() };
    let limits = Limits { rules: &rules, ..limits(9, 9) };
    let mut session = session();
    assert!(session.bind(Fingerprint::of("sk-1")).0);
    let subscription = Subscription {
        id: "sub_1".to_owned(),
        standing: Standing::PastDue { since: 5 },
        items: Vec::new(),
        named: Some(Tier::Tier2),
        checkout: None,
        since: 1,
        cancel_at: None,
    };
    let purchases = Purchases { revision: 1, subscriptions: vec![subscription] };
    let message = Entitle { customer: "cus_1".to_owned(), purchases };
    assert!(session.entitle(message.clone()).0);
    assert_eq!(session.entitle(message), (false, Vec::new()), "it is known");
    let mut asks = |id: &str, now| {
        let message = Admit { shown: with_bearer("sk-1"), ..admit(id) };
        reason(&session.admit(message, limits, now).0)
    };
    assert_eq!(asks("a", DAY + 4), None);
    assert_eq!(asks("b", DAY + 5), Some(Reason::PaymentRequired));
}

/// The first moment of December 2026.
const TURN: Millis = 1_796_083_200_000;
/// Far more than anybody here needs.
const PLENTY: Limits<'_> = limits(1_000_000, 1_000_000);

/// A storage of a user of the first tier who has used so many in November, before `now`.
fn used(requests: u64) -> Disk {
    let mut disk = Disk::default();
    let used = Usage { month: Month::of(TURN - 1), requests, tokens: 0 };
    let used = serde_json::to_value([used]).unwrap();
    disk.stored.flushed.months = serde_json::from_value(used).unwrap();
    disk.stored.tier.grant(Some(Tier::Tier1), 0);
    let of_a_tier = serde_json::json!({ "month": "2026-11", "requests": 0, "since": null });
    disk.stored.tier.free_use = serde_json::from_value(of_a_tier).unwrap();
    disk.stored.access.bind(Fingerprint::of("sk-1"));
    disk
}

fn by_its_user(id: &str) -> Admit {
    Admit { shown: with_bearer("sk-1"), ..admit(id) }
}

fn settled(id: &str, status: u16) -> Settle {
    Settle { request_id: id.to_owned(), outcome: Outcome::answered(status, 0) }
}

fn left(admission: &Admission) -> Option<u32> {
    let standing = match admission {
        Admission::Admitted(permit) => Some(permit.standing),
        Admission::Refused(refusal) => refusal.standing,
        Admission::Unproven => None,
    };
    standing?.month.map(|month| month.remaining)
}

#[test]
fn the_last_request_of_a_month_is_admitted_and_the_next_is_not() {
    let mut disk = used(9_998);
    let mut session = disk.restart(TURN - 9);
    let (first, changes) = session.admit(by_its_user("a"), PLENTY, TURN - 9);
    disk.apply(changes);
    assert_eq!((reason(&first), left(&first)), (None, Some(1)));
    let (last, changes) = session.admit(by_its_user("b"), PLENTY, TURN - 8);
    disk.apply(changes);
    assert_eq!((reason(&last), left(&last)), (None, Some(0)));
    let resets = Month::of(TURN);
    let over = Reason::MonthlyQuotaExceeded { used: 10_000, limit: 10_000, resets };
    for mut session in [disk.restart(TURN - 7), session.clone()] {
        let (refused, _) = session.admit(by_its_user("c"), PLENTY, TURN - 7);
        assert_eq!((reason(&refused), left(&refused)), (Some(over.clone()), Some(0)));
        // What the upstream failed is given back to the month of its admission, also after its end.
        session.observe(TURN + 1);
        session.settle(settled("b", 504), TURN + 1);
        let (next, _) = session.admit(by_its_user("d"), PLENTY, TURN + 1);
        assert_eq!((reason(&next), left(&next)), (None, Some(9_999)), "a new month");
        session.settle(settled("d", 200), TURN + 2);
        // The clock steps back over the month's end: one is left there, and no more.
        session.observe(TURN - 5);
        let (again, _) = session.admit(by_its_user("e"), PLENTY, TURN - 5);
        assert_eq!((reason(&again), left(&again)), (None, Some(0)));
        let refused = session.admit(by_its_user("f"), PLENTY, TURN - 4).0;
        assert_eq!(reason(&refused), Some(over.clone()));
    }
}

#[test]
fn a_request_whose_worker_died_counts() {
    let mut disk = used(9_999);
    let mut session = disk.restart(TURN - DAY);
    disk.apply(session.admit(by_its_user("a"), PLENTY, TURN - DAY).1);
    let later = TURN - DAY + LEASE;
    let mut session = disk.restart(later);
    disk.apply(session.expire(later));
    for mut session in [disk.restart(later), session] {
        let refused = session.admit(by_its_user("b"), PLENTY, later).0;
        assert!(matches!(reason(&refused), Some(Reason::MonthlyQuotaExceeded { .. })));
    }
}

#[test]
fn what_was_used_without_a_tier_counts_against_none() {
    let mut disk = used(12_000);
    disk.stored.tier = TierRecord::default();
    let mut session = disk.restart(TURN - 99);
    disk.apply(session.admit(by_its_user("a"), PLENTY, TURN - 99).1);
    disk.apply(session.set_tier(&given(Some(Tier::Tier1)), TURN - 98).1);
    assert_eq!(session.month_left(PLENTY, TURN - 98).map(|left| left.remaining), Some(9_999));
    // The one that runs counts, until it is given back.
    let (first, changes) = session.admit(by_its_user("b"), PLENTY, TURN - 97);
    disk.apply(changes);
    assert_eq!((reason(&first), left(&first)), (None, Some(9_998)));
    disk.apply(session.settle(settled("a", 504), TURN - 96).1);
    for mut session in [disk.restart(TURN - 95), session] {
        let (next, _) = session.admit(by_its_user("c"), PLENTY, TURN - 95);
        assert_eq!(left(&next), Some(9_998));
        // All of it is in the sums.
        let view = session.describe(PLENTY, Rows::default(), TURN - 94);
        assert_eq!((view.month.requests, view.month.limit), (12_002, Some(22_000)));
        // Without a tier in between nothing is won.
        session.set_tier(&given(None), TURN - 93);
        session.admit(by_its_user("d"), PLENTY, TURN - 92);
        session.set_tier(&given(Some(Tier::Tier1)), TURN - 91);
        let (next, _) = session.admit(by_its_user("e"), PLENTY, TURN - 90);
        assert_eq!(left(&next), Some(9_996), "what ran while there was none counts");
    }
}

#[test]
fn a_tier_begins_with_the_projects_that_are_used_with_it() {
    let mut disk = used(0);
    disk.stored.tier = TierRecord::default();
    let mut session = disk.restart(0);
    for project in ["trial", "other", "third"] {
        disk.apply(session.admit(of_project(project, project), PLENTY, 0).1);
    }
    disk.apply(session.set_tier(&given(Some(Tier::Tier2)), 1).1);
    let mut roomy = disk.restart(1);
    disk.apply(roomy.admit(of_project("e", "third"), PLENTY, 1).1);
    assert_eq!(roomy.projects.list(), ["trial", "other", "third"], "there is room for all");
    session.set_tier(&given(Some(Tier::Tier1)), 1);
    assert_eq!(reason(&session.admit(of_project("f", "third"), PLENTY, 1).0), None);
    assert_eq!(session.projects.list(), ["third"]);
    let refused = session.admit(of_project("g", "trial"), PLENTY, 1).0;
    assert!(matches!(reason(&refused), Some(Reason::ProjectLimitExceeded { .. })));
}

#[test]
fn a_higher_tier_or_none_has_more_left() {
    let mut session = used(10_000).restart(0);
    for (tier, remaining) in [
        (Some(Tier::Tier1), Some(0)),
        (Some(Tier::Tier2), Some(40_000)),
        (Some(Tier::Tier3), None),
        (None, None),
    ] {
        session.set_tier(&given(tier), 0);
        let month = session.month_left(PLENTY, TURN - 1).map(|month| month.remaining);
        assert_eq!(month, remaining, "{tier:?}");
    }
}

/// What can happen to a user near the end of a month and of a quota.
#[derive(Clone, Debug)]
enum Event {
    Admit,
    Settle { which: usize, status: u16 },
    Flush { at_most: usize },
    Restart,
}

fn event() -> impl Strategy<Value = (Millis, Event)> {
    let statuses = prop::sample::select(vec![200, 404, 499, 500, 504]);
    let event = prop_oneof![
        6 => Just(Event::Admit),
        4 => (0_usize..9, statuses).prop_map(|(which, status)| Event::Settle { which, status }),
        2 => (1_usize..9).prop_map(|at_most| Event::Flush { at_most }),
        1 => Just(Event::Restart),
    ];
    // The month turns in the middle of it, the clock steps back over its end, and leases end.
    (prop_oneof![6 => 0_i64..9_000, 1 => 0..LEASE, 1 => -90_000_i64..0], event)
}

proptest! {
    /// Whatever happens and wherever the object dies: a request is refused if, and only if, its month
    /// has its ten thousand, counted from the rows that there were.
    #[test]
    fn the_quota_is_exact(events in prop::collection::vec(event(), 1..120)) {
        let (mut disk, mut now) = (used(9_990), TURN - 300_000);
        let mut session = disk.restart(now);
        let mut log: Vec<(Month, String, Option<u16>)> = Vec::new();
        for (number, (step, event)) in events.into_iter().enumerate() {
            now += step;
            disk.apply(session.observe(now));
            disk.apply(session.expire(now));
            let changes = match event {
                Event::Admit => {
                    let (month, id) = (Month::of(now), format!("r{number}"));
                    let before = if month == Month::of(TURN - 1) { 9_990 } else { 0 };
                    let counts = |status: &Option<u16>| status.is_none_or(|status| status < 500);
                    let of_month = log.iter().filter(|(of, _, status)| *of == month && counts(status));
                    let used = before + of_month.count();
                    let (admission, changes) = session.admit(by_its_user(&id), PLENTY, now);
                    prop_assert_eq!(reason(&admission).is_none(), used < 10_000, "{} used", used);
                    if used < 10_000 {
                        log.push((month, id, None));
                    }
                    changes
                }
                Event::Settle { which, status } => {
                    let mut open = log.iter_mut().filter(|(_, _, status)| status.is_none());
                    let Some((_, id, ended)) = open.nth(which) else { continue };
                    let (was_open, changes) = session.settle(settled(id, status), now);
                    // One of which nothing was heard for too long has ended before, and counts.
                    *ended = Some(if was_open { status } else { 0 });
                    changes
                }
                Event::Flush { at_most } => {
                    let rows = disk.pending(session.journal().flushed());
                    let Some((position, _)) = rows.iter().take(at_most).next_back() else { continue };
                    disk.apply(session.sending(*position).1);
                    session.flush_succeeded(*position, 0, now).1
                }
                Event::Restart => {
                    session = disk.restart(now);
                    Vec::new()
                }
            };
            disk.apply(changes);
        }
    }
}

fn of_project(id: &str, project: &str) -> Admit {
    let mut message = by_its_user(id);
    project.clone_into(&mut message.entry.project);
    message
}

#[test]
fn a_project_is_taken_by_an_admitted_request_alone() {
    let (mut disk, full) = (used(9_999), limits(1, 9));
    let mut session = disk.restart(0);
    disk.apply(session.admit(of_project("a", "first"), full, 0).1);
    let (refused, changes) = session.admit(of_project("b", "second"), full, 0);
    disk.apply(changes);
    let projects = vec!["first".to_owned()];
    assert_eq!(reason(&refused), Some(Reason::ProjectLimitExceeded { projects }));
    session.set_tier(&given(Some(Tier::Tier2)), 0);
    let refused = session.admit(of_project("c", "second"), full, 0).0;
    assert!(matches!(reason(&refused), Some(Reason::RateLimited { .. })));
    for mut session in [disk.restart(0), session] {
        assert_eq!(session.projects.list(), ["first"], "what was refused has taken nothing");
        assert!(session.remove_project("first").0 && !session.remove_project("first").0);
        let (admission, changes) = session.admit(of_project("d", "third"), PLENTY, 0);
        assert_eq!((reason(&admission), changes.len()), (None, 2));
        let (admission, changes) = session.admit(of_project("e", "third"), PLENTY, 0);
        assert_eq!((reason(&admission), changes.len()), (None, 1), "known ones cost nothing");
    }
}

#[test]
fn after_a_smaller_tier_the_first_projects_go_on() {
    let mut session = used(0).restart(0);
    for (tier, refused) in
        [(Tier::Tier3, vec![]), (Tier::Tier2, vec!["p3"]), (Tier::Tier1, vec!["p1", "p2", "p3"])]
    {
        session.set_tier(&given(Some(tier)), 0);
        for project in ["p0", "p1", "p2", "p3"] {
            let id = format!("{project} of {tier:?}");
            let admission = session.admit(of_project(&id, project), PLENTY, 0).0;
            assert_eq!(reason(&admission).is_some(), refused.contains(&project), "{id}");
        }
    }
}

#[test]
fn the_wire_format_is_pinned() {
    let projects = vec!["default".to_owned()];
    let reason = Reason::ProjectLimitExceeded { projects };
    let literal = r#"{"project_limit_exceeded":{"projects":["default"]}}"#;
    assert_eq!(serde_json::to_string(&reason).unwrap(), literal);
    let tell = SessionMessage::TellMonth(TellMonth { month: Month::of(TURN) });
    assert_eq!(serde_json::to_string(&tell).unwrap(), r#"{"tell_month":{"month":"2026-12"}}"#);
    let remove = SessionMessage::RemoveProject(RemoveProject("default".to_owned()));
    assert_eq!(serde_json::to_string(&remove).unwrap(), r#"{"remove_project":"default"}"#);
    let left = MonthStanding { limit: 10_000, remaining: 7 };
    let literal = r#"{"limit":10000,"remaining":7}"#;
    assert_eq!(serde_json::to_string(&left).unwrap(), literal);
    let over = Reason::MonthlyQuotaExceeded { used: 7, limit: 7, resets: Month::of(TURN) };
    let literal = r#"{"monthly_quota_exceeded":{"used":7,"limit":7,"resets":"2026-12"}}"#;
    assert_eq!(serde_json::to_string(&over).unwrap(), literal);
    assert_eq!(serde_json::from_str::<Reason>(literal).unwrap(), over);
    let set = |tier| serde_json::to_string(&SessionMessage::SetTier(given(tier))).unwrap();
    assert_eq!(set(None), r#"{"set_tier":{"tier":null}}"#);
    assert_eq!(set(Some(Tier::Tier3)), r#"{"set_tier":{"tier":"tier3"}}"#);
    for wrong in ["{}", r#"{"tier":"gold"}"#, r#"{"tier":null,"until":7}"#, "[]"] {
        assert!(serde_json::from_str::<SetTier>(wrong).is_err(), "{wrong}");
    }
}

fn assign(upstream: Option<&str>) -> Repair {
    Repair::Assign { upstream: upstream.map(str::to_owned) }
}

#[test]
fn a_permit_names_the_upstream_that_is_the_users_now() {
    let upstreams =
        [node(DEFAULT, Vec::new()), node("studio", vec![Tier::Tier3]), node("attic", Vec::new())];
    let limits = Limits { upstreams: &upstreams, ..limits(9, 9) };
    let (mut session, mut disk) = (Session::restore(Stored::default(), 0).0, Disk::default());
    let goes_to = |session: &mut Session, id: &str| {
        // Nobody but the user has a tier's upstream.
        let message = Admit { shown: with_bearer("sk-1"), ..admit(id) };
        match session.admit(message, limits, 0).0 {
            Admission::Admitted(permit) => (permit.upstream, permit.tier),
            other => panic!("{other:?}"),
        }
    };
    let name = |name: &str, tier| (name.to_owned(), tier);
    disk.apply(session.bind(Fingerprint::of("sk-1")).1);
    assert_eq!(goes_to(&mut session, "a"), name(DEFAULT, None));
    let tier = Some(Tier::Tier3);
    disk.apply(session.set_tier(&SetTier { tier }, 0).1);
    assert_eq!(goes_to(&mut session, "b"), name("studio", tier));
    let (is_changed, changes) = session.repair(&assign(Some("attic")), 0);
    assert!(is_changed);
    disk.apply(changes);
    assert_eq!(goes_to(&mut session, "c"), name("attic", tier));
    assert_eq!(goes_to(&mut disk.restart(0), "c"), name("attic", tier));
    assert!(session.repair(&assign(None), 0).0);
    assert_eq!(goes_to(&mut session, "d"), name("studio", tier));
}

#[test]
fn who_has_an_upstream_that_is_gone_is_sent_to_no_other() {
    let asks = |session: &mut Session, upstreams: &[Upstream]| {
        let (admission, changes) =
            session.admit(admit("a"), Limits { upstreams, ..limits(9, 9) }, 0);
        (reason(&admission), changes.len())
    };
    let mut session = Session::restore(Stored::default(), 0).0;
    assert!(session.repair(&assign(Some("attic")), 0).0);
    let gone = Reason::NoUpstream { is_own: true };
    assert_eq!(asks(&mut session, ONE), (Some(gone), 1), "a row for the operator");
    assert!(session.repair(&assign(None), 0).0);
    let nothing = Reason::NoUpstream { is_own: false };
    assert_eq!(asks(&mut session, &[]), (Some(nothing), 0), "nor a row for who is nobody");
    assert_eq!(asks(&mut session, ONE).0, None, "nothing was taken");
}

#[test]
fn an_answer_is_continued_at_its_own_upstream_only() {
    let upstreams = [node(DEFAULT, Vec::new()), node("attic", Vec::new())];
    let limits = Limits { upstreams: &upstreams, ..limits(9, 9) };
    let mut session = Session::restore(Stored::default(), 0).0;
    session.admit(admit("r"), limits, 0);
    session.remember(answer_of("attic"), 0);
    let next = |session: &mut Session, id: &str| {
        let message = Admit { previous_response_id: Some("r1".to_owned()), ..admit(id) };
        reason(&session.admit(message, limits, 0).0)
    };
    assert_eq!(next(&mut session, "a"), Some(Reason::PreviousResponseElsewhere));
    session.repair(&assign(Some("attic")), 0);
    assert_eq!(next(&mut session, "b"), None);
}
