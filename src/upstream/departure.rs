//! Noticing that the client has left.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures::channel::oneshot;
use wasm_bindgen::prelude::*;
use web_sys::AbortSignal;

/// A future that ends when the client leaves, as soon as the runtime can know it.
///
/// It rests on the compatibility flag `enable_request_signal`; while an answer streams, the end
/// of the stream tells it too.
pub struct Departure {
    signal: AbortSignal,
    left: oneshot::Receiver<()>,
    _listener: Closure<dyn FnMut()>,
}

impl Departure {
    /// Watches a request's signal.
    pub fn of(request: &web_sys::Request) -> Self {
        let signal = request.signal();
        let (sender, left) = oneshot::channel();
        let mut sender = Some(sender);
        let listener = Closure::wrap_assert_unwind_safe(Box::new(move || {
            if let Some(sender) = sender.take() {
                let _ = sender.send(());
            }
        }) as Box<dyn FnMut()>);
        signal.set_onabort(Some(listener.as_ref().unchecked_ref()));
        Self { signal, left, _listener: listener }
    }
}

impl Future for Departure {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.signal.aborted() {
            return Poll::Ready(());
        }
        // The listener, and with it the sender, lives as long as this future.
        Pin::new(&mut self.left).poll(context).map(drop)
    }
}

impl Drop for Departure {
    fn drop(&mut self) {
        self.signal.set_onabort(None);
    }
}
