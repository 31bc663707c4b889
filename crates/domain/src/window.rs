//! The exact sliding window: at most `limit` admissions in any (t − window, t].

use std::collections::VecDeque;

use crate::clock::Millis;

/// The span of the limit "requests a minute".
pub const MINUTE: Millis = 60_000;

/// How many admissions a span of time may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Admissions, at least one.
    pub limit: u32,
    /// The span, in milliseconds.
    pub window: Millis,
}

/// The times of the admissions that are still inside the window, oldest first.
#[derive(Clone, Debug, Default)]
pub struct SlidingWindow {
    admitted: VecDeque<Millis>,
}

impl SlidingWindow {
    /// Rebuilds the window from stored times, in any order; one in the future counts as `now`.
    #[must_use]
    pub fn restore(times: impl IntoIterator<Item = Millis>, now: Millis) -> Self {
        let mut admitted: Vec<_> = times.into_iter().map(|time| time.min(now)).collect();
        admitted.sort_unstable();
        Self { admitted: admitted.into() }
    }

    /// The times that are remembered, oldest first.
    #[must_use]
    pub fn times(&self) -> impl DoubleEndedIterator<Item = Millis> {
        self.admitted.iter().copied()
    }

    /// Drops what has left the window and counts what is in it.
    pub fn used(&mut self, rate: Rate, now: Millis) -> usize {
        while self.admitted.front().is_some_and(|time| *time <= now - rate.window) {
            self.admitted.pop_front();
        }
        self.admitted.len()
    }

    /// Milliseconds until one more would be admitted; zero where it would be now.
    pub fn next_free(&mut self, rate: Rate, now: Millis) -> Millis {
        let limit = usize::try_from(rate.limit).unwrap_or(usize::MAX);
        let Some(surplus) = self.used(rate, now).checked_sub(limit) else { return 0 };
        self.admitted.get(surplus).map_or(0, |time| time + rate.window - now)
    }

    /// Milliseconds until the window is empty; zero where it is.
    #[must_use]
    pub fn empty_in(&self, rate: Rate, now: Millis) -> Millis {
        self.admitted.back().map_or(0, |time| (time + rate.window - now).max(0))
    }

    /// Counts one admission. `now` must not be before the one counted last.
    pub fn admit(&mut self, now: Millis) {
        debug_assert!(
            self.admitted.back().is_none_or(|last| *last <= now),
            "the clock stepped back"
        );
        self.admitted.push_back(now);
    }

    /// Takes every admission for earlier, after the clock has stepped back.
    pub fn move_back(&mut self, step: Millis) {
        for time in &mut self.admitted {
            *time -= step;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::clock::ClockWatch;

    const RATE: Rate = Rate { limit: 50, window: MINUTE };

    #[test]
    fn the_edge_is_exact() {
        let mut window = SlidingWindow::default();
        (0..50).for_each(|i| window.admit(i));
        assert_eq!(window.next_free(RATE, 59_999), 1);
        assert_eq!(window.next_free(RATE, 60_000), 0);
        assert_eq!(window.empty_in(RATE, 60_000), 49);
    }

    #[test]
    fn a_stored_time_in_the_future_counts_as_now() {
        let mut window = SlidingWindow::restore(vec![99_000_000; 50], 1_000);
        assert_eq!(window.next_free(RATE, 1_000), 60_000);
        assert_eq!(window.next_free(RATE, 61_000), 0);
    }

    #[test]
    fn a_lowered_limit_waits_until_enough_have_left() {
        let mut window = SlidingWindow::restore([0, 10, 20], 20);
        assert_eq!(window.next_free(Rate { limit: 1, window: 100 }, 20), 100);
        assert_eq!(window.next_free(Rate { limit: 3, window: 100 }, 20), 80);
    }

    /// What the contract says, said naively.
    fn would_break(log: &[Millis], rate: Rate, now: Millis) -> bool {
        log.iter().filter(|time| **time > now - rate.window).count() >= rate.limit as usize
    }

    proptest! {
        #[test]
        fn it_agrees_with_brute_force(
            limit in 1_u32..8,
            span in 1_i64..200,
            readings in prop::collection::vec((-80_i64..120, any::<bool>()), 1..200),
        ) {
            let rate = Rate { limit, window: span };
            let (mut now, mut log) = (10_000, Vec::new());
            let (mut clock, mut window) = (ClockWatch::new(now), SlidingWindow::default());
            for (step, restart) in readings {
                now += step;
                if restart {
                    // The process dies: what was in memory is gone, what was stored is not.
                    clock = ClockWatch::new(now);
                    log = log.into_iter().map(|time: Millis| time.min(now)).collect();
                    window = SlidingWindow::restore(log.iter().copied(), now);
                }
                let back = clock.step_back(now);
                window.move_back(back);
                log = log.into_iter().map(|time| time - back).collect();
                let wait = window.next_free(rate, now);
                prop_assert_eq!(wait > 0, would_break(&log, rate, now));
                if wait > 0 {
                    prop_assert!(would_break(&log, rate, now + wait - 1), "refused without need");
                    prop_assert!(!would_break(&log, rate, now + wait), "retry-after is too short");
                } else {
                    window.admit(now);
                    log.push(now);
                }
                let inside = log.iter().filter(|time| **time > now - span && **time <= now).count();
                // Times that were ahead of a restarted clock all count as now: more than the limit
                // may stand at one instant then, but nothing is admitted while they do.
                prop_assert!(wait > 0 || inside <= limit as usize, "over the limit");
                prop_assert_eq!(window.used(rate, now), inside);
            }
        }
    }
}
