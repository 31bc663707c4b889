//! One of Stripe's customers: the shell around [`domain::stripe::customer::Customer`].
//!
//! An event is taken in and written in one stretch without `await`, and with it what its user has to
//! be told. Then that is told to the user's object, and only then does Stripe hear that the event
//! has arrived. What could not be told is told by the alarm, which also brings D1 up to date.

mod mirror;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use domain::clock::Millis;
use domain::identifiers::UserId;
use domain::session::messages::Entitle;
use domain::stripe::customer::Customer as Record;
use domain::stripe::event::Event;
use domain::tier::Purchases;
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, durable_object};

use super::document::Document;
use super::{call, encode, wake_in};
use crate::context::Context;
use crate::{fault, log};

/// The object of what names no customer, which none of Stripe's ids is the name of.
pub const NOBODY: &str = "nobody";

/// How long D1 waits for the next event: they come in twos and threes.
const GATHERING: Millis = 500;
/// When what failed is tried again; each time it has to wait for twice as long.
const FIRST_RETRY: Millis = 1_000;
const LONGEST_RETRY: Millis = 300_000;
/// How often it is looked whether messages have arrived.
const GLANCE: Duration = Duration::from_millis(20);
/// When it is looked again whether the operator has changed a setting; anything else is an event.
const DAY: Millis = 86_400_000;

/// Brings an event of the customer's, whose signature was checked. The reply comes once the user's
/// object has what follows from it.
#[derive(Serialize, Deserialize)]
pub struct Receive {
    /// The event.
    pub event: Event,
    /// The request that brought it.
    pub request_id: String,
}

/// Whose the subscriptions are that are this user's is to be forgotten. The reply are those that go on
/// being paid for; it comes once nobody is being told of this user any more.
#[derive(Serialize, Deserialize)]
pub struct ForgetUser {
    /// The user.
    pub user_id: UserId,
    /// When that was wanted.
    pub at: Millis,
}

/// Every message that a customer's object takes.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CustomerMessage {
    /// An event.
    Receive(Receive),
    /// A user is to be forgotten.
    ForgetUser(ForgetUser),
}

/// The object of one of Stripe's customers.
#[durable_object(alarm)]
pub struct Customer {
    state: State,
    context: Context,
    document: Document,
    /// What is known of the customer; `None` until it has been read, or after it could not be
    /// written. Never borrowed across an `await`.
    record: RefCell<Option<Record>>,
    /// How often in a row the alarm has failed.
    failures: Cell<u32>,
    /// Whether something has come since the alarm went off, and has set it again.
    is_set: Cell<bool>,
    /// How many messages are on their way to users' objects.
    telling: Cell<usize>,
}

// A panic leaves `record` empty (see `receive`), and the rest is whole at every moment.
impl UnwindSafe for Customer {}
impl RefUnwindSafe for Customer {}

impl DurableObject for Customer {
    fn new(state: State, env: Env) -> Self {
        let document = Document::new(state.storage().sql(), "customer");
        let context = Context::new(env);
        Self {
            state,
            context,
            document,
            record: RefCell::default(),
            failures: Cell::default(),
            is_set: Cell::default(),
            telling: Cell::default(),
        }
    }

