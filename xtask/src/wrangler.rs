//! Reads `wrangler.toml`, the one list of bindings: what is deployed is what is served.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// What of `wrangler.toml` it takes to run the Worker here.
#[derive(Debug, Deserialize, Serialize)]
pub struct Wrangler {
    pub name: String,
    pub compatibility_date: String,
    #[serde(default)]
    pub compatibility_flags: Vec<String>,
    /// The settings that are the same wherever the Worker runs.
    #[serde(default, rename(deserialize = "vars"))]
    pub variables: BTreeMap<String, Variable>,
    #[serde(default)]
    pub durable_objects: DurableObjects,
    #[serde(default, rename(deserialize = "d1_databases"))]
    pub databases: Vec<Database>,
    #[serde(default, rename(deserialize = "r2_buckets"))]
    pub buckets: Vec<Bucket>,
    #[serde(default)]
    pub triggers: Triggers,
    pub assets: Assets,
}

/// The static files, and the name under which the Worker finds them.
#[derive(Debug, Deserialize, Serialize)]
pub struct Assets {
    pub directory: PathBuf,
    pub binding: String,
    pub html_handling: String,
    pub not_found_handling: String,
}

/// A setting's value, which may be written as a TOML number or truth value too.
#[derive(Debug, Deserialize, Serialize)]
#[serde(untagged)]
pub enum Variable {
    Text(String),
    Number(i64),
    Truth(bool),
}

#[derive(Debug, Default, Deserialize, Serialize)]
pub struct DurableObjects {
    #[serde(default)]
    pub bindings: Vec<Object>,
}

/// A class of Durable Objects, and the name under which the Worker finds it.
#[derive(Debug, Deserialize, Serialize)]
pub struct Object {
    pub name: String,
    pub class_name: String,
}

/// When the Worker runs without a request.
#[derive(Debug, Default, Deserialize, Serialize)]
pub struct Triggers {
    #[serde(default)]
    pub crons: Vec<String>,
}

/// A D1 database.
#[derive(Debug, Deserialize, Serialize)]
pub struct Database {
    pub binding: String,
    pub database_id: String,
    pub migrations_dir: PathBuf,
}

/// An R2 bucket.
#[derive(Debug, Deserialize, Serialize)]
pub struct Bucket {
    pub binding: String,
    pub bucket_name: String,
}

impl Wrangler {
    /// Reads the file of this workspace.
    ///
    /// # Errors
    /// When it is missing or doesn't say what it has to.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join("wrangler.toml");
        let text = std::fs::read_to_string(&path)
            .with_context(|| format!("can't read {}", path.display()))?;
        let mut wrangler = Self::parse(&text).context("wrangler.toml can't be understood")?;
        wrangler.assets.directory = root.join(&wrangler.assets.directory);
        for database in &mut wrangler.databases {
            database.migrations_dir = root.join(&database.migrations_dir);
        }
        Ok(wrangler)
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }

    /// The settings as the Worker sees them: text.
    pub fn variables(&self) -> BTreeMap<String, String> {
        let text = |value: &Variable| match value {
            Variable::Text(text) => text.clone(),
            Variable::Number(number) => number.to_string(),
            Variable::Truth(truth) => truth.to_string(),
        };
        self.variables.iter().map(|(name, value)| (name.clone(), text(value))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::Wrangler;

    #[test]
    fn bindings_classes_and_settings_are_read() {
        let wrangler = Wrangler::parse(
            r#"
            name = "gateway"
            main = "src/entry.mjs"
            compatibility_date = "2026-05-01"
            compatibility_flags = ["enable_request_signal"]
            [vars]
            AUTH_MODE = "openai"
            REQUESTS_PER_MINUTE = 50
            ALLOW_ANONYMOUS = true
            [[durable_objects.bindings]]
            name = "USER_SESSIONS"
            class_name = "UserSession"
            [[d1_databases]]
            binding = "DB"
            database_name = "gateway"
            database_id = "0000"
            migrations_dir = "migrations"
            [[r2_buckets]]
            binding = "KITS"
            bucket_name = "gateway-kits"
            [assets]
            directory = "build-console"
            binding = "CONSOLE"
            html_handling = "none"
            not_found_handling = "none"
            "#,
        )
        .unwrap();
        let variables = wrangler.variables();
        assert_eq!(variables["AUTH_MODE"], "openai");
        assert_eq!(variables["REQUESTS_PER_MINUTE"], "50");
        assert_eq!(variables["ALLOW_ANONYMOUS"], "true");
        assert_eq!(wrangler.compatibility_flags, ["enable_request_signal"]);
        assert_eq!(wrangler.durable_objects.bindings[0].class_name, "UserSession");
        assert_eq!(wrangler.databases[0].migrations_dir.to_str(), Some("migrations"));
        assert_eq!(wrangler.buckets[0].bucket_name, "gateway-kits");
        assert_eq!(wrangler.assets.binding, "CONSOLE");
    }

    #[test]
    fn this_repository_s_own_file_can_be_read() {
        let wrangler = Wrangler::read(crate::workspace::root()).unwrap();
        assert!(wrangler.databases[0].migrations_dir.join("0001_init.sql").exists());
        assert!(!wrangler.durable_objects.bindings.is_empty());
    }
}
