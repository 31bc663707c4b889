//! The command line, as `--help` tells it.

#![allow(clippy::doc_markdown, reason = "these are what `--help` prints, to people")]

mod capacity;
mod export;
mod kit;
mod openclaw;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use domain::identifiers::UserId;

pub use self::capacity::Capacity;
pub use self::export::{Export, Format};
pub use self::kit::Kit;
pub use self::openclaw::{OpenClaw, People};
use crate::moments::parse_span;

/// See everybody at an organized-gateway, and mend what is wrong.
///
/// Sign in once with `gatewayctl login https://gateway.example.com`; then `gatewayctl watch`.
#[derive(Parser)]
#[command(name = "gatewayctl", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What all commands take.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done · 1 refused or failed · 2 wrong command line · 3 the gateway can't be reached · \
4 not allowed · 5 no such user, key, note or file · 6 busy: try again later

Environment: GATEWAY_URL, OPERATOR_TOKEN, GATEWAYCTL_CONFIG, CF_ACCESS_CLIENT_ID and \
CF_ACCESS_CLIENT_SECRET (a Cloudflare Access service token), SSL_CERT_FILE, HTTPS_PROXY, NO_COLOR, CAPACITY_API_KEY";

/// What all commands take.
#[derive(Args)]
#[command(next_help_heading = "Everywhere")]
pub struct Global {
    /// The gateway's URL; else GATEWAY_URL, or what `login` kept
    #[arg(long, global = true, env = "GATEWAY_URL", hide_env = true, value_name = "URL")]
    pub url: Option<String>,
    /// A file with the operator's token, - for a pipe; else OPERATOR_TOKEN, or what `login` kept
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Where `login` keeps both, instead of ~/.config/organized-gateway/config.toml
    #[arg(long, global = true, env = "GATEWAYCTL_CONFIG", hide_env = true, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Print JSON for programs, one line a document; errors too
    #[arg(long, global = true)]
    pub json: bool,
    /// Allow http:// to another machine, where anybody on the way can read the token
    #[arg(long, global = true)]
    pub allow_http: bool,
}

/// What to do.
#[derive(Subcommand)]
pub enum Command {
    /// Check URL and token, and keep them for the other commands
    ///
    /// The token is asked for, and not shown while it is typed. What is kept is readable for you alone.
    Login {
        /// The gateway's URL
        url: Option<String>,
    },
    /// Forget the URL and the token that were kept
    Logout,
    /// Watch the room: who needs help and why, requests, latencies, errors, upstreams
    ///
    /// Whoever needs help comes first. On a terminal: q quits, arrows and Page keys scroll. Elsewhere it
    /// prints plain lines, with --json one line of JSON each time.
    Watch(Watch),
    /// List users: search, sort
    Users(Users),
    /// See or change one user
    User {
        /// What to do with the user.
        #[command(subcommand)]
        command: User,
    },
    /// Turn a list of people into users with claim codes
    Roster {
        /// What to do with the list.
        #[command(subcommand)]
        command: Roster,
    },
    /// Make a kit for everybody on a list: a ZIP each, and cards to print that lead to them
    ///
    /// Everybody gets a USER_ID and a code as with `roster import`. What is written can be run again: codes
    /// and addresses stay as they are, and what broke off goes on.
    Kit(Kit),
    /// Give everybody an agent in the OpenClaw on this machine, with a handle that is theirs alone
    ///
    /// A handle stands for its owner's own key or sign-in, on OpenClaw's way back through the gateway. Run it
    /// on OpenClaw's machine, as OpenClaw's user: plan, then apply, then verify.
    #[command(name = "openclaw")]
    OpenClaw {
        /// What to do with it.
        #[command(subcommand)]
        command: OpenClaw,
    },
    /// Save the rows of requests for a spreadsheet or a program, or who was most active
    ///
    /// With --active, a line a person, the most active first, with a link at which that person can buy a
    /// tier: ready for a mail merge. Whoever has such a link can pay for that person, and nothing else.
    Export(Export),
    /// List what waits for the operator
    Notes {
        /// What to do with a note.
        #[command(subcommand)]
        command: Option<Notes>,
        /// Those that are done, too
        #[arg(long)]
        all: bool,
    },
    /// List what operators did, the newest first
    Actions {
        /// Only what was done to this user
        #[arg(long, value_name = "USER_ID")]
        user: Option<UserName>,
        /// How many at most
        #[arg(long, default_value_t = 50, value_name = "NUMBER")]
        limit: usize,
    },
    /// Check everything between here and the agent, and say what to do about what is wrong
    ///
    /// DNS, TCP, TLS, URL, clock, token, the gateway's database and its upstream. Goes as far as it can.
    Doctor,
    /// Find out how many people fit before answers get slow or fail
    ///
    /// Lets more and more people ask at once: real users with keys of their own, who ask, read and think, as
    /// in a room. Writes a page with what they met. It sends real requests, which somebody pays for, so the
    /// gateway has to be named with --url and typed again. Ctrl-C stops it, and what was made is forgotten.
    Capacity(Capacity),
    /// Print the gateway's figures in Prometheus' format
    Metrics,
    /// Print a script that completes this command in a shell
    ///
    /// For example: gatewayctl completions bash > ~/.local/share/bash-completion/completions/gatewayctl
    Completions {
        /// Which shell
        shell: Shell,
    },
}

