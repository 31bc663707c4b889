//! Refusals of users who are refused again and again: counted together, and remembered.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use domain::clock::Millis;
use domain::entry::Entry;
use domain::floods::Floods;
use domain::identity::Caller;
use domain::session::messages::{Admit, CountRefusals, Refusal};
use worker::Delay;

use crate::context::Context;
use crate::error::Error;
use crate::objects::call;
use crate::{clock, log};

/// How long refusals wait for others, to be one row rather than one each. They are answered once that
/// row is durable.
const GATHERING: Duration = Duration::from_millis(250);

/// How often it is looked whether somebody else has told of a refusal, and how many times at most.
const GLANCE: Duration = Duration::from_millis(10);
const GLANCES: u32 = 500;

thread_local! {
    static FLOODS: RefCell<Floods> = RefCell::default();
    static GATHERED: RefCell<Vec<Gathered>> = RefCell::default();
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

/// Has a refusal counted, with those that come at the same time, and waits until it is. They have one
/// line in the log together.
///
/// In this runtime no request can wait for another's timer or call. So each waits by its own clock, and
/// the first whose time is up tells of all.
///
/// # Errors
/// [`Error::Internal`] where it could not be.
pub async fn count(context: &Context, refusal: Entry) -> Result<(), Error> {
    let (fate, is_first) = join(refusal);
    if is_first {
        // Should all these clients leave, it is still told.
        let (context_of_task, fate) = (context.clone(), Rc::clone(&fate));
        context.wait_until(async move {
            Delay::from(GATHERING).await;
            tell(&context_of_task, fate);
        });
    }
    Delay::from(GATHERING).await;
    tell(context, Rc::clone(&fate));
    for _ in 0..GLANCES {
        match fate.get() {
            Fate::Counted => return Ok(()),
            Fate::Lost => break,
            Fate::Gathering | Fate::OnTheWay => Delay::from(GLANCE).await,
        }
    }
    Err(Error::Internal)
}

/// Tells of the refusals that share this fate, unless somebody else has, whatever becomes of the client.
fn tell(context: &Context, fate: Rc<Cell<Fate>>) {
    let Some(row) = take(&fate) else { return };
    fate.set(Fate::OnTheWay);
    let context_of_task = context.clone();
    context.wait_until(async move {
        let user_id = row.user_id.clone();
        let told = call(&context_of_task, user_id.as_str(), CountRefusals(row.clone())).await;
        log::event("request", &row);
        fate.set(if told.is_ok() { Fate::Counted } else { Fate::Lost });
    });
}

/// Puts a refusal to others of its user and kind, and says whether it is the first of them.
fn join(refusal: Entry) -> (Rc<Cell<Fate>>, bool) {
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
