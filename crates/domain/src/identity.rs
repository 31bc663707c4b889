//! Who is calling: what the path, the headers and the keys say, put together.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use crate::fingerprint::Fingerprint;
use crate::gateway_key::{self, ShownKey};
use crate::handle;
use crate::identifiers::{InvalidUserId, UserId};
use crate::path::GatewayPath;
use crate::secret::Secret;
use crate::session::access::Shown;

/// The headers that may each hold a gateway key, another credential, or both.
pub const CREDENTIAL_HEADERS: [&str; 3] = ["authorization", "x-api-key", "api-key"];

/// A caller whose claims agree. Whether the keys are good is for the user's object to say.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it claims to be.
    pub user_id: UserId,
    /// What it shows to prove that.
    pub shown: Shown,
    /// The caller's own credential, for the upstream alone.
    pub own: OwnCredential,
}

/// A credential that is no gateway key.
#[derive(Clone, Debug, Default)]
pub struct OwnCredential {
    /// The headers that it came in, with what goes on in each.
    pub headers: Vec<(&'static str, Secret<String>)>,
    /// The key itself; none where the header has another scheme than `Bearer`.
    pub key: Option<Secret<String>>,
}

impl OwnCredential {
    /// Whether there is any.
    #[must_use]
    pub fn is_some(&self) -> bool {
        !self.headers.is_empty()
    }
}

/// Claims that make no caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IdentityError {
    /// A USER_ID is malformed.
    InvalidUserId,
    /// Two sources name two users, or two gateway keys are shown.
    Conflict,
    /// Two credentials of the caller's own are shown.
    CredentialConflict,
    /// A gateway key is malformed, or where it would go upstream.
    InvalidKey,
}

impl From<InvalidUserId> for IdentityError {
    fn from(_: InvalidUserId) -> Self {
        Self::InvalidUserId
    }
}

/// Puts together what the path and the headers claim; `header` gives a header's text by its name.
/// Empty ones count as absent.
///
/// # Errors
/// Where a claim is malformed, or two disagree.
pub fn resolve<'h>(
    path: &GatewayPath<'_>,
    header: impl Fn(&str) -> Option<&'h str>,
) -> Result<Caller, IdentityError> {
    let present = |name| header(name).map(str::trim).filter(|text| !text.is_empty());
    let from_path = path.user_id.clone().transpose()?;
    let from_header = present("x-user-id").map(UserId::parse).transpose()?;
    let mut keys = Vec::new();
    if let Some(text) = present("x-gateway-key") {
        keys.push(gateway_key::parse(text).ok_or(IdentityError::InvalidKey)?);
    }
    let mut own = OwnCredential::default();
    let mut credentials = Vec::new();
    for name in CREDENTIAL_HEADERS {
        let Some(text) = present(name) else { continue };
        let read = if name == "authorization" { of_authorization(text)? } else { of_key(text)? };
        keys.extend(read.key);
        if let Some((credential, whole)) = read.own {
            own.headers.push((name, Secret::new(whole)));
            credentials.push(credential);
        }
    }
    let mut keys = keys.into_iter();
    let key = keys.next();
    let is_another = |other: ShownKey| {
        key.as_ref()
            .is_some_and(|key: &ShownKey| key.hash != other.hash || key.user_id != other.user_id)
    };
    if keys.any(is_another) {
        return Err(IdentityError::Conflict);
    }
    if credentials.windows(2).any(|pair| matches!(pair, [one, other] if one != other)) {
        return Err(IdentityError::CredentialConflict);
    }
    let of_key = key.as_ref().map(|key| key.user_id.clone());
    let mut names = [from_path, from_header, of_key].into_iter().flatten();
    let user_id = names.next().unwrap_or_else(UserId::anonymous);
    if names.any(|name| name != user_id) {
        return Err(IdentityError::Conflict);
    }
    let credential = credentials.into_iter().next();
    own.key = credential.and_then(|credential| match credential {
        Credential::Key(key) => Some(Secret::new(key)),
        Credential::OfAnotherScheme(_) => None,
    });
    let bearer = own.key.as_ref().map(|key| Fingerprint::of(key.expose()));
    let shown = Shown { keys: key.into_iter().map(|key| key.hash).collect(), bearer };
    Ok(Caller { user_id, shown, own })
}

/// What one header holds.
struct Held {
    key: Option<ShownKey>,
    /// The caller's own credential, and the text of the header that carries it alone.
    own: Option<(Credential, String)>,
}

#[derive(PartialEq, Eq)]
enum Credential {
    Key(String),
    OfAnotherScheme(String),
}

