//! What `openclaw` can be told.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Sure;

/// What to do with the OpenClaw on this machine.
#[derive(Subcommand)]
pub enum OpenClaw {
    /// Say what `apply` would do, and do nothing
    Plan(People),
    /// Give everybody on a list an agent of their own, with a handle that is theirs alone
    ///
    /// What is there already stays as it is, and so does all else in OpenClaw's settings. It can be run
    /// again whenever you like, also where it broke off.
    Apply {
        #[command(flatten)]
        people: People,
        /// Give everybody on the list a new handle; those of before are void then
        #[arg(long)]
        rotate: bool,
        #[command(flatten)]
        sure: Sure,
    },
    /// Ask every agent on the list once, and say whose handle it showed
    ///
    /// Nothing is asked of a model. Do it while nobody on the list works there.
    Verify {
        #[command(flatten)]
        people: People,
        /// Where OpenClaw listens; else this machine, at the port in its settings
        #[arg(long, value_name = "URL")]
        at: Option<String>,
    },
}

/// Whose agents, and which OpenClaw.
#[derive(Args)]
pub struct People {
    /// The list: with a column user_id, as `roster import -o` writes it, or name and email of users
    #[arg(long, value_name = "FILE")]
    pub roster: PathBuf,
    /// The model that they ask for at their provider; wanted the first time
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// How they ask for it, as OpenClaw calls that: openai-completions unless OpenClaw's settings say
    /// otherwise, and openai-chatgpt-responses where Codex tokens pay
    #[arg(long, value_name = "API")]
    pub api: Option<String>,
    /// The gateway's URL as OpenClaw reaches it, where that is another than --url
    #[arg(long = "for", value_name = "URL")]
    pub address: Option<String>,
    /// Leave the agents' tools as OpenClaw's settings have them, instead of denying all
    #[arg(long)]
    pub keep_tools: bool,
    /// Remove the agents of people who aren't on the list, with their conversations
    #[arg(long)]
    pub prune: bool,
    /// OpenClaw's own command
    #[arg(long, value_name = "PROGRAM", default_value = "openclaw")]
    pub openclaw: PathBuf,
}
