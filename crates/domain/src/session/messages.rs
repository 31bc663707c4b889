//! What the front Worker says to a user's object, and what the object replies.

use serde::{Deserialize, Serialize};

use crate::entry::{Entry, Outcome, is_false};
use crate::fingerprint::Fingerprint;
use crate::month::Month;
use crate::session::access::{KeyRecord, Shown};
use crate::session::codex::messages::{
    BeginSignIn, ForgetTokens, FreshToken, KeepTokens, TellSignIn,
};
use crate::session::codex::{AccessToken, SignedOut};
use crate::session::farewell::{Forget, Reopen, TellPaying};
use crate::session::onboarding::{Claim, Enroll, IssueCode};
use crate::session::return_path::messages::{Draw, Funds, KeepHandle, Spent};
use crate::tier::{Purchases, Tier};

/// Every message that a user's object takes.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SessionMessage {
    /// May this request go upstream?
    Admit(Admit),
    /// Requests were refused that have no rows.
    CountRefusals(CountRefusals),
    /// The request ended.
    Settle(Settle),
    /// The request is still running.
    Renew(Renew),
    /// The upstream named an answer that the user may continue from.
    Remember(Remember),
    /// The upstream took the caller's bearer: the user is bound to it.
    Bind(Bind),
    /// A new gateway key.
    AddKey(AddKey),
    /// A new handle, or none.
    KeepHandle(KeepHandle),
    /// May OpenClaw call a provider?
    Draw(Draw),
    /// OpenClaw's call has ended.
    Spent(Spent),
    /// A new claim code.
    IssueCode(IssueCode),
    /// Somebody shows a claim code.
    Claim(Claim),
    /// A person is on the roster.
    Enroll(Enroll),
    /// Is the caller the user?
    Prove(Prove),
    /// What is there to see of the user?
    Describe(Describe),
    /// The operator mends something.
    Repair(Repair),
    /// Codex tokens that the user brought.
    KeepTokens(KeepTokens),
    /// The user's Codex tokens are wanted no more.
    ForgetTokens(ForgetTokens),
    /// Is there a fresher token?
    FreshToken(FreshToken),
    /// The user wants to sign in.
    BeginSignIn(BeginSignIn),
    /// How far is the sign-in?
    TellSignIn(TellSignIn),
    /// What a Stripe customer has bought for the user.
    Entitle(Entitle),
    /// The operator gives a tier, or takes it.
    SetTier(SetTier),
    /// The operator takes a project off the list.
    RemoveProject(RemoveProject),
    /// What has been used of a month?
    TellMonth(TellMonth),
    /// What D1 doesn't have goes there now.
    Flush(Flush),
    /// Which subscriptions go on being paid for?
    TellPaying(TellPaying),
    /// The person is to be forgotten.
    Forget(Forget),
    /// The person is forgotten everywhere.
    Reopen(Reopen),
}

/// Tells all that a Stripe customer has bought for the user. The reply is whether that was news.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Entitle {
    /// Stripe's id of the customer.
    pub customer: String,
    /// What it has bought.
    pub purchases: Purchases,
}

/// Sends D1 what it doesn't have yet. The reply is whether it has everything now.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Flush {}

/// Asks for what was used of a month, once all of it is in D1. The reply is a [`Usage`].
///
/// [`Usage`]: crate::month::Usage
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TellMonth {
    /// The month.
    pub month: Month,
}

/// Takes a project off the list of those that the user has used. The reply is whether it was there.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RemoveProject(pub String);

/// Sets the user's tier, whatever was bought until now. The reply is nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetTier {
    /// The tier; none takes it away, and has to be said.
    #[serde(deserialize_with = "Option::deserialize")]
    pub tier: Option<Tier>,
}

/// Asks whether the caller is the user, and nothing else. The reply is a
/// [`Proof`](super::access::Proof).
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Prove(pub Shown);

/// Asks for everything that is to be seen of a user. The reply is a [`View`](super::view::View).
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Describe {}

