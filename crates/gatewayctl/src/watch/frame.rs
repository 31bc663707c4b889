//! The picture of the room: a pure function of what was seen, and of the terminal's size.

use std::time::Instant;

use comfy_table::{ColumnConstraint, Row};
use domain::clock::{Millis, parse_moment};

use crate::api::{Minute, Overview, Percentiles, Tile, Upstream};
use crate::moments::{self, milliseconds};
use crate::output::{Output, Tone, cell, maybe, number, table, toned};

/// As many kinds of errors as an eye takes in.
const MOST_ERRORS: usize = 4;

/// What is shown, and how.
pub struct Picture {
    /// Where the gateway is.
    pub url: String,
    /// Seconds between two looks.
    pub every: u64,
    /// Whether colours may be used.
    pub is_coloured: bool,
    /// What was seen last.
    pub overview: Overview,
    /// When that was.
    pub seen: Instant,
    /// Why nothing newer was.
    pub problem: Option<String>,
    /// How many users are above the first that is shown.
    pub scroll: usize,
}

impl Picture {
    /// The lines of a picture of this size, and no more of them.
    pub fn lines(&mut self, width: u16, height: usize) -> Vec<String> {
        let mut lines = self.head();
        lines.push(String::new());
        let room = height.saturating_sub(lines.len());
        lines.extend(self.people(width, room));
        lines.truncate(height);
        lines
    }

    /// All above the table.
    fn head(&self) -> Vec<String> {
        let Overview { lately, people, upstreams, notes, now, minutes, .. } = &self.overview;
        let time = now.get(11..19).unwrap_or_default();
        let title = self.toned("organized-gateway", Tone::Strong);
        let beside = format!("  {} · {time} UTC · every {} s · q quits", self.url, self.every);
        let mut lines = vec![format!("{title}{}", self.toned(&beside, Tone::Faint))];
        if let Some(problem) = &self.problem {
            let age = self.seen.elapsed().as_secs();
            let text = format!("What you see is {age} s old. {problem} Trying again.");
            lines.push(self.toned(&text, Tone::Bad));
        }
        let counts = [
            (people.failing, "failing", Tone::Bad),
            (people.limited, "limited", Tone::Warning),
            (people.blocked, "blocked", Tone::Warning),
            (people.working, "working", Tone::Good),
            (people.quiet, "quiet", Tone::Plain),
            (people.never_seen, "never seen", Tone::Plain),
        ];
        let counts: Vec<_> = counts
            .into_iter()
            .map(|(count, word, tone)| {
                let tone = if count == 0 { Tone::Faint } else { tone };
                self.toned(&format!("{count} {word}"), tone)
            })
            .collect();
        lines.push(format!("{} people: {}", people.total, counts.join(" · ")));
        lines.push(format!(
            "last {}: {} requests, {} limited, {} failed, {} tokens",
            moments::span(i64::try_from(lately.seconds).unwrap_or_default()),
            moments::number(lately.requests),
            moments::number(lately.limited),
            moments::number(lately.failed),
            moments::number(lately.tokens),
        ));
        let times = [("answers", lately.latency_ms), ("first byte", lately.ttfb_ms)];
        let times: Vec<_> =
            times.into_iter().filter_map(|(name, took)| Some(percentiles(name, took?))).collect();
        if !times.is_empty() {
            lines.push(times.join("   "));
        }
        let (bars, newest) = by_minute(minutes, parse_moment(now).unwrap_or_default());
        lines.push(format!("per minute {bars} {newest} now"));
        for upstream in upstreams {
            let (text, tone) = state_of(upstream);
            lines.push(format!("upstream {}: {}", upstream.name, self.toned(&text, tone)));
        }
        for trouble in lately.errors.iter().take(MOST_ERRORS) {
            let code = trouble.code.as_ref().map_or(String::new(), |code| format!(" {code}"));
            let (times, users) = (trouble.requests, trouble.users);
            let users = if users == 1 { "1 user".to_owned() } else { format!("{users} users") };
            let text = format!("{times}× {}{code}, {users}: ", trouble.status);
            lines.push(format!("{}{}", self.toned(&text, Tone::Warning), clean(&trouble.meaning)));
        }
        if *notes > 0 {
            let text = format!("{notes} notes wait for you: gatewayctl notes");
            lines.push(self.toned(&text, Tone::Warning));
        }
        lines
    }

