//! A proxy as a tunnel is one: it adds who the client was, and streams both ways.

use std::net::SocketAddr;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use reqwest::Client;
use tokio::task::JoinHandle;

use crate::redaction::RUN;

/// The address that it says its clients come from.
pub const CLIENT_ADDRESS: &str = "203.0.113.7";

/// A running proxy; dropping it ends it.
pub struct Tunnel {
    address: SocketAddr,
    task: JoinHandle<()>,
}

#[derive(Clone)]
struct Target {
    base: String,
    client: Client,
}

impl Tunnel {
    /// Starts in front of `base`, a URL without a path.
    pub async fn start(base: &str) -> Self {
        let target = Target { base: base.to_owned(), client: crate::gateway::client() };
        let router = axum::Router::new().fallback(forward).with_state(target);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.ok();
        });
        Self { address, task }
    }

    /// Its base URL, without `/v1`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(State(target): State<Target>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    parts.headers.remove(header::HOST);
    for (name, value) in [
        ("x-forwarded-for", CLIENT_ADDRESS),
        ("x-forwarded-proto", "https"),
        ("cf-connecting-ip", CLIENT_ADDRESS),
    ] {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    RUN.keep_url(&parts.uri.to_string());
    let url = format!("{}{}", target.base, parts.uri);
    let sent = target
        .client
        .request(parts.method, url)
        .headers(parts.headers)
        .body(reqwest::Body::wrap_stream(body.into_data_stream()))
        .send()
        .await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let (status, mut headers) = (answer.status(), answer.headers().clone());
    headers.remove(header::TRANSFER_ENCODING);
    let mut response = Response::new(Body::from_stream(answer.bytes_stream()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
