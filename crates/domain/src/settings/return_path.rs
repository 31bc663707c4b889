//! The settings of the way back: who a real OpenClaw's calls to a model go to, and are paid by.

use url::Url;

use super::codex::is_loopback;
use super::{AgentSettings, AuthMode, SettingError, Texts, wrong};

const SWITCH: &str = "RETURN_PATH";

/// Where OpenAI's API is, and the one behind its Codex CLI, each with all that comes before
/// `/responses`.
const BYOK_PROVIDER_URL: &str = "https://api.openai.com/v1";
const CODEX_PROVIDER_URL: &str = "https://chatgpt.com/backend-api/codex";

/// The model of a user where none is set: an agent of the user's own.
pub(super) const MODEL: &str = "openclaw/u-{user}";

/// What the way back needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReturnSettings {
    /// `BYOK_PROVIDER_URL` or `CODEX_PROVIDER_URL`, as `AUTH_MODE` says; what follows `/return/v1` is
    /// put behind it.
    pub provider_url: String,
}

/// Whether `RETURN_PATH` is on.
pub(super) fn is_on<F: Fn(&str) -> Option<String>>(texts: &Texts<F>) -> Result<bool, SettingError> {
    match texts.text(SWITCH).as_deref() {
        None | Some("off") => Ok(false),
        Some("on") => Ok(true),
        Some(_) => Err(wrong(SWITCH, "must be `on` or `off`")),
    }
}

/// Reads them; `None` where the way back is closed. `agent` is there where `UPSTREAM_AUTH=token`.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    auth_mode: AuthMode,
    agent: Option<&AgentSettings>,
) -> Result<Option<ReturnSettings>, SettingError> {
    // Read also where nothing uses them, so that a mistake shows before they are needed.
    let byok = base(texts, "BYOK_PROVIDER_URL", BYOK_PROVIDER_URL)?;
    let codex = base(texts, "CODEX_PROVIDER_URL", CODEX_PROVIDER_URL)?;
    if !is_on(texts)? {
        return Ok(None);
    }
    let Some(agent) = agent else {
        let problem = "must be `token` with RETURN_PATH=on: it is a real OpenClaw that comes back";
        return Err(wrong("UPSTREAM_AUTH", problem));
    };
    // Who runs on somebody else's agent comes back with that person's handle.
    if agent.model != MODEL {
        let problem = format!(
            "must be {MODEL} with RETURN_PATH=on, or unset: each user needs an agent of their own, and \
             that is what `gatewayctl openclaw apply` calls it"
        );
        return Err(wrong("OPENCLAW_MODEL", problem));
    }
    if !agent.models.is_empty() {
        let problem = "must be empty with RETURN_PATH=on: an agent that two users share would spend \
                       the credential of one for the other";
        return Err(wrong("OPENCLAW_MODELS", problem));
    }
    let provider_url = match auth_mode {
        AuthMode::OpenAi => byok,
        AuthMode::Codex => codex,
    };
    Ok(Some(ReturnSettings { provider_url }))
}

/// A base URL without a slash at its end.
fn base<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    name: &'static str,
    usual: &str,
) -> Result<String, SettingError> {
    let Some(text) = texts.text(name) else { return Ok(usual.to_owned()) };
    let url = Url::parse(&text)
        .map_err(|_| wrong(name, "must be a URL such as https://api.openai.com/v1"))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
        let problem = "must begin with https://, for people's keys go there; http:// does on a \
                       loopback address alone";
        return Err(wrong(name, problem));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(name, "must be without a user name"));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(wrong(name, "must end with its path: what is asked for is put behind it"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::{Settings, UpstreamKind, tests::parse};
    use super::*;

    const WHOLE: [(&str, &str); 6] = [
        ("RETURN_PATH", "on"),
        ("UPSTREAM_AUTH", "token"),
        ("USER_BINDING", "key"),
        ("OPENCLAW_GATEWAY_TOKEN", "t"),
        ("SESSION_KEY_SECRET", "s"),
        ("TOKEN_ENCRYPTION_KEY", "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="),
    ];

    fn with(more: &[(&'static str, &'static str)]) -> Result<Settings, SettingError> {
        let rest =
            WHOLE.into_iter().filter(|(name, _)| !more.iter().any(|(other, _)| other == name));
        parse(&rest.chain(more.iter().copied()).collect::<Vec<_>>())
    }

    fn provider(more: &[(&'static str, &'static str)]) -> String {
        with(more).unwrap().return_path.unwrap().provider_url
    }

    #[test]
    fn it_is_off_unless_it_is_on() {
        assert_eq!(parse(&[]).unwrap().return_path, None);
        assert_eq!(with(&[("RETURN_PATH", "off")]).unwrap().return_path, None);
        let settings = with(&[]).unwrap();
        let UpstreamKind::Agent(agent) = &settings.upstream else { panic!() };
        assert_eq!(agent.model, "openclaw/u-{user}");
        assert!(!settings.sends_codex_tokens());
        let codex = with(&[("AUTH_MODE", "codex")]).unwrap();
        assert!(!codex.sends_codex_tokens(), "they go to the provider");
    }

    #[test]
    fn what_would_spend_one_users_credential_for_another_is_refused() {
        for (name, text) in [
            ("RETURN_PATH", "yes"),
            ("UPSTREAM_AUTH", "passthrough"),
            ("USER_BINDING", "first-key"),
            ("TOKEN_ENCRYPTION_KEY", ""),
            ("OPENCLAW_MODEL", "openclaw/default"),
            ("OPENCLAW_MODEL", "openclaw/-{user}"),
            ("OPENCLAW_MODELS", "openclaw/team"),
        ] {
            assert_eq!(with(&[(name, text)]).unwrap_err().name, name, "{text}");
        }
        assert!(with(&[("OPENCLAW_MODEL", "openclaw/u-{user}")]).is_ok());
    }

    #[test]
    fn the_provider_is_openai_unless_it_is_named() {
        assert_eq!(provider(&[]), "https://api.openai.com/v1");
        let codex = ("AUTH_MODE", "codex");
        assert_eq!(provider(&[codex]), "https://chatgpt.com/backend-api/codex");
        let named = ("BYOK_PROVIDER_URL", "https://gateway.ai.cloudflare.com/v1/a/b/openai/");
        assert_eq!(provider(&[named]), "https://gateway.ai.cloudflare.com/v1/a/b/openai");
        assert_eq!(provider(&[named, codex]), "https://chatgpt.com/backend-api/codex");
        assert_eq!(
            provider(&[codex, ("CODEX_PROVIDER_URL", "http://127.0.0.1:9")]),
            "http://127.0.0.1:9"
        );
        for name in ["BYOK_PROVIDER_URL", "CODEX_PROVIDER_URL"] {
            for wrong in
                ["provider", "http://provider.example/v1", "https://u:p@h/v1", "https://h/v1?x=1"]
            {
                assert_eq!(parse(&[(name, wrong)]).unwrap_err().name, name, "{wrong}");
            }
        }
    }
}
