//! A request's body: read whole where it must be, else passed on as it comes; never waited for longer
//! than its sender may take, and never begun before its sender has a turn.

use std::time::Duration;

use domain::identifiers::UserId;
use domain::settings::Settings;
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

use super::turns::{self, Sender, Turn};
use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;

/// The most of a body that is read before its sender is known, in bytes.
pub const SMALL: u64 = 256 * 1024;

/// The largest body that is kept, so that it can be sent once more, in bytes: few are larger that
/// aren't files.
pub const REPEATABLE: u64 = 4 * 1024 * 1024;

/// How long its sender may be silent, in milliseconds.
const SILENCE: u32 = 30_000;

/// What goes upstream as the body.
pub enum Body {
    /// None.
    Empty,
    /// As it comes.
    Stream(web_sys::ReadableStream),
    /// These bytes, as often as need be.
    Bytes(Uint8Array),
}

/// How large a body may be, and how long it may take.
#[derive(Clone, Copy)]
pub struct BodyLimits {
    /// The most bytes.
    pub bytes: u64,
    /// Milliseconds, and a second more for each 32 KB.
    pub timeout_ms: u32,
}

impl BodyLimits {
    /// As the operator set them.
    pub fn of(settings: &Settings) -> Self {
        Self { bytes: settings.max_body_bytes, timeout_ms: settings.body_timeout_ms }
    }
}

/// How far a body has been read. `boundary.js` has the same numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There is more of it.
    More,
    /// That was all.
    Whole,
    /// Its sender took too long.
    Late,
    /// Its sender broke off.
    Left,
    /// It has grown over the limit.
    TooLarge,
}

impl Progress {
    fn of(number: &JsValue) -> Self {
        match number.as_f64() {
            Some(0.0) => Self::More,
            Some(1.0) => Self::Whole,
            Some(2.0) => Self::Late,
            Some(4.0) => Self::TooLarge,
            _ => Self::Left,
        }
    }
}

/// A body that is being read; it holds its sender's turn.
pub struct Upload {
    js: JsUpload,
    limits: BodyLimits,
    turn: Option<Turn>,
}

impl Upload {
    /// The body of a request, of which nothing has been read; `None` where there is none. What is kept
    /// of it wants a turn; what passes on wants none.
    pub fn open(incoming: &Incoming, limits: BodyLimits) -> Option<Self> {
        let stream = stream_of(incoming)?;
        #[expect(clippy::cast_precision_loss, reason = "no body is that large")]
        let number = |bytes: u64| bytes as f64;
        let declared = declared_length(incoming).map_or(-1.0, number);
        let most = number(limits.bytes);
        let js = JsUpload::new(&stream, declared, most, limits.timeout_ms, SILENCE);
        Some(Self { js, limits, turn: None })
    }

    /// Takes a turn, where one is to be had at once.
    pub fn takes_turn(&mut self, sender: &Sender) -> bool {
        self.turn = turns::take(sender, 1);
        self.turn.is_some()
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`Error::RequestTimeout`] where the sender has too many others under way.
    pub async fn wait_for_turn(&mut self, sender: &Sender) -> Result<(), Error> {
        self.wait(sender, 1).await
    }

    /// Waits for a turn as large as the body may be, in the place of the one that it has.
    ///
    /// # Errors
    /// [`Error::RequestTimeout`] where there is no room for it in time.
    pub async fn wait_for_room(
        &mut self,
        incoming: &Incoming,
        user_id: &UserId,
    ) -> Result<(), Error> {
        let bytes = declared_length(incoming).unwrap_or(self.limits.bytes);
        let megabytes = usize::try_from(bytes >> 20).unwrap_or(usize::MAX).saturating_add(1);
        self.wait(&Sender::Large(user_id.clone()), megabytes).await
    }

    async fn wait(&mut self, sender: &Sender, weight: usize) -> Result<(), Error> {
        let timeout = Duration::from_millis(self.limits.timeout_ms.into());
        let turn = turns::wait(sender, weight, timeout).await;
        let is_begun = self.js.is_begun();
        self.turn = Some(turn.ok_or(Error::RequestTimeout { is_begun })?);
        Ok(())
    }

    /// Reads until there are more than so many bytes, or to the end.
    pub async fn read(&self, bytes: u64) -> Progress {
        #[expect(clippy::cast_precision_loss, reason = "no body is that large")]
        let bytes = bytes as f64;
        Progress::of(&self.js.read(bytes).await)
    }

