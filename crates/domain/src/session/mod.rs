//! A user's session: what the object holds in memory, and what it decides.
//!
//! Every method takes the time as an argument, changes the memory and gives back what must be
//! written, as [`Change`]s. The object applies them in the same stretch without `await`; where
//! that fails it throws the memory away and reads it anew, so memory never runs ahead of the disk.

pub mod access;
mod allowance;
mod change;
pub mod codex;
pub mod farewell;
pub mod messages;
pub mod mirror;
pub mod onboarding;
mod outbox;
pub mod projects;
mod refusing;
mod responses;
pub mod return_path;
#[cfg(test)]
mod tests;
pub mod view;

use std::collections::BTreeMap;

use self::access::{AccessRecord, KeyRecord, Proof, Shown};
pub use self::change::{Arrived, Change, RowState, Stored, StoredRow};
use self::codex::{CodexRecord, SignIn};
use self::farewell::Farewell;
use self::messages::{Admission, Admit, Bind, Permit, Reason, Refusal, Repair, Settle, Standing};
use self::mirror::Mirror;
use self::projects::Projects;
pub use self::responses::{Remembered, Responses};
use self::return_path::ReturnRecord;
use self::return_path::messages::Funds;
use crate::clock::{ClockWatch, Millis};
use crate::entry::{Entry, Outcome};
use crate::fingerprint::Fingerprint;
use crate::guesses::Guesses;
use crate::journal::{Journal, Settled};
use crate::month::{Month, Tally};
use crate::refusals::RefusalLog;
use crate::settings::UserBinding;
use crate::tier::{TierRecord, TierRules};
use crate::upstreams::Upstream;
use crate::window::{MINUTE, Rate, SlidingWindow};

/// How long a lease lives without a sign of life.
pub const LEASE: Millis = 90_000;

/// What a user may do, and who has to prove it.
#[derive(Clone, Copy, Debug)]
pub struct Limits<'a> {
    /// How callers prove who they are.
    pub binding: UserBinding,
    /// Admissions a window.
    pub rate: Rate,
    /// Requests that may run at once.
    pub in_flight: usize,
    /// Whether every request is paid for with the user's Codex token, whatever it asks for.
    pub needs_token: bool,
    /// What the settings say of tiers.
    pub rules: &'a TierRules,
    /// Where requests can be sent to.
    pub upstreams: &'a [Upstream],
}

#[derive(Clone, Debug)]
struct Lease {
    slot: i64,
    admitted_at: Millis,
    until: Millis,
    /// The month that it counts in; none where no model runs for it.
    month: Option<Month>,
}

/// One user's state.
#[derive(Clone, Debug)]
pub struct Session {
    clock: ClockWatch,
    access: AccessRecord,
    /// Wrong claims of the last minute, by network; in memory alone.
    wrong_claims: Guesses,
    codex: CodexRecord,
    tier: TierRecord,
    projects: Projects,
    mirror: Mirror,
    /// The revision of the mirror that D1 is known to have.
    mirrored: u64,
    /// Whether a request has ended since the object was read.
    is_seen: bool,
    window: SlidingWindow,
    leases: BTreeMap<String, Lease>,
    journal: Journal,
    tally: Tally,
    refusals: RefusalLog,
    responses: Responses,
    returns: ReturnRecord,
    /// Set while the USER_ID is closed: its person is being forgotten.
    farewell: Option<Farewell>,
}

