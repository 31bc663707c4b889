//! The Worker's secrets: which ones it needs, and where their values come from.
//!
//! A value is never an argument of a command, and never in a file that this program makes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::IsTerminal;

use anyhow::{Context, Result, bail};
use domain::secret::Secret;
use domain::upstreams::without_version;
use inquire::{InquireError, Password};

use crate::random;

/// Values by name.
pub type Values = BTreeMap<String, Secret<String>>;

const KEY: &str = "TOKEN_ENCRYPTION_KEY";
const PREVIOUS_KEY: &str = "TOKEN_ENCRYPTION_KEY_PREVIOUS";
/// The operator's bearer.
pub const OPERATOR_TOKEN: &str = "OPERATOR_TOKEN";

/// What the settings say of which secrets there have to be.
#[derive(Clone, Copy, Debug, Default)]
pub struct Mode {
    /// `UPSTREAM_AUTH=token`.
    agent: bool,
    /// `AUTH_MODE=codex`.
    codex: bool,
    /// `ACCESS_TEAM_DOMAIN`.
    access: bool,
}

impl Mode {
    /// Reads it from the settings.
    pub fn new(variables: &BTreeMap<String, String>) -> Self {
        let text = |name: &str| variables.get(name).map_or("", String::as_str);
        Self {
            agent: text("UPSTREAM_AUTH") == "token",
            codex: text("AUTH_MODE") == "codex",
            access: !text("ACCESS_TEAM_DOMAIN").is_empty(),
        }
    }
}

/// Where the value of a secret comes from that isn't there yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Birth {
    /// The operator knows it.
    Asked,
    /// The operator may choose it; else it is made.
    AskedOrMade,
    /// Nobody has to know it.
    Made,
}

/// A secret that the gateway knows.
struct Kind {
    name: &'static str,
    about: &'static str,
    birth: Birth,
    is_needed: fn(Mode) -> bool,
}

const fn kind(
    name: &'static str,
    about: &'static str,
    birth: Birth,
    is_needed: fn(Mode) -> bool,
) -> Kind {
    Kind { name, about, birth, is_needed }
}

const KINDS: [Kind; 13] = [
    kind("OPENCLAW_URL", "the upstream's base URL, https", Birth::Asked, |_| true),
    kind("OPENCLAW_GATEWAY_TOKEN", "OpenClaw's own token", Birth::Asked, |mode| mode.agent),
    kind("SESSION_KEY_SECRET", "keys OpenClaw's sessions", Birth::Made, |mode| mode.agent),
    kind(KEY, "seals Codex tokens", Birth::Made, |mode| mode.codex),
    kind(OPERATOR_TOKEN, "the operator's password", Birth::AskedOrMade, |mode| !mode.access),
    kind("IP_HASH_PEPPER", "keys the hash of addresses", Birth::Made, |_| true),
    kind(PREVIOUS_KEY, "the key before", Birth::Asked, |_| false),
    kind("UPSTREAMS", "more upstreams", Birth::Asked, |_| false),
    kind("UPSTREAM_ACCESS_CLIENT_ID", "an Access service token", Birth::Asked, |_| false),
    kind("UPSTREAM_ACCESS_CLIENT_SECRET", "its secret", Birth::Asked, |_| false),
    kind("STRIPE_WEBHOOK_SECRET", "Stripe's signing secret", Birth::Asked, |_| false),
    kind("STRIPE_WEBHOOK_SECRET_PREVIOUS", "the one before", Birth::Asked, |_| false),
    kind("ALERT_WEBHOOK_URL", "who is told of trouble", Birth::Asked, |_| false),
];

/// The names of all secrets that the gateway knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|kind| kind.name)
}

/// Where the value of a secret comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The Worker has it already.
    Kept,
    /// The file of secrets.
    File,
    /// Somebody is asked.
    Asked,
    /// Somebody is asked; who answers nothing gets one that is made.
    AskedOrMade,
    /// It is made at random.
    Made,
}

/// A secret of the Worker, and where its value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub name: &'static str,
    about: &'static str,
    pub source: Source,
}

