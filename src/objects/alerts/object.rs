//! The shell around [`domain::alerts::Alerts`].
//!
//! A message is noted, and that is all; the looking and the telling is the alarm's, one after the
//! other. So no receiver hears two things at once, and what was begun when the object died is done
//! again.

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::rc::Rc;

use domain::alerts::{Alerts as Rules, D1, Notice};
use domain::clock::Millis;
use domain::settings::Settings;
use futures::FutureExt;
use wasm_bindgen::prelude::*;
use worker::worker_sys::DurableObjectState;
use worker::{Env, Result, State};

use super::super::document::Document;
use super::super::{encode, wake_in};
use crate::context::Context;
use crate::{clock, log};

/// When the alarm rings again that failed.
const RETRY: Millis = 1_000;
/// How late it may be.
const OVERDUE: Millis = 5_000;

/// The object that tells the operator.
#[wasm_bindgen]
pub struct Alerts {
    state: State,
    pub(super) context: Context,
    document: Document,
    /// What is known; `None` until it has been read, or after it could not be written. Never borrowed
    /// across an `await`.
    rules: RefCell<Option<Rules>>,
    /// When the alarm is set for, as far as this instance knows.
    alarm: Cell<Option<Millis>>,
    /// Whether it is being seen to; it sets the next one itself when it is through.
    is_tending: Cell<bool>,
}

// A panic leaves `rules` empty (see `receive`), and the rest is whole at every moment.
impl UnwindSafe for Alerts {}
impl RefUnwindSafe for Alerts {}

// Without the macro for objects: it would add a `fetch` that nobody calls.
#[wasm_bindgen]
impl Alerts {
    /// Opens the object; nothing is read yet.
    #[wasm_bindgen(constructor)]
    pub fn new(state: DurableObjectState, env: Env) -> Self {
        let state = State::from(state);
        let document = Document::new(state.storage().sql(), "alerts");
        let (rules, alarm, is_tending) = Default::default();
        Self { state, context: Context::new(env), document, rules, alarm, is_tending }
    }

    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught; the memory is read anew then.
    pub fn receive(&self, message: &str) -> std::result::Result<String, JsValue> {
        let answer = std::panic::catch_unwind(AssertUnwindSafe(|| self.answer(message)));
        let answer = answer.unwrap_or_else(|_| Err("the object panicked".into()));
        answer.map_err(|error| {
            self.forget();
            JsValue::from(error)
        })
    }

    /// Looks at what is to be looked at, and tells what is to be told. What could not be done is due
    /// again later.
    ///
    /// # Errors
    /// Where the alarm can't be set; the runtime rings again then.
    pub async fn alarm(&self) -> std::result::Result<(), JsValue> {
        self.is_tending.set(true);
        let tended = AssertUnwindSafe(self.tend()).catch_unwind().await;
        self.is_tending.set(false);
        self.alarm.set(None);
        let tended = tended.unwrap_or_else(|_| Err("the object panicked".into()));
        if let Err(error) = tended.and_then(|()| self.turn(Rules::prune)) {
            log::fault("alarm of the alerts failed", &error.to_string());
            self.forget();
            wake_in(&self.state, RETRY)?;
        }
        Ok(())
    }
}

impl Alerts {
    fn answer(&self, message: &str) -> Result<String> {
        let notice: Notice = serde_json::from_str(message)?;
        let settings = self.settings()?;
        self.turn(|rules, now| match &notice {
            Notice::Minute => rules.minute(&names(&settings)),
            Notice::Failed(upstream, requests) => rules.failed(upstream, *requests, now),
            Notice::Rows(user_id, wait) => rules.rows(user_id, *wait, now),
        })?;
        encode::<Notice>(&())
    }

    /// What the alarm is for.
    async fn tend(&self) -> Result<()> {
        let settings = self.settings()?;
        let due = self.turn(|rules, now| rules.due_looks(&names(&settings), now))?;
        let looks = self.look(&due, &settings).await?;
        self.tell(&settings).await?;
        if !due.is_empty() {
            let problem = self.write(&looks).await?;
            if due.iter().any(|subject| subject == D1) {
                self.turn(|rules, now| rules.looked(D1, problem, now))?;
                self.tell(&settings).await?;
            }
        }
        self.turn(|rules, _| rules.minute_is_over())
    }

    /// One decision: what it changes is written, and the alarm is set for what follows from it.
    pub(super) fn turn<R>(&self, decide: impl FnOnce(&mut Rules, Millis) -> R) -> Result<R> {
        let (mut decide, mut decided) = (Some(decide), None);
        // What all decisions have in common isn't compiled once for each.
        self.decide(&mut |rules, now| decided = decide.take().map(|decide| decide(rules, now)))?;
        decided.ok_or_else(|| "nothing was decided".into())
    }

    fn decide(&self, decide: &mut dyn FnMut(&mut Rules, Millis)) -> Result<()> {
        let mut turn = || {
            let mut held = self.rules.borrow_mut();
            let rules = match &mut *held {
                Some(rules) => rules,
                None => held.insert(self.document.load()?),
            };
            let now = clock::reading();
            let before = serde_json::to_string(&*rules)?;
            decide(rules, now);
            let after = serde_json::to_string(&*rules)?;
            if after != before {
                self.document.write(after)?;
            }
            let has_receiver = self.settings()?.alert_webhook_url.is_some();
            rules.next_wake(has_receiver, now).map_or(Ok(()), |wake| self.wake_at(wake, now))
        };
        turn().inspect_err(|_: &worker::Error| self.forget())
    }

    /// Throws the memory away: the disk is right.
    fn forget(&self) {
        self.rules.take();
        self.alarm.take();
    }

    /// Has the alarm ring at `wake`, unless it rings before.
    fn wake_at(&self, wake: Millis, now: Millis) -> Result<()> {
        // One that should have rung long ago was set before the clock leapt.
        let rings_before = |alarm| now - OVERDUE < alarm && alarm <= wake;
        if self.is_tending.get() || self.alarm.get().is_some_and(rings_before) {
            return Ok(());
        }
        wake_in(&self.state, (wake - now).max(0))?;
        self.alarm.set(Some(wake));
        Ok(())
    }

    fn settings(&self) -> Result<Rc<Settings>> {
        Ok(self.context.settings().map_err(|error| error.to_string())?)
    }
}

/// The names of the upstreams.
fn names(settings: &Settings) -> Vec<&str> {
    settings.upstreams.iter().map(|upstream| upstream.name.as_ref()).collect()
}
