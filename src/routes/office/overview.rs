//! `GET /operator/api/overview`: the room at a glance, for who looks at it every other second.

use domain::clock::{Millis, rfc3339, sql_text};
use domain::room::{self, Facts, JUST_NOW, LATELY, People, Tile};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log, reply};

/// A day.
const MOST_MINUTES: u32 = 1_440;
const USUAL_MINUTES: u32 = 15;

/// All of it in one query: ?1 is where the minutes begin, ?2 five minutes ago, ?3 one minute ago, ?4
/// now, and ?5 the upstreams of the settings, each with a name and its slots. D1 takes 32 arguments of
/// `json_object`, which are 16 members. A user's newest row is found by the index on users, however old
/// it is. Names that anybody can make up come after all who have something of their own.
const QUERY: &str = "
with late as materialized (
  select user_id, status, error_code, count, latency_ms, ttfb_ms, tokens_est, created_at,
    status in (402, 429) as is_limited,
    not (status between 200 and 399 or status in (402, 429, 499)) as is_failed,
    created_at >= ?3 as is_now
  from requests where created_at >= ?2
),
answered as (
  select latency_ms, row_number() over (order by latency_ms) as place, count(*) over () as number
  from late where status between 200 and 299
),
begun as (
  select ttfb_ms, row_number() over (order by ttfb_ms) as place, count(*) over () as number
  from late where status between 200 and 299 and ttfb_ms is not null
),
by_user as (
  select user_id, sum(count) as requests, sum(count * is_limited) as limited,
    sum(count * is_failed) as failed, sum(tokens_est) as tokens,
    sum(count * (is_limited and is_now)) as limited_now,
    sum(count * (status between 200 and 299 and is_now)) as answered_now,
    max(created_at) filter (where is_limited) as limited_at
  from late group by user_id
),
names as (select user_id from users union select user_id from by_user),
facts as (
  select names.user_id, users.name, users.tier, coalesce(users.blocked, 0) as blocked,
    by_user.requests, by_user.limited, by_user.failed, by_user.tokens, by_user.limited_now,
    by_user.answered_now, by_user.limited_at,
    last.created_at as last_at, last.status as last_status, last.error_code as last_code
  from names
  left join users on users.user_id = names.user_id
  left join by_user on by_user.user_id = names.user_id
  left join requests as last on last.id =
    (select max(id) from requests where requests.user_id = names.user_id)
  order by users.name is null and users.tier is null and coalesce(users.keys, 0) = 0
      and coalesce(users.blocked, 0) = 0 and coalesce(users.binding, 'open') = 'open',
    last.created_at desc, names.user_id limit 1000
)
select json_object(
  'total', (select count(*) from names),
  'notes', (select count(*) from notes where resolved_at is null),
  'facts', (select json_group_array(json_object(
    'user_id', user_id, 'name', name, 'tier', tier, 'blocked', blocked,
    'requests', coalesce(requests, 0), 'limited', coalesce(limited, 0),
    'failed', coalesce(failed, 0), 'tokens', coalesce(tokens, 0),
    'limited_now', coalesce(limited_now, 0), 'answered_now', coalesce(answered_now, 0),
    'last_seen', replace(last_at, ' ', 'T') || 'Z',
    'seconds_since', coalesce(cast((julianday(?4) - julianday(last_at)) * 86400 as integer), 0),
    'last_status', coalesce(last_status, 0), 'last_code', last_code,
    'limit_code', (select error_code from late where late.user_id = facts.user_id
      and late.is_limited and late.created_at = facts.limited_at limit 1))) from facts),
  'minutes', (select json_group_array(json_object('minute', replace(minute, ' ', 'T') || ':00Z',
      'requests', requests, 'limited', limited, 'failed', failed, 'tokens', tokens))
    from (select substr(created_at, 1, 16) as minute, sum(count) as requests,
        sum(count * (status in (402, 429))) as limited,
        sum(count * (not (status between 200 and 399 or status in (402, 429, 499)))) as failed,
        sum(tokens_est) as tokens
      from requests where created_at >= ?1 group by minute order by minute)),
  'counts', (select json_object('requests', coalesce(sum(requests), 0),
      'limited', coalesce(sum(limited), 0), 'failed', coalesce(sum(failed), 0),
      'tokens', coalesce(sum(tokens), 0)) from by_user),
  'latency_ms', (select json_object(
      'p50', min(latency_ms) filter (where place >= number * 0.5),
      'p90', min(latency_ms) filter (where place >= number * 0.9),
      'p99', min(latency_ms) filter (where place >= number * 0.99))
    from answered having count(*) > 0),
  'ttfb_ms', (select json_object(
      'p50', min(ttfb_ms) filter (where place >= number * 0.5),
      'p90', min(ttfb_ms) filter (where place >= number * 0.9),
      'p99', min(ttfb_ms) filter (where place >= number * 0.99))
    from begun having count(*) > 0),
  'errors', (select json_group_array(json_object('status', status, 'code', error_code,
      'requests', requests, 'users', users))
    from (select status, error_code, sum(count) as requests, count(distinct user_id) as users
      from late where is_limited or is_failed
      group by status, error_code order by requests desc, status, error_code limit 20)),
  'upstreams', (select json_group_array(json_object('name', known.value ->> 0,
      'slots', known.value ->> 1, 'running', coalesce(running, 0), 'waiting', coalesce(waiting, 0),
      'longest_wait_ms', coalesce(longest_wait_ms, 0),
      'reported_at', replace(reported_at, ' ', 'T') || 'Z',
      'is_well', json(iif(is_well is null, 'null', iif(is_well, 'true', 'false'))),
      'checked_at', replace(checked_at, ' ', 'T') || 'Z', 'problem', problem))
    from json_each(?5) as known left join upstreams on name = known.value ->> 0)
) as found";

