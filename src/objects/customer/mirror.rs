//! The way of a customer to D1, where the operator asks questions.

use std::time::Duration;

use domain::clock::sql_text;
use domain::stripe::customer::Mirror;
use futures::future::{Either, select};
use worker::{Delay, Result};

use super::Customer;
use crate::clock;

/// How long D1 may take before the attempt counts as failed.
const PATIENCE: Duration = Duration::from_secs(15);

/// A note is written once. One that asks for something asks again when it has to; not where the
/// operator has resolved it, and it would only say the same.
const ADD_NOTES: &str = "
    insert into notes (customer_id, kind, subject, user_id, text, created_at)
    select coalesce(?1 ->> 'customer_id', ''), value ->> 'kind', value ->> 'subject',
        value ->> 'user_id', value ->> 'text', value ->> 'created_at'
    from json_each(?1, '$.notes')
    where ?1 ->> 'revision' >= coalesce(
        (select revision from customers where customer_id = ?1 ->> 'customer_id'), 0)
    on conflict (customer_id, kind, subject) do update
    set resolved_at = case when is_done or text <> excluded.text then null else resolved_at end,
        is_done = 0, user_id = excluded.user_id, text = excluded.text
    where kind not in ('refund', 'dispute', 'month_mismatch')";

const RESOLVE_NOTES: &str = "
    update notes set resolved_at = coalesce(resolved_at, ?2), is_done = 1
    where customer_id = coalesce(?1 ->> 'customer_id', '') and not is_done
    and kind not in ('refund', 'dispute', 'month_mismatch')
    and not exists (
        select 1 from json_each(?1, '$.notes')
        where value ->> 'kind' = notes.kind and value ->> 'subject' = notes.subject)
    and ?1 ->> 'revision' >= coalesce(
        (select revision from customers where customer_id = ?1 ->> 'customer_id'), 0)";

const WRITE_CUSTOMER: &str = "
    insert into customers (customer_id, user_id, subscription_id, status, revision, updated_at)
    select ?1 ->> 'customer_id', ?1 ->> 'user_id', ?1 ->> 'subscription_id', ?1 ->> 'status',
        ?1 ->> 'revision', ?2
    where ?1 ->> 'customer_id' is not null
    on conflict (customer_id) do update
    set user_id = excluded.user_id, subscription_id = excluded.subscription_id,
        status = excluded.status, revision = excluded.revision, updated_at = excluded.updated_at
    where excluded.revision > customers.revision";

impl Customer {
    /// Brings D1 up to date. Says whether something waits that a setting would mend.
    pub(super) async fn mirror(&self) -> Result<bool> {
        let settings = self.context.settings().map_err(|error| error.to_string())?;
        let mirror = self.look(|record| record.mirror(&settings.billing.rules.prices))?;
        let sending = std::pin::pin!(self.send(&mirror));
        match select(sending, Delay::from(PATIENCE)).await {
            Either::Left((sent, _)) => sent?,
            Either::Right(_) => return Err("D1 took too long".into()),
        }
        self.turn(|record| record.mirrored(mirror.revision))?;
        Ok(mirror.is_waiting)
    }

    async fn send(&self, mirror: &Mirror) -> Result<()> {
        let database = self.context.database()?;
        let values = [mirror.row.to_string().into(), sql_text(clock::reading()).into()];
        let [mirror, _] = &values;
        let statements = vec![
            database.prepare(ADD_NOTES).bind(std::slice::from_ref(mirror))?,
            database.prepare(RESOLVE_NOTES).bind(&values)?,
            database.prepare(WRITE_CUSTOMER).bind(&values)?,
        ];
        self.context.batch(statements).await.map(drop)
    }
}
