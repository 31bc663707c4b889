//! What is sent upstream for a caller: everything that can be decided before admission.

use domain::agent_body::{self, ModelChoice};
use domain::custody::{Label, Purpose};
use domain::endpoint::{Endpoint, Protocol};
use domain::identity::Caller;
use domain::session::return_path::messages::Funds;
use domain::settings::{AgentSettings, AuthMode, Settings, UpstreamKind};
use domain::upstreams::{STREAM_IDLE_MS, Upstream};
use domain::{chat_body, keyed_hash, upstream_policy};
use js_sys::Uint8Array;

use super::body::{self, Body, BodyLimits, REPEATABLE, Upload};
use super::encoding;
use super::intake::Intake;
use crate::context::random_bytes;
use crate::error::Error;
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::reply::Reply;

const OWN_KEY_MISSING: Error = Error::MissingKey(
    "Your API key is missing. Send it as `Authorization: Bearer sk-…` or x-api-key. If you have a \
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
    /// The body, while it is passed on as it comes.
    pub upload: Option<Upload>,
    /// What it is that is asked for.
    pub endpoint: Endpoint,
    /// After so many milliseconds without a byte, an answer that has begun is ended.
    pub stream_idle_ms: u32,
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
    /// All of the plan that doesn't depend on the body.
    ///
    /// # Errors
    /// A missing key, an unknown model.
    pub fn new(asked: &Asked<'_>, settings: &Settings) -> Result<Self, Error> {
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
            stream_idle_ms: STREAM_IDLE_MS,
            strip_usage: false,
            model: None,
            agent: None,
        };
        plan.headers.set("x-request-id", &incoming.request_id);
        match &settings.upstream {
            UpstreamKind::Passthrough => plan.pass_through(asked, settings)?,
            UpstreamKind::Agent(agent) => plan.address_agent(asked, settings, agent)?,
        }
        Ok(plan)
    }

    /// Any OpenAI-compatible server: who the caller is, and the caller's own credential. A Codex
    /// token comes later, with the permit.
    fn pass_through(&mut self, asked: &Asked<'_>, settings: &Settings) -> Result<(), Error> {
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
        Ok(())
    }

    /// A real OpenClaw: a session that no client can name.
    fn address_agent(
        &mut self,
        asked: &Asked<'_>,
        settings: &Settings,
        agent: &AgentSettings,
    ) -> Result<(), Error> {
        let Asked { caller, path, .. } = asked;
        let default_model = agent.model.replace("{user}", caller.user_id.as_str());
        let mut plan = AgentPlan {
            session_key: String::new(),
            previous_response_id: None,
            funds: None,
            visible_models: None,
        };
        if self.method == "GET" {
            let mut visible = agent.models.clone();
            visible.push(default_model);
            let named = path.strip_prefix("/v1/models/");
            if named.is_some_and(|name| !visible.iter().any(|model| model == name)) {
                return Err(Error::NotFound);
            }
            plan.visible_models = named.is_none().then_some(visible);
        } else if matches!(self.endpoint.protocol, Protocol::Chat | Protocol::Responses) {
            // What a run calls comes back. Embeddings don't: their provider in OpenClaw is the operator's.
            plan.funds = funds(caller, settings)?;
            if plan.funds.is_some() && !upstream_policy::names_one_agent(&default_model) {
                return Err(Error::NoAgentOfOwn);
            }
        }
        self.agent = Some(plan);
        Ok(())
    }

    /// Whether the answer's usage may have to be asked for.
    pub fn is_chat(&self) -> bool {
        self.endpoint.protocol == Protocol::Chat && self.endpoint.is_inference()
    }

    /// Takes the body in.
    ///
    /// # Errors
    /// What contract and upstream don't allow of it.
    pub async fn take(
        &mut self,
        intake: Intake,
        asked: &Asked<'_>,
        settings: &Settings,
    ) -> Result<(), Error> {
        if let UpstreamKind::Agent(agent) = &settings.upstream {
            if self.method != "GET" {
                self.speak_to_agent(intake, asked, settings, agent).await?;
            }
        } else {
            match intake {
                Intake::Empty => {}
                Intake::Whole(bytes) => self.look_into(bytes, settings).await,
                Intake::Open(upload) => self.pass_on(Some(upload)),
            }
        }
        if !matches!(self.body, Body::Stream(_)) {
            // What the client declared is not what is sent; the runtime writes the right length.
            self.headers.remove("content-length");
        }
        Ok(())
    }

    /// Has a body go on as it comes.
    pub fn pass_on(&mut self, upload: Option<Upload>) {
        let Some(mut upload) = upload else { return };
        self.body = Body::Stream(upload.stream());
        self.upload = Some(upload);
    }

    /// Keeps a body that is short enough for that, so that it can be sent once more; else it goes on as
    /// it comes.
    ///
    /// # Errors
    /// What is wrong with it.
    #[cfg(feature = "office")]
    pub async fn keep(&mut self, incoming: &Incoming, limits: BodyLimits) -> Result<(), Error> {
        let Some(upload) = Upload::open(incoming, limits) else { return Ok(()) };
        if !body::is_repeatable(incoming) {
            self.pass_on(Some(upload));
            return Ok(());
        }
        let progress = upload.read(REPEATABLE).await;
        upload.check(progress)?;
        self.body = Body::Bytes(upload.bytes());
        Ok(())
    }

    /// Any OpenAI-compatible server judges the body itself. It is looked into for the model, and changed
    /// where a stream's usage has to be asked for.
    async fn look_into(&mut self, bytes: Uint8Array, settings: &Settings) {
        self.body = Body::Bytes(bytes.clone());
        if !self.endpoint.is_inference() {
            return;
        }
        let encoding = self.headers.get("content-encoding").unwrap_or("identity").to_owned();
        let decoded = encoding::decode(&bytes, &encoding, settings.max_body_bytes).await;
        let Ok(decoded) = decoded.map(|decoded| decoded.to_vec()) else { return };
        if !self.is_chat() {
            self.model = chat_body::model_in(&decoded);
            return;
        }
        let read = chat_body::prepare(&decoded);
        self.model = read.model;
        if let Some(replacement) = read.replacement {
            self.strip_usage = read.strip_usage;
            self.headers.remove("content-encoding");
            self.set_bytes(&replacement);
        }
    }

    /// A real OpenClaw gets a body that names no identity and no session.
    async fn speak_to_agent(
        &mut self,
        intake: Intake,
        asked: &Asked<'_>,
        settings: &Settings,
        agent: &AgentSettings,
    ) -> Result<(), Error> {
        let Asked { incoming, caller, project, conversation, .. } = asked;
        let bytes = match intake {
            Intake::Whole(bytes) => bytes,
            Intake::Empty => Uint8Array::new_with_length(0),
            // It was to be read whole, so it is larger than it may be.
            Intake::Open(_) => {
                return Err(Error::RequestTooLarge { limit: settings.max_body_bytes });
            }
        };
        let encoding = self.headers.get("content-encoding").unwrap_or("identity").to_owned();
        self.headers.remove("content-encoding");
        let bytes = encoding::decode(&bytes, &encoding, settings.max_body_bytes).await?.to_vec();
        let default_model = agent.model.replace("{user}", caller.user_id.as_str());
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
        self.strip_usage = read.strip_usage;
        // Whatever the client called it: a charset of its own could make the upstream read it anew.
        self.headers.set("content-type", agent_body::CONTENT_TYPE);
        self.set_bytes(&read.body);
        if let Some(plan) = &mut self.agent {
            plan.session_key = upstream_policy::agent_session(&read.model, &session_key);
            plan.previous_response_id = read.previous_response_id;
        }
        self.model = Some(read.model);
        Ok(())
    }

    /// Fills in what depends on the upstream: its URL, and what it is reached with.
    pub fn address(&mut self, upstream: &Upstream) {
        self.url.insert_str(0, upstream.url.expose());
        self.stream_idle_ms = upstream.stream_idle_ms;
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
    forwarded.set("accept-encoding", "identity");
    for (name, value) in incoming.headers.iter() {
        if upstream_policy::forwards_request_header(name) {
            forwarded.set(name, value);
        }
    }
    forwarded
}
