//! Tokens out of a `usage` object, as much of it as can be believed.

use serde::Deserialize;
use serde_json::value::RawValue;

/// More tokens than any answer can cost. A larger number is noise, and sums of it would overflow
/// where the rows are added up.
pub const MAX_TOKENS: u64 = 1_000_000_000_000;

/// The members that say how many tokens there were, under the names of chat and of responses.
#[derive(Deserialize)]
struct Usage<'a> {
    #[serde(borrow, rename = "total_tokens")]
    total: Option<&'a RawValue>,
    #[serde(borrow, rename = "prompt_tokens")]
    prompt: Option<&'a RawValue>,
    #[serde(borrow, rename = "completion_tokens")]
    completion: Option<&'a RawValue>,
    #[serde(borrow, rename = "input_tokens")]
    input: Option<&'a RawValue>,
    #[serde(borrow, rename = "output_tokens")]
    output: Option<&'a RawValue>,
}

/// The tokens that a `usage` object (JSON text) reports: its total, else the sum of its parts.
///
/// `None` where it is no object, or no number in it is a plausible count.
#[must_use]
pub fn total_tokens(usage: &str) -> Option<u64> {
    let usage: Usage<'_> = usage.starts_with('{').then(|| serde_json::from_str(usage).ok())??;
    tokens(usage.total)
        .or_else(|| sum(usage.prompt, usage.completion))
        .or_else(|| sum(usage.input, usage.output))
}

fn sum(one: Option<&RawValue>, other: Option<&RawValue>) -> Option<u64> {
    match (tokens(one), tokens(other)) {
        (None, None) => None,
        (one, other) => Some(one.unwrap_or(0) + other.unwrap_or(0)),
    }
}

/// A count as a JSON number: whole, not negative, and not absurd.
fn tokens(value: Option<&RawValue>) -> Option<u64> {
    value?.get().parse().ok().filter(|tokens| *tokens <= MAX_TOKENS)
}
