//! The objects, and the only way to talk to them.
//!
//! A [`Message`] names its object and its reply type, so a caller can't ask for the wrong one.
//! [`call`] is the only place that builds a stub. An error of it means that the call failed; what
//! an object refuses is a value of its reply.

mod user_session;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

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
    let failed = |detail: String| {
        log::fault("object call failed", &detail);
        Error::Internal
    };
    fault::called::<M>(name);
    let text = serde_json::to_string(&message.seal()).map_err(|error| failed(error.to_string()))?;
    let stub = context.objects(M::BINDING).and_then(|objects| objects.get_by_name(name));
    let object = stub.map_err(|error| failed(error.to_string()))?.into_rpc::<Object>();
    let reply = object.receive(&text).await.map_err(|error| failed(format!("{error:?}")))?;
    let reply = reply.as_string().unwrap_or_default();
    serde_json::from_str(&reply).map_err(|error| failed(error.to_string()))
}

/// Writes a reply; an object uses it so that its reply is the one that the message names.
fn encode<M: Message>(reply: &M::Reply) -> worker::Result<String> {
    Ok(serde_json::to_string(reply)?)
}

#[wasm_bindgen]
extern "C" {
    type Object;
    #[wasm_bindgen(method, catch)]
    async fn receive(this: &Object, message: &str) -> Result<JsValue, JsValue>;
}
