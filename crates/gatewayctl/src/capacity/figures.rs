//! What was measured: one request's fate, and what many of them come to in a step.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::plan::Step;

/// One request, as far as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// When it began, since the ramp did.
    pub began: Duration,
    /// How long it took until the first of the answer's text came.
    pub first: Option<Duration>,
    /// How long it took in all, so far.
    pub total: Duration,
    /// How long it waited in the gateway's queue.
    pub queued: Option<Duration>,
    /// The tokens of question and answer.
    pub tokens: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// With a whole answer.
    Answered,
    /// With none, or with half of one.
    Failed(Trouble),
    /// It hasn't: the check was over before.
    Unfinished,
}

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Trouble {
    /// The answer's status; 0 where there was none.
    pub status: u16,
    /// The gateway's or the upstream's code, or a word of this command's.
    pub code: String,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Times {
    /// Half took no longer, in milliseconds.
    pub p50: u64,
    /// Ninety-five of a hundred.
    pub p95: u64,
}

/// What the requests of a step come to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Figures {
    /// The step.
    #[serde(flatten)]
    pub step: Step,
    /// Whether the step went on to its end.
    pub is_whole: bool,
    /// Requests that count.
    pub requests: usize,
    /// Those with a whole answer.
    pub answered: usize,
    /// Those that failed.
    pub failed: usize,
    /// How long the first of the text took. Who was still waiting counts with the time until then.
    pub first_byte_ms: Option<Times>,
    /// How long whole answers took.
    pub total_ms: Option<Times>,
    /// How long they waited in the gateway's queue; 0 where there was none.
    pub queue_ms: Option<Times>,
    /// Why requests failed, and how many.
    pub errors: Vec<Errors>,
    /// Tokens of question and answer; nothing of a step that was cut short, as of the next.
    pub tokens_per_second: Option<f64>,
    /// Whole answers.
    pub answers_per_minute: Option<f64>,
}

/// A kind of failure.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errors {
    /// Which.
    #[serde(flatten)]
    pub trouble: Trouble,
    /// How many.
    pub requests: usize,
}

impl Figures {
    /// What the samples come to that are of a step.
    pub fn of<'a>(
        step: Step,
        is_whole: bool,
        samples: impl IntoIterator<Item = &'a Sample>,
    ) -> Self {
        let counted = samples.into_iter().filter(|sample| step.has(sample.began));
        let counted: Vec<_> = counted.collect();
        let mut errors: BTreeMap<&Trouble, usize> = BTreeMap::new();
        for sample in &counted {
            if let Outcome::Failed(trouble) = &sample.outcome {
                *errors.entry(trouble).or_default() += 1;
            }
        }
        let failed = errors.values().sum();
        let answers = || counted.iter().filter(|sample| sample.outcome == Outcome::Answered);
        let waits = counted.iter().filter_map(|sample| sample.wait());
        let queued = counted.iter().filter(|sample| sample.outcome != Outcome::Unfinished);
        let tokens: u64 = answers().map(|sample| sample.tokens).sum();
        let seconds = step.counted().as_secs_f64().max(f64::EPSILON);
        #[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
        let rate = |number: u64| is_whole.then_some(number as f64 / seconds);
        Self {
            step,
            is_whole,
            requests: counted.len(),
            answered: answers().count(),
            failed,
            first_byte_ms: times(waits),
            total_ms: times(answers().map(|sample| sample.total)),
            queue_ms: times(queued.map(|sample| sample.queued.unwrap_or_default())),
            tokens_per_second: rate(tokens),
            answers_per_minute: rate(60 * answers().count() as u64),
            errors: in_order(errors),
        }
    }

    /// The part of the requests that have ended which failed.
    pub fn failure_share(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
        let share = self.failed as f64 / (self.answered + self.failed).max(1) as f64;
        share
    }
}

impl Sample {
    /// How long its first text took, or has at least taken; nothing of one that failed before.
    fn wait(&self) -> Option<Duration> {
        match self.outcome {
            Outcome::Failed(_) => self.first,
            Outcome::Answered | Outcome::Unfinished => Some(self.first.unwrap_or(self.total)),
        }
    }
}

fn in_order(errors: BTreeMap<&Trouble, usize>) -> Vec<Errors> {
    let errors = errors.into_iter();
    let mut errors: Vec<_> =
        errors.map(|(trouble, requests)| Errors { trouble: trouble.clone(), requests }).collect();
    errors.sort_by_key(|errors| std::cmp::Reverse(errors.requests));
    errors
}

/// Percentiles by the nearest rank: each is a time that really was.
fn times(durations: impl Iterator<Item = Duration>) -> Option<Times> {
    let mut sorted: Vec<Duration> = durations.collect();
    sorted.sort_unstable();
    let at = |hundredths: usize| {
        let rank = (sorted.len() * hundredths).div_ceil(100);
        let found = sorted.get(rank.checked_sub(1)?)?;
        u64::try_from(found.as_millis()).ok()
    };
    Some(Times { p50: at(50)?, p95: at(95)? })
}

