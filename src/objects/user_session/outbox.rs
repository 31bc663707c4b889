//! The way of settled rows to D1: in batches, in order, each exactly once.
//!
//! The batch that carries the rows also moves the outbox's cursor, and takes only rows beyond it.
//! A batch whose reply was lost may so be sent again, whole or in part, and adds nothing.

use std::time::Duration;

use domain::alerts::Notice;
use domain::clock::sql_text;
use domain::month::{Month, Usage};
use domain::session::Session;
use domain::session::mirror::Mirror;
use futures::future::{Either, select};
use serde::Serialize;
use worker::{Delay, Result};

use super::UserSession;
use super::store::SettledRow;
use crate::log;
use crate::objects::alerts;

/// Rows a batch, at most.
const BATCH: i64 = 500;
/// Bytes of rows a batch, at most: D1 takes 2 MB as one bound parameter.
const BATCH_BYTES: usize = 1_000_000;

/// So many failures in a row are said to who tells the operator, and again after each so many: what is
/// said once may be lost.
const SAID_AT: u32 = 3;
const SAID_AGAIN_AFTER: u32 = 30;

/// How long D1 may take before the attempt counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

const INSERT: &str = "
    insert into requests (user_id, endpoint, status, latency_ms, tokens_est, ip_hash, created_at,
        request_id, project, model, ttfb_ms, tokens_source, error_code, count, month,
        provider_requests)
    select value ->> 'user_id', value ->> 'endpoint', value ->> 'status', value ->> 'latency_ms',
        value ->> 'tokens_est', value ->> 'ip_hash', value ->> 'created_at',
        value ->> 'request_id', value ->> 'project', value ->> 'model', value ->> 'ttfb_ms',
        value ->> 'tokens_source', value ->> 'error_code', value ->> 'count',
        iif(value ->> 'gives_back', null, value ->> 'month'), value ->> 'provider_requests'
    from json_each(?1)
    where value ->> 'position' >
        coalesce((select cursor from outbox_cursors where outbox = ?2), 0)";

const MOVE_CURSOR: &str = "
    insert into outbox_cursors (outbox, user_id, cursor) values (?1, ?2, ?3)
    on conflict (outbox) do update set cursor = max(cursor, excluded.cursor)";

/// A month's sums only grow, so one that comes late changes nothing. A cursor beyond every position is
/// that of an outbox whose user was forgotten: nothing arrives from it any more.
const SET_MONTHS: &str = "
    insert into monthly_usage (user_id, month, requests, tokens)
    select ?1, value ->> 'month', value ->> 'requests', value ->> 'tokens' from json_each(?2)
    where not exists (select 1 from outbox_cursors where outbox = ?3 and cursor = 9007199254740991)
    on conflict (user_id, month) do update set
        requests = max(requests, excluded.requests), tokens = max(tokens, excluded.tokens)";

/// The names come from the roster; all else from here.
const SET_USER: &str = "
    insert into users (user_id, tier, tier_since, tier_until, blocked, binding, keys, codex,
        created_at, updated_at, revision)
    select ?1, ?2 ->> 0, ?2 ->> 1, ?2 ->> 2, ?2 ->> 3, ?2 ->> 4, ?2 ->> 5, ?2 ->> 6, ?2 ->> 7,
        ?2 ->> 8, ?2 ->> 9
    where not exists (select 1 from outbox_cursors where outbox = ?3 and cursor = 9007199254740991)
    on conflict (user_id) do update set tier = excluded.tier, tier_since = excluded.tier_since,
        tier_until = excluded.tier_until, blocked = excluded.blocked, binding = excluded.binding,
        keys = excluded.keys, codex = excluded.codex, updated_at = excluded.updated_at,
        revision = excluded.revision
    where excluded.revision > users.revision";

/// Batches that are sent because somebody asks, at most: far more than an object ever has waiting.
const MOST_BATCHES: usize = 100;

