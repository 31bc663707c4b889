//! Holds what was written down against what was seen.
//!
//! What has to be true of each request, whatever happened:
//!
//! - What reached the upstream, or was answered by it, has exactly one row: the row is durable before
//!   the permit leaves the user's object.
//! - A refusal that was answered is counted exactly once, in a row of its own or in one with a count.
//! - That row says how the request ended. It says `interrupted` only where the runtime died, the disk
//!   was full or the clock stepped over a lease while the request ran or its end was being written.
//! - What got no answer and never reached the upstream has one row or none: the runtime died before or
//!   after its row was durable, or its client left before it was admitted. The same is true of what was
//!   answered 500 `internal_error`, and that happens only while the disk is full or the runtime dies.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt::Write as _;
use std::time::Instant;

use gateway_tests::Row;

use crate::book::{Asked, Disturbance, End, Kind};
use crate::crowd::SPENT;
use crate::evidence::{Months, UserObject};
use crate::window;

/// The limits that the gateway was started with.
pub const PER_MINUTE: usize = 30;

/// How many requests tier1 has a month.
const QUOTA: i64 = 10_000;

/// A step of the clock that may end a running request's lease: it is renewed each 30 s of 90.
const OVER_A_LEASE: i64 = 55_000;

/// The codes of refusals by the user's object.
const REFUSALS: [&str; 4] = [
    "rate_limit_exceeded",
    "concurrency_limit_exceeded",
    "project_limit_exceeded",
    "monthly_quota_exceeded",
];

/// The gateway's other codes that are to be expected here.
const FAILURES: [&str; 5] = [
    "upstream_busy",
    "upstream_timeout",
    "upstream_unreachable",
    "upstream_interrupted",
    "internal_error",
];

/// All that there is to compare.
pub struct Evidence {
    pub asked: Vec<Asked>,
    pub disturbances: Vec<Disturbance>,
    /// What reached the upstream: id and moment, by number.
    pub arrived: HashMap<u64, (String, Instant)>,
    pub rows: Vec<Row>,
    pub usage: BTreeMap<String, Months>,
    pub objects: Vec<UserObject>,
    /// Those who were told at the end that their month is used up.
    pub used_up: BTreeSet<String>,
    /// What each user's object said at the end of its month.
    pub shown: BTreeMap<String, Months>,
}

/// What was wrong, and what was counted.
#[derive(Default)]
pub struct Findings {
    pub broken: Vec<String>,
    pub figures: Vec<String>,
}

