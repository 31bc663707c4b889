//! `gatewayctl` as an operator runs it: to its end, or on a terminal.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::pty::openpty;
use nix::sys::signal::Signal;
use rustix::termios::{LocalModes, Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::Value;
use tokio::process::{Child, Command};

use crate::redaction::RUN;
use crate::{Gateway, serve, wait_for};

/// What the command is asked, and by whom.
pub struct Ctl {
    command: Command,
    home: tempfile::TempDir,
    patience: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Ended {
    /// The exit code.
    pub code: Option<i32>,
    /// The standard output.
    pub out: String,
    /// The standard error.
    pub err: String,
}

/// The command on a terminal; dropping it ends it.
pub struct Terminal {
    master: File,
    shown: Arc<Mutex<String>>,
    before: Termios,
    child: Child,
    reader: JoinHandle<()>,
    is_unplugged: Arc<AtomicBool>,
    _home: tempfile::TempDir,
}

/// The built command, which `cargo test --workspace` puts beside the suite.
fn program() -> PathBuf {
    let suite = std::env::current_exe().unwrap();
    let folder = suite.parent().and_then(std::path::Path::parent).unwrap();
    let program = folder.join("gatewayctl");
    assert!(program.is_file(), "no {}: cargo build --package gatewayctl", program.display());
    program
}

impl Ctl {
    /// The command with nothing around it.
    #[must_use]
    pub fn new(arguments: &[&str]) -> Self {
        Self::of(Command::new(program()), arguments)
    }

    /// The command in a shell, as `$CTL`.
    #[must_use]
    pub fn in_a_shell(script: &str) -> Self {
        let mut command = Command::new("sh");
        command.arg("-c");
        Self::of(command, &[script]).env("CTL", &program().display().to_string())
    }

    /// Any command, with nothing around it.
    pub(crate) fn of(mut command: Command, arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let path = std::env::var_os("PATH").unwrap_or_default();
        command.args(arguments).env_clear().env("PATH", path).env("TERM", "xterm-256color");
        command.env("GATEWAYCTL_CONFIG", home.path().join("config.toml"));
        command.kill_on_drop(true).stdin(Stdio::null()).current_dir(home.path());
        Self { command, home, patience: Duration::from_mins(1) }
    }

    /// As the operator of a gateway.
    #[must_use]
    pub fn at(self, gateway: &Gateway) -> Self {
        self.env("GATEWAY_URL", &gateway.url("")).env("OPERATOR_TOKEN", gateway.operator_token())
    }

    /// With something in its environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// In a folder.
    #[must_use]
    pub fn within(mut self, folder: &std::path::Path) -> Self {
        self.command.current_dir(folder);
        self
    }

    /// With more time than a command takes that does one thing.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Runs it to its end.
    pub async fn run(mut self) -> Ended {
        let ended = self.command.output();
        let output = tokio::time::timeout(self.patience, ended).await.unwrap().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let ended = Ended {
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        };
        RUN.keep_answer("/gatewayctl", 0, ended.err.as_bytes());
        drop(self.home);
        ended
    }

    /// Runs it on a terminal of this size.
    #[must_use]
    pub fn on_a_terminal(mut self, columns: u16, rows: u16) -> Terminal {
        let size = nix::pty::Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).unwrap();
        // Else the command holds its own terminal open.
        rustix::io::fcntl_setfd(&pty.master, rustix::io::FdFlags::CLOEXEC).unwrap();
        let end_of = |slave: &OwnedFd| Stdio::from(slave.try_clone().unwrap());
        let (input, output) = (end_of(&pty.slave), end_of(&pty.slave));
        self.command.stdin(input).stdout(output).stderr(end_of(&pty.slave));
        let before = tcgetattr(&pty.slave).unwrap();
        let child = self.command.spawn().unwrap();
        // What holds the terminal open are the child's own ends.
        drop((self.command, pty.slave));
        let master = File::from(pty.master);
        let shown = Arc::new(Mutex::new(String::new()));
        let (mut reader, seen) = (master.try_clone().unwrap(), Arc::clone(&shown));
        let is_unplugged = Arc::new(AtomicBool::new(false));
        let is_over = Arc::clone(&is_unplugged);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 16 * 1024];
            while let Ok(length @ 1..) = reader.read(&mut buffer) {
                seen.lock().unwrap().push_str(&String::from_utf8_lossy(&buffer[..length]));
                if is_over.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        Terminal { master, shown, before, child, reader, is_unplugged, _home: self.home }
    }
}

impl Ended {
    /// Asserts an exit code.
    #[track_caller]
    #[must_use]
    pub fn is(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}\n{}", self.out, self.err);
        self
    }

    /// Asserts that something was printed, or said.
    #[track_caller]
    pub fn says(&self, text: &str) {
        let is_said = self.out.contains(text) || self.err.contains(text);
        assert!(is_said, "{text:?} isn't in\n{}\n{}", self.out, self.err);
    }

    /// The one line of JSON that was printed.
    #[track_caller]
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("JSON: {self:?}"))
    }

    /// The failure, as programs get it.
    #[track_caller]
    #[must_use]
    pub fn failure(&self) -> Value {
        let failure: Value =
            serde_json::from_str(&self.err).unwrap_or_else(|_| panic!("JSON: {self:?}"));
        failure["error"].clone()
    }
}

impl Terminal {
    /// All that was written to it so far, with its control sequences.
    #[must_use]
    pub fn text(&self) -> String {
        self.shown.lock().unwrap().clone()
    }

    /// Takes the terminal away as soon as something more was written to it; the command without it.
    pub async fn unplug(self) -> Child {
        self.is_unplugged.store(true, Ordering::Relaxed);
        tokio::task::spawn_blocking(move || self.reader.join().unwrap()).await.unwrap();
        self.child
    }

    /// Waits until something is written.
    pub async fn shows(&self, text: &str) {
        self.shows_in(text, 20).await;
    }

    /// Waits until something is written that takes up to so many seconds.
    pub async fn shows_in(&self, text: &str, seconds: u64) {
        let is_shown = || self.shown.lock().unwrap().contains(text).then_some(());
        let patience = Duration::from_secs(seconds);
        let waited = tokio::time::timeout(patience, wait_for(text, patience, is_shown)).await;
        assert!(waited.is_ok(), "{text:?} isn't in {:?}", self.text());
    }

    /// Forgets what was written.
    pub fn forget(&self) {
        self.shown.lock().unwrap().clear();
    }

    /// Presses keys.
    pub fn type_in(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether what is pressed is written too, by the terminal itself.
    #[must_use]
    pub fn echoes(&self) -> bool {
        tcgetattr(&self.master).unwrap().local_modes.contains(LocalModes::ECHO)
    }

    /// Whether keys mean what they meant before the command.
    #[must_use]
    pub fn is_as_before(&self) -> bool {
        let now = tcgetattr(&self.master).unwrap();
        now.local_modes == self.before.local_modes && now.input_modes == self.before.input_modes
    }

    /// Changes its size, as a window manager does.
    pub fn resize(&self, columns: u16, rows: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
        self.signal(Signal::SIGWINCH);
    }

    /// Sends the command a signal.
    pub fn signal(&self, signal: Signal) {
        serve::signal(self.child.id().unwrap().cast_signed(), signal);
    }

    /// The exit code, once it has ended.
    pub async fn ended(&mut self) -> Option<i32> {
        let ended = tokio::time::timeout(Duration::from_secs(20), self.child.wait()).await;
        let Ok(ended) = ended else { panic!("it goes on: {:?}", self.text()) };
        ended.unwrap().code()
    }
}
