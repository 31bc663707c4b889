//! What a request costs in calls and rows: counted once, in a run of its own, for counting costs time.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tokio::time::sleep;

use super::{ensure_all_answered, steady};
use crate::client::{Until, in_turn};
use crate::contenders::{Purpose, Running, Site};
use crate::log::{Line, flushes, lines};
use crate::options::Contender;
use crate::results::Costs;
use crate::talk::Kind;

/// How many requests the costs are averaged over, on sixteen connections: half of them streams.
const REQUESTS: usize = 1000;

/// How long rows may take to the log.
const PATIENCE: Duration = Duration::from_secs(30);

/// Counts. What keeps no state costs nothing.
///
/// # Errors
/// When an answer is wrong, or rows don't arrive.
pub async fn count(site: &Site, contender: Contender) -> Result<Costs> {
    if !contender.has_limits() {
        return Ok(Costs { requests: REQUESTS, ..Costs::default() });
    }
    let running = site.start(contender, Purpose::Counting).await?;
    let users = steady::users()?;
    let known = in_turn(&running.target, &users, (Kind::Json, 1), Until::Requests(steady::USERS));
    ensure_all_answered(&known.await)?;
    let before = settled(&running, contender, steady::USERS).await?;
    for kind in [Kind::Json, Kind::Stream] {
        let until = Until::Requests(REQUESTS / 2);
        ensure_all_answered(&in_turn(&running.target, &users, (kind, 16), until).await)?;
    }
    let after = settled(&running, contender, steady::USERS + REQUESTS).await?;
    running.stop().await;
    Ok(Costs {
        requests: REQUESTS,
        object_calls: after.object_calls - before.object_calls,
        object_rows_written: after.object_rows_written - before.object_rows_written,
        d1_rows_written: after.d1_rows_written - before.d1_rows_written,
        kv_reads: after.kv_reads - before.kv_reads,
        kv_writes: after.kv_writes - before.kv_writes,
    })
}

/// The sums so far, once so many requests are in the log.
async fn settled(running: &Running, contender: Contender, requests: usize) -> Result<Costs> {
    let began = Instant::now();
    loop {
        let costs = match contender {
            Contender::Gateway => of_gateway(running)?,
            _ => of_original(running)?,
        };
        if costs.requests >= requests {
            return Ok(costs);
        }
        if began.elapsed() > PATIENCE {
            bail!("{requests} requests were answered, {} rows are in the log", costs.requests);
        }
        sleep(Duration::from_millis(200)).await;
    }
}

fn of_gateway(running: &Running) -> Result<Costs> {
    let mut costs = Costs::default();
    for flush in flushes(&running.log)? {
        costs.requests += usize::try_from(flush.rows)?;
        costs.object_rows_written += flush.object_rows_written;
        costs.d1_rows_written += flush.d1_rows_written;
    }
    let is_call = |line: &Line| matches!(line, Line::ObjectCall);
    costs.object_calls = lines(&running.log)?.iter().filter(|line| is_call(line)).count() as u64;
    Ok(costs)
}

fn of_original(running: &Running) -> Result<Costs> {
    let mut costs = Costs::default();
    for line in lines(&running.log)? {
        if let Line::Cost { kv_reads, kv_writes, d1_rows_written } = line {
            costs.requests += 1;
            costs.kv_reads += kv_reads;
            costs.kv_writes += kv_writes;
            costs.d1_rows_written += d1_rows_written;
        }
    }
    Ok(costs)
}
