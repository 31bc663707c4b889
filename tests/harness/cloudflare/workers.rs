//! Workers: their code, secrets, static files and addresses.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::{Account, Answer, Call, Part, no};

/// What an upload of static files is allowed with: `{"alg":"none"}.{}.x`.
pub(super) const ASSETS: &str = "eyJhbGciOiJub25lIn0.e30.eA";

/// A Worker, as it was deployed last.
#[derive(Clone, Debug, Default)]
pub struct Worker {
    /// What the upload says of itself: bindings, settings, migrations of objects.
    pub metadata: Value,
    /// The modules by their names.
    pub modules: BTreeMap<String, Part>,
    /// The secrets by their names.
    pub secrets: BTreeMap<String, String>,
    /// The newest tag of the objects' migrations.
    pub migration_tag: Option<String>,
    /// When it runs by itself.
    pub crons: Vec<String>,
    /// The domains of one's own.
    pub domains: Vec<String>,
    /// Whether it answers below workers.dev.
    pub is_on_workers_dev: bool,
    /// How often it was uploaded.
    pub uploads: usize,
}

impl Worker {
    /// The names of its bindings of a type.
    #[must_use]
    pub fn bindings(&self, kind: &str) -> Vec<&Value> {
        let all = self.metadata["bindings"].as_array().into_iter().flatten();
        all.filter(|binding| binding["type"] == kind).collect()
    }
}

impl Account {
    pub(super) fn workers(&mut self, call: &Call, rest: &[&str]) -> Answer {
        match (call.method.as_str(), rest) {
            ("GET", ["subdomain"]) => match &self.subdomain {
                Some(subdomain) => Ok(json!({ "subdomain": subdomain })),
                None => no(404, 10_007, "workers.api.error.subdomain_not_found"),
            },
            ("GET", ["services", name]) => {
                let tag = self.worker(name)?.migration_tag.clone();
                let script = json!({
                    "tag": "t", "tags": [], "migration_tag": tag, "last_deployed_from": "wrangler",
                });
                Ok(
                    json!({ "default_environment": { "environment": "production", "script": script } }),
                )
            }
            ("GET", ["workers", name]) => {
                let is_on = self.worker(name)?.is_on_workers_dev;
                Ok(
                    json!({ "name": name, "subdomain": { "enabled": is_on, "previews_enabled": false } }),
                )
            }
            ("POST", ["assets", "upload"]) => {
                let parts = call.parts();
                for part in &parts {
                    if STANDARD.decode(&part.content).is_err() {
                        return no(400, 10_021, "an asset isn't base64");
                    }
                }
                self.assets.extend(parts.into_iter().map(|part| part.name));
                Ok(json!({ "jwt": ASSETS }))
            }
            (_, ["scripts", name, rest @ ..]) => self.script(call, name, rest),
            _ => no(404, 7_003, "Could not route to this path"),
        }
    }

    fn worker(&mut self, name: &str) -> Result<&mut Worker, (u16, u32, String)> {
        let missing = || (404, 10_007, "This Worker does not exist on your account.".to_owned());
        self.workers.get_mut(name).ok_or_else(missing)
    }

