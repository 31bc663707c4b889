//! The settings of tiers and of what Stripe sells.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use url::Url;

use super::{SettingError, Texts, wrong};
use crate::clock::Millis;
use crate::secret::Secret;
use crate::tier::{Tier, TierRules};

const SECRET: &str = "STRIPE_WEBHOOK_SECRET";
const PREVIOUS_SECRET: &str = "STRIPE_WEBHOOK_SECRET_PREVIOUS";
const DAY: Millis = 86_400_000;
/// So that the days still count in milliseconds.
const LONGEST_GRACE_DAYS: u32 = 3_650;

/// What the settings say of tiers and of Stripe.
#[derive(Clone, Debug)]
pub struct Billing {
    /// `REQUIRE_TIER`, `GRACE_DAYS` and `STRIPE_PRICES`.
    pub rules: TierRules,
    /// `STRIPE_WEBHOOK_SECRET`, then `STRIPE_WEBHOOK_SECRET_PREVIOUS`; empty where neither is set.
    pub webhook_secrets: Vec<Secret<String>>,
    /// `STRIPE_TEST_MODE`: whether events of Stripe's test mode count, in which nobody pays.
    pub takes_tests: bool,
    /// `STRIPE_LINKS`: where each tier is sold.
    pub links: BTreeMap<Tier, String>,
    /// `STRIPE_PORTAL_URL`: where a customer manages what was bought.
    pub portal_url: Option<String>,
}

/// Reads them.
pub(super) fn read<F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
) -> Result<Billing, SettingError> {
    let grace_days = match texts.text("GRACE_DAYS") {
        None => 7,
        Some(text) => {
            text.parse::<u32>().ok().filter(|days| *days <= LONGEST_GRACE_DAYS).ok_or_else(
                || wrong("GRACE_DAYS", "must be a whole number of days, at most 3650"),
            )?
        }
    };
    let rules = TierRules {
        is_required: texts.flag("REQUIRE_TIER", false)?,
        grace: Millis::from(grace_days) * DAY,
        prices: object(texts, "STRIPE_PRICES", "{\"price_…\":\"tier1\"}")?,
    };
    let (current, previous) = (texts.secret(SECRET), texts.secret(PREVIOUS_SECRET));
    if current.is_none() && previous.is_some() {
        return Err(wrong(SECRET, format!("is missing beside {PREVIOUS_SECRET}")));
    }
    let links: BTreeMap<Tier, String> = object(texts, "STRIPE_LINKS", "{\"tier1\":\"https://…\"}")?;
    for link in links.values() {
        check_page("STRIPE_LINKS", link)?;
    }
    let portal_url = texts.text("STRIPE_PORTAL_URL");
    portal_url.as_deref().map(|url| check_page("STRIPE_PORTAL_URL", url)).transpose()?;
    let webhook_secrets = [current, previous].into_iter().flatten().collect();
    let takes_tests = texts.flag("STRIPE_TEST_MODE", false)?;
    Ok(Billing { rules, webhook_secrets, takes_tests, links, portal_url })
}

/// A JSON object whose keys and values are as they should be; none is an empty one.
fn object<T: DeserializeOwned + Default, F: Fn(&str) -> Option<String>>(
    texts: &Texts<F>,
    name: &'static str,
    example: &str,
) -> Result<T, SettingError> {
    let Some(text) = texts.text(name) else { return Ok(T::default()) };
    let problem = format!("must be a JSON object such as {example}, of tier1, tier2 and tier3");
    serde_json::from_str(&text).map_err(|_| wrong(name, problem))
}

/// A page that a browser is sent to.
fn check_page(name: &'static str, text: &str) -> Result<(), SettingError> {
    let is_page = |url: Url| matches!(url.scheme(), "https" | "http") && url.fragment().is_none();
    if Url::parse(text).is_ok_and(is_page) {
        return Ok(());
    }
    Err(wrong(name, "must name pages by whole URLs such as https://…, without a #"))
}

#[cfg(test)]
mod tests {
    use super::super::tests::parse;
    use super::*;

    #[test]
    fn without_settings_nothing_is_sold_and_nothing_is_required() {
        let billing = parse(&[]).unwrap().billing;
        assert_eq!(billing.rules.grace, 7 * DAY);
        assert!(!billing.rules.is_required && billing.rules.prices.is_empty());
        assert!(billing.webhook_secrets.is_empty() && billing.links.is_empty());
        assert_eq!(billing.portal_url, None);
        assert!(!billing.takes_tests, "nobody has paid in test mode");
    }

    #[test]
    fn prices_links_and_secrets_are_read() {
        let billing = parse(&[
            ("STRIPE_PRICES", r#"{"price_1":"tier1","plink_3":"tier3"}"#),
            ("STRIPE_LINKS", r#"{"tier1":"https://buy.example/1?a=b"}"#),
            ("STRIPE_PORTAL_URL", "https://billing.example/p"),
            ("STRIPE_WEBHOOK_SECRET", "whsec_1"),
            ("STRIPE_WEBHOOK_SECRET_PREVIOUS", "whsec_0"),
            ("GRACE_DAYS", "0"),
            ("REQUIRE_TIER", "true"),
            ("STRIPE_TEST_MODE", "true"),
        ])
        .unwrap()
        .billing;
        assert_eq!(billing.rules.prices.get("plink_3"), Some(&Tier::Tier3));
        assert_eq!(billing.links.get(&Tier::Tier1).unwrap(), "https://buy.example/1?a=b");
        let secrets: Vec<_> = billing.webhook_secrets.iter().map(Secret::expose).collect();
        assert_eq!(secrets, ["whsec_1", "whsec_0"]);
        assert!(billing.rules.grace == 0 && billing.rules.is_required && billing.takes_tests);
    }

    #[test]
    fn what_is_malformed_is_named() {
        for (name, text) in [
            ("STRIPE_PRICES", "price_1=tier1"),
            ("STRIPE_PRICES", r#"{"price_1":"gold"}"#),
            ("STRIPE_LINKS", r#"{"tier4":"https://buy.example"}"#),
            ("STRIPE_LINKS", r#"{"tier1":"buy.example"}"#),
            ("STRIPE_LINKS", r#"{"tier1":"javascript:alert(1)"}"#),
            ("STRIPE_PORTAL_URL", "https://billing.example/#top"),
            ("GRACE_DAYS", "-1"),
            ("GRACE_DAYS", "4000"),
            ("REQUIRE_TIER", "maybe"),
            ("STRIPE_TEST_MODE", "live"),
        ] {
            assert_eq!(parse(&[(name, text)]).unwrap_err().name, name, "{text}");
        }
        let alone = [("STRIPE_WEBHOOK_SECRET_PREVIOUS", "whsec_0")];
        assert_eq!(parse(&alone).unwrap_err().name, SECRET);
    }
}
