//! What the gateway answers, as far as it is shown. Members that aren't known are left alone.

use std::collections::BTreeMap;

use domain::session::view::View;
use serde::{Deserialize, Serialize};

/// The room at a glance.
#[derive(Clone, Debug, Deserialize)]
pub struct Overview {
    /// The gateway's clock.
    pub now: String,
    /// Whole minutes, ascending; only those that have any.
    pub minutes: Vec<Minute>,
    /// The last five minutes.
    pub lately: Lately,
    /// How many fare how.
    pub people: People,
    /// Everybody, those first who need help most.
    pub users: Vec<Tile>,
    /// Whether that is everybody.
    pub is_complete: bool,
    /// Where requests go.
    #[serde(default)]
    pub upstreams: Vec<Upstream>,
    /// How many notes wait.
    #[serde(default)]
    pub notes: u64,
}

/// A minute.
#[derive(Clone, Debug, Deserialize)]
pub struct Minute {
    /// When it began.
    pub minute: String,
    /// Requests in it.
    pub requests: u64,
}

/// The last minutes together.
#[derive(Clone, Debug, Deserialize)]
pub struct Lately {
    /// How long they are.
    pub seconds: u64,
    /// Requests.
    pub requests: u64,
    /// Those that met a limit.
    pub limited: u64,
    /// Those that failed otherwise.
    pub failed: u64,
    /// Tokens.
    pub tokens: u64,
    /// How long answers took.
    pub latency_ms: Option<Percentiles>,
    /// How long they took to begin.
    pub ttfb_ms: Option<Percentiles>,
    /// What went wrong, the most frequent first.
    #[serde(default)]
    pub errors: Vec<Trouble>,
}

/// How long something took.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Percentiles {
    /// Half took no longer.
    pub p50: i64,
    /// Ninety of a hundred.
    pub p90: i64,
    /// Ninety-nine of a hundred.
    pub p99: i64,
}

/// A kind of error.
#[derive(Clone, Debug, Deserialize)]
pub struct Trouble {
    /// The status.
    pub status: u16,
    /// The gateway's code.
    pub code: Option<String>,
    /// How often.
    pub requests: u64,
    /// For how many.
    pub users: u64,
    /// In words.
    #[serde(default)]
    pub meaning: String,
}

/// How many fare how.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct People {
    /// All.
    pub total: u64,
    /// Who works.
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

/// A user in the room.
#[derive(Clone, Debug, Deserialize)]
pub struct Tile {
    /// Who.
    pub user_id: String,
    /// As the roster has it.
    pub name: Option<String>,
    /// What the user pays for.
    pub tier: Option<String>,
    /// How it fares.
    pub state: String,
    /// Why that is said.
    pub reason: String,
    /// When the newest request came.
    pub last_seen: Option<String>,
    /// Requests of the last five minutes.
    pub requests: u64,
    /// Those that met a limit.
    pub limited: u64,
    /// Those that failed otherwise.
    pub failed: u64,
    /// Tokens.
    pub tokens: u64,
}

/// Where requests go.
#[derive(Clone, Debug, Deserialize)]
pub struct Upstream {
    /// Its name.
    pub name: String,
    /// How many requests it runs at once, where there is a limit.
    pub slots: Option<u64>,
    /// How many run.
    pub running: Option<u64>,
    /// How many wait.
    pub waiting: Option<u64>,
    /// How long the first of them has waited.
    pub longest_wait_ms: Option<i64>,
    /// Whether it answers.
    pub is_well: Option<bool>,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// A user in the list.
#[derive(Clone, Debug, Deserialize)]
pub struct Listed {
    /// Who.
    pub user_id: String,
    /// As the roster has it.
    pub name: Option<String>,
    /// As the roster has it.
    pub email: Option<String>,
    /// What the user pays for.
    pub tier: Option<String>,
    /// Whether it may do nothing.
    pub blocked: bool,
    /// When it was last seen.
    pub last_seen: Option<String>,
    /// Requests this month.
    pub requests: u64,
    /// Tokens this month.
    pub tokens: u64,
}

/// A user, live.
#[derive(Clone, Debug, Deserialize)]
pub struct Shown {
    /// Who.
    pub user_id: String,
    /// Its state.
    #[serde(flatten)]
    pub view: View,
}

/// Something that waits for the operator.
#[derive(Clone, Debug, Deserialize)]
pub struct Note {
    /// Stripe's customer.
    pub customer_id: String,
    /// Its kind.
    pub kind: String,
    /// What it is about.
    pub subject: String,
    /// Whom it is about.
    pub user_id: Option<String>,
    /// What to do.
    pub text: String,
    /// Since when.
    pub created_at: String,
    /// Since when not any more.
    pub resolved_at: Option<String>,
}

/// Something that an operator did.
#[derive(Clone, Debug, Deserialize)]
pub struct Action {
    /// Who.
    pub operator: String,
    /// What.
    #[serde(rename = "action")]
    pub what: String,
    /// To whom.
    pub user_id: Option<String>,
    /// What else there is to say.
    pub detail: Option<String>,
    /// When.
    pub created_at: String,
}

/// A person's place on a roster.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Seat {
    /// Who.
    pub user_id: String,
    /// As on the list.
    pub name: String,
    /// As on the list.
    pub email: String,
    /// What it turns into a gateway key; nothing where it has got one before.
    pub code: Option<String>,
}

/// Who has used the gateway most.
#[derive(Clone, Debug, Deserialize)]
pub struct MostActive {
    /// Until when their links are good.
    pub links_until: String,
    /// The most active first.
    pub users: Vec<Active>,
}

/// Somebody, and what it did in some time.
#[derive(Clone, Debug, Deserialize)]
pub struct Active {
    /// Who.
    pub user_id: String,
    /// As the roster has it.
    pub name: Option<String>,
    /// As the roster has it.
    pub email: Option<String>,
    /// What the user pays for.
    pub tier: Option<String>,
    /// Requests that count.
    pub requests: u64,
    /// Tokens.
    pub tokens: u64,
    /// The newest request of that time.
    pub last_seen: String,
    /// A link for each tier that is sold.
    pub upgrade: BTreeMap<String, String>,
}
