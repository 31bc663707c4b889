use super::*;
use crate::session::Limits;
use crate::session::Stored;
use crate::session::access::Shown;
use crate::session::codex::tests::tokens;
use crate::session::messages::{Repair, SessionMessage};
use crate::session::tests::limits;
use crate::settings::UserBinding;

const DAY: Millis = 24 * 60 * 60 * 1_000;

fn code(secret: &str) -> IssueCode {
    IssueCode { hash: Fingerprint::of(secret), expires_at: DAY }
}

fn key(secret: &str) -> KeyRecord {
    let (label, created_at) = ("claimed".to_owned(), "2026".to_owned());
    KeyRecord { hash: Fingerprint::of(secret), label, created_at, last_use: None }
}

fn claim(code: &str, new_key: &str) -> Claim {
    Claim { code: Fingerprint::of(code), key: key(new_key), network: "n1".to_owned() }
}

fn enroll(name: &str, email: &str, new_code: &str) -> Enroll {
    let (plain, name, email) = (name.to_lowercase(), name.to_owned(), email.to_owned());
    let person = Person { name, plain, email };
    Enroll { person, code: code(new_code), reissue: false }
}

/// A session, and what its changes would leave on the disk.
#[derive(Clone, Default)]
struct User {
    session: Option<Session>,
    stored: Stored,
}

