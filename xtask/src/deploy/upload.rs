//! Sending the Worker, with the secrets that it doesn't have yet: both are live at once, or neither.

use std::fs::OpenOptions;
use std::io::{IsTerminal, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;
use serde::Deserialize;

use super::cloudflare::{self, Cloudflare, output_of};
use super::project::Project;
use super::safety;
use super::secrets::Values;
use crate::build::{self, Module, Variant};
use crate::progress::Progress;

/// A folder for one upload, which is gone afterwards.
pub struct Upload {
    folder: tempfile::TempDir,
}

/// What wrangler says of an upload, to programs.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Eq)]
pub struct Uploaded {
    pub version_id: Option<String>,
    /// Where the Worker answers, and when it runs by itself.
    #[serde(default)]
    targets: Vec<String>,
    bundle_size: Option<Size>,
}

/// How large the code is.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
pub struct Size {
    raw_bytes: u64,
    gzip_bytes: u64,
}

impl Uploaded {
    /// The URL under which people reach the Worker: a domain of one's own before workers.dev.
    pub fn url(&self) -> Option<String> {
        let hosts = self.targets.iter().filter_map(|target| {
            let (host, rest) = target.split_once(' ').unwrap_or((target, ""));
            let host = host.trim_start_matches("https://");
            let is_host = !host.ends_with(':') && host.contains('.');
            is_host.then(|| (!rest.contains("custom domain"), host.to_owned()))
        });
        hosts.min().map(|(_, host)| format!("https://{host}"))
    }

    /// The size, for people.
    pub fn size(&self) -> String {
        let Some(Size { raw_bytes, gzip_bytes }) = self.bundle_size else {
            return "of unknown size".to_owned();
        };
        format!("{} KB, {} KB gzipped", raw_bytes / 1000, gzip_bytes / 1000)
    }
}

/// Checks the build that is to be sent.
///
/// # Errors
/// When a part of it is missing, or it isn't one to be deployed.
pub fn check_build() -> Result<()> {
    for folder in Module::ALL.map(|module| Variant::Release.folder(module)) {
        let wasm = std::fs::read(folder.join("index_bg.wasm"));
        let Ok(wasm) = wasm else {
            bail!("{} is empty: leave --no-build out", folder.display());
        };
        if safety::injects_faults(&wasm) {
            bail!(
                "{} holds a build that panics on demand (--fault-injection). Run `cargo xtask build`.",
                folder.display()
            );
        }
    }
    if build::console::page().exists() {
        Ok(())
    } else {
        bail!("the console isn't built: leave --no-build out")
    }
}

impl Upload {
    /// Makes the folder, which only its owner can enter.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn new() -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("organized-gateway-").tempdir()?;
        Ok(Self { folder })
    }

    fn config(&self, project: &Project) -> Result<PathBuf> {
        let path = self.folder.path().join("wrangler.toml");
        std::fs::write(&path, project.for_a_built_worker()?)?;
        Ok(path)
    }

    fn report(&self) -> PathBuf {
        self.folder.path().join("report.jsonl")
    }

    /// Has wrangler make all that it would upload, without an account.
    ///
    /// # Errors
    /// When it refuses, or a module is missing in what it made.
    pub fn rehearse(&self, progress: &Progress, project: &Project) -> Result<Uploaded> {
        let bundle = self.folder.path().join("bundle");
        let mut command = cloudflare::wrangler()?;
        command.args(["deploy", "--dry-run", "--config"]).arg(self.config(project)?);
        command.arg("--outdir").arg(&bundle).env("WRANGLER_OUTPUT_FILE_PATH", self.report());
        let what = "wrangler deploy --dry-run";
        progress.waiting(what, || done(command, what))?;
        let modules = wasm_files(&bundle)?;
        if modules != Module::ALL.len() {
            bail!("wrangler would upload {modules} Wasm modules instead of {}", Module::ALL.len());
        }
        self.uploaded()
    }

    /// Uploads the Worker together with these secrets, and sets its addresses and its cron.
    ///
    /// On a terminal wrangler itself asks what it has to: whether another Worker's domain may be taken.
    ///
    /// # Errors
    /// When Cloudflare refuses.
    pub fn send(
        &self,
        progress: &Progress,
        cloudflare: &Cloudflare,
        (project, values): (&Project, &Values),
    ) -> Result<Uploaded> {
        let mut command = cloudflare.upload(&self.config(project)?)?;
        command.env("WRANGLER_OUTPUT_FILE_PATH", self.report());
        let pipe = if values.is_empty() { None } else { Some(self.pipe(values)?) };
        if let Some(pipe) = &pipe {
            command.arg("--secrets-file").arg(&pipe.path);
        }
        let what = "uploading the Worker";
        let sent = if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
            progress.say(&format!("  {what} …"));
            attended(command)
        } else {
            progress.waiting(what, || done(command, what))
        };
        if let Some(pipe) = pipe {
            pipe.close();
        }
        sent?;
        self.uploaded()
    }

    /// A named pipe that hands the secrets to whoever reads it first: they are on no disk.
    fn pipe(&self, values: &Values) -> Result<Pipe> {
        let path = self.folder.path().join("secrets.json");
        nix::unistd::mkfifo(&path, Mode::S_IRUSR | Mode::S_IWUSR)
            .context("can't make a pipe for the secrets")?;
        let values: std::collections::BTreeMap<_, _> =
            values.iter().map(|(name, value)| (name, value.expose())).collect();
        let text = serde_json::to_string(&values)?;
        let writer = {
            let path = path.clone();
            std::thread::spawn(move || {
                OpenOptions::new().write(true).open(path)?.write_all(text.as_bytes())
            })
        };
        Ok(Pipe { path, writer })
    }

    fn uploaded(&self) -> Result<Uploaded> {
        let text = std::fs::read_to_string(self.report()).context("wrangler wrote no report")?;
        uploaded(&text)
    }
}

