//! The users of a check: made before it with a gateway key each, and forgotten afterwards.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use domain::secret::Secret;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use ureq::http::Method;

use super::crowd::Person;
use super::interrupt::Interrupt;
use crate::client::{Client, Question};
use crate::commands::users;
use crate::failure::{Failure, Kind};

const PREFIX: &str = "capacity-";

/// How many are made or forgotten at once.
const AT_ONCE: usize = 8;

/// How often forgetting is tried, and how long it rests in between.
const ATTEMPTS: u32 = 3;
const REST: Duration = Duration::from_secs(1);

/// A user who couldn't be forgotten.
#[derive(Debug, Serialize)]
pub struct Left {
    /// Who.
    pub user_id: String,
    /// Why not.
    pub why: String,
}

#[derive(Deserialize)]
struct Minted {
    key: String,
}

/// What so many are called.
pub fn names(number: usize) -> Vec<String> {
    (1..=number).map(|number| format!("{PREFIX}{number:02}")).collect()
}

/// Whether a USER_ID is one that checks make.
fn is_of_a_check(user_id: &str) -> bool {
    let number = user_id.strip_prefix(PREFIX).unwrap_or_default();
    matches!(number.len(), 2 | 3) && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// Those that are there, left by a check that was cut off.
///
/// # Errors
/// What the gateway refuses.
pub fn left_behind(client: &Client) -> Result<Vec<String>, Failure> {
    let found = users::find(client, PREFIX, "user_id", u64::MAX)?;
    let names = found.iter().filter_map(|user| user.get("user_id")?.as_str());
    Ok(names.filter(|name| is_of_a_check(name)).map(str::to_owned).collect())
}

/// Makes users with a key each, and with a tier where one is named.
///
/// # Errors
/// What the gateway refuses, and an interruption; some may have been made then.
pub fn make(
    client: &Client,
    names: &[String],
    tier: Option<&str>,
    interrupt: &Interrupt,
) -> Result<Vec<Person>, Failure> {
    let people = each(names, interrupt, |name| make_one(client, name, tier));
    people.into_iter().map(|made| made.unwrap_or_else(|| Err(interrupted()))).collect()
}

/// An interruption before there is anything to tell.
pub fn interrupted() -> Failure {
    Failure::new(Kind::Failed, "It was interrupted before anything was measured.")
}

fn make_one(client: &Client, name: &str, tier: Option<&str>) -> Result<Person, Failure> {
    let path = ["operator", "api", "users", name, "keys"];
    let label = json!({ "label": "capacity check" });
    let Minted { key } = client.json(&Question::send(Method::POST, &path, &label))?;
    if let Some(tier) = tier {
        let path = ["operator", "api", "users", name, "tier"];
        client.bytes(&Question::send(Method::PUT, &path, &json!({ "tier": tier })))?;
    }
    Ok(Person { user_id: name.to_owned(), key: Secret::new(key) })
}

/// Forgets users, and says who is left.
pub fn forget(client: &Client, names: &[String], interrupt: &Interrupt) -> Vec<Left> {
    let forgotten = each(names, interrupt, |name| forget_one(client, name));
    let left = names.iter().zip(forgotten).filter_map(|(name, forgotten)| {
        let why = match forgotten {
            Some(Ok(())) => return None,
            Some(Err(failure)) => failure.message,
            None => "It was interrupted.".to_owned(),
        };
        Some(Left { user_id: name.clone(), why })
    });
    left.collect()
}

/// Done, or begun: what D1 is away for goes on by itself. Forgetting somebody twice does no harm.
fn forget_one(client: &Client, name: &str) -> Result<(), Failure> {
    let path = ["operator", "api", "users", name];
    let mut attempt = 1;
    loop {
        match client.json::<Value>(&Question::delete(&path)) {
            Err(failure) if attempt < ATTEMPTS && may_pass(&failure) => {
                std::thread::sleep(REST);
                attempt += 1;
            }
            forgotten => return forgotten.map(drop),
        }
    }
}

fn may_pass(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::Busy | Kind::Unreachable)
        || failure.status.is_some_and(|status| status >= 500)
}

/// Does something for each, some at once, in any order; nothing for those who come after an interruption.
fn each<T: Send>(
    names: &[String],
    interrupt: &Interrupt,
    work: impl Fn(&str) -> T + Sync,
) -> Vec<Option<T>> {
    let next = AtomicUsize::new(0);
    let done: Vec<Mutex<Option<T>>> = names.iter().map(|_| Mutex::new(None)).collect();
    let go = || {
        while !interrupt.is_set() {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, slot)) = names.get(place).zip(done.get(place)) else { return };
            let result = work(name);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE.min(names.len()) {
            scope.spawn(go);
        }
    });
    done.into_iter().map(|slot| slot.into_inner().unwrap_or_else(PoisonError::into_inner)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_else_s_name_is_taken_for_one_of_a_check() {
        assert!(names(200).iter().all(|name| is_of_a_check(name)));
        assert_eq!(
            (names(3)[2].as_str(), names(100)[99].as_str()),
            ("capacity-03", "capacity-100")
        );
        for other in ["capacity-planner", "capacity-1", "capacity-", "xcapacity-01", "capacity-01a"]
        {
            assert!(!is_of_a_check(other), "{other}");
        }
    }

    #[test]
    fn each_is_done_once_and_nothing_after_an_interruption() {
        let names = names(50);
        let interrupt = Interrupt::of_nobody();
        let done = each(&names, &interrupt, str::to_owned);
        assert_eq!(done.into_iter().flatten().collect::<Vec<_>>(), names);
        let cut = each(&names, &interrupt, |_| interrupt.set());
        let done = cut.iter().flatten().count();
        assert!((1..=AT_ONCE).contains(&done), "{done}");
    }
}
