//! What the benchmarks run on: one request's messages and one answer's bytes.

use domain::endpoint::Endpoint;
use domain::entry::{Entry, Outcome};
use domain::identifiers::UserId;
use domain::meter::{Answer, Format, Meter};
use domain::secret::Secret;
use domain::session::Limits;
use domain::session::access::Shown;
use domain::session::messages::{Admit, Settle};
use domain::settings::UserBinding;
use domain::tier::TierRules;
use domain::upstreams::{DEFAULT, STREAM_IDLE_MS, Upstream};
use domain::window::Rate;

/// An admission, as the front Worker asks for it.
#[must_use]
pub fn admit(request_id: &str) -> Admit {
    let entry = Entry {
        request_id: request_id.to_owned(),
        user_id: UserId::anonymous(),
        endpoint: "/v1/chat/completions".to_owned(),
        project: "default".to_owned(),
        model: None,
        key_id: None,
        ip_hash: None,
        created_at: "2026-11-21 06:23:36.000".to_owned(),
        count: 1,
        month: None,
        outcome: Outcome::interrupted(),
    };
    Admit {
        shown: Shown::default(),
        vouched: true,
        is_free: false,
        previous_response_id: None,
        funds: None,
        entry,
    }
}

/// The settlement of the same request.
#[must_use]
pub fn settle(request_id: &str) -> Settle {
    Settle { request_id: request_id.to_owned(), outcome: Outcome::answered(200, 7) }
}

/// A meter of a chat's answer.
#[must_use]
pub fn chat_meter(format: Format, strip_usage: bool) -> Meter {
    let endpoint = Endpoint::of("POST", "/v1/chat/completions");
    Meter::new(Answer { format, endpoint, strip_usage, request_id: "req_1".to_owned() })
}

/// An upstream that everybody's requests go to.
#[must_use]
pub fn upstream() -> Upstream {
    Upstream {
        name: DEFAULT.into(),
        url: Secret::new(String::new()),
        token: None,
        access: None,
        slots: None,
        stream_idle_ms: STREAM_IDLE_MS,
        tiers: Vec::new(),
    }
}

/// What a user may do who pays nothing and has proven nothing.
#[must_use]
pub const fn limits<'a>(rate: Rate, rules: &'a TierRules, upstreams: &'a [Upstream]) -> Limits<'a> {
    Limits {
        binding: UserBinding::FirstKey,
        rate,
        in_flight: 8,
        needs_token: false,
        rules,
        upstreams,
    }
}

/// One event of a streamed chat completion.
pub const EVENT: &[u8] = br#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795246238,"model":"echo","choices":[{"index":0,"delta":{"content":"Hello "},"logprobs":null,"finish_reason":null}],"usage":null}

"#;
