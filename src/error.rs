//! Everything that can go wrong for a caller: one enum, its status and its OpenAI-shaped JSON.

mod refused;

use domain::endpoint::Protocol;
use domain::error_body::ErrorBody;
use domain::identifiers::{InvalidUserId, UserId};
use domain::identity::IdentityError;
use domain::month::Month;
use domain::page::InvalidCursor;
use domain::roster::RosterError;

pub use self::refused::Terms;

/// What a caller hears who needs a gateway key and shows none.
pub const GATEWAY_KEY_MISSING: &str = "Your gateway key is missing. Send it as `Authorization: \
    Bearer ogk_…`, or as X-Gateway-Key beside your own API key. If you have none, ask the operator \
    for a code.";

/// What a caller hears whose API key has not got an answer under this name yet.
pub const NOBODY_YET: &str = "Nobody is known by this USER_ID and API key yet. Send one request with \
    them first, or use your gateway key.";

/// An error of the contract. Its `Display` is the message: what happened, and what to do next.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    #[error(
        "This USER_ID isn't valid. Use 1 to 64 letters, digits, dots, dashes and underscores, \
         beginning with a letter or digit."
    )]
    InvalidUserId,
    #[error(
        "This request names two different users. The USER_ID in the address, in X-User-ID and in the \
         gateway key must be the same, and one gateway key is enough."
    )]
    UserIdConflict,
    #[error("This address can't be used. Check the base URL: it ends in /v1.")]
    InvalidPath,
    #[error(
        "This request carries two different API keys. Send one of them, in the header that its \
         provider wants."
    )]
    CredentialConflict,
    #[error("{problem}")]
    InvalidJson { problem: String },
    #[error("This can't be asked: {problem}")]
    InvalidQuery { problem: String },
    #[error("X-Project-ID isn't valid. Use 1 to 64 letters, digits, dots, dashes and underscores.")]
    InvalidProjectId,
    #[error(
        "X-Conversation-ID isn't valid. Use 1 to 64 letters, digits, dots, dashes and underscores."
    )]
    InvalidConversationId,
    #[error(
        "The answer that previous_response_id names isn't known any more. Begin a new \
         conversation, or send the earlier messages again."
    )]
    PreviousResponseNotFound,
    #[error(
        "The answer that previous_response_id names was given by another node than the one that \
         you have now, which doesn't know it. Begin a new conversation without \
         previous_response_id, and send again what matters of the earlier one."
    )]
    PreviousResponseElsewhere,
    #[error(
        "This gateway doesn't take WebSocket connections. Send the same request over plain HTTPS."
    )]
    UpgradeRequired,
    #[error(
        "This isn't signed by Stripe, or was signed more than five minutes ago. Compare \
         STRIPE_WEBHOOK_SECRET with the signing secret of the endpoint in Stripe's dashboard."
    )]
    InvalidSignature,
    #[error("Nobody signs in over plain HTTP, where others could read the token. Use https://.")]
    HttpsRequired,
    #[error("{0}")]
    MissingKey(&'static str),
    #[error(
        "This gateway key isn't valid for this user. Copy it again, whole, or ask the operator for \
         a new one."
    )]
    InvalidKey,
    #[error(
        "OpenClaw can't keep an agent for this USER_ID: the names of its agents have no dots and at most \
         64 characters. Ask the operator for another USER_ID."
    )]
    NoAgentOfOwn,
    #[error(
        "Another request of yours, which is in progress or has just ended, uses another API key. Use the \
         same key for both, or try again ten seconds after its end."
    )]
    AnotherKeyInUse,
    #[error(
        "This isn't the handle of an agent's user, or not any more. The operator makes a new one, and \
         gives it to OpenClaw."
    )]
    InvalidHandle,
    #[error(
        "This is the handle of {user_id}, who has no request in progress, so nobody pays for this call. \
         OpenClaw may call a model only while it answers a request that came through the gateway."
    )]
    NoRunInProgress { user_id: UserId },
    #[error(
        "This USER_ID already belongs to another API key. Use the key that you used first, or send \
         your gateway key, or ask the operator to unbind it."
    )]
    UserIdBound,
    #[error("A plan is needed to use this. {}", offer.as_deref().unwrap_or("Ask the operator for one."))]
    PaymentRequired { offer: Option<String> },
    #[error(
        "Your plan has no room for another project. In use: {projects}. The first ones used count: name \
         one of them in X-Project-ID, or ask the operator to remove one. {}",
        offer.as_deref().unwrap_or("A larger plan has more.")
    )]
    ProjectLimitExceeded { projects: String, offer: Option<String> },
    #[error(
        "This month's requests are used up: {used} of {limit}. From {} on there are {limit} again. {}",
        resets.first_day(),
        offer.as_deref().unwrap_or("For more before that, ask the operator for a larger plan.")
    )]
    MonthlyQuotaExceeded { used: u64, limit: u32, resets: Month, offer: Option<String> },
    #[error("This USER_ID is blocked. Ask the operator why.")]
    UserBlocked,
    #[error(
        "You haven't signed in for this yet. Run `bash setup.sh --auth codex` once, or ask the \
         operator to help you sign in; then try again."
    )]
    NoCodexSession,
    #[error(
        "Your sign-in has ended. Run `bash setup.sh --auth codex` to sign in again, then try again. \
         Nothing else is lost."
    )]
    CodexSessionExpired,
    #[error(
        "Stripe goes on charging this person for {subscriptions}, and forgetting doesn't end that. Cancel \
         it in Stripe's dashboard first and ask again then; or ask with ?force=true, and cancel it \
         afterwards. Nothing was done."
    )]
    SubscriptionRunning { subscriptions: String },
    #[error("This page is for the operator. Sign in with the operator's token.")]
    OperatorRequired,
    #[error(
        "This didn't come from the operator's own page, so nothing was done. Reload the page and \
         try again."
    )]
    CsrfFailed,
    #[error("This gateway needs to know who you are. Set your USER_ID, or use your gateway key.")]
    AnonymousDisabled,
    #[error(
        "This code isn't right. Compare it letter by letter, check that the USER_ID is yours, or \
         ask the operator for a new code."
    )]
    InvalidCode,
    #[error(
        "This code has been used. Your gateway key is where you used it; or ask the operator for a \
         new code."
    )]
    CodeUsed,
    #[error("This code is no longer good. Ask the operator for a new one.")]
    CodeExpired,
    #[error("{0}")]
    InvalidRoster(#[from] RosterError),
    #[error("This isn't a whole ZIP file, so nothing was kept. Send the kit again.")]
    InvalidKit,
    #[error(
        "There is no kit at this address. Compare it with your card, letter by letter, or ask the \
         operator for another card."
    )]
    KitUnknown,
    #[error("This kit is no longer handed out. Ask the operator for a new card.")]
    KitExpired,
    #[error("There is nothing at this address. Check the base URL and the path.")]
    NotFound,
    #[error("No endpoint here. The base URL must end in /v1: {base_url}")]
    NoEndpoint { base_url: String },
    #[error("This gateway's OpenClaw has no such endpoint. It has {offered} at {base_url}.")]
    NotOffered { offered: &'static str, base_url: String },
    #[error("This tier isn't sold here. Choose one of {sold}, as in /upgrade?tier=tier1.")]
    TierNotSold { sold: String },
    #[error(
        "You have a subscription already, and another would be paid for beside it. Ask the operator to \
         change yours."
    )]
    AlreadySubscribed,
    #[error("This address doesn't take {method} requests. Use {allow}.")]
    MethodNotAllowed { method: String, allow: String },
    #[error("The request is too large: at most {limit} bytes are accepted.")]
    RequestTooLarge { limit: u64 },
    #[error(
        "Your request didn't arrive in time, so nothing was done with it. Check your connection, and send \
         it again."
    )]
    RequestTimeout { is_begun: bool },
    #[error(
        "This gateway can't read a request in the encoding {encoding}. Send it without Content-Encoding, or \
         as gzip, deflate or zstd."
    )]
    UnsupportedEncoding { encoding: String },
    #[error("Rate limit exceeded. {limit} requests/minute. Try again in {seconds} seconds.")]
    RateLimitExceeded { limit: u32, seconds: i64, retry_after_ms: i64 },
    #[error(
        "Too many attempts from your network. Wait {} seconds and try again; what is right isn't \
         refused for this, so check what you sent.", whole_seconds(*retry_after_ms)
    )]
    TooManyAttempts { retry_after_ms: i64 },
    #[error("Too many requests at once: {limit} may run at the same time. Wait for one to end.")]
    ConcurrencyLimitExceeded { limit: u32 },
    #[error(
        "A sign-in was begun a moment ago. Use the code that it showed, or wait {} seconds and begin \
         again.", whole_seconds(*retry_after_ms)
    )]
    SignInTooSoon { retry_after_ms: i64 },
    #[error("Something went wrong in the gateway. Try again; if it stays so, tell the operator.")]
    Internal,
    #[error(
        "The list was not taken in whole. Send it again with ?reissue=true; codes that were given \
         out before are void then."
    )]
    RosterUnfinished,
    #[error("The agent can't be reached right now. Try again in a minute, or tell the operator.")]
    UpstreamUnreachable,
    #[error("The agent answered with something that can't be passed on. Tell the operator.")]
    UpstreamNonsense,
    #[error("The agent broke off in the middle of its answer. Send it again.")]
    UpstreamInterrupted,
    #[error(
        "Your sign-in can't be renewed right now, for the sign-in service doesn't answer. Try again \
         in a minute; you don't need to sign in again."
    )]
    TokenEndpointUnavailable,
    #[error(
        "The agent's address leads elsewhere. Tell the operator to check OPENCLAW_URL and UPSTREAMS."
    )]
    UpstreamRedirect,
    #[error("The agent took too long to begin its answer. Try again with a smaller task.")]
    UpstreamTimeout,
    #[error(
        "The model's provider can't be reached right now. Try again in a minute, or tell the operator."
    )]
    ProviderUnreachable,
    #[error(
        "The model's provider took too long to begin its answer. Try again with a smaller task."
    )]
    ProviderTimeout,
    #[error(
        "The address of the model's provider leads elsewhere. Tell the operator to check \
         BYOK_PROVIDER_URL and CODEX_PROVIDER_URL."
    )]
    ProviderRedirect,
    #[error(
        "The agent is busy with others, and yours was not begun. Try again in {} seconds; nothing is \
         lost.", whole_seconds(*retry_after_ms)
    )]
    UpstreamBusy { waited_ms: i64, retry_after_ms: i64 },
    #[error(
        "The database that answers this can't be reached right now. Try again in a minute; users' \
         requests go on meanwhile."
    )]
    DatabaseUnavailable,
    #[error(
        "Cloudflare Access can't be asked for its keys right now, so nobody is known by it. Try again \
         in a few seconds; if it stays so, compare ACCESS_TEAM_DOMAIN with the team's domain."
    )]
    AccessUnavailable,
    #[error("The gateway isn't set up completely: {0}. Tell the operator.")]
    NotConfigured(String),
}

