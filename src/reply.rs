//! Answers, as the gateway puts them together before the runtime gets them.

use domain::endpoint::Protocol;
use domain::rate_headers;
use domain::session::messages::Standing;
use serde::Serialize;
use wasm_bindgen::JsValue;
use web_sys::Response;

use crate::error::Error;
use crate::headers::HeaderList;

/// An answer.
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Its headers.
    pub headers: HeaderList,
    body: Body,
}

enum Body {
    /// Whatever the runtime takes for one.
    Ready(JsValue),
    /// An error of the gateway's: its shape is that of the protocol that its client speaks.
    Error(Error),
}

impl Reply {
    /// One with a body.
    pub fn new(status: u16, headers: HeaderList, body: impl Into<JsValue>) -> Self {
        Self { status, headers, body: Body::Ready(body.into()) }
    }

    /// Sets a header.
    pub fn set(&mut self, name: &str, value: &str) {
        self.headers.set(name, value);
    }

    /// Tells the caller where it stands.
    pub fn stand(&mut self, standing: Standing) {
        for (name, value) in rate_headers::standing_headers(standing) {
            self.set(name, &value);
        }
    }

    /// The same with these headers.
    #[must_use]
    pub fn with<'a>(mut self, headers: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        for (name, value) in headers {
            self.set(name, value);
        }
        self
    }

    /// What the runtime sends to a client that speaks this protocol.
    pub fn into_response(self, protocol: Protocol) -> Response {
        let body = match self.body {
            Body::Ready(body) => body,
            Body::Error(error) => {
                let request_id = self.headers.get("x-request-id").unwrap_or_default();
                error.to_json(protocol, request_id).into()
            }
        };
        // It refuses statuses outside 200–599 and bodies where none may be; neither comes here.
        self.headers.respond(self.status, &body).unwrap_or_else(|_| Response::error())
    }
}

/// An answer of the gateway's own, with a JSON body.
pub fn json(status: u16, body: &impl Serialize) -> Reply {
    match serde_json::to_string(body) {
        Ok(text) => text_of(status, "application/json", &text),
        Err(_) => error(&Error::Internal),
    }
}

/// The answer to an error.
pub fn error(error: &Error) -> Reply {
    let mut headers = HeaderList::default();
    headers.set("content-type", "application/json");
    let body = Body::Error(error.clone());
    let mut reply = Reply { status: error.status(), headers, body };
    for (name, value) in error.headers() {
        reply.set(name, &value);
    }
    reply
}

/// An answer without a body.
pub fn empty(status: u16) -> Reply {
    Reply::new(status, HeaderList::default(), JsValue::NULL)
}

/// An answer with a body of text.
pub fn text_of(status: u16, content_type: &str, body: &str) -> Reply {
    Reply::new(status, HeaderList::default(), body).with([("content-type", content_type)])
}
