//! One user's object: the shell around [`domain::session::Session`].
//!
//! A message is decided and written in [`UserSession::turn`], one stretch without `await`: the
//! runtime commits what a turn wrote as one transaction, and holds the reply until it is durable.
//! The object awaits in two places only, each after a turn: while D1 takes a batch, and while the
//! provider of Codex tokens answers.

mod codex;
mod farewell;
mod outbox;
mod store;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use domain::clock::Millis;
use domain::entry::Entry;
use domain::identifiers::ANONYMOUS;
use domain::session::codex::messages::{
    BeginSignIn, ForgetTokens, FreshToken, KeepTokens, TellSignIn,
};
use domain::session::farewell::{Forget, Reopen, TellPaying};
use domain::session::messages::{
    AddKey, Admission, Admit, Bind, CountRefusals, Describe, Entitle, Flush, Permit, Prove,
    Remember, RemoveProject, Renew, Repair, SessionMessage, SetTier, Settle, TellMonth,
};
use domain::session::onboarding::{Claim, Enroll, IssueCode};
use domain::session::return_path::messages::{Draw, KeepHandle, Spent};
use domain::session::view::View;
use domain::session::{Change, Limits, Session};
use domain::settings::Settings;
use domain::window::{MINUTE, Rate};
use futures::FutureExt;
use futures::future::{Either, select};
use wasm_bindgen::prelude::*;
use worker::{Delay, DurableObject, Env, Request, Response, Result, State, durable_object};

use self::codex::Refreshing;
use self::store::Store;
use super::{encode, wake_in};
use crate::context::Context;
use crate::{clock, fault, log};

/// The alarm is being seen to: it sets the next one itself when it is through.
const BEING_TENDED: Millis = Millis::MIN;
/// How late it may be.
const OVERDUE: Millis = 60_000;

/// How often rows are sent to D1 while a sign-in is being polled for.
const FLUSHING: Duration = Duration::from_millis(500);

/// The object of one USER_ID.
#[durable_object(alarm)]
pub struct UserSession {
    state: State,
    context: Context,
    store: Store,
    /// What is known of the user; `None` until it has been read, or after it could not be written.
    /// Never borrowed across an `await`.
    session: RefCell<Option<Session>>,
    /// When the alarm is set for, as far as this instance knows.
    alarm: Cell<Option<Millis>>,
    /// Those who wait for the refresh that is under way. Not thrown away with the memory: a second
    /// refresh beside it would show a refresh token that the first has spent.
    refreshing: Refreshing,
    /// Counts those who were forgotten here: what began with one is nothing to whoever comes next.
    forgotten: Cell<u64>,
}

// A panic leaves `session` empty (see `receive`), and the rest is whole at every moment.
impl UnwindSafe for UserSession {}
impl RefUnwindSafe for UserSession {}

impl DurableObject for UserSession {
    fn new(state: State, env: Env) -> Self {
        let store = Store::new(state.storage().sql(), state.id().name());
        Self {
            state,
            context: Context::new(env),
            store,
            session: RefCell::default(),
            alarm: Cell::default(),
            refreshing: Refreshing::default(),
            forgotten: Cell::default(),
        }
    }

    /// Objects are called by `receive`.
    async fn fetch(&self, _request: Request) -> Result<Response> {
        Response::error("Not Found", 404)
    }

    /// Ends leases of which nothing was heard, sends rows to D1, and polls for a sign-in. It doesn't
    /// fail: what could not be done is due again later.
    async fn alarm(&self) -> Result<Response> {
        self.alarm.set(Some(BEING_TENDED));
        let ended = AssertUnwindSafe(self.tend()).catch_unwind().await;
        self.alarm.set(None);
        let ended = ended.unwrap_or_else(|_| Err("the object panicked".into()));
        if let Err(error) = ended.and_then(|()| self.turn(|_, _| ((), Vec::new()))) {
            log::fault("alarm failed", &error.to_string());
            self.forget();
            // The runtime rings ten times in vain, and then never again.
            let _ = self.say_whether_rows_wait(true);
            wake_in(&self.state, 1_000)?;
        }
        Response::empty()
    }
}

