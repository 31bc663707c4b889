//! The object's clock: the wall clock, but for its steps back.
//!
//! An object must not take a moment for earlier than one it has seen. When the wall clock steps
//! back, everything that the object remembers is moved back by as much, in memory and on disk: to
//! the object, no time has passed. So it goes on at the usual pace, and a restart changes nothing.

use chrono::{DateTime, Datelike, NaiveDate, SecondsFormat, Utc};

/// A moment or a duration in milliseconds; moments count from the Unix epoch.
pub type Millis = i64;

/// Notices when the wall clock steps back.
#[derive(Clone, Copy, Debug)]
pub struct ClockWatch {
    last: Millis,
}

impl ClockWatch {
    /// Begins at a reading of the wall clock.
    #[must_use]
    pub const fn new(reading: Millis) -> Self {
        Self { last: reading }
    }

    /// The last reading.
    #[must_use]
    pub const fn reading(&self) -> Millis {
        self.last
    }

    /// How far the clock has stepped back since the reading before this one.
    pub fn step_back(&mut self, reading: Millis) -> Millis {
        let step = (self.last - reading).max(0);
        self.last = reading;
        step
    }
}

/// A moment as D1 keeps it: `YYYY-MM-DD HH:MM:SS.SSS`, UTC, which compares with `datetime('now')`.
#[must_use]
pub fn sql_text(moment: Millis) -> String {
    utc(moment).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A moment in RFC 3339, UTC, with milliseconds.
#[must_use]
pub fn rfc3339(moment: Millis) -> String {
    utc(moment).to_rfc3339_opts(SecondsFormat::Millis, true)
}

/// A moment that somebody wrote: RFC 3339, or a date, whose beginning in UTC is meant. Its year has
/// four digits, as in every text that it is compared with.
#[must_use]
pub fn parse_moment(text: &str) -> Option<Millis> {
    let date = || {
        let midnight = text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?;
        Some(midnight.and_utc().timestamp_millis())
    };
    let moment = DateTime::parse_from_rfc3339(text).ok().map(|moment| moment.timestamp_millis());
    moment.or_else(date).filter(|moment| (0..=9_999).contains(&utc(*moment).year()))
}

fn utc(moment: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(moment).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_in_utc() {
        assert_eq!(sql_text(1_795_242_216_007), "2026-11-21 06:23:36.007");
        assert_eq!(rfc3339(1_795_242_216_007), "2026-11-21T06:23:36.007Z");
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, moment) in [
            ("2026-11-21T06:23:36.007Z", Some(1_795_242_216_007)),
            ("2026-11-21T08:23:36.007+02:00", Some(1_795_242_216_007)),
            ("2026-11-21", Some(1_795_219_200_000)),
            ("2026-11-31", None),
            // Their texts would compare with no other's.
            ("-2026-11-21", None),
            ("+12026-11-21", None),
            ("9999-12-31T23:59:59-01:00", None),
            ("yesterday", None),
            ("", None),
        ] {
            assert_eq!(parse_moment(text), moment, "{text}");
        }
    }

    #[test]
    fn only_steps_back_count() {
        let mut watch = ClockWatch::new(10_000);
        let steps = [10_000, 12_000, 4_000, 4_000, 9_000].map(|reading| watch.step_back(reading));
        assert_eq!(steps, [0, 0, 8_000, 0, 0]);
    }
}
