//! The object's dealings with the provider of Codex tokens: refreshing, signing in, polling.
//!
//! However many requests want a fresh token at once, the provider is asked once. What it answers is
//! written in a turn before anyone hears of it, so a new refresh token is durable before the new
//! access token is used.

use std::cell::RefCell;

use domain::custody::{Label, Purpose, Sealed, Unreadable};
use domain::identifiers::UserId;
use domain::secret::Secret;
use domain::session::Session;
use domain::session::codex::messages::{Begun, Codes, Fresh, FreshToken};
use domain::session::codex::{
    AccessToken, Freshness, NotSignedIn, Polling, Progress, SignIn, SignInStanding, TokenRecord,
};
use domain::session::messages::Reason;
use domain::settings::CodexSettings;
use domain::token_endpoint::{
    DeviceCode, DeviceLogin, NoTokens, Polled, Provider, Question, Tokens, read_tokens,
};
use futures::channel::oneshot;
use serde::Serialize;
use worker::Result;

use super::UserSession;
use crate::context::{random_bytes, random_id};
use crate::token_client::{self, Answer};
use crate::{clock, log};

/// How often a caller looks again after a refresh that was not about its own token.
const ATTEMPTS: usize = 3;

/// Those who wait for the refresh that is under way; nobody where none is.
pub(super) type Refreshing = RefCell<Vec<oneshot::Sender<Refreshed>>>;

/// How a refresh ended.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Refreshed {
    /// The provider has said yes or no, and it is written.
    Decided,
    /// The provider didn't answer, or nothing that makes sense.
    Unavailable,
    /// The tokens can't be opened.
    Unreadable,
}

/// The refresh under way. When it ends, by a panic too, those who wait for it are woken.
struct Flight<'a>(&'a Refreshing);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.0.take();
    }
}

/// A line for the operator about a user's tokens.
#[derive(Serialize)]
struct Line<'a> {
    user_id: &'a UserId,
    outcome: &'static str,
}

impl UserSession {
    /// A token that is good for a while.
    pub(super) async fn fresh_token(&self, message: FreshToken) -> Result<Fresh> {
        let FreshToken { user_id, request_id, rejected } = message;
        for _ in 0..ATTEMPTS {
            let decided = self
                .turn(|session, now| (session.freshness(&request_id, rejected, now), Vec::new()))?;
            let (version, tokens) = match decided {
                Err(signed_out) => return Ok(Fresh::Refused(signed_out.into())),
                Ok(Freshness::Fresh(token)) => return Ok(Fresh::Token(token)),
                Ok(Freshness::Stale(version, tokens)) => (version, tokens),
            };
            match self.refresh_once(&user_id, version, tokens).await? {
                Refreshed::Decided => {}
                Refreshed::Unavailable => return Ok(Fresh::Unavailable),
                Refreshed::Unreadable => {
                    return Ok(Fresh::Refused(Reason::CodexSessionExpired));
                }
            }
        }
        Ok(Fresh::Unavailable)
    }

    /// Refreshes, or waits for the refresh that is under way. The first to come works for all.
    async fn refresh_once(
        &self,
        user_id: &UserId,
        version: u64,
        tokens: TokenRecord,
    ) -> Result<Refreshed> {
        let (tell, told) = oneshot::channel();
        let is_first = {
            let mut waiting = self.refreshing.borrow_mut();
            waiting.push(tell);
            waiting.len() == 1
        };
        if is_first {
            let flight = Flight(&self.refreshing);
            let refreshed = self.refresh(user_id, version, tokens).await?;
            for tell in flight.0.take() {
                // One who left in the meantime doesn't mind.
                let _ = tell.send(refreshed);
            }
        }
        told.await.map_err(|_| "the refresh failed".into())
    }

