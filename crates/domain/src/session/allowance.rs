//! What a user may use: the tier that it has.

use super::messages::{Entitle, SetTier};
use super::{Change, Session};
use crate::clock::Millis;

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

    fn tier_changed(&self) -> Change {
        Change::Tier(Box::new(self.tier.clone()))
    }
}

#[cfg(test)]
mod tests;
