//! Questions of the operator's to D1.

use std::time::Duration;

use futures::future::{Either, select};
use serde::de::DeserializeOwned;
use wasm_bindgen::JsValue;
use worker::Delay;

use crate::context::{self, Context};
use crate::error::Error;
use crate::log;

/// How long a page waits for D1.
const PATIENCE: Duration = Duration::from_secs(10);

/// The answer to a query that finds one row with one column, `found`, of JSON.
///
/// # Errors
/// [`Error::DatabaseUnavailable`] where there is none in time.
pub async fn ask<T: DeserializeOwned>(
    context: &Context,
    query: &str,
    values: &[JsValue],
) -> Result<T, Error> {
    let text = in_time(find(context, query, values)).await?;
    let found = serde_json::from_str(&text);
    found.map_err(|error| unavailable(&error.to_string()))
}

async fn find(context: &Context, query: &str, values: &[JsValue]) -> worker::Result<String> {
    let found = context.database()?.prepare(query).bind(values)?.first(Some("found")).await?;
    found.ok_or_else(|| "the query found nothing".into())
}

/// How many rows a statement changed.
///
/// # Errors
/// [`Error::DatabaseUnavailable`].
pub async fn change(
    context: &Context,
    statement: &str,
    values: &[JsValue],
) -> Result<usize, Error> {
    in_time(async {
        let result = context.database()?.prepare(statement).bind(values)?.run().await?;
        context::check(&result)?;
        Ok(result.meta()?.and_then(|meta| meta.changes).unwrap_or(0))
    })
    .await
}

/// The upstreams of the settings, each with its name and slots, as JSON for a query.
///
/// # Errors
/// [`Error::NotConfigured`].
pub fn known_upstreams(context: &Context) -> Result<String, Error> {
    let settings = context.settings()?;
    let known = settings.upstreams.iter().map(|known| (known.name.as_ref(), known.slots));
    serde_json::to_string(&known.collect::<Vec<_>>()).map_err(|_| Error::Internal)
}

/// Waits for D1 no longer than a page does.
///
/// # Errors
/// [`Error::DatabaseUnavailable`].
pub async fn in_time<T>(work: impl Future<Output = worker::Result<T>>) -> Result<T, Error> {
    match select(std::pin::pin!(work), Delay::from(PATIENCE)).await {
        Either::Left((done, _)) => done.map_err(|error| unavailable(&error.to_string())),
        Either::Right(_) => Err(unavailable("D1 took too long")),
    }
}

fn unavailable(detail: &str) -> Error {
    log::fault("a question to D1 failed", detail);
    Error::DatabaseUnavailable
}
