//! Looking for secrets in all that an OpenClaw has: its files, and the memory of its processes.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

use aho_corasick::{AhoCorasick, MatchKind};

use crate::openclaw::OpenClaw;

/// Of how many pages it is asked at once whether they are used.
const PAGES: usize = 1024;

/// The bytes of a page, and those of what the kernel says of one in `/proc/…/pagemap`.
const PAGE: usize = 4096;
const ENTRY: usize = 8;

/// So much of a secret's beginning is looked for; where that is, the rest is compared.
const HEAD: usize = 10;

/// Secrets to look for. V8 keeps a text with one byte a character or with two, so both are looked for.
pub struct Search {
    heads: AhoCorasick,
    /// The secrets by their heads, each with its number.
    by_head: Vec<Vec<(Vec<u8>, usize)>>,
}

/// What was looked through, and what was found where.
#[derive(Debug, Default)]
pub struct Findings {
    /// The number of files.
    pub files: usize,
    /// The number of processes.
    pub processes: usize,
    /// The bytes of their memory.
    pub bytes: usize,
    /// The place of each find, and the number of the secret in the order in which they were named.
    pub found: BTreeSet<(String, usize)>,
}

impl Search {
    /// A search for these.
    ///
    /// # Panics
    /// When they are too many.
    #[must_use]
    pub fn new(secrets: &[String]) -> Self {
        let mut by_head: BTreeMap<Vec<u8>, Vec<(Vec<u8>, usize)>> = BTreeMap::new();
        for (secret, number) in secrets.iter().zip(0..) {
            let wide: Vec<u8> = secret.encode_utf16().flat_map(u16::to_le_bytes).collect();
            for pattern in [secret.as_bytes().to_vec(), wide] {
                let head = pattern[..HEAD].to_vec();
                by_head.entry(head).or_default().push((pattern, number));
            }
        }
        let heads = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostFirst)
            .build(by_head.keys())
            .expect("a handful of beginnings");
        Self { heads, by_head: by_head.into_values().collect() }
    }

    /// Looks through all that this OpenClaw has.
    ///
    /// # Panics
    /// When something can't be read that is there.
    #[must_use]
    pub fn through(&self, openclaw: &OpenClaw) -> Findings {
        let mut findings = self.below(openclaw.folder());
        for process in openclaw.processes() {
            findings.processes += 1;
            self.memory(process, &mut findings);
        }
        findings
    }

    /// Looks through the files below a folder.
    #[must_use]
    pub fn below(&self, folder: &Path) -> Findings {
        let mut findings = Findings::default();
        self.files(folder, &mut findings);
        findings
    }

    fn files(&self, folder: &Path, findings: &mut Findings) {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() && !path.is_symlink() {
                self.files(&path, findings);
            } else if let Ok(bytes) = std::fs::read(&path) {
                findings.files += 1;
                self.note(&bytes, &path.display().to_string(), findings);
            }
        }
    }

    /// Reads what a process can write to, and what nothing else has a name for.
    fn memory(&self, process: u32, findings: &mut Findings) {
        let Ok(maps) = std::fs::read_to_string(format!("/proc/{process}/maps")) else { return };
        let open = |name: &str| {
            File::open(format!("/proc/{process}/{name}"))
                .expect("the memory of one's own children can be read")
        };
        let (memory, pages) = (open("mem"), open("pagemap"));
        let mut used = Vec::new();
        for (from, to) in maps.lines().filter_map(region) {
            let place = format!("process {process} at {from:x}");
            for (at, length) in runs(&pages, from, to) {
                used.resize(length, 0);
                let read = memory.read_at(&mut used, at).unwrap_or_default();
                findings.bytes += read;
                self.note(&used[..read], &place, findings);
            }
        }
    }

    fn note(&self, bytes: &[u8], place: &str, findings: &mut Findings) {
        for head in self.heads.find_iter(bytes) {
            let rest = &bytes[head.start()..];
            for (pattern, number) in &self.by_head[head.pattern().as_usize()] {
                if rest.starts_with(pattern) {
                    findings.found.insert((place.to_owned(), *number));
                }
            }
        }
    }
}

/// Where anything was ever written between these addresses: most of what V8 has for itself is empty. A run
/// is read as a whole, or what lies across two pieces of it would be missed.
fn runs(pages: &File, from: u64, to: u64) -> Vec<(u64, usize)> {
    let mut runs: Vec<(u64, usize)> = Vec::new();
    let mut entries = vec![0; PAGES * ENTRY];
    let mut at = from;
    while at < to {
        let offset = at / PAGE as u64 * ENTRY as u64;
        let read = pages.read_at(&mut entries, offset).unwrap_or_default();
        // The highest bits: in memory, or swapped out.
        for highest in entries[..read].iter().skip(ENTRY - 1).step_by(ENTRY) {
            if at < to && highest & 0xc0 != 0 {
                match runs.last_mut() {
                    Some((begin, length)) if *begin + *length as u64 == at => *length += PAGE,
                    _ => runs.push((at, PAGE)),
                }
            }
            at += PAGE as u64;
        }
        if read == 0 {
            break;
        }
    }
    runs
}

/// Where a line of `/proc/…/maps` says that there is memory to be read: not that of files which are only
/// read, and not the kernel's own.
fn region(line: &str) -> Option<(u64, u64)> {
    let mut words = line.split_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let name = words.nth(3).unwrap_or_default();
    let is_file = name.starts_with('/') && !rights.contains('w');
    if !rights.starts_with('r') || name.starts_with("[v") || is_file {
        return None;
    }
    let (from, to) = range.split_once('-')?;
    Some((u64::from_str_radix(from, 16).ok()?, u64::from_str_radix(to, 16).ok()?))
}
