//! What can go wrong: a sentence about it, another about what to do, and the exit code.

use std::fmt;
use std::io;

use serde_json::{Value, json};

/// What a script tells failures apart by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It was refused or didn't work, and nothing below says why.
    Failed,
    /// The command can't be understood, or lacks something.
    Usage,
    /// No gateway answers at the URL.
    Unreachable,
    /// It answers, but not to this token.
    NotAllowed,
    /// There is no such user, key, project, note or file.
    NotFound,
    /// It may be well in a moment.
    Busy,
}

impl Kind {
    /// The exit code, which the documentation promises.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Unreachable => 3,
            Self::NotAllowed => 4,
            Self::NotFound => 5,
            Self::Busy => 6,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Usage => "usage",
            Self::Unreachable => "unreachable",
            Self::NotAllowed => "not_allowed",
            Self::NotFound => "not_found",
            Self::Busy => "busy",
        }
    }
}

/// Something that went wrong.
#[derive(Clone, Debug)]
pub struct Failure {
    /// What a script tells it apart by.
    pub kind: Kind,
    /// The gateway's own code, where it gave one.
    pub code: Option<String>,
    /// The status of its answer.
    pub status: Option<u16>,
    /// What happened.
    pub message: String,
    /// What to do about it.
    pub next: Option<String>,
    /// Nobody wants to hear of it: who reads the output has left.
    pub is_quiet: bool,
}

impl Failure {
    /// A failure in a sentence.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: None,
            status: None,
            message: message.into(),
            next: None,
            is_quiet: false,
        }
    }

    /// With what to do about it.
    pub fn next(mut self, next: impl Into<String>) -> Self {
        self.next = Some(next.into());
        self
    }

    /// Output that couldn't be written; a reader that has seen enough is no failure.
    pub fn output(error: &io::Error) -> Self {
        let is_quiet = error.kind() == io::ErrorKind::BrokenPipe;
        let message = format!("The output can't be written: {error}.");
        Self { is_quiet, ..Self::new(Kind::Failed, message) }
    }

    /// A file that can't be read or written.
    pub fn file(path: &std::path::Path, doing: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::Failed,
        };
        Self::new(kind, format!("{} can't be {doing}: {error}.", path.display()))
    }

    /// As JSON, for programs.
    pub fn to_json(&self) -> Value {
        json!({ "error": {
            "code": self.code.as_deref().unwrap_or(self.kind.code()),
            "message": self.message,
            "next": self.next,
            "status": self.status,
            "exit_code": self.kind.exit_code(),
        } })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.next {
            Some(next) => write!(formatter, "\n{next}"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_codes_are_promised() {
        let kinds = [
            Kind::Failed,
            Kind::Usage,
            Kind::Unreachable,
            Kind::NotAllowed,
            Kind::NotFound,
            Kind::Busy,
        ];
        assert_eq!(kinds.map(Kind::exit_code), [1, 2, 3, 4, 5, 6]);
    }

    #[test]
    fn a_reader_that_leaves_is_no_failure() {
        assert!(Failure::output(&io::ErrorKind::BrokenPipe.into()).is_quiet);
        assert!(!Failure::output(&io::ErrorKind::StorageFull.into()).is_quiet);
    }
}
