//! `GET /health`: the gateway runs. No I/O, and nothing that could fail.

use web_sys::Response;

use crate::reply;

/// The two members, in this order.
pub fn answer() -> Response {
    let body = r#"{"status":"ok","gateway":"organized-gateway"}"#;
    reply::text_of(200, "application/json", body)
}
