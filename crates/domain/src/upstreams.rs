//! Where requests can be sent to, and which of these is whose.

use std::borrow::Cow;

use crate::secret::Secret;
use crate::tier::Tier;

/// The name of the upstream that `OPENCLAW_URL` is.
pub const DEFAULT: &str = "default";

/// How long an answer may be silent, in milliseconds, where nobody has said: longer than any model thinks.
pub const STREAM_IDLE_MS: u32 = 300_000;

/// A server that requests can be sent to.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name: [`DEFAULT`], or one of those in `UPSTREAMS`.
    pub name: Cow<'static, str>,
    /// Its base URL, without a slash at its end.
    pub url: Secret<String>,
    /// What a real OpenClaw there is reached with.
    pub token: Option<Secret<String>>,
    /// What its hostname's Access wants.
    pub access: Option<AccessCredential>,
    /// How many inferences it runs at once; `None` where nobody queues.
    pub slots: Option<u32>,
    /// After so many milliseconds without a byte, an answer that has begun is ended.
    pub stream_idle_ms: u32,
    /// Whose it is: who has one of these tiers, and no upstream of their own.
    pub tiers: Vec<Tier>,
}

/// An Access service token for an upstream's hostname.
#[derive(Clone, Debug)]
pub struct AccessCredential {
    /// `UPSTREAM_ACCESS_CLIENT_ID`.
    pub client_id: Secret<String>,
    /// `UPSTREAM_ACCESS_CLIENT_SECRET`.
    pub client_secret: Secret<String>,
}

/// The upstream of a user: the one that the operator has chosen, else the first that is for the tier,
/// else the default. `None` where that isn't there: nobody is sent to somebody else's instead.
#[must_use]
pub fn choose<'a>(
    own: Option<&str>,
    tier: Option<Tier>,
    upstreams: &'a [Upstream],
) -> Option<&'a Upstream> {
    let of_the_tier = |tier| upstreams.iter().find(|upstream| upstream.tiers.contains(&tier));
    match own {
        Some(own) => named(own, upstreams),
        None => tier.and_then(of_the_tier).or_else(|| named(DEFAULT, upstreams)),
    }
}

/// The upstream of this name.
#[must_use]
pub fn named<'a>(name: &str, upstreams: &'a [Upstream]) -> Option<&'a Upstream> {
    upstreams.iter().find(|upstream| upstream.name == name)
}

/// A base URL without the `/v1` at its end, which people copy with it.
#[must_use]
pub fn without_version(url: &str) -> &str {
    let url = url.trim();
    let bare = url.trim_end_matches('/').strip_suffix("/v1");
    bare.map_or(url, |bare| bare.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn upstream(name: &str, tiers: &[Tier]) -> Upstream {
        Upstream {
            name: Cow::Owned(name.to_owned()),
            url: Secret::new(format!("https://{name}.example")),
            token: None,
            access: None,
            slots: None,
            stream_idle_ms: STREAM_IDLE_MS,
            tiers: tiers.to_vec(),
        }
    }

    #[test]
    fn ones_own_comes_first_then_the_tiers_then_the_default() {
        let all = [
            upstream(DEFAULT, &[]),
            upstream("studio", &[Tier::Tier3]),
            upstream("attic", &[Tier::Tier2, Tier::Tier3]),
        ];
        for (own, tier, expected) in [
            (None, None, Some(DEFAULT)),
            (None, Some(Tier::Tier1), Some(DEFAULT)),
            (None, Some(Tier::Tier2), Some("attic")),
            (None, Some(Tier::Tier3), Some("studio")),
            (Some("attic"), Some(Tier::Tier3), Some("attic")),
            (Some(DEFAULT), Some(Tier::Tier3), Some(DEFAULT)),
            (Some("gone"), Some(Tier::Tier3), None),
        ] {
            let chosen = choose(own, tier, &all).map(|upstream| &*upstream.name);
            assert_eq!(chosen, expected, "{own:?} {tier:?}");
        }
        assert!(choose(None, Some(Tier::Tier1), &all[1..]).is_none(), "there is no default");
    }

    #[test]
    fn a_base_url_is_trimmed_of_its_version() {
        for (given, right) in [
            ("https://a.example/v1", "https://a.example"),
            ("https://a.example/v1/", "https://a.example"),
            (" https://a.example/api/v1 ", "https://a.example/api"),
            ("https://a.example/v1beta", "https://a.example/v1beta"),
            ("https://a.example", "https://a.example"),
        ] {
            assert_eq!(without_version(given), right);
        }
    }
}
