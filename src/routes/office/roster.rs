//! `POST /operator/api/roster`: a list of people becomes users with claim codes.

use std::time::Duration;

use domain::claim_code::{ClaimCode, DEFAULT_TTL_SECONDS};
use domain::clock::{Millis, sql_text};
use domain::identifiers::UserId;
use domain::roster::{self, Listed, MOST_BYTES, Person, candidates};
use domain::session::onboarding::{Enroll, Enrolled, IssueCode};
use futures::future::{Either, select};
use futures::{StreamExt, TryStreamExt, stream};
use serde::Serialize;
use worker::Delay;

use crate::context::{Context, check, random_bytes};
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::upstream::body;
use crate::{log, reply};

/// How many people are seated at once.
const AT_ONCE: usize = 16;

/// How often an object is asked to seat a person; a message that arrives twice does no harm.
const ATTEMPTS: u32 = 3;

/// How long D1 may take before the codes are given out without it.
const PATIENCE: Duration = Duration::from_secs(15);

const UPSERT: &str = "
    insert into users (user_id, name, email, created_at, updated_at)
    select value ->> 0, value ->> 1, nullif(value ->> 2, ''), ?2, ?2 from json_each(?1) where true
    on conflict (user_id) do update set name = excluded.name,
        email = coalesce(excluded.email, users.email), updated_at = excluded.updated_at";

/// A person's place. The code is there for whoever is new, or has got another.
#[derive(Serialize)]
struct Seat {
    user_id: UserId,
    name: String,
    email: String,
    code: Option<String>,
}

/// How everyone on a list is treated.
#[derive(Clone, Copy)]
struct Terms {
    expires_at: Millis,
    reissue: bool,
}

/// `POST /operator/api/roster`: 200 and everyone's place, in the list's order.
///
/// 1. The list is read whole; if anything is wrong with it, nothing happens.
/// 2. Each person's object gives them their place, and a code to whoever is new.
/// 3. D1 learns the names. The codes exist nowhere else by now, so they are given out whatever
///    becomes of D1; sending the list again makes up for it.
///
/// # Errors
/// [`Error::InvalidQuery`], [`Error::InvalidRoster`], [`Error::RequestTooLarge`]; [`Error::RosterUnfinished`] where an object
/// can't be reached, and with it the codes are lost that others gave.
pub async fn import(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let namesakes = roster::parse(&body::read(incoming, context, MOST_BYTES).await?, decompose)?;
    let expires_at = incoming.arrived + DEFAULT_TTL_SECONDS * 1_000;
    let reissue = incoming.asked_flag("reissue")?;
    let terms = Terms { expires_at, reissue };
    let seated = stream::iter(namesakes).map(|people| seat_in_order(context, people, terms));
    let seated: Result<Vec<_>, _> = seated.buffer_unordered(AT_ONCE).try_collect().await;
    let seated = seated.map_err(|_| Error::RosterUnfinished)?;
    let mut seats: Vec<_> = seated.into_iter().flatten().collect();
    seats.sort_by_key(|(line, _)| *line);
    let seats: Vec<_> = seats.into_iter().map(|(_, seat)| seat).collect();
    let names = std::pin::pin!(write_names(context, &seats, incoming.arrived));
    let written = match select(names, Delay::from(PATIENCE)).await {
        Either::Left((written, _)) => written,
        Either::Right(_) => Err("D1 took too long".into()),
    };
    if let Err(error) = written {
        log::fault("the roster's names are not in D1: send the list again", &error.to_string());
    }
    incoming.is_about(&format!("{} people", seats.len()));
    log::early(incoming, 200, None);
    Ok(reply::json(200, &seats))
}

/// Takes letters and their accents apart.
fn decompose(name: &str) -> String {
    js_sys::JsString::from(name).normalize("NFD").into()
}

/// Seats namesakes one after the other: who comes first on the list gets the plain USER_ID.
async fn seat_in_order(
    context: &Context,
    people: Vec<Listed>,
    terms: Terms,
) -> Result<Vec<(u64, Seat)>, Error> {
    let mut seats = Vec::with_capacity(people.len());
    for Listed { line, person } in people {
        seats.push((line, seat(context, person, terms).await?));
    }
    Ok(seats)
}

/// Gives a person the first place that isn't somebody else's.
async fn seat(context: &Context, person: Person, terms: Terms) -> Result<Seat, Error> {
    for user_id in candidates(&person.plain) {
        let code = ClaimCode::mint(random_bytes());
        let Terms { expires_at, reissue } = terms;
        let issue = IssueCode { hash: code.fingerprint(&user_id), expires_at };
        let message = Enroll { person: person.clone(), code: issue, reissue };
        if let Enrolled::Seated { has_code } = enroll(context, &user_id, message).await? {
            let Person { name, email, .. } = person;
            return Ok(Seat { user_id, name, email, code: has_code.then(|| code.expose()) });
        }
    }
    // There is always one more.
    Err(Error::Internal)
}

async fn enroll(context: &Context, user_id: &UserId, message: Enroll) -> Result<Enrolled, Error> {
    for attempt in 1..ATTEMPTS {
        if let Ok(enrolled) = call(context, user_id.as_str(), message.clone()).await {
            return Ok(enrolled);
        }
        Delay::from(Duration::from_millis(100 << attempt)).await;
    }
    call(context, user_id.as_str(), message).await
}

async fn write_names(context: &Context, seats: &[Seat], now: Millis) -> worker::Result<()> {
    let rows: Vec<_> =
        seats.iter().map(|seat| (seat.user_id.as_str(), &seat.name, &seat.email)).collect();
    let values = [serde_json::to_string(&rows)?.into(), sql_text(now).into()];
    check(&context.database()?.prepare(UPSERT).bind(&values)?.run().await?)
}
