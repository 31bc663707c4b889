//! The settings that say who is told of trouble, and what this gateway is called then.

use url::Url;

use super::codex::is_loopback;
use super::{SettingError, Texts, wrong};
use crate::secret::Secret;

const NAME: &str = "ALERT_WEBHOOK_URL";

/// Reads it. All of it is secret: whoever has such a URL can write where it leads.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Option<Secret<String>>, SettingError> {
    let Some(text) = texts.text(NAME) else { return Ok(None) };
    let url =
        Url::parse(&text).map_err(|_| wrong(NAME, "must be a URL such as https://host/hook"))?;
    if !(url.scheme() == "https" || url.scheme() == "http" && is_loopback(&url)) {
        let problem = "must begin with https://; http:// does on a loopback address alone";
        return Err(wrong(NAME, problem));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(wrong(NAME, "must be without a user name"));
    }
    Ok(Some(Secret::new(url.into())))
}

/// The gateway's own host. A request's `Host` says what its sender wants.
pub(super) fn host<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Option<String>, SettingError> {
    let Some(text) = texts.text("APP_URL") else { return Ok(None) };
    let url = Url::parse(&text).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    let url =
        url.ok_or_else(|| wrong("APP_URL", "must be a URL such as https://gateway.example.com"))?;
    let origin = url.origin().ascii_serialization();
    Ok(origin.split_once("://").map(|(_, host)| host.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;

    #[test]
    fn a_gateway_is_called_by_the_host_of_its_own_address() {
        for (url, host) in [
            ("https://Gateway.example.com/", "gateway.example.com"),
            ("http://127.0.0.1:8787", "127.0.0.1:8787"),
        ] {
            assert_eq!(parse(&[("APP_URL", url)]).unwrap().host.as_deref(), Some(host));
        }
        assert_eq!(parse(&[]).unwrap().host, None);
    }

    #[test]
    fn a_receiver_is_reached_safely_or_is_here() {
        for url in ["https://hooks.example/a?b=c", "http://127.0.0.1:9/x", "http://[::1]:9/x"] {
            let settings = parse(&[("ALERT_WEBHOOK_URL", url)]).unwrap();
            assert_eq!(settings.alert_webhook_url.as_ref().unwrap().expose(), url);
            assert!(!format!("{settings:?}").contains(url));
        }
        let named = parse(&[("ALERT_WEBHOOK_URL", "https://me:pass@hooks.example")]);
        assert!(!named.unwrap_err().to_string().contains("pass"));
        assert!(parse(&[]).unwrap().alert_webhook_url.is_none());
    }
}
