//! Who may speak for a user: keys, a bound bearer, claim codes, a place on the roster, a block.

use serde::{Deserialize, Serialize};

use crate::claim_code::CodeRecord;
use crate::clock::Millis;
use crate::entry::Entry;
use crate::fingerprint::Fingerprint;
use crate::roster::Person;
use crate::session::messages::{Reason, Repair};
use crate::settings::UserBinding;

/// How exact the stored time of a key's last use is: writing each use would cost each request a
/// row.
const USE_PRECISION: Millis = 5 * 60_000;

/// What a caller shows to prove who it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shown {
    /// The secrets of gateway keys.
    pub keys: Vec<Fingerprint>,
    /// The bearer of `Authorization` that is no gateway key.
    pub bearer: Option<Fingerprint>,
}

impl Shown {
    /// Whether there is nothing to check.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty() && self.bearer.is_none()
    }
}

/// Whether a caller is the user that it claims to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Proof {
    /// It is.
    Proven,
    /// Nobody knows, and nobody else has proven to be.
    Unproven,
    /// It is not, or it may not act without proof.
    Refused(Reason),
}

/// What an object keeps of a gateway key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// The fingerprint of its secret.
    pub hash: Fingerprint,
    /// What its owner calls it.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created_at: String,
    /// When it was last seen, as far as that has been written.
    #[serde(default)]
    pub last_use: Option<KeyUse>,
}

/// A use of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyUse {
    /// When.
    pub at: Millis,
    /// From where.
    pub ip_hash: Option<String>,
}

/// Why a user may do nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The operator's words, for the operator alone.
    pub reason: Option<String>,
}

/// Everything that says who may speak for a user, and with which upstream; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessRecord {
    /// The user has, or had, a key, a claim code or a place on the roster: it is never again bound
    /// to a bearer that merely comes first.
    pub reserved: bool,
    /// The keys that are good.
    pub keys: Vec<KeyRecord>,
    /// The claim codes, the latest last.
    #[serde(default)]
    pub codes: Vec<CodeRecord>,
    /// The bearer that came first.
    pub bound: Option<Fingerprint>,
    /// Who the operator's roster says that this is.
    #[serde(default)]
    pub place: Option<Person>,
    /// Set while the user is blocked.
    pub blocked: Option<Block>,
    /// The name of the upstream that the operator has chosen for the user.
    #[serde(default)]
    pub upstream: Option<String>,
}

impl AccessRecord {
    /// Whether the caller is the user. `has_assets` says whether there is anything here that
    /// others could spend: then proof is needed under any binding.
    #[must_use]
    pub fn proof(&self, shown: &Shown, binding: UserBinding, has_assets: bool) -> Proof {
        if !shown.keys.is_empty() {
            // Each is compared with each, so that the time tells nothing.
            let is_known =
                |key: &Fingerprint| self.keys.iter().filter(|known| known.hash == *key).count() > 0;
            let wrong = shown.keys.iter().filter(|key| !is_known(key)).count();
            return if wrong == 0 { Proof::Proven } else { Proof::Refused(Reason::InvalidKey) };
        }
        let needs_proof = has_assets || binding == UserBinding::FirstKey;
        match &self.bound {
            _ if binding == UserBinding::Key => Proof::Refused(Reason::MissingKey),
            Some(bound) if shown.bearer.as_ref() == Some(bound) => Proof::Proven,
            Some(_) if needs_proof => Proof::Refused(Reason::UserIdBound),
            None if has_assets => Proof::Refused(Reason::MissingKey),
            None if self.reserved && needs_proof => Proof::Refused(Reason::MissingKey),
            _ => Proof::Unproven,
        }
    }