/// What goes to D1 at once.
struct Batch {
    /// Where its rows begin.
    after: i64,
    /// Where they end.
    last: i64,
    rows: Vec<SettledRow>,
    months: Vec<Usage>,
    mirror: Option<Mirror>,
}

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
        let is_due = self.turn(|session, now| {
            (session.journal().flush_due().is_some_and(|due| due <= now), Vec::new())
        })?;
        if is_due { self.send_next().await } else { Ok(()) }
    }

    /// Sends what there is, until D1 has it or fails. Says whether it has everything.
    pub(super) async fn send_all(&self) -> Result<bool> {
        let look = || self.turn(|session, _| ((session.is_sent(), session.progress()), Vec::new()));
        for _ in 0..MOST_BATCHES {
            let (is_sent, before) = look()?;
            if is_sent {
                return Ok(true);
            }
            self.send_next().await?;
            let (_, after) = look()?;
            // New rows come meanwhile, so what is left tells nothing.
            if after == before {
                return Ok(false);
            }
        }
        Ok(false)
    }

    /// What was used of a month, once D1 has all that it can be sent.
    pub(super) async fn tell_month(&self, month: Month) -> Result<Usage> {
        self.send_all().await?;
        self.turn(|session, _| (session.arrived_of(month), Vec::new()))
    }

    async fn send_next(&self) -> Result<()> {
        let (forgotten, batch) = (self.forgotten.get(), self.next_batch()?);
        let revision = batch.mirror.as_ref().map_or(0, |mirror| mirror.revision);
        let sending = std::pin::pin!(self.send(&batch));
        match select(sending, Delay::from(PATIENCE)).await {
            Either::Left((Ok(flush), _)) => {
                log::event("flush", &flush);
                if self.failures()? >= SAID_AT {
                    self.say_whether_rows_wait(false)?;
                }
                let arrived =
                    |session: &mut Session, now| session.flush_succeeded(batch.last, revision, now);
                return self.turn_of(forgotten, arrived);
            }
            Either::Left((Err(error), _)) => flush_failed(batch.after, &error.to_string()),
            Either::Right(_) => flush_failed(batch.after, "D1 took too long"),
        }
        self.turn_of(forgotten, Session::flush_failed)?;
        if self.failures()? % SAID_AGAIN_AFTER == SAID_AT {
            self.say_whether_rows_wait(true)?;
        }
        Ok(())
    }

    /// How many flushes have failed in a row.
    fn failures(&self) -> Result<u32> {
        self.turn(|session, _| (session.journal().failures(), Vec::new()))
    }

    /// Nothing here waits for it to be heard.
    pub(super) fn say_whether_rows_wait(&self, wait: bool) -> Result<()> {
        let (context, user_id) = (self.context.clone(), self.store.user_id()?);
        self.context.wait_until(async move {
            alerts::notice(&context, Notice::Rows(user_id, wait)).await;
        });
        Ok(())
    }

    /// What D1 doesn't have yet, or the beginning of it.
    fn next_batch(&self) -> Result<Batch> {
        let after = self.turn(|session, _| (session.journal().flushed(), Vec::new()))?;
        let mut rows = self.store.settled_after(after, BATCH)?;
        let mut bytes = 0;
        let fitting = rows.iter().take_while(|row| {
            bytes += row.entry.len();
            bytes <= BATCH_BYTES
        });
        let fitting = fitting.count().max(1);
        rows.truncate(fitting);
        let last = rows.last().map_or(after, |row| row.position);
        let (months, mirror) = self.turn(|session, _| session.sending(last))?;
        Ok(Batch { after, last, rows, months, mirror })
    }

    async fn send(&self, batch: &Batch) -> Result<Flush> {
        let Batch { last, rows, months, mirror, .. } = batch;
        let (outbox, user_id) = (self.store.outbox()?, self.store.user_id()?);
        let database = self.context.database()?;
        let mut statements = Vec::new();
        if !rows.is_empty() {
            let list = rows.iter().map(|row| row.entry.as_str()).collect::<Vec<_>>().join(",");
            let values = [format!("[{list}]").into(), outbox.as_str().into()];
            statements.push(database.prepare(INSERT).bind(&values)?);
            #[expect(clippy::cast_precision_loss, reason = "positions are far below 2^53")]
            let values = [outbox.as_str().into(), user_id.as_str().into(), (*last as f64).into()];
            statements.push(database.prepare(MOVE_CURSOR).bind(&values)?);
        }
        if !months.is_empty() {
            let months = serde_json::to_string(months)?;
            let values = [user_id.as_str().into(), months.into(), outbox.as_str().into()];
            statements.push(database.prepare(SET_MONTHS).bind(&values)?);
        }
        if let Some(mirror) = mirror {
            let columns = columns_of(mirror)?;
            let values = [user_id.as_str().into(), columns.into(), outbox.into()];
            statements.push(database.prepare(SET_USER).bind(&values)?);
        }
        let mut d1_rows_written = 0;
        for result in self.context.batch(statements).await? {
            d1_rows_written += result.meta()?.and_then(|meta| meta.rows_written).unwrap_or(0);
        }
        let object_rows_written = self.store.take_rows_written();
        Ok(Flush { user_id, rows: rows.len(), object_rows_written, d1_rows_written })
    }
}

fn flush_failed(after: i64, error: &str) {
    log::fault("flush failed", &format!("rows after position {after} wait: {error}"));
}

/// The columns of a user, in the order of their statement.
fn columns_of(mirror: &Mirror) -> Result<String> {
    let Mirror { revision, profile, since, changed_at } = mirror;
    let held = profile.tier.as_ref();
    Ok(serde_json::to_string(&(
        held.map(|held| held.tier),
        held.map(|held| sql_text(held.since)),
        held.and_then(|held| held.until).map(sql_text),
        u8::from(profile.is_blocked),
        profile.binding,
        profile.keys,
        profile.codex,
        sql_text(*since),
        sql_text(*changed_at),
        revision,
    ))?)
}
