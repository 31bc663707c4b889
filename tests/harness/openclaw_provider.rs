//! The model provider behind OpenClaw: it echoes, remembers, and fails as the message asks.
//!
//! Words in the user's message say what it does: `RECALL` answers with every `secret-…` word of
//! the whole conversation it was sent; `[fail 500]` answers with that status; `[die]` breaks the
//! connection in mid-answer; `[slow]` takes 100 ms for each word; `[hang]` says one word and then
//! nothing until the client leaves; `[tools 2]` wants a tool two times before it answers, so that
//! OpenClaw asks three times.
//!
//! It speaks chat completions, and streamed responses.

mod responses;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use regex::Regex;
use serde_json::{Value, json};
use tokio::task::JoinHandle;

/// The usage that it reports for each completion.
pub const USAGE: u64 = 18;

/// The tool that it wants where the message asks for that. No agent has it, and OpenClaw says so to the
/// model.
const TOOL: &str = "look_it_up";

/// A running provider; dropping it ends it.
pub struct Provider {
    address: SocketAddr,
    calls: Calls,
    refusal: Refusal,
    task: JoinHandle<()>,
}

type Calls = Arc<Mutex<Vec<Call>>>;

/// What is said, with 401, to whoever shows a key.
type Refusal = Arc<Mutex<Box<dyn FnMut(&str) -> Option<String> + Send>>>;

/// One completion that OpenClaw asked for.
#[derive(Clone, Debug)]
pub struct Call {
    /// The path, which tells providers apart that share this server.
    pub path: String,
    /// The key that OpenClaw showed.
    pub key: String,
    /// The last message of the user's, with OpenClaw's date before it.
    pub said: String,
    /// How many tools have answered since.
    pub tools: usize,
    /// All messages but OpenClaw's own instructions, as JSON.
    pub conversation: String,
    /// The instructions.
    pub system: String,
    /// OpenClaw's session keys that are named in it, `agent:main:…`: one, unless sessions mix.
    pub sessions: Vec<String>,
    /// When it came.
    pub at: Instant,
    /// When OpenClaw left before the answer's end.
    pub left_at: Option<Instant>,
    /// Whether the answer came to its end.
    pub finished: bool,
}

