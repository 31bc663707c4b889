//! What goes to the upstream and what comes back: the lists, and nothing that isn't on them.

use chrono::DateTime;

use crate::meter::Format;

/// The request headers that are forwarded as they came.
#[must_use]
pub fn forwards_request_header(name: &str) -> bool {
    matches!(
        name,
        "accept"
            | "content-encoding"
            | "content-type"
            | "content-length"
            | "user-agent"
            | "idempotency-key"
    ) || name.starts_with("openai-")
        || name.starts_with("anthropic-")
        || name.starts_with("x-stainless-")
}

/// Whether a header of the upstream's answer has a value that a client can act on. What tells it to come
/// again must be one number within a day, or a date; a client that can't read it may come at once.
#[must_use]
pub fn is_sensible(name: &str, value: &str) -> bool {
    let within = |most: f64| {
        let is_plain = value.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        is_plain && value.parse::<f64>().is_ok_and(|number| number <= most)
    };
    let is_date = || value.ends_with(" GMT") && DateTime::parse_from_rfc2822(value).is_ok();
    match name {
        "retry-after" => within(86_400.0) || is_date(),
        "retry-after-ms" => within(86_400_000.0),
        "x-should-retry" => matches!(value, "true" | "false"),
        _ => true,
    }
}

/// The name under which a header of the upstream's answer reaches the client, if it does.
#[must_use]
pub fn response_header_name(name: &str) -> Option<String> {
    let passes = matches!(
        name,
        "content-type"
            | "content-disposition"
            | "cache-control"
            | "request-id"
            | "retry-after"
            | "retry-after-ms"
            | "x-should-retry"
    ) || name.starts_with("openai-")
        || name.starts_with("anthropic-ratelimit-");
    let renamed = name.starts_with("x-ratelimit-") || name == "x-request-id";
    if passes {
        Some(name.to_owned())
    } else if renamed {
        name.strip_prefix("x-").map(|rest| format!("x-upstream-{rest}"))
    } else {
        None
    }
}

/// The encoding that a body still has once the runtime has read it: gzip and brotli it takes off.
#[must_use]
pub fn remaining_encoding(content_encoding: Option<&str>) -> Option<String> {
    let encoding = content_encoding.unwrap_or_default().trim().to_ascii_lowercase();
    let is_off = matches!(encoding.as_str(), "" | "identity" | "gzip" | "br");
    (!is_off).then_some(encoding)
}

/// The kind of a body, by its `content-type`. A body without one is taken for JSON, as clients do.
#[must_use]
pub fn format(content_type: Option<&str>) -> Format {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
    match essence.trim().to_ascii_lowercase().as_str() {
        "" | "application/json" | "text/json" => Format::Json,
        "text/event-stream" => Format::EventStream,
        "text/html" | "application/xhtml+xml" => Format::Page,
        other if other.ends_with("+json") => Format::Json,
        _ => Format::Opaque,
    }
}

/// The endpoints that a real OpenClaw is reached at, in words.
pub const AGENT_ENDPOINTS: &str = "/chat/completions, /responses, /embeddings and /models";

/// The methods that a real OpenClaw is reached with at a path; empty where it isn't.
#[must_use]
pub fn agent_methods(path: &str) -> &'static [&'static str] {
    match path {
        "/v1/chat/completions" | "/v1/responses" | "/v1/embeddings" => &["POST"],
        "/v1/models" => &["GET"],
        other if other.starts_with("/v1/models/") => &["GET"],
        _ => &[],
    }
}

/// The session that a real OpenClaw is told. Where the model names an agent, the key names it too:
/// with several agents OpenClaw refuses a key that doesn't (measured on 2026.9.6).
#[must_use]
pub fn agent_session(model: &str, session_key: &str) -> String {
    match model.strip_prefix("openclaw/").filter(|agent| *agent != "default") {
        Some(agent) => format!("agent:{agent}:{session_key}"),
        None => session_key.to_owned(),
    }
}

/// Whether OpenClaw knows the agent that a model names by this very name. It makes others fit, with a
/// dash for what it doesn't know and without their ends, and two users' could be the same then
/// (`normalizeAgentId` in 2026.9.6).
#[must_use]
pub fn names_one_agent(model: &str) -> bool {
    let agent = model.strip_prefix("openclaw/").unwrap_or_default();
    let is_known = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let begins_well = agent.starts_with(|first: char| first.is_ascii_alphanumeric());
    begins_well && agent.len() <= 64 && agent.bytes().all(is_known)
}

/// The request headers of OpenClaw's that a provider gets as they came.
#[must_use]
pub fn forwards_to_provider(name: &str) -> bool {
    forwards_request_header(name) || matches!(name, "originator" | "session_id")
}

/// Where below a provider's base URL a call goes that came for a path of `/return`: to a model, and to
/// nothing else that a key opens, such as its owner's files. Codex tokens are taken at one path, which
/// OpenClaw has two names for.
#[must_use]
pub fn provider_path<'a>(method: &str, path: &'a str, is_codex: bool) -> Option<&'a str> {
    let path = path.strip_prefix("/return/v1")?;
    let path = if is_codex { path.strip_prefix("/codex").unwrap_or(path) } else { path };
    let is_call = match (method, path) {
        ("POST", "/responses" | "/responses/compact") => true,
        ("POST", "/chat/completions" | "/embeddings") | ("GET", "/models") => !is_codex,
        _ => false,
    };
    is_call.then_some(path)
}

