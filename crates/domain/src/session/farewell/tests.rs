use proptest::prelude::*;

use super::*;
use crate::claim_code::CodeRecord;
use crate::entry::tests::entry;
use crate::entry::{Entry, Outcome};
use crate::fingerprint::Fingerprint;
use crate::identifiers::UserId;
use crate::roster::Person;
use crate::session::access::{KeyRecord, Shown};
use crate::session::codex::tests::{sign_in, tokens};
use crate::session::messages::{
    Admit, Bind, Describe, Entitle, Prove, Remember, Renew, Repair, SetTier, Settle,
};
use crate::session::onboarding::{Enroll, IssueCode};
use crate::session::tests::{Disk, admit, limits, with_bearer};

/// What no trace may have in it.
const TRACE: &str = "marker";

fn of_the_person(number: u8) -> Entry {
    let text = |what: &str| format!("{TRACE}-{what}-{number}");
    Entry {
        user_id: UserId::parse(TRACE).unwrap(),
        endpoint: text("endpoint"),
        project: text("project"),
        model: Some(text("model")),
        ip_hash: Some(text("ip")),
        key_id: Some(text("key")),
        ..entry(&text("request"))
    }
}

fn person() -> Person {
    let text = |what: &str| format!("{TRACE}-{what}");
    Person { name: text("name"), plain: text("plain"), email: text("email") }
}

fn key(number: u8) -> KeyRecord {
    let (label, created_at) = (format!("{TRACE}-label"), format!("{TRACE}-time"));
    KeyRecord { hash: Fingerprint::of(&number.to_string()), label, created_at, last_use: None }
}

/// Something that a person does, or that is done to one.
fn act(session: &mut Session, what: u8, number: u8, now: Millis) -> Vec<Change> {
    let request_id = format!("{TRACE}-request-{number}");
    let shown = || Shown { keys: vec![Fingerprint::of("1")], bearer: None };
    match what % 12 {
        0 => {
            let admit = Admit { shown: shown(), entry: of_the_person(number), ..admit("") };
            session.admit(Admit { vouched: true, ..admit }, limits(20, 9), now).1
        }
        1 => {
            let outcome = Outcome { tokens_est: 3, ..Outcome::answered(200, 1) };
            session.settle(Settle { request_id, outcome }, now).1
        }
        2 => session.renew(&request_id, now).1,
        3 => {
            let [response_id, session_key, upstream] =
                ["r", "s", "u"].map(|text| format!("{TRACE}-{text}"));
            let answer = Remember { request_id, response_id, session_key, upstream };
            session.remember(answer, now).1
        }
        4 => session.add_key(key(number % 3)).1,
        5 => session.bind_by_request(Bind { request_id, bearer: Fingerprint::of(TRACE) }).1,
        6 => {
            let code = IssueCode { hash: Fingerprint::of("code"), expires_at: 9 };
            session.enroll(Enroll { person: person(), code, reissue: number > 128 }).1
        }
        7 => session.keep_tokens(tokens(&number.to_string(), 90_000)).1,
        8 => session.sign_in_begun(sign_in(&request_id, now)).1,
        9 => session.repair(&Repair::Block { reason: Some(TRACE.to_owned()) }, now).1,
        10 => session.repair(&Repair::Unblock, now).1,
        _ => session.set_tier(&SetTier { tier: Some(Tier::Tier2) }, now).1,
    }
}

fn stored(disk: &Disk) -> String {
    format!("{disk:?}")
}

fn messages() -> Vec<SessionMessage> {
    let request_id = format!("{TRACE}-request-1");
    let outcome = Outcome::answered(200, 1);
    let bearer = Fingerprint::of(TRACE);
    vec![
        SessionMessage::Admit(Admit { entry: of_the_person(1), ..admit("") }),
        SessionMessage::Settle(Settle { request_id: request_id.clone(), outcome }),
        SessionMessage::Renew(Renew { request_id: request_id.clone() }),
        SessionMessage::Bind(Bind { request_id: request_id.clone(), bearer }),
        SessionMessage::Remember(Remember {
            request_id,
            response_id: "r".to_owned(),
            session_key: "s".to_owned(),
            upstream: "default".to_owned(),
        }),
        SessionMessage::Prove(Prove(with_bearer("sk-1"))),
        SessionMessage::SetTier(SetTier { tier: None }),
    ]
}

fn closed() -> Session {
    let mut session = Session::restore(Stored::default(), 0).0;
    session.forget("outbox".to_owned(), 0);
    session
}

