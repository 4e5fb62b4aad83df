//! The machine as openraft's state machine: entries in, one answer each out.
//!
//! Here is the only write lock on the machine. It is held for one `apply` at a time, a pure in-memory step, and never
//! across an await. Readers hold it for as long as it takes to copy out what they need, or take an O(1) clone.

use std::sync::{Arc, PoisonError, RwLock};

use openraft::storage::RaftStateMachine;
use openraft::{AnyError, EntryPayload, OptionalSend, Snapshot, SnapshotMeta, StorageIOError};

use crate::machine::{Applied, Batch, Machine};

use super::image::{ImageBuilder, ImageData, ImageKeeper};
use super::log_store::Pending;
use super::types::{Answer, Entry, LogId, RaftError, StoredMembership, Types};

/// One batch, as it was applied on this node.
#[derive(Debug)]
pub struct AppliedBatch {
    /// Its index in the log.
    pub index: u64,
    /// The batch itself.
    pub batch: Arc<Batch>,
    /// What it did; `took_effect` is false when it was decided too early and refused as a whole.
    pub applied: Applied,
    /// It was read from the log while the node was starting: nobody waits for its effects.
    pub recovering: bool,
}

/// Told of every batch, synchronously and in log order, after the machine's lock was released. It may read the
/// machine; while it runs, nothing further is applied.
pub type OnApplied = Arc<dyn Fn(&AppliedBatch) + Send + Sync>;

/// The state, and where in the log it stands.
#[derive(Clone, Debug, Default)]
pub(super) struct Current {
    pub(super) machine: Machine,
    pub(super) last: Option<LogId>,
    pub(super) membership: StoredMembership,
}

/// A read handle on the machine. Cloning shares it.
#[derive(Clone)]
pub struct MachineView {
    current: Arc<RwLock<Current>>,
}

impl std::fmt::Debug for MachineView {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "MachineView at {:?}", self.applied())
    }
}

impl MachineView {
    pub(super) fn new(current: Current) -> MachineView {
        MachineView { current: Arc::new(RwLock::new(current)) }
    }

    /// Lets `look` at the machine between two batches. Keep it short (under 1 ms): applying waits.
    pub fn read<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        self.with(|current| look(&current.machine))
    }

    /// The machine as it is now. O(1): everything is shared until one side changes it.
    #[must_use]
    pub fn snapshot(&self) -> Machine {
        self.read(Machine::clone)
    }

    /// Index of the last entry applied.
    #[must_use]
    pub fn applied(&self) -> Option<u64> {
        self.with(|current| current.last.map(|id| id.index))
    }

    /// A panic in `apply` poisons the lock; what it left is shown for looking only, see [`MachineView::change`].
    pub(super) fn with<R>(&self, look: impl FnOnce(&Current) -> R) -> R {
        look(&self.current.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Changes the state, unless a change before this one was cut short by a panic.
    pub(super) fn change<R>(&self, change: impl FnOnce(&mut Current) -> R) -> Result<R, Halved> {
        self.current.write().map(|mut current| change(&mut current)).map_err(|_| Halved)
    }
}

/// The state may be half changed, so nothing may be built on it.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("an earlier batch was applied only in part; restart the broker")]
pub(super) struct Halved;

/// Applies entries: used by openraft, and by recovery before openraft starts.
#[derive(Clone)]
pub(super) struct Applier {
    pub(super) view: MachineView,
    pub(super) on_applied: OnApplied,
}

impl Applier {
    pub(super) fn apply(&self, entry: &Entry, recovering: bool) -> Result<Answer, Halved> {
        let log_id = entry.log_id;
        let index = log_id.index;
        let EntryPayload::Normal(payload) = &entry.payload else {
            self.view.change(|current| {
                current.machine.skip(index);
                current.last = Some(log_id);
                if let EntryPayload::Membership(membership) = &entry.payload {
                    current.membership = StoredMembership::new(Some(log_id), membership.clone());
                }
            })?;
            return Ok(Answer { took_effect: false });
        };
        let batch = Arc::clone(payload.batch());
        let applied = self.view.change(|current| {
            let applied = current.machine.apply(index, &batch);
            current.last = Some(log_id);
            applied
        })?;
        let took_effect = applied.took_effect;
        (self.on_applied)(&AppliedBatch { index, batch, applied, recovering });
        Ok(Answer { took_effect })
    }
}

/// openraft's state machine.
pub(super) struct StateMachine {
    pub(super) applier: Applier,
    pub(super) pending: Pending,
    pub(super) images: ImageKeeper,
    /// Dropped when openraft has let go of the state machine.
    pub(super) alive: Alive,
}

/// Ends a wait when the last clone is dropped.
pub(super) type Alive = tokio::sync::mpsc::Sender<std::convert::Infallible>;

impl RaftStateMachine<Types> for StateMachine {
    type SnapshotBuilder = ImageBuilder;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), RaftError> {
        Ok(self.applier.view.with(|current| (current.last, current.membership.clone())))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<Answer>, RaftError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut answers = Vec::new();
        for entry in entries {
            let answer = self
                .applier
                .apply(&entry, false)
                .map_err(|error| StorageIOError::apply(entry.log_id, AnyError::new(&error)))?;
            answers.push(answer);
            self.pending.drop_through(entry.log_id.index);
            if let EntryPayload::Normal(payload) = &entry.payload {
                self.images.grown(payload.batch().facts.len() as u64, payload.bytes());
            }
        }
        Ok(answers)
    }

    async fn get_snapshot_builder(&mut self) -> ImageBuilder {
        ImageBuilder::new(self.images.clone(), self.alive.clone())
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<ImageData>, RaftError> {
        Ok(Box::new(ImageData::empty()))
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta<u64, openraft::BasicNode>,
        snapshot: Box<ImageData>,
    ) -> Result<(), RaftError> {
        let signature = Some(meta.signature());
        self.images
            .install(meta.clone(), *snapshot)
            .await
            .map_err(|error| StorageIOError::write_snapshot(signature, AnyError::new(&error)).into())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot<Types>>, RaftError> {
        Ok(self.images.current())
    }
}
