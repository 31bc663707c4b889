//! The operator's sign-in in a browser: a cookie that proves itself, and a token beside it against
//! forged requests.
//!
//! The cookie is signed under the operator's token, so that another token voids every cookie there is. Only
//! those are stored that were ended before their time.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use subtle::ConstantTimeEq;

use crate::clock::Millis;
use crate::keyed_hash::{hmac_sha256, length_prefixed};
use crate::secret::Secret;

/// How long a sign-in lasts.
pub const LIFETIME: Millis = 12 * 3_600_000;

/// A sign-in that holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// When it ends.
    pub expires_at: Millis,
}

/// The cookie's value for a sign-in at `now`: its end, something random, and the signature.
#[must_use]
pub fn issue(token: &Secret<String>, random: &[u8; 16], now: Millis) -> Secret<String> {
    let claim = format!("{}.{}", now + LIFETIME, URL_SAFE_NO_PAD.encode(random));
    Secret::new(format!("{claim}.{}", sign(token, "cookie", &claim)))
}

/// Reads a cookie's value; `None` where it was not issued under this token, or is too old.
#[must_use]
pub fn check(token: &Secret<String>, cookie: &str, now: Millis) -> Option<SignedIn> {
    let (claim, signature) = cookie.rsplit_once('.')?;
    if !is_same(&sign(token, "cookie", claim), signature) {
        return None;
    }
    let expires_at = claim.split('.').next()?.parse().ok()?;
    (now < expires_at).then_some(SignedIn { expires_at })
}

/// What has to come along with whatever changes anything: only who can read an answer of this
/// origin knows it. `credential` is what the browser sends by itself.
#[must_use]
pub fn csrf_token(token: &Secret<String>, credential: &str) -> String {
    sign(token, "csrf", credential)
}

/// Whether that is what came along.
#[must_use]
pub fn is_csrf_token(token: &Secret<String>, credential: &str, shown: &str) -> bool {
    is_same(&csrf_token(token, credential), shown)
}

fn sign(token: &Secret<String>, purpose: &str, text: &str) -> String {
    let message = length_prefixed(&["operator", purpose, text]);
    URL_SAFE_NO_PAD.encode(hmac_sha256(token.expose().as_bytes(), &message))
}

fn is_same(one: &str, other: &str) -> bool {
    one.as_bytes().ct_eq(other.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_cookie_holds_for_its_time_and_under_its_token() {
        let cookie = issue(&token("one"), &[7; 16], 1_000);
        let cookie = cookie.expose();
        let expires_at = 1_000 + LIFETIME;
        assert_eq!(check(&token("one"), cookie, expires_at - 1), Some(SignedIn { expires_at }));
        assert_eq!(check(&token("one"), cookie, expires_at), None);
        assert_eq!(check(&token("two"), cookie, 1_000), None, "another token voids it");
        assert_ne!(cookie, issue(&token("one"), &[8; 16], 1_000).expose());
        assert!(cookie.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
    }

    #[test]
    fn nobody_makes_a_cookie_without_the_token() {
        let cookie = issue(&token("one"), &[7; 16], 1_000);
        let (claim, signature) = cookie.expose().rsplit_once('.').unwrap();
        let later = claim.replacen("43201000", "99999999", 1);
        let csrf = csrf_token(&token("one"), claim);
        for forged in [
            format!("{later}.{signature}"),
            format!("{claim}.{csrf}"),
            format!("{claim}."),
            claim.to_owned(),
            ".".to_owned(),
            String::new(),
        ] {
            assert_eq!(check(&token("one"), &forged, 1_000), None, "{forged}");
        }
    }

    #[test]
    fn a_token_against_forgery_belongs_to_its_credential() {
        let shown = csrf_token(&token("one"), "cookie a");
        assert!(is_csrf_token(&token("one"), "cookie a", &shown));
        assert!(!is_csrf_token(&token("one"), "cookie b", &shown));
        assert!(!is_csrf_token(&token("two"), "cookie a", &shown));
        assert!(!is_csrf_token(&token("one"), "cookie a", ""));
    }
}
