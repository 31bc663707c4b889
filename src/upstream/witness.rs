//! What the user's object must know before the client knows it: whose key the upstream answered, and which
//! session an answer belongs to.

use domain::meter::Meter;
use domain::session::messages::{Bind, Remember};

use crate::context::Context;
use crate::log;
use crate::objects::call;

/// What is to be told, as soon as the answer has shown it.
pub struct Witness {
    /// How to reach the object.
    pub context: Context,
    /// Its name.
    pub user_id: String,
    /// The first key that the upstream answers is the user's from then on.
    pub bind: Option<Bind>,
    /// The answer's id, once it is known.
    pub remember: Option<Remember>,
}

impl Witness {
    /// Whether nothing of the answer may be sent yet, as its id isn't known.
    pub fn waits_for_id(&self) -> bool {
        self.remember.is_some()
    }

    /// Gives up waiting for an id: the answer is worth more than its continuation.
    pub fn forget(&mut self) {
        self.remember = None;
    }

    /// What has been shown by now and wasn't before, as a task that tells it; `None` if nothing.
    pub fn tell(&mut self, meter: &Meter) -> Option<impl Future<Output = ()> + use<>> {
        let bind = self.bind.take_if(|_| meter.is_proven());
        let remember = match meter.response_id() {
            Some(id) => self
                .remember
                .take()
                .map(|remember| Remember { response_id: id.to_owned(), ..remember }),
            None => None,
        };
        if bind.is_none() && remember.is_none() {
            return None;
        }
        let (context, user_id) = (self.context.clone(), self.user_id.clone());
        Some(async move {
            // Should it fail, the next answer binds.
            if let Some(bind) = bind {
                let _ = call(&context, &user_id, bind).await;
            }
            if let Some(remember) = remember
                && call(&context, &user_id, remember).await.is_err()
            {
                log::fault("an answer was not remembered", &user_id);
            }
        })
    }
}
