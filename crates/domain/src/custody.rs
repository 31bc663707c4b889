//! The custody of tokens: sealed with AES-256-GCM before they are stored, opened for one use.
//!
//! A seal names the key that it was made with, so that keys can be changed. What it holds and whose
//! it is goes into its associated data: a seal that was put elsewhere doesn't open.

use aes_gcm::aead::{Aead, Payload};
use aes_gcm::{Aes256Gcm, KeyInit};
use base64::Engine;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::identifiers::UserId;
use crate::keyed_hash::{hex, length_prefixed};
use crate::secret::Secret;

/// Operators paste keys with and without the `=` at the end.
const OF_AN_OPERATOR: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a seal holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// An access token.
    Access,
    /// A refresh token.
    Refresh,
    /// The code with which a sign-in is polled for.
    DeviceCode,
    /// The key that pays for a run.
    RunKey,
}

impl Purpose {
    const fn name(self) -> &'static str {
        match self {
            Self::Access => "codex-access",
            Self::Refresh => "codex-refresh",
            Self::DeviceCode => "device-code",
            Self::RunKey => "run-key",
        }
    }
}

/// What a seal holds, and whose it is.
#[derive(Clone, Copy, Debug)]
pub struct Label<'a> {
    /// What it holds.
    pub purpose: Purpose,
    /// Whose it is.
    pub owner: &'a UserId,
}

impl Label<'_> {
    fn associated_data(self) -> Vec<u8> {
        length_prefixed(&[self.purpose.name(), self.owner.as_str()])
    }
}

/// A secret as it is stored. It is safe to be seen, and says nothing without its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sealed {
    /// The first eight hex digits of the SHA-256 of the key.
    key_id: String,
    /// Twelve bytes, in base64.
    nonce: String,
    /// The ciphertext and its tag, in base64.
    ciphertext: String,
}

/// Why a seal doesn't open. Its `Display` is for the operator and holds nothing of the content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// Made with a key that isn't here.
    #[error(
        "it was sealed with another key than TOKEN_ENCRYPTION_KEY and TOKEN_ENCRYPTION_KEY_PREVIOUS"
    )]
    UnknownKey,
    /// Not what a seal looks like.
    #[error("what is stored is no sealed secret, or was cut")]
    Malformed,
    /// A seal, but not this one's.
    #[error("what is stored was altered, or was sealed for another user or purpose")]
    Foreign,
}

/// A text that is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 32 random bytes in base64, such as `openssl rand -base64 32` prints")]
pub struct InvalidKey;

/// A key of 32 bytes.
#[derive(Clone, Debug)]
struct Key {
    id: String,
    bytes: Secret<[u8; 32]>,
}

impl Key {
    fn parse(text: &Secret<String>) -> Result<Self, InvalidKey> {
        let bytes = OF_AN_OPERATOR.decode(text.expose()).map_err(|_| InvalidKey)?;
        let bytes: [u8; 32] = bytes.try_into().map_err(|_| InvalidKey)?;
        let digest = Sha256::digest(bytes);
        let id = hex(digest.get(..4).unwrap_or_default());
        Ok(Self { id, bytes: Secret::new(bytes) })
    }

    fn cipher(&self) -> Aes256Gcm {
        Aes256Gcm::new(self.bytes.expose().into())
    }
}

/// The keys: one that seals, and one that still opens what was sealed before it.
#[derive(Clone, Debug)]
pub struct Keyring {
    current: Key,
    previous: Option<Key>,
}

