//! `openclaw`: an agent for everybody, each with a handle of its own, in the OpenClaw on this machine.
//!
//! OpenClaw's settings and stores are changed by its own command, `program`. What is to be there is said
//! in `settings`; handles are in a file, `handles`, that OpenClaw reads; `check` asks each agent whose it
//! shows. Each step looks at what there is, so that whatever broke off goes on the next time.

mod check;
mod handles;
mod people;
mod program;
mod settings;

use std::path::{Path, PathBuf};

use domain::identifiers::UserId;
use domain::secret::Secret;
use serde::Deserialize;
use serde_json::{Value, json};
use ureq::http::Method;

use self::check::House;
use self::handles::Handles;
use self::program::{Profiles, Program};
use self::settings::Wanted;
use crate::arguments::{OpenClaw, People};
use crate::base_url::BaseUrl;
use crate::client::{Client, Question, refuse_plain};
use crate::commands::confirm;
use crate::failure::{Failure, Kind};
use crate::output::{Output, Progress, Tone, cell, print_json, toned};

/// Where OpenClaw listens unless it is told otherwise.
const PORT: u64 = 18789;

/// What there is, and whom it is for.
struct Site<'a> {
    client: &'a Client,
    program: Program<'a>,
    options: &'a People,
    people: Vec<UserId>,
    base: String,
    /// openclaw.json.
    file: PathBuf,
    settings: Value,
    handles: Handles,
    output: Output,
}

/// What would have to be done, or was.
#[derive(Default)]
struct Steps {
    /// What openclaw.json lacks; null where that is nothing.
    patch: Value,
    /// Who has no handle here.
    minted: Vec<UserId>,
    /// Whose agent lacks the profile that is its own.
    profiles: Vec<String>,
    /// Agents that are nobody's.
    removed: Vec<String>,
    /// Whether others could read the handles.
    is_closed: bool,
    /// Why no OpenClaw that runs has read handles anew; none where one has, or nothing was done.
    unread: Option<String>,
    /// What is left of agents that went.
    left: Vec<String>,
}

/// Does what is asked with the OpenClaw on this machine.
///
/// # Errors
/// What OpenClaw or the gateway refuses, and lists that can't be read; of `verify`, a handle that isn't
/// where it belongs.
pub fn run(client: &Client, command: OpenClaw, output: Output) -> Result<(), Failure> {
    match command {
        OpenClaw::Plan(people) => Site::find(client, &people, output)?.plan(),
        OpenClaw::Apply { people, rotate, sure } => {
            Site::find(client, &people, output)?.apply(rotate, sure.yes)
        }
        OpenClaw::Verify { people, at } => {
            Site::find(client, &people, output)?.verify(at.as_deref())
        }
    }
}

impl<'a> Site<'a> {
    fn find(client: &'a Client, options: &'a People, output: Output) -> Result<Self, Failure> {
        let base = match &options.address {
            Some(address) => {
                let base = BaseUrl::parse(address)?;
                refuse_plain(&base, client.allows_http())?;
                base
            }
            None => client.base().clone(),
        };
        let people = people::read_roster(client, &options.roster)?;
        for user_id in &people {
            settings::agent(user_id)?;
        }
        let program = Program(&options.openclaw);
        let file = program.settings()?;
        let settings = read_settings(&file)?;
        let handles = Handles::read(Handles::path_beside(&file))?;
        let base = base.text();
        Ok(Self { client, program, options, people, base, file, settings, handles, output })
    }

    /// What openclaw.json lacks.
    fn missing(&self) -> Result<Value, Failure> {
        let wanted = Wanted {
            people: &self.people,
            base: &self.base,
            handles: self.handles.path(),
            model: self.options.model.as_deref(),
            api: self.options.api.as_deref(),
            keeps_tools: self.options.keep_tools,
        };
        wanted.missing_in(&self.settings)
    }

    fn agents(&self) -> Result<Vec<String>, Failure> {
        self.people.iter().map(settings::agent).collect()
    }

    /// Those of our agents who aren't on the list, where they are to go.
    fn gone(&self) -> Vec<String> {
        settings::gone(&self.settings, &self.people)
    }

