//! What a Prometheus is told, in its text format 0.0.4.
//! <https://prometheus.io/docs/instrumenting/exposition_formats/>

use std::fmt::{self, Display, Write};

use serde::Deserialize;

/// The answer's content type.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The bounds of the durations that are counted, in milliseconds: from an answer out of a cache to an
/// agent's work.
pub const BOUNDS: [u64; 13] =
    [50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 20_000, 40_000, 80_000, 160_000, 320_000];
/// The bound of all that takes longer.
pub const BEYOND: u64 = 1_000_000_000_000;

/// What there is to be told.
#[derive(Debug, Deserialize)]
#[serde(from = "FoundTuple")]
#[expect(missing_docs, reason = "the text says what each is")]
pub struct Found {
    pub totals: Vec<(u16, String, u64, u64)>,
    /// `latency` or `ttfb`, bound, requests, milliseconds.
    pub durations: Vec<(String, u64, u64, u64)>,
    pub users: u64,
    pub blocked: u64,
    pub active: u64,
    pub notes: u64,
    pub upstreams: Vec<Upstream>,
    /// Subject, seconds.
    pub alerts: Vec<(String, u64)>,
}

/// The form in which D1 gives it: reading one with named members takes thrice the code.
type FoundTuple = (
    Vec<(u16, String, u64, u64)>,
    Vec<(String, u64, u64, u64)>,
    (u64, u64, u64, u64),
    Vec<Upstream>,
    Vec<(String, u64)>,
);

impl From<FoundTuple> for Found {
    fn from((totals, durations, counts, upstreams, alerts): FoundTuple) -> Self {
        let (users, blocked, active, notes) = counts;
        Self { totals, durations, users, blocked, active, notes, upstreams, alerts }
    }
}

/// How an upstream fares.
#[derive(Debug, Deserialize)]
#[serde(from = "UpstreamTuple")]
#[expect(missing_docs, reason = "the text says what each is")]
pub struct Upstream {
    pub name: String,
    pub slots: Option<u32>,
    pub running: u64,
    pub waiting: u64,
    pub longest_wait_ms: u64,
    pub is_well: Option<u8>,
}

type UpstreamTuple = (String, Option<u32>, u64, u64, u64, Option<u8>);

impl From<UpstreamTuple> for Upstream {
    fn from(tuple: UpstreamTuple) -> Self {
        let (name, slots, running, waiting, longest_wait_ms, is_well) = tuple;
        Self { name, slots, running, waiting, longest_wait_ms, is_well }
    }
}

/// The text.
#[must_use]
pub fn text(found: &Found) -> String {
    let mut page = Page::default();
    let requests = "Requests that were decided on, by the status and code of their answer. \
                    Status 0 is a request whose Worker died.";
    page.family("gateway_requests_total", "counter", requests);
    for (status, code, requests, _) in &found.totals {
        let status = status.to_string();
        page.sample("", &[("status", &status), ("error_code", code)], requests);
    }
    page.family(
        "gateway_tokens_total",
        "counter",
        "Tokens that answers used, some of them estimated.",
    );
    page.sample("", &[], found.totals.iter().map(|(_, _, _, tokens)| tokens).sum::<u64>());
    page.durations(
        "gateway_request_duration_seconds",
        "How long answered requests (2xx) took, from their arrival to the answer's end.",
        found.durations.iter().filter(|(measure, ..)| measure == "latency"),
    );
    page.durations(
        "gateway_time_to_first_byte_seconds",
        "How long answered requests (2xx) waited for the beginning of their answer.",
        found.durations.iter().filter(|(measure, ..)| measure == "ttfb"),
    );
    page.gauge("gateway_users", "Users that the gateway knows of.", found.users);
    page.gauge("gateway_users_blocked", "Users that the operator has blocked.", found.blocked);
    let active = "Users of whom a request ended in the last 5 minutes.";
    page.gauge("gateway_users_active", active, found.active);
    page.gauge("gateway_notes_waiting", "Notes that wait for the operator.", found.notes);
    page.upstreams(&found.upstreams);
    let alerts = "For how long what is bad now has been so: an upstream, d1, or outbox.";
    page.family("gateway_alert_age_seconds", "gauge", alerts);
    for (subject, seconds) in &found.alerts {
        page.sample("", &[("subject", subject)], seconds);
    }
    let oldest = found.alerts.iter().map(|(_, seconds)| *seconds).max().unwrap_or(0);
    let help = "For how long the oldest of what is bad now has been so; 0 where all is well.";
    page.gauge("gateway_oldest_alert_seconds", help, oldest);
    page.text
}

/// The text as far as it is written, and the name of the family that is being written.
#[derive(Default)]
struct Page {
    text: String,
    name: &'static str,
}

impl Page {
    fn family(&mut self, name: &'static str, kind: &str, help: &str) {
        self.name = name;
        // Writing to a String doesn't fail.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    fn sample(&mut self, ending: &str, labels: &[(&str, &str)], value: impl Display) {
        let _ = write!(self.text, "{}{ending}", self.name);
        for (place, (name, value)) in labels.iter().enumerate() {
            let before = if place == 0 { '{' } else { ',' };
            let _ = write!(self.text, "{before}{name}=\"{}\"", Escaped(value));
        }
        let end = if labels.is_empty() { "" } else { "}" };
        let _ = writeln!(self.text, "{end} {value}");
    }

