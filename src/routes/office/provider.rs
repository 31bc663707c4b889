//! `ANY /return/v1/*`: OpenClaw calls a model's provider, with a user's handle in the place of a key.
//!
//! 1. Whose handle it is, and whether a run of that user's is in progress: the user's object says, and
//!    gives what pays for it.
//! 2. The call goes to the provider with that, and streams both ways.
//! 3. Its end tells the object what it cost, in `wait_until`.
//!
//! It is the office's although each run comes here: the hot path of those who don't use it stays as
//! small as it was.

use domain::codex_account;
use domain::custody::{Label, Purpose, Sealed};
use domain::endpoint::Endpoint;
use domain::entry::Outcome;
use domain::gateway_key::ShownKey;
use domain::identifiers::UserId;
use domain::identity::bearer_of;
use domain::secret::Secret;
use domain::session::codex::AccessToken;
use domain::session::return_path::messages::{Draw, Drawn, Spent};
use domain::settings::{AuthMode, ReturnSettings, Settings};
use domain::upstreams::STREAM_IDLE_MS;
use domain::{handle, upstream_policy};
use futures::channel::oneshot;
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Terms};
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::log;
use crate::objects::call;
use crate::reply::Reply;
use crate::settlement::{Settlement, client_left, failed, tell};
use crate::upstream::body::{self, Body, Upload};
use crate::upstream::codex::{self, Payment};
use crate::upstream::departure::Departure;
use crate::upstream::exchange::{self, Answer, NoAnswer, Patience};
use crate::upstream::plan::Plan;
use crate::upstream::relay;

/// A call that may be made.
struct Call<'a> {
    incoming: &'a Incoming,
    context: &'a Context,
    settings: &'a Settings,
    /// Whose handle it came with.
    user_id: UserId,
    /// The request whose run it belongs to.
    run: String,
}

/// What pays for it.
enum Credential {
    Key(Sealed),
    Token(AccessToken),
}

/// A line for the operator about a call that nobody pays for.
#[derive(Serialize)]
struct Refused<'a> {
    request_id: &'a str,
    user_id: &'a UserId,
    reason: &'static str,
}

/// The line of a call that was made.
#[derive(Serialize)]
struct Made<'a> {
    request_id: &'a str,
    user_id: &'a UserId,
    run: &'a str,
    endpoint: &'a str,
    #[serde(flatten)]
    outcome: &'a Outcome,
    /// Whether its run's row has what it cost.
    is_counted: bool,
}

/// Answers a call.
///
/// # Errors
/// [`Error::NotFound`] where the way back is closed; [`Error::InvalidHandle`], [`Error::NoRunInProgress`],
/// or what the user's object says of its token.
pub async fn answer(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    incoming.refuse_upgrade()?;
    let settings = context.settings()?;
    let to = settings.return_path.as_ref().ok_or(Error::NotFound)?;
    body::check_size(incoming, settings.max_body_bytes)?;
    let is_codex = settings.auth_mode == AuthMode::Codex;
    let path = upstream_policy::provider_path(&incoming.method, &incoming.path, is_codex)
        .ok_or(Error::NotFound)?;
    let (made, credential, duty) = draw(incoming, context, &settings).await?;
    let mut plan = plan(&made, to, path);
    let mut departure = Departure::of(&incoming.request);
    let sent = send(&made, &mut plan, credential, &mut departure).await;
    respond(sent, &plan, duty, &mut departure).await
}

/// Step 1, with the duty to say how the call ends.
async fn draw<'a>(
    incoming: &'a Incoming,
    context: &'a Context,
    settings: &'a Settings,
) -> Result<(Call<'a>, Credential, Settlement), Error> {
    let shown = incoming.header("authorization");
    let shown = shown.and_then(bearer_of).and_then(handle::parse);
    let ShownKey { user_id, hash } = shown.ok_or(Error::InvalidHandle)?;
    let message = Draw { handle: hash, call: incoming.request_id.clone() };
    let (duty, ended) = Settlement::told_to(incoming.arrived);
    let (tell, told) = oneshot::channel();
    // In `wait_until`: should OpenClaw leave while the object answers, what is drawn is given back.
    let (endpoint, context_of_task) = (incoming.path.clone(), context.clone());
    let task = see_to_the_end(context_of_task, user_id.clone(), endpoint, message, tell, ended);
    context.wait_until(task);
    let drawn = told.await.map_err(|_| Error::Internal)??;
    let refused = match (drawn, settings.auth_mode) {
        (Drawn::Key { run, sealed }, AuthMode::OpenAi) => {
            let made = Call { incoming, context, settings, user_id, run };
            return Ok((made, Credential::Key(sealed), duty));
        }
        (Drawn::Token { run, token }, AuthMode::Codex) => {
            let made = Call { incoming, context, settings, user_id, run };
            return Ok((made, Credential::Token(token), duty));
        }
        (Drawn::Refused(reason), _) => Error::refused(&reason, Terms::default()),
        (Drawn::UnknownHandle, _) => Error::InvalidHandle,
        // A run that began under the other mode is paid for with what this provider doesn't take.
        (Drawn::NoRun | Drawn::Key { .. } | Drawn::Token { .. }, _) => {
            Error::NoRunInProgress { user_id: user_id.clone() }
        }
    };
    let (request_id, reason) = (incoming.request_id.as_str(), refused.code());
    log::event("return_refused", &Refused { request_id, user_id: &user_id, reason });
    duty.end(failed(&refused));
    Err(refused)
}

