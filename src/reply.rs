//! Answers, made on the runtime's own types.

use serde::Serialize;
use web_sys::{Headers, Response, ResponseInit};

use crate::error::Error;

/// An answer of the gateway's own, with a JSON body.
pub fn json(status: u16, body: &impl Serialize) -> Response {
    match serde_json::to_string(body) {
        Ok(text) => text_of(status, "application/json", &text),
        Err(_) => error(&Error::Internal),
    }
}

/// The answer to an error.
pub fn error(error: &Error) -> Response {
    let response = text_of(error.status(), "application/json", &error.to_json());
    for (name, value) in error.headers() {
        set(&response.headers(), name, &value);
    }
    response
}

/// An answer without a body.
pub fn empty(status: u16) -> Response {
    let init = ResponseInit::new();
    init.set_status(status);
    new(None, &init)
}

/// An answer with a body of text.
pub fn text_of(status: u16, content_type: &str, body: &str) -> Response {
    let init = ResponseInit::new();
    init.set_status(status);
    let response = new(Some(body), &init);
    set(&response.headers(), "content-type", content_type);
    response
}

/// Sets a header. The names and values here are plain ASCII, which the runtime always takes.
pub fn set(headers: &Headers, name: &str, value: &str) {
    let _ = headers.set(name, value);
}

fn new(body: Option<&str>, init: &ResponseInit) -> Response {
    // It refuses statuses outside 200–599 and bodies where none may be; neither comes here.
    Response::new_with_opt_str_and_init(body, init).unwrap_or_else(|_| Response::error())
}