impl Keyring {
    /// Takes a key of 32 bytes in base64.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn new(current: &Secret<String>) -> Result<Self, InvalidKey> {
        Ok(Self { current: Key::parse(current)?, previous: None })
    }

    /// Adds the key that came before.
    ///
    /// # Errors
    /// [`InvalidKey`].
    pub fn with_previous(self, previous: &Secret<String>) -> Result<Self, InvalidKey> {
        Ok(Self { previous: Some(Key::parse(previous)?), ..self })
    }

    /// Seals a secret. The nonce must be random, and new each time.
    #[must_use]
    pub fn seal(&self, label: Label<'_>, secret: &Secret<String>, nonce: [u8; 12]) -> Sealed {
        let aad = label.associated_data();
        let payload = Payload { msg: secret.expose().as_bytes(), aad: &aad };
        // It refuses texts over 64 GiB alone; of such a one there would be a seal that never opens.
        let ciphertext = self.current.cipher().encrypt(&nonce.into(), payload).unwrap_or_default();
        Sealed {
            key_id: self.current.id.clone(),
            nonce: STANDARD.encode(nonce),
            ciphertext: STANDARD.encode(ciphertext),
        }
    }

    /// Opens a seal.
    ///
    /// # Errors
    /// [`Unreadable`].
    pub fn open(&self, label: Label<'_>, sealed: &Sealed) -> Result<Secret<String>, Unreadable> {
        let keys = [Some(&self.current), self.previous.as_ref()];
        let key = keys.into_iter().flatten().find(|key| key.id == sealed.key_id);
        let key = key.ok_or(Unreadable::UnknownKey)?;
        let decode = |text| STANDARD.decode(text).map_err(|_| Unreadable::Malformed);
        let nonce: [u8; 12] =
            decode(&sealed.nonce)?.try_into().map_err(|_| Unreadable::Malformed)?;
        let (ciphertext, aad) = (decode(&sealed.ciphertext)?, label.associated_data());
        let payload = Payload { msg: &ciphertext, aad: &aad };
        let secret = key.cipher().decrypt(&nonce.into(), payload);
        let secret = secret.map_err(|_| Unreadable::Foreign)?;
        String::from_utf8(secret).map(Secret::new).map_err(|_| Unreadable::Foreign)
    }

    /// Whether a seal was made with the key that seals now.
    #[must_use]
    pub fn is_current(&self, sealed: &Sealed) -> bool {
        sealed.key_id == self.current.id
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) const OLD: [u8; 32] = [1; 32];
    pub(crate) const NEW: [u8; 32] = [2; 32];

    fn secret(text: impl Into<String>) -> Secret<String> {
        Secret::new(text.into())
    }

    pub(crate) fn ring(current: [u8; 32], previous: Option<[u8; 32]>) -> Keyring {
        let ring = Keyring::new(&secret(STANDARD.encode(current))).unwrap();
        match previous {
            None => ring,
            Some(key) => ring.with_previous(&secret(STANDARD.encode(key))).unwrap(),
        }
    }

    fn user(name: &str) -> UserId {
        UserId::parse(name).unwrap()
    }

    #[test]
    fn the_stored_format_is_pinned() {
        // As crypto.createCipheriv("aes-256-gcm", …) of Node makes it too.
        let text = r#"{"key_id":"72cd6e84","nonce":"AwMDAwMDAwMDAwMD","ciphertext":"jA5//5FGyT/pU1UlI4xbN0xlbHF9"}"#;
        let ada = user("ada");
        let label = Label { purpose: Purpose::Access, owner: &ada };
        let sealed = ring(OLD, None).seal(label, &secret("token"), [3; 12]);
        assert_eq!(serde_json::to_string(&sealed).unwrap(), text);
        let read: Sealed = serde_json::from_str(text).unwrap();
        assert_eq!(ring(OLD, None).open(label, &read).unwrap().expose(), "token");
    }

    #[test]
    fn the_purposes_are_pinned() {
        let purposes = [Purpose::Access, Purpose::Refresh, Purpose::DeviceCode];
        assert_eq!(purposes.map(Purpose::name), ["codex-access", "codex-refresh", "device-code"]);
        let ada = user("ada");
        let label = Label { purpose: Purpose::Refresh, owner: &ada };
        let data = [&[0, 0, 0, 0, 0, 0, 0, 13], &b"codex-refresh"[..], &[0, 0, 0, 0, 0, 0, 0, 3]];
        assert_eq!(label.associated_data(), [&data.concat(), &b"ada"[..]].concat());
    }

    #[test]
    fn a_key_that_was_replaced_still_opens() {
        let ada = user("ada");
        let label = Label { purpose: Purpose::Refresh, owner: &ada };
        let sealed = ring(OLD, None).seal(label, &secret("token"), [0; 12]);
        let rotated = ring(NEW, Some(OLD));
        assert_eq!(rotated.open(label, &sealed).unwrap().expose(), "token");
        assert!(!rotated.is_current(&sealed));
        let resealed = rotated.seal(label, &secret("token"), [1; 12]);
        assert!(rotated.is_current(&resealed));
        assert_eq!(ring(NEW, None).open(label, &resealed).unwrap().expose(), "token");
        assert_eq!(ring(NEW, None).open(label, &sealed), Err(Unreadable::UnknownKey));
    }

    #[test]
    fn what_was_put_elsewhere_doesnt_open() {
        let [ada, bob] = ["ada", "bob"].map(user);
        let label = Label { purpose: Purpose::Access, owner: &ada };
        let ring = ring(NEW, None);
        let sealed = ring.seal(label, &secret("token"), [0; 12]);
        let other = ring.seal(label, &secret("other"), [1; 12]);
        let swapped = Sealed { ciphertext: other.ciphertext, ..sealed.clone() };
        assert_eq!(ring.open(label, &swapped), Err(Unreadable::Foreign));
        let of_bob = Label { owner: &bob, ..label };
        assert_eq!(ring.open(of_bob, &sealed), Err(Unreadable::Foreign));
        let refresh = Label { purpose: Purpose::Refresh, ..label };
        assert_eq!(ring.open(refresh, &sealed), Err(Unreadable::Foreign));
    }

    #[test]
    fn a_key_is_thirty_two_bytes_in_base64() {
        let key = |text: &str| Keyring::new(&secret(text)).map(|ring| ring.current.id);
        let text = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        assert_eq!(key(text).unwrap(), "72cd6e84");
        assert_eq!(key(&format!("{text}=")).unwrap(), "72cd6e84");
        for wrong in ["", "secret", &text[..42], &format!("{text}AAAA"), &format!("{text}\n=")] {
            assert_eq!(key(wrong), Err(InvalidKey), "{wrong:?}");
        }
        assert!(!format!("{:?}", ring(OLD, Some(NEW))).contains("1, 1"), "a key was shown");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_for_its_owner_alone(
            text in ".{0,200}", nonce: [u8; 12], key: [u8; 32], [ada, bob] in ["[a-z]{1,8}", "[a-z]{1,8}"],
        ) {
            let (ada, bob) = (user(&ada), user(&bob));
            let label = Label { purpose: Purpose::DeviceCode, owner: &ada };
            let sealed = ring(key, None).seal(label, &secret(text.clone()), nonce);
            prop_assert_eq!(ring(NEW, Some(key)).open(label, &sealed), Ok(secret(text)));
            let of_bob = Label { owner: &bob, ..label };
            prop_assert_eq!(ring(key, None).open(of_bob, &sealed).is_ok(), ada == bob);
        }

        #[test]
        fn whatever_is_stored_never_panics(
            key_id in "(75877bb4|.{0,9})", nonce in ".{0,20}", ciphertext in ".{0,60}",
            cut in 0_usize..60, at in 0_usize..60,
        ) {
            let ada = user("ada");
            let label = Label { purpose: Purpose::Access, owner: &ada };
            let ring = ring(NEW, None);
            let made_up = Sealed { key_id, nonce, ciphertext };
            prop_assert!(ring.open(label, &made_up).is_err());
            let whole = ring.seal(label, &secret("a token of some length"), [7; 12]);
            let mut truncated = whole.clone();
            truncated.ciphertext.truncate(cut.min(whole.ciphertext.len() - 1));
            prop_assert!(ring.open(label, &truncated).is_err());
            let mut bytes = STANDARD.decode(&whole.ciphertext).unwrap();
            let at = at % bytes.len();
            bytes[at] ^= 1;
            let altered = Sealed { ciphertext: STANDARD.encode(bytes), ..whole };
            prop_assert_eq!(ring.open(label, &altered), Err(Unreadable::Foreign));
        }
    }
}
