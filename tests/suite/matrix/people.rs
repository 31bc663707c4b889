//! Those who ask: users in the states that the page tells of, and what each of them shows.

use gateway_tests::Gateway;
use reqwest::{Method, RequestBuilder};
use serde_json::json;

use super::table::{Combination, OPERATOR};
use crate::answer::answer;
use crate::shared;

/// The API key to which a user is bound.
const BOUND: &str = "sk-that-came-first";

/// Another one.
const OTHER: &str = "sk-of-somebody-else";

/// Those requests that change what the next answer is: they have users of their own.
pub const CHANGING: [&str; 4] = [
    "PUT /onboarding/codex",
    "DELETE /onboarding/codex",
    "POST /onboarding/codex/device",
    "GET /onboarding/codex/device/{id}",
];

/// What a request shows of its caller.
#[derive(Clone, Debug, Default)]
pub struct Shows {
    pub user: Option<String>,
    pub bearer: Option<String>,
    pub key: Option<String>,
}

/// One user, and what it takes to be that user.
#[derive(Default)]
struct Person {
    name: String,
    key: String,
    sign_in: String,
}

/// The users of one kind of request.
pub struct People {
    /// Has a key, and another that was revoked.
    keyed: Person,
    revoked: String,
    /// Has a key, and shows it as the bearer.
    alone: Person,
    /// Has a key, and never a Codex token.
    unsigned: Person,
    /// Has a key, and a Codex token whatever the mode.
    holder: Person,
    /// Is bound to a bearer.
    bound: Person,
    /// Somebody else.
    other: Person,
    operator_token: String,
}

/// The users whose names begin as the request's users do.
fn name(who: &str, request: &str) -> String {
    match CHANGING.iter().position(|changing| *changing == request) {
        Some(position) => format!("{who}-{position}"),
        None => format!("{who}-all"),
    }
}

/// Binds, on a gateway with `first-key`, those users who are to be bound.
pub async fn bind_all(gateway: &Gateway) {
    for request in CHANGING.iter().chain(&[""]) {
        let chat = gateway.request(Method::POST, "/v1/chat/completions").bearer_auth(BOUND);
        let chat = chat.header("x-user-id", name("bea", request)).json(&json!({}));
        answer(chat).await.is(200);
        let other = gateway.request(Method::GET, "/v1/models").bearer_auth(OTHER);
        let other = other.header("x-user-id", name("bea", request));
        answer(other).await.refuses(401, "user_id_bound");
    }
}

impl People {
    /// Brings the users into the states that they are to be in.
    pub async fn gather(gateway: &Gateway, combination: Combination, request: &str) -> Self {
        let mut people = Self {
            keyed: Person::keyed(gateway, name("ada", request)).await,
            revoked: String::new(),
            alone: Person::keyed(gateway, name("eve", request)).await,
            unsigned: Person::keyed(gateway, name("una", request)).await,
            holder: Person::keyed(gateway, name("hal", request)).await,
            bound: Person { name: name("bea", request), ..Person::default() },
            other: Person::keyed(gateway, name("bob", request)).await,
            operator_token: gateway.operator_token().to_owned(),
        };
        let revoked = gateway.mint_key(&people.keyed.name).await;
        let path = format!("/operator/api/users/{}/keys/{}", people.keyed.name, revoked.key_id);
        answer(gateway.operator(Method::DELETE, &path)).await.is(204);
        people.revoked = revoked.key;
        people.holder.bring_token(gateway).await;
        if combination.spends_tokens() {
            // Bringing a token takes a key, which makes no difference to who is bound.
            people.bound = Person::keyed(gateway, people.bound.name).await;
            for person in [&people.keyed, &people.alone, &people.bound] {
                person.bring_token(gateway).await;
            }
        }
        if request == "GET /onboarding/codex/device/{id}" {
            let bound = Shows::of(&people.bound.name).bearer(BOUND);
            let sign_in = begin_sign_in(gateway, &bound).await;
            people.bound.sign_in = sign_in;
            for person in [&mut people.keyed, &mut people.alone, &mut people.unsigned] {
                person.sign_in =
                    begin_sign_in(gateway, &Shows::of(&person.name).key(&person.key)).await;
                assert!(!person.sign_in.is_empty(), "{} may sign in", person.name);
            }
        }
        people
    }

