//! The page: one file with everything in it, for a screen of any width, for paper, and without a script.

mod plots;

use std::path::Path;

use domain::clock::parse_moment;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use serde::Serialize;

use super::course::End;
use super::figures::Figures;
use super::verdict::{Judgement, Verdict};
use super::words::{Words, name_of, people, percent, time};
use crate::moments;
use plots::Plot;

const STYLE: &str = include_str!("style.css");

/// All that is to be told of a check; what programs get.
#[derive(Serialize)]
pub struct Report<'a> {
    /// The gateway.
    pub url: String,
    /// When the ramp began.
    pub began_at: String,
    /// Why it ended.
    pub end: End,
    /// How it was checked.
    pub settings: Settings<'a>,
    /// How many fit, and why no more.
    #[serde(flatten)]
    pub verdict: &'a Verdict,
    /// The same in words.
    pub words: Words,
    /// What was measured.
    pub steps: &'a [Figures],
    /// Where the page is.
    pub page: &'a Path,
}

/// How it was checked.
#[derive(Serialize)]
pub struct Settings<'a> {
    /// How many people at most.
    pub users: usize,
    /// How long the ramp was meant to be.
    pub minutes: f64,
    /// Seconds between an answer and the next question, on average.
    pub pause_seconds: f64,
    /// Seconds that the first words may take.
    pub patience_seconds: f64,
    /// The model that was asked.
    pub model: &'a str,
    /// What was asked.
    pub prompt: &'a str,
    /// The tier that these users had.
    pub tier: Option<&'a str>,
    /// Whether an API key went on to the upstream.
    pub has_api_key: bool,
    /// The requests a minute that the gateway allows one user.
    pub requests_per_minute: Option<u32>,
    /// The gateway's upstreams, and how many requests each runs at once, where that is limited.
    pub upstreams: Vec<(String, Option<u64>)>,
}

