//! `POST /v1/chat/completions`: echoes the last message of the user.

use axum::Json;
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ApiError, Body};
use crate::events::paced;
use crate::{Content, new_id, pieces, tokens, unix_seconds};

/// The fields of a request that change the answer; all others are accepted and ignored.
#[derive(Deserialize)]
pub(crate) struct ChatRequest {
    model: Option<String>,
    messages: Option<Vec<Message>>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct Message {
    role: String,
    #[serde(default)]
    content: Option<Content>,
}

#[derive(Deserialize, Default)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

/// What every chunk and the whole completion have in common.
struct Completion {
    id: String,
    created: u64,
    model: String,
    text: String,
    usage: Value,
}

pub(crate) async fn complete(Body(request): Body<ChatRequest>) -> Result<Response, ApiError> {
    let model = request.model.ok_or(ApiError::missing("model"))?;
    let messages = request.messages.ok_or(ApiError::missing("messages"))?;
    if messages.is_empty() {
        return Err(ApiError::invalid("messages", "'messages' needs at least one message."));
    }
    let include_usage = request.stream_options.unwrap_or_default().include_usage;
    let stream = request.stream.unwrap_or(false);
    if include_usage && !stream {
        let message = "The 'stream_options' parameter is only allowed when 'stream' is enabled.";
        return Err(ApiError::invalid("stream_options", message));
    }
    let completion = Completion::echo(model, &messages);
    Ok(if stream { completion.streamed(include_usage) } else { completion.whole() })
}

impl Completion {
    fn echo(model: String, messages: &[Message]) -> Self {
        let text_of = |message: &Message| message.content.as_ref().map(Content::text);
        let asked = messages.iter().rev().find(|message| message.role == "user");
        let text = asked.and_then(text_of).unwrap_or_default();
        let prompt: usize = messages.iter().filter_map(text_of).map(|text| tokens(&text)).sum();
        let answer = tokens(&text);
        let usage = json!({
            "prompt_tokens": prompt,
            "completion_tokens": answer,
            "total_tokens": prompt + answer,
        });
        Self { id: new_id("chatcmpl-"), created: unix_seconds(), model, text, usage }
    }

    fn whole(self) -> Response {
        Json(json!({
            "id": self.id,
            "object": "chat.completion",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "message": { "role": "assistant", "content": self.text, "refusal": null },
                "logprobs": null,
                "finish_reason": "stop",
            }],
            "usage": self.usage,
        }))
        .into_response()
    }

    fn streamed(self, include_usage: bool) -> Response {
        let mut chunks = vec![self.chunk(&json!({ "role": "assistant", "content": "" }), None)];
        for piece in pieces(&self.text) {
            chunks.push(self.chunk(&json!({ "content": piece }), None));
        }
        chunks.push(self.chunk(&json!({}), Some("stop")));
        if include_usage {
            for chunk in &mut chunks {
                chunk["usage"] = Value::Null;
            }
            chunks.push(self.usage_chunk());
        }
        let mut events: Vec<Event> =
            chunks.iter().map(|chunk| Event::default().data(chunk.to_string())).collect();
        events.push(Event::default().data("[DONE]"));
        paced(events)
    }

    fn chunk(&self, delta: &Value, finish_reason: Option<&str>) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [{
                "index": 0,
                "delta": delta,
                "logprobs": null,
                "finish_reason": finish_reason,
            }],
        })
    }

    fn usage_chunk(&self) -> Value {
        json!({
            "id": self.id,
            "object": "chat.completion.chunk",
            "created": self.created,
            "model": self.model,
            "choices": [],
            "usage": self.usage,
        })
    }
}
