//! The counters of a network: what may be tried from it that is wrong or proves nothing, and how
//! often.
//!
//! Whoever asks here has checked the attempt already. What is right is never counted and never
//! refused, for a whole room may share one address.

use domain::guesses::{CLAIMS_OF_A_USER, Count, Counted, Counter};
use domain::identifiers::UserId;
use domain::keyed_hash::network_name;

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::objects::call;

/// Wrong operator's tokens a minute.
const OPERATOR: u32 = 10;
/// Wrong claim codes a minute, whoever they were for.
const CLAIMS: u32 = 100;

/// Wrong addresses of kits a minute.
const KITS: u32 = 100;

/// Lets a caller pass who has not proven to be the user, as often as the network may.
///
/// # Errors
/// [`Error::TooManyAttempts`].
pub async fn vouch(incoming: &Incoming, context: &Context) -> Result<(), Error> {
    let limit = context.settings()?.unproven_per_minute;
    count(incoming, context, vec![(Counter::unproven(), limit)]).await
}

/// Counts a wrong operator's token.
///
/// # Errors
/// [`Error::TooManyAttempts`].
pub async fn wrong_operator(incoming: &Incoming, context: &Context) -> Result<(), Error> {
    count(incoming, context, vec![(Counter::operator(), OPERATOR)]).await
}

/// Counts a wrong claim code.
///
/// # Errors
/// [`Error::TooManyAttempts`].
pub async fn wrong_claim(
    incoming: &Incoming,
    context: &Context,
    user_id: &UserId,
) -> Result<(), Error> {
    let of_the_user = (Counter::claims_of(user_id), CLAIMS_OF_A_USER);
    count(incoming, context, vec![(Counter::claims(), CLAIMS), of_the_user]).await
}

/// Counts an address at which there is no kit.
///
/// # Errors
/// [`Error::TooManyAttempts`].
#[cfg(feature = "office")]
pub async fn wrong_kit(incoming: &Incoming, context: &Context) -> Result<(), Error> {
    count(incoming, context, vec![(Counter::kits(), KITS)]).await
}

/// The name of the network that a request came from.
///
/// # Errors
/// Where the settings can't be used.
pub fn network(incoming: &Incoming, context: &Context) -> Result<String, Error> {
    let settings = context.settings()?;
    let address = incoming.header("cf-connecting-ip");
    Ok(network_name(settings.ip_hash_pepper.as_ref(), address))
}

async fn count(
    incoming: &Incoming,
    context: &Context,
    counters: Vec<(Counter, u32)>,
) -> Result<(), Error> {
    let network = network(incoming, context)?;
    match call(context, &network, Count { counters }).await? {
        Counted::Allowed => Ok(()),
        Counted::Over { retry_after_ms } => Err(Error::TooManyAttempts { retry_after_ms }),
    }
}
