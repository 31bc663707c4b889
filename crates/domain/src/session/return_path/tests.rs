use proptest::prelude::*;

use super::messages::{Draw, Drawn, Funds, Spent};
use super::*;
use crate::session::codex::tests::{sealed, tokens};
use crate::session::messages::{Admit, Reason, Repair, SessionMessage, Settle};
use crate::session::tests::{Disk, admit, limits, reason, with_bearer};
use crate::session::{Change, LEASE, Limits, Session};

const LIMITS: Limits<'_> = limits(1_000, 1_000);
const HOUR: Millis = 3_600_000;

fn handle(secret: &str) -> HandleRecord {
    HandleRecord { hash: Fingerprint::of(secret), since: 7 }
}

fn key(key: &str) -> Funds {
    Funds::Key { hash: Fingerprint::of(key), sealed: sealed(key) }
}

fn run(request_id: &str, funds: Funds) -> Admit {
    Admit { funds: Some(Box::new(funds)), ..admit(request_id) }
}

fn draw(call: &str) -> Draw {
    Draw { handle: Fingerprint::of("handle"), call: call.to_owned() }
}

fn spent(run: &str, call: &str, tokens: u64) -> Spent {
    let (run, call) = (run.to_owned(), call.to_owned());
    Spent { run, call, tokens, source: TokensSource::Reported }
}

fn answered() -> Outcome {
    Outcome { tokens_est: 999, ..Outcome::answered(200, 7) }
}

/// A user with a handle, on a disk; each message is applied, and the object may die after each.
struct Stage {
    disk: Disk,
    session: Session,
    now: Millis,
    dies: bool,
}

impl Stage {
    fn new(dies: bool) -> Self {
        let mut disk = Disk::default();
        let session = disk.restart(0);
        let mut stage = Self { disk, session, now: 0, dies };
        assert!(stage.turn(|session, _| session.keep_handle(Some(handle("handle")))));
        stage
    }

    fn turn<R>(&mut self, decide: impl FnOnce(&mut Session, Millis) -> (R, Vec<Change>)) -> R {
        self.disk.apply(self.session.observe(self.now));
        let (reply, changes) = decide(&mut self.session, self.now);
        self.disk.apply(changes);
        if self.dies {
            self.session = self.disk.restart(self.now);
        }
        reply
    }

    fn begin(&mut self, request_id: &str, funds: Funds) -> Option<Reason> {
        reason(&self.turn(|session, now| session.admit(run(request_id, funds), LIMITS, now)))
    }

    /// A run that the user's token pays for: who has one has to prove it.
    fn begin_as_ada(&mut self, request_id: &str) -> Option<Reason> {
        let shown = with_bearer("sk-ada");
        self.turn(|session, _| session.bind(shown.bearer.clone().unwrap()));
        let run = Admit { shown, ..run(request_id, Funds::Token) };
        reason(&self.turn(|session, now| session.admit(run, LIMITS, now)))
    }

    fn draw(&mut self, call: &str) -> Drawn {
        self.turn(|session, now| session.draw(draw(call), now))
    }

    /// The request whose run a call belongs to, and the key that pays for it.
    fn drawn(&mut self, call: &str) -> Option<(String, Funds)> {
        match self.draw(call) {
            Drawn::Key { run, sealed } => {
                let purse = self.disk.stored.returns.purse.as_ref().unwrap();
                let Funds::Key { hash, .. } = &purse.funds else { panic!() };
                Some((run, Funds::Key { hash: hash.clone(), sealed }))
            }
            Drawn::NoRun => None,
            other => panic!("{other:?}"),
        }
    }

    fn spend(&mut self, spent: &Spent) -> bool {
        self.turn(|session, now| session.spend(spent, now))
    }

    fn end(&mut self, request_id: &str) -> bool {
        let message = Settle { request_id: request_id.to_owned(), outcome: answered() };
        self.turn(|session, now| session.settle(message, now))
    }

    fn wake(&mut self) {
        self.turn(|session, now| ((), session.expire(now)));
    }

    /// How a closed row ended.
    fn row(&self, request_id: &str) -> Option<Outcome> {
        let rows = self.disk.pending(0);
        rows.into_iter().find(|(_, row)| row.request_id == request_id).map(|(_, row)| row.outcome)
    }
}

