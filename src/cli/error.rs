use std::time::Duration;

use super::problem::Problem;

/// Why a client command ended without success. The text is for a person; the exit code is for a script.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line asks for something that cannot be. Exit code 2.
    #[error("{0}")]
    Usage(String),
    /// Nobody answers at the address, or what answers is not ready. Exit code 3.
    #[error("cannot reach a broker at {url}: {reason}\n  Is it running? Start one with: whimbrel serve")]
    Unreachable {
        /// The address that was tried.
        url: String,
        /// What the system said.
        reason: String,
    },
    /// No answer in time; what was asked may or may not have happened. Exit code 4.
    #[error("no answer to {what} within {} ms; it may or may not have been done", waited.as_millis())]
    TimedOut {
        /// The request, such as `POST /v1/topics/t/messages`.
        what: String,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The connection ended before the answer was whole; what was asked may or may not have happened. Exit code 1.
    #[error("the connection broke during {what}: {reason}; it may or may not have been done")]
    Broken {
        /// The request.
        what: String,
        /// What the system said.
        reason: String,
    },
    /// Something that was looked at is not healthy; it was said on standard output. Exit code 3.
    #[error("{0}")]
    Unhealthy(String),
    /// Nothing came although something was waited for. Exit code 4.
    #[error("{0}")]
    NothingCame(String),
    /// The broker refused. Exit code 1, but 3 for 503 and 4 for 504.
    #[error("{0}")]
    Refused(Box<Problem>),
    /// It was not done, or only in part, or the answer is not one this interface gives. Exit code 1.
    #[error("{0}")]
    Failed(String),
    /// The operating system refused something on this side. Exit code 1.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// What the system said.
        source: std::io::Error,
    },
}

impl CliError {
    /// The code the process ends with: 1 failed, 2 usage, 3 no healthy broker, 4 timed out.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            CliError::Usage(_) => 2,
            CliError::Unreachable { .. } | CliError::Unhealthy(_) => 3,
            CliError::TimedOut { .. } | CliError::NothingCame(_) => 4,
            CliError::Refused(problem) => match problem.status {
                503 => 3,
                504 => 4,
                _ => 1,
            },
            CliError::Failed(_) | CliError::Broken { .. } | CliError::Io { .. } => 1,
        }
    }

    /// Whether what was asked was certainly not done, and may be done later: nothing was sent, or the broker itself
    /// (and not a proxy, which knows no `code`) said "not now".
    #[must_use]
    pub fn was_not_done(&self) -> bool {
        match self {
            CliError::Unreachable { .. } => true,
            CliError::Refused(problem) => matches!(problem.status, 429 | 503) && !problem.code.is_empty(),
            _ => false,
        }
    }

    /// Whether nobody knows if it was done.
    #[must_use]
    pub fn outcome_is_unknown(&self) -> bool {
        match self {
            CliError::TimedOut { .. } | CliError::Broken { .. } => true,
            CliError::Refused(problem) => {
                matches!(problem.status, 429 | 502 | 503 | 504) && !self.was_not_done()
            }
            _ => false,
        }
    }

    /// An answer that this interface does not give; for `map_err`.
    pub(crate) fn odd(what: impl std::fmt::Display) -> CliError {
        CliError::Failed(format!("the answer is not what a broker gives: {what}"))
    }

    /// Turns an I/O error into a [`CliError`] that says what was being done; for `map_err`.
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> CliError {
        let what = what.into();
        move |source| CliError::Io { what, source }
    }
}
