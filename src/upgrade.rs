//! Links at which a user buys a tier. A browser sends no key, so they say who it is themselves.

use std::collections::BTreeMap;

use domain::identifiers::UserId;
use domain::settings::Settings;
use domain::stripe::reference;
use domain::tier::Tier;
use url::Url;

use crate::incoming::Incoming;

/// A link for each tier that is sold, the lowest first, good for fifteen minutes. None without
/// `STRIPE_LINKS`, or without the secret that signs them.
pub fn links(incoming: &Incoming, settings: &Settings, user_id: &UserId) -> BTreeMap<Tier, String> {
    let billing = &settings.billing;
    let Some(secret) = billing.webhook_secrets.first() else { return BTreeMap::new() };
    let Ok(url) = Url::parse(&incoming.request.url()) else { return BTreeMap::new() };
    let origin = url.origin().ascii_serialization();
    let token = reference::link_token(user_id, secret, incoming.arrived);
    let link = |tier: Tier| format!("{origin}/upgrade?tier={}&link={token}", tier.name());
    billing.links.keys().map(|tier| (*tier, link(*tier))).collect()
}
