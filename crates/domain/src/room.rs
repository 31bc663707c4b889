//! The room at a glance: what each user's latest requests say of how it fares, in words for somebody who
//! has just seen a hand go up.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// How long an answer counts as work, and how far the numbers of a user reach back, in seconds.
pub const LATELY: u32 = 300;

/// How long a limit that was met is shown, in seconds.
pub const JUST_NOW: u32 = 60;

/// What D1 says of a user; the members bear the names of the query's columns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
pub struct Facts {
    /// Whose they are.
    pub user_id: String,
    /// As the roster has it.
    pub name: Option<String>,
    /// What the user pays for.
    pub tier: Option<String>,
    /// 1 where the operator has blocked the user.
    pub blocked: u8,
    /// Requests of the last five minutes.
    pub requests: u64,
    /// Those of them that met a limit: 429 and 402.
    pub limited: u64,
    /// Those of them that failed otherwise.
    pub failed: u64,
    /// The tokens of the answered.
    pub tokens: u64,
    /// Requests that met a limit in the last minute.
    pub limited_now: u64,
    /// Requests that were answered in the last minute.
    pub answered_now: u64,
    /// When the newest request came, RFC 3339.
    pub last_seen: Option<String>,
    /// How long ago that is, in seconds.
    pub seconds_since: i64,
    /// The status of its answer.
    pub last_status: u16,
    /// What went wrong with it.
    pub last_code: Option<String>,
    /// What went wrong with the newest that met a limit.
    pub limit_code: Option<String>,
}

/// How a user fares; the first need the operator most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The newest request failed.
    Failing,
    /// A limit was met within a minute.
    Limited,
    /// The operator has blocked the user.
    Blocked,
    /// A request came within five minutes, and was answered.
    Working,
    /// Nothing came for longer.
    Quiet,
    /// Nothing ever came.
    NeverSeen,
}

/// A user in the room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Tile {
    /// Who.
    pub user_id: String,
    /// As the roster has it.
    pub name: Option<String>,
    /// What the user pays for.
    pub tier: Option<String>,
    /// How it fares.
    pub state: State,
    /// Why that is said, in a sentence or two.
    pub reason: String,
    /// When the newest request came, RFC 3339.
    pub last_seen: Option<String>,
    /// Requests of the last five minutes.
    pub requests: u64,
    /// Those that met a limit.
    pub limited: u64,
    /// Those that failed otherwise.
    pub failed: u64,
    /// Tokens of the answered.
    pub tokens: u64,
}

/// How many users fare how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct People {
    /// All that there are, those who aren't listed too.
    pub total: u64,
    /// Of those who are listed: who works.
    pub working: u64,
    /// Who meets a limit.
    pub limited: u64,
    /// Whose requests fail.
    pub failing: u64,
    /// Who is blocked.
    pub blocked: u64,
    /// Who was seen before.
    pub quiet: u64,
    /// Who never was.
    pub never_seen: u64,
}

/// Judges everybody: those first who need the operator most, each with a reason.
#[must_use]
pub fn judge(facts: Vec<Facts>, total: u64) -> (People, Vec<Tile>) {
    let mut tiles: Vec<_> = facts.into_iter().map(tile).collect();
    tiles.sort_by(|a, b| (a.state, &a.user_id).cmp(&(b.state, &b.user_id)));
    let mut people = People { total, ..People::default() };
    for tile in &tiles {
        *match tile.state {
            State::Failing => &mut people.failing,
            State::Limited => &mut people.limited,
            State::Blocked => &mut people.blocked,
            State::Working => &mut people.working,
            State::Quiet => &mut people.quiet,
            State::NeverSeen => &mut people.never_seen,
        } += 1;
    }
    (people, tiles)
}

fn tile(facts: Facts) -> Tile {
    let (state, reason) = state_of(&facts);
    let Facts { user_id, name, tier, last_seen, requests, limited, failed, tokens, .. } = facts;
    Tile { user_id, name, tier, state, reason, last_seen, requests, limited, failed, tokens }
}

