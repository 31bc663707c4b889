//! The operator's settings: read once, checked whole.

mod alerts;
mod billing;
mod codex;
mod operator;
mod return_path;
mod upstreams;

use std::str::FromStr;

use serde::Serialize;
use url::Url;

pub use self::billing::Billing;
pub use self::codex::CodexSettings;
pub use self::operator::OperatorSettings;
pub use self::return_path::ReturnSettings;
use crate::secret::Secret;
use crate::upstreams::{DEFAULT, Upstream};

/// So that a month's rows are there when it is closed, and for a week after that.
const SHORTEST_RETENTION: u32 = 40;

/// Whose credential pays for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum AuthMode {
    /// The one that the caller sends along.
    OpenAi,
    /// The Codex token that is kept here for the caller.
    Codex,
}

/// How callers prove who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserBinding {
    /// Not at all: the header is believed.
    Open,
    /// By the bearer of the first request that succeeded, or by a gateway key.
    FirstKey,
    /// By a gateway key, always.
    Key,
}

/// What stands behind the gateway.
#[derive(Clone, Debug)]
pub enum UpstreamKind {
    /// Any OpenAI-compatible server; the caller's own `Authorization` goes through.
    Passthrough,
    /// A real OpenClaw, reached with the gateway's token.
    Agent(AgentSettings),
}

impl UpstreamKind {
    const fn agent(&self) -> Option<&AgentSettings> {
        match self {
            Self::Passthrough => None,
            Self::Agent(agent) => Some(agent),
        }
    }

    fn token(&self) -> Option<&Secret<String>> {
        self.agent().map(|agent| &agent.token)
    }
}

/// What a real OpenClaw needs.
#[derive(Clone, Debug)]
pub struct AgentSettings {
    /// `OPENCLAW_GATEWAY_TOKEN`.
    pub token: Secret<String>,
    /// `SESSION_KEY_SECRET`.
    pub session_key_secret: Secret<String>,
    /// `OPENCLAW_MODEL`; `{user}` in it stands for the USER_ID.
    pub model: String,
    /// `OPENCLAW_MODELS`: the models that a client may name.
    pub models: Vec<String>,
}

/// All settings, valid in themselves and together.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `AUTH_MODE`.
    pub auth_mode: AuthMode,
    /// What keeping Codex tokens needs; people may sign in before `AUTH_MODE` is changed.
    pub codex: Option<CodexSettings>,
    /// Tiers, and what Stripe sells.
    pub billing: Billing,
    /// `OPENCLAW_URL` with what belongs to it, if it is there, then those of `UPSTREAMS`.
    pub upstreams: Vec<Upstream>,
    /// `UPSTREAM_AUTH`.
    pub upstream: UpstreamKind,
    /// `UPSTREAM_NEEDS_KEY`: whether it wants a key of the caller's, where callers pay.
    pub upstream_needs_key: bool,
    /// `RETURN_PATH` and where it leads; none, and OpenClaw doesn't come back.
    pub return_path: Option<ReturnSettings>,
    /// `USER_BINDING`.
    pub user_binding: UserBinding,
    /// `ALLOW_ANONYMOUS`; only where callers pay with what they show.
    pub allow_anonymous: bool,
    /// `REQUESTS_PER_MINUTE`.
    pub requests_per_minute: u32,
    /// `MAX_IN_FLIGHT`.
    pub max_in_flight: u32,
    /// `UNPROVEN_PER_MINUTE`.
    pub unproven_per_minute: u32,
    /// `MAX_BODY_BYTES`.
    pub max_body_bytes: u64,
    /// `BODY_TIMEOUT_MS`: how long a request's body may take, and a second more for each 32 KB.
    pub body_timeout_ms: u32,
    /// `UPSTREAM_FIRST_BYTE_MS`.
    pub upstream_first_byte_ms: u32,
    /// Who the operator is; none, and the operator's routes don't exist.
    pub operator: Option<OperatorSettings>,
    /// `QUEUE_WAIT_MS`.
    pub queue_wait_ms: u32,
    /// `IP_HASH_PEPPER`.
    pub ip_hash_pepper: Option<Secret<String>>,
    /// `RETENTION_DAYS`: how long a request's row stays in D1.
    pub retention_days: u32,
    /// `CORS_ORIGINS`.
    pub cors_origins: Vec<String>,
    /// The host of `APP_URL`, the gateway's own address.
    pub host: Option<String>,
    /// `ALERT_WEBHOOK_URL`; none, and nobody is told.
    pub alert_webhook_url: Option<Secret<String>>,
}

