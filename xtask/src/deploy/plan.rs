//! What there is to do, decided from what is declared and what is already there.

use std::collections::BTreeSet;

use super::project::Declared;

/// What the account has.
#[derive(Debug, Default)]
pub struct Inventory {
    pub databases: Vec<ExistingDatabase>,
    pub buckets: Vec<String>,
    /// The names of the Worker's secrets; none where there is no such Worker yet.
    pub secrets: Option<BTreeSet<String>>,
}

/// A database of the account.
#[derive(Debug, serde::Deserialize)]
pub struct ExistingDatabase {
    pub name: String,
    #[serde(rename = "uuid")]
    pub id: String,
}

/// What is to be done about one thing that the Worker needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is there, and `wrangler.toml` knows it.
    Keep { what: &'static str, name: String },
    /// It is there, but `wrangler.toml` doesn't know its id.
    Adopt { binding: String, name: String, id: String },
    /// A database is missing.
    CreateDatabase { binding: String, name: String },
    /// A bucket is missing.
    CreateBucket { name: String },
}

/// What each database and each bucket takes.
///
/// # Errors
/// When `wrangler.toml` names a database that the account doesn't have: what to do, in a sentence.
pub fn resources(declared: &Declared, inventory: &Inventory) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    for database in &declared.databases {
        let (binding, name) = (database.binding.clone(), database.database_name.clone());
        let mut existing = inventory.databases.iter();
        let step = match database.id() {
            Some(id) if existing.any(|it| it.id == id) => Step::Keep { what: "D1 database", name },
            Some(id) => {
                return Err(format!(
                    "wrangler.toml names the D1 database {id}, which this account doesn't have. If \
                     the file comes from somebody else, set that database_id to \
                     \"00000000-0000-0000-0000-000000000000\", and the next run makes a database of \
                     yours. If it is yours, this is another account: choose the right one with \
                     CLOUDFLARE_ACCOUNT_ID."
                ));
            }
            None => match existing.find(|it| it.name == name) {
                Some(it) => Step::Adopt { binding, name, id: it.id.clone() },
                None => Step::CreateDatabase { binding, name },
            },
        };
        steps.push(step);
    }
    for bucket in &declared.buckets {
        let name = bucket.bucket_name.clone();
        let is_there = inventory.buckets.contains(&name);
        let there = Step::Keep { what: "R2 bucket", name: name.clone() };
        steps.push(if is_there { there } else { Step::CreateBucket { name } });
    }
    Ok(steps)
}

impl Step {
    /// The line that says it.
    pub fn line(&self) -> String {
        let (what, name, outcome) = match self {
            Self::Keep { what, name } => (*what, name, "is there"),
            Self::Adopt { name, .. } => ("D1 database", name, "is there; its id is noted"),
            Self::CreateDatabase { name, .. } => ("D1 database", name, "will be created"),
            Self::CreateBucket { name } => ("R2 bucket", name, "will be created"),
        };
        format!("  {what:<13} {name:<28} {outcome}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "11111111-2222-3333-4444-555555555555";

    fn declared(id: &str) -> Declared {
        toml::from_str(&format!(
            r#"name = "gateway"
            [[d1_databases]]
            binding = "DB"
            database_name = "ours"
            database_id = "{id}"
            [[r2_buckets]]
            bucket_name = "kits""#
        ))
        .unwrap()
    }

    fn inventory(databases: &[(&str, &str)], buckets: &[&str]) -> Inventory {
        let database = |(name, id): &(&str, &str)| ExistingDatabase {
            name: (*name).to_owned(),
            id: (*id).to_owned(),
        };
        Inventory {
            databases: databases.iter().map(database).collect(),
            buckets: buckets.iter().map(|name| (*name).to_owned()).collect(),
            secrets: None,
        }
    }

    fn text(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn what_is_missing_is_created_and_the_rest_is_kept() {
        let nothing = resources(&declared(""), &inventory(&[("other", ID)], &["other"])).unwrap();
        let create = Step::CreateDatabase { binding: text("DB"), name: text("ours") };
        assert_eq!(nothing, [create, Step::CreateBucket { name: text("kits") }]);

        let all = resources(&declared(ID), &inventory(&[("ours", ID)], &["kits"])).unwrap();
        assert!(all.iter().all(|step| matches!(step, Step::Keep { .. })), "{all:?}");
    }

    #[test]
    fn what_an_interrupted_run_made_is_found_by_its_name() {
        let zeros = declared("00000000-0000-0000-0000-000000000000");
        let steps = resources(&zeros, &inventory(&[("ours", ID)], &[])).unwrap();
        let adopt = Step::Adopt { binding: text("DB"), name: text("ours"), id: text(ID) };
        assert_eq!(steps[0], adopt);
    }

    #[test]
    fn somebody_else_s_database_is_not_replaced_unasked() {
        let problem = resources(&declared(ID), &inventory(&[("ours", "another")], &[]));
        let problem = problem.unwrap_err();
        assert!(problem.contains(ID) && problem.contains("CLOUDFLARE_ACCOUNT_ID"), "{problem}");
    }
}