#[wasm_bindgen]
impl UserSession {
    /// Takes a message and replies.
    ///
    /// # Errors
    /// Where the storage failed or a panic was caught; the memory is read anew then.
    pub async fn receive(&self, message: String) -> std::result::Result<String, JsValue> {
        let answer = AssertUnwindSafe(self.answer(&message)).catch_unwind().await;
        let answer = answer.unwrap_or_else(|_| {
            self.forget();
            Err("the object panicked".into())
        });
        answer.map_err(JsValue::from)
    }
}

impl UserSession {
    /// What the alarm is for.
    async fn tend(&self) -> Result<()> {
        self.turn(|session, now| ((), session.expire(now)))?;
        let mut polled = pin!(self.poll());
        loop {
            self.flush().await?;
            // A provider that takes its time keeps nobody's rows from D1.
            match select(polled, Delay::from(FLUSHING)).await {
                Either::Left((polled, _)) => return polled,
                Either::Right(((), still_polling)) => polled = still_polling,
            }
        }
    }

    async fn answer(&self, message: &str) -> Result<String> {
        let message = serde_json::from_str(message)?;
        if let Some(reply) = self.reply_if_closed(&message)? {
            return Ok(reply);
        }
        match message {
            SessionMessage::Admit(message) => encode::<Admit>(&self.admit(message).await?),
            SessionMessage::CountRefusals(CountRefusals(refusals)) => {
                encode::<CountRefusals>(&self.count(refusals)?)
            }
            SessionMessage::Settle(message) => {
                encode::<Settle>(&self.turn(|session, now| session.settle(message, now))?)
            }
            SessionMessage::Renew(message) => {
                encode::<Renew>(&self.turn(|session, now| session.renew(&message.request_id, now))?)
            }
            SessionMessage::Remember(message) => {
                encode::<Remember>(&self.turn(|session, now| session.remember(message, now))?)
            }
            SessionMessage::Prove(Prove(shown)) => {
                let settings = self.settings()?;
                let prove = |session: &mut Session, now| {
                    (session.prove(&shown, limits(&settings), now), Vec::new())
                };
                encode::<Prove>(&self.turn(prove)?)
            }
            SessionMessage::Bind(message) => {
                encode::<Bind>(&self.turn(|session, _| session.bind_by_request(message))?)
            }
            SessionMessage::AddKey(AddKey(key)) => {
                encode::<AddKey>(&self.turn(|session, _| session.add_key(key))?)
            }
            SessionMessage::KeepHandle(KeepHandle(handle)) => {
                encode::<KeepHandle>(&self.turn(|session, _| session.keep_handle(handle))?)
            }
            SessionMessage::Draw(message) => {
                encode::<Draw>(&self.turn(|session, now| session.draw(message, now))?)
            }
            SessionMessage::Spent(message) => {
                encode::<Spent>(&self.turn(|session, now| session.spend(&message, now))?)
            }
            SessionMessage::IssueCode(message) => {
                encode::<IssueCode>(&self.turn(|session, _| session.issue_code(message))?)
            }
            SessionMessage::Claim(message) => {
                encode::<Claim>(&self.turn(|session, now| session.claim(message, now))?)
            }
            SessionMessage::Enroll(message) => {
                encode::<Enroll>(&self.turn(|session, _| session.enroll(message))?)
            }
            SessionMessage::Describe(Describe {}) => encode::<Describe>(&self.describe()?),
            SessionMessage::Repair(repair) => {
                encode::<Repair>(&self.turn(|session, now| session.repair(&repair, now))?)
            }
            SessionMessage::KeepTokens(KeepTokens(tokens)) => {
                encode::<KeepTokens>(&self.turn(|session, _| session.keep_tokens(tokens))?)
            }
            SessionMessage::ForgetTokens(ForgetTokens {}) => {
                encode::<ForgetTokens>(&self.turn(|session, _| session.forget_tokens())?)
            }
            SessionMessage::FreshToken(message) => {
                encode::<FreshToken>(&self.fresh_token(message).await?)
            }
            SessionMessage::BeginSignIn(BeginSignIn { user_id }) => {
                encode::<BeginSignIn>(&self.begin_sign_in(user_id).await?)
            }
            SessionMessage::TellSignIn(TellSignIn { id }) => {
                encode::<TellSignIn>(&self.tell_sign_in(&id)?)
            }
            SessionMessage::Entitle(message) => {
                // Everyone speaks for `anonymous`: with a tier nobody could any more.
                let is_everyone = self.state.id().name().as_deref() == Some(ANONYMOUS);
                let entitle = |session: &mut Session, _| {
                    if is_everyone { (false, Vec::new()) } else { session.entitle(message) }
                };
                encode::<Entitle>(&self.turn(entitle)?)
            }
            SessionMessage::Flush(Flush {}) => encode::<Flush>(&self.send_all().await?),
            SessionMessage::TellMonth(TellMonth { month }) => {
                encode::<TellMonth>(&self.tell_month(month).await?)
            }
            SessionMessage::RemoveProject(RemoveProject(project)) => {
                let remove = |session: &mut Session, _| session.remove_project(&project);
                encode::<RemoveProject>(&self.turn(remove)?)
            }
            SessionMessage::SetTier(message) => {
                encode::<SetTier>(&self.turn(|session, now| session.set_tier(&message, now))?)
            }
            SessionMessage::TellPaying(TellPaying {}) => {
                encode::<TellPaying>(&self.turn(|session, _| (session.paying(), Vec::new()))?)
            }
            SessionMessage::Forget(Forget {}) => encode::<Forget>(&self.forget_person()?),
            SessionMessage::Reopen(Reopen {}) => encode::<Reopen>(&self.reopen().await?),
        }
    }

