//! How many people come when, and for how long: a ramp in steps.

use std::time::Duration;

use serde::Serialize;

/// Whom each step has, as long as that is fewer than were asked for.
const LADDER: [usize; 7] = [1, 2, 5, 10, 20, 50, 100];

/// The part of a step that doesn't count, for those who are new to it are just arriving; and the most of it.
const WARM_UP: f64 = 0.25;
const LONGEST_WARM_UP: Duration = Duration::from_secs(10);

/// The most requests that one check may send.
pub const MOST_REQUESTS: u64 = 20_000;

/// One step; its times are those since the ramp began.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Step {
    /// How many people there are at once.
    pub people: usize,
    /// When those come who are new.
    #[serde(skip)]
    pub from: Duration,
    /// From when on requests count that begin.
    #[serde(skip)]
    pub counts_from: Duration,
    /// When it is over.
    #[serde(skip)]
    pub until: Duration,
}

impl Step {
    /// How long requests count.
    pub fn counted(&self) -> Duration {
        self.until.saturating_sub(self.counts_from)
    }

    /// Whether a request counts that began then.
    pub fn has(&self, began: Duration) -> bool {
        (self.counts_from..self.until).contains(&began)
    }
}

/// The ramp: so many people in the end, the time divided among the steps.
pub fn ramp(people: usize, length: Duration) -> Vec<Step> {
    let below = LADDER.into_iter().filter(|step| *step < people);
    let counts: Vec<usize> = below.chain([people]).collect();
    let each = length / u32::try_from(counts.len()).unwrap_or(u32::MAX);
    let warm_up = each.mul_f64(WARM_UP).min(LONGEST_WARM_UP);
    let step = |(place, people): (u32, usize)| {
        let from = each * place;
        Step { people, from, counts_from: from + warm_up, until: from + each }
    };
    (0..).zip(counts).map(step).collect()
}

/// The most requests that a ramp sends where everybody pauses so long: each asks once on arriving, and once
/// more after each pause, were all answers there at once.
pub fn most_requests(ramp: &[Step], pause: Duration) -> u64 {
    let seconds = |step: &Step| step.until.saturating_sub(step.from).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "there are at most two hundred people")]
    let pauses: f64 = ramp.iter().map(|step| step.people as f64 * seconds(step)).sum();
    let people = ramp.last().map_or(0, |step| step.people);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "both are positive, and the sum is bounded by what the command line takes"
    )]
    let again = (pauses / pause.as_secs_f64()).ceil() as u64;
    again + people as u64
}

/// Before each pause of one person, a factor between a half and one and a half, one on average: nobody
/// thinks for the same time twice, and a crowd that did would ask all at once. The same in each check, so
/// that two can be compared.
pub fn hesitation(person: usize, time: u32) -> f64 {
    const GOLDEN: f64 = 0.618_033_988_749_895;
    #[expect(clippy::cast_precision_loss, reason = "there are at most two hundred people")]
    let spread = person as f64 * 0.754_877_666 + f64::from(time) * GOLDEN;
    0.5 + spread.fract()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn seconds(number: u64) -> Duration {
        Duration::from_secs(number)
    }

    #[test]
    fn fifty_people_come_in_six_steps() {
        let ramp = ramp(50, seconds(120));
        let people: Vec<_> = ramp.iter().map(|step| step.people).collect();
        assert_eq!(people, [1, 2, 5, 10, 20, 50]);
        let last = ramp[5];
        assert_eq!((last.from, last.counts_from), (seconds(100), seconds(105)));
        assert!(last.has(seconds(105)) && !last.has(seconds(104)) && !last.has(seconds(120)));
        assert_eq!(last.counted(), seconds(15));
        // 88 people in twenty seconds each, a request in five.
        assert_eq!(most_requests(&ramp, seconds(5)), 352 + 50);
    }

    #[test]
    fn a_warm_up_isn_t_long_because_a_step_is() {
        assert_eq!(ramp(1, seconds(600))[0].counts_from, seconds(10));
    }

    proptest! {
        #[test]
        fn steps_follow_each_other_and_end_in_time(people in 1_usize..=200, length in 1_u64..=1_800) {
            let ramp = ramp(people, seconds(length));
            prop_assert_eq!(ramp.last().unwrap().people, people);
            prop_assert!(ramp.last().unwrap().until <= seconds(length));
            for pair in ramp.windows(2) {
                prop_assert!(pair[0].people < pair[1].people);
                prop_assert_eq!(pair[0].until, pair[1].from);
            }
            for step in &ramp {
                prop_assert!(step.from < step.counts_from && step.counts_from < step.until);
            }
        }

        #[test]
        fn nobody_hesitates_for_ever_and_all_do_on_average(person in 0_usize..200) {
            let factors: Vec<f64> = (0..100).map(|time| hesitation(person, time)).collect();
            prop_assert!(factors.iter().all(|factor| (0.5..1.5).contains(factor)));
            let mean = factors.iter().sum::<f64>() / 100.0;
            prop_assert!((mean - 1.0).abs() < 0.05, "{mean}");
        }
    }
}
