use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

const DEFAULT: &str = "openclaw/default";

fn prepared_at(body: impl AsRef<[u8]>, protocol: Protocol) -> Result<AgentBody, AgentBodyError> {
    let allowed = ["openclaw/research".to_owned(), "openclaw/é".to_owned()];
    prepare(body.as_ref(), protocol, ModelChoice { default: DEFAULT, allowed: &allowed })
}

fn prepared(body: impl AsRef<[u8]>) -> AgentBody {
    prepared_at(body, Protocol::Responses).unwrap()
}

fn refusal(body: impl AsRef<[u8]>) -> AgentBodyError {
    prepared_at(body, Protocol::Responses).unwrap_err()
}

fn text(body: &AgentBody) -> &str {
    std::str::from_utf8(&body.body).unwrap()
}

/// Member names as an attacker spells them: as they are, in other case, with escapes, padded.
fn names() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec![
        "user",
        "model",
        "previous_response_id",
        "stream",
        "stream_options",
        "User",
        "USER",
        "user ",
        "user\\u0000",
        "__proto__",
        "constructor",
        "input",
    ]);
    (name, any::<u32>()).prop_map(|(name, escaped)| {
        let characters = name.chars().enumerate().map(|(index, character)| {
            if escaped >> (index % 32) & 1 == 1 && !name.contains('\\') {
                format!("\\u{:04x}", u32::from(character))
            } else {
                character.to_string()
            }
        });
        characters.collect()
    })
}

fn values() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "\"bob\"",
        "\"\"",
        "null",
        "true",
        "7",
        "[\"bob\"]",
        "{\"user\":\"bob\"}",
        "\"\\u0062ob\"",
        "\"openclaw/research\"",
        "\"openclaw\\/\\u00e9\"",
        "\"gpt-4o\"",
        "\"bob\\u0000\"",
        "{\"include_usage\":false}",
    ])
}

proptest! {
    /// `serde_json::Value` reads as `JSON.parse` does: escapes undone, the last of two holds.
    #[test]
    fn what_javascript_would_read_is_what_was_taken_replaced_or_shown(
        members in prop::collection::vec((names(), values()), 0..6),
        protocol in prop::sample::select(
            vec![Protocol::Chat, Protocol::Responses, Protocol::Other]
        ),
    ) {
        let members: Vec<String> =
            members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let body = format!("{{{}}}", members.join(","));
        let Ok(found) = prepared_at(&body, protocol) else { return Ok(()) };
        let sent: Value = serde_json::from_slice(&found.body).unwrap();
        prop_assert_eq!(&sent["user"], &Value::Null);
        prop_assert!(sent.get("user").is_none() && sent.get("__proto__").is_none());
        prop_assert_eq!(&sent["model"], &json!(found.model));
        prop_assert!(["openclaw/default", "openclaw/research", "openclaw/é"].contains(&&*found.model));
        if protocol == Protocol::Responses {
            prop_assert_eq!(&sent["previous_response_id"], &json!(found.previous_response_id));
        }
        prop_assert_eq!(found.stream, sent["stream"] == json!(true));

        let mut asked: Map<String, Value> = serde_json::from_str(&body).unwrap();
        let user = asked.remove("user").filter(|user| *user != json!("") && !user.is_null());
        prop_assert_eq!(json!(found.conversation), json!(user));
        if protocol == Protocol::Responses && asked.get("previous_response_id") == Some(&Value::Null) {
            asked.remove("previous_response_id");
        }
        let mut sent = sent.as_object().unwrap().clone();
        for changed in ["model", "stream_options", "__proto__"] {
            asked.remove(changed);
            sent.remove(changed);
        }
        prop_assert_eq!(asked, sent);
    }

    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..64)) {
        prop_assert!(prepared_at(&body, Protocol::Chat).is_err());
    }
}

