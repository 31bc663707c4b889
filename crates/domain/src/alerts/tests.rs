use proptest::prelude::*;

use super::*;

const ONE: &str = "upstream:default";
const UPSTREAMS: [&str; 1] = ["default"];
const SECOND: Millis = 1_000;

fn silent() -> Problem {
    Problem { words: "no answer".to_owned(), is_refusal: false }
}

fn refused() -> Problem {
    Problem { words: "it refuses the token".to_owned(), is_refusal: true }
}

/// The messages that are due, all of which arrive.
fn tell(alerts: &mut Alerts, now: Millis) -> Vec<(String, State)> {
    let messages = alerts.begin(now);
    for message in &messages {
        alerts.delivered(message, now);
    }
    messages.into_iter().map(|message| (message.subject, message.state)).collect()
}

fn told_of(state: State) -> Vec<(String, State)> {
    vec![(ONE.to_owned(), state)]
}

#[test]
fn an_outage_under_load_is_two_messages() {
    let mut alerts = Alerts::default();
    alerts.failed("default", 1, 0);
    assert_eq!(alerts.due_looks(&UPSTREAMS, 0), [ONE]);
    alerts.looked(ONE, Some(silent()), 0);
    assert_eq!(tell(&mut alerts, 0), told_of(State::Bad));
    for now in (0..60).map(|number| number * 5 * SECOND) {
        alerts.failed("default", 40, now);
        for subject in alerts.due_looks(&UPSTREAMS, now) {
            alerts.looked(&subject, Some(silent()), now);
        }
        assert_eq!(tell(&mut alerts, now), []);
    }
    // It is looked at by itself; requests may have gone elsewhere.
    let now = alerts.next_wake(true, 300 * SECOND).unwrap();
    assert!(now <= 316 * SECOND);
    alerts.looked(ONE, None, now);
    assert_eq!(tell(&mut alerts, now), told_of(State::Well));
    alerts.prune(now + 2 * BETWEEN_MESSAGES);
    assert!(alerts.subjects.is_empty(), "{alerts:?}");
}

#[test]
fn a_blink_is_no_outage_and_a_rumour_none_either() {
    let mut alerts = Alerts::default();
    alerts.minute(&UPSTREAMS);
    assert_eq!(alerts.due_looks(&UPSTREAMS, 0), [ONE, D1]);
    alerts.looked(ONE, Some(silent()), 0);
    alerts.looked(D1, None, 0);
    alerts.minute_is_over();
    assert_eq!(alerts.state(ONE), State::Well);
    assert_eq!(alerts.next_wake(true, 0), Some(BETWEEN_LOOKS));
    alerts.looked(ONE, None, BETWEEN_LOOKS);
    assert_eq!(tell(&mut alerts, BETWEEN_LOOKS), []);
    alerts.failed("default", 9, 10 * SECOND);
    assert_eq!(alerts.due_looks(&UPSTREAMS, 10 * SECOND), [ONE]);
    alerts.looked(ONE, None, 10 * SECOND);
    assert_eq!(tell(&mut alerts, 10 * SECOND), []);
    // Nothing is left of either.
    alerts.prune(200 * SECOND);
    let calm = r#"{"subjects":[],"stuck":[]}"#;
    assert_eq!(serde_json::to_string(&alerts).unwrap(), calm);
    // Nobody asks it, and still it doesn't answer.
    alerts.looked(ONE, Some(silent()), 300 * SECOND);
    alerts.looked(ONE, Some(silent()), 305 * SECOND);
    assert_eq!(tell(&mut alerts, 305 * SECOND), told_of(State::Bad));
}

#[test]
fn many_failures_are_an_outage_whatever_a_look_says() {
    let mut alerts = Alerts::default();
    alerts.failed("default", 1, 0);
    alerts.looked(ONE, None, 0);
    alerts.failed("default", 9, 5 * SECOND);
    alerts.looked(ONE, None, 5 * SECOND);
    assert_eq!(tell(&mut alerts, 5 * SECOND), told_of(State::Bad));
    assert_eq!(alerts.problem(ONE), Some("it answers the gateway, but many requests fail"));
    let ten_of_a_minute_ago = 65 * SECOND;
    alerts.looked(ONE, None, ten_of_a_minute_ago);
    assert_eq!(alerts.state(ONE), State::Bad);
    alerts.looked(ONE, None, 125 * SECOND);
    assert_eq!(tell(&mut alerts, 125 * SECOND), told_of(State::Well));
    // What is many for an upstream is no measure of the database, which has been looked at.
    (0..30).for_each(|user| alerts.rows(&format!("u{user}"), true, 200 * SECOND));
    alerts.looked(D1, None, 200 * SECOND);
    assert_eq!(tell(&mut alerts, 200 * SECOND), []);
}

