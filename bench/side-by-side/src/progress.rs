//! Shows how far a run is: a bar on a terminal, lines anywhere else. All of it goes to standard error.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// The steps of a run.
pub struct Progress {
    bar: ProgressBar,
    terminal: bool,
}

impl Progress {
    /// Of so many steps.
    pub fn new(steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target =
            if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = "{spinner} {bar:30} {pos}/{len} {elapsed} (about {eta} left) {wide_msg:.dim}";
        let style = ProgressStyle::with_template(style);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        bar.enable_steady_tick(Duration::from_millis(500));
        Self { bar, terminal }
    }

    /// Says what is being done.
    pub fn doing(&self, what: &str) {
        self.bar.set_message(what.to_owned());
    }

    /// One step is done, with this to tell.
    pub fn done(&self, what: &str) {
        self.bar.inc(1);
        if self.terminal {
            self.bar.println(format!("  {what}"));
        } else {
            eprintln!("  {}/{} {what}", self.bar.position(), self.bar.length().unwrap_or(0));
        }
    }

    /// Tells something that is no step.
    pub fn say(&self, what: &str) {
        if self.terminal { self.bar.println(what) } else { eprintln!("{what}") }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}
