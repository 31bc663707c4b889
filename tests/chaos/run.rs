//! One run: the load, the storm, the calm after it, and the verdict.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;
use gateway_tests::script::{Script, chat_request};
use gateway_tests::{Gateway, Options, Upstream, workspace};
use reqwest::Method;
use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::audit::{Evidence, Findings, PER_MINUTE};
use crate::book::{End, Kind};
use crate::crowd::{Crowd, SPENT};
use crate::disk::Disk;
use crate::evidence::{Months, UserObject, d1, slots_taken, user_objects};
use crate::plan::Plan;
use crate::storm::Storm;
use crate::window::crowd_on_record;

/// How many inferences the upstream runs at once. What a kill leaves behind takes slots for 90 s.
const SLOTS: usize = 24;

/// How often the objects' own records are looked at. A minute of a full window stays in them for longer.
const SAMPLING: Duration = Duration::from_secs(4);

/// How long leases and rows may take after the last answer: a lease lives for 90 s without a sign of
/// life, and for 90 s more where the clock stepped back meanwhile.
const CALM: Duration = Duration::from_mins(5);

/// From this length on a run has a user who has nearly used up a month: some ten thousand requests.
const WORTH_SPENDING: Duration = Duration::from_mins(4);

/// How much of what is wrong is told at once.
const MOST_TOLD: usize = 40;

/// What is to be done.
#[derive(Clone, Copy)]
pub struct Order {
    pub length: Duration,
    pub seed: u64,
    pub keeps: bool,
}

impl Order {
    fn command(&self) -> String {
        // To a hundredth: its seconds are whole.
        let minutes = (self.length.as_secs_f64() / 0.6).round() / 100.0;
        format!("cargo xtask chaos --minutes {minutes} --seed {}", self.seed)
    }
}

/// Does it, and says whether the ledger holds.
pub async fn run(order: Order, disk: Result<Disk, String>) -> bool {
    let Order { seed, length, keeps } = order;
    println!("chaos: {} s of it, seed {seed}", length.as_secs());
    let missing = disk.as_ref().err().map(|problem| {
        format!("The disk was not filled, so nothing is known of that fault: {problem}.")
    });
    if let Some(missing) = &missing {
        println!("{missing}");
    }
    let outcome = tokio::spawn(weather(order, disk.ok())).await;
    let Ok((storm, findings)) = outcome else {
        println!("\nThe run broke off, seed {seed}: what is said above was in its way.");
        println!("Run it again: {}", order.command());
        return false;
    };
    let holds = findings.broken.is_empty();
    if keeps || !holds {
        let folder = workspace().join(format!("target/chaos/seed-{seed}"));
        keep(&storm.crowd, &findings.broken, &folder);
        println!("kept in {}", folder.display());
    }
    println!();
    for figure in findings.figures.iter().chain(&missing) {
        println!("{figure}");
    }
    println!();
    if holds {
        println!("The ledger holds. Seed {seed}.");
    } else {
        println!("The ledger does not hold, seed {seed}:");
        for broken in findings.broken.iter().take(MOST_TOLD) {
            println!("- {broken}");
        }
        if let Some(more @ 1..) = findings.broken.len().checked_sub(MOST_TOLD) {
            println!("and {more} more, in the file `broken`");
        }
        println!("Run it again: {}", order.command());
    }
    holds
}

async fn weather(order: Order, disk: Option<Disk>) -> (Storm, Findings) {
    let Order { length, seed, .. } = order;
    let plan = Plan::draw(seed, length, disk.is_some());
    let upstream = Upstream::start().await;
    let options = options(&upstream, disk.as_ref());
    let wide = ["REQUESTS_PER_MINUTE", "MAX_IN_FLIGHT"]
        .iter()
        .fold(options.clone(), |options, name| options.var(name, "1000000"));
    let gateway = Gateway::start(wide).await;
    let mut crowd = Crowd::gather(gateway, &upstream, length >= WORTH_SPENDING).await;
    crowd.gateway.restart_with(options).await;
    let crowd = Arc::new(crowd);
    let storm = Storm::new(Arc::clone(&crowd), upstream, disk);
    let mut findings = Findings::default();

    let asking = async {
        crowd.ask(seed, length).await;
        storm.say("the last answer is there");
    };
    let looking = tokio::spawn(look_for_crowds(Arc::clone(&crowd)));
    tokio::join!(asking, storm.rage(&plan, length));
    calm(&storm, &mut findings).await;
    looking.abort();
    crowd.gateway.stop();

    let judged = gather(&crowd).judge();
    findings.figures.extend(count(&crowd));
    findings.figures.extend(judged.figures);
    findings.broken.extend(judged.broken);
    findings.broken.extend(crowd.book.crowds.lock().unwrap().values().cloned());
    let taken = slots_taken(crowd.gateway.state());
    if !taken.is_empty() {
        findings.broken.push(format!("leaked: the upstream's slots are taken by {taken:?}"));
    }
    (storm, findings)
}

