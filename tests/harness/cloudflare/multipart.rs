//! Bodies of several parts, as `fetch` writes them.

/// A part of a body.
#[derive(Clone, Debug)]
pub struct Part {
    /// The field.
    pub name: String,
    /// Its media type.
    pub kind: String,
    /// What it holds.
    pub content: Vec<u8>,
}

/// Takes a body apart; nothing where it isn't one.
pub fn parse(content_type: &str, body: &[u8]) -> Vec<Part> {
    let Some((_, boundary)) = content_type.split_once("boundary=") else { return Vec::new() };
    let delimiter = format!("\r\n--{}", boundary.trim_matches('"'));
    // The first one has no line before it.
    let body = [b"\r\n", body].concat();
    let pieces = split(&body, delimiter.as_bytes());
    pieces.into_iter().filter_map(part).collect()
}

fn part(piece: &[u8]) -> Option<Part> {
    let end = find(piece, b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&piece[..end]).into_owned();
    let line = |name: &str| {
        let mut lines = head.lines();
        lines.find_map(|line| {
            let (known, value) = line.split_once(": ")?;
            known.eq_ignore_ascii_case(name).then(|| value.to_owned())
        })
    };
    let disposition = line("content-disposition")?;
    let (_, rest) = disposition.split_once("; name=\"")?;
    let name = rest.split_once('"')?.0.to_owned();
    let kind = line("content-type").unwrap_or_default();
    Some(Part { name, kind, content: piece[end + 4..].to_vec() })
}

fn split<'a>(body: &'a [u8], delimiter: &[u8]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = body;
    while let Some(at) = find(rest, delimiter) {
        pieces.push(&rest[..at]);
        rest = &rest[at + delimiter.len()..];
    }
    pieces
}

fn find(body: &[u8], what: &[u8]) -> Option<usize> {
    body.windows(what.len()).position(|window| window == what)
}