impl Provider {
    /// Starts to listen on a port of its own.
    pub async fn start() -> Self {
        let calls = Calls::default();
        let refusal: Refusal = Arc::new(Mutex::new(Box::new(|_| None)));
        let state = (Arc::clone(&calls), Arc::clone(&refusal));
        let router = axum::Router::new().fallback(answer).with_state(state);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.ok();
        });
        Self { address, calls, refusal, task }
    }

    /// Its base URL, with `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// From now on, whose key `refusal` says something about is answered 401 with that.
    pub fn refuse(&self, refusal: impl FnMut(&str) -> Option<String> + Send + 'static) {
        *self.refusal.lock().unwrap() = Box::new(refusal);
    }

    /// The base URL of another provider on the same server, with `/v1`.
    #[must_use]
    pub fn url_of(&self, name: &str) -> String {
        format!("http://{}/{name}/v1", self.address)
    }

    /// The completions for what the user said with `word` in it, in the order of their arrival.
    #[must_use]
    pub fn calls(&self, word: &str) -> Vec<Call> {
        let calls = self.calls.lock().unwrap();
        calls.iter().filter(|call| call.said.contains(word)).cloned().collect()
    }

    /// The one completion for what the user said with `word` in it.
    ///
    /// # Panics
    /// When there was none, or more than one.
    #[must_use]
    pub fn only(&self, word: &str) -> Call {
        let mut calls = self.calls(word);
        assert_eq!(calls.len(), 1, "one call was to reach the provider for {word}: {calls:#?}");
        calls.remove(0)
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Notes when OpenClaw leaves: whatever holds it is dropped then.
struct Watch {
    calls: Calls,
    position: usize,
}

impl Watch {
    fn finished(&self) {
        self.calls.lock().unwrap()[self.position].finished = true;
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let call = &mut self.calls.lock().unwrap()[self.position];
        if !call.finished {
            call.left_at = Some(Instant::now());
        }
    }
}

async fn answer(
    State((calls, refusal)): State<(Calls, Refusal)>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let request: Value = serde_json::from_slice(&body).unwrap_or_default();
    if uri.path().ends_with("/embeddings") {
        return embeddings(&request);
    }
    if messages(&request).is_none() {
        return Json(json!({ "object": "list", "data": [{ "id": "stub-1", "object": "model" }] }))
            .into_response();
    }
    let key = headers.get(header::AUTHORIZATION).map_or("", |key| key.to_str().unwrap_or(""));
    let call = read(uri.path(), key.trim_start_matches("Bearer "), &request);
    let watch = note(&calls, &call);
    let refused = (*refusal.lock().unwrap())(&call.key);
    if let Some(message) = refused {
        watch.finished();
        let error = json!({ "error": { "message": message, "type": "invalid_request_error" } });
        return (StatusCode::UNAUTHORIZED, Json(error)).into_response();
    }
    if let Some(status) = asked_status(&call.said) {
        watch.finished();
        let error = json!({ "error": { "message": "the stub failed", "type": "stub_error" } });
        return (status, Json(error)).into_response();
    }
    if request["stream"] != true {
        watch.finished();
        return Json(completion(&reply(&call))).into_response();
    }
    let events = if wants_tool(&call) {
        if uri.path().ends_with("/responses") { responses::tool(&call) } else { tool(&call) }
    } else if uri.path().ends_with("/responses") {
        responses::text(&reply(&call), &call.said)
    } else {
        text(&reply(&call), &call.said)
    };
    let events = Body::from_stream(paced(watch, &call.said, events));
    ([(header::CONTENT_TYPE, "text/event-stream")], events).into_response()
}

/// All that was said, as either kind of request has it.
fn messages(request: &Value) -> Option<&Vec<Value>> {
    request["messages"].as_array().or_else(|| request["input"].as_array())
}

/// Whether the user's message asks for more calls of a tool than there were.
fn wants_tool(call: &Call) -> bool {
    let asked = call.said.split_once("[tools ").and_then(|(_, rest)| rest.split_once(']'));
    asked.and_then(|(count, _)| count.parse().ok()).is_some_and(|count: usize| call.tools < count)
}

fn note(calls: &Calls, call: &Call) -> Watch {
    let mut known = calls.lock().unwrap();
    known.push(call.clone());
    Watch { calls: Arc::clone(calls), position: known.len() - 1 }
}

fn read(path: &str, key: &str, request: &Value) -> Call {
    let all = messages(request).cloned().unwrap_or_default();
    let (system, rest): (Vec<_>, Vec<_>) = all
        .into_iter()
        .partition(|message| message["role"] == "system" || message["role"] == "developer");
    let conversation = Value::from(rest.clone()).to_string();
    let last = rest.iter().rposition(|message| message["role"] == "user").unwrap_or(0);
    let is_tools =
        |message: &&Value| message["role"] == "tool" || message["type"] == "function_call_output";
    let tools = rest.iter().skip(last).filter(is_tools).count();
    let last = rest.get(last).map_or(Value::Null, |message| message["content"].clone());
    let said = last.as_str().map_or_else(|| last.to_string(), str::to_owned);
    // Behind a session's first message OpenClaw tells the model where it runs, and history so far
    // comes in front of the message itself.
    let said = said.split("\n\nRuntime: ").next().unwrap_or_default();
    let said = said.rsplit("[Current message - respond to this]").next().unwrap_or_default();
    let pattern = Regex::new(r"\| session=([^ |]+) \|").expect("a pattern");
    let mut sessions: Vec<String> =
        pattern.captures_iter(&conversation).map(|found| found[1].to_owned()).collect();
    sessions.sort();
    sessions.dedup();
    Call {
        path: path.to_owned(),
        key: key.to_owned(),
        said: said.to_owned(),
        tools,
        conversation,
        system: Value::from(system).to_string(),
        sessions,
        at: Instant::now(),
        left_at: None,
        finished: false,
    }
}

fn asked_status(said: &str) -> Option<StatusCode> {
    let (_, rest) = said.split_once("[fail ")?;
    let (status, _) = rest.split_once(']')?;
    status.parse().ok()
}

fn reply(call: &Call) -> String {
    if !call.said.contains("RECALL") {
        return format!("noted: {}", call.said);
    }
    let pattern = Regex::new(r"secret-[a-z0-9-]+").expect("a pattern");
    let everything = format!("{} {}", call.system, call.conversation);
    let mut found: Vec<&str> =
        pattern.find_iter(&everything).map(|secret| secret.as_str()).collect();
    found.sort_unstable();
    found.dedup();
    format!("recalled: {}", found.join(" "))
}

fn usage() -> Value {
    json!({ "prompt_tokens": 11, "completion_tokens": USAGE - 11, "total_tokens": USAGE })
}

fn completion(text: &str) -> Value {
    json!({
        "id": "stub",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "stub-1",
        "choices": [{
            "index": 0,
            "message": { "role": "assistant", "content": text },
            "finish_reason": "stop",
        }],
        "usage": usage(),
    })
}

fn chunk(delta: &Value, finish: Option<&str>) -> Value {
    json!({
        "id": "stub",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "stub-1",
        "choices": [{ "index": 0, "delta": delta, "finish_reason": finish }],
    })
}

fn event(data: &Value) -> String {
    format!("data: {data}\n\n")
}

/// Whether `said` has the answer end in its middle.
fn breaks_off(said: &str) -> bool {
    said.contains("[die]") || said.contains("[hang]")
}

/// The events of an answer, a word each.
fn text(text: &str, said: &str) -> Vec<String> {
    let words = text.split_inclusive(' ').map(|word| chunk(&json!({ "content": word }), None));
    let first = chunk(&json!({ "role": "assistant", "content": "" }), None);
    let mut chunks: Vec<Value> = std::iter::once(first).chain(words).collect();
    if breaks_off(said) {
        chunks.truncate(2);
        return chunks.iter().map(event).collect();
    }
    chunks.push(chunk(&json!({}), Some("stop")));
    ended(chunks)
}

/// The events of an answer that wants a tool.
fn tool(call: &Call) -> Vec<String> {
    let wanted = json!({ "role": "assistant", "content": null, "tool_calls": [{
        "index": 0,
        "id": format!("call_{}", call.tools),
        "type": "function",
        "function": { "name": TOOL, "arguments": "{}" },
    }] });
    ended(vec![chunk(&wanted, None), chunk(&json!({}), Some("tool_calls"))])
}

/// These, then what they have cost.
fn ended(mut chunks: Vec<Value>) -> Vec<String> {
    let mut last = chunk(&json!({}), None);
    last["choices"] = json!([]);
    last["usage"] = usage();
    chunks.push(last);
    chunks.iter().map(event).chain(["data: [DONE]\n\n".to_owned()]).collect()
}

/// The events one by one, with what `said` asks for in between.
fn paced(
    watch: Watch,
    said: &str,
    events: Vec<String>,
) -> BoxStream<'static, Result<String, Failed>> {
    let gap = Duration::from_millis(if said.contains("[slow]") { 100 } else { 0 });
    let events = stream::iter(events).then(move |event| async move {
        tokio::time::sleep(gap).await;
        Ok(event)
    });
    events.chain(ending(watch, said)).boxed()
}

/// A connection that breaks.
#[derive(Debug)]
struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.write_str("the message asked for it")
    }
}

impl std::error::Error for Failed {}

/// What comes behind the last word: nothing, a break, or silence.
fn ending(watch: Watch, said: &str) -> impl futures::Stream<Item = Result<String, Failed>> + use<> {
    let (dies, hangs) = (said.contains("[die]"), said.contains("[hang]"));
    let end = async move {
        if hangs {
            std::future::pending::<()>().await;
        }
        if dies {
            // So that the word before it is on its way.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        watch.finished();
        if dies { Some(Err(Failed)) } else { None }
    };
    stream::once(end).filter_map(std::future::ready)
}

/// Eight numbers for each input.
fn embeddings(request: &Value) -> Response {
    let count = request["input"].as_array().map_or(1, Vec::len);
    let numbers = vec![0.5; 8];
    let one = |index| json!({ "object": "embedding", "index": index, "embedding": numbers });
    let data: Vec<Value> = (0..count).map(one).collect();
    let usage = json!({ "prompt_tokens": 3, "total_tokens": 3 });
    Json(json!({ "object": "list", "model": "stub-embedding", "data": data, "usage": usage }))
        .into_response()
}
