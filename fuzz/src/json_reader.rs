//! A document of any bytes, cut anywhere: the same is heard as of the whole, and of a document that
//! `serde_json` reads, its strings and its depth.

use domain::json_reader::{JsonReader, Progress, Visitor};
use serde_json::Value;

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    strings: Vec<u8>,
    opened: u64,
    closed: u64,
    scalars: Vec<Vec<u8>>,
    names: Vec<Vec<u8>>,
}

impl Visitor for Heard {
    fn name(&mut self, name: &[u8]) {
        self.names.push(name.to_vec());
    }
    fn open(&mut self, _is_list: bool) {
        self.opened += 1;
    }
    fn close(&mut self) {
        self.closed += 1;
    }
    fn begin_text(&mut self) {
        self.strings.push(b'"');
    }
    fn text(&mut self, piece: &[u8]) {
        self.strings.extend_from_slice(piece);
    }
    fn scalar(&mut self, text: &[u8]) {
        self.scalars.push(text.to_vec());
    }
}

fn read<'a>(chunks: impl Iterator<Item = &'a [u8]>) -> (Heard, Progress) {
    let mut reader = JsonReader::new(Heard::default());
    chunks.for_each(|chunk| reader.push(chunk));
    let progress = reader.progress();
    (reader.restart(Heard::default()), progress)
}

/// How many objects and lists there are.
fn containers(value: &Value) -> u64 {
    match value {
        Value::Array(list) => 1 + list.iter().map(containers).sum::<u64>(),
        Value::Object(object) => 1 + object.values().map(containers).sum::<u64>(),
        _ => 0,
    }
}

pub fn hold(input: &[u8]) {
    let [size, document @ ..] = input else { return };
    let (whole, progress) = read([document].into_iter());
    assert_eq!(read(document.chunks(usize::from(*size) + 1)), (whole, progress));

    let Ok(value) = serde_json::from_slice::<Value>(document) else { return };
    let (whole, _) = read([document].into_iter());
    if !value.is_object() && !value.is_array() {
        assert_eq!(progress, Progress::Other);
        return;
    }
    assert_eq!((progress, whole.opened), (Progress::Whole, whole.closed));
    // Of two members of one name `serde_json` keeps the later.
    assert!(whole.opened >= containers(&value));
}
