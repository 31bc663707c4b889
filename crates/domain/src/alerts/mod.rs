//! What the operator is told by itself: that an upstream, D1, or the way of rows to D1 has gone bad,
//! and that it is well again.
//!
//! Each of these is a subject. Somebody says that it fails; then it is looked at, and what is seen
//! decides: nobody is woken for a rumour, or for a blink. One look in vain is believed where requests
//! fail too, else two are. An upstream at which many requests fail is bad whatever a look says.
//!
//! What is told is always the newest state. Before a message leaves it is noted that the receiver may
//! have it, so that after a crash, or without an answer, the receiver is told again how things are.
//! Two messages of a subject may follow each other at once, an outage and its end; one more is let out
//! each five minutes, so that what comes and goes makes no storm.

pub mod message;
#[cfg(test)]
mod tests;
pub mod throttle;

use serde::{Deserialize, Serialize};

use self::message::Message;
use crate::clock::Millis;

/// The subject that is the operator's database.
pub const D1: &str = "d1";
/// The subject that is the way of rows to it.
pub const OUTBOX: &str = "outbox";
/// What the subject of an upstream begins with; its name follows.
pub const UPSTREAM: &str = "upstream:";

/// From one look at a subject to the next, at least.
const BETWEEN_LOOKS: Millis = 5_000;
/// The same, where what is bad is looked at by itself.
const WHILE_BAD: Millis = 15_000;
/// The same, where the upstream refuses the gateway: OpenClaw locks out who shows ten wrong tokens.
const AFTER_A_REFUSAL: Millis = 60_000;
/// So many failed requests in [`MINUTE`] are an outage whatever a look says, until there was none for
/// [`WITHOUT_FAILURE`].
const MANY: u32 = 10;
const MINUTE: Millis = 60_000;
const WITHOUT_FAILURE: Millis = 120_000;
/// Users whose rows have waited for so long are looked at.
const ROWS_WAIT: Millis = 60_000;
/// The most users who are remembered for that.
const MOST_STUCK: usize = 1_000;

/// A subject's messages are so far apart, but for a second one that follows at once.
pub const BETWEEN_MESSAGES: Millis = 300_000;
/// When a message that didn't arrive is sent again; each time it has to wait for twice as long.
const FIRST_RETRY: Millis = 15_000;
const LONGEST_RETRY: Millis = 300_000;

/// Every message that the object takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// A minute has passed.
    Minute,
    /// So many requests have failed at the upstream of this name.
    Failed(String, u32),
    /// Whether the rows of this user don't reach D1.
    Rows(String, bool),
}

/// What was seen of a subject that isn't well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// In words.
    pub words: String,
    /// Whether the gateway was refused.
    pub is_refusal: bool,
}

/// How a subject is, as it is shown and told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It does what it should.
    #[default]
    Well,
    /// It doesn't.
    Bad,
}

/// All subjects: the form that is stored. One that is well and of which all is told isn't in it.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Alerts {
    subjects: Vec<(String, Subject)>,
    /// Users whose rows don't reach D1, and since when; the longest first.
    stuck: Vec<(String, Millis)>,
    /// When each subject was looked at last.
    #[serde(skip)]
    looks: Vec<(String, Millis)>,
    /// Whether a minute has passed, so that all are looked at.
    #[serde(skip)]
    is_minute: bool,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Subject {
    state: State,
    /// Since when.
    since: Millis,
    /// When it went bad last, and what was wrong then.
    bad_since: Millis,
    problem: String,
    /// What the receiver knows; `None` where that is in doubt.
    told: Option<State>,
    /// Looks in vain, in a row.
    misses: u32,
    /// When requests failed, and how many.
    failures: Vec<(Millis, u32)>,
    /// Whether many do.
    is_failing: bool,
    look_at: Option<Millis>,
    /// No look before this.
    not_before: Millis,
    /// How far the messages that were delivered reach ahead: each lasts [`BETWEEN_MESSAGES`].
    spent_until: Millis,
    /// Attempts in a row that didn't arrive, and when the next is due.
    attempts: u32,
    retry_at: Millis,
}

