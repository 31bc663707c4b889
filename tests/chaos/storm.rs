//! Does what the plan says, and tells it line by line.

use std::sync::Arc;
use std::time::{Duration, Instant};

use gateway_tests::{Upstream, Weather};
use reqwest::Method;
use tokio::sync::{Mutex, Notify};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, sleep_until};

use crate::book::Kind;
use crate::crowd::Crowd;
use crate::disk::Disk;
use crate::plan::{Event, Fault, Plan};

/// How often the runtime is looked at, whether it has died by itself.
const LOOK: Duration = Duration::from_millis(500);

/// All that faults are done to.
pub struct Storm {
    pub crowd: Arc<Crowd>,
    pub upstream: Upstream,
    pub disk: Option<Disk>,
    pub began: Instant,
    /// Held while D1 is locked, the disk is full, or the runtime is being started.
    storage: Mutex<()>,
    killed: Notify,
    /// Where the clock stands, in milliseconds.
    offset: Mutex<i64>,
}

impl Storm {
    /// Calm so far.
    pub fn new(crowd: Arc<Crowd>, upstream: Upstream, disk: Option<Disk>) -> Self {
        Self {
            crowd,
            upstream,
            disk,
            began: Instant::now(),
            storage: Mutex::default(),
            killed: Notify::new(),
            offset: Mutex::default(),
        }
    }

    /// Prints a line with the time since the start before it.
    pub fn say(&self, text: &str) {
        let seconds = self.began.elapsed().as_secs();
        println!("{:>4}:{:02}  {text}", seconds / 60, seconds % 60);
    }

    /// Does all of it; ends with the last fault, the clock right again.
    pub async fn rage(&self, plan: &Plan, length: Duration) {
        let process = async {
            for event in &plan.process {
                self.watch_until(self.began + event.at).await;
                match event.fault {
                    Fault::Clock(offset) => self.move_clock(offset).await,
                    _ => self.kill().await,
                }
            }
            self.watch_until(self.began + length).await;
            self.move_clock(0).await;
        };
        let storage = async {
            for event in &plan.storage {
                sleep_until((self.began + event.at).into()).await;
                self.disturb_storage(*event).await;
            }
        };
        let network = async {
            for event in &plan.network {
                sleep_until((self.began + event.at).into()).await;
                self.disturb_network(*event).await;
            }
        };
        tokio::join!(process, storage, network);
    }

    /// Waits, and starts the runtime again should it die by itself.
    pub async fn watch_until(&self, moment: Instant) {
        while Instant::now() < moment {
            sleep_until((Instant::now() + LOOK).min(moment).into()).await;
            if self.crowd.gateway.has_died() {
                let from = Instant::now().checked_sub(LOOK).unwrap_or(self.began);
                self.start_again(from, "the runtime has died by itself").await;
            }
        }
    }

    async fn kill(&self) {
        let from = Instant::now();
        if !self.crowd.gateway.has_died() {
            self.crowd.gateway.kill_runtime().await;
        }
        self.start_again(from, "kill -9").await;
    }

    async fn start_again(&self, from: Instant, what: &str) {
        let mut offset = self.offset.lock().await;
        // Nothing could be started on a full disk, or beside a locked D1.
        self.killed.notify_waiters();
        let _storage = self.storage.lock().await;
        self.crowd.gateway.restart().await;
        let back = -std::mem::take(&mut *offset);
        self.crowd.book.disturbed(Kind::Down, from);
        self.crowd.book.disturbed(Kind::Step(back), from);
        let took = from.elapsed().as_secs_f64();
        let clock = if back == 0 { "" } else { ", and its clock is right" };
        self.say(&format!("{what}; started again after {took:.1} s{clock}"));
    }

    /// Moves the clock, by a request that is nobody's.
    async fn move_clock(&self, offset: i64) {
        let mut known = self.offset.lock().await;
        if *known == offset {
            return;
        }
        let from = Instant::now();
        let request = self.crowd.gateway.request(Method::GET, "/u/");
        let told = request.header("x-fault-clock-offset-ms", offset).send().await;
        // Where nobody heard of it the clock is as it was, and the next start sets it right.
        if told.is_ok() {
            self.crowd.book.disturbed(Kind::Step(offset - *known), from);
            let (was, is) = (in_words(*known), in_words(offset));
            self.say(&format!("the clock was {was} and is {is}"));
            *known = offset;
        }
    }

    async fn disturb_storage(&self, event: Event) {
        let _storage = self.storage.lock().await;
        let time = async {
            tokio::select! {
                () = sleep(event.lasts) => {}
                () = self.killed.notified() => {}
            }
        };
        if event.fault == Fault::LockD1 {
            self.lock_d1(time).await;
        } else if let Some(disk) = &self.disk {
            let from = Instant::now();
            let bytes = disk.fill();
            self.say(&format!("the disk is full, {} MB of it with nothing", bytes >> 20));
            time.await;
            disk.free();
            self.crowd.book.disturbed(Kind::Full, from);
            self.say("the disk has room");
        }
    }

    async fn lock_d1(&self, time: impl Future<Output = ()>) {
        let ledger = self.crowd.gateway.ledger();
        let Ok(lock) = spawn_blocking(move || ledger.lock()).await else {
            self.say("D1 could not be locked: it was never free");
            return;
        };
        self.say("D1 is locked");
        time.await;
        drop(lock);
        self.say("D1 is free");
    }

    async fn disturb_network(&self, event: Event) {
        let weather = match event.fault {
            Fault::Stall => Weather::Stalled,
            Fault::Break => Weather::Broken,
            _ => {
                self.crowd.leave.send_modify(|times| *times += 1);
                self.say("clients leave");
                return;
            }
        };
        let (begins, ends) = match weather {
            Weather::Stalled => ("the upstream stalls", "the upstream goes on"),
            _ => ("the upstream resets all connections", "the upstream takes connections"),
        };
        self.upstream.weather(weather);
        self.say(begins);
        sleep(event.lasts).await;
        self.upstream.weather(Weather::Fair);
        self.say(ends);
    }
}

fn in_words(offset: i64) -> String {
    let (seconds, how) = (offset.abs() / 1_000, if offset < 0 { "behind" } else { "ahead" });
    if offset == 0 { "right".to_owned() } else { format!("{seconds} s {how}") }
}
