use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::{chunks, cuts};

/// Puts together again what it hears.
#[derive(Debug, Default)]
struct Builder {
    open: Vec<(Value, String)>,
    name: String,
    text: Vec<u8>,
    built: Option<Value>,
    heard: Vec<String>,
}

impl Builder {
    fn add(&mut self, value: Value) {
        let name = std::mem::take(&mut self.name);
        match self.open.last_mut() {
            Some((Value::Array(list), _)) => list.push(value),
            Some((Value::Object(object), _)) => {
                object.insert(name, value);
            }
            _ => self.built = Some(value),
        }
    }
}

impl Visitor for Builder {
    fn name(&mut self, name: &[u8]) {
        self.heard.push(format!("name {name:?}"));
        self.name = String::from_utf8_lossy(name).into_owned();
    }

    fn open(&mut self, is_list: bool) {
        self.heard.push(format!("open {is_list}"));
        let empty = if is_list { Value::Array(Vec::new()) } else { Value::Object(<_>::default()) };
        self.open.push((empty, std::mem::take(&mut self.name)));
    }

    fn close(&mut self) {
        self.heard.push("close".to_owned());
        if let Some((value, name)) = self.open.pop() {
            self.name = name;
            self.add(value);
        }
    }

    fn begin_text(&mut self) {
        self.text.clear();
    }

    fn text(&mut self, piece: &[u8]) {
        self.text.extend_from_slice(piece);
    }

    fn end_text(&mut self) {
        self.heard.push(format!("text {:?}", self.text));
        self.add(Value::from(String::from_utf8_lossy(&self.text).into_owned()));
    }

    fn scalar(&mut self, text: &[u8]) {
        self.heard.push(format!("scalar {text:?}"));
        self.add(serde_json::from_slice(text).unwrap_or_default());
    }
}

fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Builder, Progress) {
    let mut reader = JsonReader::new(Builder::default());
    for chunk in chunks {
        reader.push(chunk);
    }
    let progress = reader.progress();
    (reader.restart(Builder::default()), progress)
}

fn built(document: &str) -> Option<Value> {
    read([document.as_bytes()]).0.built
}

/// A string as one of the many texts that mean it.
fn written(text: &str, style: u8) -> String {
    let units = |character: char| {
        let mut units = [0; 2];
        let escapes =
            character.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}"));
        escapes.collect::<Vec<_>>().concat()
    };
    let inner: String = match style % 3 {
        0 => return Value::from(text).to_string(),
        1 => text.chars().map(units).collect(),
        _ => text
            .chars()
            .enumerate()
            .map(|(index, character)| match character {
                '/' => "\\/".to_owned(),
                '"' | '\\' | '\0'..='\x1f' => units(character),
                _ if index % 3 == 1 => units(character).to_uppercase().replace('U', "u"),
                _ => character.to_string(),
            })
            .collect(),
    };
    format!("\"{inner}\"")
}

fn strings() -> impl Strategy<Value = String> {
    (prop_oneof!["[a-z\"\\\\/\n é😀{}\\[\\]:,]{0,12}", any::<String>()], any::<u8>())
        .prop_map(|(text, style)| written(&text, style))
}

fn spaces() -> impl Strategy<Value = &'static str> {
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t                                  ")]
}

fn members(
    values: impl Strategy<Value = String> + Clone + 'static,
) -> impl Strategy<Value = String> {
    let names =
        prop::sample::subsequence(vec!["usage", "id", "content", "{", "a\"b", "", "é"], 0..6);
    (names.prop_shuffle(), prop::collection::vec((values, any::<u8>(), spaces(), spaces()), 6))
        .prop_map(|(names, values)| {
            let members: Vec<String> = names
                .iter()
                .zip(values)
                .map(|(name, (value, style, before, after))| {
                    format!("{before}{}{after}:{before}{value}{after}", written(name, style))
                })
                .collect();
            format!("{{{}}}", members.join(","))
        })
}

fn documents() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        3 => strings().boxed(),
        1 => any::<i64>().prop_map(|number| number.to_string()).boxed(),
        1 => prop::sample::select(vec!["null", "true", "false", "-1.5e3", "{}", "[]"])
            .prop_map(str::to_owned).boxed(),
    ]
    .boxed();
    let list = |inner| {
        prop::collection::vec(inner, 0..4).prop_map(|list: Vec<_>| format!("[{}]", list.join(" ,")))
    };
    let value = scalar.prop_recursive(4, 24, 4, move |inner| {
        prop_oneof![members(inner.clone()).boxed(), list(inner).boxed()]
    });
    (prop_oneof![members(value.clone()).boxed(), list(value.boxed()).boxed()], spaces())
        .prop_map(|(document, space)| format!("{space}{document}{space}"))
}