#[test]
fn a_handle_is_good_while_its_user_has_a_run_and_a_moment_longer() {
    for dies in [false, true] {
        let mut stage = Stage::new(dies);
        assert_eq!(stage.draw("early"), Drawn::NoRun);
        assert_eq!(stage.begin("r", key("sk-ada")), None);
        let wrong = Draw { handle: Fingerprint::of("other"), call: "x".to_owned() };
        let refused = stage.turn(|session, now| session.draw(wrong, now));
        assert_eq!(refused, Drawn::UnknownHandle);
        assert_eq!(stage.drawn("a"), Some(("r".to_owned(), key("sk-ada"))));
        assert!(stage.spend(&spent("r", "a", 5)) && stage.end("r"));
        stage.now += GRACE - 1;
        assert_eq!(stage.drawn("tail"), Some(("r".to_owned(), key("sk-ada"))));
        assert!(!stage.spend(&spent("r", "tail", 5)), "its row is closed");
        stage.now += 1;
        assert_eq!(stage.draw("late"), Drawn::NoRun);
        assert_eq!(stage.disk.stored.returns.purse, None, "the key is forgotten");
        assert_eq!(stage.row("r").unwrap().tokens_est, 5);
    }
}

#[test]
fn a_new_handle_takes_the_place_of_the_old_one() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.begin("r", key("sk-ada")), None);
    assert!(stage.turn(|session, _| session.keep_handle(Some(handle("second")))));
    assert_eq!(stage.draw("a"), Drawn::UnknownHandle);
    assert!(stage.turn(|session, _| session.keep_handle(None)));
    assert!(!stage.turn(|session, _| session.keep_handle(None)), "there is none");
    let second = Draw { handle: Fingerprint::of("second"), call: "a".to_owned() };
    let refused = stage.turn(|session, now| session.draw(second, now));
    assert_eq!(refused, Drawn::UnknownHandle);
}

#[test]
fn two_keys_never_pay_at_the_same_time() {
    let mut stage = Stage::new(true);
    assert_eq!(stage.begin("a", key("sk-1")), None);
    assert_eq!(stage.begin("b", key("sk-2")), Some(Reason::AnotherKeyInUse));
    assert_eq!(stage.begin("c", key("sk-1")), None);
    assert!(stage.end("a") && stage.end("c"));
    stage.now = GRACE - 1;
    assert_eq!(stage.begin("d", key("sk-2")), Some(Reason::AnotherKeyInUse));
    stage.now = GRACE;
    assert_eq!(stage.begin("e", key("sk-2")), None);
    assert_eq!(stage.drawn("x"), Some(("e".to_owned(), key("sk-2"))));
    // What isn't a run needs nothing that pays.
    assert_eq!(reason(&stage.turn(|s, now| s.admit(admit("models"), LIMITS, now))), None);
    // A token is no exception.
    stage.turn(|session, _| session.keep_tokens(tokens("first", HOUR)));
    assert_eq!(stage.begin_as_ada("f"), Some(Reason::AnotherKeyInUse));
}

#[test]
fn a_row_says_what_its_runs_calls_cost() {
    for dies in [false, true] {
        let mut stage = Stage::new(dies);
        stage.begin("r", key("sk-ada"));
        for call in ["a", "b", "c"] {
            assert_eq!(stage.drawn(call).unwrap().0, "r");
        }
        assert!(stage.spend(&spent("r", "a", 100)));
        assert!(!stage.spend(&spent("r", "a", 100)), "said twice, it counts once");
        // The client has its answer before the last calls have said what they cost.
        assert!(stage.end("r") && stage.end("r"));
        assert_eq!(stage.row("r"), None);
        let estimated = Spent { source: TokensSource::Estimated, ..spent("r", "b", 20) };
        assert!(stage.spend(&estimated));
        assert!(stage.spend(&Spent { source: TokensSource::None, ..spent("r", "c", 0) }));
        let tokens_source = TokensSource::Estimated;
        let expected =
            Outcome { tokens_est: 120, tokens_source, provider_requests: Some(3), ..answered() };
        assert_eq!(stage.row("r"), Some(expected));
        assert!(!stage.end("r"), "it is over");
    }
}

