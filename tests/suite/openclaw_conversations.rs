//! Which requests share a session of OpenClaw's: those of one user, project and conversation.

use std::time::Duration;

use gateway_tests::openclaw_provider::Call;
use gateway_tests::{Gateway, Script, Upstream, wait_for};
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::{Answer, answer};
use crate::openclaw::{House, Person, chat, events, house, options, word};
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        a_conversation_goes_on,
        other_names_are_other_conversations,
        what_has_no_name_is_new_each_time,
        the_parts_of_a_name_cant_be_shifted,
        a_response_goes_on_from_the_one_before,
        a_response_stream_goes_on_from_the_one_before,
        a_response_stream_may_be_followed_before_its_end,
        an_id_is_known_before_the_client_has_it,
        anothers_response_is_not_found,
    ]
}

/// Says a secret, and gives its word.
async fn confide(person: &Person<'_>, extra: &Value) -> String {
    let secret = word("secret");
    person.say(&format!("remember {secret}"), extra).await.is(200);
    secret
}

/// Asks for all that the session knows, in the conversation that `extra` names.
async fn recall(person: &Person<'_>, extra: &Value) -> String {
    let said = person.say(&word("RECALL"), extra).await;
    said.is(200);
    said.json()["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
}

/// The call that reached the provider, after a look at the session it ran in.
pub fn session_of(house: &House, marker: &str) -> Call {
    let call = house.provider.only(marker);
    assert_eq!(call.sessions.len(), 1, "one session: {call:?}");
    let key = call.sessions[0].strip_prefix("agent:main:p-").unwrap_or_default();
    let hex = key.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'));
    assert!(key.len() == 64 && hex, "a session that no client can name: {:?}", call.sessions);
    call
}

async fn a_conversation_goes_on() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let extra = json!({ "user": "holidays" });
        let first = confide(&ada, &extra).await;
        let second = confide(&ada, &extra).await;
        let recalled = recall(&ada, &extra).await;
        for secret in [first, second] {
            assert!(recalled.contains(&secret), "{door}: {secret} in {recalled}");
        }
    }
}

async fn other_names_are_other_conversations() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let secret = confide(&ada, &json!({ "user": "holidays" })).await;
        for user in ["Holidays", "HOLIDAYS", "holidays ", " holidays", "holiday", "holidays\u{0}"] {
            let recalled = recall(&ada, &json!({ "user": user })).await;
            assert!(!recalled.contains(&secret), "{door}: {user:?}: {recalled}");
        }
        // The same conversation in another project is another one.
        let ask = async |project: &str| {
            let body = chat(&word("RECALL"), &json!({ "user": "holidays" }));
            let request = ada.request(Method::POST, "/v1/chat/completions").json(&body);
            let said = answer(request.header("x-project-id", project)).await;
            said.is(200);
            said.text()
        };
        assert!(!ask("other").await.contains(&secret), "{door}");
        assert!(!ask("Default").await.contains(&secret), "{door}");
        assert!(ask("default").await.contains(&secret), "{door}");
        // A header names a conversation where the body doesn't.
        let named = async |extra: &Value, header: &str| {
            let body = chat(&word("RECALL"), extra);
            let request = ada.request(Method::POST, "/v1/chat/completions").json(&body);
            answer(request.header("x-conversation-id", header)).await.text()
        };
        assert!(named(&json!({}), "holidays").await.contains(&secret), "{door}");
        assert!(!named(&json!({ "user": "work" }), "holidays").await.contains(&secret), "{door}");
        assert!(named(&json!({ "user": "holidays" }), "work").await.contains(&secret), "{door}");
    }
}

async fn what_has_no_name_is_new_each_time() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let secret = confide(&ada, &json!({})).await;
        for extra in [json!({}), json!({ "user": null })] {
            let recalled = recall(&ada, &extra).await;
            assert!(!recalled.contains(&secret), "{door}: {extra}: {recalled}");
        }
        // Fresh is fresh also for who repeats a request with everything the same.
        let marker = word("RECALL");
        for _ in 0..2 {
            let body = chat(&marker, &json!({}));
            let request = ada.request(Method::POST, "/v1/chat/completions").json(&body);
            let request = request.header("x-request-id", "mine").header("idempotency-key", "mine");
            answer(request).await.is(200);
        }
        let calls = house.provider.calls(&marker);
        assert_eq!(calls.len(), 2, "{door}");
        assert_ne!(calls[0].sessions, calls[1].sessions, "{door}");
    }
}

async fn the_parts_of_a_name_cant_be_shifted() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let user = format!("{}-x", ada.user);
        let key = gateway.mint_key(&user).await.key;
        let longer = Person { gateway, user, key };
        let mut sessions = Vec::new();
        for (person, project, conversation) in [
            (&ada, "yz", "c"),
            (&ada, "y", "zc"),
            (&ada, "-xyz", "c"),
            (&ada, "-x", "yzc"),
            (&longer, "yz", "c"),
            (&longer, "y", "zc"),
        ] {
            let marker = word("part");
            let body = chat(&marker, &json!({ "user": conversation }));
            let request = person.request(Method::POST, "/v1/chat/completions").json(&body);
            answer(request.header("x-project-id", project)).await.is(200);
            sessions.extend(session_of(house, &marker).sessions);
        }
        let count = sessions.len();
        sessions.sort();
        sessions.dedup();
        assert_eq!(sessions.len(), count, "{door}");
    }
}

