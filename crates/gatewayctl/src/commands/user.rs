//! `user …`: one user, seen and changed.

use serde_json::{Value, json};
use ureq::http::Method;

use crate::api::Shown;
use crate::arguments::{Codex, Keys, Project, Tier, User, UserName};
use crate::client::{Client, Question};
use crate::commands::{confirm, confirm_by_word, read, users};
use crate::failure::{Failure, Kind};
use crate::moments;
use crate::output::{Output, Tone, cell, number, print, print_json, toned};

/// One user of a gateway.
struct Person<'a> {
    client: &'a Client,
    user_id: &'a str,
    output: Output,
}

/// Does what is asked with a user.
///
/// # Errors
/// What the gateway refuses; [`Kind::NotFound`] of a USER_ID that nobody has.
pub fn run(client: &Client, command: User, output: Output) -> Result<(), Failure> {
    let person = |UserName(user_id): &UserName| user_id.clone();
    let of = |user_id| Person { client, user_id, output };
    match command {
        User::Show { user_id } => of(&person(&user_id)).show(),
        User::Block { user_id, reason, sure } => {
            let body = reason.map_or(json!({}), |reason| json!({ "reason": reason }));
            let what = "is blocked: all that it sends is refused with 403.";
            of(&person(&user_id)).act("block", Some(("will be blocked.", sure.yes)), &body, what)
        }
        User::Unblock { user_id } => {
            of(&person(&user_id)).act("unblock", None, &json!({}), "isn't blocked any more.")
        }
        User::Reset { user_id } => {
            of(&person(&user_id)).act("reset", None, &json!({}), "has its whole minute again.")
        }
        User::Unbind { user_id, sure } => {
            let warning = "will belong to whichever API key asks first.";
            let what = "is free for the next API key.";
            of(&person(&user_id)).act("unbind", Some((warning, sure.yes)), &json!({}), what)
        }
        User::Flush { user_id } => {
            of(&person(&user_id)).act("flush", None, &json!({}), "has all its rows in D1.")
        }
        User::Tier { user_id, tier, sure } => of(&person(&user_id)).tier(tier, sure.yes),
        User::Upstream { user_id, upstream } => of(&person(&user_id)).upstream(&upstream),
        User::Keys { command: Keys::List { user_id } } => of(&person(&user_id)).keys(),
        User::Keys { command: Keys::Mint { user_id, label } } => {
            of(&person(&user_id)).mint(label.as_deref())
        }
        User::Keys { command: Keys::Revoke { user_id, key_id, sure } } => {
            let warning = format!("The key {key_id} will open nothing any more.");
            let said = [&warning, "It opens nothing any more."];
            of(&user_id.0).remove(&["keys", &key_id], said, sure.yes)
        }
        User::Code { user_id, valid_for } => of(&person(&user_id)).code(valid_for),
        User::Codex { command: Codex::Forget { user_id, sure } } => {
            let said = ["It will have to sign in again.", "The Codex tokens are forgotten."];
            of(&user_id.0).remove(&["codex"], said, sure.yes)
        }
        User::Project { command: Project::Remove { user_id, project, sure } } => {
            let warning = format!("The project {project} will lose its place.");
            let said = [&warning, "It is off the list."];
            of(&user_id.0).remove(&["projects", &project], said, sure.yes)
        }
        User::Forget { user_id, force, sure } => of(&person(&user_id)).forget(force, sure.yes),
    }
}

