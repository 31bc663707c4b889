//! `login` and `logout`: what is kept between commands.

use serde_json::json;

use crate::arguments::Global;
use crate::base_url::BaseUrl;
use crate::client::{Client, Question};
use crate::commands::read;
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};
use crate::profile::Profile;
use crate::target::{self, Credentials, Target};

#[derive(serde::Deserialize)]
struct Standing {
    operator: String,
}

/// Checks URL and token, and keeps them.
///
/// # Errors
/// Where the gateway refuses them, or the disk the file.
pub fn login(mut global: Global, url: Option<String>, output: Output) -> Result<(), Failure> {
    let path = target::profile_path(&global)?;
    global.url = url.or(global.url);
    // What was kept may be broken, and isn't asked for its token: this replaces it.
    let asked = global.url.clone().or_else(|| Some(Profile::read(&path).ok()??.url));
    let base = BaseUrl::parse(&asked.ok_or_else(|| {
        Failure::new(Kind::Usage, "Which gateway is meant?")
            .next("Name it: gatewayctl login https://gateway.example.com")
    })?)?;
    if let Some(mended) = &base.mended {
        output.note(&format!("{}: {mended}.", base.text()));
    }
    let token = match target::token_of_environment(&global)? {
        Some(token) => Some(token),
        // By Access alone, there is no token.
        None if target::access_of_environment().is_some() => None,
        None => Some(target::ask_token(&base)?),
    };
    let credentials = Credentials { token, access: target::access_of_environment() };
    let target = Target {
        base: base.clone(),
        credentials: credentials.clone(),
        url_from: String::new(),
        token_from: String::new(),
    };
    let client = Client::new(target, output, global.allow_http)?;
    let answer = client.json(&Question::get(&["operator", "session"]))?;
    let Standing { operator } = read(&answer)?;
    let Credentials { token, access } = credentials;
    Profile { url: base.text(), token, access }.write(&path)?;
    if output.is_json {
        return print_json(&json!({ "url": base.text(), "operator": operator, "kept_in": path }));
    }
    output.line(&format!("Signed in at {} as {operator}.", base.text()))?;
    output.line(&format!(
        "Kept in {}, readable for you alone. Next: gatewayctl watch",
        path.display()
    ))
}

/// Forgets what was kept.
///
/// # Errors
/// Where the file can't be removed.
pub fn logout(global: &Global, output: Output) -> Result<(), Failure> {
    let path = target::profile_path(global)?;
    let was_kept = match std::fs::remove_file(&path) {
        Ok(()) => true,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => false,
        Err(error) => return Err(Failure::file(&path, "removed", &error)),
    };
    if output.is_json {
        return print_json(&json!({ "removed": was_kept.then_some(path) }));
    }
    let said = format!("{} is gone.", path.display());
    output.line(if was_kept { &said } else { "Nothing was kept." })
}
