//! `POST /v1/responses`: echoes the last input of the user, whole or as a stream of events.

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
pub(crate) struct ResponsesRequest {
    model: Option<String>,
    input: Option<Input>,
    #[serde(default)]
    instructions: Option<String>,
    #[serde(default)]
    previous_response_id: Option<String>,
    #[serde(default)]
    stream: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// One input item; items that are no messages (a tool's output, say) echo as nothing.
#[derive(Deserialize)]
struct Item {
    #[serde(default)]
    role: Option<String>,
    #[serde(default)]
    content: Option<Content>,
}

/// The answer, and what the events about it have in common.
struct Answer {
    id: String,
    item_id: String,
    created_at: u64,
    model: String,
    text: String,
    usage: Value,
    instructions: Option<String>,
    previous_response_id: Option<String>,
}

pub(crate) async fn respond(Body(request): Body<ResponsesRequest>) -> Result<Response, ApiError> {
    let model = request.model.ok_or(ApiError::missing("model"))?;
    let input = request.input.ok_or(ApiError::missing("input"))?;
    let text = input.asked();
    let prompt = input.tokens() + request.instructions.as_deref().map_or(0, tokens);
    let answer = Answer {
        id: new_id("resp_"),
        item_id: new_id("msg_"),
        created_at: unix_seconds(),
        model,
        usage: usage(prompt, tokens(&text)),
        text,
        instructions: request.instructions,
        previous_response_id: request.previous_response_id,
    };
    let stream = request.stream.unwrap_or(false);
    Ok(if stream { answer.streamed() } else { Json(answer.completed()).into_response() })
}

impl Input {
    fn asked(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Items(items) => {
                let asked = items.iter().rev().find(|item| item.role.as_deref() == Some("user"));
                asked.and_then(Item::text).unwrap_or_default()
            }
        }
    }

    fn tokens(&self) -> usize {
        match self {
            Self::Text(text) => tokens(text),
            Self::Items(items) => {
                items.iter().filter_map(Item::text).map(|text| tokens(&text)).sum()
            }
        }
    }
}

impl Item {
    fn text(&self) -> Option<String> {
        self.content.as_ref().map(Content::text)
    }
}

fn usage(prompt: usize, answer: usize) -> Value {
    json!({
        "input_tokens": prompt,
        "input_tokens_details": { "cached_tokens": 0 },
        "output_tokens": answer,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": prompt + answer,
    })
}

impl Answer {
    /// The response object in the state `status`, with the output and usage known by then.
    fn response(&self, status: &str, output: &Value, usage: &Value) -> Value {
        json!({
            "id": self.id,
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "background": false,
            "error": null,
            "incomplete_details": null,
            "instructions": self.instructions,
            "max_output_tokens": null,
            "metadata": {},
            "model": self.model,
            "output": output,
            "parallel_tool_calls": true,
            "previous_response_id": self.previous_response_id,
            "reasoning": { "effort": null, "summary": null },
            "store": false,
            "temperature": 1.0,
            "text": { "format": { "type": "text" } },
            "tool_choice": "auto",
            "tools": [],
            "top_p": 1.0,
            "truncation": "disabled",
            "usage": usage,
            "user": null,
        })
    }

    fn in_progress(&self) -> Value {
        self.response("in_progress", &json!([]), &Value::Null)
    }

    fn completed(&self) -> Value {
        self.response("completed", &json!([self.item("completed", &self.text)]), &self.usage)
    }

    fn item(&self, status: &str, text: &str) -> Value {
        let content = if text.is_empty() && status == "in_progress" {
            json!([])
        } else {
            json!([output_text(text)])
        };
        json!({
            "id": self.item_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        })
    }

    /// The events in the order that the API documents, numbered from 0.
    fn streamed(&self) -> Response {
        let place = json!({ "item_id": self.item_id, "output_index": 0, "content_index": 0 });
        let mut events = vec![
            ("response.created", json!({ "response": self.in_progress() })),
            ("response.in_progress", json!({ "response": self.in_progress() })),
            (
                "response.output_item.added",
                json!({ "output_index": 0, "item": self.item("in_progress", "") }),
            ),
            ("response.content_part.added", with(&place, "part", output_text(""))),
        ];
        for piece in pieces(&self.text) {
            let delta = with(&with(&place, "delta", json!(piece)), "logprobs", json!([]));
            events.push(("response.output_text.delta", delta));
        }
        let text = with(&with(&place, "text", json!(self.text)), "logprobs", json!([]));
        events.extend([
            ("response.output_text.done", text),
            ("response.content_part.done", with(&place, "part", output_text(&self.text))),
            (
                "response.output_item.done",
                json!({ "output_index": 0, "item": self.item("completed", &self.text) }),
            ),
            ("response.completed", json!({ "response": self.completed() })),
        ]);
        paced(events.into_iter().enumerate().map(numbered).collect())
    }
}

fn output_text(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

/// `object` with one more member.
fn with(object: &Value, name: &str, value: Value) -> Value {
    let mut object = object.clone();
    if let Some(members) = object.as_object_mut() {
        members.insert(name.to_owned(), value);
    }
    object
}

fn numbered((number, (kind, body)): (usize, (&str, Value))) -> Event {
    let body = with(&with(&body, "type", json!(kind)), "sequence_number", json!(number));
    Event::default().event(kind).data(body.to_string())
}