    /// What a caller with this credential shows, in each of its ways.
    pub fn show(&self, credential: &str) -> Vec<Shows> {
        let Self { keyed, alone, unsigned, bound, other, .. } = self;
        let as_keyed = || Shows::of(&keyed.name).bearer(OTHER);
        let one = match credential {
            "nothing" => Shows::of(&keyed.name),
            "a wrong key" => {
                let anothers = other.key.replace(&other.name, &keyed.name);
                let invented = format!("ogk_{}_{:043}", keyed.name, fastrand::u64(..));
                return vec![as_keyed().key(&anothers), as_keyed().key(&invented)];
            }
            "another's key" => as_keyed().key(&other.key),
            "a revoked key" => as_keyed().key(&self.revoked),
            "the right key" => as_keyed().key(&keyed.key),
            "the right key as the bearer" => Shows::of(&alone.name).bearer(&alone.key),
            "the right key, not signed in" => {
                Shows::of(&unsigned.name).bearer(OTHER).key(&unsigned.key)
            }
            "the bound bearer" => Shows::of(&bound.name).bearer(BOUND),
            "another bearer" => Shows::of(&bound.name).bearer(OTHER),
            "a bearer, a user with a key" => as_keyed(),
            "a bearer, a user with a token" => Shows::of(&self.holder.name).bearer(OTHER),
            "a bearer, a new user" => Shows::of(&shared::user("new")).bearer(OTHER),
            "a bearer, no user" => Shows::default().bearer(OTHER),
            OPERATOR => Shows::of(&keyed.name).bearer(&self.operator_token),
            unknown => panic!("nobody shows {unknown}"),
        };
        vec![one]
    }

    /// The sign-in that the user of this name has begun.
    pub fn sign_in_of(&self, user: Option<&str>) -> &str {
        let known = [&self.keyed, &self.alone, &self.unsigned, &self.bound];
        let found = known.into_iter().find(|person| Some(person.name.as_str()) == user);
        found.map(|person| person.sign_in.as_str()).filter(|id| !id.is_empty()).unwrap_or("none")
    }
}

impl Person {
    async fn keyed(gateway: &Gateway, name: String) -> Self {
        let key = gateway.mint_key(&name).await.key;
        Self { name, key, sign_in: String::new() }
    }

    async fn bring_token(&self, gateway: &Gateway) {
        let request = gateway.request(Method::PUT, "/onboarding/codex").bearer_auth(&self.key);
        answer(request.json(&tokens())).await.is(204);
    }
}

impl Shows {
    fn of(user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..Self::default() }
    }

    fn bearer(self, bearer: &str) -> Self {
        Self { bearer: Some(bearer.to_owned()), ..self }
    }

    fn key(self, key: &str) -> Self {
        Self { key: Some(key.to_owned()), ..self }
    }

    /// Puts what is shown into a request's headers; the user is named there or in the path.
    pub fn put(&self, mut request: RequestBuilder, is_named_in_path: bool) -> RequestBuilder {
        if let Some(user) = self.user.as_ref().filter(|_| !is_named_in_path) {
            request = request.header("x-user-id", user);
        }
        if let Some(bearer) = &self.bearer {
            request = request.bearer_auth(bearer);
        }
        if let Some(key) = &self.key {
            request = request.header("x-gateway-key", key);
        }
        request
    }
}

/// Tokens that nobody has brought yet, and that are good for an hour.
pub fn tokens() -> serde_json::Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    json!({
        "access_token": format!("access-{:032x}", fastrand::u128(..)),
        "refresh_token": format!("refresh-{:032x}", fastrand::u128(..)),
        "expires_at": now.as_secs() + 3_600,
    })
}

/// The id of the sign-in that a caller begins; empty where it may not.
async fn begin_sign_in(gateway: &Gateway, shows: &Shows) -> String {
    let request = gateway.request(Method::POST, "/onboarding/codex/device");
    let begun = answer(shows.put(request, false)).await;
    if begun.status != 201 {
        begun.is(401);
        return String::new();
    }
    begun.json()["id"].as_str().unwrap().to_owned()
}
