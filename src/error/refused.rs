//! The errors of refusals: what a user's object decided, in words.

use domain::session::messages::Reason;

use super::{Error, GATEWAY_KEY_MISSING, whole_seconds};

/// What a refusal's message says besides its reason.
#[derive(Clone, Default)]
pub struct Terms {
    /// `REQUESTS_PER_MINUTE`.
    pub per_minute: u32,
    /// `MAX_IN_FLIGHT`.
    pub in_flight: u32,
    /// What the caller can do where a tier is missing, as a sentence.
    pub offer: Option<String>,
}

impl Error {
    /// The error of a refusal, with the numbers of the limit that it met.
    pub fn refused(reason: &Reason, terms: Terms) -> Self {
        let Terms { per_minute, in_flight, offer } = terms;
        match reason {
            Reason::InvalidKey => Self::InvalidKey,
            Reason::MissingKey => Self::MissingKey(GATEWAY_KEY_MISSING),
            Reason::UserIdBound => Self::UserIdBound,
            Reason::Blocked => Self::UserBlocked,
            Reason::ProjectLimitExceeded { projects } => {
                Self::ProjectLimitExceeded { projects: projects.join(", "), offer }
            }
            &Reason::MonthlyQuotaExceeded { used, limit, resets } => {
                Self::MonthlyQuotaExceeded { used, limit, resets, offer }
            }
            Reason::PaymentRequired => Self::PaymentRequired { offer },
            Reason::NoCodexSession => Self::NoCodexSession,
            Reason::CodexSessionExpired => Self::CodexSessionExpired,
            Reason::PreviousResponseNotFound => Self::PreviousResponseNotFound,
            Reason::PreviousResponseElsewhere => Self::PreviousResponseElsewhere,
            Reason::NoUpstream { is_own: true } => Self::NotConfigured(
                "the node that was chosen for you isn't in UPSTREAMS any more".to_owned(),
            ),
            Reason::NoUpstream { is_own: false } => Self::no_upstream(),
            &Reason::RateLimited { retry_after_ms } => Self::RateLimitExceeded {
                limit: per_minute,
                seconds: whole_seconds(retry_after_ms),
                retry_after_ms,
            },
            Reason::TooManyInFlight => Self::ConcurrencyLimitExceeded { limit: in_flight },
            Reason::AnotherKeyInUse => Self::AnotherKeyInUse,
        }
    }
}
