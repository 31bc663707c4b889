//! The tables of a run, in Markdown that can be read on a terminal too.

use std::fmt::Write as _;

use crate::options::{Contender, Load};
use crate::results::{Flood, Honest, Measure, Results};
use crate::statistics::Spread;

/// A table whose columns are as wide as what is in them.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head: Vec<String> = head.iter().map(|&cell| cell.to_owned()).collect();
    let widths: Vec<usize> = (0..head.len())
        .map(|column| {
            let cells = std::iter::once(&head).chain(rows).filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0).max(3)
        })
        .collect();
    let line = |cells: &[String]| {
        let cells = cells.iter().zip(&widths).map(|(cell, &width)| format!(" {cell:<width$} "));
        format!("|{}|\n", cells.collect::<Vec<_>>().join("|"))
    };
    let rule: Vec<String> = widths.iter().map(|width| "-".repeat(*width)).collect();
    let rows: String = rows.iter().map(|row| line(row)).collect();
    format!("{}{}{rows}", line(&head), line(&rule))
}

/// A ratio with its spread, to two digits at least.
pub fn times(spread: Option<Spread>) -> String {
    let Some(spread) = spread else { return "–".to_owned() };
    let digits = if spread.median < 0.1 { 4 } else { 2 };
    let Spread { median, lowest, highest, .. } = spread;
    format!("{median:.digits$}× ({lowest:.digits$}–{highest:.digits$})")
}

/// A figure in milliseconds, from microseconds.
fn milliseconds(spread: Option<Spread>) -> String {
    spread.map_or_else(|| "–".to_owned(), |it| format!("{:.2}", it.median / 1000.0))
}

fn figure(spread: Option<Spread>, digits: usize) -> String {
    spread.map_or_else(|| "–".to_owned(), |it| format!("{:.digits$}", it.median))
}

/// The steady loads that were measured.
pub fn steady(results: &Results) -> Vec<Load> {
    let has = |load: &Load| results.rounds.iter().any(|round| round.loads.contains_key(load));
    Load::STEADY.into_iter().filter(has).collect()
}

/// What the gateway reaches of the others' throughput.
pub fn ratios(results: &Results) -> String {
    let (gateway, loads) = (Contender::Gateway, steady(results));
    let others = results.contenders().into_iter().filter(|it| *it != gateway);
    let rows: Vec<Vec<String>> = others
        .map(|other| {
            let ratio = |load: &Load| {
                let pairs = results.pairs(*load, (gateway, other), Measure::rate);
                times(Spread::of_ratios(pairs))
            };
            [other.title().to_owned()].into_iter().chain(loads.iter().map(ratio)).collect()
        })
        .collect();
    if loads.is_empty() || rows.is_empty() || !results.contenders().contains(&gateway) {
        return String::new();
    }
    let head: Vec<&str> = ["÷"].into_iter().chain(loads.iter().map(|load| load.name())).collect();
    format!("### organized-gateway's answers a second ÷ others'\n\n{}", table(&head, &rows))
}

/// Each load with all figures: medians over the rounds.
pub fn loads(results: &Results) -> String {
    let mut text = String::new();
    for load in steady(results) {
        let head = [
            load.name(),
            "answers a second",
            "added p50 ms",
            "added p99 ms",
            "added first byte p50 ms",
            "processor s per 1,000",
            "upstream and clients s per 1,000",
            "memory MB",
        ];
        let contenders = results.contenders();
        let rows: Vec<_> = contenders.iter().map(|it| row(results, load, *it)).collect();
        let _ = writeln!(text, "{}", table(&head, &rows));
    }
    if text.is_empty() {
        return text;
    }
    let about = "Medians over the rounds. Latencies are what is added to the upstream alone in the same \
                 round and load. Processor seconds are those of all the contender's processes; memory is the most that \
                 each of them held, added up.";
    format!("### Each load\n\n{about}\n\n{}", text.trim_end().to_owned() + "\n")
}

fn row(results: &Results, load: Load, contender: Contender) -> Vec<String> {
    let measures = results.measures(load, contender);
    let of = |figure: fn(&Measure) -> f64| Spread::of(measures.iter().map(|it| figure(it)));
    let added = |figure: fn(&Measure) -> f64| {
        milliseconds(Spread::of(results.added(load, contender, figure).into_values()))
    };
    vec![
        contender.title().to_owned(),
        figure(of(Measure::rate), 0),
        added(|it| f64::from(it.whole_p50)),
        added(|it| f64::from(it.whole_p99)),
        added(|it| f64::from(it.first_byte_p50)),
        figure(of(Measure::processor_a_thousand), 3),
        figure(of(others_a_thousand), 3),
        figure(of(|it| it.highest_memory as f64 / 1e6), 0),
    ]
}

/// What the harness itself costs.
fn others_a_thousand(measure: &Measure) -> f64 {
    (measure.upstream_processor + measure.client_processor) * 1000.0 / measure.requests as f64
}

/// What a request costs in calls and rows.
pub fn costs(results: &Results) -> String {
    let each = |count: u64, requests: usize| format!("{:.2}", count as f64 / requests as f64);
    let counted = results.costs.iter().filter(|(contender, _)| contender.has_limits());
    let rows: Vec<Vec<String>> = counted
        .map(|(contender, costs)| {
            let counts = [
                costs.object_calls,
                costs.object_rows_written,
                costs.d1_rows_written,
                costs.kv_reads,
                costs.kv_writes,
            ];
            let counts = counts.map(|count| each(count, costs.requests));
            [contender.title().to_owned()].into_iter().chain(counts).collect()
        })
        .collect();
    if rows.is_empty() {
        return String::new();
    }
    let head =
        ["a request", "object calls", "rows in objects", "rows in D1", "KV reads", "KV writes"];
    format!(
        "### What a request costs\n\nCounted over {} requests of known users; the others keep nothing. The \
         more a user asks for in a second, the more rows share the writes of one batch.\n\n{}",
        results.costs.values().map(|costs| costs.requests).max().unwrap_or(0),
        table(&head, &rows)
    )
}

