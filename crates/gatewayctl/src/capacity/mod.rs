//! `capacity`: how many people fit before answers get slow or fail.
//!
//! Reading order: `plan` is who comes when; `crowd` has the people and `exchange` what one of them does;
//! `course` lets them come. `figures` is what was measured, `verdict` what follows from it, `words` how that
//! is said, `report` the page. `people` makes the users and forgets them, whatever happens in between.

mod course;
mod crowd;
mod exchange;
mod figures;
mod interrupt;
mod people;
mod plan;
mod progress;
mod report;
mod verdict;
mod words;

use std::path::{Path, PathBuf};
use std::time::Duration;

use domain::secret::Secret;
use serde_json::{Map, Value, json};

use crate::api::Overview;
use crate::arguments::Capacity;
use crate::client::{self, Client};
use crate::commands::{confirm_by_word, read};
use crate::failure::{Failure, Kind};
use crate::files::{folder_of, write_privately};
use crate::moments;
use crate::output::{Output, Tone, cell, number, print_json, toned};
use crate::target;
use course::{Course, End, Ramp};
use crowd::{Crowd, Manners, Person};
use exchange::{Exchange, Question};
use figures::{Figures, Outcome, Trouble};
use interrupt::Interrupt;
use people::Left;
use plan::{MOST_REQUESTS, Step};
use progress::Progress;
use report::{Report, Settings};
use verdict::{Judgement, Verdict};
use words::{Words, time};

/// So much less often than the limit of a minute allows, for two clocks differ.
const ROOM: f64 = 1.05;

/// How soon an interruption is acted on while one request is tried.
const TICK: Duration = Duration::from_millis(50);

/// A check that is about to begin.
struct Check<'a> {
    client: &'a Client,
    options: &'a Capacity,
    output: Output,
    steps: Vec<Step>,
    api_key: Option<Secret<String>>,
    upstreams: Vec<(String, Option<u64>)>,
    /// Where the page goes.
    page: PathBuf,
    interrupt: Interrupt,
}

/// Checks how many people fit.
///
/// # Errors
/// Where the gateway isn't named, or it isn't meant; what the gateway refuses; a disk that refuses; users
/// who couldn't be forgotten; an interruption.
pub fn run(
    client: &Client,
    options: &Capacity,
    is_url_named: bool,
    output: Output,
) -> Result<(), Failure> {
    if options.clean_up {
        return clean_up(client, options, output);
    }
    if !is_url_named {
        let message = "Name the gateway on the command line: this sends it many requests.";
        let next = format!("If it is meant, add --url {}.", client.base().text());
        return Err(Failure::new(Kind::Usage, message).next(next));
    }
    let check = Check::prepare(client, options, output)?;
    let names = people::names(options.users.into());
    let done = check.go(&names);
    // Whatever came of it: what was made goes again. Another Ctrl-C is meant for this.
    check.interrupt.forget();
    output.note(&format!("Forgetting {} …", words::people(names.len())));
    let left = people::forget(client, &names, &check.interrupt);
    if let (Ok((document, _)), true) = (&done, output.is_json) {
        let mut document = document.clone();
        document.insert("left".to_owned(), json!(left));
        print_json(&document)?;
    }
    let forgotten = forgotten(&left);
    if let Err(failure) = &forgotten {
        output.note(&failure.to_string());
    }
    let (_, end) = done?;
    forgotten?;
    if end == End::Interrupted {
        return Err(Failure::new(
            Kind::Failed,
            "It was stopped; what was measured until then is told.",
        ));
    }
    Ok(())
}

/// Only forgets what is left.
fn clean_up(client: &Client, options: &Capacity, output: Output) -> Result<(), Failure> {
    let names = people::left_behind(client)?;
    if names.is_empty() {
        if output.is_json {
            return print_json(&json!({ "forgotten": 0, "left": [] }));
        }
        return output.line("Nobody is left of a check.");
    }
    let what = format!("{} of a check will be forgotten.", words::people(names.len()));
    crate::commands::confirm(&what, options.sure.yes)?;
    let left = people::forget(client, &names, &Interrupt::listen()?);
    let number = names.len() - left.len();
    if output.is_json {
        print_json(&json!({ "forgotten": number, "left": left }))?;
    } else {
        output.line(&format!("{number} of {} are forgotten.", names.len()))?;
    }
    forgotten(&left)
}

fn forgotten(left: &[Left]) -> Result<(), Failure> {
    let Some(first) = left.first() else { return Ok(()) };
    let message = format!(
        "{} couldn't be forgotten, {} among them: {}",
        words::people(left.len()),
        first.user_id,
        first.why
    );
    Err(Failure::new(Kind::Failed, message).next("`gatewayctl capacity --clean-up` does it again."))
}

