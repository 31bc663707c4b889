//! Two proven users: no body that two readers might understand differently leads to the first
//! one's session.

use serde_json::json;

use crate::openclaw::{chat, house};
use crate::openclaw_siege::Outcome::{self, Either, Own, Refused};
use crate::openclaw_siege::Siege;
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        content_types_lead_to_nobody_elses_session,
        a_body_can_be_read_in_one_way_only,
    ]
}

async fn content_types_lead_to_nobody_elses_session() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        for content_type in [
            "application/x-www-form-urlencoded",
            "text/plain",
            "text/plain; charset=utf-16le",
            "application/json; charset=utf-16",
            "application/jsonp",
            "multipart/form-data; boundary=x",
            "application/octet-stream",
            "x",
        ] {
            siege
                .attack(content_type, Either, |request, marker| {
                    let body = chat(marker, &json!({ "user": "shared" })).to_string();
                    request.header("content-type", content_type).body(body)
                })
                .await;
            // What isn't JSON is refused whatever it says that it is.
            siege
                .attack(content_type, Refused(400, "invalid_json"), |request, marker| {
                    let body = format!("user=shared&model=openclaw&message={marker}");
                    request.header("content-type", content_type).body(body)
                })
                .await;
        }
        siege
            .attack("no content type", Either, |request, marker| {
                request.body(chat(marker, &json!({ "user": "shared" })).to_string())
            })
            .await;
    }
}

/// Bodies that two readers might understand differently; `MESSAGES` stands for the messages,
/// `RESPONSE` for the id of Ada's response.
const BODIES: &[(&str, Outcome, &str)] = &[
    ("an escaped name", Own, r#"{"\u0075ser":"shared","messages":MESSAGES}"#),
    ("a name twice", INVALID, r#"{"user":"a","user":"shared","messages":MESSAGES}"#),
    ("twice, once escaped", INVALID, r#"{"user":"a","us\u0065r":"b","messages":MESSAGES}"#),
    ("the model twice", INVALID, r#"{"model":"a","\u006dodel":"b","messages":MESSAGES}"#),
    (
        "the id twice",
        INVALID,
        r#"{"previous_response_id":null,"previous_response_id":"RESPONSE","messages":MESSAGES}"#,
    ),
    ("the messages twice", INVALID, r#"{"messages":[],"messages":MESSAGES}"#),
    ("half a character", Either, r#"{"user":"\ud800","messages":MESSAGES}"#),
    ("a list", INVALID, "MESSAGES"),
    ("a text", INVALID, r#""shared""#),
    ("nothing", INVALID, ""),
    ("two objects", INVALID, r#"{"messages":MESSAGES}{"user":"shared"}"#),
    ("an object cut short", INVALID, r#"{"messages":MESSAGES"#),
    ("a comment", INVALID, r#"{/**/"messages":MESSAGES}"#),
    ("a comma at the end", INVALID, r#"{"messages":MESSAGES,}"#),
    ("NaN", INVALID, r#"{"x":NaN,"messages":MESSAGES}"#),
    ("a byte order mark", INVALID, "\u{feff}{\"messages\":MESSAGES}"),
    ("a NUL behind it", INVALID, "{\"messages\":MESSAGES}\0"),
];

const INVALID: Outcome = Refused(400, "invalid_json");

async fn a_body_can_be_read_in_one_way_only() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        for (what, outcome, template) in BODIES {
            siege
                .attack(what, *outcome, |request, marker| {
                    let messages = format!(r#"[{{"role":"user","content":"{marker}"}}]"#);
                    let body = template.replace("RESPONSE", &siege.response);
                    let body = body.replace("MESSAGES", &messages);
                    request.header("content-type", "application/json").body(body)
                })
                .await;
        }
        let shared = |marker: &str| chat(marker, &json!({ "user": "shared" })).to_string();
        siege
            .attack("UTF-16", INVALID, |request, marker| {
                let text = shared(marker);
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                request.body(units.collect::<Vec<u8>>())
            })
            .await;
        siege
            .attack("bytes that are no UTF-8", INVALID, |request, marker| {
                let body = shared(marker).replace("shared", "?").into_bytes();
                let body = body.into_iter().map(|byte| if byte == b'?' { 0xff } else { byte });
                request.body(body.collect::<Vec<u8>>())
            })
            .await;
    }
}
