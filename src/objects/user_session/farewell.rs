//! How the object forgets its person: at once, and to the last byte when that is done elsewhere too.

use domain::clock::Millis;
use domain::session::farewell::{Farewell, reply_of_the_closed};
use domain::session::messages::SessionMessage;
use domain::session::{Change, Session};
use worker::Result;

use super::UserSession;

impl UserSession {
    /// What a USER_ID replies that is closed; nothing where it isn't, or where it answers as ever.
    pub(super) fn reply_if_closed(&self, message: &SessionMessage) -> Result<Option<String>> {
        if !self.is_closed()? {
            return Ok(None);
        }
        Ok(reply_of_the_closed(message).transpose()?)
    }

    /// Drops all that is held of the person. What is under way with its provider or with D1 is nobody's
    /// from now on.
    pub(super) fn forget_person(&self) -> Result<Farewell> {
        let outbox = self.store.outbox()?;
        self.forgotten.set(self.forgotten.get() + 1);
        self.turn(|session, now| session.forget(outbox, now))
    }

    /// Empties the object, if it is closed: whoever comes next begins anew.
    pub(super) async fn reopen(&self) -> Result<()> {
        if !self.is_closed()? {
            return Ok(());
        }
        // The storage is empty from the call on.
        self.forget();
        self.store.forget();
        self.state.storage().delete_all().await
    }

    fn is_closed(&self) -> Result<bool> {
        let known = self.session.borrow().as_ref().map(Session::is_closed);
        known.map_or_else(|| self.turn(|session, _| (session.is_closed(), Vec::new())), Ok)
    }

    /// A decision on something that began when so many were forgotten; none, if it was of one who has
    /// been since.
    pub(super) fn turn_of<R: Default>(
        &self,
        forgotten: u64,
        decide: impl FnOnce(&mut Session, Millis) -> (R, Vec<Change>),
    ) -> Result<R> {
        if self.forgotten.get() == forgotten { self.turn(decide) } else { Ok(R::default()) }
    }
}
