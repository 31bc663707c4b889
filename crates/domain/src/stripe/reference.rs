//! What `/upgrade` signs: links that name a user, and references that come back from a checkout.
//!
//! A link is for one person and says for itself until when it is good. One that the user is given, at
//! `/me` and in a refusal, is good for fifteen minutes; one that the operator sends by mail, for days.
//!
//! All are texts of letters, digits, `-` and `_` alone, which is all that Stripe takes in a
//! `client_reference_id`, and at most 200 of them. A USER_ID has no capitals, so one of them stands
//! for a dot, and another for the end of a part: `ada-lovelaceS9f86d081…`.

use subtle::ConstantTimeEq;

use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::keyed_hash::{hex, hmac_sha256, length_prefixed};
use crate::secret::Secret;

/// For how long a link is good that the user is given.
const LIFETIME: Millis = 15 * 60_000;
/// The most days that one is good that the operator sends. What is in a mailbox is found one day by
/// somebody else.
pub const LONGEST_LINK_DAYS: u32 = 60;
/// What the two kinds of links are signed for.
const GIVEN: &str = "link";
const SENT: &str = "sent link";
/// Stands for a dot.
const DOT: &str = "P";
/// Stands between the parts.
const END: char = 'S';

/// The `client_reference_id` that says who pays. It grants nothing but to whoever is paid for, so
/// it never ends.
#[must_use]
pub fn reference_of(user: &UserId, secret: &Secret<String>) -> String {
    sign("reference", &user.as_str().replace('.', DOT), secret)
}

/// Who pays, where one of the secrets has signed it.
#[must_use]
pub fn user_of(reference: &str, secrets: &[Secret<String>]) -> Option<UserId> {
    named(signed("reference", reference, secrets)?)
}

/// The token of a link to `/upgrade` that is good for fifteen minutes.
#[must_use]
pub fn link_token(user: &UserId, secret: &Secret<String>, now: Millis) -> String {
    link_until(GIVEN, user, secret, now + LIFETIME)
}

/// The token of a link to `/upgrade` that the operator sends, good until then.
#[must_use]
pub fn sent_link_token(user: &UserId, secret: &Secret<String>, until: Millis) -> String {
    link_until(SENT, user, secret, until)
}

fn link_until(purpose: &str, user: &UserId, secret: &Secret<String>, until: Millis) -> String {
    let user = user.as_str().replace('.', DOT);
    sign(purpose, &format!("{user}{END}{until}"), secret)
}

/// Whose link it is, of either kind, where one of the secrets has signed it and it is still good.
#[must_use]
pub fn user_of_link(token: &str, secrets: &[Secret<String>], now: Millis) -> Option<UserId> {
    let text = signed(GIVEN, token, secrets).or_else(|| signed(SENT, token, secrets))?;
    let (user, until) = text.rsplit_once(END)?;
    let until: Millis = until.parse().ok()?;
    if now < until { named(user) } else { None }
}

fn named(user: &str) -> Option<UserId> {
    UserId::parse(&user.replace(DOT, ".")).ok().filter(|user| !user.is_anonymous())
}

fn sign(purpose: &str, text: &str, secret: &Secret<String>) -> String {
    format!("{text}{END}{}", seal(purpose, text, secret))
}

fn signed<'a>(purpose: &str, text: &'a str, secrets: &[Secret<String>]) -> Option<&'a str> {
    let (text, shown) = text.rsplit_once(END)?;
    let is_good = |secret| seal(purpose, text, secret).as_bytes().ct_eq(shown.as_bytes()).into();
    secrets.iter().any(is_good).then_some(text)
}