impl Report<'_> {
    fn moment(&self) -> String {
        moments::exact(parse_moment(&self.began_at).unwrap_or_default())
    }

    /// The page.
    pub fn to_html(&self) -> String {
        let host = self.url.split("://").last().unwrap_or_default();
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.words.headline) " – " (host) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        (self.head(host))
                        (self.plots())
                        (self.table())
                        (self.failures())
                        (self.meaning())
                        (self.settings())
                    }
                }
            }
        };
        page.into_string()
    }

    fn head(&self, host: &str) -> Markup {
        let Words { headline, findings, advice, cautions } = &self.words;
        let is_well = self.verdict.first_over(self.steps).is_none();
        html! {
            header {
                p.where { "How many people fit at " strong { (host) } " · " (self.moment()) }
                h1 class=(if is_well { "good" } else { "over" }) { (headline) }
                @for finding in findings { p.finding { (finding) } }
            }
            @if !advice.is_empty() {
                section {
                    h2 { "What limits it, and what to change" }
                    @for advice in advice { p { (advice) } }
                }
            }
            @if !cautions.is_empty() {
                section.cautions {
                    h2 { "How sure this is" }
                    ul { @for caution in cautions { li { (caution) } } }
                }
            }
        }
    }

    fn plots(&self) -> Markup {
        let all = Plot::all(self.steps, self.verdict.limit_ms);
        html! {
            @if !all.is_empty() {
                section {
                    h2 { "From one person to all" }
                    div.plots {
                        @for plot in &all {
                            figure {
                                figcaption {
                                    strong { (plot.title) }
                                    span.legend {
                                        @for (name, class) in &plot.legend {
                                            span class=(class) { (name) }
                                        }
                                    }
                                }
                                (PreEscaped(&plot.svg))
                            }
                        }
                    }
                }
            }
        }
    }

    fn table(&self) -> Markup {
        let judged = self.steps.iter().zip(&self.verdict.judgements);
        html! {
            section {
                h2 { "What was measured" }
                div.scrolls tabindex="0" role="region" aria-label="What was measured" {
                    table {
                        thead {
                            tr {
                                th { "People" }
                                th { "" }
                                th.number { "Requests" }
                                th.number { "Failed" }
                                th.number { "First words" br; small { "half within" } }
                                th.number { "" br; small { "95 of 100" } }
                                th.number { "Whole answer" br; small { "half within" } }
                                th.number { "" br; small { "95 of 100" } }
                                th.number { "In the queue" br; small { "95 of 100" } }
                                th.number { "Answers" br; small { "a minute" } }
                                th.number { "Tokens" br; small { "a second" } }
                            }
                        }
                        tbody {
                            @for (figures, judgement) in judged { (row(figures, *judgement)) }
                        }
                    }
                }
            }
        }
    }

    fn failures(&self) -> Markup {
        let any = self.steps.iter().any(|figures| figures.failed > 0);
        html! {
            @if any {
                section {
                    h2 { "What failed" }
                    table.narrow {
                        thead { tr { th { "People" } th { "What" } th.number { "Requests" } } }
                        tbody {
                            @for figures in self.steps {
                                @for errors in &figures.errors {
                                    tr {
                                        td { (figures.step.people) }
                                        td { (name_of(errors.trouble.status, &errors.trouble.code)) }
                                        td.number { (errors.requests) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    fn meaning(&self) -> Markup {
        let Settings { pause_seconds, patience_seconds, .. } = self.settings;
        html! {
            section {
                h2 { "What “fit” means" }
                p {
                    "So many people fit if at most one request in a hundred fails, and the first words of 95 of \
                     100 answers come within " strong { (time(self.verdict.limit_ms)) } ". That is "
                    (patience_seconds) " s, or twice what one person alone waits, where that is longer. The number \
                     is that of the largest step before the first that is over; between two steps nothing is known."
                }
                p {
                    "A person asks, reads the answer as it comes, thinks for " (pause_seconds) " s on average, and \
                     asks again. So of N people fewer than N wait at any moment. People who think for longer are \
                     more that fit, and agents that ask again and again by themselves are fewer. Everybody asked \
                     the same, each time in a conversation of its own; longer questions and answers take longer."
                }
                p {
                    "A request counts in the step in which it began, however long it took; those of a step’s first \
                     quarter, at most ten seconds, don’t count, for new people are just arriving. Who was still \
                     waiting at the end counts with the time until then. Nothing was sent a second time. All came \
                     from one machine, over one line."
                }
            }
        }
    }

    fn settings(&self) -> Markup {
        let settings = &self.settings;
        let slots = settings.upstreams.iter().map(|(name, slots)| match slots {
            Some(slots) => format!("{name}: {slots} at once"),
            None => format!("{name}: no limit"),
        });
        let pairs: [(&str, String); 10] = [
            ("Gateway", self.url.clone()),
            ("Began", self.moment()),
            ("People", format!("up to {}", settings.users)),
            ("Length", format!("{} min", settings.minutes)),
            ("Model", settings.model.to_owned()),
            ("Question", settings.prompt.to_owned()),
            (
                "API key",
                if settings.has_api_key { "one, of the operator’s" } else { "none" }.to_owned(),
            ),
            ("Tier", settings.tier.unwrap_or("none").to_owned()),
            (
                "Requests a minute and user",
                settings
                    .requests_per_minute
                    .map_or("not known".to_owned(), |limit| limit.to_string()),
            ),
            ("Upstreams’ slots", slots.collect::<Vec<_>>().join(", ")),
        ];
        html! {
            section {
                h2 { "How it was checked" }
                dl {
                    @for (name, value) in &pairs { div { dt { (name) } dd { (value) } } }
                }
                p.made { "Made by gatewayctl " (env!("CARGO_PKG_VERSION")) "." }
            }
        }
    }
}

fn row(figures: &Figures, judgement: Judgement) -> Markup {
    let (class, word) = match judgement {
        Judgement::Fits => ("good", "fit"),
        Judgement::Over => ("over", "too many"),
        Judgement::Unclear => ("unclear", "not known"),
    };
    let Figures { first_byte_ms, total_ms, queue_ms, .. } = figures;
    let dash = || "–".to_owned();
    let [first, total] = [first_byte_ms, total_ms]
        .map(|times| times.map_or([dash(), dash()], |times| [times.p50, times.p95].map(time)));
    let queue = queue_ms.map_or(dash(), |times| time(times.p95));
    let answers = figures.answers_per_minute.map_or(dash(), |rate| format!("{rate:.0}"));
    let tokens = figures.tokens_per_second.map_or(dash(), |rate| format!("{rate:.1}"));
    let failed = match figures.failed {
        0 => "0".to_owned(),
        failed => format!("{failed} ({})", percent(figures.failure_share())),
    };
    html! {
        tr {
            th scope="row" title=(people(figures.step.people)) { (figures.step.people) }
            td { span class=(format!("mark {class}")) { (word) } }
            td.number { (figures.requests) }
            td.number { (failed) }
            @for time in first.iter().chain(&total) { td.number { (time) } }
            td.number { (queue) }
            td.number { (answers) }
            td.number { (tokens) }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::figures::tests::{answered, step};
    use super::*;

    fn page(figures: &[Figures], prompt: &str) -> String {
        let verdict = Verdict::of(figures, Duration::from_secs(5));
        let settings = Settings {
            users: 5,
            minutes: 2.0,
            pause_seconds: 5.0,
            patience_seconds: 5.0,
            model: "echo",
            prompt,
            tier: None,
            has_api_key: false,
            requests_per_minute: Some(50),
            upstreams: vec![("default".to_owned(), Some(8))],
        };
        let words = Words::of(&verdict, figures, End::Whole);
        let report = Report {
            url: "https://gw.example.com".to_owned(),
            began_at: "2026-11-21T06:23:36.007Z".to_owned(),
            end: End::Whole,
            settings,
            verdict: &verdict,
            words,
            steps: figures,
            page: Path::new("capacity.html"),
        };
        report.to_html()
    }

    fn figures(people: usize, first: u64) -> Figures {
        let samples: Vec<_> = (0..30).map(|_| answered(2_000, first, 0)).collect();
        Figures::of(step(people), true, &samples)
    }

    #[test]
    fn the_page_needs_nothing_from_elsewhere_and_runs_nothing() {
        let text = page(
            &[figures(1, 300), figures(2, 900), figures(5, 9_000)],
            "<script>alert(1)</script>",
        );
        assert!(text.contains("<h1 class=\"over\">2 people fit, 5 don’t.</h1>"), "{text}");
        assert_eq!(text.matches("<svg").count(), 4);
        for part in ["<script", "src=", "@import", "url(", "onload", "javascript:"] {
            assert!(!text.contains(part), "{part}");
        }
        let links: Vec<_> = text.match_indices("http").map(|(at, _)| &text[at..at + 22]).collect();
        let is_known = |link: &&str| {
            link.starts_with("http://www.w3.org/") || link.starts_with("https://gw.example")
        };
        assert!(links.iter().all(is_known), "{links:?}");
    }

    #[test]
    fn a_check_without_steps_has_a_page_too() {
        assert!(page(&[], "hi").contains("<h1"));
        assert_eq!(page(&[figures(1, 0)], "hi").matches("<svg").count(), 4);
    }
}
