//! The model behind every contender: answers at once, always the same. It runs in a process of its own,
//! so that its processor time is told apart.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::talk::{ANSWER, Asked, PIECES};

/// Serves on a port of its own, which it prints after `ready`, until its standard input closes: who
/// started it is gone then.
///
/// # Errors
/// When it can't listen.
pub async fn serve() -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("ready http://{}", listener.local_addr()?);
    let starter_is_gone = async {
        let mut input = tokio::io::stdin();
        let mut bytes = [0; 64];
        while input.read(&mut bytes).await.is_ok_and(|length| length > 0) {}
    };
    tokio::select! {
        () = accept(listener) => Ok(()),
        () = starter_is_gone => Ok(()),
    }
}

async fn accept(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let answering = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answering));
    }
}

type Answer = Response<BoxBody<Bytes, Infallible>>;

async fn answer(request: Request<Incoming>) -> Answer {
    if request.method() != Method::POST {
        // Whoever looks whether somebody is there.
        let models = r#"{"object":"list","data":[{"id":"gpt-4o-mini","object":"model"}]}"#;
        return whole("application/json", Bytes::from_static(models.as_bytes()));
    }
    let Ok(body) = request.into_body().collect().await else { return refusal() };
    let Ok(asked) = serde_json::from_slice::<Asked>(&body.to_bytes()) else { return refusal() };
    if !asked.stream {
        return whole("application/json", ANSWER.clone());
    }
    let [plain, with_usage] = &*PIECES;
    let pieces = if asked.include_usage() { with_usage } else { plain };
    let stream = Pieces { left: pieces.iter(), is_pausing: false };
    with_type("text/event-stream", Response::new(stream.boxed()))
}

fn whole(content_type: &'static str, bytes: Bytes) -> Answer {
    with_type(content_type, Response::new(Full::new(bytes).boxed()))
}

fn refusal() -> Answer {
    let mut answer = whole("text/plain", Bytes::from_static(b"no JSON body"));
    *answer.status_mut() = StatusCode::BAD_REQUEST;
    answer
}

fn with_type(content_type: &'static str, mut answer: Answer) -> Answer {
    let value = hyper::header::HeaderValue::from_static(content_type);
    answer.headers_mut().insert(CONTENT_TYPE, value);
    answer
}

/// The pieces of a stream, each written by itself: a pause between two of them makes hyper write what
/// it has, as it would have to while a model thinks.
struct Pieces {
    left: std::slice::Iter<'static, Bytes>,
    is_pausing: bool,
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.is_pausing = !self.is_pausing;
        if self.is_pausing {
            return Poll::Ready(self.left.next().map(|piece| Ok(Frame::data(piece.clone()))));
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }
}
