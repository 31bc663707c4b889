//! The settings of Codex tokens: the keys they are sealed with, and who issues them.

use url::{Host, Url};

use super::{SettingError, Texts, wrong};
use crate::custody::Keyring;
use crate::token_endpoint::{DeviceEndpoint, Provider};

const KEY: &str = "TOKEN_ENCRYPTION_KEY";
const PREVIOUS_KEY: &str = "TOKEN_ENCRYPTION_KEY_PREVIOUS";

/// Where OpenAI issues and refreshes tokens, and where a sign-in by device code begins.
const TOKEN_URL: &str = "https://auth.openai.com/oauth/token";
const DEVICE_URL: &str = "https://auth.openai.com/api/accounts/deviceauth/usercode";
/// The client that OpenAI's own Codex CLI is.
const CLIENT_ID: &str = "app_EMoamEEZ73f0CkXaXp7hrann";

/// What keeping Codex tokens needs.
#[derive(Clone, Debug)]
pub struct CodexSettings {
    /// `TOKEN_ENCRYPTION_KEY` and `TOKEN_ENCRYPTION_KEY_PREVIOUS`.
    pub keyring: Keyring,
    /// `CODEX_TOKEN_URL`, `CODEX_CLIENT_ID` and `CODEX_DEVICE_URL`.
    pub provider: Provider,
}

/// Reads them; `None` where there is no key to seal tokens with, and nothing needs one.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    need: Option<&str>,
) -> Result<Option<CodexSettings>, SettingError> {
    // Read also where nothing uses it, so that a mistake shows before it is needed.
    let provider = provider(texts)?;
    let keyring = keyring(texts)?;
    if let (None, Some(need)) = (&keyring, need) {
        return Err(wrong(KEY, format!("is missing: {need}")));
    }
    Ok(keyring.map(|keyring| CodexSettings { keyring, provider }))
}

fn keyring<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Option<Keyring>, SettingError> {
    let (current, previous) = (texts.secret(KEY), texts.secret(PREVIOUS_KEY));
    let Some(current) = current else {
        return match previous {
            None => Ok(None),
            Some(_) => Err(wrong(KEY, format!("is missing beside {PREVIOUS_KEY}"))),
        };
    };
    let keyring = Keyring::new(&current).map_err(|error| wrong(KEY, error.to_string()))?;
    let Some(previous) = previous else { return Ok(Some(keyring)) };
    let keyring = keyring.with_previous(&previous);
    keyring.map(Some).map_err(|error| wrong(PREVIOUS_KEY, error.to_string()))
}

fn provider<F: Fn(&str) -> Option<String>>(texts: &Texts<F>) -> Result<Provider, SettingError> {
    let token_url = endpoint(texts, "CODEX_TOKEN_URL")?;
    let device_url = endpoint(texts, "CODEX_DEVICE_URL")?;
    let client_id = texts.text("CODEX_CLIENT_ID").unwrap_or_else(|| CLIENT_ID.to_owned());
    if !client_id.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(wrong("CODEX_CLIENT_ID", "must be letters, digits and signs without blanks"));
    }
    // A sign-in that begins at one provider can't end at another.
    let usual_device_url = if token_url.is_none() { Url::parse(DEVICE_URL).ok() } else { None };
    let device = device_url.or(usual_device_url).as_ref().map(DeviceEndpoint::at);
    let token_url = token_url.map_or_else(|| TOKEN_URL.to_owned(), String::from);
    Ok(Provider { token_url, client_id, device })
}

fn endpoint<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    name: &'static str,
) -> Result<Option<Url>, SettingError> {
    let Some(text) = texts.text(name) else { return Ok(None) };
    let url =
        Url::parse(&text).map_err(|_| wrong(name, "must be a URL such as https://host/token"))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
        let problem = "must begin with https://, for tokens go there; http:// does on a loopback \
                       address alone";
        return Err(wrong(name, problem));
    }
    if url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(name, "must be without a user name and a fragment"));
    }
    Ok(Some(url))
}