fn of_authorization(text: &str) -> Result<Held, IdentityError> {
    if text.eq_ignore_ascii_case("bearer") {
        return Ok(Held { key: None, own: None });
    }
    let Some(credential) = bearer_of(text) else {
        // A key that is written wrongly, without `Bearer` or behind another scheme, must not go upstream.
        if is_ours(text) || basic_of(text).is_some_and(|pair| is_ours(&pair)) {
            return Err(IdentityError::InvalidKey);
        }
        let own = Credential::OfAnotherScheme(text.to_owned());
        return Ok(Held { key: None, own: Some((own, text.to_owned())) });
    };
    let mut held = of_key(credential)?;
    if let Some((_, whole)) = &mut held.own {
        *whole = if held.key.is_none() { text.to_owned() } else { format!("Bearer {whole}") };
    }
    Ok(held)
}

/// A gateway key, another key, or both as `ogk_…:other`.
fn of_key(text: &str) -> Result<Held, IdentityError> {
    let (key, other) = if gateway_key::looks_like_key(text) {
        let (key, other) = text.split_once(':').unwrap_or((text, ""));
        let key = gateway_key::parse(key.trim()).ok_or(IdentityError::InvalidKey)?;
        (Some(key), other.trim())
    } else {
        (None, text)
    };
    if is_ours(other) {
        return Err(IdentityError::InvalidKey);
    }
    let own = (!other.is_empty()).then(|| (Credential::Key(other.to_owned()), other.to_owned()));
    Ok(Held { key, own })
}

/// Whether there is something in a text that is for this gateway alone: a key, or a handle, which is
/// good on the provider callback.
fn is_ours(text: &str) -> bool {
    gateway_key::contains_key(text) || handle::contains_handle(text)
}

/// The credential of a bearer `Authorization`; the scheme's name is matched without case.
#[must_use]
pub fn bearer_of(authorization: &str) -> Option<&str> {
    let (scheme, credential) = authorization.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| credential.trim())
}

