//! What a check comes to, for whoever doesn't program: how many people fit, why no more, what to change.

use serde::Serialize;

use super::course::End;
use super::figures::{Figures, Times};
use super::verdict::{Bottleneck, Judgement, Verdict, judge};
use crate::moments;

/// Fewer requests than these in a step, and the slowest one is what ninety-five of a hundred mean.
const ENOUGH: usize = 20;

/// What is said.
#[derive(Clone, Debug, Serialize)]
pub struct Words {
    /// How many fit.
    pub headline: String,
    /// What was seen, a sentence or two each.
    pub findings: Vec<String>,
    /// What to change.
    pub advice: Vec<String>,
    /// What makes the numbers less sure.
    pub cautions: Vec<String>,
}

/// So many people.
pub fn people(number: usize) -> String {
    if number == 1 { "1 person".to_owned() } else { format!("{number} people") }
}

/// Milliseconds as people read them.
pub fn time(milliseconds: u64) -> String {
    moments::milliseconds(i64::try_from(milliseconds).unwrap_or(i64::MAX))
}

/// A part of a hundred, never rounded to nothing.
pub fn percent(share: f64) -> String {
    match share * 100.0 {
        0.0 => "0 %".to_owned(),
        small @ ..0.1 if small > 0.0 => "less than 0.1 %".to_owned(),
        part @ ..10.0 => format!("{part:.1} %"),
        part => format!("{part:.0} %"),
    }
}

impl Words {
    /// Puts a verdict into words.
    pub fn of(verdict: &Verdict, figures: &[Figures], end: End) -> Self {
        let over = verdict.first_over(figures);
        let mut findings = Vec::new();
        let largest = figures.iter().rfind(|figures| figures.step.people == verdict.fits);
        if let Some(largest) = largest {
            findings.push(fitting(largest));
        }
        match over {
            Some((figures, Judgement::Over)) => findings.push(failing(figures, verdict.limit_ms)),
            Some((figures, _)) => findings.push(unknown(figures, end)),
            None if largest.is_some() => {
                findings.push("More were not tried, so it may well be more.".to_owned());
            }
            None => {}
        }
        Self {
            headline: headline(verdict.fits, over, end),
            findings,
            advice: verdict.bottleneck.map_or(Vec::new(), |found| advice(found, over)),
            cautions: cautions(verdict, figures, end),
        }
    }
}

fn headline(fits: usize, over: Option<(&Figures, Judgement)>, end: End) -> String {
    let fit = |number: usize| match number {
        1 => "1 person fits".to_owned(),
        number => format!("{} fit", people(number)),
    };
    match (fits, over) {
        (0, Some((first, Judgement::Over))) if first.step.people == 1 => {
            "Not even 1 person fits.".to_owned()
        }
        (0, Some((first, Judgement::Over))) => format!("Not even {}.", fit(first.step.people)),
        (0, _) if end == End::Interrupted => "It was stopped before anything was known.".to_owned(),
        (0, _) => "Nobody knows: nothing was answered in time to count.".to_owned(),
        (fits, Some((next, Judgement::Over))) => {
            format!("{}, {} don’t.", fit(fits), next.step.people)
        }
        (fits, Some((next, _))) => {
            format!("{}. Whether {} do isn’t known.", fit(fits), next.step.people)
        }
        (fits, None) => format!("{}.", fit(fits)),
    }
}

fn fitting(figures: &Figures) -> String {
    let Figures { step, requests, first_byte_ms, .. } = figures;
    let Times { p50, p95 } = first_byte_ms.unwrap_or_default();
    let failed = match figures.failed {
        0 => "none failed".to_owned(),
        number => format!("{number} failed ({})", percent(figures.failure_share())),
    };
    format!(
        "With {} at once, half of the answers began within {}, and 95 of 100 within {}. Of {requests} \
         requests {failed}.",
        people(step.people),
        time(p50),
        time(p95)
    )
}