    /// Whether anybody has ever proven to be this user, or was named by the operator.
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.reserved || self.bound.is_some()
    }

    /// Whether the bearer of a request that succeeds may become the user's own.
    #[must_use]
    pub const fn may_be_bound(&self) -> bool {
        !self.is_known()
    }

    /// Binds the user to a bearer, unless it is known already. `true` where it now is.
    pub fn bind(&mut self, bearer: Fingerprint) -> bool {
        let may = self.may_be_bound();
        if may {
            self.bound = Some(bearer);
        }
        may
    }

    /// Adds a key, unless there is one of the same id.
    pub fn add_key(&mut self, key: KeyRecord) -> bool {
        if self.keys.iter().any(|known| known.hash.id() == key.hash.id()) {
            return false;
        }
        self.reserved = true;
        self.keys.push(key);
        true
    }

    /// Notes that keys were used for a request. `true` where that is worth writing.
    pub fn note_use(&mut self, shown: &Shown, entry: &Entry, now: Millis) -> bool {
        let used = self.keys.iter_mut().filter(|key| shown.keys.contains(&key.hash));
        used.fold(false, |is_worth_writing, key| {
            // A time ahead of the clock is no time to keep.
            let is_recent = |last: &KeyUse| (last.at..last.at + USE_PRECISION).contains(&now);
            let is_news = !key.last_use.as_ref().is_some_and(is_recent);
            if is_news {
                key.last_use = Some(KeyUse { at: now, ip_hash: entry.ip_hash.clone() });
            }
            is_worth_writing || is_news
        })
    }

    /// Does what an operator asks for. `true` where it changed anything.
    pub fn repair(&mut self, repair: &Repair) -> bool {
        let before = self.clone();
        match repair {
            Repair::RevokeKey { key_id } => self.keys.retain(|key| key.hash.id() != key_id),
            Repair::Unbind => self.bound = None,
            Repair::Block { reason } => self.blocked = Some(Block { reason: reason.clone() }),
            Repair::Unblock => self.blocked = None,
            Repair::Assign { upstream } => self.upstream.clone_from(upstream),
            Repair::ResetWindow => {}
        }
        *self != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::tests::entry;

    fn key(secret: &str) -> KeyRecord {
        let (label, created_at) = ("laptop".to_owned(), "2026".to_owned());
        KeyRecord { hash: Fingerprint::of(secret), label, created_at, last_use: None }
    }

    fn keys(secrets: &[&str]) -> Shown {
        Shown { keys: secrets.iter().map(|s| Fingerprint::of(s)).collect(), bearer: None }
    }

    fn bearer(bearer: &str) -> Shown {
        Shown { keys: Vec::new(), bearer: Some(Fingerprint::of(bearer)) }
    }

    #[test]
    fn who_is_believed() {
        use UserBinding::{FirstKey, Key, Open};
        let refused = Proof::Refused;
        let nobody = AccessRecord::default();
        let mut bound = AccessRecord::default();
        assert!(bound.bind(Fingerprint::of("sk-1")));
        let mut keyed = bound.clone();
        assert!(keyed.add_key(key("k1")));
        let mut rostered = AccessRecord { reserved: true, ..AccessRecord::default() };
        assert!(!rostered.bind(Fingerprint::of("sk-1")), "a reserved name is never bound");
        assert!(!bound.bind(Fingerprint::of("sk-2")), "nor is one that is bound");
        for (record, shown, binding, has_assets, expected) in [
            (&nobody, Shown::default(), Open, false, Proof::Unproven),
            (&nobody, bearer("sk-1"), FirstKey, false, Proof::Unproven),
            (&nobody, bearer("sk-1"), FirstKey, true, refused(Reason::MissingKey)),
            (&nobody, bearer("sk-1"), Open, true, refused(Reason::MissingKey)),
            (&nobody, bearer("sk-1"), Key, false, refused(Reason::MissingKey)),
            (&nobody, keys(&["k1"]), Open, false, refused(Reason::InvalidKey)),
            (&bound, bearer("sk-1"), FirstKey, true, Proof::Proven),
            (&bound, bearer("sk-1"), Open, true, Proof::Proven),
            (&bound, bearer("sk-1"), Key, true, refused(Reason::MissingKey)),
            (&bound, bearer("sk-2"), FirstKey, false, refused(Reason::UserIdBound)),
            (&bound, Shown::default(), FirstKey, false, refused(Reason::UserIdBound)),
            (&bound, bearer("sk-2"), Open, false, Proof::Unproven),
            (&bound, bearer("sk-2"), Open, true, refused(Reason::UserIdBound)),
            (&keyed, bearer("sk-1"), FirstKey, false, Proof::Proven),
            (&keyed, keys(&["k1"]), Key, true, Proof::Proven),
            (&keyed, keys(&["k1", "k2"]), Open, false, refused(Reason::InvalidKey)),
            (&rostered, bearer("sk-1"), FirstKey, false, refused(Reason::MissingKey)),
            (&rostered, bearer("sk-1"), Open, false, Proof::Unproven),
        ] {
            let proof = record.proof(&shown, binding, has_assets);
            assert_eq!(proof, expected, "{record:?} {shown:?} {binding:?} {has_assets}");
        }
    }

    #[test]
    fn a_revoked_key_is_no_key_and_its_user_stays_reserved() {
        let mut record = AccessRecord::default();
        assert!(
            record.add_key(key("k1")) && record.add_key(key("k2")) && !record.add_key(key("k2"))
        );
        let key_id = Fingerprint::of("k1").id().to_owned();
        assert!(record.repair(&Repair::RevokeKey { key_id: key_id.clone() }));
        assert!(!record.repair(&Repair::RevokeKey { key_id }), "it is gone");
        let proof = |secret| record.proof(&keys(&[secret]), UserBinding::Key, false);
        assert_eq!(proof("k1"), Proof::Refused(Reason::InvalidKey));
        assert_eq!(proof("k2"), Proof::Proven);
        let last = Repair::RevokeKey { key_id: Fingerprint::of("k2").id().to_owned() };
        assert!(record.clone().repair(&last) && !record.may_be_bound());
    }

    #[test]
    fn a_use_is_written_every_five_minutes() {
        let mut record = AccessRecord::default();
        record.add_key(key("k1"));
        let shown = keys(&["k1"]);
        let written: Vec<_> = [0, 1, USE_PRECISION - 1, USE_PRECISION, USE_PRECISION + 1]
            .map(|now| record.note_use(&shown, &entry("r"), now))
            .into();
        assert_eq!(written, [true, false, false, true, false]);
        assert!(!record.note_use(&bearer("sk-1"), &entry("r"), 9 * USE_PRECISION));
    }

    #[test]
    fn the_stored_format_is_pinned() {
        let mut record = AccessRecord::default();
        record.bind(Fingerprint::of("sk-1"));
        record.add_key(key("k1"));
        record.note_use(&keys(&["k1"]), &entry("r"), 7);
        record.repair(&Repair::Block { reason: Some("a leaked key".to_owned()) });
        record.repair(&Repair::Assign { upstream: Some("studio".to_owned()) });
        record.codes.push(CodeRecord::open(Fingerprint::of("sk-1"), 9));
        let (name, email) = ("Ada Lovelace".to_owned(), "ada@example.com".to_owned());
        record.place = Some(Person { name, plain: "ada-lovelace".to_owned(), email });
        let (k1, sk1) = (Fingerprint::of("k1"), Fingerprint::of("sk-1"));
        let literal = serde_json::json!({
            "reserved": true,
            "keys": [{ "hash": k1, "label": "laptop", "created_at": "2026",
                "last_use": { "at": 7, "ip_hash": null } }],
            "codes": [{ "hash": sk1, "expires_at": 9, "wrong": 0, "state": "open" }],
            "bound": sk1,
            "place": { "name": "Ada Lovelace", "plain": "ada-lovelace",
                "email": "ada@example.com" },
            "blocked": { "reason": "a leaked key" },
            "upstream": "studio",
        });
        assert_eq!(serde_json::to_value(&record).unwrap(), literal);
        assert_eq!(serde_json::from_value::<AccessRecord>(literal).unwrap(), record);
    }
}
