//! A whole run: rounds of everybody in a shuffled order, then what is found out once.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};

use crate::contenders::{Purpose, Site};
use crate::loads::{costs, crowd, flood, steady};
use crate::options::{Contender, Load, Options};
use crate::progress::Progress;
use crate::results::{Measure, Results, Round};
use crate::setup;
use crate::system::Machine;

/// What a run is made of.
struct Plan {
    contenders: Vec<Contender>,
    steady: Vec<Load>,
    flood: bool,
    crowd: Option<crowd::Size>,
    rounds: u32,
    time: Duration,
    flood_time: Duration,
    warm_up: Duration,
}

impl Plan {
    fn new(options: &Options, contenders: Vec<Contender>) -> Self {
        let steady = Load::STEADY.into_iter().filter(|load| options.has(*load)).collect();
        let has_gateway = contenders.contains(&Contender::Gateway);
        let size = if options.quick { (500, 4_000) } else { (10_000, 200_000) };
        let size = crowd::Size { users: size.0, requests: size.1 };
        let seconds = if options.quick { 1 } else { options.seconds };
        Self {
            flood: options.has(Load::Flood) && contenders.iter().any(|it| it.has_limits()),
            crowd: (has_gateway && options.has(Load::Crowd)).then_some(size),
            contenders,
            steady,
            rounds: if options.quick { 1 } else { options.rounds },
            time: Duration::from_secs(seconds),
            // Honest users ask seldom: it takes longer to hear of their slowest answers.
            flood_time: Duration::from_secs(seconds * 2).min(flood::LONGEST),
            warm_up: Duration::from_millis(if options.quick { 300 } else { 3_000 }),
        }
    }

    fn limited(&self) -> impl Iterator<Item = Contender> {
        let flooded: &[Contender] = if self.flood { &self.contenders } else { &[] };
        flooded.iter().copied().filter(|contender| contender.has_limits())
    }

    /// The steps that progress is counted in.
    fn steps(&self) -> u64 {
        let a_round = self.contenders.len() * self.steady.len() + self.limited().count();
        let once = self.contenders.len() + usize::from(self.crowd.is_some());
        u64::from(self.rounds) * a_round as u64 + once as u64
    }
}

/// Sets up, measures, and gives back what was found.
///
/// # Errors
/// When anybody answers wrongly: the run is worthless then. Who can't be installed is left out.
pub async fn run(root: &Path, options: &Options) -> Result<Results> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    let xtask = std::env::var_os("GATEWAY_XTASK").context("start this with `cargo xtask bench`")?;
    let wanted = options.contenders();
    setup::build(xtask.as_ref(), wanted.contains(&Contender::Gateway))?;
    let left_out = setup::install(xtask.as_ref(), &wanted);
    let taking_part = wanted.into_iter().filter(|contender| !left_out.contains_key(contender));
    let plan = Plan::new(options, taking_part.collect());
    if plan.contenders.is_empty() {
        bail!("nobody is left to be measured");
    }
    let site = Site::open(root, options.state_on).await?;
    let progress = Progress::new(plan.steps());
    for (contender, reason) in &left_out {
        progress.say(&format!("left out: {} ({reason})", contender.title()));
    }
    progress.say(&format!("the order is that of seed {seed}"));
    let mut results = Results {
        began: now(),
        command: command(options, seed),
        seed,
        seconds_a_load: plan.time.as_secs(),
        state_on: options.state_on,
        machine: Machine::here(site.state.path()),
        versions: setup::versions(root, &plan.contenders),
        left_out,
        rounds: Vec::new(),
        costs: BTreeMap::new(),
        crowd: None,
    };
    for contender in &plan.contenders {
        progress.doing(&format!("counting what a request costs {}", contender.title()));
        results.costs.insert(*contender, costs::count(&site, *contender).await?);
        progress.done(&format!("counted: {}", contender.title()));
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for number in 1..=plan.rounds {
        let title = format!("round {number} of {}", plan.rounds);
        results.rounds.push(round(&site, &plan, (&progress, &title), &mut random).await?);
    }
    if let Some(size) = &plan.crowd {
        let told = |text: &str| progress.doing(&format!("{} users: {text}", size.users));
        results.crowd = Some(crowd::measure(&site, size, told).await?);
        progress.done(&format!("{} requests of {} users", size.requests, size.users));
    }
    Ok(results)
}