    /// The table of users, those first who need help most, in so many lines.
    fn people(&mut self, width: u16, room: usize) -> Vec<String> {
        let users = &self.overview.users;
        if users.is_empty() {
            return vec!["Nobody has come yet, and nobody is on the roster.".to_owned()];
        }
        // The heading, and the line that says how many aren't shown.
        let places = room.saturating_sub(2).max(1);
        self.scroll = self.scroll.min(users.len().saturating_sub(places));
        let columns = Columns::of(width);
        let mut table = table(&columns.head(), Some(width));
        if self.is_coloured {
            table.enforce_styling();
        }
        let now = parse_moment(&self.overview.now).unwrap_or_default();
        for user in users.iter().skip(self.scroll).take(places) {
            let mut row = columns.row(user, now);
            row.max_height(1);
            table.add_row(row);
        }
        let number_of_columns = table.column_count();
        for (index, column) in table.column_iter_mut().enumerate() {
            column.set_padding((0, 2));
            // Only the reason gives way.
            if index + 1 < number_of_columns {
                column.set_constraint(ColumnConstraint::ContentWidth);
            }
        }
        let mut lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        let below = users.len() - (self.scroll + places).min(users.len());
        let beyond = if self.overview.is_complete { "" } else { ", and more that aren't listed" };
        if self.scroll > 0 || below > 0 || !beyond.is_empty() {
            let text = format!("{} above, {below} below{beyond}", self.scroll);
            lines.push(self.toned(&text, Tone::Faint));
        }
        lines
    }

    fn toned(&self, text: &str, tone: Tone) -> String {
        let output = Output { is_json: false, is_coloured: self.is_coloured, width: None };
        output.toned(text, tone)
    }
}

/// How much of a user there is room for.
#[derive(Clone, Copy)]
enum Columns {
    Few,
    Some,
    All,
}

impl Columns {
    const fn of(width: u16) -> Self {
        match width {
            ..90 => Self::Few,
            90..150 => Self::Some,
            150.. => Self::All,
        }
    }

    fn head(self) -> Vec<&'static str> {
        match self {
            Self::Few => vec!["STATE", "USER_ID", "WHY"],
            Self::Some => vec!["STATE", "USER_ID", "ASKED", "LIMITED", "FAILED", "SEEN", "WHY"],
            Self::All => vec![
                "STATE", "USER_ID", "NAME", "TIER", "ASKED", "LIMITED", "FAILED", "TOKENS", "SEEN",
                "WHY",
            ],
        }
    }

    fn row(self, user: &Tile, now: Millis) -> Row {
        let tone = match user.state.as_str() {
            "failing" => Tone::Bad,
            "limited" | "blocked" => Tone::Warning,
            "working" => Tone::Good,
            _ => Tone::Faint,
        };
        let reason_tone = if tone == Tone::Faint { Tone::Faint } else { Tone::Plain };
        let state = toned(user.state.replace('_', " "), tone);
        let (user_id, reason) = (cell(&user.user_id), toned(&user.reason, reason_tone));
        let seen = user.last_seen.as_deref().and_then(parse_moment);
        let seen = cell(seen.map_or("never".to_owned(), |then| moments::relative(then, now)));
        let [asked, limited, failed] = [user.requests, user.limited, user.failed].map(number);
        let (name, tier) = (maybe(user.name.as_ref()), maybe(user.tier.as_ref()));
        let tokens = number(user.tokens);
        Row::from(match self {
            Self::Few => vec![state, user_id, reason],
            Self::Some => vec![state, user_id, asked, limited, failed, seen, reason],
            Self::All => {
                vec![state, user_id, name, tier, asked, limited, failed, tokens, seen, reason]
            }
        })
    }
}

fn percentiles(name: &str, Percentiles { p50, p90, p99 }: Percentiles) -> String {
    let [p50, p90, p99] = [p50, p90, p99].map(milliseconds);
    format!("{name} p50 {p50}, p90 {p90}, p99 {p99}")
}