impl Session {
    /// Rebuilds the state. A stored time in the future counts as now, and is written so: else it
    /// would count as now again after the next restart, and again.
    #[must_use]
    pub fn restore(stored: Stored, now: Millis) -> (Self, Vec<Change>) {
        let is_ahead = stored.is_ahead_of(now);
        let window = SlidingWindow::restore(stored.rows.iter().filter_map(|r| r.admitted_at), now);
        let (mut settled, mut leases) = (Vec::new(), BTreeMap::new());
        let (mut running, mut waiting) = (Vec::new(), Vec::new());
        let Arrived { position: flushed, months, revision } = stored.flushed;
        for StoredRow { slot, admitted_at, state, counted } in stored.rows {
            match state {
                RowState::Settled(position) => {
                    let is_waiting = position > flushed;
                    waiting.extend(counted.filter(|_| is_waiting).map(|row| (position, row)));
                    let admitted_at = admitted_at.map(|time| time.min(now));
                    settled.push(Settled { slot, position, admitted_at });
                }
                RowState::Open { request_id, lease_until } => {
                    let admitted_at = admitted_at.unwrap_or(now).min(now);
                    let until = lease_until.min(now + LEASE);
                    running.extend(counted);
                    let month = counted.map(|row| row.month);
                    leases.insert(request_id, Lease { slot, admitted_at, until, month });
                }
            }
        }
        let mut codex = stored.codex;
        let is_codex_ahead = codex.restore(now);
        let mut returns = stored.returns;
        let is_return_changed = returns.restore(|run| leases.contains_key(run), now);
        let mut session = Self {
            clock: ClockWatch::new(now),
            access: stored.access,
            wrong_claims: Guesses::restore(Vec::new(), now),
            codex,
            tier: stored.tier,
            projects: stored.projects,
            mirror: stored.mirror,
            mirrored: revision,
            is_seen: false,
            window,
            leases,
            journal: Journal::restore(stored.slots, flushed, settled, now),
            tally: Tally::restore(months, running, waiting),
            refusals: RefusalLog::default(),
            responses: Responses::restore(stored.responses, now),
            returns,
            farewell: stored.farewell,
        };
        if session.unmirrored().is_some() {
            session.journal.ask_to_flush(now);
        }
        let mut changes: Vec<_> = is_ahead.then_some(Change::NotAfter(now)).into_iter().collect();
        if is_codex_ahead {
            changes.push(session.codex_changed());
        }
        if is_return_changed {
            changes.push(session.returns_changed());
        }
        (session, changes)
    }

    /// Looks at the wall clock. Comes before every decision, and is where a step back is dealt with.
    pub fn observe(&mut self, now: Millis) -> Vec<Change> {
        let step = self.clock.step_back(now);
        if step == 0 {
            return Vec::new();
        }
        self.window.move_back(step);
        self.journal.move_back(step);
        self.responses.move_back(step);
        for lease in self.leases.values_mut() {
            lease.admitted_at -= step;
            lease.until -= step;
        }
        let mut changes = vec![Change::MoveBack(step)];
        if self.codex.move_back(step) {
            changes.push(self.codex_changed());
        }
        if self.returns.move_back(step) {
            changes.push(self.returns_changed());
        }
        changes
    }

    /// Decides on a request: proof, then a block, then the tier, then the upstream, then the token
    /// that pays, then what it continues from, then the project, then the month, then the window,
    /// then the requests in flight, then whether those are paid for by another key. Only what passes
    /// all of that takes anything.
    pub fn admit(
        &mut self,
        message: Admit,
        limits: Limits<'_>,
        now: Millis,
    ) -> (Admission, Vec<Change>) {
        let mut changes = self.expire(now);
        let proof = self.prove(&message.shown, limits, now);
        if let Proof::Refused(reason) = proof {
            // A caller who isn't the user learns nothing of the user, and can't fill the journal
            // of a name that nobody has.
            let is_uncounted = self.access.is_known()
                && !self.log_refusal(message.entry, &reason, now, &mut changes);
            let refusal = Refusal { reason, standing: None, buyer: None, is_uncounted };
            return (Admission::Refused(refusal), changes);
        }
        let binds = proof == Proof::Unproven && self.may_bind(&message, limits.binding);
        if self.leases.contains_key(&message.entry.request_id) {
            let permit = Permit { binds, ..self.permit(&message, limits, now) };
            return (Admission::Admitted(permit), changes);
        }
        let is_counted = limits.binding == UserBinding::FirstKey;
        if proof == Proof::Unproven && is_counted && !message.vouched {
            return (Admission::Unproven, changes);
        }
        changes.extend(self.see_tier(limits, now));
        if let Some(reason) = self.reason_to_refuse(&message, limits, now) {
            // Who never had a token or a tier, and isn't known otherwise, is a name that somebody
            // made up.
            let may_be_nobody = matches!(
                reason,
                Reason::NoCodexSession
                    | Reason::PaymentRequired
                    | Reason::NoUpstream { is_own: false }
            );
            let is_logged = !may_be_nobody || self.access.is_known();
            let is_uncounted =
                is_logged && !self.log_refusal(message.entry, &reason, now, &mut changes);
            let standing = Some(self.standing(limits, now));
            let buyer = self.buyer(&reason, limits, now).filter(|_| proof == Proof::Proven);
            let refusal = Refusal { reason, standing, buyer, is_uncounted };
            return (Admission::Refused(refusal), changes);
        }
        if self.access.note_use(&message.shown, &message.entry, now) {
            changes.push(self.access_changed());
        }
        if !message.is_free && self.projects.note(&message.entry.project) {
            changes.push(self.projects_changed());
        }
        self.window.admit(now);
        let slot = self.journal.take_slot(now);
        let lease_until = now + LEASE;
        let month = (!message.is_free).then(|| Month::of(now));
        if let Some(month) = month {
            self.tally.admit(month);
        }
        let lease = Lease { slot, admitted_at: now, until: lease_until, month };
        self.leases.insert(message.entry.request_id.clone(), lease);
        let permit = Permit { binds, ..self.permit(&message, limits, now) };
        if let Some(funds) = message.funds {
            self.returns.begin(message.entry.request_id.clone(), *funds);
            changes.push(self.returns_changed());
        }
        let entry = Box::new(Entry { month, ..message.entry });
        changes.push(Change::Open { slot, admitted_at: now, lease_until, entry });
        (Admission::Admitted(permit), changes)
    }

