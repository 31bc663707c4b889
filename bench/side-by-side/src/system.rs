//! What Linux tells of processes: who belongs to whom, the processor time, the memory.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::time::Instant;

use nix::unistd::{SysconfVar, sysconf};

use crate::statistics::Spread;

/// A process, as its `stat` describes it.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    id: i32,
    parent: i32,
    /// User and system, in ticks of the clock.
    ticks: u64,
}

impl Stat {
    /// Reads `/proc/ID/stat`: <https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html>.
    fn parse(text: &str) -> Option<Self> {
        // The name is in parentheses, and may hold some itself.
        let (before, after) = text.rsplit_once(')')?;
        let (id, _name) = before.split_once(" (")?;
        let fields: Vec<&str> = after.split_ascii_whitespace().collect();
        let field = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            id: id.parse().ok()?,
            parent: fields.get(1)?.parse().ok()?,
            ticks: field(11)? + field(12)?,
        })
    }

    fn read(id: i32) -> Option<Self> {
        Self::parse(&std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?)
    }
}

/// A process and all that descend from it, itself first. Empty where it is gone.
pub fn family(root: i32) -> Vec<i32> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
    let all: Vec<Stat> = ids.filter_map(Stat::read).collect();
    family_in(&all, root)
}

fn family_in(all: &[Stat], root: i32) -> Vec<i32> {
    let mut found: Vec<i32> = all.iter().map(|it| it.id).filter(|id| *id == root).collect();
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|it| it.parent == parent).map(|it| it.id));
        next += 1;
    }
    found
}

/// The processor seconds that these processes have used so far, by their names.
pub fn processor_seconds(ids: &[i32]) -> BTreeMap<String, f64> {
    let ticks_a_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
    let mut sums = BTreeMap::new();
    for stat in ids.iter().filter_map(|id| Stat::read(*id)) {
        *sums.entry(program(stat.id)).or_insert(0.0) += stat.ticks as f64 / ticks_a_second;
    }
    sums
}

/// The program's file: `stat` has the name of its first thread.
fn program(id: i32) -> String {
    let path = std::fs::read_link(format!("/proc/{id}/exe")).unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Bytes of memory of these processes together: a member of their `status`, such as `VmRSS`, or the
/// highest since it was reset, `VmHWM`.
pub fn memory(ids: &[i32], member: &str) -> u64 {
    ids.iter()
        .filter_map(|id| std::fs::read_to_string(format!("/proc/{id}/status")).ok())
        .filter_map(|status| kilobytes(&status, member))
        .sum::<u64>()
        * 1024
}

fn kilobytes(status: &str, member: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(member)?.strip_prefix(':'))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

/// Lets `VmHWM` begin anew at what is used now.
pub fn reset_highest_memory(ids: &[i32]) {
    for id in ids {
        let _ = std::fs::write(format!("/proc/{id}/clear_refs"), "5");
    }
}

/// The machine that a run was on.
#[derive(Clone, Debug, serde::Deserialize, serde::Serialize)]
pub struct Machine {
    pub processor: String,
    pub cores: usize,
    pub memory_bytes: u64,
    pub kernel: String,
    /// Of the last minute, before the run: what else was going on.
    pub load_average: f64,
    /// Where the Workers keep their state.
    pub state_file_system: String,
    /// What one commit of a page waits for there, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fsync_ms: Option<f64>,
}

impl Machine {
    /// This machine, with its state in this folder.
    pub fn here(state: &Path) -> Self {
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        let processor = read("/proc/cpuinfo")
            .lines()
            .find_map(|line| line.strip_prefix("model name"))
            .map(|rest| rest.trim_start_matches(['\t', ' ', ':']).to_owned());
        let load = read("/proc/loadavg");
        Self {
            processor: processor.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory_bytes: kilobytes(&read("/proc/meminfo"), "MemTotal").unwrap_or(0) * 1024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            load_average: load.split(' ').next().and_then(|it| it.parse().ok()).unwrap_or(0.0),
            state_file_system: file_system(&read("/proc/mounts"), state)
                .unwrap_or_else(|| "unknown".to_owned()),
            fsync_ms: fsync(state).ok(),
        }
    }
}

/// How many milliseconds it takes until a page at a file's end is durable: the median of a hundred.
fn fsync(folder: &Path) -> std::io::Result<f64> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = Vec::new();
    for _ in 0..100 {
        let began = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed().as_secs_f64() * 1e3);
    }
    Ok(Spread::of(times).map_or(0.0, |spread| spread.median))
}

/// The type of the file system that holds a path: that of the longest mount point above it.
fn file_system(mounts: &str, path: &Path) -> Option<String> {
    let mounts = mounts.lines().filter_map(|line| {
        let mut words = line.split(' ').skip(1);
        Some((Path::new(words.next()?), words.next()?))
    });
    let above = mounts.filter(|(point, _)| path.starts_with(point));
    let (_, kind) = above.max_by_key(|(point, _)| point.components().count())?;
    Some(kind.to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Stat, family, family_in, file_system, kilobytes, processor_seconds};
    use std::path::Path;

    const STAT: &str = "4242 (a (b) c) S 7 4242 4242 0 -1 4194560 3200 0 12 0 151 49 0 0 20 0 11 0 \
                        77 1000 200 18446744073709551615 1 1 0 0 0 0 0 4096 0";

    #[test]
    fn a_name_may_hold_parentheses() {
        let expected = Stat { id: 4242, parent: 7, ticks: 200 };
        assert_eq!(Stat::parse(STAT), Some(expected));
        assert_eq!(Stat::parse("4242 (a"), None);
    }

    #[test]
    fn a_family_is_all_that_descend() {
        let process = |id, parent| Stat { id, parent, ticks: 0 };
        let all = [process(1, 0), process(5, 2), process(2, 1), process(3, 2), process(9, 1)];
        assert_eq!(family_in(&all, 2), [2, 5, 3]);
        assert_eq!(family_in(&all, 9), [9]);
        assert!(family_in(&all, 4).is_empty());
    }

    #[test]
    fn this_process_is_there_and_has_used_some_time() {
        let own = std::process::id().cast_signed();
        assert_eq!(family(own).first(), Some(&own));
        let used = processor_seconds(&[own]);
        assert!(used.keys().all(|name| name.starts_with("side_by_side-")), "{used:?}");
        assert_eq!(used.len(), 1);
    }

    #[test]
    fn a_member_of_a_status_is_found_by_its_whole_name() {
        let status = "VmHWM:\t    1200 kB\nVmRSS:\t     800 kB\n";
        assert_eq!(kilobytes(status, "VmRSS"), Some(800));
        assert_eq!(kilobytes(status, "Vm"), None);
    }

    #[test]
    fn the_nearest_mount_counts() {
        let mounts = "/dev/vda / ext4 rw 0 0\ntmpfs /dev/shm tmpfs rw 0 0\n";
        assert_eq!(file_system(mounts, Path::new("/dev/shm/x")).as_deref(), Some("tmpfs"));
        assert_eq!(file_system(mounts, Path::new("/work")).as_deref(), Some("ext4"));
    }
}
