//! Who of those whose requests fail says so: one in five seconds, for all.

use crate::clock::Millis;

/// From one report to the next, at least.
const PAUSE: Millis = 5_000;
/// After so long, who was to report isn't there any more.
const GRACE: Millis = 1_000;

/// The failures at one upstream of which nobody has heard yet.
#[derive(Clone, Copy, Debug, Default)]
pub struct Throttle {
    failures: u32,
    next: Millis,
    /// Until when somebody waits to report.
    awaited_until: Millis,
}

impl Throttle {
    /// Counts a failure. In how many milliseconds its request reports for all; `None` where another
    /// one does.
    pub fn failed(&mut self, now: Millis) -> Option<Millis> {
        self.failures = self.failures.saturating_add(1);
        if now < self.awaited_until {
            return None;
        }
        let at = self.next.clamp(now, now + PAUSE);
        self.awaited_until = at + GRACE;
        Some(at - now)
    }

    /// How many failures are to be reported now.
    pub fn take(&mut self, now: Millis) -> u32 {
        self.next = now + PAUSE;
        self.awaited_until = now;
        std::mem::take(&mut self.failures)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_reports_at_once_and_one_later_for_all() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.failed(100), Some(0));
        assert_eq!(throttle.take(100), 1);
        assert_eq!(throttle.failed(200), Some(4_900));
        for now in 201..250 {
            assert_eq!(throttle.failed(now), None);
        }
        assert_eq!(throttle.take(5_100), 50);
        assert_eq!(throttle.take(5_100), 0);
        assert_eq!(throttle.failed(60_000), Some(0));
    }

    #[test]
    fn one_who_is_gone_is_replaced() {
        let mut throttle = Throttle::default();
        assert_eq!(throttle.failed(100), Some(0));
        assert_eq!(throttle.failed(200), None);
        assert_eq!(throttle.failed(1_100), Some(0));
        assert_eq!(throttle.take(1_100), 3);
        // The clock has stepped back.
        assert_eq!(throttle.failed(-90_000), None);
        assert_eq!(Throttle { next: 90_000, ..throttle }.failed(2_000), Some(5_000));
    }
}
