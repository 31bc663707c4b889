//! The account, by way of the pinned `wrangler`, which holds the sign-in and speaks to the API.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::plan::{ExistingDatabase, Inventory};
use super::project::Project;
use super::trouble;
use crate::progress::Progress;
use crate::workspace;

/// An account, and the way to it.
pub struct Cloudflare<'a> {
    progress: &'a Progress,
    pub account: Account,
}

/// An account of Cloudflare's.
#[derive(Clone, Debug, Deserialize)]
pub struct Account {
    pub id: String,
    pub name: String,
}

#[derive(Deserialize)]
struct WhoAmI {
    accounts: Vec<Account>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

/// The pinned wrangler, which asks nothing, shows no banner, and tells nobody.
pub fn wrangler() -> Result<Command> {
    let mut command = workspace::command(workspace::node_program("wrangler"));
    command.env("PATH", workspace::path_with(&[workspace::root().join("node_modules/.bin")])?);
    command.env("WRANGLER_SEND_METRICS", "false").env("WRANGLER_HIDE_BANNER", "true");
    // What it writes into its own log file holds no value of a secret.
    command.env("WRANGLER_LOG_SANITIZE", "true").env("NO_COLOR", "1").env("FORCE_COLOR", "0");
    command.stdin(Stdio::null());
    Ok(command)
}

/// What a command printed, if it succeeded.
///
/// # Errors
/// When it can't be started. When it fails: all that it said.
pub fn output_of(mut command: Command) -> Result<Result<String, String>> {
    let Output { status, stdout, stderr } =
        command.output().context("can't start wrangler: run `cargo xtask setup`")?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let said = text(&stdout);
    Ok(if status.success() { Ok(said) } else { Err(format!("{said}\n{}", text(&stderr))) })
}

impl<'a> Cloudflare<'a> {
    /// Finds out whose account is used.
    ///
    /// # Errors
    /// When nobody is signed in, or several accounts could be meant.
    pub fn sign_in(progress: &'a Progress, project: &Project) -> Result<Self> {
        let mut command = wrangler()?;
        command.args(["whoami", "--json"]);
        let refused = |said: String| {
            anyhow!("no Cloudflare account can be used\n{}", trouble::explain(&said))
        };
        let what = "looking at the Cloudflare account";
        let said = progress.waiting(what, || output_of(command)?.map_err(refused))?;
        let accounts = json::<WhoAmI>(&said)?.accounts;
        let named = project.declared.account_id.clone();
        let named = named.or_else(|| std::env::var("CLOUDFLARE_ACCOUNT_ID").ok());
        let account = choose(accounts, named.as_deref())?;
        Ok(Self { progress, account })
    }

    fn command(&self, words: &[&str]) -> Result<Command> {
        let mut command = wrangler()?;
        command.args(words).env("CLOUDFLARE_ACCOUNT_ID", &self.account.id);
        Ok(command)
    }

    /// Wrangler's own words, where it doesn't succeed.
    fn try_ask(&self, words: &[&str]) -> Result<Result<String, String>> {
        output_of(self.command(words)?)
    }

    /// Runs one command and gives what it printed.
    ///
    /// # Errors
    /// When it fails: what wrangler says, and what to do.
    pub fn ask(&self, what: &str, words: &[&str]) -> Result<String> {
        self.progress.waiting(what, || self.try_ask(words)?.map_err(|said| failed(what, &said)))
    }

    /// What the account has of what the Worker needs.
    ///
    /// # Errors
    /// When wrangler can't tell.
    pub fn inventory(&self, project: &Project) -> Result<Inventory> {
        self.progress.waiting("looking at what is there", || {
            // Each takes wrangler a second or more to begin.
            std::thread::scope(|scope| {
                let databases = scope.spawn(|| self.databases());
                let buckets = scope.spawn(|| self.buckets(project));
                let secrets = self.secrets(&project.declared.name);
                let lost = |_panic| anyhow!("wrangler was lost");
                let databases = databases.join().map_err(lost)??;
                let buckets = buckets.join().map_err(lost)??;
                Ok(Inventory { databases, buckets, secrets: secrets? })
            })
        })
    }

    fn databases(&self) -> Result<Vec<ExistingDatabase>> {
        let said = self.try_ask(&["d1", "list", "--json"])?;
        json(&said.map_err(|said| failed("listing the D1 databases", &said))?)
    }

    fn buckets(&self, project: &Project) -> Result<Vec<String>> {
        if project.declared.buckets.is_empty() {
            return Ok(Vec::new());
        }
        let said = self.try_ask(&["r2", "bucket", "list"])?;
        Ok(buckets(&said.map_err(|said| failed("listing the R2 buckets", &said))?))
    }

    fn secrets(&self, worker: &str) -> Result<Option<BTreeSet<String>>> {
        let words = ["secret", "list", "--name", worker, "--format", "json"];
        match self.try_ask(&words)? {
            Ok(said) => {
                let named = json::<Vec<Named>>(&said)?;
                Ok(Some(named.into_iter().map(|it| it.name).collect()))
            }
            Err(said) if said.contains(&format!("Worker \"{worker}\" not found")) => Ok(None),
            Err(said) => Err(failed("listing the Worker's secrets", &said)),
        }
    }

