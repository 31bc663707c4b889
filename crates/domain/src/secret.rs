//! A value that must not be seen.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A secret: it can be used, but neither printed nor serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Takes a value into custody.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself, for the one place that needs it.
    pub const fn expose(&self) -> &T {
        &self.0
    }
}

impl Secret<String> {
    /// Whether somebody who shows `text` knows the secret. Takes the same time whatever is shown,
    /// its length apart.
    #[must_use]
    pub fn is_known_by(&self, text: &str) -> bool {
        let [secret, shown] = [self.0.as_bytes(), text.as_bytes()].map(Sha256::digest);
        secret.ct_eq(&shown).into()
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

impl<T> fmt::Display for Secret<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("[redacted]")
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Borrow;
    use std::ops::Deref;

    use serde::Serialize;
    use static_assertions::assert_not_impl_any;

    use super::*;

    // It doesn't serialise, and nothing but `expose` leads to what is in it.
    assert_not_impl_any!(Secret<String>: Serialize, Deref, AsRef<str>, AsRef<[u8]>, Borrow<str>);
    assert_not_impl_any!(Secret<String>: Into<String>, PartialEq<str>, PartialEq<String>);
    assert_not_impl_any!(Secret<[u8; 32]>: Serialize, Deref, AsRef<[u8]>, Borrow<[u8]>);

    #[test]
    fn neither_display_nor_debug_shows_it() {
        let secret = Secret::new("sk-live".to_owned());
        assert_eq!(format!("{secret} {secret:?}"), "[redacted] [redacted]");
        assert_eq!(secret.expose(), "sk-live");
    }

    #[test]
    fn only_the_whole_text_shows_that_one_knows_it() {
        let secret = Secret::new("sk-live".to_owned());
        assert!(secret.is_known_by("sk-live"));
        assert!(!["", "sk-liv", "sk-live "].iter().any(|text| secret.is_known_by(text)));
    }
}
