//! The routes of the module that is loaded when one of them is first asked for: people's own state and
//! sign-ins, and all that is the operator's.

mod active;
mod codes;
mod console;
mod export;
mod farewell;
mod handles;
mod kits;
mod me;
mod metrics;
mod onboarding_codex;
mod openapi;
mod operator;
mod operator_access;
mod operator_actions;
mod operator_session;
mod overview;
mod provider;
mod ready;
mod records;
mod roster;
mod stripe;
mod upgrade;
mod users;

use domain::session::messages::Repair;

pub use self::console::policy;
pub use self::operator_access::Operator;
use self::operator_actions::Action;
use super::{ANY, Access, GET, Handler, Named, Route};
use crate::context::Context;
use crate::error::Error;
use crate::incoming::Incoming;
use crate::reply::Reply;

/// What answers a route.
#[derive(Clone, Copy)]
pub enum Task {
    Ready,
    CallProvider,
    Me,
    Claim,
    KeepCodex,
    ForgetCodex,
    BeginSignIn,
    TellSignIn,
    Upgrade,
    HearStripe,
    SignIn,
    TellSession,
    SignOut,
    Metrics,
    Overview,
    ListUsers,
    ListNotes,
    ResolveNote,
    ListActions,
    Export,
    ListActive,
    Describe,
    ShowConsole,
    ShowConsoleFile,
    ShowUser,
    ForgetUser,
    ForgetCodexOf,
    MintKey,
    RevokeKey,
    MintHandle,
    VoidHandle,
    IssueCode,
    Block,
    Unblock,
    Unbind,
    Reset,
    Flush,
    SetTier,
    RemoveProject,
    Assign,
    ImportRoster,
    HandOutKit,
    KeepKit,
    WithdrawKit,
}

impl Task {
    /// What the record of actions calls it; nothing where it changes nothing.
    const fn action(self) -> Option<&'static str> {
        Some(match self {
            Self::ForgetUser => "forget",
            Self::ForgetCodexOf => "forget_codex",
            Self::MintKey => "mint_key",
            Self::RevokeKey => "revoke_key",
            Self::MintHandle => "mint_handle",
            Self::VoidHandle => "void_handle",
            Self::IssueCode => "issue_code",
            Self::Block => "block",
            Self::Unblock => "unblock",
            Self::Unbind => "unbind",
            Self::Reset => "reset",
            Self::Flush => "flush",
            Self::ResolveNote => "resolve_note",
            Self::SetTier => "set_tier",
            Self::RemoveProject => "remove_project",
            Self::Assign => "assign_upstream",
            Self::ImportRoster => "import_roster",
            Self::KeepKit => "keep_kit",
            Self::WithdrawKit => "withdraw_kit",
            _ => return None,
        })
    }
}

const POST: &[&str] = &["POST"];
const PUT: &[&str] = &["PUT"];
const DELETE: &[&str] = &["DELETE"];

const fn row(
    methods: &'static [&'static str],
    path: &'static str,
    access: Access,
    task: Task,
) -> Route {
    super::row(methods, path, access, Handler::Office(task))
}

