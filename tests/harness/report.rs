//! What is told of a test that failed: where, why, and what its gateways said last.

use std::cell::RefCell;
use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, PanicHookInfo};
use std::sync::{Arc, Mutex};

use futures::FutureExt;

/// How many of a gateway's last lines are told.
const LINES: usize = 12;

/// How many characters of a line are told.
const WIDTH: usize = 400;

/// The lines that a gateway wrote, over all its starts.
pub(crate) type Log = Arc<Mutex<Vec<String>>>;

/// What happened in one test so far.
#[derive(Default)]
struct Story {
    panic: Option<String>,
    /// The gateways that it used, and how much each had said before.
    gateways: Vec<(Log, usize)>,
}

tokio::task_local! {
    static STORY: RefCell<Story>;
}

/// Lets a panic in a test be told at the end, by [`run`], rather than at once with its backtrace.
pub fn take_over_panics() {
    std::panic::set_hook(Box::new(|panic| {
        let text = describe(panic);
        let told = STORY.try_with(|story| story.borrow_mut().panic = Some(text.clone()));
        if told.is_err() {
            // In no test's own task: whoever waits for it fails in turn.
            eprintln!("{text}");
        }
    }));
}

fn describe(panic: &PanicHookInfo<'_>) -> String {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    format!("{place}: {}", panic.payload_as_str().unwrap_or("panicked"))
}

/// Runs a test to its end.
///
/// # Errors
/// When it panics: where, why, and the last lines of each gateway that it used.
pub async fn run(test: impl Future<Output = ()>) -> Result<(), String> {
    let test = async {
        let outcome = AssertUnwindSafe(test).catch_unwind().await;
        outcome.map_err(|_| STORY.with(|story| story.borrow().tell()))
    };
    STORY.scope(RefCell::default(), test).await
}

/// Notes that the running test uses the gateway that writes this log.
pub(crate) fn uses(log: &Log) {
    // Where no test runs there is nobody to tell.
    let _ = STORY.try_with(|story| {
        let known = &mut story.borrow_mut().gateways;
        if !known.iter().any(|(known, _)| Arc::ptr_eq(known, log)) {
            known.push((Arc::clone(log), log.lock().unwrap().len()));
        }
    });
}

impl Story {
    fn tell(&self) -> String {
        let mut text = self.panic.clone().unwrap_or_default();
        for (log, before) in &self.gateways {
            let log = log.lock().unwrap();
            let since = &log[(*before).min(log.len())..];
            let _ = write!(text, "\nits gateway's last lines, of {}:", since.len());
            for line in &since[since.len().saturating_sub(LINES)..] {
                let _ = write!(text, "\n  {}", &line[..line.floor_char_boundary(WIDTH)]);
            }
        }
        text
    }
}
