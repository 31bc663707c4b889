//! Saying that an upstream fails, to the object that tells the operator: after the answer, and one
//! report in five seconds from this isolate, so that an outage costs no storm of calls.

use std::cell::RefCell;
use std::time::Duration;

use domain::alerts::Notice;
use domain::alerts::throttle::Throttle;
use worker::Delay;

use crate::clock;
use crate::context::Context;
use crate::error::Error;
use crate::objects::alerts;

thread_local! {
    static THROTTLES: RefCell<Vec<(String, Throttle)>> = const { RefCell::new(Vec::new()) };
}

/// Whether it is the upstream that failed.
pub const fn is_of_the_upstream(error: &Error) -> bool {
    matches!(error, Error::UpstreamUnreachable | Error::UpstreamTimeout | Error::UpstreamRedirect)
}

/// A request has failed at the upstream of this name.
pub fn noticed(context: &Context, upstream: &str) {
    let Some(pause) = with_throttle(upstream, |throttle| throttle.failed(clock::reading())) else {
        return;
    };
    let (reporting, upstream) = (context.clone(), upstream.to_owned());
    context.wait_until(async move {
        if pause > 0 {
            Delay::from(Duration::from_millis(pause.unsigned_abs())).await;
        }
        let failures = with_throttle(&upstream, |throttle| throttle.take(clock::reading()));
        if failures > 0 {
            alerts::notice(&reporting, Notice::Failed(upstream, failures)).await;
        }
    });
}

fn with_throttle<R>(upstream: &str, act: impl FnOnce(&mut Throttle) -> R) -> R {
    THROTTLES.with_borrow_mut(|throttles| {
        if let Some((_, throttle)) = throttles.iter_mut().find(|(name, _)| name == upstream) {
            return act(throttle);
        }
        let mut throttle = Throttle::default();
        let done = act(&mut throttle);
        throttles.push((upstream.to_owned(), throttle));
        done
    })
}
