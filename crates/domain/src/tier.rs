//! Tiers: what people pay for, what each allows, and which one a user has.
//!
//! A tier comes from what a user has bought, or from the operator. What was bought is kept as the
//! user's Stripe customers tell it, whole and newest last; the user has the highest of all that is
//! alive.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::free_use::FreeUse;

/// What a user pays for; a higher one is greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// One project, 10,000 requests a month.
    Tier1,
    /// Three projects, 50,000 requests a month, ahead of others in a queue.
    Tier2,
    /// No limits, and a node of its own where the operator has one.
    Tier3,
}

impl Tier {
    /// All of them, the lowest first.
    pub const ALL: [Self; 3] = [Self::Tier1, Self::Tier2, Self::Tier3];

    /// The tier of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|tier| tier.name() == name)
    }

    /// Its name, as in settings and on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tier1 => "tier1",
            Self::Tier2 => "tier2",
            Self::Tier3 => "tier3",
        }
    }

    /// Requests a calendar month; `None` for no limit.
    #[must_use]
    pub const fn monthly_requests(self) -> Option<u32> {
        match self {
            Self::Tier1 => Some(10_000),
            Self::Tier2 => Some(50_000),
            Self::Tier3 => None,
        }
    }

    /// Projects; `None` for no limit.
    #[must_use]
    pub const fn projects(self) -> Option<usize> {
        match self {
            Self::Tier1 => Some(1),
            Self::Tier2 => Some(3),
            Self::Tier3 => None,
        }
    }

    /// The share in a queue, next to 1 for no tier.
    #[must_use]
    pub const fn weight(self) -> u32 {
        match self {
            Self::Tier1 => 1,
            Self::Tier2 => 2,
            Self::Tier3 => 4,
        }
    }
}

/// What the settings say of tiers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TierRules {
    /// `REQUIRE_TIER`: who has none may send nothing.
    pub is_required: bool,
    /// `GRACE_DAYS`, in milliseconds: how long a tier outlives a payment that failed.
    pub grace: Millis,
    /// `STRIPE_PRICES`: the tier of a price, or of a payment link, by its id.
    pub prices: BTreeMap<String, Tier>,
}

/// How a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Paid for, or being tried.
    Live,
    /// A payment failed, and Stripe tries again.
    PastDue {
        /// When it first did, since it was last paid.
        since: Millis,
    },
    /// Ended, or never begun.
    Over,
}

/// What a checkout says of what was bought.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wares {
    /// The payment link.
    pub items: Vec<String>,
    /// The tier that the merchant wrote into its metadata; a known link goes before it.
    pub named: Option<Tier>,
}

/// A subscription, as the newest that is known of it says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Stripe's id of it.
    pub id: String,
    /// Whether it is alive.
    pub standing: Standing,
    /// The ids of what was bought: prices, or the payment link until the prices are known.
    pub items: Vec<String>,
    /// The tier that the merchant wrote into its metadata; a known item goes before it.
    pub named: Option<Tier>,
    /// What it was bought as, which counts where nobody knows what it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkout: Option<Wares>,
    /// When it began.
    pub since: Millis,
    /// When it will end, where that is decided.
    pub cancel_at: Option<Millis>,
}

impl Subscription {
    /// Whether it goes on being paid for: it is alive, and nobody has cancelled it.
    #[must_use]
    pub fn is_paying(&self) -> bool {
        self.standing != Standing::Over && self.cancel_at.is_none()
    }

    /// The tier that it is for: by its items, then its metadata, then what it was bought as.
    #[must_use]
    pub fn tier(&self, prices: &BTreeMap<String, Tier>) -> Option<Tier> {
        let known =
            |items: &[String]| items.iter().filter_map(|item| prices.get(item)).max().copied();
        let own = known(&self.items).or(self.named);
        own.or_else(|| self.checkout.as_ref().and_then(|wares| known(&wares.items).or(wares.named)))
    }

    /// What it gives at this moment; `None` where it isn't alive or nobody knows what it is.
    fn gives(&self, rules: &TierRules, now: Millis) -> Option<Held> {
        let grace_ends = match self.standing {
            Standing::Live => None,
            Standing::PastDue { since } => Some(since.saturating_add(rules.grace)),
            Standing::Over => return None,
        };
        let until = [grace_ends, self.cancel_at].into_iter().flatten().min();
        let tier = self.tier(&rules.prices)?;
        let is_alive = until.is_none_or(|until| now < until);
        is_alive.then_some(Held { tier, since: self.since, until })
    }
}

/// All that one Stripe customer has bought for a user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Purchases {
    /// Grows with each change, so that an old list never replaces a newer one.
    pub revision: u64,
    /// The subscriptions, ended ones too as long as they may still be asked for.
    pub subscriptions: Vec<Subscription>,
}