fn options(upstream: &Upstream, disk: Option<&Disk>) -> Options {
    let options = Options::new()
        .upstream(upstream.url())
        .fault_injection()
        .var("USER_BINDING", "open")
        .var("REQUESTS_PER_MINUTE", PER_MINUTE.to_string())
        .var("MAX_IN_FLIGHT", "12")
        .var("UPSTREAM_SLOTS", SLOTS.to_string())
        .var("QUEUE_WAIT_MS", "5000")
        .var("UPSTREAM_FIRST_BYTE_MS", "6000");
    disk.map_or(options.clone(), |disk| options.disk(disk.folder()))
}

/// Looks into the objects' own records for more admissions in a minute than there may be.
async fn look_for_crowds(crowd: Arc<Crowd>) {
    loop {
        sleep(SAMPLING).await;
        let state = crowd.gateway.state().to_owned();
        let objects = spawn_blocking(move || user_objects(&state, true)).await.unwrap();
        for UserObject { user, admitted, unmoved, .. } in objects {
            if user.starts_with(SPENT) {
                continue;
            }
            if let Some(what) = crowd_on_record(&admitted, &unmoved, PER_MINUTE) {
                let text = format!("over-admitted: {user}'s object has let in {what}");
                crowd.book.crowds.lock().unwrap().entry(user).or_insert(text);
            }
        }
    }
}

/// Waits until all is at rest, and sees that everybody is served then.
async fn calm(storm: &Storm, findings: &mut Findings) {
    let crowd = &storm.crowd;
    let began = Instant::now();
    // Objects that look at the clock now know that it is right.
    crowd.ask_once().await;
    while !at_rest(crowd).await && began.elapsed() < CALM {
        storm.watch_until(Instant::now() + Duration::from_secs(1)).await;
    }
    storm.say("all is at rest");
    // A minute after the last admission nobody is over a limit, and no lease is left.
    storm.watch_until(Instant::now() + Duration::from_secs(61)).await;
    for (user, head) in crowd.ask_once().await {
        let code = head.as_ref().and_then(|head| head.code.as_deref());
        if code == Some("monthly_quota_exceeded") {
            crowd.book.used_up.lock().unwrap().insert(user);
        } else if head.as_ref().is_none_or(|head| head.status != 200) {
            findings.broken.push(format!("after it all {user} isn't served: {head:?}"));
        }
    }
    let mut slots = fill_slots(storm).await;
    if slots.is_err() && crowd.book.disturbed_by(|kind| matches!(kind, Kind::Step(..0))) {
        // Nobody had asked for a slot since the clock stepped back: from this question on, those of the
        // dead end as leases do.
        storm.watch_until(Instant::now() + Duration::from_secs(95)).await;
        slots = fill_slots(storm).await;
    }
    if let Err(reached) = slots {
        let text = format!("after it all only {reached} of {SLOTS} slots are free");
        findings.broken.push(text);
    }
    let rest = Instant::now();
    while !at_rest(crowd).await && rest.elapsed() < Duration::from_secs(30) {
        sleep(Duration::from_millis(200)).await;
    }
    storm.say("everybody was served once more, at once in all slots");
    for user in &crowd.users {
        let shown = view(crowd, &user.id).await;
        if shown["in_flight"] != 0 {
            let text = format!("leaked: {} has {} in flight", user.id, shown["in_flight"]);
            findings.broken.push(text);
        }
        let month = &shown["month"];
        let [requests, tokens] = ["requests", "tokens"].map(|sum| month[sum].as_i64().unwrap());
        let name = month["month"].as_str().unwrap().to_owned();
        let shown = Months::from([(name, (requests, tokens))]);
        crowd.book.shown.lock().unwrap().insert(user.id.clone(), shown);
    }
}

