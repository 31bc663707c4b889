//! A request that its user's own Codex token pays for.
//!
//! The token is refreshed before the request is sent where it is about to end, and once more where
//! the upstream doesn't take it; then the request is sent once more too, if its body is at hand.

use std::pin::pin;

use domain::custody::{Label, Purpose};
use domain::identifiers::UserId;
use domain::secret::Secret;
use domain::session::codex::AccessToken;
use domain::session::codex::messages::{Fresh, FreshToken};
use domain::settings::Settings;
use futures::future::{Either, select};

use super::body::Body;
use super::departure::Departure;
use super::exchange::{self, Answer, NoAnswer, Patience};
use super::plan::Plan;
use crate::context::Context;
use crate::error::{Error, Terms};
use crate::headers::HeaderList;
use crate::log;
use crate::objects::call;

/// Who pays, and with what.
pub struct Payment<'a> {
    /// How to reach the user's object.
    pub context: &'a Context,
    /// Where the key is that opens tokens.
    pub settings: &'a Settings,
    /// Whose token it is.
    pub user_id: &'a UserId,
    /// The request that it is for.
    pub request_id: &'a str,
    /// The token, as the object gave it.
    pub token: Option<AccessToken>,
    /// How the upstream wants to be shown it.
    pub show: fn(&mut HeaderList, &Secret<String>),
}

/// Sends the request with a token that is good.
///
/// # Errors
/// [`NoAnswer`]: as of any request, or the token can't be had.
pub async fn send(
    plan: &mut Plan,
    patience: Patience,
    departure: &mut Departure,
    payment: Payment<'_>,
) -> Result<Answer, NoAnswer> {
    let token = payment.token.clone().ok_or(Error::NoCodexSession)?;
    let token = payment.renewed(token, departure).await?;
    payment.put(&token, plan)?;
    let answer = exchange::send(plan, patience, departure).await?;
    if answer.response.status() != 401 {
        return Ok(answer);
    }
    let rejected = token.version;
    match payment.fresh(Some(rejected), departure).await {
        Ok(Some(token)) if token.version != rejected && !matches!(plan.body, Body::Stream(_)) => {
            answer.controller.abort();
            payment.put(&token, plan)?;
            exchange::send(plan, patience, departure).await
        }
        // What the upstream said is all that there is to say.
        Ok(Some(_)) => Ok(answer),
        Ok(None) => {
            answer.controller.abort();
            Err(Error::TokenEndpointUnavailable.into())
        }
        Err(failure) => {
            answer.controller.abort();
            Err(failure)
        }
    }
}

impl Payment<'_> {
    /// The token itself, or its successor where it ends soon. One that can't be renewed now is used
    /// for as long as it lives.
    async fn renewed(
        &self,
        token: AccessToken,
        departure: &mut Departure,
    ) -> Result<AccessToken, NoAnswer> {
        if !token.is_due {
            return Ok(token);
        }
        match self.fresh(None, departure).await? {
            Some(fresh) => Ok(fresh),
            None if token.is_over => Err(Error::TokenEndpointUnavailable.into()),
            None => Ok(token),
        }
    }

    /// Asks the object for the freshest token; `None` where the provider couldn't be asked.
    async fn fresh(
        &self,
        rejected: Option<u64>,
        departure: &mut Departure,
    ) -> Result<Option<AccessToken>, NoAnswer> {
        let (user_id, request_id) = (self.user_id.clone(), self.request_id.to_owned());
        let message = FreshToken { user_id, request_id, rejected };
        let asked = pin!(call(self.context, self.user_id.as_str(), message));
        match select(departure, asked).await {
            Either::Left(_) => Err(NoAnswer::ClientLeft),
            Either::Right((fresh, _)) => match fresh? {
                Fresh::Token(token) => Ok(Some(token)),
                Fresh::Refused(reason) => Err(Error::refused(&reason, Terms::default()).into()),
                Fresh::Unavailable => Ok(None),
            },
        }
    }

    fn put(&self, token: &AccessToken, plan: &mut Plan) -> Result<(), Error> {
        let missing = || Error::NotConfigured("TOKEN_ENCRYPTION_KEY is missing".to_owned());
        let keyring = &self.settings.codex.as_ref().ok_or_else(missing)?.keyring;
        let label = Label { purpose: Purpose::Access, owner: self.user_id };
        let token = keyring.open(label, &token.sealed).map_err(|unreadable| {
            let detail = format!("{}: {unreadable}", self.user_id);
            log::fault("a stored token can't be opened", &detail);
            Error::CodexSessionExpired
        })?;
        (self.show)(&mut plan.headers, &token);
        Ok(())
    }
}

/// Shows a token to an agent gateway.
pub fn as_header(headers: &mut HeaderList, token: &Secret<String>) {
    headers.set("x-codex-token", token.expose());
}
