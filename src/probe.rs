//! Looking whether D1 and an upstream are there, and what is wrong with them, in the operator's words.

use std::time::Duration;

use domain::openclaw_probe::{self, Probes};
use domain::settings::{AgentSettings, Settings, UpstreamKind};
use domain::upstreams::Upstream;
use futures::future::{Either, join, select};
use serde::Deserialize;
use serde_json::json;
use web_sys::{RequestInit, RequestRedirect, Response};
use worker::Delay;

use crate::context::Context;
use crate::headers::HeaderList;
use crate::upstream::{bounded, exchange};

const PATIENCE: Duration = Duration::from_secs(3);

/// The longest answer that is read, in bytes.
const MOST_BYTES: usize = 1024 * 1024;

/// What D1 is asked: whether it has its tables.
pub const TABLE: &str = "select 1 as found from sqlite_master where name = 'requests'";
pub const NO_TABLES: &str = "D1 has no tables: apply the migrations";
pub const UNREACHABLE: &str = "D1 can't be reached";
pub const TOO_SLOW: &str = "D1 took too long";

/// Asks D1 something cheap.
///
/// # Errors
/// What is wrong with it.
pub async fn database(context: &Context) -> Result<String, String> {
    #[derive(Deserialize)]
    struct Table {}
    let found = async { context.database()?.prepare(TABLE).first::<Table>(None).await };
    match in_time(found).await {
        Some(Ok(Some(_))) => Ok("ok".to_owned()),
        Some(Ok(None)) => Err(NO_TABLES.to_owned()),
        Some(Err(_)) => Err(UNREACHABLE.to_owned()),
        None => Err(TOO_SLOW.to_owned()),
    }
}

/// Whether what is wrong is that the upstream refuses the gateway: it is not asked again soon then.
pub fn is_refusal(problem: &str) -> bool {
    problem.contains("refuses") || problem.contains("locked")
}

/// The same words, of an upstream that isn't the one of `OPENCLAW_URL`.
pub fn of_a_node(words: &str) -> String {
    words.replace("OPENCLAW_URL", "its url").replace("OPENCLAW_GATEWAY_TOKEN", "its token")
}

/// Asks an upstream something cheap; `ok`, or `ok, but` with a warning.
///
/// # Errors
/// What keeps requests from getting through.
pub async fn upstream(upstream: &Upstream, settings: &Settings) -> Result<String, String> {
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
    let text = in_time(bounded::read(&response, MOST_BYTES)).await?.ok()?;
    Some((response.status(), String::from_utf8(text).ok()?))
}

/// Asks the upstream something cheap; `None` where no answer comes in time.
async fn probe(upstream: &Upstream, path: &str, body: Option<&str>) -> Option<Response> {
    let url = format!("{}{path}", upstream.url.expose());
    let mut headers = HeaderList::default();
    headers.set("accept", "application/json");
    if let Some(token) = &upstream.token {
        headers.set("authorization", &format!("Bearer {}", token.expose()));
    }
    if let Some(access) = &upstream.access {
        headers.set("cf-access-client-id", access.client_id.expose());
        headers.set("cf-access-client-secret", access.client_secret.expose());
    }
    let init = RequestInit::new();
    init.set_redirect(RequestRedirect::Manual);
    if let Some(body) = body {
        init.set_method("POST");
        headers.set("content-type", "application/json");
        init.set_body(&body.into());
    }
    init.set_headers(&headers.to_object());
    in_time(exchange::fetch(&url, &init)).await?.ok()
}

async fn in_time<T>(future: impl Future<Output = T>) -> Option<T> {
    match select(std::pin::pin!(future), Delay::from(PATIENCE)).await {
        Either::Left((value, _)) => Some(value),
        Either::Right(_) => None,
    }
}
