//! The counters of an address: what may be tried without proof, and how often.

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;

/// Lets a caller pass who has not proven to be the user, as often as the address may.
///
/// # Errors
/// Where it has been too often.
#[expect(clippy::unused_async, reason = "the counters come with the object that keeps them")]
pub async fn vouch(_incoming: &Incoming, _context: &Context) -> Result<(), Error> {
    Ok(())
}