#[test]
fn the_closed_say_no_in_the_words_of_each_reply() {
    let is_text = |reply: &str, expected: &str| assert_eq!(reply, expected);
    for message in messages() {
        let reply = reply_of_the_closed(&message).unwrap();
        match message {
            SessionMessage::Admit(_) => {
                let reply: Admission = serde_json::from_str(&reply.unwrap()).unwrap();
                let refusal = Refusal {
                    reason: Reason::Blocked,
                    standing: None,
                    buyer: None,
                    is_uncounted: false,
                };
                assert_eq!(reply, Admission::Refused(refusal));
            }
            SessionMessage::Prove(_) => {
                let reply: Proof = serde_json::from_str(&reply.unwrap()).unwrap();
                assert_eq!(reply, Proof::Refused(Reason::Blocked));
            }
            SessionMessage::Remember(_) => is_text(&reply.unwrap(), "null"),
            SessionMessage::SetTier(_) => assert!(reply.is_err(), "nobody gets a tier"),
            _ => is_text(&reply.unwrap(), "false"),
        }
    }
    assert!(reply_of_the_closed(&SessionMessage::Describe(Describe {})).is_none());
    assert!(reply_of_the_closed(&SessionMessage::Forget(Forget {})).is_none());
}

#[test]
fn what_is_said_later_of_a_request_that_was_forgotten_says_nothing() {
    let mut session = closed();
    for what in [1, 2, 3, 5] {
        assert_eq!(act(&mut session, what, 1, 5), []);
    }
}

#[test]
fn the_operator_sees_that_it_is_closed() {
    let mut session = closed();
    let view = session.describe(limits(9, 9), crate::session::view::Rows::default(), 0);
    assert_eq!((view.blocked, view.blocked_reason.as_deref()), (true, Some(CLOSED)));
    assert!(session.reflect(limits(9, 9), 0).is_none(), "and D1 hears nothing");
    assert_eq!(session.next_wake(), None);
}

#[test]
fn what_is_paid_for_is_said_before_and_after() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let subscription = |id: &str, cancel_at: Option<Millis>| {
        serde_json::json!({ "id": id, "standing": "live", "items": [], "named": "tier2",
            "since": 1, "cancel_at": cancel_at })
    };
    let message: Entitle = serde_json::from_value(serde_json::json!({
        "customer": "cus_1", "purchases": { "revision": 1, "subscriptions": [
            subscription("sub_1", None), subscription("sub_2", Some(9)) ] } }))
    .unwrap();
    session.entitle(message);
    assert_eq!(session.paying(), ["sub_1"], "what was cancelled ends by itself");
    let (farewell, _) = session.forget(String::new(), 1);
    assert_eq!((farewell.paying, farewell.customers), (vec!["sub_1".into()], vec!["cus_1".into()]));
    assert!(farewell.held.given_tier.is_none());
    assert!(session.paying().is_empty());
}

#[test]
fn the_stored_format_is_pinned() {
    let mut session = Session::restore(Stored::default(), 0).0;
    let admit = Admit { entry: of_the_person(1), ..admit("") };
    session.admit(admit, limits(9, 9), 0);
    session.access.codes.push(CodeRecord::open(Fingerprint::of("code"), 9));
    let (farewell, _) = session.forget("o1".to_owned(), 1);
    let literal = r#"{"outbox":"o1","customers":[],"paying":[],"months":[{"month":"1970-01","requests":1,"tokens":0}],"held":{"on_roster":false,"keys":0,"codes":1,"first_key":false,"codex_tokens":false,"handles":0,"given_tier":null,"projects":1,"in_flight":1,"unsent":0}}"#;
    assert_eq!(serde_json::to_string(&farewell).unwrap(), literal);
    assert_eq!(serde_json::from_str::<Farewell>(literal).unwrap(), farewell);
    let from_before_handles = literal.replace(r#""handles":0,"#, "");
    assert_eq!(serde_json::from_str::<Farewell>(&from_before_handles).unwrap(), farewell);
}

proptest! {
    #[test]
    fn nothing_of_a_person_is_left(
        acts in proptest::collection::vec((any::<u8>(), 0u8..6), 0..40),
        later in proptest::collection::vec((1u8..4, 0u8..6), 0..10),
        dies in any::<bool>(),
    ) {
        let mut disk = Disk::default();
        let mut session = disk.restart(0);
        let mut now = 0;
        for (what, number) in acts {
            now += 700;
            disk.apply(act(&mut session, what, number, now));
        }
        let used = session.tally.all().clone();
        let (farewell, changes) = session.forget("outbox".to_owned(), now);
        prop_assert_eq!(&farewell.months, &used, "amounts are kept");
        disk.apply(changes);
        if dies {
            session = disk.restart(now);
        }
        prop_assert!(session.is_closed());
        // Of its requests more is said, and the clock goes on, to the end of every lease.
        for (what, number) in later {
            now += 50_000;
            disk.apply(act(&mut session, what, number, now));
            disk.apply(session.expire(now));
            disk.apply(session.reflect(limits(9, 9), now).into_iter().collect());
        }
        let again = session.forget("another".to_owned(), now);
        prop_assert_eq!(again, (farewell, Vec::new()), "it is said as often as it is asked");
        let left = format!("{}{session:?}", stored(&disk));
        prop_assert!(!left.contains(TRACE), "{left}");
        prop_assert!(!left.contains(Fingerprint::of(TRACE).id()), "{left}");
        prop_assert!(session.next_wake().is_none() && disk.pending(0).is_empty());
    }
}
