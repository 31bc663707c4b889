//! The file that remembers which gateway is meant and what it is shown: for its owner's eyes alone.

use std::path::{Path, PathBuf};

use domain::secret::Secret;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Kind};
use crate::files::{folder_of, write_privately};

/// What `gatewayctl login` keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// The gateway's URL.
    pub url: String,
    /// The operator's token.
    pub token: Option<Secret<String>>,
    /// An Access service token's id and secret.
    pub access: Option<(Secret<String>, Secret<String>)>,
}

/// The file's members.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Written {
    url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_client_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_client_secret: Option<String>,
}

/// Where the file is, unless somebody names another: in `XDG_CONFIG_HOME`, else in `~/.config`.
pub fn usual_path() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    let home = variable("XDG_CONFIG_HOME").or_else(|| variable("APPDATA")).map(PathBuf::from);
    let home = home.or_else(|| Some(std::env::home_dir()?.join(".config")))?;
    Some(home.join("organized-gateway").join("config.toml"))
}

impl Profile {
    /// Reads the file; nothing where there is none.
    ///
    /// # Errors
    /// Where others may read it, or it isn't what `login` writes.
    pub fn read(path: &Path) -> Result<Option<Self>, Failure> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Failure::file(path, "read", &error)),
        };
        check_rights(path)?;
        // What the parser says may repeat a line, and a secret with it.
        let written: Written = toml::from_str(&text).map_err(|_| {
            let message = format!("{} isn't what `gatewayctl login` writes.", path.display());
            Failure::new(Kind::Failed, message).next("Sign in again: gatewayctl login")
        })?;
        let access = written.access_client_id.zip(written.access_client_secret);
        Ok(Some(Self {
            url: written.url,
            token: written.token.map(Secret::new),
            access: access.map(|(id, secret)| (Secret::new(id), Secret::new(secret))),
        }))
    }

    /// Writes the file whole, for its owner alone.
    ///
    /// # Errors
    /// Where the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), Failure> {
        let refused = |error: std::io::Error| Failure::file(path, "written", &error);
        std::fs::create_dir_all(folder_of(path)).map_err(refused)?;
        let access = self.access.as_ref();
        let written = Written {
            url: self.url.clone(),
            token: self.token.as_ref().map(|token| token.expose().clone()),
            access_client_id: access.map(|(id, _)| id.expose().clone()),
            access_client_secret: access.map(|(_, secret)| secret.expose().clone()),
        };
        let text = toml::to_string(&written)
            .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
        write_privately(path, &text).map_err(refused)
    }
}

#[cfg(unix)]
fn check_rights(path: &Path) -> Result<(), Failure> {
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(path).map_err(|error| Failure::file(path, "read", &error))?;
    let mode = mode.permissions().mode() & 0o777;
    let others = mode & 0o077;
    if others == 0 {
        return Ok(());
    }
    let message = format!("Others on this machine can read {} ({mode:03o}).", path.display());
    Err(Failure::new(Kind::NotAllowed, message).next(format!(
        "Take that away with `chmod 600 {}`. If others may have read it, change the token too.",
        path.display()
    )))
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "elsewhere the profile's folder is its owner's")]
fn check_rights(_path: &Path) -> Result<(), Failure> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        Profile {
            url: "https://gw.example.com".to_owned(),
            token: Some(Secret::new("quote\" and \\ in it".to_owned())),
            access: Some((Secret::new("id.access".to_owned()), Secret::new("hush".to_owned()))),
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/config.toml");
        assert_eq!(Profile::read(&path).unwrap(), None);
        profile().write(&path).unwrap();
        assert_eq!(Profile::read(&path).unwrap(), Some(profile()));
        let other = Profile { token: None, access: None, ..profile() };
        other.write(&path).unwrap();
        assert_eq!(Profile::read(&path).unwrap(), Some(other));
        assert!(!format!("{:?}", profile()).contains("hush"));
    }

    #[cfg(unix)]
    #[test]
    fn it_is_its_owner_s_alone() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        profile().write(&path).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Profile::read(&path).unwrap_err();
        assert_eq!(refused.kind, Kind::NotAllowed);
        assert!(refused.to_string().contains("chmod 600"), "{refused}");
    }

    #[test]
    fn what_is_broken_is_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        profile().write(&path).unwrap();
        std::fs::write(&path, "token = \"hush\nurl").unwrap();
        let refused = Profile::read(&path).unwrap_err();
        assert!(!refused.to_string().contains("hush"), "{refused}");
    }
}
