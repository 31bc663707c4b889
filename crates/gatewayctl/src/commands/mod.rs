//! What is asked once: a file for each family of commands.

pub mod active;
pub mod export;
pub mod kit;
pub mod records;
pub mod roster;
pub mod session;
pub mod user;
pub mod users;

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::failure::{Failure, Kind};

/// Reads what the gateway answered.
///
/// # Errors
/// Where it isn't what this version knows.
pub fn read<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    T::deserialize(value).map_err(|error| {
        Failure::new(Kind::Failed, format!("The gateway's answer isn't understood: {error}."))
            .next("It may be of another version than this command; --json shows it as it is.")
    })
}

/// Asks whether something is meant that can't be taken back.
///
/// # Errors
/// Where it isn't, or nobody is there to say so.
pub fn confirm(what: &str, yes: bool) -> Result<(), Failure> {
    if yes || ask(&format!("{what} Go on? [y/N] "))?.eq_ignore_ascii_case("y") {
        return Ok(());
    }
    Err(declined())
}

/// The same, for what nobody should say yes to in passing.
///
/// # Errors
/// Where the word isn't typed, or nobody is there to type.
pub fn confirm_by_word(what: &str, word: &str, yes: bool) -> Result<(), Failure> {
    if yes || ask(&format!("{what}\nType {word} to go on: "))? == word {
        return Ok(());
    }
    Err(declined())
}

/// Somebody was asked, and said no.
pub fn declined() -> Failure {
    Failure::new(Kind::Failed, "Nothing was done.")
}

fn ask(question: &str) -> Result<String, Failure> {
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        let message = "Nobody is there to say whether this is meant, so nothing was done.";
        return Err(Failure::new(Kind::Usage, message).next("Add --yes if it is."));
    }
    let _ = write!(std::io::stderr(), "{question}");
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer).map_err(|_| declined())?;
    Ok(answer.trim().to_owned())
}
