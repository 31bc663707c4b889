//! What `kit` can be told.

use std::path::PathBuf;

use clap::Args;

use super::Sure;
use crate::moments::parse_span;

/// For whom to make kits, and where to put them.
#[derive(Args)]
pub struct Kit {
    /// The list of people, with the columns name and email; or what `roster import -o` wrote
    #[arg(long, value_name = "FILE")]
    pub roster: PathBuf,
    /// The gateway's URL as the kits say it, where that is another than --url
    #[arg(long = "for", value_name = "URL")]
    pub address: Option<String>,
    /// The folder for the ZIPs, the cards and the list of them
    #[arg(short, long, value_name = "FOLDER", default_value = "kits")]
    pub output: PathBuf,
    /// Put the kits up at the gateway, so that the addresses on the cards work
    #[arg(long)]
    pub upload: bool,
    /// For how long they stay there: 12h, 30d
    #[arg(long, value_name = "TIME", value_parser = parse_span, requires = "upload")]
    pub expires: Option<i64>,
    /// Give everybody on the list a new code and a new address; codes that nobody has used are void then
    #[arg(long)]
    pub reissue: bool,
    /// Whether to ask.
    #[command(flatten)]
    pub sure: Sure,
}