/// Binds a user that nobody is known to be to a bearer that the upstream took. The reply is
/// whether the user is bound to it now.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// The request for which it did.
    pub request_id: String,
    /// The bearer.
    pub bearer: Fingerprint,
}

/// What an operator can mend. The reply is whether that changed anything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Repair {
    /// A gateway key is good no more.
    RevokeKey {
        /// Its id.
        key_id: String,
    },
    /// The user is bound to no bearer.
    Unbind,
    /// The user may do nothing.
    Block {
        /// Why, for the operator.
        reason: Option<String>,
    },
    /// The user may go on.
    Unblock,
    /// Nothing counts in the window any more.
    ResetWindow,
    /// The user's requests go to this upstream.
    Assign {
        /// Its name; none for the one that the tier has, or everybody.
        upstream: Option<String>,
    },
}

/// Asks for a place in the window and a lease.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Admit {
    /// What the caller shows to prove that it is the user.
    pub shown: Shown,
    /// Whether the caller may be admitted without proof: the counter of its address has room.
    pub vouched: bool,
    /// Whether no model runs for it: it takes a place in the window and in flight, and nothing else.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_free: bool,
    /// The answer that the caller wants to continue from.
    pub previous_response_id: Option<String>,
    /// What pays for the run that it is, where OpenClaw comes back for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub funds: Option<Box<Funds>>,
    /// The log row as it stands until the request is settled. Its request id names the lease, so
    /// that a message that arrives twice is admitted once.
    pub entry: Entry,
}

/// The reply to [`Admit`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// The request may go upstream and must be settled.
    Admitted(Permit),
    /// The request may not; it has cost nothing.
    Refused(Refusal),
    /// The caller has not proven to be the user, and nothing is decided yet: ask again, vouched.
    Unproven,
}

/// What an admitted request may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permit {
    /// Where the user stands after this admission.
    pub standing: Standing,
    /// The session of the answer that the caller continues from.
    pub session_key: Option<String>,
    /// Whether the caller's bearer becomes the user's own, if the upstream takes it.
    pub binds: bool,
    /// The token that pays for the request, where one does.
    pub token: Option<AccessToken>,
    /// The name of the upstream that it goes to.
    pub upstream: String,
    /// What the user pays for: its share in the upstream's queue.
    pub tier: Option<Tier>,
}

/// Why a request was refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// The reason.
    pub reason: Reason,
    /// Where the user stands; `None` for a caller who has not proven to be that user.
    pub standing: Option<Standing>,
    /// Who would buy, where a tier lifts the refusal; `None` too for a caller who isn't known to be the
    /// user: it would pay, and not be let in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub buyer: Option<Buyer>,
    /// Whether it has no row, because too many came in this minute: who asked tells of it with
    /// [`CountRefusals`], together with others.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_uncounted: bool,
}

/// Tells of refusals that have no row yet: the row of the first, with the number of all. The reply is
/// nothing.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CountRefusals(pub Entry);

/// Somebody who could buy a tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Buyer {
    /// Nothing runs at Stripe.
    New,
    /// A subscription to a tier runs: another would be paid for beside it.
    Subscribed,
}

/// The reasons for which an object refuses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// A key was shown that isn't one of the user's.
    InvalidKey,
    /// The user has a key, a code or something to lose, and no key was shown.
    MissingKey,
    /// The user is bound to another bearer.
    UserIdBound,
    /// The operator has blocked the user.
    Blocked,
    /// The user has no tier, and needs one.
    PaymentRequired,
    /// The user's tier has no room for another project.
    ProjectLimitExceeded {
        /// Those that may be used.
        projects: Vec<String>,
    },
    /// The user has used up its month.
    MonthlyQuotaExceeded {
        /// Requests in this month.
        used: u64,
        /// As many as its tier has.
        limit: u32,
        /// When it begins anew.
        resets: Month,
    },
    /// The user has never signed in for the token that pays.
    NoCodexSession,
    /// The user has to sign in anew for it.
    CodexSessionExpired,
    /// The user's upstream isn't in the settings.
    NoUpstream {
        /// Whether it is one that the operator has chosen for the user.
        is_own: bool,
    },
    /// The answer to continue from is not among those that this user may continue from.
    PreviousResponseNotFound,
    /// The answer to continue from was given by another upstream than the user has now.
    PreviousResponseElsewhere,
    /// The window is full; one slot frees in so many milliseconds.
    RateLimited {
        /// At least 1.
        retry_after_ms: i64,
    },
    /// As many requests are in flight as may be.
    TooManyInFlight,
    /// Runs of the user's that another credential pays for are in progress.
    AnotherKeyInUse,
}

