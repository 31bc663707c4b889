//! A fork of this repository, in which its commands are run.
//!
//! It has what git would have given it, as it is now, and this clone's builds and Node packages: another
//! build for each fork would take minutes.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::ctl::Ctl;
use crate::{Cloudflare, cloudflare, serve, workspace};

/// What is never in git and takes long to make.
const MADE: [&str; 4] = ["build", "build-office", "build-console", "node_modules"];

/// A folder with the repository in it.
pub struct Fork {
    folder: tempfile::TempDir,
}

impl Fork {
    /// With the files that a deploy reads, as they are here.
    ///
    /// # Panics
    /// When the disk refuses.
    #[must_use]
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["src", "migrations", "xtask"].iter().chain(&MADE) {
            symlink(workspace().join(name), folder.path().join(name)).unwrap();
        }
        let fork = Self { folder };
        std::fs::copy(workspace().join("wrangler.toml"), fork.path().join("wrangler.toml"))
            .unwrap();
        fork
    }

    /// As `git clone` makes it.
    ///
    /// # Panics
    /// When git can't.
    #[must_use]
    pub fn cloned() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut git = Command::new("git");
        git.args(["clone", "--quiet", "--no-hardlinks"]).arg(workspace()).arg(folder.path());
        assert!(git.status().unwrap().success(), "git clone");
        for name in MADE {
            symlink(workspace().join(name), folder.path().join(name)).unwrap();
        }
        Self { folder }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file of it.
    ///
    /// # Panics
    /// When there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path().join(name)).unwrap()
    }

    /// Writes into a file of it what somebody would type there.
    ///
    /// # Panics
    /// When `old` isn't in it.
    pub fn edit(&self, name: &str, old: &str, new: &str) {
        let text = self.read(name);
        assert!(text.contains(old), "{old} in {name}");
        std::fs::write(self.path().join(name), text.replacen(old, new, 1)).unwrap();
    }

    /// A file of secrets that only its owner can read.
    ///
    /// # Panics
    /// When the disk refuses.
    #[must_use]
    pub fn secrets(&self, text: &str) -> String {
        use std::os::unix::fs::PermissionsExt;
        let path = self.path().join("secrets.env");
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path.display().to_string()
    }

    /// `cargo xtask` in it, by somebody without an account.
    #[must_use]
    pub fn xtask(&self, arguments: &[&str]) -> Ctl {
        let command = Ctl::of(serve::xtask().into(), arguments);
        let folder = self.path().display().to_string();
        // Nobody's sign-in is found, and none is kept.
        let command = command.env("XTASK_WORKSPACE", &folder).env("HOME", &folder);
        command.env("XDG_CONFIG_HOME", &folder).within(self.path()).patience(Duration::from_mins(4))
    }
}

impl Default for Fork {
    fn default() -> Self {
        Self::new()
    }
}

impl Ctl {
    /// As somebody who is signed in to the account.
    #[must_use]
    pub fn with_account(self, cloudflare: &Cloudflare) -> Self {
        self.env("CLOUDFLARE_API_BASE_URL", cloudflare.url())
            .env("CLOUDFLARE_API_TOKEN", cloudflare::TOKEN)
    }
}
