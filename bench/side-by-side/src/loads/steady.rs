//! Fifty users on some connections, each asking again as soon as it has its answer.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::ensure_all_answered;
use crate::client::{Until, Users, in_turn};
use crate::contenders::{Running, Site};
use crate::results::Measure;
use crate::statistics::percentile;
use crate::system::{memory, processor_seconds, reset_highest_memory};
use crate::talk::Kind;

/// How many users ask.
pub const USERS: usize = 50;

/// The users of the steady loads.
///
/// # Errors
/// Never, as long as their names can be in a header.
pub fn users() -> Result<Arc<Users>> {
    Users::new("user", USERS)
}

/// Asks until whatever is made at a first request is made: everybody asks some times.
///
/// # Errors
/// When an answer is wrong.
pub async fn warm_up(running: &Running, users: &Arc<Users>, time: Duration) -> Result<()> {
    for kind in [Kind::Json, Kind::Stream] {
        // One after the other first: a user's first request makes its object.
        let first = in_turn(&running.target, users, (kind, 1), Until::Requests(USERS)).await;
        ensure_all_answered(&first)?;
        let busy = in_turn(&running.target, users, (kind, 16), Until::Time(time)).await;
        ensure_all_answered(&busy)?;
    }
    Ok(())
}

/// Puts the load on for this time, after a fifth of it that doesn't count.
///
/// # Errors
/// When an answer is wrong.
pub async fn measure(
    site: &Site,
    running: &Running,
    users: &Arc<Users>,
    ((kind, connections), time): ((Kind, usize), Duration),
) -> Result<Measure> {
    let shape = (kind, connections);
    let before = in_turn(&running.target, users, shape, Until::Time(time / 5)).await;
    ensure_all_answered(&before)?;
    let ids = running.family(site);
    let upstream = site.upstream.process.family();
    let ourselves = vec![std::process::id().cast_signed()];
    reset_highest_memory(&ids);
    let used = || [&ids, &upstream, &ourselves].map(|ids| processor_seconds(ids));
    let [before, upstream_before, client_before] = used();
    let heard = in_turn(&running.target, users, shape, Until::Time(time)).await;
    let [mut after, upstream_after, client_after] = used();
    ensure_all_answered(&heard)?;
    for (name, seconds) in &mut after {
        *seconds -= before.get(name).copied().unwrap_or(0.0);
    }
    let sum = |of: &std::collections::BTreeMap<String, f64>| of.values().sum::<f64>();
    Ok(Measure {
        requests: heard.whole.len(),
        seconds: heard.seconds,
        whole_p50: percentile(&heard.whole, 0.5),
        whole_p99: percentile(&heard.whole, 0.99),
        first_byte_p50: percentile(&heard.first_byte, 0.5),
        first_byte_p99: percentile(&heard.first_byte, 0.99),
        processor: after,
        upstream_processor: sum(&upstream_after) - sum(&upstream_before),
        client_processor: sum(&client_after) - sum(&client_before),
        highest_memory: memory(&ids, "VmHWM"),
    })
}
