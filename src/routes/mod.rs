//! THE route table: every path, its methods, and who may call it.

mod caller;
mod codes;
mod cors;
mod health;
mod inference;
mod me;
mod onboarding_codex;
mod operator;
mod ready;
mod roster;

use std::panic::AssertUnwindSafe;
use std::rc::Rc;

use domain::session::messages::Repair;
use futures::FutureExt;
use matchit::Router;
use web_sys::{Request, Response};

use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::{fault, log, reply};

/// Who may call a route.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Everyone.
    Open,
    /// Users; the handler finds out who calls, and the user's object whether that is true.
    User,
    /// The operator; checked before the handler is called.
    Operator,
}

/// What answers a route.
#[derive(Clone, Copy)]
enum Handler {
    Health,
    Ready,
    Inference,
    Me,
    Claim,
    Codex,
    BeginSignIn,
    TellSignIn,
    ShowUser,
    ForgetCodexOf,
    MintKey,
    RevokeKey,
    IssueCode,
    Block,
    Unblock,
    Unbind,
    Reset,
    ImportRoster,
}

/// A row of the table.
struct Route {
    path: &'static str,
    methods: &'static [&'static str],
    access: Access,
    handler: Handler,
}

/// The methods of a path that takes any.
pub const ANY: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];
const GET: &[&str] = &["GET", "HEAD"];
const POST: &[&str] = &["POST"];
const PUT_OR_DELETE: &[&str] = &["PUT", "DELETE"];
const DELETE: &[&str] = &["DELETE"];

const fn row(
    methods: &'static [&'static str],
    path: &'static str,
    access: Access,
    handler: Handler,
) -> Route {
    Route { path, methods, access, handler }
}

const ROUTES: &[Route] = &[
    row(GET, "/health", Access::Open, Handler::Health),
    row(GET, "/ready", Access::Open, Handler::Ready),
    row(ANY, "/v1", Access::User, Handler::Inference),
    row(ANY, "/v1/", Access::User, Handler::Inference),
    row(ANY, "/v1/*path", Access::User, Handler::Inference),
    row(ANY, "/u/:user_id/v1", Access::User, Handler::Inference),
    row(ANY, "/u/:user_id/v1/", Access::User, Handler::Inference),
    row(ANY, "/u/:user_id/v1/*path", Access::User, Handler::Inference),
    row(GET, "/me", Access::User, Handler::Me),
    row(POST, "/onboarding/claim", Access::Open, Handler::Claim),
    row(PUT_OR_DELETE, "/onboarding/codex", Access::User, Handler::Codex),
    row(POST, "/onboarding/codex/device", Access::User, Handler::BeginSignIn),
    row(GET, "/onboarding/codex/device/:id", Access::User, Handler::TellSignIn),
    row(GET, "/operator/api/users/:user_id", Access::Operator, Handler::ShowUser),
    row(DELETE, "/operator/api/users/:user_id/codex", Access::Operator, Handler::ForgetCodexOf),
    row(POST, "/operator/api/users/:user_id/keys", Access::Operator, Handler::MintKey),
    row(DELETE, "/operator/api/users/:user_id/keys/:id", Access::Operator, Handler::RevokeKey),
    row(POST, "/operator/api/users/:user_id/codes", Access::Operator, Handler::IssueCode),
    row(POST, "/operator/api/users/:user_id/block", Access::Operator, Handler::Block),
    row(POST, "/operator/api/users/:user_id/unblock", Access::Operator, Handler::Unblock),
    row(POST, "/operator/api/users/:user_id/unbind", Access::Operator, Handler::Unbind),
    row(POST, "/operator/api/users/:user_id/reset", Access::Operator, Handler::Reset),
    row(POST, "/operator/api/roster", Access::Operator, Handler::ImportRoster),
];

thread_local! {
    static ROUTER: Rc<Router<&'static Route>> = Rc::new(router());
}

fn router() -> Router<&'static Route> {
    let mut router = Router::new();
    for route in ROUTES {
        if let Err(error) = router.insert(route.path, route) {
            log::fault("a route can't be used", &error.to_string());
        }
    }
    router
}

