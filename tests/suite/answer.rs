//! An answer read to its end, and what can be asserted about it.

use std::fmt;

use gateway_tests::redaction::RUN;
use reqwest::RequestBuilder;
use reqwest::header::HeaderMap;
use serde_json::Value;

/// An answer that was read to its end.
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl fmt::Debug for Answer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = self.text();
        let end = text.floor_char_boundary(2000);
        write!(formatter, "{} {:?}\n{}", self.status, self.headers, &text[..end])
    }
}

/// Sends `request` and reads the answer to its end.
pub async fn answer(request: RequestBuilder) -> Answer {
    let (client, request) = request.build_split();
    let request = request.unwrap();
    RUN.note_request(&request);
    let path = request.url().path().to_owned();
    let response = client.execute(request).await.unwrap();
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let body = response.bytes().await.unwrap().to_vec();
    RUN.keep_answer(&path, status, &body);
    Answer { status, headers, body }
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }

    /// A header's value; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// A header that is a whole number.
    pub fn number(&self, name: &str) -> u64 {
        self.header(name).parse().unwrap_or_else(|_| panic!("{name}: {self:?}"))
    }

    pub fn request_id(&self) -> &str {
        self.header("x-request-id")
    }

    #[track_caller]
    pub fn is(&self, status: u16) {
        assert_eq!(self.status, status, "{self:?}");
    }

    /// Asserts the one shape that every error has.
    #[track_caller]
    pub fn refuses(&self, status: u16, code: &str) {
        self.is(status);
        let error = &self.json()["error"];
        assert_eq!(error["code"], code, "{error}");
        assert_eq!(error["type"], error_type(status), "{error}");
        assert_eq!(error["param"], Value::Null, "{error}");
        assert_eq!(error.as_object().unwrap().len(), 4, "{error}");
        let message = error["message"].as_str().unwrap();
        assert!(
            message.len() > 20 && (message.ends_with('.') || message.ends_with("/v1")),
            "a sentence to act on: {message}"
        );
        assert_eq!(self.json().as_object().unwrap().len(), 1);
        assert_eq!(self.header("content-type"), "application/json");
    }
}

fn error_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}
