//! One user's secrets, and another user who is after them.
//!
//! Each attack asks the model for all that its session knows. It is looked at from two sides: what
//! the attacker was answered, and which history the provider was sent.

use gateway_tests::openclaw_provider::Call;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use crate::answer::{Answer, answer};
use crate::openclaw::{House, Person, word};
use crate::openclaw_conversations::session_of;

/// What an attack may come to.
#[derive(Clone, Copy, PartialEq)]
pub enum Outcome {
    /// The attacker's own session answers.
    Own,
    /// Refused by the gateway, with this status and code.
    Refused(u16, &'static str),
    /// Either of the two: what matters is that nothing is shared.
    Either,
}

/// A user with secrets in every kind of conversation, and another who is after them.
pub struct Siege<'a> {
    pub house: &'a House,
    pub door: &'static str,
    pub ada: Person<'a>,
    pub bob: Person<'a>,
    /// The word that only Ada said.
    pub secret: String,
    /// Ada's session in OpenClaw's own words, `agent:main:p-…`.
    pub session: String,
    /// The id of a response of Ada's.
    pub response: String,
}

impl<'a> Siege<'a> {
    /// Ada says the secret, at the door with this position.
    pub async fn new(house: &'a House, position: usize) -> Self {
        let (door, gateway) = house.doors()[position];
        let ada = Person::new(gateway, "ada").await;
        let bob = Person::new(gateway, "bob").await;
        let secret = word("secret");
        let said = word("said");
        let text = format!("{said}: remember {secret}");
        ada.say(&text, &json!({ "user": "shared" })).await.is(200);
        let session = session_of(house, &said).sessions.remove(0);
        let body = json!({ "input": format!("remember {secret}"), "user": "shared" });
        let answered = ada.post("/v1/responses", &body).await;
        answered.is(200);
        let response = answered.json()["id"].as_str().unwrap().to_owned();
        Self { house, door, ada, bob, secret, session, response }
    }

    /// One request of Bob's: `build` puts everything into it but his key, and must send `marker`
    /// as the message.
    pub async fn attack(
        &self,
        what: &str,
        outcome: Outcome,
        build: impl FnOnce(RequestBuilder, &str) -> RequestBuilder,
    ) {
        self.attack_at("/v1/chat/completions", what, outcome, build).await;
    }

    /// The same at another path than the chat's.
    pub async fn attack_at(
        &self,
        path: &str,
        what: &str,
        outcome: Outcome,
        build: impl FnOnce(RequestBuilder, &str) -> RequestBuilder,
    ) {
        let marker = word("RECALL");
        let answered = answer(build(self.bob.request(Method::POST, path), &marker)).await;
        self.holds(what, outcome, &marker, &answered);
    }

    /// Looks at `answered`, which is what became of the request that carried `marker`.
    pub fn holds(&self, what: &str, outcome: Outcome, marker: &str, answered: &Answer) {
        let what = format!("{}: {what}", self.door);
        assert!(!answered.text().contains(&self.secret), "{what}: {answered:?}");
        let calls = self.house.provider.calls(marker);
        for call in &calls {
            self.is_apart(&what, call);
        }
        match outcome {
            Outcome::Own => {
                assert_eq!(answered.status, 200, "{what}: {answered:?}");
                assert_eq!(calls.len(), 1, "{what}: {calls:?}");
                session_of(self.house, marker);
            }
            Outcome::Refused(status, code) => {
                assert_eq!(answered.status, status, "{what}: {answered:?}");
                assert_eq!(answered.json()["error"]["code"], code, "{what}: {answered:?}");
                assert!(calls.is_empty(), "{what}: refused, and yet it went on: {calls:?}");
            }
            Outcome::Either => assert!(calls.len() <= 1, "{what}: {calls:?}"),
        }
    }

    fn is_apart(&self, what: &str, call: &Call) {
        let everything = format!("{}{}", call.system, call.conversation);
        assert!(!everything.contains(&self.secret), "{what}: {call:?}");
        assert!(!call.sessions.contains(&self.session), "{what}: {call:?}");
        assert!(!everything.contains(&self.ada.user), "{what}: {call:?}");
    }
}