fn state_of(facts: &Facts) -> (State, String) {
    let code = facts.last_code.as_deref();
    // What others try under the name of somebody whose own requests are answered says nothing of it.
    let is_others = facts.last_status == 401 && facts.answered_now > 0;
    if facts.blocked != 0 {
        return (State::Blocked, "You have blocked this user.".to_owned());
    }
    if facts.last_seen.is_none() {
        return (State::NeverSeen, "Never seen. Has the kit been run?".to_owned());
    }
    if has_failed(facts.last_status) && !is_others && facts.seconds_since < LATELY.into() {
        if code == Some("user_blocked") {
            return (State::Quiet, "Isn't blocked any more. No request has come since.".to_owned());
        }
        return (State::Failing, meaning(facts.last_status, code).into_owned());
    }
    if facts.limited_now > 0 {
        let refused = counted(facts.limited_now, "was refused", "were refused");
        let why = meaning(429, facts.limit_code.as_deref());
        return (State::Limited, format!("{why} {refused} in the last minute."));
    }
    if facts.seconds_since < LATELY.into() {
        let answered = facts.requests.saturating_sub(facts.failed + facts.limited);
        let answered = counted(answered, "was answered", "were answered");
        return (State::Working, format!("{answered} in the last 5 minutes."));
    }
    (State::Quiet, format!("Last seen {}.", ago(facts.seconds_since)))
}

/// Whether an answer of this status is a failure, and neither a limit nor a client that left.
#[must_use]
pub const fn has_failed(status: u16) -> bool {
    !matches!(status, 200..=399 | 402 | 429 | 499)
}

fn counted(number: u64, one: &str, more: &str) -> String {
    match number {
        1 => format!("1 request {one}"),
        _ => format!("{number} requests {more}"),
    }
}

fn ago(seconds: i64) -> String {
    let (number, unit) = match seconds {
        ..5_400 => (seconds / 60, "minute"),
        5_400..129_600 => ((seconds + 1_800) / 3_600, "hour"),
        _ => ((seconds + 43_200) / 86_400, "day"),
    };
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {unit}{plural} ago")
}

