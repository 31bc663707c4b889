//! The end of an admitted request: exactly one settlement, whatever happens to its answer.
//!
//! [`Settlement`] is held by whoever still works on the answer. A task in `wait_until` keeps the
//! lease alive, waits for the outcome, and tells the object. Where the holder vanishes without a
//! word, by a panic, the outcome says so; where the whole Worker dies, the object's alarm settles.

use std::time::Duration;

use domain::clock::Millis;
use domain::entry::{Entry, Outcome};
use domain::session::messages::{Admission, Admit, Renew, Settle};
use futures::channel::oneshot;
use futures::future::{Either, select};
use worker::Delay;

use crate::context::Context;
use crate::error::Error;
use crate::objects::{Message, call};
use crate::reply::Reply;
use crate::upstream::exchange::NoAnswer;
use crate::upstream::slot::Slot;
use crate::{clock, log, reply};

/// How often a running request says that it lives: a third of a lease.
pub const RENEWAL: Duration = Duration::from_secs(30);

/// How often an object is told how something ended, before that is given up.
const ATTEMPTS: u32 = 3;

/// The duty to say how a request ended.
pub struct Settlement {
    arrived: Millis,
    /// The upstream's slot, which is free again with the end.
    pub slot: Option<Slot>,
    ttfb_ms: Option<Millis>,
    outcome: Option<oneshot::Sender<Outcome>>,
}

impl Settlement {
    /// Asks the user's object for admission, and takes on the duty if it is given.
    ///
    /// The asking itself is in `wait_until`: a client that leaves while the object decides may take
    /// the rest of the event along, but not what was admitted.
    ///
    /// # Errors
    /// [`Error::Internal`] where the object could not be asked.
    pub async fn admit(
        context: &Context,
        message: Admit,
        arrived: Millis,
    ) -> Result<(Admission, Self), Error> {
        let (tell, told) = oneshot::channel();
        let (settlement, ended) = Self::told_to(arrived);
        let context_of_task = context.clone();
        context.wait_until(async move {
            let entry = message.entry.clone();
            let admission = call(&context_of_task, entry.user_id.as_str(), message).await;
            let is_admitted = matches!(admission, Ok(Admission::Admitted(_)));
            let was_told = tell.send(admission).is_ok();
            if is_admitted && was_told {
                see_to_the_end(context_of_task, entry, ended).await;
            } else if is_admitted {
                end(&context_of_task, entry, client_left()).await;
            }
        });
        let admission = told.await.map_err(|_| Error::Internal)??;
        Ok((admission, settlement))
    }

    /// The duty to say it to whoever has the receiver.
    pub fn told_to(arrived: Millis) -> (Self, oneshot::Receiver<Outcome>) {
        let (outcome, ended) = oneshot::channel();
        (Self { arrived, slot: None, ttfb_ms: None, outcome: Some(outcome) }, ended)
    }

    /// The upstream's answer has begun.
    pub fn first_byte(&mut self) {
        self.ttfb_ms = Some(self.elapsed());
    }

    /// Says how it ended. The times are filled in here.
    pub fn end(mut self, outcome: Outcome) {
        self.say(outcome);
    }

    /// Says that the upstream gave no answer, and to the client why.
    pub fn end_unanswered(self, no_answer: NoAnswer) -> Reply {
        match no_answer {
            NoAnswer::ClientLeft => {
                self.end(client_left());
                reply::empty(499)
            }
            NoAnswer::Failed(error) => {
                self.end(failed(&error));
                reply::error(&error)
            }
        }
    }

    fn say(&mut self, outcome: Outcome) {
        // First, for somebody may wait for it.
        self.slot.take();
        let outcome = Outcome { latency_ms: self.elapsed(), ttfb_ms: self.ttfb_ms, ..outcome };
        if let Some(sender) = self.outcome.take() {
            // The receiver lives in `wait_until` as long as the runtime lets it.
            let _ = sender.send(outcome);
        }
    }

    fn elapsed(&self) -> Millis {
        (clock::reading() - self.arrived).max(0)
    }
}

impl Drop for Settlement {
    fn drop(&mut self) {
        self.say(Outcome::failed(500, "internal_error"));
    }
}

/// Renews the lease until the outcome is known, then settles and writes the log line.
async fn see_to_the_end(context: Context, entry: Entry, mut ended: oneshot::Receiver<Outcome>) {
    let outcome = loop {
        match select(ended, Delay::from(RENEWAL)).await {
            Either::Left((outcome, _)) => break outcome.ok(),
            Either::Right(((), still_running)) => ended = still_running,
        }
        let renew = Renew { request_id: entry.request_id.clone() };
        // A renewal that fails is made up for by the next: a lease outlives two of them.
        let _ = call(&context, entry.user_id.as_str(), renew).await;
    };
    if let Some(outcome) = outcome {
        end(&context, entry, outcome).await;
    }
}

/// Settles, and writes the log line.
async fn end(context: &Context, entry: Entry, outcome: Outcome) {
    let settle = Settle { request_id: entry.request_id.clone(), outcome: outcome.clone() };
    // Where it fails, the object's alarm settles.
    if tell(context, entry.user_id.as_str(), &settle).await.is_none() {
        log::fault("settlement failed", &entry.request_id);
    }
    log::event("request", &Entry { outcome, ..entry });
}

/// Tells an object how something ended, several times if need be; nothing where it hears none of them.
pub async fn tell<M: Message + Clone>(
    context: &Context,
    name: &str,
    message: &M,
) -> Option<M::Reply> {
    for attempt in 0..ATTEMPTS {
        if let Ok(reply) = call(context, name, message.clone()).await {
            return Some(reply);
        }
        Delay::from(Duration::from_millis(200 << attempt)).await;
    }
    None
}

/// The outcome of a request that ended with an error of the gateway's.
pub fn failed(error: &Error) -> Outcome {
    Outcome::failed(error.status(), error.code())
}

/// The outcome of a request whose client left.
pub fn client_left() -> Outcome {
    Outcome::failed(499, "client_left")
}
