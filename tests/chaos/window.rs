//! Whether more were let in within a minute than may be, by two clocks.

use std::time::{Duration, Instant};

use crate::book::{Disturbance, Kind};

const MINUTE: Duration = Duration::from_mins(1);

/// What two clocks of one machine may differ by within a minute.
const TICK: Duration = Duration::from_millis(50);

/// When a request was let in, as seen from outside: somewhere between these.
#[derive(Clone, Copy, Debug)]
pub struct Admission {
    pub earliest: Instant,
    pub latest: Instant,
}

/// Where more than `limit` were let in for certain within a minute of their object's clock: in words.
///
/// To an object a step forward is time that has passed, and a step back is none. So between two
/// moments no more time can have passed for it than on our clock, and with the steps forward.
pub fn crowd(
    admissions: &[Admission],
    disturbances: &[Disturbance],
    limit: usize,
) -> Option<String> {
    for first in admissions {
        let begins = first.earliest;
        let later = admissions.iter().filter(|admission| admission.earliest >= begins);
        let mut ends: Vec<_> = later.map(|admission| admission.latest).collect();
        ends.sort_unstable();
        let Some(end) = ends.get(limit) else { continue };
        let steps: i64 = disturbances
            .iter()
            .filter(|it| it.from <= *end && it.to >= begins)
            .filter_map(|it| if let Kind::Step(by) = it.kind { Some(by.max(0)) } else { None })
            .sum();
        let passed = end.saturating_duration_since(begins)
            + Duration::from_millis(steps.unsigned_abs())
            + TICK;
        if passed < MINUTE {
            return Some(format!("{} times within {:.2} s", limit + 1, passed.as_secs_f64()));
        }
    }
    None
}

/// Where more than `limit` of these times, an object's own in milliseconds, are within a minute that ends
/// with one of the `ends`: in words.
///
/// Where a clock has stepped back, times that lay ahead may count as one moment and be too many there, so
/// a minute that ends with such a time tells nothing: nothing is let in while they are too many.
pub fn crowd_on_record(times: &[i64], ends: &[i64], limit: usize) -> Option<String> {
    for end in ends {
        let within = times.iter().filter(|time| (end - 59_999..=*end).contains(*time)).count();
        if within > limit {
            return Some(format!("{within} times in the minute that ends at {end}"));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn admissions(began: Instant, seconds: &[f64]) -> Vec<Admission> {
        let at = |seconds: &f64| began + Duration::from_secs_f64(*seconds);
        let admission = |seconds| {
            let latest = at(seconds) + Duration::from_millis(20);
            Admission { earliest: at(seconds), latest }
        };
        seconds.iter().map(admission).collect()
    }

    fn step(began: Instant, seconds: u64, by: i64) -> Disturbance {
        let from = began + Duration::from_secs(seconds);
        Disturbance { kind: Kind::Step(by), from, to: from + Duration::from_millis(50) }
    }

    #[test]
    fn one_too_many_in_a_minute_is_found() {
        let began = Instant::now();
        let far = admissions(began, &[0.0, 30.0, 61.0, 90.0, 121.0]);
        assert_eq!(crowd(&far, &[], 2), None);
        let near = admissions(began, &[0.0, 30.0, 61.0, 75.0, 121.0]);
        assert_eq!(crowd(&near, &[], 2).unwrap(), "3 times within 45.07 s");
        let edge = admissions(began, &[0.0, 30.0, 59.96]);
        assert_eq!(crowd(&edge, &[], 2), None, "it may have been a minute");
    }

    #[test]
    fn a_step_forward_is_time_and_a_step_back_is_none() {
        let began = Instant::now();
        let near = admissions(began, &[0.0, 30.0, 45.0]);
        assert_eq!(crowd(&near, &[step(began, 35, 61_000)], 2), None);
        assert!(crowd(&near, &[step(began, 35, -61_000)], 2).is_some());
        assert!(crowd(&near, &[step(began, 50, 61_000)], 2).is_some(), "it came later");
    }

    #[test]
    fn one_too_many_on_record_is_found() {
        let all = |times: &[i64]| crowd_on_record(times, times, 2);
        assert_eq!(all(&[0, 10, 60_000]), None);
        assert!(all(&[0, 10, 59_999]).is_some());
        assert!(all(&[7, 7, 7]).is_some());
        assert_eq!(crowd_on_record(&[7, 7, 7, 60_007], &[60_007], 2), None);
        assert!(crowd_on_record(&[7, 7, 7, 60_006], &[60_006], 2).is_some());
    }
}
