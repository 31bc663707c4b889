//! Server-sent events at a pace that a person can watch.

use std::convert::Infallible;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures::{StreamExt, stream};

/// Between two events: fast, and still visibly a stream.
const PACE: Duration = Duration::from_millis(15);

/// Answers with `events`, the first at once and each later one after a short pause.
pub(crate) fn paced(events: Vec<Event>) -> Response {
    let events =
        stream::iter(events.into_iter().enumerate()).then(|(position, event)| async move {
            if position > 0 {
                tokio::time::sleep(PACE).await;
            }
            Ok::<_, Infallible>(event)
        });
    Sse::new(events).into_response()
}
