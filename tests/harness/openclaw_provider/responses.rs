//! The same as events of the Responses API.

use serde_json::{Value, json};

use super::{Call, TOOL, USAGE, breaks_off};

/// The events of an answer, a word each.
pub fn text(text: &str, said: &str) -> Vec<String> {
    let part = |text: &str| json!({ "type": "output_text", "text": text, "annotations": [] });
    let item = |status: &str, content: &Value| json!({ "type": "message", "id": "msg_stub", "role": "assistant", "status": status, "content": content });
    let inside = |kind: &str, more: Value| {
        let mut event = more;
        event["type"] = json!(format!("response.{kind}"));
        event["item_id"] = json!("msg_stub");
        event["output_index"] = json!(0);
        event["content_index"] = json!(0);
        event
    };
    let mut events = vec![
        whole("created", "in_progress", &json!([])),
        added(&item("in_progress", &json!([]))),
        inside("content_part.added", json!({ "part": part("") })),
    ];
    let words = text.split_inclusive(' ');
    events.extend(words.map(|word| inside("output_text.delta", json!({ "delta": word }))));
    if breaks_off(said) {
        events.truncate(4);
        return numbered(events);
    }
    let done = item("completed", &json!([part(text)]));
    events.push(inside("output_text.done", json!({ "text": text })));
    events.push(inside("content_part.done", json!({ "part": part(text) })));
    ended(events, &done)
}

/// The events of an answer that wants a tool.
pub fn tool(call: &Call) -> Vec<String> {
    let id = format!("fc_{}", call.tools);
    let item = |status: &str, arguments: &str| {
        json!({
            "type": "function_call", "id": id, "call_id": format!("call_{}", call.tools),
            "name": TOOL, "arguments": arguments, "status": status,
        })
    };
    let arguments = json!({
        "type": "response.function_call_arguments.done",
        "item_id": id, "output_index": 0, "name": TOOL, "arguments": "{}",
    });
    let begun = whole("created", "in_progress", &json!([]));
    ended(vec![begun, added(&item("in_progress", "")), arguments], &item("completed", "{}"))
}

fn added(item: &Value) -> Value {
    json!({ "type": "response.output_item.added", "output_index": 0, "item": item })
}

fn ended(mut events: Vec<Value>, item: &Value) -> Vec<String> {
    events.push(json!({ "type": "response.output_item.done", "output_index": 0, "item": item }));
    events.push(whole("completed", "completed", &json!([item])));
    numbered(events)
}

fn whole(kind: &str, status: &str, output: &Value) -> Value {
    let mut response = json!({
        "id": "resp_stub",
        "object": "response",
        "created_at": 1_700_000_000,
        "model": "stub-1",
        "status": status,
        "output": output,
        "error": null,
    });
    if status == "completed" {
        response["usage"] = json!({
            "input_tokens": 11,
            "input_tokens_details": { "cached_tokens": 0 },
            "output_tokens": USAGE - 11,
            "output_tokens_details": { "reasoning_tokens": 0 },
            "total_tokens": USAGE,
        });
    }
    json!({ "type": format!("response.{kind}"), "response": response })
}

fn numbered(events: Vec<Value>) -> Vec<String> {
    let events = events.into_iter().zip(0..);
    events
        .map(|(mut event, number)| {
            event["sequence_number"] = json!(number);
            let kind = event["type"].as_str().unwrap_or_default().to_owned();
            format!("event: {kind}\ndata: {event}\n\n")
        })
        .collect()
}
