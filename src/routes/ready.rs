//! `GET /ready`: whether a request would get through. The answer is kept for 5 s.

use std::cell::RefCell;
use std::time::Duration;

use domain::clock::Millis;
use domain::openclaw_probe::{self, Probes};
use domain::settings::{AgentSettings, Settings, UpstreamKind};
use futures::future::{Either, join, select};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, RequestRedirect, Response};
use worker::Delay;

use crate::context::Context;
use crate::reply::{self, set};
use crate::{clock, upstream::exchange};

const KEPT_FOR: Millis = 5_000;
/// OpenClaw locks out, for five minutes, whoever shows it ten wrong tokens. One a minute is few
/// enough.
const KEPT_FOR_AFTER_A_REFUSAL: Millis = 60_000;
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Clone, Serialize)]
struct Readiness {
    status: &'static str,
    checks: Checks,
}

#[derive(Clone, Serialize)]
struct Checks {
    d1: String,
    upstream: String,
}

thread_local! {
    static LAST: RefCell<Option<(Millis, Readiness)>> = const { RefCell::new(None) };
}

/// 200 where everything a request needs is there, else 503; the checks say what is wrong.
pub async fn answer(context: &Context) -> Response {
    let now = clock::reading();
    let last = LAST.with_borrow(Clone::clone).filter(|(until, _)| now < *until);
    let readiness = match last {
        Some((_, readiness)) => readiness,
        None => check(context, now).await,
    };
    let status = if readiness.status == "ready" { 200 } else { 503 };
    reply::json(status, &readiness)
}

async fn check(context: &Context, now: Millis) -> Readiness {
    let (d1, upstream) = join(in_time(check_database(context)), check_upstream(context)).await;
    let d1 = d1.unwrap_or_else(|| Err("D1 took too long".to_owned()));
    let status = if d1.is_ok() && upstream.is_ok() { "ready" } else { "degraded" };
    let kept_for = match &upstream {
        Err(problem) if problem.contains("refuses") || problem.contains("locked") => {
            KEPT_FOR_AFTER_A_REFUSAL
        }
        _ => KEPT_FOR,
    };
    let words = |result: Result<String, String>| result.unwrap_or_else(|problem| problem);
    let checks = Checks { d1: words(d1), upstream: words(upstream) };
    let readiness = Readiness { status, checks };
    LAST.set(Some((now + kept_for, readiness.clone())));
    readiness
}

async fn check_database(context: &Context) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Table {}
    let query = "select 1 from sqlite_master where name = 'requests'";
    let found = async { context.database()?.prepare(query).first::<Table>(None).await };
    match found.await {
        Ok(Some(_)) => Ok("ok".to_owned()),
        Ok(None) => Err("D1 has no tables: apply the migrations".to_owned()),
        Err(_) => Err("D1 can't be reached".to_owned()),
    }
}

async fn check_upstream(context: &Context) -> Result<String, String> {
    let settings = context.settings().map_err(|error| error.to_string())?;
    match &settings.upstream {
        UpstreamKind::Passthrough => {
            let answer = probe(&settings, "/v1/models", None, None).await;
            match answer.map(|response| response.status()) {
                None => Err("no answer from OPENCLAW_URL".to_owned()),
                Some(300..=399) => Err("OPENCLAW_URL leads elsewhere".to_owned()),
                Some(status @ 500..) => Err(format!("the upstream answers {status}")),
                Some(_) => Ok("ok".to_owned()),
            }
        }
        UpstreamKind::Agent(agent) => check_agent(&settings, agent).await,
    }
}

async fn check_agent(settings: &Settings, agent: &AgentSettings) -> Result<String, String> {
    let models = async { text(probe(settings, "/v1/models", Some(agent), None).await?).await };
    let mut probes = Probes { models: models.await, ..Probes::default() };
    // Who was refused doesn't ask again.
    if let Some((200, list)) = &probes.models {
        let chat = probe(settings, "/v1/chat/completions", Some(agent), None);
        let (chat, tools) = join(chat, list_sessions(settings, agent, list)).await;
        probes.chat = chat.map(|response| response.status());
        probes.tools = tools;
    }
    let warning = openclaw_probe::verdict(&probes, agent)?;
    Ok(warning.map_or_else(|| "ok".to_owned(), |warning| format!("ok, but {warning}")))
}

/// Tries what an agent must not be able to do.
async fn list_sessions(
    settings: &Settings,
    agent: &AgentSettings,
    list: &str,
) -> Option<(u16, String)> {
    let mut invocation = json!({"tool": "sessions_list", "args": {"limit": 1}});
    if let Some(asked) = openclaw_probe::agent_to_ask(list, &agent.model)
        && let Some(fields) = invocation.as_object_mut()
    {
        fields.insert("agentId".to_owned(), asked.into());
    }
    let invocation = invocation.to_string();
    text(probe(settings, "/tools/invoke", Some(agent), Some(&invocation)).await?).await
}

async fn text(response: Response) -> Option<(u16, String)> {
    let text = in_time(JsFuture::from(response.text().ok()?)).await?.ok()?.as_string()?;
    Some((response.status(), text))
}

/// Asks the upstream something cheap; `None` where no answer comes in time.
async fn probe(
    settings: &Settings,
    path: &str,
    agent: Option<&AgentSettings>,
    body: Option<&str>,
) -> Option<Response> {
    let url = format!("{}{path}", settings.upstream_url.as_ref()?.expose());
    let headers = Headers::new().ok()?;
    set(&headers, "accept", "application/json");
    if let Some(agent) = agent {
        set(&headers, "authorization", &format!("Bearer {}", agent.token.expose()));
    }
    if let Some(access) = &settings.upstream_access {
        set(&headers, "cf-access-client-id", access.client_id.expose());
        set(&headers, "cf-access-client-secret", access.client_secret.expose());
    }
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    if let Some(body) = body {
        init.set_method("POST");
        set(&headers, "content-type", "application/json");
        init.set_body(&body.into());
    }
    init.set_headers(&headers);
    in_time(exchange::fetch(&url, &init)).await?.ok()
}

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(future), Delay::from(PATIENCE)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