/// How to watch.
#[derive(Args)]
pub struct Watch {
    /// Seconds between two looks
    #[arg(long, default_value_t = 2, value_name = "SECONDS",
        value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub every: u64,
    /// Stop after so many looks
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub times: Option<u64>,
}

/// Whom to list.
#[derive(Args)]
pub struct Users {
    /// Only who has this in USER_ID, name or email
    pub query: Option<String>,
    /// By what to sort
    #[arg(long, value_enum, default_value_t)]
    pub sort: Sort,
    /// How many at most; else all
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,
}

/// By what users are sorted.
#[derive(Clone, Copy, Default, ValueEnum)]
pub enum Sort {
    /// By USER_ID
    #[default]
    UserId,
    /// By name
    Name,
    /// Who was seen last comes first
    LastSeen,
    /// Who asked most this month comes first
    Requests,
    /// Who used most tokens this month comes first
    Tokens,
}

impl Sort {
    /// As the gateway calls it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::UserId => "user_id",
            Self::Name => "name",
            Self::LastSeen => "-last_seen",
            Self::Requests => "-requests",
            Self::Tokens => "-tokens",
        }
    }
}

/// A USER_ID.
#[derive(Clone, Debug)]
pub struct UserName(pub String);

impl std::str::FromStr for UserName {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match UserId::parse(text) {
            Ok(user_id) => Ok(Self(user_id.as_str().to_owned())),
            Err(_) => Err("a USER_ID has 1 to 64 letters, digits, dots, dashes and underscores, \
                           and begins with a letter or digit"),
        }
    }
}

/// Whether to ask before something that can't be taken back.
#[derive(Args, Clone, Copy)]
pub struct Sure {
    /// Don't ask whether it is meant
    #[arg(long, short)]
    pub yes: bool,
}

/// What to do with a user.
#[derive(Subcommand)]
pub enum User {
    /// Show a user, live: window, month, keys, projects, the last requests
    Show {
        /// Whom
        user_id: UserName,
    },
    /// Refuse all that the user sends, from now on
    Block {
        /// Whom
        user_id: UserName,
        /// Why, for other operators; the user doesn't see it
        #[arg(long)]
        reason: Option<String>,
        #[command(flatten)]
        sure: Sure,
    },
    /// Let a blocked user in again
    Unblock {
        /// Whom
        user_id: UserName,
    },
    /// Empty the user's minute, so that it may send at once
    Reset {
        /// Whose
        user_id: UserName,
    },
    /// Free the USER_ID from the API key that came first
    ///
    /// Whoever asks first with it owns it then, unless the user has a gateway key. Codex tokens that came
    /// with that API key go too.
    Unbind {
        /// Whose
        user_id: UserName,
        #[command(flatten)]
        sure: Sure,
    },
    /// Send D1 now what it doesn't have of the user
    Flush {
        /// Whose
        user_id: UserName,
    },
    /// Give the user a tier, or take it
    Tier {
        /// Whom
        user_id: UserName,
        /// Which
        tier: Tier,
        #[command(flatten)]
        sure: Sure,
    },
    /// Send the user's requests to another upstream
    Upstream {
        /// Whose
        user_id: UserName,
        /// Its name in UPSTREAMS, or `none` for where everybody's go
        upstream: String,
    },
    /// The user's gateway keys
    Keys {
        /// What to do with them.
        #[command(subcommand)]
        command: Keys,
    },
    /// Give out a code that the user turns into a gateway key, once
    Code {
        /// Whom
        user_id: UserName,
        /// How long it is good: 30m, 12h, 30d
        #[arg(long, value_name = "TIME", value_parser = parse_span)]
        valid_for: Option<i64>,
    },
    /// The user's Codex sign-in
    Codex {
        /// What to do with it.
        #[command(subcommand)]
        command: Codex,
    },
    /// The user's projects
    Project {
        /// What to do with them.
        #[command(subcommand)]
        command: Project,
    },
    /// Forget a person: all that is kept about the user
    ///
    /// This can't be taken back. You are asked to type the USER_ID.
    Forget {
        /// Whom
        user_id: UserName,
        /// Even where Stripe goes on charging: cancel the subscription there afterwards
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        sure: Sure,
    },
}

