//! The ramp as it runs: people come step by step, until all have been there, or there is nothing more to learn.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::crowd::{Crowd, Person};
use super::figures::{Figures, Sample};
use super::interrupt::Interrupt;
use super::plan::Step;
use super::progress::Progress;
use super::verdict::{Judgement, is_clearly_over, judge, limit};
use crate::failure::{Failure, Kind};

/// How soon an interruption is acted on.
const TICK: Duration = Duration::from_millis(200);

/// How long answers may take that run when the last step is over.
const LAST_ANSWERS: Duration = Duration::from_secs(30);

/// How long those are waited for whose connections were closed.
const FAREWELL: Duration = Duration::from_millis(500);

/// Why a ramp came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// All its steps are through.
    Whole,
    /// A step was so far over that more people would have learned nothing.
    Over,
    /// Somebody stopped it.
    Interrupted,
    /// All requests were sent that were allowed.
    Spent,
}

/// How a ramp went.
pub struct Course {
    /// The steps that were begun.
    pub figures: Vec<Figures>,
    /// Why there are no more.
    pub end: End,
}

/// A ramp while it runs.
pub struct Ramp<'a> {
    /// The people who are there.
    pub crowd: Arc<Crowd>,
    /// All who may come.
    pub people: &'a [Person],
    /// The steps.
    pub steps: &'a [Step],
    /// How long an answer may take to begin.
    pub patience: Duration,
    /// Whether it is to stop.
    pub interrupt: &'a Interrupt,
    /// Who is told how it goes.
    pub progress: &'a mut Progress,
}

/// What was heard of the people so far.
struct Heard {
    samples: Vec<Sample>,
    receiver: Receiver<Sample>,
}

impl Ramp<'_> {
    /// Lets it run.
    ///
    /// # Errors
    /// Where this machine has no thread left.
    pub fn run(mut self) -> Result<Course, Failure> {
        let (sender, receiver) = mpsc::channel();
        let mut heard = Heard { samples: Vec::new(), receiver };
        let climbed = self.climb(&sender, &mut heard);
        drop(sender);
        if matches!(climbed, Ok((_, End::Whole))) {
            self.crowd.close();
            let until = Instant::now() + LAST_ANSWERS;
            while !(self.crowd.running().is_empty() || self.interrupt.is_set())
                && Instant::now() < until
            {
                heard.listen(TICK);
            }
        }
        self.crowd.send_home();
        let until = Instant::now() + FAREWELL;
        while Instant::now() < until && heard.listen(TICK) {}
        self.progress.end();
        let (whole, end) = climbed?;
        let begun = self.steps.iter().enumerate().filter(|(place, step)| {
            *place < whole || step.from <= self.crowd.elapsed() && *place == whole
        });
        let figures = begun.map(|(place, step)| Figures::of(*step, place < whole, &heard.samples));
        Ok(Course { figures: figures.collect(), end })
    }

    /// Goes up; says how many steps came to their end.
    fn climb(
        &mut self,
        sender: &Sender<Sample>,
        heard: &mut Heard,
    ) -> Result<(usize, End), Failure> {
        let (mut there, mut over) = (0, 0);
        let mut first = None;
        for (place, step) in self.steps.iter().enumerate() {
            self.admit(there..step.people, step, sender)?;
            there = step.people;
            let figures = loop {
                heard.listen(TICK.min(step.until.saturating_sub(self.crowd.elapsed())));
                let is_whole = self.crowd.elapsed() >= step.until;
                let running = self.crowd.running();
                let figures = Figures::of(*step, is_whole, heard.samples.iter().chain(&running));
                let first = first.as_ref().unwrap_or(&figures);
                self.progress.tick((place, self.steps), &figures, self.crowd.elapsed());
                if self.interrupt.is_set() {
                    return Ok((place, End::Interrupted));
                }
                // The first is the measure of all, so it can't be over by its own.
                if is_clearly_over(&figures, limit(std::slice::from_ref(first), self.patience)) {
                    return Ok((place, End::Over));
                }
                if is_whole {
                    break figures;
                }
                if self.crowd.is_spent() {
                    return Ok((place, End::Spent));
                }
            };
            self.progress.step(&figures);
            let first = first.get_or_insert_with(|| figures.clone());
            let limit = limit(std::slice::from_ref(first), self.patience);
            over = if judge(&figures, limit) == Judgement::Over { over + 1 } else { 0 };
            if over == 2 {
                return Ok((place + 1, End::Over));
            }
        }
        Ok((self.steps.len(), End::Whole))
    }

    /// Lets people come, one after the other until requests count.
    fn admit(
        &self,
        who: std::ops::Range<usize>,
        step: &Step,
        sender: &Sender<Sample>,
    ) -> Result<(), Failure> {
        let (arriving, first) = (step.counts_from.saturating_sub(step.from), who.start);
        let number = u32::try_from(who.len()).unwrap_or(u32::MAX).max(1);
        for (place, person) in self.people.iter().enumerate().take(who.end).skip(first) {
            let after = arriving * u32::try_from(place - first).unwrap_or(0) / number;
            self.crowd.admit((place, person), after, sender).map_err(|error| {
                let message = format!("This machine has no room for {}: {error}.", who.end);
                Failure::new(Kind::Failed, message).next("Try with fewer --users.")
            })?;
        }
        Ok(())
    }
}

impl Heard {
    /// Listens for so long; false once nobody has anything to say any more.
    fn listen(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.receiver.recv_timeout(until.saturating_duration_since(Instant::now())) {
                Ok(sample) => self.samples.push(sample),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }
}
