//! Who calls a route of users.

use domain::identity::{self, Caller};
use domain::path::GatewayPath;
use domain::session::access::Proof;
use domain::session::messages::Prove;

use crate::context::Context;
use crate::error::{Error, GATEWAY_KEY_MISSING, NOBODY_YET, Terms};
use crate::incoming::Incoming;
use crate::objects::call;

/// Who the caller claims to be, as path, headers and keys say together.
///
/// # Errors
/// Where one of them is malformed or two disagree.
pub fn claimed(incoming: &Incoming, path: &GatewayPath<'_>) -> Result<Caller, Error> {
    Ok(identity::resolve(path, |name| incoming.header(name))?)
}

/// Whether the caller is who it claims to be; proven, or nobody knows.
///
/// # Errors
/// The user's object says that it isn't, or that it has to prove it.
pub async fn prove(caller: &Caller, context: &Context) -> Result<Proof, Error> {
    let message = Prove(caller.shown.clone());
    match call(context, caller.user_id.as_str(), message).await? {
        Proof::Refused(reason) => Err(Error::refused(&reason, Terms::default())),
        proof => Ok(proof),
    }
}

/// The caller of a route that is for proven callers alone, whatever the binding.
///
/// # Errors
/// Where the caller isn't proven.
pub async fn proven(incoming: &Incoming, context: &Context) -> Result<Caller, Error> {
    let path = GatewayPath { user_id: None, upstream: &incoming.path };
    let caller = claimed(incoming, &path)?;
    if caller.user_id.is_anonymous() || caller.shown.is_empty() {
        return Err(Error::MissingKey(GATEWAY_KEY_MISSING));
    }
    match prove(&caller, context).await? {
        Proof::Proven => Ok(caller),
        _ => Err(Error::MissingKey(NOBODY_YET)),
    }
}
