//! The settings that say who the operator is.

use url::Url;

use super::codex::is_loopback;
use super::{SettingError, Texts, wrong};
use crate::access_jwt::AccessSettings;
use crate::secret::Secret;

const TEAM_DOMAIN: &str = "ACCESS_TEAM_DOMAIN";
const AUD: &str = "ACCESS_AUD";

/// Who the operator is: whoever knows the token, or is let through by Cloudflare Access.
#[derive(Clone, Debug)]
pub struct OperatorSettings {
    /// `OPERATOR_TOKEN`.
    pub token: Option<Secret<String>>,
    /// `ACCESS_TEAM_DOMAIN` and `ACCESS_AUD`.
    pub access: Option<AccessSettings>,
}

/// Reads them; `None` where nobody is the operator.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Option<OperatorSettings>, SettingError> {
    let token = texts.secret("OPERATOR_TOKEN");
    let access = match (texts.text(TEAM_DOMAIN), texts.list(AUD)) {
        (None, audiences) if audiences.is_empty() => None,
        (None, _) => return Err(wrong(TEAM_DOMAIN, format!("is missing beside {AUD}"))),
        (Some(_), audiences) if audiences.is_empty() => {
            return Err(wrong(AUD, format!("is missing beside {TEAM_DOMAIN}")));
        }
        (Some(domain), audiences) => Some(AccessSettings { issuer: issuer(&domain)?, audiences }),
    };
    Ok((token.is_some() || access.is_some()).then_some(OperatorSettings { token, access }))
}

/// The origin that a team's assertions name as their issuer.
fn issuer(domain: &str) -> Result<String, SettingError> {
    let text = if domain.contains("://") { domain.to_owned() } else { format!("https://{domain}") };
    let is_safe = |url: &Url| {
        url.scheme() == "https" && url.host().is_some_and(|host| host.to_string().contains('.'))
            || url.scheme() == "http" && is_loopback(url)
    };
    let is_origin = |url: &Url| {
        let rest = (url.path(), url.query(), url.fragment(), url.username(), url.password());
        rest == ("/", None, None, "", None)
    };
    let url = Url::parse(&text).ok().filter(|url| is_safe(url) && is_origin(url));
    let url = url.ok_or_else(|| wrong(TEAM_DOMAIN, "must be such as team.cloudflareaccess.com"))?;
    Ok(url.origin().ascii_serialization())
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn a_team_and_its_applications_go_together() {
        assert!(parse(&[]).unwrap().operator.is_none());
        let token = parse(&[("OPERATOR_TOKEN", "t")]).unwrap().operator.unwrap();
        assert!(token.token.is_some() && token.access.is_none());
        for domain in ["team.cloudflareaccess.com", "https://team.cloudflareaccess.com/"] {
            let settings = parse(&[(TEAM_DOMAIN, domain), (AUD, "a1, a2")]).unwrap();
            let access = settings.operator.unwrap().access.unwrap();
            assert_eq!(access.issuer, "https://team.cloudflareaccess.com");
            assert_eq!(access.audiences, ["a1", "a2"]);
        }
        assert_eq!(parse(&[(TEAM_DOMAIN, "t.example")]).unwrap_err().name, AUD);
        assert_eq!(parse(&[(AUD, "a1")]).unwrap_err().name, TEAM_DOMAIN);
    }

    #[test]
    fn keys_are_never_fetched_from_where_anybody_could_answer() {
        for domain in
            ["team", "http://team.example", "https://team.example/x", "https://a@b.example", "::"]
        {
            let error = parse(&[(TEAM_DOMAIN, domain), (AUD, "a1")]).unwrap_err();
            assert_eq!(error.name, TEAM_DOMAIN, "{domain}");
        }
        assert!(parse(&[(TEAM_DOMAIN, "http://127.0.0.1:9"), (AUD, "a1")]).is_ok());
    }
}