/// Whether an answer of a real OpenClaw would make an SDK run the agent once more.
#[must_use]
pub const fn sdk_would_retry(status: u16) -> bool {
    matches!(status, 408 | 409 | 429) || status >= 500
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_users_never_share_an_agent() {
        for good in ["openclaw/u-ada", "openclaw/u-a_b-2", &format!("openclaw/{}", "a".repeat(64))]
        {
            assert!(names_one_agent(good), "{good}");
        }
        for bad in ["openclaw/u-a.b", "openclaw/", "u-ada", &format!("openclaw/{}", "a".repeat(65))]
        {
            assert!(!names_one_agent(bad), "{bad}");
        }
    }

    #[test]
    fn a_call_goes_to_the_providers_own_path() {
        let post = |path, is_codex| provider_path("POST", path, is_codex);
        assert_eq!(post("/return/v1/chat/completions", false), Some("/chat/completions"));
        assert_eq!(post("/return/v1/codex/responses", true), Some("/responses"));
        assert_eq!(post("/return/v1/responses", true), Some("/responses"));
        assert_eq!(provider_path("GET", "/return/v1/models", false), Some("/models"));
        for none in ["/return/v1", "/return/v1x", "/return/v1/files", "/v1/responses"] {
            assert_eq!((post(none, false), post(none, true)), (None, None), "{none}");
        }
        assert_eq!(post("/return/v1/codex/responses", false), None, "that is the other provider's");
        assert_eq!(post("/return/v1/chat/completions", true), None);
        for method in ["GET", "DELETE"] {
            for path in ["/return/v1/files/f-1", "/return/v1/responses/r-1", "/return/v1/responses"]
            {
                assert_eq!(provider_path(method, path, false), None, "{method} {path}");
            }
        }
        assert!(forwards_to_provider("content-encoding") && !forwards_to_provider("authorization"));
        assert!(!forwards_to_provider("chatgpt-account-id"), "that is the gateway's to say");
    }

    #[test]
    fn nothing_that_names_or_proves_a_caller_goes_upstream() {
        for name in [
            "authorization",
            "cookie",
            "x-user-id",
            "x-gateway-key",
            "x-forwarded-for",
            "forwarded",
            "x-real-ip",
            "origin",
            "x-openclaw-session-key",
            "x-forwarded-user",
            "cf-connecting-ip",
            "host",
            "connection",
            "x-codex-token",
            "x-api-key",
            "accept-encoding",
            "x-openai",
        ] {
            assert!(!forwards_request_header(name), "{name}");
        }
        for name in [
            "accept",
            "anthropic-version",
            "anthropic-beta",
            "openai-organization",
            "x-stainless-lang",
            "idempotency-key",
        ] {
            assert!(forwards_request_header(name), "{name}");
        }
    }

    #[test]
    fn the_upstreams_own_limits_come_under_another_name() {
        let name = |name| response_header_name(name);
        assert_eq!(name("x-ratelimit-limit-tokens").unwrap(), "x-upstream-ratelimit-limit-tokens");
        assert_eq!(name("x-request-id").unwrap(), "x-upstream-request-id");
        for same in ["openai-version", "request-id", "anthropic-ratelimit-requests-reset"] {
            assert_eq!(name(same).unwrap(), same);
        }
        for dropped in [
            "set-cookie",
            "location",
            "server",
            "access-control-allow-origin",
            "ratelimit",
            "anthropic-organization-id",
        ] {
            assert_eq!(name(dropped), None, "{dropped}");
        }
    }

    #[test]
    fn a_session_key_names_the_agent_that_the_model_names() {
        assert_eq!(agent_session("openclaw/default", "p-1"), "p-1");
        assert_eq!(agent_session("openclaw", "p-1"), "p-1");
        assert_eq!(agent_session("openclaw/u-ada", "p-1"), "agent:u-ada:p-1");
    }

    #[test]
    fn a_body_is_known_by_its_content_type() {
        assert_eq!(format(Some("application/json; charset=utf-8")), Format::Json);
        assert_eq!(format(Some("Text/Event-Stream")), Format::EventStream);
        assert_eq!(format(Some("application/problem+json")), Format::Json);
        assert_eq!(format(Some("text/html; charset=utf-8")), Format::Page);
        assert_eq!(format(Some("audio/mpeg")), Format::Opaque);
        assert_eq!(format(None), Format::Json);
    }

    #[test]
    fn only_a_hint_that_can_be_read_goes_on() {
        for good in ["0", "7", "1.5", "86400", "Sun, 06 Nov 1994 08:49:37 GMT"] {
            assert!(is_sensible("retry-after", good), "{good}");
        }
        for bad in [
            "",
            "soon",
            "1, 2",
            "-1",
            "+1",
            "1e3",
            "inf",
            "NaN",
            "0x10",
            "1.2.3",
            ".",
            "86401",
            "99999999999",
            "Sun, 06 Nov 1994",
            "tomorrow GMT",
        ] {
            assert!(!is_sensible("retry-after", bad), "{bad}");
        }
        assert!(is_sensible("retry-after-ms", "86400000"));
        assert!(!is_sensible("retry-after-ms", "86400001"));
        assert!(!is_sensible("x-should-retry", "maybe"));
        assert!(is_sensible("content-type", "soon"));
    }

    #[test]
    fn an_agent_is_reached_by_a_list() {
        assert_eq!(agent_methods("/v1/responses"), ["POST"]);
        assert_eq!(agent_methods("/v1/models/openclaw/default"), ["GET"]);
        for path in
            ["/v1", "/v1/", "/v1/completions", "/v1/responses/x", "/v1/modelsx", "/tools/invoke"]
        {
            assert!(agent_methods(path).is_empty(), "{path}");
        }
    }
}
