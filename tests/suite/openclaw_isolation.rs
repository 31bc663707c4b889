//! Two proven users: nothing that the second sends reaches the first one's session.
//!
//! `openclaw_siege` says how that is looked at; bodies are in `openclaw_bodies`. Here the disk of
//! OpenClaw is looked at too.

use gateway_tests::raw;
use reqwest::Method;
use serde_json::json;

use crate::answer::answer;
use crate::openclaw::{Person, chat, house, word};
use crate::openclaw_conversations::session_of;
use crate::openclaw_siege::Outcome::{Either, Own, Refused};
use crate::openclaw_siege::Siege;
use crate::runner::Test;
use crate::tests;

pub fn tests() -> Vec<Test> {
    tests![Ordinary:
        fields_lead_to_nobody_elses_session,
        headers_lead_to_nobody_elses_session,
        names_and_keys_lead_to_nobody_elses_session,
        paths_lead_to_no_other_surface,
        a_repeated_idempotency_key_leads_to_no_other_answer,
        many_at_once_stay_apart,
        the_disk_tells_the_users_apart,
        nothing_is_done_by_itself,
    ]
}

async fn fields_lead_to_nobody_elses_session() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        let (session, response) = (siege.session.as_str(), siege.response.as_str());
        let bare = session.trim_start_matches("agent:main:");
        let ada = siege.ada.user.as_str();
        for user in [
            json!("shared"),
            json!("SHARED"),
            json!(session),
            json!(bare),
            json!("main"),
            json!("agent:main:main"),
            json!(format!("{ada}\u{0}shared")),
            json!("x".repeat(10_000)),
            json!(null),
            json!(""),
        ] {
            let what = format!("user {user}");
            let extra = json!({ "user": user });
            siege.attack(&what, Own, |request, marker| request.json(&chat(marker, &extra))).await;
        }
        for user in [json!(5), json!(["shared"]), json!({ "id": "shared" }), json!(true)] {
            let what = format!("user {user}");
            let extra = json!({ "user": user });
            siege
                .attack(&what, Either, |request, marker| request.json(&chat(marker, &extra)))
                .await;
        }
        for extra in [
            json!({ "model": session }),
            json!({ "model": format!("openclaw/{session}") }),
            json!({ "model": "agent:main:main" }),
            json!({ "model": "openclaw:main" }),
            json!({ "metadata": { "user": "shared", "user_id": ada, "session_key": session } }),
            json!({ "session_key": session, "sessionKey": session, "session": session }),
            json!({ "session_id": session, "sessionId": session, "agentId": "main" }),
            json!({ "conversation": "shared", "conversation_id": "shared", "thread_id": session }),
            json!({ "openclaw": { "sessionKey": session }, "extra_body": { "user": ada } }),
            json!({ "safety_identifier": ada, "prompt_cache_key": session, "store": true }),
            json!({ "User": "shared", "USER": session, "user ": session }),
        ] {
            let what = extra.to_string();
            siege.attack(&what, Own, |request, marker| request.json(&chat(marker, &extra))).await;
        }
        for (extra, outcome) in [
            (json!({ "previous_response_id": response }), Refused(400, NOT_FOUND)),
            (
                json!({ "previous_response_id": response, "user": "shared" }),
                Refused(400, NOT_FOUND),
            ),
            (json!({ "previousResponseId": response }), Either),
            (json!({ "conversation": { "id": response }, "user": "shared" }), Either),
            (json!({ "response_id": response, "id": response }), Either),
            (json!({ "previous_response_id": [response] }), Either),
            (json!({ "previous_response_id": { "id": response } }), Either),
            (json!({ "previous_response_id": null }), Either),
        ] {
            siege
                .attack_at("/v1/responses", &extra.to_string(), outcome, |request, marker| {
                    let mut body = json!({ "model": "openclaw/default", "input": marker });
                    body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
                    request.json(&body)
                })
                .await;
        }
        let extra = json!({ "previous_response_id": response });
        siege
            .attack("previous_response_id in a chat", Either, |request, marker| {
                request.json(&chat(marker, &extra))
            })
            .await;
    }
}

const NOT_FOUND: &str = "previous_response_not_found";

