//! The gateway itself: whether it is one, its clock, its database, its upstream, and the token.

use std::time::SystemTime;

use domain::clock::Millis;
use domain::session::view::View;
use serde::Deserialize;
use serde_json::Value;
use ureq::http::HeaderMap;

use super::{AT_THE_GATEWAY, Check, Examination};
use crate::api::{Overview, Shown};
use crate::client::{Client, Question, header};
use crate::failure::{Failure, Kind};
use crate::moments;

/// A sign-in by Access is good for a minute or so; a clock that is further off makes trouble.
const MOST_SECONDS_OFF: i64 = 30;

/// As many users are asked how many of their rows wait.
const MOST_ASKED: usize = 5;

/// Rows are in D1 within two seconds.
const LATE: Millis = 10_000;

/// What `/ready` says.
#[derive(Deserialize)]
struct Readiness {
    status: String,
    checks: Checks,
}

#[derive(Deserialize)]
struct Checks {
    d1: String,
    upstream: String,
}

/// Checks what can be asked without the operator's token; says whether it is a gateway.
///
/// # Errors
/// Where it can't be printed.
pub fn examine(examination: &mut Examination, client: &Client) -> Result<bool, Failure> {
    let mut clock = Check::skipped("The gateway doesn't say what time it is.");
    if !examination.check("gateway", || health(client, &mut clock))? {
        let rest: Vec<_> = AT_THE_GATEWAY.into_iter().skip(1).collect();
        examination.skip(&rest, "It isn't a gateway that answers.")?;
        return Ok(false);
    }
    examination.check("clock", || clock)?;
    let mut readiness = None;
    examination.check("ready", || ready(client, &mut readiness))?;
    let Some(Readiness { checks: Checks { d1, upstream }, .. }) = readiness else {
        examination.skip(&["d1", "upstream"], "The gateway doesn't say.")?;
        return Ok(true);
    };
    examination.check("d1", || database(&d1))?;
    examination.check("upstream", || agent(&upstream))?;
    Ok(true)
}

fn health(client: &Client, clock: &mut Check) -> Check {
    let question = Question::get(&["health"]);
    let mut answer = match client.send(&question) {
        Ok(answer) => answer,
        Err(error) => return Check::of(client.broken(&error, &question)),
    };
    *clock = compare(answer.headers(), moments::now());
    let (status, body) = (answer.status().as_u16(), answer.body_mut().read_to_string());
    let body: Value = serde_json::from_str(&body.unwrap_or_default()).unwrap_or_default();
    if body.get("gateway").and_then(Value::as_str) == Some("organized-gateway") {
        return Check::ok("organized-gateway answers");
    }
    let why = format!("Something else answers there, with {status}.");
    let leads_to = header(answer.headers(), "location");
    if let Some(leads_to) = leads_to {
        return Check::of(crate::refusal::of_answer(302, Some(leads_to), b""));
    }
    Check::fail(why, "Check the URL: it is the gateway's own, as `npx wrangler deploy` printed it.")
}

fn compare(headers: &HeaderMap, now: i64) -> Check {
    let Some(theirs) =
        header(headers, "date").and_then(|date| httpdate::parse_http_date(date).ok())
    else {
        return Check::skipped("The gateway doesn't say what time it is.");
    };
    let theirs = theirs.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    let off = now / 1_000 - i64::try_from(theirs).unwrap_or_default();
    if off.abs() <= MOST_SECONDS_OFF {
        return Check::ok("this machine and the gateway agree on the time");
    }
    let side = if off > 0 { "ahead of" } else { "behind" };
    let why = format!("This machine is {} {side} the gateway.", moments::span(off.abs()));
    Check::warn(
        why,
        "Set this machine's clock by the network; certificates and sign-ins depend on it.",
    )
}

fn ready(client: &Client, readiness: &mut Option<Readiness>) -> Check {
    let question = Question::get(&["ready"]);
    let body = client
        .send(&question)
        .and_then(|mut answer| answer.body_mut().read_to_string())
        .map_err(|error| client.broken(&error, &question));
    let body = match body {
        Ok(body) => body,
        Err(failure) => return Check::of(failure),
    };
    let Ok(found) = serde_json::from_str::<Readiness>(&body) else {
        return Check::fail(
            "The gateway doesn't say whether it is ready.",
            "Look into its log: npx wrangler tail",
        );
    };
    let is_ready = found.status == "ready";
    *readiness = Some(found);
    if is_ready {
        return Check::ok("a request would get through");
    }
    Check::fail("A request wouldn't get through, or leave no row.", "See below.")
}

