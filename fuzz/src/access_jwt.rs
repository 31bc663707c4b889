//! An assertion of Cloudflare Access, of any text and of any header and claims: what is read comes to
//! the same text again, and claims hold only if they say all that they must.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use domain::access_jwt::{AccessSettings, Assertion, signing_keys};
use domain::codex_account::account_id;
use serde_json::Value;

const ISSUER: &str = "https://team.cloudflareaccess.com";

pub fn hold(input: &[u8]) {
    if let Some(keys) = signing_keys(input) {
        assert!(keys.iter().all(|key| !key.kid.is_empty()));
    }
    let Some([now, header, claims]) = crate::lines(input) else { return };
    let now = now.parse().unwrap_or(100_000);
    check(header, now);
    let parts = [header, claims, "signature"].map(|part| URL_SAFE_NO_PAD.encode(part));
    check(&parts.join("."), now);
    // A Codex token is one too, of another issuer, and what is found in it becomes a header.
    for token in [header, &parts.join(".")] {
        let account = account_id(token).unwrap_or_else(|| "none".to_owned());
        assert!(!account.is_empty() && account.bytes().all(|byte| byte.is_ascii_graphic()));
    }
}

fn check(text: &str, now: i64) {
    let Some(assertion) = Assertion::parse(text) else { return };
    let signature = URL_SAFE_NO_PAD.encode(&assertion.signature);
    assert_eq!(format!("{}.{signature}", assertion.signed), text);
    assert!(text.len() <= 8 * 1024);
    let parts: Vec<_> = text.split('.').collect();
    let [header, claims, _] = parts[..] else { panic!("{} parts", parts.len()) };
    // What nobody asks for needn't be readable.
    let [header, claims] = [header, claims].map(|part| -> Value {
        let json = URL_SAFE_NO_PAD.decode(part).expect("base64");
        serde_json::from_slice(&json).unwrap_or_default()
    });
    // Headers and claims may also be lists, which no issuer writes and which say the same.
    if header.is_object() {
        assert_eq!(header["alg"], "RS256");
        assert!(header["crit"].is_null());
        assert_eq!(header["kid"].as_str().unwrap_or_default(), assertion.key_id);
    }
    let settings = AccessSettings { issuer: ISSUER.to_owned(), audiences: vec!["app".to_owned()] };
    let Some(holder) = assertion.holder(&settings, now) else { return };
    assert!(!holder.is_empty());
    if !claims.is_object() {
        return;
    }
    assert_eq!(claims["iss"], ISSUER);
    let is_ours = |audience: &Value| audience == "app";
    let audiences = claims["aud"].as_array();
    assert!(audiences.map_or(is_ours(&claims["aud"]), |them| them.iter().any(is_ours)));
    let seconds = now.div_euclid(1_000);
    assert!(seconds < claims["exp"].as_i64().expect("an end"));
    assert!(claims["nbf"].as_i64().unwrap_or(0) <= seconds);
    assert!([&claims["email"], &claims["common_name"]].into_iter().any(|it| it == holder));
}
