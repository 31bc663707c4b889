//! `ANY /v1/*` and `ANY /u/{user_id}/v1/*`: the story of one request.
//!
//! 1. Who is calling, and for what: path, headers and keys agree, and the binding allows it. Who
//!    floods is refused here (`refusals`).
//! 2. What is to be sent: size, body, the upstream's rules. Until here nothing costs anything.
//! 3. Admission by the user's object: 401, 402, 403, 429, 503, or a permit, which names the upstream.
//!    A caller who has not proven to be the user, where nobody else has either, needs room in its
//!    address's counter for that.
//! 4. A place in the upstream's queue, where there is one and a model or an agent is to run: 503
//!    after too long a wait, or a slot until the request's end.
//! 5. The exchange with the upstream: 502, 504, or an answer. Where the user's Codex token pays, it
//!    is refreshed if need be: 401 where that isn't done any more.
//! 6. The answer streams back; its end settles the request in `wait_until`.

use domain::clock::{Millis, sql_text};
use domain::endpoint::Endpoint;
use domain::entry::{Entry, Outcome};
use domain::fair_queue::Ask;
use domain::identifiers::{DEFAULT_PROJECT, parse_label};
use domain::identity::Caller;
use domain::path::{GatewayPath, gateway_path};
use domain::session::messages::{Admission, Admit, Bind, Permit, Refusal, Remember};
use domain::settings::{Settings, UpstreamKind, UserBinding};
use domain::tier::Tier;
use domain::upstreams::{self, Upstream};
use domain::{keyed_hash, model_list, upstream_policy};

use crate::context::Context;
use crate::error::{Error, GATEWAY_KEY_MISSING, Terms};
use crate::headers::HeaderList;
use crate::incoming::Incoming;
use crate::refusals::Known;
use crate::reply::Reply;
use crate::routes::caller;
use crate::settlement::{Settlement, failed};
use crate::upstream::codex::{self, Payment};
use crate::upstream::departure::Departure;
use crate::upstream::exchange::{Answer, NoAnswer, Patience, send};
use crate::upstream::intake;
use crate::upstream::plan::{Asked, Plan};
use crate::upstream::witness::Witness;
use crate::upstream::{bounded, relay, slot, trouble};
use crate::{clock, fault, guessing, log, refusals, reply, strangers, upgrade};

/// What of a path goes into the log, in characters: all of the paths that there are.
const LONGEST_ENDPOINT: usize = 256;

/// The longest list of models that is read, in bytes.
const LONGEST_LIST: usize = 2 * 1024 * 1024;

/// Answers a request of the gateway's paths.
pub async fn answer(incoming: &Incoming, context: &Context) -> Reply {
    serve(incoming, context).await.unwrap_or_else(|error| {
        log::early(incoming, error.status(), Some(error.code()));
        reply::error(&error)
    })
}

/// An error means that the request was not admitted, as far as is known; it leaves a log line.
async fn serve(incoming: &Incoming, context: &Context) -> Result<Reply, Error> {
    let settings = context.settings()?;
    let asked = identify(incoming, &settings)?;
    if let Some(refusal) = refusals::remembered(&asked.caller, &asked.project) {
        let row = entry(&asked, None, &settings);
        return refuse(refusal, row, &asked, &settings, context).await;
    }
    let (plan, vouched) = prepare(&asked, &settings, context).await?;
    let entry = entry(&asked, plan.model.clone(), &settings);
    let vouched = match vouched {
        Some(vouched) => vouched,
        None => strangers::pass(&asked.caller, incoming, context).await?,
    };
    let message = Admit { vouched, ..admission_of(&asked, &plan, entry.clone()) };
    let (admission, settlement) = admit(&message, &asked.caller, incoming, context).await?;
    let permit = match admission {
        Admission::Admitted(permit) => permit,
        // Only a caller that nobody vouched for is asked to come again.
        Admission::Unproven => return Err(Error::Internal),
        Admission::Refused(refusal) => {
            return refuse(refusal, entry, &asked, &settings, context).await;
        }
    };
    let standing = permit.standing;
    fault::strike(&incoming.request_id, "panic-front-after-admission");
    let departure = Departure::of(&incoming.request);
    let duty = Duty { context, settings: &settings, settlement, departure };
    let mut reply = forward(&asked, plan, permit, duty).await;
    reply.stand(standing);
    Ok(reply)
}

