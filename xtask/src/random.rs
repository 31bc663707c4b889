//! Secrets that are made here.

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use domain::secret::Secret;

/// A new value of 32 random bytes for the secret of this name.
///
/// # Errors
/// When the system has no randomness.
pub fn secret(name: &str) -> Result<Secret<String>> {
    let mut bytes = [0_u8; 32];
    getrandom::fill(&mut bytes)
        .map_err(|error| anyhow!("the system has no randomness: {error}"))?;
    // The key is decoded by the gateway; the others are text, and may be typed into a URL or a shell.
    let is_key = name == "TOKEN_ENCRYPTION_KEY";
    let text = if is_key { STANDARD.encode(bytes) } else { URL_SAFE_NO_PAD.encode(bytes) };
    Ok(Secret::new(text))
}
