//! The object's tables. SQL only, and synchronous: nothing here awaits.

use std::cell::Cell;

use domain::clock::Millis;
use domain::entry::Entry;
use domain::journal::KEPT;
use domain::month::{Counted, Month};
use domain::session::view::Rows;
use domain::session::{Arrived, Change, LEASE, Remembered, RowState, Stored, StoredRow};
use domain::window::MINUTE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use worker::{Result, SqlStorage, SqlStorageValue};

use crate::context::random_id;

/// The schema, a step a version; a step that was released is never changed. Each can be repeated,
/// for one that fails half-way is not rolled back.
const SCHEMA: &[&str] = &[
    "
    create table if not exists journal (
        slot integer primary key,
        admitted_at integer,
        lease_until integer,
        position integer,
        entry text not null
    );
    create table if not exists documents (name text primary key, body text not null) without rowid;
    create table if not exists responses (
        slot integer primary key,
        response_id text not null,
        session_key text not null,
        at integer not null
    );
",
    "
    update meta set value = json_object('position', value, 'months', json('[]'))
        where name = 'flushed' and json_type(value) = 'integer';
",
    "
    alter table responses add column upstream text not null default 'default';
",
];

/// The name of the document that says who may speak for the user.
const ACCESS: &str = "access";
/// The name of the document that keeps the user's Codex session.
const CODEX: &str = "codex";

/// The name of the document that says which tier the user has.
const TIER: &str = "tier";

/// The name of the document that lists the user's projects.
const PROJECTS: &str = "projects";

/// The name of the document that says what is to be shown of the user.
const MIRROR: &str = "mirror";

/// The name of the document that is kept for the way back.
const RETURNS: &str = "returns";

/// The name of the document that is left while the user is being forgotten.
const FAREWELL: &str = "farewell";

/// The object's storage.
pub struct Store {
    sql: SqlStorage,
    /// The object's name, where the runtime says it: to one that its alarm woke it may not.
    name: Option<String>,
    /// How many steps of the schema are known to be there.
    version: Cell<usize>,
    rows_written: Cell<usize>,
}

impl Store {
    /// Opens the storage; nothing is read or written yet.
    pub fn new(sql: SqlStorage, name: Option<String>) -> Self {
        Self { sql, name, version: Cell::new(0), rows_written: Cell::new(0) }
    }

    /// Reads everything that decisions need. An object that has never written stays without a
    /// single row, so that names made up by a stranger cost nothing.
    pub fn load(&self) -> Result<Stored> {
        if self.is_untouched()? {
            return Ok(Stored::default());
        }
        self.migrate()?;
        // What D1 has is in its sums; of the other rows each is asked what it adds.
        let journal = "select slot, admitted_at, lease_until, position,
            iif(position is null, entry ->> 'request_id', null) as request_id,
            iif(coalesce(position > flushed, true) and entry ->> 'gives_back' is null,
                entry ->> 'month', null) as month,
            iif(position > flushed, entry ->> 'tokens_est', 0) as tokens
            from journal,
                (select value ->> 'position' as flushed from meta where name = 'flushed')";
        let responses = "select slot, response_id, session_key, upstream, at from responses";
        Ok(Stored {
            slots: self.number("select coalesce(max(slot), 0) as value from journal")?,
            flushed: self.arrived()?,
            rows: self.rows::<JournalRow>(journal)?.into_iter().map(Into::into).collect(),
            access: self.document(ACCESS)?.unwrap_or_default(),
            codex: self.document(CODEX)?.unwrap_or_default(),
            tier: self.document(TIER)?.unwrap_or_default(),
            projects: self.document(PROJECTS)?.unwrap_or_default(),
            mirror: self.document(MIRROR)?.unwrap_or_default(),
            returns: self.document(RETURNS)?.unwrap_or_default(),
            responses: self.rows::<ResponseRow>(responses)?.into_iter().map(Into::into).collect(),
            farewell: self.document(FAREWELL)?,
        })
    }

