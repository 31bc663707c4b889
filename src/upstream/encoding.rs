//! The encodings of a body, where it has to be read here.

use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use crate::error::Error;

/// What is in a body of this encoding; at most so many bytes.
///
/// # Errors
/// [`Error::UnsupportedEncoding`], [`Error::RequestTooLarge`], or [`Error::InvalidJson`] where it isn't in
/// the encoding that it says.
pub async fn decode(bytes: &Uint8Array, encoding: &str, limit: u64) -> Result<Uint8Array, Error> {
    let encoding = encoding.trim().to_ascii_lowercase();
    if encoding == "identity" {
        return Ok(bytes.clone());
    }
    if !matches!(encoding.as_str(), "gzip" | "x-gzip" | "deflate" | "zstd") {
        return Err(Error::UnsupportedEncoding { encoding });
    }
    #[expect(clippy::cast_precision_loss, reason = "no body is that large")]
    let decoded = decoded(bytes, &encoding, limit as f64).await;
    match decoded.dyn_into::<Uint8Array>() {
        Ok(bytes) => Ok(bytes),
        Err(other) if other.is_null() => Err(Error::RequestTooLarge { limit }),
        Err(_) => {
            let problem =
                format!("The request's body isn't in the encoding {encoding} that it says.");
            Err(Error::InvalidJson { problem })
        }
    }
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    async fn decoded(bytes: &Uint8Array, encoding: &str, most: f64) -> JsValue;
}
