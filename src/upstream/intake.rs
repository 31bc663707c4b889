//! A request's body before its request is admitted: read as far as it has to be, for whoever may.
//!
//! What is small is read whole before anything is taken of the upstream, and without asking who sends it
//! while its address has turns left (`turns`). Who wants more read has to be known first.

use domain::session::access::Proof;
use domain::settings::{AuthMode, Settings, UpstreamKind, UserBinding};
use js_sys::Uint8Array;

use super::body::{self, BodyLimits, Progress, REPEATABLE, SMALL, Upload};
use super::plan::{Asked, Plan};
use super::turns::Sender;
use crate::context::Context;
use crate::error::Error;
use crate::routes::caller;
use crate::{guessing, strangers};

/// A body, as far as it has been read.
pub enum Intake {
    /// There is none.
    Empty,
    /// All of it.
    Whole(Uint8Array),
    /// The beginning, and the rest to come.
    Open(Upload),
}

/// Who sends it, asked of the user's object at most once.
struct Knowledge<'a> {
    asked: &'a Asked<'a>,
    settings: &'a Settings,
    context: &'a Context,
    sender: Option<Sender>,
    allowed: bool,
}

/// Takes a request's body in. Says besides whether the caller has been allowed without proof, where the
/// caller had to be looked up for it.
///
/// # Errors
/// Of the body: too large, too slow. Of the caller: not the user, or without proof too often.
pub async fn receive(
    asked: &Asked<'_>,
    plan: &Plan,
    settings: &Settings,
    context: &Context,
) -> Result<(Intake, Option<bool>), Error> {
    let limits = BodyLimits::of(settings);
    body::check_size(asked.incoming, limits.bytes)?;
    let mut knowledge = Knowledge { asked, settings, context, sender: None, allowed: false };
    let intake = knowledge.receive(plan, limits).await?;
    let allowed = knowledge.sender.is_some().then_some(knowledge.allowed);
    Ok((intake, allowed))
}

impl Knowledge<'_> {
    async fn receive(&mut self, plan: &Plan, limits: BodyLimits) -> Result<Intake, Error> {
        let incoming = self.asked.incoming;
        let is_agent = matches!(self.settings.upstream, UpstreamKind::Agent(_));
        if !plan.endpoint.is_inference() && !is_agent && !self.may_repeat() {
            return self.pass_on(limits).await;
        }
        let Some(mut upload) = Upload::open(incoming, limits) else { return Ok(Intake::Empty) };
        if !upload.takes_turn(&Sender::unknown(incoming)) {
            upload.wait_for_turn(&self.sender().await?).await?;
        }
        let progress = upload.read(SMALL).await;
        upload.check(progress)?;
        if progress == Progress::Whole {
            return Ok(Intake::Whole(upload.bytes()));
        }
        let sender = self.sender().await?;
        let most = self.worth_keeping(plan);
        let is_known = matches!(sender, Sender::Proven(_));
        if most > SMALL && (is_known || is_agent) {
            upload.wait_for_room(incoming, &self.asked.caller.user_id).await?;
            let progress = upload.read(most).await;
            upload.check(progress)?;
            if progress == Progress::Whole {
                return Ok(Intake::Whole(upload.bytes()));
            }
        }
        Ok(Intake::Open(upload))
    }

    /// What runs no model goes on as it comes; who sends much of it has to be known.
    async fn pass_on(&mut self, limits: BodyLimits) -> Result<Intake, Error> {
        let incoming = self.asked.incoming;
        let Some(upload) = Upload::open(incoming, limits) else { return Ok(Intake::Empty) };
        if !body::is_small(incoming) {
            self.sender().await?;
        }
        Ok(Intake::Open(upload))
    }

    /// Whether a token pays that may turn out to be dead, so that the request has to be sent once more.
    fn may_repeat(&self) -> bool {
        self.settings.auth_mode == AuthMode::Codex && body::is_repeatable(self.asked.incoming)
    }

    /// How much of a body is kept: all where it has to be understood, what is short where it may have to
    /// be sent once more, else no more than its beginning.
    fn worth_keeping(&self, plan: &Plan) -> u64 {
        let is_agent = matches!(self.settings.upstream, UpstreamKind::Agent(_));
        if is_agent || plan.is_chat() {
            return self.settings.max_body_bytes;
        }
        if self.may_repeat() { REPEATABLE } else { SMALL }
    }

    /// Who sends the body. A caller without proof is counted for its address here.
    async fn sender(&mut self) -> Result<Sender, Error> {
        if let Some(sender) = &self.sender {
            return Ok(sender.clone());
        }
        let Asked { caller, incoming, .. } = self.asked;
        self.allowed = strangers::pass(caller, incoming, self.context).await?;
        let proven = Sender::Proven(caller.user_id.clone());
        let sender = match caller::prove(caller, self.context).await? {
            Proof::Proven => {
                strangers::note(caller);
                proven
            }
            _ if self.settings.user_binding != UserBinding::FirstKey => proven,
            _ => {
                if !self.allowed {
                    guessing::vouch(incoming, self.context).await?;
                    self.allowed = true;
                }
                Sender::unproven(incoming)
            }
        };
        Ok(self.sender.insert(sender).clone())
    }
}