impl<'a> Check<'a> {
    /// Finds out all that can be found out before anything is sent or made, and has it confirmed.
    fn prepare(client: &'a Client, options: &'a Capacity, output: Output) -> Result<Self, Failure> {
        let api_key = match &options.key_file {
            Some(file) => Some(target::read_token(file)?),
            None => target::variable("CAPACITY_API_KEY").map(Secret::new),
        };
        let page = options.output.clone().unwrap_or_else(usual_page);
        check_writable(&page)?;
        let steps =
            plan::ramp(options.users.into(), Duration::from_secs_f64(options.minutes * 60.0));
        let most = plan::most_requests(&steps, Duration::from_secs_f64(options.pause));
        if most > MOST_REQUESTS {
            let most = moments::number(most);
            let message = format!("This may send {most} requests, and 20,000 are the most.");
            return Err(Failure::new(Kind::Usage, message)
                .next("Use fewer --users or --minutes, or a longer --pause."));
        }
        let path = ["operator", "api", "overview"];
        let overview: Value = client.json(&client::Question::get(&path))?;
        let overview: Overview = read(&overview)?;
        let upstreams =
            overview.upstreams.into_iter().map(|known| (known.name, known.slots)).collect();
        let left = people::left_behind(client)?;
        if !left.is_empty() {
            let message = format!("{} of an earlier check are there.", words::people(left.len()));
            return Err(Failure::new(Kind::Failed, message)
                .next("Forget them with `gatewayctl capacity --clean-up` first."));
        }
        confirm_by_word(&warning(client, options, most), client.base().host(), options.sure.yes)?;
        let interrupt = Interrupt::listen()?;
        Ok(Self { client, options, output, steps, api_key, upstreams, page, interrupt })
    }

    /// Makes the users, tries one request, lets the ramp run, and tells of it.
    fn go(&self, names: &[String]) -> Result<(Map<String, Value>, End), Failure> {
        self.output.note(&format!("Making {} …", words::people(names.len())));
        let tier = self.options.tier.as_deref();
        let people = people::make(self.client, names, tier, &self.interrupt)?;
        let config = client::config(self.client.base())?;
        let question = || {
            let url = self.client.base().at(&["v1", "chat", "completions"], &[]);
            let Capacity { model, prompt, .. } = self.options;
            Question::new(url, model, prompt, self.api_key.clone())
        };
        let minute = self.try_one(&question(), &config, &people)?;
        let least = minute.map_or(0.0, |limit| 60.0 * ROOM / f64::from(limit.max(1)));
        let pause = Duration::from_secs_f64(self.options.pause);
        let manners = Manners {
            pause,
            least: Duration::from_secs_f64(least),
            most_requests: plan::most_requests(&self.steps, pause),
        };
        let began_at = domain::clock::rfc3339(moments::now());
        let mut progress = Progress::new(self.output);
        let ramp = Ramp {
            crowd: Crowd::new(question(), config, &manners),
            people: &people,
            steps: &self.steps,
            patience: Duration::from_secs_f64(self.options.patience),
            interrupt: &self.interrupt,
            progress: &mut progress,
        };
        let Course { figures, end } = ramp.run()?;
        let verdict = Verdict::of(&figures, Duration::from_secs_f64(self.options.patience));
        let mut words = Words::of(&verdict, &figures, end);
        if let Some(limit) = minute.filter(|_| least > self.options.pause) {
            words.cautions.push(format!(
                "The gateway allows one user {limit} requests a minute, so nobody asked more often than \
                 every {least:.1} s, however short the pause."
            ));
        }
        let settings = self.settings(minute);
        let url = self.client.base().text();
        let report = Report {
            url,
            began_at,
            end,
            settings,
            verdict: &verdict,
            words,
            steps: &figures,
            page: &self.page,
        };
        self.tell(&report).map(|document| (document, end))
    }

    /// One request, so that what is wrong from the beginning is said before fifty people meet it. It tells
    /// how many a minute the gateway allows one user.
    fn try_one(
        &self,
        question: &Question,
        config: &ureq::config::Config,
        people: &[Person],
    ) -> Result<Option<u32>, Failure> {
        let Some(person) = people.first() else { return Ok(None) };
        self.output.note("Trying one request …");
        let agent = config.new_agent();
        let exchange = std::thread::scope(|scope| {
            let asking = scope.spawn(|| question.ask(&agent, &person.key, &mut || {}));
            while !asking.is_finished() {
                std::thread::sleep(TICK);
                if self.interrupt.is_set() {
                    agent.clone().shutdown();
                }
            }
            asking.join()
        });
        let Ok(exchange) = exchange else {
            return Err(Failure::new(
                Kind::Failed,
                "The request that was tried has ended by itself.",
            ));
        };
        if self.interrupt.is_set() {
            return Err(people::interrupted());
        }
        match &exchange.outcome {
            Outcome::Failed(trouble) => Err(self.explained(trouble, &exchange)),
            _ => Ok(exchange.minute),
        }
    }