/// A tier that a user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Held {
    /// Which.
    pub tier: Tier,
    /// Since when.
    pub since: Millis,
    /// Until when, where its end is known: it was cancelled, or a payment failed.
    pub until: Option<Millis>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Bought {
    purchases: Purchases,
    /// The operator has set a tier since: this counts no more until there is something new.
    is_overruled: bool,
}

/// Everything that says which tier a user has; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierRecord {
    /// What the operator gave.
    granted: Option<Held>,
    /// What was bought, by Stripe's id of the customer.
    customers: BTreeMap<String, Bought>,
    /// What was used without a tier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_use: Option<FreeUse>,
}

impl TierRecord {
    /// Takes what a customer has bought. `false` where something newer is known already.
    pub fn take(&mut self, customer: String, purchases: Purchases) -> bool {
        let known = self.customers.entry(customer).or_default();
        let is_news = purchases.revision > known.purchases.revision;
        if is_news {
            *known = Bought { purchases, is_overruled: false };
        }
        is_news
    }

    /// The operator's word: it stands alone until a purchase changes, and beside it from then on.
    pub fn grant(&mut self, tier: Option<Tier>, now: Millis) {
        self.granted = tier.map(|tier| Held { tier, since: now, until: None });
        for bought in self.customers.values_mut() {
            bought.is_overruled = true;
        }
    }

    /// What the operator gave.
    #[must_use]
    pub fn given(&self) -> Option<Tier> {
        self.granted.map(|held| held.tier)
    }

    /// The Stripe customers that have told anything.
    #[must_use]
    pub fn customers(&self) -> Vec<String> {
        self.customers.keys().cloned().collect()
    }

    /// The subscriptions that go on being paid for: alive, and not cancelled.
    #[must_use]
    pub fn paying(&self) -> Vec<String> {
        let bought = self.customers.values().flat_map(|bought| &bought.purchases.subscriptions);
        let paying = bought.filter(|subscription| subscription.is_paying());
        paying.map(|subscription| subscription.id.clone()).collect()
    }

    /// Whether a subscription to a tier runs at Stripe, paid for or not yet again: another would be
    /// paid for beside it.
    #[must_use]
    pub fn is_subscribed(&self, rules: &TierRules, now: Millis) -> bool {
        let runs = |subscription: &Subscription| {
            subscription.standing != Standing::Over
                && subscription.cancel_at.is_none_or(|end| now < end)
                && subscription.tier(&rules.prices).is_some()
        };
        self.customers.values().flat_map(|bought| &bought.purchases.subscriptions).any(runs)
    }