/// The purpose keeps a link from being a reference, and its length in front of it keeps both from
/// being the signature of an event, which begins with a digit.
fn seal(purpose: &str, text: &str, secret: &Secret<String>) -> String {
    hex(&hmac_sha256(secret.expose().as_bytes(), &length_prefixed(&[purpose, text])))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn ada() -> UserId {
        UserId::parse("ada.l-o_1").unwrap()
    }

    #[test]
    fn the_formats_are_pinned() {
        // By Python's hmac, with struct.pack('>Q', len(part)) before each part.
        let reference = reference_of(&ada(), &secret("whsec_1"));
        assert_eq!(
            reference,
            "adaPl-o_1S7d3d6cf449b014e8cab222d773effef6f0c7d5e4680253da502029d2475c5010"
        );
        let link = link_token(&ada(), &secret("whsec_1"), 100_000);
        assert_eq!(
            link,
            "adaPl-o_1S1000000Sf181bd54569fb36ab87658e8e06d7805f73d649ff6b2ffcd0bb979a15a8620f3"
        );
        let sent = sent_link_token(&ada(), &secret("whsec_1"), 1_000_000);
        assert_eq!(
            sent,
            "adaPl-o_1S1000000Seb0c8829e4aa30fe4f6b255087e3c79d7f17b95e0b383bf8a9aef317a1a3a08e"
        );
    }

    #[test]
    fn a_secret_that_was_current_is_still_known() {
        let reference = reference_of(&ada(), &secret("old"));
        assert_eq!(user_of(&reference, &[secret("new"), secret("old")]), Some(ada()));
        assert_eq!(user_of(&reference, &[secret("new")]), None);
        assert_eq!(user_of(&reference, &[]), None);
    }

    #[test]
    fn a_link_ends_and_is_no_reference() {
        let secrets = [secret("whsec_1")];
        let link = link_token(&ada(), &secrets[0], 5);
        assert_eq!(user_of_link(&link, &secrets, 5 + LIFETIME - 1), Some(ada()));
        assert_eq!(user_of_link(&link, &secrets, 5 + LIFETIME), None);
        assert_eq!(user_of(&link, &secrets), None);
        assert_eq!(user_of_link(&reference_of(&ada(), &secrets[0]), &secrets, 5), None);
        let sent = sent_link_token(&ada(), &secrets[0], 9);
        assert_eq!(user_of_link(&sent, &secrets, 8), Some(ada()));
        assert_eq!(user_of_link(&sent, &secrets, 9), None);
        assert_eq!(user_of(&sent, &secrets), None);
    }

    proptest! {
        #[test]
        fn stripe_takes_every_reference_and_no_change_goes_unseen(
            name in "[a-z0-9][a-z0-9._-]{0,63}", at in any::<prop::sample::Index>(), by in "[a-zA-Z0-9_-]",
        ) {
            let Ok(user) = UserId::parse(&name) else { return Ok(()) };
            let secrets = [secret("whsec_1")];
            let reference = reference_of(&user, &secrets[0]);
            prop_assert!(reference.len() <= 200);
            prop_assert!(reference.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
            prop_assert_eq!(user_of(&reference, &secrets), Some(user).filter(|user| !user.is_anonymous()));
            let at = at.index(reference.len());
            let changed = format!("{}{by}{}", &reference[..at], &reference[at + 1..]);
            prop_assert!(changed == reference || user_of(&changed, &secrets).is_none());
        }

        #[test]
        fn nobody_prolongs_a_link_or_makes_it_another_s(
            name in "[a-z0-9][a-z0-9._-]{0,63}", until in 1_i64..4_000_000_000_000,
            at in any::<prop::sample::Index>(), by in "[a-zA-Z0-9_-]",
        ) {
            let Ok(user) = UserId::parse(&name) else { return Ok(()) };
            let secrets = [secret("whsec_1")];
            let link = sent_link_token(&user, &secrets[0], until);
            let known = Some(user).filter(|user| !user.is_anonymous());
            prop_assert_eq!(user_of_link(&link, &secrets, until - 1), known);
            prop_assert_eq!(user_of_link(&link, &secrets, until), None);
            let at = at.index(link.len());
            let changed = format!("{}{by}{}", &link[..at], &link[at + 1..]);
            prop_assert!(changed == link || user_of_link(&changed, &secrets, 0).is_none());
        }
    }
}
