//! The way of settled rows to D1: in batches, in order, each exactly once.
//!
//! The batch that carries the rows also moves the outbox's cursor, and takes only rows beyond it.
//! A batch whose reply was lost may so be sent again, whole or in part, and adds nothing.

use std::time::Duration;

use domain::entry::Entry;
use domain::session::Session;
use futures::future::{Either, select};
use serde::Serialize;
use worker::{Delay, Result};

use super::UserSession;
use super::store::SettledRow;
use crate::log;

/// Rows a batch, at most.
const BATCH: i64 = 500;
/// Bytes of rows a batch, at most: D1 takes 2 MB as one bound parameter.
const BATCH_BYTES: usize = 1_000_000;

/// How long D1 may take before the attempt counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

const INSERT: &str = "
    insert into requests (user_id, endpoint, status, latency_ms, tokens_est, ip_hash, created_at,
        request_id, project, model, ttfb_ms, tokens_source, error_code, count)
    select value ->> 'user_id', value ->> 'endpoint', value ->> 'status', value ->> 'latency_ms',
        value ->> 'tokens_est', value ->> 'ip_hash', value ->> 'created_at',
        value ->> 'request_id', value ->> 'project', value ->> 'model', value ->> 'ttfb_ms',
        value ->> 'tokens_source', value ->> 'error_code', value ->> 'count'
    from json_each(?1)
    where value ->> 'position' >
        coalesce((select cursor from outbox_cursors where outbox = ?2), 0)";

const MOVE_CURSOR: &str = "
    insert into outbox_cursors (outbox, user_id, cursor) values (?1, ?2, ?3)
    on conflict (outbox) do update set cursor = max(cursor, excluded.cursor)";

/// What a flush wrote where.
#[derive(Serialize)]
struct Flush {
    user_id: String,
    rows: usize,
    object_rows_written: usize,
    d1_rows_written: usize,
}

impl UserSession {
    /// Sends the next batch, if one is due. Whether it arrived or not, the next is due by the
    /// journal's own count.
    pub(super) async fn flush(&self) -> Result<()> {
        let Some((after, rows)) = self.due()? else { return Ok(()) };
        let Some(last) = rows.last().map(|row| row.position) else { return Ok(()) };
        self.turn(|session, _| session.sending(last))?;
        let sending = std::pin::pin!(self.send(&rows, last));
        match select(sending, Delay::from(PATIENCE)).await {
            Either::Left((Ok(flush), _)) => {
                log::event("flush", &flush);
                self.turn(|session, now| session.flush_succeeded(last, now))
            }
            Either::Left((Err(error), _)) => self.flush_failed(after, &error.to_string()),
            Either::Right(_) => self.flush_failed(after, "D1 took too long"),
        }
    }

    /// The rows of the batch that is due, and the position after which they come.
    fn due(&self) -> Result<Option<(i64, Vec<SettledRow>)>> {
        let after = self.turn(|session, now| {
            let journal = session.journal();
            let is_due = journal.flush_due().is_some_and(|due| due <= now);
            (is_due.then(|| journal.flushed()), Vec::new())
        })?;
        let Some(after) = after else { return Ok(None) };
        let mut rows = self.store.settled_after(after, BATCH)?;
        let mut bytes = 0;
        let fitting = rows.iter().take_while(|row| {
            bytes += row.entry.len();
            bytes <= BATCH_BYTES
        });
        let fitting = fitting.count().max(1);
        rows.truncate(fitting);
        Ok(Some((after, rows)))
    }

    async fn send(&self, rows: &[SettledRow], last: i64) -> Result<Flush> {
        let outbox = self.store.outbox()?;
        // An object that its alarm woke may not know its own name.
        let first =
            rows.first().map(|row| serde_json::from_str::<Entry>(&row.entry)).transpose()?;
        let user_id = first.map(|entry| entry.user_id.to_string()).unwrap_or_default();
        let batch = rows.iter().map(|row| row.entry.as_str()).collect::<Vec<_>>().join(",");
        let database = self.context.database()?;
        #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^53")]
        let cursor = last as f64;
        let statements = vec![
            database.prepare(INSERT).bind(&[format!("[{batch}]").into(), outbox.clone().into()])?,
            database.prepare(MOVE_CURSOR).bind(&[
                outbox.into(),
                user_id.clone().into(),
                cursor.into(),
            ])?,
        ];
        let mut d1_rows_written = 0;
        for result in database.batch(statements).await? {
            if let Some(error) = result.error() {
                return Err(error.into());
            }
            d1_rows_written += result.meta()?.and_then(|meta| meta.rows_written).unwrap_or(0);
        }
        let object_rows_written = self.store.take_rows_written();
        Ok(Flush { user_id, rows: rows.len(), object_rows_written, d1_rows_written })
    }

    fn flush_failed(&self, after: i64, error: &str) -> Result<()> {
        log::fault("flush failed", &format!("rows after position {after} wait: {error}"));
        self.turn(Session::flush_failed)
    }
}
