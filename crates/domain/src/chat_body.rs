//! What the gateway reads and changes in a chat request that goes on in the caller's own name.
//!
//! To count a stream's tokens it asks for the usage chunk where the caller did not, and notes
//! that this chunk is to be taken out of the answer again. All else goes on byte for byte; a body
//! that can't be read is the upstream's to judge.

use crate::json_object::{JsonObject, string_value};

/// The longest model name that is logged, in characters.
const MAX_MODEL_CHARACTERS: usize = 128;

/// What is to be done with one chat request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChatBody {
    /// The body to send in place of the caller's; `None` leaves it as it came.
    pub replacement: Option<Vec<u8>>,
    /// The usage chunk of the answer is the gateway's own wish, and not for the caller.
    pub strip_usage: bool,
    /// The caller asks for a stream.
    pub stream: bool,
    /// The model's name as the caller gave it, fit for a log; `None` if it is not.
    pub model: Option<String>,
}

/// Reads the body of `POST /v1/chat/completions`.
#[must_use]
pub fn prepare(body: &[u8]) -> ChatBody {
    let Ok(mut request) = JsonObject::parse(body) else { return ChatBody::default() };
    let model = model(&request);
    let stream = is_stream(&request);
    let strip_usage = stream && ask_for_usage(&mut request);
    let replacement = strip_usage.then(|| request.to_json().into_bytes());
    ChatBody { replacement, strip_usage, stream, model }
}

/// The model's name in the bytes of any request body; `None` where that is no JSON object.
#[must_use]
pub fn model_in(body: &[u8]) -> Option<String> {
    model(&JsonObject::parse(body).ok()?)
}

/// The model's name in any request body, fit for a log; `None` if there is none, or it is not.
#[must_use]
pub fn model(request: &JsonObject<'_>) -> Option<String> {
    let name = string_value(request.get("model")?)?;
    let fit = !name.is_empty()
        && name.chars().count() <= MAX_MODEL_CHARACTERS
        && !name.chars().any(char::is_control);
    fit.then(|| name.into_owned())
}

/// Whether a request asks for a stream.
pub(crate) fn is_stream(request: &JsonObject<'_>) -> bool {
    request.get("stream") == Some("true")
}

/// Sets `stream_options.include_usage`; true if the caller had not asked for usage.
///
/// Options of a wrong kind are left alone: the upstream says what is wrong with them.
pub(crate) fn ask_for_usage(request: &mut JsonObject<'_>) -> bool {
    let text = request.get("stream_options").unwrap_or("null").to_owned();
    let mut options = match text.as_str() {
        "null" => JsonObject::empty(),
        text => match JsonObject::parse(text.as_bytes()) {
            Ok(options) => options,
            Err(_) => return false,
        },
    };
    if !matches!(options.get("include_usage"), None | Some("null" | "false")) {
        return false;
    }
    options.set_bool("include_usage", true);
    request.set_object("stream_options", &options);
    true
}

#[cfg(test)]
mod tests;
