//! Ten thousand users, and what memory they take: it may not grow with the requests.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use tokio::time::sleep;

use super::ensure_all_answered;
use crate::client::{Until, Users, in_turn};
use crate::contenders::{Purpose, Site};
use crate::options::Contender;
use crate::results::{Crowd, MemorySample};
use crate::system::memory;
use crate::talk::Kind;

/// In how many parts the requests are sent; after each the memory is noted.
const PARTS: usize = 40;

/// In how many parts the users come.
const COHORTS: usize = 10;

/// How many users, and requests of all of them together.
pub struct Size {
    pub users: usize,
    pub requests: usize,
}

/// Lets them all ask in turn on sixteen connections.
///
/// # Errors
/// When an answer is wrong.
pub async fn measure(site: &Site, how_many: &Size, told: impl Fn(&str)) -> Result<Crowd> {
    let running = site.start(Contender::Gateway, Purpose::Speed).await?;
    // An object sleeps after ten seconds without a request; until then it holds three files open. That
    // all are awake at once is not what a crowd does, and is more than a process may open on some
    // machines.
    let users: Arc<Users> = Users::in_cohorts("crowd", how_many.users, how_many.users / COHORTS)?;
    let part = how_many.requests / PARTS;
    let note = |requests| MemorySample { requests, bytes: memory(&running.family(site), "VmRSS") };
    let mut samples = vec![note(0)];
    let mut seconds = 0.0;
    for number in 1..=PARTS {
        let until = Until::Requests(part);
        let heard = in_turn(&running.target, &users, (Kind::Json, 16), until).await;
        ensure_all_answered(&heard)?;
        seconds += heard.seconds;
        let sample = note(number * part);
        samples.push(sample);
        told(&format!("{} requests, {} MB", sample.requests, sample.bytes / 1_000_000));
    }
    // What is on its way to D1 arrives, so that the folder can be removed.
    sleep(Duration::from_secs(1)).await;
    running.stop().await;
    Ok(Crowd { users: how_many.users, requests: part * PARTS, seconds, samples })
}