impl User {
    /// One turn; whether it wrote anything.
    fn turn<R>(&mut self, decide: impl FnOnce(&mut Session) -> (R, Vec<Change>)) -> (R, bool) {
        let stored = self.stored.clone();
        let session = self.session.get_or_insert_with(|| Session::restore(stored, 0).0);
        let (reply, changes) = decide(session);
        let is_written = !changes.is_empty();
        for change in changes {
            match change {
                Change::Access(access) => self.stored.access = *access,
                Change::Codex(codex) => self.stored.codex = *codex,
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(session.access, self.stored.access, "memory ran ahead of the disk");
        (reply, is_written)
    }

    fn claim(&mut self, code: &str, new_key: &str) -> Claimed {
        self.turn(|session| session.claim(claim(code, new_key), 0)).0
    }

    fn enroll(&mut self, message: Enroll) -> Enrolled {
        self.turn(|session| session.enroll(message)).0
    }

    fn kill(&mut self) {
        self.session = None;
    }

    fn is_proven_by(&mut self, key: &str) -> bool {
        let shown = Shown { keys: vec![Fingerprint::of(key)], bearer: None };
        let limits = Limits { binding: UserBinding::Key, ..limits(9, 9) };
        let prove = |session: &mut Session| (session.prove(&shown, limits, 0), Vec::new());
        self.turn(prove).0 == crate::session::access::Proof::Proven
    }
}

#[test]
fn a_code_buys_one_key_and_the_purchase_survives() {
    let mut user = User::default();
    assert!(user.turn(|session| session.issue_code(code("c1"))).1);
    assert_eq!(user.claim("c2", "k0"), Claimed::Invalid);
    assert_eq!(user.claim("c1", "k1"), Claimed::Redeemed);
    user.kill();
    assert_eq!(user.claim("c1", "k2"), Claimed::Used);
    assert!(user.is_proven_by("k1") && !user.is_proven_by("k2") && !user.is_proven_by("k0"));
}

#[test]
fn a_code_ends_a_binding_and_prevents_a_new_one() {
    let mut user = User::default();
    assert!(user.turn(|session| session.bind(Fingerprint::of("sk-eve"))).0);
    user.turn(|session| session.issue_code(code("c1")));
    assert!(user.stored.access.bound.is_some(), "not before the code is used");
    assert_eq!(user.claim("c1", "k1"), Claimed::Redeemed);
    assert_eq!(user.stored.access.bound, None);
    assert!(!user.turn(|session| session.bind(Fingerprint::of("sk-eve"))).0);
}

#[test]
fn nobody_takes_over_the_tokens_of_who_came_first() {
    let unbind = |user: &mut User| user.turn(|session| session.repair(&Repair::Unbind, 0)).0;
    let claim = |user: &mut User| user.claim("c1", "k1") == Claimed::Redeemed;
    for give_away in [&unbind as &dyn Fn(&mut User) -> bool, &claim] {
        for has_key in [false, true] {
            let mut user = User::default();
            user.turn(|session| session.bind(Fingerprint::of("sk-1")));
            user.turn(|session| session.keep_tokens(tokens("ada", 9)));
            if has_key {
                // The operator knew the person before.
                user.turn(|session| session.add_key(key("k0")));
            }
            user.turn(|session| session.issue_code(code("c1")));
            assert!(give_away(&mut user));
            assert_eq!(user.stored.access.bound, None);
            assert_eq!(user.stored.codex.has_tokens(), has_key);
        }
    }
}

#[test]
fn a_blocked_users_tokens_are_not_kept() {
    let mut user = User::default();
    user.turn(|session| session.repair(&Repair::Block { reason: None }, 0));
    assert_eq!(user.turn(|session| session.keep_tokens(tokens("ada", 9))), (false, false));
}

#[test]
fn what_can_t_be_redeemed_now_stays_good() {
    let mut user = User::default();
    user.turn(|session| session.add_key(key("k1")));
    user.turn(|session| session.issue_code(code("c1")));
    user.turn(|session| session.repair(&Repair::Block { reason: None }, 0));
    let (claimed, is_written) = user.turn(|session| session.claim(claim("c1", "k2"), 0));
    assert_eq!((claimed, is_written), (Claimed::Blocked, false));
    assert_eq!(user.claim("c2", "k2"), Claimed::Invalid, "who guesses doesn't hear of the block");
    user.turn(|session| session.repair(&Repair::Unblock, 0));
    assert_eq!(user.claim("c1", "k1"), Claimed::KeyTaken);
    assert_eq!(user.claim("c1", "k2"), Claimed::Redeemed);
}

#[test]
fn guesses_are_written_until_the_code_is_dead() {
    let mut user = User::default();
    let guess = |user: &mut User, network: &str| {
        let guess = Claim { network: network.to_owned(), ..claim("c0", "k0") };
        user.turn(|session| session.claim(guess, 0))
    };
    let invalid = |is_written| (Claimed::Invalid, is_written);
    assert_eq!(guess(&mut user, "n0"), invalid(false), "of nobody");
    user.turn(|session| session.issue_code(code("c1")));
    for network in 1..=9 {
        for _ in 0..5 {
            assert_eq!(guess(&mut user, &format!("n{network}")), invalid(true));
        }
        assert_eq!(guess(&mut user, &format!("n{network}")), invalid(false), "a flood");
    }
    assert_eq!(user.clone().claim("c1", "k1"), Claimed::Redeemed);
    user.kill();
    for _ in 0..5 {
        assert_eq!(guess(&mut user, "n10"), invalid(true));
    }
    assert_eq!(guess(&mut user, "n11"), invalid(false), "it is dead");
    assert_eq!(user.claim("c1", "k1"), Claimed::Expired);
}

#[test]
fn a_place_on_the_roster_is_one_persons() {
    let seated = |has_code| Enrolled::Seated { has_code };
    let mut user = User::default();
    assert_eq!(user.enroll(enroll("Ada Lovelace", "", "c1")), seated(true));
    // The reply was lost, and the message comes again.
    assert_eq!(user.enroll(enroll("Ada Lovelace", "", "c1")), seated(true));
    assert_eq!(user.stored.access.codes.len(), 1);
    assert_eq!(user.enroll(enroll("ADA Lovelace", "Ada@x", "c2")), seated(false));
    assert_eq!(user.enroll(enroll("Ada Lovelace", "", "c2")), seated(false));
    let place = user.stored.access.place.clone().unwrap();
    assert_eq!((place.name.as_str(), place.email.as_str()), ("Ada Lovelace", "Ada@x"));
    let (reply, is_written) =
        user.turn(|session| session.enroll(enroll("Ada Lovelace", "b@x", "c2")));
    assert_eq!((reply, is_written), (Enrolled::Taken, false));
    assert_eq!(user.enroll(enroll("Ada", "ada@x", "c2")), Enrolled::Taken);
    assert_eq!(user.claim("c2", "k1"), Claimed::Invalid);

    let again = Enroll { reissue: true, ..enroll("Ada Lovelace", "ada@x", "c3") };
    assert_eq!(user.enroll(again), seated(true));
    assert_eq!(user.claim("c1", "k1"), Claimed::Expired, "another is in its place");
    assert_eq!(user.claim("c3", "k1"), Claimed::Redeemed);
    assert!(user.stored.access.reserved);
}

#[test]
fn the_wire_format_is_pinned() {
    let hash = Fingerprint::of("sk-1");
    let new_code = IssueCode { hash: hash.clone(), expires_at: 9 };
    let (name, plain, email) = ("Ada".to_owned(), "ada".to_owned(), "a@x".to_owned());
    let person = Person { name, plain, email };
    let new_key = KeyRecord { hash: hash.clone(), ..key("sk-1") };
    let code = serde_json::json!({ "hash": hash, "expires_at": 9 });
    for (message, literal) in [
        (SessionMessage::IssueCode(new_code.clone()), serde_json::json!({ "issue_code": code })),
        (
            SessionMessage::Claim(Claim {
                code: hash.clone(),
                key: new_key,
                network: "n1".to_owned(),
            }),
            serde_json::json!({ "claim": { "code": hash, "key": { "hash": hash,
                "label": "claimed", "created_at": "2026", "last_use": null }, "network": "n1" } }),
        ),
        (
            SessionMessage::Enroll(Enroll { person, code: new_code, reissue: true }),
            serde_json::json!({ "enroll": { "person": { "name": "Ada", "plain": "ada", "email": "a@x" },
                "code": code, "reissue": true } }),
        ),
    ] {
        assert_eq!(serde_json::to_value(&message).unwrap(), literal);
    }
    let replies = [Claimed::Redeemed, Claimed::KeyTaken];
    assert_eq!(serde_json::to_string(&replies).unwrap(), r#"["redeemed","key_taken"]"#);
    let replies = [Enrolled::Seated { has_code: true }, Enrolled::Taken];
    let literal = r#"[{"seated":{"has_code":true}},"taken"]"#;
    assert_eq!(serde_json::to_string(&replies).unwrap(), literal);
}
