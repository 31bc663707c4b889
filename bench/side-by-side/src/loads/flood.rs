//! One user who asks twenty times as often as the limit allows, beside twenty honest ones.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, ensure};
use tokio::time::sleep;

use super::{ensure_all_answered, ensure_faultless};
use crate::client::{Heard, Until, Users, by_the_clock, in_turn};
use crate::contenders::{Purpose, Site};
use crate::log::flushes;
use crate::options::Contender;
use crate::results::{Flood, Honest};
use crate::talk::Kind;

/// Requests a minute and user.
pub const LIMIT: u32 = 600;

/// How many times the limit the one user asks for.
const TIMES: u32 = 20;

/// The honest users, each of whom stays below the limit.
const HONEST: usize = 20;
const HONEST_A_SECOND: f64 = 8.0;

const FLOODER: &str = "flooder";

/// More than wait at once, should each answer take half a second: a flood doesn't wait for answers.
const FLOODING: usize = 128;

/// How long rows may take to the log.
const ROWS: Duration = Duration::from_secs(5);

/// Both phases, in the order that is said: `calm_first` or the flood first.
///
/// # Errors
/// When an honest user is refused, or an answer is wrong.
pub async fn measure(
    site: &Site,
    contender: Contender,
    (calm_first, time): (bool, Duration),
) -> Result<Flood> {
    let running = site.start(contender, Purpose::Limit(LIMIT)).await?;
    let honest = Users::new("honest", HONEST)?;
    let loud = Users::new(FLOODER, 1)?;
    let target = &running.target;
    let honest_rate = HONEST as f64 * HONEST_A_SECOND;
    let honestly = || by_the_clock(target, &honest, (Kind::Json, HONEST), (honest_rate, time));
    // What is made at a first request is made; and the limit is used up, so that all that follows of
    // the one user within the minute is refused.
    ensure_all_answered(&in_turn(target, &honest, (Kind::Json, 1), Until::Requests(HONEST)).await)?;
    let until = Until::Requests(LIMIT as usize);
    let first = in_turn(target, &loud, (Kind::Json, 8), until).await;
    ensure_faultless(&first)?;
    // What was admitted goes to the log first: that isn't the flood's doing.
    sleep(ROWS).await;

    let flood_rate = f64::from(LIMIT * TIMES) / 60.0;
    let with_flood = async || {
        let flooding = by_the_clock(target, &loud, (Kind::Json, FLOODING), (flood_rate, time));
        tokio::join!(honestly(), flooding)
    };
    let (calm, (flooded, flood)) = if calm_first {
        let calm = honestly().await;
        (calm, with_flood().await)
    } else {
        let both = with_flood().await;
        (honestly().await, both)
    };
    ensure_all_answered(&calm)?;
    ensure_all_answered(&flooded)?;
    ensure_faultless(&flood)?;
    let rows = match contender {
        Contender::Gateway => Some(rows_for_refusals(&running.log, &[&first, &flood]).await?),
        _ => None,
    };
    running.stop().await;
    Ok(Flood {
        calm: Honest::of(&calm),
        flooded: Honest::of(&flooded),
        refused: first.refused + flood.refused,
        admitted: first.whole.len() + flood.whole.len(),
        rows_for_refusals: rows,
    })
}

/// What the flooder has in the log beyond one row for each request that was admitted.
async fn rows_for_refusals(log: &Path, heard: &[&Heard]) -> Result<u64> {
    sleep(ROWS).await;
    let name = format!("{FLOODER}-0");
    let rows: u64 = flushes(log)?.iter().filter(|it| it.user_id == name).map(|it| it.rows).sum();
    let admitted: u64 = heard.iter().map(|heard| heard.whole.len() as u64).sum();
    ensure!(rows >= admitted, "{rows} rows in the log, where {admitted} requests were admitted");
    Ok(rows - admitted)
}
