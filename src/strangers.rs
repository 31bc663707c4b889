//! Looking people up costs an object each, and a stranger can make up any number of names. So each
//! address may have a few looked up a minute who show no gateway key and whom this isolate doesn't know;
//! after these its counter is asked first (`guessing`), and nobody is looked up for an address over it.
//!
//! Who has proven to be a user here is known for a while, and never waits for strangers of that address.

use std::cell::RefCell;
use std::collections::BTreeMap;

use domain::clock::Millis;
use domain::identifiers::UserId;
use domain::identity::Caller;
use domain::session::access::Shown;
use domain::settings::{Settings, UserBinding};
use domain::window::MINUTE;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::{clock, guessing};

/// Look-ups a minute of an address beyond what its counter allows it.
const SPARE: u32 = 8;

/// How long somebody is known.
const KNOWN_FOR: Millis = 10 * MINUTE;

/// How many people are known, and of how many addresses look-ups are counted: some 200 KB each.
const MOST: usize = 2_000;

thread_local! {
    static KNOWN: RefCell<BTreeMap<UserId, (Shown, Millis)>> = const { RefCell::new(BTreeMap::new()) };
    static LOOKUPS: RefCell<BTreeMap<String, (Millis, u32)>> = const { RefCell::new(BTreeMap::new()) };
}

/// Notes that a caller has proven to be the user.
pub fn note(caller: &Caller) {
    let now = clock::reading();
    KNOWN.with_borrow_mut(|known| {
        let is_fresh = |(shown, until): &(Shown, Millis)| {
            *shown == caller.shown && (KNOWN_FOR / 2..=KNOWN_FOR).contains(&(*until - now))
        };
        if known.get(&caller.user_id).is_some_and(is_fresh) {
            return;
        }
        if known.len() >= MOST {
            known.retain(|_, (_, until)| *until > now);
        }
        if known.len() < MOST || known.contains_key(&caller.user_id) {
            known.insert(caller.user_id.clone(), (caller.shown.clone(), now + KNOWN_FOR));
        }
    });
}

/// Lets a caller be looked up: at once, or after its address was asked, and counted there. Says whether
/// that was needed.
///
/// # Errors
/// [`Error::TooManyAttempts`].
pub async fn pass(caller: &Caller, incoming: &Incoming, context: &Context) -> Result<bool, Error> {
    let settings = context.settings()?;
    let is_believed = settings.user_binding == UserBinding::Open;
    // A key that is shown is always checked. Everybody who names nobody shares one object.
    let is_checked = !caller.shown.keys.is_empty() || caller.user_id.is_anonymous();
    if is_believed || is_checked || may_look_up(caller, incoming, &settings) {
        return Ok(false);
    }
    guessing::vouch(incoming, context).await?;
    Ok(true)
}

fn may_look_up(caller: &Caller, incoming: &Incoming, settings: &Settings) -> bool {
    let now = clock::reading();
    let is_known = KNOWN.with_borrow(|known| {
        let known = known.get(&caller.user_id);
        known.is_some_and(|(shown, until)| *shown == caller.shown && *until > now)
    });
    let limit = settings.unproven_per_minute.saturating_add(SPARE);
    is_known || takes_a_place(&incoming.network(), limit, now)
}

fn takes_a_place(address: &str, limit: u32, now: Millis) -> bool {
    LOOKUPS.with_borrow_mut(|lookups| {
        lookups.retain(|_, (since, _)| (0..MINUTE).contains(&(now - *since)));
        if lookups.len() >= MOST && !lookups.contains_key(address) {
            return false;
        }
        let (_, count) = lookups.entry(address.to_owned()).or_insert((now, 0));
        *count = count.saturating_add(1);
        *count <= limit
    })
}
