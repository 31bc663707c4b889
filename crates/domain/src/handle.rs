//! Handles: `ogr_{user_id}_{secret}`.
//!
//! A handle is what OpenClaw shows on its way back, in the place of a person's own credential. It is
//! good at `/return/v1/*` alone, and while a run of that person's is in progress. It is made like a
//! gateway key, and kept like one: only the fingerprint of its secret.

use crate::fingerprint::Fingerprint;
use crate::gateway_key::{self, ShownKey};
use crate::identifiers::UserId;
use crate::secret::Secret;

const PREFIX: &str = "ogr_";

/// Whether a text has a handle in it somewhere.
#[must_use]
pub fn contains_handle(text: &str) -> bool {
    gateway_key::contains(PREFIX, text)
}

/// Reads a handle: whose it claims to be, and the hash that would prove it. `None` where it is
/// malformed.
#[must_use]
pub fn parse(handle: &str) -> Option<ShownKey> {
    gateway_key::parse_after(PREFIX, handle)
}

/// Makes the handle of 32 random bytes, and the hash to keep.
#[must_use]
pub fn mint(user_id: &UserId, random: &[u8; 32]) -> (Secret<String>, Fingerprint) {
    gateway_key::mint_after(PREFIX, user_id, random)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_pinned() {
        let ada = UserId::parse("ada_b").unwrap();
        let (handle, hash) = mint(&ada, &[0; 32]);
        assert_eq!(handle.expose(), &format!("ogr_ada_b_{}", "0".repeat(43)));
        let shown = parse(handle.expose()).unwrap();
        assert!(shown.user_id == ada && shown.hash == hash);
    }

    #[test]
    fn a_key_is_no_handle_and_a_handle_is_no_key() {
        let ada = UserId::parse("ada").unwrap();
        let (handle, key) = (mint(&ada, &[1; 32]).0, gateway_key::mint(&ada, &[1; 32]).0);
        assert!(parse(key.expose()).is_none() && gateway_key::parse(handle.expose()).is_none());
        assert!(contains_handle(&format!("Bearer {}", handle.expose())));
        for wrong in ["", "ogr_", "ogr_ada", "ogr_ada_short", "sk-abc"] {
            assert!(parse(wrong).is_none(), "{wrong}");
        }
    }
}
