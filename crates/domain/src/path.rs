//! The one canonical form of a path, which is judged, logged and forwarded, and what it names.

use std::fmt::Write as _;

use crate::endpoint::{in_own_spelling, is_family};
use crate::identifiers::{InvalidUserId, UserId};

/// A path that two parsers could read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a plain path")]
pub struct NotPlain;

/// The canonical form of a path, so that nobody after the gateway reads another one:
///
/// 1. escapes of unreserved characters are undone, others have upper-case digits (RFC 3986, 6.2.2);
/// 2. a run of slashes is one, and one at the end is none;
/// 3. `/v1/v1` is `/v1`, and an endpoint that lacks its `/v1` gets it, also below `/u/{user_id}`;
/// 4. a known endpoint has its own spelling.
///
/// # Errors
/// Dot segments, an encoded slash, backslash, dot or control character, an escape of an escape, a
/// backslash or blank, anything outside ASCII.
pub fn canonical(path: &str) -> Result<String, NotPlain> {
    let mut segments = Vec::new();
    for segment in path.strip_prefix('/').ok_or(NotPlain)?.split('/') {
        if matches!(segment, "." | "..") {
            return Err(NotPlain);
        }
        if !segment.is_empty() {
            segments.push(canonical_segment(segment)?);
        }
    }
    let of_user = match segments.as_slice() {
        [u, _, ..] if u == "u" => 2,
        _ => 0,
    };
    let rest = segments.split_off(of_user);
    segments.extend(below_the_user(rest));
    Ok(format!("/{}", segments.join("/")))
}

/// Puts right what clients do to base URLs.
fn below_the_user(segments: Vec<String>) -> Vec<String> {
    let is_version = |segment: &&String| segment.eq_ignore_ascii_case("v1");
    let versions = segments.iter().take_while(is_version).count();
    let lacks_one = versions == 0 && segments.first().is_some_and(|first| is_family(first));
    if versions == 0 && !lacks_one {
        return segments;
    }
    let mut canonical = vec!["v1".to_owned()];
    let rest = segments.get(versions..).unwrap_or_default().join("/");
    canonical.extend((!rest.is_empty()).then(|| in_own_spelling(&rest)));
    canonical
}

fn canonical_segment(segment: &str) -> Result<String, NotPlain> {
    let mut canonical = String::with_capacity(segment.len());
    let mut bytes = segment.bytes();
    // How many of the last characters would be an escape, were escapes undone once more.
    let mut escape = 0;
    while let Some(byte) = bytes.next() {
        let (byte, is_escaped) = if byte == b'%' {
            (unescaped(bytes.next(), bytes.next()).ok_or(NotPlain)?, true)
        } else {
            (byte, false)
        };
        let is_hidden = is_escaped && matches!(byte, b'/' | b'.');
        let is_blank = byte == b' ' && !is_escaped;
        if is_hidden || is_blank || byte == b'\\' || !matches!(byte, b' '..=b'~') {
            return Err(NotPlain);
        }
        escape = match byte {
            b'%' => 1,
            digit if escape > 0 && digit.is_ascii_hexdigit() => escape + 1,
            _ => 0,
        };
        if escape == 3 {
            return Err(NotPlain);
        }
        if is_unreserved(byte) || (!is_escaped && is_delimiter(byte)) {
            canonical.push(char::from(byte));
        } else {
            // Nothing that is written to a string fails.
            let _ = write!(canonical, "%{byte:02X}");
        }
    }
    Ok(canonical)
}

fn unescaped(high: Option<u8>, low: Option<u8>) -> Option<u8> {
    Some(hex_value(high)? * 16 + hex_value(low)?)
}

fn hex_value(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}

/// RFC 3986, 2.3.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// What else a segment may have unescaped: RFC 3986, 3.3.
const fn is_delimiter(byte: u8) -> bool {
    matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' | b':' | b'@'
    )
}

/// The path of a URL in the text that the client sent, before any parser has mended it.
#[must_use]
pub fn raw_path(url: &str) -> &str {
    let after_scheme = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = after_scheme
        .find(['/', '\\', '?', '#'])
        .and_then(|at| after_scheme.get(at..))
        .unwrap_or("");
    path.split(['?', '#']).next().unwrap_or("")
}

/// The query of such a text with its `?`; empty where there is none.
#[must_use]
pub fn raw_query(url: &str) -> &str {
    let before_fragment = url.split('#').next().unwrap_or("");
    before_fragment.find('?').and_then(|at| before_fragment.get(at..)).unwrap_or("")
}

/// A path of the gateway: `/v1/…`, or `/u/{user_id}/v1/…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayPath<'a> {
    /// The identity that the path names.
    pub user_id: Option<Result<UserId, InvalidUserId>>,
    /// What goes upstream, beginning with `/v1`.
    pub upstream: &'a str,
}

