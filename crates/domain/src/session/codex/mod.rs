//! A user's Codex tokens, and the sign-in that brings them: what is kept, and what is due.
//!
//! Tokens are sealed here; nothing in this module can read them. Each set of tokens has a version,
//! so that what was begun with one set is never written over another.

mod decisions;
pub mod messages;
mod sign_in;
#[cfg(test)]
pub(in crate::session) mod tests;

use serde::{Deserialize, Serialize};

pub use self::sign_in::{NotSignedIn, Polling, Progress, SignIn, SignInStanding, SignInState};
use crate::clock::Millis;
use crate::custody::Sealed;

/// So long before its end an access token is replaced.
const DUE_BEFORE: Millis = 60_000;
/// A token that is rejected so soon after it came by a refresh isn't refreshed again: that didn't
/// help.
const PROVED_USELESS: Millis = 60_000;
/// The least pause between two beginnings of a sign-in.
const PAUSE: Millis = 10_000;
/// No stored end of a token is later than this after now.
const LONGEST: Millis = 365 * 24 * 3_600_000;

/// What an object keeps of a user's Codex session.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodexRecord {
    /// Counts the sets of tokens that the user has had.
    version: u64,
    tokens: Option<TokenRecord>,
    sign_in: Option<SignIn>,
    /// When a sign-in was last begun.
    begun_at: Option<Millis>,
}

/// A set of tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The access token.
    pub access: Sealed,
    /// The refresh token.
    pub refresh: Sealed,
    /// When the access token ends.
    pub expires_at: Millis,
    /// Whether the provider said that the refresh token is worth nothing any more.
    expired: bool,
    /// When the set came by a refresh, if it did.
    refreshed_at: Option<Millis>,
}

impl TokenRecord {
    /// A set of tokens that is good as far as anybody knows.
    #[must_use]
    pub const fn new(access: Sealed, refresh: Sealed, expires_at: Millis) -> Self {
        Self { access, refresh, expires_at, expired: false, refreshed_at: None }
    }

    const fn is_due(&self, now: Millis) -> bool {
        now >= self.expires_at - DUE_BEFORE
    }
}

/// Why there is no token to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignedOut {
    /// There never was one, or it was forgotten.
    NoSession,
    /// There was; the provider doesn't renew it any more.
    SessionExpired,
}

/// An access token that a request may use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessToken {
    /// The token.
    pub sealed: Sealed,
    /// The set that it belongs to.
    pub version: u64,
    /// Whether it ends so soon that it should be replaced first.
    pub is_due: bool,
    /// Whether it has ended.
    pub is_over: bool,
}

/// What whoever needs a fresh token has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Nothing: this is the freshest that there is.
    Fresh(AccessToken),
    /// Refresh this set, of this version.
    Stale(u64, TokenRecord),
}

/// A user's session, as it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Description {
    /// What there is.
    pub state: State,
    /// When the access token ends, or the codes of the sign-in.
    pub expires_at: Option<Millis>,
}

/// The states of a user's Codex session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// No tokens.
    #[default]
    None,
    /// Tokens that can be used or renewed.
    Ok,
    /// Tokens that nobody renews any more.
    Expired,
    /// No usable tokens, but a sign-in on its way.
    SigningIn,
}

impl CodexRecord {
    /// Holds stored times to what they can be now. Says whether any had to be changed.
    pub fn restore(&mut self, now: Millis) -> bool {
        let before = self.clone();
        if let Some(tokens) = &mut self.tokens {
            tokens.expires_at = tokens.expires_at.min(now + LONGEST);
            tokens.refreshed_at = tokens.refreshed_at.map(|at| at.min(now));
        }
        if let Some(sign_in) = &mut self.sign_in {
            sign_in.restore(now);
        }
        self.begun_at = self.begun_at.map(|at| at.min(now));
        *self != before
    }

    /// Takes every time for earlier, after the clock has stepped back. Says whether there is any.
    pub fn move_back(&mut self, step: Millis) -> bool {
        if let Some(tokens) = &mut self.tokens {
            tokens.expires_at -= step;
            tokens.refreshed_at = tokens.refreshed_at.map(|at| at - step);
        }
        if let Some(sign_in) = &mut self.sign_in {
            sign_in.move_back(step);
        }
        self.begun_at = self.begun_at.map(|at| at - step);
        self.tokens.is_some() || self.sign_in.is_some() || self.begun_at.is_some()
    }

    /// Whether there are tokens, good or not: whoever has some must prove who they are.
    #[must_use]
    pub const fn has_tokens(&self) -> bool {
        self.tokens.is_some()
    }

    /// The token that a request may use.
    ///
    /// # Errors
    /// [`SignedOut`].
    pub fn access(&self, now: Millis) -> Result<AccessToken, SignedOut> {
        let tokens = self.usable()?;
        Ok(AccessToken {
            sealed: tokens.access.clone(),
            version: self.version,
            is_due: tokens.is_due(now),
            is_over: now >= tokens.expires_at,
        })
    }

