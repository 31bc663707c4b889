//! One network's object: the shell around [`domain::guesses::Guesses`].
//!
//! What is allowed is written before the reply leaves, so that no restart gives anybody a fresh
//! start; what is refused writes nothing. A minute after the last attempt the object is empty
//! again, to the last byte: a stranger's address leaves nothing behind.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};

use domain::clock::Millis;
use domain::guesses::{Count, Counted, Guesses as Attempted};
use futures::FutureExt;
use wasm_bindgen::prelude::*;
use worker::{DurableObject, Env, Request, Response, Result, State, durable_object};

use super::document::Document;
use super::{encode, wake_in};
use crate::{clock, log};

/// The object of one network.
#[durable_object(alarm)]
pub struct Guesses {
    state: State,
    store: Document,
    /// The attempts of the last minute; `None` until they have been read, or after they could not
    /// be written. Never borrowed across an `await`.
    attempted: RefCell<Option<Attempted>>,
    /// Whether the alarm is set, as far as this instance knows.
    is_alarm_set: Cell<bool>,
}

// A panic leaves `attempted` empty (see `receive`), and the rest is whole at every moment.
impl UnwindSafe for Guesses {}
impl RefUnwindSafe for Guesses {}

impl DurableObject for Guesses {
    fn new(state: State, _env: Env) -> Self {
        let store = Document::new(state.storage().sql(), "attempts");
        Self { state, store, attempted: RefCell::default(), is_alarm_set: Cell::default() }
    }

    /// Objects are called by `receive`.
    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::error("Not Found", 404)
    }

    /// Forgets what is a minute old, and the object itself where nothing is left of it. It doesn't
    /// fail: what could not be done is due again later.
    async fn alarm(&self) -> Result<Response> {
        self.is_alarm_set.set(false);
        let tended = AssertUnwindSafe(self.tend()).catch_unwind().await;
        let tended = tended.unwrap_or_else(|_| Err("the object panicked".into()));
        if let Err(error) = tended {
            log::fault("alarm of the guesses failed", &error.to_string());
            self.attempted.take();
            self.wake(1_000)?;
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Guesses {
    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught; the memory is read anew then.
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let answer = AssertUnwindSafe(async { self.answer(&message) }).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| Err("the object panicked".into()));
        answer.map_err(|error| {
            self.attempted.take();
            JsValue::from(error)
        })
    }
}

impl Guesses {
    fn answer(&self, message: &str) -> Result<String> {
        let count: Count = serde_json::from_str(message)?;
        encode::<Count>(&self.count(&count)?)
    }

    fn count(&self, count: &Count) -> Result<Counted> {
        self.turn(|attempted, now| {
            let counted = attempted.count(count, now);
            if counted == Counted::Allowed {
                self.store.save(&attempted.attempts())?;
                if let Some(empty_at) = attempted.empty_at().filter(|_| !self.is_alarm_set.get()) {
                    self.wake(empty_at - now)?;
                }
            }
            Ok(counted)
        })
    }

    async fn tend(&self) -> Result<()> {
        let empty_in = self.turn(|attempted, now| {
            attempted.expire(now);
            Ok(attempted.empty_at().map(|empty_at| empty_at - now))
        })?;
        if let Some(pause) = empty_in {
            return self.wake(pause);
        }
        // Whoever comes meanwhile begins anew: the storage is empty from the call on.
        self.attempted.take();
        self.store.forget();
        self.state.storage().delete_all().await
    }

    /// One decision on the attempts, which are read if need be.
    fn turn<R>(&self, decide: impl FnOnce(&mut Attempted, Millis) -> Result<R>) -> Result<R> {
        let now = clock::reading();
        let mut held = self.attempted.borrow_mut();
        let attempted = match &mut *held {
            Some(attempted) => attempted,
            None => held.insert(Attempted::restore(self.store.load()?, now)),
        };
        decide(attempted, now)
    }

    fn wake(&self, pause: Millis) -> Result<()> {
        wake_in(&self.state, pause)?;
        self.is_alarm_set.set(true);
        Ok(())
    }
}