fn failing(figures: &Figures, limit: u64) -> String {
    let Figures { step, failed, answered, first_byte_ms, errors, .. } = figures;
    let mut ways = Vec::new();
    if let Some(often) =
        errors.first().filter(|_| figures.failure_share() > super::verdict::MOST_FAILURES)
    {
        let ended = failed + answered;
        let share = percent(figures.failure_share());
        let what = name_of(often.trouble.status, &often.trouble.code);
        ways.push(format!("{failed} of {ended} requests failed ({share}), mostly with {what}"));
    }
    if let Some(times) = first_byte_ms.filter(|times| times.p95 > limit) {
        let [wait, limit] = [times.p95, limit].map(time);
        ways.push(format!(
            "5 of 100 answers took {wait} or longer to begin, where {limit} is the limit"
        ));
    }
    format!("With {}, {}.", people(step.people), ways.join(", and "))
}

fn unknown(figures: &Figures, end: End) -> String {
    let why = match end {
        End::Interrupted => "it was stopped then",
        End::Spent => "all requests had been sent that were allowed",
        End::Whole | End::Over => "nothing was answered in time to count",
    };
    format!("Of {} nothing can be said, for {why}.", people(figures.step.people))
}

/// A failure as a table names it.
pub fn name_of(status: u16, code: &str) -> String {
    match (status, code) {
        (0, "timeout") => "no answer in time".to_owned(),
        (0, _) => "no connection".to_owned(),
        (_, "stream_broke") => "an answer that broke off".to_owned(),
        (_, "stream_error") => "an error in the answer’s stream".to_owned(),
        (status, "no_code") => status.to_string(),
        (status, code) => format!("{status} {code}"),
    }
}

fn advice(bottleneck: Bottleneck, over: Option<(&Figures, Judgement)>) -> Vec<String> {
    let waited = over.and_then(|(figures, _)| figures.queue_ms).unwrap_or_default();
    let all: &[&str] = match bottleneck {
        Bottleneck::Queue => &[
            "The upstream’s slots limit it: requests waited in the gateway’s queue for their turn, so that \
             the upstream runs no more at once than UPSTREAM_SLOTS says.",
            "If the machine behind it isn’t busy meanwhile, raise UPSTREAM_SLOTS and check again. If it is, \
             add a node (UPSTREAMS, docs/upstreams.md), or a faster one. QUEUE_WAIT_MS only says how long a \
             request waits before it is refused.",
        ],
        Bottleneck::Slowness => &[
            "The upstream limits it: requests hardly waited in the gateway’s queue, and answers took longer \
             all the same, the more people there were.",
            "Give it a faster machine or model, or add a node (UPSTREAMS, docs/upstreams.md). If it slows \
             down because it runs too much at once, set UPSTREAM_SLOTS to what it runs well.",
        ],
        Bottleneck::Upstream => &[
            "The upstream limits it: it failed, or broke off, when there were so many.",
            "Look into its log. Set UPSTREAM_SLOTS to what it runs well, so that the rest wait their turn, or \
             add a node (UPSTREAMS, docs/upstreams.md).",
        ],
        Bottleneck::UpstreamLimit => &[
            "A limit at the upstream, or at the model’s provider, limits it: it answered 429.",
            "Have the provider raise it, or set UPSTREAM_SLOTS so that fewer requests run at once. All of \
             these people paid with one API key, where one was named: people with keys of their own have \
             limits of their own.",
        ],
        Bottleneck::UserLimit => &[
            "The gateway’s limits of one user limit it: REQUESTS_PER_MINUTE or MAX_IN_FLIGHT.",
            "Check with a longer --pause, or raise them if people really ask so often.",
        ],
        Bottleneck::Refusal => &[
            "Requests were refused, which has to do with how the gateway or its upstream is set up, and not \
             with how many people there are.",
            "The table below says with which code; docs and `gatewayctl doctor` say more.",
        ],
        Bottleneck::Network => &[
            "Connections from this machine came to nothing: it may be this machine, its network, or what \
             stands in front of the gateway.",
            "Check again from another machine and network before you change anything. A room behind one \
             access point may meet the same.",
        ],
        Bottleneck::Gateway => &[
            "The gateway itself failed, which it should never do.",
            "The Worker’s log has a line for each such request; please report it.",
        ],
    };
    let mut all: Vec<String> = all.iter().map(|text| (*text).to_owned()).collect();
    if bottleneck == Bottleneck::Queue && waited.p95 > 0 {
        all.insert(
            1,
            format!("5 of 100 requests waited there for {} or longer.", time(waited.p95)),
        );
    }
    all
}

