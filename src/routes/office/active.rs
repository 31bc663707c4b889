//! `GET /operator/api/active`: who has used the gateway most, each with links at which to go on.

use std::collections::BTreeMap;

use domain::clock::{Millis, rfc3339, sql_text};
use domain::identifiers::UserId;
use domain::session::view::Binding;
use domain::stripe::reference::LONGEST_LINK_DAYS;
use domain::tier::Tier;
use serde::{Deserialize, Serialize};

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{database, log, reply, upgrade};

const DAY: Millis = 86_400_000;
/// How far back is looked where nothing is said, in days.
const USUAL_SPAN: Millis = 30;
const MOST_USERS: u32 = 1_000;
const USUAL_USERS: u32 = 50;
const USUAL_LINK_DAYS: u32 = 30;

/// ?1 and ?2 are the times from and to, ?3 how many. Rows with a month are those that count: neither
/// refusals nor what the upstream failed, so that a loop that runs into its limit isn't busy. Who is
/// blocked is asked to buy nothing.
const QUERY: &str = "
with active as (
  select user_id, sum(count) as requests, sum(tokens_est) as tokens, max(created_at) as last_seen
  from requests
  where created_at >= ?1 and created_at < ?2 and month is not null and user_id != 'anonymous'
  group by user_id
),
page as (
  select active.*, users.name, users.email, users.tier, users.binding
  from active left join users on users.user_id = active.user_id
  where not coalesce(users.blocked, 0)
  order by requests desc, tokens desc, active.user_id limit ?3
)
select json_object('users', (select json_group_array(json_object('user_id', user_id, 'name', name,
    'email', email, 'tier', tier, 'binding', binding, 'requests', requests, 'tokens', tokens,
    'last_seen', replace(last_seen, ' ', 'T') || 'Z'))
  from (select * from page order by requests desc, tokens desc, user_id))) as found";

#[derive(Deserialize)]
struct Found {
    users: Vec<Active>,
}

/// Somebody, and what it did in that time.
#[derive(Deserialize, Serialize)]
struct Active {
    user_id: UserId,
    name: Option<String>,
    email: Option<String>,
    tier: Option<Tier>,
    #[serde(skip_serializing)]
    binding: Option<Binding>,
    requests: u64,
    tokens: u64,
    last_seen: String,
    /// A link for each tier that is sold; none for who couldn't use what it buys.
    #[serde(skip_deserializing)]
    upgrade: BTreeMap<Tier, String>,
}

#[derive(Serialize)]
struct Answer {
    from: String,
    to: String,
    links_until: String,
    users: Vec<Active>,
}

/// `GET /operator/api/active?from=&to=&limit=&link_days=`: 200, for one query of D1 and no object.
///
/// # Errors
/// [`Error::InvalidQuery`]; [`Error::DatabaseUnavailable`].
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let settings = context.settings()?;
    let to = incoming.asked_moment("to")?.unwrap_or(incoming.arrived);
    let from = incoming.asked_moment("from")?.unwrap_or(to - USUAL_SPAN * DAY);
    let limit = incoming.asked_number("limit", 1..=MOST_USERS)?.unwrap_or(USUAL_USERS);
    let days = incoming.asked_number("link_days", 1..=LONGEST_LINK_DAYS)?;
    let until = incoming.arrived + Millis::from(days.unwrap_or(USUAL_LINK_DAYS)) * DAY;
    let values = [sql_text(from).into(), sql_text(to).into(), limit.into()];
    let Found { mut users } = database::ask(context, QUERY, &values).await?;
    for user in &mut users {
        // Who can't prove to be the user couldn't use what was bought.
        if !matches!(user.binding, None | Some(Binding::Open)) {
            user.upgrade = upgrade::links_to_send(incoming, &settings, &user.user_id, until);
        }
    }
    log::early(incoming, 200, None);
    let [from, to, links_until] = [from, to, until].map(rfc3339);
    let reply = reply::json(200, &Answer { from, to, links_until, users });
    // The links are the users' own.
    Ok(reply.with([("cache-control", "no-store")]))
}