pub const ROUTES: &[Route] = &[
    row(GET, "/ready", Access::Open, Task::Ready),
    row(ANY, "/return/v1/*path", Access::Open, Task::CallProvider),
    row(GET, "/me", Access::User, Task::Me),
    row(POST, "/onboarding/claim", Access::Open, Task::Claim),
    row(PUT, "/onboarding/codex", Access::User, Task::KeepCodex),
    row(DELETE, "/onboarding/codex", Access::User, Task::ForgetCodex),
    row(POST, "/onboarding/codex/device", Access::User, Task::BeginSignIn),
    row(GET, "/onboarding/codex/device/:id", Access::User, Task::TellSignIn),
    row(GET, "/upgrade", Access::User, Task::Upgrade),
    row(POST, "/webhook/stripe", Access::Open, Task::HearStripe),
    row(GET, "/kit/:id", Access::Open, Task::HandOutKit),
    row(GET, "/operator", Access::Open, Task::ShowConsole),
    row(GET, "/operator/assets/:id", Access::Open, Task::ShowConsoleFile),
    row(POST, "/operator/session", Access::Open, Task::SignIn),
    row(GET, "/operator/session", Access::Operator, Task::TellSession),
    row(DELETE, "/operator/session", Access::Operator, Task::SignOut),
    row(GET, "/operator/metrics", Access::Operator, Task::Metrics),
    row(GET, "/operator/api/overview", Access::Operator, Task::Overview),
    row(GET, "/operator/api/notes", Access::Operator, Task::ListNotes),
    row(POST, "/operator/api/notes/resolve", Access::Operator, Task::ResolveNote),
    row(GET, "/operator/api/actions", Access::Operator, Task::ListActions),
    row(GET, "/operator/api/export", Access::Operator, Task::Export),
    row(GET, "/operator/api/active", Access::Operator, Task::ListActive),
    row(GET, "/operator/openapi.yaml", Access::Operator, Task::Describe),
    row(GET, "/operator/api/users", Access::Operator, Task::ListUsers),
    row(GET, "/operator/api/users/:user_id", Access::Operator, Task::ShowUser),
    row(DELETE, "/operator/api/users/:user_id", Access::Operator, Task::ForgetUser),
    row(DELETE, "/operator/api/users/:user_id/codex", Access::Operator, Task::ForgetCodexOf),
    row(POST, "/operator/api/users/:user_id/keys", Access::Operator, Task::MintKey),
    row(DELETE, "/operator/api/users/:user_id/keys/:id", Access::Operator, Task::RevokeKey),
    row(POST, "/operator/api/users/:user_id/handle", Access::Operator, Task::MintHandle),
    row(DELETE, "/operator/api/users/:user_id/handle", Access::Operator, Task::VoidHandle),
    row(POST, "/operator/api/users/:user_id/codes", Access::Operator, Task::IssueCode),
    row(POST, "/operator/api/users/:user_id/block", Access::Operator, Task::Block),
    row(POST, "/operator/api/users/:user_id/unblock", Access::Operator, Task::Unblock),
    row(POST, "/operator/api/users/:user_id/unbind", Access::Operator, Task::Unbind),
    row(POST, "/operator/api/users/:user_id/reset", Access::Operator, Task::Reset),
    row(POST, "/operator/api/users/:user_id/flush", Access::Operator, Task::Flush),
    row(PUT, "/operator/api/users/:user_id/tier", Access::Operator, Task::SetTier),
    row(DELETE, "/operator/api/users/:user_id/projects/:id", Access::Operator, Task::RemoveProject),
    row(PUT, "/operator/api/users/:user_id/upstream", Access::Operator, Task::Assign),
    row(POST, "/operator/api/roster", Access::Operator, Task::ImportRoster),
    row(PUT, "/operator/api/kits/:id", Access::Operator, Task::KeepKit),
    row(DELETE, "/operator/api/kits/:id", Access::Operator, Task::WithdrawKit),
];