pub(super) fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AuthMode, Settings, tests::parse};
    use super::*;

    const GOOD_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn codex(pairs: &[(&str, &str)]) -> CodexSettings {
        parse(&[&[("TOKEN_ENCRYPTION_KEY", GOOD_KEY)], pairs].concat()).unwrap().codex.unwrap()
    }

    fn refused(pairs: &[(&str, &str)]) -> &'static str {
        parse(pairs).unwrap_err().name
    }

    #[test]
    fn codex_mode_needs_a_key() {
        assert_eq!(refused(&[("AUTH_MODE", "codex")]), KEY);
        assert_eq!(refused(&[(PREVIOUS_KEY, GOOD_KEY)]), KEY);
        assert_eq!(refused(&[(KEY, "c2hvcnQ=")]), KEY);
        assert_eq!(refused(&[(KEY, GOOD_KEY), (PREVIOUS_KEY, "c2hvcnQ=")]), PREVIOUS_KEY);
        let settings = parse(&[("AUTH_MODE", "codex"), (KEY, GOOD_KEY)]).unwrap();
        assert_eq!(settings.auth_mode, AuthMode::Codex);
        assert!(!settings.allow_anonymous, "everyone's name can hold no tokens");
        assert!(settings.codex.is_some());
    }

    #[test]
    fn people_may_sign_in_before_the_mode_is_changed() {
        let settings = parse(&[(KEY, GOOD_KEY)]).unwrap();
        assert_eq!(settings.auth_mode, AuthMode::OpenAi);
        assert!(settings.allow_anonymous && settings.codex.is_some());
        assert!(parse(&[]).unwrap().codex.is_none());
    }

    #[test]
    fn a_real_openclaw_keeps_its_own_rules_in_codex_mode() {
        let hosted = [("AUTH_MODE", "codex"), (KEY, GOOD_KEY), ("UPSTREAM_AUTH", "token")];
        assert_eq!(refused(&hosted), "USER_BINDING");
        let keyed = [("USER_BINDING", "key"), ("OPENCLAW_GATEWAY_TOKEN", "t")];
        let keyed = [&hosted[..], &keyed, &[("SESSION_KEY_SECRET", "s")]].concat();
        assert!(parse(&keyed).is_ok());
    }

    #[test]
    fn the_provider_is_openai_unless_it_is_named() {
        let usual = codex(&[]).provider;
        assert_eq!(usual.token_url, "https://auth.openai.com/oauth/token");
        assert_eq!(usual.client_id, "app_EMoamEEZ73f0CkXaXp7hrann");
        let Some(DeviceEndpoint::Codex { url, poll_url, verification_uri, redirect_uri }) =
            usual.device
        else {
            panic!("OpenAI's own way was expected")
        };
        assert_eq!(url, "https://auth.openai.com/api/accounts/deviceauth/usercode");
        assert_eq!(poll_url, "https://auth.openai.com/api/accounts/deviceauth/token");
        assert_eq!(verification_uri, "https://auth.openai.com/codex/device");
        assert_eq!(redirect_uri, "https://auth.openai.com/deviceauth/callback");
        let own = [("CODEX_TOKEN_URL", "http://127.0.0.1:9/t?x=1"), ("CODEX_CLIENT_ID", "me")];
        let named = codex(&own).provider;
        assert_eq!(named.token_url, "http://127.0.0.1:9/t?x=1");
        assert_eq!((named.client_id.as_str(), named.device), ("me", None));
        let both = [own[0], ("CODEX_DEVICE_URL", "https://auth.example/device")];
        let url = "https://auth.example/device".to_owned();
        assert_eq!(codex(&both).provider.device, Some(DeviceEndpoint::Standard { url }));
    }

    #[test]
    fn tokens_go_nowhere_in_the_clear() {
        for name in ["CODEX_TOKEN_URL", "CODEX_DEVICE_URL"] {
            for wrong in [
                "http://auth.example/token",
                "http://10.0.0.1/token",
                "http://localhost.example/token",
                "ftp://127.0.0.1/",
                "https://user:pass@auth.example/",
                "https://auth.example/#x",
                "token",
            ] {
                assert_eq!(refused(&[(name, wrong)]), name, "{wrong}");
            }
            for good in ["https://auth.example/", "http://localhost:1/", "http://[::1]:1/"] {
                assert!(parse(&[(name, good)]).is_ok(), "{good}");
            }
        }
        assert_eq!(refused(&[("CODEX_CLIENT_ID", "two words")]), "CODEX_CLIENT_ID");
    }

    #[test]
    fn no_key_is_ever_shown() {
        let settings: Settings = parse(&[(KEY, GOOD_KEY), (PREVIOUS_KEY, GOOD_KEY)]).unwrap();
        let shown = format!("{settings:?}");
        assert!(!shown.contains("AQEB") && !shown.contains("1, 1, 1"), "{shown}");
    }
}
