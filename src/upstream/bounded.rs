//! Reading what others answer, and no more of it than somebody wants.

use futures::{TryStreamExt, pin_mut};
use wasm_bindgen::JsCast;
use wasm_streams::ReadableStream;
use web_sys::Response;

use super::body::append;

/// Why there is no whole body.
pub enum Unread {
    /// It broke off.
    Broken,
    /// It is longer than that.
    TooLong,
}

/// The body of an answer, of at most so many bytes.
///
/// # Errors
/// [`Unread`]; the rest isn't read then.
pub async fn read(response: &Response, most: usize) -> Result<Vec<u8>, Unread> {
    let mut body = Vec::new();
    let Some(stream) = response.body() else { return Ok(body) };
    let chunks = ReadableStream::from_raw(stream).into_stream();
    pin_mut!(chunks);
    while let Some(chunk) = chunks.try_next().await.map_err(|_| Unread::Broken)? {
        append(&mut body, chunk.unchecked_ref());
        if body.len() > most {
            return Err(Unread::TooLong);
        }
    }
    Ok(body)
}
