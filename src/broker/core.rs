//! What the proposer, the handles and the duties share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::machine::Effects;
use crate::model::{QueueEntry, QueueNo, Timestamp, TopicId};
use crate::observe::Traffic;
use crate::observe::history::History;
use crate::replication::{MachineView, Replication};
use crate::storage::Space;
use crate::storage::index::IndexError;

use super::Options;
use super::alerting::Notifier;
use super::attributes::Kept;
use super::clients::Clients;
use super::clock::SharedClock;
use super::history::{Doors, FurthestBehind};
use super::indexer::Indexer;
use super::room::Room;
use super::tally::Tallies;
use super::trails::GivenUp;

/// Shared by every part of the broker.
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) replication: Replication,
    /// The machine, for looking.
    pub(super) machine: MachineView,
    /// What ages are told in.
    pub(super) clock: SharedClock,
    pub(super) node_id: u64,
    pub(super) cluster_id: String,
    pub(super) indexer: Arc<Indexer>,
    /// Attributes that filters were asked about lately.
    pub(super) kept_attributes: Kept,
    /// What filtered groups were found to match beyond what they looked at.
    pub(super) tallies: Tallies,
    /// Effects of applied batches that the proposer has not taken yet.
    pub(super) inbox: Arc<Mutex<Effects>>,
    /// What is counted for whoever watches.
    pub(super) traffic: Arc<Traffic>,
    /// The recent past. Locked to take in a sample and to copy curves out.
    pub(super) history: Mutex<History>,
    pub(super) behind: FurthestBehind,
    /// Delivers notifications of alerts.
    pub(super) alerting: Notifier,
    /// Counts connections, once the interface has said how.
    pub(super) doors: OnceLock<Doors>,
    /// Whether this node leads and its leadership is open.
    pub(super) serving: AtomicBool,
    /// Told when `serving` becomes true.
    pub(super) served: Notify,
    /// Told when a job was started.
    pub(super) job_started: Notify,
    /// Told when something besides a batch may have made messages reachable (index progress, free space).
    pub(super) nudge: Notify,
    /// Set once, when the broker stops.
    pub(super) stopping: AtomicBool,
    /// Told when the broker stops: receives answer at once.
    pub(super) stopped: Notify,
    /// Whether the host's clock is more than an hour away from log time.
    pub(super) clock_jumped: AtomicBool,
    /// Damage that the scrub found, named.
    pub(super) damage: Mutex<Option<String>>,
    /// Held while trails are laid: segments whose trail could not be.
    pub(super) trails: Mutex<GivenUp>,
    /// Room for requests that wait to be decided.
    pub(super) room: Arc<Room>,
    /// Places for receives and subscriptions that wait.
    pub(super) waiter_room: Arc<Semaphore>,
    /// One permit: one backup at a time.
    pub(super) backups: Arc<Semaphore>,
    /// The number the next subscription gets. Begins at random, so that leases of an earlier process are nobody's.
    pub(super) next_session: std::sync::atomic::AtomicU64,
    /// Who uses this node.
    pub(super) clients: Arc<Clients>,
    pub(super) started_at: Timestamp,
    /// How often the proposer decided, also when nothing came of it.
    pub(super) rounds: std::sync::atomic::AtomicU64,
}

impl Core {
    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// What `/readyz` says of the images: name, passed, what was found.
    pub(super) fn images_check(&self) -> (&'static str, bool, String) {
        let damaged = self.replication.damaged_images();
        if damaged.is_empty() {
            return ("images", true, "no damage found".to_owned());
        }
        ("images", false, format!("not used, and replaced by the next one: {}", damaged.join("; ")))
    }

    /// Returns once the broker stops; at once when it already does.
    pub(super) async fn until_stopped(&self) {
        let told = self.stopped.notified();
        tokio::pin!(told);
        // Listening begins before looking, so that a stop in between is not missed.
        told.as_mut().enable();
        if !self.stopping() {
            told.await;
        }
    }

    /// Takes what applied batches left for the leader.
    pub(super) fn take_effects(&self) -> Effects {
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether there is disk space for leases, retries and schedules.
    pub(super) fn may_lease(&self) -> bool {
        self.replication.log().space() <= Space::Low
    }

    /// Whether there is disk space for new messages.
    pub(super) fn may_produce(&self) -> bool {
        self.replication.log().space() == Space::Open
    }

    /// The index answered what cannot be.
    pub(super) fn distrust_index(&self, error: &IndexError) {
        tracing::error!(%error, "the queue index cannot be read; it is made again from the log");
        self.indexer.distrust();
    }

    /// The entries of one queue from `from` on, as far as they are indexed.
    pub(super) fn entries(&self, topic: TopicId, queue: QueueNo, from: u64, limit: usize) -> Vec<QueueEntry> {
        self.indexer.index().entries(topic, queue, from, limit).unwrap_or_else(|error| {
            self.distrust_index(&error);
            Vec::new()
        })
    }
}

/// What `/readyz` says of the free disk space.
pub(super) fn disk_words(space: Space) -> &'static str {
    match space {
        Space::Open => "enough free space",
        Space::Low => "under the reserve: producers are refused with 507",
        Space::Tight => "under half the reserve: only settling, seeking and deleting work",
        Space::Full => "full: nothing can be written",
    }
}
