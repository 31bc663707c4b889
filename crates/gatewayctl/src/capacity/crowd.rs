//! The people: each a thread that asks, reads, thinks, and asks again, until nobody is to any more.
//!
//! Each has connections of its own, as each laptop has, and keeps them between requests, as clients do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use domain::secret::Secret;
use ureq::Agent;
use ureq::config::Config;

use super::exchange::Question;
use super::figures::{Outcome, Sample};
use super::plan::hesitation;

/// Somebody with a key.
#[derive(Clone)]
pub struct Person {
    /// Who.
    pub user_id: String,
    /// The gateway key.
    pub key: Secret<String>,
}

/// What the threads share.
pub struct Crowd {
    question: Question,
    /// How connections are made.
    config: Config,
    /// How long a person thinks, on average.
    pause: Duration,
    /// The least time between two requests of one person, so that nobody meets the limit of a minute.
    least: Duration,
    began: Instant,
    /// How many requests may be sent yet.
    left: AtomicU64,
    /// The requests that run: whose, since when, and when their text began.
    running: Mutex<Vec<(usize, Begun)>>,
    /// The connections of everybody.
    agents: Mutex<Vec<Agent>>,
    is_closed: Mutex<bool>,
    closing: Condvar,
}

/// A request that runs.
#[derive(Clone, Copy)]
struct Begun {
    at: Duration,
    first: Option<Duration>,
}

/// How people behave.
pub struct Manners {
    /// How long a person thinks, on average.
    pub pause: Duration,
    /// The least time between two requests of one person.
    pub least: Duration,
    /// How many requests all may send.
    pub most_requests: u64,
}

impl Crowd {
    /// Nobody yet.
    pub fn new(question: Question, config: Config, manners: &Manners) -> Arc<Self> {
        let Manners { pause, least, most_requests } = *manners;
        Arc::new(Self {
            question,
            config,
            pause,
            least,
            began: Instant::now(),
            left: AtomicU64::new(most_requests),
            running: Mutex::default(),
            agents: Mutex::default(),
            is_closed: Mutex::new(false),
            closing: Condvar::new(),
        })
    }

    /// Since it began.
    pub fn elapsed(&self) -> Duration {
        self.began.elapsed()
    }

    /// Lets somebody come after a while, who tells what comes of each request.
    ///
    /// # Errors
    /// Where this machine has no thread left.
    pub fn admit(
        self: &Arc<Self>,
        (number, person): (usize, &Person),
        after: Duration,
        samples: &Sender<Sample>,
    ) -> std::io::Result<()> {
        let (crowd, key, samples) = (Arc::clone(self), person.key.clone(), samples.clone());
        let agent = self.config.new_agent();
        lock(&self.agents).push(agent.clone());
        let live = move || {
            if crowd.rests(after) {
                crowd.live((number, &key), &agent, &samples);
            }
        };
        std::thread::Builder::new().name(person.user_id.clone()).spawn(live).map(drop)
    }

    fn live(
        &self,
        (number, key): (usize, &Secret<String>),
        agent: &Agent,
        samples: &Sender<Sample>,
    ) {
        for time in 0.. {
            if !self.may_ask() {
                return;
            }
            let began = self.elapsed();
            lock(&self.running).push((number, Begun { at: began, first: None }));
            let exchange = self.question.ask(agent, key, &mut || self.note_first(number));
            lock(&self.running).retain(|(whose, _)| *whose != number);
            // What broke because everybody was sent home is nobody's failure.
            let is_cut = self.is_over() && matches!(exchange.outcome, Outcome::Failed(_));
            let sample = Sample {
                began,
                first: exchange.first,
                total: exchange.total,
                queued: exchange.queued,
                tokens: exchange.tokens,
                outcome: if is_cut { Outcome::Unfinished } else { exchange.outcome },
            };
            let thinks = self.pause.mul_f64(hesitation(number, time));
            let least = (began + self.least).saturating_sub(self.elapsed());
            if samples.send(sample).is_err() || !self.rests(thinks.max(least)) {
                return;
            }
        }
    }

    /// Takes one of the requests that may be sent yet.
    fn may_ask(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn note_first(&self, number: usize) {
        let now = self.elapsed();
        let mut running = lock(&self.running);
        for (_, begun) in running.iter_mut().filter(|(whose, _)| *whose == number) {
            begun.first = Some(now.saturating_sub(begun.at));
        }
    }

    /// Waits; false where everybody is sent home meanwhile.
    fn rests(&self, time: Duration) -> bool {
        let guard = lock(&self.is_closed);
        let waited = self.closing.wait_timeout_while(guard, time, |is_closed| !*is_closed);
        let (is_closed, _) = waited.unwrap_or_else(PoisonError::into_inner);
        !*is_closed
    }

    /// Nobody begins anything any more; what runs goes on.
    pub fn close(&self) {
        *lock(&self.is_closed) = true;
        self.closing.notify_all();
    }

    /// Closes all connections; whoever waits for something gets nothing.
    pub fn send_home(&self) {
        self.close();
        for agent in lock(&self.agents).drain(..) {
            agent.shutdown();
        }
    }

    fn is_over(&self) -> bool {
        *lock(&self.is_closed) && lock(&self.agents).is_empty()
    }

    /// Whether all requests were sent that might be.
    pub fn is_spent(&self) -> bool {
        self.left.load(Ordering::Relaxed) == 0
    }

    /// The requests that run, as far as they are.
    pub fn running(&self) -> Vec<Sample> {
        let now = self.elapsed();
        let sample = |(_, begun): &(usize, Begun)| Sample {
            began: begun.at,
            first: begun.first,
            total: now.saturating_sub(begun.at),
            queued: None,
            tokens: 0,
            outcome: Outcome::Unfinished,
        };
        lock(&self.running).iter().map(sample).collect()
    }
}

/// What a thread has left behind that failed is as good as it was.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
