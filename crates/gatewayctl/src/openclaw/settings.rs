//! What openclaw.json has to say, and what of it is missing: pure, so that it can be tried on anything.
//!
//! Only what is named here is ours. All else in the file is the operator's and is never touched.

use std::collections::BTreeSet;
use std::path::Path;

use domain::identifiers::UserId;
use serde_json::{Map, Value, json};

use crate::failure::{Failure, Kind};

/// What OpenClaw calls the gateway: as a provider of models, and as one of secrets.
pub const PROVIDER: &str = "organized-gateway";

/// The credential that every agent has for itself. It has the same name in each, and it is the only one
/// in `auth.order`: whatever else somebody puts into OpenClaw, there is nothing to fail over to.
pub const PROFILE: &str = "organized-gateway:own";

/// An agent's name has at most so many characters.
const LONGEST_NAME: usize = 64;

/// What openclaw.json is to say.
pub struct Wanted<'a> {
    /// Whose agents.
    pub people: &'a [UserId],
    /// Where the gateway is, without `/return/v1`.
    pub base: &'a str,
    /// The file with the handles.
    pub handles: &'a Path,
    /// What the agents ask for; else what each asks for already, and a new one for the newest that is known.
    pub model: Option<&'a str>,
    /// How they ask for it; else as the settings have it.
    pub api: Option<&'a str>,
    /// Whether tools are the operator's own affair.
    pub keeps_tools: bool,
}

/// The name of a person's agent.
///
/// # Errors
/// Where OpenClaw knows no such name: it has no dots, and few letters.
pub fn agent(user_id: &UserId) -> Result<String, Failure> {
    let name = format!("u-{user_id}");
    if name.len() <= LONGEST_NAME && !name.contains('.') {
        return Ok(name);
    }
    let message = format!(
        "{user_id} can't have an agent: OpenClaw's names have no dot and at most {LONGEST_NAME} characters."
    );
    Err(Failure::new(Kind::Usage, message)
        .next("Nothing was done. Give this person another USER_ID, or take the line off the list."))
}

/// Whose agent it is.
pub fn owner(agent: &str) -> &str {
    agent.strip_prefix("u-").unwrap_or(agent)
}

impl Wanted<'_> {
    /// What has to be put over the settings so that they say what is wanted; `null` where that is nothing.
    ///
    /// # Errors
    /// Where nobody has said which model is meant, or a person can't have an agent.
    pub fn missing_in(&self, settings: &Value) -> Result<Value, Failure> {
        let wanted = self.tree(settings)?;
        Ok(missing(Some(settings), &wanted).unwrap_or(Value::Null))
    }

    /// All that is ours. `null` is what mustn't be there.
    fn tree(&self, settings: &Value) -> Result<Value, Failure> {
        let models = settings.pointer("/models/providers").and_then(|all| all.get(PROVIDER));
        let listed = models.and_then(|ours| ours.get("models")).and_then(Value::as_array);
        let listed = listed.cloned().unwrap_or_default();
        let newest = || listed.last().and_then(|model| text(model, "/id"));
        let model = self.model.or_else(newest).ok_or_else(no_model)?;
        let mut provider = Map::new();
        provider.insert("baseUrl".to_owned(), json!(format!("{}/return/v1", self.base)));
        provider.insert("apiKey".to_owned(), Value::Null);
        let known = models.and_then(|ours| text(ours, "/api"));
        let api = self.api.or(known).unwrap_or("openai-completions");
        provider.insert("api".to_owned(), json!(api));
        if !listed.iter().any(|known| text(known, "/id") == Some(model)) {
            let models = listed.iter().cloned().chain([described(model)]).collect();
            provider.insert("models".to_owned(), models);
        }
        let mut entries = Map::new();
        for user_id in self.people {
            let name = agent(user_id)?;
            let now = settings.pointer("/agents/entries").and_then(|all| all.get(&name));
            entries.insert(name, self.entry(model, now));
        }
        Ok(json!({
            "agents": { "ownership": "explicit", "entries": entries },
            "models": { "providers": { PROVIDER: provider } },
            "secrets": { "providers": { PROVIDER: {
                "source": "file", "path": self.handles, "mode": "json",
            } } },
            "auth": { "order": { PROVIDER: [PROFILE] }, "profiles": strays(settings) },
        }))
    }

    fn entry(&self, model: &str, now: Option<&Value>) -> Value {
        let primary = now.and_then(|now| text(now, "/model/primary"));
        let primary = primary.filter(|primary| self.model.is_none() && is_ours(primary));
        let primary = primary.map_or_else(|| format!("{PROVIDER}/{model}"), str::to_owned);
        let mut entry = Map::new();
        entry.insert("model".to_owned(), json!({ "primary": primary, "fallbacks": [] }));
        let denied = now.and_then(|now| now.pointer("/tools/deny")).and_then(Value::as_array);
        let is_denied = denied.is_some_and(|denied| denied.contains(&json!("*")));
        if !self.keeps_tools && !is_denied {
            entry.insert("tools".to_owned(), json!({ "deny": ["*"] }));
        }
        Value::Object(entry)
    }
}

