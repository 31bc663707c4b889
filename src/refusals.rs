//! Refusals of users who are refused again and again: counted together, and remembered.
//!
//! What is remembered answers in two places. A request that is the same as one before, by all that a
//! refusal depends on, is answered before anything else is read of it ([`Held::repeated`]); any other of
//! that user's, once it is known who asks for what ([`remembered`]).

use std::cell::{Cell, RefCell};
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::rc::Rc;
use std::time::Duration;

use domain::clock::{Millis, sql_text};
use domain::endpoint::{Endpoint, Protocol};
use domain::entry::Entry;
use domain::fingerprint::Fingerprint;
use domain::floods::Floods;
use domain::identity::Caller;
use domain::session::messages::{Admit, CountRefusals, Refusal};
use js_sys::Promise;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use web_sys::Request;
use worker::{Delay, Env};

use crate::context::{Context, random_id};
use crate::error::{Error, Terms};
use crate::headers::HeaderList;
use crate::objects::call;
use crate::reply::Reply;
use crate::{clock, log, reply};

/// How long refusals wait for others, to be one row rather than one each, in milliseconds. They are
/// answered once that row is durable.
const GATHERING: u32 = 250;

/// How long one waits until it is, in milliseconds.
const PATIENCE: Millis = 30_000;

/// How many requests are known again.
const KNOWN: usize = 256;

thread_local! {
    static FLOODS: RefCell<Floods> = RefCell::default();
    static REPEATED: RefCell<Vec<(Fingerprint, Rc<Known>)>> = RefCell::default();
    static GATHERED: RefCell<Vec<Gathered>> = RefCell::default();
}

/// What is known of a request that was refused from memory: all that its answer and its row say, but for
/// times and names.
pub struct Known {
    /// Who asked.
    pub caller: Caller,
    /// For which project.
    pub project: String,
    /// Its row.
    pub row: Entry,
    /// What the refusal says besides its reason.
    pub terms: Terms,
    /// The headers that any answer to it has.
    pub dress: HeaderList,
}

/// Refusals of a user, and of a kind, that no object has been told of.
struct Gathered {
    /// The row of the first, with the number of all.
    row: Entry,
    fate: Rc<Cell<Fate>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Gathering,
    OnTheWay,
    Counted,
    Lost,
}

/// What the user's object would reply now, where that is known without asking it.
pub fn remembered(caller: &Caller, project: &str) -> Option<Refusal> {
    FLOODS.with_borrow(|floods| {
        floods.recall(&caller.user_id, &caller.shown, project, clock::reading())
    })
}

/// Remembers what the object replied that was asked `since` then.
pub fn remember(message: &Admit, refusal: &Refusal, since: Millis) {
    FLOODS.with_borrow_mut(|floods| floods.remember(message, refusal, since));
}

/// Knows a request again for as long as its refusal is remembered.
pub fn know(request: &Request, known: Known) {
    let is_remembered = |known: &Known| remembered(&known.caller, &known.project).is_some();
    if !is_remembered(&known) {
        return;
    }
    let marks = Fingerprint::of(&marks(request));
    REPEATED.with_borrow_mut(|repeated| {
        repeated.retain(|(other, known)| *other != marks && is_remembered(known));
        if repeated.len() < KNOWN {
            repeated.push((marks, Rc::new(known)));
        }
    });
}

/// The answer to a refusal.
pub fn answer(refusal: &Refusal, error: &Error) -> Reply {
    let mut reply = reply::error(error);
    if let Some(standing) = refusal.standing {
        reply.stand(standing);
    }
    reply
}

/// Has a refusal counted, with those that come at the same time, and waits until it is. They have one
/// line in the log together.
///
/// # Errors
/// [`Error::Internal`] where it could not be.
pub async fn count(context: &Context, row: Entry) -> Result<(), Error> {
    let fate = join(context, row);
    let since = clock::reading();
    let (context, protocol) = (context.clone(), Protocol::Other);
    let refusal = Held { context, fate: Rc::clone(&fate), since, reply: None, protocol };
    let counted = JsFuture::from(held(refusal, GATHERING)).await;
    counted.map(drop).ok().filter(|()| fate.get() == Fate::Counted).ok_or(Error::Internal)
}

/// A refusal that waits for others, and to be counted with them. `boundary.js` has it meanwhile.
///
/// In this runtime no request can wait for another's timer or call. So each waits by its own clock, and
/// the first whose time is up tells of all.
#[wasm_bindgen]
pub struct Held {
    context: Context,
    fate: Rc<Cell<Fate>>,
    since: Millis,
    /// Its answer, where nobody else has it.
    reply: Option<Reply>,
    /// The protocol that its client speaks.
    protocol: Protocol,
}

