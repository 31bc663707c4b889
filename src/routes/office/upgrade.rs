//! `GET /upgrade`: on to the page at which a tier is bought, with word of who buys it.

use domain::session::messages::Describe;
use domain::session::view::Binding;
use domain::stripe::reference;
use domain::tier::Tier;
use url::Url;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;
use crate::reply::Reply;
use crate::routes::caller;
use crate::{log, reply};

const LINK_IS_OVER: &str = "This link isn't good any more, or isn't whole. One that you were sent has a \
    last day: ask for a new one where it came from. One of your own lasts for 15 minutes: run \
    `bash setup.sh` again, or open /me with your key, for a new one.";

/// `GET /upgrade?tier=tier1`: 303 to the tier's payment link, or to the portal for who has a
/// subscription already. Who has no key at hand shows a `link` instead, as `/me` gives it or the operator
/// has sent it.
///
/// # Errors
/// [`Error::MissingKey`] where the link is over, was never one, or is somebody's who can't prove to be
/// that any more: nobody pays for what can't be used. What [`caller::proven`] says;
/// [`Error::TierNotSold`], [`Error::NotConfigured`]; [`Error::AlreadySubscribed`] without a portal.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let billing = &context.settings()?.billing;
    let missing = |name| Error::NotConfigured(format!("{name} is missing"));
    let secret = billing.webhook_secrets.first().ok_or_else(|| missing("STRIPE_WEBHOOK_SECRET"))?;
    if billing.links.is_empty() {
        return Err(missing("STRIPE_LINKS"));
    }
    let user_id = match incoming.asked("link") {
        Some(link) => {
            let now = incoming.arrived;
            let user_id = reference::user_of_link(&link, &billing.webhook_secrets, now);
            user_id.ok_or(Error::MissingKey(LINK_IS_OVER))?
        }
        None => caller::proven(incoming, context).await?.user_id,
    };
    let tier = incoming.asked("tier").and_then(|name| Tier::named(&name));
    let Some(page) = tier.and_then(|tier| billing.links.get(&tier)) else {
        let sold: Vec<_> = billing.links.keys().map(|tier| tier.name()).collect();
        return Err(Error::TierNotSold { sold: sold.join(", ") });
    };
    // The settings have been checked.
    let url = |page, name| Url::parse(page).map_err(|_| missing(name));
    let view = call(context, user_id.as_str(), Describe {}).await?;
    if view.binding == Binding::Open {
        return Err(Error::MissingKey(LINK_IS_OVER));
    }
    let page = if view.subscribed {
        let portal = billing.portal_url.as_deref().ok_or(Error::AlreadySubscribed)?;
        url(portal, "STRIPE_PORTAL_URL")?
    } else {
        let mut page = url(page, "STRIPE_LINKS")?;
        let reference = reference::reference_of(&user_id, secret);
        page.query_pairs_mut().append_pair("client_reference_id", &reference);
        page
    };
    log::early(incoming, 303, None);
    Ok(reply::empty(303).with([
        ("location", page.as_str()),
        ("cache-control", "no-store"),
        ("referrer-policy", "no-referrer"),
    ]))
}
