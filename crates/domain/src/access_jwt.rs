//! The token by which Cloudflare Access says who is in front of a page (`Cf-Access-Jwt-Assertion`):
//! a JWS in compact form (RFC 7515) with a JWT's claims (RFC 7519), signed with RS256.
//!
//! Signatures are checked elsewhere: [`Assertion::parse`] says what was signed under which key, and
//! [`Assertion::holder`] whether its claims hold. Neither is worth anything without the other.
//!
//! <https://developers.cloudflare.com/cloudflare-one/access-controls/applications/http-apps/authorization-cookie/validating-json/>

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::clock::Millis;

/// Far more than Access sends.
const LONGEST: usize = 8 * 1024;

/// What an assertion must say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccessSettings {
    /// `ACCESS_TEAM_DOMAIN` as an origin: who issues the assertions.
    pub issuer: String,
    /// `ACCESS_AUD`: the applications that they may be for.
    pub audiences: Vec<String>,
}

/// An assertion whose signature nobody has checked yet.
#[derive(Clone, Debug)]
pub struct Assertion<'a> {
    /// The name of the key that it says it is signed with.
    pub key_id: String,
    /// What is signed.
    pub signed: &'a str,
    /// The signature.
    pub signature: Vec<u8>,
    claims: Claims,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
    /// Extensions that a reader has to understand. This one understands none.
    crit: Option<serde_json::Value>,
}

#[derive(Clone, Debug, Deserialize)]
struct Claims {
    #[serde(default)]
    aud: serde_json::Value,
    #[serde(default)]
    iss: String,
    exp: i64,
    #[serde(default)]
    nbf: i64,
    /// A person.
    #[serde(default)]
    email: String,
    /// A service token.
    #[serde(default)]
    common_name: String,
}

impl<'a> Assertion<'a> {
    /// Reads an assertion; `None` where it is none, or is signed in another manner than RS256.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        let (signed, signature) = text.rsplit_once('.').filter(|_| text.len() <= LONGEST)?;
        let (header, claims) = signed.split_once('.')?;
        let header: Header = decode(header)?;
        if header.alg != "RS256" || header.crit.is_some() {
            return None;
        }
        let signature = URL_SAFE_NO_PAD.decode(signature).ok()?;
        Some(Self { key_id: header.kid, signed, signature, claims: decode(claims)? })
    }

    /// Whose assertion it is, if the claims hold at `now`: an address of a person, or the name of a
    /// service token.
    #[must_use]
    pub fn holder(&self, settings: &AccessSettings, now: Millis) -> Option<&str> {
        let Claims { aud, iss, exp, nbf, email, common_name } = &self.claims;
        let is_for = |audience: &serde_json::Value| {
            settings.audiences.iter().any(|known| audience.as_str() == Some(known))
        };
        let is_for_us = match aud {
            serde_json::Value::Array(audiences) => audiences.iter().any(is_for),
            audience => is_for(audience),
        };
        let seconds = now.div_euclid(1_000);
        let holds = is_for_us && *iss == settings.issuer && *nbf <= seconds && seconds < *exp;
        let holder = if email.is_empty() { common_name } else { email };
        (holds && !holder.is_empty()).then_some(holder)
    }
}

fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).ok()?).ok()
}

/// A key that assertions are signed with, in the members of RFC 7517 that its import needs.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SigningKey {
    /// Its name.
    #[serde(default)]
    pub kid: String,
    /// Its kind.
    #[serde(default)]
    kty: String,
    /// The modulus.
    #[serde(default)]
    pub n: String,
    /// The exponent.
    #[serde(default)]
    pub e: String,
}