#[test]
fn the_user_field_names_the_conversation_and_goes_no_further() {
    let found = prepared(r#"{"input":"hi","user":"trip"}"#);
    assert_eq!(found.conversation.as_deref(), Some("trip"));
    assert_eq!(text(&found), r#"{"input":"hi","model":"openclaw/default"}"#);
    let found = prepared(r#"{"us\u0065r":"b\u006fb","User":"x","input":[{"user":"y"}]}"#);
    assert_eq!(found.conversation.as_deref(), Some("bob"));
    assert_eq!(text(&found), r#"{"User":"x","input":[{"user":"y"}],"model":"openclaw/default"}"#);
    for none in ["{}", r#"{"user":null}"#, r#"{"user":""}"#] {
        let found = prepared(none);
        assert_eq!(
            (found.conversation.as_deref(), text(&found)),
            (None, r#"{"model":"openclaw/default"}"#)
        );
    }
}

#[test]
fn fields_of_the_wrong_kind_are_named() {
    for user in ["7", "true", "[\"bob\"]", "{}", r#""\udc00""#] {
        let error = refusal(format!("{{\"user\":{user}}}"));
        assert_eq!(error, AgentBodyError::User);
    }
    let long = format!("\"{}\"", "x".repeat(513));
    for id in ["7", "[]", r#""\ud800""#, &long] {
        let body = format!("{{\"previous_response_id\":{id}}}");
        let error = refusal(&body);
        assert_eq!(error, AgentBodyError::PreviousResponseId);
        assert!(prepared_at(&body, Protocol::Chat).is_ok());
    }
}

#[test]
fn a_previous_response_is_shown_and_kept() {
    let longest = "é".repeat(512);
    let found = prepared(format!("{{\"previous_response_id\":\"{longest}\"}}"));
    assert_eq!(found.previous_response_id.as_deref(), Some(longest.as_str()));
    let found = prepared(r#"{"previous_r\u0065sponse_id":"resp_\u0031"}"#);
    assert_eq!(found.previous_response_id.as_deref(), Some("resp_1"));
    assert_eq!(
        text(&found),
        r#"{"previous_response_id":"resp_\u0031","model":"openclaw/default"}"#
    );
    let null = prepared(r#"{"previous_response_id":null}"#);
    assert_eq!(null.previous_response_id, None);
    assert_eq!(null.body, br#"{"model":"openclaw/default"}"#, "null is left out");
    assert_eq!(
        prepared(r#"{"previous_response_id":""}"#).previous_response_id.as_deref(),
        Some("")
    );
}

#[test]
fn the_model_is_one_that_the_operator_allows() {
    for (asked, sent) in [
        (r#""gpt-4o""#, DEFAULT),
        (r#""openclaw/research""#, "openclaw/research"),
        (r#""openclaw\/r\u0065search""#, "openclaw/research"),
        (r#""openclaw/\u00e9""#, "openclaw/é"),
        (r#""OpenClaw/Research""#, DEFAULT),
        (r#"" openclaw/research""#, DEFAULT),
        (r#""openclaw/research\u0000""#, DEFAULT),
        (r#"["openclaw/research"]"#, DEFAULT),
        (r#""\ud800""#, DEFAULT),
        ("null", DEFAULT),
    ] {
        let found = prepared(format!("{{\"model\":{asked},\"input\":1}}"));
        assert_eq!(found.model, sent);
        assert_eq!(text(&found), format!("{{\"model\":\"{sent}\",\"input\":1}}"));
    }
}

#[test]
fn a_chat_stream_is_asked_for_its_usage_and_no_other() {
    let body = r#"{"model":"m","stream":true}"#;
    let chat = prepared_at(body, Protocol::Chat).unwrap();
    assert!(chat.stream && chat.strip_usage);
    assert_eq!(
        text(&chat),
        r#"{"model":"openclaw/default","stream":true,"stream_options":{"include_usage":true}}"#
    );
    let responses = prepared(body);
    assert!(responses.stream && !responses.strip_usage);
    assert_eq!(text(&responses), r#"{"model":"openclaw/default","stream":true}"#);
    let asked = r#"{"stream":true,"stream_options":{"include_usage":true}}"#;
    assert!(!prepared_at(asked, Protocol::Chat).unwrap().strip_usage);
}

#[test]
fn what_can_be_read_in_two_ways_is_refused() {
    for body in [
        r#"{"user":"ada","user":"bob"}"#,
        r#"{"user":"ada","us\u0065r":"bob"}"#,
        r#"{"model":"a","mode\u006c":"b"}"#,
        "\u{feff}{\"user\":\"ada\"}",
        "{\"user\":\"ada\"}\0",
        r#"{"user":"ada"} {"user":"bob"}"#,
        "user=ada&user=bob",
        "{\"user\":\"ada\",}",
    ] {
        assert!(matches!(refusal(body), AgentBodyError::NotAnObject(_)), "{body}");
    }
}

#[test]
fn a_prototype_is_not_smuggled_in() {
    let found = prepared(r#"{"__proto__":{"user":"bob"},"__prot\u006f_":1}"#);
    assert_eq!(text(&found), r#"{"__proto_":1,"model":"openclaw/default"}"#);
    let both = r#"{"__proto__":{},"\u005f_proto__":{}}"#;
    assert!(matches!(refusal(both), AgentBodyError::NotAnObject(_)));
}

#[test]
fn a_body_of_twenty_megabytes_is_no_trouble() {
    let long = format!(r#"{{"input":"{}","user":"ada"}}"#, "x".repeat(20_000_000));
    assert_eq!(prepared(&long).conversation.as_deref(), Some("ada"));
    let deep = format!("{{\"user\":\"ada\",\"input\":{}", "[".repeat(20_000_000));
    assert!(matches!(refusal(&deep), AgentBodyError::NotAnObject(JsonObjectError::Syntax { .. })));
}