/// Step 1.
fn identify<'a>(incoming: &'a Incoming, settings: &Settings) -> Result<Asked<'a>, Error> {
    incoming.refuse_upgrade()?;
    let path = gateway_path(&incoming.path).ok_or(Error::NotFound)?;
    check_path(incoming, path.upstream, settings)?;
    let caller = caller::claimed(incoming, &path)?;
    check_binding(&caller, settings)?;
    let label = |name, error: Error| {
        incoming.header(name).map(|text| parse_label(text).ok_or(error)).transpose()
    };
    let project = label("x-project-id", Error::InvalidProjectId)?;
    let conversation = label("x-conversation-id", Error::InvalidConversationId)?;
    let GatewayPath { upstream, .. } = path;
    Ok(Asked {
        incoming,
        caller,
        path: upstream.to_owned(),
        project: project.unwrap_or_else(|| DEFAULT_PROJECT.to_owned()),
        conversation,
    })
}

/// What a real OpenClaw isn't reached at isn't there, whoever asks.
fn check_path(incoming: &Incoming, path: &str, settings: &Settings) -> Result<(), Error> {
    if matches!(settings.upstream, UpstreamKind::Passthrough) {
        return Ok(());
    }
    let (method, methods) = (incoming.method.as_str(), upstream_policy::agent_methods(path));
    if methods.is_empty() {
        let (offered, base_url) = (upstream_policy::AGENT_ENDPOINTS, incoming.base_url());
        return Err(Error::NotOffered { offered, base_url });
    }
    if !methods.contains(&method) {
        let (method, allow) = (method.to_owned(), methods.join(", "));
        return Err(Error::MethodNotAllowed { method, allow });
    }
    Ok(())
}

fn check_binding(caller: &Caller, settings: &Settings) -> Result<(), Error> {
    if caller.user_id.is_anonymous() && !settings.allow_anonymous {
        return Err(Error::AnonymousDisabled);
    }
    // The object would say so too; this way it isn't asked.
    if settings.user_binding == UserBinding::Key && caller.shown.keys.is_empty() {
        return Err(Error::MissingKey(GATEWAY_KEY_MISSING));
    }
    Ok(())
}

/// Step 2. Says besides whether the caller has been vouched for, where it had to be looked up.
async fn prepare(
    asked: &Asked<'_>,
    settings: &Settings,
    context: &Context,
) -> Result<(Plan, Option<bool>), Error> {
    let mut plan = match Plan::new(asked, settings) {
        // A key that is shown is always checked: who shows a wrong one hears of that first, rather
        // than of the credential that is missing beside it.
        Err(error @ Error::MissingKey(_)) if !asked.caller.shown.keys.is_empty() => {
            caller::prove(&asked.caller, context).await?;
            return Err(error);
        }
        other => other?,
    };
    let (intake, vouched) = intake::receive(asked, &plan, settings, context).await?;
    plan.take(intake, asked, settings).await?;
    Ok((plan, vouched))
}

/// Step 3.
async fn admit(
    message: &Admit,
    caller: &Caller,
    incoming: &Incoming,
    context: &Context,
) -> Result<(Admission, Settlement), Error> {
    let since = clock::reading();
    let mut decided = Settlement::admit(context, message.clone(), incoming.arrived).await?;
    // Who is admitted although nobody vouched has proven to be the user, unless anybody is believed.
    if matches!(decided.0, Admission::Admitted(_)) && !message.vouched {
        strangers::note(caller);
    }
    if decided.0 == Admission::Unproven {
        guessing::vouch(incoming, context).await?;
        let vouched = Admit { vouched: true, ..message.clone() };
        decided = Settlement::admit(context, vouched, incoming.arrived).await?;
    }
    if let Admission::Refused(refusal) = &decided.0 {
        refusals::remember(message, refusal, since);
    }
    Ok(decided)
}