    /// Objects are called by `receive`.
    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::error("Not Found", 404)
    }

    /// Tells users what they were not told, and D1 what is new. It doesn't fail: what could not be
    /// done is due again later.
    async fn alarm(&self) -> Result<Response> {
        self.is_set.set(false);
        let tended = AssertUnwindSafe(self.tend()).catch_unwind().await;
        let again = match tended.unwrap_or_else(|_| Err("the object panicked".into())) {
            Ok(is_waiting) => {
                self.failures.set(0);
                is_waiting.then_some(DAY)
            }
            Err(error) => {
                log::fault("alarm of a customer failed", &error.to_string());
                self.record.take();
                let failures = self.failures.get();
                self.failures.set(failures + 1);
                Some((FIRST_RETRY << failures.min(16)).min(LONGEST_RETRY))
            }
        };
        // What has come meanwhile doesn't wait for that.
        if let Some(pause) = again.filter(|_| !self.is_set.get()) {
            wake_in(&self.state, pause)?;
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Customer {
    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed, the user's object could not be told, or a panic was caught; the
    /// memory is read anew then.
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let answer = AssertUnwindSafe(self.answer(&message)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| Err("the object panicked".into()));
        answer.map_err(|error| {
            self.record.take();
            JsValue::from(error)
        })
    }
}

impl Customer {
    async fn answer(&self, message: &str) -> Result<String> {
        match serde_json::from_str(message)? {
            CustomerMessage::Receive(Receive { event, request_id }) => {
                self.take_in(|record| record.receive(event))?;
                fault::strike(&request_id, "panic-customer");
                fault::linger(&request_id, "slow-customer").await;
                self.tell().await?;
                encode::<Receive>(&())
            }
            CustomerMessage::ForgetUser(ForgetUser { user_id, at }) => {
                self.take_in(|record| record.forget(&user_id, at))?;
                // What is on its way must not reach whoever has the USER_ID next.
                while self.telling.get() > 0 {
                    Delay::from(GLANCE).await;
                }
                encode::<ForgetUser>(&self.look(Record::paid_for_nobody)?)
            }
        }
    }

    /// What the alarm is for. Says whether something waits that a setting would mend.
    async fn tend(&self) -> Result<bool> {
        let told = self.tell().await;
        let is_waiting = self.mirror().await?;
        told.map(|()| is_waiting)
    }

    /// Tells users' objects what follows from the events that have come. Who can't be told keeps
    /// nobody else from it.
    async fn tell(&self) -> Result<()> {
        let customer = self.look(|record| record.id().unwrap_or_default().to_owned())?;
        let mut tried = Vec::new();
        // Looked at anew each time: meanwhile somebody may have been forgotten.
        let next = |tried: &[(UserId, u64)]| {
            let is_new = |(user, purchases): &(UserId, Purchases)| {
                !tried.contains(&(user.clone(), purchases.revision))
            };
            self.look(|record| record.untold().into_iter().find(is_new))
        };
        let mut is_told_to_all = true;
        while let Some((user, purchases)) = next(&tried)? {
            let revision = purchases.revision;
            let entitle = Entitle { customer: customer.clone(), purchases };
            self.telling.set(self.telling.get() + 1);
            let told = AssertUnwindSafe(call(&self.context, user.as_str(), entitle));
            let told = told.catch_unwind().await;
            self.telling.set(self.telling.get() - 1);
            if matches!(told, Ok(Ok(_))) {
                self.turn(|record| record.taken(&user, revision))?;
            } else {
                is_told_to_all = false;
            }
            tried.push((user, revision));
        }
        is_told_to_all.then_some(()).ok_or("a user's object was not told of its tier".into())
    }

    fn look<R>(&self, look: impl FnOnce(&Record) -> R) -> Result<R> {
        let mut held = self.record.borrow_mut();
        let record = match &mut *held {
            Some(record) => record,
            None => held.insert(self.document.load()?),
        };
        Ok(look(record))
    }

    /// Takes in what has come, and sets the alarm for what follows from it.
    fn take_in(&self, decide: impl FnOnce(&mut Record) -> bool) -> Result<()> {
        self.turn(decide)?;
        if self.look(|record| !record.is_mirrored() || !record.untold().is_empty())? {
            wake_in(&self.state, GATHERING)?;
            self.is_set.set(true);
        }
        Ok(())
    }

    /// One decision: what it changes is written.
    fn turn(&self, decide: impl FnOnce(&mut Record) -> bool) -> Result<()> {
        let turn = || {
            let mut record = self.look(Record::clone)?;
            if decide(&mut record) {
                self.document.save(&record)?;
                self.record.replace(Some(record));
            }
            Ok(())
        };
        turn().inspect_err(|_: &worker::Error| drop(self.record.take()))
    }
}
