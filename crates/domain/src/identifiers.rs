//! The names that a caller may use: of a user, a project, a conversation.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, de};

use crate::gateway_key;

const LONGEST: usize = 64;

/// A USER_ID: 1–64 of `a-z 0-9 . - _`, beginning with a letter or digit, folded to lower case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct UserId(String);

/// The USER_ID of everyone who names none.
pub const ANONYMOUS: &str = "anonymous";

/// Text that is not a USER_ID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a USER_ID")]
pub struct InvalidUserId;

impl UserId {
    /// Reads a USER_ID, folding upper case. A gateway key in the place of one isn't taken for it:
    /// it would be written down everywhere.
    ///
    /// # Errors
    /// Where the text is empty, longer than 64, has any other character, or begins like a key.
    pub fn parse(text: &str) -> Result<Self, InvalidUserId> {
        let folded = text.to_ascii_lowercase();
        let begins_well = folded.starts_with(|first: char| first.is_ascii_alphanumeric())
            && !gateway_key::looks_like_key(&folded);
        if begins_well && folded.len() <= LONGEST && folded.bytes().all(is_name_byte) {
            Ok(Self(folded))
        } else {
            Err(InvalidUserId)
        }
    }

    /// The shared identity of those who name none.
    #[must_use]
    pub fn anonymous() -> Self {
        Self(ANONYMOUS.to_owned())
    }

    /// Whether this is the shared identity.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.0 == ANONYMOUS
    }

    /// The folded text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for UserId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(de::Error::custom)
    }
}

/// The project of a request that names none.
pub const DEFAULT_PROJECT: &str = "default";

/// Reads the name of a project or a conversation: 1–64 of `A-Z a-z 0-9 . _ -`.
#[must_use]
pub fn parse_label(text: &str) -> Option<String> {
    let fits = (1..=LONGEST).contains(&text.len()) && text.bytes().all(is_name_byte);
    fits.then(|| text.to_owned())
}

const fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_id_is_folded_and_checked() {
        assert_eq!(UserId::parse("Ada.Love-lace_2").unwrap().as_str(), "ada.love-lace_2");
        for wrong in
            ["", ".ada", "_ada", "ada lovelace", "ädä", "a/b", "a\0", "OGK_ada_x", &"a".repeat(65)]
        {
            assert_eq!(UserId::parse(wrong), Err(InvalidUserId), "{wrong:?}");
        }
        assert!(UserId::parse(&"a".repeat(64)).is_ok());
    }

    #[test]
    fn a_user_id_is_checked_on_the_wire_too() {
        assert!(serde_json::from_str::<UserId>("\"../x\"").is_err());
        assert_eq!(serde_json::to_string(&UserId::anonymous()).unwrap(), "\"anonymous\"");
    }

    #[test]
    fn a_label_keeps_its_case() {
        assert_eq!(parse_label("Project.1").as_deref(), Some("Project.1"));
        assert_eq!(parse_label(""), None);
        assert_eq!(parse_label("a b"), None);
        assert_eq!(parse_label(&"x".repeat(65)), None);
    }
}