impl Error {
    /// The HTTP status.
    pub const fn status(&self) -> u16 {
        match self {
            Self::InvalidUserId
            | Self::UserIdConflict
            | Self::InvalidPath
            | Self::CredentialConflict
            | Self::InvalidJson { .. }
            | Self::InvalidQuery { .. }
            | Self::InvalidProjectId
            | Self::InvalidConversationId
            | Self::PreviousResponseNotFound
            | Self::PreviousResponseElsewhere
            | Self::HttpsRequired
            | Self::InvalidSignature
            | Self::InvalidKit
            | Self::NoAgentOfOwn
            | Self::InvalidRoster(_) => 400,
            Self::MissingKey(_)
            | Self::InvalidKey
            | Self::UserIdBound
            | Self::NoCodexSession
            | Self::CodexSessionExpired
            | Self::InvalidHandle
            | Self::NoRunInProgress { .. }
            | Self::OperatorRequired => 401,
            Self::PaymentRequired { .. }
            | Self::ProjectLimitExceeded { .. }
            | Self::MonthlyQuotaExceeded { .. } => 402,
            Self::AnonymousDisabled | Self::UserBlocked | Self::CsrfFailed => 403,
            Self::NotFound
            | Self::NoEndpoint { .. }
            | Self::NotOffered { .. }
            | Self::TierNotSold { .. }
            | Self::AlreadySubscribed
            | Self::KitUnknown
            | Self::InvalidCode => 404,
            Self::MethodNotAllowed { .. } => 405,
            Self::SubscriptionRunning { .. } | Self::AnotherKeyInUse => 409,
            Self::CodeUsed | Self::CodeExpired | Self::KitExpired => 410,
            Self::RequestTimeout { .. } => 408,
            Self::RequestTooLarge { .. } => 413,
            Self::UnsupportedEncoding { .. } => 415,
            Self::UpgradeRequired => 426,
            Self::RateLimitExceeded { .. }
            | Self::TooManyAttempts { .. }
            | Self::SignInTooSoon { .. }
            | Self::ConcurrencyLimitExceeded { .. } => 429,
            Self::Internal | Self::RosterUnfinished => 500,
            Self::UpstreamUnreachable
            | Self::UpstreamNonsense
            | Self::UpstreamInterrupted
            | Self::UpstreamRedirect
            | Self::ProviderUnreachable
            | Self::ProviderRedirect
            | Self::TokenEndpointUnavailable => 502,
            Self::NotConfigured(_)
            | Self::AccessUnavailable
            | Self::DatabaseUnavailable
            | Self::UpstreamBusy { .. } => 503,
            Self::UpstreamTimeout | Self::ProviderTimeout => 504,
        }
    }

