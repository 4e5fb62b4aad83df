//! What can go wrong, one enum for starting and one for proposing.

use crate::storage::StorageError;

use super::entry::EntryError;
use super::fault::Fault;
use super::membership::MembershipError;

/// Why a node's log, images and agreement could not be opened or read. The node must not start.
#[derive(Debug, thiserror::Error)]
pub enum ReplicationError {
    /// The disk layer refused.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// A record passed its checksums but does not read as an entry.
    #[error("{0}; it was written by a newer program, or the log is damaged: nothing was changed")]
    Entry(#[from] EntryError),
    /// An image's notes on membership cannot be read.
    #[error("the newest image: {0}")]
    Membership(#[from] MembershipError),
    /// An image's state cannot be read.
    #[error("the image at index {index} cannot be read: {what}")]
    Image {
        /// The index it stands for.
        index: u64,
        /// What is wrong with it.
        what: String,
    },
    /// No image can be used, and the log no longer reaches back to the beginning.
    #[error(
        "no image can be used ({what}) and the log begins after index {purged}; restore images/ from a copy"
    )]
    NoImage {
        /// What is wrong with each image.
        what: String,
        /// Up to here the log may be gone.
        purged: u64,
    },
    /// An image holds more than the log: durable log was lost.
    #[error(
        "the image at index {image} is ahead of the log, which ends at {log}: durable log was lost, restore it"
    )]
    ImageAhead {
        /// The image's index.
        image: u64,
        /// The log's last index, or "empty".
        log: String,
    },
    /// Entries between the image and the log are missing.
    #[error("entry {index} is missing between the image and the end of the log; restore the log from a copy")]
    Gap {
        /// The first missing index.
        index: u64,
    },
    /// openraft refused its set-up.
    #[error("openraft's set-up is not valid: {0}")]
    Config(String),
    /// openraft could not start.
    #[error("agreement could not start: {0}")]
    Start(String),
    /// This node stopped working.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Why a batch was not agreed on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This node does not lead. The batch was definitely not stored.
    #[error("this node does not lead{}", leader.map_or(String::new(), |id| format!(", node {id} does")))]
    NotLeader {
        /// Who leads, as far as is known.
        leader: Option<u64>,
    },
    /// The disk has no space even for settling. The batch was definitely not stored.
    #[error("the disk is full; free some space")]
    Full,
    /// The batch was handed to the log, but leadership was lost before it was decided: it may or may not be stored.
    #[error("the outcome is unknown: leadership was lost while the batch was on its way")]
    Unknown,
    /// This node stopped working.
    #[error("{fault}")]
    Fault {
        /// Why.
        fault: Fault,
        /// Whether the batch was handed to the log before: then it may or may not be stored, else it is not.
        submitted: bool,
    },
}
