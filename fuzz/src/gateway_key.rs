//! A gateway key or handle of any text, and one of any random bytes: what is read is what was written, none
//! passes for a USER_ID or for the other, and one that was altered is another or none.

use domain::fingerprint::Fingerprint;
use domain::gateway_key::{contains_key, looks_like_key, mint, parse};
use domain::handle;
use domain::identifiers::UserId;

pub fn hold(input: &[u8]) {
    let [at, by, input @ ..] = input else { return };
    let Ok(text) = str::from_utf8(input) else { return };
    if let Some(key) = parse(text) {
        assert!(looks_like_key(text) && contains_key(text) && text.is_ascii());
        let (begin, secret) = text.split_at(text.len() - 43);
        assert!(is_begin(begin, "ogk", &key.user_id));
        assert!(secret.bytes().all(|digit| digit.is_ascii_alphanumeric()));
        assert!(key.hash == Fingerprint::of(secret));
        check_alterations(text, (*at, *by));
    }
    if let Some(shown) = handle::parse(text) {
        assert!(parse(text).is_none() && text.is_ascii());
        let (begin, secret) = text.split_at(text.len() - 43);
        assert!(is_begin(begin, "ogr", &shown.user_id));
        assert!(shown.hash == Fingerprint::of(secret));
    }
    if looks_like_key(text) {
        assert!(UserId::parse(text).is_err());
    }
    let Some((random, name)) = input.split_first_chunk::<32>() else { return };
    let name = String::from_utf8_lossy(name);
    let Ok(user_id) = UserId::parse(&name) else { return };
    let (key, hash) = mint(&user_id, random);
    let read = parse(key.expose()).expect("what is written can be read");
    assert!(read.user_id == user_id && read.hash == hash);
    check_alterations(key.expose(), (*at, *by));
    let (shown, hash) = handle::mint(&user_id, random);
    let read = handle::parse(shown.expose()).expect("what is written can be read");
    assert!(read.user_id == user_id && read.hash == hash && parse(shown.expose()).is_none());
}

/// Whether this stands before a secret: the prefix in any case, with a dash for an underscore too.
fn is_begin(begin: &str, prefix: &str, user_id: &UserId) -> bool {
    let canonical = begin.to_ascii_lowercase();
    let parts = canonical.split_at_checked(3).and_then(|(known, rest)| {
        let name = rest.strip_prefix(['_', '-'])?.strip_suffix(['_', '-'])?;
        Some((known, name))
    });
    parts == Some((prefix, user_id.as_str()))
}

fn check_alterations(text: &str, (at, by): (u8, u8)) {
    let Some(altered) = crate::altered(text, at, by) else { return };
    let (Some(key), Some(read)) = (parse(text), parse(&altered)) else { return };
    let secret = |text: &str| text[text.len() - 43..].to_owned();
    assert_eq!(read.hash == key.hash, secret(text) == secret(&altered));
}