async fn headers_lead_to_nobody_elses_session() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        let session = siege.session.as_str();
        let bare = session.trim_start_matches("agent:main:");
        let ada = siege.ada.user.as_str();
        for (name, value) in [
            ("x-openclaw-session-key", session),
            ("x-openclaw-session-key", bare),
            ("X-OpenClaw-Session-Key", "main"),
            ("x-openclaw-session-key", "agent:nope:x"),
            ("x-openclaw-session-key", "subagent:x"),
            ("x-openclaw-session-id", session),
            ("x-openclaw-agent-id", "nope"),
            ("x-openclaw-model", "nope/nope"),
            ("x-openclaw-scopes", "operator.admin"),
            ("x-openclaw-message-channel", "telegram"),
            ("x-openclaw-account-id", ada),
            ("x-openclaw-message-to", ada),
            ("x-openclaw-thread-id", session),
            ("x-forwarded-for", "127.0.0.1"),
            ("x-forwarded-for", "garbage"),
            ("x-forwarded-user", ada),
            ("x-forwarded-host", "127.0.0.1"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-prefix", "/tools"),
            ("forwarded", "for=127.0.0.1"),
            ("x-real-ip", "127.0.0.1"),
            ("x-original-url", "/tools/invoke"),
            ("x-rewrite-url", "/tools/invoke"),
            ("x-http-method-override", "GET"),
            ("cf-connecting-ip", "127.0.0.1"),
            ("cookie", "openclaw_session=main; user=ada"),
            ("origin", "https://evil.example"),
            ("referer", "https://evil.example"),
            ("proxy-authorization", "Bearer openclaw-token-for-tests"),
            ("x-api-key", "openclaw-token-for-tests"),
            ("traceparent", "00-f67ae1beaf3f83f166a1fa80237e444d-a5eef3fc2b2c98be-01"),
            ("openai-organization", session),
            ("idempotency-key", session),
            ("x-stainless-session-key", session),
            ("connection", "x-openclaw-session-key"),
        ] {
            let what = format!("{name}: {value}");
            siege
                .attack(&what, Own, |request, marker| {
                    let body = chat(marker, &json!({ "user": "shared" }));
                    request.header(name, value).json(&body)
                })
                .await;
        }
        siege
            .attack("x-conversation-id", Own, |request, marker| {
                request.header("x-conversation-id", "shared").json(&chat(marker, &json!({})))
            })
            .await;
    }
}

async fn names_and_keys_lead_to_nobody_elses_session() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        let extra = json!({ "user": "shared" });
        let (ada, bob) = (siege.ada.user.clone(), siege.bob.user.clone());
        for (name, outcome) in [
            (ada.clone(), Refused(400, "user_id_conflict")),
            (ada.to_uppercase(), Refused(400, "user_id_conflict")),
            ("anonymous".to_owned(), Refused(400, "user_id_conflict")),
            (bob.to_uppercase(), Own),
        ] {
            siege
                .attack(&format!("X-User-ID: {name}"), outcome, |request, marker| {
                    request.header("x-user-id", &name).json(&chat(marker, &extra))
                })
                .await;
            let path = format!("/u/{name}/v1/chat/completions");
            siege
                .attack_at(&path, &path, outcome, |request, marker| {
                    request.json(&chat(marker, &extra))
                })
                .await;
        }
        // Both keys at once, one in each header.
        let key = siege.ada.key.clone();
        let altered = key.replace(&ada, &bob);
        for (what, outcome, key) in [
            ("Bob's secret under Ada's name", Refused(401, "invalid_key"), {
                siege.bob.key.replace(&bob, &ada)
            }),
            ("Ada's secret under Bob's name", Refused(401, "invalid_key"), altered),
            ("a key of nobody", Refused(401, "invalid_key"), "ogk_nobody_x".to_owned()),
            ("no key at all", Refused(403, "anonymous_disabled"), "sk-none".to_owned()),
        ] {
            let marker = word("RECALL");
            let request = siege.ada.gateway.request(Method::POST, "/v1/chat/completions");
            let request = request.bearer_auth(key).json(&chat(&marker, &extra));
            let answered = answer(request).await;
            siege.holds(what, outcome, &marker, &answered);
        }
        let marker = word("RECALL");
        let request = siege.bob.request(Method::POST, "/v1/chat/completions");
        let request = request.header("x-gateway-key", "ogk_").json(&chat(&marker, &extra));
        let answered = answer(request).await;
        siege.holds("two keys that disagree", Refused(401, "invalid_key"), &marker, &answered);
    }
}

