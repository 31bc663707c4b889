//! `GET /operator/api/users`: who there is, from D1.

use domain::month::Month;
use domain::page::{Cursor, Direction};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log, reply};

const LONGEST_PAGE: u32 = 200;
const USUAL_PAGE: u32 = 50;

/// What a list can be sorted by: its name, and the expression that it is sorted by.
const SORTS: [(&str, &str, Direction); 5] = [
    ("user_id", "users.user_id", Direction::Up),
    ("name", "lower(coalesce(users.name, users.user_id))", Direction::Up),
    ("-last_seen", "coalesce(last.created_at, '')", Direction::Down),
    ("-requests", "coalesce(month.requests, 0)", Direction::Down),
    ("-tokens", "coalesce(month.tokens, 0)", Direction::Down),
];

#[derive(Deserialize)]
struct Found {
    users: Vec<Box<RawValue>>,
    /// Where the page ends: the last one's key and USER_ID, and nothing where it is the last page.
    end: Option<(Box<RawValue>, String)>,
}

#[derive(Serialize)]
struct Page {
    users: Vec<Box<RawValue>>,
    cursor: Option<String>,
}

/// `GET /operator/api/users?query=&sort=&cursor=&limit=`: 200, for one query of D1 and no object.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::DatabaseUnavailable`].
pub async fn list(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let limit = incoming.asked_number("limit", 1..=LONGEST_PAGE)?.unwrap_or(USUAL_PAGE);
    let sort = incoming.asked("sort").unwrap_or_else(|| "user_id".to_owned());
    let Some((_, key, direction)) = SORTS.into_iter().find(|(name, ..)| *name == sort) else {
        let names = SORTS.map(|(name, ..)| name).join(", ");
        return Err(Error::InvalidQuery { problem: format!("`sort` is one of {names}.") });
    };
    let cursor = incoming.asked("cursor").map(|text| Cursor::parse(&text)).transpose()?;
    let (month, searched) = (Month::of(incoming.arrived), incoming.asked("query"));
    let values = [
        String::from(month).into(),
        searched.unwrap_or_default().trim().into(),
        cursor.as_ref().map(Cursor::key).unwrap_or_default().into(),
        cursor.as_ref().map(Cursor::id).unwrap_or_default().into(),
        limit.into(),
    ];
    let query = query(key, direction, cursor.is_some());
    let Found { users, end } = database::ask(context, &query, &values).await?;
    let cursor = end.map(|(key, id)| Cursor::new(key.get(), &id).to_string());
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Page { users, cursor }))
}

/// ?1 is the month, ?2 whom to look for (by `instr`, for D1 takes patterns of 50 bytes at most), ?3 and ?4 the key as JSON and the USER_ID at which the page
/// before ended, ?5 how many.
fn query(key: &str, direction: Direction, is_later: bool) -> String {
    let (beyond, order) = match direction {
        Direction::Up => (">", "asc"),
        Direction::Down => ("<", "desc"),
    };
    let beyond_the_page_before = format!(
        "and ({key} {beyond} json_extract(?3, '$')
            or {key} = json_extract(?3, '$') and users.user_id > ?4)"
    );
    let after = if is_later { &beyond_the_page_before } else { "" };
    format!(
        "with page as (
          select users.*, {key} as key, coalesce(month.requests, 0) as requests,
            coalesce(month.tokens, 0) as tokens, last.created_at as last_seen,
            row_number() over (order by {key} {order}, users.user_id) as place
          from users
          left join monthly_usage as month on month.user_id = users.user_id and month.month = ?1
          left join requests as last on last.id =
            (select max(id) from requests where requests.user_id = users.user_id)
          where instr(lower(users.user_id || char(10) || coalesce(users.name, '') || char(10)
            || coalesce(users.email, '')), lower(?2)) > 0 {after}
          order by place limit ?5 + 1
        )
        select json_object(
          'users', (select json_group_array(json_object('user_id', user_id, 'name', name,
              'email', email, 'tier', tier, 'tier_since', replace(tier_since, ' ', 'T') || 'Z',
              'tier_until', replace(tier_until, ' ', 'T') || 'Z',
              'blocked', json(iif(blocked, 'true', 'false')), 'binding', binding, 'keys', keys,
              'codex', codex, 'created_at', replace(created_at, ' ', 'T') || 'Z',
              'last_seen', replace(last_seen, ' ', 'T') || 'Z', 'requests', requests,
              'tokens', tokens))
            from (select * from page where place <= ?5 order by place)),
          'end', json((select json_array(key, user_id) from page
            where place = ?5 and exists (select 1 from page where place > ?5)))
        ) as found"
    )
}
