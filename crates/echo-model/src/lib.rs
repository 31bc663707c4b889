//! A small OpenAI-compatible model that echoes what it is told.
//!
//! It is what `cargo xtask serve` puts behind the gateway where no upstream is named, so that a
//! first request works without a key or a network. It keeps to the protocol closely enough that
//! the official SDKs can't tell, accepts any key and any model name, and remembers nothing.

mod chat;
mod embeddings;
mod error;
mod events;
mod responses;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{DefaultBodyLimit, Path};
use axum::http::{Method, Uri};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::error::ApiError;

/// The one model that `GET /v1/models` lists.
pub const MODEL: &str = "echo";

/// The gateway's own default limit, so that whatever passes it is answered here too.
const MAX_BODY_BYTES: usize = 20 * 1024 * 1024;

/// Serves the echo model on `listener` until the task is dropped.
///
/// # Errors
/// What the listener reports when it can't accept connections any more.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    axum::serve(listener, router()).await
}

fn router() -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/v1/models", get(list_models))
        .route("/v1/models/{model}", get(one_model))
        .route("/v1/chat/completions", post(chat::complete))
        .route("/v1/responses", post(responses::respond))
        .route("/v1/embeddings", post(embeddings::embed))
        .fallback(unknown_url)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
}

async fn health() -> Json<Value> {
    Json(json!({ "status": "ok", "model": MODEL }))
}

async fn list_models() -> Json<Value> {
    Json(json!({ "object": "list", "data": [model_card(MODEL)] }))
}

async fn one_model(Path(model): Path<String>) -> Result<Json<Value>, ApiError> {
    if model == MODEL { Ok(Json(model_card(&model))) } else { Err(ApiError::no_such_model(&model)) }
}

fn model_card(id: &str) -> Value {
    json!({ "id": id, "object": "model", "created": 1_700_000_000, "owned_by": "organized-gateway" })
}

async fn unknown_url(method: Method, uri: Uri) -> ApiError {
    ApiError::unknown_url(&method, uri.path())
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::wrong_method(&method, uri.path())
}

/// What a message or an input item holds: plain text, or a list of parts of which some are text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

/// One part of a content list; parts that are no text (an image, a file) echo as nothing.
#[derive(Deserialize)]
struct Part {
    #[serde(default)]
    text: String,
}

impl Content {
    fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => {
                parts.iter().map(|part| part.text.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// The answer in the pieces it is streamed in: words with the white space that follows them.
fn pieces(text: &str) -> Vec<String> {
    text.split_inclusive(char::is_whitespace).map(str::to_owned).collect()
}

/// A rough count of tokens, by the usual rule that four characters make one.
fn tokens(text: &str) -> usize {
    text.chars().count().div_ceil(4)
}

/// An identifier in the protocol's form, unique within and across runs.
fn new_id(prefix: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let nanoseconds = since_epoch().as_nanos();
    format!("{prefix}{nanoseconds:024x}{:08x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Now, in Unix seconds.
fn unix_seconds() -> u64 {
    since_epoch().as_secs()
}

fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_put_together_are_the_text() {
        for text in ["", "one", " two  words\n", "größer \u{1F600} end"] {
            assert_eq!(pieces(text).concat(), text);
        }
    }

    #[test]
    fn four_characters_make_a_token_rounded_up() {
        assert_eq!([tokens(""), tokens("abcd"), tokens("abcde")], [0, 1, 2]);
    }

    #[test]
    fn ids_never_repeat() {
        assert_ne!(new_id("x-"), new_id("x-"));
    }
}