/// The agents of ours that are nobody's on the list: what they ask for is at the gateway.
pub fn gone(settings: &Value, people: &[UserId]) -> Vec<String> {
    let wanted: BTreeSet<String> = people.iter().map(|user_id| format!("u-{user_id}")).collect();
    let entries = settings.pointer("/agents/entries").and_then(Value::as_object);
    let ours = |entry: &Value| text(entry, "/model/primary").is_some_and(is_ours);
    let all = entries.into_iter().flatten();
    let gone = all
        .filter(|(name, entry)| name.starts_with("u-") && ours(entry) && !wanted.contains(*name));
    gone.map(|(name, _)| name.clone()).collect()
}

/// Whether a model, as an agent names it, is asked for at the gateway.
fn is_ours(model: &str) -> bool {
    model.split('/').next() == Some(PROVIDER)
}

/// The places in the settings that a patch changes, as OpenClaw names them.
pub fn places(patch: &Value) -> Vec<String> {
    fn walk(value: &Value, path: &str, depth: usize, found: &mut Vec<String>) {
        match value {
            Value::Object(members) if depth > 0 => members.iter().for_each(|(name, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, &format!("{path}{dot}{name}"), depth - 1, found);
            }),
            _ => found.push(path.to_owned()),
        }
    }
    let mut found = Vec::new();
    if !patch.is_null() {
        walk(patch, "", 3, &mut found);
    }
    found
}

/// Profiles that somebody declared for our provider beside the one that is ours.
fn strays(settings: &Value) -> Map<String, Value> {
    let profiles = settings.pointer("/auth/profiles").and_then(Value::as_object);
    let all = profiles.into_iter().flatten();
    let strays =
        all.filter(|(id, profile)| id.as_str() != PROFILE && profile["provider"] == PROVIDER);
    strays.map(|(id, _)| (id.clone(), Value::Null)).collect()
}

/// A model of which nobody said more than its name. What is here can be changed in openclaw.json.
fn described(model: &str) -> Value {
    json!({
        "id": model,
        "name": model,
        "reasoning": false,
        "input": ["text"],
        "cost": { "input": 0, "output": 0, "cacheRead": 0, "cacheWrite": 0 },
        "contextWindow": 120_000,
        "maxTokens": 8192,
    })
}

fn no_model() -> Failure {
    Failure::new(Kind::Usage, "OpenClaw has to be told which model these people's agents ask for.")
        .next("Name it with --model, as their provider calls it: --model gpt-5.4")
}

fn text<'a>(value: &'a Value, pointer: &str) -> Option<&'a str> {
    value.pointer(pointer).and_then(Value::as_str)
}

