//! Times and numbers as people read them.

use domain::clock::{Millis, parse_moment, rfc3339};

/// This machine's clock, in milliseconds since 1970.
pub fn now() -> Millis {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX))
}

/// A moment, relative and exact: `3 min ago (2026-11-21 16:20:03 UTC)`.
pub fn both(text: &str, now: Millis) -> String {
    match parse_moment(text) {
        Some(then) => format!("{} ({})", relative(then, now), exact(then)),
        None => text.to_owned(),
    }
}

/// The same in little room: `3 min ago, 16:20:03Z`, with the date where it isn't today's.
pub fn short(text: &str, now: Millis) -> String {
    let Some(then) = parse_moment(text) else { return text.to_owned() };
    let (exact, today) = (rfc3339(then), rfc3339(now));
    let (date, time) = (exact.get(..10).unwrap_or_default(), exact.get(11..19).unwrap_or_default());
    let relative = relative(then, now);
    if today.starts_with(date) {
        format!("{relative}, {time}Z")
    } else {
        format!("{relative}, {date}")
    }
}

/// A moment, in UTC.
pub fn exact(moment: Millis) -> String {
    let text = rfc3339(moment);
    let (date, time) = (text.get(..10).unwrap_or_default(), text.get(11..19).unwrap_or_default());
    format!("{date} {time} UTC")
}

/// How far a moment is away.
pub fn relative(then: Millis, now: Millis) -> String {
    let seconds = (now - then) / 1_000;
    match seconds {
        -1..=1 => "now".to_owned(),
        2.. => format!("{} ago", span(seconds)),
        _ => format!("in {}", span(-seconds)),
    }
}

/// A length of time in its largest unit.
pub fn span(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        7_200..172_800 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// Milliseconds: `420 ms`, `4.1 s`.
pub fn milliseconds(number: i64) -> String {
    match number {
        ..1_000 => format!("{number} ms"),
        1_000..100_000 => format!("{}.{} s", number / 1_000, number % 1_000 / 100),
        _ => format!("{} s", number / 1_000),
    }
}

/// A number with commas.
pub fn number(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A length of time as it is written on a command line, in seconds: `90`, `30m`, `12h`, `30d`.
///
/// # Errors
/// Where it is something else.
pub fn parse_span(text: &str) -> Result<i64, String> {
    let (digits, factor) = match text.char_indices().last() {
        Some((at, 's')) => (&text[..at], 1),
        Some((at, 'm')) => (&text[..at], 60),
        Some((at, 'h')) => (&text[..at], 3_600),
        Some((at, 'd')) => (&text[..at], 86_400),
        _ => (text, 1),
    };
    let number = digits.parse::<u32>().ok().filter(|number| *number > 0);
    let number = number.ok_or("a length of time looks like 30m, 12h or 30d")?;
    Ok(i64::from(number) * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_relative_and_exact() {
        let now = parse_moment("2026-11-21T16:20:03Z").unwrap();
        for (text, expected) in [
            ("2026-11-21T16:20:02.999Z", "now (2026-11-21 16:20:02 UTC)"),
            ("2026-11-21T16:19:00Z", "63 s ago (2026-11-21 16:19:00 UTC)"),
            ("2026-11-21T15:20:03Z", "60 min ago (2026-11-21 15:20:03 UTC)"),
            ("2026-11-20T15:20:03Z", "25 h ago (2026-11-20 15:20:03 UTC)"),
            ("2026-12-21T16:20:03Z", "in 30 days (2026-12-21 16:20:03 UTC)"),
            ("whenever", "whenever"),
        ] {
            assert_eq!(both(text, now), expected);
        }
        assert_eq!(short("2026-11-21T15:20:03Z", now), "60 min ago, 15:20:03Z");
        assert_eq!(short("2026-11-20T15:20:03Z", now), "25 h ago, 2026-11-20");
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(number), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!([7, 4_100, 123_456].map(milliseconds), ["7 ms", "4.1 s", "123 s"]);
    }

    #[test]
    fn a_length_of_time_has_a_unit() {
        for (text, seconds) in [("90", 90), ("90s", 90), ("30m", 1_800), ("12h", 43_200)] {
            assert_eq!(parse_span(text), Ok(seconds));
        }
        for wrong in ["", "d", "-1d", "1w", "0", "1.5h", "30 d", "1ä"] {
            assert!(parse_span(wrong).is_err(), "{wrong}");
        }
    }
}
