use super::*;
use crate::fingerprint::Fingerprint;
use crate::session::messages::{Reason, Repair, SessionMessage};
use crate::session::tests::{FREE, admit, limits, reason, with_bearer};
use crate::session::{Limits, Proof, Stored};
use crate::settings::UserBinding;
use crate::tier::{Purchases, Standing, Subscription, Tier, TierRules};

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
        let message = super::super::Admit { shown: with_bearer("sk-1"), ..admit(id) };
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
        since: 1,
        cancel_at: None,
    };
    let purchases = Purchases { revision: 1, subscriptions: vec![subscription] };
    let message = Entitle { customer: "cus_1".to_owned(), purchases };
    assert!(session.entitle(message.clone()).0);
    assert_eq!(session.entitle(message), (false, Vec::new()), "it is known");
    let mut asks = |id: &str, now| {
        let message = super::super::Admit { shown: with_bearer("sk-1"), ..admit(id) };
        reason(&session.admit(message, limits, now).0)
    };
    assert_eq!(asks("a", DAY + 4), None);
    assert_eq!(asks("b", DAY + 5), Some(Reason::PaymentRequired));
}

#[test]
fn the_wire_format_is_pinned() {
    let set = |tier| serde_json::to_string(&SessionMessage::SetTier(given(tier))).unwrap();
    assert_eq!(set(None), r#"{"set_tier":{"tier":null}}"#);
    assert_eq!(set(Some(Tier::Tier3)), r#"{"set_tier":{"tier":"tier3"}}"#);
    for wrong in ["{}", r#"{"tier":"gold"}"#, r#"{"tier":null,"until":7}"#, "[]"] {
        assert!(serde_json::from_str::<SetTier>(wrong).is_err(), "{wrong}");
    }
}