/// Which tier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Tier {
    /// No tier
    None,
    /// 10,000 requests a month, one project
    Tier1,
    /// 50,000 requests a month, three projects
    Tier2,
    /// No limit a month
    Tier3,
}

/// What to do with gateway keys.
#[derive(Subcommand)]
pub enum Keys {
    /// List them
    List {
        /// Whose
        user_id: UserName,
    },
    /// Mint one, and print it: it is shown this once
    Mint {
        /// For whom
        user_id: UserName,
        /// What to call it
        #[arg(long)]
        label: Option<String>,
    },
    /// Revoke one: requests with it are refused from now on
    Revoke {
        /// Whose
        user_id: UserName,
        /// Which, as `keys list` names it
        key_id: String,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What to do with a Codex sign-in.
#[derive(Subcommand)]
pub enum Codex {
    /// Forget the tokens: the user has to sign in again
    Forget {
        /// Whose
        user_id: UserName,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What to do with projects.
#[derive(Subcommand)]
pub enum Project {
    /// Take one off the user's list, so that its place is free
    Remove {
        /// Whose
        user_id: UserName,
        /// Which
        project: String,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What to do with a list of people.
#[derive(Subcommand)]
pub enum Roster {
    /// Give everybody on a list a USER_ID, and a code to whoever is new
    ///
    /// The list is CSV with the columns name and email. Codes are shown this once: keep them with -o. The
    /// same list again gives the same USER_IDs, and codes to whoever is new.
    Import {
        /// The list, - for standard input
        file: PathBuf,
        /// Give everybody a new code; codes that nobody has used are void then
        #[arg(long)]
        reissue: bool,
        /// Write USER_IDs and codes to this file, readable for you alone
        #[arg(short, long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// Replace that file where there is one
        #[arg(long)]
        force: bool,
        #[command(flatten)]
        sure: Sure,
    },
}

/// What to do with a note.
#[derive(Subcommand)]
pub enum Notes {
    /// Say that a note is done with
    Resolve {
        /// Stripe's customer, as `notes` names it
        customer_id: String,
        /// Its kind
        kind: String,
        /// What it is about
        subject: String,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_makes_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_token_is_no_argument() {
        for name in ["--token", "--operator-token", "--password"] {
            assert!(Arguments::try_parse_from(["gatewayctl", name, "x", "doctor"]).is_err());
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for words in [
            &["watch", "--every", "0"][..],
            &["watch", "--times", "0"],
            &["users", "--sort", "age"],
            &["user", "show", "../x"],
            &["user", "tier", "ada", "tier4"],
            &["user", "code", "ada", "--valid-for", "soon"],
            &["export", "--format", "xml"],
            &["export", "--top", "5"],
            &["export", "--active", "--link-days", "61"],
            &["export", "--active", "--days", "7", "--from", "2026-11-21"],
            &["export", "--active", "--user", "ada"],
            &["roster", "import"],
            &["kit"],
            &["kit", "--roster", "people.csv", "--expires", "30d"],
            &["openclaw", "plan"],
            &["openclaw", "verify", "--roster", "people.csv", "--rotate"],
            &["capacity", "--users", "0"],
            &["capacity", "--users", "201"],
            &["capacity", "--minutes", "31"],
            &["capacity", "--minutes", "NaN"],
            &["capacity", "--pause", "0"],
        ] {
            let words = ["gatewayctl"].iter().chain(words);
            assert!(Arguments::try_parse_from(words.clone()).is_err(), "{words:?}");
        }
    }
}
