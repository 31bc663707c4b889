//! What the gateway is to reach beside the others, and what it has reached in this run.

use super::tables::{self, floods_of, times};
use crate::loads::flood::LIMIT;
use crate::options::{Contender, Load, StateOn};
use crate::results::{Crowd, Honest, Measure, Results};
use crate::statistics::Spread;

/// How much of the third quarter's memory that of a crowd's last quarter may be.
const FLAT: f64 = 1.05;

/// How many refusals of a minute are rows of their own; the rest are folded into a few.
const ROWS_A_MINUTE: u64 = 100;

struct Promise {
    what: String,
    reached: String,
    is_kept: bool,
}

/// The promises that this run can tell of.
pub fn table(results: &Results) -> String {
    let mut found = speed(results);
    found.extend(latency(results));
    found.extend(flood(results));
    found.extend(results.crowd.as_ref().and_then(memory));
    if found.is_empty() {
        return String::new();
    }
    let rows: Vec<Vec<String>> = found
        .into_iter()
        .map(|it| vec![it.what, it.reached, if it.is_kept { "yes" } else { "**no**" }.to_owned()])
        .collect();
    format!("### What was promised\n\n{}", tables::table(&["promised", "reached", "kept"], &rows))
}

/// The throughput on sixteen connections.
fn speed(results: &Results) -> Vec<Promise> {
    let promised: &[(Contender, f64)] = match results.state_on {
        StateOn::Disk => &[(Contender::Original, 2.5), (Contender::Litellm, 5.0)],
        StateOn::Tmpfs => {
            &[(Contender::Original, 4.0), (Contender::PassThrough, 0.55), (Contender::Portkey, 1.0)]
        }
    };
    let mut found = Vec::new();
    for load in [Load::Json16, Load::Sse16] {
        for (other, least) in promised {
            let pair = (Contender::Gateway, *other);
            let Some(ratio) = Spread::of_ratios(results.pairs(load, pair, Measure::rate)) else {
                continue;
            };
            found.push(Promise {
                what: format!(
                    "{}: at least {least}× the throughput of {}",
                    load.name(),
                    other.title()
                ),
                reached: times(Some(ratio)),
                is_kept: ratio.median >= *least,
            });
        }
    }
    found
}

/// What is added at the median on one connection, where no disk is waited for.
fn latency(results: &Results) -> Vec<Promise> {
    if results.state_on != StateOn::Tmpfs {
        return Vec::new();
    }
    let own = |contender| results.added(Load::Json1, contender, |it| f64::from(it.whole_p50));
    let gateway = own(Contender::Gateway);
    let promised = [(Contender::PassThrough, 2.0), (Contender::Portkey, 1.0)];
    let promise = |(other, most): (Contender, f64)| {
        let others = own(other);
        let pairs = gateway.iter().filter_map(|(round, ours)| Some((*ours, *others.get(round)?)));
        let ratio = Spread::of_ratios(pairs)?;
        Some(Promise {
            what: format!("json-1: at most {most}× the added median of {}", other.title()),
            reached: times(Some(ratio)),
            is_kept: ratio.median <= most,
        })
    };
    promised.into_iter().filter_map(promise).collect()
}

/// Honest users beside a flood, and the rows that refusals cost.
fn flood(results: &Results) -> Vec<Promise> {
    let floods = floods_of(results, Contender::Gateway);
    let mut found = Vec::new();
    let figures: [fn(&Honest) -> u32; 2] = [|it| it.p50, |it| it.p99];
    for (name, figure) in ["median", "p99"].into_iter().zip(figures) {
        let (felt, unfelt) = (tables::felt(&floods, figure), tables::unfelt(&floods, figure));
        let (Some(felt), Some(unfelt)) = (felt, unfelt) else { continue };
        found.push(Promise {
            what: format!("a flood leaves the honest users' {name} within the run's own spread"),
            reached: format!(
                "{}; calm phases differ by {}",
                times(Some(felt)),
                times(Some(unfelt))
            ),
            is_kept: felt.median <= unfelt.highest,
        });
    }
    let most = floods.iter().filter_map(|flood| flood.rows_for_refusals).max();
    let refused = floods.iter().map(|flood| flood.refused).max();
    if let (Some(most), Some(refused)) = (most, refused) {
        found.push(Promise {
            what: format!(
                "of {LIMIT} × 20 a minute, few rows beyond the first {ROWS_A_MINUTE} of each"
            ),
            reached: format!("{most} rows for {refused} refusals"),
            // A flood may touch two minutes, and what is folded is a few rows too.
            is_kept: most <= ROWS_A_MINUTE * 3,
        });
    }
    found
}

/// Whether the memory has stopped growing.
fn memory(crowd: &Crowd) -> Option<Promise> {
    let quarter = |from: usize| {
        let (begin, end) = (crowd.samples.len() * from / 4, crowd.samples.len() * (from + 1) / 4);
        Spread::of(crowd.samples.get(begin..end)?.iter().map(|sample| sample.bytes as f64))
    };
    let (third, last) = (quarter(2)?.median, quarter(3)?.median);
    Some(Promise {
        what: format!("memory is flat over {} requests of {} users", crowd.requests, crowd.users),
        reached: format!("{:.0} MB, then {:.0} MB in the last quarter", third / 1e6, last / 1e6),
        is_kept: last <= third * FLAT,
    })
}

#[cfg(test)]
mod tests {
    use super::{flood, memory};
    use crate::report::tests::KEPT;
    use crate::results::{Crowd, MemorySample, Results};

    fn crowd(bytes: impl Fn(usize) -> u64) -> Crowd {
        let sample = |requests| MemorySample { requests, bytes: bytes(requests) };
        Crowd { users: 1, requests: 40, seconds: 1.0, samples: (0..=40).map(sample).collect() }
    }

    #[test]
    fn memory_that_grows_until_the_end_isn_t_flat() {
        assert!(memory(&crowd(|_| 100)).unwrap().is_kept);
        assert!(memory(&crowd(|requests| 100 + requests.min(20) as u64 * 10)).unwrap().is_kept);
        assert!(!memory(&crowd(|requests| 100 + requests as u64 * 10)).unwrap().is_kept);
    }

    #[test]
    fn a_flood_is_felt_where_it_changes_more_than_nothing_does() {
        let kept = |calm, calm_again, flooded| {
            let mut results: Results = serde_json::from_str(KEPT).unwrap();
            for it in results.rounds.iter_mut().flat_map(|round| round.floods.values_mut()) {
                (it.calm.p50, it.calm_again.p50, it.flooded.p50) = (calm, calm_again, flooded);
            }
            flood(&results).first().unwrap().is_kept
        };
        // They differ by 1.21, and 1,100 is their mean.
        for (calm, again) in [(1_000, 1_210), (1_210, 1_000)] {
            assert!(kept(calm, again, 1_330));
            assert!(!kept(calm, again, 1_332));
            assert!(kept(calm, again, 900));
        }
    }
}