fn database(said: &str) -> Check {
    let next = if said.contains("migrations") {
        "npx wrangler d1 migrations apply organized-gateway --remote"
    } else {
        "Requests go on, and their rows wait in the objects. Look at Cloudflare's status page, and at \
         the D1 database in its dashboard."
    };
    verdict(said, next)
}

fn agent(said: &str) -> Check {
    let next = if said.contains("OPENCLAW_URL is missing") {
        "npx wrangler secret put OPENCLAW_URL"
    } else if said.contains("token") || said.contains("refuses") {
        "Compare OPENCLAW_GATEWAY_TOKEN with the agent's own, and see docs/openclaw.md."
    } else if said.contains("elsewhere") {
        "Set OPENCLAW_URL to the address that it leads to, without /v1."
    } else {
        "See whether the agent runs, and whether its tunnel does; then compare OPENCLAW_URL."
    };
    verdict(said, next)
}

fn verdict(said: &str, next: &str) -> Check {
    match said {
        "ok" => Check::ok("ok"),
        said if said.starts_with("ok, but") => {
            Check::warn(said, "`npx wrangler tail` names what is wrong.")
        }
        said => Check::fail(said, next),
    }
}

/// Shows the token.
pub fn token(client: &Client, from: &str) -> Check {
    let answer = client.json::<Value>(&Question::get(&["operator", "session"]));
    match answer {
        Ok(standing) => {
            let operator = standing.get("operator").and_then(Value::as_str).unwrap_or("somebody");
            Check::ok(format!("known as {operator}, by {from}"))
        }
        Err(failure) if failure.kind == Kind::NotAllowed => {
            let message = format!("{} Shown was that of {from}.", failure.message);
            Check::of(Failure { message, ..failure })
        }
        Err(failure) => Check::of(failure),
    }
}

/// Whether D1 takes rows: of whoever was seen last, none waits for long.
pub fn rows(client: &Client) -> Check {
    let overview: Overview = match client.json(&Question::get(&["operator", "api", "overview"])) {
        Ok(overview) => overview,
        Err(failure) => return Check::of(failure),
    };
    let mut seen: Vec<_> = overview.users.iter().filter(|user| user.last_seen.is_some()).collect();
    seen.sort_by(|one, other| other.last_seen.cmp(&one.last_seen));
    let (mut waiting, mut oldest) = (0, 0);
    for user in seen.iter().take(MOST_ASKED) {
        let path = ["operator", "api", "users", &user.user_id];
        match client.json::<Shown>(&Question::get(&path)) {
            Ok(Shown { view: View { outbox: Some(outbox), .. }, .. }) => {
                waiting += outbox.depth;
                oldest = oldest.max(outbox.oldest_ms);
            }
            Ok(_) => {}
            Err(failure) => return Check::of(failure),
        }
    }
    if oldest < LATE {
        return Check::ok(format!("{} people; D1 has their rows", overview.people.total));
    }
    let wait = moments::milliseconds(oldest);
    Check::fail(
        format!("D1 takes no rows: {waiting} wait, the oldest for {wait}."),
        "Nothing is lost, and requests go on. Look at D1 in Cloudflare's dashboard; what waits is sent by \
         itself, or at once with `gatewayctl user flush USER_ID`.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn clocks_are_compared() {
        let mut headers = HeaderMap::new();
        assert_eq!(compare(&headers, 0).verdict, Verdict::Skipped);
        headers.insert("date", "Sat, 21 Nov 2026 16:20:03 GMT".parse().unwrap());
        let now = domain::clock::parse_moment("2026-11-21T16:20:03Z").unwrap();
        assert_eq!(compare(&headers, now + 29_000).verdict, Verdict::Ok);
        let off = compare(&headers, now - 200_000);
        assert_eq!(off.verdict, Verdict::Warn);
        assert!(off.why.contains("3 min behind"), "{off:?}");
    }

    #[test]
    fn what_ready_says_comes_with_what_to_do() {
        assert_eq!(agent("ok").verdict, Verdict::Ok);
        assert_eq!(agent("ok, but not all is well with 1 of 2").verdict, Verdict::Warn);
        let down = agent("no answer from OPENCLAW_URL");
        assert_eq!(down.verdict, Verdict::Fail);
        assert!(down.next.unwrap().contains("tunnel"));
        let empty = database("D1 has no tables: apply the migrations");
        assert!(empty.next.unwrap().contains("migrations apply"));
    }
}
