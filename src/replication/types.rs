//! The types openraft is asked to work with.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::machine::Batch;

use super::image::ImageData;

openraft::declare_raft_types!(
    /// Whimbrel's choice of types: one decided batch an entry, nodes named by number.
    pub(crate) Types:
        D = Payload,
        R = Answer,
        NodeId = u64,
        Node = openraft::BasicNode,
        Entry = openraft::Entry<Types>,
        SnapshotData = ImageData,
);

pub(super) type Entry = openraft::Entry<Types>;
pub(super) type LogId = openraft::LogId<u64>;
pub(super) type Vote = openraft::Vote<u64>;
pub(super) type Membership = openraft::Membership<u64, openraft::BasicNode>;
pub(super) type StoredMembership = openraft::StoredMembership<u64, openraft::BasicNode>;
pub(super) type RaftError = openraft::StorageError<u64>;
pub(super) type Raft = openraft::Raft<Types>;

/// A decided batch on its way through Raft. Cloning shares it.
#[derive(Clone)]
pub(crate) struct Payload {
    batch: Arc<Batch>,
    bytes: Arc<AtomicU64>,
}

impl Payload {
    pub(super) fn new(batch: Arc<Batch>) -> Payload {
        Payload { batch, bytes: Arc::default() }
    }

    pub(super) fn batch(&self) -> &Arc<Batch> {
        &self.batch
    }

    /// Notes that the batch was handed to the log: from here on nobody may say that it was not stored.
    pub(super) fn submitted(&self, bytes: u64) {
        self.bytes.store(bytes.max(1), Ordering::Release);
    }

    pub(super) fn was_submitted(&self) -> bool {
        self.bytes.load(Ordering::Acquire) > 0
    }

    /// Bytes it takes in the log; 0 until it was handed to it.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }
}

/// Short on purpose: openraft prints entries, and a batch may hold megabytes.
impl fmt::Debug for Payload {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "batch of {} facts on {}", self.batch.facts.len(), self.batch.base)
    }
}

/// What became of one entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// Whether it changed anything; entries that hold no batch never do.
    pub(super) took_effect: bool,
}

pub(super) fn log_id(index: u64, term: u64, leader: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, leader), index)
}