impl Alerts {
    /// A minute has passed. What the settings don't name any more is forgotten.
    pub fn minute(&mut self, upstreams: &[&str]) {
        self.is_minute = true;
        let is_known = |subject: &str| {
            subject.strip_prefix(UPSTREAM).is_none_or(|name| upstreams.contains(&name))
        };
        self.subjects.retain(|(subject, _)| is_known(subject));
    }

    /// Requests have failed at an upstream.
    pub fn failed(&mut self, upstream: &str, requests: u32, now: Millis) {
        let name = format!("{UPSTREAM}{upstream}");
        self.suspect(&name, requests, now);
        self.judge(&name, now);
    }

    /// The rows of a user don't reach D1, or do again.
    pub fn rows(&mut self, user_id: &str, is_stuck: bool, now: Millis) {
        if is_stuck {
            self.suspect(D1, 1, now);
            if find(&self.stuck, user_id).is_none() && self.stuck.len() < MOST_STUCK {
                self.stuck.push((user_id.to_owned(), now));
            }
            self.subject(OUTBOX).look_at.get_or_insert(now + ROWS_WAIT);
        } else if find(&self.stuck, user_id).is_some() {
            self.stuck.retain(|(known, _)| known != user_id);
            if self.state(D1) == State::Bad {
                self.look_soon(D1, now);
            }
            if self.stuck.is_empty() {
                self.look_soon(OUTBOX, now);
            }
        }
    }

    /// What is to be looked at now, of these upstreams, D1 and the outbox.
    #[must_use]
    pub fn due_looks(&self, upstreams: &[&str], now: Millis) -> Vec<String> {
        let upstreams = upstreams.iter().map(|name| format!("{UPSTREAM}{name}"));
        let all = upstreams.chain([D1.to_owned(), OUTBOX.to_owned()]);
        all.filter(|name| self.is_look_due(name, now)).collect()
    }

    fn is_look_due(&self, name: &str, now: Millis) -> bool {
        let subject = find(&self.subjects, name);
        let is_wanted = match (name, subject) {
            // Where D1 is bad, rows can't reach it.
            (OUTBOX, Some(outbox)) if self.state(D1) == State::Well => {
                outbox.look_at.is_some_and(|at| at <= now)
            }
            (OUTBOX, _) => false,
            (_, Some(subject)) => self.is_minute || subject.look_at.is_some_and(|at| at <= now),
            (_, None) => self.is_minute,
        };
        is_wanted && self.earliest_look(name, now) <= now
    }

    /// Those whose rows have waited longest.
    #[must_use]
    pub fn stuck(&self, most: usize) -> Vec<String> {
        self.stuck.iter().take(most).map(|(user_id, _)| user_id.clone()).collect()
    }

    /// How many they are.
    #[must_use]
    pub fn stuck_number(&self) -> usize {
        self.stuck.len()
    }

    /// A subject was looked at.
    pub fn looked(&mut self, name: &str, problem: Option<Problem>, now: Millis) {
        self.looks.retain(|(known, _)| known != name);
        self.looks.push((name.to_owned(), now));
        if problem.is_none() && find(&self.subjects, name).is_none() {
            return;
        }
        let subject = self.subject(name);
        if problem.is_none() && subject.misses > 0 {
            // They failed for what is over.
            subject.failures.clear();
        }
        subject.misses = if problem.is_some() { subject.misses.saturating_add(1) } else { 0 };
        let problem_is_none = problem.is_none();
        let is_refusal = problem.as_ref().is_some_and(|problem| problem.is_refusal);
        if let Some(problem) = problem {
            subject.problem = problem.words;
        }
        let before = self.state(name);
        self.judge(name, now);
        let subject = self.subject(name);
        let pause = match (subject.state, subject.misses) {
            _ if is_refusal => Some(AFTER_A_REFUSAL),
            (State::Bad, _) => Some(WHILE_BAD),
            (State::Well, 0) => None,
            (State::Well, _) => Some(BETWEEN_LOOKS),
        };
        subject.look_at = pause.map(|pause| now + pause);
        subject.not_before = if is_refusal { now + AFTER_A_REFUSAL } else { 0 };
        if name == OUTBOX && problem_is_none && !self.stuck.is_empty() {
            // Not all of them were asked.
            self.subject(OUTBOX).look_at = Some(now + BETWEEN_LOOKS);
        }
        if name == D1 && before == State::Bad && self.state(D1) == State::Well {
            // All of them come now; who doesn't is looked at.
            self.stuck.iter_mut().for_each(|(_, since)| *since = now);
            if !self.stuck.is_empty() {
                self.subject(OUTBOX).look_at = Some(now + ROWS_WAIT);
            }
        }
    }

