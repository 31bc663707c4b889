//! What an upstream does with one request, step by step.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

use crate::redaction::RUN;

/// The steps of one answer, in order. Unless it starts with [`Script::early`], the request's body
/// is read to its end first.
#[derive(Clone, Debug, Default)]
pub struct Script {
    pub(crate) early: bool,
    pub(crate) steps: Vec<Step>,
}

/// One step of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// Nothing for this long.
    Wait(Duration),
    /// Nothing until the test adds a permit, which is used up.
    Gate(Arc<Semaphore>),
    /// These bytes, as they are.
    Write(Bytes),
    /// This many bytes of filler.
    Fill(usize),
    /// Nothing until the client leaves.
    Hang,
    /// An orderly end of the connection (FIN).
    Close,
    /// A broken connection (RST).
    Reset,
}

impl Script {
    /// Does nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Doesn't wait for the request's body.
    #[must_use]
    pub fn early() -> Self {
        Self { early: true, ..Self::default() }
    }

    /// A whole answer with a `Content-Length`.
    #[must_use]
    pub fn answer(status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        Self::new().respond(status, headers, body)
    }

    /// A whole answer in JSON.
    #[must_use]
    pub fn json(status: u16, body: &Value) -> Self {
        // What it hands out may be a token.
        RUN.note_members(body);
        Self::answer(status, &[("content-type", "application/json")], body.to_string())
    }

    /// A chat completion that says `text` and reports `total` tokens.
    #[must_use]
    pub fn chat(text: &str, total: u64) -> Self {
        Self::json(200, &completion(text, total))
    }

    /// A stream of server-sent events, the pieces of `texts` with `gap` between them, with usage
    /// reported when `total` is some, and a proper end.
    #[must_use]
    pub fn chat_stream(texts: &[&str], gap: Duration, total: Option<u64>) -> Self {
        let mut script = Self::new().event_stream();
        for (position, text) in texts.iter().enumerate() {
            if position > 0 && !gap.is_zero() {
                script = script.wait(gap);
            }
            script = script.event(&chat_chunk(text));
        }
        if let Some(total) = total {
            script = script.event(&usage_chunk(total));
        }
        script.done()
    }

    /// Then: nothing for `time`.
    #[must_use]
    pub fn wait(self, time: Duration) -> Self {
        self.step(Step::Wait(time))
    }

    /// Then: nothing until the test adds a permit to `gate`; each request uses up one.
    #[must_use]
    pub fn gate(self, gate: &Arc<Semaphore>) -> Self {
        self.step(Step::Gate(Arc::clone(gate)))
    }

    /// Then: a whole answer with a `Content-Length`.
    #[must_use]
    pub fn respond(self, status: u16, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let length = body.len().to_string();
        let mut headers = headers.to_vec();
        if status != 204 && status != 304 {
            headers.push(("content-length", &length));
        }
        self.head(status, &headers).write(body)
    }

    /// Then: a status line and headers, exactly these.
    #[must_use]
    pub fn head(self, status: u16, headers: &[(&str, &str)]) -> Self {
        let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
        for (name, value) in headers {
            head.push_str(name);
            head.push_str(": ");
            head.push_str(value);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        self.write(head)
    }

    /// Then: the head of a chunked answer.
    #[must_use]
    pub fn chunked(self, status: u16, headers: &[(&str, &str)]) -> Self {
        let mut headers = headers.to_vec();
        headers.push(("transfer-encoding", "chunked"));
        self.head(status, &headers)
    }

    /// Then: the head of a stream of server-sent events.
    #[must_use]
    pub fn event_stream(self) -> Self {
        self.chunked(200, &[("content-type", "text/event-stream; charset=utf-8")])
    }

    /// Then: one chunk of a chunked answer.
    #[must_use]
    pub fn chunk(self, content: impl AsRef<[u8]>) -> Self {
        let content = content.as_ref();
        let mut chunk = format!("{:x}\r\n", content.len()).into_bytes();
        chunk.extend_from_slice(content);
        chunk.extend_from_slice(b"\r\n");
        self.write(chunk)
    }

    /// Then: one server-sent event with `data` in it, as a chunk of its own.
    #[must_use]
    pub fn event(self, data: &Value) -> Self {
        self.chunk(format!("data: {data}\n\n"))
    }

    /// Then: `[DONE]`, and the proper end of a chunked answer.
    #[must_use]
    pub fn done(self) -> Self {
        self.chunk("data: [DONE]\n\n").end()
    }

    /// Then: the proper end of a chunked answer.
    #[must_use]
    pub fn end(self) -> Self {
        self.write("0\r\n\r\n")
    }

    /// Then: these bytes, as they are.
    #[must_use]
    pub fn write(self, content: impl AsRef<[u8]>) -> Self {
        self.step(Step::Write(Bytes::copy_from_slice(content.as_ref())))
    }

    /// Then: `length` bytes of filler.
    #[must_use]
    pub fn fill(self, length: usize) -> Self {
        self.step(Step::Fill(length))
    }

    /// Then: nothing more until the client leaves.
    #[must_use]
    pub fn hang(self) -> Self {
        self.step(Step::Hang)
    }

    /// Then: the connection ends in good order (FIN), whatever was promised.
    #[must_use]
    pub fn close(self) -> Self {
        self.step(Step::Close)
    }

    /// Then: the connection breaks (RST).
    #[must_use]
    pub fn reset(self) -> Self {
        self.step(Step::Reset)
    }

    fn step(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}

/// A chat completion that says `text` and reports `total` tokens.
#[must_use]
pub fn completion(text: &str, total: u64) -> Value {
    json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "finish_reason": "stop",
        }],
        "usage": { "prompt_tokens": 1, "completion_tokens": total - 1, "total_tokens": total },
    })
}

/// One chunk of a chat stream.
#[must_use]
pub fn chat_chunk(text: &str) -> Value {
    json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [{ "index": 0, "delta": { "content": text }, "finish_reason": null }],
    })
}

/// The last chunk of a chat stream whose usage was asked for.
#[must_use]
pub fn usage_chunk(total: u64) -> Value {
    json!({
        "id": "chatcmpl-scripted",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "scripted",
        "choices": [],
        "usage": { "prompt_tokens": 1, "completion_tokens": total - 1, "total_tokens": total },
    })
}

/// The body of a chat request.
#[must_use]
pub fn chat_request(text: &str, stream: bool) -> Value {
    json!({
        "model": "scripted",
        "messages": [{ "role": "user", "content": text }],
        "stream": stream,
    })
}
