//! A request's body: read whole where it must be, else passed on as it comes.

use std::cell::Cell;
use std::rc::Rc;

use futures::{StreamExt, TryStreamExt};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;
use wasm_streams::ReadableStream;

use crate::error::Error;
use crate::incoming::Incoming;

/// What goes upstream as the body.
pub enum Body {
    /// None.
    Empty,
    /// As it comes; the size of a body that didn't say its own is watched.
    Stream(web_sys::ReadableStream, SizeWatch),
    /// These bytes, as often as need be.
    Bytes(Uint8Array),
}

/// Whether a streamed body turned out too large.
#[derive(Clone)]
pub struct SizeWatch {
    /// The most bytes that it may have.
    pub limit: u64,
    tripped: Rc<Cell<bool>>,
}

impl SizeWatch {
    /// Whether it did.
    pub fn has_tripped(&self) -> bool {
        self.tripped.get()
    }
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

fn declared_length(incoming: &Incoming) -> Option<u64> {
    incoming.header("content-length").and_then(|text| text.trim().parse().ok())
}

/// The body as it comes.
pub fn streamed(incoming: &Incoming, limit: u64) -> Body {
    let Some(stream) = incoming.request.body() else { return Body::Empty };
    let watch = SizeWatch { limit, tripped: Rc::default() };
    if declared_length(incoming).is_some() {
        // The runtime holds the client to the length that it declared.
        return Body::Stream(stream, watch);
    }
    let (mut seen, tripped) = (0_u64, watch.tripped.clone());
    let counted = ReadableStream::from_raw(stream).into_stream().map(move |chunk| {
        let chunk = chunk?;
        seen = seen.saturating_add(u64::from(chunk.unchecked_ref::<Uint8Array>().length()));
        if seen > limit {
            tripped.set(true);
            return Err(JsValue::from_str("the request is too large"));
        }
        Ok(chunk)
    });
    Body::Stream(ReadableStream::from_stream(counted).into_raw(), watch)
}

/// The whole body.
///
/// # Errors
/// [`Error::RequestTooLarge`] where it grows over the limit; where the client breaks off,
/// [`Error::InvalidJson`], which it won't see.
pub async fn read(incoming: &Incoming, limit: u64) -> Result<Vec<u8>, Error> {
    let Some(stream) = incoming.request.body() else { return Ok(Vec::new()) };
    let mut chunks = ReadableStream::from_raw(stream).into_stream();
    let mut body = Vec::new();
    let broken = |_| Error::InvalidJson { problem: "it broke off".to_owned(), param: None };
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
