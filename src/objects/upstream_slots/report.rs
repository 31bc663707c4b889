//! The way of an upstream's load to D1, where the operator sees it.

use std::time::Duration;

use domain::clock::sql_text;
use domain::fair_queue::report::Load;
use domain::upstreams;
use futures::future::{Either, select};
use wasm_bindgen::JsValue;
use worker::{Delay, Result};

use super::UpstreamSlots;
use crate::context::check;
use crate::{clock, log};

/// How long D1 may take before the attempt counts as failed.
const PATIENCE: Duration = Duration::from_secs(10);

const WRITE: &str = "
    insert into upstreams (name, slots, running, waiting, longest_wait_ms, reported_at)
    values (?1, ?2, ?3, ?4, ?5, ?6)
    on conflict (name) do update set slots = excluded.slots, running = excluded.running,
        waiting = excluded.waiting, longest_wait_ms = excluded.longest_wait_ms,
        reported_at = excluded.reported_at";

impl UpstreamSlots {
    /// What the alarm is for.
    pub(super) async fn report(&self) -> Result<()> {
        let mut due = None;
        self.turn(&mut |slots, now| {
            let is_due = self.due(slots, now).is_some_and(|due| due <= now);
            due = is_due.then(|| slots.queue.load(now));
        })?;
        let Some(load) = due else { return Ok(()) };
        let sending = std::pin::pin!(self.send(load));
        let sent = match select(sending, Delay::from(PATIENCE)).await {
            Either::Left((sent, _)) => sent,
            Either::Right(_) => Err("D1 took too long".into()),
        };
        let (mut reports, now) = (self.reports.get(), clock::reading());
        match sent {
            Ok(()) => reports.succeeded(load, now),
            Err(error) => {
                log::fault("an upstream's load isn't in D1", &error.to_string());
                reports.failed(now);
            }
        }
        self.reports.set(reports);
        Ok(())
    }

    async fn send(&self, load: Load) -> Result<()> {
        let name = self.state.id().name().ok_or("an upstream without a name")?;
        let settings = self.context.settings().map_err(|error| error.to_string())?;
        let slots = upstreams::named(&name, &settings.upstreams).and_then(|found| found.slots);
        #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^53")]
        let number = |count: usize| JsValue::from(count as f64);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
        let longest_wait_ms = JsValue::from(load.longest_wait_ms as f64);
        let values = [
            name.into(),
            slots.map_or(JsValue::NULL, JsValue::from),
            number(load.running),
            number(load.waiting),
            longest_wait_ms,
            sql_text(clock::reading()).into(),
        ];
        check(&self.context.database()?.prepare(WRITE).bind(&values)?.run().await?)
    }
}
