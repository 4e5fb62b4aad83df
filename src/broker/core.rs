//! What the proposer, the handles and the duties share.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::{Notify, Semaphore};

use crate::machine::{Candidates, Effects, Machine};
use crate::model::{CANDIDATES_MAX, GroupName, QueueEntry, TICK_ITEMS_MAX, Timestamp};
use crate::replication::{MachineView, Replication};
use crate::storage::Space;

use super::ask::Waiting;
use super::attributes::{Kept, Reads};
use super::indexer::Indexer;
use super::room::Room;
use super::tally::Tallies;
use super::{Options, read};

/// Most entries read as candidates for all that wait for one group, in one batch.
const GROUP_CANDIDATES_MAX: usize = 8 * CANDIDATES_MAX;

/// Shared by every part of the broker.
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) replication: Replication,
    /// The machine, for looking.
    pub(super) machine: MachineView,
    pub(super) node_id: u64,
    pub(super) cluster_id: String,
    pub(super) indexer: Arc<Indexer>,
    /// Attributes that filters were asked about lately.
    pub(super) kept_attributes: Kept,
    /// What filtered groups were found to match beyond what they looked at.
    pub(super) tallies: Tallies,
    /// Effects of applied batches that the proposer has not taken yet.
    pub(super) inbox: Arc<Mutex<Effects>>,
    /// Whether this node leads and its leadership is open.
    pub(super) serving: AtomicBool,
    /// Told when `serving` becomes true.
    pub(super) served: Notify,
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
    /// Room for requests that wait to be decided.
    pub(super) room: Arc<Room>,
    /// Places for receives and subscriptions that wait.
    pub(super) waiter_room: Arc<Semaphore>,
    /// The number the next subscription gets. Begins at random, so that leases of an earlier process are nobody's.
    pub(super) next_session: std::sync::atomic::AtomicU64,
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

    /// Reads what the next batch needs from index and log, so that deciding does no I/O.
    pub(super) fn candidates<'a>(
        &self,
        machine: &Machine,
        now: Timestamp,
        due: &BTreeSet<GroupName>,
        (receives, turn): (impl IntoIterator<Item = &'a Waiting>, u32),
    ) -> Candidates {
        let mut candidates = Candidates::default();
        let mut reads = Reads::for_a_batch();
        for group in due {
            self.read_queues(machine, (group, turn), &mut candidates, &mut reads);
        }
        let mut seen = BTreeSet::new();
        for waiting in receives {
            let group = &waiting.request.group;
            if !due.contains(group) && seen.insert(group.clone()) {
                self.read_queues(machine, (group, turn), &mut candidates, &mut reads);
            }
        }
        if machine.next_due().is_some_and(|due| due <= now) {
            for (_, position, scheduled) in machine.due_scheduled(TICK_ITEMS_MAX, now) {
                match read::scheduled_entry(self, position) {
                    Ok((entry, attributes)) => {
                        candidates.due.insert(position, entry);
                        if machine.some_filter_needs_attributes(scheduled.topic) {
                            candidates.attributes.insert(position, Some(Arc::new(attributes)));
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, topic = scheduled.topic.0, "a scheduled message cannot be read; schedules stop here");
                        break;
                    }
                }
            }
        }
        candidates
    }

    /// Every queue gets its share: a receive that is restricted to a topic must find entries of that topic among those
    /// of all.
    fn read_queues(
        &self,
        machine: &Machine,
        (name, turn): (&GroupName, u32),
        candidates: &mut Candidates,
        reads: &mut Reads,
    ) {
        let Some((group, found)) = machine.group(name) else { return };
        let wants = machine.wants(name, None, turn);
        let share = (GROUP_CANDIDATES_MAX / wants.len().max(1)).clamp(1, CANDIDATES_MAX);
        for want in wants.iter().take(GROUP_CANDIDATES_MAX) {
            let key = (want.topic, want.queue);
            let known = candidates.entries.get(&key);
            // Groups mostly stand close together; one that does not gets entries of its own.
            let holds = |entries: &&Vec<QueueEntry>| entries.iter().any(|entry| entry.offset == want.from);
            if known.is_some_and(|known| holds(&known)) {
                continue;
            }
            match self.indexer.index().entries(want.topic, want.queue, want.from, share) {
                Ok(entries) if known.is_none() => {
                    candidates.entries.insert(key, entries);
                }
                Ok(entries) => {
                    candidates.own_entries.insert((group, want.topic, want.queue), entries);
                }
                Err(error) => {
                    tracing::error!(%error, "the queue index cannot be read; it is made again from the log");
                    self.indexer.distrust();
                }
            }
        }
        if found.settings.needs_attributes() {
            self.add_attributes((machine, group), &wants, candidates, reads);
        }
    }

    /// The entries of one queue from `from` on, as far as they are indexed.
    pub(super) fn entries(
        &self,
        topic: crate::model::TopicId,
        queue: u16,
        from: u64,
        limit: usize,
    ) -> Vec<QueueEntry> {
        self.indexer.index().entries(topic, queue, from, limit).unwrap_or_else(|error| {
            tracing::error!(%error, "the queue index cannot be read; it is made again from the log");
            self.indexer.distrust();
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
