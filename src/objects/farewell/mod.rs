//! One leaving: the object that sees to it that a person is forgotten everywhere.
//!
//! What is wanted is written before anything is done. The alarm does it, step by step, writes down how
//! far it is, and goes on there whatever dies in between. A minute after the end, D1 and R2 are looked
//! through once more for what was on its way there, and the object is empty again.

mod records;

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::time::Duration;

use domain::alerts::Notice;
use domain::clock::Millis;
use domain::farewell::{Counted, Leaving, Step};
use domain::identifiers::UserId;
use domain::session::farewell::{Forget, Reopen};
use futures::FutureExt;
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, durable_object};

use self::records::Records;
use super::actions::Unname;
use super::customer::{ForgetUser, NOBODY};
use super::document::Document;
use super::{actions, alerts, call, encode, wake_in};
use crate::context::Context;
use crate::{clock, fault, kits, log};

/// How long the operator waits for the end before hearing how far it is.
const PATIENCE: Millis = 8_000;
/// How often it is looked whether it has come.
const GLANCE: Duration = Duration::from_millis(20);
/// When what failed is tried again; each time it has to wait for twice as long.
const FIRST_RETRY: Millis = 500;
const LONGEST_RETRY: Millis = 60_000;
/// Nothing that was on its way to D1 before the end arrives later than this after it.
const STRAGGLING: Millis = 60_000;

/// Has a person forgotten. The reply says how far it is: to the end, or as far as it came in a few
/// seconds.
#[derive(Serialize, Deserialize)]
pub struct Part {
    /// The person.
    pub user_id: UserId,
    /// The request that wants it.
    pub request_id: String,
    /// When it came.
    pub at: Millis,
}

/// The object of one leaving.
#[durable_object(alarm)]
pub struct Farewell {
    state: State,
    context: Context,
    document: Document,
    /// How far it is; `None` until it has been read. Never borrowed across an `await`.
    leaving: RefCell<Option<Leaving>>,
    /// How often in a row the alarm has failed.
    failures: Cell<u32>,
}

// What is in memory is what was written, at every moment.
impl UnwindSafe for Farewell {}
impl RefUnwindSafe for Farewell {}

impl DurableObject for Farewell {
    fn new(state: State, env: Env) -> Self {
        let document = Document::new(state.storage().sql(), "leaving");
        let context = Context::new(env);
        Self { state, context, document, leaving: RefCell::default(), failures: Cell::default() }
    }

