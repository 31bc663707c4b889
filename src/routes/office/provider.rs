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
use domain::entry::Outcome;
use domain::identifiers::UserId;
use domain::identity::bearer_of;
use domain::secret::Secret;
use domain::session::codex::AccessToken;
use domain::session::return_path::messages::{Draw, Drawn, Spent};
use domain::settings::{AuthMode, ReturnSettings, Settings};
use domain::{handle, meter, upstream_policy};
use serde::Serialize;
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, Response, ResponseInit};

use crate::context::Context;
use crate::error::{Error, Terms};
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::log;
use crate::objects::call;
use crate::reply::Reply;
use crate::settlement::{Settlement, tell};
use crate::upstream::body::{self, Body};
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
    let settings = context.settings()?;
    let to = settings.return_path.as_ref().ok_or(Error::NotFound)?;
    incoming.refuse_upgrade()?;
    body::check_size(incoming, settings.max_body_bytes)?;
    let is_codex = settings.auth_mode == AuthMode::Codex;
    let path = upstream_policy::provider_path(&incoming.path, is_codex).ok_or(Error::NotFound)?;
    let (made, credential) = draw(incoming, context, &settings).await?;
    let (mut plan, duty) = (plan(&made, to, path), duty(&made));
    let mut departure = Departure::of(&incoming.request);
    let patience = Patience::of(&settings);
    let sent = match credential {
        Credential::Key(sealed) => {
            show(&mut plan.headers, &open(&made, &sealed)?);
            (plan.body, plan.upload) = body::streamed(incoming, settings.max_body_bytes);
            exchange::send(&mut plan, patience, &mut departure).await
        }
        Credential::Token(token) => {
            // It may turn out to be dead, and the call has to be made once more then.
            (plan.body, plan.upload) = body::repeatable(incoming, settings.max_body_bytes).await?;
            let Call { context, settings, user_id, run, .. } = &made;
            let (token, show) = (Some(token), show_token);
            let payment = Payment { context, settings, user_id, request_id: run, token, show };
            codex::send(&mut plan, patience, &mut departure, payment).await
        }
    };
    respond(sent, &plan, duty, &mut departure).await
}

/// Step 1.
async fn draw<'a>(
    incoming: &'a Incoming,
    context: &'a Context,
    settings: &'a Settings,
) -> Result<(Call<'a>, Credential), Error> {
    let shown = incoming.header("authorization");
    let shown = shown.and_then(bearer_of).and_then(handle::parse);
    let shown = shown.ok_or(Error::InvalidHandle)?;
    let message = Draw { handle: shown.hash, call: incoming.request_id.clone() };
    let drawn = call(context, shown.user_id.as_str(), message).await?;
    let user_id = shown.user_id;
    let refused = match (drawn, settings.auth_mode) {
        (Drawn::Key { run, sealed }, AuthMode::OpenAi) => {
            let made = Call { incoming, context, settings, user_id, run };
            return Ok((made, Credential::Key(sealed)));
        }
        (Drawn::Token { run, token }, AuthMode::Codex) => {
            let made = Call { incoming, context, settings, user_id, run };
            return Ok((made, Credential::Token(token)));
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
    Err(refused)
}

/// Step 2, but for what pays and the body.
fn plan(made: &Call<'_>, to: &ReturnSettings, path: &str) -> Plan {
    let incoming = made.incoming;
    let mut headers = HeaderList::default();
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
        endpoint: endpoint(&incoming.method, path),
        strip_usage: false,
        model: None,
        agent: None,
    }
}

fn endpoint(method: &str, path: &str) -> meter::Endpoint {
    upstream_policy::endpoint(method, &format!("/v1{path}"))
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

/// Step 3: the duty to say how the call ended, and what hears of it.
fn duty(made: &Call<'_>) -> Settlement {
    let (settlement, ended) = Settlement::told_to(made.incoming.arrived);
    let context = made.context.clone();
    let (user_id, run) = (made.user_id.clone(), made.run.clone());
    let (call, endpoint) = (made.incoming.request_id.clone(), made.incoming.path.clone());
    made.context.wait_until(async move {
        let Ok(outcome) = ended.await else { return };
        let spent = Spent { run, call, tokens: outcome.tokens_est, source: outcome.tokens_source };
        let is_counted = tell(&context, user_id.as_str(), &spent).await;
        if is_counted.is_none() {
            log::fault("what a call cost was not told", &spent.call);
        }
        let is_counted = is_counted.unwrap_or_default();
        let Spent { run, call: request_id, .. } = &spent;
        let (user_id, endpoint, outcome) = (&user_id, endpoint.as_str(), &outcome);
        let made = Made { request_id, user_id, run, endpoint, outcome, is_counted };
        log::event("provider_call", &made);
    });
    settlement
}

async fn respond(
    sent: Result<Answer, NoAnswer>,
    plan: &Plan,
    mut duty: Settlement,
    departure: &mut Departure,
) -> Result<Reply, Error> {
    let sent = match sent {
        Ok(answer) => without_credential(answer, &plan.headers).await,
        failure => failure,
    };
    match sent {
        Ok(answer) => {
            duty.first_byte();
            relay::respond(answer, plan, duty, None, departure).await
        }
        Err(no_answer) => Ok(duty.end_unanswered(no_answer)),
    }
}

/// An error as the provider said it, but for the credential: some repeat which one they refuse, and
/// OpenClaw keeps what it is told.
async fn without_credential(answer: Answer, shown: &HeaderList) -> Result<Answer, NoAnswer> {
    let credential = shown.get("authorization").and_then(bearer_of);
    let Some(credential) = credential.filter(|_| answer.response.status() >= 400) else {
        return Ok(answer);
    };
    let told = async {
        let text = JsFuture::from(answer.response.text()?).await?;
        let text = text.as_string().unwrap_or_default().replace(credential, "[redacted]");
        let init = ResponseInit::new();
        init.set_status(answer.response.status());
        let headers = Headers::new_with_headers(&answer.response.headers())?;
        for name in ["content-length", "content-encoding"] {
            headers.delete(name)?;
        }
        init.set_headers(&headers);
        Response::new_with_opt_str_and_init(Some(&text), &init)
    };
    let response = told.await.map_err(|_: JsValue| Error::UpstreamInterrupted)?;
    Ok(Answer { response, controller: answer.controller })
}
