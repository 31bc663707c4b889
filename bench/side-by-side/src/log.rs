//! The lines of a Worker's log that tell what something cost.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Deserialize;

/// A line that tells something here.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Line {
    /// The gateway sent rows to D1.
    Flush(Flush),
    /// The gateway, in its build for tests, sent a message to an object.
    ObjectCall,
    /// The original design, where it is asked to tell, has inserted a row.
    Cost { kv_reads: u64, kv_writes: u64, d1_rows_written: u64 },
}

/// What a flush wrote.
#[derive(Debug, Deserialize, PartialEq, Eq)]
pub struct Flush {
    pub user_id: String,
    /// Rows of requests.
    pub rows: u64,
    /// In the object, since the flush before: as the runtime counts.
    pub object_rows_written: u64,
    pub d1_rows_written: u64,
}

/// The lines so far.
///
/// # Errors
/// When there is no such file.
pub fn lines(log: &Path) -> Result<Vec<Line>> {
    let text = std::fs::read(log).with_context(|| format!("can't read {}", log.display()))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

/// The flushes so far.
///
/// # Errors
/// When there is no such file.
pub fn flushes(log: &Path) -> Result<Vec<Flush>> {
    let flush = |line| if let Line::Flush(flush) = line { Some(flush) } else { None };
    Ok(lines(log)?.into_iter().filter_map(flush).collect())
}

fn parse(text: &str) -> Vec<Line> {
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Flush, Line, parse};

    #[test]
    fn what_tells_nothing_here_is_passed_over() {
        let text = r#"migrated
{"event":"request","status":200}
{"event":"flush","user_id":"ada","rows":3,"object_rows_written":7,"d1_rows_written":10}
{"event":"object_call","object":"ada","message":"Admit"}
{"event":"cost","kv_reads":1,"kv_writes":2,"d1_rows_written":3}
{"event":"flu"#;
        let flush = Flush {
            user_id: "ada".to_owned(),
            rows: 3,
            object_rows_written: 7,
            d1_rows_written: 10,
        };
        let cost = Line::Cost { kv_reads: 1, kv_writes: 2, d1_rows_written: 3 };
        let expected = [Line::Flush(flush), Line::ObjectCall, cost];
        assert_eq!(parse(text), expected);
    }
}