    /// All that was due was looked at.
    pub const fn minute_is_over(&mut self) {
        self.is_minute = false;
    }

    /// The messages that are to be sent now. From here on it is in doubt what the receiver knows.
    pub fn begin(&mut self, now: Millis) -> Vec<Message> {
        let mut messages = Vec::new();
        for (name, subject) in &mut self.subjects {
            if subject.message_due().is_none_or(|due| due > now) {
                continue;
            }
            subject.told = None;
            let pause = FIRST_RETRY.saturating_mul(1 << subject.attempts.min(16));
            subject.attempts = subject.attempts.saturating_add(1);
            subject.retry_at = now + pause.min(LONGEST_RETRY);
            messages.push(Message {
                subject: name.clone(),
                state: subject.state,
                since: subject.since,
                bad_since: subject.bad_since,
                problem: subject.problem.clone(),
            });
        }
        messages
    }

    /// A message has arrived.
    pub fn delivered(&mut self, message: &Message, now: Millis) {
        if let Some(subject) = find_mut(&mut self.subjects, &message.subject) {
            subject.told = Some(message.state);
            subject.attempts = 0;
            subject.retry_at = 0;
            subject.spent_until = subject.spent_until.max(now) + BETWEEN_MESSAGES;
        }
    }

    /// When something is to be done by itself: a look, or a message where somebody hears it.
    #[must_use]
    pub fn next_wake(&self, has_receiver: bool, now: Millis) -> Option<Millis> {
        if self.is_minute {
            return Some(now);
        }
        let d1_is_bad = self.state(D1) == State::Bad;
        let wakes = self.subjects.iter().flat_map(|(name, subject)| {
            let look = subject.look_at.filter(|_| name != OUTBOX || !d1_is_bad);
            let look = look.map(|at| at.max(self.earliest_look(name, now)));
            [look, subject.message_due().filter(|_| has_receiver)]
        });
        wakes.flatten().min()
    }

    /// How a subject is.
    #[must_use]
    pub fn state(&self, name: &str) -> State {
        find(&self.subjects, name).map_or(State::Well, |subject| subject.state)
    }

    /// What is wrong with a subject that is bad.
    #[must_use]
    pub fn problem(&self, name: &str) -> Option<&str> {
        let subject = find(&self.subjects, name).filter(|subject| subject.state == State::Bad)?;
        Some(&subject.problem)
    }

    /// The subjects that are bad, each with since when and what is wrong.
    pub fn bad(&self) -> impl Iterator<Item = (&str, Millis, &str)> {
        let bad = self.subjects.iter().filter(|(_, subject)| subject.state == State::Bad);
        bad.map(|(name, subject)| (name.as_str(), subject.since, subject.problem.as_str()))
    }

    /// Forgets the subjects of which there is nothing to be remembered.
    pub fn prune(&mut self, now: Millis) {
        self.subjects.retain_mut(|(_, subject)| {
            subject.age(now);
            !subject.is_calm(now)
        });
        self.looks.retain(|(_, at)| now - *at < AFTER_A_REFUSAL);
    }

