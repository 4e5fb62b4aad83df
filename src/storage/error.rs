//! What can go wrong on disk, in words a person on call can act on.

use std::{io, path::PathBuf, sync::Arc};

/// An error of the disk layer. Cheap to clone, because one failed flush answers many callers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused an operation.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was being done, as a verb.
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: Arc<io::Error>,
    },
    /// A checksum, chain or order does not hold although the bytes were once durable. Never served, never cut.
    #[error("{} is damaged at offset {offset}: {what}; restore this file from a copy, nothing was changed", path.display())]
    Damaged {
        /// The damaged file.
        path: PathBuf,
        /// Byte offset of the first damaged structure.
        offset: u64,
        /// Which check failed.
        what: String,
    },
    /// Files contradict each other in a way that only lost files or bytes explain.
    #[error("the log has lost something that was durable: {what}; restore the data directory from a copy")]
    LostLog {
        /// Both sides of the contradiction.
        what: String,
    },
    /// Another process has the directory open.
    #[error("{} is in use by another broker process; stop it first or choose another data directory", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// Written by another version of Whimbrel.
    #[error("{} has format version {found}, this program reads {known} only; use the one that wrote it", path.display())]
    Format {
        /// The file that names the version.
        path: PathBuf,
        /// The version it names.
        found: u32,
        /// The version this program reads.
        known: u32,
    },
    /// No space for this append. Nothing of it was written and the log stays usable.
    #[error("the disk of {} is full: {needed} more bytes are needed; nothing was written, free some space", path.display())]
    Full {
        /// The file that could not grow.
        path: PathBuf,
        /// Bytes that were wanted.
        needed: u64,
    },
    /// An earlier write or fsync failed, so what the disk holds is unknown until a restart.
    #[error("the store stopped after a failed write: {0}; restart the broker")]
    Poisoned(Arc<StorageError>),
    /// An entry does not follow the last one.
    #[error("entry {given} does not follow the log, entry {expected} comes next")]
    OutOfOrder {
        /// The index that comes next.
        expected: u64,
        /// The index that was given.
        given: u64,
    },
    /// A request that would break a promise of the log.
    #[error("refused: {0}")]
    Refused(String),
    /// The log was closed.
    #[error("the log is closed")]
    Closed,
}

impl StorageError {
    /// Wraps a system error with what was being done to which file.
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>, source: io::Error) -> StorageError {
        StorageError::Io { action, path: path.into(), source: Arc::new(source) }
    }

    /// Names a damaged file and place.
    pub(super) fn damaged(path: impl Into<PathBuf>, offset: u64, what: impl Into<String>) -> StorageError {
        StorageError::Damaged { path: path.into(), offset, what: what.into() }
    }

    /// Whether this is "no space" and nothing worse: nothing was written and the log goes on.
    pub fn is_full(&self) -> bool {
        matches!(self, StorageError::Full { .. })
    }
}
