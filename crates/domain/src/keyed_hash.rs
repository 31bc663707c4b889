//! Hashes under the operator's secrets: session keys for the upstream, and callers' addresses.

use std::fmt::Write as _;
use std::net::IpAddr;

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::identifiers::UserId;
use crate::secret::Secret;

/// The upstream session of a conversation: `p-` and HMAC-SHA-256, in hex, of the length-prefixed
/// parts (version, user, project, conversation), so that no two triples collide and no client can
/// name another's session.
#[must_use]
pub fn session_key(
    secret: &Secret<String>,
    user: &UserId,
    project: &str,
    conversation: &str,
) -> String {
    let message = length_prefixed(&["1", user.as_str(), project, conversation]);
    format!("p-{}", hex(&hmac_sha256(secret.expose().as_bytes(), &message)))
}

/// The first eight hex digits of an address's hash: HMAC-SHA-256 under the pepper, plain SHA-256
/// where there is none.
#[must_use]
pub fn ip_hash(pepper: Option<&Secret<String>>, address: &str) -> String {
    hex(peppered(pepper, address).get(..4).unwrap_or_default())
}

/// The name of the network that an address is in, so that who has many addresses in it is one: an
/// IPv4 address is a network of its own, an IPv6 address in one of 2^64. HMAC-SHA-256 under the
/// pepper, plain SHA-256 where there is none, in hex; `unknown` without an address.
#[must_use]
pub fn network_name(pepper: Option<&Secret<String>>, address: Option<&str>) -> String {
    let Some(address) = address else { return "unknown".to_owned() };
    hex(&peppered(pepper, &network_of(address)))
}

/// The network of an address in clear: it is kept nowhere.
#[must_use]
pub fn network_of(address: &str) -> String {
    match address.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V6(address)) => hex(address.octets().get(..8).unwrap_or_default()),
        Ok(IpAddr::V4(address)) => address.to_string(),
        Err(_) => address.to_owned(),
    }
}

fn peppered(pepper: Option<&Secret<String>>, text: &str) -> [u8; 32] {
    match pepper {
        Some(pepper) => hmac_sha256(pepper.expose().as_bytes(), text.as_bytes()),
        None => Sha256::digest(text.as_bytes()).into(),
    }
}

pub(crate) fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    // HMAC takes keys of any length: the error can't occur, and an empty key is as good an answer.
    let mut mac = Hmac::<Sha256>::new_from_slice(key)
        .unwrap_or_else(|_| Hmac::<Sha256>::new(&hmac::digest::array::Array::default()));
    mac.update(message);
    mac.finalize().into_bytes().into()
}

/// The parts in one, so that no two lists of parts are the same: each after its length in bytes, a
/// big-endian number of 64 bits.
pub(crate) fn length_prefixed(parts: &[&str]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_be_bytes());
        bytes.extend(part.as_bytes());
    }
    bytes
}

/// Lower-case hex digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        // Writing to a String can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_session_key_is_pinned_and_depends_on_each_part() {
        let secret = Secret::new("secret".to_owned());
        let key = |user, project, conversation| {
            session_key(&secret, &UserId::parse(user).unwrap(), project, conversation)
        };
        assert_eq!(
            key("ada", "default", "c1"),
            "p-f6fd98b207d68d62b8d224378528ac1f8174cc8f468642ecd7f2580d32d83bf6"
        );
        let keys = [
            key("ada", "p", "c"),
            key("adap", "", "c"),
            key("ada", "pc", ""),
            key("bob", "p", "c"),
        ];
        assert!(keys.iter().enumerate().all(|(at, key)| !keys[..at].contains(key)));
    }

    #[test]
    fn the_address_hash_is_pinned() {
        // printf 203.0.113.7 | sha256sum, and openssl dgst -sha256 -hmac pepper
        assert_eq!(ip_hash(None, "203.0.113.7"), "fec52565");
        assert_eq!(ip_hash(Some(&Secret::new("pepper".to_owned())), "203.0.113.7"), "f9a09244");
    }

    #[test]
    fn all_addresses_of_a_network_have_one_name() {
        let pepper = Secret::new("pepper".to_owned());
        let name = |address| network_name(Some(&pepper), address);
        // printf 203.0.113.7 | openssl dgst -sha256 -hmac pepper, and 20010db800010002
        assert_eq!(
            name(Some("203.0.113.7")),
            "f9a092447a622340f8af8ffa67cff0602a7c010205f2a3617d8d6f2ca2392edc"
        );
        assert_eq!(
            name(Some("2001:db8:1:2::7")),
            "28ab9719f8a29ade47b8c54218f8294d42c4cc17a7fd02a6a43cdaf5be939540"
        );
        assert_eq!(name(Some("2001:db8:1:2::7")), name(Some("2001:DB8:1:2:ffff:0:0:1")));
        assert_eq!(name(Some("::ffff:203.0.113.7")), name(Some("203.0.113.7")));
        assert_eq!(network_name(None, None), "unknown");
        assert_ne!(network_name(None, Some("203.0.113.7")), name(Some("203.0.113.7")));
        let others =
            ["203.0.113.8", "2001:db8:1:3::7", "not an address"].map(|text| name(Some(text)));
        assert!(others.iter().enumerate().all(|(at, name)| !others[..at].contains(name)));
    }
}
