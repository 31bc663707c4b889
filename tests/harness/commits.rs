//! How often `SQLite` has committed to the objects' databases, by its own write-ahead logs.
//!
//! A log is a header of 32 bytes and frames: 24 bytes, then a page. A transaction's last frame has
//! the size of the database in its second word, all others have zero there; and each frame of the
//! log as it is now has the header's two salts. <https://www.sqlite.org/fileformat.html#walformat>

use std::path::Path;

/// The commits in the logs of all objects of the class below a state folder.
///
/// # Panics
/// When there is no log, or one that can't be read.
#[must_use]
pub fn commits(state: &Path, class: &str) -> usize {
    let folder = state.join("do").join(format!("organized-gateway-{class}"));
    let files = std::fs::read_dir(&folder).unwrap_or_else(|_| panic!("{}", folder.display()));
    let paths = files.map(|file| file.unwrap().path());
    let logs: Vec<_> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "sqlite-wal"))
        .filter(|path| path.file_stem().is_some_and(|stem| stem != "metadata"))
        .collect();
    assert!(!logs.is_empty(), "no object of {class} has written");
    logs.iter().map(|log| in_log(&std::fs::read(log).unwrap())).sum()
}

fn in_log(log: &[u8]) -> usize {
    let Some((header, frames)) = log.split_at_checked(32) else { return 0 };
    let (page, salts) = (word(&header[8..]), &header[16..24]);
    let frames = frames.chunks_exact(24 + page as usize);
    let current = frames.take_while(|frame| &frame[8..16] == salts);
    current.filter(|frame| word(&frame[4..]) != 0).count()
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(*bytes.first_chunk().expect("four bytes"))
}