/// Reads a path of the gateway; `None` where it is another.
#[must_use]
pub fn gateway_path(path: &str) -> Option<GatewayPath<'_>> {
    if is_v1(path) {
        return Some(GatewayPath { user_id: None, upstream: path });
    }
    let (user_id, _) = path.strip_prefix("/u/")?.split_once('/')?;
    let upstream = path.get("/u/".len() + user_id.len()..)?;
    is_v1(upstream).then(|| GatewayPath { user_id: Some(UserId::parse(user_id)), upstream })
}

fn is_v1(path: &str) -> bool {
    path.strip_prefix("/v1").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_has_one_canonical_form() {
        for (sent, expected) in [
            ("/", "/"),
            ("//", "/"),
            ("/health/", "/health"),
            ("/v1/", "/v1"),
            ("/v1//chat///completions/", "/v1/chat/completions"),
            ("/v1/chat/completion%73", "/v1/chat/completions"),
            ("/%76%31/%63hat/completions", "/v1/chat/completions"),
            ("/v1/v1/models", "/v1/models"),
            ("/v1/v1/v1", "/v1"),
            ("/V1/Chat/Completions", "/v1/chat/completions"),
            ("/chat/completions", "/v1/chat/completions"),
            ("/Messages", "/v1/messages"),
            ("/u/Ada/responses/resp_A", "/u/Ada/v1/responses/resp_A"),
            ("/u/ada//v1/v1/embeddings", "/u/ada/v1/embeddings"),
            ("/u/chat/models", "/u/chat/v1/models"),
            ("/u/v1/models", "/u/v1/v1/models"),
            ("/u/ada", "/u/ada"),
            ("/v1/models/org/Name-4%2b", "/v1/models/org/Name-4%2B"),
            ("/v1/files/%7eme%20too", "/v1/files/~me%20too"),
            ("/v1/a\"b^c", "/v1/a%22b%5Ec"),
            ("/v1/a:b@c;d", "/v1/a:b@c;d"),
            ("/operator//api/users/", "/operator/api/users"),
            ("/chatter", "/chatter"),
            ("/v10/models", "/v10/models"),
            ("/...", "/..."),
        ] {
            assert_eq!(canonical(sent).as_deref(), Ok(expected), "{sent}");
            assert_eq!(canonical(expected).as_deref(), Ok(expected), "{sent}");
        }
    }

    #[test]
    fn a_path_with_two_readings_has_none() {
        for path in [
            "",
            "v1",
            "/v1/../x",
            "/v1/./x",
            "/v1/..",
            "/.",
            "/v1/%2e%2E/x",
            "/v1/x%2Ejson",
            "/v1/%2fx",
            "/v1/%5Cx",
            "/v1\\x",
            "/v1/%00",
            "/v1/\u{e9}",
            "/v1/%C3%A9",
            "/v1/%",
            "/v1/%4",
            "/v1/%zz",
            "/v1/\n",
            "/v1/%7f",
            "/v1/%252e%252e/x",
            "/v1/chat%252Fcompletions",
            "/v1/chat%25%32Fcompletions",
            // A parser of URLs takes blanks off the end, and then the segment with the dot.
            "/v1/x/. ",
            "/v1/a b",
        ] {
            assert_eq!(canonical(path), Err(NotPlain), "{path:?}");
        }
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_its_own(path in "(/|/v1|/u/a|/chat|/V1|/%41|%7e|%20|%2B|[a-z^;\"]|/){0,8}") {
            let Ok(once) = canonical(&format!("/{path}")) else { return Ok(()) };
            prop_assert_eq!(canonical(&once), Ok(once.clone()));
            let url = url::Url::parse(&format!("https://upstream.example{once}")).unwrap();
            prop_assert_eq!(url.path(), once, "the next parser reads the same");
        }
    }

    #[test]
    fn the_raw_path_is_what_was_sent() {
        assert_eq!(raw_path("http://h:1/v1/../x?y#z"), "/v1/../x");
        assert_eq!(raw_path("http://h\\v1?x"), "\\v1");
        assert_eq!(raw_path("http://h"), "");
        assert_eq!(raw_query("http://h/v1?a=/../&b?#c?d"), "?a=/../&b?");
        assert_eq!(raw_query("http://h/v1#c?d"), "");
    }

    #[test]
    fn the_gateways_paths_are_told_apart() {
        let plain = gateway_path("/v1/models").unwrap();
        assert_eq!(plain, GatewayPath { user_id: None, upstream: "/v1/models" });
        let named = gateway_path("/u/Ada/v1/models").unwrap();
        assert_eq!(named.user_id, Some(UserId::parse("ada")));
        assert_eq!(named.upstream, "/v1/models");
        assert_eq!(gateway_path("/u/a b/v1").unwrap().user_id, Some(Err(InvalidUserId)));
        for other in ["/", "/v1x", "/u/ada", "/u/ada/v2", "/u/ada/x/v1", "/operator"] {
            assert_eq!(gateway_path(other), None, "{other}");
        }
    }
}