// After a panic nothing is asked of it but its end.
impl UnwindSafe for Held {}
impl RefUnwindSafe for Held {}

#[wasm_bindgen]
impl Held {
    /// A promise of the answer to a request that is the same as one before which was refused; nothing where
    /// it isn't known what that would be now.
    pub fn repeated(request: &Request, env: JsValue, event: JsValue) -> Option<Promise> {
        if REPEATED.with_borrow(Vec::is_empty) {
            return None;
        }
        let marks = Fingerprint::of(&marks(request));
        let known = REPEATED.with_borrow(|repeated| {
            let found = repeated.iter().find(|(of_another, _)| *of_another == marks);
            found.map(|(_, known)| Rc::clone(known))
        })?;
        let Some(refusal) = remembered(&known.caller, &known.project) else {
            REPEATED.with_borrow_mut(|repeated| repeated.retain(|(other, _)| *other != marks));
            return None;
        };
        let event = worker::Context::new(event.unchecked_into());
        let context = Context::new(env.unchecked_into::<Env>()).within(event);
        let (request_id, since) = (format!("req_{}", random_id()), clock::reading());
        let error = Error::refused(&refusal.reason, known.terms.clone());
        let mut reply = answer(&refusal, &error);
        for (name, value) in known.dress.iter() {
            reply.set(name, value);
        }
        reply.set("x-request-id", &request_id);
        let row = Entry { request_id, created_at: sql_text(since), ..known.row.clone() };
        let protocol = Endpoint::of("POST", &row.endpoint).protocol;
        let fate = join(&context, row);
        Some(held(Self { context, fate, since, reply: Some(reply), protocol }, GATHERING))
    }

    /// Tells of the refusals that share its fate, unless somebody else has, whatever becomes of the client.
    pub fn tell(&self) {
        tell(&self.context, &self.fate);
    }

    /// Whether somebody else is still telling of it.
    pub fn is_waiting(&self) -> bool {
        let is_waiting = matches!(self.fate.get(), Fate::Gathering | Fate::OnTheWay);
        is_waiting && (0..PATIENCE).contains(&(clock::reading() - self.since))
    }

    /// What its client is told, where that is known here.
    pub fn answer(self) -> JsValue {
        let Some(reply) = self.reply else { return JsValue::UNDEFINED };
        let is_counted = self.fate.get() == Fate::Counted;
        let reply = if is_counted { reply } else { reply::error(&Error::Internal) };
        reply.into_response(self.protocol).into()
    }
}

fn tell(context: &Context, fate: &Rc<Cell<Fate>>) {
    let Some(row) = take(fate) else { return };
    fate.set(Fate::OnTheWay);
    let (context_of_task, fate) = (context.clone(), Rc::clone(fate));
    context.wait_until(async move {
        let user_id = row.user_id.clone();
        let told = call(&context_of_task, user_id.as_str(), CountRefusals(row.clone())).await;
        log::event("request", &row);
        fate.set(if told.is_ok() { Fate::Counted } else { Fate::Lost });
    });
}

/// Puts a refusal to others of its user and kind. Should all their clients leave, they are still told of.
fn join(context: &Context, refusal: Entry) -> Rc<Cell<Fate>> {
    let (fate, is_first) = gather(refusal);
    if is_first {
        let (context_of_task, fate) = (context.clone(), Rc::clone(&fate));
        context.wait_until(async move {
            Delay::from(Duration::from_millis(GATHERING.into())).await;
            tell(&context_of_task, &fate);
        });
    }
    fate
}

fn gather(refusal: Entry) -> (Rc<Cell<Fate>>, bool) {
    GATHERED.with_borrow_mut(|gathered| {
        let is_alike = |it: &&mut Gathered| {
            it.row.user_id == refusal.user_id
                && it.row.outcome.error_code == refusal.outcome.error_code
        };
        if let Some(alike) = gathered.iter_mut().find(is_alike) {
            alike.row.count = alike.row.count.saturating_add(refusal.count);
            return (Rc::clone(&alike.fate), false);
        }
        let fate = Rc::new(Cell::new(Fate::Gathering));
        gathered.push(Gathered { row: refusal, fate: Rc::clone(&fate) });
        (fate, true)
    })
}

/// The row of the refusals that share this fate; none where somebody else has taken it.
fn take(fate: &Rc<Cell<Fate>>) -> Option<Entry> {
    GATHERED.with_borrow_mut(|gathered| {
        let place = gathered.iter().position(|it| Rc::ptr_eq(&it.fate, fate))?;
        Some(gathered.swap_remove(place).row)
    })
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    fn marks(request: &Request) -> String;
    fn held(refusal: Held, time: u32) -> Promise;
}