#[cfg(test)]
pub mod tests {
    use proptest::prelude::*;

    use super::*;

    fn millis(number: u64) -> Duration {
        Duration::from_millis(number)
    }

    pub fn step(people: usize) -> Step {
        Step { people, from: millis(0), counts_from: millis(1_000), until: millis(11_000) }
    }

    pub fn answered(began: u64, first: u64, queued: u64) -> Sample {
        Sample {
            began: millis(began),
            first: Some(millis(first)),
            total: millis(first + 100),
            queued: Some(millis(queued)),
            tokens: 7,
            outcome: Outcome::Answered,
        }
    }

    pub fn failed(status: u16, code: &str) -> Sample {
        let trouble = Trouble { status, code: code.to_owned() };
        let outcome = Outcome::Failed(trouble);
        Sample { first: None, tokens: 0, outcome, ..answered(2_000, 0, 0) }
    }

    #[test]
    fn what_begins_in_the_step_counts_whenever_it_ends() {
        let samples = [
            answered(999, 50_000, 0),
            answered(1_000, 300, 200),
            answered(10_999, 90_000, 0),
            answered(11_000, 50_000, 0),
            failed(503, "upstream_busy"),
            failed(429, "rate_limit_exceeded"),
            failed(503, "upstream_busy"),
        ];
        let figures = Figures::of(step(5), true, &samples);
        assert_eq!((figures.requests, figures.answered, figures.failed), (5, 2, 3));
        assert_eq!(figures.first_byte_ms, Some(Times { p50: 300, p95: 90_000 }));
        assert_eq!(figures.total_ms, Some(Times { p50: 400, p95: 90_100 }));
        assert_eq!(figures.queue_ms, Some(Times { p50: 0, p95: 200 }));
        assert_eq!(figures.errors[0].requests, 2);
        assert_eq!(figures.errors[0].trouble.code, "upstream_busy");
        assert_eq!(
            (figures.tokens_per_second, figures.answers_per_minute),
            (Some(1.4), Some(12.0))
        );
        assert!((figures.failure_share() - 0.6).abs() < 1e-9);
    }

    #[test]
    fn who_still_waits_counts_with_the_time_so_far() {
        let waiting = Sample {
            first: None,
            total: millis(30_000),
            outcome: Outcome::Unfinished,
            ..answered(2_000, 0, 0)
        };
        let reading = Sample { first: Some(millis(10)), ..waiting.clone() };
        let figures = Figures::of(step(2), true, &[waiting, reading]);
        assert_eq!(figures.first_byte_ms, Some(Times { p50: 10, p95: 30_000 }));
        assert_eq!((figures.total_ms, figures.queue_ms), (None, None));
        assert_eq!((figures.requests, figures.failed), (2, 0));
    }

    #[test]
    fn nothing_comes_to_nothing() {
        let figures = Figures::of(step(1), false, &[]);
        assert_eq!(
            (figures.first_byte_ms, figures.requests, figures.tokens_per_second),
            (None, 0, None)
        );
        assert!(figures.failure_share() == 0.0);
    }

    proptest! {
        #[test]
        fn a_percentile_is_a_time_that_was(times in proptest::collection::vec(0_u64..100_000, 1..60)) {
            let found = super::times(times.iter().map(|time| millis(*time))).unwrap();
            prop_assert!(times.contains(&found.p50) && times.contains(&found.p95));
            let longer = |bound: u64| times.iter().filter(|time| **time > bound).count();
            prop_assert!(longer(found.p50) * 100 <= times.len() * 50);
            prop_assert!(longer(found.p95) * 100 <= times.len() * 5);
            // And the next shorter one wouldn't do.
            let at_least = times.iter().filter(|time| **time >= found.p95).count();
            prop_assert!(at_least * 100 > times.len() * 5);
        }

        #[test]
        fn every_request_is_one_thing(ends in proptest::collection::vec(0_u8..3, 0..40)) {
            let samples: Vec<_> = ends.iter().map(|end| match end {
                0 => answered(2_000, 5, 0),
                1 => failed(502, "upstream_unreachable"),
                _ => Sample { outcome: Outcome::Unfinished, ..answered(2_000, 5, 0) },
            }).collect();
            let figures = Figures::of(step(3), true, &samples);
            let of = |kind| samples.iter().filter(|sample| sample.outcome == kind).count();
            prop_assert_eq!(figures.requests, ends.len());
            prop_assert_eq!(figures.answered, of(Outcome::Answered));
            prop_assert_eq!(figures.requests - figures.failed, figures.answered + of(Outcome::Unfinished));
            prop_assert_eq!(figures.errors.iter().map(|e| e.requests).sum::<usize>(), figures.failed);
        }
    }
}