    /// Writes a change.
    pub fn apply(&self, change: Change) -> Result<()> {
        self.migrate()?;
        match change {
            Change::Open { slot, admitted_at, lease_until, entry } => self.write(
                "insert or replace into journal values (?, ?, ?, null, ?)",
                vec![slot.into(), admitted_at.into(), lease_until.into(), json(&entry)?],
            ),
            Change::Close { slot, position, outcome: Some(outcome) } => self.write(
                "update journal set position = ?, entry = json_patch(entry, ?) where slot = ?",
                vec![position.into(), json(&outcome)?, slot.into()],
            ),
            Change::Close { slot, position, outcome: None } => self.write(
                "update journal set position = ? where slot = ?",
                vec![position.into(), slot.into()],
            ),
            Change::Refuse { slot, position, entry } => self.write(
                "insert or replace into journal values (?, null, null, ?, ?)",
                vec![slot.into(), position.into(), json(&entry)?],
            ),
            Change::Renew { slot, lease_until } => self.write(
                "update journal set lease_until = ? where slot = ?",
                vec![lease_until.into(), slot.into()],
            ),
            Change::GiveUp(slots) => self.write(
                "delete from journal where slot in (select value from json_each(?))",
                vec![json(&slots)?],
            ),
            Change::MoveBack(step) => {
                let journal = "update journal set admitted_at = admitted_at - ?1,
                    lease_until = lease_until - ?1";
                self.write(journal, vec![step.into()])?;
                self.write("update responses set at = at - ?", vec![step.into()])
            }
            Change::NotAfter(now) => {
                let journal = "update journal set admitted_at = min(admitted_at, ?1),
                    lease_until = min(lease_until, ?2)";
                self.write(journal, vec![now.into(), (now + LEASE).into()])?;
                self.write("update responses set at = min(at, ?)", vec![now.into()])
            }
            Change::Flushed(arrived) => self
                .write("update meta set value = ? where name = 'flushed'", vec![json(&arrived)?]),
            Change::Remember(slot, Remembered { response_id, session_key, upstream, at }) => {
                let what = [response_id.into(), session_key.into(), at.into(), upstream.into()];
                let write = "insert or replace into responses values (?, ?, ?, ?, ?)";
                self.write(write, [vec![slot_value(slot)], what.into()].concat())
            }
            Change::Access(access) => self.write_document(ACCESS, &access),
            Change::Codex(codex) => self.write_document(CODEX, &codex),
            Change::Tier(tier) => self.write_document(TIER, &tier),
            Change::Mirror(mirror) => self.write_document(MIRROR, &mirror),
            Change::Returns(returns) => self.write_document(RETURNS, &returns),
            Change::Projects(projects) => self.write_document(PROJECTS, &projects),
            Change::Leave(farewell) => {
                for everything in ["journal", "responses", "documents"] {
                    self.write(&format!("delete from {everything}"), Vec::new())?;
                }
                self.apply(Change::Flushed(Arrived::default()))?;
                self.write_document(FAREWELL, &farewell)
            }
            Change::ResetWindow(now) => self.write(
                "update journal set admitted_at = admitted_at - ?1 where admitted_at > ?2",
                vec![MINUTE.into(), (now - MINUTE).into()],
            ),
        }
    }

    /// The rows in these slots.
    pub fn entries(&self, slots: &[i64]) -> Result<Vec<Entry>> {
        if slots.is_empty() {
            return Ok(Vec::new());
        }
        let query = "select entry as value from journal
            where slot in (select value from json_each(?))";
        let rows: Vec<Text> = self.sql.exec(query, vec![json(&slots)?])?.to_array()?;
        let entries = rows.iter().map(|row| serde_json::from_str(&row.value));
        Ok(entries.collect::<serde_json::Result<_>>()?)
    }

    /// The settled rows after a position, in their order, as JSON objects with their `position`.
    pub fn settled_after(&self, position: i64, at_most: i64) -> Result<Vec<SettledRow>> {
        let query = "select position, json_set(entry, '$.position', position) as entry
            from journal where position > ? order by position limit ?";
        self.sql.exec(query, vec![position.into(), at_most.into()])?.to_array()
    }

    /// What a view of the user shows of the journal.
    pub fn view(&self) -> Result<Rows> {
        if self.is_untouched()? {
            return Ok(Rows::default());
        }
        let recent = "select entry as value from journal where position is not null
            order by position desc limit ?";
        let recent: Vec<Text> = self.sql.exec(recent, vec![slot_value(KEPT)])?.to_array()?;
        let entries = recent.iter().map(|row| serde_json::from_str::<Entry>(&row.value));
        let waiting = "select cast(unixepoch(entry ->> 'created_at', 'subsec') * 1000 as integer)
            as value from journal
            where position > (select value ->> 'position' from meta where name = 'flushed')
            order by position limit 1";
        Ok(Rows {
            recent: entries.map(|entry| Ok(entry?.into())).collect::<serde_json::Result<_>>()?,
            waiting_since: self.rows::<Number>(waiting)?.first().map(|row| row.value),
        })
    }

    /// The name of the outbox: made once, and never the same for an object that is born again.
    pub fn outbox(&self) -> Result<String> {
        self.migrate()?;
        let rows = self.rows::<Text>("select value from meta where name = 'outbox'")?;
        rows.into_iter().next().map(|row| row.value).ok_or_else(|| "the outbox has no name".into())
    }