/// What of `wanted` isn't so in `now`; objects are compared member by member.
fn missing(now: Option<&Value>, wanted: &Value) -> Option<Value> {
    let Value::Object(wanted) = wanted else {
        let is_there = now.unwrap_or(&Value::Null) == wanted;
        return (!is_there).then(|| wanted.clone());
    };
    let member = |(name, wanted): (&String, &Value)| {
        missing(now.and_then(|now| now.get(name)), wanted).map(|value| (name.clone(), value))
    };
    let members: Map<String, Value> = wanted.iter().filter_map(member).collect();
    (!members.is_empty()).then_some(Value::Object(members))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn people(names: &[&str]) -> Vec<UserId> {
        names.iter().map(|name| UserId::parse(name).unwrap()).collect()
    }

    fn wanted<'a>(people: &'a [UserId], model: Option<&'a str>) -> Wanted<'a> {
        let (base, handles) = ("https://gw.example.com", Path::new("/x/handles.json"));
        Wanted { people, base, handles, model, api: None, keeps_tools: false }
    }

    /// As `openclaw config patch` does it.
    fn patch(settings: &mut Value, changes: &Value) {
        let Value::Object(changes) = changes else {
            *settings = changes.clone();
            return;
        };
        if !settings.is_object() {
            *settings = json!({});
        }
        for (name, change) in changes {
            if change.is_null() {
                settings.as_object_mut().unwrap().remove(name);
            } else {
                patch(&mut settings[name], change);
            }
        }
    }

    #[test]
    fn everybody_gets_an_agent_and_nothing_to_fall_over_to() {
        let people = people(&["ada", "bob"]);
        let mut settings = json!({ "agents": { "defaults": { "x": 1 } }, "tools": { "y": 2 } });
        let changes = wanted(&people, Some("gpt-5.4")).missing_in(&settings).unwrap();
        patch(&mut settings, &changes);
        assert_eq!(settings["agents"]["defaults"]["x"], 1);
        assert_eq!(settings["tools"]["y"], 2);
        let ada = json!({
            "model": { "primary": "organized-gateway/gpt-5.4", "fallbacks": [] },
            "tools": { "deny": ["*"] },
        });
        assert_eq!(settings["agents"]["entries"]["u-ada"], ada);
        let provider = settings["models"]["providers"][PROVIDER].clone();
        assert_eq!(provider["baseUrl"], "https://gw.example.com/return/v1");
        assert!(provider.get("apiKey").is_none());
        assert_eq!(provider["api"], "openai-completions");
        let other = Wanted { api: Some("openai-responses"), ..wanted(&people, None) };
        let changes = other.missing_in(&settings).unwrap();
        let api = json!({ "models": { "providers": { PROVIDER: { "api": "openai-responses" } } } });
        assert_eq!(changes, api, "and nothing else");
        assert_eq!(settings["auth"]["order"][PROVIDER], json!([PROFILE]));
    }

    #[test]
    fn what_the_operator_set_stays_and_what_would_leak_goes() {
        let people = people(&["ada"]);
        let mut settings = json!({
            "agents": { "ownership": "explicit", "entries": { "u-ada": {
                "model": { "primary": "operator/big", "fallbacks": ["operator/small"] },
                "tools": { "deny": ["exec", "*"] }, "identity": { "name": "Ada" },
            }, "main": { "model": "operator/big" } } },
            "auth": {
                "order": { PROVIDER: ["organized-gateway:manual", PROFILE], "openai": ["a"] },
                "profiles": {
                    "organized-gateway:manual": { "provider": PROVIDER, "mode": "token" },
                    "a": { "provider": "openai", "mode": "token" },
                },
            },
            "models": { "providers": { PROVIDER: {
                "baseUrl": "https://old.example.com/return/v1", "apiKey": "sk-x", "api": "openai-responses",
                "models": [{ "id": "m", "contextWindow": 7 }],
            } } },
        });
        let before = settings.clone();
        let changes = wanted(&people, None).missing_in(&settings).unwrap();
        patch(&mut settings, &changes);
        let ada = &settings["agents"]["entries"]["u-ada"];
        assert_eq!(ada["model"], json!({ "primary": "organized-gateway/m", "fallbacks": [] }));
        assert_eq!(ada["tools"], before["agents"]["entries"]["u-ada"]["tools"]);
        assert_eq!(ada["identity"]["name"], "Ada");
        assert_eq!(settings["agents"]["entries"]["main"], before["agents"]["entries"]["main"]);
        let auth = json!({
            "order": { PROVIDER: [PROFILE], "openai": ["a"] },
            "profiles": { "a": { "provider": "openai", "mode": "token" } },
        });
        assert_eq!(settings["auth"], auth);
        let provider = json!({
            "baseUrl": "https://gw.example.com/return/v1", "api": "openai-responses",
            "models": [{ "id": "m", "contextWindow": 7 }],
        });
        assert_eq!(settings["models"]["providers"][PROVIDER], provider);
    }

    #[test]
    fn a_model_is_added_to_those_that_there_are() {
        let people = people(&["ada"]);
        let mut settings = json!({});
        for model in ["one", "two"] {
            let changes = wanted(&people, Some(model)).missing_in(&settings).unwrap();
            patch(&mut settings, &changes);
        }
        let models = &settings["models"]["providers"][PROVIDER]["models"];
        assert_eq!([&models[0]["id"], &models[1]["id"]], ["one", "two"]);
        let primary = settings.pointer("/agents/entries/u-ada/model/primary").unwrap();
        assert_eq!(primary, "organized-gateway/two");

        // Whoever says nothing changes nobody's, and somebody new gets the newest.
        settings["agents"]["entries"]["u-ada"]["model"]["primary"] = json!("organized-gateway/one");
        let both = self::people(&["ada", "bob"]);
        let changes = wanted(&both, None).missing_in(&settings).unwrap();
        assert_eq!(places(&changes), ["agents.entries.u-bob"]);
        patch(&mut settings, &changes);
        let bobs = settings.pointer("/agents/entries/u-bob/model/primary").unwrap();
        assert_eq!(bobs, "organized-gateway/two");
    }

    #[test]
    fn who_is_gone_is_found_and_nobody_else() {
        let ours = json!({ "model": { "primary": "organized-gateway/m", "fallbacks": [] } });
        let settings = json!({ "agents": { "entries": {
            "u-ada": ours, "u-bob": ours, "helper": ours,
            "u-own": { "model": { "primary": "operator/m" } }, "u-plain": { "model": "x/y" },
        } } });
        assert_eq!(gone(&settings, &people(&["ada"])), ["u-bob"]);
        assert_eq!(gone(&json!({}), &[]), [""; 0]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for name in ["ada.l", &"a".repeat(63)] {
            let people = people(&[name]);
            let failure = wanted(&people, Some("m")).missing_in(&json!({})).unwrap_err();
            assert!(failure.message.contains("can't have an agent"), "{failure}");
        }
        let failure = wanted(&[], None).missing_in(&json!({})).unwrap_err();
        assert!(failure.to_string().contains("--model"), "{failure}");
    }

    #[test]
    fn places_are_named() {
        let patch =
            json!({ "agents": { "entries": { "u-ada": { "model": { "a": 1 } } } }, "x": [1] });
        assert_eq!(places(&patch), ["agents.entries.u-ada", "x"]);
        assert!(places(&Value::Null).is_empty());
    }

    fn anything() -> impl Strategy<Value = Value> {
        let name = prop_oneof![
            "(agents|entries|u-ada|model|models|providers|organized-gateway|auth|order|tools|deny)",
            "[a-z]{1,3}",
        ];
        let leaf =
            prop_oneof![any::<bool>().prop_map(Value::from), "[a-z*]{0,3}".prop_map(Value::from),];
        leaf.prop_recursive(6, 60, 6, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map(name.clone(), inner, 0..5)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        /// Whatever is there: after one patch nothing is missing any more.
        #[test]
        fn a_second_time_changes_nothing(mut settings in anything()) {
            let people = people(&["ada", "bob"]);
            let wanted = wanted(&people, Some("m"));
            let changes = wanted.missing_in(&settings).unwrap();
            patch(&mut settings, &changes);
            prop_assert_eq!(wanted.missing_in(&settings).unwrap(), Value::Null);
        }
    }
}
