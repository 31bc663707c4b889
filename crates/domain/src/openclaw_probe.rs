//! What a real OpenClaw's answers to a few cheap requests say of its settings.
//!
//! The answers were measured on OpenClaw 2026.9.6; docs/openclaw.md lists them.

use serde::Deserialize;

use crate::settings::AgentSettings;

/// The answers; `None` where none came.
#[derive(Clone, Debug, Default)]
pub struct Probes {
    /// `GET /v1/models` with the token: status and body.
    pub models: Option<(u16, String)>,
    /// `GET /v1/chat/completions`: the status.
    pub chat: Option<u16>,
    /// `POST /tools/invoke` for the list of sessions: status and body.
    pub tools: Option<(u16, String)>,
}

#[derive(Deserialize)]
struct ModelList {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// The agent to name in a tool's invocation: OpenClaw wants one where it has several.
#[must_use]
pub fn agent_to_ask(models: &str, model: &str) -> Option<String> {
    let list: ModelList = serde_json::from_str(models).ok()?;
    let agents: Vec<_> = list.data.iter().filter_map(|model| agent_of(&model.id)).collect();
    let named = agent_of(model).filter(|named| agents.contains(named));
    let asked = named.or_else(|| agents.first().copied())?;
    (agents.len() > 1).then(|| asked.to_owned())
}

/// The agent that a model's name stands for, if it names one.
fn agent_of(model: &str) -> Option<&str> {
    model.strip_prefix("openclaw/").filter(|agent| *agent != "default")
}

/// What is wrong, in the operator's words; `Ok` with a warning, or with nothing.
///
/// # Errors
/// What keeps requests from getting through.
pub fn verdict(probes: &Probes, agent: &AgentSettings) -> Result<Option<&'static str>, String> {
    let Some((status, body)) = &probes.models else {
        return Err("no answer from OPENCLAW_URL".to_owned());
    };
    let problem = match status {
        200 => return check_models(body, probes, agent),
        300..=399 => "OPENCLAW_URL leads elsewhere, perhaps to a login page".to_owned(),
        401 => "OpenClaw refuses OPENCLAW_GATEWAY_TOKEN".to_owned(),
        403 if body.contains("proxy_attribution_required") => {
            "a proxy in front of OpenClaw adds X-Forwarded headers: set gateway.trustedProxies in \
             openclaw.json to its address"
                .to_owned()
        }
        404 => "OpenClaw's endpoints are off: set gateway.http.endpoints.chatCompletions.enabled \
                in openclaw.json"
            .to_owned(),
        429 => {
            "OpenClaw has locked the gateway out after wrong tokens: wait five minutes".to_owned()
        }
        other => format!("OpenClaw answers {other}"),
    };
    Err(problem)
}

fn check_models(
    body: &str,
    probes: &Probes,
    agent: &AgentSettings,
) -> Result<Option<&'static str>, String> {
    let Ok(models) = serde_json::from_str::<ModelList>(body) else {
        return Err("what answers at OPENCLAW_URL isn't an OpenClaw".to_owned());
    };
    if probes.chat == Some(404) {
        return Err("OpenClaw's chat endpoint is off: set \
                    gateway.http.endpoints.chatCompletions.enabled in openclaw.json"
            .to_owned());
    }
    let is_shared = !agent.model.contains("{user}");
    let is_default = matches!(agent.model.as_str(), "openclaw" | "openclaw/default");
    if is_shared && !models.data.iter().any(|model| model.id == agent.model) {
        return Err("OpenClaw has no agent of the name in OPENCLAW_MODEL".to_owned());
    }
    if is_default && models.data.iter().filter_map(|model| agent_of(&model.id)).count() > 1 {
        return Err("OpenClaw has several agents: name one in OPENCLAW_MODEL".to_owned());
    }
    // An agent that sees its own sessions alone gives nothing away.
    let is_open = probes
        .tools
        .as_ref()
        .is_some_and(|(status, body)| *status == 200 && !body.contains(r#""mode":"self""#));
    Ok(is_open.then_some(
        "OpenClaw's tools are on, so one user's agent can read the others' conversations: set \
         tools.deny to [\"*\"] in openclaw.json",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;

    fn agent(model: &str) -> AgentSettings {
        AgentSettings {
            token: Secret::new(String::new()),
            session_key_secret: Secret::new(String::new()),
            model: model.to_owned(),
            models: Vec::new(),
        }
    }

    fn judge(
        model: &str,
        status: u16,
        body: &str,
        tools: u16,
    ) -> Result<Option<&'static str>, String> {
        let models = Some((status, body.to_owned()));
        verdict(
            &Probes { models, chat: Some(405), tools: Some((tools, r#"{"ok":true}"#.to_owned())) },
            &agent(model),
        )
    }

    const LIST: &str = r#"{"object":"list","data":[{"id":"openclaw"},{"id":"openclaw/default"},{"id":"openclaw/main"}]}"#;

    #[test]
    fn each_answer_says_what_to_do() {
        let says = |status, body, words: &str| {
            let verdict = judge("openclaw/default", status, body, 404).unwrap_err();
            assert!(verdict.contains(words), "{verdict}");
        };
        says(401, "", "OPENCLAW_GATEWAY_TOKEN");
        says(403, r#"{"error":{"type":"proxy_attribution_required"}}"#, "trustedProxies");
        says(403, "", "403");
        says(404, "Not Found", "endpoints");
        says(429, "", "five minutes");
        says(302, "", "login");
        says(200, "<html>", "isn't an OpenClaw");
        says(200, r#"{"data":[]}"#, "OPENCLAW_MODEL");
        let two = LIST.replace("]}", r#",{"id":"openclaw/other"}]}"#);
        says(200, &two, "several agents");
        let silence = verdict(&Probes::default(), &agent("openclaw")).unwrap_err();
        assert!(silence.contains("no answer"));
    }

    #[test]
    fn a_good_one_passes_and_open_tools_are_warned_of() {
        assert_eq!(judge("openclaw/default", 200, LIST, 404), Ok(None));
        assert_eq!(judge("openclaw/u-{user}", 200, LIST, 404), Ok(None));
        let warning = judge("openclaw/main", 200, LIST, 200).unwrap().unwrap();
        assert!(warning.contains("tools.deny"));
    }

    #[test]
    fn an_agent_is_named_only_where_there_are_several() {
        assert_eq!(agent_to_ask(LIST, "openclaw/default"), None);
        let two = LIST.replace("]}", r#",{"id":"openclaw/u-ada"}]}"#);
        assert_eq!(agent_to_ask(&two, "openclaw/u-{user}").as_deref(), Some("main"));
        assert_eq!(agent_to_ask(&two, "openclaw/u-ada").as_deref(), Some("u-ada"));
        assert_eq!(agent_to_ask("<html>", "openclaw"), None);
    }
}
