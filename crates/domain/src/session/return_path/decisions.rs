//! What a user's session decides about the way back, and what is written then.

use super::messages::{Draw, Drawn, Funds, Spent};
use super::{GRACE, HandleRecord};
use crate::clock::Millis;
use crate::entry::Outcome;
use crate::session::messages::Reason;
use crate::session::{Change, Session};

impl Session {
    /// Gives the user a handle, or takes the one that there is. `true` where that changed anything.
    pub fn keep_handle(&mut self, handle: Option<HandleRecord>) -> (bool, Vec<Change>) {
        let is_news = self.returns.handle != handle;
        self.returns.handle = handle;
        (is_news, is_news.then(|| self.returns_changed()).into_iter().collect())
    }

    /// Lets OpenClaw call a provider, where the handle is the user's and a run is in progress.
    pub fn draw(&mut self, message: Draw, now: Millis) -> (Drawn, Vec<Change>) {
        let mut changes = self.expire(now);
        if self.returns.handle.as_ref().is_none_or(|handle| handle.hash != message.handle) {
            return (Drawn::UnknownHandle, changes);
        }
        if self.is_blocked() {
            return (Drawn::Refused(Reason::Blocked), changes);
        }
        let token = self.codex.access(now);
        if self.returns.pays_by_token()
            && let Err(signed_out) = token
        {
            return (Drawn::Refused(signed_out.into()), changes);
        }
        let drawn = match (self.returns.draw(message.call), token) {
            (Some((Funds::Key { sealed, .. }, run)), _) => {
                Drawn::Key { run: run.to_owned(), sealed: sealed.clone() }
            }
            (Some((Funds::Token, run)), Ok(token)) => Drawn::Token { run: run.to_owned(), token },
            _ => return (Drawn::NoRun, changes),
        };
        changes.push(self.returns_changed());
        (drawn, changes)
    }

    /// Counts what a call cost. `false` where its run's row is closed.
    pub fn spend(&mut self, spent: &Spent, now: Millis) -> (bool, Vec<Change>) {
        let mut changes = self.expire(now);
        let Some(is_over) = self.returns.spend(spent) else { return (false, changes) };
        if is_over && let Some(lease) = self.leases.remove(&spent.run) {
            changes.push(self.close(&spent.run, &lease, None, now));
        }
        changes.push(self.returns_changed());
        (true, changes)
    }

    /// Where calls of a run are open, its row waits for what they cost, for a moment.
    pub(in crate::session) fn defer(
        &mut self,
        request_id: &str,
        outcome: &Outcome,
        now: Millis,
    ) -> Option<Vec<Change>> {
        let lease = self.leases.get_mut(request_id)?;
        if !self.returns.defer(request_id, outcome) {
            return None;
        }
        lease.until = lease.until.min(now + GRACE);
        let renewed = Change::Renew { slot: lease.slot, lease_until: lease.until };
        Some(vec![renewed, self.returns_changed()])
    }

    pub(in crate::session) fn returns_changed(&self) -> Change {
        Change::Returns(Box::new(self.returns.clone()))
    }
}
