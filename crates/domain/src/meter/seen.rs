//! What the events of one stream have said so far.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::usage::total_tokens;
use crate::json_object::string_value;
use crate::json_tap::JsonTap;
use crate::sse;

/// The data of the event that ends a stream.
pub const DONE: &str = "[DONE]";

/// Everything that is counted or remembered of a stream.
#[derive(Debug, Default)]
pub struct Seen {
    /// The tokens of the last event that reported any.
    pub reported: Option<u64>,
    /// The characters of the answer's text.
    pub characters: u64,
    /// Text came, and no error before it.
    pub output: bool,
    /// An event said that the answer failed.
    pub error: bool,
    /// An event said that the answer is complete.
    pub done: bool,
    /// The id of the response, from the first event that carries it.
    pub response_id: Option<String>,
    /// The number of the last numbered event.
    pub sequence_number: Option<u64>,
}

/// The members that matter, of all the kinds of event that the API has. Which of them an event
/// has says what kind it is, so that an unknown endpoint is counted as well as it can be.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow, rename = "type")]
    kind: Option<&'a RawValue>,
    #[serde(borrow)]
    choices: Option<&'a RawValue>,
    #[serde(borrow)]
    delta: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
    #[serde(borrow)]
    response: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow)]
    sequence_number: Option<&'a RawValue>,
}

/// The response inside an event of the responses endpoint.
#[derive(Deserialize)]
struct Response<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

impl Seen {
    /// Reads one event; true if it is the usage chunk of a chat: no choices, and a usage.
    pub fn read(&mut self, raw: &[u8]) -> bool {
        let sse::Event { name, data: Some(data) } = sse::Event::read(raw) else { return false };
        if data.trim() == DONE {
            self.done = true;
            return false;
        }
        self.error |= name.as_deref() == Some("error");
        let Some(body) = object::<Body<'_>>(&data) else { return false };
        let kind = string(body.kind).or(name).unwrap_or_default();
        self.count_text(&body, &kind);
        let response = body.response.and_then(|response| object::<Response<'_>>(response.get()));
        let usage = body.usage.or(response.as_ref().and_then(|response| response.usage));
        self.reported = usage.and_then(|usage| total_tokens(usage.get())).or(self.reported);
        self.note_response(response, body.sequence_number);
        self.done |= matches!(
            kind.as_ref(),
            "response.completed" | "response.incomplete" | "response.failed"
        );
        let failed = body.error.is_some() || matches!(kind.as_ref(), "error" | "response.failed");
        self.error |= failed;
        !failed && body.usage.is_some() && body.choices.is_some_and(is_empty_array)
    }

    fn count_text(&mut self, body: &Body<'_>, kind: &str) {
        let mut characters = 0;
        if let Some(choices) = body.choices {
            let mut tap = JsonTap::default();
            tap.push(choices.get().as_bytes());
            characters = tap.characters();
        }
        if kind.rsplit_once('.').is_some_and(|(_, last)| last == "delta") {
            characters += string(body.delta).map_or(0, |delta| delta.chars().count() as u64);
        }
        self.characters += characters;
        self.output |= characters > 0 && !self.error;
    }

    fn note_response(&mut self, response: Option<Response<'_>>, number: Option<&RawValue>) {
        if self.response_id.is_none() {
            self.response_id =
                response.and_then(|response| string(response.id)).map(Cow::into_owned);
        }
        self.sequence_number =
            number.and_then(|number| number.get().parse().ok()).or(self.sequence_number);
    }
}

/// Reads a JSON object; an array, which would do as well to serde, is not one.
fn object<'a, T: Deserialize<'a>>(json: &'a str) -> Option<T> {
    json.trim_start().starts_with('{').then(|| serde_json::from_str(json).ok())?
}

fn string(json: Option<&RawValue>) -> Option<Cow<'_, str>> {
    string_value(json?.get())
}

fn is_empty_array(json: &RawValue) -> bool {
    let inner = json.get().strip_prefix('[').and_then(|json| json.strip_suffix(']'));
    inner.is_some_and(|inner| inner.trim().is_empty())
}
