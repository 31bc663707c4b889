//! A request's body: read whole where it must be, else passed on as it comes.

use futures::channel::oneshot;
use futures::future::pending;
use futures::{StreamExt, TryStreamExt, stream};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;
use wasm_streams::ReadableStream;

use crate::error::Error;
use crate::incoming::Incoming;

/// The largest body that anyone may have read, in bytes.
const SMALL: u64 = 256 * 1024;

/// The largest body that is kept, so that it can be sent once more, in bytes: few are larger that
/// aren't files.
const REPEATABLE: u64 = 4 * 1024 * 1024;

/// What goes upstream as the body.
pub enum Body {
    /// None.
    Empty,
    /// As it comes.
    Stream(web_sys::ReadableStream),
    /// These bytes, as often as need be.
    Bytes(Uint8Array),
}

/// Why an upload can't go on.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum UploadFailure {
    /// It grew over the limit.
    TooLarge,
    /// The client broke off.
    ClientLeft,
}

/// Checks the size that a request says its body has.
///
/// # Errors
/// [`Error::RequestTooLarge`].
pub fn check_size(incoming: &Incoming, limit: u64) -> Result<(), Error> {
    let length = declared_length(incoming);
    if length.is_some_and(|length| length > limit) {
        return Err(Error::RequestTooLarge { limit });
    }
    Ok(())
}

/// Whether the body is, or may become, so large that reading it is not for everyone.
pub fn may_be_large(incoming: &Incoming) -> bool {
    let is_small = declared_length(incoming).is_some_and(|length| length <= SMALL);
    !is_small && incoming.request.body().is_some()
}

/// `fetch` takes no body with `GET` and `HEAD`, and nothing that they ask has a use for one.
fn has_body(incoming: &Incoming) -> bool {
    !matches!(incoming.method.as_str(), "GET" | "HEAD")
}

fn declared_length(incoming: &Incoming) -> Option<u64> {
    incoming.header("content-length").and_then(|text| text.trim().parse().ok())
}

/// The body as it comes, and word of its failure if it didn't declare a length.
///
/// A stream that fails is never ended: the runtime would close the upload as if it were whole. It
/// stands still, and whoever hears of the failure aborts the exchange.
pub fn streamed(
    incoming: &Incoming,
    limit: u64,
) -> (Body, Option<oneshot::Receiver<UploadFailure>>) {
    let Some(stream) = incoming.request.body().filter(|_| has_body(incoming)) else {
        return (Body::Empty, None);
    };
    if declared_length(incoming).is_some() {
        // The runtime holds the client to the length that it declared.
        return (Body::Stream(stream), None);
    }
    let (failed, failure) = oneshot::channel();
    let chunks = ReadableStream::from_raw(stream).into_stream();
    let counted =
        stream::unfold((chunks, 0, failed), move |(mut chunks, seen, failed)| async move {
            let problem = match chunks.next().await? {
                Ok(chunk) => {
                    let seen = seen + u64::from(chunk.unchecked_ref::<Uint8Array>().length());
                    if seen <= limit {
                        return Some((Ok(chunk), (chunks, seen, failed)));
                    }
                    UploadFailure::TooLarge
                }
                Err(_) => UploadFailure::ClientLeft,
            };
            // Nobody hears of it only where the exchange is over already.
            let _ = failed.send(problem);
            pending().await
        });
    (Body::Stream(ReadableStream::from_stream(counted).into_raw()), Some(failure))
}

/// The body, whole where it is short enough to be kept until the answer begins, else as it comes.
///
/// # Errors
/// As [`read`].
pub async fn repeatable(
    incoming: &Incoming,
    limit: u64,
) -> Result<(Body, Option<oneshot::Receiver<UploadFailure>>), Error> {
    let is_short = declared_length(incoming).is_some_and(|length| length <= REPEATABLE);
    if is_short && has_body(incoming) && incoming.request.body().is_some() {
        let bytes = read(incoming, limit).await?;
        return Ok((Body::Bytes(Uint8Array::from(bytes.as_slice())), None));
    }
    Ok(streamed(incoming, limit))
}

/// The whole body.
///
/// # Errors
/// [`Error::RequestTooLarge`] where it grows over the limit; where the client breaks off,
/// [`Error::InvalidJson`], which it won't see.
pub async fn read(incoming: &Incoming, limit: u64) -> Result<Vec<u8>, Error> {
    let Some(stream) = incoming.request.body() else { return Ok(Vec::new()) };
    let broken = |_| Error::InvalidJson { problem: "The request's body broke off.".to_owned() };
    if declared_length(incoming).is_some_and(|length| length <= limit) {
        // The runtime holds the client to the length that it declared. One wait, whatever the pieces.
        let whole = incoming.request.array_buffer().map_err(broken)?;
        return Ok(Uint8Array::new(&JsFuture::from(whole).await.map_err(broken)?).to_vec());
    }
    let mut chunks = ReadableStream::from_raw(stream).into_stream();
    let mut body = Vec::new();
    while let Some(chunk) = chunks.try_next().await.map_err(broken)? {
        append(&mut body, chunk.unchecked_ref());
        if body.len() as u64 > limit {
            return Err(Error::RequestTooLarge { limit });
        }
    }
    Ok(body)
}

/// Appends a chunk of the runtime's to bytes of our own.
pub fn append(bytes: &mut Vec<u8>, chunk: &Uint8Array) {
    let start = bytes.len();
    bytes.resize(start + chunk.length() as usize, 0);
    if let Some(end) = bytes.get_mut(start..) {
        chunk.copy_to(end);
    }
}
