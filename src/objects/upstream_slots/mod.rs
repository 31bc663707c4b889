//! One upstream's object: the shell around [`domain::fair_queue::FairQueue`].
//!
//! Who has a slot is written before the grant leaves, so that an object that is started anew under
//! running requests grants none of their slots again. Who waits is held in memory alone: the call
//! fails with the object, and the front asks anew. A slot of which nothing is heard matters to those
//! who wait for it, and they look. The alarm only tells D1 how busy the upstream is.

mod report;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use domain::clock::Millis;
use domain::fair_queue::report::Reports;
use domain::fair_queue::{Ask, FairQueue, Place, SlotMessage};
use futures::FutureExt;
use futures::channel::oneshot;
use futures::future::{Either, select};
use wasm_bindgen::prelude::*;
use worker::worker_sys::DurableObjectState;
use worker::{Delay, Env, Result, State};

use super::document::Document;
use super::{encode, wake_in};
use crate::context::Context;
use crate::{clock, fault, log};

/// The object of one upstream, by its name.
#[wasm_bindgen]
pub struct UpstreamSlots {
    state: State,
    context: Context,
    store: Document,
    /// The slots and those who wait; `None` until they have been read, or after they could not be
    /// written. Never borrowed across an `await`.
    slots: RefCell<Option<Slots>>,
    /// What D1 was told.
    reports: Cell<Reports>,
    /// When the alarm is set for, as far as this instance knows.
    alarm: Cell<Option<Millis>>,
}

struct Slots {
    queue: FairQueue,
    /// As many as the last question said that there are.
    number: usize,
    /// Tells a question how its wait has ended: by a grant, or by leaving.
    waiting: Vec<(String, oneshot::Sender<bool>)>,
}

// A panic leaves `slots` empty (see `receive`), and the rest is whole at every moment.
impl UnwindSafe for UpstreamSlots {}
impl RefUnwindSafe for UpstreamSlots {}

// Without the macro for objects: it would add a `fetch` that nobody calls.
#[wasm_bindgen]
impl UpstreamSlots {
    /// Opens the object; nothing is read yet.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = State::from(state);
        let store = Document::new(state.storage().sql(), "leases");
        Self {
            state,
            context: Context::new(env),
            store,
            slots: RefCell::default(),
            reports: Cell::default(),
            alarm: Cell::default(),
        }
    }

    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught; the memory is read anew then.
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let answer = AssertUnwindSafe(self.answer(&message)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            self.slots.take();
            Err("the object panicked".into())
        });
        answer.map_err(JsValue::from)
    }

    /// Tells D1 how busy the upstream is. What could not be told is due again later.
    ///
    /// # Errors
    /// Where the storage failed; the runtime rings again then.
    pub async fn alarm(&self) -> std::result::Result<(), JsValue> {
        // Until it is through, nothing has to set it.
        self.alarm.set(Some(Millis::MIN));
        let told = AssertUnwindSafe(self.report()).catch_unwind().await;
        self.alarm.set(None);
        let told = told.unwrap_or_else(|_| Err("the object panicked".into()));
        told.and_then(|()| self.turn(&mut |_, _| {})).map_err(|error| {
            log::fault("alarm of an upstream failed", &error.to_string());
            self.slots.take();
            JsValue::from(error)
        })
    }
}

impl UpstreamSlots {
    async fn answer(&self, message: &str) -> Result<String> {
        let mut place = Place::Nothing;
        match serde_json::from_str(message)? {
            SlotMessage::Ask(ask) => place = self.ask(ask).await?,
            SlotMessage::Free(request_id) => self.turn(&mut |slots, _| slots.free(&request_id))?,
        }
        encode::<SlotMessage>(&place)
    }