async fn refuse(
    refusal: Refusal,
    row: Entry,
    asked: &Asked<'_>,
    settings: &Settings,
    context: &Context,
) -> Result<Reply, Error> {
    let offer = upgrade::offer(asked.incoming, settings, &asked.caller.user_id, &refusal);
    let terms = terms(settings, offer);
    let error = Error::refused(&refusal.reason, terms.clone());
    let row = Entry { outcome: failed(&error), ..row };
    if refusal.is_uncounted {
        let (caller, project) = (asked.caller.clone(), asked.project.clone());
        let mut dress = HeaderList::default();
        super::dress(&mut dress, asked.incoming, context);
        let known = Known { caller, project, row: row.clone(), terms, dress };
        refusals::know(&asked.incoming.request, known);
        refusals::count(context, row).await?;
    } else {
        log::event("request", &row);
    }
    Ok(refusals::answer(&refusal, &error))
}

fn terms(settings: &Settings, offer: Option<String>) -> Terms {
    let (per_minute, in_flight) = (settings.requests_per_minute, settings.max_in_flight);
    Terms { per_minute, in_flight, offer }
}

fn admission_of(asked: &Asked<'_>, plan: &Plan, entry: Entry) -> Admit {
    let agent = plan.agent.as_ref();
    let previous_response_id = agent.and_then(|agent| agent.previous_response_id.clone());
    let funds = agent.and_then(|agent| agent.funds.clone()).map(Box::new);
    let shown = asked.caller.shown.clone();
    Admit {
        shown,
        vouched: false,
        is_free: plan.endpoint.is_free(),
        previous_response_id,
        funds,
        entry,
    }
}

/// What is owed for an admitted request, and who it is owed to.
struct Duty<'a> {
    context: &'a Context,
    settings: &'a Settings,
    settlement: Settlement,
    departure: Departure,
}

/// Steps 4 to 6.
async fn forward(asked: &Asked<'_>, mut plan: Plan, permit: Permit, mut duty: Duty<'_>) -> Reply {
    // Settings of two versions may differ while a new one is being deployed.
    let Some(upstream) = upstreams::named(&permit.upstream, &duty.settings.upstreams) else {
        return duty.settlement.end_unanswered(Error::no_upstream().into());
    };
    plan.address(upstream);
    let weight = permit.tier.map_or(1, Tier::weight);
    let place = (upstream, plan.endpoint);
    let waited_ms = match queue(asked, place, weight, &mut duty).await {
        Ok(waited_ms) => waited_ms,
        Err(no_answer) => return duty.settlement.end_unanswered(no_answer),
    };
    let reply = exchange(asked, plan, permit, duty).await;
    let mut reply = reply.unwrap_or_else(|error| reply::error(&error));
    if let Some(waited_ms) = waited_ms {
        reply.set("x-queue-ms", &waited_ms.to_string());
    }
    reply
}

/// Step 4. Says how long it took, where there is a queue.
async fn queue(
    asked: &Asked<'_>,
    (upstream, endpoint): (&Upstream, Endpoint),
    weight: u32,
    duty: &mut Duty<'_>,
) -> Result<Option<Millis>, NoAnswer> {
    let Duty { context, settings, settlement, departure } = duty;
    let Some(slots) = upstream.slots.filter(|_| endpoint.is_inference()) else { return Ok(None) };
    let ask = Ask {
        request_id: asked.incoming.request_id.clone(),
        user_id: asked.caller.user_id.to_string(),
        weight,
        slots,
        wait_ms: settings.queue_wait_ms,
    };
    let (slot, waited_ms) = slot::take(context, upstream.name.to_string(), ask, departure).await?;
    settlement.slot = Some(slot);
    Ok(Some(waited_ms))
}