    fn subject(&mut self, name: &str) -> &mut Subject {
        let place = self.subjects.iter().position(|(known, _)| known == name);
        let place = place.unwrap_or_else(|| {
            let new = Subject { told: Some(State::Well), ..Subject::default() };
            self.subjects.push((name.to_owned(), new));
            self.subjects.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "it was found there, or put there")]
        &mut self.subjects[place].1
    }

    /// Somebody says that it fails.
    fn suspect(&mut self, name: &str, failures: u32, now: Millis) {
        let subject = self.subject(name);
        subject.age(now);
        match subject.failures.last_mut() {
            Some((at, number)) if now - *at < BETWEEN_LOOKS => *number += failures,
            _ => subject.failures.push((now, failures)),
        }
        self.look_soon(name, now);
    }

    fn look_soon(&mut self, name: &str, now: Millis) {
        let at = self.earliest_look(name, now);
        if let Some(subject) = find_mut(&mut self.subjects, name) {
            subject.look_at = Some(subject.look_at.map_or(at, |look_at| look_at.min(at)));
        }
    }

    fn earliest_look(&self, name: &str, now: Millis) -> Millis {
        let last = find(&self.looks, name).map_or(now, |last| (*last).min(now) + BETWEEN_LOOKS);
        let not_before = find(&self.subjects, name).map_or(0, |subject| subject.not_before);
        now.max(last).max(not_before)
    }

    fn judge(&mut self, name: &str, now: Millis) {
        let is_upstream = name.starts_with(UPSTREAM);
        // Whose rows wait has been asked for them.
        let enough = if name == OUTBOX { 1 } else { 2 };
        let subject = self.subject(name);
        subject.age(now);
        let lately = subject.failures.iter().filter(|(at, _)| now - at < MINUTE);
        let lately: u32 = lately.map(|(_, number)| number).sum();
        subject.is_failing =
            is_upstream && !subject.failures.is_empty() && (subject.is_failing || lately >= MANY);
        let is_believed =
            subject.misses >= enough || !subject.failures.is_empty() || subject.is_bad();
        let is_missed = subject.misses > 0 && is_believed;
        if subject.is_failing && !is_missed {
            "it answers the gateway, but many requests fail".clone_into(&mut subject.problem);
        }
        let state = if is_missed || subject.is_failing { State::Bad } else { State::Well };
        if state != subject.state {
            subject.state = state;
            subject.since = now;
            if state == State::Bad {
                subject.bad_since = now;
            }
        }
    }
}

/// What a list says of a name. There are few, and a map would cost the Worker more.
fn find<'a, T>(list: &'a [(String, T)], name: &str) -> Option<&'a T> {
    list.iter().find(|(known, _)| known == name).map(|(_, found)| found)
}

fn find_mut<'a, T>(list: &'a mut [(String, T)], name: &str) -> Option<&'a mut T> {
    list.iter_mut().find(|(known, _)| known == name).map(|(_, found)| found)
}

impl Subject {
    fn is_bad(&self) -> bool {
        self.state == State::Bad
    }

    /// When the receiver is to be told; `None` where it knows.
    fn message_due(&self) -> Option<Millis> {
        let may_be_told = self.spent_until - BETWEEN_MESSAGES;
        (self.told != Some(self.state)).then(|| self.retry_at.max(may_be_told))
    }

    /// Forgets failures of long ago. What lies further ahead than it can was noted before the clock
    /// stepped back.
    fn age(&mut self, now: Millis) {
        self.failures.retain(|(at, _)| (now - at).abs() < WITHOUT_FAILURE);
        self.look_at = self.look_at.map(|at| at.min(now + AFTER_A_REFUSAL));
        self.not_before = self.not_before.min(now + AFTER_A_REFUSAL);
        self.spent_until = self.spent_until.min(now + 2 * BETWEEN_MESSAGES);
        self.retry_at = self.retry_at.min(now + LONGEST_RETRY);
    }

    fn is_calm(&self, now: Millis) -> bool {
        self.state == State::Well
            && self.told == Some(State::Well)
            && self.misses == 0
            && self.failures.is_empty()
            && self.look_at.is_none()
            && self.spent_until <= now
    }
}
