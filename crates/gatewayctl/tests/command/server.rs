//! A server that answers every request as a test wants it, over plain TCP or TLS.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// A server; its thread ends with the tests.
pub struct Server {
    pub port: u16,
    heads: Arc<Mutex<Vec<String>>>,
}

/// The whole answer to a request's head.
pub type Script = fn(&str) -> String;

impl Server {
    pub fn start(script: Script) -> Self {
        Self::with(script, None)
    }

    pub fn with(script: Script, tls: Option<Arc<ServerConfig>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let heads = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&heads);
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (seen, tls) = (Arc::clone(&seen), tls.clone());
                // A client that only looks at the certificate isn't an error.
                std::thread::spawn(move || match tls {
                    None => serve(stream, script, &seen),
                    Some(tls) => {
                        let connection = ServerConnection::new(tls).unwrap();
                        serve(StreamOwned::new(connection, stream), script, &seen);
                    }
                });
            }
        });
        Self { port, heads }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The heads of the requests so far.
    pub fn heads(&self) -> Vec<String> {
        self.heads.lock().unwrap().clone()
    }
}

/// One request a connection.
fn serve(mut stream: impl Read + Write, script: Script, seen: &Mutex<Vec<String>>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut byte) {
            Ok(1) => head.push(byte[0]),
            _ => return,
        }
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or_default()];
    let _ = stream.read_exact(&mut body);
    seen.lock().unwrap().push(head.clone());
    let _ = stream.write_all(script(&head).as_bytes());
    let _ = stream.flush();
}

/// An answer with JSON.
pub fn json(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
         connection: close\r\n{headers}\r\n{body}"
    )
}

/// A room that nobody has entered.
const OVERVIEW: &str = r#"{"now":"2026-11-21T16:20:03.123Z","minutes":[],"lately":{"seconds":300,
    "requests":0,"limited":0,"failed":0,"tokens":0,"latency_ms":null,"ttfb_ms":null},"people":{"total":0,
    "working":0,"limited":0,"failing":0,"blocked":0,"quiet":0,"never_seen":0},"users":[],
    "is_complete":true}"#;

/// What a gateway that is well answers.
pub fn well(head: &str) -> String {
    let path = head.split(' ').nth(1).unwrap_or_default();
    match path {
        "/health" => json("200 OK", "", r#"{"status":"ok","gateway":"organized-gateway"}"#),
        "/ready" => {
            json("200 OK", "", r#"{"status":"ready","checks":{"d1":"ok","upstream":"ok"}}"#)
        }
        "/operator/session" => json("200 OK", "", r#"{"operator":"token"}"#),
        "/operator/api/overview" => json("200 OK", "", OVERVIEW),
        _ => json("404 Not Found", "", "{}"),
    }
}

/// A port at which nobody listens.
pub fn nobody() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
