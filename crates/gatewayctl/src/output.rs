//! What is printed, and how: for people or for programs, in colours or without, and safe to look at.

use std::io::{self, IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::{Attribute, Cell, CellAlignment, Color, ContentArrangement, Row, Table};
use domain::printable::{printable, printable_json};
use serde::Serialize;

use crate::failure::{Failure, Kind};

/// How this command prints.
#[derive(Clone, Copy, Debug)]
pub struct Output {
    /// For programs.
    pub is_json: bool,
    /// Colours may be used on the standard output.
    pub is_coloured: bool,
    /// Columns of the terminal, where there is one.
    pub width: Option<u16>,
}

/// What something says at a glance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// Nothing in particular.
    Plain,
    /// It is well.
    Good,
    /// It may need somebody.
    Warning,
    /// It needs somebody.
    Bad,
    /// It matters little.
    Faint,
    /// A heading.
    Strong,
}

impl Output {
    /// As the surroundings want it.
    pub fn new(is_json: bool) -> Self {
        let is_terminal = io::stdout().is_terminal();
        let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
            || std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let size = is_terminal.then(crossterm::terminal::size).and_then(Result::ok);
        let width = size.map(|(columns, _)| columns).filter(|columns| *columns > 0);
        Self { is_json, is_coloured: is_terminal && !is_plain, width }
    }

    /// A line for people, or nothing for programs.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn line(self, text: &str) -> Result<(), Failure> {
        if self.is_json { Ok(()) } else { print(&format!("{text}\n")) }
    }

    /// A remark beside the output, for people.
    pub fn note(self, text: &str) {
        if !self.is_json {
            // Where nobody hears it, nothing is lost.
            let _ = writeln!(io::stderr(), "{}", clean(text));
        }
    }

    /// A table for people.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn table(self, head: &[&str], rows: Vec<Vec<Cell>>) -> Result<(), Failure> {
        let mut table = table(head, self.width);
        if self.is_coloured {
            table.enforce_styling();
        }
        table.add_rows(rows);
        pad(&mut table);
        let lines = table.lines().map(|line| line.trim_end().to_owned() + "\n");
        print(&lines.collect::<String>())
    }

    /// A text in a tone, where colours may be used.
    pub fn toned(self, text: &str, tone: Tone) -> String {
        let text = clean(text);
        if !self.is_coloured || tone == Tone::Plain {
            return text;
        }
        let style = tone.style();
        format!("{style}{text}{style:#}")
    }
}

/// How far something is: one line on a terminal, written anew each time; nothing elsewhere.
pub struct Progress {
    what: &'static str,
    done: usize,
    total: usize,
    is_shown: bool,
}

impl Progress {
    /// At the beginning of so many steps.
    pub fn new(output: Output, what: &'static str, total: usize) -> Self {
        let is_shown = !output.is_json && io::stderr().is_terminal();
        let progress = Self { what, done: 0, total, is_shown };
        progress.show();
        progress
    }

    /// One step further.
    pub fn advance(&mut self) {
        self.done += 1;
        self.show();
    }

    /// How many steps were done.
    pub fn done(&self) -> usize {
        self.done
    }

    fn show(&self) {
        if self.is_shown {
            let Self { what, done, total, .. } = self;
            // Where nobody sees it, nothing is lost.
            let _ = write!(io::stderr(), "\r\x1b[K  {done} of {total} {what}");
        }
    }
}

/// What it showed is gone when something else is printed.
impl Drop for Progress {
    fn drop(&mut self) {
        if self.is_shown {
            let _ = write!(io::stderr(), "\r\x1b[K");
        }
    }
}

/// What programs get: one line of JSON.
///
/// # Errors
/// Where it can't be written.
pub fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string(value)
        .map_err(|error| Failure::new(Kind::Failed, error.to_string()))?;
    print(&format!("{}\n", printable_json(&text)))
}

/// Writes it all, at once.
///
/// # Errors
/// Where it can't be written.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| Failure::output(&e))
}

/// A table without lines, as wide as its content, or as the terminal.
pub fn table(head: &[&str], width: Option<u16>) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING).force_no_tty();
    match width {
        Some(width) => {
            table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
        }
        None => {
            table.set_content_arrangement(ContentArrangement::Disabled);
        }
    }
    table.set_truncation_indicator("…");
    if !head.is_empty() {
        let head = head.iter().map(|name| Cell::new(name).add_attribute(Attribute::Bold));
        table.set_header(Row::from(head.collect::<Vec<_>>()));
    }
    pad(&mut table);
    table
}

/// Two spaces between the columns that there are, and none at the edge.
pub fn pad(table: &mut Table) {
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
}

/// A text in a table.
pub fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new(clean(text.as_ref()))
}

/// The same, where it may be missing.
pub fn maybe(text: Option<&String>) -> Cell {
    cell(text.map_or("", String::as_str))
}

/// A number in a table.
pub fn number(number: u64) -> Cell {
    Cell::new(crate::moments::number(number)).set_alignment(CellAlignment::Right)
}

/// A text in a tone.
pub fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
    let cell = cell(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Warning => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
        Tone::Faint => cell.add_attribute(Attribute::Dim),
        Tone::Strong => cell.add_attribute(Attribute::Bold),
    }
}

impl Tone {
    /// As the terminal knows it.
    pub fn style(self) -> Style {
        match self {
            Self::Plain => Style::new(),
            Self::Good => AnsiColor::Green.on_default(),
            Self::Warning => AnsiColor::Yellow.on_default(),
            Self::Bad => AnsiColor::Red.on_default().bold(),
            Self::Faint => Style::new().dimmed(),
            Self::Strong => Style::new().bold(),
        }
    }
}

/// A text that does nothing to a terminal: names and codes come from whoever sends them. A tab, which
/// would tear a table's columns apart, is a blank.
pub fn clean(text: &str) -> String {
    printable(text).replace('\t', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(width: Option<u16>) -> Vec<String> {
        let mut table = table(&["USER_ID", "REQUESTS", "WHY"], width);
        table.add_row(vec![cell("ada"), number(1_234), cell("The agent can't be reached.")]);
        table.add_row(vec![cell("李"), number(7), cell("")]);
        table.lines().map(|line| line.trim_end().to_owned()).collect()
    }

    #[test]
    fn columns_stand_below_each_other() {
        assert_eq!(
            lines(None),
            [
                "USER_ID  REQUESTS  WHY",
                "ada         1,234  The agent can't be reached.",
                "李              7",
            ]
        );
    }

    #[test]
    fn a_narrow_terminal_wraps_the_words() {
        let lines = lines(Some(36));
        assert!(
            lines.len() > 3 && lines.iter().all(|line| line.chars().count() <= 36),
            "{lines:?}"
        );
    }

    #[test]
    fn nothing_that_is_printed_commands_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\u{202e}c\r\nd"), "a\u{fffd}[2Jb\u{fffd}c\u{fffd}\nd");
    }

    #[test]
    fn colours_are_for_terminals() {
        let mut output = Output { is_json: false, is_coloured: false, width: None };
        assert_eq!(output.toned("x", Tone::Bad), "x");
        output.is_coloured = true;
        assert!(output.toned("x", Tone::Bad).starts_with("\x1b["));
    }
}