    /// Creates a database and gives its id.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create_database(&self, name: &str) -> Result<String> {
        self.ask(&format!("creating the D1 database {name}"), &["d1", "create", name])?;
        let what = "looking for its id";
        let databases = json::<Vec<ExistingDatabase>>(&self.ask(what, &["d1", "list", "--json"])?)?;
        let database = databases.into_iter().find(|database| database.name == name);
        Ok(database.with_context(|| format!("the new database {name} isn't listed"))?.id)
    }

    /// Creates a bucket. That it exists already is as good: a list shows only the first of many.
    ///
    /// # Errors
    /// When it can't be created.
    pub fn create_bucket(&self, name: &str) -> Result<()> {
        let what = format!("creating the R2 bucket {name}");
        self.progress.waiting(&what, || match self.try_ask(&["r2", "bucket", "create", name])? {
            Err(said) if !said.contains("[code: 10004]") => Err(failed(&what, &said)),
            _ => Ok(()),
        })
    }

    /// Brings a database up to the newest migration.
    ///
    /// # Errors
    /// When one fails; those before it stay applied.
    pub fn migrate(&self, binding: &str) -> Result<()> {
        let what = "applying the migrations of D1";
        self.ask(what, &["d1", "migrations", "apply", binding, "--remote"])?;
        Ok(())
    }

    /// The rows that a query finds.
    ///
    /// # Errors
    /// When D1 refuses it.
    pub fn query<Row: DeserializeOwned>(&self, binding: &str, sql: &str) -> Result<Vec<Row>> {
        #[derive(Deserialize)]
        struct Answer<Row> {
            results: Vec<Row>,
        }
        let words = ["d1", "execute", binding, "--remote", "--json", "--command", sql];
        let said = self.try_ask(&words)?.map_err(|said| failed("asking D1", &said))?;
        let answers = json::<Vec<Answer<Row>>>(&said)?;
        Ok(answers.into_iter().flat_map(|answer| answer.results).collect())
    }

    /// The command that uploads the Worker, with a file of settings of its own.
    ///
    /// # Errors
    /// When `PATH` can't be made.
    pub fn upload(&self, config: &Path) -> Result<Command> {
        let mut command = self.command(&["deploy", "--config"])?;
        command.arg(config);
        Ok(command)
    }
}

/// An error with wrangler's words and what to do.
pub fn failed(what: &str, said: &str) -> anyhow::Error {
    anyhow!("{what} failed\n{}", trouble::explain(said))
}

/// The account that is meant.
fn choose(accounts: Vec<Account>, named: Option<&str>) -> Result<Account> {
    if let Some(id) = named {
        let account = accounts.into_iter().find(|account| account.id == id);
        // A token may be good for an account that it can't list.
        return Ok(account.unwrap_or_else(|| Account { id: id.to_owned(), name: id.to_owned() }));
    }
    let [account] = &accounts[..] else {
        let list: Vec<_> = accounts
            .iter()
            .map(|account| format!("\n    {}  {}", account.id, account.name))
            .collect();
        bail!(
            "your sign-in reaches {} accounts: set CLOUDFLARE_ACCOUNT_ID to the id of the one that is \
             meant, or `account_id` in wrangler.toml{}",
            accounts.len(),
            list.concat()
        );
    };
    Ok(account.clone())
}

/// The JSON in what wrangler printed, which may say something before it.
fn json<T: DeserializeOwned>(said: &str) -> Result<T> {
    let begins = |line: &&str| line.starts_with(['[', '{']);
    let first = said.lines().find(begins).context("wrangler printed no JSON")?;
    let (_, rest) = said.split_once(first).context("wrangler printed no JSON")?;
    serde_json::from_str(&format!("{first}{rest}")).context("wrangler's JSON can't be understood")
}

/// The names in wrangler's list of buckets, which there is as text alone.
fn buckets(said: &str) -> Vec<String> {
    let names = said.lines().filter_map(|line| line.strip_prefix("name:"));
    names.map(|name| name.trim().to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accounts(ids: &[&str]) -> Vec<Account> {
        let account = |id: &&str| Account { id: (*id).to_owned(), name: format!("{id}'s") };
        ids.iter().map(account).collect()
    }

    #[test]
    fn the_only_account_is_taken_and_among_several_one_has_to_be_named() {
        assert_eq!(choose(accounts(&["a"]), None).unwrap().id, "a");
        assert_eq!(choose(accounts(&["a", "b"]), Some("b")).unwrap().name, "b's");
        assert_eq!(choose(accounts(&[]), Some("c")).unwrap().id, "c");
        let unclear = choose(accounts(&["a", "b"]), None).unwrap_err().to_string();
        assert!(unclear.contains("CLOUDFLARE_ACCOUNT_ID") && unclear.contains("b's"), "{unclear}");
        assert!(choose(accounts(&[]), None).is_err());
    }

    #[test]
    fn json_is_found_behind_words() {
        let named: Vec<Named> = json("a warning\n[\n  {\"name\": \"x\"}\n]\n").unwrap();
        assert_eq!(named[0].name, "x");
        assert!(json::<Vec<Named>>("nothing").is_err());
    }

    #[test]
    fn buckets_are_read_from_a_list_for_people() {
        let said =
            "Listing buckets...\nname:           kits\ncreation_date:  2026-01-01\n\nname:  b\n";
        assert_eq!(buckets(said), ["kits", "b"]);
        assert_eq!(buckets("Listing buckets...\n\n"), [""; 0]);
    }
}
