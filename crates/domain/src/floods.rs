//! The refusals that an isolate remembers, so that who floods costs no object a call each.
//!
//! Only a full window is remembered, for what the same caller asks of the same project, of a user whose
//! object has begun to count such refusals together. It is forgotten at the instant a slot frees, and
//! after a second in any case: what an operator mends holds by then.

use std::collections::BTreeMap;

use crate::clock::Millis;
use crate::identifiers::UserId;
use crate::session::access::Shown;
use crate::session::messages::{Admit, Reason, Refusal, Standing};

/// How long a refusal is remembered at most, in milliseconds.
const LONGEST: Millis = 1_000;

/// Of how many users at once; the others' objects are asked.
const USERS: usize = 256;

/// Refusals by user.
#[derive(Debug, Default)]
pub struct Floods {
    remembered: BTreeMap<UserId, Remembered>,
}

#[derive(Debug)]
struct Remembered {
    shown: Shown,
    project: String,
    refusal: Refusal,
    /// When the object was asked.
    since: Millis,
    /// How long nothing changes by itself.
    holds_for: Millis,
}

impl Floods {
    /// Remembers what an object replied, which was asked `since` then, if that is to be remembered.
    pub fn remember(&mut self, message: &Admit, refusal: &Refusal, since: Millis) {
        let Reason::RateLimited { retry_after_ms } = refusal.reason else { return };
        if !refusal.is_uncounted {
            return;
        }
        self.remembered.retain(|_, kept| kept.holds_at(since));
        let user_id = &message.entry.user_id;
        if self.remembered.len() >= USERS && !self.remembered.contains_key(user_id) {
            return;
        }
        let kept = Remembered {
            shown: message.shown.clone(),
            project: message.entry.project.clone(),
            refusal: refusal.clone(),
            since,
            holds_for: retry_after_ms.min(LONGEST),
        };
        self.remembered.insert(user_id.clone(), kept);
    }

    /// What the object would reply now to who shows this for a request of this project, where that is
    /// known.
    #[must_use]
    pub fn recall(
        &self,
        user_id: &UserId,
        shown: &Shown,
        project: &str,
        now: Millis,
    ) -> Option<Refusal> {
        let kept = self.remembered.get(user_id)?;
        let is_alike = kept.shown == *shown && kept.project == project;
        (is_alike && kept.holds_at(now)).then(|| kept.at(now))
    }
}

impl Remembered {
    /// Not before it was asked for either: a clock that stepped back tells nothing.
    fn holds_at(&self, now: Millis) -> bool {
        (0..self.holds_for).contains(&(now - self.since))
    }

    fn at(&self, now: Millis) -> Refusal {
        let elapsed = now - self.since;
        let mut refusal = self.refusal.clone();
        if let Reason::RateLimited { retry_after_ms } = &mut refusal.reason {
            *retry_after_ms -= elapsed;
        }
        if let Some(Standing { empty_in_ms, next_free_ms, .. }) = &mut refusal.standing {
            *empty_in_ms -= elapsed;
            *next_free_ms -= elapsed;
        }
        refusal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::entry;

    fn asks(user_id: &str) -> Admit {
        let entry = crate::entry::Entry { user_id: UserId::parse(user_id).unwrap(), ..entry("r") };
        let shown = Shown::default();
        Admit {
            shown,
            vouched: false,
            is_free: false,
            previous_response_id: None,
            funds: None,
            entry,
        }
    }

    fn refused(retry_after_ms: Millis) -> Refusal {
        let standing = Standing {
            limit: 5,
            remaining: 0,
            empty_in_ms: 40_000,
            next_free_ms: retry_after_ms,
            month: None,
        };
        let reason = Reason::RateLimited { retry_after_ms };
        Refusal { reason, standing: Some(standing), buyer: None, is_uncounted: true }
    }

    fn recall(floods: &Floods, message: &Admit, now: Millis) -> Option<Refusal> {
        floods.recall(&message.entry.user_id, &message.shown, &message.entry.project, now)
    }

    fn wait(refusal: Option<Refusal>) -> Option<Millis> {
        refusal.map(|refusal| match refusal.reason {
            Reason::RateLimited { retry_after_ms } => retry_after_ms,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn a_refusal_holds_until_a_slot_frees_and_no_longer_than_a_second() {
        let mut floods = Floods::default();
        floods.remember(&asks("ada"), &refused(300), 10_000);
        assert_eq!(wait(recall(&floods, &asks("ada"), 10_299)), Some(1));
        assert_eq!(recall(&floods, &asks("ada"), 10_300), None);
        floods.remember(&asks("ada"), &refused(30_000), 10_000);
        assert_eq!(wait(recall(&floods, &asks("ada"), 10_999)), Some(29_001));
        let standing = recall(&floods, &asks("ada"), 10_999).unwrap().standing.unwrap();
        assert_eq!((standing.next_free_ms, standing.empty_in_ms), (29_001, 39_001));
        assert_eq!(recall(&floods, &asks("ada"), 11_000), None);
        assert_eq!(recall(&floods, &asks("ada"), 9_999), None, "the clock stepped back");
    }

    #[test]
    fn whoever_might_hear_something_else_is_asked_for() {
        let mut floods = Floods::default();
        floods.remember(&asks("ada"), &refused(900), 0);
        assert_eq!(recall(&floods, &asks("bob"), 1), None);
        let mut other = asks("ada");
        other.shown.bearer = Some(crate::fingerprint::Fingerprint::of("sk-other"));
        assert_eq!(recall(&floods, &other, 1), None, "another credential");
        let mut other = asks("ada");
        other.entry.project = "other".to_owned();
        assert_eq!(recall(&floods, &other, 1), None, "another project");
    }

    #[test]
    fn only_a_full_window_is_remembered_and_only_of_who_floods() {
        let mut floods = Floods::default();
        floods.remember(&asks("ada"), &Refusal { is_uncounted: false, ..refused(900) }, 0);
        let reason = Reason::TooManyInFlight;
        floods.remember(&asks("ada"), &Refusal { reason, ..refused(900) }, 0);
        assert_eq!(recall(&floods, &asks("ada"), 1), None);
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut floods = Floods::default();
        for number in 0..2 * USERS {
            floods.remember(&asks(&format!("u{number}")), &refused(900), 0);
        }
        assert_eq!(floods.remembered.len(), USERS);
        floods.remember(&asks("late"), &refused(900), 900);
        assert_eq!(floods.remembered.len(), 1, "what is over makes room");
    }
}
