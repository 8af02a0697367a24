//! How a command ends: the exit statuses, and the errors that have one of their own.

use std::process::ExitCode;

/// What `--help` says of the exit statuses.
pub const STATUSES: &str = "Exit statuses:
  0  done, or the answer is yes
  1  it failed
  2  the command line is wrong
  3  there is no such object, or no ApiToken has the value
  4  it was asked for, and was not done in the time that was waited
  5  the answer is no, or something is left for you to do: a token that is known and does not work (verify),
     one that leaked and still works (leak), one that would not become Ready (plan), a question answered with no";

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// It failed.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// There is no such thing.
    NotFound = 3,
    /// Not done in the time that was waited.
    WaitedInVain = 4,
    /// The answer is no, or something is left to do.
    LeftToDo = 5,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// An error with an exit status of its own.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    exit: Exit,
    message: String,
}

impl Failure {
    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> anyhow::Error {
        Self::with(Exit::Usage, message)
    }

    /// There is no such thing.
    pub fn not_found(message: impl Into<String>) -> anyhow::Error {
        Self::with(Exit::NotFound, message)
    }

    /// Not done in the time that was waited.
    pub fn waited(message: impl Into<String>) -> anyhow::Error {
        Self::with(Exit::WaitedInVain, message)
    }

    fn with(exit: Exit, message: impl Into<String>) -> anyhow::Error {
        let message = message.into();
        anyhow::Error::new(Self { exit, message })
    }
}

/// The exit status of an error.
pub fn of(error: &anyhow::Error) -> Exit {
    error.downcast_ref::<Failure>().map_or(Exit::Failed, |failure| failure.exit)
}
