//! Attempts from one network that must not be many: guesses, and requests that prove nothing.
//!
//! Each kind is a counter of its own, with an exact sliding minute. Nothing here refuses what is
//! right: it is asked only once an attempt has turned out to be wrong, or to be no proof.

use serde::{Deserialize, Serialize};

use crate::clock::{ClockWatch, Millis};
use crate::identifiers::UserId;
use crate::window::{MINUTE, Rate, SlidingWindow};

/// Wrong claim codes a minute from one network for one user. Beyond them the caller is told to wait,
/// and no guess counts against the user's codes.
pub const CLAIMS_OF_A_USER: u32 = 5;

/// What is counted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Counter(String);

impl Counter {
    /// Requests in somebody's name without proof.
    #[must_use]
    pub fn unproven() -> Self {
        Self("unproven".to_owned())
    }

    /// Wrong operator's tokens.
    #[must_use]
    pub fn operator() -> Self {
        Self("operator".to_owned())
    }

    /// Wrong addresses of kits.
    #[must_use]
    pub fn kits() -> Self {
        Self("kits".to_owned())
    }

    /// Wrong claim codes, whoever they were for.
    #[must_use]
    pub fn claims() -> Self {
        Self("claims".to_owned())
    }

    /// Wrong claim codes from one network; a user's own object counts them, by their networks.
    #[must_use]
    pub fn claims_from(network: &str) -> Self {
        Self(format!("from:{network}"))
    }

    /// Wrong claim codes for one user.
    #[must_use]
    pub fn claims_of(user_id: &UserId) -> Self {
        Self(format!("claims:{user_id}"))
    }
}

/// Counts one more attempt on each counter if all have room, else on none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// The counters, and how many attempts a minute each may have.
    pub counters: Vec<(Counter, u32)>,
}

/// The reply to [`Count`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counted {
    /// There was room, and the attempt was counted.
    Allowed,
    /// A counter was full, and nothing was counted.
    Over {
        /// Milliseconds until there is room on every counter, at least 1.
        retry_after_ms: Millis,
    },
}

/// The times of the attempts of the last minute, by counter: the form that is stored.
pub type Attempts = Vec<(Counter, Vec<Millis>)>;

/// The attempts from one network.
#[derive(Clone, Debug)]
pub struct Guesses {
    clock: ClockWatch,
    /// A handful, unless somebody guesses at many users' codes: then 100 of the last minute.
    windows: Vec<(Counter, SlidingWindow)>,
}

impl Guesses {
    /// Takes up what was stored; a time in the future counts as `now`.
    #[must_use]
    pub fn restore(stored: Attempts, now: Millis) -> Self {
        let restore = |(counter, times)| (counter, SlidingWindow::restore(times, now));
        Self { clock: ClockWatch::new(now), windows: stored.into_iter().map(restore).collect() }
    }

    /// Decides on an attempt. What is counted has to be stored before the reply leaves.
    pub fn count(&mut self, message: &Count, now: Millis) -> Counted {
        self.expire(now);
        let waits = message.counters.iter().map(|(counter, limit)| {
            self.window(counter).map_or(0, |window| window.next_free(rate(*limit), now))
        });
        let retry_after_ms = waits.max().unwrap_or(0);
        if retry_after_ms > 0 {
            return Counted::Over { retry_after_ms };
        }
        for (counter, _) in &message.counters {
            match self.window(counter) {
                Some(window) => window.admit(now),
                None => {
                    self.windows.push((counter.clone(), SlidingWindow::restore([now], now)));
                }
            }
        }
        Counted::Allowed
    }

    /// Forgets the attempts that are a minute old, after having looked at the clock: where it has
    /// stepped back, no time has passed.
    pub fn expire(&mut self, now: Millis) {
        let step = self.clock.step_back(now);
        self.windows.retain_mut(|(_, window)| {
            window.move_back(step);
            window.used(rate(0), now) > 0
        });
    }

    /// When the last attempt will be forgotten; `None` where there is none.
    #[must_use]
    pub fn empty_at(&self) -> Option<Millis> {
        self.windows
            .iter()
            .filter_map(|(_, window)| window.times().last())
            .max()
            .map(|at| at + MINUTE)
    }

    /// What is to be stored.
    #[must_use]
    pub fn attempts(&self) -> Attempts {
        let windows = self.windows.iter();
        windows.map(|(counter, window)| (counter.clone(), window.times().collect())).collect()
    }

