//! The body of an error, in the shape of the protocol that its reader speaks.
//!
//! Sources: OpenAI's and Anthropic's API references, "Errors".

use serde::Serialize;

use crate::endpoint::Protocol;

/// An error, as much of it as a client reads.
#[derive(Clone, Copy, Debug)]
pub struct ErrorBody<'a> {
    /// The HTTP status, or the one that it would have.
    pub status: u16,
    /// What happened, and what to do.
    pub message: &'a str,
    /// What a program acts on.
    pub code: &'a str,
    /// `x-request-id` of the answer.
    pub request_id: &'a str,
}

#[derive(Serialize)]
struct OpenAi<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'a str,
    /// Always null: the message says which field it is about.
    param: (),
    code: &'a str,
}

#[derive(Serialize)]
struct Anthropic<'a> {
    r#type: &'a str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'a str,
    message: &'a str,
    code: &'a str,
}

impl ErrorBody<'_> {
    /// The JSON.
    #[must_use]
    pub fn to_json(self, protocol: Protocol) -> String {
        let Self { status, message, code, request_id } = self;
        // Structs of strings always serialise.
        if protocol == Protocol::Messages {
            let error = AnthropicError { r#type: anthropic_type(status), message, code };
            let body = Anthropic { r#type: "error", error, request_id };
            return serde_json::to_string(&body).unwrap_or_default();
        }
        let error = OpenAiError { message, r#type: openai_type(status), param: (), code };
        serde_json::to_string(&OpenAi { error }).unwrap_or_default()
    }
}

const fn openai_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "insufficient_quota",
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

const fn anthropic_type(status: u16) -> &'static str {
    match status {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        504 => "timeout_error",
        500.. => "api_error",
        _ => "invalid_request_error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_protocol_has_its_shape() {
        let body = ErrorBody { status: 429, message: "Wait.", code: "slow", request_id: "req_1" };
        let openai =
            r#"{"error":{"message":"Wait.","type":"rate_limit_error","param":null,"code":"slow"}}"#;
        for protocol in [Protocol::Chat, Protocol::Responses, Protocol::Media, Protocol::Other] {
            assert_eq!(body.to_json(protocol), openai);
        }
        let anthropic = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Wait.","code":"slow"},"request_id":"req_1"}"#;
        assert_eq!(body.to_json(Protocol::Messages), anthropic);
    }

    #[test]
    fn a_status_has_a_type_in_each_protocol() {
        for (status, openai, anthropic) in [
            (400, "invalid_request_error", "invalid_request_error"),
            (401, "authentication_error", "authentication_error"),
            (402, "insufficient_quota", "billing_error"),
            (404, "invalid_request_error", "not_found_error"),
            (413, "invalid_request_error", "request_too_large"),
            (502, "server_error", "api_error"),
            (503, "server_error", "overloaded_error"),
            (504, "server_error", "timeout_error"),
        ] {
            assert_eq!((openai_type(status), anthropic_type(status)), (openai, anthropic));
        }
    }
}
