//! What `wrangler.toml` says of a deploy, and the two things that a deploy writes into it.
//!
//! The file is the fork's own: what is written leaves comments and layout as they are.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use serde::Deserialize;
use toml_edit::{Array, DocumentMut, InlineTable, Item, TableLike, Value};

use crate::workspace;

/// The id of a database that doesn't exist yet.
const NO_ID: &str = "00000000-0000-0000-0000-000000000000";

/// `wrangler.toml` as text, and what of it a deploy goes by.
pub struct Project {
    path: PathBuf,
    document: DocumentMut,
    pub declared: Declared,
    is_changed: bool,
}

/// What a deploy goes by.
#[derive(Debug, Deserialize)]
pub struct Declared {
    /// The Worker's name.
    pub name: String,
    /// The account, where the file names one.
    pub account_id: Option<String>,
    /// Whether the Worker answers below workers.dev.
    #[serde(default = "yes")]
    pub workers_dev: bool,
    #[serde(default, rename = "d1_databases")]
    pub databases: Vec<Database>,
    #[serde(default, rename = "r2_buckets")]
    pub buckets: Vec<Bucket>,
    #[serde(default)]
    routes: Vec<Route>,
}

/// A D1 database.
#[derive(Clone, Debug, Deserialize)]
pub struct Database {
    pub binding: String,
    pub database_name: String,
    #[serde(default)]
    pub database_id: String,
    #[serde(default = "migrations")]
    pub migrations_dir: PathBuf,
}

/// An R2 bucket.
#[derive(Clone, Debug, Deserialize)]
pub struct Bucket {
    pub bucket_name: String,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Route {
    Pattern(#[expect(dead_code, reason = "only custom domains count here")] String),
    Table {
        pattern: String,
        #[serde(default)]
        custom_domain: bool,
    },
}

fn yes() -> bool {
    true
}

fn migrations() -> PathBuf {
    "migrations".into()
}

impl Database {
    /// Its id, where the file knows it.
    pub fn id(&self) -> Option<&str> {
        Some(self.database_id.as_str()).filter(|id| !id.is_empty() && *id != NO_ID)
    }
}

impl Declared {
    /// The custom domains.
    pub fn domains(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().filter_map(|route| match route {
            Route::Table { pattern, custom_domain: true } => Some(pattern.as_str()),
            _ => None,
        })
    }
}

impl Project {
    /// Reads the file of a workspace.
    ///
    /// # Errors
    /// When it is missing or can't be understood.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("wrangler.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}", path.display()))?;
        Self::parse(path, &text).context("wrangler.toml can't be understood")
    }

    fn parse(path: PathBuf, text: &str) -> Result<Self> {
        let declared = toml::from_str(text)?;
        Ok(Self { path, document: text.parse()?, declared, is_changed: false })
    }

    /// Notes under which id a database was made.
    ///
    /// # Errors
    /// When the file names no such binding.
    pub fn set_database_id(&mut self, binding: &str, id: &str) -> Result<()> {
        let table = self
            .document
            .get_mut("d1_databases")
            .and_then(|databases| table_with(databases, "binding", binding))
            .ok_or_else(|| anyhow!("wrangler.toml has no database with the binding {binding}"))?;
        set_text(table, "database_id", id);
        self.changed()
    }

    /// Has the Worker answer at a domain of one's own.
    ///
    /// # Errors
    /// When it isn't a host's name.
    pub fn set_domain(&mut self, domain: &str) -> Result<()> {
        if !is_host(domain) {
            bail!(
                "--domain takes a host's name such as gateway.example.com, without https:// and \
                 without a path; its zone must be in your Cloudflare account"
            );
        }
        if self.declared.domains().any(|known| known == domain) {
            return Ok(());
        }
        let mut route = InlineTable::new();
        route.insert("pattern", domain.into());
        route.insert("custom_domain", true.into());
        let routes = self.document.entry("routes").or_insert(Item::Value(Array::new().into()));
        match routes {
            Item::Value(Value::Array(routes)) => routes.push(route),
            Item::ArrayOfTables(routes) => routes.push(route.into_table()),
            _ => bail!("`routes` in wrangler.toml isn't a list: write the domain there yourself"),
        }
        self.changed()
    }

    fn changed(&mut self) -> Result<()> {
        self.declared = toml::from_str(&self.document.to_string())?;
        self.is_changed = true;
        Ok(())
    }

    /// Writes the file, if there is something to write. Says whether there was.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn save(&mut self) -> Result<bool> {
        if self.is_changed {
            workspace::write_whole(&self.path, &self.document.to_string())?;
        }
        Ok(std::mem::take(&mut self.is_changed))
    }

    /// The file for a deploy of what is already built, from any folder: without `[build]`, and with
    /// whole paths.
    ///
    /// # Errors
    /// When it names no entry point.
    pub fn for_a_built_worker(&self) -> Result<String> {
        let root = self.path.parent().context("wrangler.toml is in no folder")?;
        let mut document = self.document.clone();
        document.remove("build");
        absolute(document.as_table_mut(), "main", root).context("wrangler.toml has no `main`")?;
        if let Some(assets) = document.get_mut("assets").and_then(Item::as_table_like_mut) {
            absolute(assets, "directory", root);
        }
        Ok(document.to_string())
    }
}

