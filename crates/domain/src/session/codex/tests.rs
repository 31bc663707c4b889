use proptest::prelude::*;

use super::*;
use crate::custody::tests::{OLD, ring};
use crate::custody::{Label, Purpose};
use crate::identifiers::UserId;
use crate::secret::Secret;

const HOUR: Millis = 3_600_000;

pub(in crate::session) fn sealed(text: &str) -> Sealed {
    let owner = UserId::parse("ada").unwrap();
    let label = Label { purpose: Purpose::Access, owner: &owner };
    ring(OLD, None).seal(label, &Secret::new(text.to_owned()), [0; 12])
}

pub(in crate::session) fn tokens(name: &str, expires_at: Millis) -> TokenRecord {
    TokenRecord::new(sealed(name), sealed(&format!("refresh-{name}")), expires_at)
}

pub(in crate::session) fn sign_in(id: &str, now: Millis) -> SignIn {
    let polling = Polling {
        device_code: sealed("device"),
        user_code: "ABCD-EFGH".to_owned(),
        interval: 5_000,
        next_poll: now + 5_000,
    };
    SignIn {
        id: id.to_owned(),
        user_id: UserId::parse("ada").unwrap(),
        expires_at: now + 900_000,
        progress: Progress::Pending(polling),
    }
}

fn holding(set: TokenRecord) -> CodexRecord {
    let mut codex = CodexRecord::default();
    codex.keep(set);
    codex
}

fn signing_in() -> CodexRecord {
    let mut codex = CodexRecord::default();
    codex.begin(0).unwrap();
    codex.begun(sign_in("s1", 0));
    codex
}

fn state_of(codex: &CodexRecord, now: Millis) -> SignInState {
    codex.sign_in().unwrap().standing(now).state
}

