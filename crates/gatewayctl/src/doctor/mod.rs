//! `doctor`: everything between here and the agent, checked one after the other, as far as one gets.

mod gateway;
mod network;

use std::time::Instant;

use serde::Serialize;
use serde_json::json;

use crate::arguments::Global;
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::output::{Output, Tone, cell, pad, print_json, toned};
use crate::target::{self, Target};

/// What is said of one thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It couldn't be checked, for something before it is wrong.
    Skipped,
    /// It is well.
    Ok,
    /// It works, and wants attention.
    Warn,
    /// It doesn't work.
    Fail,
}

/// One thing that was checked.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What.
    pub name: &'static str,
    /// How it is.
    pub verdict: Verdict,
    /// Why that is said.
    pub why: String,
    /// What to do.
    pub next: Option<String>,
    /// How long it took.
    pub milliseconds: u64,
}

impl Check {
    /// Something that is well.
    pub fn ok(why: impl Into<String>) -> Self {
        Self::new(Verdict::Ok, why, None)
    }

    /// Something that wants attention.
    pub fn warn(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Verdict::Warn, why, Some(next.into()))
    }

    /// Something that doesn't work.
    pub fn fail(why: impl Into<String>, next: impl Into<String>) -> Self {
        Self::new(Verdict::Fail, why, Some(next.into()))
    }

    /// Something that couldn't be checked.
    pub fn skipped(why: impl Into<String>) -> Self {
        Self::new(Verdict::Skipped, why, None)
    }

    /// Something that failed in these words.
    pub fn of(failure: Failure) -> Self {
        Self::new(Verdict::Fail, failure.message, failure.next)
    }

    fn new(verdict: Verdict, why: impl Into<String>, next: Option<String>) -> Self {
        Self { name: "", verdict, why: why.into(), next, milliseconds: 0 }
    }
}

/// What was checked so far; each is printed as soon as it is known.
pub struct Examination {
    checks: Vec<Check>,
    output: Output,
}

impl Examination {
    /// Checks one thing, and says whether the next can be checked.
    ///
    /// # Errors
    /// Where it can't be printed.
    pub fn check(
        &mut self,
        name: &'static str,
        look: impl FnOnce() -> Check,
    ) -> Result<bool, Failure> {
        let began = Instant::now();
        let check = look();
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let check = Check { name, milliseconds: took, ..check };
        self.print(&check)?;
        let is_passable = matches!(check.verdict, Verdict::Ok | Verdict::Warn);
        self.checks.push(check);
        Ok(is_passable)
    }

