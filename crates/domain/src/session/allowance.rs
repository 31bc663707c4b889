//! What a user may use: the tier that it has, its upstream, its projects and its month.

use super::messages::{Buyer, Entitle, MonthStanding, Reason, SetTier};
use super::projects::Projects;
use super::{Change, Limits, Session};
use crate::clock::Millis;
use crate::free_use::{Count, FreeUse};
use crate::month::{Month, Usage};
use crate::tier::Tier;
use crate::upstreams::{self, Upstream};

impl Session {
    /// Takes what a Stripe customer has bought. `true` where that was news.
    pub fn entitle(&mut self, message: Entitle) -> (bool, Vec<Change>) {
        let is_news = self.tier.take(message.customer, message.purchases);
        (is_news, is_news.then(|| self.tier_changed()).into_iter().collect())
    }

    /// Sets the tier that the operator gives.
    pub fn set_tier(&mut self, message: &SetTier, now: Millis) -> ((), Vec<Change>) {
        self.tier.grant(message.tier, now);
        ((), vec![self.tier_changed()])
    }

    /// Whether a subscription to a tier runs at Stripe.
    pub(super) fn is_subscribed(&self, limits: Limits<'_>, now: Millis) -> bool {
        self.tier.is_subscribed(limits.rules, now)
    }

    /// Who would buy, where a tier lifts the reason.
    pub(super) fn buyer(&self, reason: &Reason, limits: Limits<'_>, now: Millis) -> Option<Buyer> {
        let is_lifted = Tier::ALL.into_iter().any(|tier| reason.is_lifted_by(tier));
        let is_subscribed = self.is_subscribed(limits, now);
        is_lifted.then_some(if is_subscribed { Buyer::Subscribed } else { Buyer::New })
    }

    /// What was used of a month, as far as D1 has the rows.
    #[must_use]
    pub fn arrived_of(&self, month: Month) -> Usage {
        self.tally.arrived().of(month)
    }

    /// Takes a project off the list. `false` where it isn't there.
    pub fn remove_project(&mut self, project: &str) -> (bool, Vec<Change>) {
        let is_removed = self.projects.remove(project);
        (is_removed, is_removed.then(|| self.projects_changed()).into_iter().collect())
    }

    /// Where the user's requests go to.
    pub(super) fn upstream<'a>(&self, limits: Limits<'a>, now: Millis) -> Option<&'a Upstream> {
        let own = self.access.upstream.as_deref();
        upstreams::choose(own, self.tier_now(limits, now), limits.upstreams)
    }

    pub(super) fn tier_now(&self, limits: Limits<'_>, now: Millis) -> Option<Tier> {
        self.tier.held(limits.rules, now).map(|held| held.tier)
    }

    /// Why the user's tier doesn't allow one more request of a project, if it doesn't.
    pub(super) fn is_beyond_the_tier(
        &self,
        project: &str,
        limits: Limits<'_>,
        now: Millis,
    ) -> Option<Reason> {
        let tier = self.tier_now(limits, now)?;
        if !self.projects.allows(project, tier.projects()) {
            let projects = self.projects.first(tier.projects()?).to_vec();
            return Some(Reason::ProjectLimitExceeded { projects });
        }
        let (month, limit) = (Month::of(now), tier.monthly_requests()?);
        let used = self.used_of_the_tier(limits, now);
        let is_used_up = used >= u64::from(limit);
        is_used_up.then(|| Reason::MonthlyQuotaExceeded { used, limit, resets: month.next() })
    }

    /// What is left of the month, where there is a limit.
    pub(super) fn month_left(&self, limits: Limits<'_>, now: Millis) -> Option<MonthStanding> {
        let limit = self.monthly_limit(limits, now)?;
        let used = u32::try_from(self.used_of_the_tier(limits, now)).unwrap_or(u32::MAX);
        Some(MonthStanding { limit, remaining: limit.saturating_sub(used) })
    }

    pub(super) fn monthly_limit(&self, limits: Limits<'_>, now: Millis) -> Option<u32> {
        self.tier_now(limits, now)?.monthly_requests()
    }

    /// Looks whether a tier has come or gone. Where one has come, what was used without it counts no
    /// more, and of more projects than it has room for those count that are used from now on.
    pub(super) fn see_tier(&mut self, limits: Limits<'_>, now: Millis) -> Vec<Change> {
        let (known, seen) = (self.tier.free_use, self.free_use(limits, now));
        if seen == known {
            return Vec::new();
        }
        let tier = self.tier_now(limits, now);
        self.tier.free_use = seen;
        let room = tier.and_then(Tier::projects).unwrap_or(usize::MAX);
        let is_crowded = self.projects.list().len() > room;
        let mut changes = vec![self.tier_changed()];
        if FreeUse::begins(known, tier.is_some()) && is_crowded {
            self.projects = Projects::default();
            changes.push(self.projects_changed());
        }
        changes
    }

    /// Requests of the month that were used without a tier.
    pub(super) fn used_without_tier(&self, limits: Limits<'_>, now: Millis) -> u64 {
        self.free_use(limits, now).map_or(0, |free| free.requests())
    }

    fn used_of_the_tier(&self, limits: Limits<'_>, now: Millis) -> u64 {
        let all = self.tally.of(Month::of(now)).requests;
        all.saturating_sub(self.used_without_tier(limits, now))
    }

    fn free_use(&self, limits: Limits<'_>, now: Millis) -> Option<FreeUse> {
        let month = Month::of(now);
        let running = self.leases.values().filter(|lease| lease.month == Some(month)).count();
        let running = u64::try_from(running).unwrap_or(u64::MAX);
        let count = Count { month, all: self.tally.of(month).requests, running };
        FreeUse::seen(self.tier.free_use, self.tier_now(limits, now).is_some(), count)
    }

    pub(super) fn projects_changed(&self) -> Change {
        Change::Projects(Box::new(self.projects.clone()))
    }

    fn tier_changed(&self) -> Change {
        Change::Tier(Box::new(self.tier.clone()))
    }
}

#[cfg(test)]
mod tests;
