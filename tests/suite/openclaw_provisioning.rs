//! `gatewayctl openclaw` with a real OpenClaw, as its operator runs it on that machine.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use gateway_tests::ctl::Ctl;
use gateway_tests::redaction::RUN;
use gateway_tests::wait_for;
use reqwest::Method;
use serde_json::{Value, json};

use crate::answer::answer;
use crate::openclaw::word;
use crate::openclaw_people::{PATIENCE, PEOPLE, Site, person};
use crate::openclaw_return::pays;

pub async fn a_plan_does_nothing(site: &Site, before: &Value) {
    site.roster(1..=PEOPLE);
    site.run("plan").await.is(2).says("Name it with --model");
    let plan = site.ask("plan --model stub-1").await;
    assert_eq!(plan["changed"], true);
    for part in ["minted", "profiles"] {
        assert_eq!(plan[part].as_array().unwrap().len(), PEOPLE, "{plan}");
    }
    let places = plan["settings"].to_string();
    for place in ["agents.entries.u-person-07", "auth.order.organized-gateway"] {
        assert!(places.contains(place), "{places}");
    }
    assert_eq!(site.settings(), *before);
    assert!(!site.handles_file().exists());
}

pub async fn what_broke_off_goes_on(site: &Site) {
    let roster = site.roster(1..=PEOPLE);
    let running = site.ctl(&format!("apply --model stub-1 --roster {roster}")).run();
    let minted = wait_for("some handles", PATIENCE, || {
        let handles = site.handles();
        (handles.len() > 2).then_some(handles)
    });
    // Dropped, it is killed.
    let early = tokio::select! {
        handles = minted => handles,
        ended = running => panic!("it was faster: {ended:?}"),
    };
    let done = site.ask("apply --model stub-1").await;
    assert_eq!(done["changed"], true);
    let handles = site.handles();
    assert_eq!(handles.len(), PEOPLE);
    for (user, handle) in early {
        assert_eq!(handles[&user], handle, "what was minted before is kept");
    }
    assert!(done["minted"].as_array().unwrap().len() < PEOPLE, "{done}");
    let mode = std::fs::metadata(site.handles_file()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// What is ours is put in; of all else, nothing is lost.
pub fn the_operators_own_settings_stay(site: &Site, before: &Value) {
    fn is_in(part: &Value, whole: &Value, path: &str) {
        match part {
            Value::Object(members) => members
                .iter()
                .for_each(|(name, part)| is_in(part, &whole[name], &format!("{path}.{name}"))),
            _ => assert_eq!(part, whole, "{path}"),
        }
    }
    let after = site.settings();
    is_in(before, &after, "");
    let provider = &after["models"]["providers"]["organized-gateway"];
    assert_eq!(provider["baseUrl"], site.gateway.url("/return/v1"));
    assert_eq!(provider.get("apiKey"), None);
    let agent = &after["agents"]["entries"]["u-person-01"];
    assert_eq!(agent["tools"], json!({ "deny": ["*"] }));
    assert_eq!(agent["model"]["fallbacks"], json!([]));
    assert!(site.openclaw.settings_file().with_extension("json.bak").exists());
}

/// Somebody pastes another key for our provider, where every agent would take it: at once, for OpenClaw
/// puts it first.
pub async fn a_stray_credential_is_never_used(site: &Site) {
    // As a handle looks, so that the gateway would tell of it.
    let stray = &format!("ogr_{}_{}", person(8), "0".repeat(43));
    RUN.note("a stray token", stray);
    let paste = format!(
        "printf '%s\\n' \"$STRAY\" | {} models auth paste-token --agent main \
         --provider organized-gateway --profile-id organized-gateway:stray",
        site.command.display()
    );
    let pasted = Ctl::in_a_shell(&paste).env("STRAY", stray).patience(PATIENCE).run().await;
    assert_eq!(pasted.code, Some(0), "{pasted:?}");
    site.run("verify").await.is(1).says("auth.order.organized-gateway");
    let done = site.ask("apply").await;
    assert!(done["settings"].to_string().contains("auth.order.organized-gateway"), "{done}");
    assert_eq!(done["minted"], json!([]));
    // The one that is refused has nothing to fall over to.
    let barred = site.own_keys[&person(8)].clone();
    site.provider.refuse(move |key| (key == barred).then(|| "This key was revoked.".to_owned()));
    let text = word("stray");
    let refused = site.say(&person(8), 1, &text).await;
    assert_eq!(refused.status, 401, "{refused:?}");
    let lines = site.gateway.log();
    let is_stray =
        |line: &&Value| line["event"] == "return_refused" && line["reason"] == "invalid_handle";
    assert_eq!(lines.iter().find(is_stray), None, "it was tried");
    assert_eq!(site.shown_for(&text), [site.own_keys[&person(8)].as_str()]);
    site.provider.refuse(|_| None);
}

/// Somebody has swapped two handles, which is found and mended before anybody has paid for somebody else.
pub async fn whose_handle_it_is_can_be_proven(site: &Site) {
    site.roster(1..=4);
    let mut handles = site.handles();
    let [one, two] = [1, 2].map(|number| handles[&person(number)].clone());
    handles.insert(person(1), two.clone());
    handles.insert(person(2), one.clone());
    write(&site.handles_file(), &handles);
    let reload = format!("{} secrets reload --json", site.command.display());
    let reloaded = Ctl::in_a_shell(&reload).patience(PATIENCE).run().await;
    assert_eq!(reloaded.code, Some(0), "{reloaded:?}");
    let wrong = site.run("verify").await.is(1);
    for words in [
        "The handle of person-02!",
        "The handle of person-01!",
        "person-03  its own handle",
        "person-04  its own handle",
        "2 of 4 agents aren't proven.",
    ] {
        wrong.says(words);
    }
    site.roster([1, 2, 5]);
    site.run("apply --rotate").await.is(2).says("Add --yes");
    let done = site.ask("apply --rotate --yes").await;
    assert_eq!(done["minted"], json!([1, 2, 5].map(person)));
    let after = site.handles();
    assert!(after[&person(1)] != one && after[&person(2)] != two);
    assert_eq!(after[&person(4)], handles[&person(4)]);
    // A new handle is used at once, by an agent that doesn't rest.
    pays(site, 5, 1, 0).await;
}

fn write(file: &Path, handles: &BTreeMap<String, String>) {
    let new = file.with_extension("new");
    std::fs::write(&new, serde_json::to_vec(handles).unwrap()).unwrap();
    std::fs::set_permissions(&new, PermissionsExt::from_mode(0o600)).unwrap();
    std::fs::rename(&new, file).unwrap();
}

/// A second time changes nothing, and who isn't on the list any more stays until that is meant.
pub async fn who_is_gone_goes_only_where_it_is_meant(site: &Site) {
    let kept = || {
        let files = [site.openclaw.settings_file(), site.handles_file()];
        files.map(|file| std::fs::read(file).unwrap())
    };
    let (gone, before) = (person(PEOPLE), kept());
    site.roster(1..PEOPLE);
    let same = site.run("apply").await.is(0);
    same.says("Nothing had to change.");
    same.says("u-person-20. --prune removes them.");
    assert!(kept() == before);
    site.run("apply --prune").await.is(2).says("Add --yes");
    pays(site, PEOPLE, 1, 0).await;

    assert_eq!(site.ask("apply --prune --yes").await["removed"], json!(["u-person-20"]));
    assert!(!site.handles().contains_key(&gone));
    let path = format!("/operator/api/users/{gone}");
    let seen = answer(site.gateway.operator(Method::GET, &path)).await;
    assert_eq!(seen.json().get("handle"), None, "{seen:?}");
    assert_eq!(site.settings()["agents"]["entries"].get("u-person-20"), None);
    let answered = site.say(&gone, 1, "Is anybody there?").await;
    assert_eq!(answered.status, 400, "{answered:?}");
    pays(site, 5, 1, 0).await;

    // Who comes back begins anew, though OpenClaw keeps of that agent that it went.
    site.roster(1..=PEOPLE);
    assert_eq!(site.ask("apply").await["minted"], json!([gone]));
    assert!(!site.openclaw.output().contains("requires gateway restart"), "it starts anew");
    pays(site, PEOPLE, 1, 0).await;
}