#[test]
fn who_refuses_the_gateway_is_asked_once_a_minute() {
    let mut alerts = Alerts::default();
    let mut looks = Vec::new();
    for now in (0..180).map(|number| number * SECOND) {
        alerts.failed("default", 1, now);
        alerts.minute(&UPSTREAMS);
        if alerts.due_looks(&UPSTREAMS, now).contains(&ONE.to_owned()) {
            alerts.looked(ONE, Some(refused()), now);
            looks.push(now / SECOND);
        }
    }
    assert_eq!(looks, [0, 60, 120]);
}

#[test]
fn rows_that_wait_are_looked_at_once_d1_is_well() {
    let mut alerts = Alerts::default();
    alerts.rows("ada", true, 0);
    alerts.rows("bob", true, SECOND);
    assert_eq!(alerts.due_looks(&UPSTREAMS, SECOND), [D1]);
    alerts.looked(D1, Some(silent()), SECOND);
    assert_eq!(tell(&mut alerts, SECOND), [(D1.to_owned(), State::Bad)]);
    let due = alerts.due_looks(&UPSTREAMS, 500 * SECOND);
    assert_eq!(due, [D1], "no row can arrive");
    alerts.looked(D1, None, 500 * SECOND);
    assert_eq!(tell(&mut alerts, 500 * SECOND), [(D1.to_owned(), State::Well)]);
    alerts.rows("bob", false, 501 * SECOND);
    assert_eq!(alerts.next_wake(true, 501 * SECOND), Some(560 * SECOND));
    assert_eq!(alerts.due_looks(&UPSTREAMS, 560 * SECOND), [OUTBOX]);
    assert_eq!(alerts.stuck(5), ["ada"]);
    alerts.looked(OUTBOX, Some(silent()), 560 * SECOND);
    assert_eq!(tell(&mut alerts, 560 * SECOND), [(OUTBOX.to_owned(), State::Bad)]);
    alerts.rows("ada", false, 580 * SECOND);
    assert_eq!(alerts.due_looks(&UPSTREAMS, 580 * SECOND), [OUTBOX]);
    alerts.looked(OUTBOX, None, 580 * SECOND);
    assert_eq!(tell(&mut alerts, 580 * SECOND), [(OUTBOX.to_owned(), State::Well)]);
}

#[test]
fn what_did_not_arrive_is_overtaken_by_the_newest_state() {
    let mut alerts = Alerts::default();
    alerts.failed("default", 1, 0);
    alerts.looked(ONE, Some(silent()), 0);
    let mut now = 0;
    for pause in [15, 30, 60, 120, 240, 300, 300] {
        assert_eq!(alerts.begin(now).len(), 1, "it didn't arrive");
        assert_eq!(alerts.begin(now + pause * SECOND - 1), []);
        now += pause * SECOND;
    }
    alerts.looked(ONE, None, now);
    // It may have arrived after all.
    assert_eq!(tell(&mut alerts, now), told_of(State::Well));
    assert_eq!(alerts.begin(now + 9_999 * SECOND), []);
}

