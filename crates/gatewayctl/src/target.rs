//! Which gateway a command is for, and what it shows there.

use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};

use domain::secret::Secret;
use inquire::{InquireError, Password};

use crate::arguments::Global;
use crate::base_url::BaseUrl;
use crate::commands::declined;
use crate::failure::{Failure, Kind};
use crate::profile::{Profile, usual_path};

/// What is shown to a gateway.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    /// The operator's token.
    pub token: Option<Secret<String>>,
    /// An Access service token's id and secret.
    pub access: Option<(Secret<String>, Secret<String>)>,
}

/// A gateway, and what it is shown.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it is.
    pub base: BaseUrl,
    /// What it is shown.
    pub credentials: Credentials,
    /// Where the URL was found, in words.
    pub url_from: String,
    /// Where the token was found, in words.
    pub token_from: String,
}

/// The profile's file: as named, else the usual one.
///
/// # Errors
/// Where there is no home folder to look in.
pub fn profile_path(global: &Global) -> Result<PathBuf, Failure> {
    global.config.clone().or_else(usual_path).ok_or_else(|| {
        Failure::new(Kind::Usage, "There is no home folder to keep a profile in.")
            .next("Name a file with --config.")
    })
}

/// Finds out which gateway is meant and what to show it. A token that was kept for one gateway is shown
/// to no other.
///
/// # Errors
/// Where no URL is named, or what is named can't be used.
pub fn find(global: &Global) -> Result<Target, Failure> {
    let path = profile_path(global)?;
    // Who says everything needs no profile, however broken it is.
    let profile = match Profile::read(&path) {
        Err(_) if global.url.is_some() && has_own_token(global) => None,
        profile => profile?,
    };
    let (base, url_from) = match (&global.url, &profile) {
        (Some(url), _) => (BaseUrl::parse(url)?, "--url or GATEWAY_URL".to_owned()),
        (None, Some(profile)) => (BaseUrl::parse(&profile.url)?, path.display().to_string()),
        (None, None) => {
            return Err(Failure::new(Kind::Usage, "Which gateway is meant?").next(
                "Run `gatewayctl login https://gateway.example.com` once, or set GATEWAY_URL.",
            ));
        }
    };
    let kept = profile.filter(|profile| {
        BaseUrl::parse(&profile.url).is_ok_and(|known| known.text() == base.text())
    });
    let (token, token_from) = find_token(global, kept.as_ref(), &path)?;
    let access = access_of_environment().or_else(|| kept.and_then(|profile| profile.access));
    Ok(Target { base, credentials: Credentials { token, access }, url_from, token_from })
}

fn has_own_token(global: &Global) -> bool {
    global.token_file.is_some() || variable("OPERATOR_TOKEN").is_some()
}

fn find_token(
    global: &Global,
    kept: Option<&Profile>,
    path: &Path,
) -> Result<(Option<Secret<String>>, String), Failure> {
    if let Some(token) = token_of_environment(global)? {
        let from = global.token_file.as_ref().map(|file| file.display().to_string());
        return Ok((Some(token), from.unwrap_or_else(|| "OPERATOR_TOKEN".to_owned())));
    }
    let token = kept.and_then(|profile| profile.token.clone());
    Ok((token, path.display().to_string()))
}

/// The token that is named for this one command.
///
/// # Errors
/// Where its file can't be read.
pub fn token_of_environment(global: &Global) -> Result<Option<Secret<String>>, Failure> {
    match &global.token_file {
        Some(file) => read_token(file).map(Some),
        None => Ok(variable("OPERATOR_TOKEN").map(Secret::new)),
    }
}

/// Asks for the token, where somebody is there to answer and nothing else was found.
///
/// # Errors
/// Where there is nothing to show the gateway.
pub fn complete(mut target: Target) -> Result<Target, Failure> {
    let Credentials { token, access } = &target.credentials;
    if token.is_none() && access.is_none() {
        target.credentials.token = Some(ask_token(&target.base)?);
        "what was typed".clone_into(&mut target.token_from);
    }
    Ok(target)
}

/// Asks for the operator's token, which isn't shown while it is typed.
///
/// # Errors
/// Where nobody is there to answer, or who is there would rather not.
pub fn ask_token(base: &BaseUrl) -> Result<Secret<String>, Failure> {
    let missing = || {
        Failure::new(Kind::NotAllowed, "The operator's token is missing.").next(
            "Run `gatewayctl login` once, or set OPERATOR_TOKEN, or name a file with --token-file.",
        )
    };
    if !std::io::stdin().is_terminal() {
        return Err(missing());
    }
    let question = format!("Operator's token for {}:", base.text());
    let prompt = Password::new(&question).without_confirmation().with_formatter(&|_| String::new());
    match prompt.prompt() {
        Ok(typed) => clean_token(&typed).ok_or_else(missing),
        Err(InquireError::OperationCanceled | InquireError::OperationInterrupted) => {
            Err(declined())
        }
        Err(_) => Err(missing()),
    }
}

/// Reads the one secret that is in a file, or comes by a pipe where it is called `-`.
///
/// # Errors
/// Where there is none.
pub fn read_token(file: &Path) -> Result<Secret<String>, Failure> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text = text.map_err(|error| Failure::file(file, "read", &error))?;
    clean_token(&text).ok_or_else(|| {
        Failure::new(Kind::Usage, format!("There is no token or key in {}.", file.display()))
            .next("It holds that and nothing else.")
    })
}

fn clean_token(text: &str) -> Option<Secret<String>> {
    let token = text.trim();
    let is_one = !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic());
    is_one.then(|| Secret::new(token.to_owned()))
}

/// The Access service token of the environment.
pub fn access_of_environment() -> Option<(Secret<String>, Secret<String>)> {
    let [id, secret] = ["CF_ACCESS_CLIENT_ID", "CF_ACCESS_CLIENT_SECRET"].map(variable);
    Some((Secret::new(id?), Secret::new(secret?)))
}

/// A variable of the environment that isn't empty.
pub fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?.trim().to_owned();
    (!value.is_empty()).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_one_word() {
        assert_eq!(clean_token(" abc-123\r\n").unwrap().expose(), "abc-123");
        assert!(clean_token("two words").is_none() && clean_token("\n").is_none());
    }
}