    /// The tier at this moment: the highest, and of two that are equal the one that lasts longer.
    #[must_use]
    pub fn held(&self, rules: &TierRules, now: Millis) -> Option<Held> {
        let counting = self.customers.values().filter(|bought| !bought.is_overruled);
        let subscriptions = counting.flat_map(|bought| &bought.purchases.subscriptions);
        let bought = subscriptions.filter_map(|subscription| subscription.gives(rules, now));
        bought.chain(self.granted).max_by_key(|held| (held.tier, held.until.unwrap_or(Millis::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Millis = 86_400_000;

    fn rules() -> TierRules {
        let prices = [("price_1", Tier::Tier1), ("price_3", Tier::Tier3)];
        let prices = prices.map(|(id, tier)| (id.to_owned(), tier)).into();
        TierRules { is_required: false, grace: 7 * DAY, prices }
    }

    fn bought(item: &str, standing: Standing) -> Subscription {
        let (id, items) = (format!("sub of {item}"), vec![item.to_owned()]);
        Subscription { id, standing, items, named: None, checkout: None, since: 1, cancel_at: None }
    }

    fn record(subscriptions: Vec<Subscription>) -> TierRecord {
        let mut record = TierRecord::default();
        assert!(record.take("cus_1".to_owned(), Purchases { revision: 1, subscriptions }));
        record
    }

    fn tier(record: &TierRecord, now: Millis) -> Option<Tier> {
        record.held(&rules(), now).map(|held| held.tier)
    }

    #[test]
    fn the_highest_that_is_alive_counts() {
        let both = vec![bought("price_3", Standing::Over), bought("price_1", Standing::Live)];
        assert_eq!(tier(&record(both), 9), Some(Tier::Tier1));
        let both = vec![bought("price_3", Standing::Live), bought("price_1", Standing::Live)];
        assert_eq!(tier(&record(both), 9), Some(Tier::Tier3));
        let unknown = bought("price_9", Standing::Live);
        assert_eq!(tier(&record(vec![unknown.clone()]), 9), None, "nothing is granted for it");
        let named = Subscription { named: Some(Tier::Tier2), ..unknown };
        assert_eq!(tier(&record(vec![named]), 9), Some(Tier::Tier2));
        let renamed =
            Subscription { named: Some(Tier::Tier2), ..bought("price_1", Standing::Live) };
        assert_eq!(tier(&record(vec![renamed]), 9), Some(Tier::Tier1), "a known price is newer");
    }

    #[test]
    fn what_it_was_bought_as_counts_where_nobody_knows_what_it_is_now() {
        let of = |item: &str, named, checkout| {
            let bought = bought(item, Standing::Live);
            tier(&record(vec![Subscription { named, checkout: Some(checkout), ..bought }]), 9)
        };
        let wares = |item: &str, named| Wares { items: vec![item.to_owned()], named };
        assert_eq!(of("price_9", None, wares("price_3", None)), Some(Tier::Tier3));
        assert_eq!(of("price_9", None, wares("plink_9", Some(Tier::Tier2))), Some(Tier::Tier2));
        assert_eq!(of("price_9", None, wares("plink_9", None)), None);
        assert_eq!(of("price_1", None, wares("price_3", None)), Some(Tier::Tier1), "no maximum");
        assert_eq!(of("price_9", Some(Tier::Tier1), wares("price_3", None)), Some(Tier::Tier1));
    }

    #[test]
    fn a_tier_has_the_name_that_it_has_on_the_wire() {
        for tier in Tier::ALL {
            assert_eq!(serde_json::to_value(tier).unwrap(), tier.name());
            assert_eq!(Tier::named(tier.name()), Some(tier));
        }
        assert_eq!(Tier::named("Tier1"), None);
    }

    #[test]
    fn grace_and_cancellation_end_by_themselves() {
        let late = record(vec![bought("price_1", Standing::PastDue { since: DAY })]);
        assert_eq!(late.held(&rules(), DAY).unwrap().until, Some(8 * DAY));
        assert_eq!(tier(&late, 8 * DAY - 1), Some(Tier::Tier1));
        assert_eq!(tier(&late, 8 * DAY), None);
        let cancelled =
            Subscription { cancel_at: Some(2 * DAY), ..bought("price_1", Standing::Live) };
        let cancelled = record(vec![cancelled]);
        assert_eq!(tier(&cancelled, 2 * DAY - 1), Some(Tier::Tier1));
        assert_eq!(tier(&cancelled, 2 * DAY), None);
    }

    #[test]
    fn an_old_list_never_replaces_a_newer_one() {
        let mut record = record(vec![bought("price_1", Standing::Live)]);
        let news = |revision| Purchases { revision, subscriptions: Vec::new() };
        assert!(!record.take("cus_1".to_owned(), news(1)));
        assert_eq!(tier(&record, 9), Some(Tier::Tier1));
        assert!(record.take("cus_1".to_owned(), news(2)));
        assert_eq!(tier(&record, 9), None);
    }

    #[test]
    fn the_operators_word_stands_until_a_purchase_changes() {
        let mut record = record(vec![bought("price_3", Standing::Live)]);
        record.grant(Some(Tier::Tier1), 5);
        assert_eq!(record.held(&rules(), 9).unwrap().since, 5);
        assert_eq!(tier(&record, 9), Some(Tier::Tier1));
        record.grant(None, 6);
        assert_eq!(tier(&record, 9), None);
        let subscriptions = vec![bought("price_3", Standing::Live)];
        record.take("cus_1".to_owned(), Purchases { revision: 2, subscriptions });
        assert_eq!(tier(&record, 9), Some(Tier::Tier3));
    }

    #[test]
    fn a_subscription_runs_until_it_is_over_whatever_it_gives() {
        let late = bought("price_1", Standing::PastDue { since: DAY });
        assert!(record(vec![late.clone()]).is_subscribed(&rules(), 99 * DAY), "Stripe tries again");
        assert!(!record(vec![bought("price_9", Standing::Live)]).is_subscribed(&rules(), 9));
        assert!(!record(vec![bought("price_1", Standing::Over)]).is_subscribed(&rules(), 9));
        let cancelled = record(vec![Subscription { cancel_at: Some(DAY), ..late }]);
        assert!(
            cancelled.is_subscribed(&rules(), DAY - 1) && !cancelled.is_subscribed(&rules(), DAY)
        );
        let mut given = TierRecord::default();
        given.grant(Some(Tier::Tier3), 0);
        assert!(!given.is_subscribed(&rules(), 9), "nobody pays for that");
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let late = Subscription {
            named: Some(Tier::Tier2),
            cancel_at: Some(9),
            ..bought("price_1", Standing::PastDue { since: 3 })
        };
        let mut record = record(vec![late]);
        record.grant(Some(Tier::Tier3), 7);
        let literal = serde_json::json!({
            "granted": { "tier": "tier3", "since": 7, "until": null },
            "customers": { "cus_1": { "is_overruled": true, "purchases": {
                "revision": 1, "subscriptions": [{
                    "id": "sub of price_1", "standing": { "past_due": { "since": 3 } },
                    "items": ["price_1"], "named": "tier2", "since": 1, "cancel_at": 9,
                }],
            } } },
        });
        assert_eq!(serde_json::to_value(&record).unwrap(), literal);
        assert_eq!(serde_json::from_value::<TierRecord>(literal).unwrap(), record);
    }
}
