//! What the operator's database shows of a user besides its requests. Nothing decides from it.
//!
//! After each turn what is to be shown is compared with what was last meant to be; a difference gets a
//! revision and is written, so that it arrives in D1 whatever dies in between, and an older one never
//! replaces a newer one there.

use serde::{Deserialize, Serialize};

use super::codex::State;
use super::view::Binding;
use super::{Change, Limits, Session};
use crate::clock::Millis;
use crate::tier::Held;

/// What is shown.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Whether a request of the user was ever admitted.
    pub is_seen: bool,
    /// The tier that it has.
    pub tier: Option<Held>,
    /// Whether it may do nothing.
    pub is_blocked: bool,
    /// How it proves to be who it is.
    pub binding: Binding,
    /// How many gateway keys are good.
    pub keys: usize,
    /// Its Codex tokens.
    pub codex: State,
}

/// What is meant to be in D1; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirror {
    /// Grows with each change.
    pub revision: u64,
    /// What is shown.
    pub profile: Profile,
    /// When there was first anything to show.
    pub since: Millis,
    /// When that last changed.
    pub changed_at: Millis,
}

impl Session {
    /// Notices what is to be shown otherwise than before. Comes after every decision.
    pub fn reflect(&mut self, limits: Limits<'_>, now: Millis) -> Option<Change> {
        let profile = Profile {
            is_seen: self.mirror.profile.is_seen || self.is_seen,
            tier: self.tier.held(limits.rules, now),
            is_blocked: self.is_blocked(),
            binding: self.access.binding(),
            keys: self.access.keys.len(),
            codex: self.codex.holds(),
        };
        if profile == self.mirror.profile {
            return None;
        }
        let Mirror { revision, since, .. } = self.mirror;
        let since = if revision == 0 { now } else { since };
        self.mirror = Mirror { revision: revision + 1, profile, since, changed_at: now };
        self.journal.ask_to_flush(now);
        Some(Change::Mirror(Box::new(self.mirror.clone())))
    }

    /// What D1 doesn't know yet, if there is anything.
    pub(super) fn unmirrored(&self) -> Option<&Mirror> {
        Some(&self.mirror).filter(|mirror| mirror.revision > self.mirrored)
    }

    /// When what is shown changes by itself: a tier ends.
    pub(super) fn tier_ends(&self) -> Option<Millis> {
        let until = self.mirror.profile.tier.and_then(|held| held.until);
        until.filter(|until| *until > self.clock.reading())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::Outcome;
    use crate::fingerprint::Fingerprint;
    use crate::session::messages::{Admit, Repair, SetTier, Settle};
    use crate::session::tests::{Disk, admit, limits, with_bearer};
    use crate::tier::Tier;

    const LIMITS: Limits<'_> = limits(9, 9);

    fn shown(disk: &mut Disk, session: &mut Session, now: Millis) -> bool {
        let change = session.reflect(LIMITS, now);
        let is_news = change.is_some();
        disk.apply(change.into_iter().collect());
        is_news
    }

    #[test]
    fn a_name_that_nobody_has_shows_nothing() {
        let (mut disk, limits) = (Disk::default(), limits(0, 9));
        let mut session = disk.restart(0);
        disk.apply(session.admit(admit("a"), limits, 0).1);
        assert!(!shown(&mut disk, &mut session, 0), "it was refused");
        disk.apply(session.admit(admit("b"), LIMITS, 0).1);
        let outcome = Outcome::answered(200, 0);
        let request_id = "b".to_owned();
        disk.apply(session.settle(Settle { request_id, outcome }, 1).1);
        assert!(shown(&mut disk, &mut session, 1) && session.mirror.profile.is_seen);
        let mut session = disk.restart(2);
        assert!(!shown(&mut disk, &mut session, 2), "it stays so");
    }

    #[test]
    fn a_change_is_due_until_it_has_arrived_whatever_dies() {
        let mut disk = Disk::default();
        let mut session = disk.restart(0);
        disk.apply(session.set_tier(&SetTier { tier: Some(Tier::Tier1) }, 5).1);
        assert!(shown(&mut disk, &mut session, 5));
        let is_due_soon = |session: &Session, since: Millis| {
            session.next_wake().is_some_and(|wake| (since + 900..since + 1_500).contains(&wake))
        };
        assert!(is_due_soon(&session, 5));
        let mut session = disk.restart(600);
        assert!(is_due_soon(&session, 600));
        let first = session.sending(0).0.1.unwrap();
        assert_eq!((first.revision, first.since), (1, 5));
        // It changes while it is on its way.
        disk.apply(session.repair(&Repair::Block { reason: None }, 700).1);
        assert!(shown(&mut disk, &mut session, 700));
        disk.apply(session.flush_succeeded(0, first.revision, 800).1);
        assert!(session.next_wake().is_some(), "the second change is still to go");
        let mut session = disk.restart(900);
        let second = session.sending(0).0.1.unwrap();
        assert_eq!((second.revision, second.since, second.changed_at), (2, 5, 700));
        disk.apply(session.flush_succeeded(0, second.revision, 950).1);
        for session in [disk.restart(950), session] {
            assert_eq!((session.next_wake(), session.unmirrored()), (None, None));
        }
    }

    #[test]
    fn the_end_of_a_tier_is_shown_without_a_request() {
        let mut disk = Disk::default();
        let mut session = disk.restart(0);
        session.bind(Fingerprint::of("sk-1"));
        let message = serde_json::json!({ "customer": "cus_1", "purchases": {
            "revision": 1, "subscriptions": [{ "id": "sub_1", "standing": "live", "items": [],
                "named": "tier2", "since": 1, "cancel_at": 90_000 }] } });
        disk.apply(session.entitle(serde_json::from_value(message).unwrap()).1);
        assert!(shown(&mut disk, &mut session, 0));
        session.flush_succeeded(0, 1, 1);
        assert_eq!(session.next_wake(), Some(90_000));
        let by_its_user = Admit { shown: with_bearer("sk-1"), ..admit("a") };
        assert!(session.admit(by_its_user, LIMITS, 2).0 != super::super::Admission::Unproven);
        session.observe(90_000);
        assert!(shown(&mut disk, &mut session, 90_000));
        assert_eq!(session.mirror.profile.tier, None);
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let tier = Some(Held { tier: Tier::Tier1, since: 7, until: None });
        let profile = Profile { is_seen: true, tier, keys: 2, ..Profile::default() };
        let mirror = Mirror { revision: 3, profile, since: 5, changed_at: 9 };
        let literal = r#"{"revision":3,"profile":{"is_seen":true,"tier":{"tier":"tier1","since":7,"until":null},"is_blocked":false,"binding":"open","keys":2,"codex":"none"},"since":5,"changed_at":9}"#;
        assert_eq!(serde_json::to_string(&mirror).unwrap(), literal);
        assert_eq!(serde_json::from_str::<Mirror>(literal).unwrap(), mirror);
    }
}