    fn window(&mut self, counter: &Counter) -> Option<&mut SlidingWindow> {
        let mut windows = self.windows.iter_mut();
        windows.find(|(known, _)| known == counter).map(|(_, window)| window)
    }
}

const fn rate(limit: u32) -> Rate {
    Rate { limit, window: MINUTE }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ada() -> UserId {
        UserId::parse("ada").unwrap()
    }

    #[test]
    fn what_is_stored_and_said_is_pinned() {
        let count =
            Count { counters: vec![(Counter::claims(), 2), (Counter::claims_of(&ada()), 1)] };
        assert_eq!(
            serde_json::to_string(&count).unwrap(),
            r#"{"counters":[["claims",2],["claims:ada",1]]}"#
        );
        let mut guesses = Guesses::restore(Attempts::new(), 5);
        let allowed = serde_json::to_string(&guesses.count(&count, 5)).unwrap();
        let over = serde_json::to_string(&guesses.count(&count, 5)).unwrap();
        assert_eq!(
            (allowed.as_str(), over.as_str()),
            (r#""allowed""#, r#"{"over":{"retry_after_ms":60000}}"#)
        );
        let stored = r#"[["claims",[5]],["claims:ada",[5]]]"#;
        assert_eq!(serde_json::to_string(&guesses.attempts()).unwrap(), stored);
        let mut guesses = Guesses::restore(serde_json::from_str(stored).unwrap(), 6);
        assert_eq!(guesses.count(&count, 6), Counted::Over { retry_after_ms: 59_999 });
        assert_eq!(guesses.empty_at(), Some(60_005));
        guesses.expire(60_005);
        assert_eq!((guesses.empty_at(), guesses.attempts()), (None, Attempts::new()));
    }

    #[test]
    fn one_full_counter_counts_on_none() {
        let mut guesses = Guesses::restore(Attempts::new(), 0);
        let of_ada =
            Count { counters: vec![(Counter::claims(), 9), (Counter::claims_of(&ada()), 1)] };
        assert_eq!(guesses.count(&of_ada, 0), Counted::Allowed);
        assert_eq!(guesses.count(&of_ada, 0), Counted::Over { retry_after_ms: MINUTE });
        assert_eq!(guesses.attempts()[0], (Counter::claims(), vec![0]));
        let of_nobody = Count { counters: Vec::new() };
        assert_eq!(guesses.count(&of_nobody, 0), Counted::Allowed);
    }

    proptest! {
        #[test]
        fn it_agrees_with_brute_force(
            steps in prop::collection::vec((-9_000_i64..20_000, 1_u8..8, 1_u32..4, any::<bool>()), 1..120),
        ) {
            let names = [Counter::unproven(), Counter::operator(), Counter::claims()];
            let (mut now, mut log) = (1_000_000, Vec::new());
            let mut guesses = Guesses::restore(Attempts::new(), now);
            for (pause, chosen, limit, restart) in steps {
                now += pause;
                if restart {
                    guesses = Guesses::restore(guesses.attempts(), now);
                    for (_, time) in &mut log {
                        *time = now.min(*time);
                    }
                } else {
                    for (_, time) in &mut log {
                        *time += pause.min(0);
                    }
                }
                let wanted: Vec<_> =
                    (0..3).filter(|place| chosen & 1 << place != 0).map(|place| &names[place]).collect();
                let has_room = |at: Millis| wanted.iter().all(|name| {
                    let inside = |(other, time): &&(&Counter, Millis)| *other == *name && *time > at - MINUTE;
                    log.iter().filter(inside).count() < limit as usize
                });
                let counters = wanted.iter().map(|name| ((*name).clone(), limit)).collect();
                match guesses.count(&Count { counters }, now) {
                    Counted::Allowed => {
                        prop_assert!(has_room(now), "one too many");
                        log.extend(wanted.iter().map(|name| (*name, now)));
                    }
                    Counted::Over { retry_after_ms } => {
                        prop_assert!(!has_room(now + retry_after_ms - 1), "refused without need");
                        prop_assert!(has_room(now + retry_after_ms), "the wait is too short");
                    }
                }
                // What is forgotten stays so, also where the clock steps back over a restart.
                log.retain(|(_, time)| *time > now - MINUTE);
                let newest = log.iter().map(|(_, time)| time + MINUTE).max();
                prop_assert_eq!(guesses.empty_at(), newest);
            }
        }
    }
}
