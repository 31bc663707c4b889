//! `GET /operator/metrics`: what a Prometheus asks every other minute.

use domain::clock::{Millis, sql_text};
use domain::exposition;
use domain::room::LATELY;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log, reply, totals};

/// Where rows have piled up, they are added in so many batches at most before the answer.
const BATCHES: usize = 20;

/// ?1 is now, ?2 five minutes ago, and ?3 the upstreams of the settings, each with its name and slots.
const QUERY: &str = "
select json_array(
    (select json_group_array(json_array(status, error_code, requests, tokens))
      from (select * from totals order by status, error_code)),
    (select json_group_array(json_array(measure, bound, requests, milliseconds)) from durations),
    json_array((select count(*) from users), (select count(*) from users where blocked),
      (select count(distinct user_id) from requests where created_at >= ?2),
      (select count(*) from notes where resolved_at is null)),
    (select json_group_array(json_array(known.value ->> 0, known.value ->> 1, coalesce(running, 0),
        coalesce(waiting, 0), coalesce(longest_wait_ms, 0), is_well))
      from json_each(?3) as known left join upstreams on name = known.value ->> 0),
    (select json_group_array(json_array(subject,
        max(0, cast((julianday(?1) - julianday(since)) * 86400 as integer)))) from alerts)
  )";

/// `GET /operator/metrics`: 200 and Prometheus's text format.
///
/// # Errors
/// [`Error::DatabaseUnavailable`].
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let now = incoming.arrived;
    let lately = sql_text(now - Millis::from(LATELY) * 1_000);
    let known = database::known_upstreams(context)?;
    let values = [sql_text(now).into(), lately.into(), known.into()];
    let found = database::in_time(async {
        for _ in 1..BATCHES {
            let row = totals::add_next(context, QUERY, &values).await?;
            if row.is_behind == 0 {
                return Ok(row);
            }
        }
        totals::add_next(context, QUERY, &values).await
    });
    let found = serde_json::from_str(&found.await?.found).map_err(|_| Error::Internal)?;
    log::early(incoming, 200, None);
    Ok(reply::text_of(200, exposition::CONTENT_TYPE, &exposition::text(&found)))
}