    fn steps(&self) -> Result<Steps, Failure> {
        let patch = self.missing()?;
        let minted: Vec<UserId> =
            self.people.iter().filter(|user_id| !self.handles.has(user_id)).cloned().collect();
        // Who has an agent and a handle may have a profile; of the others it is known.
        let (known, new): (Vec<_>, Vec<_>) = self.people.iter().partition(|user_id| {
            let is_there = settings::agent(user_id).is_ok_and(|agent| self.has_agent(&agent));
            is_there && self.handles.has(user_id)
        });
        let names = |people: Vec<&UserId>| {
            people.into_iter().map(settings::agent).collect::<Result<Vec<_>, _>>()
        };
        let (known, mut profiles) = (names(known)?, names(new)?);
        if self.reads_handles() && !known.is_empty() {
            profiles.extend(self.program.give_profiles(&known, true)?);
        } else {
            profiles.extend(known);
        }
        let removed = if self.options.prune { self.gone() } else { Vec::new() };
        Ok(Steps { patch, minted, profiles, removed, ..Steps::default() })
    }

    fn has_agent(&self, agent: &str) -> bool {
        self.settings.pointer("/agents/entries").is_some_and(|all| all.get(agent).is_some())
    }

    /// Whether OpenClaw knows the file with the handles.
    fn reads_handles(&self) -> bool {
        let providers = self.settings.pointer("/secrets/providers");
        let ours = providers.and_then(|all| all.get(settings::PROVIDER));
        ours.and_then(|ours| ours.get("path")) == Some(&json!(self.handles.path()))
    }

    fn plan(&self) -> Result<(), Failure> {
        let steps = self.steps()?;
        self.report(&steps, ["This is what `apply` would write:", "Nothing would change."])
    }

    /// 1. Who has no handle here gets one, which is on the disk before the next is asked for.
    /// 2. Settings get what they lack; whose agent was here before, that first.
    /// 3. Agents get their profile, which says where in the file their handle is.
    /// 4. Agents of people who are gone go, where that is wanted.
    /// 5. The OpenClaw that runs reads handles anew, whatever was done: an earlier run may have broken off
    ///    before that.
    fn apply(&mut self, rotate: bool, yes: bool) -> Result<(), Failure> {
        let patch = self.missing()?;
        let removed = if self.options.prune { self.gone() } else { Vec::new() };
        if rotate {
            let what = format!(
                "The handles of {} people will be void, and what they have in progress fails.",
                self.people.len()
            );
            confirm(&what, yes)?;
        }
        if !removed.is_empty() {
            confirm(
                &format!("These agents and their conversations go: {}.", removed.join(", ")),
                yes,
            )?;
        }
        let is_closed = self.handles.close()?;
        let minted = self.mint(rotate)?;
        if !patch.is_null() {
            self.bring_back()?;
            self.program.patch(&self.missing()?)?;
        }
        let profiles = self.give_profiles()?;
        let mut progress = Progress::new(self.output, "agents removed", removed.len());
        let mut left = Vec::new();
        for agent in &removed {
            // Void first: whatever breaks off, the handle opens nothing any more.
            void(self.client, agent)?;
            left.extend(self.program.remove(agent)?);
            // As long as an agent points at it, OpenClaw wants it in the file.
            self.handles.forget(agent)?;
            progress.advance();
        }
        drop(progress);
        let unread = self.program.reload().err().map(|failure| failure.message);
        let steps = Steps { patch, minted, profiles, removed, is_closed, unread, left };
        self.report(&steps, ["Written:", "Nothing had to change."])?;
        steps.judge(rotate, self.output)
    }

    /// Adds agents in OpenClaw's own way who aren't in its settings, but were before. It keeps of an agent that
    /// it went; a running one that finds such an agent in its settings starts anew, and stays away where
    /// settings are written meanwhile.
    fn bring_back(&mut self) -> Result<(), Failure> {
        let agents = self.agents()?;
        let absent: Vec<_> = agents.iter().filter(|agent| !self.has_agent(agent)).collect();
        if absent.is_empty() {
            return Ok(());
        }
        let folder = self.agents_folder()?;
        for agent in absent.into_iter().filter(|agent| folder.join(agent).exists()) {
            self.add(agent, &folder)?;
        }
        Ok(())
    }

    /// Where OpenClaw keeps what is each agent's own.
    fn agents_folder(&self) -> Result<PathBuf, Failure> {
        let folder = self.program.agents_folder()?;
        Ok(folder.unwrap_or_else(|| self.file.with_file_name("agents")))
    }