/// What a request came to, as far as it was seen.
enum Fate<'a> {
    /// It was let in; its id.
    Admitted(&'a String),
    /// The user's object refused it, with this code.
    Refused(&'a str),
    /// Nobody can know.
    Unknown,
}

impl Evidence {
    /// Compares everything.
    pub fn judge(&self) -> Findings {
        let mut findings = Findings::default();
        self.judge_admissions(&mut findings);
        self.judge_rows(&mut findings);
        self.judge_refusals(&mut findings);
        self.judge_leases(&mut findings);
        self.judge_months(&mut findings);
        findings
    }

    fn fate<'a>(&'a self, asked: &'a Asked) -> Fate<'a> {
        if let Some((id, _)) = self.arrived.get(&asked.number) {
            return Fate::Admitted(id);
        }
        match &asked.head {
            None => Fate::Unknown,
            Some(head) => match head.code.as_deref() {
                Some("internal_error") => Fate::Unknown,
                // Who left before the end of an error doesn't know which it was.
                None if head.status >= 400 && asked.end != End::Whole => Fate::Unknown,
                Some(code) if REFUSALS.contains(&code) => Fate::Refused(code),
                _ => Fate::Admitted(&head.id),
            },
        }
    }

    /// No user was let in more often than the limit in any minute of its object's clock.
    fn judge_admissions(&self, findings: &mut Findings) {
        let mut users = BTreeMap::<&str, Vec<window::Admission>>::new();
        for asked in &self.asked {
            if let Fate::Admitted(_) = self.fate(asked)
                && !asked.user.starts_with(SPENT)
            {
                let arrived = self.arrived.get(&asked.number).map(|(_, at)| *at);
                let answered = asked.head.as_ref().map(|head| head.at);
                let latest = arrived.into_iter().chain(answered).min().unwrap_or(asked.ended);
                let admission = window::Admission { earliest: asked.sent, latest };
                users.entry(&asked.user).or_default().push(admission);
            }
        }
        for (user, admissions) in users {
            if let Some(crowd) = window::crowd(&admissions, &self.disturbances, PER_MINUTE) {
                findings.broken.push(format!("over-admitted: {user} was let in {crowd}"));
            }
        }
    }

    /// Each request has its row.
    fn judge_rows(&self, findings: &mut Findings) {
        let mut by_id = HashMap::<&str, Vec<&Row>>::new();
        for row in &self.rows {
            by_id.entry(&row.request_id).or_default().push(row);
        }
        for (id, rows) in &by_id {
            if rows.len() > 1 {
                findings.broken.push(format!("doubled: {id} has {} rows: {rows:?}", rows.len()));
            }
        }
        let (mut known, mut strays) = (BTreeSet::new(), BTreeMap::<&str, (i64, i64)>::new());
        for asked in &self.asked {
            let id: &String = match self.fate(asked) {
                Fate::Admitted(id) => id,
                Fate::Refused(_) => continue,
                Fate::Unknown => match &asked.head {
                    Some(head) => &head.id,
                    None if asked.end == End::Unreached => continue,
                    None => {
                        strays.entry(&asked.user).or_default().0 += 1;
                        continue;
                    }
                },
            };
            known.insert(id.as_str());
            let row = by_id.get(id.as_str()).map(|rows| rows[0]);
            if row.is_some_and(is_refusal) && matches!(self.fate(asked), Fate::Unknown) {
                continue;
            }
            if let Some(problem) = self.problem(asked, row) {
                findings.broken.push(format!("{problem}: {}", self.tell(asked, row)));
            }
        }
        for row in self.rows.iter().filter(|row| !is_refusal(row)) {
            if !known.contains(row.request_id.as_str()) {
                strays.entry(&row.user_id).or_default().1 += 1;
            }
        }
        for (user, (unanswered, rows)) in strays {
            if rows > unanswered {
                findings.broken.push(format!(
                    "{user} has {rows} rows of nobody's requests; {unanswered} of its requests had no answer"
                ));
            }
        }
        let rows = self.rows.len();
        let interrupted = self.rows.iter().filter(|row| row.status == 0).count();
        let counted = self.rows.iter().filter(|row| row.month.is_some()).count();
        let refused: i64 =
            self.rows.iter().filter(|row| is_refusal(row)).map(|row| row.count).sum();
        findings.figures.push(format!(
            "D1: {rows} rows, of which {counted} count in a month and {interrupted} say \
             `interrupted`; {refused} refusals",
        ));
    }

    /// What is wrong with a request's row, if anything.
    fn problem(&self, asked: &Asked, row: Option<&Row>) -> Option<&'static str> {
        let met = |is_one: fn(Kind) -> bool| asked.met(&self.disturbances, is_one);
        let is_down = met(|kind| kind == Kind::Down);
        let is_full = met(|kind| kind == Kind::Full);
        let steps = met(|kind| matches!(kind, Kind::Step(by) if by > OVER_A_LEASE));
        let code = asked.head.as_ref().and_then(|head| head.code.as_deref());
        if asked.end == End::Hung {
            return Some("hung");
        }
        if code == Some("internal_error") && !is_down && !is_full {
            return Some("answered 500 for no reason");
        }
        if code.is_some_and(|code| !REFUSALS.contains(&code) && !FAILURES.contains(&code)) {
            return Some("answered what nobody asked for");
        }
        let Some(row) = row else {
            let may_lack = matches!(self.fate(asked), Fate::Unknown);
            return (!may_lack).then_some("lost: no row");
        };
        if row.user_id != asked.user || row.count != 1 {
            return Some("another's row");
        }
        if row.status == 0 {
            let is_explained = is_down || is_full || steps;
            return (!is_explained).then_some("interrupted for no reason");
        }
        let status = asked.head.as_ref().map_or(0, |head| i64::from(head.status));
        let is_right = match asked.end {
            End::Whole => row.status == status,
            End::Broke if status == 200 => row.status == 502,
            // Who left may not have seen the end that was on its way.
            _ => true,
        };
        if !is_right && !is_down {
            return Some("another end than was seen");
        }
        // It counts where a model was to run, unless the upstream failed it before the client had any of
        // an answer.
        let is_counted = row.month.is_some();
        let should_count = match (row.status, status) {
            _ if row.endpoint == "/v1/models" => Some(false),
            (..500, _) => Some(true),
            (_, 500..) => Some(false),
            _ => None,
        };
        should_count.is_some_and(|should| should != is_counted).then_some("counted wrongly")
    }

    fn tell(&self, asked: &Asked, row: Option<&Row>) -> String {
        let began = self.asked.iter().map(|asked| asked.sent).min().unwrap_or(asked.sent);
        let at = |moment: Instant| moment.saturating_duration_since(began).as_secs_f64();
        let mut text = format!(
            "{} asked at {:.2} s, {:?} at {:.2} s",
            asked.user,
            at(asked.sent),
            asked.end,
            at(asked.ended)
        );
        if let Some(head) = &asked.head {
            let code = head.code.as_deref().unwrap_or_default();
            let _ = write!(text, ", answered {} {code} at {:.2} s", head.status, at(head.at));
        }
        if let Some((id, moment)) = self.arrived.get(&asked.number) {
            let _ = write!(text, ", upstream as {id} at {:.2} s", at(*moment));
        }
        let _ = write!(text, "; row: {row:?}");
        text
    }

    /// Each refusal that was answered is counted, and no more than were asked for.
    fn judge_refusals(&self, findings: &mut Findings) {
        let mut answered = BTreeMap::<(&str, &str), i64>::new();
        let mut unknown = BTreeMap::<&str, i64>::new();
        for asked in &self.asked {
            match self.fate(asked) {
                Fate::Refused(code) => *answered.entry((&asked.user, code)).or_default() += 1,
                Fate::Unknown if asked.end != End::Unreached => {
                    *unknown.entry(&asked.user).or_default() += 1;
                }
                _ => {}
            }
        }
        let mut counted = BTreeMap::<(&str, &str), i64>::new();
        for row in self.rows.iter().filter(|row| is_refusal(row)) {
            let code = row.error_code.as_deref().unwrap_or_default();
            *counted.entry((&row.user_id, code)).or_default() += row.count;
        }
        let both: BTreeSet<_> = answered.keys().chain(counted.keys()).copied().collect();
        for (user, code) in both {
            let told = answered.get(&(user, code)).copied().unwrap_or(0);
            let rows = counted.get(&(user, code)).copied().unwrap_or(0);
            let may = told + unknown.get(user).copied().unwrap_or(0);
            if !(told..=may).contains(&rows) {
                findings.broken.push(format!(
                    "{user} was refused {told} times with {code}, at most {may} times; D1 counts {rows}"
                ));
            }
        }
    }

    /// Nothing is in flight, and D1 has all.
    fn judge_leases(&self, findings: &mut Findings) {
        for object in &self.objects {
            if !object.open.is_empty() {
                let text = format!("leaked: {} has {:?} in flight", object.user, object.open);
                findings.broken.push(text);
            }
            if object.waiting > 0 {
                let text = format!("{} rows of {} never came to D1", object.waiting, object.user);
                findings.broken.push(text);
            }
        }
    }

    /// The objects, D1's sums and D1's rows agree, month by month.
    fn judge_months(&self, findings: &mut Findings) {
        let mut rows = BTreeMap::<&str, Months>::new();
        for row in &self.rows {
            if let Some(month) = &row.month {
                let sums = rows.entry(&row.user_id).or_default();
                let sum = sums.entry(month.clone()).or_default();
                sum.0 += row.count;
                sum.1 += row.tokens_est;
            }
        }
        let none = Months::new();
        for object in &self.objects {
            let user = object.user.as_str();
            let (rows, usage) = (rows.get(user).unwrap_or(&none), self.usage.get(user));
            if object.months != *rows || usage.unwrap_or(&none) != rows {
                findings.broken.push(format!(
                    "quota drift: {user}'s object counts {:?}, its rows {rows:?}, monthly_usage {usage:?}",
                    object.months
                ));
            }
            for (month, shown) in self.shown.get(user).unwrap_or(&none) {
                if rows.get(month).unwrap_or(&(0, 0)) != shown {
                    findings.broken.push(format!(
                        "quota drift: {user} is said to have used {shown:?} in {month}, its rows say {rows:?}"
                    ));
                }
            }
            let most = rows.values().map(|(requests, _)| *requests).max().unwrap_or(0);
            let limit = if user.starts_with("middle") { 50_000 } else { QUOTA };
            if (has_quota(user) && most > limit) || (self.used_up.contains(user) && most < limit) {
                let text = format!("{user} has {most} requests of {limit} in a month");
                findings.broken.push(text);
            }
        }
        let known: BTreeSet<_> = self.objects.iter().map(|object| object.user.as_str()).collect();
        for user in rows.keys().filter(|user| !known.contains(**user)) {
            findings.broken.push(format!("{user} has rows and no object"));
        }
    }
}

/// Whether the user's tier has so many requests a month and not more.
fn has_quota(user: &str) -> bool {
    ["small", "middle", SPENT].iter().any(|name| user.starts_with(name))
}

/// Whether the user's object refused it: the upstream's own 429 counts in a month.
fn is_refusal(row: &Row) -> bool {
    let code = row.error_code.as_deref();
    row.month.is_none() && code.is_some_and(|code| REFUSALS.contains(&code))
}
