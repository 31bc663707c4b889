//! Claim codes: `ABCD-EFGH`, which a person types once to get a gateway key.
//!
//! A code is 40 random bits, in symbols that people copy without mistakes. What is kept is its
//! fingerprint together with the USER_ID, so that a code means something for one user alone. Only who
//! holds a code that fits hears more than "invalid".

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::fingerprint::Fingerprint;
use crate::identifiers::UserId;
use crate::symbols::Symbols;

const LENGTH: usize = 8;

/// For how long a code is good where nothing else is said: 30 days, in seconds.
pub const DEFAULT_TTL_SECONDS: i64 = 30 * 24 * 60 * 60;

/// For how long a code may be good: a minute to a year, in seconds.
pub const TTL_SECONDS: RangeInclusive<i64> = 60..=365 * 24 * 60 * 60;

/// How many wrong guesses a code survives, less one.
const DEADLY_GUESSES: u32 = 50;

/// How many codes of a user are kept, the spent ones among them.
const MOST_CODES: usize = 10;

/// A code as a person reads and writes it: a secret, so it has no `Debug` and isn't serialised.
pub struct ClaimCode(Symbols<LENGTH>);

impl ClaimCode {
    /// Makes the code of 40 random bits.
    #[must_use]
    pub fn mint(random: [u8; 5]) -> Self {
        Self(Symbols::mint(&random))
    }

    /// Reads what a person typed, forgivingly. `None` where it can't be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Symbols::parse(text).map(Self)
    }

    /// What is kept of the code, for one user: the parts are length-prefixed, so that no two pairs
    /// have the same fingerprint.
    #[must_use]
    pub fn fingerprint(&self, user_id: &UserId) -> Fingerprint {
        let user_id = user_id.as_str();
        let (length, canonical) = (user_id.len(), self.0.canonical());
        Fingerprint::of(&format!("{length}:{user_id}{LENGTH}:{canonical}"))
    }

    /// The code as a person gets it: `ABCD-EFGH`.
    #[must_use]
    pub fn expose(&self) -> String {
        self.0.grouped()
    }
}

/// What an object keeps of a code.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeRecord {
    /// The fingerprint of the code and its user.
    pub hash: Fingerprint,
    /// From when on it is no good any more.
    pub expires_at: Millis,
    /// How often its user's code was guessed wrongly while it was open.
    pub wrong: u32,
    /// What has become of it.
    pub state: CodeState,
}

impl CodeRecord {
    /// A code that nobody has used yet.
    #[must_use]
    pub const fn open(hash: Fingerprint, expires_at: Millis) -> Self {
        Self { hash, expires_at, wrong: 0, state: CodeState::Open }
    }

    fn is_good(&self, now: Millis) -> bool {
        self.state == CodeState::Open && now < self.expires_at && self.wrong < DEADLY_GUESSES
    }
}

/// What has become of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CodeState {
    /// It can be redeemed, unless it has expired or was guessed at too often.
    Open,
    /// It was redeemed.
    Used,
    /// The operator has given out another in its place.
    Void,
}

/// What a code is worth that somebody shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Worth {
    /// It fits and is good.
    Good,
    /// It is none of the user's.
    Invalid,
    /// It fits, and was redeemed before.
    Used,
    /// It fits, and is no good any more: too old, replaced, or guessed at too often.
    Expired,
}

/// Adds a code to a user's codes; beyond ten, the oldest is forgotten.
pub fn issue(codes: &mut Vec<CodeRecord>, code: CodeRecord) {
    codes.push(code);
    codes.drain(..codes.len().saturating_sub(MOST_CODES));
}

/// Makes the codes void that nobody has used.
pub fn void_open(codes: &mut [CodeRecord]) {
    for code in codes.iter_mut().filter(|code| code.state == CodeState::Open) {
        code.state = CodeState::Void;
    }
}

/// Says what a code is worth; all of the user's are compared, in constant time.
#[must_use]
pub fn judge(codes: &[CodeRecord], shown: &Fingerprint, now: Millis) -> Worth {
    let fitting = codes.iter().filter(|code| code.hash == *shown).fold(None, |_, code| Some(code));
    match fitting {
        None => Worth::Invalid,
        Some(code) if code.state == CodeState::Used => Worth::Used,
        Some(code) if code.is_good(now) => Worth::Good,
        Some(_) => Worth::Expired,
    }
}

/// Uses a code up.
pub fn use_up(codes: &mut [CodeRecord], shown: &Fingerprint) {
    for code in codes.iter_mut().filter(|code| code.hash == *shown) {
        code.state = CodeState::Used;
    }
}

/// Whether there is a code that may be guessed.
#[must_use]
pub fn is_any_good(codes: &[CodeRecord], now: Millis) -> bool {
    codes.iter().any(|code| code.is_good(now))
}

/// Counts a wrong guess against every code that is good.
pub fn count_wrong(codes: &mut [CodeRecord], now: Millis) {
    for code in codes.iter_mut().filter(|code| code.is_good(now)) {
        code.wrong += 1;
    }
}

#[cfg(test)]
mod tests;