impl Reason {
    /// Whether it would not be a reason for who has this tier.
    #[must_use]
    pub fn is_lifted_by(&self, tier: Tier) -> bool {
        match self {
            Self::PaymentRequired => true,
            Self::ProjectLimitExceeded { projects } => {
                tier.projects().is_none_or(|more| more > projects.len())
            }
            Self::MonthlyQuotaExceeded { limit, .. } => {
                tier.monthly_requests().is_none_or(|more| more > *limit)
            }
            _ => false,
        }
    }

    /// The status and the code of the contract.
    #[must_use]
    pub const fn status_and_code(&self) -> (u16, &'static str) {
        match self {
            Self::InvalidKey => (401, "invalid_key"),
            Self::MissingKey => (401, "missing_key"),
            Self::UserIdBound => (401, "user_id_bound"),
            Self::Blocked => (403, "user_blocked"),
            Self::PaymentRequired => (402, "payment_required"),
            Self::ProjectLimitExceeded { .. } => (402, "project_limit_exceeded"),
            Self::MonthlyQuotaExceeded { .. } => (402, "monthly_quota_exceeded"),
            Self::NoCodexSession => (401, "no_codex_session"),
            Self::CodexSessionExpired => (401, "codex_session_expired"),
            Self::NoUpstream { .. } => (503, "not_configured"),
            Self::PreviousResponseNotFound | Self::PreviousResponseElsewhere => {
                (400, "previous_response_not_found")
            }
            Self::RateLimited { .. } => (429, "rate_limit_exceeded"),
            Self::TooManyInFlight => (429, "concurrency_limit_exceeded"),
            Self::AnotherKeyInUse => (409, "another_key_in_use"),
        }
    }
}

impl From<SignedOut> for Reason {
    fn from(signed_out: SignedOut) -> Self {
        match signed_out {
            SignedOut::NoSession => Self::NoCodexSession,
            SignedOut::SessionExpired => Self::CodexSessionExpired,
        }
    }
}

/// How full a user's window is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    /// Requests a window.
    pub limit: u32,
    /// Requests that would be admitted now.
    pub remaining: u32,
    /// Milliseconds until the window is empty.
    pub empty_in_ms: i64,
    /// Milliseconds until one slot is free; 0 where one is.
    pub next_free_ms: i64,
    /// The month, where the user's tier limits it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub month: Option<MonthStanding>,
}

/// How much of a month is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MonthStanding {
    /// Requests a month.
    pub limit: u32,
    /// Requests that would still be admitted in this one.
    pub remaining: u32,
}

/// Says how an admitted request ended. The reply is whether the lease was still open; if it was
/// not, its row says `interrupted` and stays so.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Settle {
    /// The lease.
    pub request_id: String,
    /// The end.
    pub outcome: Outcome,
}

/// A sign of life of a running request. The reply is whether the lease was still open.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Renew {
    /// The lease.
    pub request_id: String,
}

/// Keeps the session of an answer, before the answer's id reaches the client.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Remember {
    /// The request that it answers.
    pub request_id: String,
    /// The answer's id.
    pub response_id: String,
    /// The upstream session that it belongs to.
    pub session_key: String,
    /// The name of the upstream that gave it.
    pub upstream: String,
}

/// Adds a gateway key. The reply is whether it was added: a key of the same id is kept as it is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AddKey(pub KeyRecord);
