//! What a run has found, as it is kept in JSON: figures as they were measured, nothing derived.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::client::Heard;
use crate::options::{Contender, Load, StateOn};
use crate::statistics::percentile;
use crate::system::Machine;

/// One run.
#[derive(Debug, Deserialize, Serialize)]
pub struct Results {
    /// UTC, as in `2026-11-21 20:15`.
    pub began: String,
    /// What to type for the same again.
    pub command: String,
    pub seed: u64,
    pub seconds_a_load: u64,
    pub state_on: StateOn,
    pub machine: Machine,
    pub versions: BTreeMap<String, String>,
    /// Who could not take part, and why.
    pub left_out: BTreeMap<Contender, String>,
    pub rounds: Vec<Round>,
    /// What a request costs in calls and rows: counted once, for it is always the same.
    pub costs: BTreeMap<Contender, Costs>,
    pub crowd: Option<Crowd>,
}

/// Everybody once, in an order of its own.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Round {
    pub order: Vec<Contender>,
    pub loads: BTreeMap<Load, BTreeMap<Contender, Measure>>,
    pub floods: BTreeMap<Contender, Flood>,
}

/// One load on one contender in one round.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Measure {
    pub requests: usize,
    pub seconds: f64,
    /// Microseconds to the last byte.
    pub whole_p50: u32,
    pub whole_p99: u32,
    /// Microseconds to the first byte of the body.
    pub first_byte_p50: u32,
    pub first_byte_p99: u32,
    /// Processor seconds of the contender's processes, by their names.
    pub processor: BTreeMap<String, f64>,
    pub upstream_processor: f64,
    pub client_processor: f64,
    /// The most bytes that each of its processes held, together: not all of them at one moment.
    pub highest_memory: u64,
}

impl Measure {
    /// Answers a second.
    pub fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }

    /// Processor seconds of the contender's per thousand requests.
    pub fn processor_a_thousand(&self) -> f64 {
        self.processor.values().sum::<f64>() * 1000.0 / self.requests as f64
    }
}

/// One user's flood beside honest ones, and the honest ones without it.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Flood {
    pub calm: Honest,
    /// The same once more: what two phases differ by that are alike.
    pub calm_again: Honest,
    pub flooded: Honest,
    /// Of the user who floods, with the requests before the flood.
    pub refused: u64,
    pub admitted: usize,
    /// Rows in the log for refusals, where the contender says.
    pub rows_for_refusals: Option<u64>,
}

/// How the honest users fared.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Honest {
    pub requests: usize,
    /// Microseconds to the last byte.
    pub p50: u32,
    pub p99: u32,
}

impl Honest {
    pub fn of(heard: &Heard) -> Self {
        Self {
            requests: heard.whole.len(),
            p50: percentile(&heard.whole, 0.5),
            p99: percentile(&heard.whole, 0.99),
        }
    }
}

/// What a request costs, on average over some.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct Costs {
    pub requests: usize,
    pub object_calls: u64,
    pub object_rows_written: u64,
    pub d1_rows_written: u64,
    pub kv_reads: u64,
    pub kv_writes: u64,
}

/// Many users, and what memory they take.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Crowd {
    pub users: usize,
    pub requests: usize,
    pub seconds: f64,
    pub samples: Vec<MemorySample>,
}

/// The memory at a moment.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub struct MemorySample {
    pub requests: usize,
    pub bytes: u64,
}

impl Results {
    /// Reads them.
    ///
    /// # Errors
    /// When the file can't be read or isn't what this program writes.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} isn't a result of this program", path.display()))
    }

    /// The text of the file.
    ///
    /// # Errors
    /// When they can't be told in JSON.
    pub fn text(&self) -> Result<String> {
        Ok(serde_json::to_string_pretty(self)? + "\n")
    }

    /// The measures of one contender under a load, by round.
    pub fn measures(&self, load: Load, contender: Contender) -> Vec<&Measure> {
        self.rounds.iter().filter_map(|it| it.loads.get(&load)?.get(&contender)).collect()
    }

    /// A figure of two contenders from each round that has both.
    pub fn pairs(
        &self,
        load: Load,
        (one, other): (Contender, Contender),
        figure: impl Fn(&Measure) -> f64,
    ) -> Vec<(f64, f64)> {
        let both = |round: &Round| {
            let measures = round.loads.get(&load)?;
            Some((figure(measures.get(&one)?), figure(measures.get(&other)?)))
        };
        self.rounds.iter().filter_map(both).collect()
    }

    /// A figure of the contender's less that of the upstream alone, by the number of the round.
    pub fn added(
        &self,
        load: Load,
        contender: Contender,
        figure: impl Fn(&Measure) -> f64,
    ) -> BTreeMap<usize, f64> {
        let added = |round: &Round| {
            let measures = round.loads.get(&load)?;
            let alone = measures.get(&Contender::Upstream)?;
            let others = measures.get(&contender).filter(|_| contender != Contender::Upstream)?;
            Some(figure(others) - figure(alone))
        };
        let rounds = self.rounds.iter().enumerate();
        rounds.filter_map(|(number, round)| Some((number, added(round)?))).collect()
    }

    /// Who was measured, in the order in which they are shown.
    pub fn contenders(&self) -> Vec<Contender> {
        let has = |contender: &Contender| self.rounds.iter().any(|it| it.order.contains(contender));
        Contender::ALL.into_iter().filter(has).collect()
    }
}
