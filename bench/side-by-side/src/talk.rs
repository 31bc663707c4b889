//! What is said in each request and each answer: always the same, so that only who carries it differs.

use std::sync::LazyLock;

use bytes::Bytes;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How an answer is asked for.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum Kind {
    /// In one piece.
    Json,
    /// As server-sent events, in twenty pieces.
    Stream,
}

/// What the model says.
const WORDS: [&str; 18] = [
    "A ",
    "queue ",
    "is ",
    "fair ",
    "when ",
    "nobody ",
    "who ",
    "came ",
    "first ",
    "is ",
    "passed ",
    "by ",
    "somebody ",
    "who ",
    "came ",
    "much ",
    "later",
    ".",
];

const CREATED: u32 = 1_795_246_238;

/// The body of a request: about a kilobyte, as an agent's first turn has.
static QUESTIONS: LazyLock<[Bytes; 2]> = LazyLock::new(|| {
    let system =
        "You help the owner of a small business to plan one workflow. Ask one question at a \
         time, and wait for its answer. Say what you have understood before you go on. Use plain \
         words and short sentences. Never invent a figure: where one is needed, ask for it, or say \
         that it is a guess. When the plan is complete, write it as a numbered list with who does \
         what, by when, and how one sees that it is done."
            .repeat(2);
    [false, true].map(|stream| {
        let question = json!({
            "model": "gpt-4o-mini",
            "messages": [
                { "role": "system", "content": system },
                { "role": "user", "content": "When is a queue fair?" },
            ],
            "temperature": 0.2,
            "stream": stream,
        });
        Bytes::from(question.to_string())
    })
});

/// The body of a request for an answer of this kind.
pub fn question(kind: Kind) -> Bytes {
    let [json, stream] = &*QUESTIONS;
    match kind {
        Kind::Json => json.clone(),
        Kind::Stream => stream.clone(),
    }
}

/// What of a request decides how it is answered.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    pub stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

impl Asked {
    /// Whether usage is asked for in a stream.
    pub fn include_usage(&self) -> bool {
        self.stream_options.as_ref().is_some_and(|options| options.include_usage)
    }
}

/// The answer in one piece.
pub static ANSWER: LazyLock<Bytes> = LazyLock::new(|| {
    let message = json!({ "role": "assistant", "content": WORDS.concat(), "refusal": null });
    let choice =
        json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": "stop" });
    let answer = json!({
        "id": "chatcmpl-side-by-side", "object": "chat.completion", "created": CREATED,
        "model": "gpt-4o-mini", "choices": [choice], "usage": usage(),
    });
    Bytes::from(answer.to_string())
});

/// The answer's twenty pieces, without usage and with it.
pub static PIECES: LazyLock<[Vec<Bytes>; 2]> = LazyLock::new(|| [false, true].map(pieces));

fn pieces(include_usage: bool) -> Vec<Bytes> {
    // Where usage is asked for, all chunks have the member, and one more has the figures.
    let none = include_usage.then_some(Value::Null);
    let chunk = |delta: Value, finish: Value| {
        let choice =
            json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish });
        event(&[choice], none.as_ref())
    };
    let words = WORDS.iter().map(|word| chunk(json!({ "content": word }), Value::Null));
    let mut pieces: Vec<String> = words.collect();
    pieces.push(chunk(json!({}), json!("stop")));
    let end = if include_usage { event(&[], Some(&usage())) } else { String::new() };
    pieces.push(end + "data: [DONE]\n\n");
    pieces.into_iter().map(Bytes::from).collect()
}

fn event(choices: &[Value], usage: Option<&Value>) -> String {
    let mut chunk = json!({
        "id": "chatcmpl-side-by-side", "object": "chat.completion.chunk", "created": CREATED,
        "model": "gpt-4o-mini", "system_fingerprint": "fp_side_by_side", "choices": choices,
    });
    if let (Some(usage), Some(members)) = (usage, chunk.as_object_mut()) {
        members.insert("usage".to_owned(), usage.clone());
    }
    format!("data: {chunk}\n\n")
}

fn usage() -> Value {
    json!({ "prompt_tokens": 196, "completion_tokens": 18, "total_tokens": 214 })
}

/// Whether these bytes are a whole answer, by whomever they were carried and put into other JSON.
pub fn is_whole(kind: Kind, answer: &[u8]) -> bool {
    let end = answer.trim_ascii_end();
    match kind {
        Kind::Json => {
            serde_json::from_slice::<IgnoredAny>(end).is_ok() && contains(end, b"much later.")
        }
        Kind::Stream => end.ends_with(b"data: [DONE]") && contains(end, b"somebody "),
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

#[cfg(test)]
mod tests {
    use super::{ANSWER, Asked, Kind, PIECES, is_whole, question};

    #[test]
    fn a_stream_has_twenty_pieces_with_usage_and_without() {
        for (pieces, usages) in PIECES.iter().zip([0, 1]) {
            assert_eq!(pieces.len(), 20);
            let text = String::from_utf8(pieces.concat()).unwrap();
            assert_eq!(text.matches("total_tokens").count(), usages);
            assert!(is_whole(Kind::Stream, text.as_bytes()));
            assert!(!is_whole(Kind::Stream, pieces[..19].concat().as_slice()));
        }
    }

    #[test]
    fn an_answer_that_breaks_off_is_not_whole() {
        assert!(is_whole(Kind::Json, &ANSWER));
        assert!(!is_whole(Kind::Json, &ANSWER[..ANSWER.len() - 1]));
        assert!(!is_whole(Kind::Json, br#"{"error":{"message":"no"}}"#));
        assert!(!is_whole(Kind::Stream, &ANSWER));
    }

    #[test]
    fn a_question_asks_for_its_kind() {
        for (kind, stream) in [(Kind::Json, false), (Kind::Stream, true)] {
            let asked: Asked = serde_json::from_slice(&question(kind)).unwrap();
            assert_eq!((asked.stream, asked.include_usage()), (stream, false));
        }
        let asked = br#"{"stream": true, "stream_options": {"include_usage": true}}"#;
        assert!(serde_json::from_slice::<Asked>(asked).unwrap().include_usage());
    }
}