/// What a status and a code mean, to the operator.
#[must_use]
pub fn meaning(status: u16, code: Option<&str>) -> Cow<'static, str> {
    Cow::Borrowed(match (status, code) {
        (_, Some("rate_limit_exceeded")) => "Sends more requests a minute than are allowed.",
        (_, Some("concurrency_limit_exceeded")) => "Sends more requests at once than are allowed.",
        (_, Some("monthly_quota_exceeded")) => "The month's requests are used up.",
        (_, Some("project_limit_exceeded")) => "Uses more projects than the tier has.",
        (_, Some("payment_required")) => "Has no tier, and one is needed here.",
        (_, Some("too_many_attempts")) => "Too many attempts from one network.",
        (_, Some("invalid_key")) => "Shows a gateway key that isn't good for this USER_ID.",
        (_, Some("missing_key")) => "Shows no gateway key, and one is needed.",
        (_, Some("user_id_bound")) => {
            "Shows another API key than the one that this USER_ID belongs to."
        }
        (_, Some("user_blocked")) => "Is blocked.",
        (_, Some("no_codex_session")) => "Hasn't signed in for Codex yet.",
        (_, Some("codex_session_expired")) => {
            "The Codex sign-in has ended, and has to be done again."
        }
        (_, Some("token_endpoint_unavailable")) => {
            "The service that renews Codex tokens doesn't answer."
        }
        (_, Some("previous_response_not_found")) => {
            "Continues from an answer that isn't known any more."
        }
        (_, Some("request_too_large")) => "Sends more than is accepted at once.",
        (
            _,
            Some(
                "invalid_json" | "invalid_path" | "invalid_project_id" | "invalid_conversation_id",
            ),
        ) => "Sends a request that can't be read.",
        (_, Some("not_configured")) => "The gateway isn't set up completely.",
        (_, Some("upstream_busy")) => "Waited for the agent in vain: it is busy with others.",
        (_, Some("upstream_timeout")) => "The agent took too long.",
        (_, Some("upstream_incomplete")) => "The agent ended its answer before it was whole.",
        (_, Some("upstream_error")) => "The agent answered with an error.",
        (_, Some("upstream_unreachable")) => "The agent can't be reached.",
        (_, Some("upstream_redirect")) => "The agent's address leads elsewhere.",
        (_, Some("internal_error")) => "Something went wrong in the gateway.",
        (_, Some("interrupted")) => "The request was cut off; nobody knows how it ended.",
        (_, Some("client_left")) => "The client left before the answer was whole.",
        (200..=399, Some(code)) => return format!("The answer broke off ({code}).").into(),
        (200..=399, None) => "Was answered.",
        (401 | 403, None) => "The model's provider refuses the caller's own API key.",
        (402, None) => "The model's provider wants the caller to pay.",
        (429, None) => "The model's provider limits the caller.",
        (404, None) => "Asks for something that the agent doesn't have.",
        (400..=499, None) => return format!("The agent refused the request ({status}).").into(),
        (_, None) => return format!("The agent answered with an error ({status}).").into(),
        (_, Some(code)) => return format!("Failed with {status} {code}.").into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(last_status: u16, last_code: &str) -> Facts {
        Facts {
            user_id: "ada".to_owned(),
            requests: 12,
            last_seen: Some("2026-11-21T06:23:36.000Z".to_owned()),
            seconds_since: 3,
            last_status,
            last_code: Some(last_code.to_owned()).filter(|code| !code.is_empty()),
            ..Facts::default()
        }
    }

    #[test]
    fn a_state_comes_with_its_reason() {
        let limit = Facts {
            limited: 4,
            limited_now: 3,
            limit_code: Some("rate_limit_exceeded".to_owned()),
            ..facts(200, "")
        };
        let others = Facts { answered_now: 1, failed: 1, ..facts(401, "invalid_key") };
        let old = |seconds_since| Facts { seconds_since, ..facts(502, "upstream_unreachable") };
        for (facts, state, reason) in [
            (facts(200, ""), State::Working, "12 requests were answered in the last 5 minutes."),
            (
                Facts { requests: 1, ..facts(200, "") },
                State::Working,
                "1 request was answered in the last 5 minutes.",
            ),
            (
                limit.clone(),
                State::Limited,
                "Sends more requests a minute than are allowed. 3 requests were refused in the last minute.",
            ),
            (
                Facts { limited_now: 0, ..limit.clone() },
                State::Working,
                "8 requests were answered in the last 5 minutes.",
            ),
            (
                Facts { last_status: 502, ..limit },
                State::Failing,
                "The agent answered with an error (502).",
            ),
            (facts(502, "upstream_unreachable"), State::Failing, "The agent can't be reached."),
            (
                facts(401, "invalid_key"),
                State::Failing,
                "Shows a gateway key that isn't good for this USER_ID.",
            ),
            (others, State::Working, "11 requests were answered in the last 5 minutes."),
            (
                facts(0, "interrupted"),
                State::Failing,
                "The request was cut off; nobody knows how it ended.",
            ),
            (
                facts(499, "client_left"),
                State::Working,
                "12 requests were answered in the last 5 minutes.",
            ),
            (old(300), State::Quiet, "Last seen 5 minutes ago."),
            (old(5_400), State::Quiet, "Last seen 2 hours ago."),
            (old(129_600), State::Quiet, "Last seen 2 days ago."),
            (Facts { blocked: 1, ..facts(502, "") }, State::Blocked, "You have blocked this user."),
            (
                facts(403, "user_blocked"),
                State::Quiet,
                "Isn't blocked any more. No request has come since.",
            ),
            (
                Facts { last_seen: None, ..facts(0, "") },
                State::NeverSeen,
                "Never seen. Has the kit been run?",
            ),
        ] {
            assert_eq!(state_of(&facts), (state, reason.to_owned()), "{facts:?}");
        }
    }

    #[test]
    fn who_needs_help_comes_first() {
        let named = |user_id: &str, facts: Facts| Facts { user_id: user_id.to_owned(), ..facts };
        let everybody = vec![
            named("a", Facts { last_seen: None, ..facts(0, "") }),
            named("b", facts(200, "")),
            named("d", facts(500, "")),
            named("c", facts(500, "")),
        ];
        let (people, tiles) = judge(everybody, 7);
        let order: Vec<_> = tiles.iter().map(|tile| tile.user_id.as_str()).collect();
        assert_eq!(order, ["c", "d", "b", "a"]);
        let expected =
            People { total: 7, working: 1, failing: 2, never_seen: 1, ..People::default() };
        assert_eq!(people, expected);
    }

    #[test]
    fn every_code_means_something() {
        for (status, code) in [(418, "a_new_one"), (200, "upstream_error"), (503, "upstream_busy")]
        {
            let said = meaning(status, Some(code));
            assert!(said.ends_with('.') && !said.contains("Failed with 503"), "{said}");
        }
        assert_eq!(meaning(429, None), "The model's provider limits the caller.");
    }
}
