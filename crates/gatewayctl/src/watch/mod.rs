//! `watch`: the room, again and again: a picture on a terminal, lines elsewhere.

mod frame;
mod screen;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, TryRecvError};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use serde_json::Value;
use surroundings::Surroundings;

use crate::api::Overview;
use crate::arguments::Watch;
use crate::client::{Client, Question};
use crate::commands::read;
use crate::failure::{Failure, Kind};
use crate::output::{Output, print_json};
use frame::{Picture, plain};
use screen::Screen;

/// How soon a key is answered, and the age of what is shown counted on.
const TICK: Duration = Duration::from_millis(250);

/// Watches until somebody has seen enough.
///
/// # Errors
/// Where the first look fails, or a later one for good.
pub fn run(client: Client, options: &Watch, output: Output) -> Result<(), Failure> {
    let client = client.impatient();
    let surroundings = Surroundings::now();
    let is_live = std::io::stdout().is_terminal() && std::io::stdin().is_terminal();
    if is_live && !output.is_json {
        return live(client, options, output);
    }
    surroundings.when_gone(|| std::process::exit(0));
    lines(&client, options, output)
}

fn look(client: &Client) -> Result<Value, Failure> {
    let question = Question::get(&["operator", "api", "overview"]);
    client.json(&question.with(&[("minutes", "15")]))
}

/// Whether looking again may help.
fn may_pass(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::Unreachable | Kind::Busy)
        || failure.status.is_some_and(|status| status >= 500)
}

fn lines(client: &Client, options: &Watch, output: Output) -> Result<(), Failure> {
    let mut was_seen = false;
    let mut looks = 0;
    loop {
        match look(client) {
            Ok(value) if output.is_json => print_json(&value)?,
            Ok(value) => {
                let overview: Overview = read(&value)?;
                plain(&overview).iter().try_for_each(|line| output.line(line))?;
            }
            Err(failure) if was_seen && may_pass(&failure) => {
                eprintln(&failure, output.is_json);
            }
            Err(failure) => return Err(failure),
        }
        was_seen = true;
        looks += 1;
        if options.times.is_some_and(|times| looks >= times) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_secs(options.every));
    }
}

fn eprintln(failure: &Failure, is_json: bool) {
    use std::io::Write as _;
    let text = if is_json { failure.to_json().to_string() } else { failure.message.clone() };
    // Where nobody hears it, the next look may be better.
    let _ = writeln!(std::io::stderr(), "{}", crate::output::clean(&text));
}

fn live(client: Client, options: &Watch, output: Output) -> Result<(), Failure> {
    let ended = end_on_signals();
    leave_in_any_case(&ended);
    let url = client.base().text();
    let every = Duration::from_secs(options.every);
    let looks = look_again_and_again(client, every);
    let mut left = options.times;
    // The first look comes before the picture, so that what is wrong is said on an ordinary screen.
    let first = looks.recv().unwrap_or_else(|_| Err(gone()))?;
    let mut picture = Picture {
        url,
        every: options.every,
        is_coloured: output.is_coloured,
        overview: read(&first)?,
        seen: Instant::now(),
        problem: None,
        scroll: 0,
    };
    let mut screen = Screen::open()?;
    loop {
        screen.draw(&mut picture)?;
        if left == Some(1) || ended.load(Ordering::Relaxed) {
            return Ok(());
        }
        if event::poll(TICK).map_err(|error| Failure::output(&error))? {
            let event = event::read().map_err(|error| Failure::output(&error))?;
            if matches!(event, Event::Resize(..)) {
                screen.forget();
            }
            if is_over(&event, &mut picture) {
                return Ok(());
            }
        }
        match looks.try_recv() {
            Ok(Ok(value)) => {
                picture.overview = read(&value)?;
                (picture.seen, picture.problem) = (Instant::now(), None);
                left = left.map(|left| left.saturating_sub(1));
            }
            Ok(Err(failure)) if may_pass(&failure) => picture.problem = Some(failure.message),
            Ok(Err(failure)) => return Err(failure),
            Err(TryRecvError::Empty) => {}
            Err(TryRecvError::Disconnected) => return Err(gone()),
        }
    }
}

fn gone() -> Failure {
    Failure::new(Kind::Failed, "Looking has ended by itself.")
}

/// Looks on a thread of its own, so that keys are answered while the gateway is slow.
fn look_again_and_again(client: Client, every: Duration) -> Receiver<Result<Value, Failure>> {
    let (sender, looks) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        while sender.send(look(&client)).is_ok() {
            std::thread::sleep(every);
        }
    });
    looks
}

/// What was pressed, and whether it ends the watch.
fn is_over(event: &Event, picture: &mut Picture) -> bool {
    let Event::Key(KeyEvent { code, modifiers, kind, .. }) = event else { return false };
    if *kind == KeyEventKind::Release {
        return false;
    }
    let has_control = modifiers.contains(KeyModifiers::CONTROL);
    match code {
        KeyCode::Char('c' | 'd') if has_control => return true,
        KeyCode::Char('q') | KeyCode::Esc => return true,
        KeyCode::Up | KeyCode::Char('k') => picture.scroll = picture.scroll.saturating_sub(1),
        KeyCode::Down | KeyCode::Char('j') => picture.scroll += 1,
        KeyCode::PageUp => picture.scroll = picture.scroll.saturating_sub(20),
        KeyCode::PageDown | KeyCode::Char(' ') => picture.scroll += 20,
        KeyCode::Home => picture.scroll = 0,
        KeyCode::End => picture.scroll = usize::MAX,
        _ => {}
    }
    false
}

/// Ends the program where the loop can't: a terminal that is gone answers each read at once, with nothing,
/// and what waits for keys there waits for ever, at a whole core.
fn leave_in_any_case(ended: &Arc<AtomicBool>) {
    let (surroundings, ended) = (Surroundings::now(), Arc::clone(ended));
    std::thread::spawn(move || {
        while !surroundings.are_gone() && !ended.load(Ordering::Relaxed) {
            std::thread::sleep(TICK);
        }
        ended.store(true, Ordering::Relaxed);
        // Time for the loop to hear it, which it does where the terminal is still there.
        std::thread::sleep(4 * TICK);
        screen::give_back();
        std::process::exit(0);
    });
}

/// A signal ends the watch as `q` does, so that the terminal is left as it was.
fn end_on_signals() -> Arc<AtomicBool> {
    let ended = Arc::new(AtomicBool::new(false));
    #[cfg(unix)]
    for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP] {
        // Without it, the terminal has to be mended with `reset`.
        let _ = signal_hook::flag::register(signal, Arc::clone(&ended));
    }
    ended
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_looked_at_again() {
        let of = |kind, status| Failure { status, ..Failure::new(kind, "") };
        assert!(may_pass(&of(Kind::Unreachable, None)));
        assert!(may_pass(&of(Kind::Busy, Some(503))) && may_pass(&of(Kind::Failed, Some(500))));
        assert!(!may_pass(&of(Kind::NotAllowed, Some(401))));
        assert!(!may_pass(&of(Kind::Failed, None)));
    }
}
