//! `GET /ready`: whether a request would get through. The answer is kept for 5 s, and however many ask
//! meanwhile, one look is under way.
//!
//! All upstreams are asked at once, and the default one decides. Of the others it is said with how
//! many not all is well, and the log says which: anybody may ask here, and names are the operator's.

use std::cell::{Cell, RefCell};
use std::time::Duration;

use domain::clock::Millis;
use futures::future::{join, join_all};
use serde::Serialize;
use worker::Delay;

use crate::context::Context;
use crate::incoming::Incoming;
use crate::reply::Reply;
use crate::{clock, log, probe, reply};

const KEPT_FOR: Millis = 5_000;
/// OpenClaw locks out, for five minutes, whoever shows it ten wrong tokens. One a minute is few
/// enough.
const KEPT_FOR_AFTER_A_REFUSAL: Millis = 60_000;

#[derive(Clone, Serialize)]
struct Readiness {
    status: &'static str,
    checks: Checks,
}

#[derive(Clone, Serialize)]
struct Checks {
    d1: String,
    upstream: String,
}

/// How long a look may take; one that takes longer has died with whoever began it.
const LOOK: Millis = 15_000;
/// How often somebody who waits for it looks again. In this runtime no request can wake another.
const GLANCE: Duration = Duration::from_millis(25);

thread_local! {
    static LAST: RefCell<Option<(Millis, Readiness)>> = const { RefCell::new(None) };
    /// When the look began that is under way.
    static LOOKING: Cell<Option<Millis>> = const { Cell::new(None) };
}

/// 200 where everything a request needs is there, else 503; the checks say what is wrong.
pub async fn answer(incoming: &Incoming, context: &Context) -> Reply {
    let readiness = loop {
        let now = clock::reading();
        let last = LAST.with_borrow(Clone::clone).filter(|(until, _)| now < *until);
        if let Some((_, readiness)) = last {
            break readiness;
        }
        if LOOKING.get().is_none_or(|since| now - since > LOOK) {
            LOOKING.set(Some(now));
            let looking = context.clone();
            // Whoever began it may leave: the others wait for it.
            context.wait_until(async move { look(&looking, now).await });
        }
        Delay::from(GLANCE).await;
    };
    let status = if readiness.status == "ready" { 200 } else { 503 };
    log::early(incoming, status, None);
    reply::json(status, &readiness)
}

async fn look(context: &Context, now: Millis) {
    let (d1, (upstream, is_refused)) =
        join(probe::database(context), check_upstreams(context)).await;
    let status = if d1.is_ok() && upstream.is_ok() { "ready" } else { "degraded" };
    let kept_for = if is_refused { KEPT_FOR_AFTER_A_REFUSAL } else { KEPT_FOR };
    let words = |result: Result<String, String>| result.unwrap_or_else(|problem| problem);
    let checks = Checks { d1: words(d1), upstream: words(upstream) };
    LAST.set(Some((now + kept_for, Readiness { status, checks })));
    LOOKING.set(None);
}

/// What is said of upstreams, and whether one of them refused the gateway.
async fn check_upstreams(context: &Context) -> (Result<String, String>, bool) {
    let settings = match context.settings() {
        Ok(settings) => settings,
        Err(error) => return (Err(error.to_string()), false),
    };
    let checks = settings.upstreams.iter().map(|upstream| probe::upstream(upstream, &settings));
    let mut checks = join_all(checks).await;
    let mut problems = checks.iter().filter_map(|check| check.as_ref().err());
    let is_refused = problems.any(|problem| probe::is_refusal(problem));
    if settings.default_upstream().is_none() {
        return (Err("OPENCLAW_URL is missing".to_owned()), is_refused);
    }
    let default = checks.remove(0);
    let nodes = settings.upstreams.iter().skip(1).zip(&checks);
    let bad = nodes.filter(|(node, check)| is_bad(&node.name, check)).count();
    let warning =
        format!("ok, but not all is well with {bad} of {} in UPSTREAMS: see the log", checks.len());
    let is_well = default.as_ref().is_ok_and(|words| words == "ok");
    (if is_well && bad > 0 { Ok(warning) } else { default }, is_refused)
}

/// Writes into the log what is wrong with a node, for its name is nobody's but the operator's.
fn is_bad(name: &str, check: &Result<String, String>) -> bool {
    let (Ok(words) | Err(words)) = check;
    if words != "ok" {
        let words = probe::of_a_node(words);
        log::fault("an upstream needs attention", &format!("{name}: {words}"));
    }
    words != "ok"
}
