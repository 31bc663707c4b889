//! Links at which a user buys a tier. A browser sends no key, so they say who it is themselves.

use std::collections::BTreeMap;

use domain::clock::Millis;
use domain::identifiers::UserId;
use domain::secret::Secret;
use domain::session::messages::{Buyer, Refusal};
use domain::settings::Settings;
use domain::stripe::reference;
use domain::tier::Tier;
use url::Url;

use crate::incoming::Incoming;

/// What can be done without a portal.
const ASK_FOR_CHANGE: &str = "Ask the operator to change your subscription: another would be paid for \
    beside it.";

/// A link for each tier that is sold, the lowest first, good for fifteen minutes. None without
/// `STRIPE_LINKS`, or without the secret that signs them.
pub fn links(incoming: &Incoming, settings: &Settings, user_id: &UserId) -> BTreeMap<Tier, String> {
    let now = incoming.arrived;
    links_with(incoming, settings, |secret| reference::link_token(user_id, secret, now))
}

/// The same for the operator to send, good until then.
pub fn links_to_send(
    incoming: &Incoming,
    settings: &Settings,
    user_id: &UserId,
    until: Millis,
) -> BTreeMap<Tier, String> {
    links_with(incoming, settings, |secret| reference::sent_link_token(user_id, secret, until))
}

fn links_with(
    incoming: &Incoming,
    settings: &Settings,
    token: impl FnOnce(&Secret<String>) -> String,
) -> BTreeMap<Tier, String> {
    let billing = &settings.billing;
    let Some(secret) = billing.webhook_secrets.first() else { return BTreeMap::new() };
    let Ok(url) = Url::parse(&incoming.request.url()) else { return BTreeMap::new() };
    let (origin, token) = (url.origin().ascii_serialization(), token(secret));
    let link = |tier: Tier| format!("{origin}/upgrade?tier={}&link={token}", tier.name());
    billing.links.keys().map(|tier| (*tier, link(*tier))).collect()
}

/// What a caller who was refused for want of a tier can do about it, as a sentence: buy the lowest
/// that would do, or change the subscription that there is.
pub fn offer(
    incoming: &Incoming,
    settings: &Settings,
    user_id: &UserId,
    refusal: &Refusal,
) -> Option<String> {
    let buyer = refusal.buyer?;
    let mut links = links(incoming, settings, user_id).into_iter();
    let (_, link) = links.find(|(tier, _)| refusal.reason.is_lifted_by(*tier))?;
    Some(match (buyer, &settings.billing.portal_url) {
        (Buyer::New, _) => format!("Choose a plan at {link} and try again."),
        (Buyer::Subscribed, Some(portal)) => {
            format!("Change your subscription, or how it is paid, at {portal} and try again.")
        }
        (Buyer::Subscribed, None) => ASK_FOR_CHANGE.to_owned(),
    })
}