    /// Waits for a slot for as long as the question may.
    async fn ask(&self, ask: Ask) -> Result<Place> {
        fault::strike(&ask.request_id, "panic-slots");
        let began = clock::reading();
        let (tell, mut told) = oneshot::channel();
        let (mut tell, mut granted_before) = (Some(tell), 0);
        self.turn(&mut |slots, now| {
            granted_before = slots.queue.granted();
            slots.ask(&ask, tell.take(), now);
        })?;
        loop {
            let rest = began + Millis::from(ask.wait_ms) - clock::reading();
            if rest <= 0 {
                break;
            }
            match select(told, self.pause(rest)).await {
                Either::Left((Ok(true), _)) => {
                    return Ok(Place::Slot((clock::reading() - began).max(0)));
                }
                Either::Left((Ok(false), _)) => return Ok(Place::Nothing),
                Either::Left((Err(_), _)) => return Err("those who waited were forgotten".into()),
                Either::Right(((), waiting)) => told = waiting,
            }
            // A slot may be free of which nothing was heard.
            self.turn(&mut |_, _| {})?;
        }
        let mut retry_after_ms = 0;
        self.turn(&mut |slots, now| {
            slots.free(&ask.request_id);
            let granted = slots.queue.granted().saturating_sub(granted_before);
            retry_after_ms = slots.queue.expected_wait(granted, now - began);
        })?;
        Ok(Place::Busy(retry_after_ms))
    }

    /// Ends when the wait is over, or before, when a slot is lost of which nothing was heard.
    fn pause(&self, rest: Millis) -> Delay {
        let held = self.slots.borrow();
        let next = held.as_ref().and_then(|slots| slots.queue.next_expiry());
        let next = next.map_or(rest, |at| rest.min(at - clock::reading()));
        Delay::from(Duration::from_millis(next.max(1).unsigned_abs()))
    }

    /// One decision on the slots, which are read if need be; then those are granted that are free.
    fn turn(&self, decide: &mut dyn FnMut(&mut Slots, Millis)) -> Result<()> {
        let mut turn = || {
            let now = clock::reading();
            let mut held = self.slots.borrow_mut();
            let slots = match &mut *held {
                Some(slots) => slots,
                None => held.insert(Slots {
                    queue: FairQueue::restore(self.store.load()?),
                    number: 0,
                    waiting: Vec::new(),
                }),
            };
            decide(slots, now);
            let granted = slots.queue.grant(slots.number, now);
            if let Some(leases) = slots.queue.changed_leases() {
                self.store.save(leases)?;
            }
            for request_id in granted {
                slots.tell(&request_id, true);
            }
            self.due(slots, now).map_or(Ok(()), |due| self.wake_at(due, now))
        };
        turn().inspect_err(|_| drop(self.slots.take()))
    }
}

impl UpstreamSlots {
    /// When D1 is to be told how busy the upstream is.
    fn due(&self, slots: &Slots, now: Millis) -> Option<Millis> {
        let mut reports = self.reports.get();
        let due = reports.due(slots.queue.load(now), slots.queue.next_expiry(), now);
        self.reports.set(reports);
        due
    }

    /// Has the alarm ring at `wake`, unless it rings before.
    fn wake_at(&self, wake: Millis, now: Millis) -> Result<()> {
        if self.alarm.get().is_some_and(|alarm| alarm <= wake) {
            return Ok(());
        }
        wake_in(&self.state, (wake - now).max(0))?;
        self.alarm.set(Some(wake));
        Ok(())
    }
}

impl Slots {
    fn ask(&mut self, ask: &Ask, tell: Option<oneshot::Sender<bool>>, now: Millis) {
        self.number = usize::try_from(ask.slots).unwrap_or(usize::MAX);
        self.waiting.retain(|(request_id, _)| *request_id != ask.request_id);
        self.waiting.extend(tell.map(|tell| (ask.request_id.clone(), tell)));
        if self.queue.ask(ask, now) {
            self.tell(&ask.request_id, true);
        }
    }

    fn free(&mut self, request_id: &str) {
        self.queue.free(request_id);
        self.tell(request_id, false);
    }

    fn tell(&mut self, request_id: &str, is_granted: bool) {
        if let Some(place) = self.waiting.iter().position(|(id, _)| id == request_id) {
            let (_, tell) = self.waiting.swap_remove(place);
            // One whose caller has died is not there any more; its slot ends by itself.
            let _ = tell.send(is_granted);
        }
    }
}
