//! The loads, each put on one contender.

pub mod costs;
pub mod crowd;
pub mod flood;
pub mod steady;

use anyhow::{Result, bail};

use crate::client::Heard;

/// A single mistake makes a run worthless: who answers wrongly may do so in no time.
fn ensure_faultless(heard: &Heard) -> Result<()> {
    if heard.mistakes == 0 {
        return Ok(());
    }
    let all = heard.whole.len() as u64 + heard.mistakes + heard.refused;
    bail!("{} of {all} answers were wrong, such as:\n  {}", heard.mistakes, heard.told.join("\n  "))
}

/// The same, where nobody may meet a limit either.
fn ensure_all_answered(heard: &Heard) -> Result<()> {
    ensure_faultless(heard)?;
    if heard.refused > 0 {
        bail!("{} requests met a limit, where none was to be met", heard.refused);
    }
    Ok(())
}
