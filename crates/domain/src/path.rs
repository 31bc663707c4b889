//! Which paths are plain, and what they name.

use crate::identifiers::{InvalidUserId, UserId};

/// A path that two parsers could read in two ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a plain path")]
pub struct NotPlain;

/// Checks that a path means the same to everyone: no empty or dot segments, no backslash or blank, and
/// no encoded slash, backslash, dot or control character, nothing outside ASCII.
///
/// # Errors
/// Where it isn't plain.
pub fn check_plain(path: &str) -> Result<(), NotPlain> {
    let mut segments = path.strip_prefix('/').ok_or(NotPlain)?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let empty = segment.is_empty() && segments.peek().is_some();
        if empty || matches!(segment, "." | "..") || !is_plain_segment(segment) {
            return Err(NotPlain);
        }
    }
    Ok(())
}

fn is_plain_segment(segment: &str) -> bool {
    let mut bytes = segment.bytes();
    while let Some(byte) = bytes.next() {
        let plain = match byte {
            b'%' => {
                let digits = hex_value(bytes.next()).zip(hex_value(bytes.next()));
                let decoded = digits.map(|(high, low)| high * 16 + low);
                decoded
                    .is_some_and(|byte| is_printable(byte) && !matches!(byte, b'/' | b'\\' | b'.'))
            }
            other => other.is_ascii_graphic() && other != b'\\',
        };
        if !plain {
            return false;
        }
    }
    true
}

const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

fn hex_value(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
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
    use super::*;

    #[test]
    fn plain_paths_pass() {
        for path in
            ["/", "/v1", "/v1/", "/v1/chat/completions", "/v1/a.b/c-d_e~", "/v1/%20x", "/..."]
        {
            assert_eq!(check_plain(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_with_two_readings_do_not() {
        for path in [
            "",
            "v1",
            "//",
            "/v1//x",
            "/v1/../x",
            "/v1/./x",
            "/v1/..",
            "/.",
            "/v1/%2e%2E/x",
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
            // A parser of URLs takes blanks off the end, and then the segment with the dot.
            "/v1/x/. ",
            "/v1/a b",
        ] {
            assert_eq!(check_plain(path), Err(NotPlain), "{path:?}");
        }
    }

    #[test]
    fn the_raw_path_is_what_was_sent() {
        assert_eq!(raw_path("http://h:1/v1/../x?y#z"), "/v1/../x");
        assert_eq!(raw_path("http://h\\v1?x"), "\\v1");
        assert_eq!(raw_path("http://h"), "");
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
