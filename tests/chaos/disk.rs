//! A small file system that nobody but this process and its children sees, so that it can be filled.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use gateway_tests::workspace;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{getgid, getuid};

/// How much it holds: some times what a run writes.
const SIZE: &str = "size=256m";

/// The small file system. It goes with the processes that see it.
pub struct Disk {
    folder: PathBuf,
}

impl Disk {
    /// Mounts it, as root or in a user namespace. Has to come before the first thread.
    ///
    /// # Errors
    /// In words: where the system allows neither.
    pub fn mount() -> Result<Self, String> {
        let folder = workspace().join("target/chaos/disk");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let (user, group) = (getuid(), getgid());
        let own_mounts = unshare(CloneFlags::CLONE_NEWNS);
        own_mounts
            .or_else(|_refused| {
                unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
                // Whoever it was, it is root in there.
                let told = std::fs::write("/proc/self/setgroups", "deny")
                    .and_then(|()| std::fs::write("/proc/self/uid_map", format!("0 {user} 1")))
                    .and_then(|()| std::fs::write("/proc/self/gid_map", format!("0 {group} 1")));
                told.map_err(|_| nix::errno::Errno::EPERM)
            })
            .map_err(|error| format!("no namespace of its own: {error}"))?;
        let none: Option<&str> = None;
        mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none)
            .and_then(|()| {
                mount(Some("tmpfs"), &folder, Some("tmpfs"), MsFlags::empty(), Some(SIZE))
            })
            .map_err(|error| format!("no file system of its own: {error}"))?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Leaves no byte free; says how many there were.
    pub fn fill(&self) -> u64 {
        let mut ballast = File::create(self.ballast()).expect("a file on the small disk");
        let mut written = 0;
        for size in [1 << 20, 1 << 12, 1] {
            let piece = vec![0_u8; size];
            while let Ok(length @ 1..) = ballast.write(&piece) {
                written += length as u64;
            }
        }
        written
    }

    /// Gives it back.
    pub fn free(&self) {
        std::fs::remove_file(self.ballast()).expect("the ballast is there");
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}