/// Which secrets the Worker will have.
///
/// `existing` are those that it has, `file` those of the file of secrets, and `rotate` those that get a
/// new value although they exist.
///
/// # Errors
/// What is wrong with the file's names or with what is to be rotated, in a sentence.
pub fn wanted(
    mode: Mode,
    existing: &BTreeSet<String>,
    file: &Values,
    rotate: &[String],
) -> Result<Vec<Wanted>, String> {
    for name in file.keys().chain(rotate) {
        if !names().any(|known| known == name) {
            return Err(format!(
                "{name} is none of the gateway's secrets: check its spelling. A setting that isn't \
                 secret stands under [vars] in wrangler.toml."
            ));
        }
    }
    let is_rotated = |name: &str| rotate.iter().any(|it| it == name);
    if is_rotated(KEY) && existing.contains(KEY) && !file.contains_key(PREVIOUS_KEY) {
        return Err(format!(
            "With another {KEY} the Codex tokens that are kept can't be opened any more. Put the key \
             of now into the file of secrets as {PREVIOUS_KEY}, rotate both, and see docs/codex.md."
        ));
    }
    let kinds = KINDS.iter().filter_map(|kind| {
        let source = if existing.contains(kind.name) && !is_rotated(kind.name) {
            Source::Kept
        } else if let Some(value) = file.get(kind.name) {
            if value.expose().is_empty() { Source::Made } else { Source::File }
        } else if is_rotated(kind.name) || (kind.is_needed)(mode) {
            match kind.birth {
                Birth::Asked => Source::Asked,
                Birth::AskedOrMade => Source::AskedOrMade,
                Birth::Made => Source::Made,
            }
        } else {
            return None;
        };
        // An empty line of the file means that one is to be made; where none can be, it means nothing.
        let is_nothing = source == Source::Made && kind.birth == Birth::Asked;
        let source = match (is_nothing, (kind.is_needed)(mode)) {
            (true, true) => Source::Asked,
            (true, false) => return None,
            _ => source,
        };
        Some(Wanted { name: kind.name, about: kind.about, source })
    });
    Ok(kinds.collect())
}

/// The values of those that the Worker doesn't have yet.
pub struct Obtained {
    pub values: Values,
    /// The operator's token, where it was made here: nobody else has it.
    pub made_operator_token: bool,
}

/// Reads, asks for, and makes what is missing.
///
/// # Errors
/// Where nobody is there to ask: the names of what is missing.
pub fn obtain(wanted: &[Wanted], file: &Values) -> Result<Obtained> {
    let is_asked = |it: &&Wanted| matches!(it.source, Source::Asked | Source::AskedOrMade);
    if !std::io::stdin().is_terminal() {
        let missing: Vec<_> = wanted.iter().filter(is_asked).map(|it| it.name).collect();
        if !missing.is_empty() {
            bail!(
                "these secrets are missing: {}. Write each as NAME=VALUE into a file that only you can \
                 read, and name it with --secrets FILE; `OPERATOR_TOKEN=` with nothing behind it has \
                 one made. Or run this on a terminal, where they are asked for.",
                missing.join(", ")
            );
        }
    }
    let mut obtained = Obtained { values: Values::new(), made_operator_token: false };
    for Wanted { name, about, source } in wanted {
        let (value, is_made) = match source {
            Source::Kept => continue,
            Source::File => (from_file(name, file)?, false),
            Source::Made => (random::secret(name)?, true),
            Source::Asked => (as_meant(name, ask(&format!("{name} ({about})"), true)?), false),
            Source::AskedOrMade => {
                let question = format!("{name} ({about}; press Enter and one is made)");
                let typed = ask(&question, false)?;
                let is_made = typed.expose().is_empty();
                (if is_made { random::secret(name)? } else { typed }, is_made)
            }
        };
        obtained.made_operator_token |= *name == OPERATOR_TOKEN && is_made;
        obtained.values.insert((*name).to_owned(), value);
    }
    Ok(obtained)
}

fn from_file(name: &str, file: &Values) -> Result<Secret<String>> {
    let value = file.get(name).cloned().context("it is in the file")?;
    Ok(as_meant(name, value))
}

/// A base URL loses the `/v1` that people copy with it.
fn as_meant(name: &str, value: Secret<String>) -> Secret<String> {
    match name {
        "OPENCLAW_URL" => Secret::new(without_version(value.expose()).to_owned()),
        _ => value,
    }
}

/// Stands for what would be asked for or made, in a dry run: of the right form, and nobody's.
pub fn imagined(wanted: &[Wanted], file: &Values) -> Result<Values> {
    let unknown = wanted.iter().filter(|it| it.source != Source::Kept);
    let value = |it: &Wanted| match it.source {
        Source::File => from_file(it.name, file),
        _ => Ok(Secret::new(placeholder(it.name))),
    };
    unknown.map(|it| Ok((it.name.to_owned(), value(it)?))).collect()
}

/// A value of the right form for a secret of which only the name is known.
pub fn placeholder(name: &str) -> String {
    match name {
        "OPENCLAW_URL" | "ALERT_WEBHOOK_URL" => "https://known-by-its-name.invalid".to_owned(),
        "UPSTREAMS" => "{}".to_owned(),
        // 32 bytes in base64.
        KEY | PREVIOUS_KEY => format!("{}=", "A".repeat(43)),
        _ => "known-by-its-name-alone".to_owned(),
    }
}

