//! What is sent upstream for a caller: everything that can be decided before admission.

use domain::agent_body::{self, ModelChoice};
use domain::custody::{Label, Purpose};
use domain::endpoint::{Endpoint, Protocol};
use domain::identity::Caller;
use domain::session::return_path::messages::Funds;
use domain::settings::{AgentSettings, AuthMode, Settings, UpstreamKind};
use domain::upstreams::Upstream;
use domain::{chat_body, keyed_hash, upstream_policy};
use futures::channel::oneshot;
use js_sys::Uint8Array;

use super::body::{self, Body, UploadFailure};
use crate::context::random_bytes;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::reply::Reply;

const OWN_KEY_MISSING: Error = Error::MissingKey(
    "Your own API key is missing. Send it as `Authorization: Bearer sk-…` or x-api-key. If you have a \
     gateway key too, send both in one: `ogk_…:sk-…`.",
);

/// A request of the gateway's paths, its caller known but not yet proven.
pub struct Asked<'a> {
    /// The request itself.
    pub incoming: &'a Incoming,
    /// Who asks.
    pub caller: Caller,
    /// The path upstream, beginning with `/v1`.
    pub path: String,
    /// `X-Project-ID`, or `default`.
    pub project: String,
    /// `X-Conversation-ID`.
    pub conversation: Option<String>,
}

/// What to send.
pub struct Plan {
    /// Where to: path and query, until [`Plan::address`] puts the upstream before them.
    pub url: String,
    /// How.
    pub method: String,
    /// With which headers.
    pub headers: HeaderList,
    /// With which body.
    pub body: Body,
    /// Tells of an upload that can't go on.
    pub upload: Option<oneshot::Receiver<UploadFailure>>,
    /// What it is that is asked for.
    pub endpoint: Endpoint,
    /// Whether the answer's usage chunk is the gateway's own wish.
    pub strip_usage: bool,
    /// The model, for the log.
    pub model: Option<String>,
    /// What a real OpenClaw needs besides.
    pub agent: Option<AgentPlan>,
}

/// What only a real OpenClaw is told.
pub struct AgentPlan {
    /// The session of this conversation, unless an earlier answer is continued.
    pub session_key: String,
    /// The answer to continue from.
    pub previous_response_id: Option<String>,
    /// What pays for the run, where OpenClaw comes back for it.
    pub funds: Option<Funds>,
    /// The models that the caller may see, where the request lists them.
    pub visible_models: Option<Vec<String>>,
}

impl Plan {
    /// Makes the plan, reading the body where that is needed.
    ///
    /// # Errors
    /// What contract and upstream don't allow: a missing key, an unknown model, a bad body.
    pub async fn make(asked: &Asked<'_>, settings: &Settings) -> Result<Self, Error> {
        let incoming = asked.incoming;
        if settings.upstreams.is_empty() {
            return Err(Error::no_upstream());
        }
        let method = incoming.method.as_str();
        let mut plan = Self {
            url: format!("{}{}", asked.path, incoming.query),
            method: method.to_owned(),
            headers: forwarded_headers(incoming),
            body: Body::Empty,
            upload: None,
            endpoint: Endpoint::of(method, &asked.path),
            strip_usage: false,
            model: None,
            agent: None,
        };
        plan.headers.set("x-request-id", &incoming.request_id);
        match &settings.upstream {
            UpstreamKind::Passthrough => plan.pass_through(asked, settings).await?,
            UpstreamKind::Agent(agent) => plan.address_agent(asked, settings, agent).await?,
        }
        if !matches!(plan.body, Body::Stream(_)) {
            // What the client declared is not what is sent; the runtime writes the right length.
            plan.headers.remove("content-length");
        }
        Ok(plan)
    }

    /// Any OpenAI-compatible server: who the caller is, and the caller's own credential. A Codex
    /// token comes later, with the permit.
    async fn pass_through(&mut self, asked: &Asked<'_>, settings: &Settings) -> Result<(), Error> {
        if settings.auth_mode == AuthMode::OpenAi {
            let Caller { own, shown, .. } = &asked.caller;
            if !own.is_some() && (settings.upstream_needs_key || shown.keys.is_empty()) {
                return Err(OWN_KEY_MISSING);
            }
            for (name, credential) in &own.headers {
                self.headers.set(name, credential.expose());
            }
        }
        self.headers.set("x-forwarded-user", asked.caller.user_id.as_str());
        if self.endpoint.protocol != Protocol::Chat || !self.endpoint.is_inference() {
            // A token may turn out to be dead, and the request has to be sent once more then.
            (self.body, self.upload) = match settings.auth_mode {
                AuthMode::Codex => {
                    body::repeatable(asked.incoming, settings.max_body_bytes).await?
                }
                AuthMode::OpenAi => body::streamed(asked.incoming, settings.max_body_bytes),
            };
            return Ok(());
        }
        let bytes = body::read(asked.incoming, settings.max_body_bytes).await?;
        let read = chat_body::prepare(&bytes);
        self.strip_usage = read.strip_usage;
        self.model = read.model;
        self.set_bytes(&read.replacement.unwrap_or(bytes));
        Ok(())
    }

