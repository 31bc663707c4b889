//! THE route table: every path, its methods, and who may call it.

mod caller;
mod codes;
mod cors;
mod health;
mod inference;
mod me;
mod onboarding_codex;
mod operator;
mod operator_access;
mod operator_actions;
mod operator_session;
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
use crate::routes::operator_access::Operator;
use crate::routes::operator_actions::Action;
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
    KeepCodex,
    ForgetCodex,
    BeginSignIn,
    TellSignIn,
    SignIn,
    TellSession,
    SignOut,
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

impl Handler {
    /// What the record of actions calls it; nothing where it changes nothing.
    const fn action(self) -> Option<&'static str> {
        Some(match self {
            Self::ForgetCodexOf => "forget_codex",
            Self::MintKey => "mint_key",
            Self::RevokeKey => "revoke_key",
            Self::IssueCode => "issue_code",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Unbind => "unbind",
            Self::Reset => "reset",
            Self::ImportRoster => "import_roster",
            _ => return None,
        })
    }
}

/// A row of the table: some methods of a path. Rows of one path follow each other.
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
const PUT: &[&str] = &["PUT"];
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
    row(PUT, "/onboarding/codex", Access::User, Handler::KeepCodex),
    row(DELETE, "/onboarding/codex", Access::User, Handler::ForgetCodex),
    row(POST, "/onboarding/codex/device", Access::User, Handler::BeginSignIn),
    row(GET, "/onboarding/codex/device/:id", Access::User, Handler::TellSignIn),
    row(POST, "/operator/session", Access::Open, Handler::SignIn),
    row(GET, "/operator/session", Access::Operator, Handler::TellSession),
    row(DELETE, "/operator/session", Access::Operator, Handler::SignOut),
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
    static ROUTER: Rc<Router<&'static [Route]>> = Rc::new(router());
}

fn router() -> Router<&'static [Route]> {
    let mut router = Router::new();
    for rows in ROUTES.chunk_by(|one, next| one.path == next.path) {
        let Some(Route { path, .. }) = rows.first() else { continue };
        if let Err(error) = router.insert(*path, rows) {
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
    let rows = *found.value;
    let row = rows.iter().find(|row| row.methods.contains(&incoming.method.as_str()));
    // Where the operator alone may call, nobody else learns of methods.
    let access = row.or(rows.first()).map(|row| row.access);
    let operator = match access {
        Some(Access::Operator) => Some(operator_access::authorize(incoming, context).await?),
        _ => None,
    };
    if incoming.method == "OPTIONS" && cors::is_allowed(incoming, context) {
        return Ok(reply::empty(204));
    }
    let Some(Route { handler, .. }) = row else {
        let allow = rows.iter().flat_map(|row| row.methods).copied().collect::<Vec<_>>().join(", ");
        return Err(Error::MethodNotAllowed { method: incoming.method.clone(), allow });
    };
    let parameter = |name| found.params.get(name).unwrap_or_default();
    let named = Named { user_id: parameter("user_id"), id: parameter("id"), operator: &operator };
    let response = handle(*handler, named, incoming, context).await?;
    if let (Some(Operator { name, .. }), Some(what)) = (operator, handler.action()) {
        let user_id = parameter("user_id").to_ascii_lowercase();
        operator_actions::record(incoming, context, Action { operator: name, what, user_id });
    }
    Ok(response)
}

/// What a path names: a user, and something of the user's, empty where it names none; and the
/// operator, where the route is the operator's.
struct Named<'a> {
    user_id: &'a str,
    id: &'a str,
    operator: &'a Option<Operator>,
}

async fn handle(
    handler: Handler,
    named: Named<'_>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Response, Error> {
    let Named { user_id, id, operator } = named;
    match handler {
        // GET has been answered before; this is HEAD.
        Handler::Health => Ok(health::answer()),
        Handler::Ready => Ok(ready::answer(context).await),
        Handler::Inference => Ok(inference::answer(incoming, context).await),
        Handler::Me => me::answer(incoming, context).await,
        Handler::KeepCodex => onboarding_codex::keep(incoming, context).await,
        Handler::ForgetCodex => onboarding_codex::forget(incoming, context).await,
        Handler::BeginSignIn => onboarding_codex::begin(incoming, context).await,
        Handler::TellSignIn => onboarding_codex::tell(incoming, context, id).await,
        Handler::SignIn => operator_session::begin(incoming, context).await,
        Handler::TellSession => {
            let operator = operator.as_ref().ok_or(Error::OperatorRequired)?;
            Ok(operator_session::tell(incoming, operator))
        }
        Handler::SignOut => Ok(operator_session::end(incoming)),
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