    async fn admit(&self, message: Admit) -> Result<Admission> {
        fault::strike(&message.entry.request_id, "panic-object");
        fault::linger(&message.entry.request_id, "slow-object").await;
        let settings = self.settings()?;
        let user_id = message.entry.user_id.clone();
        let mut admission =
            self.turn(|session, now| session.admit(message, limits(&settings), now))?;
        if let Admission::Admitted(Permit { token: Some(token), .. }) = &mut admission {
            self.reseal(&user_id, token)?;
        }
        Ok(admission)
    }

    fn describe(&self) -> Result<View> {
        let (settings, rows) = (self.settings()?, self.store.view()?);
        self.turn(|session, now| (session.describe(limits(&settings), rows, now), Vec::new()))
    }

    fn count(&self, refusals: Entry) -> Result<()> {
        let slots = self.turn(|session, _| (session.journal().foldable(), Vec::new()))?;
        let old = self.store.entries(&slots)?;
        self.turn(|session, now| session.count_refusals(refusals, (slots, old), now))
    }

    /// One decision: reads the state if need be, decides, writes, and sets the alarm.
    fn turn<R>(&self, decide: impl FnOnce(&mut Session, Millis) -> (R, Vec<Change>)) -> Result<R> {
        let turn = || {
            let mut held = self.session.borrow_mut();
            let now = clock::reading();
            if held.is_none() {
                let (session, changes) = Session::restore(self.store.load()?, now);
                self.apply(changes)?;
                *held = Some(session);
            }
            let session = held.as_mut().ok_or("the session was not read")?;
            let moved = session.observe(now);
            if !moved.is_empty() {
                // The alarm was set by the clock as it was.
                self.alarm.take();
                self.apply(moved)?;
            }
            let (reply, changes) = decide(session, now);
            self.apply(changes)?;
            // Without settings nobody is admitted either; there is nothing new to be shown.
            if let Ok(settings) = self.settings() {
                self.apply(session.reflect(limits(&settings), now))?;
            }
            if let Some(wake) = session.next_wake() {
                self.wake_at(wake, now)?;
            }
            Ok(reply)
        };
        turn().inspect_err(|_| self.forget())
    }

    fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Result<()> {
        changes.into_iter().try_for_each(|change| self.store.apply(change))
    }

    /// Throws the memory away: the disk is right.
    fn forget(&self) {
        self.session.take();
        self.alarm.take();
    }

    /// Has the alarm ring at `wake`, unless it rings before.
    fn wake_at(&self, wake: Millis, now: Millis) -> Result<()> {
        // One that should have rung long ago may never ring.
        let rings_before =
            |alarm| alarm == BEING_TENDED || (now - OVERDUE < alarm && alarm <= wake);
        if self.alarm.get().is_some_and(rings_before) {
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

/// What the settings allow a user.
fn limits(settings: &Settings) -> Limits<'_> {
    Limits {
        binding: settings.user_binding,
        rate: Rate { limit: settings.requests_per_minute, window: MINUTE },
        in_flight: usize::try_from(settings.max_in_flight).unwrap_or(usize::MAX),
        needs_token: settings.sends_codex_tokens(),
        rules: &settings.billing.rules,
        upstreams: &settings.upstreams,
    }
}
