//! What is kept of a credential: enough to know it again, and not to use it.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::keyed_hash::hex;

/// The SHA-256 of a credential, in hex.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(String);

impl Fingerprint {
    /// The fingerprint of a credential.
    #[must_use]
    pub fn of(credential: &str) -> Self {
        Self(hex(&Sha256::digest(credential.as_bytes())))
    }

    /// All of its hex digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        &self.0
    }

    /// Its first eight hex digits: the id by which an operator names it.
    #[must_use]
    pub fn id(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }
}

/// Compares in constant time.
impl PartialEq for Fingerprint {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_bytes().ct_eq(other.0.as_bytes()).into()
    }
}

impl Eq for Fingerprint {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_pinned() {
        // printf sk-1 | sha256sum
        let fingerprint = Fingerprint::of("sk-1");
        let text = r#""0f2c10bf3d128c719c6bfa4ecbae94b7fceebaea6e4438fef38a90e5acc326f3""#;
        assert_eq!(serde_json::to_string(&fingerprint).unwrap(), text);
        assert_eq!(fingerprint.id(), "0f2c10bf");
        assert!(fingerprint == Fingerprint::of("sk-1"));
        assert!(fingerprint != Fingerprint::of("sk-2"));
    }
}