    /// A real OpenClaw: a session that no client can name.
    async fn address_agent(
        &mut self,
        asked: &Asked<'_>,
        settings: &Settings,
        agent: &AgentSettings,
    ) -> Result<(), Error> {
        let Asked { incoming, caller, path, project, conversation } = asked;
        let default_model = agent.model.replace("{user}", caller.user_id.as_str());
        if self.method == "GET" {
            let mut visible = agent.models.clone();
            visible.push(default_model);
            let named = path.strip_prefix("/v1/models/");
            if named.is_some_and(|name| !visible.iter().any(|model| model == name)) {
                return Err(Error::NotFound);
            }
            let visible_models = named.is_none().then_some(visible);
            let session_key = String::new();
            let (previous_response_id, funds) = (None, None);
            let agent = AgentPlan { session_key, previous_response_id, funds, visible_models };
            self.agent = Some(agent);
            return Ok(());
        }
        // What a run calls comes back. Embeddings don't: their provider in OpenClaw is the operator's.
        let is_run = matches!(self.endpoint.protocol, Protocol::Chat | Protocol::Responses);
        let funds = if is_run { funds(caller, settings)? } else { None };
        if funds.is_some() && !upstream_policy::names_one_agent(&default_model) {
            return Err(Error::NoAgentOfOwn);
        }
        let bytes = body::read(incoming, settings.max_body_bytes).await?;
        let choice = ModelChoice { default: &default_model, allowed: &agent.models };
        let read = agent_body::prepare(&bytes, self.endpoint.protocol, choice)
            .map_err(|error| Error::InvalidJson { problem: error.to_string() })?;
        let conversation = read.conversation.or_else(|| conversation.clone());
        // A conversation that nobody named is never found again: its name is the request's own.
        let conversation = conversation.unwrap_or_else(|| format!("fresh {}", incoming.request_id));
        let session_key = keyed_hash::session_key(
            &agent.session_key_secret,
            &caller.user_id,
            project,
            &conversation,
        );
        let session_key = upstream_policy::agent_session(&read.model, &session_key);
        self.strip_usage = read.strip_usage;
        self.model = Some(read.model);
        // Whatever the client called it: a charset of its own could make the upstream read it anew.
        self.headers.set("content-type", agent_body::CONTENT_TYPE);
        self.set_bytes(&read.body);
        let previous_response_id = read.previous_response_id;
        let visible_models = None;
        let agent = AgentPlan { session_key, previous_response_id, funds, visible_models };
        self.agent = Some(agent);
        Ok(())
    }

    /// Fills in what depends on the upstream: its URL, and what it is reached with.
    pub fn address(&mut self, upstream: &Upstream) {
        self.url.insert_str(0, upstream.url.expose());
        if let Some(access) = &upstream.access {
            self.headers.set("cf-access-client-id", access.client_id.expose());
            self.headers.set("cf-access-client-secret", access.client_secret.expose());
        }
        if let (Some(_), Some(token)) = (&self.agent, &upstream.token) {
            self.headers.set("authorization", &format!("Bearer {}", token.expose()));
        }
    }

    /// Keeps an SDK from running an agent once more: the first run may have done its work.
    pub fn forbid_retry_of(&self, reply: &mut Reply) {
        let may_have_run = self.agent.is_some() && self.method == "POST";
        if may_have_run && upstream_policy::sdk_would_retry(reply.status) {
            reply.set("x-should-retry", "false");
        }
    }

    fn set_bytes(&mut self, bytes: &[u8]) {
        self.body = Body::Bytes(Uint8Array::from(bytes));
    }
}

/// What pays for a run, sealed; nothing where the operator's own model does.
fn funds(caller: &Caller, settings: &Settings) -> Result<Option<Funds>, Error> {
    let (Some(_), Some(codex)) = (&settings.return_path, &settings.codex) else { return Ok(None) };
    if settings.auth_mode == AuthMode::Codex {
        return Ok(Some(Funds::Token));
    }
    let own_key = caller.own.key.as_ref();
    let (own_key, hash) = own_key.zip(caller.shown.bearer.clone()).ok_or(OWN_KEY_MISSING)?;
    let label = Label { purpose: Purpose::RunKey, owner: &caller.user_id };
    let sealed = codex.keyring.seal(label, own_key, random_bytes());
    Ok(Some(Funds::Key { hash, sealed }))
}

fn forwarded_headers(incoming: &Incoming) -> HeaderList {
    let mut forwarded = HeaderList::default();
    for (name, value) in incoming.headers.iter() {
        if upstream_policy::forwards_request_header(name) {
            forwarded.set(name, value);
        }
    }
    forwarded
}
