//! One JSON object, strictly read, changed member by member, and written out again.
//!
//! What a lenient reader could see in two ways is refused: two members of one name (escapes
//! undone), anything before or after the object, a byte order mark, text that is no UTF-8. So
//! the member found here under a name is the one that `JSON.parse` finds. Values are not taken
//! apart: those that nobody sets are written out byte for byte as they came.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;

/// The most members that an object may have at its top level. The largest request of the API
/// has about forty; the bound keeps a hostile body from filling the memory with names.
pub const MAX_MEMBERS: usize = 256;

/// How much of a member's name an error repeats, in characters.
const MAX_SHOWN_NAME: usize = 64;

/// An object's members in the order in which they came.
#[derive(Clone, Debug)]
pub struct JsonObject<'a> {
    members: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

/// Why bytes are not the one JSON object that is wanted. The text is for the sender of the bytes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonObjectError {
    /// The bytes are not UTF-8.
    #[error("The request body is not valid UTF-8 text. Send JSON encoded as UTF-8.")]
    NotUtf8,
    /// The text is not JSON, or more than one JSON value.
    #[error("The request body is not valid JSON: see line {line}, column {column}.")]
    Syntax {
        /// Counted from 1.
        line: usize,
        /// Counted from 1, in bytes.
        column: usize,
    },
    /// The text is JSON of another kind.
    #[error("The request body must be one JSON object, in curly brackets.")]
    NotAnObject,
    /// A name appears twice.
    #[error("The request body has the member \"{0}\" more than once. Send it once.")]
    Duplicate(String),
    /// There are more than [`MAX_MEMBERS`] members.
    #[error("The request body has too many members: at most {MAX_MEMBERS} are accepted.")]
    TooManyMembers,
}

impl<'a> JsonObject<'a> {
    /// Reads an object that is all of `bytes`, white space aside.
    ///
    /// # Errors
    /// Anything that is not exactly one JSON object without duplicate names.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, JsonObjectError> {
        let text = std::str::from_utf8(bytes).map_err(|_| JsonObjectError::NotUtf8)?;
        let Members { list, count } = serde_json::from_str(text).map_err(|error| {
            if error.classify() == Category::Data {
                JsonObjectError::NotAnObject
            } else {
                JsonObjectError::Syntax { line: error.line(), column: error.column() }
            }
        })?;
        if count > list.len() {
            return Err(JsonObjectError::TooManyMembers);
        }
        let mut names: Vec<&str> = list.iter().map(|(name, _)| name.as_ref()).collect();
        names.sort_unstable();
        let mut neighbours = names.iter().zip(names.iter().skip(1));
        if let Some((name, _)) = neighbours.find(|(one, next)| one == next) {
            return Err(JsonObjectError::Duplicate(name.chars().take(MAX_SHOWN_NAME).collect()));
        }
        let members =
            list.into_iter().map(|(name, value)| (name, Cow::Borrowed(value.get()))).collect();
        Ok(Self { members })
    }

    /// An object without members.
    #[must_use]
    pub fn empty() -> Self {
        Self { members: Vec::new() }
    }

    /// The members in their order: name, and value as JSON text.
    pub fn members(&self) -> impl Iterator<Item = (&str, &str)> {
        self.members.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }

    /// A member's value as JSON text.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.members.iter().find(|(member, _)| member == name).map(|(_, value)| value.as_ref())
    }

    /// Takes a member away; its value as JSON text.
    pub fn remove(&mut self, name: &str) -> Option<Cow<'a, str>> {
        let index = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.remove(index).1)
    }

    /// Sets a member to a string: in its place if there is one of this name, else at the end.
    pub fn set_string(&mut self, name: &'a str, value: &str) {
        self.set(name, quote(value));
    }

    /// Sets a member to `true` or `false`.
    pub fn set_bool(&mut self, name: &'a str, value: bool) {
        self.set(name, value.to_string());
    }

    /// Sets a member to an object.
    pub fn set_object(&mut self, name: &'a str, value: &JsonObject<'_>) {
        self.set(name, value.to_json());
    }

    /// Sets a member to an array whose elements are JSON texts.
    pub(crate) fn set_array<'b>(&mut self, name: &'a str, elements: impl Iterator<Item = &'b str>) {
        let elements: Vec<&str> = elements.collect();
        self.set(name, format!("[{}]", elements.join(",")));
    }

    /// The object as JSON text, without white space between its members.
    #[must_use]
    pub fn to_json(&self) -> String {
        // A body may be large: its copy is made at its size, and doesn't grow there step by step.
        let names_and_values =
            |(name, value): &(Cow<'_, str>, Cow<'_, str>)| name.len() + value.len() + 4;
        let mut json =
            String::with_capacity(2 + self.members.iter().map(names_and_values).sum::<usize>());
        for (name, value) in &self.members {
            json.push(if json.is_empty() { '{' } else { ',' });
            json.push_str(&quote(name));
            json.push(':');
            json.push_str(value);
        }
        json.push_str(if json.is_empty() { "{}" } else { "}" });
        json
    }

    fn set(&mut self, name: &'a str, json: String) {
        match self.members.iter_mut().find(|(member, _)| member == name) {
            Some((_, value)) => *value = Cow::Owned(json),
            None => self.members.push((Cow::Borrowed(name), Cow::Owned(json))),
        }
    }
}

/// The text of a JSON string; `None` if `json` is of another kind, or holds half a surrogate pair.
#[must_use]
pub fn string_value(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        return serde_json::from_str(json).ok().map(Cow::Owned);
    }
    Some(Cow::Borrowed(inner))
}

/// `text` as a JSON string.
pub(crate) fn quote(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// The members as they stand, up to [`MAX_MEMBERS`] of them.
struct Members<'a> {
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
    count: usize,
}

/// A member's name, borrowed where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members { list: Vec::new(), count: 0 };
                while let Some(Name(name)) = map.next_key()? {
                    members.count += 1;
                    if members.count > MAX_MEMBERS {
                        map.next_value::<IgnoredAny>()?;
                    } else {
                        members.list.push((name, map.next_value()?));
                    }
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

#[cfg(test)]
mod tests;