/// Answers a request: finds its row, checks who calls, and calls the handler. A panic costs this
/// request alone, and is answered too.
pub async fn answer(request: Request, env: worker::Env, events: worker::Context) -> Response {
    if health::is_asked(&request) {
        return health::answer();
    }
    let incoming = Incoming::new(request);
    let context = Context::new(env).within(events);
    let answered = AssertUnwindSafe(dispatch(&incoming, &context)).catch_unwind().await;
    let response = match answered {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => {
            log::early(&incoming, error.status(), Some(error.code()));
            reply::error(&error)
        }
        Err(_) => {
            log::fault("a request panicked", &incoming.request_id);
            reply::error(&Error::Internal)
        }
    };
    let headers = response.headers();
    reply::set(&headers, "x-request-id", &incoming.request_id);
    // What an upstream sends is never a page of this origin.
    reply::set(&headers, "x-content-type-options", "nosniff");
    reply::set(&headers, "content-security-policy", "sandbox");
    cors::decorate(&incoming, &context, &response);
    response
}

async fn dispatch(incoming: &Incoming, context: &Context) -> Result<Response, Error> {
    fault::strike(&incoming.request_id, "panic-front");
    if !incoming.is_plain {
        return Err(Error::InvalidPath);
    }
    let router = ROUTER.with(Rc::clone);
    let found = router.at(&incoming.path).map_err(|_| Error::NotFound)?;
    let Route { methods, access, handler, .. } = found.value;
    if *access == Access::Operator {
        operator::authorize(incoming, context).await?;
    }
    if incoming.method == "OPTIONS" && cors::is_allowed(incoming, context) {
        return Ok(reply::empty(204));
    }
    if !methods.contains(&incoming.method.as_str()) {
        let (method, allow) = (incoming.method.clone(), methods.join(", "));
        return Err(Error::MethodNotAllowed { method, allow });
    }
    let parameter = |name| found.params.get(name).unwrap_or_default();
    let named = Named { user_id: parameter("user_id"), id: parameter("id") };
    handle(*handler, named, incoming, context).await
}

/// What a path names: a user, and something of the user's. Empty where it names none.
struct Named<'a> {
    user_id: &'a str,
    id: &'a str,
}

async fn handle(
    handler: Handler,
    named: Named<'_>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Response, Error> {
    let Named { user_id, id } = named;
    match handler {
        // GET has been answered before; this is HEAD.
        Handler::Health => Ok(health::answer()),
        Handler::Ready => Ok(ready::answer(context).await),
        Handler::Inference => Ok(inference::answer(incoming, context).await),
        Handler::Me => me::answer(incoming, context).await,
        Handler::Codex if incoming.method == "PUT" => {
            onboarding_codex::keep(incoming, context).await
        }
        Handler::Codex => onboarding_codex::forget(incoming, context).await,
        Handler::BeginSignIn => onboarding_codex::begin(incoming, context).await,
        Handler::TellSignIn => onboarding_codex::tell(incoming, context, id).await,
        Handler::ShowUser => me::show(incoming, context, user_id).await,
        Handler::ForgetCodexOf => {
            onboarding_codex::forget_as_operator(incoming, context, user_id).await
        }
        Handler::Claim => codes::claim(incoming, context).await,
        Handler::MintKey => operator::mint_key(incoming, context, user_id).await,
        Handler::RevokeKey => operator::revoke_key(incoming, context, user_id, id).await,
        Handler::IssueCode => codes::issue(incoming, context, user_id).await,
        Handler::Block => operator::block(incoming, context, user_id).await,
        Handler::Unblock => operator::repair(incoming, context, user_id, Repair::Unblock).await,
        Handler::Unbind => operator::repair(incoming, context, user_id, Repair::Unbind).await,
        Handler::Reset => operator::repair(incoming, context, user_id, Repair::ResetWindow).await,
        Handler::ImportRoster => roster::import(incoming, context).await,
    }
}
