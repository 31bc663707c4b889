//! What was noted for the operator, and what operators did: `/operator/api/notes` and
//! `/operator/api/actions`.

use domain::clock::sql_text;
use domain::page::Cursor;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::operator::read_json;
use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log, reply};

const PAGE: u32 = 100;

/// Those that wait come first, and of these the oldest.
const NOTES: &str = "
select json_group_array(json_object('customer_id', customer_id, 'kind', kind, 'subject', subject,
    'user_id', user_id, 'text', text, 'created_at', replace(created_at, ' ', 'T') || 'Z',
    'resolved_at', replace(resolved_at, ' ', 'T') || 'Z')) as found
from (select * from notes
    order by resolved_at is not null, resolved_at desc, created_at, customer_id, kind, subject
    limit 500)";

const RESOLVE: &str = "
update notes set resolved_at = ?4
where customer_id = ?1 and kind = ?2 and subject = ?3 and resolved_at is null";

/// ?1 is a user or nothing, ?2 the id of the last one on the page before or nothing, ?3 how many.
fn actions_of(whom: &str) -> String {
    format!(
        "with page as (
          select * from operator_actions
          where {whom} and (?2 = '' or id < cast(?2 as integer)) order by id desc limit ?3 + 1
        ),
        shown as (select * from page order by id desc limit ?3)
        select json_object(
          'actions', (select json_group_array(json_object('id', id, 'operator', operator,
              'action', action, 'user_id', user_id, 'detail', detail,
              'created_at', replace(created_at, ' ', 'T') || 'Z')) from shown),
          'end', (select min(id) from shown having (select count(*) from page) > count(*))
        ) as found"
    )
}

#[derive(Serialize)]
struct Notes {
    notes: Box<RawValue>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoteName {
    customer_id: String,
    kind: String,
    subject: String,
}

#[derive(Deserialize)]
struct Found {
    actions: Box<RawValue>,
    /// The id of the last one, where there are more.
    end: Option<u64>,
}

#[derive(Serialize)]
struct Actions {
    actions: Box<RawValue>,
    cursor: Option<String>,
}

/// `GET /operator/api/notes`: 200 and the five hundred that matter most.
///
/// # Errors
/// [`Error::DatabaseUnavailable`].
pub async fn notes(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let notes = database::ask(context, NOTES, &[]).await?;
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Notes { notes }))
}

/// `POST /operator/api/notes/resolve`: 204, and the note waits no more.
///
/// # Errors
/// [`Error::InvalidJson`]; [`Error::NotFound`] where no such note waits;
/// [`Error::DatabaseUnavailable`].
pub async fn resolve(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let NoteName { customer_id, kind, subject } = read_json(incoming, context).await?;
    incoming.is_about(&format!("{kind} {subject}"));
    let now = sql_text(incoming.arrived);
    let values = [customer_id, kind, subject, now].map(Into::into);
    let changed = database::change(context, RESOLVE, &values).await?;
    if changed == 0 {
        return Err(Error::NotFound);
    }
    log::early(incoming, 204, None);
    Ok(reply::empty(204))
}

/// `GET /operator/api/actions?user_id=&cursor=`: 200, the newest first.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::DatabaseUnavailable`].
pub async fn actions(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let cursor = incoming.asked("cursor").map(|text| Cursor::parse(&text)).transpose()?;
    let user_id = incoming.asked("user_id").unwrap_or_default().to_ascii_lowercase();
    let before = cursor.map(|cursor| cursor.key().to_owned()).unwrap_or_default();
    // Each in the order of an index.
    let query = actions_of(if user_id.is_empty() { "?1 = ''" } else { "user_id = ?1" });
    let values = [user_id.into(), before.into(), PAGE.into()];
    let Found { actions, end } = database::ask(context, &query, &values).await?;
    let cursor = end.map(|id| Cursor::new(&id.to_string(), "").to_string());
    log::early(incoming, 200, None);
    Ok(reply::json(200, &Actions { actions, cursor }))
}
