//! The wall clock.

use domain::clock::Millis;

/// The wall clock's reading. On Cloudflare it advances only with I/O.
pub fn reading() -> Millis {
    // Whole milliseconds since 1970 are far within what a float holds exactly.
    #[expect(clippy::cast_possible_truncation)]
    let now = js_sys::Date::now() as Millis;
    now + crate::fault::clock_offset()
}
