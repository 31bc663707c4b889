//! Who is calling: what the path, the headers and the keys say, put together.

use crate::fingerprint::Fingerprint;
use crate::gateway_key;
use crate::handle;
use crate::identifiers::{InvalidUserId, UserId};
use crate::path::GatewayPath;
use crate::secret::Secret;
use crate::session::access::Shown;

/// What a request says of its caller. Empty headers count as absent.
pub struct Claims<'a> {
    /// The identity in the path.
    pub path: &'a GatewayPath<'a>,
    /// `X-User-ID`.
    pub user_id: Option<String>,
    /// `Authorization`.
    pub authorization: Option<String>,
    /// `X-Gateway-Key`.
    pub gateway_key: Option<String>,
}

/// A caller whose claims agree. Whether the keys are good is for the user's object to say.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it claims to be.
    pub user_id: UserId,
    /// What it shows to prove that.
    pub shown: Shown,
    /// An `Authorization` that isn't a gateway key: the caller's own, for the upstream alone.
    pub authorization: Option<Secret<String>>,
}

/// Claims that make no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// A USER_ID is malformed.
    InvalidUserId,
    /// Two sources name two users.
    Conflict,
    /// A gateway key is malformed.
    InvalidKey,
}

impl From<InvalidUserId> for IdentityError {
    fn from(_: InvalidUserId) -> Self {
        Self::InvalidUserId
    }
}

/// Puts the claims together.
///
/// # Errors
/// Where one is malformed or two disagree.
pub fn resolve(claims: Claims<'_>) -> Result<Caller, IdentityError> {
    let from_path = claims.path.user_id.clone().transpose()?;
    let from_header = present(claims.user_id).map(|text| UserId::parse(&text)).transpose()?;
    let authorization = present(claims.authorization);
    let bearer =
        authorization.as_deref().and_then(bearer_of).filter(|b| gateway_key::looks_like_key(b));
    let shown = [bearer.map(str::to_owned), present(claims.gateway_key)];
    let shown = shown
        .into_iter()
        .flatten()
        .map(|key| gateway_key::parse(&key).ok_or(IdentityError::InvalidKey))
        .collect::<Result<Vec<_>, _>>()?;

    let mut names = [from_path, from_header]
        .into_iter()
        .flatten()
        .chain(shown.iter().map(|key| key.user_id.clone()));
    let user_id = names.next().unwrap_or_else(UserId::anonymous);
    if names.any(|name| name != user_id) {
        return Err(IdentityError::Conflict);
    }
    let own = if bearer.is_some() { None } else { authorization.clone() };
    // A key that is written wrongly, without `Bearer` or behind another, must not go upstream.
    // Nor must a handle, which is good on the way back alone.
    let is_ours = |text: &str| gateway_key::contains_key(text) || handle::contains_handle(text);
    if own.as_deref().is_some_and(is_ours) {
        return Err(IdentityError::InvalidKey);
    }
    let keys = shown.into_iter().map(|key| key.hash).collect();
    let bearer = own.as_deref().and_then(bearer_of).map(Fingerprint::of);
    Ok(Caller { user_id, shown: Shown { keys, bearer }, authorization: own.map(Secret::new) })
}

/// The credential of a bearer `Authorization`; the scheme's name is matched without case.
#[must_use]
pub fn bearer_of(authorization: &str) -> Option<&str> {
    let (scheme, credential) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

fn present(header: Option<String>) -> Option<String> {
    header.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_key::mint;
    use crate::path::gateway_path;

    fn resolve_all(
        path: &str,
        header: &str,
        authorization: &str,
        key: &str,
    ) -> Result<Caller, IdentityError> {
        resolve(Claims {
            path: &gateway_path(path).unwrap(),
            user_id: Some(header.to_owned()),
            authorization: Some(authorization.to_owned()),
            gateway_key: Some(key.to_owned()),
        })
    }

    fn key(user_id: &str) -> String {
        mint(&UserId::parse(user_id).unwrap(), &[7; 32]).0.expose().clone()
    }

    #[test]
    fn a_caller_is_named_by_path_header_or_key() {
        let ada = |caller: Result<Caller, _>| assert_eq!(caller.unwrap().user_id.as_str(), "ada");
        ada(resolve_all("/u/ADA/v1", "", "", ""));
        ada(resolve_all("/v1", " Ada ", "", ""));
        ada(resolve_all("/v1", "", &format!("bearer {}", key("ada")), ""));
        ada(resolve_all("/u/ada/v1", "ada", "Bearer sk-1", &key("ada")));
        assert!(resolve_all("/v1", "", "Bearer sk-1", "").unwrap().user_id.is_anonymous());
    }

    #[test]
    fn two_names_are_a_conflict() {
        for claims in [
            resolve_all("/u/ada/v1", "bob", "", ""),
            resolve_all("/v1", "bob", "", &key("ada")),
            resolve_all("/v1", "", &format!("Bearer {}", key("bob")), &key("ada")),
            resolve_all("/v1", "anonymous", "", &key("ada")),
        ] {
            assert_eq!(claims.unwrap_err(), IdentityError::Conflict);
        }
    }

    #[test]
    fn a_key_is_never_taken_for_the_callers_own_credential() {
        let caller = resolve_all("/v1", "", &format!("Bearer {}", key("ada")), "").unwrap();
        assert!(caller.authorization.is_none());
        assert_eq!(caller.shown.keys.len(), 1);
        assert!(caller.shown.bearer.is_none());
        let caller = resolve_all("/v1", "", "Basic eDp5", &key("ada")).unwrap();
        assert_eq!(caller.authorization.unwrap().expose(), "Basic eDp5");
        assert!(caller.shown.bearer.is_none());
        let caller = resolve_all("/v1", "ada", "bearer  sk-1", "").unwrap();
        assert!(caller.shown.bearer == Some(Fingerprint::of("sk-1")));
        for written_wrongly in ["{}", "Bearer\t{}", "Basic {}", "Bearer sk-1, Bearer {}"] {
            let authorization = written_wrongly.replace("{}", &key("ada"));
            let refused = resolve_all("/v1", "", &authorization, "").unwrap_err();
            assert_eq!(refused, IdentityError::InvalidKey, "{written_wrongly}");
        }
        assert_eq!(
            resolve_all("/v1", "", "Bearer ogk_ada_x", "").unwrap_err(),
            IdentityError::InvalidKey
        );
        let handle = handle::mint(&UserId::parse("ada").unwrap(), &[7; 32]).0;
        let authorization = format!("Bearer {}", handle.expose());
        let refused = resolve_all("/v1", "ada", &authorization, "").unwrap_err();
        assert_eq!(refused, IdentityError::InvalidKey);
        assert_eq!(resolve_all("/v1", "", "", "sk-1").unwrap_err(), IdentityError::InvalidKey);
        assert_eq!(resolve_all("/v1", "a b", "", "").unwrap_err(), IdentityError::InvalidUserId);
    }
}
