//! The object's one document. SQL only, and synchronous: nothing here awaits.

use std::cell::Cell;

use domain::guesses::Attempts;
use serde::Deserialize;
use worker::{Result, SqlStorage};

/// The object's storage.
pub struct Store {
    sql: SqlStorage,
    /// Whether the table is known to be there.
    is_ready: Cell<bool>,
}

#[derive(Deserialize)]
struct Body {
    body: String,
}

impl Store {
    /// Opens the storage; nothing is read or written yet.
    pub fn new(sql: SqlStorage) -> Self {
        Self { sql, is_ready: Cell::new(false) }
    }

    /// Reads the attempts. An object that has never written stays without a single row.
    pub fn load(&self) -> Result<Attempts> {
        let tables = "select name as body from sqlite_master where name = 'documents'";
        if self.rows(tables)?.is_empty() {
            return Ok(Attempts::new());
        }
        let rows = self.rows("select body from documents where name = 'attempts'")?;
        Ok(rows.first().map(|row| serde_json::from_str(&row.body)).transpose()?.unwrap_or_default())
    }

    /// Writes the attempts.
    pub fn save(&self, attempts: &Attempts) -> Result<()> {
        if !self.is_ready.get() {
            let create = "create table if not exists documents
                (name text primary key, body text not null) without rowid";
            self.sql.exec(create, None)?;
            self.is_ready.set(true);
        }
        let body = serde_json::to_string(attempts)?;
        let save = "insert or replace into documents values ('attempts', ?)";
        self.sql.exec(save, vec![body.into()]).map(drop)
    }

    /// Takes note that the storage is being emptied.
    pub fn forget(&self) {
        self.is_ready.set(false);
    }

    fn rows(&self, query: &str) -> Result<Vec<Body>> {
        self.sql.exec(query, None)?.to_array()
    }
}
