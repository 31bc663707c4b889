//! Faults on demand, in a build with the feature `fault-injection` alone; nothing otherwise.

#[cfg(feature = "fault-injection")]
mod injected {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::time::Duration;

    use js_sys::Reflect;
    use serde_json::json;
    use wasm_bindgen::JsValue;
    use worker::Delay;

    use crate::headers::HeaderList;
    use crate::log;

    /// How long a fault lasts that is a delay.
    const LINGER: Duration = Duration::from_secs(8);

    thread_local! {
        // The objects of this runtime share the isolate, so what a request wants is known there too.
        static WANTED: RefCell<HashMap<String, String>> = RefCell::default();
    }

    /// Where the offset is, for both modules of the Worker.
    fn clock_offset_name() -> JsValue {
        JsValue::from_str("faultClockOffset")
    }

    /// How far the clock is moved, in milliseconds.
    pub fn clock_offset() -> i64 {
        let offset = Reflect::get(&js_sys::global(), &clock_offset_name()).ok();
        #[expect(clippy::cast_possible_truncation, reason = "tests move it by whole milliseconds")]
        offset.and_then(|offset| offset.as_f64()).map_or(0, |offset| offset as i64)
    }

    /// Moves the clock as `x-fault-clock-offset-ms` says, from now on and for the whole isolate.
    pub fn move_clock(headers: &HeaderList) {
        let text = headers.get("x-fault-clock-offset-ms");
        if let Some(offset) = text.and_then(|text| text.parse::<f64>().ok()) {
            let _ = Reflect::set(&js_sys::global(), &clock_offset_name(), &offset.into());
        }
    }

    /// Remembers which fault a request asks for in `x-fault`.
    pub fn note(headers: &HeaderList, request_id: &str) {
        if let Some(fault) = headers.get("x-fault") {
            let (request_id, fault) = (request_id.to_owned(), fault.to_owned());
            WANTED.with_borrow_mut(|wanted| wanted.insert(request_id, fault));
        }
    }

    /// Panics where the request asked for a fault at this place.
    pub fn strike(request_id: &str, place: &str) {
        assert!(!is_wanted(request_id, place), "a fault was asked for: {place}");
    }

    /// Waits where the request asked for a fault at this place, and says so in the log.
    pub async fn linger(request_id: &str, place: &str) {
        if is_wanted(request_id, place) {
            log::event("linger", &json!({ "place": place }));
            Delay::from(LINGER).await;
        }
    }

    /// Writes a log line for a message to an object, for tests that count them and their bytes.
    pub fn called<M>(name: &str, bytes: usize) {
        log_message::<M>("object_call", name, bytes);
    }

    /// The same for the reply to it.
    pub fn replied<M>(name: &str, bytes: usize) {
        log_message::<M>("object_reply", name, bytes);
    }

    fn log_message<M>(event: &'static str, name: &str, bytes: usize) {
        let message = std::any::type_name::<M>().rsplit("::").next();
        log::event(event, &json!({ "object": name, "message": message, "bytes": bytes }));
    }

    fn is_wanted(request_id: &str, place: &str) -> bool {
        WANTED.with_borrow(|wanted| wanted.get(request_id).is_some_and(|fault| fault == place))
    }
}

#[cfg(not(feature = "fault-injection"))]
mod injected {
    /// Always zero.
    pub const fn clock_offset() -> i64 {
        0
    }
    /// Does nothing.
    pub const fn move_clock(_headers: &crate::headers::HeaderList) {}
    /// Does nothing.
    pub const fn note(_headers: &crate::headers::HeaderList, _request_id: &str) {}
    /// Does nothing.
    pub const fn strike(_request_id: &str, _place: &str) {}
    /// Does nothing.
    pub async fn linger(_request_id: &str, _place: &str) {}
    /// Does nothing.
    pub const fn called<M>(_name: &str, _bytes: usize) {}
    /// Does nothing.
    pub const fn replied<M>(_name: &str, _bytes: usize) {}
}

pub use injected::{called, clock_offset, linger, move_clock, note, replied, strike};
