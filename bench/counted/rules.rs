//! What is counted, and what it is called with.

use std::hint::black_box;

use bench::{EVENT, admit, settle};
use domain::agent_body::{self, ModelChoice};
use domain::chat_body;
use domain::endpoint::Protocol;
use domain::fingerprint::Fingerprint;
use domain::gateway_key;
use domain::identifiers::UserId;
use domain::identity;
use domain::keyed_hash::session_key;
use domain::meter::{Format, Meter};
use domain::path::{canonical, gateway_path};
use domain::rate_headers::standing_headers;
use domain::secret::Secret;
use domain::session::messages::{Admission, Admit, Standing};
use domain::session::{Limits, Session, Stored};
use domain::tier::TierRules;
use domain::upstream_policy::{forwards_request_header, response_header_name};
use domain::window::{MINUTE, Rate, SlidingWindow};

use crate::counted;

/// Each rule by its name in `bench/gates.toml`.
pub const RULES: &[(&str, fn())] = &[
    ("admit", admit_one),
    ("admit, refused", refuse_one),
    ("agent body", agent_body_of_chat),
    ("chat body", chat_body_with_usage),
    ("identity, by header and bearer", identity_by_header),
    ("identity, by gateway key", identity_by_key),
    ("json answer", json_answer),
    ("message, read", message_read),
    ("message, written", message_written),
    ("meter, an event", meter_event),
    ("meter, half an event", meter_half),
    ("meter, usage held back", meter_usage),
    ("names of headers", header_names),
    ("path", path),
    ("session key", key_of_session),
    ("settle", settle_one),
    ("standing", standing),
    ("window, decided", window),
];

const RATE: Rate = Rate { limit: 50, window: MINUTE };

const CHAT: &[u8] = br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"system","content":"You are a helpful assistant."},{"role":"user","content":"Hello"}]}"#;

const USAGE: &[u8] = br#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1795246238,"model":"echo","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}

"#;

const ANSWER: &[u8] = br#"{"id":"chatcmpl-1","object":"chat.completion","created":1795246238,"model":"echo","choices":[{"index":0,"message":{"role":"assistant","content":"Hello, what can I do for you?"},"finish_reason":"stop"}],"usage":{"prompt_tokens":9,"completion_tokens":9,"total_tokens":18}}"#;

