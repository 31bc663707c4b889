//! Claim codes: `ABCD-EFGH`, which a person types once to get a gateway key.
//!
//! A code is 40 random bits in the 32 symbols of Crockford's base 32, none of which is easily taken
//! for another. What is kept is its fingerprint together with the USER_ID, so that a code means
//! something for one user alone. Only who holds a code that fits hears more than "invalid".

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

use crate::clock::Millis;
use crate::fingerprint::Fingerprint;
use crate::identifiers::UserId;

const SYMBOLS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
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
pub struct ClaimCode([u8; LENGTH]);

impl ClaimCode {
    /// Makes the code of 40 random bits: each symbol has five of them.
    #[must_use]
    pub fn mint(random: [u8; 5]) -> Self {
        let bits = random.iter().fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte));
        let symbol = |place: usize| {
            let digit = usize::try_from(bits >> (5 * (LENGTH - 1 - place)) & 31).unwrap_or(0);
            SYMBOLS.get(digit).copied().unwrap_or(b'0')
        };
        Self(std::array::from_fn(symbol))
    }

    /// Reads what a person typed: in any case, with blanks and dashes anywhere or nowhere, and with
    /// the letters I, L and O for the digits that they look like. `None` where it can't be a code.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut symbols = text.chars().filter(|letter| !is_filler(*letter)).map(read_symbol);
        let mut code = [0; LENGTH];
        for place in &mut code {
            *place = symbols.next()??;
        }
        symbols.next().is_none().then_some(Self(code))
    }

    /// What is kept of the code, for one user: the parts are length-prefixed, so that no two pairs
    /// have the same fingerprint.
    #[must_use]
    pub fn fingerprint(&self, user_id: &UserId) -> Fingerprint {
        let user_id = user_id.as_str();
        let (length, canonical) = (user_id.len(), self.canonical());
        Fingerprint::of(&format!("{length}:{user_id}{LENGTH}:{canonical}"))
    }

    /// The code as a person gets it: `ABCD-EFGH`.
    #[must_use]
    pub fn expose(&self) -> String {
        let canonical = self.canonical();
        let (left, right) = canonical.split_at(LENGTH / 2);
        format!("{left}-{right}")
    }

    fn canonical(&self) -> String {
        self.0.iter().map(|symbol| char::from(*symbol)).collect()
    }
}

/// What a keyboard may put between the symbols: blanks, and dashes of any length.
fn is_filler(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '-' | '\u{2010}'..='\u{2015}' | '\u{2212}')
}

fn read_symbol(letter: char) -> Option<u8> {
    let symbol = match letter.to_ascii_uppercase() {
        'I' | 'L' => '1',
        'O' => '0',
        other => other,
    };
    SYMBOLS.iter().copied().find(|known| char::from(*known) == symbol)
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
