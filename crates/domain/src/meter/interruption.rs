//! What a client is told when the upstream broke off in the middle of a stream.

use serde::Serialize;

use super::seen::Seen;
use crate::endpoint::Protocol;

const CODE: &str = "upstream_interrupted";
const MESSAGE: &str = "The connection to the model broke off in the middle of this answer, so it is \
                       incomplete. Please send the request again.";

#[derive(Serialize)]
struct ErrorChunk {
    error: ChunkError,
}

#[derive(Serialize)]
struct ChunkError {
    message: &'static str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: &'static str,
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
    error: ResponseError,
}

#[derive(Serialize)]
struct ResponseError {
    code: &'static str,
    message: &'static str,
}

/// The events that end a broken stream in the manner of its endpoint.
pub fn last_events(protocol: Protocol, seen: &Seen) -> String {
    if protocol == Protocol::Responses {
        let failed = json(&FailedEvent {
            r#type: "response.failed",
            sequence_number: seen.sequence_number.map(|number| number.saturating_add(1)),
            response: FailedResponse {
                id: seen.response_id.as_deref(),
                object: "response",
                status: "failed",
                error: ResponseError { code: CODE, message: MESSAGE },
            },
        });
        return format!("event: response.failed\ndata: {failed}\n\n");
    }
    let error = json(&ErrorChunk {
        error: ChunkError { message: MESSAGE, r#type: "server_error", param: None, code: CODE },
    });
    format!("data: {error}\n\ndata: [DONE]\n\n")
}

/// Structs of strings and numbers have no way to fail.
fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}
