//! The way back from a real OpenClaw: the handle with which it comes, and what pays for a run.
//!
//! While a user's runs are in progress the object holds what pays for them, sealed; a call of OpenClaw's
//! to a model's provider draws on it. OpenClaw doesn't say which run a call belongs to, so all of a
//! user's runs at one time are paid for with the same credential: one that brings another is refused
//! until they are over. So no call ever spends the wrong one.

mod decisions;
pub mod messages;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

use self::messages::Funds;
use crate::clock::Millis;
use crate::entry::Outcome;
use crate::fingerprint::Fingerprint;
use crate::meter::TokensSource;

/// How long after a user's last run OpenClaw may still call a provider for it.
pub const GRACE: Millis = 5_000;

/// How many calls of one run are waited for, once it has ended.
const MOST_OPEN: usize = 64;

/// What an object keeps of a handle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HandleRecord {
    /// The fingerprint of its secret.
    pub hash: Fingerprint,
    /// When it was made.
    pub since: Millis,
}

/// What an object keeps for the way back; stored as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnRecord {
    /// The handle that is good.
    pub(super) handle: Option<HandleRecord>,
    /// What pays while runs are in progress, and for a moment after the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    purse: Option<Purse>,
}

/// What pays for runs, and what they have spent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Purse {
    funds: Funds,
    /// Those in progress, in the order of their beginnings.
    runs: Vec<Run>,
    /// The request of the run that ended last, and when this is forgotten, where none is in progress.
    tail: Option<(String, Millis)>,
}

/// A run in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Run {
    request_id: String,
    /// Calls to the provider, begun.
    calls: u32,
    /// Those that haven't said yet what they cost.
    open: Vec<String>,
    tokens: u64,
    source: TokensSource,
    /// How its request ended, where it only waits for open calls.
    ended: Option<Outcome>,
}

impl ReturnRecord {
    /// Holds stored times to what they can be now, and runs to those that are `running`. Says whether
    /// anything had to be changed.
    pub(super) fn restore(&mut self, running: impl Fn(&str) -> bool, now: Millis) -> bool {
        let Some(purse) = &mut self.purse else { return false };
        let before = purse.clone();
        let last = purse.runs.last().map(|run| run.request_id.clone());
        purse.runs.retain(|run| running(&run.request_id));
        match &mut purse.tail {
            Some((_, until)) => *until = (*until).min(now + GRACE),
            None if purse.runs.is_empty() => {
                purse.tail = Some((last.unwrap_or_default(), now + GRACE));
            }
            None => {}
        }
        *purse != before
    }

    /// Takes every time for earlier, after the clock has stepped back. Says whether there is any.
    pub(super) fn move_back(&mut self, step: Millis) -> bool {
        let tail = self.purse.as_mut().and_then(|purse| purse.tail.as_mut());
        tail.map(|(_, until)| *until -= step).is_some()
    }

    /// Forgets what pays where nothing needs it any more. Says whether there was anything.
    pub(super) fn expire(&mut self, now: Millis) -> bool {
        self.purse
            .take_if(|purse| purse.tail.as_ref().is_some_and(|(_, until)| *until <= now))
            .is_some()
    }

    /// When there is something to forget.
    pub(super) fn next_wake(&self) -> Option<Millis> {
        self.purse.as_ref()?.tail.as_ref().map(|(_, until)| *until)
    }

    /// Whether a run with these funds would be beside runs with others.
    pub(super) fn is_against(&self, funds: &Funds) -> bool {
        self.purse.as_ref().is_some_and(|purse| !purse.funds.is_same(funds))
    }

    /// A run begins.
    pub(super) fn begin(&mut self, request_id: String, funds: Funds) {
        let run = Run {
            request_id,
            calls: 0,
            open: Vec::new(),
            tokens: 0,
            source: TokensSource::None,
            ended: None,
        };
        let purse = self.purse.get_or_insert_with(|| Purse { funds, runs: Vec::new(), tail: None });
        purse.tail = None;
        purse.runs.push(run);
    }

    /// Whether a run, in progress or the last one, is of this request.
    pub(super) fn knows(&self, request_id: &str) -> bool {
        self.purse.as_ref().is_some_and(|purse| {
            let is_last = purse.tail.as_ref().is_some_and(|(last, _)| last == request_id);
            is_last || purse.runs.iter().any(|run| run.request_id == request_id)
        })
    }

    /// Whether the user's Codex token is what pays now.
    fn pays_by_token(&self) -> bool {
        self.purse.as_ref().is_some_and(|purse| purse.funds == Funds::Token)
    }

    /// A call to the provider begins: what pays for it, and the request whose row it counts in. Where
    /// several runs are in progress that is the one with the fewest calls, and of these the oldest.
    fn draw(&mut self, call: String) -> Option<(&Funds, &str)> {
        let Purse { funds, runs, tail } = self.purse.as_mut()?;
        let run = runs.iter_mut().min_by_key(|run| (run.ended.is_some(), run.calls));
        let Some(run) = run else {
            return tail.as_ref().map(|(last, _)| (&*funds, last.as_str()));
        };
        run.calls = run.calls.saturating_add(1);
        if run.open.len() == MOST_OPEN {
            run.open.remove(0);
        }
        run.open.push(call);
        Some((funds, &run.request_id))
    }

    /// A call has ended. `None` where nobody waits for it; else whether its run's row can be closed.
    fn spend(&mut self, spent: &messages::Spent) -> Option<bool> {
        let run = self.run(&spent.run)?;
        let position = run.open.iter().position(|call| *call == spent.call)?;
        run.open.remove(position);
        run.tokens = run.tokens.saturating_add(spent.tokens);
        run.source = match (run.source, spent.source) {
            (known, TokensSource::None) => known,
            (TokensSource::Estimated, _) => TokensSource::Estimated,
            (_, new) => new,
        };
        Some(run.open.is_empty() && run.ended.is_some())
    }

    /// Keeps how a run's request ended, where calls of it are open. `false` where none are.
    pub(super) fn defer(&mut self, request_id: &str, outcome: &Outcome) -> bool {
        let Some(run) = self.run(request_id).filter(|run| !run.open.is_empty()) else {
            return false;
        };
        run.ended.get_or_insert_with(|| outcome.clone());
        true
    }

    /// A run is over: how its row ends, with what it has spent.
    pub(super) fn end(
        &mut self,
        request_id: &str,
        outcome: Option<Outcome>,
        now: Millis,
    ) -> Option<Outcome> {
        let Some(purse) = &mut self.purse else { return outcome };
        let position = purse.runs.iter().position(|run| run.request_id == request_id);
        let Some(run) = position.map(|position| purse.runs.remove(position)) else {
            return outcome;
        };
        if purse.runs.is_empty() {
            purse.tail = Some((run.request_id, now + GRACE));
        }
        let outcome = run.ended.or(outcome);
        if run.calls == 0 {
            return outcome.map(|outcome| Outcome { provider_requests: Some(0), ..outcome });
        }
        Some(Outcome {
            tokens_est: run.tokens,
            tokens_source: run.source,
            provider_requests: Some(run.calls),
            ..outcome.unwrap_or_else(Outcome::interrupted)
        })
    }

    fn run(&mut self, request_id: &str) -> Option<&mut Run> {
        let runs = &mut self.purse.as_mut()?.runs;
        runs.iter_mut().find(|run| run.request_id == request_id)
    }
}