/// Asks the object, and tells it how the call ended that it allowed.
async fn see_to_the_end(
    context: Context,
    user_id: UserId,
    endpoint: String,
    message: Draw,
    tell_of: oneshot::Sender<Result<Drawn, Error>>,
    ended: oneshot::Receiver<Outcome>,
) {
    let request_id = message.call.clone();
    let drawn = call(&context, user_id.as_str(), message).await;
    let run = match &drawn {
        Ok(Drawn::Key { run, .. } | Drawn::Token { run, .. }) => Some(run.clone()),
        _ => None,
    };
    let is_heard = tell_of.send(drawn).is_ok();
    let Some(run) = run else { return };
    let outcome = if is_heard { ended.await.ok() } else { None }.unwrap_or_else(client_left);
    let (tokens, source) = (outcome.tokens_est, outcome.tokens_source);
    let spent = Spent { run, call: request_id, tokens, source };
    let is_counted = tell(&context, user_id.as_str(), &spent).await;
    if is_counted.is_none() {
        log::fault("what a call cost was not told", &spent.call);
    }
    let is_counted = is_counted.unwrap_or_default();
    let Spent { run, call: request_id, .. } = &spent;
    let (user_id, endpoint, outcome) = (&user_id, endpoint.as_str(), &outcome);
    let made = Made { request_id, user_id, run, endpoint, outcome, is_counted };
    log::event("provider_call", &made);
}

/// Step 2.
async fn send(
    made: &Call<'_>,
    plan: &mut Plan,
    credential: Credential,
    departure: &mut Departure,
) -> Result<Answer, NoAnswer> {
    let Call { incoming, context, settings, user_id, run } = made;
    let patience = Patience::of(settings);
    match credential {
        Credential::Key(sealed) => {
            show(&mut plan.headers, &open(made, &sealed)?);
            plan.pass_on(Upload::open(incoming, patience.body));
            exchange::send(plan, patience, departure).await
        }
        Credential::Token(token) => {
            // It may turn out to be dead, and the call has to be made once more then.
            plan.keep(incoming, patience.body).await?;
            let (token, show) = (Some(token), show_token);
            let payment = Payment { context, settings, user_id, request_id: run, token, show };
            codex::send(plan, patience, departure, payment).await
        }
    }
}

/// What is sent, but for what pays and the body.
fn plan(made: &Call<'_>, to: &ReturnSettings, path: &str) -> Plan {
    let incoming = made.incoming;
    let mut headers = HeaderList::default();
    headers.set("accept-encoding", "identity");
    for (name, value) in incoming.headers.iter() {
        if upstream_policy::forwards_to_provider(name) {
            headers.set(name, value);
        }
    }
    Plan {
        url: format!("{}{path}{}", to.provider_url, incoming.query),
        method: incoming.method.clone(),
        headers,
        body: Body::Empty,
        upload: None,
        endpoint: Endpoint::of(&incoming.method, &format!("/v1{path}")),
        stream_idle_ms: STREAM_IDLE_MS,
        strip_usage: false,
        model: None,
        agent: None,
    }
}

/// The key that pays.
fn open(made: &Call<'_>, sealed: &Sealed) -> Result<Secret<String>, Error> {
    let missing = || Error::NotConfigured("TOKEN_ENCRYPTION_KEY is missing".to_owned());
    let keyring = &made.settings.codex.as_ref().ok_or_else(missing)?.keyring;
    let label = Label { purpose: Purpose::RunKey, owner: &made.user_id };
    keyring.open(label, sealed).map_err(|unreadable| {
        let detail = format!("{}: {unreadable}", made.user_id);
        log::fault("the key of a run can't be opened", &detail);
        Error::NoRunInProgress { user_id: made.user_id.clone() }
    })
}

fn show(headers: &mut HeaderList, credential: &Secret<String>) {
    headers.set("authorization", &format!("Bearer {}", credential.expose()));
}

/// Shows a token the way in which the provider's own programs do.
fn show_token(headers: &mut HeaderList, token: &Secret<String>) {
    show(headers, token);
    if let Some(account) = codex_account::account_id(token.expose()) {
        headers.set("chatgpt-account-id", &account);
    }
    for (name, value) in [("openai-beta", "responses=experimental"), ("originator", "openclaw")] {
        if headers.get(name).is_none() {
            headers.set(name, value);
        }
    }
}

/// Step 3.
async fn respond(
    sent: Result<Answer, NoAnswer>,
    plan: &Plan,
    mut duty: Settlement,
    departure: &mut Departure,
) -> Result<Reply, Error> {
    match sent {
        Ok(answer) => {
            duty.first_byte();
            relay::respond(answer, plan, duty, None, departure).await
        }
        Err(NoAnswer::Failed(error)) => {
            Ok(duty.end_unanswered(NoAnswer::Failed(error.of_the_provider())))
        }
        Err(left) => Ok(duty.end_unanswered(left)),
    }
}