    fn add(&mut self, agent: &str, folder: &Path) -> Result<(), Failure> {
        self.program.add(agent, &folder.with_file_name(format!("workspace-{agent}")))?;
        self.settings = read_settings(&self.file)?;
        Ok(())
    }

    /// Gives agents their profiles. Of one that went before and left no folder behind, OpenClaw says so only
    /// now, and lets nothing be written of it until it has been added in OpenClaw's own way.
    fn give_profiles(&mut self) -> Result<Profiles, Failure> {
        let agents = self.agents()?;
        for _ in &agents {
            let given = self.program.give_profiles(&agents, false);
            let Some(agent) = given.as_ref().err().and_then(program::deleted) else { return given };
            let Some(agent) = agents.iter().find(|known| *known == agent) else { return given };
            let folder = self.agents_folder()?;
            // It adds none that is in its settings, where the patch has put it.
            self.program.remove(agent)?;
            self.add(agent, &folder)?;
            self.program.patch(&self.missing()?)?;
        }
        self.program.give_profiles(&agents, false)
    }

    /// Has the gateway mint handles for those who have none here, or for everybody.
    fn mint(&mut self, rotate: bool) -> Result<Vec<UserId>, Failure> {
        let handles = &self.handles;
        let wanting = self.people.iter().filter(|user_id| rotate || !handles.has(user_id));
        let wanting: Vec<UserId> = wanting.cloned().collect();
        let mut progress = Progress::new(self.output, "handles minted", wanting.len());
        for user_id in &wanting {
            // Whatever breaks off here, the next run sees that this one has none that is good.
            self.handles.forget(&settings::agent(user_id)?)?;
            let handle = mint(self.client, user_id)?;
            self.handles.keep(user_id, handle)?;
            progress.advance();
        }
        Ok(wanting)
    }

    /// What was done, or would be; `told` is said before it, or instead where that is nothing.
    fn report(&self, steps: &Steps, told: [&str; 2]) -> Result<(), Failure> {
        let places = settings::places(&steps.patch);
        let Steps { minted, profiles, removed, is_closed, .. } = steps;
        let is_changed = *is_closed
            || ![places.is_empty(), minted.is_empty(), profiles.is_empty(), removed.is_empty()]
                .iter()
                .all(|is_empty| *is_empty);
        if self.output.is_json {
            return print_json(&json!({
                "changed": is_changed,
                "people": self.people,
                "settings_file": self.file,
                "handles_file": self.handles.path(),
                "settings": places,
                "minted": minted,
                "profiles": profiles,
                "removed": removed,
                "left": steps.left,
                "unread": steps.unread,
            }));
        }
        let [head, nothing] = told;
        self.output.line(if is_changed { head } else { nothing })?;
        let minted: Vec<String> = minted.iter().map(ToString::to_string).collect();
        for (what, names) in [
            ("new handles", &minted),
            ("places in openclaw.json", &places),
            ("agents' profiles", profiles),
            ("agents to the trash", removed),
        ] {
            if !names.is_empty() {
                self.output.line(&format!("  {} {what}: {}", names.len(), names.join(", ")))?;
            }
        }
        let left = self.gone();
        if !self.options.prune && !left.is_empty() {
            self.output.note(&format!(
                "Agents of people who aren't on the list stay: {}. --prune removes them.",
                left.join(", ")
            ));
        }
        Ok(())
    }

    fn verify(&self, at: Option<&str>) -> Result<(), Failure> {
        let lacking = settings::places(&self.missing()?);
        if !lacking.is_empty() {
            let message =
                format!("OpenClaw's settings aren't as they are to be: {}.", lacking.join(", "));
            return Err(Failure::new(Kind::Failed, message)
                .next("Run `apply` first, with the same --for and --keep-tools as ever."));
        }
        let house = House::new(self.address(at)?, self.token()?, self.client.allows_http())?;
        let mut progress = Progress::new(self.output, "agents asked", self.people.len());
        let findings = house.check(&self.people, &mut || progress.advance());
        drop(progress);
        let findings = findings?;
        let bad = findings.iter().filter(|finding| !finding.verdict.is_well()).count();
        if self.output.is_json {
            print_json(&json!({ "well": bad == 0, "people": findings }))?;
        } else {
            let rows = findings.iter().map(|finding| {
                let tone = if finding.verdict.is_well() { Tone::Good } else { Tone::Bad };
                vec![cell(finding.user_id.as_str()), toned(finding.verdict.words(), tone)]
            });
            self.output.table(&["USER_ID", "ITS AGENT SHOWED"], rows.collect())?;
        }
        if bad > 0 {
            let message = format!("{bad} of {} agents aren't proven.", findings.len());
            return Err(Failure::new(Kind::Failed, message));
        }
        self.output.line(
            "Each agent shows its own person's handle, and has nothing else to fall over to: one profile, no \
             key in the provider's settings, no other model.",
        )
    }

