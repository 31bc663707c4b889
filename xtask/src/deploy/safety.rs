//! What is refused before anything is created, and what is only said.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use domain::settings::{Settings, UserBinding};
use url::{Host, Url};

use super::secrets::{self, Values};

/// What is in the Wasm of a build with the feature `fault-injection`, and in no other.
const MARK_OF_FAULTS: &[u8] = b"x-fault-clock-offset-ms";

/// What will be deployed, as far as it is known here.
pub struct Proposal<'a> {
    /// `[vars]` of `wrangler.toml`.
    pub variables: &'a BTreeMap<String, String>,
    /// The secrets that will be sent.
    pub values: &'a Values,
    /// The names of those that the Worker has and keeps.
    pub kept: &'a BTreeSet<String>,
    /// Whether it answers below workers.dev besides a domain of its own.
    pub has_two_addresses: bool,
}

/// What is to be said of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Review {
    /// Dangers: nothing is deployed.
    pub refusals: Vec<String>,
    /// Choices that deserve a second look.
    pub warnings: Vec<String>,
}

/// Judges a deploy.
pub fn review(proposal: &Proposal) -> Review {
    let mut review = Review::default();
    review.misplaced(proposal);
    let read = RefCell::new(BTreeSet::new());
    let settings = Settings::parse(|name| {
        read.borrow_mut().insert(name.to_owned());
        text_of(proposal, name)
    });
    match settings {
        Err(error) => review.refuse(format!("{error}. {}", place_of(error.name))),
        Ok(settings) => {
            review.who_may_do_what(&settings, proposal);
            review.reachable(&settings);
            review.unread(proposal, &read.into_inner());
        }
    }
    if proposal.has_two_addresses {
        review.warnings.push(
            "The Worker answers at your domain and at its workers.dev address. Where Cloudflare Access \
             guards the domain, it doesn't guard the other: set `workers_dev = false` if nobody needs it."
                .to_owned(),
        );
    }
    review
}

/// Whether a Wasm module panics and moves its clock on demand.
pub fn injects_faults(wasm: &[u8]) -> bool {
    wasm.windows(MARK_OF_FAULTS.len()).any(|window| window == MARK_OF_FAULTS)
}

/// A setting's text: the secret that is sent, a stand-in for one that is kept, or the variable.
fn text_of(proposal: &Proposal, name: &str) -> Option<String> {
    let sent = proposal.values.get(name).map(|value| value.expose().clone());
    let kept = || proposal.kept.contains(name).then(|| secrets::placeholder(name));
    sent.or_else(kept).or_else(|| proposal.variables.get(name).cloned())
}

/// Where a setting is changed.
fn place_of(name: &str) -> String {
    if secrets::names().any(|secret| secret == name) {
        format!(
            "It is a secret: put it into the file of --secrets (where the Worker has it already, with --rotate {name})."
        )
    } else {
        format!("Change {name} under [vars] in wrangler.toml.")
    }
}

impl Review {
    fn refuse(&mut self, sentence: impl Into<String>) {
        self.refusals.push(sentence.into());
    }

    /// Secrets stand in no file that git keeps, and nothing has two values.
    fn misplaced(&mut self, proposal: &Proposal) {
        for name in proposal.variables.keys() {
            if secrets::names().any(|secret| secret == name) {
                self.refuse(format!(
                    "{name} is a secret and stands in wrangler.toml, which git keeps. Take it out there, \
                     use a new value, and put that into the file of --secrets."
                ));
            } else if proposal.kept.contains(name) {
                self.refuse(format!(
                    "{name} is under [vars] in wrangler.toml and among the Worker's secrets, and one would \
                     replace the other. Remove one: `npx wrangler secret delete {name}`."
                ));
            }
        }
    }

