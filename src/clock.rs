//! The wall clock.

use chrono::{DateTime, SecondsFormat, Utc};
use domain::clock::Millis;

/// The wall clock's reading. On Cloudflare it advances only with I/O.
pub fn reading() -> Millis {
    // Whole milliseconds since 1970 are far within what a float holds exactly.
    #[expect(clippy::cast_possible_truncation)]
    let now = js_sys::Date::now() as Millis;
    now + crate::fault::clock_offset()
}

/// A reading as D1 keeps it: `YYYY-MM-DD HH:MM:SS.SSS`, which compares with `datetime('now')`.
pub fn sql_text(reading: Millis) -> String {
    utc(reading).format("%Y-%m-%d %H:%M:%S%.3f").to_string()
}

/// A reading in RFC 3339, UTC.
pub fn rfc3339(reading: Millis) -> String {
    utc(reading).to_rfc3339_opts(SecondsFormat::Millis, true)
}

fn utc(reading: Millis) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(reading).unwrap_or_default()
}