/// The secrets on their way to wrangler.
struct Pipe {
    path: PathBuf,
    writer: JoinHandle<std::io::Result<()>>,
}

impl Pipe {
    /// Takes them back, if nobody has read them.
    fn close(self) {
        let flags = OFlag::O_NONBLOCK.bits();
        let reader = OpenOptions::new().read(true).custom_flags(flags).open(&self.path);
        // The writer waits for somebody who reads, even where wrangler came to an end before it did.
        while let Ok(mut reader) = reader.as_ref() {
            if self.writer.is_finished() {
                break;
            }
            let _ = reader.read(&mut [0; 4096]);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

fn done(command: Command, what: &str) -> Result<()> {
    output_of(command)?.map(drop).map_err(|said| cloudflare::failed(what, &said))
}

/// Runs wrangler with the terminal as its own.
fn attended(mut command: Command) -> Result<()> {
    command.stdin(Stdio::inherit()).env_remove("NO_COLOR").env_remove("FORCE_COLOR");
    let status = command.status().context("can't start wrangler")?;
    if status.success() {
        return Ok(());
    }
    bail!(
        "the Worker wasn't deployed: wrangler says above why. Mend it and run this again; what was made \
         until here is kept."
    )
}

fn wasm_files(folder: &Path) -> Result<usize> {
    let entries = std::fs::read_dir(folder)?.filter_map(Result::ok);
    Ok(entries.filter(|it| it.path().extension().is_some_and(|end| end == "wasm")).count())
}

/// The line of wrangler's report that is about the deploy.
fn uploaded(report: &str) -> Result<Uploaded> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "type")]
        kind: String,
        #[serde(flatten)]
        uploaded: Uploaded,
    }
    let mut lines = report.lines().filter_map(|line| serde_json::from_str::<Line>(line).ok());
    let deploy = lines.rfind(|line| line.kind == "deploy");
    Ok(deploy.context("wrangler's report says nothing of the deploy")?.uploaded)
}

#[cfg(test)]
mod tests {
    use domain::secret::Secret;

    use super::*;

    #[test]
    fn a_report_has_the_address_and_the_size() {
        let report = r#"{"type":"wrangler-session","version":1}
{"type":"deploy","version":1,"worker_name":"g","version_id":"v1","targets":["https://g.me.workers.dev","gateway.example.com (custom domain)","schedule: 17 3 * * *"],"bundle_size":{"raw_bytes":2000000,"gzip_bytes":900500}}"#;
        let uploaded = uploaded(report).unwrap();
        assert_eq!(uploaded.url().as_deref(), Some("https://gateway.example.com"));
        assert_eq!(uploaded.size(), "2000 KB, 900 KB gzipped");
        assert_eq!(uploaded.version_id.as_deref(), Some("v1"));
    }

    #[test]
    fn without_a_domain_the_address_is_workers_dev_or_none() {
        let at = |targets: &[&str]| {
            let targets = targets.iter().map(|target| (*target).to_owned()).collect();
            Uploaded { targets, ..Uploaded::default() }.url()
        };
        let address = at(&["schedule: * * * * *", "https://g.me.workers.dev"]);
        assert_eq!(address.as_deref(), Some("https://g.me.workers.dev"));
        assert_eq!(at(&["schedule: 1.5 3 * * *"]), None);
        assert!(uploaded("{\"type\":\"other\"}").is_err());
    }

    #[test]
    fn secrets_go_through_a_pipe_and_are_nowhere_afterwards() {
        let values = Values::from([("A".to_owned(), Secret::new("the-value-of-a".to_owned()))]);
        let upload = Upload::new().unwrap();
        let pipe = upload.pipe(&values).unwrap();
        let read = std::fs::read_to_string(&pipe.path).unwrap();
        assert_eq!(read, r#"{"A":"the-value-of-a"}"#);
        pipe.close();
        // Nobody reads this one.
        let upload = Upload::new().unwrap();
        let folder = upload.folder.path().to_owned();
        upload.pipe(&values).unwrap().close();
        drop(upload);
        assert!(!folder.exists());
    }
}
