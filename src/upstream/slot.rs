//! A place in an upstream's queue, and then one of its slots.
//!
//! A task in `wait_until` asks for the slot, keeps it alive, and frees it. So it is freed once,
//! whatever becomes of the request; where the whole Worker dies, it ends by itself.

use std::pin::pin;

use domain::clock::Millis;
use domain::fair_queue::{Ask, Place, SlotMessage};
use futures::channel::oneshot;
use futures::future::{Either, select};
use worker::Delay;

use super::departure::Departure;
use super::exchange::NoAnswer;
use crate::context::Context;
use crate::error::Error;
use crate::objects::call;
use crate::settlement::RENEWAL;

/// One of an upstream's slots, or the wish for one; dropping it gives it up.
pub struct Slot(#[expect(dead_code, reason = "it is there to be dropped")] oneshot::Sender<()>);

/// Waits for one of the upstream's slots; also says for how long, in milliseconds.
///
/// # Errors
/// [`NoAnswer`] where the client left, the wait was over, or the object can't be asked.
pub async fn take(
    context: &Context,
    upstream: String,
    ask: Ask,
    departure: &mut Departure,
) -> Result<(Slot, Millis), NoAnswer> {
    let (slot, given_up) = oneshot::channel();
    let slot = Slot(slot);
    let (tell, told) = oneshot::channel();
    let wait_ms = ask.wait_ms.into();
    let request = Request { context: context.clone(), upstream, ask };
    context.wait_until(request.hold(tell, given_up));
    match select(departure, told).await {
        Either::Left(_) => Err(NoAnswer::ClientLeft),
        Either::Right((Ok(Place::Slot(waited_ms)), _)) => Ok((slot, waited_ms)),
        Either::Right((Ok(Place::Busy(retry_after_ms)), _)) => {
            Err(Error::UpstreamBusy { waited_ms: wait_ms, retry_after_ms }.into())
        }
        Either::Right(_) => Err(Error::Internal.into()),
    }
}

/// A request that is to have a slot.
struct Request {
    context: Context,
    upstream: String,
    ask: Ask,
}

impl Request {
    async fn hold(self, tell: oneshot::Sender<Place>, mut given_up: oneshot::Receiver<()>) {
        let mut tell = Some(tell);
        loop {
            let mut asking = pin!(self.say(SlotMessage::Ask(self.ask.clone())));
            let place = match select(&mut asking, &mut given_up).await {
                Either::Left((place, _)) => place,
                Either::Right(_) => {
                    self.free().await;
                    // A question that was overtaken on its way is answered by a grant.
                    asking.await
                }
            };
            // Later the request runs. A renewal that fails is made up for by the next: a lease
            // outlives two of them.
            if let Some(tell) = tell.take() {
                let Ok(place) = place else { break };
                // Who doesn't listen any more has given up.
                let _ = tell.send(place);
                if !matches!(place, Place::Slot(_)) {
                    return;
                }
            }
            if let Either::Left(_) = select(&mut given_up, Delay::from(RENEWAL)).await {
                break;
            }
        }
        // Where it isn't known what became of the question, there may be a slot too.
        self.free().await;
    }

    /// A slot that can't be freed ends by itself.
    async fn free(&self) {
        let _ = self.say(SlotMessage::Free(self.ask.request_id.clone())).await;
    }

    /// Says it again where the object died meanwhile: no message does anything twice.
    async fn say(&self, message: SlotMessage) -> Result<Place, Error> {
        match call(&self.context, &self.upstream, message.clone()).await {
            Err(_) => call(&self.context, &self.upstream, message).await,
            place => place,
        }
    }
}