    /// Objects are called by `receive`.
    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::error("Not Found", 404)
    }

    /// Goes on with what is to be done. It doesn't fail: what could not be done is due again later.
    async fn alarm(&self) -> Result<Response> {
        let tended = AssertUnwindSafe(self.tend()).catch_unwind().await;
        match tended.unwrap_or_else(|_| Err("the object panicked".into())) {
            Ok(()) => self.failures.set(0),
            Err(error) => {
                log::fault("somebody is not forgotten yet", &error.to_string());
                self.leaving.take();
                let failures = self.failures.get();
                self.failures.set(failures + 1);
                wake_in(&self.state, (FIRST_RETRY << failures.min(16)).min(LONGEST_RETRY))?;
            }
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl Farewell {
    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught; the memory is read anew then.
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let answer = AssertUnwindSafe(self.answer(&message)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| Err("the object panicked".into()));
        answer.map_err(|error| {
            self.leaving.take();
            JsValue::from(error)
        })
    }
}

impl Farewell {
    async fn answer(&self, message: &str) -> Result<String> {
        let Part { user_id, request_id, at } = serde_json::from_str(message)?;
        if self.read()?.is_none_or(|leaving| !leaving.is_under_way()) {
            self.write(Leaving::wanted(user_id, request_id, at))?;
            wake_in(&self.state, 0)?;
        }
        let patient_until = clock::reading() + PATIENCE;
        loop {
            Delay::from(GLANCE).await;
            let leaving = self.read()?.ok_or("the leaving was over before it was told")?;
            if !leaving.is_under_way() || clock::reading() > patient_until {
                return encode::<Part>(&leaving);
            }
        }
    }

    /// What the alarm is for.
    async fn tend(&self) -> Result<()> {
        while let Some(leaving) = self.read()? {
            if leaving.step == Step::Done {
                return self.end(leaving).await;
            }
            let (leaving, request_id) = (self.advance(leaving.clone()).await?, leaving.request_id);
            let step = leaving.step;
            self.write(leaving)?;
            if step == Step::Done {
                wake_in(&self.state, STRAGGLING)?;
                break;
            }
            fault::linger(&request_id, place(step)).await;
        }
        Ok(())
    }

    /// Does the next step.
    async fn advance(&self, mut leaving: Leaving) -> Result<Leaving> {
        let user_id = leaving.user_id.as_str();
        let records = Records { context: &self.context, user_id };
        match leaving.step {
            Step::Wanted => {
                leaving.farewell =
                    call(&self.context, user_id, Forget {}).await.map_err(unreachable)?;
                leaving.step = Step::Closed;
            }
            Step::Closed => {
                let (customers, paying) = self.tell_customers(&leaving).await?;
                let kits = kits::of(&self.context, &leaving.user_id).await?.len() as u64;
                let counted = Counted { kits, ..records.count(&leaving.farewell).await? };
                (leaving.customers, leaving.paying, leaving.counted) = (customers, paying, counted);
                leaving.step = Step::Told;
            }
            Step::Told => {
                let unname = Unname { user_id: user_id.to_owned() };
                call(&self.context, actions::NAME, unname).await.map_err(unreachable)?;
                records.sweep(&leaving.farewell.outbox).await?;
                kits::delete_of(&self.context, &leaving.user_id, Millis::MAX).await?;
                // Written before the USER_ID is free: what is of a later moment is somebody else's.
                (leaving.at, leaving.step) = (clock::reading(), Step::Swept);
            }
            Step::Swept => {
                call(&self.context, user_id, Reopen {}).await.map_err(unreachable)?;
                // It may be waiting for rows that come no more.
                let nothing_waits = Notice::Rows(user_id.to_owned(), false);
                alerts::notice(&self.context, nothing_waits).await;
                leaving.step = Step::Done;
            }
            Step::Done => {}
        }
        Ok(leaving)
    }

    /// Tells all of Stripe's customers that know the user. Which those are, and what of theirs goes on
    /// being paid for.
    async fn tell_customers(&self, leaving: &Leaving) -> Result<(Vec<String>, Vec<String>)> {
        let Leaving { user_id, at, farewell, .. } = leaving;
        let records = Records { context: &self.context, user_id: user_id.as_str() };
        let known = records.customers().await?.into_iter().chain(farewell.customers.clone());
        let known: BTreeSet<String> = known.collect();
        let mut paying: BTreeSet<String> = farewell.paying.iter().cloned().collect();
        for customer in known.iter().map(String::as_str).chain([NOBODY]) {
            let forget = ForgetUser { user_id: user_id.clone(), at: *at };
            let told = call(&self.context, customer, forget).await;
            paying.extend(told.map_err(unreachable)?);
        }
        Ok((known.into_iter().collect(), paying.into_iter().collect()))
    }

    /// Looks for what came late, and leaves nothing of its own.
    async fn end(&self, leaving: Leaving) -> Result<()> {
        let Leaving { user_id, request_id, at, .. } = leaving;
        let records = Records { context: &self.context, user_id: user_id.as_str() };
        records.sweep_late(at).await?;
        kits::delete_of(&self.context, &user_id, at).await?;
        // Another may have begun meanwhile.
        if self.read()?.is_none_or(|now| now.request_id != request_id) {
            return Ok(());
        }
        self.leaving.take();
        self.document.forget();
        self.state.storage().delete_all().await
    }

    fn read(&self) -> Result<Option<Leaving>> {
        let mut held = self.leaving.borrow_mut();
        if held.is_none() {
            *held = self.document.load()?;
        }
        Ok(held.clone())
    }

    fn write(&self, leaving: Leaving) -> Result<()> {
        self.document.save(&leaving)?;
        self.leaving.replace(Some(leaving));
        Ok(())
    }
}

/// Where a test may have it wait, once a step is done.
const fn place(step: Step) -> &'static str {
    match step {
        Step::Closed => "slow-farewell-closed",
        Step::Told => "slow-farewell-told",
        Step::Swept => "slow-farewell-swept",
        Step::Wanted | Step::Done => "",
    }
}

fn unreachable(_: crate::error::Error) -> &'static str {
    "an object could not be reached"
}
