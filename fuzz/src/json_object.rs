//! A request body of any bytes: what is let through reads back as what came in, and holds no
//! identity that was not taken out or shown.

use domain::agent_body::{ModelChoice, prepare};
use domain::endpoint::Protocol;
use domain::json_object::JsonObject;
use domain::{chat_body, model_list};
use serde_json::Value;

pub fn hold(body: &[u8]) {
    let _ = model_list::filter(body, &["a".to_owned()]);
    let chat = chat_body::prepare(body);
    let Ok(object) = JsonObject::parse(body) else {
        assert_eq!(chat.replacement, None);
        return;
    };
    let json = object.to_json();
    let again = JsonObject::parse(json.as_bytes()).expect("what is written can be read");
    assert_eq!(again.to_json(), json);
    // A value may be deeper than serde_json goes, or hold half a surrogate pair.
    if let Ok(value) = serde_json::from_slice::<Value>(body) {
        assert_eq!(serde_json::from_str::<Value>(&json).expect("the same values"), value);
    }

    let models = ModelChoice { default: "default", allowed: &["other".to_owned()] };
    for protocol in [Protocol::Chat, Protocol::Responses] {
        let Ok(agent) = prepare(body, protocol, models) else { continue };
        let sent = JsonObject::parse(&agent.body).expect("what is sent can be read");
        assert!(sent.get("user").is_none() && sent.get("__proto__").is_none());
        assert_eq!(sent.get("model"), Some(format!("{:?}", agent.model).as_str()));
        if protocol == Protocol::Responses {
            let id = sent.get("previous_response_id").unwrap_or("null");
            let id: Option<String> = serde_json::from_str(id).expect("a string or null");
            assert_eq!(id, agent.previous_response_id);
        }
    }
}
