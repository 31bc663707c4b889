//! Totals of all requests that ever were, in D1: each row of `requests` is added once, by its id.
//!
//! Whoever asks for the totals adds what has come since, in the same transaction; so rows that come
//! late are counted, and none is counted twice. Rows are deleted once they have been added.

use domain::exposition::{BEYOND, BOUNDS};
use serde::Deserialize;
use wasm_bindgen::JsValue;
use worker::{D1Result, Result};

use crate::context::Context;

/// Rows that are added at once.
const BATCH: u32 = 20_000;
/// How often that is done a day, at most.
const BATCHES: usize = 500;

/// The rows that are next, of which ?1 are taken.
const NEXT: &str = "
    with next as (select * from requests where id > (select last_id from rolled_up)
        order by id limit ?1)";

const ADD_TOTALS: &str = "
    insert into totals (status, error_code, requests, tokens)
    select status, coalesce(error_code, ''), sum(count), sum(tokens_est) from next where true
    group by status, coalesce(error_code, '')
    on conflict (status, error_code) do update set requests = requests + excluded.requests,
        tokens = tokens + excluded.tokens";

/// ?2 are the bounds.
const ADD_DURATIONS: &str = "
    insert into durations (measure, bound, requests, milliseconds)
    select measure, (select min(value) from json_each(?2) where value >= milliseconds) as bound,
        sum(count), sum(count * milliseconds)
    from (select 'latency' as measure, status, count, latency_ms as milliseconds from next
        union all select 'ttfb', status, count, ttfb_ms from next)
    where status between 200 and 299 and milliseconds is not null group by measure, bound
    on conflict (measure, bound) do update set requests = requests + excluded.requests,
        milliseconds = milliseconds + excluded.milliseconds";

const GO_ON: &str = "
    update rolled_up set last_id = (select max(id) from next) where exists (select 1 from next)";

const MORE: &str = "select 1 from requests where id > (select last_id from rolled_up)";

/// What D1 says once the next rows are added.
#[derive(Deserialize)]
pub struct Added {
    /// Whether there are more.
    pub is_behind: u8,
    /// What was asked for besides, as JSON.
    pub found: String,
}

/// Adds the next rows, and asks `query` then, in one transaction.
///
/// # Errors
/// Where D1 doesn't take it; nothing was added then.
pub async fn add_next(context: &Context, query: &str, values: &[JsValue]) -> Result<Added> {
    let database = context.database()?;
    let bounds = serde_json::to_string(&BOUNDS.iter().chain([&BEYOND]).collect::<Vec<_>>())?;
    let statement = |text: &str| database.prepare(format!("{NEXT}{text}"));
    let number = [BATCH.into()];
    let query = format!("select ({query}) as found, exists ({MORE}) as is_behind");
    let statements = vec![
        statement(ADD_TOTALS).bind(&number)?,
        statement(ADD_DURATIONS).bind(&[BATCH.into(), bounds.into()])?,
        statement(GO_ON).bind(&number)?,
        database.prepare(query).bind(values)?,
    ];
    let results = context.batch(statements).await?;
    let rows = results.last().map(D1Result::results::<Added>).transpose()?;
    rows.and_then(|rows| rows.into_iter().next()).ok_or_else(|| "the query found nothing".into())
}

/// Adds all that there is.
///
/// # Errors
/// Where D1 doesn't take it; what was added until then stays added.
pub async fn add_all(context: &Context) -> Result<()> {
    for _ in 0..BATCHES {
        if add_next(context, "''", &[]).await?.is_behind == 0 {
            break;
        }
    }
    Ok(())
}
