//! What is written down: D1's tables, and the files of the objects.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gateway_tests::{Ledger, Row};
use rusqlite::{Connection, OpenFlags};
use serde::Deserialize;

/// Requests and tokens by month.
pub type Months = BTreeMap<String, (i64, i64)>;

/// What a user's object has on disk.
#[derive(Debug, Default)]
pub struct UserObject {
    pub user: String,
    /// When each request was admitted whose row is still there, by the object's own clock.
    pub admitted: Vec<i64>,
    /// Those of them that no step of the clock has moved since: each follows its request at once.
    pub unmoved: Vec<i64>,
    /// The requests that are running as far as it knows.
    pub open: Vec<String>,
    /// How many settled rows D1 isn't known to have.
    pub waiting: i64,
    /// What it counted.
    pub months: Months,
}

#[derive(Deserialize)]
struct Flushed {
    position: i64,
    months: Vec<Sum>,
}

#[derive(Deserialize)]
struct Sum {
    month: String,
    requests: i64,
    tokens: i64,
}

/// The users' objects below a state folder. While they are in use, one that can't be read just now is
/// left out.
pub fn user_objects(state: &Path, is_in_use: bool) -> Vec<UserObject> {
    let mut found = Vec::new();
    for path in databases(state) {
        match user_object(&path, is_in_use) {
            Ok(object) => found.extend(object),
            Err(_) if is_in_use => {}
            Err(error) => panic!("{} can't be read: {error}", path.display()),
        }
    }
    found
}

/// The slots that are taken as far as the upstream's object knows, which isn't in use.
pub fn slots_taken(state: &Path) -> Vec<String> {
    let taken = |path: &PathBuf| -> Option<String> {
        let query = "select body from documents where name = 'leases'";
        open(path, false).ok()?.query_row(query, [], |row| row.get(0)).ok()
    };
    let texts = databases(state).iter().filter_map(taken).collect::<Vec<_>>();
    assert!(!texts.is_empty(), "the upstream's object has a document");
    let leases = texts.iter().flat_map(|text| {
        serde_json::from_str::<Vec<(String, i64)>>(text).expect("leases as they are stored")
    });
    leases.map(|(request_id, _)| request_id).collect()
}

/// What D1 has: the rows, and the sums by user.
pub fn d1(ledger: &Ledger) -> (Vec<Row>, BTreeMap<String, Months>) {
    let connection = ledger.open();
    let query = "select user_id, month, requests, tokens from monthly_usage";
    let mut statement = connection.prepare(query).unwrap();
    let sums = statement.query_map([], |row| {
        Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, (row.get(2)?, row.get(3)?)))
    });
    let mut usage = BTreeMap::<String, Months>::new();
    for sum in sums.unwrap() {
        let (user, month, sum) = sum.unwrap();
        usage.entry(user).or_default().insert(month, sum);
    }
    (ledger.rows(""), usage)
}

/// What was killed is recovered first, where nobody uses it.
fn open(path: &Path, is_in_use: bool) -> rusqlite::Result<Connection> {
    let read = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let recover = OpenFlags::SQLITE_OPEN_READ_WRITE;
    Connection::open_with_flags(path, if is_in_use { read } else { recover })
}

/// `None` where it isn't a user's.
fn user_object(path: &Path, is_in_use: bool) -> rusqlite::Result<Option<UserObject>> {
    let connection = open(path, is_in_use)?;
    let tables = "select count(*) from sqlite_master where name in ('meta', 'journal')";
    if connection.query_row(tables, [], |row| row.get::<_, i64>(0))? != 2 {
        return Ok(None);
    }
    // One moment for all that is read.
    connection.execute_batch("begin")?;
    let user = "select value from meta where name = 'user_id'";
    let flushed = "select value from meta where name = 'flushed'";
    let user = connection.query_row(user, [], |row| row.get(0))?;
    let flushed: String = connection.query_row(flushed, [], |row| row.get(0))?;
    let flushed: Flushed = serde_json::from_str(&flushed).expect("sums as they are stored");
    let waiting = "select count(*) from journal where position > ?";
    let waiting = connection.query_row(waiting, [flushed.position], |row| row.get(0))?;
    let months = flushed.months.into_iter();
    Ok(Some(UserObject {
        user,
        admitted: column(&connection, "admitted_at", "admitted_at is not null")?,
        unmoved: column(
            &connection,
            "admitted_at",
            "admitted_at - cast(round(unixepoch(entry ->> 'created_at', 'subsec') * 1000) as integer)
                between 0 and 2000",
        )?,
        open: column(&connection, "entry ->> 'request_id'", "position is null")?,
        waiting,
        months: months.map(|sum| (sum.month, (sum.requests, sum.tokens))).collect(),
    }))
}

fn column<T: rusqlite::types::FromSql>(
    connection: &Connection,
    what: &str,
    of: &str,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = connection.prepare(&format!("select {what} from journal where {of}"))?;
    statement.query_map([], |row| row.get(0))?.collect()
}

/// Every database below a folder.
fn databases(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            found.extend(databases(&path));
        } else if path.extension().is_some_and(|extension| extension == "sqlite") {
            found.push(path);
        }
    }
    found
}