#[test]
fn what_is_stored_and_said_is_pinned() {
    let mut alerts = Alerts::default();
    alerts.failed("default", 2, 1_000);
    alerts.rows("ada", true, 1_000);
    alerts.looked(ONE, Some(silent()), 1_000);
    let _ = alerts.begin(1_000);
    let stored = r#"{"subjects":[["upstream:default",{"state":"bad","since":1000,"bad_since":1000,"problem":"no answer","told":null,"misses":1,"failures":[[1000,2]],"is_failing":false,"look_at":16000,"not_before":0,"spent_until":0,"attempts":1,"retry_at":16000}],["d1",{"state":"well","since":0,"bad_since":0,"problem":"","told":"well","misses":0,"failures":[[1000,1]],"is_failing":false,"look_at":1000,"not_before":0,"spent_until":0,"attempts":0,"retry_at":0}],["outbox",{"state":"well","since":0,"bad_since":0,"problem":"","told":"well","misses":0,"failures":[],"is_failing":false,"look_at":61000,"not_before":0,"spent_until":0,"attempts":0,"retry_at":0}]],"stuck":[["ada",1000]]}"#;
    assert_eq!(serde_json::to_string(&alerts).unwrap(), stored);
    // An earlier release kept the gateway's host there.
    let with_host = stored.replace("]]}", r#"]],"gateway":"host"}"#);
    let mut again: Alerts = serde_json::from_str(&with_host).unwrap();
    assert_eq!(tell(&mut again, 16_000), told_of(State::Bad), "sent again after a crash");
    for (notice, text) in [
        (Notice::Minute, r#""minute""#),
        (Notice::Failed("default".to_owned(), 3), r#"{"failed":["default",3]}"#),
        (Notice::Rows("ada".to_owned(), true), r#"{"rows":["ada",true]}"#),
    ] {
        assert_eq!(serde_json::to_string(&notice).unwrap(), text);
    }
}

#[test]
fn what_the_settings_no_longer_name_is_forgotten() {
    let mut alerts = Alerts::default();
    alerts.failed("gone", 1, 0);
    alerts.looked("upstream:gone", Some(silent()), 0);
    alerts.rows("ada", true, 0);
    assert_eq!(alerts.bad().count(), 1);
    alerts.minute(&UPSTREAMS);
    assert_eq!(alerts.bad().count(), 0);
    assert!(find(&alerts.subjects, OUTBOX).is_some());
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Pause(Millis),
    Fail(u32),
    /// How the upstream is from here on.
    Upstream(bool),
    /// What becomes of messages from here on: they arrive, they arrive and the answer is lost, they
    /// are lost.
    Receiver(u8),
    /// The object dies; what it has written is there.
    Crash,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..90_000_i64).prop_map(Step::Pause),
        3 => (1..30_u32).prop_map(Step::Fail),
        3 => any::<bool>().prop_map(Step::Upstream),
        2 => (0..3_u8).prop_map(Step::Receiver),
        1 => Just(Step::Crash),
    ];
    prop::collection::vec(step, 1..80)
}

/// The object, its upstream and its receiver.
struct World {
    alerts: Alerts,
    now: Millis,
    is_well: bool,
    receiver: u8,
    received: Vec<(State, Millis)>,
    looks: Vec<Millis>,
}

impl World {
    /// Everything that is due until `end`.
    fn run(&mut self, end: Millis) {
        while let Some(wake) = self.alerts.next_wake(true, self.now).filter(|wake| *wake <= end) {
            self.now = self.now.max(wake);
            self.alarm();
        }
        self.now = end;
    }

    fn alarm(&mut self) {
        for subject in self.alerts.due_looks(&UPSTREAMS, self.now) {
            if subject == ONE {
                self.looks.push(self.now);
                let problem = if self.is_well { None } else { Some(silent()) };
                self.alerts.looked(ONE, problem, self.now);
            } else {
                self.alerts.looked(&subject, None, self.now);
            }
        }
        for message in self.alerts.begin(self.now) {
            assert_eq!(message.state, self.alerts.state(ONE), "old news");
            if self.receiver < 2 {
                self.received.push((message.state, self.now));
            }
            if self.receiver == 0 {
                self.alerts.delivered(&message, self.now);
            }
        }
        self.alerts.prune(self.now);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Pause(pause) => self.run(self.now + pause),
            Step::Fail(requests) => {
                self.alerts.failed("default", requests, self.now);
                self.run(self.now);
            }
            Step::Upstream(is_well) => self.is_well = is_well,
            Step::Receiver(receiver) => self.receiver = receiver,
            Step::Crash => {
                let stored = serde_json::to_string(&self.alerts).unwrap();
                self.alerts = serde_json::from_str(&stored).unwrap();
            }
        }
    }
}

fn world() -> World {
    let (alerts, received, looks) = (Alerts::default(), Vec::new(), Vec::new());
    World { alerts, now: 0, is_well: true, receiver: 0, received, looks }
}

proptest! {
    #[test]
    fn the_last_word_is_the_truth_whatever_gets_lost(steps in steps(), ends_well: bool) {
        let mut world = world();
        let number = steps.len();
        for step in steps {
            world.step(step);
        }
        world.step(Step::Upstream(ends_well));
        world.step(Step::Receiver(0));
        for _ in 0..30 {
            world.alerts.minute(&UPSTREAMS);
            world.alarm();
            world.alerts.minute_is_over();
            world.step(Step::Pause(MINUTE));
        }
        let truth = if ends_well { State::Well } else { State::Bad };
        prop_assert_eq!(world.alerts.state(ONE), truth);
        let heard = world.received.last().map_or(State::Well, |(state, _)| *state);
        prop_assert_eq!(heard, truth);
        prop_assert!(world.received.len() <= 4 * (number + 40), "a storm");
    }

    #[test]
    fn each_message_is_news_and_there_is_no_storm(steps in steps()) {
        let mut world = world();
        let lossless = steps.into_iter().filter(|step| !matches!(step, Step::Receiver(_)));
        let lossless = lossless.filter(|step| !matches!(step, Step::Crash));
        for step in lossless {
            world.step(step);
        }
        let mut known = State::Well;
        for (state, _) in &world.received {
            prop_assert_ne!(*state, known, "told twice");
            known = *state;
        }
        for (count, (_, last)) in world.received.iter().enumerate().skip(2) {
            for first in 0..count - 1 {
                let extra = Millis::try_from(count - first - 1).unwrap();
                prop_assert!(last - world.received[first].1 >= extra * BETWEEN_MESSAGES);
            }
        }
        prop_assert!(world.looks.windows(2).all(|pair| pair[1] - pair[0] >= BETWEEN_LOOKS));
    }
}
