//! Looking at what may have gone bad, and showing the operator in D1 what was seen.

use std::time::Duration;

use domain::alerts::{OUTBOX, Problem, State, UPSTREAM};
use domain::clock::sql_text;
use domain::session::messages::Flush;
use domain::settings::Settings;
use domain::upstreams::{self, DEFAULT, Upstream};
use futures::future::{Either, join_all, select};
use serde::de::IgnoredAny;
use wasm_bindgen::JsValue;
use worker::{Delay, Result};

use super::object::Alerts;
use crate::objects::call;
use crate::{clock, log, probe};

/// How long D1 may take before it counts as away.
const PATIENCE: Duration = Duration::from_secs(10);
/// Users who are asked in a row for rows that wait.
const ASKED_AT_ONCE: usize = 5;

/// ?1 is a list of name, health and problem.
const SHOW_HEALTH: &str = "
    insert into upstreams (name, is_well, problem, checked_at)
    select value ->> 0, value ->> 1, value ->> 2, ?2 from json_each(?1) where true
    on conflict (name) do update set is_well = excluded.is_well, problem = excluded.problem,
        checked_at = excluded.checked_at";

/// ?1 is a list of subject, since when and problem: all that is bad.
const SHOW_BAD: &str = "
    insert into alerts (subject, since, problem)
    select value ->> 0, value ->> 1, value ->> 2 from json_each(?1) where true
    on conflict (subject) do update set since = excluded.since, problem = excluded.problem
    where since != excluded.since or problem != excluded.problem";

const FORGET_WELL: &str = "
    delete from alerts where subject not in (select value ->> 0 from json_each(?1))";

/// What was seen of an upstream: its name, and a warning where nothing else is wrong.
pub(super) type Look = (String, Option<String>);

impl Alerts {
    /// Looks at subjects; D1 is looked at by writing to it.
    pub(super) async fn look(&self, due: &[String], settings: &Settings) -> Result<Vec<Look>> {
        let of_subject = |subject: &String| {
            upstreams::named(subject.strip_prefix(UPSTREAM)?, &settings.upstreams)
        };
        let found: Vec<&Upstream> = due.iter().filter_map(of_subject).collect();
        let looks = join_all(found.iter().map(|upstream| probe::upstream(upstream, settings)));
        let mut warnings = Vec::new();
        for (upstream, seen) in found.iter().zip(looks.await) {
            let name = upstream.name.to_string();
            let words = |words: String| {
                if name == DEFAULT { words } else { probe::of_a_node(&words) }
            };
            let (warning, problem) = match seen {
                Ok(seen) => (Some(words(seen)).filter(|seen| seen != "ok"), None),
                Err(problem) => {
                    let is_refusal = probe::is_refusal(&problem);
                    (None, Some(Problem { words: words(problem), is_refusal }))
                }
            };
            let subject = format!("{UPSTREAM}{name}");
            self.turn(|rules, now| rules.looked(&subject, problem, now))?;
            warnings.push((name, warning));
        }
        if due.iter().any(|subject| subject == OUTBOX) {
            let problem = self.look_at_rows().await?;
            self.turn(|rules, now| rules.looked(OUTBOX, problem, now))?;
        }
        Ok(warnings)
    }

    /// Asks users whose rows have waited long to send them, until one can't.
    async fn look_at_rows(&self) -> Result<Option<Problem>> {
        let stuck = self.turn(|rules, _| rules.stuck(ASKED_AT_ONCE))?;
        for user_id in stuck {
            if !call(&self.context, &user_id, Flush {}).await.unwrap_or(false) {
                let number = self.turn(|rules, _| rules.stuck_number())?;
                let words = format!("D1 is there, and rows of {number} users don't reach it");
                return Ok(Some(Problem { words, is_refusal: false }));
            }
            self.turn(|rules, now| rules.rows(&user_id, false, now))?;
        }
        Ok(None)
    }

    /// Shows in D1 how things are. What is wrong with it is seen by that.
    pub(super) async fn write(&self, looks: &[Look]) -> Result<Option<Problem>> {
        let (health, bad) = self.turn(|rules, _| {
            let health = looks.iter().map(|(name, warning)| {
                let subject = format!("{UPSTREAM}{name}");
                let is_well = rules.state(&subject) == State::Well;
                let problem = rules.problem(&subject).or(warning.as_deref());
                serde_json::to_string(&(name, u8::from(is_well), problem))
            });
            let bad = rules.bad().map(|(subject, since, problem)| {
                serde_json::to_string(&(subject, sql_text(since), problem))
            });
            Ok::<_, serde_json::Error>((list(health)?, list(bad)?))
        })??;
        let writing = std::pin::pin!(self.send_rows(&health, &bad));
        let words = match select(writing, Delay::from(PATIENCE)).await {
            Either::Left((Ok(true), _)) => return Ok(None),
            Either::Left((Ok(false), _)) => probe::NO_TABLES,
            Either::Left((Err(error), _)) => {
                log::fault("D1 didn't take the state of things", &error.to_string());
                probe::UNREACHABLE
            }
            Either::Right(_) => probe::TOO_SLOW,
        };
        Ok(Some(Problem { words: words.to_owned(), is_refusal: false }))
    }

    /// Says whether D1 has its tables.
    async fn send_rows(&self, health: &str, bad: &str) -> Result<bool> {
        let database = self.context.database()?;
        let bad = [JsValue::from(bad)];
        let health = [health.into(), sql_text(clock::reading()).into()];
        let statements = vec![
            database.prepare(probe::TABLE),
            database.prepare(SHOW_HEALTH).bind(&health)?,
            database.prepare(SHOW_BAD).bind(&bad)?,
            database.prepare(FORGET_WELL).bind(&bad)?,
        ];
        let results = self.context.batch(statements).await?;
        let tables = results.first().map(worker::D1Result::results::<IgnoredAny>).transpose()?;
        Ok(tables.is_some_and(|tables| !tables.is_empty()))
    }
}

/// A list in JSON, of items in JSON.
fn list(items: impl Iterator<Item = serde_json::Result<String>>) -> serde_json::Result<String> {
    Ok(format!("[{}]", items.collect::<serde_json::Result<Vec<_>>>()?.join(",")))
}