/// The keys that an issuer publishes, as far as they are of the right kind.
#[must_use]
pub fn signing_keys(body: &[u8]) -> Option<Vec<SigningKey>> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<SigningKey>,
    }
    let mut keys = serde_json::from_slice::<KeySet>(body).ok()?.keys;
    keys.retain(|key| key.kty == "RSA" && !key.kid.is_empty());
    Some(keys)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn assertion(header: &Value, claims: &Value) -> String {
        let [header, claims] =
            [header, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode("signature"))
    }

    fn settings() -> AccessSettings {
        let issuer = "https://team.cloudflareaccess.com".to_owned();
        AccessSettings { issuer, audiences: vec!["app".to_owned(), "other".to_owned()] }
    }

    fn rs256() -> Value {
        json!({"alg": "RS256", "kid": "k1"})
    }

    fn claims() -> Value {
        json!({
            "aud": ["app"], "iss": "https://team.cloudflareaccess.com", "iat": 90, "nbf": 90,
            "exp": 200, "email": "ada@example.com", "sub": "7", "type": "app",
        })
    }

    fn with(member: &str, value: Value) -> Value {
        let mut claims = claims();
        claims[member] = value;
        claims
    }

    #[test]
    fn what_is_signed_and_how_is_read() {
        let text = assertion(&rs256(), &claims());
        let parsed = Assertion::parse(&text).unwrap();
        assert_eq!(
            (parsed.key_id.as_str(), parsed.signature.as_slice()),
            ("k1", &b"signature"[..])
        );
        assert_eq!(parsed.signed, text.rsplit_once('.').unwrap().0);
        for header in [
            json!({"alg": "none", "kid": "k1"}),
            json!({"alg": "HS256", "kid": "k1"}),
            json!({"alg": "rs256", "kid": "k1"}),
            json!({"alg": "RS256", "kid": "k1", "crit": ["b64"], "b64": false}),
            json!({"kid": "k1"}),
            json!("RS256"),
        ] {
            assert!(Assertion::parse(&assertion(&header, &claims())).is_none(), "{header}");
        }
        let three = text.split('.').collect::<Vec<_>>();
        for broken in [
            String::new(),
            "..".to_owned(),
            three[..2].join("."),
            format!("{text}.more"),
            text.replacen('.', "=.", 1),
            format!("{}.{}.{}", three[0], three[1], "x".repeat(LONGEST)),
        ] {
            assert!(Assertion::parse(&broken).is_none(), "{broken}");
        }
    }

    #[test]
    fn claims_hold_for_their_time_place_and_person() {
        let holder = |claims: Value, now| {
            let text = assertion(&rs256(), &claims);
            let parsed = Assertion::parse(&text)?;
            parsed.holder(&settings(), now).map(str::to_owned)
        };
        let ada = Some("ada@example.com".to_owned());
        assert_eq!(holder(claims(), 100_000), ada);
        assert_eq!(holder(with("aud", json!("other")), 100_000), ada);
        assert_eq!(holder(with("nbf", Value::Null), 100_000), None, "no number");
        assert_eq!(holder(claims(), 89_999), None, "not yet");
        assert_eq!(holder(claims(), 199_999), ada);
        assert_eq!(holder(claims(), 200_000), None, "expired");
        assert_eq!(holder(with("aud", json!(["elsewhere"])), 100_000), None);
        assert_eq!(holder(with("aud", json!([])), 100_000), None);
        assert_eq!(holder(with("aud", json!({"app": true})), 100_000), None);
        assert_eq!(holder(with("iss", json!("https://evil.example")), 100_000), None);
        assert_eq!(holder(with("exp", json!("200")), 100_000), None);
        let mut service = with("common_name", json!("ci.access"));
        service["email"] = json!("");
        assert_eq!(holder(service, 100_000), Some("ci.access".to_owned()));
        assert_eq!(holder(with("email", json!("")), 100_000), None, "nobody");
    }

    #[test]
    fn only_rsa_keys_with_names_are_taken() {
        let body = json!({"keys": [
            {"kid": "k1", "kty": "RSA", "alg": "RS256", "use": "sig", "n": "AQ", "e": "AQAB"},
            {"kid": "k2", "kty": "EC", "crv": "P-256"},
            {"kty": "RSA", "n": "AQ", "e": "AQAB"},
        ], "public_certs": []});
        let keys = signing_keys(body.to_string().as_bytes()).unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!((keys[0].kid.as_str(), keys[0].n.as_str()), ("k1", "AQ"));
        assert!(signing_keys(b"<html>").is_none());
    }
}
