//! The structured log: one JSON object a line, and no secret in it.

use serde::Serialize;
use serde_json::json;
use worker::{console_error, console_log};

use crate::incoming::Incoming;

/// Writes a line of an event.
pub fn event(name: &'static str, fields: &impl Serialize) {
    #[derive(Serialize)]
    struct Line<'a, F: Serialize> {
        event: &'static str,
        #[serde(flatten)]
        fields: &'a F,
    }
    if let Ok(line) = serde_json::to_string(&Line { event: name, fields }) {
        console_log!("{line}");
    }
}

/// Writes a line for the operator about something that should not have happened.
pub fn fault(what: &'static str, detail: &str) {
    console_error!("{}", json!({"event": "fault", "what": what, "detail": detail}));
}

/// Writes the line of a request that was not admitted, or needed no admission. The query stays
/// out of it: it may hold what its sender should not have put there.
pub fn early(incoming: &Incoming, status: u16, error_code: Option<&str>) {
    #[derive(Serialize)]
    struct Early<'a> {
        request_id: &'a str,
        endpoint: String,
        status: u16,
        error_code: Option<&'a str>,
        latency_ms: i64,
    }
    let endpoint = format!("{} {}", incoming.method, incoming.path);
    let (request_id, latency_ms) = (incoming.request_id.as_str(), incoming.elapsed());
    event("request", &Early { request_id, endpoint, status, error_code, latency_ms });
}