#[test]
fn the_stored_format_is_pinned() {
    let mut codex = signing_in();
    codex.keep(tokens("a", 7));
    let seal = r#"{"key_id":"72cd6e84","nonce":"AAAAAAAAAAAAAAAA","ciphertext":"#;
    let text = serde_json::to_string(&codex).unwrap();
    let shape = [
        r#"{"version":1,"tokens":{"access":SEAL"A"},"refresh":SEAL"B"},"expires_at":7,"#,
        r#""expired":false,"refreshed_at":null},"sign_in":{"id":"s1","user_id":"ada","#,
        r#""expires_at":900000,"progress":{"pending":{"device_code":SEAL"C"},"#,
        r#""user_code":"ABCD-EFGH","interval":5000,"next_poll":5000}}},"begun_at":0}"#,
    ];
    let mut pinned = shape.concat().replace("SEAL", seal);
    for (mark, text) in [("\"A\"", "a"), ("\"B\"", "refresh-a"), ("\"C\"", "device")] {
        let sealed = serde_json::to_value(sealed(text)).unwrap();
        pinned = pinned.replace(mark, &sealed["ciphertext"].to_string());
    }
    assert_eq!(text, pinned);
    assert_eq!(serde_json::from_str::<CodexRecord>(&pinned).unwrap(), codex);
    let words = [Progress::SignedIn, Progress::Denied, Progress::Expired];
    assert_eq!(serde_json::to_string(&words).unwrap(), r#"["signed_in","denied","expired"]"#);
}

#[test]
fn a_token_is_due_a_minute_before_its_end() {
    let codex = holding(tokens("a", HOUR));
    for (now, is_due, is_over) in [
        (0, false, false),
        (HOUR - 60_001, false, false),
        (HOUR - 60_000, true, false),
        (HOUR - 1, true, false),
        (HOUR, true, true),
    ] {
        let token = AccessToken { sealed: sealed("a"), version: 1, is_due, is_over };
        assert_eq!(codex.access(now), Ok(token.clone()), "{now}");
        let stale = Freshness::Stale(1, tokens("a", HOUR));
        let expected = if is_due { stale } else { Freshness::Fresh(token) };
        assert_eq!(codex.freshness(None, now), Ok(expected), "{now}");
    }
    assert_eq!(CodexRecord::default().access(0), Err(SignedOut::NoSession));
    assert_eq!(CodexRecord::default().freshness(None, 0), Err(SignedOut::NoSession));
}

#[test]
fn a_rejected_token_is_refreshed_once() {
    let mut codex = holding(tokens("a", HOUR));
    let fresh = |codex: &CodexRecord, rejected, now| match codex.freshness(rejected, now) {
        Ok(Freshness::Fresh(token)) => Some(token.version),
        Ok(Freshness::Stale(..)) => None,
        Err(problem) => panic!("{problem:?}"),
    };
    assert_eq!(fresh(&codex, Some(1), 0), None, "rejected, though it isn't due");
    assert!(codex.refreshed(1, tokens("b", 2 * HOUR), 0));
    assert_eq!(fresh(&codex, Some(1), 1), Some(2), "somebody else has refreshed it already");
    assert_eq!(fresh(&codex, Some(2), 59_999), Some(2), "a refresh has just proved useless");
    assert_eq!(fresh(&codex, Some(2), 60_000), None);
}

#[test]
fn a_refresh_isnt_written_over_newer_tokens() {
    let mut codex = holding(tokens("a", HOUR));
    codex.keep(tokens("b", HOUR));
    let before = codex.clone();
    assert!(!codex.refreshed(1, tokens("c", HOUR), 0));
    assert!(!codex.refused(1));
    assert_eq!(codex, before);
    assert!(codex.forget());
    assert!(!codex.refreshed(2, tokens("c", HOUR), 0), "forgotten while it was refreshed");
    assert!(!codex.has_tokens());
    codex.keep(tokens("d", HOUR));
    assert!(!codex.refreshed(2, tokens("c", HOUR), 0), "a version never comes back");
    assert!(codex.refreshed(3, tokens("c", HOUR), 0));
}

#[test]
fn what_the_provider_gave_up_is_expired_until_new_tokens_come() {
    let mut codex = holding(tokens("a", HOUR));
    assert!(codex.refused(1));
    assert_eq!(codex.access(0), Err(SignedOut::SessionExpired));
    assert_eq!(codex.freshness(Some(1), 0), Err(SignedOut::SessionExpired));
    assert!(codex.has_tokens(), "its owner still has to prove who they are");
    assert_eq!(codex.describe(0).state, State::Expired);
    codex.keep(tokens("b", HOUR));
    assert_eq!(codex.access(0).unwrap().version, 2);
}

#[test]
fn tokens_are_sealed_anew_after_a_rotation() {
    let mut codex = holding(tokens("a", HOUR));
    assert_eq!(codex.tokens(), Some(&tokens("a", HOUR)));
    codex.resealed(sealed("x"), sealed("y"));
    let token = codex.access(0).unwrap();
    assert_eq!((token.sealed, token.version), (sealed("x"), 1), "the set is the same");
    assert!(codex.refreshed(1, tokens("b", HOUR), 0), "a refresh under way is not lost");
}

#[test]
fn sign_ins_begin_ten_seconds_apart() {
    let mut codex = CodexRecord::default();
    assert_eq!(codex.begin(1_000), Ok(()));
    assert_eq!(codex.begin(1_001), Err(9_999));
    assert_eq!(codex.begin(10_999), Err(1));
    assert_eq!(codex.begin(11_000), Ok(()));
    assert_eq!(codex.begin(11_000), Err(10_000));
}

#[test]
fn a_sign_in_is_polled_for_at_the_providers_pace() {
    let mut codex = signing_in();
    let due = |codex: &CodexRecord, now| codex.sign_in().unwrap().poll_due(now).is_some();
    let wake = |codex: &CodexRecord| codex.sign_in().unwrap().next_wake();
    assert!(!due(&codex, 4_999));
    assert!(due(&codex, 5_000));
    for (answer, next) in [
        (NotSignedIn::Pending, 10_000),
        (NotSignedIn::SlowDown, 15_000),
        (NotSignedIn::Failed, 25_000),
        (NotSignedIn::Failed, 35_000),
        (NotSignedIn::Failed, 35_000),
        (NotSignedIn::SlowDown, 40_000),
        (NotSignedIn::Failed, 40_000),
    ] {
        assert!(codex.polled("s1", Err(answer), 5_000));
        assert_eq!(wake(&codex), Some(next), "{answer:?}");
    }
    assert!(codex.polled("s1", Err(NotSignedIn::Pending), 899_000));
    assert_eq!(wake(&codex), Some(900_000), "the end comes first");
    assert!(!codex.polled("s0", Ok(tokens("a", HOUR)), 5_000), "that one was given up");
    assert!(!codex.expire(899_999));
    assert_eq!(state_of(&codex, 899_999), SignInState::Pending);
    assert_eq!(state_of(&codex, 900_000), SignInState::Expired);
    assert!(!due(&codex, 900_000));
    assert!(codex.expire(900_000));
    assert_eq!(state_of(&codex, 0), SignInState::Expired);
    assert_eq!(wake(&codex), None);
}

#[test]
fn a_sign_in_ends_once() {
    for (answer, state) in [
        (Ok(tokens("a", HOUR)), SignInState::SignedIn),
        (Err(NotSignedIn::Denied), SignInState::Denied),
        (Err(NotSignedIn::Expired), SignInState::Expired),
    ] {
        let mut codex = signing_in();
        let has_tokens = answer.is_ok();
        assert!(codex.polled("s1", answer, 5_000));
        assert_eq!(state_of(&codex, 5_000), state);
        assert_eq!(codex.access(5_000).is_ok(), has_tokens);
        assert_eq!(codex.sign_in().unwrap().next_wake(), None);
        assert!(!codex.polled("s1", Ok(tokens("b", HOUR)), 6_000));
        assert!(!codex.expire(HOUR));
        let text = serde_json::to_string(codex.sign_in().unwrap()).unwrap();
        assert!(!text.contains("ciphertext"), "the device code is gone: {text}");
    }
}

#[test]
fn a_session_is_described() {
    let described = |codex: &CodexRecord, now| {
        let Description { state, expires_at } = codex.describe(now);
        (serde_json::to_string(&state).unwrap(), expires_at)
    };
    let mut codex = CodexRecord::default();
    assert_eq!(described(&codex, 0), ("\"none\"".to_owned(), None));
    codex.begun(sign_in("s1", 0));
    assert_eq!(described(&codex, 0), ("\"signing_in\"".to_owned(), Some(900_000)));
    assert_eq!(described(&codex, 900_000), ("\"none\"".to_owned(), None));
    codex.keep(tokens("a", HOUR));
    assert_eq!(described(&codex, 0), ("\"ok\"".to_owned(), Some(HOUR)), "they are still good");
    codex.refused(1);
    assert_eq!(described(&codex, 0), ("\"signing_in\"".to_owned(), Some(900_000)));
    assert_eq!(described(&codex, 900_000), ("\"expired\"".to_owned(), Some(HOUR)));
    assert!(codex.forget());
    assert!(!codex.forget());
    assert_eq!(described(&codex, 0), ("\"none\"".to_owned(), None));
}

proptest! {
    /// Whatever the clock did, nothing waits longer than it would have.
    #[test]
    fn times_ahead_of_the_clock_are_held_to_it(ahead in 0..2_000 * HOUR, step in 0..10 * HOUR) {
        let mut codex = holding(tokens("a", ahead + HOUR));
        codex.refreshed(1, tokens("b", ahead + HOUR), ahead);
        codex.begin(ahead).unwrap();
        codex.begun(sign_in("s1", ahead));
        let mut restored = codex.clone();
        prop_assert_eq!(restored.restore(0), ahead > 0);
        prop_assert!(!restored.restore(0));
        prop_assert_eq!(restored.begin(0).unwrap_err(), PAUSE);
        prop_assert_eq!(restored.sign_in().unwrap().next_wake(), Some(5_000));
        prop_assert!(restored.sign_in().unwrap().expires_at <= HOUR);
        let mut moved = codex.clone();
        prop_assert!(moved.move_back(step));
        let now = ahead + 1_000;
        prop_assert_eq!(moved.begin(now - step), codex.begin(now));
        prop_assert_eq!(
            moved.sign_in().unwrap().next_wake().map(|wake| wake + step),
            codex.sign_in().unwrap().next_wake()
        );
        prop_assert_eq!(moved.access(now - step), codex.access(now));
    }
}
