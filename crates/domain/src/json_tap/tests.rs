use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::testing::{chunks, cuts};

type Found = (u64, Option<String>, Option<String>);

fn tapped<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Found {
    let mut tap = JsonTap::default();
    for chunk in chunks {
        tap.push(chunk);
    }
    (tap.characters(), tap.usage().map(str::to_owned), tap.id().map(str::to_owned))
}

fn found(document: &str) -> Found {
    tapped([document.as_bytes()])
}

fn text_characters(value: &Value) -> u64 {
    match value {
        Value::Array(elements) => elements.iter().map(text_characters).sum(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| match (name.as_str(), value) {
                ("content" | "text" | "arguments" | "refusal", Value::String(text)) => {
                    text.chars().count() as u64
                }
                (_, value) => text_characters(value),
            })
            .sum(),
        _ => 0,
    }
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
    prop_oneof![4 => Just(""), 1 => Just(" "), 1 => Just("\r\n\t")]
}

/// Members of distinct names, as in `serde_json` the earlier of two would be lost.
fn members(
    values: impl Strategy<Value = String> + Clone + 'static,
) -> impl Strategy<Value = String> {
    let names = prop::sample::subsequence(
        vec![
            "usage",
            "id",
            "content",
            "text",
            "arguments",
            "refusal",
            "choices",
            "contents",
            "",
            "é",
        ],
        0..8,
    );
    (names.prop_shuffle(), prop::collection::vec((values, any::<u8>(), spaces(), spaces()), 8))
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
    let value = scalar.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            members(inner.clone()).boxed(),
            prop::collection::vec(inner, 0..4).prop_map(|list| format!("[{}]", list.join(" ,"))),
        ]
    });
    (members(value.clone()), value, spaces()).prop_flat_map(|(object, value, space)| {
        prop_oneof![9 => Just(format!("{space}{object}{space}")), 1 => Just(value)]
    })
}

proptest! {
    #[test]
    fn finds_what_serde_json_finds(document in documents(), cuts in cuts()) {
        let value: Value = serde_json::from_str(&document).unwrap();
        let (characters, usage, id) = tapped(chunks(document.as_bytes(), &cuts));
        prop_assert_eq!(characters, text_characters(&value));
        let usage = usage.map(|usage| serde_json::from_str::<Value>(&usage).unwrap());
        prop_assert_eq!(usage.as_ref(), value.get("usage").filter(|usage| usage.is_object()));
        let expected = value.get("id").and_then(Value::as_str);
        prop_assert_eq!(id.as_deref(), expected.filter(|id| id.len() <= MAX_ID_BYTES));
    }

    #[test]
    fn any_split_gives_the_same_of_anything(
        bytes in prop::collection::vec(
            prop_oneof![
                4 => prop::sample::select(b"{}[]:,\"\\u dD8".to_vec()).prop_map(|byte| vec![byte]),
                2 => prop::sample::select(vec!["\"usage\"", "\"id\":\"x", "\"text\":\""])
                    .prop_map(|text| text.as_bytes().to_vec()),
                1 => any::<u8>().prop_map(|byte| vec![byte]),
            ],
            0..60,
        ),
        cuts in cuts(),
    ) {
        let bytes = bytes.concat();
        let whole = tapped([bytes.as_slice()]);
        prop_assert_eq!(&tapped(chunks(&bytes, &cuts)), &whole);
        prop_assert_eq!(&tapped(bytes.chunks(1)), &whole);
    }
}

#[test]
fn only_the_top_level_has_usage_and_id() {
    let document =
        r#"{"a":{"usage":{"x":1},"id":"no"},"id":"yes","usage":{"b":[{"c":"}"}]},"z":1}"#;
    assert_eq!(found(document), (0, Some(r#"{"b":[{"c":"}"}]}"#.into()), Some("yes".into())));
    assert_eq!(found(r#"[{"usage":{},"id":"no"}]"#), (0, None, None));
    assert_eq!(found(r#"{"choices":[{"message":{"content":"héllo 😀"}}]}"#).0, 7);
}

#[test]
fn the_later_of_two_members_holds_as_in_javascript() {
    assert_eq!(found(r#"{"usage":{"a":1},"usage":null,"id":"x","id":7}"#), (0, None, None));
    assert_eq!(found(r#"{"id":"x","us\u0061ge":{},"i\u0064":"y"}"#).2.as_deref(), Some("y"));
}

#[test]
fn half_a_surrogate_pair_is_one_character() {
    assert_eq!(found(r#"{"text":"\ud83d\ude00"}"#).0, 1);
    assert_eq!(found(r#"{"text":"\ud83dx"}"#).0, 2);
    assert_eq!(found(r#"{"text":"\ude00\ud83d\n"}"#).0, 3);
    assert_eq!(found(r#"{"text":"\ud83d\ud83d\ude00\ud83d"}"#).0, 3);
}

#[test]
fn what_is_kept_is_bounded() {
    let id = "x".repeat(MAX_ID_BYTES);
    assert_eq!(found(&format!(r#"{{"id":"{id}"}}"#)).2, Some(id.clone()));
    assert_eq!(found(&format!(r#"{{"id":"{id}y"}}"#)).2, None);
    let usage = format!(r#"{{"a":"{}"}}"#, "x".repeat(MAX_USAGE_BYTES - 8));
    assert_eq!(found(&format!(r#"{{"usage":{usage}}}"#)).1, Some(usage.clone()));
    assert_eq!(found(&format!(r#"{{"usage":{usage},"usage":{{"b":0,"a":{usage}}}}}"#)).1, None);
}

#[test]
fn depth_costs_nothing() {
    let deep = "[".repeat(1_000_000);
    assert_eq!(found(&format!(r#"{{"a":{deep}"#)), (0, None, None));
    let closed = format!(r#"{{"a":{deep}{},"usage":{{}}}}"#, "]".repeat(1_000_000));
    assert_eq!(found(&closed).1.as_deref(), Some("{}"));
}

#[test]
fn what_follows_the_document_is_ignored() {
    assert_eq!(found(r#"{"id":"a"}{"id":"b","usage":{}}"#), (0, None, Some("a".into())));
}

#[test]
fn a_long_name_is_no_short_one_wherever_it_is_cut() {
    let document = br#"{"usage-of-something-else":{"a":1},"id-of-something-else":"x"}"#;
    for cut in 0..document.len() {
        let (one, other) = document.split_at(cut);
        assert_eq!(tapped([one, other]), (0, None, None));
    }
}
