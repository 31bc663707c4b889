//! What D1 knows of a person, and how it is taken away: all but amounts, which stay as nobody's.

use std::time::Duration;

use domain::clock::{Millis, sql_text};
use domain::farewell::Counted;
use domain::month::Usage;
use domain::session::farewell::Farewell;
use futures::future::{Either, select};
use serde::Deserialize;
use wasm_bindgen::JsValue;
use worker::{D1PreparedStatement, D1Result, Delay, Result};

use crate::context::Context;
use crate::totals;

/// How long D1 may take before the attempt counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);
/// Rows that are deleted at once.
const BATCH: usize = 1_000;

const CUSTOMERS: &str = "
    select customer_id from customers where user_id = ?1
    union select customer_id from notes where user_id = ?1 and customer_id != ''";

/// What the object had counted and not sent. Once its outbox is closed, these sums are in nobody's.
const ADD_MONTHS: &str = "
    insert into monthly_usage (user_id, month, requests, tokens)
    select ?1, value ->> 'month', value ->> 'requests', value ->> 'tokens' from json_each(?2)
    where not exists (select 1 from outbox_cursors where outbox = ?3 and cursor = 9007199254740991)
    on conflict (user_id, month) do update set
        requests = max(requests, excluded.requests), tokens = max(tokens, excluded.tokens)";

const COUNT: &str = "
    select (select coalesce(sum(count), 0) from requests where user_id = ?1) as requests,
        (select count(*) from operator_actions where user_id = ?1) as actions,
        exists (select 1 from users where user_id = ?1) as listed,
        (select json_group_array(
            json_object('month', month, 'requests', requests, 'tokens', tokens))
            from (select * from monthly_usage where user_id = ?1 order by month)) as months";

/// The sums of all who were forgotten are those of the user without a name.
const FOLD_MONTHS: &str = "
    insert into monthly_usage (user_id, month, requests, tokens)
    select '', month, requests, tokens from monthly_usage where user_id = ?1
    on conflict (user_id, month) do update set
        requests = requests + excluded.requests, tokens = tokens + excluded.tokens";

/// From this outbox nothing arrives any more, for no position is greater.
const CLOSE_OUTBOX: &str = "
    insert into outbox_cursors (outbox, user_id, cursor) values (?1, '', 9007199254740991)
    on conflict (outbox) do update set user_id = '', cursor = excluded.cursor";

const SWEEP: [&str; 7] = [
    FOLD_MONTHS,
    "delete from monthly_usage where user_id = ?1",
    "delete from outbox_cursors where user_id = ?1",
    "delete from users where user_id = ?1",
    "update customers set user_id = null where user_id = ?1",
    FORGET_MISMATCHES,
    "update notes set user_id = null where user_id = ?1",
];

/// These name the user in their words.
const FORGET_MISMATCHES: &str = "
    delete from notes where user_id = ?1 and kind = 'month_mismatch' and created_at <= ?2";

/// That something was done stays, and who did it and when, but not to whom or what about.
const FORGET_ACTIONS: &str = "
    update operator_actions set user_id = null, detail = null
    where user_id = ?1 and created_at <= ?2";

const FORGET_REQUESTS: &str = "
    delete from requests where id in
        (select id from requests where user_id = ?1 and created_at <= ?2 limit ?3)";

/// What was on its way while the USER_ID was closed: it is of a time before the end, and what the object
/// itself sends can't be among it. What is of a later time is of whoever has come since.
const SWEEP_LATE: [&str; 5] = [
    "delete from users where user_id = ?1 and revision = 0 and created_at <= ?2",
    "delete from monthly_usage where user_id = ?1 and month < substr(?2, 1, 7)",
    FORGET_MISMATCHES,
    "update notes set user_id = null where user_id = ?1 and created_at <= ?2",
    FORGET_ACTIONS,
];