/// The table of a list whose `key` has this text.
fn table_with<'a>(list: &'a mut Item, key: &str, text: &str) -> Option<&'a mut dyn TableLike> {
    let is_it =
        |table: &dyn TableLike| table.get(key).and_then(Item::as_str).is_some_and(|it| it == text);
    match list {
        Item::ArrayOfTables(tables) => {
            tables.iter_mut().map(|table| table as &mut dyn TableLike).find(|table| is_it(*table))
        }
        Item::Value(Value::Array(values)) => values
            .iter_mut()
            .filter_map(Value::as_inline_table_mut)
            .map(|table| table as &mut dyn TableLike)
            .find(|table| is_it(*table)),
        _ => None,
    }
}

/// Replaces a text and leaves what stands around it.
fn set_text(table: &mut dyn TableLike, key: &str, text: &str) {
    let mut value = Value::from(text);
    if let Some(old) = table.get(key).and_then(Item::as_value) {
        *value.decor_mut() = old.decor().clone();
    }
    table.insert(key, Item::Value(value));
}

fn absolute(table: &mut dyn TableLike, key: &str, root: &Path) -> Option<()> {
    let path = root.join(table.get(key)?.as_str()?);
    set_text(table, key, path.to_str()?);
    Some(())
}

/// Whether this is a host's full name, as in gateway.example.com.
fn is_host(text: &str) -> bool {
    let is_label = |label: &str| {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        (1..=63).contains(&label.len())
            && label.bytes().all(plain)
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    text.len() <= 253
        && text.contains('.')
        && text.split('.').all(is_label)
        && !text.ends_with(".workers.dev")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"# Ours.
name = "gateway"
main = "src/entry.mjs"
send_metrics = false # never

[build]
command = "cargo xtask build"

# The page.
[assets]
directory = "build-console" # bundled
binding = "CONSOLE"

[[d1_databases]]
binding = "OTHER"
database_name = "other"
database_id = "1234"

[[d1_databases]]
binding = "DB"
database_name = "gateway"
database_id = "00000000-0000-0000-0000-000000000000" # made by deploy
migrations_dir = "migrations"

[[r2_buckets]]
binding = "KITS"
bucket_name = "gateway-kits"
"#;

    fn project(text: &str) -> Project {
        Project::parse("/ours/wrangler.toml".into(), text).unwrap()
    }

    #[test]
    fn what_is_declared_is_read() {
        let declared = project(TEXT).declared;
        assert_eq!(declared.name, "gateway");
        assert!(declared.workers_dev && declared.account_id.is_none());
        assert_eq!(declared.databases[0].id(), Some("1234"));
        assert_eq!(declared.databases[1].id(), None);
        assert_eq!(declared.databases[1].migrations_dir.to_str(), Some("migrations"));
        assert_eq!(declared.buckets[0].bucket_name, "gateway-kits");
        assert_eq!(declared.domains().count(), 0);
    }

    #[test]
    fn an_id_is_written_and_nothing_else_changes() {
        let mut project = project(TEXT);
        project.set_database_id("DB", "abcd").unwrap();
        let expected = TEXT.replace("00000000-0000-0000-0000-000000000000", "abcd");
        assert_eq!(project.document.to_string(), expected);
        assert_eq!(project.declared.databases[1].id(), Some("abcd"));
        assert!(project.set_database_id("NONE", "abcd").is_err());
    }

    #[test]
    fn a_domain_is_written_once_and_before_the_tables() {
        let mut project = project(TEXT);
        project.set_domain("gateway.example.com").unwrap();
        let once = project.document.to_string();
        let line = r#"routes = [{ pattern = "gateway.example.com", custom_domain = true }]"#;
        let expected = TEXT.replace("# never\n", &format!("# never\n{line}\n"));
        assert_eq!(once, expected);
        project.set_domain("gateway.example.com").unwrap();
        assert_eq!(project.document.to_string(), once);
        project.set_domain("two.example.com").unwrap();
        let domains: Vec<_> = project.declared.domains().collect();
        assert_eq!(domains, ["gateway.example.com", "two.example.com"]);
    }

    #[test]
    fn only_a_host_s_name_is_a_domain() {
        for wrong in [
            "",
            "gateway",
            "https://gateway.example.com",
            "gateway.example.com/",
            "gateway.example.com:443",
            "Gateway.example.com",
            "*.example.com",
            "-a.example.com",
            "a..example.com",
            "gateway.me.workers.dev",
        ] {
            assert!(project(TEXT).set_domain(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_built_is_deployed_from_anywhere() {
        let text = project(TEXT).for_a_built_worker().unwrap();
        assert!(text.contains(r#"main = "/ours/src/entry.mjs""#), "{text}");
        assert!(text.contains(r#"directory = "/ours/build-console" # bundled"#), "{text}");
        assert!(!text.contains("cargo"), "{text}");
    }

    #[test]
    fn this_repository_s_own_file_can_be_read() {
        let project = Project::read(workspace::root()).unwrap();
        assert_eq!(project.declared.databases[0].binding, "DB");
        assert!(project.for_a_built_worker().unwrap().contains("/src/entry.mjs\""));
    }
}
