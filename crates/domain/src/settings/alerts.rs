//! The setting that says who is told of trouble.

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

#[cfg(test)]
mod tests {
    use super::super::tests::parse;

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