    fn who_may_do_what(&mut self, settings: &Settings, proposal: &Proposal) {
        if settings.operator.is_none() {
            self.refuse(
                "Nobody would be the operator: nobody could give out keys or block anybody. Set the \
                 secret OPERATOR_TOKEN, or ACCESS_TEAM_DOMAIN and ACCESS_AUD under [vars].",
            );
        }
        let token = proposal.values.get(secrets::OPERATOR_TOKEN).map(|token| token.expose().len());
        if token.is_some_and(|length| length < 16) {
            self.refuse(
                "OPERATOR_TOKEN has fewer than 16 characters, and everybody can reach the page that asks \
                 for it. Leave it empty to have one made.",
            );
        }
        if settings.user_binding == UserBinding::Open {
            self.refuse(
                "USER_BINDING=open believes whatever name a request gives, and this URL is public: \
                 anybody could be anybody. Set USER_BINDING to `first-key` or `key` in wrangler.toml.",
            );
        }
        if settings.billing.takes_tests {
            self.refuse(
                "STRIPE_TEST_MODE=true gives tiers for payments that nobody makes. Set it to `false` in \
                 wrangler.toml; try Stripe's test mode with `cargo xtask serve`.",
            );
        }
        if settings.alert_webhook_url.is_none() {
            self.warnings.push(
                "Nobody is told when the upstream or D1 goes bad: set the secret ALERT_WEBHOOK_URL \
                 (docs/alerts.md)."
                    .to_owned(),
            );
        }
    }

    /// Upstreams are where Cloudflare can reach them, and what is sent there can't be read on the way.
    fn reachable(&mut self, settings: &Settings) {
        if settings.default_upstream().is_none() {
            self.refuse("OPENCLAW_URL is missing: requests would go nowhere. Set that secret.");
        }
        for upstream in &settings.upstreams {
            let Ok(url) = Url::parse(upstream.url.expose()) else { continue };
            let setting = match &*upstream.name {
                domain::upstreams::DEFAULT => "OPENCLAW_URL".to_owned(),
                name => format!("the node `{name}` of UPSTREAMS"),
            };
            if is_private(&url) {
                self.refuse(format!(
                    "Cloudflare can't reach {setting}: it is an address of this machine or of a private \
                     network. Put a tunnel in front of it (docs/openclaw.md) and name the tunnel's host."
                ));
            } else if url.scheme() != "https" {
                self.refuse(format!(
                    "{setting} begins with http://, so keys and conversations could be read on the way. \
                     Use https://; a tunnel brings it (docs/openclaw.md)."
                ));
            }
        }
    }

    /// What is set and never looked at is most likely misspelt.
    fn unread(&mut self, proposal: &Proposal, read: &BTreeSet<String>) {
        for name in proposal.variables.keys().filter(|name| !read.contains(*name)) {
            self.warnings.push(format!(
                "{name} under [vars] means nothing to the gateway with these settings: check its spelling."
            ));
        }
    }
}

/// Whether only who is near can reach it.
fn is_private(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(it)) => {
            // The last are those that networks such as Tailscale's give out.
            let is_shared = matches!(it.octets(), [100, 64..128, _, _]);
            let is_near = it.is_loopback() || it.is_private() || it.is_link_local();
            is_near || it.is_unspecified() || is_shared
        }
        Some(Host::Ipv6(it)) => {
            it.is_loopback()
                || it.is_unique_local()
                || it.is_unicast_link_local()
                || it.is_unspecified()
        }
        Some(Host::Domain(name)) => {
            let name = name.trim_end_matches('.');
            let ends = ["localhost", ".local", ".lan", ".internal", ".home.arpa"];
            ends.iter().any(|end| name.ends_with(end)) || !name.contains('.')
        }
        None => true,
    }
}

#[cfg(test)]
mod tests {
    use domain::secret::Secret;

    use super::*;

    const GOOD_TOKEN: (&str, &str) = ("OPERATOR_TOKEN", "a-token-that-is-long-enough");
    const GOOD_URL: (&str, &str) = ("OPENCLAW_URL", "https://claw.example.com");
    const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

    fn judged(variables: &[(&str, &str)], values: &[(&str, &str)], kept: &[&str]) -> Review {
        let text = |text: &&str| (*text).to_owned();
        review(&Proposal {
            variables: &variables.iter().map(|(name, it)| (text(name), text(it))).collect(),
            values: &values.iter().map(|(name, it)| (text(name), Secret::new(text(it)))).collect(),
            kept: &kept.iter().map(text).collect(),
            has_two_addresses: false,
        })
    }

