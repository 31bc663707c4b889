//! All that a small object keeps: one document. SQL only, and synchronous: nothing here awaits.

use std::cell::Cell;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use worker::{Result, SqlStorage};

/// An object's storage, and the name of the document in it.
pub struct Document {
    sql: SqlStorage,
    name: &'static str,
    /// Whether the table is known to be there.
    is_ready: Cell<bool>,
}

#[derive(Deserialize)]
struct Body {
    body: String,
}

impl Document {
    /// Opens the storage; nothing is read or written yet.
    pub fn new(sql: SqlStorage, name: &'static str) -> Self {
        Self { sql, name, is_ready: Cell::new(false) }
    }

    /// Reads the document. An object that has never written stays without a single row.
    pub fn load<T: DeserializeOwned + Default>(&self) -> Result<T> {
        let text = self.read()?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?.unwrap_or_default())
    }

    /// Writes the document.
    pub fn save(&self, body: &impl Serialize) -> Result<()> {
        self.write(serde_json::to_string(body)?)
    }

    /// Takes note that the storage is being emptied.
    pub fn forget(&self) {
        self.is_ready.set(false);
    }

    fn read(&self) -> Result<Option<String>> {
        let tables = "select name as body from sqlite_master where name = 'documents'";
        let rows: Vec<Body> = self.sql.exec(tables, None)?.to_array()?;
        if rows.is_empty() {
            return Ok(None);
        }
        let query = "select body from documents where name = ?";
        let rows: Vec<Body> = self.sql.exec(query, vec![self.name.into()])?.to_array()?;
        Ok(rows.into_iter().next().map(|row| row.body))
    }

    /// Writes the document, which is text already.
    pub fn write(&self, body: String) -> Result<()> {
        if !self.is_ready.get() {
            let create = "create table if not exists documents
                (name text primary key, body text not null) without rowid";
            self.sql.exec(create, None)?;
            self.is_ready.set(true);
        }
        let save = "insert or replace into documents values (?, ?)";
        self.sql.exec(save, vec![self.name.into(), body.into()]).map(drop)
    }
}
