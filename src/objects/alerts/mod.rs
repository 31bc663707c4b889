//! What has gone bad, and what the operator was told of it: one object for all.
//!
//! Whoever sees that something fails says so here, and nothing waits for it.

#[cfg(feature = "office")]
mod look;
#[cfg(feature = "office")]
mod object;
#[cfg(feature = "office")]
mod send;

use domain::alerts::Notice;

use crate::context::Context;
use crate::objects::call;

/// The name of the one object.
const NAME: &str = "alerts";

/// Says something to it. What isn't heard is in the log, and is said again by who sees it next.
pub async fn notice(context: &Context, notice: Notice) {
    let _ = call(context, NAME, notice).await;
}