    /// Refused, and in one sentence that names the setting.
    fn refused(variables: &[(&str, &str)], values: &[(&str, &str)], said: &str) {
        let review = judged(variables, values, &[]);
        let [sentence] = &review.refusals[..] else { panic!("{said}: {review:?}") };
        assert!(sentence.contains(said), "{said}: {sentence}");
        for (_, value) in values.iter().filter(|(name, _)| *name != "OPENCLAW_URL") {
            assert!(!sentence.contains(value), "{sentence}");
        }
    }

    #[test]
    fn a_plain_deploy_is_fine() {
        let review = judged(&[], &[GOOD_TOKEN, GOOD_URL], &[]);
        assert_eq!(review.refusals, [""; 0]);
        assert_eq!(review.warnings.len(), 1, "{review:?}");
        let again = judged(&[], &[], &["OPERATOR_TOKEN", "OPENCLAW_URL", "ALERT_WEBHOOK_URL"]);
        assert_eq!(again, Review::default());
    }

    #[test]
    fn each_danger_is_refused_by_its_name() {
        let good = [GOOD_TOKEN, GOOD_URL];
        refused(&[("AUTH_MODE", "codex")], &good, "TOKEN_ENCRYPTION_KEY is missing");
        refused(&[], &[GOOD_URL], "OPERATOR_TOKEN");
        refused(&[], &[GOOD_URL, ("OPERATOR_TOKEN", "short-token")], "16 characters");
        refused(&[("USER_BINDING", "open")], &good, "USER_BINDING=open");
        refused(&[("STRIPE_TEST_MODE", "true")], &good, "STRIPE_TEST_MODE");
        refused(&[], &[GOOD_TOKEN], "OPENCLAW_URL is missing");
        let agent = [("UPSTREAM_AUTH", "token"), ("USER_BINDING", "key")];
        refused(&agent, &good, "OPENCLAW_GATEWAY_TOKEN is missing");
        refused(&agent[..1], &good, "USER_BINDING must be `key`");
        refused(&[("REQUESTS_PER_MINUTE", "many")], &good, "REQUESTS_PER_MINUTE");
        refused(&[("TOKEN_ENCRYPTION_KEY", KEY)], &good, "which git keeps");
    }

    #[test]
    fn an_upstream_is_reached_safely_and_from_outside() {
        for private in [
            "http://127.0.0.1:18789",
            "https://localhost",
            "http://192.168.1.4:8080",
            "http://10.0.0.2",
            "http://100.101.102.103",
            "https://[::1]:1",
            "https://[fd00::1]",
            "http://mac-mini.local",
            "https://claw",
        ] {
            refused(
                &[],
                &[GOOD_TOKEN, ("OPENCLAW_URL", private)],
                "Cloudflare can't reach OPENCLAW_URL",
            );
        }
        refused(
            &[],
            &[GOOD_TOKEN, ("OPENCLAW_URL", "http://claw.example.com")],
            "begins with http://",
        );
        let node = ("UPSTREAMS", r#"{"studio":{"url":"http://studio.example.com"}}"#);
        refused(&[], &[GOOD_TOKEN, GOOD_URL, node], "the node `studio` of UPSTREAMS");
    }

    #[test]
    fn what_has_two_values_is_refused_and_what_means_nothing_is_said() {
        let kept = ["OPERATOR_TOKEN", "OPENCLAW_URL", "GRACE_DAYS"];
        let review = judged(&[("GRACE_DAYS", "7")], &[], &kept);
        assert!(review.refusals[0].contains("wrangler secret delete GRACE_DAYS"), "{review:?}");
        let review = judged(&[("REQUEST_PER_MINUTE", "5")], &[GOOD_TOKEN, GOOD_URL], &[]);
        assert!(review.warnings.iter().any(|it| it.contains("REQUEST_PER_MINUTE")), "{review:?}");
    }

    #[test]
    fn a_build_with_faults_is_told_apart() {
        assert!(injects_faults(b"\0asm...x-fault-clock-offset-ms..."));
        assert!(!injects_faults(b"\0asm"));
    }
}
