//! What the tests of several modules share.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Places at which to cut bytes of any length into chunks; empty chunks among them.
pub fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..12)
}

/// `bytes` in the chunks that `cuts` makes.
pub fn chunks<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.sort_unstable();
    places.push(bytes.len());
    let mut start = 0;
    let mut chunks = Vec::new();
    for place in places {
        chunks.push(&bytes[start..place]);
        start = place;
    }
    chunks
}
