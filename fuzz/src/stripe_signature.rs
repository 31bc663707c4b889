//! Stripe's signature of any body: what was signed with a secret is known for five minutes either way,
//! and neither any header nor what was altered is.

use std::fmt::Write as _;

use domain::secret::Secret;
use domain::stripe::signature::is_good;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

const NOW: i64 = 1_763_561_590_000;

/// The signature, as Stripe's manual says to make it.
fn signed(body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(b"only this program's").expect("any length does");
    mac.update(b"1763561590.");
    mac.update(body);
    mac.finalize().into_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub fn hold(input: &[u8]) {
    let [at, by, late, input @ ..] = input else { return };
    let Some([junk, body]) = crate::lines(input) else { return };
    let secrets = ["another", "only this program's"].map(|text| Secret::new(text.to_owned()));
    let is_good = |header: &str, body: &str, now| is_good(header, body.as_bytes(), &secrets, now);
    assert!(!is_good(junk, body, NOW));
    let signature = signed(body.as_bytes());
    assert!(!is_good(&format!("t=1763561591,v1={signature}"), body, NOW));

    let header = format!("t=1763561590,v1={signature}");
    // What comes first is overruled by what comes last, or is one more signature.
    for header in [&header, &format!("{junk},{header}"), &format!("v1={junk}, {header},v0=x")] {
        assert!(is_good(header, body, NOW));
        let offset = 298_000 + i64::from(*late) * 20;
        assert_eq!(is_good(header, body, NOW + offset), offset <= 300_000);
        assert_eq!(is_good(header, body, NOW - offset), offset <= 300_000);
    }
    if let Some(other) = crate::altered(&header, *at, *by) {
        assert!(!is_good(&other, body, NOW));
    }
    if let Some(other) = crate::altered(body, *at, *by) {
        assert!(!is_good(&header, &other, NOW));
    }
    assert!(!is_good(&header, &format!("{body}{junk}x"), NOW));
}
