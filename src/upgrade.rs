//! Links at which a user buys a tier. A browser sends no key, so they say who it is themselves.

use std::collections::BTreeMap;

use domain::identifiers::UserId;
use domain::identity::Caller;
use domain::session::access::Proof;
use domain::session::messages::{Prove, Reason, TellSubscribed};
use domain::settings::Settings;
use domain::stripe::reference;
use domain::tier::Tier;
use url::Url;

use crate::context::Context;
use crate::incoming::Incoming;
use crate::objects::call;

/// What can be done without a portal.
const ASK_FOR_CHANGE: &str = "Ask the operator to change your subscription: another would be paid for \
    beside it.";

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

/// What a caller who was refused for want of a tier can do about it, as a sentence: buy the lowest
/// that would do, or change the subscription that there is. Nothing for who isn't known by what it
/// shows: it would pay, and not be let in.
pub async fn offer(
    incoming: &Incoming,
    context: &Context,
    caller: &Caller,
    reason: &Reason,
) -> Option<String> {
    let is_enough = |tier: Tier| match reason {
        Reason::PaymentRequired => true,
        Reason::MonthlyQuotaExceeded { limit, .. } => {
            tier.monthly_requests().is_none_or(|more| more > *limit)
        }
        Reason::ProjectLimitExceeded { projects } => {
            tier.projects().is_none_or(|more| more > projects.len())
        }
        _ => false,
    };
    let settings = context.settings().ok()?;
    let mut offers = links(incoming, &settings, &caller.user_id).into_iter();
    let (_, link) = offers.find(|(tier, _)| is_enough(*tier))?;
    let prove = Prove(caller.shown.clone());
    let proof = call(context, caller.user_id.as_str(), prove).await.ok()?;
    if proof != Proof::Proven {
        return None;
    }
    let is_subscribed = call(context, caller.user_id.as_str(), TellSubscribed {}).await.ok()?;
    Some(match &settings.billing.portal_url {
        _ if !is_subscribed => format!("Choose a plan at {link} and try again."),
        Some(portal) => {
            format!("Change your subscription, or how it is paid, at {portal} and try again.")
        }
        None => ASK_FOR_CHANGE.to_owned(),
    })
}
