//! `notes`, `actions` and `metrics`: what waits, what was done, how much there was.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::api::{Action, Note};
use crate::arguments::{Notes, UserName};
use crate::client::{Client, Question};
use crate::commands::read;
use crate::failure::{Failure, Kind};
use crate::moments;
use crate::output::{Output, Tone, cell, maybe, print, print_json, toned};

/// Lists notes, or resolves one.
///
/// # Errors
/// What the gateway refuses.
pub fn notes(
    client: &Client,
    command: Option<&Notes>,
    all: bool,
    output: Output,
) -> Result<(), Failure> {
    if let Some(Notes::Resolve { customer_id, kind, subject }) = command {
        let name = json!({ "customer_id": customer_id, "kind": kind, "subject": subject });
        let path = ["operator", "api", "notes", "resolve"];
        let resolved = client.bytes(&Question::send(Method::POST, &path, &name));
        resolved.map_err(|failure| match failure.kind {
            Kind::NotFound => Failure::new(Kind::NotFound, "No such note waits.")
                .next("`gatewayctl notes` lists those that do."),
            _ => failure,
        })?;
        if output.is_json {
            return print_json(&json!({ "done": "resolve_note", "note": name }));
        }
        return output.line("It waits no more.");
    }
    let mut answer: Value = client.json(&Question::get(&["operator", "api", "notes"]))?;
    if let Some(notes) = answer.get_mut("notes").and_then(Value::as_array_mut) {
        notes.retain(|note| all || note.get("resolved_at").is_none_or(Value::is_null));
    }
    if output.is_json {
        return print_json(&answer);
    }
    let found: Vec<Note> = read(answer.get("notes").unwrap_or(&Value::Null))?;
    if found.is_empty() {
        return output.line("Nothing waits.");
    }
    let now = moments::now();
    for note in &found {
        let when = moments::both(&note.created_at, now);
        let whom = note.user_id.as_ref().map_or(String::new(), |user| format!(" · {user}"));
        output.line(&output.toned(&format!("{}{whom} · {when}", note.kind), Tone::Strong))?;
        output.line(&format!("  {}", output.toned(&note.text, Tone::Plain)))?;
        let Note { customer_id, kind, subject, .. } = note;
        let done = match &note.resolved_at {
            Some(resolved) => format!("  done {}", moments::both(resolved, now)),
            None => format!("  gatewayctl notes resolve {customer_id} {kind} {subject}"),
        };
        output.line(&output.toned(&done, Tone::Faint))?;
    }
    Ok(())
}

/// Lists what operators did.
///
/// # Errors
/// What the gateway refuses.
pub fn actions(
    client: &Client,
    user: Option<&UserName>,
    limit: usize,
    output: Output,
) -> Result<(), Failure> {
    let user = user.map_or("", |UserName(user_id)| user_id);
    let (mut found, mut cursor): (Vec<Value>, _) = (Vec::new(), String::new());
    loop {
        let query = [("user_id", user), ("cursor", &cursor)];
        let question = Question::get(&["operator", "api", "actions"]);
        let mut page: Value = client.json(&question.with(&query))?;
        if let Some(Value::Array(actions)) = page.get_mut("actions").map(Value::take) {
            found.extend(actions);
        }
        match page.get("cursor").and_then(Value::as_str) {
            Some(next) if found.len() < limit => next.clone_into(&mut cursor),
            _ => break,
        }
    }
    found.truncate(limit);
    if output.is_json {
        return print_json(&json!({ "actions": found }));
    }
    if found.is_empty() {
        return output.line("Nothing was done.");
    }
    let now = moments::now();
    let found: Vec<Action> = found.iter().map(read).collect::<Result<_, _>>()?;
    let rows = found.iter().map(|action| {
        vec![
            cell(moments::both(&action.created_at, now)),
            cell(&action.operator),
            toned(&action.what, Tone::Strong),
            maybe(action.user_id.as_ref()),
            maybe(action.detail.as_ref()),
        ]
    });
    output.table(&["WHEN", "OPERATOR", "ACTION", "USER_ID", "ABOUT"], rows.collect())
}

/// Prints the gateway's figures.
///
/// # Errors
/// What the gateway refuses.
pub fn metrics(client: &Client, output: Output) -> Result<(), Failure> {
    let text = client.bytes(&Question::get(&["operator", "metrics"]))?;
    let text = String::from_utf8_lossy(&text);
    if output.is_json { print_json(&json!({ "metrics": text })) } else { print(&text) }
}
