//! What `capacity` takes.

use std::path::PathBuf;

use clap::Args;

use super::Sure;

/// How to check what fits.
#[derive(Args)]
pub struct Capacity {
    /// How many people at most: 1, 2, 5, 10, 20 … until as many
    #[arg(long, default_value_t = 50, value_name = "NUMBER",
        value_parser = clap::value_parser!(u8).range(1..=200))]
    pub users: u8,
    /// How long in all, divided among the steps; parts of a minute too, at most 30
    #[arg(long, default_value_t = 2.0, value_name = "MINUTES", value_parser = parse_minutes)]
    pub minutes: f64,
    /// How many seconds a person thinks between an answer and the next question, on average
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = parse_seconds)]
    pub pause: f64,
    /// How many seconds the first words of an answer may take; twice what one person alone waits may be
    /// longer, and counts then
    #[arg(long, default_value_t = 5.0, value_name = "SECONDS", value_parser = parse_seconds)]
    pub patience: f64,
    /// The model that is asked
    #[arg(long, default_value = "openclaw/default", value_name = "NAME")]
    pub model: String,
    /// What everybody asks
    #[arg(
        long,
        default_value = "Explain in three sentences why the sky is blue.",
        value_name = "TEXT"
    )]
    pub prompt: String,
    /// A file with an API key that pays, where the gateway passes the callers' own on; else
    /// CAPACITY_API_KEY
    #[arg(long, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// A tier for these users, where the gateway lets nobody in without
    #[arg(long, value_name = "TIER", value_parser = ["tier1", "tier2", "tier3"])]
    pub tier: Option<String>,
    /// Write the page to this file; else capacity-DATE-TIME.html
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Only forget users that a check has left behind which was cut off
    #[arg(long)]
    pub clean_up: bool,
    #[command(flatten)]
    pub sure: Sure,
}

fn parse_minutes(text: &str) -> Result<f64, String> {
    number_within(text, 0.01..=30.0)
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    number_within(text, 0.1..=300.0)
}

fn number_within(text: &str, range: std::ops::RangeInclusive<f64>) -> Result<f64, String> {
    let number = text.parse().ok().filter(|number| range.contains(number));
    number.ok_or_else(|| format!("it is a number from {} to {}", range.start(), range.end()))
}