fn cautions(verdict: &Verdict, figures: &[Figures], end: End) -> Vec<String> {
    let mut cautions = Vec::new();
    let few = figures.iter().filter(|figures| figures.is_whole && figures.requests < ENOUGH);
    let few: Vec<_> = few.map(|figures| figures.step.people.to_string()).collect();
    if !few.is_empty() {
        cautions.push(format!(
            "With {} at once there were fewer than {ENOUGH} requests: there the slowest one decides. More \
             --minutes make it surer.",
            few.join(", ")
        ));
    }
    let limit = std::time::Duration::from_millis(verdict.limit_ms);
    let over = verdict.first_over(figures).map(|(first, _)| first.step.people);
    let is_well = |figures: &&Figures| {
        over.is_some_and(|over| figures.step.people > over)
            && judge(figures, limit) == Judgement::Fits
    };
    let well = figures.iter().rfind(is_well);
    if let (Some(well), Some(over)) = (well, over) {
        cautions.push(format!(
            "With {} it was well again after it wasn’t with {over}: something else may have been in the \
             way. Check again, for longer.",
            people(well.step.people)
        ));
    }
    match end {
        End::Interrupted => cautions.push("The check was stopped before its end.".to_owned()),
        End::Over => cautions.push(
            "The check ended by itself, for it was clear by then that more people don’t fit."
                .to_owned(),
        ),
        End::Spent => {
            cautions
                .push("The check ended when all requests were sent that it may send.".to_owned());
        }
        End::Whole => {}
    }
    cautions
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::figures::tests::{answered, failed, step};
    use super::*;

    fn said(figures: &[Figures], end: End) -> Words {
        let verdict = Verdict::of(figures, Duration::from_secs(5));
        Words::of(&verdict, figures, end)
    }

    fn of(people: usize, first: u64, failures: usize) -> Figures {
        let answers = (0..30).map(|_| answered(2_000, first, first / 2));
        let failures = (0..failures).map(|_| failed(503, "upstream_busy"));
        Figures::of(step(people), true, &answers.chain(failures).collect::<Vec<_>>())
    }

    #[test]
    fn who_doesn_t_program_reads_how_many_fit() {
        let words = said(&[of(1, 400, 0), of(2, 900, 0)], End::Whole);
        assert_eq!(words.headline, "2 people fit.");
        assert_eq!(words.findings.len(), 2, "{words:?}");
        assert!(words.advice.is_empty() && words.cautions.is_empty(), "{words:?}");
        let words = said(&[of(1, 400, 0), of(2, 12_000, 3)], End::Over);
        assert_eq!(words.headline, "1 person fits, 2 don’t.");
        let why = "With 2 people, 3 of 33 requests failed (9.1 %), mostly with 503 upstream_busy, and 5 of \
                   100 answers took 12.0 s or longer to begin, where 5.0 s is the limit.";
        assert_eq!(words.findings[1], why);
        assert!(words.advice[0].contains("UPSTREAM_SLOTS"), "{words:?}");
        assert_eq!(said(&[of(1, 1, 9)], End::Over).headline, "Not even 1 person fits.");
    }

    #[test]
    fn what_isn_t_known_isn_t_said() {
        let short = Figures { is_whole: false, ..of(5, 400, 0) };
        let words = said(&[of(2, 400, 0), short.clone()], End::Interrupted);
        assert_eq!(words.headline, "2 people fit. Whether 5 do isn’t known.");
        assert_eq!(
            said(&[short], End::Interrupted).headline,
            "It was stopped before anything was known."
        );
        assert_eq!(
            said(&[], End::Interrupted).headline,
            "It was stopped before anything was known."
        );
        let again = said(&[of(1, 400, 0), of(2, 6_000, 0), of(5, 400, 0)], End::Whole);
        assert_eq!(again.headline, "1 person fits, 2 don’t.");
        assert!(again.cautions[0].contains("With 5 people it was well again"), "{again:?}");
    }

    #[test]
    fn a_little_isn_t_nothing() {
        let parts = [0.0, 0.0004, 0.004, 0.333, 1.0].map(percent);
        assert_eq!(parts, ["0 %", "less than 0.1 %", "0.4 %", "33 %", "100 %"]);
    }
}
