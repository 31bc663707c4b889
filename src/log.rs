//! The structured log: one JSON object a line, and no secret in it.

use domain::kit::without_token;
use domain::path::gateway_path;
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
/// out of it: it may hold what its sender should not have put there. So does a kit's token.
pub fn early(incoming: &Incoming, status: u16, error_code: Option<&str>) {
    #[derive(Serialize)]
    struct Early<'a> {
        request_id: &'a str,
        method: &'a str,
        endpoint: Option<&'a str>,
        status: u16,
        error_code: Option<&'a str>,
        latency_ms: i64,
    }
    // What is no path of ours may be anything, a key that was pasted into the wrong place too, and
    // so may be the USER_ID in a path.
    let is_ours = !matches!(error_code, Some("not_found" | "invalid_path" | "invalid_user_id"));
    let path =
        gateway_path(&incoming.path).map_or(without_token(&incoming.path), |path| path.upstream);
    let line = Early {
        request_id: &incoming.request_id,
        method: &incoming.method,
        endpoint: is_ours.then_some(path),
        status,
        error_code,
        latency_ms: incoming.elapsed(),
    };
    event("request", &line);
}