/// A setting that can't be used, and what it should be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{name} {problem}")]
pub struct SettingError {
    /// The setting's name.
    pub name: &'static str,
    /// What is wrong with it; never its value, which may be a secret.
    pub problem: String,
}

fn wrong(name: &'static str, problem: impl Into<String>) -> SettingError {
    SettingError { name, problem: problem.into() }
}

/// The settings' texts by name; an empty one counts as absent.
struct Texts<F>(F);

impl<F: Fn(&str) -> Option<String>> Texts<F> {
    fn text(&self, name: &'static str) -> Option<String> {
        (self.0)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn secret(&self, name: &'static str) -> Option<Secret<String>> {
        self.text(name).map(Secret::new)
    }

    fn required(&self, name: &'static str, why: &str) -> Result<Secret<String>, SettingError> {
        self.secret(name).ok_or_else(|| wrong(name, format!("is missing: {why}")))
    }

    fn list(&self, name: &'static str) -> Vec<String> {
        let text = self.text(name).unwrap_or_default();
        let parts = text.split(',').map(str::trim);
        parts.filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }

    fn flag(&self, name: &'static str, default: bool) -> Result<bool, SettingError> {
        match self.text(name).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(wrong(name, "must be `true` or `false`")),
        }
    }

    fn positive<N: FromStr + PartialOrd + Default>(
        &self,
        name: &'static str,
        default: N,
    ) -> Result<N, SettingError> {
        let Some(text) = self.text(name) else { return Ok(default) };
        let number = text.parse::<N>().ok().filter(|number| *number > N::default());
        number.ok_or_else(|| wrong(name, "must be a positive whole number"))
    }
}