/// Bars for the last fifteen minutes, and the requests of the newest.
fn by_minute(minutes: &[Minute], now: Millis) -> (String, u64) {
    const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let this = now.div_euclid(60_000);
    let counts: Vec<u64> = (0..15)
        .map(|index| {
            let is_it = |minute: &&Minute| {
                let began = parse_moment(&minute.minute).map(|began| began.div_euclid(60_000));
                began == Some(this - 14 + index)
            };
            minutes.iter().find(is_it).map_or(0, |minute| minute.requests)
        })
        .collect();
    let most = counts.iter().copied().max().unwrap_or_default().max(1);
    let bars = counts.iter().map(|count| {
        let place = usize::try_from((count * 7).div_ceil(most)).unwrap_or_default();
        BARS.get(place).copied().unwrap_or('█')
    });
    (bars.collect(), counts.last().copied().unwrap_or_default())
}

fn state_of(upstream: &Upstream) -> (String, Tone) {
    let (running, waiting) = (upstream.running.unwrap_or(0), upstream.waiting.unwrap_or(0));
    let slots = upstream.slots.map(|slots| format!("{running} of {slots} slots taken"));
    let longest = upstream.longest_wait_ms.unwrap_or_default();
    let queue =
        (waiting > 0).then(|| format!("{waiting} wait, the first for {}", milliseconds(longest)));
    let (health, tone) = match (upstream.is_well, &upstream.problem) {
        (Some(false), problem) => (problem.clone().unwrap_or("not well".to_owned()), Tone::Bad),
        (Some(true), _) if waiting > 0 => ("well".to_owned(), Tone::Warning),
        (Some(true), _) => ("well".to_owned(), Tone::Good),
        (None, _) => ("nobody has asked how it is".to_owned(), Tone::Plain),
    };
    let parts: Vec<_> = [Some(health), slots, queue].into_iter().flatten().collect();
    (parts.join(", "), tone)
}

/// A look in plain lines: the room, then whoever needs help.
pub fn plain(overview: &Overview) -> Vec<String> {
    let Overview { now, lately, people, users, upstreams, minutes, notes, .. } = overview;
    let (_, newest) = by_minute(minutes, parse_moment(now).unwrap_or_default());
    let mut parts = vec![
        format!(
            "{} people: {} failing, {} limited, {} blocked, {} working, {} quiet, {} never seen",
            people.total,
            people.failing,
            people.limited,
            people.blocked,
            people.working,
            people.quiet,
            people.never_seen
        ),
        format!(
            "{} requests in {} s, {} limited, {} failed; {newest} this minute",
            lately.requests, lately.seconds, lately.limited, lately.failed
        ),
    ];
    if let Some(Percentiles { p50, p99, .. }) = lately.latency_ms {
        parts.push(format!("p50 {}, p99 {}", milliseconds(p50), milliseconds(p99)));
    }
    if *notes > 0 {
        parts.push(format!("{notes} notes wait"));
    }
    let mut lines = vec![format!("{now}  {}", parts.join("; "))];
    for upstream in upstreams {
        let (text, tone) = state_of(upstream);
        if tone == Tone::Bad {
            lines.push(clean(&format!("  upstream {}: {text}", upstream.name)));
        }
    }
    let needs_help =
        |user: &&Tile| matches!(user.state.as_str(), "failing" | "limited" | "blocked");
    let troubled = users.iter().filter(needs_help);
    lines.extend(
        troubled
            .map(|user| clean(&format!("  {:<8} {}  {}", user.state, user.user_id, user.reason))),
    );
    lines
}