    fn gauge(&mut self, name: &'static str, help: &str, value: u64) {
        self.family(name, "gauge", help);
        self.sample("", &[], value);
    }

    fn durations<'a>(
        &mut self,
        name: &'static str,
        help: &str,
        found: impl Iterator<Item = &'a (String, u64, u64, u64)>,
    ) {
        self.family(name, "histogram", help);
        let found: Vec<_> = found.collect();
        for bound in BOUNDS {
            let within = found.iter().filter(|(_, known, ..)| *known <= bound);
            let requests: u64 = within.map(|(_, _, requests, _)| requests).sum();
            self.sample("_bucket", &[("le", &Seconds(bound).to_string())], requests);
        }
        let requests: u64 = found.iter().map(|(_, _, requests, _)| requests).sum();
        self.sample("_bucket", &[("le", "+Inf")], requests);
        self.sample("_sum", &[], Seconds(found.iter().map(|(_, _, _, sum)| sum).sum()));
        self.sample("_count", &[], requests);
    }

    fn upstreams(&mut self, upstreams: &[Upstream]) {
        // The name, the help, and the value in thousandths.
        type Gauge = (&'static str, &'static str, fn(&Upstream) -> Option<u64>);
        let gauges: [Gauge; 5] = [
            ("gateway_upstream_slots", "Requests that an upstream runs at once.", |upstream| {
                upstream.slots.map(|slots| u64::from(slots) * 1_000)
            }),
            ("gateway_upstream_running", "Requests that have a slot.", |upstream| {
                upstream.slots.map(|_| upstream.running * 1_000)
            }),
            ("gateway_upstream_waiting", "Requests that wait for a slot.", |upstream| {
                upstream.slots.map(|_| upstream.waiting * 1_000)
            }),
            (
                "gateway_upstream_longest_wait_seconds",
                "For how long the oldest of them has waited.",
                |upstream| upstream.slots.map(|_| upstream.longest_wait_ms),
            ),
            (
                "gateway_upstream_healthy",
                "Whether an upstream is well, 1 or 0; missing until it was looked at.",
                |upstream| upstream.is_well.map(|is_well| u64::from(is_well) * 1_000),
            ),
        ];
        for (name, help, value) in gauges {
            self.family(name, "gauge", help);
            for upstream in upstreams {
                if let Some(value) = value(upstream) {
                    self.sample("", &[("upstream", &upstream.name)], Seconds(value));
                }
            }
        }
    }
}

/// A label's value as it is written between quotes.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|letter| match letter {
            '\\' => formatter.write_str("\\\\"),
            '"' => formatter.write_str("\\\""),
            '\n' => formatter.write_str("\\n"),
            other => formatter.write_char(other),
        })
    }
}

/// Milliseconds, or other thousandths, as a decimal number. Floats would cost the Worker a fiftieth of
/// its size.
struct Seconds(u64);

impl Display for Seconds {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{}.{:03}", self.0 / 1_000, self.0 % 1_000);
        formatter.write_str(text.trim_end_matches('0').trim_end_matches('.'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheuss() {
        let found = r#"[[[200,"",7,21],[429,"rate_limit_exceeded",2,0]],
            [["latency",50,3,60],["latency",2500,3,6000],["latency",1000000000000,1,400000],
            ["ttfb",50,7,70]],[5,1,2,0],
            [["default",8,3,1,1500,1],["st\"u\\d\nio",null,0,0,0,null]],
            [["d1",90],["upstream:x",7]]]"#;
        let text = text(&serde_json::from_str(found).unwrap());
        let has = |line: &str| assert!(text.lines().any(|known| known == line), "{line}\n{text}");
        has("# TYPE gateway_requests_total counter");
        has(r#"gateway_requests_total{status="200",error_code=""} 7"#);
        has(r#"gateway_requests_total{status="429",error_code="rate_limit_exceeded"} 2"#);
        has("gateway_tokens_total 21");
        has("# TYPE gateway_request_duration_seconds histogram");
        has(r#"gateway_request_duration_seconds_bucket{le="0.05"} 3"#);
        has(r#"gateway_request_duration_seconds_bucket{le="1"} 3"#);
        has(r#"gateway_request_duration_seconds_bucket{le="2.5"} 6"#);
        has(r#"gateway_request_duration_seconds_bucket{le="320"} 6"#);
        has(r#"gateway_request_duration_seconds_bucket{le="+Inf"} 7"#);
        has("gateway_request_duration_seconds_sum 406.06");
        has("gateway_request_duration_seconds_count 7");
        has("gateway_time_to_first_byte_seconds_count 7");
        has(r#"gateway_upstream_slots{upstream="default"} 8"#);
        has(r#"gateway_upstream_longest_wait_seconds{upstream="default"} 1.5"#);
        has(r#"gateway_upstream_healthy{upstream="default"} 1"#);
        assert!(!text.contains("st\\\"u"), "there is nothing to be said of it");
        has(r#"gateway_alert_age_seconds{subject="upstream:x"} 7"#);
        has("gateway_oldest_alert_seconds 90");
        assert!(text.ends_with('\n') && !text.contains("\n\n"));
        assert_eq!(Escaped("a\"b\\c\nd").to_string(), r#"a\"b\\c\nd"#);
    }

    #[test]
    fn bounds_grow() {
        assert!(BOUNDS.windows(2).all(|pair| pair[0] < pair[1]) && BOUNDS[12] < BEYOND);
    }
}