/// What D1 knows of one user.
pub struct Records<'a> {
    /// How to reach it.
    pub context: &'a Context,
    /// The user.
    pub user_id: &'a str,
}

#[derive(Deserialize)]
struct Customer {
    customer_id: String,
}

#[derive(Deserialize)]
struct Counts {
    requests: u64,
    actions: u64,
    listed: u8,
    months: String,
}

impl Records<'_> {
    /// The Stripe customers that know the user.
    pub async fn customers(&self) -> Result<Vec<String>> {
        let found = self.all(vec![self.bind(CUSTOMERS, &[])?]).await?;
        let rows = found.first().ok_or("D1 gave no result")?.results::<Customer>()?;
        Ok(rows.into_iter().map(|row| row.customer_id).collect())
    }

    /// Counts what there is, after adding what the object had not sent.
    pub async fn count(&self, farewell: &Farewell) -> Result<Counted> {
        let months = serde_json::to_string(&farewell.months)?;
        let add = self.bind(ADD_MONTHS, &[months.into(), farewell.outbox.as_str().into()])?;
        let counted = self.all(vec![add, self.bind(COUNT, &[])?]).await?;
        let rows = counted.last().ok_or("D1 gave no result")?.results::<Counts>()?;
        let Counts { requests, actions, listed, months } =
            rows.into_iter().next().ok_or("D1 gave no row")?;
        let months: Vec<Usage> = serde_json::from_str(&months)?;
        Ok(Counted { requests, months, actions, is_listed: listed != 0, kits: 0 })
    }

    /// Takes all of it away. Done again, it finds nothing.
    pub async fn sweep(&self, outbox: &str) -> Result<()> {
        let ever = "9999".to_owned();
        let close = self.context.database()?.prepare(CLOSE_OUTBOX).bind(&[outbox.into()])?;
        let mut statements = vec![close];
        for statement in SWEEP.into_iter().chain([FORGET_ACTIONS]) {
            statements.push(self.before(statement, &ever)?);
        }
        self.all(statements).await?;
        self.forget_requests(&ever).await
    }

    /// Takes away what came late, of the time before this moment.
    pub async fn sweep_late(&self, at: Millis) -> Result<()> {
        let at = sql_text(at);
        let statements: Result<Vec<_>> =
            SWEEP_LATE.into_iter().map(|statement| self.before(statement, &at)).collect();
        self.all(statements?).await?;
        self.forget_requests(&at).await
    }

    async fn forget_requests(&self, until: &str) -> Result<()> {
        totals::add_all(self.context).await?;
        loop {
            #[expect(clippy::cast_precision_loss, reason = "it is a thousand")]
            let batch = (BATCH as f64).into();
            let deleted = self.all(vec![self.bind(FORGET_REQUESTS, &[until.into(), batch])?]);
            let deleted = deleted.await?;
            let meta = deleted.first().ok_or("D1 gave no result")?.meta()?;
            if meta.and_then(|meta| meta.changes).unwrap_or(0) < BATCH {
                return Ok(());
            }
        }
    }

    fn before(&self, statement: &str, until: &str) -> Result<D1PreparedStatement> {
        // D1 wants as many values as are named.
        let until = [until.into()];
        self.bind(statement, if statement.contains("?2") { &until } else { &[] })
    }

    fn bind(&self, statement: &str, values: &[JsValue]) -> Result<D1PreparedStatement> {
        let values: Vec<_> = [self.user_id.into()].iter().chain(values).cloned().collect();
        self.context.database()?.prepare(statement).bind(&values)
    }

    /// Runs statements, all or none of them.
    async fn all(&self, statements: Vec<D1PreparedStatement>) -> Result<Vec<D1Result>> {
        let running = std::pin::pin!(self.context.batch(statements));
        match select(running, Delay::from(PATIENCE)).await {
            Either::Left((results, _)) => results,
            Either::Right(_) => Err("D1 took too long".into()),
        }
    }
}