/// Whether no user's object has anything open, or anything for D1.
async fn at_rest(crowd: &Crowd) -> bool {
    let state = crowd.gateway.state().to_owned();
    let objects = spawn_blocking(move || user_objects(&state, true)).await.unwrap();
    let is_idle = |object: &UserObject| object.open.is_empty() && object.waiting == 0;
    objects.len() == crowd.users.len() && objects.iter().all(is_idle)
}

/// Runs as many requests at once as there are slots; how many came to run, where those are fewer.
async fn fill_slots(storm: &Storm) -> Result<(), usize> {
    let gate = Arc::new(Semaphore::new(0));
    let script = Script::new().gate(&gate).respond(200, &[], "{}");
    let route = storm.upstream.route(script);
    let crowd = &storm.crowd;
    let users: Vec<_> = crowd.users.iter().filter(|user| !user.is_spent()).collect();
    let asked = join_all((0..SLOTS).map(|number| {
        let user = users[number % users.len()];
        let request = crowd.as_user(user, Method::POST, &route.chat());
        crowd.ask_as(user, request.json(&chat_request("hi", false)))
    }));
    let counted = async {
        let began = Instant::now();
        // No longer than who waits for a slot is let wait.
        while route.seen().len() < SLOTS && began.elapsed() < Duration::from_secs(5) {
            sleep(Duration::from_millis(20)).await;
        }
        gate.add_permits(SLOTS);
        route.seen().len()
    };
    let (_answers, reached) = tokio::join!(asked, counted);
    if reached == SLOTS { Ok(()) } else { Err(reached) }
}

async fn view(crowd: &Crowd, user: &str) -> Value {
    let path = format!("/operator/api/users/{user}");
    let answer = crowd.gateway.operator(Method::GET, &path).send().await;
    answer.expect("the operator is answered").json().await.expect("a user in JSON")
}

/// Reads all that was written.
fn gather(crowd: &Crowd) -> Evidence {
    let mut arrived = HashMap::<u64, (String, Instant)>::new();
    for (number, id, at) in crowd.mix.arrived() {
        // A GET may come twice.
        arrived.entry(number).or_insert((id, at));
    }
    let (rows, usage) = d1(&crowd.gateway.ledger());
    Evidence {
        asked: crowd.book.asked.lock().unwrap().clone(),
        disturbances: crowd.book.disturbances.lock().unwrap().clone(),
        arrived,
        rows,
        usage,
        objects: user_objects(crowd.gateway.state(), false),
        used_up: crowd.book.used_up.lock().unwrap().clone(),
        shown: crowd.book.shown.lock().unwrap().clone(),
    }
}

/// What clients and faults came to, in words.
fn count(crowd: &Crowd) -> Vec<String> {
    let asked = crowd.book.asked.lock().unwrap();
    let ended = |end: End| asked.iter().filter(|asked| asked.end == end).count();
    let disturbances = crowd.book.disturbances.lock().unwrap();
    let times = |is_one: fn(Kind) -> bool| disturbances.iter().filter(|it| is_one(it.kind)).count();
    let mut answers = BTreeMap::<String, usize>::new();
    for head in asked.iter().filter_map(|asked| asked.head.as_ref()) {
        let code = head.code.as_deref().unwrap_or_default();
        *answers.entry(format!("{} {code}", head.status).trim().to_owned()).or_default() += 1;
    }
    let answers = answers.iter().map(|(answer, times)| format!("{answer} × {times}"));
    vec![
        format!(
            "{} asked: {} answered to the end, {} broken off, {} left, {} while nobody listened",
            asked.len(),
            ended(End::Whole),
            ended(End::Broke),
            ended(End::Left),
            ended(End::Unreached)
        ),
        format!(
            "{} times down, {} times full, {} steps of the clock",
            times(|kind| kind == Kind::Down),
            times(|kind| kind == Kind::Full),
            times(|kind| matches!(kind, Kind::Step(by) if by != 0))
        ),
        format!("answers: {}", answers.collect::<Vec<_>>().join(", ")),
    ]
}

/// Copies what a person would look at.
fn keep(crowd: &Crowd, broken: &[String], folder: &Path) {
    drop(std::fs::remove_dir_all(folder));
    gateway_tests::gateway::copy(crowd.gateway.state(), &folder.join("state")).expect("a copy");
    std::fs::write(folder.join("broken"), broken.join("\n")).expect("what is wrong is written");
    std::fs::write(folder.join("log"), crowd.gateway.log_text()).expect("the log is written");
    let asked = format!("{:#?}", crowd.book.asked.lock().unwrap());
    std::fs::write(folder.join("asked"), asked).expect("what was asked is written");
}
