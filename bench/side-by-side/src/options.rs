//! What a run can be told.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::talk::Kind;

/// Measure organized-gateway side by side with others, in one run.
///
/// Each contender is started in turn in front of the same upstream and put under the same load, in
/// rounds whose order is shuffled. What counts is the ratios within a round. Writes RESULTS.md, JSON
/// and plots: into bench/ if the run was a whole one, else into target/bench/.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", version)]
#[command(disable_help_subcommand = true, args_conflicts_with_subcommands = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Option<Command>,
    #[command(flatten)]
    pub options: Options,
}

#[derive(Subcommand)]
pub enum Command {
    /// The model behind every contender, as a process of its own.
    #[command(hide = true)]
    Upstream,
}

/// What a run can be told.
#[derive(Args, Clone, Debug)]
pub struct Options {
    /// Only these contenders
    #[arg(long, value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub only: Vec<Contender>,
    /// Only these loads
    #[arg(long = "load", value_enum, value_delimiter = ',', value_name = "NAMES")]
    pub loads: Vec<Load>,
    /// How many rounds
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(1..))]
    pub rounds: u32,
    /// How long each load lasts in a round
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..))]
    pub seconds: u64,
    /// Where the Workers keep their state
    #[arg(long, value_enum, default_value_t = StateOn::Disk)]
    pub state_on: StateOn,
    /// Shuffle as this seed says (default: a new one, which is printed)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Only look whether everything works: one round of one second a load, nothing large installed
    #[arg(long)]
    pub quick: bool,
    /// Write the results into this folder
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,
    /// Measure nothing: write RESULTS.md and the plots anew from the JSON that is there
    #[arg(long)]
    pub report: bool,
}

/// Who is measured.
#[derive(
    Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ValueEnum,
)]
#[serde(rename_all = "kebab-case")]
pub enum Contender {
    /// The model itself, with nothing before it
    Upstream,
    /// A Worker that only passes on: what the runtime allows
    PassThrough,
    /// The original design: a stateless Worker, a counter in KV, an awaited insert into D1
    Original,
    /// organized-gateway
    Gateway,
    /// Portkey's gateway, on Node
    Portkey,
    /// `LiteLLM`'s proxy, on Python
    Litellm,
}

impl Contender {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 6] = [
        Self::Upstream,
        Self::PassThrough,
        Self::Original,
        Self::Gateway,
        Self::Portkey,
        Self::Litellm,
    ];

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Upstream => "upstream",
            Self::PassThrough => "pass-through",
            Self::Original => "original",
            Self::Gateway => "gateway",
            Self::Portkey => "portkey",
            Self::Litellm => "litellm",
        }
    }

    /// Its name in a sentence or a table.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Upstream => "the upstream alone",
            Self::PassThrough => "a bare pass-through Worker",
            Self::Original => "the original design",
            Self::Gateway => "organized-gateway",
            Self::Portkey => "Portkey's gateway",
            Self::Litellm => "LiteLLM's proxy",
        }
    }

    /// Whether it wants an install that only measuring wants.
    pub const fn is_rival(self) -> bool {
        matches!(self, Self::Portkey | Self::Litellm)
    }

    /// Whether it holds users to a limit of requests.
    pub const fn has_limits(self) -> bool {
        matches!(self, Self::Original | Self::Gateway)
    }
}

/// What a contender is put under.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Load {
    /// Answers in one piece on 1 connection
    #[value(name = "json-1")]
    #[serde(rename = "json-1")]
    Json1,
    /// Answers in one piece on 16 connections
    #[value(name = "json-16")]
    #[serde(rename = "json-16")]
    Json16,
    /// Answers in one piece on 64 connections
    #[value(name = "json-64")]
    #[serde(rename = "json-64")]
    Json64,
    /// Streams on 1 connection
    #[value(name = "sse-1")]
    #[serde(rename = "sse-1")]
    Sse1,
    /// Streams on 16 connections
    #[value(name = "sse-16")]
    #[serde(rename = "sse-16")]
    Sse16,
    /// Streams on 64 connections
    #[value(name = "sse-64")]
    #[serde(rename = "sse-64")]
    Sse64,
    /// One user at 20 times the limit beside 20 honest ones
    Flood,
    /// 10,000 users, for the memory
    Crowd,
}

