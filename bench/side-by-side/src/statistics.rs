//! What is computed from the figures of a run: percentiles of one load, medians and spreads over the
//! rounds.

use serde::{Deserialize, Serialize};

/// The value that this share of the values (0 to 1) doesn't exceed: nearest rank, so that it is one of
/// them. Zero where there are none.
pub fn percentile(sorted: &[u32], share: f64) -> u32 {
    let rank = (share * sorted.len() as f64).ceil() as usize;
    let index = rank.clamp(1, sorted.len().max(1)) - 1;
    sorted.get(index).copied().unwrap_or(0)
}

/// What the rounds say of one figure.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub struct Spread {
    /// The middle one; of an even number the mean of the two in the middle.
    pub median: f64,
    pub lowest: f64,
    pub highest: f64,
    /// How many rounds have it.
    pub rounds: usize,
}

impl Spread {
    /// Of the rounds' values; nothing where no round has one, and where one isn't a number.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut sorted: Vec<f64> = values.into_iter().collect();
        if sorted.iter().any(|value| !value.is_finite()) {
            return None;
        }
        sorted.sort_by(f64::total_cmp);
        let (lowest, highest) = (*sorted.first()?, *sorted.last()?);
        let (below, above) = ((sorted.len() - 1) / 2, sorted.len() / 2);
        let median = f64::midpoint(*sorted.get(below)?, *sorted.get(above)?);
        Some(Self { median, lowest, highest, rounds: sorted.len() })
    }

    /// Of the ratios of pairs: each round's own, for what slows the machine down in a round slows both.
    pub fn of_ratios(pairs: impl IntoIterator<Item = (f64, f64)>) -> Option<Self> {
        Self::of(pairs.into_iter().map(|(one, other)| one / other))
    }
}

#[cfg(test)]
mod tests {
    use super::{Spread, percentile};

    #[test]
    fn a_percentile_is_one_of_the_values() {
        let values: Vec<u32> = (1..=100).collect();
        assert_eq!(percentile(&values, 0.5), 50);
        assert_eq!(percentile(&values, 0.99), 99);
        assert_eq!(percentile(&values, 1.0), 100);
        assert_eq!(percentile(&[7, 9], 0.5), 7);
        assert_eq!(percentile(&[7, 9], 0.51), 9);
        assert_eq!(percentile(&[7], 0.0), 7);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn a_spread_is_the_middle_and_the_ends() {
        let odd = Spread::of([3.0, 1.0, 2.0]).unwrap();
        assert_eq!(odd, Spread { median: 2.0, lowest: 1.0, highest: 3.0, rounds: 3 });
        let even = Spread::of([4.0, 1.0, 2.0, 3.0]).unwrap();
        assert_eq!(even, Spread { median: 2.5, lowest: 1.0, highest: 4.0, rounds: 4 });
        assert_eq!(Spread::of([]), None);
    }

    #[test]
    fn each_pair_is_compared_by_itself() {
        // A machine that is twice as slow in the second round changes neither ratio.
        let spread = Spread::of_ratios([(300.0, 100.0), (150.0, 50.0), (200.0, 100.0)]).unwrap();
        assert_eq!(spread, Spread { median: 3.0, lowest: 2.0, highest: 3.0, rounds: 3 });
    }

    #[test]
    fn a_ratio_that_isn_t_a_number_is_no_result() {
        assert_eq!(Spread::of_ratios([(1.0, 0.0), (1.0, 2.0)]), None);
        assert_eq!(Spread::of_ratios([(0.0, 0.0)]), None);
    }
}
