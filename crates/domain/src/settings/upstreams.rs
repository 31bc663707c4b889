//! The settings of upstreams: the default one, and those of `UPSTREAMS`.

use url::Url;

use super::{SettingError, Texts, wrong};
use crate::identifiers::parse_label;
use crate::json_object::{JsonObject, string_value};
use crate::secret::Secret;
use crate::tier::Tier;
use crate::upstreams::{AccessCredential, DEFAULT, STREAM_IDLE_MS, Upstream};

const NAME: &str = "UPSTREAMS";

/// Reads them, the default first; `token` is what a real OpenClaw at the default is reached with, and
/// where there is one, each of the others needs its own.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    token: Option<&Secret<String>>,
) -> Result<Vec<Upstream>, SettingError> {
    let slots = Some(texts.positive("UPSTREAM_SLOTS", 0)?).filter(|slots| *slots > 0);
    let stream_idle_ms = texts.positive("STREAM_IDLE_MS", STREAM_IDLE_MS)?;
    let access = access_credential(texts)?;
    let mut upstreams = Vec::new();
    if let Some(url) = texts.text("OPENCLAW_URL") {
        let url = base_url(&url).map_err(|problem| wrong("OPENCLAW_URL", problem))?;
        let (name, token) = (DEFAULT.into(), token.cloned());
        let tiers = Vec::new();
        upstreams.push(Upstream { name, url, token, access, slots, stream_idle_ms, tiers });
    }
    let Some(text) = texts.text(NAME) else { return Ok(upstreams) };
    let nodes = JsonObject::parse(text.as_bytes()).map_err(|_| {
        wrong(NAME, "must be one JSON object such as {\"studio\":{\"url\":\"https://…\"}}")
    })?;
    for (name, node) in nodes.members() {
        let is_lower = !name.bytes().any(|byte| byte.is_ascii_uppercase());
        if parse_label(name).is_none() || !is_lower || name == DEFAULT {
            let problem = "must name each node by 1 to 64 of a-z, 0-9, dots, dashes and \
                           underscores; `default` is the one of OPENCLAW_URL";
            return Err(wrong(NAME, problem));
        }
        let upstream = node_of(name, node, (slots, stream_idle_ms))
            .and_then(|upstream| match (token, &upstream.token) {
                (Some(_), None) => Err("needs a `token`, for UPSTREAM_AUTH=token sends it"),
                (None, Some(_)) => Err("has a `token`, and UPSTREAM_AUTH=passthrough sends none"),
                _ => Ok(upstream),
            })
            .map_err(|problem| wrong(NAME, format!("can't be used: `{name}` {problem}")))?;
        upstreams.push(upstream);
    }
    Ok(upstreams)
}

/// A node of `UPSTREAMS`, or what is wrong with it; what it doesn't say of its slots and its patience holds
/// for all.
fn node_of(
    name: &str,
    json: &str,
    (slots, stream_idle_ms): (Option<u32>, u32),
) -> Result<Upstream, &'static str> {
    let mut node = JsonObject::parse(json.as_bytes())
        .map_err(|_| "must be a JSON object without two members of one name")?;
    let mut text = |member: &str| match node.remove(member) {
        None => Ok(None),
        Some(json) => match string_value(&json) {
            Some(text) if !text.is_empty() => Ok(Some(Secret::new(text.into_owned()))),
            _ => Err("has a member that must be a text and is none"),
        },
    };
    let url = text("url")?.ok_or("has no `url`")?;
    let url = base_url(url.expose())?;
    let token = text("token")?;
    let access = match (text("access_client_id")?, text("access_client_secret")?) {
        (None, None) => None,
        (Some(client_id), Some(client_secret)) => {
            Some(AccessCredential { client_id, client_secret })
        }
        _ => {
            return Err("must have both `access_client_id` and `access_client_secret`, or neither");
        }
    };
    let slots = match node.remove("slots") {
        None => slots,
        Some(json) => {
            Some(positive(&json).ok_or("must have a positive whole number as its `slots`")?)
        }
    };
    let stream_idle_ms = match node.remove("stream_idle_ms") {
        None => stream_idle_ms,
        Some(json) => {
            positive(&json).ok_or("must have a positive whole number as its `stream_idle_ms`")?
        }
    };
    let tiers = node.remove("tiers").map_or(Some(Vec::new()), |json| tiers(&json));
    let tiers = tiers.ok_or("must list tier1, tier2 and tier3 as its `tiers`, or some of them")?;
    if node.members().next().is_some() {
        return Err("has a member that isn't one of url, token, slots, stream_idle_ms, tiers, \
                    access_client_id and access_client_secret");
    }
    let name = name.to_owned().into();
    Ok(Upstream { name, url, token, access, slots, stream_idle_ms, tiers })
}