    /// What has been read, once that is all; what is wrong, where something is.
    ///
    /// # Errors
    /// [`Error::RequestTimeout`], [`Error::RequestTooLarge`]; where the sender left,
    /// [`Error::InvalidJson`], which it won't see.
    pub fn check(&self, progress: Progress) -> Result<(), Error> {
        match progress {
            Progress::More | Progress::Whole => Ok(()),
            other => Err(self.error(other)),
        }
    }

    /// The error of a body that can't go on.
    pub fn error(&self, progress: Progress) -> Error {
        match progress {
            Progress::TooLarge => Error::RequestTooLarge { limit: self.limits.bytes },
            Progress::Late => Error::RequestTimeout { is_begun: self.js.is_begun() },
            _ => Error::InvalidJson { problem: "The request's body broke off.".to_owned() },
        }
    }

    /// All that has been read.
    pub fn bytes(&self) -> Uint8Array {
        self.js.bytes()
    }

    /// What has been read, and the rest as it comes. It holds its sender's turn no longer: from here on
    /// it is in nobody's memory, and its request has been admitted.
    ///
    /// One that can't go on is never ended: the runtime would close it as if it were whole. It stands
    /// still, and whoever hears of it from [`Upload::ended`] aborts the exchange.
    pub fn stream(&mut self) -> web_sys::ReadableStream {
        self.turn.take();
        self.js.stream()
    }

    /// How a stream has ended.
    pub async fn ended(&self) -> Progress {
        Progress::of(&self.js.ended().await)
    }

    /// For how long the upstream has taken nothing of the stream that was there, in milliseconds; 0
    /// where the sender is waited for.
    pub fn refused_for(&self) -> u32 {
        self.js.refused_for()
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

/// Whether a body says that it is small.
pub fn is_small(incoming: &Incoming) -> bool {
    declared_length(incoming).is_some_and(|length| length <= SMALL)
}

/// Whether a body says that it is short enough to be kept.
pub fn is_repeatable(incoming: &Incoming) -> bool {
    declared_length(incoming).is_some_and(|length| length <= REPEATABLE)
}

/// `fetch` takes no body with `GET` and `HEAD`, and nothing that they ask has a use for one.
fn stream_of(incoming: &Incoming) -> Option<web_sys::ReadableStream> {
    let may_have = !matches!(incoming.method.as_str(), "GET" | "HEAD");
    incoming.request.body().filter(|_| may_have && declared_length(incoming) != Some(0))
}

fn declared_length(incoming: &Incoming) -> Option<u64> {
    incoming.header("content-length").and_then(|text| text.trim().parse().ok())
}

/// The whole body of a small request to the gateway itself, of whoever sends it.
///
/// # Errors
/// As [`Upload::check`], and as [`Upload::wait_for_turn`].
pub async fn read(incoming: &Incoming, context: &Context, most: u64) -> Result<Vec<u8>, Error> {
    check_size(incoming, most)?;
    let limits = BodyLimits { bytes: most, ..BodyLimits::of(&*context.settings()?) };
    let Some(mut upload) = Upload::open(incoming, limits) else { return Ok(Vec::new()) };
    upload.wait_for_turn(&Sender::unknown(incoming)).await?;
    let progress = upload.read(limits.bytes).await;
    upload.check(progress)?;
    Ok(upload.bytes().to_vec())
}

/// Appends a chunk of the runtime's to bytes of our own.
pub fn append(bytes: &mut Vec<u8>, chunk: &Uint8Array) {
    let start = bytes.len();
    bytes.resize(start + chunk.length() as usize, 0);
    if let Some(end) = bytes.get_mut(start..) {
        chunk.copy_to(end);
    }
}

#[wasm_bindgen(module = "/src/boundary.js")]
extern "C" {
    #[wasm_bindgen(js_name = Upload)]
    type JsUpload;
    #[wasm_bindgen(constructor, js_class = "Upload")]
    fn new(
        body: &web_sys::ReadableStream,
        declared: f64,
        most: f64,
        timeout: u32,
        silence: u32,
    ) -> JsUpload;
    #[wasm_bindgen(method)]
    async fn read(this: &JsUpload, bytes: f64) -> JsValue;
    #[wasm_bindgen(method)]
    fn bytes(this: &JsUpload) -> Uint8Array;
    #[wasm_bindgen(method)]
    fn stream(this: &JsUpload) -> web_sys::ReadableStream;
    #[wasm_bindgen(method)]
    async fn ended(this: &JsUpload) -> JsValue;
    #[wasm_bindgen(method, getter, js_name = isBegun)]
    fn is_begun(this: &JsUpload) -> bool;
    #[wasm_bindgen(method, getter, js_name = refusedFor)]
    fn refused_for(this: &JsUpload) -> u32;
}