    async fn refresh(
        &self,
        user_id: &UserId,
        version: u64,
        tokens: TokenRecord,
    ) -> Result<Refreshed> {
        let forgotten = self.forgotten.get();
        let Some(desk) = self.desk(user_id) else { return Ok(Refreshed::Unavailable) };
        let Some(refresh_token) = desk.open(Purpose::Refresh, &tokens.refresh) else {
            return Ok(Refreshed::Unreadable);
        };
        let answer = desk.ask(&desk.provider().refresh(&refresh_token)).await;
        let answer = answer.map_err(NoTokens::Unavailable);
        let (tokens, outcome) = match answer.and_then(|(status, body)| read_tokens(status, &body)) {
            Ok(granted) => (Some(desk.seal(&granted.beside(refresh_token))), "refreshed"),
            Err(NoTokens::Invalid) => (None, "expired"),
            Err(NoTokens::Unavailable(problem)) => {
                desk.complain("the token endpoint failed", &problem);
                return Ok(Refreshed::Unavailable);
            }
        };
        self.turn_of(forgotten, |session, now| session.refreshed(version, tokens, now))?;
        desk.note("codex_refresh", outcome);
        Ok(Refreshed::Decided)
    }

    /// Seals a user's tokens with the key of now, where they aren't.
    pub(super) fn reseal(&self, user_id: &UserId, token: &mut AccessToken) -> Result<()> {
        let Some(desk) = self.desk(user_id) else { return Ok(()) };
        if desk.codex.keyring.is_current(&token.sealed) {
            return Ok(());
        }
        let tokens = self.turn(|session, _| (session.codex().tokens().cloned(), Vec::new()))?;
        let resealed = tokens.and_then(|TokenRecord { access, refresh, .. }| {
            let access = desk.open(Purpose::Access, &access)?;
            let refresh = desk.open(Purpose::Refresh, &refresh)?;
            Some((desk.sealed(Purpose::Access, &access), desk.sealed(Purpose::Refresh, &refresh)))
        });
        let Some((access, refresh)) = resealed else { return Ok(()) };
        token.sealed = access.clone();
        self.turn(|session, _| session.resealed(access, refresh))?;
        desk.note("codex_reseal", "resealed");
        Ok(())
    }

    /// Begins a sign-in, and gives the codes for it.
    pub(super) async fn begin_sign_in(&self, user_id: UserId) -> Result<Begun> {
        if self.turn(|session, _| (session.is_blocked(), Vec::new()))? {
            return Ok(Begun::Blocked);
        }
        let forgotten = self.forgotten.get();
        if let Err(retry_after_ms) = self.turn(Session::begin_sign_in)? {
            return Ok(Begun::TooSoon { retry_after_ms });
        }
        let Some(desk) = self.desk(&user_id) else { return Ok(Begun::Unavailable) };
        let Some(login) = desk.login() else { return Ok(Begun::Unavailable) };
        let answer = desk.ask(&login.begin()).await;
        let codes = match answer.and_then(|(status, body)| login.read_codes(status, &body)) {
            Ok(codes) => codes,
            Err(problem) => {
                desk.complain("the device endpoint failed", &problem);
                return Ok(Begun::Unavailable);
            }
        };
        let now = clock::reading();
        let (id, expires_at, interval) = (random_id(), now + codes.lifetime, codes.interval);
        let polling = Polling {
            device_code: desk.sealed(Purpose::DeviceCode, &codes.device_code),
            user_code: codes.user_code.clone(),
            interval,
            next_poll: now + interval,
        };
        let progress = Progress::Pending(polling);
        let sign_in = SignIn { id: id.clone(), user_id: user_id.clone(), expires_at, progress };
        self.turn_of(forgotten, |session, _| session.sign_in_begun(sign_in))?;
        desk.note("codex_sign_in", "begun");
        let DeviceCode { user_code, verification_uri, verification_uri_complete, .. } = codes;
        Ok(Begun::Codes(Codes {
            id,
            user_code,
            verification_uri,
            verification_uri_complete,
            expires_at,
            interval,
        }))
    }

    /// How far a sign-in is.
    pub(super) fn tell_sign_in(&self, id: &str) -> Result<Option<SignInStanding>> {
        self.turn(|session, now| {
            let sign_in = session.codex().sign_in().filter(|sign_in| sign_in.id == id);
            (sign_in.map(|sign_in| sign_in.standing(now)), Vec::new())
        })
    }

    /// Polls for the sign-in, if that is due.
    pub(super) async fn poll(&self) -> Result<()> {
        let due = self.turn(|session, now| {
            let sign_in = session.codex().sign_in();
            let due = sign_in.and_then(|sign_in| Some((sign_in, sign_in.poll_due(now)?)));
            (due.map(|(sign_in, polling)| (sign_in.clone(), polling.clone())), Vec::new())
        })?;
        let Some((SignIn { id, user_id, .. }, polling)) = due else { return Ok(()) };
        let answer = match self.desk(&user_id) {
            Some(desk) => desk.poll(&polling).await,
            None => Err(NotSignedIn::Failed),
        };
        self.turn(|session, now| session.polled(&id, answer, now)).map(drop)
    }

