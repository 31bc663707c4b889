//! When it is said how busy an upstream is: soon after it has changed, and not more often than it can
//! be looked at.

use crate::clock::Millis;

/// From one report to the next, at least.
const PAUSE: Millis = 2_000;
/// How long a change waits for others.
const GATHERING: Millis = 300;
/// The longest pause between two attempts that fail.
const LONGEST_BACKOFF: Millis = 60_000;

/// How busy an upstream is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that have a slot.
    pub running: usize,
    /// Requests that wait for one.
    pub waiting: usize,
    /// For how long the oldest of these has waited.
    pub longest_wait_ms: Millis,
}

/// What was said last, and when; and since when it isn't the truth any more.
#[derive(Clone, Copy, Debug, Default)]
pub struct Reports {
    last: Option<(Load, Millis)>,
    changed_at: Option<Millis>,
    failures: u32,
    /// No attempt before this.
    not_before: Millis,
}

impl Reports {
    /// When the next report is due; `None` where it would say what the last one said. `expiry` is when
    /// a slot is lost of which nothing is heard: nobody may come who would notice.
    pub fn due(&mut self, load: Load, expiry: Option<Millis>, now: Millis) -> Option<Millis> {
        if self.last.is_some_and(|(last, _)| last == load) {
            self.changed_at = None;
            return expiry.map(|expiry| expiry.max(now + PAUSE));
        }
        let gathered = *self.changed_at.get_or_insert(now) + GATHERING;
        let paused = self.last.map_or(gathered, |(_, at)| at + PAUSE);
        Some(gathered.max(paused).max(self.not_before))
    }

    /// It was said.
    pub const fn succeeded(&mut self, load: Load, now: Millis) {
        *self = Self { last: Some((load, now)), changed_at: None, failures: 0, not_before: now };
    }

    /// It could not be said: the next attempt waits twice as long as the last.
    pub fn failed(&mut self, now: Millis) {
        let pause = PAUSE.saturating_mul(1 << self.failures.min(16));
        self.failures = self.failures.saturating_add(1);
        self.not_before = now + pause.min(LONGEST_BACKOFF);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BUSY: Load = Load { running: 2, waiting: 3, longest_wait_ms: 700 };

    #[test]
    fn a_change_is_said_soon_and_what_was_said_is_not_said_again() {
        let mut reports = Reports::default();
        assert_eq!(reports.due(BUSY, None, 1_000), Some(1_300));
        reports.succeeded(BUSY, 1_300);
        assert_eq!(reports.due(BUSY, None, 1_400), None);
        // Nobody comes any more: the slots end by themselves, and that is said.
        assert_eq!(reports.due(BUSY, Some(91_000), 1_400), Some(91_000));
        assert_eq!(reports.due(Load::default(), None, 1_400), Some(3_300));
        reports.succeeded(Load::default(), 3_300);
        assert_eq!(reports.due(Load::default(), None, 9_999), None);
        assert_eq!(reports.due(BUSY, None, 9_999), Some(10_299));
        assert_eq!(reports.due(BUSY, None, 10_100), Some(10_299));
    }

    #[test]
    fn one_who_is_away_is_asked_less_and_less_often() {
        let mut reports = Reports::default();
        let mut now = 0;
        let mut pauses = Vec::new();
        for _ in 0..8 {
            let due = reports.due(BUSY, None, now).unwrap();
            pauses.push(due - now);
            now = due;
            reports.failed(now);
        }
        assert_eq!(pauses, [300, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
        reports.succeeded(BUSY, now);
        assert_eq!(reports.due(Load::default(), None, now), Some(now + PAUSE));
    }

    proptest! {
        /// Whatever happens when: a change is said within 2.3 s, two reports are 2 s apart, and the last
        /// word is the truth.
        #[test]
        fn reports_are_soon_and_far_apart(
            steps in prop::collection::vec((0..3_usize, 0..900_i64), 1..60),
        ) {
            let (mut reports, mut said, mut now) = (Reports::default(), Vec::new(), 0);
            let mut stale_since = None;
            for (running, pause) in steps.into_iter().chain([(0, 9_000)]) {
                let load = Load { running, ..Load::default() };
                let is_said = reports.last.is_some_and(|(last, _)| last == load);
                stale_since = if is_said { None } else { stale_since.or(Some(now)) };
                let due = reports.due(load, None, now);
                now += pause;
                if let Some(due) = due.filter(|due| *due <= now) {
                    // The alarm asks again, and hears the same.
                    prop_assert_eq!(reports.due(load, None, due), Some(due));
                    prop_assert!(due - stale_since.unwrap() <= PAUSE + GATHERING);
                    reports.succeeded(load, due);
                    stale_since = None;
                    said.push(due);
                }
            }
            prop_assert!(said.windows(2).all(|pair| pair[1] - pair[0] >= PAUSE));
            prop_assert_eq!(reports.last.map(|(load, _)| load), Some(Load::default()));
        }
    }
}