async fn paths_lead_to_no_other_surface() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        let (bob, response) = (&siege.bob, &siege.response);
        let body = json!({ "tool": "sessions_list", "args": {} }).to_string();
        let length = body.len().to_string();
        let bearer = format!("Bearer {}", bob.key);
        let own = format!("/u/{}/v1/../../tools/invoke", bob.user);
        let of_ada = format!("/v1/responses/{response}");
        let items = format!("/v1/responses/{response}/input_items");
        for path in [
            "/tools/invoke",
            "/v1/tools/invoke",
            "/v1/../tools/invoke",
            "/v1/%2e%2e/tools/invoke",
            "/v1/.%2e/tools/invoke",
            "/v1/%2E%2E%2Ftools%2Finvoke",
            "/v1/..%2ftools/invoke",
            "/v1/..%5ctools/invoke",
            "/v1/..\\tools\\invoke",
            "/v1/chat/completions/../../../tools/invoke",
            "//tools/invoke",
            "/v1//tools/invoke",
            "/v1/sessions",
            "/v1/sessions/main",
            "/v1/completions",
            "/v1/messages",
            "/v1/chat/completions/x",
            "/V1/../tools/invoke",
            "/v1;/../tools/invoke",
            "/v1/models/../../tools/invoke",
            "/v1/models/..%2f..%2ftools/invoke",
            own.as_str(),
            of_ada.as_str(),
            items.as_str(),
            "/api/sessions",
            "/control-ui-config.json",
            "/",
            "/ws",
        ] {
            for method in ["POST", "GET", "DELETE"] {
                let headers = [
                    ("Authorization", bearer.as_str()),
                    ("Content-Type", "application/json"),
                    ("Content-Length", length.as_str()),
                ];
                let mut request = raw::head(method, path, &headers);
                request.extend_from_slice(body.as_bytes());
                let answered = raw::send(bob.gateway.address(), &request).await;
                let what = format!("{}: {method} {path}: {answered:?}", siege.door);
                assert!([400, 404, 405].contains(&answered.status), "{what}");
                // The gateway's own words, not OpenClaw's.
                assert!(!answered.code().is_empty(), "{what}");
                assert!(!answered.text().contains("Tool not available"), "{what}");
            }
        }
    }
}

async fn a_repeated_idempotency_key_leads_to_no_other_answer() {
    let (house, _calm) = house().await;
    for position in [0, 1] {
        let siege = Siege::new(house, position).await;
        let (key, own) = (word("idempotency"), word("own"));
        let body = chat(&format!("{own}: {}", siege.secret), &json!({ "user": "shared" }));
        let request = siege.ada.request(Method::POST, "/v1/chat/completions").json(&body);
        answer(request.header("idempotency-key", &key)).await.is(200);
        siege
            .attack("Ada's idempotency key", Own, |request, marker| {
                let body = chat(marker, &json!({ "user": "shared" }));
                request.header("idempotency-key", &key).json(&body)
            })
            .await;
    }
}

async fn many_at_once_stay_apart() {
    let (house, _calm) = house().await;
    for (door, gateway) in house.doors() {
        let people = [Person::new(gateway, "ada").await, Person::new(gateway, "bob").await];
        let talks = people.iter().flat_map(|person| (0..4).map(move |talk| (person, talk)));
        let talks = talks.map(async |(person, talk)| {
            let (secret, extra) = (word("secret"), json!({ "user": format!("talk {talk}") }));
            person.say(&secret, &extra).await.is(200);
            let recalled = person.say(&word("RECALL"), &extra).await;
            recalled.is(200);
            let text = recalled.json()["choices"][0]["message"]["content"].clone();
            assert_eq!(text, format!("recalled: {secret}"), "{door}: {talk}");
        });
        futures::future::join_all(talks).await;
    }
}

async fn the_disk_tells_the_users_apart() {
    let (house, _calm) = house().await;
    let people = [Siege::new(house, 0).await, Siege::new(house, 1).await];
    for siege in &people {
        siege
            .attack("their own conversation", Own, |request, marker| {
                request.json(&chat(marker, &json!({ "user": "shared" })))
            })
            .await;
        let said = word("said");
        let bob = siege.bob.say(&said, &json!({ "user": "shared" })).await;
        bob.is(200);
        let of_bob = session_of(house, &said).sessions.remove(0);
        let of_ada = &siege.session;
        let patience = std::time::Duration::from_mins(1);
        let sessions = gateway_tests::wait_for("transcript", patience, || {
            let sessions = house.openclaw.sessions();
            let written = |session: &str, word: &str| {
                sessions.get(session).is_some_and(|text| text.contains(word))
            };
            let all = written(of_ada, &siege.secret) && written(&of_bob, &said);
            all.then_some(sessions)
        })
        .await;
        for (session, text) in &sessions {
            let known = session.starts_with("agent:main:p-");
            assert!(known, "{}: a session under no name of the gateway's: {session}", siege.door);
            let mixed = text.contains(&siege.secret) && text.contains(&said);
            assert!(!mixed, "{}: {session}: {text}", siege.door);
        }
        assert_ne!(of_ada, &of_bob, "{}", siege.door);
    }
}

/// A job of its own would put what everybody said before a model that nobody asked.
async fn nothing_is_done_by_itself() {
    let (house, _calm) = house().await;
    let jobs = house.openclaw.jobs();
    assert!(!jobs.is_empty(), "OpenClaw keeps its jobs elsewhere now: look for them");
    let on: Vec<_> = jobs.iter().filter(|(_, is_on)| **is_on).collect();
    assert!(on.is_empty(), "OpenClaw does by itself: {on:?}");
}
