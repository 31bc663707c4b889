//! A URL of any text, as a client sends it: what passes as plain means the same to every parser, and
//! goes upstream as it came.

use domain::identifiers::UserId;
use domain::path::{canonical, gateway_path, raw_path};
use domain::upstream_policy::provider_path;
use url::Url;

/// What stands for `%XX`, in text that is plain.
fn decoded(path: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = path.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if let (b'%', Some((digits, after))) = (first, after.split_at_checked(2)) {
            let digits = str::from_utf8(digits).expect("plain text");
            bytes.push(u8::from_str_radix(digits, 16).expect("two digits"));
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    bytes
}

pub fn hold(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else { return };
    if !text.starts_with(['/', '\\', '?', '#']) {
        return;
    }
    let sent = format!("http://gateway.example{text}");
    let Ok(url) = Url::parse(&sent) else { return };
    assert_eq!(url.host_str(), Some("gateway.example"));
    // As `Incoming` judges it.
    let raw = Some(raw_path(&sent)).filter(|path| !path.is_empty()).unwrap_or("/");
    let Ok(path) = canonical(raw) else { return };
    assert_eq!(canonical(&path).as_ref(), Ok(&path), "it is its own canonical form");
    let path = path.as_str();
    let segments = |path: &str| path.split('/').filter(|it| !it.is_empty()).count();
    assert!(segments(path) <= segments(raw) + 1, "at most a `v1` is added");
    assert!(
        !path.contains("//")
            && !path.contains('\\')
            && path.bytes().all(|it| it.is_ascii_graphic())
    );
    let is_dots = |segment: &[u8]| matches!(segment, b"." | b"..");
    assert!(!decoded(path).split(|byte| *byte == b'/').any(is_dots));

    for (method, is_codex) in [("POST", false), ("POST", true), ("GET", false), ("DELETE", true)] {
        if let Some(call) = provider_path(method, path, is_codex) {
            assert!(path.starts_with("/return/v1/") && path.ends_with(call) && call.len() < 20);
        }
    }
    let Some(read) = gateway_path(path) else { return };
    assert!(read.upstream == "/v1" || read.upstream.starts_with("/v1/"));
    assert!(path.ends_with(read.upstream));
    assert_eq!(read.user_id.is_none(), path == read.upstream);
    if let Some(Ok(user_id)) = &read.user_id {
        assert_eq!(UserId::parse(user_id.as_str()).as_ref(), Ok(user_id));
        let again = format!("/u/{user_id}{}", read.upstream);
        assert_eq!(gateway_path(&again).expect("what is written can be read"), read);
        assert!(path.eq_ignore_ascii_case(&again));
    }
    let query = url.query().map(|query| format!("?{query}")).unwrap_or_default();
    let forwarded = format!("https://upstream.example/base{}{query}", read.upstream);
    let forwarded = Url::parse(&forwarded).expect("what is forwarded is a URL");
    assert_eq!(forwarded.host_str(), Some("upstream.example"));
    assert_eq!(forwarded.path(), format!("/base{}", read.upstream));
    assert_eq!(forwarded.query(), url.query());
}
