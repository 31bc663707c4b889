//! Pages of a list that changes while it is read: each begins after the row at which the one before
//! ended, whatever has come or gone meanwhile.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// How a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The least first.
    Up,
    /// The greatest first.
    Down,
}

/// Where a page ended: the key that the list is sorted by, as JSON, and what tells rows of one key apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    key: String,
    id: String,
}

/// A text that no page gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is no cursor")]
pub struct InvalidCursor;

impl Cursor {
    /// The end of a page.
    #[must_use]
    pub fn new(key: &str, id: &str) -> Self {
        Self { key: key.to_owned(), id: id.to_owned() }
    }

    /// Reads what its `Display` wrote.
    ///
    /// # Errors
    /// [`InvalidCursor`].
    pub fn parse(text: &str) -> Result<Self, InvalidCursor> {
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| InvalidCursor)?;
        let (key, id) =
            serde_json::from_slice::<(String, String)>(&bytes).map_err(|_| InvalidCursor)?;
        // It goes into a query as JSON.
        let is_value = serde_json::from_str::<serde_json::Value>(&key)
            .is_ok_and(|value| value.is_string() || value.is_number());
        if is_value { Ok(Self { key, id }) } else { Err(InvalidCursor) }
    }

    /// The key, as JSON.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// What tells rows of one key apart.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Two texts always serialise.
        let json = serde_json::to_vec(&(&self.key, &self.id)).unwrap_or_default();
        formatter.write_str(&URL_SAFE_NO_PAD.encode(json))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_no_page_gave_is_none() {
        for text in ["", "nonsense", "e30", "W10", "WyIxIl0"] {
            assert_eq!(Cursor::parse(text), Err(InvalidCursor), "{text}");
        }
        let not_json = URL_SAFE_NO_PAD.encode(r#"["{}","ada"]"#);
        assert_eq!(Cursor::parse(&not_json), Err(InvalidCursor));
    }

    proptest! {
        #[test]
        fn it_comes_back_as_it_went(key in ".*", number in any::<i64>(), id in ".*") {
            let keys = [serde_json::to_string(&key).unwrap(), number.to_string()];
            for key in keys {
                let cursor = Cursor::new(&key, &id);
                prop_assert_eq!(Cursor::parse(&cursor.to_string()), Ok(cursor));
            }
        }
    }
}
