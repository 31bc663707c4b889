//! `users`: who there is.

use serde_json::{Value, json};

use crate::api::Listed;
use crate::arguments::Users;
use crate::client::{Client, Question};
use crate::commands::read;
use crate::failure::Failure;
use crate::moments;
use crate::output::{Output, Tone, cell, maybe, number, print_json, toned};

/// As many as the gateway gives at once.
const PAGE: u64 = 200;

/// Lists users, page after page.
///
/// # Errors
/// What the gateway refuses.
pub fn list(client: &Client, options: &Users, output: Output) -> Result<(), Failure> {
    let limit = options.limit.unwrap_or(u64::MAX);
    let query = options.query.as_deref().unwrap_or_default();
    let found = find(client, query, options.sort.name(), limit)?;
    if output.is_json {
        return print_json(&json!({ "users": found }));
    }
    if found.is_empty() {
        output.note("There is nobody.");
        return Ok(());
    }
    let now = moments::now();
    let users: Vec<Listed> = found.iter().map(read).collect::<Result<_, _>>()?;
    let rows = users.iter().map(|user| {
        let (state, tone) = if user.blocked { ("blocked", Tone::Bad) } else { ("", Tone::Plain) };
        let seen = user.last_seen.as_ref().map(|seen| moments::short(seen, now));
        vec![
            cell(&user.user_id),
            maybe(user.name.as_ref()),
            maybe(user.email.as_ref()),
            maybe(user.tier.as_ref()),
            toned(state, tone),
            number(user.requests),
            number(user.tokens),
            cell(seen.as_deref().unwrap_or("never")),
        ]
    });
    let head = ["USER_ID", "NAME", "EMAIL", "TIER", "", "REQUESTS", "TOKENS", "LAST SEEN"];
    output.table(&head, rows.collect())?;
    output.note("Requests and tokens are this month's, UTC.");
    Ok(())
}

/// Users that match, at most so many.
///
/// # Errors
/// What the gateway refuses.
pub fn find(client: &Client, query: &str, sort: &str, limit: u64) -> Result<Vec<Value>, Failure> {
    let mut found: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let size = limit.saturating_sub(found.len() as u64).min(PAGE).to_string();
        let asked = [("query", query), ("sort", sort), ("limit", &size), ("cursor", &cursor)];
        let question = Question::get(&["operator", "api", "users"]);
        let mut page: Value = client.json(&question.with(&asked))?;
        if let Some(Value::Array(users)) = page.get_mut("users").map(Value::take) {
            found.extend(users);
        }
        match page.get("cursor").and_then(Value::as_str) {
            Some(next) if (found.len() as u64) < limit => next.clone_into(&mut cursor),
            _ => return Ok(found),
        }
    }
}

/// The row of one user, where D1 has it.
///
/// # Errors
/// What the gateway refuses.
pub fn listed(client: &Client, user_id: &str) -> Result<Option<Listed>, Failure> {
    // Those that only contain the name may come before it.
    for user in find(client, user_id, "user_id", u64::MAX)? {
        let user: Listed = read(&user)?;
        if user.user_id == user_id {
            return Ok(Some(user));
        }
    }
    Ok(None)
}
