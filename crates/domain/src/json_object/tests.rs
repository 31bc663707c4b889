use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn refusal(body: impl AsRef<[u8]>) -> JsonObjectError {
    JsonObject::parse(body.as_ref()).unwrap_err()
}

fn value(object: &JsonObject<'_>) -> Value {
    serde_json::from_str(&object.to_json()).unwrap()
}

proptest! {
    #[test]
    fn round_trips_against_serde_json(
        members in prop::collection::vec(("[a-c\"\\\\é😀\u{0}]{0,3}", any_json()), 0..6),
        set in "[a-c]{1,2}",
        text in any::<String>(),
    ) {
        let body: Vec<String> =
            members.iter().map(|(name, value)| format!(" {}: {value}", quote(name))).collect();
        let body = format!("{{{}}}\n", body.join(","));
        let distinct: std::collections::BTreeSet<&str> =
            members.iter().map(|(name, _)| name.as_str()).collect();
        if distinct.len() < members.len() {
            prop_assert!(matches!(refusal(&body), JsonObjectError::Duplicate(_)));
            return Ok(());
        }
        let mut object = JsonObject::parse(body.as_bytes()).unwrap();
        let mut expected: Value = serde_json::from_str(&body).unwrap();
        prop_assert_eq!(value(&object), expected.clone());
        for (name, json) in &members {
            // Untouched values come out byte for byte, white space inside them too.
            prop_assert_eq!(object.get(name), Some(json.as_str()));
        }
        object.set_string(&set, &text);
        expected[&set] = text.into();
        prop_assert_eq!(value(&object), expected.clone());
        if let Some((name, _)) = members.first() {
            object.remove(name);
            expected.as_object_mut().unwrap().remove(name);
            prop_assert_eq!(value(&object), expected);
        }
    }

    #[test]
    fn takes_no_text_that_serde_json_refuses(body in prop_oneof![
        "[{}\"a:,0 \\\\\\[\\]]{0,12}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..20),
    ]) {
        if JsonObject::parse(&body).is_ok() {
            prop_assert!(serde_json::from_slice::<Value>(&body).unwrap().is_object());
        }
    }
}

fn any_json() -> impl Strategy<Value = String> {
    let scalar = prop_oneof![
        any::<String>().prop_map(|text| quote(&text)),
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| serde_json::to_string(&number).unwrap()),
        Just("1e2".to_owned()),
        Just("null".to_owned()),
    ];
    scalar.prop_recursive(3, 12, 3, |inner| {
        prop::collection::vec(inner, 0..3).prop_map(|list| format!("[ {} ]", list.join(" , ")))
    })
}

#[test]
fn members_keep_their_order_and_their_bytes() {
    let body = br#" { "b" : 1.50e+1, "a":[ 1 ,2],"\u0063":"\u0041" } "#;
    let mut object = JsonObject::parse(body).unwrap();
    assert_eq!(object.to_json(), r#"{"b":1.50e+1,"a":[ 1 ,2],"c":"\u0041"}"#);
    object.set_bool("a", true);
    object.set_string("d", "\"é\"");
    object.set_object("e", &JsonObject::empty());
    assert_eq!(object.remove("b").as_deref(), Some("1.50e+1"));
    assert_eq!(object.to_json(), r#"{"a":true,"c":"\u0041","d":"\"é\"","e":{}}"#);
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    let duplicate = |name: &str| JsonObjectError::Duplicate(name.to_owned());
    assert_eq!(refusal(r#"{"a":1,"a":1}"#), duplicate("a"));
    assert_eq!(refusal(r#"{"user":1,"us\u0065r":2}"#), duplicate("user"));
    assert_eq!(refusal(r#"{"😀":1,"\ud83d\uDE00":2}"#), duplicate("😀"));
    assert_eq!(refusal(r#"{"":1,"":2}"#), duplicate(""));
    assert_eq!(
        refusal(format!(r#"{{"{0}":1,"{0}":2}}"#, "x".repeat(99))),
        duplicate(&"x".repeat(64))
    );
    assert_eq!(refusal("{\"a\":\"\u{1}\"}"), JsonObjectError::Syntax { line: 1, column: 6 });
    for body in [
        "",
        " ",
        "{",
        "{}x",
        "{}{}",
        "{},",
        "\u{feff}{}",
        "{}\0",
        "{\"a\":1,}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":01}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":NaN}",
        "{\"a\":0x1}",
        "// c\n{}",
        "{\"a\":1/**/}",
        "{\"\\ud800\":1}",
        "{\"a\":\"\\x\"}",
        "{\"a\":tru}",
        "\u{a0}{}",
        "{\"a\" 1}",
        "user=ada&model=x",
        "{\"a\":[}",
    ] {
        assert!(matches!(refusal(body), JsonObjectError::Syntax { .. }), "{body}");
    }
    for body in ["[]", "[{}]", "null", "1", "\"{}\"", "true"] {
        assert_eq!(refusal(body), JsonObjectError::NotAnObject, "{body}");
    }
    for body in [b"\xFF\xFE{\0}\0".as_slice(), b"{\"\xC0\xAF\":1}", b"{\"a\":\"\xED\xA0\x80\"}"] {
        assert_eq!(refusal(body), JsonObjectError::NotUtf8);
    }
}

#[test]
fn neither_depth_nor_number_of_members_costs_the_stack_or_the_memory() {
    let deep = "[".repeat(100_000);
    assert!(matches!(refusal(&deep), JsonObjectError::NotAnObject));
    assert!(matches!(refusal(format!("{{\"a\":{deep}")), JsonObjectError::Syntax { .. }));
    assert!(matches!(refusal("{\"a\":".repeat(100_000)), JsonObjectError::Syntax { .. }));
    let closed = format!("{{\"a\":{deep}{}}}", "]".repeat(100_000));
    assert_eq!(JsonObject::parse(closed.as_bytes()).unwrap().to_json(), closed);

    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|index| format!("\"{index}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    assert!(JsonObject::parse(members(MAX_MEMBERS).as_bytes()).is_ok());
    assert_eq!(refusal(members(MAX_MEMBERS + 1)), JsonObjectError::TooManyMembers);
    assert_eq!(refusal(members(1_000_000)), JsonObjectError::TooManyMembers);
}

#[test]
fn a_string_value_is_a_string_or_nothing() {
    assert_eq!(string_value(r#""a\n\u00e9\ud83d\ude00""#).as_deref(), Some("a\né😀"));
    assert!(matches!(string_value("\"plain\""), Some(Cow::Borrowed("plain"))));
    for json in ["\"", "null", "1", "[\"a\"]", r#""\ud800""#, "{}"] {
        assert_eq!(string_value(json), None, "{json}");
    }
}

#[test]
fn errors_say_what_to_do() {
    assert_eq!(
        refusal("{\n  \"a\": }").to_string(),
        "The request body is not valid JSON: see line 2, column 8."
    );
    assert_eq!(
        refusal(r#"{"a":1,"a":2}"#).to_string(),
        "The request body has the member \"a\" more than once. Send it once."
    );
}
