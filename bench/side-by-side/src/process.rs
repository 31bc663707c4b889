//! A process that the harness started: listened to, and ended by its id with all that descend from it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::{sleep, timeout};

use crate::system;

/// How long a process may take to end once it was told to.
const STOP: Duration = Duration::from_secs(10);

/// How much of what it wrote is shown when something is wrong.
const SHOWN_LINES: usize = 25;

/// A running process. Dropping it ends it, and all that descend from it.
pub struct Process {
    child: Child,
    id: i32,
    // Held open: what we start ends by itself when this closes.
    _input: Option<ChildStdin>,
    output: Option<Lines<BufReader<ChildStdout>>>,
    log: PathBuf,
}

impl Process {
    /// Starts a command. What it says is read by [`Process::said`]; its standard error goes into a file.
    ///
    /// # Errors
    /// When it can't be started, or the file can't be written.
    pub fn start(mut command: std::process::Command, log: &Path) -> Result<Self> {
        let name = command.get_program().to_string_lossy().into_owned();
        let file = File::create(log).with_context(|| format!("can't write {}", log.display()))?;
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(file);
        let mut command = Command::from(command);
        // A group of its own, so that Ctrl-C reaches only us, who then end it in good order.
        command.process_group(0).kill_on_drop(true);
        let mut child = command.spawn().with_context(|| format!("can't start {name}"))?;
        let id = child.id().with_context(|| format!("{name} is gone"))?;
        Ok(Self {
            _input: child.stdin.take(),
            output: child.stdout.take().map(|output| BufReader::new(output).lines()),
            child,
            id: i32::try_from(id)?,
            log: log.to_owned(),
        })
    }

    /// Starts a command that says nothing worth reading: all that it writes goes into a file.
    ///
    /// # Errors
    /// When it can't be started, or the file can't be written.
    pub fn start_silent(command: std::process::Command, log: &Path) -> Result<Self> {
        let mut process = Self::start(command, log)?;
        if let Some(mut output) = process.output.take() {
            // Read to the end, so that it never waits for a reader.
            tokio::spawn(async move { while let Ok(Some(_)) = output.next_line().await {} });
        }
        Ok(process)
    }

    /// What follows `prefix` in the first line that begins with it.
    ///
    /// # Errors
    /// When the process ends before, or doesn't say it in time: with the last lines that it wrote.
    pub async fn said(&mut self, prefix: &str, patience: Duration) -> Result<String> {
        let output = self.output.as_mut().context("its output is read already")?;
        let heard = timeout(patience, async {
            while let Ok(Some(line)) = output.next_line().await {
                if let Some(rest) = line.strip_prefix(prefix) {
                    return Some(rest.trim().to_owned());
                }
            }
            None
        });
        match heard.await {
            Ok(Some(rest)) => Ok(rest),
            Ok(None) => Err(self.complaint("it ended before it was ready")),
            Err(_late) => Err(self.complaint("it was not ready in time")),
        }
    }

    /// Waits until a question about the process has an answer.
    ///
    /// # Errors
    /// When the process ends before, or there is none in time: with the last lines that it wrote.
    pub async fn until<T>(
        &mut self,
        patience: Duration,
        mut question: impl AsyncFnMut() -> Option<T>,
    ) -> Result<T> {
        let answered = timeout(patience, async {
            loop {
                if let Some(answer) = question().await {
                    return Ok(answer);
                }
                if let Some(status) = self.child.try_wait()? {
                    bail!("it ended before it was ready ({status})");
                }
                sleep(Duration::from_millis(50)).await;
            }
        });
        match answered.await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(problem)) => Err(self.complaint(&problem.to_string())),
            Err(_late) => Err(self.complaint("it was not ready in time")),
        }
    }

    /// It and all that descend from it.
    pub fn family(&self) -> Vec<i32> {
        system::family(self.id)
    }

    /// Ends it as Ctrl-C would, and makes sure that nothing of it is left.
    pub async fn stop(mut self) {
        signal(self.id, Signal::SIGTERM);
        let _ = timeout(STOP, self.child.wait()).await;
    }

    /// The problem, with the last lines of the log.
    pub fn complaint(&self, problem: &str) -> anyhow::Error {
        anyhow!("{problem}\n{}", last_lines(&self.log))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // After an orderly stop nobody is left, and the id of one who is gone isn't in the family.
        let is_over = self.child.try_wait().is_ok_and(|status| status.is_some());
        if !is_over {
            for id in system::family(self.id) {
                signal(id, Signal::SIGKILL);
            }
        }
    }
}

/// A signal to a process that may be gone already.
fn signal(id: i32, which: Signal) {
    let _ = kill(Pid::from_raw(id), which);
}

fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    let from = lines.len().saturating_sub(SHOWN_LINES);
    let shown: String = lines.iter().skip(from).flat_map(|line| ["    ", *line, "\n"]).collect();
    format!("  the end of {}:\n{shown}", log.display())
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::Process;
    use crate::system;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[tokio::test]
    async fn what_it_says_is_heard_and_what_is_wrong_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("log");
        let script = "echo starting; echo ready here; echo broken >&2";
        let mut process = Process::start(shell(script), &log).unwrap();
        assert_eq!(process.said("ready ", PATIENCE).await.unwrap(), "here");
        let problem = process.said("ready ", PATIENCE).await.unwrap_err().to_string();
        assert!(problem.contains("ended before") && problem.contains("broken"), "{problem}");
    }

    #[tokio::test]
    async fn nothing_of_it_is_left_when_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let script = "sleep 100 & echo ready; wait";
        let mut process = Process::start(shell(script), &folder.path().join("log")).unwrap();
        process.said("ready", PATIENCE).await.unwrap();
        let family = process.family();
        assert_eq!(family.len(), 2, "{family:?}");
        drop(process);
        for _ in 0..100 {
            let zombies = |id: &i32| system::memory(&[*id], "VmRSS") == 0;
            if family.iter().all(zombies) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("of {family:?} somebody is left");
    }
}
