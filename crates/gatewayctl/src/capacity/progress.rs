//! How it goes, while it goes: a line that changes on a terminal, a line a step elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

use crossterm::Command as _;
use crossterm::terminal::{Clear, ClearType};

use super::figures::Figures;
use super::plan::Step;
use crate::moments;
use crate::output::Output;

/// How often the line changes.
const EVERY: Duration = Duration::from_millis(500);

/// Who is told.
pub struct Progress {
    output: Output,
    is_live: bool,
    shown: Option<Instant>,
}

impl Progress {
    /// On standard error, for people.
    pub fn new(output: Output) -> Self {
        let is_live = io::stderr().is_terminal() && !output.is_json;
        Self { output, is_live, shown: None }
    }

    /// How a step goes, in the middle of it.
    pub fn tick(&mut self, (place, steps): (usize, &[Step]), figures: &Figures, now: Duration) {
        if !self.is_live || self.shown.is_some_and(|shown| shown.elapsed() < EVERY) {
            return;
        }
        let left = steps.last().map_or(Duration::ZERO, |last| last.until.saturating_sub(now));
        let line = format!(
            "step {} of {} · {} · {} s left at most",
            place + 1,
            steps.len(),
            in_words(figures),
            left.as_secs()
        );
        self.show(&line);
    }

    /// How a step went.
    pub fn step(&mut self, figures: &Figures) {
        self.end();
        self.output.note(&in_words(figures));
    }

    /// A line that is only true for a moment.
    pub fn show(&mut self, line: &str) {
        if !self.is_live {
            return;
        }
        let width = crossterm::terminal::size().map_or(80, |(columns, _)| usize::from(columns));
        let line: String = line.chars().take(width.saturating_sub(1)).collect();
        let mut text = format!("\r{line}");
        // Writing to memory doesn't fail, and where nobody sees it nothing is lost.
        let _ = Clear(ClearType::UntilNewLine).write_ansi(&mut text);
        let _ = io::stderr().write_all(text.as_bytes());
        self.shown = Some(Instant::now());
    }

    /// Takes the line away.
    pub fn end(&mut self) {
        if self.shown.take().is_some() {
            let mut text = "\r".to_owned();
            let _ = Clear(ClearType::UntilNewLine).write_ansi(&mut text);
            let _ = io::stderr().write_all(text.as_bytes());
        }
    }
}

fn in_words(figures: &Figures) -> String {
    let Figures { step, answered, failed, first_byte_ms, .. } = figures;
    let people = if step.people == 1 { "1 person" } else { &format!("{} people", step.people) };
    let wait = first_byte_ms.map_or(String::new(), |times| {
        let p95 = moments::milliseconds(i64::try_from(times.p95).unwrap_or(i64::MAX));
        format!(" · 95 % begin within {p95}")
    });
    format!("{people} · {answered} answered · {failed} failed{wait}")
}
