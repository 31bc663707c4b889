//! The terminal while it is watched: taken whole, and given back as it was.

use std::io::{self, Write as _};

use crossterm::cursor::{Hide, MoveTo, Show};
use crossterm::terminal::{
    self, BeginSynchronizedUpdate, Clear, ClearType, DisableLineWrap, EnableLineWrap,
    EndSynchronizedUpdate, EnterAlternateScreen, LeaveAlternateScreen,
};
use crossterm::{Command, execute};

use super::frame::Picture;
use crate::failure::Failure;

/// The terminal, until it is dropped.
#[derive(Default)]
pub struct Screen {
    /// What stands there, which needn't be drawn again.
    shown: String,
}

impl Screen {
    /// Takes the terminal.
    ///
    /// # Errors
    /// Where it can't be had.
    pub fn open() -> Result<Self, Failure> {
        let refused = |error| Failure::output(&error);
        terminal::enable_raw_mode().map_err(refused)?;
        let screen = Self::default();
        execute!(io::stdout(), EnterAlternateScreen, Hide, DisableLineWrap).map_err(refused)?;
        Ok(screen)
    }

    /// The terminal may have moved things about: all is drawn again.
    pub fn forget(&mut self) {
        self.shown.clear();
    }

    /// Draws over what was there, in one piece: nothing is emptied before it is filled, so nothing flickers.
    ///
    /// # Errors
    /// Where it can't be written.
    pub fn draw(&mut self, picture: &mut Picture) -> Result<(), Failure> {
        let (width, height) = terminal::size().unwrap_or((80, 24));
        let mut text = String::new();
        ansi(&mut text, &BeginSynchronizedUpdate);
        ansi(&mut text, &MoveTo(0, 0));
        for (index, line) in picture.lines(width, height.into()).iter().enumerate() {
            text.push_str(if index == 0 { "" } else { "\r\n" });
            text.push_str(line);
            ansi(&mut text, &Clear(ClearType::UntilNewLine));
        }
        ansi(&mut text, &Clear(ClearType::FromCursorDown));
        ansi(&mut text, &EndSynchronizedUpdate);
        if text == self.shown {
            return Ok(());
        }
        self.shown.clone_from(&text);
        let mut out = io::stdout().lock();
        out.write_all(text.as_bytes())
            .and_then(|()| out.flush())
            .map_err(|error| Failure::output(&error))
    }
}

fn ansi(text: &mut String, command: &impl Command) {
    // Writing to memory doesn't fail.
    let _ = command.write_ansi(text);
}

impl Drop for Screen {
    fn drop(&mut self) {
        give_back();
    }
}

/// Leaves the terminal as it was.
pub fn give_back() {
    // A terminal that is gone needs nothing back.
    let _ = execute!(io::stdout(), EnableLineWrap, Show, LeaveAlternateScreen);
    let _ = terminal::disable_raw_mode();
}