async fn round(
    site: &Site,
    plan: &Plan,
    (progress, title): (&Progress, &str),
    random: &mut fastrand::Rng,
) -> Result<Round> {
    let mut order = plan.contenders.clone();
    random.shuffle(&mut order);
    // The same for everybody in this round: what comes before a load is part of it.
    let mut loads = plan.steady.clone();
    random.shuffle(&mut loads);
    let flood_seed = random.u64(..);
    let mut round = Round { order: order.clone(), ..Round::default() };
    for contender in &order {
        let tell = |what: &str| format!("{title} · {} · {what}", contender.title());
        if !loads.is_empty() {
            progress.doing(&tell("starting"));
            let running = site.start(*contender, Purpose::Speed).await?;
            let users = steady::users()?;
            let failed = || format!("the run is worthless: {}", contender.title());
            steady::warm_up(&running, &users, plan.warm_up).await.with_context(failed)?;
            for load in &loads {
                let Some(shape) = load.steady() else { continue };
                progress.doing(&tell(load.name()));
                let measure = steady::measure(site, &running, &users, (shape, plan.time)).await;
                let measure = measure.with_context(failed)?;
                progress.done(&tell(&describe(*load, &measure)));
                round.loads.entry(*load).or_default().insert(*contender, measure);
            }
            running.stop().await;
        }
        if plan.limited().any(|limited| limited == *contender) {
            progress.doing(&tell("flood"));
            let mut order = [flood::Phase::Calm, flood::Phase::CalmAgain, flood::Phase::Flooded];
            random.shuffle(&mut order);
            let shape = flood::Shape { order, time: plan.flood_time, seed: flood_seed };
            let flood = flood::measure(site, *contender, shape).await;
            let flood = flood.with_context(|| format!("a flood on {}", contender.title()))?;
            let (calm, flooded) = (milliseconds(flood.calm.p50), milliseconds(flood.flooded.p50));
            progress.done(&tell(&format!("flood: p50 {flooded} ms, without it {calm} ms")));
            round.floods.insert(*contender, flood);
        }
    }
    Ok(round)
}

fn describe(load: Load, measure: &Measure) -> String {
    let (rate, p50) = (measure.rate(), milliseconds(measure.whole_p50));
    format!("{}: {rate:.0}/s, p50 {p50} ms", load.name())
}

fn milliseconds(microseconds: u32) -> String {
    format!("{:.2}", f64::from(microseconds) / 1000.0)
}

/// What to type for the same again, whatever was left to the defaults.
fn command(options: &Options, seed: u64) -> String {
    let mut words = vec!["cargo xtask bench".to_owned()];
    let names = |names: Vec<&str>| names.join(",");
    if !options.only.is_empty() {
        words.push(format!("--only {}", names(options.only.iter().map(|it| it.name()).collect())));
    }
    if !options.loads.is_empty() {
        words.push(format!("--load {}", names(options.loads.iter().map(|it| it.name()).collect())));
    }
    if options.quick {
        words.push("--quick".to_owned());
    } else {
        words.push(format!("--rounds {} --seconds {}", options.rounds, options.seconds));
    }
    words.push(format!("--state-on {} --seed {seed}", options.state_on.name()));
    if let Some(folder) = &options.out {
        words.push(format!("--out {}", folder.display()));
    }
    words.join(" ")
}

/// UTC, to the minute.
fn now() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let time = i64::try_from(seconds).ok().and_then(|it| chrono::DateTime::from_timestamp(it, 0));
    time.map(|time| time.format("%Y-%m-%d %H:%M").to_string()).unwrap_or_default()
}