impl Load {
    /// Those that everybody is put under, in the order in which they are shown.
    pub const STEADY: [Self; 6] =
        [Self::Json1, Self::Json16, Self::Json64, Self::Sse1, Self::Sse16, Self::Sse64];

    /// What a steady load asks for, and on how many connections.
    pub const fn steady(self) -> Option<(Kind, usize)> {
        match self {
            Self::Json1 => Some((Kind::Json, 1)),
            Self::Json16 => Some((Kind::Json, 16)),
            Self::Json64 => Some((Kind::Json, 64)),
            Self::Sse1 => Some((Kind::Stream, 1)),
            Self::Sse16 => Some((Kind::Stream, 16)),
            Self::Sse64 => Some((Kind::Stream, 64)),
            Self::Flood | Self::Crowd => None,
        }
    }

    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Json1 => "json-1",
            Self::Json16 => "json-16",
            Self::Json64 => "json-64",
            Self::Sse1 => "sse-1",
            Self::Sse16 => "sse-16",
            Self::Sse64 => "sse-64",
            Self::Flood => "flood",
            Self::Crowd => "crowd",
        }
    }
}

/// What keeps the Workers' state.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum StateOn {
    /// The disk: each commit waits for it
    Disk,
    /// Memory: no commit waits here, as on Cloudflare, where others' machines keep a copy
    Tmpfs,
}

impl StateOn {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Disk => "disk",
            Self::Tmpfs => "tmpfs",
        }
    }
}

impl Options {
    /// Whether nothing was left out: only then is the run worth keeping beside the code.
    pub const fn is_whole(&self) -> bool {
        self.only.is_empty() && self.loads.is_empty() && !self.quick && self.rounds >= 7
    }

    /// Who takes part, in the order in which they are shown.
    pub fn contenders(&self) -> Vec<Contender> {
        let chosen = |contender: &Contender| {
            if self.only.is_empty() {
                !(self.quick && contender.is_rival())
            } else {
                self.only.contains(contender)
            }
        };
        Contender::ALL.into_iter().filter(chosen).collect()
    }

    /// Whether a load is part of the run.
    pub fn has(&self, load: Load) -> bool {
        if self.loads.is_empty() {
            let quick = [Load::Json16, Load::Sse16, Load::Flood, Load::Crowd];
            !self.quick || quick.contains(&load)
        } else {
            self.loads.contains(&load)
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Parser, ValueEnum};

    use super::{Arguments, Contender, Load, Options};

    fn options(words: &str) -> Options {
        let words = ["bench"].into_iter().chain(words.split_whitespace());
        Arguments::try_parse_from(words).unwrap().options
    }

    #[test]
    fn names_are_the_same_on_the_command_line_and_in_the_results() {
        for contender in Contender::ALL {
            assert_eq!(Contender::from_str(contender.name(), false), Ok(contender));
            let text = serde_json::to_string(&contender).unwrap();
            assert_eq!(text, format!("\"{}\"", contender.name()));
        }
        for load in Load::STEADY.into_iter().chain([Load::Flood, Load::Crowd]) {
            assert_eq!(Load::from_str(load.name(), false), Ok(load));
            assert_eq!(serde_json::to_string(&load).unwrap(), format!("\"{}\"", load.name()));
        }
    }

    #[test]
    fn a_whole_run_has_everybody_and_everything() {
        let options = options("");
        assert!(options.is_whole());
        assert_eq!(options.contenders(), Contender::ALL);
        assert!(Load::STEADY.into_iter().all(|load| options.has(load)));
        assert!(options.has(Load::Flood) && options.has(Load::Crowd));
    }

    #[test]
    fn what_is_named_is_all_there_is() {
        let options = options("--only portkey,gateway --load json-16");
        assert!(!options.is_whole());
        assert_eq!(options.contenders(), [Contender::Gateway, Contender::Portkey]);
        assert!(options.has(Load::Json16) && !options.has(Load::Sse16));
    }

    #[test]
    fn a_quick_run_installs_nothing_large() {
        let options = options("--quick");
        assert!(options.contenders().into_iter().all(|contender| !contender.is_rival()));
        assert!(options.has(Load::Json16) && !options.has(Load::Json64));
        let named = self::options("--quick --only litellm");
        assert_eq!(named.contenders(), [Contender::Litellm]);
    }
}
