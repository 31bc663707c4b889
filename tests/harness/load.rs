//! How many answers a second: a plain loop over kept connections, the same for both sides.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Asks `target` over and over on `connections` connections for `time`; answers a second.
///
/// # Panics
/// When an answer isn't 200 or has no `Content-Length`.
pub async fn answers_a_second(
    address: SocketAddr,
    target: &str,
    connections: usize,
    time: Duration,
) -> f64 {
    let request = format!("GET {target} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    let end = Instant::now() + time;
    let mut workers = JoinSet::new();
    for _ in 0..connections {
        workers.spawn(ask(address, request.clone(), end));
    }
    let answers: u32 = workers.join_all().await.into_iter().sum();
    f64::from(answers) / time.as_secs_f64()
}

async fn ask(address: SocketAddr, request: String, end: Instant) -> u32 {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = Vec::with_capacity(4096);
    let mut answers = 0;
    while Instant::now() < end {
        stream.write_all(request.as_bytes()).await.unwrap();
        buffer.clear();
        while !complete(&buffer) {
            let length = stream.read_buf(&mut buffer).await.unwrap();
            assert!(length > 0, "the connection was closed");
        }
        answers += 1;
    }
    answers
}

/// Whether `buffer` holds one whole answer.
fn complete(buffer: &[u8]) -> bool {
    let mut headers = [httparse::EMPTY_HEADER; 32];
    let mut response = httparse::Response::new(&mut headers);
    let Ok(httparse::Status::Complete(head)) = response.parse(buffer) else { return false };
    assert_eq!(response.code, Some(200));
    let length = response
        .headers
        .iter()
        .find(|header| header.name.eq_ignore_ascii_case("content-length"))
        .and_then(|header| std::str::from_utf8(header.value).ok()?.parse::<usize>().ok());
    buffer.len() >= head + length.expect("a content-length")
}