/// What a response is asked with.
fn response(input: &str, extra: &Value) -> Value {
    let mut body = json!({ "model": "openclaw/default", "input": input });
    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
    body
}

/// The id of a response, whole or streamed.
fn id(answer: &Answer) -> String {
    let text = answer.text();
    let json = if text.starts_with('{') { answer.json() } else { events(answer)[0].clone() };
    let response = if json["response"].is_object() { &json["response"] } else { &json };
    response["id"].as_str().unwrap().to_owned()
}

async fn a_response_goes_on_from_the_one_before() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let secret = word("secret");
        let first = ada.post("/v1/responses", &response(&secret, &json!({}))).await;
        first.is(200);
        let next = json!({ "previous_response_id": id(&first) });
        let second = ada.post("/v1/responses", &response(&word("then"), &next)).await;
        second.is(200);
        // From the one before that one.
        let next = json!({ "previous_response_id": id(&second) });
        let third = ada.post("/v1/responses", &response(&word("RECALL"), &next)).await;
        assert!(third.text().contains(&format!("recalled: {secret}")), "{door}: {third:?}");
        // Without an id it is a new conversation.
        let fresh = ada.post("/v1/responses", &response(&word("RECALL"), &json!({}))).await;
        assert!(!fresh.text().contains(&secret), "{door}: {fresh:?}");
    }
}

async fn a_response_stream_goes_on_from_the_one_before() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let secret = word("secret");
        let stream = json!({ "stream": true });
        let first = ada.post("/v1/responses", &response(&secret, &stream)).await;
        let next = json!({ "stream": true, "previous_response_id": id(&first) });
        let second = ada.post("/v1/responses", &response(&word("RECALL"), &next)).await;
        second.is(200);
        let text = events(&second).pop().unwrap()["response"]["output"].to_string();
        assert!(text.contains(&secret), "{door}: {text}");
    }
}

/// The data of a stream's first event; the rest stays unread.
async fn first_event(running: &mut reqwest::Response) -> Value {
    let mut begun = String::new();
    while !begun.contains("\n\n") {
        let piece = running.chunk().await.unwrap().expect("the first event");
        begun.push_str(&String::from_utf8_lossy(&piece));
    }
    let data = begun.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    serde_json::from_str(data).unwrap()
}

async fn a_response_stream_may_be_followed_before_its_end() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let ada = Person::new(gateway, "ada").await;
        let slow = word("slow");
        let body = response(&format!("[slow] {slow} a b c d e f g h"), &json!({ "stream": true }));
        let request = ada.request(Method::POST, "/v1/responses").json(&body);
        let mut running = request.send().await.unwrap();
        let created = first_event(&mut running).await;
        // OpenClaw says `response.created` before it has made the session, and answers 500 to a
        // second turn that begins while the first one makes it. It is made once the model is asked.
        let patience = Duration::from_mins(1);
        wait_for("call", patience, || house.provider.calls(&slow).pop()).await;
        let (early, next) = (word("early"), &created["response"]["id"]);
        let next = json!({ "previous_response_id": next });
        ada.post("/v1/responses", &response(&early, &next)).await.is(200);
        let sessions = house.provider.only(&early).sessions;
        assert_eq!(sessions, session_of(house, &slow).sessions, "{door}");
        drop(running);
    }
}

async fn an_id_is_known_before_the_client_has_it() {
    // An upstream that answers at once, so that nothing but the gateway could know the id too late.
    let upstream = Upstream::start().await;
    let gateway = Gateway::start(options(&upstream.url())).await;
    for round in 0..20 {
        let ada = Person::new(&gateway, "ada").await;
        let id = format!("resp_{round:032}");
        let created = json!({ "type": "response.created", "response": { "id": id } });
        let running = Script::new().event_stream().event(&created).hang();
        let route = upstream.route_each(vec![running, Script::json(200, &json!({ "id": "resp" }))]);
        let path = route.path("/v1/responses");
        let first = ada.request(Method::POST, &path);
        let first = first.json(&response("hi", &json!({ "stream": true })));
        let mut running = first.send().await.unwrap();
        assert_eq!(first_event(&mut running).await, created);
        let next = json!({ "previous_response_id": id });
        ada.post(&path, &response("go on", &next)).await.is(200);
        let seen = route.seen();
        let session = |of: usize| seen[of].header("x-openclaw-session-key").unwrap();
        assert_eq!(session(0), session(1), "the turn goes on in the session of that answer");
        drop(running);
    }
}

async fn anothers_response_is_not_found() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let (ada, bob) = (Person::new(gateway, "ada").await, Person::new(gateway, "bob").await);
        let first = ada.post("/v1/responses", &response(&word("secret"), &json!({}))).await;
        let of_ada = id(&first);
        let unknown = format!("resp_{}", "0".repeat(32));
        for (person, previous) in [
            (&bob, of_ada.as_str()),
            (&ada, unknown.as_str()),
            (&ada, "x"),
            (&bob, &of_ada.to_uppercase()),
            (&bob, &format!(" {of_ada}")),
        ] {
            for stream in [false, true] {
                let marker = word("RECALL");
                let extra = json!({ "previous_response_id": previous, "stream": stream });
                let refused = person.post("/v1/responses", &response(&marker, &extra)).await;
                refused.refuses(400, "previous_response_not_found");
                assert!(house.provider.calls(&marker).is_empty(), "{door}: {previous}");
            }
        }
        // And it is still Ada's.
        let own = json!({ "previous_response_id": of_ada });
        ada.post("/v1/responses", &response(&word("again"), &own)).await.is(200);
    }
}
