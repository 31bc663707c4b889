//! What a client is told at the end of a stream that didn't come to its end.

use serde::Serialize;

use super::Cause;
use super::seen::Seen;
use crate::endpoint::Protocol;
use crate::error_body::ErrorBody;

impl Cause {
    /// The status that the answer would have, if it hadn't begun.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::BrokeOff | Self::EndedEarly | Self::Empty | Self::Failed => 502,
            Self::Silent => 504,
        }
    }

    /// The error's code.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::BrokeOff => "upstream_interrupted",
            Self::EndedEarly => "upstream_incomplete",
            Self::Empty | Self::Failed => "upstream_error",
            Self::Silent => "upstream_timeout",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::BrokeOff => {
                "The connection to the model broke off in the middle of this answer, so it is \
                 incomplete. Please send the request again."
            }
            Self::EndedEarly => {
                "The model's service ended this answer before it was complete. Please send the \
                 request again."
            }
            Self::Empty => {
                "The model's service sent an empty answer. Please send the request again."
            }
            Self::Failed => "The model's service said that this answer failed.",
            Self::Silent => {
                "The model's service sent nothing for too long, so this answer was ended. It is \
                 incomplete. Please send the request again."
            }
        }
    }
}

#[derive(Serialize)]
struct FailedEvent<'a> {
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    sequence_number: Option<u64>,
    response: FailedResponse<'a>,
}

#[derive(Serialize)]
struct FailedResponse<'a> {
    id: Option<&'a str>,
    object: &'static str,
    status: &'static str,
    error: ResponseError<'a>,
}

#[derive(Serialize)]
struct ResponseError<'a> {
    code: &'a str,
    message: &'a str,
}

/// The events that end such a stream in the manner of its protocol. What the upstream has said of an error
/// is repeated.
pub fn last_events(protocol: Protocol, seen: &Seen, cause: Cause, request_id: &str) -> String {
    let said = seen.error.as_ref();
    let code = said.map(|said| said.code.as_str()).filter(|code| !code.is_empty());
    let message = said.map(|said| said.message.as_str()).filter(|message| !message.is_empty());
    let error = ErrorBody {
        status: cause.status(),
        message: message.unwrap_or(cause.message()),
        code: code.unwrap_or(cause.code()),
        request_id,
    };
    match protocol {
        Protocol::Responses => failed_response(seen, error),
        Protocol::Messages => format!("event: error\ndata: {}\n\n", error.to_json(protocol)),
        Protocol::Media => format!("data: {}\n\n", error.to_json(protocol)),
        Protocol::Chat | Protocol::Other => {
            format!("data: {}\n\ndata: [DONE]\n\n", error.to_json(protocol))
        }
    }
}

/// The one event that ends a response which failed: for this protocol's clients an error event ends nothing.
fn failed_response(seen: &Seen, error: ErrorBody<'_>) -> String {
    let ErrorBody { code, message, .. } = error;
    let response = FailedResponse {
        id: seen.response_id.as_deref(),
        object: "response",
        status: "failed",
        error: ResponseError { code, message },
    };
    let sequence_number = seen.sequence_number.map(|number| number.saturating_add(1));
    let event = FailedEvent { r#type: "response.failed", sequence_number, response };
    // Structs of strings and numbers always serialise.
    let event = serde_json::to_string(&event).unwrap_or_default();
    format!("event: response.failed\ndata: {event}\n\n")
}
