//! Whether the terminal and the parent that a program was started from are still there.
//!
//! A program that runs for long asks again and again, and ends when they are gone: a signal may be
//! ignored or never come, and a terminal that is gone answers each read at once, with nothing.

use std::io::IsTerminal;
use std::time::Duration;

/// How often a program asks.
pub const PAUSE: Duration = Duration::from_millis(500);

/// What a program was started from.
#[derive(Clone, Copy, Debug)]
pub struct Surroundings {
    /// Its process; 0 where that can't be known.
    parent: u32,
    has_terminal: bool,
}

impl Surroundings {
    /// As they are now, at the program's start.
    #[must_use]
    pub fn now() -> Self {
        Self { parent: parent(), has_terminal: std::io::stdin().is_terminal() }
    }

    /// Whether the parent has ended, or the terminal of the standard input has.
    #[must_use]
    pub fn are_gone(&self) -> bool {
        self.parent != parent() || (self.has_terminal && !std::io::stdin().is_terminal())
    }

    /// Waits on a thread of its own until they are gone, and does this then.
    pub fn when_gone(self, leave: impl FnOnce() + Send + 'static) {
        std::thread::spawn(move || {
            while !self.are_gone() {
                std::thread::sleep(PAUSE);
            }
            leave();
        });
    }
}

#[cfg(unix)]
fn parent() -> u32 {
    std::os::unix::process::parent_id()
}

#[cfg(not(unix))]
fn parent() -> u32 {
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_is_not_gone_and_another_parent_is_another() {
        let now = Surroundings::now();
        assert!(!now.are_gone());
        let before = Surroundings { parent: now.parent + 1, ..now };
        assert!(before.are_gone());
    }
}
