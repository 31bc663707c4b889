//! The answers that a user may continue from, by `previous_response_id`.

use std::collections::VecDeque;

use super::messages::Remember;
use super::{Change, Session};
use crate::clock::Millis;

/// How many are remembered.
const LAST: usize = 100;
/// For how long.
const MEMORY: Millis = 30 * 60_000;

/// An answer and the upstream session that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// The answer's id.
    pub response_id: String,
    /// The upstream's session key.
    pub session_key: String,
    /// The name of the upstream that gave it.
    pub upstream: String,
    /// When it was given.
    pub at: Millis,
}

/// The last answers, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Responses {
    last: VecDeque<Remembered>,
    next_slot: usize,
}

impl Responses {
    /// Rebuilds the memory from stored answers, in any order; a time in the future counts as now.
    #[must_use]
    pub fn restore(mut stored: Vec<(usize, Remembered)>, now: Millis) -> Self {
        stored.sort_by_key(|(_, answer)| answer.at);
        let next_slot = stored.last().map_or(0, |(slot, _)| (slot + 1) % LAST);
        let last = stored.into_iter().map(|(_, a)| Remembered { at: a.at.min(now), ..a }).collect();
        Self { last, next_slot }
    }

    /// Takes every answer for earlier, after the clock has stepped back.
    pub fn move_back(&mut self, step: Millis) {
        for answer in &mut self.last {
            answer.at -= step;
        }
    }

    /// An answer, if it may still be continued.
    #[must_use]
    pub fn recall(&self, response_id: &str, now: Millis) -> Option<&Remembered> {
        let fresh =
            |answer: &&Remembered| answer.response_id == response_id && answer.at > now - MEMORY;
        self.last.iter().rev().find(fresh)
    }

    /// Keeps an answer, and says in which of a hundred slots it is to be stored.
    pub fn remember(&mut self, answer: Remembered) -> usize {
        let slot = self.next_slot;
        self.next_slot = (slot + 1) % LAST;
        self.last.push_back(answer);
        if self.last.len() > LAST {
            self.last.pop_front();
        }
        slot
    }
}

impl Session {
    /// Keeps an answer to continue from. One to a request that isn't running is of somebody who was
    /// forgotten meanwhile.
    pub fn remember(&mut self, message: Remember, now: Millis) -> ((), Vec<Change>) {
        let Remember { request_id, response_id, session_key, upstream } = message;
        if !self.leases.contains_key(&request_id) {
            return ((), Vec::new());
        }
        let answer = Remembered { response_id, session_key, upstream, at: now };
        let slot = self.responses.remember(answer.clone());
        ((), vec![Change::Remember(slot, answer)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::upstreams::DEFAULT;

    fn answer(number: usize, at: Millis) -> Remembered {
        let upstream = DEFAULT.to_owned();
        let (response_id, session_key) = (format!("r{number}"), format!("p-{number}"));
        Remembered { response_id, session_key, upstream, at }
    }

    fn session_of<'a>(responses: &'a Responses, id: &str, now: Millis) -> Option<&'a str> {
        responses.recall(id, now).map(|answer| answer.session_key.as_str())
    }

    #[test]
    fn a_hundred_answers_are_remembered_for_half_an_hour() {
        let mut responses = Responses::default();
        let slots: Vec<_> = (0..101).map(|n| responses.remember(answer(n, 0))).collect();
        assert_eq!((slots[99], slots[100]), (99, 0));
        assert_eq!(session_of(&responses, "r0", 0), None);
        assert_eq!(session_of(&responses, "r1", MEMORY - 1), Some("p-1"));
        assert_eq!(session_of(&responses, "r1", MEMORY), None);
    }

    #[test]
    fn what_was_stored_comes_back() {
        let stored = vec![(1, answer(7, 20)), (0, answer(6, 10)), (99, answer(5, 9))];
        let mut responses = Responses::restore(stored, 15);
        assert_eq!(session_of(&responses, "r6", 15), Some("p-6"));
        assert_eq!(session_of(&responses, "r7", 15 + MEMORY), None, "the future counts as now");
        assert_eq!(responses.remember(answer(8, 21)), 2);
    }
}
