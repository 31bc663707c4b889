//! The record of what the operator did: a row of D1's `operator_actions` for each action.

use std::time::Duration;

use domain::clock::sql_text;
use wasm_bindgen::JsValue;
use worker::{Delay, Result};

use crate::context::Context;
use crate::incoming::Incoming;
use crate::log;

/// The same action arrives once, however often it is sent.
const INSERT: &str = "
    insert or ignore into operator_actions
        (request_id, operator, action, user_id, detail, created_at)
    values (?1, ?2, ?3, nullif(?4, ''), nullif(?5, ''), ?6)";

/// How often a row is sent: with growing pauses, for half a minute in all.
const ATTEMPTS: u32 = 8;

/// Who did what to whom.
pub struct Action {
    /// Who, as `authorize` found out.
    pub operator: String,
    /// What.
    pub what: &'static str,
    /// To whom; empty where it is about nobody.
    pub user_id: String,
}

/// Records an action that was done. It goes on after the answer: what mends a person's access doesn't
/// wait for D1.
pub fn record(incoming: &Incoming, context: &Context, action: Action) {
    let Action { operator, what, user_id } = action;
    let detail = incoming.about.get().cloned().unwrap_or_default();
    let texts = [&incoming.request_id, &operator, what, &user_id, &detail];
    let mut values: Vec<JsValue> = texts.map(JsValue::from_str).into();
    values.push(sql_text(incoming.arrived).into());
    let context = context.clone();
    context.clone().wait_until(async move {
        for attempt in 0..ATTEMPTS {
            match insert(&context, &values).await {
                Ok(()) => return,
                Err(_) => Delay::from(Duration::from_millis(100 << attempt)).await,
            }
        }
        log::fault("an action is not in D1", &format!("{operator} {what} {user_id} {detail}"));
    });
}

async fn insert(context: &Context, values: &[JsValue]) -> Result<()> {
    let result = context.database()?.prepare(INSERT).bind(values)?.run().await?;
    result.error().map_or(Ok(()), |error| Err(error.into()))
}