    fn script(&mut self, call: &Call, name: &str, rest: &[&str]) -> Answer {
        let body = call.json();
        match (call.method.as_str(), rest) {
            ("PUT", []) => self.upload(call, name),
            ("POST", ["versions"]) => {
                self.worker(name)?;
                self.upload(call, name)
            }
            ("POST", ["assets-upload-session"]) => {
                let manifest = body["manifest"].as_object().into_iter().flatten();
                let hashes = manifest.filter_map(|(_, file)| file["hash"].as_str());
                let new: Vec<_> = hashes.filter(|hash| !self.assets.contains(*hash)).collect();
                let buckets = if new.is_empty() { json!([]) } else { json!([new]) };
                Ok(json!({ "jwt": ASSETS, "buckets": buckets }))
            }
            ("GET", ["secrets"]) => {
                let secrets = self.worker(name)?.secrets.keys();
                Ok(secrets.map(|name| json!({ "name": name, "type": "secret_text" })).collect())
            }
            ("GET", ["deployments"]) => {
                self.worker(name)?;
                let versions = json!([{ "version_id": "v", "percentage": 100 }]);
                Ok(json!({ "deployments": [{ "id": "d", "versions": versions }] }))
            }
            ("POST", ["deployments"]) => Ok(json!({ "id": "d" })),
            ("GET", ["settings"]) => {
                let bindings = self.worker(name)?.metadata["bindings"].clone();
                Ok(json!({ "bindings": bindings }))
            }
            ("PATCH", ["script-settings"]) => Ok(json!({})),
            ("POST", ["subdomain"]) => {
                let is_on = body["enabled"] == true;
                self.worker(name)?.is_on_workers_dev = is_on;
                Ok(json!({ "enabled": is_on, "previews_enabled": false }))
            }
            ("PUT", ["schedules"]) => {
                let crons = body.as_array().into_iter().flatten();
                let crons = crons.filter_map(|it| it["cron"].as_str().map(str::to_owned));
                self.worker(name)?.crons = crons.collect();
                Ok(json!({ "schedules": [] }))
            }
            ("POST", ["domains", "changeset"]) => {
                Ok(json!({ "added": [], "removed": [], "updated": [], "conflicting": [] }))
            }
            ("PUT", ["domains", "records"]) => {
                let origins = body["origins"].as_array().into_iter().flatten();
                let hosts = origins.filter_map(|it| it["hostname"].as_str().map(str::to_owned));
                self.worker(name)?.domains = hosts.collect();
                Ok(json!([]))
            }
            _ => no(404, 7_003, "Could not route to this path"),
        }
    }

    /// Takes a Worker's code and settings, if all that they name is there.
    fn upload(&mut self, call: &Call, name: &str) -> Answer {
        let mut parts: BTreeMap<_, _> =
            call.parts().into_iter().map(|part| (part.name.clone(), part)).collect();
        let metadata = parts.remove("metadata");
        let metadata: Value = metadata
            .and_then(|part| serde_json::from_slice(&part.content).ok())
            .unwrap_or_default();
        if !metadata["main_module"].as_str().is_some_and(|main| parts.contains_key(main)) {
            return no(400, 10_021, "No such module as the main one");
        }
        let bindings: Vec<_> = metadata["bindings"].as_array().cloned().unwrap_or_default();
        for binding in &bindings {
            let text = |name: &str| binding[name].as_str().unwrap_or_default().to_owned();
            if text("type") == "d1" && !self.databases.contains_key(&text("id")) {
                let words =
                    format!("binding {} of type d1 must have a valid `id` specified", text("name"));
                return no(400, 10_021, words);
            }
            if text("type") == "r2_bucket" && !self.buckets.contains(&text("bucket_name")) {
                return no(400, 10_085, "R2 bucket not found");
            }
        }
        let worker = self.workers.entry(name.to_owned()).or_default();
        let tag = &metadata["migrations"];
        if let Some(old) =
            tag["old_tag"].as_str().filter(|old| worker.migration_tag.as_deref() != Some(old))
        {
            return no(412, 10_079, format!("migration tag {old} isn't the newest"));
        }
        let keeps = metadata["keep_bindings"].as_array().into_iter().flatten();
        if !keeps.into_iter().any(|kind| kind == "secret_text") {
            worker.secrets.clear();
        }
        for binding in bindings.iter().filter(|binding| binding["type"] == "secret_text") {
            let text = |name: &str| binding[name].as_str().unwrap_or_default().to_owned();
            worker.secrets.insert(text("name"), text("text"));
        }
        if let Some(tag) = tag["new_tag"].as_str() {
            worker.migration_tag = Some(tag.to_owned());
        }
        worker.metadata = metadata;
        worker.modules = parts;
        worker.uploads += 1;
        let id = format!("eeeeeeee-0000-4000-8000-{:012}", worker.uploads);
        let script = json!({ "etag": "e" });
        Ok(json!({
            "id": id, "etag": "e", "deployment_id": id.replace('-', ""), "startup_time_ms": 20,
            "resources": { "script": script }, "metadata": { "has_preview": false },
        }))
    }
}
