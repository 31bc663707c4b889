//! Files that are there whole or not at all.

use std::io::{self, Write as _};
use std::path::Path;

/// The folder that a file is in.
pub fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file that is its owner's alone from the beginning.
///
/// # Errors
/// Where the disk refuses.
pub fn write_privately(path: &Path, content: impl AsRef<[u8]>) -> io::Result<()> {
    let mut file = tempfile::NamedTempFile::new_in(folder_of(path))?;
    file.write_all(content.as_ref())?;
    persist(file, path)
}

/// Gives a file its name, once what is in it is on the disk.
///
/// # Errors
/// Where the disk refuses; what had the name before is left as it was.
pub fn persist(file: tempfile::NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map(drop).map_err(|error| error.error)
}
