//! What the operator did, on its way to D1, and which sign-ins were ended: one object for all.
//!
//! An action is noted here before its answer goes out, in a commit of its own, so it is on record
//! whatever becomes of D1 and of the Worker; the alarm carries it there, and goes on until it has.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use domain::clock::Millis;
use domain::fingerprint::Fingerprint;
use futures::FutureExt;
use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use worker::worker_sys::DurableObjectState;
use worker::{Env, Result, SqlStorage, SqlStorageValue, State};

use super::{encode, wake_in};
use crate::context::Context;
use crate::{clock, log};

/// The name of the one object.
pub const NAME: &str = "actions";

/// When what failed is tried again; each time it has to wait for twice as long.
const FIRST_RETRY: Millis = 500;
const LONGEST_RETRY: Millis = 60_000;

const CREATE: &str = "
    create table if not exists actions
        (request_id text primary key, operator text not null, action text not null,
         user_id text, detail text, created_at text not null)";

const CREATE_ENDED: &str = "
    create table if not exists ended_sessions
        (session text primary key, ends_at integer not null) without rowid";

const END: &str =
    "insert or ignore into ended_sessions (session, ends_at) values (?, cast(? as integer))";
const FORGET_ENDED: &str = "delete from ended_sessions where ends_at <= cast(? as integer)";
const FIND_ENDED: &str = "select 1 from ended_sessions where session = ?";

const NOTE: &str = "
    insert or ignore into actions (request_id, operator, action, user_id, detail, created_at)
    values (?, ?, ?, nullif(?, ''), nullif(?, ''), ?)";

const FORGET: &str = "update actions set user_id = null, detail = null where user_id = ?";

/// As many as go to D1 at once.
const OLDEST: &str = "select * from actions order by rowid limit 50";

const ARRIVED: &str = "delete from actions where request_id = ?";

/// In D1 each is once, however often it is sent.
const INSERT: &str = "
    insert or ignore into operator_actions
        (request_id, operator, action, user_id, detail, created_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)";

/// Notes what was done.
#[derive(Serialize, Deserialize)]
pub struct Note {
    /// The request that did it.
    pub request_id: String,
    /// Who, as `authorize` found out.
    pub operator: String,
    /// What.
    pub action: String,
    /// To whom; empty where it is about nobody.
    pub user_id: String,
    /// What about, if there is more to say.
    pub detail: String,
    /// When, as D1 has it.
    pub created_at: String,
}

/// Leaves out of what was noted to whom it was done, where it was this person.
#[derive(Serialize, Deserialize)]
pub struct Unname {
    /// The person.
    pub user_id: String,
}

/// Ends a sign-in before its time.
#[derive(Serialize, Deserialize)]
pub struct EndSession {
    /// Its cookie.
    pub session: Fingerprint,
    /// When it would have ended, and may be forgotten.
    pub ends_at: Millis,
}

/// Asks whether a sign-in was ended before its time.
#[derive(Serialize, Deserialize)]
pub struct HasEnded(pub Fingerprint);

/// All that it takes.
#[derive(Serialize, Deserialize)]
pub enum ActionMessage {
    Note(Note),
    Unname(Unname),
    EndSession(EndSession),
    HasEnded(HasEnded),
}

/// A row that waits.
#[derive(Deserialize)]
struct Row {
    request_id: String,
    operator: String,
    action: String,
    user_id: Option<String>,
    detail: Option<String>,
    created_at: String,
}

/// The object that keeps actions until D1 has them.
#[wasm_bindgen]
pub struct Actions {
    state: State,
    context: Context,
    sql: SqlStorage,
    /// How often in a row D1 has not taken them.
    failures: Cell<u32>,
}

// All that matters is in the storage.
impl UnwindSafe for Actions {}
impl RefUnwindSafe for Actions {}

#[wasm_bindgen]
impl Actions {
    /// Opens the object; nothing is read yet.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = State::from(state);
        let sql = state.storage().sql();
        Self { state, context: Context::new(env), sql, failures: Cell::new(0) }
    }

    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught.
    pub fn receive(&self, message: &str) -> std::result::Result<String, JsValue> {
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| self.answer(message)));
        answer.unwrap_or_else(|_| Err("the object panicked".into())).map_err(JsValue::from)
    }

    /// Carries to D1 what waits. What it doesn't take is sent again later.
    ///
    /// # Errors
    /// Where the alarm can't be set; the runtime rings again then.
    pub async fn alarm(&self) -> std::result::Result<(), JsValue> {
        let flushed = AssertUnwindSafe(self.flush()).catch_unwind().await;
        match flushed.unwrap_or_else(|_| Err("the object panicked".into())) {
            Ok(()) => self.failures.set(0),
            Err(error) => {
                log::fault("actions are not in D1 yet", &error.to_string());
                let failures = self.failures.get();
                self.failures.set(failures + 1);
                wake_in(&self.state, (FIRST_RETRY << failures.min(16)).min(LONGEST_RETRY))?;
            }
        }
        Ok(())
    }
}

impl Actions {
    fn answer(&self, message: &str) -> Result<String> {
        self.sql.exec(CREATE, None)?;
        match serde_json::from_str(message)? {
            ActionMessage::Note(note) => {
                let Note { request_id, operator, action, user_id, detail, created_at } = note;
                self.run(NOTE, [request_id, operator, action, user_id, detail, created_at])?;
                wake_in(&self.state, 0)?;
            }
            ActionMessage::Unname(Unname { user_id }) => self.run(FORGET, [user_id])?,
            ActionMessage::EndSession(EndSession { session, ends_at }) => {
                self.sql.exec(CREATE_ENDED, None)?;
                self.run(FORGET_ENDED, [clock::reading().to_string()])?;
                self.run(END, [session.hex().to_owned(), ends_at.to_string()])?;
            }
            ActionMessage::HasEnded(HasEnded(session)) => {
                self.sql.exec(CREATE_ENDED, None)?;
                let session = vec![session.hex().into()];
                let found: Vec<IgnoredAny> = self.sql.exec(FIND_ENDED, session)?.to_array()?;
                return encode::<HasEnded>(&!found.is_empty());
            }
        }
        encode::<Note>(&())
    }

    async fn flush(&self) -> Result<()> {
        loop {
            let rows: Vec<Row> = self.sql.exec(OLDEST, None)?.to_array()?;
            if rows.is_empty() {
                return Ok(());
            }
            let database = self.context.database()?;
            let insert = |row: &Row| {
                let text = |text: &Option<String>| {
                    text.as_deref().map_or(JsValue::NULL, JsValue::from_str)
                };
                let Row { request_id, operator, action, user_id, detail, created_at } = row;
                let [id, operator, action, at] =
                    [request_id, operator, action, created_at].map(|text| JsValue::from_str(text));
                let values = [id, operator, action, text(user_id), text(detail), at];
                database.prepare(INSERT).bind(&values)
            };
            let inserts: Result<Vec<_>> = rows.iter().map(insert).collect();
            self.context.batch(inserts?).await?;
            for row in rows {
                self.run(ARRIVED, [row.request_id])?;
            }
        }
    }

    fn run<const N: usize>(&self, statement: &str, values: [String; N]) -> Result<()> {
        let values: Vec<SqlStorageValue> = values.into_iter().map(Into::into).collect();
        self.sql.exec(statement, values).map(drop)
    }
}