impl Settings {
    /// Reads the settings through `lookup`, which gives the text of a name.
    ///
    /// # Errors
    /// The first setting that is malformed, missing, or unsafe beside the others.
    pub fn parse(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, SettingError> {
        let texts = Texts(lookup);
        let auth_mode = match texts.text("AUTH_MODE").as_deref() {
            None | Some("openai") => AuthMode::OpenAi,
            Some("codex") => AuthMode::Codex,
            Some(_) => return Err(wrong("AUTH_MODE", "must be `openai` or `codex`")),
        };
        let user_binding = match texts.text("USER_BINDING").as_deref() {
            None | Some("first-key") => UserBinding::FirstKey,
            Some("open") => UserBinding::Open,
            Some("key") => UserBinding::Key,
            Some(_) => return Err(wrong("USER_BINDING", "must be `open`, `first-key` or `key`")),
        };
        let upstream = match texts.text("UPSTREAM_AUTH").as_deref() {
            None | Some("passthrough") => UpstreamKind::Passthrough,
            Some("token") if user_binding != UserBinding::Key => {
                let problem = "must be `key` with UPSTREAM_AUTH=token: the operator's model pays, \
                               so every caller has to prove who they are";
                return Err(wrong("USER_BINDING", problem));
            }
            Some("token") => UpstreamKind::Agent(agent_settings(&texts)?),
            Some(_) => return Err(wrong("UPSTREAM_AUTH", "must be `passthrough` or `token`")),
        };
        // Where a stored token pays, or the operator does, nobody is nobody.
        let callers_pay =
            auth_mode == AuthMode::OpenAi && matches!(upstream, UpstreamKind::Passthrough);
        let allow_anonymous = texts.flag("ALLOW_ANONYMOUS", true)? && callers_pay;
        let return_path = return_path::read(&texts, auth_mode, upstream.agent())?;
        let sealing = match (auth_mode, &return_path) {
            (AuthMode::Codex, _) => Some("AUTH_MODE=codex seals tokens with it"),
            (_, Some(_)) => Some("RETURN_PATH=on seals callers' own keys with it"),
            _ => None,
        };
        Ok(Self {
            auth_mode,
            codex: codex::read(&texts, sealing)?,
            billing: billing::read(&texts)?,
            upstreams: upstreams::read(&texts, upstream.token())?,
            upstream,
            upstream_needs_key: texts.flag("UPSTREAM_NEEDS_KEY", true)?,
            return_path,
            user_binding,
            allow_anonymous,
            requests_per_minute: texts.positive("REQUESTS_PER_MINUTE", 50)?,
            max_in_flight: texts.positive("MAX_IN_FLIGHT", 8)?,
            unproven_per_minute: texts.positive("UNPROVEN_PER_MINUTE", 300)?,
            max_body_bytes: texts.positive("MAX_BODY_BYTES", 20 * 1024 * 1024)?,
            body_timeout_ms: texts.positive("BODY_TIMEOUT_MS", 30_000)?,
            upstream_first_byte_ms: texts.positive("UPSTREAM_FIRST_BYTE_MS", 150_000)?,
            operator: operator::read(&texts)?,
            queue_wait_ms: texts.positive("QUEUE_WAIT_MS", 20_000)?,
            ip_hash_pepper: texts.secret("IP_HASH_PEPPER"),
            retention_days: retention_days(&texts)?,
            cors_origins: cors_origins(&texts)?,
            host: alerts::host(&texts)?,
            alert_webhook_url: alerts::read(&texts)?,
        })
    }

    /// The upstream that `OPENCLAW_URL` is.
    #[must_use]
    pub fn default_upstream(&self) -> Option<&Upstream> {
        self.upstreams.first().filter(|upstream| upstream.name == DEFAULT)
    }

    /// Whether the users' own Codex tokens go to the upstream: a real OpenClaw takes none.
    #[must_use]
    pub const fn sends_codex_tokens(&self) -> bool {
        matches!((self.auth_mode, &self.upstream), (AuthMode::Codex, UpstreamKind::Passthrough))
    }
}

fn agent_settings<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<AgentSettings, SettingError> {
    let usual_model =
        if return_path::is_on(texts)? { return_path::MODEL } else { "openclaw/default" };
    Ok(AgentSettings {
        token: texts
            .required("OPENCLAW_GATEWAY_TOKEN", "UPSTREAM_AUTH=token sends it to OpenClaw")?,
        session_key_secret: texts.required(
            "SESSION_KEY_SECRET",
            "UPSTREAM_AUTH=token makes OpenClaw's sessions with it",
        )?,
        model: texts.text("OPENCLAW_MODEL").unwrap_or_else(|| usual_model.to_owned()),
        models: texts.list("OPENCLAW_MODELS"),
    })
}

fn retention_days<F: Fn(&str) -> Option<String>>(texts: &Texts<F>) -> Result<u32, SettingError> {
    let days = texts.positive("RETENTION_DAYS", 90)?;
    if days >= SHORTEST_RETENTION {
        return Ok(days);
    }
    let problem = "must be at least 40: a month is compared with its rows once it is over";
    Err(wrong("RETENTION_DAYS", problem))
}

fn cors_origins<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Vec<String>, SettingError> {
    let origins = texts.list("CORS_ORIGINS");
    let is_origin = |text: &String| {
        Url::parse(text).is_ok_and(|url| url.origin().ascii_serialization() == *text)
    };
    if origins.iter().all(is_origin) {
        return Ok(origins);
    }
    Err(wrong(
        "CORS_ORIGINS",
        "must be origins such as https://app.example.com, separated by commas",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn parse(pairs: &[(&str, &str)]) -> Result<Settings, SettingError> {
        Settings::parse(|name| {
            pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_defaults_are_the_contracts() {
        let settings = parse(&[]).unwrap();
        assert_eq!(settings.requests_per_minute, 50);
        assert_eq!(settings.max_in_flight, 8);
        assert_eq!(settings.max_body_bytes, 20_971_520);
        assert_eq!(settings.body_timeout_ms, 30_000);
        assert_eq!(settings.upstream_first_byte_ms, 150_000);
        assert_eq!(settings.unproven_per_minute, 300);
        assert_eq!(settings.queue_wait_ms, 20_000);
        assert_eq!(settings.retention_days, 90);
        assert_eq!(settings.user_binding, UserBinding::FirstKey);
        assert!(settings.allow_anonymous);
        assert_eq!(settings.auth_mode, AuthMode::OpenAi);
        assert!(matches!(settings.upstream, UpstreamKind::Passthrough));
    }

    #[test]
    fn a_wrong_setting_is_named_without_its_value() {
        for (name, text) in [
            ("AUTH_MODE", "magic"),
            ("USER_BINDING", "none"),
            ("UPSTREAM_AUTH", "basic"),
            ("OPENCLAW_URL", "not a url"),
            ("OPENCLAW_URL", "ftp://host"),
            ("OPENCLAW_URL", "https://host/v1/"),
            ("OPENCLAW_URL", "https://user:pass@host"),
            ("REQUESTS_PER_MINUTE", "0"),
            ("REQUESTS_PER_MINUTE", "-1"),
            ("MAX_IN_FLIGHT", "8.5"),
            ("MAX_BODY_BYTES", "20MB"),
            ("BODY_TIMEOUT_MS", "30s"),
            ("UPSTREAM_FIRST_BYTE_MS", "99999999999"),
            ("UPSTREAM_SLOTS", "0"),
            ("QUEUE_WAIT_MS", "20s"),
            ("ALLOW_ANONYMOUS", "yes"),
            ("UPSTREAM_NEEDS_KEY", "no"),
            ("RETENTION_DAYS", "39"),
            ("RETENTION_DAYS", "0"),
            ("CORS_ORIGINS", "https://a.example, https://b.example/path"),
            ("ALERT_WEBHOOK_URL", "http://hooks.example/nonsense"),
            ("ALERT_WEBHOOK_URL", "hooks.example/nonsense"),
            ("APP_URL", "host.nonsense"),
            ("APP_URL", "ftp://host.nonsense"),
        ] {
            let error = parse(&[(name, text)]).unwrap_err();
            assert_eq!(error.name, name);
            assert!(!error.to_string().contains(text), "{error}");
        }
    }

    #[test]
    fn unsafe_or_half_made_combinations_are_refused() {
        let agent = [("UPSTREAM_AUTH", "token"), ("USER_BINDING", "key")];
        assert_eq!(parse(&agent).unwrap_err().name, "OPENCLAW_GATEWAY_TOKEN");
        let half = [agent[0], agent[1], ("OPENCLAW_GATEWAY_TOKEN", "t")];
        assert_eq!(parse(&half).unwrap_err().name, "SESSION_KEY_SECRET");
        let whole = [half[0], half[1], half[2], ("SESSION_KEY_SECRET", "s")];
        assert!(!parse(&whole).unwrap().allow_anonymous, "the operator pays for nobody");
        for binding in ["open", "first-key", ""] {
            let unproven = [("UPSTREAM_AUTH", "token"), ("USER_BINDING", binding)];
            assert_eq!(parse(&unproven).unwrap_err().name, "USER_BINDING", "{binding}");
        }
        let access = [("UPSTREAM_ACCESS_CLIENT_ID", "id")];
        assert_eq!(parse(&access).unwrap_err().name, "UPSTREAM_ACCESS_CLIENT_SECRET");
    }

    #[test]
    fn lists_lose_their_blanks() {
        let settings =
            parse(&[("CORS_ORIGINS", "https://a.example , ,https://b.example")]).unwrap();
        assert_eq!(settings.cors_origins, ["https://a.example", "https://b.example"]);
    }
}
