//! Shows what a long step is doing: a spinner on a terminal, lines with times anywhere else.
//!
//! All of it goes to standard error; standard output belongs to the command's answer.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// How many of the first and of the last lines are shown when a step fails.
const SHOWN: (usize, usize) = (10, 40);
/// How often a step that nobody watches says that it is still running.
const REMINDER: Duration = Duration::from_secs(30);

/// The steps under way. Several may run at once.
pub struct Progress {
    bars: MultiProgress,
    terminal: bool,
}

/// One command that may take long.
pub struct Step<'a> {
    /// What is being done, as in "installing the Node packages".
    pub name: &'a str,
    pub command: Command,
    /// What to do when it fails.
    pub advice: &'a str,
    /// Stop it when it has said nothing for this long.
    pub patience: Option<Duration>,
}

impl Progress {
    pub fn new() -> Self {
        Self { bars: MultiProgress::new(), terminal: std::io::stderr().is_terminal() }
    }

    /// Prints a line above the spinners.
    pub fn say(&self, line: &str) {
        if self.terminal {
            let _ = self.bars.println(line);
        } else {
            eprintln!("{line}");
        }
    }

    /// Runs the step to its end.
    ///
    /// # Errors
    /// When it fails: with the command, the tail of its output, and the advice.
    pub fn run(&self, mut step: Step) -> Result<()> {
        let started = Instant::now();
        let mut display = self.display(step.name, started);
        let outcome = watch(&mut step, |line| display.update(line));
        display.finish(outcome.is_ok());
        outcome
    }

    /// Shows that something goes on of which nothing is heard until it ends.
    ///
    /// # Errors
    /// When the work fails.
    pub fn waiting<T>(&self, name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        let display = self.display(name, Instant::now());
        let outcome = work();
        display.finish(outcome.is_ok());
        outcome
    }

    fn display(&self, name: &str, started: Instant) -> Display<'_> {
        let bar = self.terminal.then(|| {
            let style =
                ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}");
            let bar = self.bars.add(ProgressBar::new_spinner());
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
            bar.set_prefix(name.to_owned());
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        if bar.is_none() {
            self.say(&format!("  {name} …"));
        }
        Display { progress: self, name: name.to_owned(), bar, started, reminded: started }
    }
}

struct Display<'a> {
    progress: &'a Progress,
    name: String,
    bar: Option<ProgressBar>,
    started: Instant,
    reminded: Instant,
}

impl Display<'_> {
    fn update(&mut self, last_line: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(last_line.to_owned());
        } else if self.reminded.elapsed() >= REMINDER {
            self.reminded = Instant::now();
            let seconds = self.started.elapsed().as_secs();
            self.progress.say(&format!("  {} … {seconds} s: {last_line}", self.name));
        }
    }

    fn finish(self, good: bool) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let mark = if good { "✓" } else { "✗" };
        let seconds = self.started.elapsed().as_secs_f32();
        self.progress.say(&format!("{mark} {} ({seconds:.1} s)", self.name));
    }
}

/// Runs a command, calls back with its last line from time to time, and keeps the tail for an error.
fn watch(step: &mut Step, mut update: impl FnMut(&str)) -> Result<()> {
    let shown = describe(&step.command);
    let mut child = step
        .command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start `{shown}`. {}", step.advice))?;
    let lines = lines_of(&mut child);
    let mut output: Vec<String> = Vec::new();
    let mut heard = Instant::now();
    let mut impatient = false;
    loop {
        match lines.recv_timeout(Duration::from_millis(250)) {
            Ok(line) => {
                heard = Instant::now();
                output.push(line);
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        update(output.last().map_or("", String::as_str));
        if !impatient && step.patience.is_some_and(|patience| heard.elapsed() > patience) {
            impatient = true;
            child.kill().context("can't stop a command that hangs")?;
        }
    }
    let status = child.wait().with_context(|| format!("lost sight of `{shown}`"))?;
    if status.success() {
        return Ok(());
    }
    let ending = if impatient { "said nothing for too long".to_owned() } else { ended(status) };
    bail!("`{shown}` {ending}\n{}\n\nwhat to do: {}", excerpt(&output), step.advice)
}

/// The beginning and the end of an output: the cause is in one of the two.
fn excerpt(output: &[String]) -> String {
    let (first, last) = SHOWN;
    let mut lines: Vec<String> = output.iter().map(|line| format!("    {line}")).collect();
    if lines.len() > first + last {
        let left_out = lines.len() - first - last;
        lines.splice(first..first + left_out, [format!("    … {left_out} lines …")]);
    }
    lines.join("\n")
}

/// The lines of both outputs, until both are closed.
fn lines_of(child: &mut Child) -> Receiver<String> {
    let (sender, receiver) = channel();
    if let Some(output) = child.stdout.take() {
        forward(output, sender.clone());
    }
    if let Some(output) = child.stderr.take() {
        forward(output, sender);
    }
    receiver
}

fn forward(output: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for bytes in BufReader::new(output).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            if !line.is_empty() && sender.send(line).is_err() {
                break;
            }
        }
    });
}

/// A command as one would type it.
pub fn describe(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// How a command ended, as the end of a sentence.
pub fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("ended with exit code {code}"),
        None => format!("was ended by a signal ({status})"),
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Step, excerpt};
    use std::process::Command;
    use std::time::Duration;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_failing_step_names_the_command_its_output_and_what_to_do() {
        let command = shell("echo one; echo two >&2; exit 3");
        let step = Step { name: "trying", command, advice: "Try harder.", patience: None };
        let error = Progress::new().run(step).unwrap_err().to_string();
        for part in ["sh -c", "exit code 3", "one", "two", "Try harder."] {
            assert!(error.contains(part), "{part} is missing in: {error}");
        }
    }

    #[test]
    fn a_long_output_is_shown_by_its_ends() {
        let output: Vec<String> = (1..=100).map(|number| number.to_string()).collect();
        let text = excerpt(&output);
        assert!(text.contains("    10\n    … 50 lines …\n    61"), "{text}");
        assert_eq!(excerpt(&output[..50]).lines().count(), 50);
    }

    #[test]
    fn a_silent_step_is_stopped() {
        let patience = Some(Duration::from_millis(300));
        let command = shell("exec sleep 60");
        let step = Step { name: "waiting", command, advice: "Nothing.", patience };
        let error = Progress::new().run(step).unwrap_err().to_string();
        assert!(error.contains("said nothing for too long"), "{error}");
    }
}
