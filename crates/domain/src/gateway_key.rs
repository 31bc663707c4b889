//! Gateway keys: `ogk_{user_id}_{secret}`.
//!
//! The secret is 32 random bytes in base62, 43 digits. Only its fingerprint is kept, and
//! that one's id is the key's: whoever finds a leaked key can name it.

use crate::fingerprint::Fingerprint;
use crate::identifiers::UserId;
use crate::secret::Secret;

const PREFIX: &str = "ogk_";
const SECRET_DIGITS: usize = 43;
const DIGITS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// A key as its owner shows it: whose it claims to be, and the hash that would prove it.
#[derive(Clone, Debug)]
pub struct ShownKey {
    /// The USER_ID that the key names.
    pub user_id: UserId,
    /// The hash of its secret.
    pub hash: Fingerprint,
}

/// Whether a credential claims to be a gateway key, well formed or not.
#[must_use]
pub fn looks_like_key(credential: &str) -> bool {
    after_prefix(PREFIX, credential).is_some()
}

/// Whether a text has a gateway key in it somewhere.
#[must_use]
pub fn contains_key(text: &str) -> bool {
    contains(PREFIX, text)
}

/// Reads a gateway key; `None` where it is malformed.
#[must_use]
pub fn parse(key: &str) -> Option<ShownKey> {
    parse_after(PREFIX, key)
}

/// Reads `{prefix}{user_id}_{secret}`, in which people and their programs write the prefix in any case,
/// and a dash for an underscore.
pub(crate) fn parse_after(prefix: &str, text: &str) -> Option<ShownKey> {
    let rest = after_prefix(prefix, text)?;
    let (user_id, secret) = rest.split_at_checked(rest.len().checked_sub(SECRET_DIGITS)?)?;
    let user_id = user_id.strip_suffix(['_', '-'])?;
    let well_formed = secret.bytes().all(|b| DIGITS.contains(&b));
    well_formed
        .then(|| UserId::parse(user_id).ok())
        .flatten()
        .map(|user_id| ShownKey { user_id, hash: Fingerprint::of(secret) })
}

fn after_prefix<'a>(prefix: &str, text: &'a str) -> Option<&'a str> {
    let (begin, rest) = text.split_at_checked(prefix.len())?;
    let is_alike = |(one, other): (u8, u8)| one == other || (one == b'_' && other == b'-');
    let mut pairs = prefix.bytes().zip(begin.bytes());
    pairs.all(|(one, other)| is_alike((one, other.to_ascii_lowercase()))).then_some(rest)
}

/// Whether the prefix is in a text: as it is written here anywhere, in another spelling where a word
/// begins. Inside of a word that is chance: others' keys are long.
pub(crate) fn contains(prefix: &str, text: &str) -> bool {
    let is_word = |character: char| character.is_ascii_alphanumeric() || "-_".contains(character);
    text.contains(prefix)
        || text.split(|c| !is_word(c)).any(|word| after_prefix(prefix, word).is_some())
}

/// Makes the key of 32 random bytes, and the hash to keep.
#[must_use]
pub fn mint(user_id: &UserId, random: &[u8; 32]) -> (Secret<String>, Fingerprint) {
    mint_after(PREFIX, user_id, random)
}

/// Makes `{prefix}{user_id}_{secret}`.
pub(crate) fn mint_after(
    prefix: &str,
    user_id: &UserId,
    random: &[u8; 32],
) -> (Secret<String>, Fingerprint) {
    let secret = base62(random);
    let hash = Fingerprint::of(&secret);
    (Secret::new(format!("{prefix}{user_id}_{secret}")), hash)
}

/// Writes a 256-bit number in base62, padded with zeros to 43 digits.
fn base62(bytes: &[u8; 32]) -> String {
    let mut number = *bytes;
    let mut digits = [b'0'; SECRET_DIGITS];
    for digit in digits.iter_mut().rev() {
        let mut remainder = 0_usize;
        for byte in &mut number {
            let value = remainder * 256 + usize::from(*byte);
            *byte = u8::try_from(value / 62).unwrap_or(u8::MAX);
            remainder = value % 62;
        }
        *digit = DIGITS.get(remainder).copied().unwrap_or(b'0');
    }
    digits.iter().map(|digit| char::from(*digit)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_format_is_pinned() {
        let ada = UserId::parse("ada_b").unwrap();
        let (key, hash) = mint(&ada, &[0; 32]);
        assert_eq!(key.expose(), &format!("ogk_ada_b_{}", "0".repeat(43)));
        assert_eq!(hash.id(), "b918b22a");
        let (key, _) = mint(&ada, &[255; 32]);
        assert_eq!(key.expose(), "ogk_ada_b_yhjskwdA6OZ1AL1YmHWZWm8LLG7HjnuCA2j5rOw8Xp1");
    }

    #[test]
    fn what_is_not_a_key_is_not_read() {
        for wrong in ["", "ogk_", "ogk_ada", "ogk_ada_short", "sk-abc", "ogk__"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
        assert!(parse(&format!("ogk_../x_{}", "0".repeat(43))).is_none());
        assert!(parse(&format!("ogk_ada_{}-", "0".repeat(42))).is_none());
    }

    #[test]
    fn a_key_is_known_in_each_spelling_of_its_prefix() {
        let (key, hash) = mint(&UserId::parse("ada-b").unwrap(), &[3; 32]);
        let secret = &key.expose()["ogk_ada-b_".len()..];
        for written in ["ogk_ada-b_", "Ogk_Ada-B_", "OGK-ada-b-", "ogk-ada-b_", "ogk_ada-b-"] {
            let shown = parse(&format!("{written}{secret}")).unwrap();
            assert!(shown.user_id.as_str() == "ada-b" && shown.hash == hash, "{written}");
            assert!(looks_like_key(written));
        }
        for text in ["x ogk-ada", "Bearer sk-1,OGK_ada", "\"ogk_", "sk-ogk_1"] {
            assert!(contains_key(text), "{text}");
        }
        for text in ["sk-ogk-1", "sk-OGK_1", "ogk", "og k_"] {
            assert!(!contains_key(text), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_minted_key_reads_back(random: [u8; 32], other: [u8; 32]) {
            let ada = UserId::parse("ada").unwrap();
            let (key, hash) = mint(&ada, &random);
            let shown = parse(key.expose()).unwrap();
            prop_assert_eq!(shown.user_id, ada.clone());
            prop_assert!(shown.hash == hash);
            prop_assert_eq!(mint(&ada, &other).1 == hash, random == other);
        }
    }
}
