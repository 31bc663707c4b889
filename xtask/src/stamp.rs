//! Notes of what is already made, and from what: a stamp is a file that holds the inputs' hash.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use crate::workspace;

/// One thing that is made from inputs.
pub struct Stamp {
    file: PathBuf,
    inputs: String,
}

impl Stamp {
    /// A thing of this name, made from what has this hash.
    pub fn new(name: &str, inputs: String) -> Self {
        Self { file: workspace::tools().join("stamps").join(name), inputs }
    }

    /// Whether it was made from these inputs, and these outputs of it still exist.
    pub fn is_current(&self, outputs: &[PathBuf]) -> bool {
        std::fs::read_to_string(&self.file).is_ok_and(|text| text == self.inputs)
            && outputs.iter().all(|path| path.exists())
    }

    /// Notes that it is made.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn set(&self) -> Result<()> {
        workspace::write_whole(&self.file, &self.inputs)
    }
}

/// The hash of a text and of all files below these paths, names included, in a stable order.
///
/// # Errors
/// When a file can't be read. A path that doesn't exist counts as empty.
pub fn hash(text: &str, paths: &[PathBuf]) -> Result<String> {
    let mut digest = Sha256::new();
    digest.update(text);
    for path in paths.iter().filter(|path| path.exists()) {
        for entry in WalkDir::new(path).sort_by_file_name() {
            let entry = entry?;
            if entry.file_type().is_file() {
                add_file(&mut digest, entry.path())?;
            }
        }
    }
    Ok(digest.finalize().iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}

fn add_file(digest: &mut Sha256, path: &Path) -> Result<()> {
    let bytes = std::fs::read(path).with_context(|| format!("can't read {}", path.display()))?;
    digest.update(path.as_os_str().as_encoded_bytes());
    digest.update([0]);
    digest.update(bytes.len().to_le_bytes());
    digest.update(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::hash;

    #[test]
    fn a_hash_depends_on_the_text_the_names_and_the_contents() {
        let folder = tempfile::tempdir().unwrap();
        let paths = [folder.path().to_path_buf()];
        std::fs::write(folder.path().join("a"), "1").unwrap();
        let first = hash("x", &paths).unwrap();
        assert_eq!(first, hash("x", &paths).unwrap());
        assert_ne!(first, hash("y", &paths).unwrap());

        std::fs::write(folder.path().join("a"), "2").unwrap();
        let second = hash("x", &paths).unwrap();
        assert_ne!(first, second);

        std::fs::rename(folder.path().join("a"), folder.path().join("b")).unwrap();
        assert_ne!(second, hash("x", &paths).unwrap());
    }

    #[test]
    fn what_does_not_exist_counts_as_empty() {
        assert_eq!(hash("x", &[]).unwrap(), hash("x", &["/nowhere/at/all".into()]).unwrap());
    }
}