fn positive(json: &str) -> Option<u32> {
    json.parse().ok().filter(|number| *number > 0)
}

fn tiers(json: &str) -> Option<Vec<Tier>> {
    let names: Vec<String> = serde_json::from_str(json).ok()?;
    names.iter().map(|name| Tier::named(name)).collect()
}

/// An upstream's base URL, or what is wrong with it.
fn base_url(text: &str) -> Result<Secret<String>, &'static str> {
    let url = Url::parse(text).map_err(|_| "must be a URL such as https://host")?;
    let path = url.path().trim_end_matches('/');
    if !matches!(url.scheme(), "http" | "https") {
        return Err("must begin with http:// or https://");
    }
    if path.ends_with("/v1") {
        return Err("must be without the /v1 at its end");
    }
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() {
        return Err("must be without a user name, a query and a fragment");
    }
    Ok(Secret::new(format!("{}{path}", url.origin().ascii_serialization())))
}

fn access_credential<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Option<AccessCredential>, SettingError> {
    let (id, secret) = ("UPSTREAM_ACCESS_CLIENT_ID", "UPSTREAM_ACCESS_CLIENT_SECRET");
    match (texts.secret(id), texts.secret(secret)) {
        (None, None) => Ok(None),
        (Some(client_id), Some(client_secret)) => {
            Ok(Some(AccessCredential { client_id, client_secret }))
        }
        (None, Some(_)) => Err(wrong(id, format!("is missing beside {secret}"))),
        (Some(_), None) => Err(wrong(secret, format!("is missing beside {id}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Settings;
    use super::super::tests::parse;
    use super::*;

    const AGENT: [(&str, &str); 5] = [
        ("UPSTREAM_AUTH", "token"),
        ("USER_BINDING", "key"),
        ("OPENCLAW_GATEWAY_TOKEN", "of-the-default"),
        ("SESSION_KEY_SECRET", "s"),
        ("OPENCLAW_URL", "https://default.example/"),
    ];

    fn with(nodes: &str, more: &[(&str, &str)]) -> Result<Settings, SettingError> {
        parse(&[&[(NAME, nodes)], more].concat())
    }

    #[test]
    fn the_default_comes_first_and_the_others_as_they_are_written() {
        let nodes = r#"{"studio":{"url":"http://10.0.0.2:1/x/","token":"of-studio","slots":2,"stream_idle_ms":60000,
            "tiers":["tier3","tier2"],"access_client_id":"id","access_client_secret":"secret"},
            "attic":{"token":"of-\u0061ttic","url":"https://attic.example"}}"#;
        let settings = with(nodes, &[&AGENT[..], &[("UPSTREAM_SLOTS", "8")]].concat()).unwrap();
        let [default, studio, attic] = &settings.upstreams[..] else { panic!("three") };
        for (upstream, name, url, token, slots) in [
            (default, "default", "https://default.example", "of-the-default", 8),
            (studio, "studio", "http://10.0.0.2:1/x", "of-studio", 2),
            (attic, "attic", "https://attic.example", "of-attic", 8),
        ] {
            assert_eq!((&*upstream.name, upstream.url.expose().as_str()), (name, url));
            assert_eq!(upstream.token.as_ref().unwrap().expose(), token);
            assert_eq!(upstream.slots, Some(slots));
            let idle_ms = if name == "studio" { 60_000 } else { STREAM_IDLE_MS };
            assert_eq!(upstream.stream_idle_ms, idle_ms);
        }
        assert_eq!(studio.tiers, [Tier::Tier3, Tier::Tier2]);
        assert_eq!(studio.access.as_ref().unwrap().client_secret.expose(), "secret");
        assert!(default.access.is_none() && attic.access.is_none(), "a credential is one node's");
        let shown = format!("{settings:?}");
        for secret in ["of-studio", "10.0.0.2", "of-the-default"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }

    #[test]
    fn without_upstreams_there_is_the_default_or_none() {
        assert!(parse(&[]).unwrap().upstreams.is_empty());
        let one = parse(&[("OPENCLAW_URL", "https://host:8443/base/")]).unwrap();
        assert_eq!(one.upstreams.len(), 1);
        assert_eq!(one.upstreams[0].url.expose(), "https://host:8443/base");
        assert_eq!(with("{}", &[]).unwrap().upstreams.len(), 0);
        let other = with(r#"{"studio":{"url":"https://host"}}"#, &[]).unwrap();
        assert!(other.upstreams[0].token.is_none() && other.upstreams[0].slots.is_none());
    }

    #[test]
    fn what_is_wrong_is_said_of_its_node_without_a_value() {
        for (nodes, said) in [
            ("nonsense-of-mine", "one JSON object"),
            ("[]", "one JSON object"),
            (r#"{"studio":{"url":"https://h"},"studio":{"url":"https://i"}}"#, "one JSON object"),
            (r#"{"Studio":{"url":"https://h"}}"#, "a-z"),
            (r#"{"":{"url":"https://h"}}"#, "a-z"),
            (r#"{"default":{"url":"https://h"}}"#, "OPENCLAW_URL"),
            (r#"{"studio":"https://nonsense-of-mine"}"#, "`studio` must be a JSON object"),
            (r#"{"studio":{}}"#, "`studio` has no `url`"),
            (r#"{"studio":{"url":"https://h","url":"https://i"}}"#, "`studio` must be"),
            (r#"{"studio":{"url":""}}"#, "`studio` has a member"),
            (r#"{"studio":{"url":"nonsense-of-mine"}}"#, "`studio` must be a URL"),
            (r#"{"studio":{"url":"ftp://nonsense-of-mine"}}"#, "`studio` must begin with"),
            (r#"{"studio":{"url":"https://nonsense-of-mine/v1"}}"#, "/v1"),
            (r#"{"studio":{"url":"https://nonsense-of-mine@h"}}"#, "user name"),
            (r#"{"studio":{"url":"https://h","token":7}}"#, "`studio` has a member"),
            (r#"{"studio":{"url":"https://h","slots":0}}"#, "slots"),
            (r#"{"studio":{"url":"https://h","slots":"4"}}"#, "slots"),
            (r#"{"studio":{"url":"https://h","slots":1.5}}"#, "slots"),
            (r#"{"studio":{"url":"https://h","stream_idle_ms":0}}"#, "stream_idle_ms"),
            (r#"{"studio":{"url":"https://h","tiers":["nonsense-of-mine"]}}"#, "tiers"),
            (r#"{"studio":{"url":"https://h","tiers":"tier3"}}"#, "tiers"),
            (r#"{"studio":{"url":"https://h","access_client_id":"nonsense-of-mine"}}"#, "both"),
            (r#"{"studio":{"url":"https://h","tokn":"nonsense-of-mine"}}"#, "isn't one of"),
        ] {
            let error = with(nodes, &[]).unwrap_err();
            assert_eq!(error.name, NAME, "{nodes}");
            let text = error.to_string();
            assert!(text.contains(said) && !text.contains("nonsense"), "{nodes}: {text}");
        }
        let error = with(r#"{"studio":{"url":"https://h"}}"#, &AGENT).unwrap_err();
        assert!(error.to_string().contains("`studio` needs a `token`"), "{error}");
        let error = with(r#"{"studio":{"url":"https://h","token":"t"}}"#, &[]).unwrap_err();
        assert!(error.to_string().contains("`studio` has a `token`, and"), "{error}");
    }
}
