//! How many people fit, and what keeps more from it: decided from the figures alone.
//!
//! A step **fits** where at most one request in a hundred failed, and the text of ninety-five of a hundred
//! answers began within the limit: what the operator calls patience, or twice what one person alone had
//! to wait, where that is longer. As many people fit as the largest step has before the first that doesn't.

use std::time::Duration;

use serde::Serialize;

use super::figures::Figures;

/// The part of requests that may fail.
pub const MOST_FAILURES: f64 = 0.01;

/// Fewer requests than these say nothing for sure.
const ENOUGH: usize = 5;

/// So many times over what is allowed there is nothing more to learn from going on.
const CLEARLY: u32 = 2;
const CLEARLY_FAILING: f64 = 0.1;

/// What a step comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// So many people fit.
    Fits,
    /// Too many requests failed, or answers took too long to begin.
    Over,
    /// Nobody knows: it was cut short, or nothing was answered.
    Unclear,
}

/// What keeps more people from fitting.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bottleneck {
    /// Requests wait for the upstream's slots.
    Queue,
    /// The upstream takes longer, the more there are.
    Slowness,
    /// The upstream fails.
    Upstream,
    /// The upstream, or its provider, has a limit of its own.
    UpstreamLimit,
    /// A user's limits at the gateway.
    UserLimit,
    /// Something is wrong that has nothing to do with how many there are.
    Refusal,
    /// Connections from this machine come to nothing.
    Network,
    /// The gateway itself.
    Gateway,
}

/// What a check comes to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Verdict {
    /// How many people fit; 0 where not even the first step does.
    pub fits: usize,
    /// How long ninety-five of a hundred answers may take to begin, in milliseconds.
    pub limit_ms: u64,
    /// What each step comes to.
    pub judgements: Vec<Judgement>,
    /// What keeps more from it, where a step was over.
    pub bottleneck: Option<Bottleneck>,
}

impl Verdict {
    /// Decides.
    pub fn of(figures: &[Figures], patience: Duration) -> Self {
        let limit = limit(figures, patience);
        let judgements: Vec<_> = figures.iter().map(|figures| judge(figures, limit)).collect();
        let fitting = judgements.iter().take_while(|judgement| **judgement == Judgement::Fits);
        let last = fitting.count().checked_sub(1).and_then(|last| figures.get(last));
        let over = judgements.iter().position(|judgement| *judgement == Judgement::Over);
        Self {
            fits: last.map_or(0, |figures| figures.step.people),
            limit_ms: millis(limit),
            bottleneck: over.and_then(|over| figures.get(over)).map(bottleneck),
            judgements,
        }
    }

    /// The first step that doesn't fit, of those that the verdict is about.
    pub fn first_over<'a>(&self, figures: &'a [Figures]) -> Option<(&'a Figures, Judgement)> {
        let mut judged = figures.iter().zip(&self.judgements);
        let (first, judgement) = judged.find(|(_, judgement)| **judgement != Judgement::Fits)?;
        Some((first, *judgement))
    }
}

/// How long ninety-five of a hundred answers may take to begin.
pub fn limit(figures: &[Figures], patience: Duration) -> Duration {
    // Who only waited is no measure.
    let alone = figures.first().filter(|first| first.answered > 0);
    let alone = alone.and_then(|first| first.first_byte_ms);
    alone.map_or(patience, |alone| patience.max(2 * Duration::from_millis(alone.p95)))
}

/// What a step comes to.
pub fn judge(figures: &Figures, limit: Duration) -> Judgement {
    let is_slow = figures.first_byte_ms.is_some_and(|times| times.p95 > millis(limit));
    if is_slow || figures.failure_share() > MOST_FAILURES {
        Judgement::Over
    } else if figures.is_whole && figures.answered > 0 {
        Judgement::Fits
    } else {
        Judgement::Unclear
    }
}

/// Whether a step is so far over that going on would only do damage.
pub fn is_clearly_over(figures: &Figures, limit: Duration) -> bool {
    let is_slow = figures.first_byte_ms.is_some_and(|times| times.p95 > millis(CLEARLY * limit));
    let is_failing = figures.failed >= 2 && figures.failure_share() > CLEARLY_FAILING;
    figures.requests >= ENOUGH && (is_slow || is_failing)
}

