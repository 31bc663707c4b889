//! What a user may use: the tier that it has, and its month.

use super::messages::{Entitle, MonthStanding, Reason, SetTier};
use super::{Change, Limits, Session};
use crate::clock::Millis;
use crate::month::Month;

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

    /// Why the month admits no more, if it doesn't.
    pub(super) fn month_is_used_up(&self, limits: Limits<'_>, now: Millis) -> Option<Reason> {
        let (month, limit) = (Month::of(now), self.monthly_limit(limits, now)?);
        let used = self.tally.of(month).requests;
        let is_used_up = used >= u64::from(limit);
        is_used_up.then(|| Reason::MonthlyQuotaExceeded { used, limit, resets: month.next() })
    }

    /// What is left of the month, where there is a limit.
    pub(super) fn month_left(&self, limits: Limits<'_>, now: Millis) -> Option<MonthStanding> {
        let limit = self.monthly_limit(limits, now)?;
        let used = u32::try_from(self.tally.of(Month::of(now)).requests).unwrap_or(u32::MAX);
        Some(MonthStanding { limit, remaining: limit.saturating_sub(used) })
    }

    pub(super) fn monthly_limit(&self, limits: Limits<'_>, now: Millis) -> Option<u32> {
        self.tier.held(limits.rules, now)?.tier.monthly_requests()
    }

    fn tier_changed(&self) -> Change {
        Change::Tier(Box::new(self.tier.clone()))
    }
}

#[cfg(test)]
mod tests;
