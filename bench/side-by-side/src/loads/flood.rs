//! One user who asks twenty times as often as the limit allows, beside twenty honest ones.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::time::sleep;

use super::{ensure_all_answered, ensure_faultless};
use crate::client::{Heard, Until, Users, arrivals, by_the_clock, in_turn};
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

/// How long before a phase what the one before left is written.
const PAUSE: Duration = Duration::from_secs(2);

/// The longest that a phase may take: the one user's minute is used up from the first to the last.
pub const LONGEST: Duration = Duration::from_secs(12);

/// What is measured one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    Calm,
    CalmAgain,
    Flooded,
}

/// How it is measured.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    pub order: [Phase; 3],
    pub time: Duration,
    /// Of the arrivals: whoever has the same meets the same.
    pub seed: u64,
}

/// All phases; the honest users ask at the same moments in each.
///
/// # Errors
/// When an honest user is refused, or an answer is wrong.
pub async fn measure(site: &Site, contender: Contender, shape: Shape) -> Result<Flood> {
    let running = site.start(contender, Purpose::Limit(LIMIT)).await?;
    let honest = Users::new("honest", HONEST)?;
    let loud = Users::new(FLOODER, 1)?;
    let target = &running.target;
    let honest_rate = HONEST as f64 * HONEST_A_SECOND;
    let honest_arrivals = arrivals(honest_rate, shape.time, shape.seed);
    let honestly = || by_the_clock(target, &honest, (Kind::Json, HONEST), &honest_arrivals);
    // What is made at a first request is made; and the limit is used up, so that all that follows of
    // the one user within the minute is to be refused.
    ensure_all_answered(&in_turn(target, &honest, (Kind::Json, 1), Until::Requests(HONEST)).await)?;
    let until = Until::Requests(LIMIT as usize);
    let first = in_turn(target, &loud, (Kind::Json, 8), until).await;
    ensure_faultless(&first)?;
    // What was admitted goes to the log first: that isn't the flood's doing.
    sleep(ROWS).await;

    let flood_rate = f64::from(LIMIT * TIMES) / 60.0;
    let flood_arrivals = arrivals(flood_rate, shape.time, shape.seed.wrapping_add(1));
    let mut flood = Heard::default();
    let mut phases = BTreeMap::new();
    for phase in shape.order {
        let heard = if phase == Phase::Flooded {
            let flooding = by_the_clock(target, &loud, (Kind::Json, FLOODING), &flood_arrivals);
            let (heard, flooding) = tokio::join!(honestly(), flooding);
            ensure_faultless(&flooding)?;
            flood = flooding;
            heard
        } else {
            honestly().await
        };
        ensure_all_answered(&heard)?;
        phases.insert(phase, Honest::of(&heard));
        sleep(PAUSE).await;
    }
    let mut taken = |phase| phases.remove(&phase).with_context(|| format!("no {phase:?}"));
    let rows = match contender {
        Contender::Gateway => Some(rows_for_refusals(&running.log, &[&first, &flood]).await?),
        _ => None,
    };
    running.stop().await;
    Ok(Flood {
        calm: taken(Phase::Calm)?,
        calm_again: taken(Phase::CalmAgain)?,
        flooded: taken(Phase::Flooded)?,
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