    /// What dealing with the provider for a user needs, if it can be had.
    fn desk<'a>(&self, user_id: &'a UserId) -> Option<Desk<'a>> {
        let problem = match self.context.settings().map(|settings| settings.codex.clone()) {
            Ok(Some(codex)) => return Some(Desk { codex, user_id }),
            Ok(None) => "TOKEN_ENCRYPTION_KEY is missing".to_owned(),
            Err(error) => error.to_string(),
        };
        log::fault("no Codex tokens can be used", &problem);
        None
    }
}

/// Where one user's tokens are opened, sealed and asked for.
struct Desk<'a> {
    codex: CodexSettings,
    user_id: &'a UserId,
}

impl Desk<'_> {
    const fn provider(&self) -> &Provider {
        &self.codex.provider
    }

    fn login(&self) -> Option<DeviceLogin<'_>> {
        let login = self.provider().device_login();
        if login.is_none() {
            self.complain("nobody can sign in", "CODEX_DEVICE_URL is missing");
        }
        login
    }

    async fn ask(&self, question: &Question) -> std::result::Result<Answer, String> {
        token_client::ask(question).await.map_err(str::to_owned)
    }

    /// The secret of a seal; `None` where it doesn't open, which the operator hears of.
    fn open(&self, purpose: Purpose, sealed: &Sealed) -> Option<Secret<String>> {
        let opened = self.codex.keyring.open(self.label(purpose), sealed);
        let complain = |unreadable: &Unreadable| {
            self.complain("a stored token can't be opened", &unreadable.to_string());
        };
        opened.inspect_err(complain).ok()
    }

    fn sealed(&self, purpose: Purpose, secret: &Secret<String>) -> Sealed {
        self.codex.keyring.seal(self.label(purpose), secret, random_bytes())
    }

    fn seal(&self, tokens: &Tokens) -> TokenRecord {
        let access = self.sealed(Purpose::Access, &tokens.access);
        let refresh = self.sealed(Purpose::Refresh, &tokens.refresh);
        TokenRecord::new(access, refresh, clock::reading() + tokens.lifetime)
    }

    const fn label(&self, purpose: Purpose) -> Label<'_> {
        Label { purpose, owner: self.user_id }
    }

    async fn poll(&self, polling: &Polling) -> std::result::Result<TokenRecord, NotSignedIn> {
        let login = self.login().ok_or(NotSignedIn::Failed)?;
        let code = self.open(Purpose::DeviceCode, &polling.device_code);
        let code = code.ok_or(NotSignedIn::Expired)?;
        let answer = self.ask(&login.poll(&code, &polling.user_code)).await;
        let mut polled = match answer {
            Ok((status, body)) => login.read_poll(status, &body),
            Err(problem) => Polled::Unusable(problem),
        };
        if let Polled::Exchange(question) = &polled {
            polled = match self.ask(question).await {
                Ok((status, body)) => Polled::of_tokens(read_tokens(status, &body)),
                Err(problem) => Polled::Unusable(problem),
            };
        }
        let (outcome, answer) = match polled {
            Polled::Pending => return Err(NotSignedIn::Pending),
            Polled::SlowDown => return Err(NotSignedIn::SlowDown),
            Polled::Tokens(tokens) => ("signed_in", Ok(self.seal(&tokens))),
            Polled::Denied => ("denied", Err(NotSignedIn::Denied)),
            Polled::Expired => ("expired", Err(NotSignedIn::Expired)),
            Polled::Unusable(problem) => {
                self.complain("a sign-in can't be polled for", &problem);
                return Err(NotSignedIn::Failed);
            }
            Polled::Exchange(_) => return Err(NotSignedIn::Failed),
        };
        self.note("codex_sign_in", outcome);
        answer
    }

    fn note(&self, event: &'static str, outcome: &'static str) {
        log::event(event, &Line { user_id: self.user_id, outcome });
    }

    fn complain(&self, what: &'static str, problem: &str) {
        log::fault(what, &format!("{}: {problem}", self.user_id));
    }
}
