//! The file that OpenClaw reads handles from: a JSON object, each by its USER_ID.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write as _};
use std::path::{Path, PathBuf};

use domain::identifiers::UserId;
use domain::secret::Secret;

use super::settings;
use crate::failure::{Failure, Kind};

/// Its name; it is beside openclaw.json.
const NAME: &str = "organized-gateway-handles.json";

/// Everybody's handle, as it is on the disk.
pub struct Handles {
    path: PathBuf,
    by_user: BTreeMap<String, Secret<String>>,
    /// Whether others may read the file, in which case OpenClaw won't.
    is_open: bool,
}

impl Handles {
    /// Where the file is, by that of openclaw.json.
    pub fn path_beside(settings: &Path) -> PathBuf {
        settings.with_file_name(NAME)
    }

    /// Reads the file; empty where there is none yet.
    ///
    /// # Errors
    /// Where it can't be read, or is something else.
    pub fn read(path: PathBuf) -> Result<Self, Failure> {
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == ErrorKind::NotFound => "{}".to_owned(),
            Err(error) => return Err(Failure::file(&path, "read", &error)),
            Ok(text) => text,
        };
        let by_user: BTreeMap<String, String> = serde_json::from_str(&text).map_err(|_| {
            let message = format!("{} isn't a list of handles.", path.display());
            Failure::new(Kind::Failed, message)
                .next("Move it away: `apply` makes it anew, with new handles.")
        })?;
        let by_user = by_user.into_iter().map(|(user, handle)| (user, Secret::new(handle)));
        Ok(Self { is_open: is_open(&path), path, by_user: by_user.collect() })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether somebody has one.
    pub fn has(&self, user_id: &UserId) -> bool {
        self.by_user.contains_key(user_id.as_str())
    }

    /// Keeps a handle.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn keep(&mut self, user_id: &UserId, handle: Secret<String>) -> Result<(), Failure> {
        self.by_user.insert(user_id.to_string(), handle);
        self.write()
    }

    /// Forgets an agent's handle.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn forget(&mut self, agent: &str) -> Result<(), Failure> {
        match self.by_user.remove(settings::owner(agent)) {
            Some(_) => self.write(),
            None => Ok(()),
        }
    }

    /// Makes the file its owner's alone, and removes what a run left that was killed. Whether it wasn't its
    /// owner's.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn close(&mut self) -> Result<bool, Failure> {
        remove(&new(&self.path)).map_err(|error| Failure::file(&self.path, "written", &error))?;
        if !self.is_open {
            return Ok(false);
        }
        self.write()?;
        Ok(true)
    }

    fn write(&mut self) -> Result<(), Failure> {
        let exposed: BTreeMap<&str, &str> = self
            .by_user
            .iter()
            .map(|(user, handle)| (user.as_str(), handle.expose().as_str()))
            .collect();
        let text = serde_json::to_string_pretty(&exposed)
            .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        replace(&self.path, &(text + "\n"))
            .map_err(|error| Failure::file(&self.path, "written", &error))?;
        self.is_open = false;
        Ok(())
    }
}

/// Replaces the file in one step. What is written first always has the same name, so that whoever is killed
/// meanwhile leaves no handles behind for good.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = new(path);
    remove(&new)?;
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

fn new(path: &Path) -> PathBuf {
    path.with_extension("json.new")
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(unix)]
fn is_open(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    std::fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open(_path: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_kept_and_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = Handles::path_beside(&folder.path().join("openclaw.json"));
        let ada = UserId::parse("ada").unwrap();
        let mut handles = Handles::read(path.clone()).unwrap();
        assert!(!handles.has(&ada));
        handles.keep(&ada, Secret::new("ogr_ada_x".to_owned())).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\n  \"ada\": \"ogr_ada_x\"\n}\n");
        let mut handles = Handles::read(path.clone()).unwrap();
        assert!(handles.has(&ada) && !handles.close().unwrap());
        let left = path.with_extension("json.new");
        std::fs::write(&left, "{").unwrap();
        assert!(!handles.close().unwrap() && !left.exists());
        handles.forget("u-ada").unwrap();
        assert!(!left.exists());
        assert!(!Handles::read(path).unwrap().has(&ada));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_can_read_is_closed() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("handles.json");
        std::fs::write(&path, "{}").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).unwrap();
        let mut handles = Handles::read(path.clone()).unwrap();
        assert!(handles.close().unwrap());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        std::fs::write(&path, "[]").unwrap();
        assert!(Handles::read(path).err().unwrap().message.contains("isn't a list of handles"));
    }
}