impl Person<'_> {
    fn path<'a>(&'a self, rest: &[&'a str]) -> Vec<&'a str> {
        ["operator", "api", "users", self.user_id].iter().chain(rest).copied().collect()
    }

    /// The user, live; of a name that nobody has, the object says nothing, and D1 doesn't know it.
    fn known(&self) -> Result<(Value, Shown), Failure> {
        let value: Value = self.client.json(&Question::get(&self.path(&[])))?;
        let shown: Shown = read(&value)?;
        if has_left_a_trace(&shown) || users::listed(self.client, self.user_id)?.is_some() {
            return Ok((value, shown));
        }
        let message = format!("Nobody is known as {}.", self.user_id);
        let next =
            format!("Search with `gatewayctl users {}`, or a part of the name.", self.user_id);
        Err(Failure::new(Kind::NotFound, message).next(next))
    }

    /// Does something to a user who is there, and asks before it where that is wanted.
    fn act(
        &self,
        name: &str,
        warning: Option<(&str, bool)>,
        body: &Value,
        done: &str,
    ) -> Result<(), Failure> {
        self.known()?;
        if let Some((warning, yes)) = warning {
            confirm(&format!("{} {warning}", self.user_id), yes)?;
        }
        self.client.bytes(&Question::send(Method::POST, &self.path(&[name]), body))?;
        self.done(name, done)
    }

    fn done(&self, action: &str, said: &str) -> Result<(), Failure> {
        if self.output.is_json {
            return print_json(&json!({ "user_id": self.user_id, "done": action }));
        }
        self.output.line(&format!("{} {said}", self.user_id))
    }

    /// Takes something of a user's away, and says what that will do before it, and what it did after it.
    fn remove(&self, what: &[&str], [warning, said]: [&str; 2], yes: bool) -> Result<(), Failure> {
        let (_, shown) = self.known()?;
        let path = self.path(what);
        if !has(&shown, what) {
            let message = format!("{} has no such {}.", self.user_id, kind_of(what));
            let next = format!("`gatewayctl user show {}` lists what there is.", self.user_id);
            return Err(Failure::new(Kind::NotFound, message).next(next));
        }
        confirm(&format!("{}: {warning}", self.user_id), yes)?;
        self.client.bytes(&Question::delete(&path))?;
        if self.output.is_json {
            let removed = what.join("/");
            return print_json(&json!({ "user_id": self.user_id, "removed": removed }));
        }
        self.output.line(said)
    }

    fn tier(&self, tier: Tier, yes: bool) -> Result<(), Failure> {
        let name = match tier {
            Tier::None => None,
            Tier::Tier1 => Some("tier1"),
            Tier::Tier2 => Some("tier2"),
            Tier::Tier3 => Some("tier3"),
        };
        if name.is_none() {
            confirm(&format!("{} will have no tier.", self.user_id), yes)?;
        }
        let path = self.path(&["tier"]);
        let question = Question::send(Method::PUT, &path, &json!({ "tier": name }));
        let user: Value = self.client.json(&question)?;
        if self.output.is_json {
            return print_json(&user);
        }
        let said = name.unwrap_or("no tier");
        self.output.line(&format!("{} has {said} from the next request on.", self.user_id))
    }

    fn upstream(&self, upstream: &str) -> Result<(), Failure> {
        let name = Some(upstream).filter(|name| *name != "none");
        let path = self.path(&["upstream"]);
        let question = Question::send(Method::PUT, &path, &json!({ "upstream": name }));
        let user: Value = self.client.json(&question)?;
        if self.output.is_json {
            return print_json(&user);
        }
        let place = name.unwrap_or("where its tier's or everybody's go");
        self.output.line(&format!("{}'s requests go to {place} from now on.", self.user_id))
    }

    fn mint(&self, label: Option<&str>) -> Result<(), Failure> {
        let body = label.map_or(json!({}), |label| json!({ "label": label }));
        let path = self.path(&["keys"]);
        let minted: Value = self.client.json(&Question::send(Method::POST, &path, &body))?;
        self.hand_out(&minted, "key", "This key is shown only now. Whoever has it is that user.")
    }

    fn code(&self, valid_for: Option<i64>) -> Result<(), Failure> {
        let body = valid_for.map_or(json!({}), |seconds| json!({ "ttl_seconds": seconds }));
        let path = self.path(&["codes"]);
        let issued: Value = self.client.json(&Question::send(Method::POST, &path, &body))?;
        let until = issued.get("expires_at").and_then(Value::as_str).unwrap_or_default();
        let until = moments::both(until, moments::now());
        self.hand_out(&issued, "code", &format!("It is shown only now, and ends {until}."))
    }

    /// What is secret is all of the standard output, so that a script can take it.
    fn hand_out(&self, answer: &Value, member: &str, remark: &str) -> Result<(), Failure> {
        if self.output.is_json {
            return print_json(answer);
        }
        let secret = answer.get(member).and_then(Value::as_str).unwrap_or_default();
        print(&format!("{secret}\n"))?;
        self.output.note(remark);
        Ok(())
    }

    fn keys(&self) -> Result<(), Failure> {
        let (value, shown) = self.known()?;
        if self.output.is_json {
            let keys = value.get("keys").cloned().unwrap_or_default();
            return print_json(&json!({ "user_id": self.user_id, "keys": keys }));
        }
        if shown.view.keys.is_empty() {
            self.output.note(&format!("{} has no gateway key.", self.user_id));
            return Ok(());
        }
        self.output.table(&["KEY_ID", "LABEL", "MADE", "LAST USED"], key_rows(&shown))
    }

    /// Whoever was forgotten already may be asked about again: the answer says how far it is.
    fn forget(&self, force: bool, yes: bool) -> Result<(), Failure> {
        let warning = format!(
            "All that is kept about {} will be deleted: keys, tokens, rows. Nothing brings it back.",
            self.user_id
        );
        confirm_by_word(&warning, self.user_id, yes)?;
        let (path, query) = (self.path(&[]), [("force", "true")]);
        let query: &[_] = if force { &query } else { &[] };
        let report: Value = self.client.json(&Question::delete(&path).with(query))?;
        if self.output.is_json {
            return print_json(&report);
        }
        let mut lines = Vec::new();
        let said = report.get("message").and_then(Value::as_str);
        self.output.line(&self.output.toned(said.unwrap_or("It is done."), Tone::Plain))?;
        for part in ["forgotten", "kept", "pending", "still_to_do"] {
            flatten(&mut lines, part, report.get(part).unwrap_or(&Value::Null));
        }
        let line = |line: &String| {
            self.output.line(&format!("  {}", self.output.toned(line, Tone::Plain)))
        };
        lines.iter().try_for_each(line)
    }

    fn show(&self) -> Result<(), Failure> {
        let (value, shown) = self.known()?;
        if self.output.is_json {
            return print_json(&value);
        }
        let now = moments::now();
        let rows = facts(&shown, now)
            .into_iter()
            .map(|(name, text, tone)| vec![toned(name, Tone::Faint), toned(text, tone)]);
        self.output.table(&[], rows.collect())?;
        if !shown.view.keys.is_empty() {
            self.output.line("")?;
            self.output.table(&["KEY_ID", "LABEL", "MADE", "LAST USED"], key_rows(&shown))?;
        }
        if shown.view.recent.is_empty() {
            return Ok(());
        }
        self.output.line("")?;
        let rows = shown.view.recent.iter().map(|request| {
            let tone = match request.status {
                200..=399 if request.error_code.is_none() => Tone::Plain,
                402 | 429 | 499 => Tone::Warning,
                _ => Tone::Bad,
            };
            let code = request.error_code.as_deref().unwrap_or_default();
            vec![
                cell(moments::short(&request.created_at, now)),
                toned(request.status.to_string(), tone),
                toned(code, tone),
                cell(&request.endpoint),
                cell(moments::milliseconds(request.latency_ms)),
                number(request.tokens),
                toned(&request.request_id, Tone::Faint),
            ]
        });
        let head = ["WHEN", "STATUS", "CODE", "PATH", "TOOK", "TOKENS", "REQUEST"];
        self.output.table(&head, rows.collect())
    }
}

