//! Kits: a ZIP for a person, kept for a while at an address that nobody guesses.
//!
//! The address ends in a token. It stands on a printed card and is typed by hand from there, so it is
//! written and read as claim codes are. Whoever has it has the kit, and the claim code in it: it is a
//! secret. A kit is kept under its token's fingerprint, from which nobody gets to the address.

pub mod page;

use std::ops::RangeInclusive;

use crate::clock::Millis;
use crate::fingerprint::Fingerprint;
use crate::identifiers::UserId;
use crate::symbols::Symbols;

/// Bytes of a kit, at most.
pub const MOST_BYTES: u64 = 1_000_000;

/// For how long a kit is handed out where nothing else is said: as long as a code is good, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 30 * 24 * 60 * 60;

/// For how long a kit may be handed out: a minute to a year, in seconds.
pub const TTL_SECONDS: RangeInclusive<u32> = 60..=365 * 24 * 60 * 60;

/// What the names of all kits begin with in the store.
pub const PREFIX: &str = "kits/";

/// Paths behind which a token stands.
const PATHS: [&str; 2] = ["/kit/", "/operator/api/kits/"];

/// What makes a kit's address hard to guess: 60 random bits. It has no `Debug` and isn't serialised.
#[derive(Clone, PartialEq, Eq)]
pub struct KitToken(Symbols<12>);

impl KitToken {
    /// Makes the token of random bits, of which the last 60 count.
    #[must_use]
    pub fn mint(random: [u8; 8]) -> Self {
        Self(Symbols::mint(&random))
    }

    /// Reads what somebody typed into a browser, forgivingly. `None` where it can't be a token.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Symbols::parse(&text.replace("%20", " ")).map(Self)
    }

    /// The token as it stands in an address: `ABCD-EFGH-JKMN`.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.grouped()
    }

    /// The name of its kit in the store.
    #[must_use]
    pub fn object_name(&self) -> String {
        format!("{PREFIX}{}", Fingerprint::of(&self.0.canonical()).hex())
    }
}

/// What is kept of a kit beside its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// Whose it is; nobody's where it is for anybody.
    pub user_id: Option<UserId>,
    /// When it was brought.
    pub brought_at: Millis,
    /// From when on it isn't handed out any more.
    pub expires_at: Millis,
}

impl Label {
    /// Whether the kit is handed out.
    #[must_use]
    pub const fn is_good(&self, now: Millis) -> bool {
        now < self.expires_at
    }

    /// As it is kept: texts by their names.
    #[must_use]
    pub fn write(&self) -> Vec<(&'static str, String)> {
        let mut texts = vec![
            ("brought_at", self.brought_at.to_string()),
            ("expires_at", self.expires_at.to_string()),
        ];
        texts.extend(self.user_id.as_ref().map(|user_id| ("user_id", user_id.to_string())));
        texts
    }

    /// Reads what was kept; `None` where it isn't what is written here.
    #[must_use]
    pub fn read<'a>(text: impl Fn(&str) -> Option<&'a str>) -> Option<Self> {
        let moment = |name| text(name)?.parse().ok();
        let user_id = text("user_id").map(UserId::parse).transpose().ok()?;
        Some(Self { user_id, brought_at: moment("brought_at")?, expires_at: moment("expires_at")? })
    }
}

/// What a kit is called where it is saved.
#[must_use]
pub fn file_name(user_id: Option<&UserId>) -> String {
    match user_id {
        Some(user_id) => format!("agent-kit-{user_id}.zip"),
        None => "agent-kit.zip".to_owned(),
    }
}

/// Whether this may be a ZIP, and is one to its end: it begins with a file, and ends with the record
/// that says where the list of them is, without a comment behind it (APPNOTE 4.3.7 and 4.3.16).
#[must_use]
pub fn is_whole_zip(bytes: &[u8]) -> bool {
    const END: usize = 22;
    let end = bytes.len().checked_sub(END).and_then(|at| bytes.get(at..));
    bytes.starts_with(b"PK\x03\x04")
        && end.is_some_and(|end| end.starts_with(b"PK\x05\x06") && end.ends_with(&[0, 0]))
}