/// Asks on the terminal; what is typed isn't shown.
fn ask(question: &str, is_needed: bool) -> Result<Secret<String>> {
    let message = format!("{question}:");
    loop {
        let prompt = Password::new(&message).without_confirmation();
        let typed = match prompt.with_formatter(&|_| String::new()).prompt() {
            Err(InquireError::OperationCanceled | InquireError::OperationInterrupted) => {
                bail!("stopped at a question: nothing was created, and nothing was deployed")
            }
            typed => typed.context("can't ask on this terminal: use --secrets FILE")?,
        };
        let typed = typed.trim().to_owned();
        if !is_needed || !typed.is_empty() {
            return Ok(Secret::new(typed));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::secret_file::parse;
    use super::*;

    fn mode(pairs: &[(&str, &str)]) -> Mode {
        let text = |text: &&str| (*text).to_owned();
        Mode::new(&pairs.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    fn sources(mode: Mode, existing: &[&str], file: &str) -> Vec<(&'static str, Source)> {
        let existing = existing.iter().map(|name| (*name).to_owned()).collect();
        let wanted = wanted(mode, &existing, &parse(file).unwrap(), &[]).unwrap();
        wanted.into_iter().map(|it| (it.name, it.source)).collect()
    }

    #[test]
    fn each_mode_has_the_secrets_that_it_needs() {
        use Source::{Asked, AskedOrMade, Kept, Made};
        assert_eq!(
            sources(mode(&[]), &[], ""),
            [("OPENCLAW_URL", Asked), (OPERATOR_TOKEN, AskedOrMade), ("IP_HASH_PEPPER", Made)]
        );
        let all = mode(&[
            ("UPSTREAM_AUTH", "token"),
            ("AUTH_MODE", "codex"),
            ("ACCESS_TEAM_DOMAIN", "team.cloudflareaccess.com"),
        ]);
        assert_eq!(
            sources(all, &["OPENCLAW_URL", "STRIPE_WEBHOOK_SECRET", "SOMEBODY_S_OWN"], ""),
            [
                ("OPENCLAW_URL", Kept),
                ("OPENCLAW_GATEWAY_TOKEN", Asked),
                ("SESSION_KEY_SECRET", Made),
                (KEY, Made),
                ("IP_HASH_PEPPER", Made),
                ("STRIPE_WEBHOOK_SECRET", Kept),
            ]
        );
    }

    #[test]
    fn a_file_is_asked_first_and_what_exists_is_left() {
        use Source::{AskedOrMade, File, Kept, Made};
        let file =
            "OPENCLAW_URL=https://a.example\nALERT_WEBHOOK_URL='https://b.example'\nUPSTREAMS=\n";
        assert_eq!(
            sources(mode(&[]), &["IP_HASH_PEPPER"], file),
            [
                ("OPENCLAW_URL", File),
                (OPERATOR_TOKEN, AskedOrMade),
                ("IP_HASH_PEPPER", Kept),
                ("ALERT_WEBHOOK_URL", File),
            ]
        );
        let made = sources(mode(&[]), &["OPENCLAW_URL"], "OPERATOR_TOKEN=\nOPENCLAW_URL=x\n");
        assert_eq!(made[0], ("OPENCLAW_URL", Kept));
        assert_eq!(made[1], (OPERATOR_TOKEN, Made));
    }

    #[test]
    fn a_base_url_loses_its_version() {
        let file = parse("OPENCLAW_URL=https://a.example/v1\nIP_HASH_PEPPER=x/v1\n").unwrap();
        assert_eq!(from_file("OPENCLAW_URL", &file).unwrap().expose(), "https://a.example");
        assert_eq!(from_file("IP_HASH_PEPPER", &file).unwrap().expose(), "x/v1");
    }

    #[test]
    fn a_name_that_nobody_knows_is_refused() {
        let file = parse("OPENCLAW_ULR=x").unwrap();
        let refused = wanted(mode(&[]), &BTreeSet::new(), &file, &[]).unwrap_err();
        assert!(refused.contains("OPENCLAW_ULR"), "{refused}");
    }

    #[test]
    fn what_is_rotated_gets_a_new_value_and_no_token_is_lost() {
        let existing = [KEY, OPERATOR_TOKEN].map(str::to_owned).into();
        let rotate = |names: &[&str], file: &str| {
            let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
            wanted(mode(&[]), &existing, &parse(file).unwrap(), &names)
        };
        let token = rotate(&[OPERATOR_TOKEN], "").unwrap();
        assert!(
            token.iter().any(|it| (it.name, it.source) == (OPERATOR_TOKEN, Source::AskedOrMade))
        );
        assert!(rotate(&[KEY], "").unwrap_err().contains("docs/codex.md"));
        let both = rotate(&[KEY], "TOKEN_ENCRYPTION_KEY_PREVIOUS=x").unwrap();
        assert!(both.iter().any(|it| (it.name, it.source) == (KEY, Source::Made)));
        assert!(rotate(&["SPELLING"], "").is_err());
    }

    #[test]
    fn what_stands_for_a_secret_has_its_form() {
        let variables = BTreeMap::from([("AUTH_MODE".to_owned(), "codex".to_owned())]);
        domain::settings::Settings::parse(|name| {
            let secret = names().find(|known| *known == name).map(placeholder);
            secret.or_else(|| variables.get(name).cloned())
        })
        .unwrap();
    }
}