/// Whether an object says anything that it doesn't say of a name that nobody has.
fn has_left_a_trace(Shown { view, .. }: &Shown) -> bool {
    let is_named = !view.keys.is_empty() || view.blocked || view.tier.is_some();
    let has_asked = !view.recent.is_empty() || view.in_flight > 0 || view.month.requests > 0;
    is_named || has_asked || view.upstream.is_some() || !view.projects.is_empty()
}

/// Whether a user has what is to be removed.
fn has(Shown { view, .. }: &Shown, what: &[&str]) -> bool {
    match what {
        ["keys", key_id] => view.keys.iter().any(|key| key.key_id == *key_id),
        ["projects", project] => view.projects.iter().any(|known| known == project),
        _ => true,
    }
}

fn kind_of(what: &[&str]) -> &'static str {
    if what.first() == Some(&"keys") { "gateway key" } else { "project" }
}

fn key_rows(Shown { view, .. }: &Shown) -> Vec<Vec<comfy_table::Cell>> {
    let now = moments::now();
    let rows = view.keys.iter().map(|key| {
        let used = key.last_used_at.as_ref().map(|used| moments::short(used, now));
        vec![
            cell(&key.key_id),
            cell(&key.label),
            cell(moments::short(&key.created_at, now)),
            cell(used.as_deref().unwrap_or("never")),
        ]
    });
    rows.collect()
}