/// What the query finds.
#[derive(Deserialize)]
struct Found {
    total: u64,
    notes: u64,
    facts: Vec<Facts>,
    minutes: Box<RawValue>,
    counts: Counts,
    latency_ms: Option<Box<RawValue>>,
    ttfb_ms: Option<Box<RawValue>>,
    errors: Vec<Failure>,
    upstreams: Box<RawValue>,
}

#[derive(Deserialize, Serialize)]
struct Counts {
    requests: u64,
    limited: u64,
    failed: u64,
    tokens: u64,
}

#[derive(Deserialize, Serialize)]
struct Failure {
    status: u16,
    code: Option<String>,
    requests: u64,
    users: u64,
    /// In words.
    #[serde(skip_deserializing)]
    meaning: String,
}

#[derive(Serialize)]
struct Overview {
    now: String,
    minutes: Box<RawValue>,
    lately: Lately,
    people: People,
    users: Vec<Tile>,
    is_complete: bool,
    upstreams: Box<RawValue>,
    notes: u64,
}

#[derive(Serialize)]
struct Lately {
    seconds: u32,
    #[serde(flatten)]
    counts: Counts,
    latency_ms: Option<Box<RawValue>>,
    ttfb_ms: Option<Box<RawValue>>,
    errors: Vec<Failure>,
}

/// `GET /operator/api/overview?minutes=15`: 200, for one query of D1 and no object.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::DatabaseUnavailable`].
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let minutes = incoming.asked_number("minutes", 1..=MOST_MINUTES)?.unwrap_or(USUAL_MINUTES);
    let now = incoming.arrived;
    let seconds_ago = |seconds: u32| sql_text(now - Millis::from(seconds) * 1_000);
    // The first minute is a whole one.
    let first = now - now.rem_euclid(60_000) - Millis::from(minutes - 1) * 60_000;
    let known = database::known_upstreams(context)?;
    let values =
        [sql_text(first), seconds_ago(LATELY), seconds_ago(JUST_NOW), sql_text(now), known];
    let found: Found = database::ask(context, QUERY, &values.map(Into::into)).await?;
    log::early(incoming, 200, None);
    Ok(reply::json(200, &overview(found, now)))
}

fn overview(found: Found, now: Millis) -> Overview {
    let Found { total, notes, facts, minutes, counts, latency_ms, ttfb_ms, mut errors, upstreams } =
        found;
    for failure in &mut errors {
        failure.meaning = room::meaning(failure.status, failure.code.as_deref()).into_owned();
    }
    let (people, users) = room::judge(facts, total);
    Overview {
        now: rfc3339(now),
        minutes,
        lately: Lately { seconds: LATELY, counts, latency_ms, ttfb_ms, errors },
        people,
        is_complete: users.len() as u64 == total,
        users,
        upstreams,
        notes,
    }
}