    /// Whether the caller is the user. Who has a tier or a stored token must be proven, whatever the
    /// binding: others could spend it.
    #[must_use]
    pub fn prove(&self, shown: &Shown, limits: Limits<'_>, now: Millis) -> Proof {
        let has_assets = self.codex.has_tokens() || self.tier.held(limits.rules, now).is_some();
        self.access.proof(shown, limits.binding, has_assets)
    }

    /// Ends a lease with the outcome of its request. `false` where it had ended already.
    pub fn settle(&mut self, message: Settle, now: Millis) -> (bool, Vec<Change>) {
        let mut changes = self.expire(now);
        if let Some(deferred) = self.defer(&message.request_id, &message.outcome, now) {
            changes.extend(deferred);
            return (true, changes);
        }
        let Some(lease) = self.leases.remove(&message.request_id) else {
            return (false, changes);
        };
        let is_run = self.returns.knows(&message.request_id);
        changes.push(self.close(&message.request_id, &lease, Some(message.outcome), now));
        changes.extend(is_run.then(|| self.returns_changed()));
        (true, changes)
    }

    /// Prolongs a lease. `false` where it had ended already.
    pub fn renew(&mut self, request_id: &str, now: Millis) -> (bool, Vec<Change>) {
        let mut changes = self.expire(now);
        let Some(lease) = self.leases.get_mut(request_id) else { return (false, changes) };
        lease.until = now + LEASE;
        changes.push(Change::Renew { slot: lease.slot, lease_until: lease.until });
        (true, changes)
    }

    /// Binds the user to the bearer that the upstream took for a request, which is running unless its
    /// user was forgotten meanwhile. `true` where it now is.
    pub fn bind_by_request(&mut self, message: Bind) -> (bool, Vec<Change>) {
        let Bind { request_id, bearer } = message;
        if self.leases.contains_key(&request_id) { self.bind(bearer) } else { (false, Vec::new()) }
    }

    /// Binds the user to a bearer. `true` where it now is.
    pub fn bind(&mut self, bearer: Fingerprint) -> (bool, Vec<Change>) {
        let is_bound = self.access.bind(bearer);
        (is_bound, is_bound.then(|| self.access_changed()).into_iter().collect())
    }

    /// Adds a key, unless there is one of the same id.
    pub fn add_key(&mut self, key: KeyRecord) -> (bool, Vec<Change>) {
        let is_new = self.access.add_key(key);
        (is_new, is_new.then(|| self.access_changed()).into_iter().collect())
    }

    /// Does what an operator asks for. `true` where it changed anything.
    pub fn repair(&mut self, repair: &Repair, now: Millis) -> (bool, Vec<Change>) {
        if *repair == Repair::ResetWindow {
            // The rows stay, and so do their times, moved out of the window.
            self.window.move_back(MINUTE);
            self.journal.age_admissions(MINUTE);
            return (true, vec![Change::ResetWindow(now)]);
        }
        let is_strangers = self.is_first_comers();
        let is_changed = self.access.repair(repair);
        let mut changes: Vec<_> = is_changed.then(|| self.access_changed()).into_iter().collect();
        if *repair == Repair::Unbind && is_strangers {
            changes.extend(self.forget_tokens().1);
        }
        (is_changed, changes)
    }

    /// Ends the leases of which nothing was heard for too long; their rows say `interrupted`. Ends
    /// a sign-in whose codes are too old.
    pub fn expire(&mut self, now: Millis) -> Vec<Change> {
        let dead: Vec<_> = self.leases.extract_if(.., |_, lease| lease.until <= now).collect();
        let is_run = dead.iter().any(|(request_id, _)| self.returns.knows(request_id));
        let close =
            |(request_id, lease): &(String, Lease)| self.close(request_id, lease, None, now);
        let mut changes: Vec<_> = dead.iter().map(close).collect();
        if self.returns.expire(now) || is_run {
            changes.push(self.returns_changed());
        }
        if self.codex.expire(now) {
            changes.push(self.codex_changed());
        }
        changes
    }