/// What there is to say of a user, a line each.
fn facts(shown: &Shown, now: i64) -> Vec<(&'static str, String, Tone)> {
    let view = &shown.view;
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let mut facts = vec![("user", shown.user_id.clone(), Tone::Strong)];
    if view.blocked {
        let why = view.blocked_reason.as_deref().map_or(String::new(), |why| format!(": {why}"));
        facts.push(("blocked", format!("yes{why}"), Tone::Bad));
    }
    let tier = view.tier.map_or("none".to_owned(), |tier| {
        let since = view.tier_since.as_ref().map(|since| moments::both(since, now));
        let until = view.tier_until.as_ref().map(|until| moments::both(until, now));
        let since = since.map_or(String::new(), |since| format!(", since {since}"));
        let until = until.map_or(String::new(), |until| format!(", ends {until}"));
        format!("{}{since}{until}", word(json!(tier)))
    });
    facts.push(("tier", tier, Tone::Plain));
    let (used, limit) = (view.window.used, view.window.limit);
    let (free, tone) = match view.window.next_free_ms {
        0 => ("may send now".to_owned(), Tone::Plain),
        wait => (format!("may send again in {}", moments::milliseconds(wait)), Tone::Warning),
    };
    facts.push(("minute", format!("{used} of {limit} requests; {free}"), tone));
    facts.push(("in flight", view.in_flight.to_string(), Tone::Plain));
    let month = &view.month;
    let limit = month.limit.map_or(String::new(), |l| format!(" of {}", moments::number(l.into())));
    let is_full = month.limit.is_some_and(|limit| month.requests >= limit.into());
    let (requests, tokens) = (moments::number(month.requests), moments::number(month.tokens));
    let tone = if is_full { Tone::Warning } else { Tone::Plain };
    facts.push(("month", format!("{requests}{limit} requests, {tokens} tokens"), tone));
    facts.push(("projects", view.projects.join(", "), Tone::Plain));
    facts.push(("proves itself", binding(&word(json!(view.binding))).to_owned(), Tone::Plain));
    let ends = view.codex.expires_at.as_ref().map(|ends| moments::both(ends, now));
    let ends = ends.map_or(String::new(), |ends| format!(", ends {ends}"));
    facts.push(("Codex", format!("{}{ends}", word(json!(view.codex.state))), Tone::Plain));
    facts.extend(view.upstream.clone().map(|name| ("upstream", name, Tone::Plain)));
    if let Some(outbox) = view.outbox {
        let late = outbox.depth > 0 && outbox.oldest_ms > 30_000;
        let waits = moments::milliseconds(outbox.oldest_ms);
        let text = match outbox.depth {
            0 => "D1 has everything".to_owned(),
            depth => format!("{depth} rows wait for D1, the oldest for {waits}"),
        };
        facts.push(("outbox", text, if late { Tone::Warning } else { Tone::Plain }));
    }
    facts
}

fn binding(binding: &str) -> &str {
    match binding {
        "open" => "not yet",
        "first-key" => "by the API key that came first",
        "key" => "by a gateway key",
        other => other,
    }
}

/// A report as plain lines: `objects.customer: 1`.
fn flatten(lines: &mut Vec<String>, name: &str, value: &Value) {
    let below =
        |part: &str| if name.is_empty() { part.to_owned() } else { format!("{name}.{part}") };
    match value {
        Value::Object(members) => {
            members.iter().for_each(|(part, value)| flatten(lines, &below(part), value));
        }
        Value::Array(items) => {
            for item in items {
                flatten(lines, name, item);
            }
        }
        Value::Null => {}
        Value::String(text) => lines.push(format!("{name}: {text}")),
        other => lines.push(format!("{name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_becomes_plain_lines() {
        let mut lines = Vec::new();
        let report =
            json!({ "rows": { "requests": 3, "notes": 0 }, "kept": ["a", "b"], "x": null });
        flatten(&mut lines, "", &report);
        assert_eq!(lines, ["kept: a", "kept: b", "rows.notes: 0", "rows.requests: 3"]);
    }
}
