//! The record of what the operator did. It is on its way to a row of D1's `operator_actions` before the
//! answer goes out.

use std::time::Duration;

use domain::clock::sql_text;
use worker::Delay;

use crate::context::Context;
use crate::incoming::Incoming;
use crate::log;
use crate::objects::actions::{NAME, Note};
use crate::objects::call;

/// How often it is said to the object that keeps it.
const ATTEMPTS: u32 = 3;

/// Who did what to whom.
pub struct Action {
    /// Who, as `authorize` found out.
    pub operator: String,
    /// What.
    pub what: &'static str,
    /// To whom; empty where it is about nobody.
    pub user_id: String,
}

/// Records an action that was done.
pub async fn record(incoming: &Incoming, context: &Context, action: Action) {
    for attempt in 1..=ATTEMPTS {
        let note = Note {
            request_id: incoming.request_id.clone(),
            operator: action.operator.clone(),
            action: action.what.to_owned(),
            user_id: action.user_id.clone(),
            detail: incoming.about.get().cloned().unwrap_or_default(),
            created_at: sql_text(incoming.arrived),
        };
        if call(context, NAME, note).await.is_ok() {
            return;
        }
        Delay::from(Duration::from_millis(50 << attempt)).await;
    }
    let Action { operator, what, user_id } = action;
    log::fault("an action is not on record", &format!("{operator} {what} {user_id}"));
}
