//! Whether Stripe has sent what claims to be from it.
//!
//! The header is `t=1700000000,v1=…,v1=…`: when it was signed, and HMAC-SHA-256 of that text, a dot
//! and the raw body, in hex, under each secret that the endpoint has at the moment
//! (<https://docs.stripe.com/webhooks#verify-manually>).

use subtle::{Choice, ConstantTimeEq};

use crate::clock::Millis;
use crate::keyed_hash::{hex, hmac_sha256};
use crate::secret::Secret;

/// How far the clock that signed may be from ours, either way. Stripe's own libraries allow as much,
/// and ask only whether a signature is too old; what is from the future is no honest one either.
const TOLERANCE: Millis = 300_000;

/// Whether `header` signs `body` under one of the secrets, now.
#[must_use]
pub fn is_good(header: &str, body: &[u8], secrets: &[Secret<String>], now: Millis) -> bool {
    let mut signed_at = None;
    let mut signatures = Vec::new();
    for (name, value) in header.split(',').filter_map(|part| part.trim().split_once('=')) {
        match name {
            "t" => signed_at = Some(value),
            "v1" => signatures.push(value),
            _ => {}
        }
    }
    let Some(signed_at) = signed_at else { return false };
    let Some(moment) = signed_at.parse::<Millis>().ok().and_then(|at| at.checked_mul(1_000)) else {
        return false;
    };
    let message = [signed_at.as_bytes(), b".", body].concat();
    let mut is_known = Choice::from(0);
    for secret in secrets {
        let expected = hex(&hmac_sha256(secret.expose().as_bytes(), &message));
        for signature in &signatures {
            is_known |= expected.as_bytes().ct_eq(signature.as_bytes());
        }
    }
    bool::from(is_known) && moment.abs_diff(now) <= TOLERANCE.unsigned_abs()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &[u8] = br#"{"id":"evt_1"}"#;
    const NOW: Millis = 1_763_561_590_000;
    // printf '1763561590.{"id":"evt_1"}' | openssl dgst -sha256 -hmac whsec_1, and of whsec_0
    const FIRST: &str = "0e7df126239531f96fd488ea0fdb655106a7a28f224a06fe82882ccf80e316f4";
    const EARLIER: &str = "d70c1f58bf595facc9bab0dd52039f712dfac584ac45006d8e1b9a4c9deca561";

    fn secrets(texts: &[&str]) -> Vec<Secret<String>> {
        texts.iter().map(|text| Secret::new((*text).to_owned())).collect()
    }

    fn is_good_at(header: &str, now: Millis) -> bool {
        is_good(header, BODY, &secrets(&["whsec_1", "whsec_0"]), now)
    }

    #[test]
    fn any_signature_under_any_secret_is_good() {
        for header in [
            format!("t=1763561590,v1={FIRST}"),
            format!("t=1763561590,v1={EARLIER}"),
            format!("t=1763561590,v1={},v1={FIRST},v0=x", "0".repeat(64)),
            format!("v1={EARLIER}, t=1763561590"),
        ] {
            assert!(is_good_at(&header, NOW), "{header}");
        }
    }

    #[test]
    fn anything_else_is_not() {
        for header in [
            String::new(),
            "t=1763561590".to_owned(),
            format!("v1={FIRST}"),
            format!("t=,v1={FIRST}"),
            format!("t=1763561591,v1={FIRST}"),
            format!("t=01763561590,v1={FIRST}"),
            format!("t=9223372036854775807,v1={FIRST}"),
            format!("t=1763561590,v0={FIRST}"),
            format!("t=1763561590,v1={}", FIRST.to_uppercase()),
            format!("t=1763561590,v1={}", &FIRST[..63]),
            "t=1763561590,v1=".to_owned(),
        ] {
            assert!(!is_good_at(&header, NOW), "{header}");
        }
        let header = format!("t=1763561590,v1={FIRST}");
        assert!(!is_good(&header, b"{\"id\":\"evt_2\"}", &secrets(&["whsec_1"]), NOW));
        assert!(!is_good(&header, BODY, &secrets(&["whsec_2"]), NOW));
        assert!(!is_good(&header, BODY, &[], NOW));
    }

    #[test]
    fn a_signature_lasts_five_minutes() {
        let header = format!("t=1763561590,v1={FIRST}");
        for (offset, good) in
            [(300_000, true), (300_001, false), (-300_000, true), (-300_001, false)]
        {
            assert_eq!(is_good_at(&header, NOW + offset), good, "{offset}");
        }
    }
}
