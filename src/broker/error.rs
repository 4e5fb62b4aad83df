//! How a use case can fail.

use crate::machine::Refusal;

/// Why there is no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BrokerError {
    /// The rules say no; nothing changed.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// This node does not serve yet, or not any more: starting, no leader, draining. Definitely not stored.
    #[error("{0}")]
    NotReady(String),
    /// Too much is waiting already. Definitely not stored.
    #[error("{0}")]
    Overloaded(String),
    /// Submitted, but the answer did not come: it may be stored or not.
    #[error("the outcome is unknown: the request was submitted, and its confirmation did not come in time")]
    OutcomeUnknown,
    /// The disk is too full to take messages. Definitely not stored.
    #[error("{0}")]
    DiskFull(String),
    /// The message, dead letter or offset is not there.
    #[error("{0}")]
    NotFound(String),
    /// It was there, and retention removed it.
    #[error("{0}")]
    Gone(String),
    /// Another backup is being taken.
    #[error("a backup is being taken already; there is one at a time")]
    BackupRunning,
    /// What was asked for is damaged on the disk, and never served. What is around it is not concerned.
    #[error("{0}")]
    Damaged(String),
    /// The disk answered with damage or an error; the node stops or refuses that file.
    #[error("{0}")]
    Fault(String),
}
