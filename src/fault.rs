//! Faults on demand, in a build with the feature `fault-injection` alone; nothing otherwise.

#[cfg(feature = "fault-injection")]
mod injected {
    use std::cell::{Cell, RefCell};
    use std::collections::HashMap;

    thread_local! {
        static CLOCK_OFFSET: Cell<i64> = const { Cell::new(0) };
        // The objects of this runtime share the isolate, so what a request wants is known there too.
        static WANTED: RefCell<HashMap<String, String>> = RefCell::default();
    }

    /// How far the clock is moved, in milliseconds.
    pub fn clock_offset() -> i64 {
        CLOCK_OFFSET.get()
    }

    /// Moves the clock as `x-fault-clock-offset-ms` says, from now on and for the whole isolate.
    pub fn move_clock(headers: &web_sys::Headers) {
        let text = headers.get("x-fault-clock-offset-ms").ok().flatten();
        if let Some(offset) = text.and_then(|text| text.parse().ok()) {
            CLOCK_OFFSET.set(offset);
        }
    }

    /// Remembers which fault a request asks for in `x-fault`.
    pub fn note(headers: &web_sys::Headers, request_id: &str) {
        if let Some(fault) = headers.get("x-fault").ok().flatten() {
            WANTED.with_borrow_mut(|wanted| wanted.insert(request_id.to_owned(), fault));
        }
    }

    /// Panics where the request asked for a fault at this place.
    pub fn strike(request_id: &str, place: &str) {
        let wanted = WANTED.with_borrow(|wanted| wanted.get(request_id).cloned());
        assert!(wanted.as_deref() != Some(place), "a fault was asked for: {place}");
    }
}

#[cfg(not(feature = "fault-injection"))]
mod injected {
    /// Always zero.
    pub const fn clock_offset() -> i64 {
        0
    }
    /// Does nothing.
    pub const fn move_clock(_headers: &web_sys::Headers) {}
    /// Does nothing.
    pub const fn note(_headers: &web_sys::Headers, _request_id: &str) {}
    /// Does nothing.
    pub const fn strike(_request_id: &str, _place: &str) {}
}

pub use injected::{clock_offset, move_clock, note, strike};
