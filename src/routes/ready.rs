//! `GET /ready`: whether a request would get through. The answer is kept for 5 s.
//!
//! All upstreams are asked at once, and the default one decides. Of the others it is said with how
//! many not all is well, and the log says which: anybody may ask here, and names are the operator's.

use std::cell::RefCell;
use std::time::Duration;

use domain::clock::Millis;
use domain::openclaw_probe::{self, Probes};
use domain::settings::{AgentSettings, Settings, UpstreamKind};
use domain::upstreams::Upstream;
use futures::future::{Either, join, join_all, select};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Headers, RequestInit, RequestRedirect, Response};
use worker::Delay;

use crate::context::Context;
use crate::reply::{self, set};
use crate::upstream::exchange;
use crate::{clock, log};

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
    let database = in_time(check_database(context));
    let (d1, (upstream, is_refused)) = join(database, check_upstreams(context)).await;
    let d1 = d1.unwrap_or_else(|| Err("D1 took too long".to_owned()));
    let status = if d1.is_ok() && upstream.is_ok() { "ready" } else { "degraded" };
    let kept_for = if is_refused { KEPT_FOR_AFTER_A_REFUSAL } else { KEPT_FOR };
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

/// What is said of upstreams, and whether one of them refused the gateway.
async fn check_upstreams(context: &Context) -> (Result<String, String>, bool) {
    let settings = match context.settings() {
        Ok(settings) => settings,
        Err(error) => return (Err(error.to_string()), false),
    };
    let checks = settings.upstreams.iter().map(|upstream| check_upstream(upstream, &settings));
    let mut checks = join_all(checks).await;
    let is_refused = checks
        .iter()
        .filter_map(|check| check.as_ref().err())
        .any(|problem| problem.contains("refuses") || problem.contains("locked"));
    if settings.default_upstream().is_none() {
        return (Err("OPENCLAW_URL is missing".to_owned()), is_refused);
    }
    let default = checks.remove(0);
    let nodes = settings.upstreams.iter().skip(1).zip(&checks);
    let bad = nodes.filter(|(node, check)| is_bad(&node.name, check)).count();
    let warning =
        format!("ok, but not all is well with {bad} of {} in UPSTREAMS: see the log", checks.len());
    let is_well = default.as_ref().is_ok_and(|words| words == "ok");
    (if is_well && bad > 0 { Ok(warning) } else { default }, is_refused)
}

/// Writes into the log what is wrong with a node, for its name is nobody's but the operator's.
fn is_bad(name: &str, check: &Result<String, String>) -> bool {
    let (Ok(words) | Err(words)) = check;
    if words != "ok" {
        let words = words.replace("OPENCLAW_URL", "its url");
        let words = words.replace("OPENCLAW_GATEWAY_TOKEN", "its token");
        log::fault("an upstream needs attention", &format!("{name}: {words}"));
    }
    words != "ok"
}

async fn check_upstream(upstream: &Upstream, settings: &Settings) -> Result<String, String> {
    match &settings.upstream {
        UpstreamKind::Passthrough => {
            let answer = probe(upstream, "/v1/models", None).await;
            match answer.map(|response| response.status()) {
                None => Err("no answer from OPENCLAW_URL".to_owned()),
                Some(300..=399) => Err("OPENCLAW_URL leads elsewhere".to_owned()),
                Some(status @ 500..) => Err(format!("the upstream answers {status}")),
                Some(_) => Ok("ok".to_owned()),
            }
        }
        UpstreamKind::Agent(agent) => check_agent(upstream, agent).await,
    }
}

async fn check_agent(upstream: &Upstream, agent: &AgentSettings) -> Result<String, String> {
    let models = async { text(probe(upstream, "/v1/models", None).await?).await };
    let mut probes = Probes { models: models.await, ..Probes::default() };
    // Who was refused doesn't ask again.
    if let Some((200, list)) = &probes.models {
        let chat = probe(upstream, "/v1/chat/completions", None);
        let (chat, tools) = join(chat, list_sessions(upstream, agent, list)).await;
        probes.chat = chat.map(|response| response.status());
        probes.tools = tools;
    }
    let warning = openclaw_probe::verdict(&probes, agent)?;
    Ok(warning.map_or_else(|| "ok".to_owned(), |warning| format!("ok, but {warning}")))
}

/// Tries what an agent must not be able to do.
async fn list_sessions(
    upstream: &Upstream,
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
    text(probe(upstream, "/tools/invoke", Some(&invocation)).await?).await
}

async fn text(response: Response) -> Option<(u16, String)> {
    let text = in_time(JsFuture::from(response.text().ok()?)).await?.ok()?.as_string()?;
    Some((response.status(), text))
}

/// Asks the upstream something cheap; `None` where no answer comes in time.
async fn probe(upstream: &Upstream, path: &str, body: Option<&str>) -> Option<Response> {
    let url = format!("{}{path}", upstream.url.expose());
    let headers = Headers::new().ok()?;
    set(&headers, "accept", "application/json");
    if let Some(token) = &upstream.token {
        set(&headers, "authorization", &format!("Bearer {}", token.expose()));
    }
    if let Some(access) = &upstream.access {
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