/// The user and password of a basic `Authorization`: programs put a key there too.
fn basic_of(authorization: &str) -> Option<String> {
    let (scheme, pair) = authorization.split_once(' ')?;
    let pair = pair.trim().as_bytes();
    let pair = scheme.eq_ignore_ascii_case("basic").then_some(pair)?;
    let pair = STANDARD.decode(pair).or_else(|_| STANDARD_NO_PAD.decode(pair)).ok()?;
    Some(String::from_utf8_lossy(&pair).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway_key::mint;
    use crate::path::gateway_path;

    fn resolve_all(path: &str, headers: &[(&str, &str)]) -> Result<Caller, IdentityError> {
        resolve(&gateway_path(path).unwrap(), |name| {
            headers.iter().find(|(known, _)| *known == name).map(|(_, text)| *text)
        })
    }

    fn key(user_id: &str) -> String {
        mint(&UserId::parse(user_id).unwrap(), &[7; 32]).0.expose().clone()
    }

    #[test]
    fn a_caller_is_named_by_path_header_or_key() {
        let ada = |path, headers: &[(&str, &str)]| {
            assert_eq!(resolve_all(path, headers).unwrap().user_id.as_str(), "ada");
        };
        let (bearer, key) = (format!("bearer {}", key("ada")), key("ada"));
        ada("/u/ADA/v1", &[]);
        ada("/v1", &[("x-user-id", " Ada ")]);
        ada("/v1", &[("authorization", &bearer)]);
        ada("/v1", &[("x-api-key", &key)]);
        ada("/v1", &[("api-key", &key)]);
        ada("/v1", &[("x-gateway-key", &key)]);
        let all = [("x-user-id", "ada"), ("authorization", "Bearer sk-1"), ("x-gateway-key", &key)];
        ada("/u/ada/v1", &all);
        let nobody = resolve_all("/v1", &[("authorization", "Bearer sk-1")]).unwrap();
        assert!(nobody.user_id.is_anonymous());
    }

    #[test]
    fn two_names_or_two_gateway_keys_are_a_conflict() {
        let (ada, bob) = (key("ada"), key("bob"));
        let bearer = format!("Bearer {bob}");
        let other = mint(&UserId::parse("ada").unwrap(), &[8; 32]).0;
        for (path, headers) in [
            ("/u/ada/v1", vec![("x-user-id", "bob")]),
            ("/v1", vec![("x-user-id", "bob"), ("x-gateway-key", ada.as_str())]),
            ("/v1", vec![("authorization", bearer.as_str()), ("x-gateway-key", &ada)]),
            ("/v1", vec![("x-user-id", "anonymous"), ("api-key", &ada)]),
            ("/v1", vec![("x-api-key", other.expose().as_str()), ("api-key", &ada)]),
        ] {
            let refused = resolve_all(path, &headers).unwrap_err();
            assert_eq!(refused, IdentityError::Conflict, "{headers:?}");
        }
        let twice = [("x-api-key", ada.as_str()), ("x-gateway-key", &ada)];
        assert_eq!(resolve_all("/v1", &twice).unwrap().shown.keys.len(), 1);
    }

    #[test]
    fn each_header_holds_a_gateway_key_or_another_or_both() {
        let key = key("ada");
        for scheme in ["", "Bearer "] {
            for name in CREDENTIAL_HEADERS {
                if (name == "authorization") != (scheme == "Bearer ") {
                    continue;
                }
                let read = |text: String| resolve_all("/v1", &[(name, &text)]).unwrap();
                let both = read(format!("{scheme}{key}:sk-ant:1"));
                assert_eq!(both.user_id.as_str(), "ada");
                let [(field, whole)] = both.own.headers.as_slice() else { panic!("one header") };
                assert_eq!((*field, whole.expose()), (name, &format!("{scheme}sk-ant:1")));
                assert!(both.shown.bearer == Some(Fingerprint::of("sk-ant:1")));
                let other = read(format!("{scheme}sk-1"));
                assert!(other.shown.keys.is_empty() && other.own.is_some());
                assert_eq!(other.own.key.unwrap().expose(), "sk-1");
                for alone in [format!("{scheme}{key}"), format!("{scheme}{key}:")] {
                    let alone = read(alone);
                    assert!(alone.shown.keys.len() == 1 && !alone.own.is_some());
                    assert!(alone.shown.bearer.is_none());
                }
                let refused = resolve_all("/v1", &[(name, &format!("{scheme}{key}:{key}"))]);
                assert_eq!(refused.unwrap_err(), IdentityError::InvalidKey);
            }
        }
    }

    #[test]
    fn two_credentials_of_ones_own_are_a_conflict_and_one_may_come_twice() {
        let key = key("ada");
        let both = format!("{key}:sk-1");
        let twice = [("authorization", "Bearer sk-1"), ("x-api-key", both.as_str())];
        let caller = resolve_all("/v1", &twice).unwrap();
        let names: Vec<_> = caller.own.headers.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["authorization", "x-api-key"]);
        for other in ["Bearer sk-2", "Basic eDp5"] {
            let refused = resolve_all("/v1", &[("authorization", other), ("api-key", &both)]);
            assert_eq!(refused.unwrap_err(), IdentityError::CredentialConflict, "{other}");
        }
    }

    #[test]
    fn a_key_is_never_taken_for_the_callers_own_credential() {
        let key = key("ada");
        let basic = [("x-gateway-key", key.as_str()), ("authorization", "Basic eDp5")];
        let caller = resolve_all("/v1", &basic).unwrap();
        assert_eq!(caller.own.headers[0].1.expose(), "Basic eDp5");
        assert!(caller.shown.bearer.is_none() && caller.own.key.is_none());
        let as_it_came = [("x-user-id", "ada"), ("authorization", "bearer  sk-1")];
        let caller = resolve_all("/v1", &as_it_came).unwrap();
        assert_eq!(caller.own.headers[0].1.expose(), "bearer  sk-1");
        assert!(caller.shown.bearer == Some(Fingerprint::of("sk-1")));
        assert!(!resolve_all("/v1", &[("authorization", "Bearer ")]).unwrap().own.is_some());
        let in_basic = STANDARD.encode(format!("{key}:"));
        for written_wrongly in [
            key.clone(),
            format!("Bearer\t{key}"),
            format!("Basic {key}"),
            format!("Basic {in_basic}"),
            format!("basic {}", in_basic.trim_end_matches('=')),
            format!("Bearer sk-1, Bearer {key}"),
            format!("Bearer sk-1:{}", key.replace("ogk_", "OGK-")),
            "Bearer ogk_ada_x".to_owned(),
            "Bearer Ogk_ada_cut:sk-1".to_owned(),
            format!("Bearer {}", handle::mint(&UserId::parse("ada").unwrap(), &[7; 32]).0.expose()),
        ] {
            let refused = resolve_all("/v1", &[("authorization", &written_wrongly)]);
            assert_eq!(refused.unwrap_err(), IdentityError::InvalidKey, "{written_wrongly}");
        }
        let refused = |header| resolve_all("/v1", &[header]).unwrap_err();
        assert_eq!(refused(("x-gateway-key", "sk-1")), IdentityError::InvalidKey);
        assert_eq!(refused(("x-user-id", "a b")), IdentityError::InvalidUserId);
    }
}
