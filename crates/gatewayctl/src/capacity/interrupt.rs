//! Ctrl-C, and what else asks a program to end: heard, and acted on when that does no harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use surroundings::Surroundings;

use crate::failure::{Failure, Kind};

/// Whether somebody has asked to end.
#[derive(Clone, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Hears signals from now on; none of them ends the program by itself any more.
    ///
    /// # Errors
    /// Where they can't be heard, for then nothing would be cleaned up.
    pub fn listen() -> Result<Self, Failure> {
        let interrupt = Self::default();
        #[cfg(unix)]
        let signals = [SIGINT, SIGTERM, signal_hook::consts::SIGHUP];
        #[cfg(not(unix))]
        let signals = [SIGINT, SIGTERM];
        for signal in signals {
            signal_hook::flag::register(signal, Arc::clone(&interrupt.0)).map_err(|error| {
                Failure::new(Kind::Failed, format!("Ctrl-C can't be heard here: {error}."))
            })?;
        }
        // Whoever watches is gone with the terminal, or with what started this.
        let told = interrupt.clone();
        Surroundings::now().when_gone(move || told.0.store(true, Ordering::Relaxed));
        Ok(interrupt)
    }

    /// One that no signal reaches.
    #[cfg(test)]
    pub fn of_nobody() -> Self {
        Self::default()
    }

    /// As if a signal had come.
    #[cfg(test)]
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a signal has come.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// From now on another signal is meant for something else.
    pub fn forget(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