    /// Names what couldn't be checked.
    ///
    /// # Errors
    /// Where it can't be printed.
    pub fn skip(&mut self, names: &[&'static str], why: &str) -> Result<(), Failure> {
        for name in names {
            self.check(name, || Check::skipped(why))?;
        }
        Ok(())
    }

    fn print(&self, check: &Check) -> Result<(), Failure> {
        let (mark, tone) = match check.verdict {
            Verdict::Ok => ("ok", Tone::Good),
            Verdict::Warn => ("warn", Tone::Warning),
            Verdict::Fail => ("FAIL", Tone::Bad),
            Verdict::Skipped => ("–", Tone::Faint),
        };
        if self.output.is_json {
            return Ok(());
        }
        let mut text = check.why.clone();
        if let Some(next) = &check.next {
            text = format!("{text}\n→ {next}");
        }
        let mut table = crate::output::table(&[], self.output.width);
        if self.output.is_coloured {
            table.enforce_styling();
        }
        table.add_row(vec![
            toned(format!("{mark:<4}"), tone),
            toned(format!("{:<9}", check.name), Tone::Strong),
            cell(text),
        ]);
        pad(&mut table);
        let lines: Vec<_> = table.lines().map(|line| line.trim_end().to_owned()).collect();
        self.output.line(&lines.join("\n"))
    }
}

/// Checks everything.
///
/// # Errors
/// [`Kind::Failed`], or what fits what failed first.
pub fn run(global: &Global, output: Output) -> Result<(), Failure> {
    let mut examination = Examination { checks: Vec::new(), output };
    let kind = examine(&mut examination, global)?;
    let verdict = examination.checks.iter().map(|check| check.verdict).max();
    let verdict = verdict.unwrap_or(Verdict::Ok);
    if output.is_json {
        print_json(&json!({ "verdict": verdict, "checks": examination.checks }))?;
    }
    let number = |wanted| examination.checks.iter().filter(|c| c.verdict == wanted).count();
    if verdict == Verdict::Fail {
        let failed = examination.checks.iter().filter(|check| check.verdict == Verdict::Fail);
        let failed: Vec<_> = failed.map(|check| check.name).collect();
        return Err(Failure::new(kind, format!("Not all is well: {}.", failed.join(", "))));
    }
    output.line(&match number(Verdict::Warn) {
        0 => "All is well.".to_owned(),
        _ => "It works; see what it warns of.".to_owned(),
    })
}

/// What comes after the network.
const AT_THE_GATEWAY: [&str; 7] = ["gateway", "clock", "ready", "d1", "upstream", "token", "rows"];

fn examine(examination: &mut Examination, global: &Global) -> Result<Kind, Failure> {
    let found = target::find(global);
    let target = match found {
        Ok(target) => target,
        Err(failure) => {
            let kind = failure.kind;
            examination.check("url", || Check::of(failure))?;
            examination.skip(&["dns", "tcp", "tls"], "It isn't known where the gateway is.")?;
            examination.skip(&AT_THE_GATEWAY, "It isn't known where the gateway is.")?;
            return Ok(kind);
        }
    };
    examination.check("url", || url(&target))?;
    if !network::examine(examination, &target.base)? {
        examination.skip(&AT_THE_GATEWAY, "The gateway can't be reached.")?;
        return Ok(Kind::Unreachable);
    }
    let has_token = target.credentials.token.is_some() || target.credentials.access.is_some();
    let output = examination.output;
    let token_from = target.token_from.clone();
    // Over plain HTTP the token isn't shown; the rest can be asked without it.
    let may_show = target.base.is_tls() || target.base.is_loopback() || global.allow_http;
    let mut anonymous = target.clone();
    anonymous.credentials.token = None;
    // Where Access guards the gateway, nothing is heard without it.
    anonymous.credentials.access = anonymous.credentials.access.filter(|_| may_show);
    let asked = Client::new(anonymous, output, true)?.impatient();
    if !gateway::examine(examination, &asked)? {
        return Ok(Kind::Failed);
    }
    let client = if !may_show {
        Err(Check::fail("It isn't shown where anybody could read it.", "Use https://."))
    } else if has_token {
        Client::new(target, output, global.allow_http).map(Client::impatient).map_err(Check::of)
    } else {
        Err(Check::fail("There is none to show.", "Run `gatewayctl login`, or set OPERATOR_TOKEN."))
    };
    let client = match client {
        Ok(client) => client,
        Err(check) => {
            examination.check("token", || check)?;
            examination.skip(&["rows"], "The gateway doesn't tell strangers.")?;
            return Ok(Kind::NotAllowed);
        }
    };
    if !examination.check("token", || gateway::token(&client, &token_from))? {
        examination.skip(&["rows"], "The gateway doesn't tell strangers.")?;
        return Ok(Kind::NotAllowed);
    }
    examination.check("rows", || gateway::rows(&client))?;
    Ok(Kind::Failed)
}

fn url(target: &Target) -> Check {
    let (text, from) = (target.base.text(), &target.url_from);
    if let Some(mended) = &target.base.mended {
        let why = format!("{text}, of {from}; {mended}.");
        return Check::warn(why, format!("Write it as {text}."));
    }
    if !target.base.is_tls() && !target.base.is_loopback() {
        let why = format!("{text}, of {from}; anybody on the way can read along.");
        return Check::warn(why, "Use https://.");
    }
    Check::ok(format!("{text}, of {from}"))
}