    /// The code that a program can act on.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::InvalidUserId | Self::NoAgentOfOwn => "invalid_user_id",
            Self::UserIdConflict => "user_id_conflict",
            Self::InvalidPath => "invalid_path",
            Self::CredentialConflict => "credential_conflict",
            Self::InvalidJson { .. } => "invalid_json",
            Self::InvalidQuery { .. } => "invalid_query",
            Self::InvalidProjectId => "invalid_project_id",
            Self::InvalidConversationId => "invalid_conversation_id",
            Self::PreviousResponseNotFound | Self::PreviousResponseElsewhere => {
                "previous_response_not_found"
            }
            Self::UpgradeRequired => "upgrade_required",
            Self::HttpsRequired => "https_required",
            Self::InvalidSignature => "invalid_signature",
            Self::MissingKey(_) => "missing_key",
            Self::InvalidKey => "invalid_key",
            Self::AnotherKeyInUse => "another_key_in_use",
            Self::InvalidHandle => "invalid_handle",
            Self::NoRunInProgress { .. } => "no_run_in_progress",
            Self::UserIdBound => "user_id_bound",
            Self::PaymentRequired { .. } => "payment_required",
            Self::ProjectLimitExceeded { .. } => "project_limit_exceeded",
            Self::MonthlyQuotaExceeded { .. } => "monthly_quota_exceeded",
            Self::UserBlocked => "user_blocked",
            Self::NoCodexSession => "no_codex_session",
            Self::CodexSessionExpired => "codex_session_expired",
            Self::TokenEndpointUnavailable => "token_endpoint_unavailable",
            Self::SubscriptionRunning { .. } => "subscription_running",
            Self::OperatorRequired => "operator_required",
            Self::CsrfFailed => "csrf_failed",
            Self::AnonymousDisabled => "anonymous_disabled",
            Self::InvalidCode => "invalid_code",
            Self::CodeUsed => "code_used",
            Self::CodeExpired => "code_expired",
            Self::InvalidRoster(_) => "invalid_roster",
            Self::InvalidKit => "invalid_kit",
            Self::KitExpired => "kit_expired",
            Self::NotFound
            | Self::NoEndpoint { .. }
            | Self::NotOffered { .. }
            | Self::TierNotSold { .. }
            | Self::AlreadySubscribed
            | Self::KitUnknown => "not_found",
            Self::MethodNotAllowed { .. } => "method_not_allowed",
            Self::RequestTooLarge { .. } => "request_too_large",
            Self::RequestTimeout { .. } => "request_timeout",
            Self::UnsupportedEncoding { .. } => "unsupported_encoding",
            Self::RateLimitExceeded { .. } => "rate_limit_exceeded",
            Self::TooManyAttempts { .. } | Self::SignInTooSoon { .. } => "too_many_attempts",
            Self::ConcurrencyLimitExceeded { .. } => "concurrency_limit_exceeded",
            Self::Internal | Self::RosterUnfinished => "internal_error",
            Self::UpstreamUnreachable | Self::ProviderUnreachable => "upstream_unreachable",
            Self::UpstreamNonsense => "upstream_error",
            Self::UpstreamInterrupted => "upstream_interrupted",
            Self::UpstreamRedirect | Self::ProviderRedirect => "upstream_redirect",
            Self::UpstreamTimeout | Self::ProviderTimeout => "upstream_timeout",
            Self::UpstreamBusy { .. } => "upstream_busy",
            Self::AccessUnavailable => "access_unavailable",
            Self::DatabaseUnavailable => "database_unavailable",
            Self::NotConfigured(_) => "not_configured",
        }
    }

    /// The body of the answer, in the shape that clients of this protocol read.
    pub fn to_json(&self, protocol: Protocol, request_id: &str) -> String {
        let (status, message, code) = (self.status(), self.to_string(), self.code());
        ErrorBody { status, message: &message, code, request_id }.to_json(protocol)
    }

    /// The headers that belong to the error.
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        match self {
            Self::MethodNotAllowed { allow, .. } => vec![("allow", allow.clone())],
            Self::RateLimitExceeded { retry_after_ms, .. }
            | Self::TooManyAttempts { retry_after_ms }
            | Self::SignInTooSoon { retry_after_ms } => {
                domain::rate_headers::retry_headers(*retry_after_ms).into()
            }
            Self::UpstreamBusy { waited_ms, retry_after_ms } => {
                let [seconds, exact] = domain::rate_headers::retry_headers(*retry_after_ms);
                let waited = ("x-queue-ms", waited_ms.to_string());
                // Nothing was sent upstream, so nothing is done twice.
                vec![seconds, exact, waited, ("x-should-retry", "true".to_owned())]
            }
            Self::ConcurrencyLimitExceeded { .. } => vec![("retry-after", "1".to_owned())],
            Self::RequestTimeout { is_begun: true } => {
                vec![("x-should-retry", "false".to_owned())]
            }
            _ if matches!(self.status(), 402 | 403) => {
                vec![("x-should-retry", "false".to_owned())]
            }
            _ => Vec::new(),
        }
    }

    /// The same, said of a model's provider instead of the agent.
    #[must_use]
    pub fn of_the_provider(self) -> Self {
        match self {
            Self::UpstreamUnreachable => Self::ProviderUnreachable,
            Self::UpstreamTimeout => Self::ProviderTimeout,
            Self::UpstreamRedirect => Self::ProviderRedirect,
            other => other,
        }
    }

    /// There is nothing to send requests to.
    pub fn no_upstream() -> Self {
        Self::NotConfigured("OPENCLAW_URL is missing".to_owned())
    }
}

/// Rounded up.
const fn whole_seconds(milliseconds: i64) -> i64 {
    (milliseconds + 999).div_euclid(1_000)
}

impl From<InvalidUserId> for Error {
    fn from(_: InvalidUserId) -> Self {
        Self::InvalidUserId
    }
}

impl From<InvalidCursor> for Error {
    fn from(_: InvalidCursor) -> Self {
        let problem = "`cursor` is what the page before gave as its `cursor`.";
        Self::InvalidQuery { problem: problem.to_owned() }
    }
}

impl From<IdentityError> for Error {
    fn from(error: IdentityError) -> Self {
        match error {
            IdentityError::InvalidUserId => Self::InvalidUserId,
            IdentityError::Conflict => Self::UserIdConflict,
            IdentityError::CredentialConflict => Self::CredentialConflict,
            IdentityError::InvalidKey => Self::InvalidKey,
        }
    }
}
