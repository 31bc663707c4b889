//! D1: databases of an account, and their queries.

use rusqlite::fallible_iterator::FallibleIterator as _;
use rusqlite::types::ValueRef;
use rusqlite::{Batch, Connection};
use serde_json::{Map, Value, json};

use super::{Account, Answer, Call, no};

impl Account {
    pub(super) fn d1(&mut self, call: &Call, rest: &[&str]) -> Answer {
        match (call.method.as_str(), rest) {
            ("GET", []) => {
                let of =
                    |(id, (name, _)): (&String, &(String, _))| json!({"uuid": id, "name": name});
                // Ten a page, as the real one has them.
                let page = call.query.split('&').find_map(|it| it.strip_prefix("page="));
                let page: usize = page.and_then(|page| page.parse().ok()).unwrap_or(1);
                let databases = self.databases.iter().map(of).skip((page - 1) * 10).take(10);
                Ok(databases.collect())
            }
            ("POST", []) => {
                let name = call.json()["name"].as_str().unwrap_or_default().to_owned();
                if self.databases.values().any(|(known, _)| *known == name) {
                    return no(400, 7_502, "A database with that name already exists");
                }
                let id = self.add_database(&name);
                Ok(json!({ "uuid": id, "name": name, "version": "production" }))
            }
            ("POST", [id, "query"]) => match self.databases.get(*id) {
                Some((_, path)) => {
                    let sql = call.json()["sql"].as_str().unwrap_or_default().to_owned();
                    query(path, &sql).or_else(|error| no(400, 7_500, error.to_string()))
                }
                None => no(404, 7_404, "The database was not found"),
            },
            _ => no(404, 7_003, "Could not route to this path"),
        }
    }
}

/// Runs the statements as one, and answers each.
fn query(path: &std::path::Path, sql: &str) -> rusqlite::Result<Value> {
    let mut connection = Connection::open(path)?;
    connection.busy_timeout(std::time::Duration::from_secs(10))?;
    let transaction = connection.transaction()?;
    let mut answers = Vec::new();
    let mut batch = Batch::new(&transaction, sql);
    while let Some(mut statement) = batch.next()? {
        let columns: Vec<_> = statement.column_names().map(str::to_owned).collect();
        let mut rows = statement.query([])?;
        let mut results = Vec::new();
        while let Some(row) = rows.next()? {
            let mut object = Map::new();
            for (index, column) in columns.iter().enumerate() {
                object.insert(column.clone(), value(row.get_ref(index)?));
            }
            results.push(Value::Object(object));
        }
        answers.push(json!({ "results": results, "success": true, "meta": { "duration": 0.1 } }));
    }
    transaction.commit()?;
    Ok(Value::Array(answers))
}

fn value(value: ValueRef) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => number.into(),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into(),
    }
}