/// The floods of a contender, by round.
pub fn floods_of(results: &Results, contender: Contender) -> Vec<&Flood> {
    results.rounds.iter().filter_map(|round| round.floods.get(&contender)).collect()
}

/// A figure of the honest users without a flood: the geometric mean of both calm phases, so that it
/// doesn't matter which came first.
fn calm(flood: &Flood, figure: fn(&Honest) -> u32) -> f64 {
    (f64::from(figure(&flood.calm)) * f64::from(figure(&flood.calm_again))).sqrt()
}

/// A figure with the flood by that without it, round by round.
pub fn felt(floods: &[&Flood], figure: fn(&Honest) -> u32) -> Option<Spread> {
    let both = |flood: &&Flood| (f64::from(figure(&flood.flooded)), calm(flood, figure));
    Spread::of_ratios(floods.iter().map(both))
}

/// What two phases differ by that are alike: the greater of the calm ones by the smaller.
pub fn unfelt(floods: &[&Flood], figure: fn(&Honest) -> u32) -> Option<Spread> {
    let both = |flood: &&Flood| {
        let [one, other] = [&flood.calm, &flood.calm_again].map(|it| f64::from(figure(it)));
        (one.max(other), one.min(other))
    };
    Spread::of_ratios(floods.iter().map(both))
}

/// How honest users fare beside one who floods.
pub fn floods(results: &Results) -> String {
    let mut rows = Vec::new();
    for contender in Contender::ALL {
        let floods = floods_of(results, contender);
        if floods.is_empty() {
            continue;
        }
        let with = |figure: fn(&Honest) -> u32| {
            Spread::of(floods.iter().map(|flood| f64::from(figure(&flood.flooded))))
        };
        let without =
            |figure| milliseconds(Spread::of(floods.iter().map(|flood| calm(flood, figure))));
        let sum = |figure: fn(&Flood) -> u64| floods.iter().map(|it| figure(it)).sum::<u64>();
        let told = floods.iter().any(|flood| flood.rows_for_refusals.is_some());
        let refusal_rows = sum(|flood| flood.rows_for_refusals.unwrap_or(0));
        rows.push(vec![
            contender.title().to_owned(),
            without(|it| it.p50),
            milliseconds(with(|it| it.p50)),
            times(felt(&floods, |it| it.p50)),
            times(unfelt(&floods, |it| it.p50)),
            without(|it| it.p99),
            milliseconds(with(|it| it.p99)),
            times(felt(&floods, |it| it.p99)),
            times(unfelt(&floods, |it| it.p99)),
            sum(|flood| flood.refused).to_string(),
            sum(|flood| flood.admitted as u64).to_string(),
            if told { refusal_rows.to_string() } else { "–".to_owned() },
        ]);
    }
    if rows.is_empty() {
        return String::new();
    }
    let head = [
        "honest users",
        "p50 ms without",
        "with the flood",
        "ratio",
        "calm by calm",
        "p99 ms without",
        "with the flood",
        "ratio",
        "calm by calm",
        "refused",
        "admitted",
        "rows for refusals",
    ];
    format!(
        "### A flood\n\nTwenty honest users, each below a limit of {0} a minute, with and without one who \
         asks for twenty times that and has asked as often as the limit allows just before. They ask at random \
         moments, the same in each phase: without the flood, once more without it, and with it, in a random \
         order. `without` is the mean of the two calm phases, `calm by calm` what they differ by: the greater \
         by the smaller. Counts are sums over the rounds of all that this one asked for; more than {0} admitted \
         in a round is what a counter lets through that loses some of what comes at once, or begins anew with \
         the minute.\n\n{1}",
        crate::loads::flood::LIMIT,
        table(&head, &rows)
    )
}

/// The memory of many users.
pub fn crowd(results: &Results) -> String {
    let Some(crowd) = &results.crowd else { return String::new() };
    let at = |share: f64| {
        let index = (crowd.samples.len().saturating_sub(1)) as f64 * share;
        let sample = crowd.samples.get(index.round() as usize);
        sample.map_or_else(String::new, |it| format!("{}", it.bytes / 1_000_000))
    };
    let row = ["MB".to_owned(), at(0.0), at(0.25), at(0.5), at(0.75), at(1.0)].to_vec();
    format!(
        "### A crowd\n\n{} users, a tenth of them at a time, {} requests, {:.0} a second; the memory of all of the \
         gateway's processes.\n\n{}",
        crowd.users,
        crowd.requests,
        crowd.requests as f64 / crowd.seconds,
        table(&["of the requests", "0 %", "25 %", "50 %", "75 %", "100 %"], &[row])
    )
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::statistics::Spread;

    #[test]
    fn a_small_ratio_has_its_digits_too() {
        let times = |value| super::times(Spread::of([value]));
        assert_eq!(times(2.5), "2.50× (2.50–2.50)");
        assert_eq!(times(0.0123), "0.0123× (0.0123–0.0123)");
        assert_eq!(super::times(None), "–");
    }

    #[test]
    fn columns_are_as_wide_as_their_cells() {
        let rows = [vec!["×".to_owned(), "b".to_owned()], vec!["c".to_owned(), "wide".to_owned()]];
        let expected = "| head | x    |\n| ---- | ---- |\n| ×    | b    |\n| c    | wide |\n";
        assert_eq!(table(&["head", "x"], &rows), expected);
    }
}