    fn address(&self, at: Option<&str>) -> Result<BaseUrl, Failure> {
        let port = self.settings.pointer("/gateway/port").and_then(Value::as_u64).unwrap_or(PORT);
        BaseUrl::parse(at.unwrap_or(&format!("http://127.0.0.1:{port}")))
    }

    /// OpenClaw's own token: as it was started with, else as its settings have it.
    fn token(&self) -> Result<Secret<String>, Failure> {
        let from_settings = self.settings.pointer("/gateway/auth/token").and_then(Value::as_str);
        let told = from_settings.filter(|token| !token.contains("${")).map(str::to_owned);
        let token = std::env::var("OPENCLAW_GATEWAY_TOKEN").ok().or(told);
        token.filter(|token| !token.is_empty()).map(Secret::new).ok_or_else(|| {
            Failure::new(Kind::Usage, "OpenClaw's own token is neither in its settings nor here.")
                .next("Set OPENCLAW_GATEWAY_TOKEN to the one that OpenClaw was started with.")
        })
    }
}

impl Steps {
    /// Says what is left to be done.
    ///
    /// # Errors
    /// Where it can't wait: handles that are void, in an OpenClaw that may run, and what somebody left
    /// behind who is gone.
    fn judge(&self, rotate: bool, output: Output) -> Result<(), Failure> {
        if !self.left.is_empty() {
            let message =
                format!("Agents are gone, but not all of theirs: {}", self.left.join(" "));
            return Err(Failure::new(Kind::Failed, message).next(
                "Remove it by hand. Where OpenClaw couldn't empty its own store, `openclaw agents delete` \
                 with the agent's name tries again.",
            ));
        }
        let Some(why) = &self.unread else { return Ok(()) };
        let told = format!("No OpenClaw that runs could be told: {why}");
        if !rotate {
            output.note(&format!("{told} It will read all of this when it starts."));
            return Ok(());
        }
        Err(Failure::new(Kind::Failed, told).next(
            "The handles of before are void. If OpenClaw runs, restart it, or run `openclaw secrets reload` with \
             its token in OPENCLAW_GATEWAY_TOKEN. If it doesn't, all is well: it reads them when it starts.",
        ))
    }
}

/// openclaw.json, or nothing yet.
fn read_settings(file: &Path) -> Result<Value, Failure> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(json!({})),
        Err(error) => return Err(Failure::file(file, "read", &error)),
        Ok(text) => text,
    };
    let settings: Option<Value> = serde_json::from_str(&text).ok();
    settings.filter(|settings| !text.contains("\"$include\"") && settings.is_object()).ok_or_else(|| {
        let message = format!("{} isn't plain JSON in one file.", file.display());
        Failure::new(Kind::Usage, message).next(
            "Comments would be lost and included files missed. Nothing was done. Make it plain JSON, in one \
             file, and run this again.",
        )
    })
}

/// Voids the handle of an agent's user.
fn void(client: &Client, agent: &str) -> Result<(), Failure> {
    let user_id = settings::owner(agent);
    let path = ["operator", "api", "users", user_id, "handle"];
    client.bytes(&Question::delete(&path)).map(drop)
}

/// A new handle for somebody; the one of before is void from now on.
fn mint(client: &Client, user_id: &UserId) -> Result<Secret<String>, Failure> {
    #[derive(Deserialize)]
    struct Minted {
        handle: String,
    }
    let path = ["operator", "api", "users", user_id.as_str(), "handle"];
    let minted: Minted = client.json(&Question::send(Method::POST, &path, &json!({})))?;
    if !minted.handle.starts_with(&format!("ogr_{user_id}_")) {
        let message = format!("The gateway gave {user_id} a handle that isn't {user_id}'s.");
        return Err(Failure::new(Kind::Failed, message));
    }
    Ok(Secret::new(minted.handle))
}