    /// When the object has to wake by itself: to flush, to end a lease, for a sign-in, or to show
    /// that a tier has ended.
    #[must_use]
    pub fn next_wake(&self) -> Option<Millis> {
        let lease = self.leases.values().map(|lease| lease.until).min();
        let sign_in = self.codex.sign_in().and_then(SignIn::next_wake);
        let tier_ends = self.tier_ends();
        let due = [lease, self.journal.flush_due(), sign_in, tier_ends, self.returns.next_wake()];
        due.into_iter().flatten().min()
    }

    fn access_changed(&self) -> Change {
        Change::Access(Box::new(self.access.clone()))
    }

    fn may_bind(&self, message: &Admit, binding: UserBinding) -> bool {
        binding == UserBinding::FirstKey
            && !message.is_free
            && message.shown.bearer.is_some()
            && !message.entry.user_id.is_anonymous()
            && self.access.may_be_bound()
    }

    fn reason_to_refuse(
        &mut self,
        message: &Admit,
        limits: Limits<'_>,
        now: Millis,
    ) -> Option<Reason> {
        if self.access.blocked.is_some() {
            return Some(Reason::Blocked);
        }
        if limits.rules.is_required && self.tier.held(limits.rules, now).is_none() {
            return Some(Reason::PaymentRequired);
        }
        let Some(upstream) = self.upstream(limits, now) else {
            return Some(Reason::NoUpstream { is_own: self.access.upstream.is_some() });
        };
        let needs_token = limits.needs_token || message.funds.as_deref() == Some(&Funds::Token);
        if needs_token && let Err(signed_out) = self.codex.access(now) {
            return Some(signed_out.into());
        }
        if let Some(id) = &message.previous_response_id {
            match self.responses.recall(id, now) {
                None => return Some(Reason::PreviousResponseNotFound),
                Some(answer) if answer.upstream != upstream.name => {
                    return Some(Reason::PreviousResponseElsewhere);
                }
                Some(_) => {}
            }
        }
        if !message.is_free
            && let Some(reason) = self.is_beyond_the_tier(&message.entry.project, limits, now)
        {
            return Some(reason);
        }
        let retry_after_ms = self.window.next_free(limits.rate, now);
        if retry_after_ms > 0 {
            return Some(Reason::RateLimited { retry_after_ms });
        }
        if self.leases.len() >= limits.in_flight {
            return Some(Reason::TooManyInFlight);
        }
        let is_against = message.funds.as_ref().is_some_and(|funds| self.returns.is_against(funds));
        is_against.then_some(Reason::AnotherKeyInUse)
    }

    fn permit(&mut self, message: &Admit, limits: Limits<'_>, now: Millis) -> Permit {
        let token = self.codex.access(now).ok().filter(|_| limits.needs_token);
        let session_key = message
            .previous_response_id
            .as_deref()
            .and_then(|id| self.responses.recall(id, now))
            .map(|answer| answer.session_key.clone());
        let upstream = self.upstream(limits, now).map(|upstream| upstream.name.to_string());
        let (upstream, tier) = (upstream.unwrap_or_default(), self.tier_now(limits, now));
        let standing = self.standing(limits, now);
        Permit { standing, session_key, binds: false, token, upstream, tier }
    }

    fn standing(&mut self, limits: Limits<'_>, now: Millis) -> Standing {
        let rate = limits.rate;
        let used = u32::try_from(self.window.used(rate, now)).unwrap_or(u32::MAX);
        Standing {
            limit: rate.limit,
            remaining: rate.limit.saturating_sub(used),
            empty_in_ms: self.window.empty_in(rate, now),
            next_free_ms: self.window.next_free(rate, now),
            month: self.month_left(limits, now),
        }
    }

    fn arrived(&self) -> Arrived {
        let months = self.tally.arrived().clone();
        Arrived { position: self.journal.flushed(), months, revision: self.mirrored }
    }

    fn close(
        &mut self,
        request_id: &str,
        lease: &Lease,
        outcome: Option<Outcome>,
        now: Millis,
    ) -> Change {
        let outcome = self.returns.end(request_id, outcome, now);
        // What an earlier answer had cost is in its own row.
        let outcome =
            outcome.map(|outcome| if lease.month.is_none() { outcome.free() } else { outcome });
        let position = self.journal.settle(lease.slot, Some(lease.admitted_at), now);
        self.is_seen = true;
        if let Some(month) = lease.month {
            self.tally.settle(month, outcome.as_ref(), position);
        }
        Change::Close { slot: lease.slot, position, outcome }
    }
}