#[test]
fn a_call_that_never_says_what_it_cost_is_waited_for_a_moment() {
    let mut stage = Stage::new(true);
    stage.begin("r", key("sk-ada"));
    stage.drawn("a");
    stage.drawn("b");
    assert!(stage.spend(&spent("r", "a", 100)) && stage.end("r"));
    stage.now = GRACE - 1;
    stage.wake();
    assert_eq!(stage.row("r"), None);
    stage.now = GRACE;
    stage.wake();
    let row = stage.row("r").unwrap();
    assert_eq!((row.status, row.tokens_est, row.provider_requests), (200, 100, Some(2)));
}

#[test]
fn a_run_whose_worker_died_says_what_it_had_spent() {
    let mut stage = Stage::new(true);
    stage.begin("r", key("sk-ada"));
    stage.begin("idle", key("sk-ada"));
    assert_eq!(stage.drawn("a").unwrap().0, "r");
    assert!(stage.spend(&spent("r", "a", 100)));
    stage.now = LEASE;
    stage.wake();
    let expected = Outcome {
        tokens_est: 100,
        tokens_source: TokensSource::Reported,
        provider_requests: Some(1),
        ..Outcome::interrupted()
    };
    assert_eq!(stage.row("r"), Some(expected));
    assert_eq!(stage.row("idle"), Some(Outcome::interrupted()));
    stage.now += GRACE;
    stage.wake();
    assert_eq!(stage.disk.stored.returns.purse, None);
}

#[test]
fn a_run_that_called_nobody_says_so() {
    let mut stage = Stage::new(true);
    stage.begin("r", key("sk-ada"));
    assert!(stage.end("r"));
    assert_eq!(stage.row("r"), Some(Outcome { provider_requests: Some(0), ..answered() }));
}

#[test]
fn a_token_pays_as_it_is_when_it_is_needed() {
    let mut stage = Stage::new(false);
    assert_eq!(stage.begin("r", Funds::Token), Some(Reason::NoCodexSession));
    // What isn't a run needs none.
    assert_eq!(reason(&stage.turn(|s, now| s.admit(admit("models"), LIMITS, now))), None);
    stage.turn(|session, _| session.keep_tokens(tokens("first", HOUR)));
    assert_eq!(stage.begin_as_ada("r"), None);
    let Drawn::Token { token, .. } = stage.draw("a") else { panic!() };
    assert_eq!(token.sealed, sealed("first"));
    stage.turn(|session, now| session.refreshed(1, Some(tokens("second", HOUR)), now));
    let Drawn::Token { token, .. } = stage.draw("b") else { panic!() };
    assert_eq!(token.sealed, sealed("second"));
    assert!(stage.session.freshness("r", None, 0).is_ok());
    stage.turn(|session, now| session.refreshed(2, None, now));
    assert_eq!(stage.draw("c"), Drawn::Refused(Reason::CodexSessionExpired));
    assert!(stage.spend(&spent("r", "a", 5)) && stage.spend(&spent("r", "b", 6)));
    assert!(stage.end("r"));
    assert_eq!(stage.row("r").unwrap().provider_requests, Some(2), "two were let through");
}

#[test]
fn who_is_blocked_or_forgotten_spends_nothing_more() {
    let mut stage = Stage::new(false);
    stage.begin("r", key("sk-ada"));
    stage.turn(|session, now| session.repair(&Repair::Block { reason: None }, now));
    assert_eq!(stage.draw("a"), Drawn::Refused(Reason::Blocked));
    stage.turn(|session, now| session.repair(&Repair::Unblock, now));
    assert!(stage.drawn("b").is_some());
    stage.turn(|session, now| session.forget("outbox".to_owned(), now));
    assert_eq!(stage.draw("c"), Drawn::UnknownHandle);
    assert_eq!(stage.disk.stored.returns, ReturnRecord::default());
}

#[test]
fn the_clock_may_step_back() {
    let mut stage = Stage::new(false);
    stage.now = HOUR;
    stage.begin("r", key("sk-ada"));
    stage.end("r");
    stage.now = HOUR / 2;
    assert!(stage.drawn("a").is_some());
    stage.now += GRACE;
    assert_eq!(stage.draw("b"), Drawn::NoRun);
}