    /// What is to be done for a fresh token, where the one of the version `rejected` wasn't taken.
    ///
    /// # Errors
    /// [`SignedOut`].
    pub fn freshness(&self, rejected: Option<u64>, now: Millis) -> Result<Freshness, SignedOut> {
        let tokens = self.usable()?;
        let is_new = tokens.refreshed_at.is_some_and(|at| now < at + PROVED_USELESS);
        let is_stale = match rejected {
            Some(version) => version == self.version && !is_new,
            None => tokens.is_due(now),
        };
        Ok(if is_stale {
            Freshness::Stale(self.version, tokens.clone())
        } else {
            Freshness::Fresh(self.access(now)?)
        })
    }

    /// Keeps new tokens, whatever was there before.
    pub fn keep(&mut self, tokens: TokenRecord) {
        self.version += 1;
        self.tokens = Some(tokens);
    }

    /// Keeps what a refresh of the set of this version brought. `false` where other tokens came
    /// meanwhile, or none are wanted any more.
    pub fn refreshed(&mut self, version: u64, tokens: TokenRecord, now: Millis) -> bool {
        let is_current = self.is_current(version);
        if is_current {
            self.keep(TokenRecord { refreshed_at: Some(now), ..tokens });
        }
        is_current
    }

    /// The provider doesn't renew the set of this version any more. `false` as in `refreshed`.
    pub fn refused(&mut self, version: u64) -> bool {
        let is_current = self.is_current(version);
        if let Some(tokens) = self.tokens.as_mut().filter(|_| is_current) {
            tokens.expired = true;
        }
        is_current
    }

    /// The tokens, good or not.
    #[must_use]
    pub const fn tokens(&self) -> Option<&TokenRecord> {
        self.tokens.as_ref()
    }

    /// The same tokens, sealed with another key.
    pub fn resealed(&mut self, access: Sealed, refresh: Sealed) {
        if let Some(tokens) = &mut self.tokens {
            (tokens.access, tokens.refresh) = (access, refresh);
        }
    }

    /// Forgets tokens and sign-in. Says whether there were any.
    pub fn forget(&mut self) -> bool {
        let were_there = self.tokens.take().is_some();
        self.sign_in.take().is_some() || were_there
    }

    /// Lets a sign-in begin.
    ///
    /// # Errors
    /// The milliseconds to wait, where one was begun just now.
    pub fn begin(&mut self, now: Millis) -> Result<(), Millis> {
        let wait = self.begun_at.map_or(0, |at| at + PAUSE - now);
        if wait > 0 {
            return Err(wait);
        }
        self.begun_at = Some(now);
        Ok(())
    }

    /// Keeps a sign-in; one from before is given up.
    pub fn begun(&mut self, sign_in: SignIn) {
        self.sign_in = Some(sign_in);
    }

    /// The sign-in, as far as it is known.
    #[must_use]
    pub const fn sign_in(&self) -> Option<&SignIn> {
        self.sign_in.as_ref()
    }

    /// Ends a sign-in whose codes are too old. Says whether there was one.
    pub fn expire(&mut self, now: Millis) -> bool {
        self.sign_in.as_mut().is_some_and(|sign_in| sign_in.expire(now))
    }

    /// Takes the answer to a poll for the sign-in of this name. `false` where it isn't wanted any
    /// more.
    pub fn polled(
        &mut self,
        id: &str,
        answer: Result<TokenRecord, NotSignedIn>,
        now: Millis,
    ) -> bool {
        let asked = |sign_in: &&mut SignIn| {
            sign_in.id == id && matches!(sign_in.progress, Progress::Pending(_))
        };
        let Some(sign_in) = self.sign_in.as_mut().filter(asked) else { return false };
        match answer {
            Ok(tokens) => {
                sign_in.progress = Progress::SignedIn;
                self.keep(tokens);
            }
            Err(answer) => sign_in.polled(answer, now),
        }
        true
    }

    /// What there is, whatever sign-in is on its way.
    #[must_use]
    pub fn holds(&self) -> State {
        let state = |tokens: &TokenRecord| if tokens.expired { State::Expired } else { State::Ok };
        self.tokens.as_ref().map_or(State::None, state)
    }

    /// The session as it is told.
    #[must_use]
    pub fn describe(&self, now: Millis) -> Description {
        let pending = self.sign_in.as_ref().filter(|sign_in| sign_in.is_pending(now));
        let (state, expires_at) = match (&self.tokens, pending) {
            (Some(tokens), _) if !tokens.expired => (State::Ok, Some(tokens.expires_at)),
            (_, Some(sign_in)) => (State::SigningIn, Some(sign_in.expires_at)),
            (Some(tokens), None) => (State::Expired, Some(tokens.expires_at)),
            (None, None) => (State::None, None),
        };
        Description { state, expires_at }
    }

    fn usable(&self) -> Result<&TokenRecord, SignedOut> {
        match &self.tokens {
            None => Err(SignedOut::NoSession),
            Some(tokens) if tokens.expired => Err(SignedOut::SessionExpired),
            Some(tokens) => Ok(tokens),
        }
    }

    const fn is_current(&self, version: u64) -> bool {
        self.tokens.is_some() && self.version == version
    }
}
