//! Requests byte by byte: what a library would tidy up before it sends it.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::redaction::RUN;

/// How long a raw answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// An answer as it came.
#[derive(Debug)]
pub struct Answer {
    /// The status code; 0 where there was no answer in HTTP.
    pub status: u16,
    /// The header section as text, with the status line.
    pub head: String,
    /// All bytes behind the header section.
    pub body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its lower-case name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (known, value) = line.split_once(':')?;
            known.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The `code` of an error body; empty where there is none.
    #[must_use]
    pub fn code(&self) -> String {
        let text = self.text();
        let json = text.find('{').zip(text.rfind('}')).and_then(|(start, end)| {
            serde_json::from_str::<serde_json::Value>(&text[start..=end]).ok()
        });
        json.and_then(|json| Some(json["error"]["code"].as_str()?.to_owned())).unwrap_or_default()
    }
}

/// Sends `bytes` on a connection of its own and reads until the other side closes it.
///
/// A request that wants an answer has to say `Connection: close`.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // What is refused early may be answered, and the connection closed, before all is written.
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await;
    if read.is_err() {
        answer.extend_from_slice(b"\r\n(and the connection stayed open)");
    }
    parse(&answer)
}

/// Like [`send`], for bytes that may be no request: says that no more will come, and waits for an
/// answer no longer than it takes the other side to be silent for two seconds.
pub async fn send_and_finish(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.ok();
    stream.shutdown().await.ok();
    let mut answer = Vec::new();
    let patience = Duration::from_secs(2);
    while let Ok(Ok(1..)) = tokio::time::timeout(patience, stream.read_buf(&mut answer)).await {}
    parse(&answer)
}

/// Like [`send`], for a connection that the other side may keep open: reads until nothing more
/// has come for a second.
pub async fn send_briefly(address: SocketAddr, bytes: &[u8]) -> Answer {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.ok();
    let mut answer = Vec::new();
    let mut patience = PATIENCE;
    while let Ok(Ok(1..)) = tokio::time::timeout(patience, stream.read_buf(&mut answer)).await {
        patience = Duration::from_secs(1);
    }
    parse(&answer)
}

/// A request line and headers for `send`: closes the connection afterwards.
#[must_use]
pub fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    for (name, value) in headers {
        RUN.note_header(name, value);
    }
    let mut text =
        format!("{method} {target} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n");
    for (name, value) in headers {
        text.push_str(name);
        text.push_str(": ");
        text.push_str(value);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    text.into_bytes()
}

fn parse(bytes: &[u8]) -> Answer {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let (head, body) = end.map_or((bytes, &bytes[..0]), |end| (&bytes[..end], &bytes[end + 4..]));
    let head = String::from_utf8_lossy(head).into_owned();
    let status = head.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.unwrap_or(0);
    RUN.keep_answer("", status, body);
    Answer { status, head, body: body.to_vec() }
}
