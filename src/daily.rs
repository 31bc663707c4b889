//! What is done once a day: last month is closed, then rows that are too old go, once they are in the
//! totals, and kits that are handed out no more.
//!
//! A month is closed once: the sums of its users are compared with their rows. Where they differ, the
//! user's object is asked, which sends what it still has and says its own count; that becomes the sum.
//! What differs still is a fault, and is noted for the operator. Nothing is decided by it.

use domain::clock::{Millis, sql_text};
use domain::month::{Month, Usage};
use domain::session::messages::TellMonth;
use serde::Deserialize;
use worker::{D1PreparedStatement, Result};

use crate::context::{Context, check};
use crate::objects::call;
use crate::{clock, kits, log, totals};

const DAY: Millis = 86_400_000;
/// Rows that are deleted at once, and how often that is done a day, at most.
const BATCH: usize = 1_000;
const BATCHES: usize = 500;

/// Whose sums and rows of the month ?1 differ. The times ?2 and ?3 let an index find its rows; a row's
/// own time may lie a little outside of its month. The sums of nobody, who were forgotten, have none.
const DIFFERENCES: &str = "
    with sums as (select user_id, requests, tokens from monthly_usage
        where month = ?1 and user_id != ''),
    counts as (select user_id, count(*) as requests, sum(tokens_est) as tokens from requests
        where month = ?1 and created_at > ?2 and created_at < ?3 group by user_id),
    differences as (select coalesce(sums.user_id, counts.user_id) as user_id,
        coalesce(sums.requests, 0) as requests, coalesce(sums.tokens, 0) as tokens,
        coalesce(counts.requests, 0) as row_requests, coalesce(counts.tokens, 0) as row_tokens
        from sums full join counts on sums.user_id = counts.user_id
        where coalesce(sums.requests, 0) != coalesce(counts.requests, 0)
            or coalesce(sums.tokens, 0) != coalesce(counts.tokens, 0))";

/// Whatever was flushed meanwhile stays.
const CORRECT: &str = "
    insert into monthly_usage (user_id, month, requests, tokens) values (?1, ?2, ?3, ?4)
    on conflict (user_id, month) do update set requests = ?3, tokens = ?4
    where requests = ?5 and tokens = ?6";

const NOTE: &str = "
    insert into notes (customer_id, kind, subject, user_id, text, created_at)
    select '', 'month_mismatch', ?1 || ' ' || user_id, user_id, user_id || ' used ' || requests
        || ' requests and ' || tokens || ' tokens in ' || ?1 || ', but there are rows of '
        || row_requests || ' and ' || row_tokens || '. The first are what was counted.', ?4
    from differences where true
    on conflict do nothing";

const CLOSE: &str = "
    insert into closed_months (month, closed_at, requests, tokens, mismatches)
    select ?1, ?2, coalesce(sum(requests), 0), coalesce(sum(tokens), 0), ?3
    from monthly_usage where month = ?1";

/// What the totals don't have yet stays.
const FORGET: &str = "
    delete from requests where id in
        (select id from requests where created_at < ?1 order by created_at limit ?2)
    and id <= (select last_id from rolled_up)";

/// A user whose sums and rows differ.
#[derive(Deserialize)]
struct Difference {
    user_id: String,
    requests: u64,
    tokens: u64,
}

/// Does it. What goes wrong is a fault in the log, and is tried again the next day.
pub async fn run(context: &Context) {
    let now = clock::reading();
    let last_month = Month::of(now).previous();
    let closed = close(context, last_month, now).await;
    // A month's rows have to be there until it is closed.
    let needed_since = if closed.is_ok() { now } else { last_month.begins() - DAY };
    let forgotten = forget(context, now, needed_since).await;
    match closed.and(forgotten).and(kits::delete_expired(context, now).await) {
        Ok(()) => log::event("daily", &serde_json::json!({})),
        Err(error) => log::fault("the day's work isn't done", &error.to_string()),
    }
}

async fn close(context: &Context, month: Month, now: Millis) -> Result<()> {
    let database = context.database()?;
    let name = String::from(month);
    let closed = database.prepare("select month from closed_months where month = ?1");
    let closed = closed.bind(&[name.as_str().into()])?.all().await?;
    check(&closed)?;
    if !closed.results::<serde::de::IgnoredAny>()?.is_empty() {
        return Ok(());
    }
    let of_month = |query: &str| -> Result<D1PreparedStatement> {
        let (from, to) = (sql_text(month.begins() - DAY), sql_text(month.next().begins() + DAY));
        let values = [name.as_str().into(), from.into(), to.into(), sql_text(now).into()];
        database.prepare(query).bind(&values)
    };
    let differences =
        format!("{DIFFERENCES} select user_id, requests, tokens, ?4 from differences");
    let asked = found(of_month(&differences)?).await?;
    for Difference { user_id, requests, tokens } in &asked {
        // One that can't be asked differs still, and is noted.
        if let Ok(Usage { requests: told, tokens: told_tokens, .. }) =
            call(context, user_id, TellMonth { month }).await
        {
            let numbers = [told, told_tokens, *requests, *tokens];
            #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
            let numbers = numbers.map(|number| (number as f64).into());
            let [told, told_tokens, requests, tokens] = numbers;
            let values =
                [user_id.into(), name.as_str().into(), told, told_tokens, requests, tokens];
            check(&database.prepare(CORRECT).bind(&values)?.run().await?)?;
        }
    }
    // Where nothing differed, nothing is compared twice.
    let different =
        if asked.is_empty() { Vec::new() } else { found(of_month(&differences)?).await? };
    for Difference { user_id, .. } in &different {
        log::fault("a month's count and rows differ", &format!("{user_id}, {name}"));
    }
    let mut statements = Vec::new();
    if !different.is_empty() {
        statements.push(of_month(&format!("{DIFFERENCES}{NOTE}"))?);
    }
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
    let values = [name.into(), sql_text(now).into(), (different.len() as f64).into()];
    statements.push(database.prepare(CLOSE).bind(&values)?);
    context.batch(statements).await.map(drop)
}

/// The users that a query finds.
async fn found(query: D1PreparedStatement) -> Result<Vec<Difference>> {
    let result = query.all().await?;
    check(&result)?;
    result.results()
}

/// Deletes the rows that are older than `RETENTION_DAYS`, and not needed any more.
async fn forget(context: &Context, now: Millis, needed_since: Millis) -> Result<()> {
    let settings = context.settings().map_err(|error| error.to_string())?;
    let kept_since = now - Millis::from(settings.retention_days) * DAY;
    let oldest = sql_text(kept_since.min(needed_since));
    let database = context.database()?;
    totals::add_all(context).await?;
    for _ in 0..BATCHES {
        #[expect(clippy::cast_precision_loss, reason = "it is a thousand")]
        let values = [oldest.as_str().into(), (BATCH as f64).into()];
        let deleted = database.prepare(FORGET).bind(&values)?.run().await?;
        check(&deleted)?;
        if deleted.meta()?.and_then(|meta| meta.changes).unwrap_or(0) < BATCH {
            break;
        }
    }
    Ok(())
}