#[test]
fn the_stored_and_the_wire_format_are_pinned() {
    let mut stage = Stage::new(false);
    stage.begin("r", key("sk-ada"));
    stage.drawn("a");
    let (hash, paid) = (Fingerprint::of("handle"), Fingerprint::of("sk-ada"));
    let sealed = serde_json::to_value(sealed("sk-ada")).unwrap();
    let literal = serde_json::json!({
        "handle": { "hash": hash, "since": 7 },
        "purse": {
            "funds": { "key": { "hash": paid, "sealed": sealed } },
            "runs": [{ "request_id": "r", "calls": 1, "open": ["a"], "tokens": 0,
                "source": "none", "ended": null }],
            "tail": null,
        },
    });
    let stored = &stage.disk.stored.returns;
    assert_eq!(serde_json::to_value(stored).unwrap(), literal);
    assert_eq!(serde_json::from_value::<ReturnRecord>(literal).unwrap(), *stored);
    let said = serde_json::to_value(SessionMessage::Draw(draw("a"))).unwrap();
    assert_eq!(said, serde_json::json!({ "draw": { "handle": hash, "call": "a" } }));
    let said = serde_json::to_value(SessionMessage::Spent(spent("r", "a", 5))).unwrap();
    let literal = serde_json::json!({ "run": "r", "call": "a", "tokens": 5, "source": "reported" });
    assert_eq!(said, serde_json::json!({ "spent": literal }));
}

/// What can happen to a user.
#[derive(Clone, Debug)]
enum Event {
    Begin(u8),
    End(usize),
    Call,
    Spend(usize),
    Wake,
}

fn event() -> impl Strategy<Value = (Millis, bool, Event)> {
    let event = prop_oneof![
        3 => (0_u8..2).prop_map(Event::Begin),
        3 => (0_usize..4).prop_map(Event::End),
        5 => Just(Event::Call),
        5 => (0_usize..6).prop_map(Event::Spend),
        1 => Just(Event::Wake),
    ];
    let step = prop_oneof![20 => 0_i64..1_500, 1 => 0_i64..LEASE, 1 => -5_000_i64..0];
    (step, prop::bool::weighted(0.2), event)
}

proptest! {
    /// Whatever happens and wherever the object dies: a call is paid for with the key of each run that
    /// it could be of, and nothing that was said to be counted is missing in the rows.
    #[test]
    fn no_call_spends_the_wrong_key(events in prop::collection::vec(event(), 1..150)) {
        let mut stage = Stage::new(false);
        stage.now = HOUR;
        let (mut running, mut open): (Vec<(String, u8)>, Vec<Spent>) = (Vec::new(), Vec::new());
        let (mut number, mut counted) = (0_u64, 0);
        for (step, dies, event) in events {
            (stage.now, stage.dies) = (stage.now + step, dies);
            match event {
                Event::Begin(which) => {
                    number += 1;
                    let request_id = format!("r{number}");
                    let refused = stage.begin(&request_id, key(&format!("sk-{which}")));
                    if refused.is_none() {
                        running.push((request_id, which));
                    }
                }
                Event::End(which) if which < running.len() => {
                    stage.end(&running.remove(which).0);
                }
                Event::Call => {
                    number += 1;
                    let call = format!("c{number}");
                    match stage.drawn(&call) {
                        None => {
                            let leases = &stage.session.leases;
                            prop_assert!(!running.iter().any(|(id, _)| leases.contains_key(id)));
                        }
                        Some((run, funds)) => {
                            let leases = &stage.session.leases;
                            for (_, which) in running.iter().filter(|(id, _)| leases.contains_key(id)) {
                                prop_assert_eq!(&funds, &key(&format!("sk-{which}")));
                            }
                            open.push(spent(&run, &call, number));
                        }
                    }
                }
                Event::Spend(which) if which < open.len() => {
                    let spent = open.remove(which);
                    if stage.spend(&spent) {
                        counted += spent.tokens;
                    }
                }
                Event::Wake => stage.wake(),
                Event::End(_) | Event::Spend(_) => {}
            }
        }
        for _ in 0..2 {
            stage.now += LEASE + GRACE;
            stage.wake();
        }
        prop_assert_eq!(&stage.disk.stored.returns.purse, &None);
        let rows = stage.disk.pending(0);
        let called = rows.iter().filter(|(_, row)| row.outcome.provider_requests > Some(0));
        let told: u64 = called.map(|(_, row)| row.outcome.tokens_est).sum();
        prop_assert_eq!(told, counted);
    }
}
