//! What `export` can be told.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::UserName;

/// Which rows to save, and how.
#[derive(Args)]
pub struct Export {
    /// For what
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// People instead of requests: the most active, each with a link at which to buy a tier
    #[arg(long)]
    pub active: bool,
    /// How many people at most
    #[arg(long, default_value_t = 50, value_name = "NUMBER", requires = "active",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub top: u32,
    /// What they did in so many days, until --to or now; else in 30
    #[arg(long, value_name = "NUMBER", requires = "active", conflicts_with = "from",
        value_parser = clap::value_parser!(u32).range(1..=3650))]
    pub days: Option<u32>,
    /// Which tier the links are for; else the lowest that is sold
    #[arg(long, value_name = "TIER", requires = "active", value_parser = ["tier1", "tier2", "tier3"])]
    pub tier: Option<String>,
    /// For how many days the links are good
    #[arg(long, default_value_t = 30, value_name = "NUMBER", requires = "active",
        value_parser = clap::value_parser!(u32).range(1..=60))]
    pub link_days: u32,
    /// Only this user's
    #[arg(long, value_name = "USER_ID", conflicts_with = "active")]
    pub user: Option<UserName>,
    /// From this moment on: 2026-11-21 or 2026-11-21T09:00:00Z
    #[arg(long, value_name = "TIME")]
    pub from: Option<String>,
    /// Until before this moment
    #[arg(long, value_name = "TIME")]
    pub to: Option<String>,
    /// Write to this file, which is there only once it is whole
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
}

/// What an export is for.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Format {
    /// For a spreadsheet
    #[default]
    Csv,
    /// For a program: an object a line
    Jsonl,
}

impl Format {
    /// As the gateway calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }
}
