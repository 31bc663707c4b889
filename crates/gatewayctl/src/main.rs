//! `gatewayctl`: the operator's command line over `/operator/api`.
//!
//! Reading order: `arguments` is what can be said; `target` finds out which gateway is meant, with
//! `profile`, which keeps it; `client` asks, and `refusal` puts into words what went wrong. `commands` has
//! what is asked once, `watch` the room, `doctor` the way there, `capacity` how many people fit,
//! `openclaw` everybody's agents. `several` does the same for many at once; `output` prints all of it.

mod api;
mod arguments;
mod base_url;
mod capacity;
mod client;
mod commands;
mod doctor;
#[cfg(test)]
mod documents;
mod failure;
mod files;
mod moments;
mod openclaw;
mod output;
mod profile;
mod refusal;
mod several;
mod target;
mod tls;
mod watch;

use std::io::Write as _;
use std::process::ExitCode;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory as _, FromArgMatches as _};

use crate::arguments::{Arguments, Command};
use crate::client::Client;
use crate::failure::{Failure, Kind};
use crate::output::Output;

fn main() -> ExitCode {
    let parsed = Arguments::command().try_get_matches().and_then(|matches| {
        let arguments = Arguments::from_arg_matches(&matches)?;
        Ok((arguments, names_url(&matches)))
    });
    let (arguments, is_url_named) = match parsed {
        Ok(parsed) => parsed,
        Err(said) => return misunderstood(&said),
    };
    let output = Output::new(arguments.global.json);
    match run(arguments, is_url_named, output) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, output.is_json),
    }
}

/// Whether the gateway is named on the command line itself.
fn names_url(matches: &ArgMatches) -> bool {
    let below = matches.subcommand().is_some_and(|(_, below)| names_url(below));
    let source = matches.try_get_raw("url").ok().and(matches.value_source("url"));
    below || source == Some(ValueSource::CommandLine)
}

fn run(arguments: Arguments, is_url_named: bool, output: Output) -> Result<(), Failure> {
    let Arguments { global, command } = arguments;
    match command {
        // What works without a gateway.
        Command::Completions { shell } => return completions(shell),
        Command::Login { url } => return commands::session::login(global, url, output),
        Command::Logout => return commands::session::logout(&global, output),
        Command::Doctor => return doctor::run(&global, output),
        _ => {}
    }
    let target = target::complete(target::find(&global)?)?;
    let client = Client::new(target, output, global.allow_http)?;
    match command {
        Command::Watch(options) => watch::run(client, &options, output),
        Command::Users(options) => commands::users::list(&client, &options, output),
        Command::User { command } => commands::user::run(&client, command, output),
        Command::Roster { command } => commands::roster::import(&client, command, output),
        Command::Export(options) if options.active => {
            commands::active::run(&client, &options, output)
        }
        Command::Kit(options) => commands::kit::run(&client, &options, output),
        Command::OpenClaw { command } => openclaw::run(&client, command, output),
        Command::Export(options) => commands::export::run(&client, &options, output),
        Command::Notes { command, all } => {
            commands::records::notes(&client, command.as_ref(), all, output)
        }
        Command::Actions { user, limit } => {
            commands::records::actions(&client, user.as_ref(), limit, output)
        }
        Command::Capacity(options) => capacity::run(&client, &options, is_url_named, output),
        Command::Metrics => commands::records::metrics(&client, output),
        Command::Login { .. } | Command::Logout | Command::Doctor | Command::Completions { .. } => {
            Ok(())
        }
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "gatewayctl", &mut script);
    output::print(&String::from_utf8_lossy(&script))
}

/// Help that was asked for, or what is wrong with the command line.
fn misunderstood(said: &clap::Error) -> ExitCode {
    if !said.use_stderr() {
        // Whoever has read enough of it may leave.
        let _ = said.print();
        return ExitCode::SUCCESS;
    }
    if std::env::args_os().any(|word| word == "--json") {
        let text = said.render().to_string();
        let text = text.trim().trim_start_matches("error: ").to_owned();
        return report(&Failure::new(Kind::Usage, text), true);
    }
    let _ = said.print();
    ExitCode::from(Kind::Usage.exit_code())
}

fn report(failure: &Failure, is_json: bool) -> ExitCode {
    if failure.is_quiet {
        return ExitCode::SUCCESS;
    }
    let text = if is_json {
        failure.to_json().to_string()
    } else {
        format!("error: {}", output::clean(&failure.to_string()))
    };
    // Where nobody hears it, the exit code tells.
    let _ = writeln!(std::io::stderr(), "{text}");
    ExitCode::from(failure.kind.exit_code())
}