fn clean(text: &str) -> String {
    crate::output::clean(text).replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn tile(user_id: &str, state: &str, reason: &str) -> Value {
        json!({ "user_id": user_id, "name": "Ada Lovelace", "tier": "tier1", "state": state,
            "reason": reason, "last_seen": "2026-11-21T16:20:00.000Z", "requests": 12, "limited": 3,
            "failed": 0, "tokens": 1512, "new_member": [] })
    }

    fn picture(number: usize) -> Picture {
        let mut users = vec![tile("ada", "failing", "The agent can't be reached.")];
        let long = "Sends more requests a minute than are allowed. 31 were refused. ".repeat(3);
        users.push(tile("bob", "limited", &long));
        users.extend((2..number).map(|i| tile(&format!("user-{i}"), "working", "Fine.")));
        let overview = json!({
            "now": "2026-11-21T16:20:03.123Z", "notes": 2, "is_complete": true,
            "minutes": [{ "minute": "2026-11-21T16:19:00Z", "requests": 50 },
                { "minute": "2026-11-21T16:20:00Z", "requests": 7 }],
            "lately": { "seconds": 300, "requests": 1200, "limited": 4, "failed": 2, "tokens": 5120,
                "latency_ms": { "p50": 420, "p90": 1800, "p99": 4100 }, "ttfb_ms": null,
                "errors": [{ "status": 429, "code": "rate_limit_exceeded", "requests": 4, "users": 1,
                    "meaning": "Sends more." }] },
            "people": { "total": number, "working": 1, "limited": 1, "failing": 1, "blocked": 0,
                "quiet": 0, "never_seen": 0 },
            "users": users,
            "upstreams": [{ "name": "default", "slots": 8, "running": 3, "waiting": 2,
                "longest_wait_ms": 1500, "is_well": false, "problem": "no answer\u{1b}[2J" }],
        });
        Picture {
            url: "https://gw.example.com".to_owned(),
            every: 2,
            is_coloured: false,
            overview: serde_json::from_value(overview).unwrap(),
            seen: Instant::now(),
            problem: None,
            scroll: 0,
        }
    }

    #[test]
    fn it_fits_whatever_the_terminal() {
        for (width, height) in [(40, 12), (79, 24), (100, 30), (200, 60), (20, 4)] {
            let lines = picture(50).lines(width, height);
            assert!(lines.len() <= height, "{width}×{height}: {lines:#?}");
            if height >= 24 {
                let start = lines.iter().position(|line| line.starts_with("STATE")).unwrap();
                let table = &lines[start..];
                assert_eq!(lines.len(), height, "{lines:#?}");
                assert!(
                    table.iter().all(|line| line.chars().count() <= width.into()),
                    "{table:#?}"
                );
                assert!(table[1].starts_with("failing  ada"), "{table:#?}");
                assert!(table[2].ends_with('…') || width == 200, "{table:#?}");
            }
        }
    }

    #[test]
    fn it_says_what_there_is() {
        let lines = picture(3).lines(120, 40);
        let text = lines.join("\n");
        for part in [
            "3 people: 1 failing · 1 limited · 0 blocked · 1 working",
            "last 5 min: 1,200 requests, 4 limited, 2 failed, 5,120 tokens",
            "answers p50 420 ms, p90 1.8 s, p99 4.1 s",
            "per minute ▁▁▁▁▁▁▁▁▁▁▁▁▁█▂ 7 now",
            "no answer\u{fffd}[2J, 3 of 8 slots taken, 2 wait, the first for 1.5 s",
            "4× 429 rate_limit_exceeded, 1 user: Sends more.",
            "2 notes wait for you",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        assert!(!text.contains("below"), "{text}");
    }

    #[test]
    fn it_scrolls_to_the_end_and_no_further() {
        let mut picture = picture(50);
        picture.scroll = usize::MAX;
        let lines = picture.lines(100, 30);
        assert!(lines.iter().any(|line| line.contains("user-49")), "{lines:#?}");
        assert!(lines.last().unwrap().ends_with("above, 0 below"), "{lines:#?}");
        assert!(picture.scroll < 50);
    }

    #[test]
    fn a_lost_connection_is_said() {
        let mut picture = picture(3);
        picture.problem = Some("Nothing listens.".to_owned());
        let lines = picture.lines(100, 30);
        assert_eq!(lines[1], "What you see is 0 s old. Nothing listens. Trying again.");
    }

    #[test]
    fn plain_lines_name_who_needs_help() {
        let lines = plain(&picture(50).overview);
        assert_eq!(lines.len(), 4, "{lines:#?}");
        assert!(lines[0].starts_with("2026-11-21T16:20:03.123Z  50 people: 1 failing, 1 limited"));
        assert_eq!(lines[2], "  failing  ada  The agent can't be reached.");
    }
}
