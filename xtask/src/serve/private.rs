//! The state folder is its owner's alone: codes, emails and secrets are in it.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::sys::stat::{Mode, umask};
use walkdir::WalkDir;

/// What `serve` itself leaves in a folder. Another folder's files aren't ours to change.
const OURS: [&str; 4] = ["lock", "secrets.json", "runtime.json", "d1"];

/// Makes the folder, and keeps what is in it, and what this process and its children will make, from
/// other accounts.
///
/// # Errors
/// When the folder can't be made or changed.
pub fn keep(state: &Path) -> Result<()> {
    umask(Mode::from_bits_truncate(0o077));
    std::fs::create_dir_all(state)
        .with_context(|| format!("can't make the folder {}", state.display()))?;
    if is_ours(state)? {
        restrict(state)?;
    }
    Ok(())
}

/// Whether the folder is empty, or `serve` has used it before.
fn is_ours(state: &Path) -> Result<bool> {
    let is_empty = std::fs::read_dir(state)
        .with_context(|| format!("can't read the folder {}", state.display()))?
        .next()
        .is_none();
    Ok(is_empty || OURS.iter().any(|name| state.join(name).exists()))
}

fn restrict(state: &Path) -> Result<()> {
    // Links are left alone: what they lead to may be somebody else's.
    for entry in WalkDir::new(state).follow_links(false).follow_root_links(true) {
        let entry = entry.with_context(|| format!("can't look into {}", state.display()))?;
        let mode = match entry.file_type() {
            kind if kind.is_dir() => 0o700,
            kind if kind.is_file() => 0o600,
            _ => continue,
        };
        let found = entry.metadata()?.permissions().mode() & 0o777;
        if found & 0o077 != 0 {
            std::fs::set_permissions(entry.path(), Permissions::from_mode(mode)).with_context(
                || format!("can't keep {} from other accounts", entry.path().display()),
            )?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        path.metadata().unwrap().permissions().mode() & 0o777
    }

    fn open_to_all(path: &Path, mode: u32) {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_state_that_others_could_read_is_mended() {
        let folder = tempfile::tempdir().unwrap();
        let objects = folder.path().join("d1/objects");
        std::fs::create_dir_all(&objects).unwrap();
        let file = objects.join("a.sqlite");
        std::fs::write(&file, "codes").unwrap();
        for path in [folder.path(), &folder.path().join("d1"), &objects] {
            open_to_all(path, 0o755);
        }
        open_to_all(&file, 0o644);
        keep(folder.path()).unwrap();
        assert_eq!([mode(folder.path()), mode(&objects), mode(&file)], [0o700, 0o700, 0o600]);
    }

    #[test]
    fn what_is_made_from_then_on_is_private() {
        let parent = tempfile::tempdir().unwrap();
        let state = parent.path().join("new");
        keep(&state).unwrap();
        let file = state.join("made-later");
        std::fs::write(&file, "").unwrap();
        assert_eq!([mode(&state), mode(&file)], [0o700, 0o600]);
    }

    #[test]
    fn a_folder_of_something_else_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("thesis.txt");
        std::fs::write(&file, "").unwrap();
        open_to_all(folder.path(), 0o755);
        open_to_all(&file, 0o644);
        keep(folder.path()).unwrap();
        assert_eq!([mode(folder.path()), mode(&file)], [0o755, 0o644]);
    }
}
