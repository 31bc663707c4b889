//! What is to be seen of a user: by itself at `/me`, by the operator, live.

use serde::{Deserialize, Serialize};

use super::access::{AccessRecord, KeyRecord};
use super::codex::State;
use super::farewell::CLOSED;
use super::{Limits, Session};
use crate::clock::{Millis, rfc3339};
use crate::entry::Entry;
use crate::month::{Month, Usage};
use crate::tier::{Held, Tier};

/// A user's state, in the members of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct View {
    /// What the user pays for.
    pub tier: Option<Tier>,
    /// Since when, RFC 3339.
    pub tier_since: Option<String>,
    /// Until when, where its end is known.
    pub tier_until: Option<String>,
    /// Whether a subscription to a tier runs at Stripe.
    #[serde(default)]
    pub subscribed: bool,
    /// Whether the user may do nothing.
    pub blocked: bool,
    /// Why, in the operator's words.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blocked_reason: Option<String>,
    /// The upstream that the operator has chosen for the user, by its name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream: Option<String>,
    /// How the user proves to be who it is.
    pub binding: Binding,
    /// The sliding minute.
    pub window: WindowView,
    /// Requests that are running.
    pub in_flight: usize,
    /// This month, UTC.
    pub month: MonthView,
    /// The projects that it has used, in the order of their first use; a hundred at most.
    pub projects: Vec<String>,
    /// The gateway keys that are good.
    pub keys: Vec<KeyView>,
    /// The handle with which OpenClaw comes back for the user.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub handle: Option<HandleView>,
    /// The Codex session.
    pub codex: CodexView,
    /// The rows that D1 doesn't have yet.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outbox: Option<OutboxView>,
    /// The latest requests that ended, the newest first.
    pub recent: Vec<Recent>,
}

/// How a user proves to be who it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Binding {
    /// Not yet.
    #[default]
    Open,
    /// By the bearer that came first.
    FirstKey,
    /// By a gateway key.
    Key,
}

/// How full a window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WindowView {
    /// Admissions a window.
    pub limit: u32,
    /// Admissions that count now.
    pub used: usize,
    /// Milliseconds until one more would be admitted; 0 where it would be now.
    pub next_free_ms: Millis,
}

/// What was used of a month.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthView {
    /// Which.
    pub month: Month,
    /// Requests, running ones too, without those that the upstream failed.
    pub requests: u64,
    /// Where the tier has a limit, as many requests as it allows beside those that were used without a
    /// tier.
    pub limit: Option<u32>,
    /// Their tokens.
    pub tokens: u64,
}

/// A gateway key, without anything that opens a door.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyView {
    /// Its id.
    pub key_id: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was last used, to within five minutes.
    pub last_used_at: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_used_ip_hash: Option<String>,
}

/// A handle, without anything of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleView {
    /// When it was made, RFC 3339.
    pub since: String,
}

/// A Codex session, without its tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodexView {
    /// What there is.
    pub state: State,
    /// When the access token ends, or the codes of the sign-in, RFC 3339.
    pub expires_at: Option<String>,
}

/// How much waits for D1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutboxView {
    /// Rows.
    pub depth: usize,
    /// For how long the oldest has waited.
    pub oldest_ms: Millis,
}

/// A request that ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recent {
    /// Its id.
    pub request_id: String,
    /// The path upstream.
    pub endpoint: String,
    /// The status of its answer.
    pub status: u16,
    /// What went wrong.
    pub error_code: Option<String>,
    /// How long it took.
    pub latency_ms: i64,
    /// The tokens that it used.
    pub tokens: u64,
    /// How many calls to a model's provider OpenClaw made for it, where it comes back for these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_requests: Option<u32>,
    /// When it came, RFC 3339.
    pub created_at: String,
}

/// What of a view is read from the journal's rows.
#[derive(Clone, Debug, Default)]
pub struct Rows {
    /// The latest that ended, the newest first.
    pub recent: Vec<Recent>,
    /// When the oldest request came whose row waits for D1.
    pub waiting_since: Option<Millis>,
}

impl From<Entry> for Recent {
    fn from(entry: Entry) -> Self {
        Self {
            request_id: entry.request_id,
            endpoint: entry.endpoint,
            status: entry.outcome.status,
            error_code: entry.outcome.error_code,
            latency_ms: entry.outcome.latency_ms,
            tokens: entry.outcome.tokens_est,
            provider_requests: entry.outcome.provider_requests,
            created_at: format!("{}Z", entry.created_at.replacen(' ', "T", 1)),
        }
    }
}

impl View {
    /// The same without what is for the operator alone.
    #[must_use]
    pub fn for_the_user(mut self) -> Self {
        self.blocked_reason = None;
        self.outbox = None;
        for key in &mut self.keys {
            key.last_used_ip_hash = None;
        }
        self.upstream = None;
        self.handle = None;
        self
    }
}

impl AccessRecord {
    /// How the user proves to be who it is.
    #[must_use]
    pub const fn binding(&self) -> Binding {
        match (self.reserved, &self.bound) {
            (true, _) => Binding::Key,
            (false, Some(_)) => Binding::FirstKey,
            (false, None) => Binding::Open,
        }
    }
}

impl Session {
    /// Describes the user, with what its rows say.
    #[must_use]
    pub fn describe(&mut self, limits: Limits<'_>, rows: Rows, now: Millis) -> View {
        let Limits { rate, rules, .. } = limits;
        let held = self.tier.held(rules, now);
        let oldest_ms = rows.waiting_since.map_or(0, |since| (now - since).max(0));
        let AccessRecord { blocked, keys, .. } = &self.access;
        let closed = self.is_closed().then(|| CLOSED.to_owned());
        let codex = self.codex.describe(now);
        let free = u32::try_from(self.used_without_tier(limits, now)).unwrap_or(u32::MAX);
        let limit = self.monthly_limit(limits, now).map(|limit| limit.saturating_add(free));
        let Usage { month, requests, tokens } = self.tally.of(Month::of(now));
        View {
            tier: held.map(|held| held.tier),
            tier_since: held.map(|Held { since, .. }| rfc3339(since)),
            tier_until: held.and_then(|held| held.until).map(rfc3339),
            subscribed: self.is_subscribed(limits, now),
            blocked: blocked.is_some() || closed.is_some(),
            blocked_reason: closed
                .or_else(|| blocked.as_ref().and_then(|block| block.reason.clone())),
            upstream: self.access.upstream.clone(),
            binding: self.access.binding(),
            window: WindowView {
                limit: rate.limit,
                used: self.window.used(rate, now),
                next_free_ms: self.window.next_free(rate, now),
            },
            in_flight: self.leases.len(),
            month: MonthView { month, requests, limit, tokens },
            projects: self.projects.list().to_vec(),
            keys: keys.iter().map(view_of).collect(),
            handle: self
                .returns
                .handle
                .as_ref()
                .map(|handle| HandleView { since: rfc3339(handle.since) }),
            codex: CodexView { state: codex.state, expires_at: codex.expires_at.map(rfc3339) },
            outbox: Some(OutboxView { depth: self.journal.backlog(), oldest_ms }),
            recent: rows.recent,
        }
    }
}

fn view_of(key: &KeyRecord) -> KeyView {
    KeyView {
        key_id: key.hash.id().to_owned(),
        label: key.label.clone(),
        created_at: key.created_at.clone(),
        last_used_at: key.last_use.as_ref().map(|last| rfc3339(last.at)),
        last_used_ip_hash: key.last_use.as_ref().and_then(|last| last.ip_hash.clone()),
    }
}