/// A path as it may be written down: without the token in it.
#[must_use]
pub fn without_token(path: &str) -> &str {
    PATHS.into_iter().find(|known| path.starts_with(known)).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn token() -> KitToken {
        KitToken::parse("0123-4567-89AB").unwrap()
    }

    #[test]
    fn the_stored_format_is_pinned() {
        assert_eq!(KitToken::mint([0; 8]).expose(), "0000-0000-0000");
        assert_eq!(KitToken::mint([255; 8]).expose(), "ZZZZ-ZZZZ-ZZZZ");
        // printf 0123456789AB | sha256sum
        let name = "kits/4e3f5a1d81582cf9c45c5b0f43e59793f58d060cc71e7667b5b2a09e37f602a2";
        assert_eq!(token().object_name(), name);
        let label = Label { user_id: UserId::parse("ada").ok(), brought_at: 5, expires_at: 7 };
        let texts = [("brought_at", "5"), ("expires_at", "7"), ("user_id", "ada")]
            .map(|(name, text)| (name, text.to_owned()));
        assert_eq!(label.write(), texts);
        assert_eq!(Label { user_id: None, ..label }.write(), texts[..2]);
    }

    #[test]
    fn what_is_typed_into_a_browser_is_read_forgivingly() {
        for text in ["0123456789ab", "o123-4567-89AB", "0i23%204567%2089ab", "0L23-4567-89aB"] {
            assert!(KitToken::parse(text) == Some(token()), "{text}");
        }
        for wrong in ["", "0123-4567-89A", "0123-4567-89AB-C", "0123-4567-89AU", "%30123456789ab"] {
            assert!(KitToken::parse(wrong).is_none(), "{wrong}");
        }
    }

    #[test]
    fn a_zip_is_known_by_its_beginning_and_its_end() {
        let end = [b"PK\x05\x06".as_slice(), &[0; 18]].concat();
        let zip = [b"PK\x03\x04".as_slice(), b"whatever", &end].concat();
        assert!(is_whole_zip(&zip));
        assert!(!is_whole_zip(&end), "there is no file in it");
        for length in 0..zip.len() {
            assert!(!is_whole_zip(&zip[..length]), "{length}");
        }
        assert!(!is_whole_zip(b"<html>PK\x03\x04"));
    }

    #[test]
    fn a_token_is_not_written_down() {
        for (path, written) in [
            ("/kit/0123-4567-89AB", "/kit/"),
            ("/kit/", "/kit/"),
            ("/operator/api/kits/0123456789AB", "/operator/api/kits/"),
            ("/operator/api/users/kit/keys", "/operator/api/users/kit/keys"),
            ("/v1/kit/x", "/v1/kit/x"),
        ] {
            assert_eq!(without_token(path), written);
        }
    }

    #[test]
    fn files_are_named_by_whose_they_are() {
        let ada = UserId::parse("ada-lovelace").unwrap();
        assert_eq!(file_name(Some(&ada)), "agent-kit-ada-lovelace.zip");
        assert_eq!(file_name(None), "agent-kit.zip");
    }

    proptest! {
        #[test]
        fn tokens_come_back_as_they_went(random: [u8; 8]) {
            let token = KitToken::mint(random);
            let shown = token.expose();
            prop_assert_eq!(shown.len(), 14);
            prop_assert!(KitToken::parse(&shown) == Some(token.clone()));
            prop_assert!(KitToken::parse(&shown.to_lowercase().replace('-', "")) == Some(token));
        }

        #[test]
        fn labels_come_back_as_they_went(brought_at: i64, expires_at: i64, owned: bool) {
            let user_id = owned.then(|| UserId::parse("ada").unwrap());
            let label = Label { user_id, brought_at, expires_at };
            let kept: BTreeMap<_, _> = label.write().into_iter().collect();
            let read = Label::read(|name| kept.get(name).map(String::as_str));
            prop_assert_eq!(read, Some(label));
        }

        #[test]
        fn what_is_no_label_is_none(text in "[a-z]*") {
            prop_assert_eq!(Label::read(|_| Some(&text)), None);
            prop_assert_eq!(Label::read(|_| None), None);
        }
    }
}
