//! A document of any bytes, cut anywhere: the tap finds the same as in the whole, and in a
//! document that `serde_json` reads, what `serde_json` finds.

use domain::json_tap::{JsonTap, MAX_ID_BYTES, MAX_USAGE_BYTES};
use serde_json::Value;

fn tapped<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> JsonTap {
    let mut tap = JsonTap::default();
    chunks.for_each(|chunk| tap.push(chunk));
    tap
}

pub fn hold(input: &[u8]) {
    let [size, document @ ..] = input else { return };
    let whole = tapped([document].into_iter());
    let cut = tapped(document.chunks(usize::from(*size) + 1));
    assert_eq!(
        (whole.characters(), whole.usage(), whole.id()),
        (cut.characters(), cut.usage(), cut.id())
    );

    let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(document) else { return };
    let id = value["id"].as_str().filter(|id| id.len() <= MAX_ID_BYTES);
    assert_eq!(whole.id(), id);
    if document.len() <= MAX_USAGE_BYTES {
        let usage = whole.usage().map(|usage| serde_json::from_str(usage).expect("an object"));
        assert_eq!(usage, value.get("usage").filter(|usage| usage.is_object()).cloned());
    }
}
