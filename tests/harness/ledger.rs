//! D1 as a file: what the operator would find there.

use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};

/// Rows are there within 2 s under normal load; a machine that runs ten tests at once is given more.
const PATIENCE: Duration = Duration::from_secs(40);

/// How many rows there are of each status and code.
fn summary(rows: &[Row]) -> String {
    let mut kinds = std::collections::BTreeMap::new();
    for row in rows {
        *kinds.entry((row.status, row.error_code.as_deref())).or_insert(0) += row.count;
    }
    format!("{kinds:?}")
}

/// The D1 database of one gateway, opened anew for each question.
#[derive(Clone)]
pub struct Ledger {
    path: PathBuf,
}

/// Every row of every table, each as one text that begins with the table's name.
fn everything(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let mut tables = connection.prepare("select name from sqlite_master where type = 'table'")?;
    let tables = tables.query_map([], |row| row.get::<_, String>(0))?;
    let mut texts = Vec::new();
    for table in tables {
        let table = table?;
        let mut rows = connection.prepare(&format!("select * from \"{table}\""))?;
        let columns = rows.column_count();
        let mut rows = rows.query([])?;
        while let Some(row) = rows.next()? {
            let mut text = table.clone();
            for column in 0..columns {
                text.push_str(" | ");
                match row.get_ref(column)? {
                    ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
                        text.push_str(&String::from_utf8_lossy(bytes));
                    }
                    ValueRef::Integer(number) => text.push_str(&number.to_string()),
                    ValueRef::Real(number) => text.push_str(&number.to_string()),
                    ValueRef::Null => {}
                }
            }
            texts.push(text);
        }
    }
    Ok(texts)
}

/// One row of `requests`.
#[derive(Clone, Debug, PartialEq)]
#[expect(missing_docs, reason = "the columns are documented in the migration")]
pub struct Row {
    pub id: i64,
    pub user_id: String,
    pub endpoint: String,
    pub status: i64,
    pub latency_ms: i64,
    pub tokens_est: i64,
    pub ip_hash: Option<String>,
    pub created_at: String,
    pub request_id: String,
    pub project: String,
    pub model: Option<String>,
    pub ttfb_ms: Option<i64>,
    pub tokens_source: String,
    pub error_code: Option<String>,
    pub count: i64,
    pub month: Option<String>,
    pub provider_requests: Option<i64>,
}

impl Ledger {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path }
    }

    /// A connection that can only read.
    #[must_use]
    pub fn open(&self) -> Connection {
        self.connect().unwrap()
    }

    fn connect(&self) -> rusqlite::Result<Connection> {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.busy_timeout(Duration::from_secs(15))?;
        Ok(connection)
    }

    /// Every row of `user`, oldest first; an empty name means of everybody.
    #[must_use]
    pub fn rows(&self, user: &str) -> Vec<Row> {
        let connection = self.open();
        let mut statement = connection
            .prepare("select * from requests where ?1 = '' or user_id = ?1 order by id")
            .unwrap();
        let rows = statement.query_map([user], |row| {
            Ok(Row {
                id: row.get("id")?,
                user_id: row.get("user_id")?,
                endpoint: row.get("endpoint")?,
                status: row.get("status")?,
                latency_ms: row.get("latency_ms")?,
                tokens_est: row.get("tokens_est")?,
                ip_hash: row.get("ip_hash")?,
                created_at: row.get("created_at")?,
                request_id: row.get("request_id")?,
                project: row.get("project")?,
                model: row.get("model")?,
                ttfb_ms: row.get("ttfb_ms")?,
                tokens_source: row.get("tokens_source")?,
                error_code: row.get("error_code")?,
                count: row.get("count")?,
                month: row.get("month")?,
                provider_requests: row.get("provider_requests")?,
            })
        });
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// What was done to `user`, or to anybody where that is empty: by whom, what, and what about.
    #[must_use]
    pub fn actions(&self, user: &str) -> Vec<[String; 3]> {
        let connection = self.open();
        let query = "select operator, action, coalesce(detail, '') from operator_actions
            where ?1 in ('', user_id) order by id";
        let mut statement = connection.prepare(query).unwrap();
        let rows = statement.query_map([user], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
        rows.unwrap().map(Result::unwrap).collect()
    }

    /// The rows of `user` as soon as their counts add up to `count`.
    ///
    /// # Panics
    /// When they don't in time, or add up to more.
    pub async fn settled(&self, user: &str, count: i64) -> Vec<Row> {
        let began = std::time::Instant::now();
        loop {
            let rows = self.rows(user);
            let sum: i64 = rows.iter().map(|row| row.count).sum();
            if sum == count {
                return rows;
            }
            assert!(
                sum < count && began.elapsed() < PATIENCE,
                "{user}: {count} requests were made, D1 has {sum}: {}",
                summary(&rows)
            );
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// The one row of the request `request_id`, as soon as it is there.
    pub async fn row(&self, request_id: &str) -> Row {
        let what = format!("row for {request_id}");
        crate::wait_for(&what, PATIENCE, || {
            let rows = self.rows("");
            let mut found = rows.into_iter().filter(|row| row.request_id == request_id);
            let row = found.next()?;
            assert_eq!(found.next(), None, "{request_id} has two rows");
            Some(row)
        })
        .await
    }

    /// Every row of every table, each as one text that begins with the table's name.
    pub(crate) fn everything(&self) -> rusqlite::Result<Vec<String>> {
        everything(&self.connect()?)
    }

    /// Every row of every table of every database below a folder, each after the file's path. What was
    /// killed is recovered first, as it would be when it is next used.
    #[must_use]
    pub fn everywhere(folder: &Path) -> Vec<String> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(Self::everywhere(&path));
            } else if path.extension().is_some_and(|extension| extension == "sqlite") {
                let rows = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE);
                let rows = rows.and_then(|connection| everything(&connection));
                // An object that is emptied meanwhile takes its file along.
                let rows = if path.exists() { rows.unwrap() } else { Vec::new() };
                found.extend(rows.into_iter().map(|row| format!("{}: {row}", path.display())));
            }
        }
        found
    }

    /// To be written to by hand.
    ///
    /// # Panics
    /// When there is no database.
    #[must_use]
    pub fn by_hand(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(15)).unwrap();
        connection
    }

    /// Keeps everybody else from writing, as another program that holds the file would, until what
    /// is returned is dropped.
    #[must_use]
    pub fn lock(&self) -> Connection {
        let connection = Connection::open(&self.path).unwrap();
        connection.busy_timeout(Duration::from_secs(10)).unwrap();
        connection.execute_batch("begin exclusive").unwrap();
        connection
    }
}