    /// Whose object this is.
    pub fn user_id(&self) -> Result<String> {
        // A row tells too, in an object that is older than the name.
        let query = "select coalesce((select value from meta where name = 'user_id'),
            (select entry ->> 'user_id' from journal limit 1), '') as value";
        let found = self.rows::<Text>(query)?.into_iter().next().map(|row| row.value);
        let name = found.filter(|name| !name.is_empty()).or_else(|| self.name.clone());
        name.ok_or_else(|| "the object doesn't know its name".into())
    }

    /// Takes note that the storage is being emptied.
    pub fn forget(&self) {
        self.version.set(0);
    }

    /// The rows written since the last call.
    pub fn take_rows_written(&self) -> usize {
        self.rows_written.take()
    }

    fn arrived(&self) -> Result<Arrived> {
        let rows = self.rows::<Text>("select value from meta where name = 'flushed'")?;
        Ok(rows
            .first()
            .map(|row| serde_json::from_str(&row.value))
            .transpose()?
            .unwrap_or_default())
    }

    fn is_untouched(&self) -> Result<bool> {
        let tables = "select count(*) as value from sqlite_master where name = 'meta'";
        Ok(self.number(tables)? == 0)
    }

    fn migrate(&self) -> Result<()> {
        if self.version.get() == SCHEMA.len() {
            return Ok(());
        }
        let create = "create table if not exists meta (name text primary key, value) without rowid";
        self.write(create, Vec::new())?;
        let version =
            self.rows::<Number>("select value from meta where name = 'schema_version'")?;
        let done = version.first().map_or(0, |row| usize::try_from(row.value).unwrap_or(0));
        for step in SCHEMA.iter().skip(done) {
            self.write(step, Vec::new())?;
        }
        if done == 0 {
            let outbox = random_id();
            let first = "insert or ignore into meta values ('outbox', ?), ('flushed', ?)";
            self.write(first, vec![outbox.into(), json(&Arrived::default())?])?;
        }
        if done < SCHEMA.len() {
            if let Some(name) = &self.name {
                let known = "insert or ignore into meta values ('user_id', ?)";
                self.write(known, vec![name.as_str().into()])?;
            }
            let set = "insert or replace into meta values ('schema_version', ?)";
            self.write(set, vec![slot_value(SCHEMA.len())])?;
        }
        self.version.set(SCHEMA.len());
        Ok(())
    }

    fn write(&self, statement: &str, values: Vec<SqlStorageValue>) -> Result<()> {
        let cursor = self.sql.exec(statement, values)?;
        self.rows_written.set(self.rows_written.get() + cursor.rows_written());
        Ok(())
    }

    fn rows<T: DeserializeOwned>(&self, query: &str) -> Result<Vec<T>> {
        self.sql.exec(query, None)?.to_array()
    }

    fn number(&self, query: &str) -> Result<i64> {
        Ok(self.rows::<Number>(query)?.first().map_or(0, |row| row.value))
    }

    fn document<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let query = "select body as value from documents where name = ?";
        let rows: Vec<Text> = self.sql.exec(query, vec![name.into()])?.to_array()?;
        Ok(rows.first().map(|row| serde_json::from_str(&row.value)).transpose()?)
    }

    fn write_document(&self, name: &str, body: &impl serde::Serialize) -> Result<()> {
        let write = "insert or replace into documents values (?, ?)";
        self.write(write, vec![name.into(), json(body)?])
    }
}

/// A row on its way to D1.
#[derive(Deserialize)]
pub struct SettledRow {
    /// Its place in the order.
    pub position: i64,
    /// The row, a JSON object.
    pub entry: String,
}

#[derive(Deserialize)]
struct Number {
    value: i64,
}

#[derive(Deserialize)]
struct Text {
    value: String,
}

#[derive(Deserialize)]
struct JournalRow {
    slot: i64,
    admitted_at: Option<Millis>,
    lease_until: Option<Millis>,
    position: Option<i64>,
    request_id: Option<String>,
    month: Option<Month>,
    tokens: u64,
}

impl From<JournalRow> for StoredRow {
    fn from(row: JournalRow) -> Self {
        let state = match row.position {
            Some(position) => RowState::Settled(position),
            None => RowState::Open {
                request_id: row.request_id.unwrap_or_default(),
                lease_until: row.lease_until.unwrap_or_default(),
            },
        };
        let counted = row.month.map(|month| Counted { month, tokens: row.tokens });
        Self { slot: row.slot, admitted_at: row.admitted_at, state, counted }
    }
}

#[derive(Deserialize)]
struct ResponseRow {
    slot: usize,
    response_id: String,
    session_key: String,
    upstream: String,
    at: Millis,
}

impl From<ResponseRow> for (usize, Remembered) {
    fn from(row: ResponseRow) -> Self {
        let ResponseRow { slot, response_id, session_key, upstream, at } = row;
        (slot, Remembered { response_id, session_key, upstream, at })
    }
}

fn json(value: &impl serde::Serialize) -> Result<SqlStorageValue> {
    Ok(serde_json::to_string(value)?.into())
}

fn slot_value(slot: usize) -> SqlStorageValue {
    SqlStorageValue::Integer(i64::try_from(slot).unwrap_or(i64::MAX))
}
