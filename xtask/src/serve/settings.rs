//! The settings and secrets that `serve` gives to the Worker, and whether they make sense.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result, anyhow};
use domain::settings::Settings;

use crate::random;

/// Secrets that a gateway for development makes for itself.
const DEVELOPMENT_SECRETS: [&str; 4] =
    ["OPERATOR_TOKEN", "SESSION_KEY_SECRET", "IP_HASH_PEPPER", "TOKEN_ENCRYPTION_KEY"];

/// Reads `NAME=VALUE` from the command line, or `NAME`, whose value is in the environment.
///
/// # Errors
/// When the name is malformed, or the environment doesn't have it.
pub fn parse_variable(text: &str) -> Result<(String, String)> {
    parse_variable_in(text, |name| std::env::var(name).ok())
}

fn parse_variable_in(
    text: &str,
    environment: impl Fn(&str) -> Option<String>,
) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').map_or((text, None), |(n, v)| (n, Some(v)));
    let plain =
        |letter: char| letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_';
    if name.is_empty() || !name.chars().all(plain) {
        return Err(anyhow!("a name is made of A-Z, 0-9 and _, as in REQUESTS_PER_MINUTE=50"));
    }
    let value = value.map(str::to_owned).or_else(|| environment(name));
    let value = value
        .ok_or_else(|| anyhow!("the environment has no {name}: set it, or write {name}=VALUE"))?;
    Ok((name.to_owned(), value))
}

/// Takes `/v1` off the upstream's base URL, which people copy with it.
pub fn trim_base_url(variables: &mut BTreeMap<String, String>) {
    if let Some(url) = variables.get_mut("OPENCLAW_URL") {
        *url = domain::upstreams::without_version(url).to_owned();
    }
}

/// Overrides settings from the command line. An empty value takes a setting away.
pub fn apply(variables: &mut BTreeMap<String, String>, overrides: Vec<(String, String)>) {
    for (name, value) in overrides {
        if value.is_empty() {
            variables.remove(&name);
        } else {
            variables.insert(name, value);
        }
    }
}

/// Refuses settings that the Worker would refuse, before anything is started.
///
/// # Errors
/// When a setting is malformed, or a combination would let someone spend what isn't theirs.
pub fn check(variables: &BTreeMap<String, String>) -> Result<()> {
    Settings::parse(|name| variables.get(name).cloned()).context("a setting can't be used")?;
    Ok(())
}

/// The development secrets of this state folder: those in `secrets.json`, and new ones for those that
/// are neither there nor given on the command line.
///
/// # Errors
/// When the file can't be read or written.
pub fn secrets(state: &Path, given: &[(String, String)]) -> Result<BTreeMap<String, String>> {
    let path = state.join("secrets.json");
    let mut secrets: BTreeMap<String, String> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .with_context(|| format!("{} is damaged: mend or delete it", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => BTreeMap::new(),
        Err(error) => return Err(error).with_context(|| format!("can't read {}", path.display())),
    };
    let known = secrets.len();
    for name in DEVELOPMENT_SECRETS {
        if !secrets.contains_key(name) && !given.iter().any(|(other, _)| other == name) {
            secrets.insert(name.to_owned(), random::secret(name)?.expose().clone());
        }
    }
    if secrets.len() > known {
        write_private(&path, &serde_json::to_string_pretty(&secrets)?)?;
    }
    Ok(secrets)
}

/// Writes a file that only its owner may read.
fn write_private(path: &Path, text: &str) -> Result<()> {
    let draft = path.with_extension("draft");
    let _ = std::fs::remove_file(&draft);
    let mut file =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&draft, path).with_context(|| format!("can't write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::{apply, check, parse_variable, parse_variable_in, secrets};
    use std::collections::BTreeMap;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_variable_is_split_at_the_first_equals_sign() {
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(parse_variable("A_1=b=c").unwrap(), pair("A_1", "b=c"));
        assert_eq!(parse_variable("A=").unwrap(), pair("A", ""));
        for wrong in ["", "=", "=b", "A", "a=b", "A B=c"] {
            assert!(parse_variable(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_empty_value_takes_a_setting_away() {
        let mut variables = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        apply(
            &mut variables,
            vec![("B".to_owned(), "2".to_owned()), ("A".to_owned(), String::new())],
        );
        assert_eq!(variables, BTreeMap::from([("B".to_owned(), "2".to_owned())]));
    }

    #[test]
    fn a_malformed_setting_is_refused_by_its_name() {
        let variables = |limit: &str| {
            BTreeMap::from([
                ("OPENCLAW_URL".to_owned(), "http://127.0.0.1:1".to_owned()),
                ("REQUESTS_PER_MINUTE".to_owned(), limit.to_owned()),
            ])
        };
        check(&variables("50")).unwrap();
        let error = format!("{:#}", check(&variables("many")).unwrap_err());
        assert!(error.contains("REQUESTS_PER_MINUTE"), "{error}");
    }

    #[test]
    fn secrets_are_made_once_and_kept_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let first = secrets(folder.path(), &[]).unwrap();
        assert_eq!(first.len(), 4);
        assert_eq!(first["TOKEN_ENCRYPTION_KEY"].len(), 44);
        assert_eq!(first, secrets(folder.path(), &[]).unwrap());
        let mode = folder.path().join("secrets.json").metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_value_may_stay_out_of_the_command_line() {
        let environment = |name: &str| (name == "OPERATOR_TOKEN").then(|| "secret=1".to_owned());
        let parse = |text| parse_variable_in(text, environment).map_err(|error| error.to_string());
        let pair = |name: &str, value: &str| Ok((name.to_owned(), value.to_owned()));
        assert_eq!(parse("OPERATOR_TOKEN"), pair("OPERATOR_TOKEN", "secret=1"));
        assert_eq!(parse("OPERATOR_TOKEN="), pair("OPERATOR_TOKEN", ""));
        assert_eq!(parse("OPERATOR_TOKEN=a=b"), pair("OPERATOR_TOKEN", "a=b"));
        let missing = parse("IP_HASH_PEPPER").unwrap_err();
        assert!(missing.contains("the environment has no IP_HASH_PEPPER"), "{missing}");
        assert!(parse("lower").is_err() && parse("=x").is_err());
    }

    #[test]
    fn a_secret_that_is_given_is_not_made() {
        let folder = tempfile::tempdir().unwrap();
        let given = [("OPERATOR_TOKEN".to_owned(), "mine".to_owned())];
        assert!(!secrets(folder.path(), &given).unwrap().contains_key("OPERATOR_TOKEN"));
    }
}