/// What keeps a step from fitting that is over.
fn bottleneck(over: &Figures) -> Bottleneck {
    let often = over.errors.first().filter(|_| over.failure_share() > MOST_FAILURES);
    let Some(often) = often else {
        let [first, queued] = [over.first_byte_ms, over.queue_ms].map(Option::unwrap_or_default);
        return if 2 * queued.p95 >= first.p95 { Bottleneck::Queue } else { Bottleneck::Slowness };
    };
    match (often.trouble.status, often.trouble.code.as_str()) {
        (_, "upstream_busy") => Bottleneck::Queue,
        (_, "rate_limit_exceeded" | "concurrency_limit_exceeded") => Bottleneck::UserLimit,
        (_, "internal_error" | "database_unavailable") => Bottleneck::Gateway,
        (0, _) => Bottleneck::Network,
        (429, _) => Bottleneck::UpstreamLimit,
        (500.. | 200..=299, _) => Bottleneck::Upstream,
        _ => Bottleneck::Refusal,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::figures::tests::{answered, failed, step};
    use super::super::figures::{Outcome, Sample};
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    /// A whole step: so many answers that begin after so long, and so many failures.
    fn figures(people: usize, (answers, first): (usize, u64), failures: usize) -> Figures {
        let answers = (0..answers).map(|_| answered(2_000, first, 0));
        let failures = (0..failures).map(|_| failed(502, "upstream_unreachable"));
        let samples: Vec<_> = answers.chain(failures).collect();
        Figures::of(step(people), true, &samples)
    }

    fn verdict(figures: &[Figures]) -> Verdict {
        Verdict::of(figures, PATIENCE)
    }

    #[test]
    fn the_largest_step_before_the_first_that_is_over() {
        let steps = [
            figures(1, (9, 400), 0),
            figures(2, (9, 4_999), 0),
            figures(5, (9, 5_001), 0),
            figures(10, (9, 400), 0),
        ];
        let found = verdict(&steps);
        assert_eq!((found.fits, found.limit_ms), (2, 5_000));
        assert_eq!(found.bottleneck, Some(Bottleneck::Slowness));
        assert_eq!(found.first_over(&steps).unwrap().0.step.people, 5);
        assert_eq!(verdict(&steps[..2]).fits, 2);
        assert_eq!(verdict(&steps[..2]).bottleneck, None);
        assert_eq!(verdict(&[]).fits, 0);
    }

    #[test]
    fn a_slow_model_is_allowed_twice_what_one_person_waits() {
        let steps = [figures(1, (9, 8_000), 0), figures(2, (9, 16_000), 0)];
        assert_eq!((verdict(&steps).fits, verdict(&steps).limit_ms), (2, 16_000));
        let steps = [figures(1, (9, 8_000), 0), figures(2, (9, 16_001), 0)];
        assert_eq!(verdict(&steps).fits, 1);
    }

    #[test]
    fn who_waits_for_nothing_isn_t_what_others_are_measured_by() {
        let waiting = |number: usize| {
            let waits =
                Sample { first: None, outcome: Outcome::Unfinished, ..answered(2_000, 15_000, 0) };
            Figures::of(step(number), true, &vec![waits; number])
        };
        let steps = [waiting(1), waiting(5)];
        assert_eq!((verdict(&steps).fits, verdict(&steps).limit_ms), (0, 5_000));
        assert_eq!(verdict(&steps).bottleneck, Some(Bottleneck::Slowness));
        assert!(is_clearly_over(&steps[1], limit(&steps, PATIENCE)));
    }

    #[test]
    fn one_request_in_a_hundred_may_fail() {
        assert_eq!(verdict(&[figures(1, (99, 5), 1)]).fits, 1);
        let found = verdict(&[figures(1, (98, 5), 1)]);
        assert_eq!((found.fits, found.bottleneck), (0, Some(Bottleneck::Upstream)));
        assert_eq!(verdict(&[figures(1, (0, 5), 3)]).judgements, [Judgement::Over]);
    }

    #[test]
    fn what_was_cut_short_or_answered_nothing_fits_nobody() {
        let short = Figures { is_whole: false, ..figures(5, (9, 5), 0) };
        assert_eq!(verdict(&[figures(1, (9, 5), 0), short.clone()]).fits, 1);
        assert_eq!(judge(&short, PATIENCE), Judgement::Unclear);
        assert_eq!(judge(&figures(1, (0, 0), 0), PATIENCE), Judgement::Unclear);
        let slow = Figures { is_whole: false, ..figures(5, (9, 5_001), 0) };
        assert_eq!(judge(&slow, PATIENCE), Judgement::Over);
    }

    #[test]
    fn it_goes_on_until_there_is_nothing_more_to_learn() {
        let clear = |figures: &Figures| is_clearly_over(figures, PATIENCE);
        assert!(!clear(&figures(5, (9, 10_000), 0)) && clear(&figures(5, (9, 10_001), 0)));
        assert!(!clear(&figures(5, (4, 10_001), 0)), "a few say nothing");
        assert!(!clear(&figures(5, (18, 5), 2)) && clear(&figures(5, (17, 5), 2)));
        assert!(!clear(&figures(5, (5, 5), 1)), "one may be bad luck");
    }

    #[test]
    fn the_numbers_say_what_is_in_the_way() {
        let of = |samples: &[_]| {
            let over = Figures::of(step(9), true, samples);
            Verdict::of(&[over], Duration::from_millis(1)).bottleneck
        };
        for (status, code, found) in [
            (503, "upstream_busy", Bottleneck::Queue),
            (429, "rate_limit_exceeded", Bottleneck::UserLimit),
            (429, "insufficient_quota", Bottleneck::UpstreamLimit),
            (500, "internal_error", Bottleneck::Gateway),
            (504, "upstream_timeout", Bottleneck::Upstream),
            (200, "stream_broke", Bottleneck::Upstream),
            (0, "connection", Bottleneck::Network),
            (402, "payment_required", Bottleneck::Refusal),
        ] {
            assert_eq!(of(&[failed(status, code)]), Some(found), "{code}");
        }
        let slow = |queued| {
            let steps = [figures(1, (9, 5), 0), {
                let samples = [answered(2_000, 9_000, queued)];
                Figures::of(step(9), true, &samples)
            }];
            verdict(&steps).bottleneck
        };
        assert_eq!(slow(4_500), Some(Bottleneck::Queue));
        assert_eq!(slow(4_499), Some(Bottleneck::Slowness));
    }

    fn some_steps() -> impl Strategy<Value = Vec<Figures>> {
        let one = (0_usize..60, 0_u64..20_000, 0_usize..4, any::<bool>());
        proptest::collection::vec(one, 0..7).prop_map(|steps| {
            let step = |(place, (answers, first, failures, is_whole)): (usize, _)| Figures {
                is_whole,
                ..figures(1 << place, (answers, first), failures)
            };
            steps.into_iter().enumerate().map(step).collect()
        })
    }

    proptest! {
        #[test]
        fn who_fits_was_there_and_so_did_all_before(steps in some_steps()) {
            let found = verdict(&steps);
            let until = steps.iter().take_while(|figures| figures.step.people <= found.fits);
            let until: Vec<_> = until.collect();
            if found.fits > 0 {
                prop_assert_eq!(until.last().unwrap().step.people, found.fits);
            }
            let limit = Duration::from_millis(found.limit_ms);
            prop_assert!(until.iter().all(|figures| judge(figures, limit) == Judgement::Fits));
            let next = steps.get(until.len());
            prop_assert!(next.is_none_or(|next| judge(next, limit) != Judgement::Fits));
        }

        #[test]
        fn more_patience_never_makes_fewer_fit(steps in some_steps(), more in 0_u64..20_000) {
            let patient = Verdict::of(&steps, PATIENCE + Duration::from_millis(more));
            prop_assert!(patient.fits >= verdict(&steps).fits);
        }

        #[test]
        fn what_is_clearly_over_is_over(steps in some_steps()) {
            let limit = limit(&steps, PATIENCE);
            for figures in steps.iter().filter(|figures| is_clearly_over(figures, limit)) {
                prop_assert_eq!(judge(figures, limit), Judgement::Over);
            }
        }

        #[test]
        fn a_failure_more_never_makes_more_fit(steps in some_steps(), at in any::<prop::sample::Index>()) {
            prop_assume!(!steps.is_empty());
            let mut worse = steps.clone();
            let figures = &mut worse[at.index(steps.len())];
            figures.failed += 1;
            figures.requests += 1;
            prop_assert!(verdict(&worse).fits <= verdict(&steps).fits);
        }
    }
}
