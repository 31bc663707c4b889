//! The objects, and the only way to talk to them.
//!
//! A [`Message`] names its object and its reply type, so a caller can't ask for the wrong one.
//! [`call`] is the only place that builds a stub. An error of it means that the call failed; what
//! an object refuses is a value of its reply.

#[cfg(feature = "office")]
pub mod actions;
pub mod alerts;
#[cfg(feature = "office")]
pub mod customer;
mod document;
#[cfg(feature = "office")]
pub mod farewell;
#[cfg(feature = "gateway")]
mod guesses;
mod messages;
#[cfg(feature = "gateway")]
mod upstream_slots;
#[cfg(feature = "gateway")]
mod user_session;

use std::fmt;

use domain::clock::Millis;
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;
use worker::State;

use crate::context::Context;
use crate::error::Error;
use crate::{fault, log};

/// Something that can be said to an object.
pub trait Message {
    /// The binding of the object's class.
    const BINDING: &'static str;
    /// What the object takes: this message among all that it knows.
    type Envelope: Serialize + DeserializeOwned;
    /// What the object replies.
    type Reply: Serialize + DeserializeOwned;

    /// Puts the message into its envelope.
    fn seal(self) -> Self::Envelope;
}

/// Says something to the object of a name, and waits for its reply.
///
/// # Errors
/// [`Error::Internal`] where the object could not be reached, died, or answered nonsense.
pub async fn call<M: Message>(
    context: &Context,
    name: &str,
    message: M,
) -> Result<M::Reply, Error> {
    let text = serde_json::to_string(&message.seal()).map_err(|error| failed(&error))?;
    fault::called::<M>(name, text.len());
    let reply = deliver(context, M::BINDING, name, text).await?;
    fault::replied::<M>(name, reply.len());
    serde_json::from_str(&reply).map_err(|error| failed(&error))
}

/// What all messages have in common, so that it isn't compiled once for each.
async fn deliver(
    context: &Context,
    binding: &str,
    name: &str,
    message: String,
) -> Result<String, Error> {
    let stub = context.objects(binding).and_then(|objects| objects.get_by_name(name));
    let object = stub.map_err(|error| failed(&error))?.into_rpc::<Object>();
    let reply = object.receive(&message).await;
    let reply = reply.map_err(|error| failed(&format_args!("{error:?}")))?;
    Ok(reply.as_string().unwrap_or_default())
}

fn failed(detail: &dyn fmt::Display) -> Error {
    log::fault("object call failed", &detail.to_string());
    Error::Internal
}

/// Writes a reply; an object uses it so that its reply is the one that the message names.
fn encode<M: Message>(reply: &M::Reply) -> worker::Result<String> {
    Ok(serde_json::to_string(reply)?)
}

/// Has the alarm of an object ring in so many milliseconds, whatever it was set for.
fn wake_in(state: &State, pause: Millis) -> worker::Result<()> {
    // Called without awaiting it, so that the alarm is part of the turn's transaction; should it
    // not be writable, the output gate fails the reply.
    let storage = state.storage();
    let storage = storage.as_raw().unchecked_ref::<AlarmStorage>();
    #[expect(clippy::cast_precision_loss, reason = "milliseconds are far below 2^53")]
    let at = js_sys::Date::now() + pause as f64;
    storage.set_alarm(at).map(drop).map_err(Into::into)
}

#[wasm_bindgen]
extern "C" {
    type Object;
    #[wasm_bindgen(method, catch)]
    async fn receive(this: &Object, message: &str) -> Result<JsValue, JsValue>;

    type AlarmStorage;
    #[wasm_bindgen(method, catch, js_name = setAlarm)]
    fn set_alarm(this: &AlarmStorage, at: f64) -> Result<js_sys::Promise, JsValue>;
}