/// Finds out who the operator is, where a row is the operator's.
pub async fn authorize(
    row: Option<&Route>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Option<Operator>, Error> {
    if row.is_none_or(|row| row.access != Access::Operator) {
        return Ok(None);
    }
    operator_access::authorize(incoming, context).await.map(Some)
}

/// Answers, and records what the operator did; also where nobody knows whether it was done.
pub async fn handle(
    task: Task,
    named: Named<'_>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Reply, Error> {
    let response = respond(task, &named, incoming, context).await;
    let may_be_done = matches!(response, Ok(_) | Err(Error::Internal));
    if may_be_done && let (Some(operator), Some(what)) = (named.operator, task.action()) {
        let operator = operator.name.clone();
        // Of whom nothing is to be left, the record says nothing either.
        let is_forgotten = matches!(task, Task::ForgetUser);
        let whom = incoming.whom.get().map_or(named.user_id, String::as_str);
        let user_id = if is_forgotten { "" } else { whom }.to_ascii_lowercase();
        operator_actions::record(incoming, context, Action { operator, what, user_id }).await;
    }
    response
}

async fn respond(
    task: Task,
    named: &Named<'_>,
    incoming: &Incoming,
    context: &Context,
) -> Result<Reply, Error> {
    let Named { user_id, id, .. } = *named;
    match task {
        Task::CallProvider => provider::answer(incoming, context).await,
        Task::Ready => Ok(ready::answer(incoming, context).await),
        Task::Me => me::answer(incoming, context).await,
        Task::KeepCodex => onboarding_codex::keep(incoming, context).await,
        Task::ForgetCodex => onboarding_codex::forget(incoming, context).await,
        Task::BeginSignIn => onboarding_codex::begin(incoming, context).await,
        Task::TellSignIn => onboarding_codex::tell(incoming, context, id).await,
        Task::Upgrade => upgrade::answer(incoming, context).await,
        Task::HearStripe => stripe::receive(incoming, context).await,
        Task::SignIn => operator_session::begin(incoming, context).await,
        Task::TellSession => {
            let operator = named.operator.ok_or(Error::OperatorRequired)?;
            Ok(operator_session::tell(incoming, operator))
        }
        Task::ShowConsole => console::show(incoming, context, console::PAGE).await,
        Task::ShowConsoleFile => console::show(incoming, context, id).await,
        Task::SignOut => operator_session::end(incoming, context).await,
        Task::Metrics => metrics::answer(incoming, context).await,
        Task::Overview => overview::answer(incoming, context).await,
        Task::ListUsers => users::list(incoming, context).await,
        Task::ListNotes => records::notes(incoming, context).await,
        Task::ResolveNote => records::resolve(incoming, context).await,
        Task::ListActions => records::actions(incoming, context).await,
        Task::Describe => Ok(openapi::answer(incoming)),
        Task::Export => export::answer(incoming, context).await,
        Task::ListActive => active::answer(incoming, context).await,
        Task::ShowUser => me::show(incoming, context, user_id).await,
        Task::ForgetUser => farewell::forget(incoming, context, user_id).await,
        Task::ForgetCodexOf => {
            onboarding_codex::forget_as_operator(incoming, context, user_id).await
        }
        Task::Claim => codes::claim(incoming, context).await,
        Task::MintKey => operator::mint_key(incoming, context, user_id).await,
        Task::RevokeKey => operator::revoke_key(incoming, context, user_id, id).await,
        Task::MintHandle => handles::mint(incoming, context, user_id).await,
        Task::VoidHandle => handles::void(incoming, context, user_id).await,
        Task::IssueCode => codes::issue(incoming, context, user_id).await,
        Task::Block => operator::block(incoming, context, user_id).await,
        Task::Unblock => operator::repair(incoming, context, user_id, Repair::Unblock).await,
        Task::Unbind => operator::repair(incoming, context, user_id, Repair::Unbind).await,
        Task::Reset => operator::repair(incoming, context, user_id, Repair::ResetWindow).await,
        Task::Flush => operator::flush(incoming, context, user_id).await,
        Task::SetTier => operator::set_tier(incoming, context, user_id).await,
        Task::RemoveProject => operator::remove_project(incoming, context, user_id, id).await,
        Task::Assign => operator::assign(incoming, context, user_id).await,
        Task::ImportRoster => roster::import(incoming, context).await,
        Task::HandOutKit => kits::hand_out(incoming, context, id).await,
        Task::KeepKit => kits::keep(incoming, context, id).await,
        Task::WithdrawKit => kits::withdraw(incoming, context, id).await,
    }
}