    fn explained(&self, trouble: &Trouble, exchange: &Exchange) -> Failure {
        let tried = words::name_of(trouble.status, &trouble.code);
        let message = format!("One request was tried and failed ({tried}): {}", exchange.said);
        let failed =
            Failure { status: Some(trouble.status), ..Failure::new(Kind::Failed, message) };
        let failed = Failure { code: Some(trouble.code.clone()), ..failed };
        match (trouble.status, trouble.code.as_str()) {
            (_, "missing_key") if self.api_key.is_none() => failed.next(
                "This gateway passes its callers' own API keys on. Put one that may pay for this into a file \
                 and name it with --key-file, or set CAPACITY_API_KEY.",
            ),
            (_, "no_codex_session" | "codex_session_expired") => failed.next(
                "Here each user's own sign-in to Codex pays, and the users of a check have none. Check the \
                 same upstream behind a gateway whose AUTH_MODE is openai.",
            ),
            (402, _) => failed.next("Give the users of the check a tier: add --tier tier1."),
            (401 | 403, _) if self.api_key.is_some() => {
                failed.next("Is the API key right, and may it use this model?")
            }
            (400 | 404, _) => failed.next("Does the upstream know the model? Name one with --model."),
            _ => failed.next("`gatewayctl doctor` says what is wrong between here and the agent."),
        }
    }

    fn settings(&self, requests_per_minute: Option<u32>) -> Settings<'_> {
        let options = self.options;
        Settings {
            users: options.users.into(),
            minutes: options.minutes,
            pause_seconds: options.pause,
            patience_seconds: options.patience,
            model: &options.model,
            prompt: &options.prompt,
            tier: options.tier.as_deref(),
            has_api_key: self.api_key.is_some(),
            requests_per_minute,
            upstreams: self.upstreams.clone(),
        }
    }

    /// Writes the page, and tells people; what programs get comes back.
    fn tell(&self, report: &Report<'_>) -> Result<Map<String, Value>, Failure> {
        write_privately(&self.page, report.to_html())
            .map_err(|error| Failure::file(&self.page, "written", &error))?;
        let Ok(Value::Object(document)) = serde_json::to_value(report) else {
            return Err(Failure::new(Kind::Failed, "What was measured is no JSON."));
        };
        if self.output.is_json {
            return Ok(document);
        }
        let tone = if report.verdict.fits > 0 { Tone::Strong } else { Tone::Bad };
        self.output.line(&self.output.toned(&report.words.headline, tone))?;
        let Words { findings, advice, cautions, .. } = &report.words;
        for text in findings.iter().chain(advice).chain(cautions) {
            self.output.line(text)?;
        }
        self.output.line("")?;
        table(report, self.output)?;
        self.output.line(&format!("\n{}", self.page.display()))?;
        Ok(document)
    }
}

fn table(report: &Report<'_>, output: Output) -> Result<(), Failure> {
    let dash = || cell("–");
    let maybe_time =
        |time_ms: Option<u64>| time_ms.map_or_else(dash, |time_ms| cell(time(time_ms)));
    let row = |(figures, judgement): (&Figures, &Judgement)| {
        let (word, tone) = match judgement {
            Judgement::Fits => ("fit", Tone::Good),
            Judgement::Over => ("too many", Tone::Bad),
            Judgement::Unclear => ("not known", Tone::Faint),
        };
        let Figures { step, first_byte_ms, total_ms, queue_ms, .. } = figures;
        vec![
            number(step.people as u64),
            toned(word, tone),
            number(figures.requests as u64),
            number(figures.failed as u64),
            maybe_time(first_byte_ms.map(|times| times.p50)),
            maybe_time(first_byte_ms.map(|times| times.p95)),
            maybe_time(total_ms.map(|times| times.p95)),
            maybe_time(queue_ms.map(|times| times.p95)),
            figures.tokens_per_second.map_or_else(dash, |rate| cell(format!("{rate:.1}"))),
        ]
    };
    let head = [
        "PEOPLE",
        "",
        "REQUESTS",
        "FAILED",
        "BEGIN 50 %",
        "95 %",
        "END 95 %",
        "QUEUE 95 %",
        "TOKENS/S",
    ];
    let judged = report.steps.iter().zip(&report.verdict.judgements);
    output.table(&head, judged.map(row).collect())
}

fn warning(client: &Client, options: &Capacity, most: u64) -> String {
    let Capacity { users, minutes, .. } = options;
    format!(
        "Up to {users} people at once will ask {} up to {} questions within {minutes} minutes. A model's \
         provider may charge for each, and who uses the gateway meanwhile will notice. The users capacity-01 \
         to capacity-{users:02} are made for it, and forgotten afterwards.",
        client.base().text(),
        moments::number(most + 1)
    )
}

fn usual_page() -> PathBuf {
    let now = domain::clock::rfc3339(moments::now());
    let now: String = now.chars().take(16).filter(|letter| *letter != ':').collect();
    PathBuf::from(format!("capacity-{}.html", now.replace('T', "-")))
}

/// Finds out before anything is sent whether the page can be written.
fn check_writable(page: &Path) -> Result<(), Failure> {
    let folder = folder_of(page);
    let refused = |error: &std::io::Error| Failure::file(folder, "written to", error);
    tempfile::NamedTempFile::new_in(folder).map(drop).map_err(|error| refused(&error))
}