/// Steps 5 and 6.
async fn exchange(
    asked: &Asked<'_>,
    mut plan: Plan,
    permit: Permit,
    duty: Duty<'_>,
) -> Result<Reply, Error> {
    let Duty { context, settings, mut settlement, mut departure } = duty;
    let mut remember = None;
    if let Some(agent) = plan.agent.as_mut().filter(|agent| !agent.session_key.is_empty()) {
        if let Some(session_key) = permit.session_key.clone() {
            agent.session_key = session_key;
        }
        let session_key = agent.session_key.clone();
        plan.headers.set("x-openclaw-session-key", &session_key);
        if asked.path == "/v1/responses" {
            let (request_id, response_id) = (asked.incoming.request_id.clone(), String::new());
            let upstream = permit.upstream.clone();
            remember = Some(Remember { request_id, response_id, session_key, upstream });
        }
    }
    let patience = Patience::of(settings);
    let sent = if settings.sends_codex_tokens() {
        let (user_id, token) = (&asked.caller.user_id, permit.token.clone());
        let request_id = &asked.incoming.request_id;
        let show = codex::as_header;
        let payment = Payment { context, settings, user_id, request_id, token, show };
        codex::send(&mut plan, patience, &mut departure, payment).await
    } else {
        send(&mut plan, patience, &mut departure).await
    };
    let answer = match sent {
        Ok(answer) => answer,
        Err(no_answer) => {
            if let NoAnswer::Failed(error) = &no_answer
                && trouble::is_of_the_upstream(error)
            {
                trouble::noticed(context, &permit.upstream);
            }
            let mut reply = settlement.end_unanswered(no_answer);
            plan.forbid_retry_of(&mut reply);
            return Ok(reply);
        }
    };
    settlement.first_byte();
    if answer.response.status() == 503 {
        trouble::noticed(context, &permit.upstream);
    }
    let bearer = asked.caller.shown.bearer.clone();
    let bind = bearer.filter(|_| permit.binds && plan.endpoint.is_inference());
    let bind = bind.map(|bearer| Bind { request_id: asked.incoming.request_id.clone(), bearer });
    let (context, user_id) = (context.clone(), asked.caller.user_id.to_string());
    let is_needed = bind.is_some() || remember.is_some();
    let witness = is_needed.then_some(Witness { context, user_id, bind, remember });
    match plan.agent.as_ref().and_then(|agent| agent.visible_models.as_deref()) {
        Some(visible) if answer.response.ok() => list_models(answer, visible, settlement).await,
        _ => relay::respond(answer, &plan, settlement, witness, &mut departure).await,
    }
}

/// The upstream's models, those that the caller may name.
async fn list_models(
    answer: Answer,
    visible: &[String],
    settlement: Settlement,
) -> Result<Reply, Error> {
    let list = bounded::read(&answer.response, LONGEST_LIST).await.ok();
    let list = list.and_then(|list| model_list::filter(&list, visible).ok());
    let Some(list) = list.and_then(|list| String::from_utf8(list).ok()) else {
        let error = Error::UpstreamUnreachable;
        settlement.end(failed(&error));
        return Err(error);
    };
    settlement.end(Outcome::answered(200, 0));
    Ok(reply::text_of(200, "application/json", &list))
}

fn entry(asked: &Asked<'_>, model: Option<String>, settings: &Settings) -> Entry {
    let incoming = asked.incoming;
    let address = incoming.header("cf-connecting-ip");
    let pepper = settings.ip_hash_pepper.as_ref();
    Entry {
        request_id: incoming.request_id.clone(),
        user_id: asked.caller.user_id.clone(),
        endpoint: asked.path.chars().take(LONGEST_ENDPOINT).collect(),
        project: asked.project.clone(),
        model,
        key_id: asked.caller.shown.keys.first().map(|key| key.id().to_owned()),
        ip_hash: address.map(|address| keyed_hash::ip_hash(pepper, address)),
        created_at: sql_text(incoming.arrived),
        count: 1,
        month: None,
        outcome: Outcome::interrupted(),
    }
}