proptest! {
    #[test]
    fn hears_what_serde_json_reads(document in documents(), cuts in cuts()) {
        let value: Value = serde_json::from_str(&document).unwrap();
        let (builder, progress) = read(chunks(document.as_bytes(), &cuts));
        prop_assert_eq!(builder.built, Some(value));
        prop_assert_eq!(progress, Progress::Whole);
    }

    #[test]
    fn any_split_gives_the_same_of_anything(
        bytes in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(b"{}[]:,\"\\u dD8".to_vec()).prop_map(|byte| vec![byte]),
                2 => prop::sample::select(vec!["{\"usage\"", "\"id\":\"x", "\"text\":\""])
                    .prop_map(|text| text.as_bytes().to_vec()),
                1 => any::<u8>().prop_map(|byte| vec![byte]),
            ],
            0..60,
        ),
        cuts in cuts(),
    ) {
        let bytes = bytes.concat();
        let heard = |(builder, progress): (Builder, _)| (builder.heard, progress);
        let whole = heard(read([bytes.as_slice()]));
        prop_assert_eq!(&heard(read(chunks(&bytes, &cuts))), &whole);
        prop_assert_eq!(&heard(read(bytes.chunks(1))), &whole);
    }
}

#[test]
fn half_a_surrogate_pair_is_one_character() {
    for (text, expected) in [
        (r"\ud83d\ude00", "😀"),
        (r"\ud83dx", "\u{fffd}x"),
        (r"\ude00\ud83d\n", "\u{fffd}\u{fffd}\n"),
        (r"\ud83d\ud83d\ude00\ud83d", "\u{fffd}😀\u{fffd}"),
    ] {
        assert_eq!(built(&format!(r#"["{text}"]"#)), Some(serde_json::json!([expected])));
    }
}

#[test]
fn what_is_kept_is_bounded() {
    let long = "x".repeat(MAX_NAME_BYTES);
    for (name, expected) in [(long.clone(), long.as_str()), (format!("{long}y"), "")] {
        for size in [1, 7, 1000] {
            let document = format!(r#"{{"{name}":{},"a":2}}"#, "7".repeat(MAX_SCALAR_BYTES + 1));
            let (builder, _) = read(document.as_bytes().chunks(size));
            assert_eq!(builder.built, Some(serde_json::json!({expected: null, "a": 2})));
        }
    }
}

#[test]
fn depth_costs_nothing() {
    let deep = |text: &str| text.repeat(1_000_000);
    let (builder, progress) = read([format!(r#"{{"a":{}"#, deep("[")).as_bytes()]);
    assert_eq!((builder.open.len(), progress), (1_000_001, Progress::Open));
    // Dropped one by one: to drop what is nested so deeply takes as much stack.
    builder.open.into_iter().for_each(drop);
    let mut reader = JsonReader::new(Count::default());
    reader.push(format!(r#"{{"a":{}{},"b":[1]}}"#, deep("["), deep("]")).as_bytes());
    assert_eq!((reader.progress(), reader.visitor().0), (Progress::Whole, 1));
}

#[derive(Debug, Default)]
struct Count(u64);

impl Visitor for Count {
    fn name(&mut self, _name: &[u8]) {}
    fn open(&mut self, _is_list: bool) {}
    fn close(&mut self) {}
    fn begin_text(&mut self) {}
    fn text(&mut self, _piece: &[u8]) {}
    fn scalar(&mut self, _text: &[u8]) {
        self.0 += 1;
    }
}

#[test]
fn a_document_is_an_object_or_a_list_and_what_follows_it_is_ignored() {
    for (text, expected) in [
        ("", Progress::Blank),
        (" \r\n\u{feff}", Progress::Blank),
        ("\u{feff}{", Progress::Open),
        ("null", Progress::Other),
        ("<html>{}", Progress::Other),
        ("{}x", Progress::Whole),
        ("[{]", Progress::Open),
    ] {
        assert_eq!(read([text.as_bytes()]).1, expected, "{text}");
    }
    assert_eq!(built(r#"{"id":"a"}{"id":"b"}"#), Some(serde_json::json!({"id": "a"})));
}