/// A session in the midst of a minute: so many requests came, each a second after the one before, and
/// were settled.
fn with_session(requests: i64, call: impl FnOnce(&mut Session, Limits<'_>, i64)) {
    let (rules, upstreams) = (TierRules::default(), [bench::upstream()]);
    let limits = bench::limits(RATE, &rules, &upstreams);
    let mut session = Session::restore(Stored::default(), 0).0;
    for number in 0..requests {
        let name = format!("req_{number}");
        let (admission, _) = session.admit(admit(&name), limits, number * 1_000);
        assert!(matches!(admission, Admission::Admitted(_)), "{admission:?}");
        session.settle(settle(&name), number * 1_000);
        session.flush_succeeded(i64::MAX, 0, number * 1_000);
    }
    call(&mut session, limits, requests * 1_000);
}

fn admit_one() {
    with_session(40, |session, limits, now| {
        let message = black_box(admit("req"));
        let (admission, _) = counted(|| session.admit(message, limits, now));
        assert!(matches!(admission, Admission::Admitted(_)), "{admission:?}");
    });
}

fn refuse_one() {
    with_session(50, |session, limits, now| {
        let message = black_box(admit("req"));
        let (admission, _) = counted(|| session.admit(message, limits, now));
        assert!(matches!(admission, Admission::Refused(_)), "{admission:?}");
    });
}

fn settle_one() {
    with_session(40, |session, limits, now| {
        session.admit(admit("req"), limits, now);
        let message = black_box(settle("req"));
        let (is_settled, _) = counted(|| session.settle(message, now));
        assert!(is_settled);
    });
}

fn window() {
    let mut window = SlidingWindow::restore((0..50).map(|number| number * 1_000), 50_000);
    let wait = counted(|| black_box(&mut window).next_free(RATE, 50_000));
    assert!(wait > 0);
}

fn path() {
    let path = black_box("/u/ada/v1/chat/completions");
    let read = counted(|| canonical(path).is_ok_and(|path| gateway_path(&path).is_some()));
    assert!(read);
}

fn resolved(name: Option<&str>, authorization: &str) {
    let path = gateway_path("/v1/chat/completions");
    let Some(path) = &path else { return };
    let header = |header: &str| match header {
        "x-user-id" => name,
        "authorization" => Some(authorization),
        _ => None,
    };
    let caller = counted(|| identity::resolve(black_box(path), header));
    assert!(caller.is_ok_and(|caller| caller.user_id.as_str() == "ada"));
}

fn identity_by_header() {
    resolved(Some("ada"), "Bearer sk-proj-0123456789abcdefghijklmnopqrstuvwxyz");
}

fn identity_by_key() {
    let Ok(ada) = UserId::parse("ada") else { return };
    let (key, _) = gateway_key::mint(&ada, &[7; 32]);
    resolved(None, &format!("Bearer {}", key.expose()));
}

fn chat_body_with_usage() {
    let body = counted(|| chat_body::prepare(black_box(CHAT)));
    assert!(body.replacement.is_some());
}

fn agent_body_of_chat() {
    let models = ["gpt-4o".to_owned()];
    let models = ModelChoice { default: "openclaw/default", allowed: &models };
    let body = counted(|| agent_body::prepare(black_box(CHAT), Protocol::Chat, models));
    assert!(body.is_ok());
}

fn meter_of(strip_usage: bool) -> Meter {
    let mut meter = bench::chat_meter(Format::EventStream, strip_usage);
    meter.push(EVENT);
    meter
}

fn meter_event() {
    let mut meter = meter_of(false);
    counted(|| meter.push(black_box(EVENT)));
    assert!(meter.tally().tokens > 0);
}

fn meter_usage() {
    let mut meter = meter_of(true);
    counted(|| meter.push(black_box(USAGE)));
    assert_eq!(meter.tally().tokens, 18);
}

fn meter_half() {
    let mut meter = meter_of(true);
    let (first, second) = EVENT.split_at(EVENT.len() / 2);
    meter.push(first);
    counted(|| meter.push(black_box(second)));
    assert!(meter.tally().tokens > 0);
}

fn json_answer() {
    let mut meter = bench::chat_meter(Format::Json, false);
    counted(|| meter.push(black_box(ANSWER)));
    assert!(meter.lack().is_none() && meter.tally().tokens > 0);
}

fn message_written() {
    let message = black_box(admit("req_0123456789abcdef"));
    let text = counted(|| serde_json::to_string(&message));
    assert!(text.is_ok());
}

fn message_read() {
    let text = serde_json::to_string(&admit("req_0123456789abcdef")).unwrap_or_default();
    let message = counted(|| serde_json::from_str::<Admit>(black_box(&text)));
    assert!(message.is_ok());
}

fn header_names() {
    let names = ["accept", "content-type", "authorization", "x-ratelimit-limit-tokens", "server"];
    let passed = counted(|| {
        let names = black_box(names).into_iter();
        names
            .filter(|name| forwards_request_header(name) | response_header_name(name).is_some())
            .count()
    });
    assert_eq!(passed, 3);
}

fn standing() {
    let standing =
        Standing { limit: 50, remaining: 12, empty_in_ms: 59_500, next_free_ms: 0, month: None };
    let headers = counted(|| standing_headers(black_box(standing)));
    assert_eq!(headers.len(), 5);
}

fn key_of_session() {
    let Ok(ada) = UserId::parse("ada") else { return };
    let secret = Secret::new("0123456789abcdef0123456789abcdef".to_owned());
    let key = counted(|| session_key(black_box(&secret), &ada, "default", "c1"));
    assert!(!key.is_empty() && Fingerprint::of(&key).hex().len() == 64);
}
