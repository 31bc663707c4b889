//! `POST /v1/embeddings`: small vectors that depend on the words alone, the same in every run.

use axum::Json;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::error::{ApiError, Body};
use crate::tokens;

/// How long a vector is where the request names no `dimensions`.
const DIMENSIONS: usize = 64;

/// The longest vector that is made: that of the largest public model of the kind.
const MAX_DIMENSIONS: usize = 3072;

/// The fields of a request that change the answer; all others are accepted and ignored.
#[derive(Deserialize)]
pub(crate) struct EmbeddingsRequest {
    model: Option<String>,
    input: Option<Input>,
    #[serde(default)]
    dimensions: Option<usize>,
    #[serde(default)]
    encoding_format: Option<Encoding>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Texts(Vec<String>),
    Tokens(Vec<u64>),
    TokenLists(Vec<Vec<u64>>),
}

#[derive(Deserialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Float,
    Base64,
}

pub(crate) async fn embed(Body(request): Body<EmbeddingsRequest>) -> Result<Json<Value>, ApiError> {
    let model = request.model.ok_or(ApiError::missing("model"))?;
    let texts = request.input.ok_or(ApiError::missing("input"))?.texts();
    if texts.is_empty() || texts.iter().any(String::is_empty) {
        return Err(ApiError::invalid("input", "'input' must not be empty."));
    }
    let dimensions = request.dimensions.unwrap_or(DIMENSIONS);
    if !(1..=MAX_DIMENSIONS).contains(&dimensions) {
        let message = format!("'dimensions' must be between 1 and {MAX_DIMENSIONS}.");
        return Err(ApiError::invalid("dimensions", message));
    }
    let encoding = request.encoding_format.unwrap_or(Encoding::Float);
    let data: Vec<Value> = texts
        .iter()
        .enumerate()
        .map(|(index, text)| {
            let embedding = encoded(&vector(text, dimensions), encoding);
            json!({ "object": "embedding", "index": index, "embedding": embedding })
        })
        .collect();
    let count: usize = texts.iter().map(|text| tokens(text)).sum();
    let usage = json!({ "prompt_tokens": count, "total_tokens": count });
    Ok(Json(json!({ "object": "list", "data": data, "model": model, "usage": usage })))
}

impl Input {
    fn texts(self) -> Vec<String> {
        let words =
            |tokens: Vec<u64>| tokens.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        match self {
            Self::Text(text) => vec![text],
            Self::Texts(texts) => texts,
            Self::Tokens(tokens) => vec![words(tokens)],
            Self::TokenLists(lists) => lists.into_iter().map(words).collect(),
        }
    }
}

/// Adds up one pseudo-random direction a word, so that texts which share words are near each
/// other, and brings the sum to length 1.
#[expect(clippy::cast_precision_loss, reason = "any 32 bits make a good enough direction")]
fn vector(text: &str, dimensions: usize) -> Vec<f32> {
    let mut sum = vec![0.0_f32; dimensions];
    for word in text.split_whitespace() {
        let mut state = word_hash(word);
        for slot in &mut sum {
            state = next_random(state);
            *slot += (state >> 32) as f32 / 2.0_f32.powi(31) - 1.0;
        }
    }
    let length = sum.iter().map(|value| value * value).sum::<f32>().sqrt();
    if length > 0.0 {
        for value in &mut sum {
            *value /= length;
        }
    }
    sum
}

/// FNV-1a: small, and the same on every machine and in every version, unlike std's hasher.
fn word_hash(word: &str) -> u64 {
    word.to_lowercase().bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// One step of a 64-bit linear congruential generator (Knuth's MMIX constants).
fn next_random(state: u64) -> u64 {
    state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407)
}

/// The SDKs ask for base64 by themselves: little-endian 32-bit floats.
fn encoded(vector: &[f32], encoding: Encoding) -> Value {
    match encoding {
        Encoding::Float => json!(vector),
        Encoding::Base64 => {
            let bytes: Vec<u8> = vector.iter().flat_map(|value| value.to_le_bytes()).collect();
            json!(STANDARD.encode(bytes))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn similarity(left: &str, right: &str) -> f32 {
        let pairs = vector(left, DIMENSIONS).into_iter().zip(vector(right, DIMENSIONS));
        pairs.map(|(left, right)| left * right).sum()
    }

    #[test]
    fn texts_that_share_words_are_nearer_than_texts_that_share_none() {
        let near = similarity("the cat sat", "the cat ran");
        let far = similarity("the cat sat", "quarterly revenue report");
        assert!(near > far + 0.2, "{near} should be well above {far}");
    }

    #[test]
    fn a_vector_has_length_one_and_never_changes() {
        assert!((similarity("hello", "hello") - 1.0).abs() < 1e-5);
        assert_eq!(word_hash("hello"), 0xa430_d846_80aa_bd0b);
    }

    #[test]
    fn base64_is_the_same_floats_in_little_endian() {
        assert_eq!(encoded(&[1.0, -2.0], Encoding::Base64), json!("AACAPwAAAMA="));
    }
}
