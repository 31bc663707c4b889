//! What becomes of a request body on its way to an agent gateway that takes identity from it.
//!
//! Nothing that a client writes may become an identity there. So the body must be one JSON
//! object that can be read in one way only; `user` names the conversation and goes no further;
//! `model` is one that the operator allows; and `previous_response_id` is shown to the caller,
//! who must know it for the user's own before the body is sent. Names are compared as
//! `JSON.parse` has them: escapes undone, upper and lower case apart.
//!
//! The result is UTF-8 JSON whatever the request's `content-type` said: send it as
//! [`CONTENT_TYPE`], so that no charset of the client's makes the upstream read other words.

use std::borrow::Cow;

use crate::chat_body::{ask_for_usage, is_stream};
use crate::endpoint::Protocol;
use crate::json_object::{JsonObject, JsonObjectError, string_value};

/// The `content-type` to send a prepared body with.
pub const CONTENT_TYPE: &str = "application/json";

/// The longest `previous_response_id`, in characters.
pub const MAX_RESPONSE_ID_CHARACTERS: usize = 512;

/// The models that a request may name.
#[derive(Clone, Copy, Debug)]
pub struct ModelChoice<'a> {
    /// What every other name becomes; with the user filled in.
    pub default: &'a str,
    /// The names that are let through.
    pub allowed: &'a [String],
}

/// A request body that may be sent, and what was read from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentBody {
    /// The bytes to send.
    pub body: Vec<u8>,
    /// The conversation that the field `user` named.
    pub conversation: Option<String>,
    /// The model that the body now names.
    pub model: String,
    /// The response to continue, for the responses endpoint. It must be one of this user's.
    pub previous_response_id: Option<String>,
    /// The usage chunk of the answer is the gateway's own wish, and not for the caller.
    pub strip_usage: bool,
    /// The caller asks for a stream.
    pub stream: bool,
}

/// Why a body is refused, in words for its sender; always `invalid_json`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgentBodyError {
    /// It is not the one JSON object that is wanted.
    #[error(transparent)]
    NotAnObject(#[from] JsonObjectError),
    /// `user` is neither a string nor null.
    #[error("The field \"user\" must be a string: a name of your own for this conversation.")]
    User,
    /// `previous_response_id` is neither a string of a sensible length nor null.
    #[error(
        "The field \"previous_response_id\" must be a string of at most \
         {MAX_RESPONSE_ID_CHARACTERS} characters: the id of an earlier response."
    )]
    PreviousResponseId,
}

/// Reads a request body, and makes of it what may be sent.
///
/// # Errors
/// A body that isn't one plain JSON object, or has a field of the wrong kind that matters here.
pub fn prepare(
    body: &[u8],
    protocol: Protocol,
    models: ModelChoice<'_>,
) -> Result<AgentBody, AgentBodyError> {
    let mut request = JsonObject::parse(body)?;
    // To `JSON.parse` it is a member like others, but a server that copies the object member by
    // member would take the fields inside it for the request's own.
    request.remove("__proto__");

    let user = request.remove("user");
    let conversation = optional_string(user.as_deref()).ok_or(AgentBodyError::User)?;
    let conversation = conversation.filter(|user| !user.is_empty()).map(Cow::into_owned);

    let wanted = request.get("model").and_then(string_value);
    let allowed = models.allowed.iter().find(|name| wanted.as_deref() == Some(name.as_str()));
    let model = allowed.map_or(models.default, String::as_str).to_owned();
    request.set_string("model", &model);

    let mut previous_response_id = None;
    if protocol == Protocol::Responses {
        previous_response_id = optional_string(request.get("previous_response_id"))
            .filter(|id| {
                id.as_ref().is_none_or(|id| id.chars().count() <= MAX_RESPONSE_ID_CHARACTERS)
            })
            .ok_or(AgentBodyError::PreviousResponseId)?
            .map(Cow::into_owned);
        if previous_response_id.is_none() {
            // OpenAI takes null for absent, OpenClaw doesn't.
            request.remove("previous_response_id");
        }
    }

    let stream = is_stream(&request);
    let strip_usage = stream && protocol == Protocol::Chat && ask_for_usage(&mut request);
    let body = request.to_json().into_bytes();
    Ok(AgentBody { body, conversation, model, previous_response_id, strip_usage, stream })
}

/// A string that may be missing or null; `None` if it is of another kind.
#[expect(clippy::option_option, reason = "wrong, absent and present are three things here")]
fn optional_string(json: Option<&str>) -> Option<Option<Cow<'_, str>>> {
    match json {
        None | Some("null") => Some(None),
        Some(json) => string_value(json).map(Some),
    }
}

#[cfg(test)]
mod tests;
