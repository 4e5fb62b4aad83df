//! The draft of the next batch.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{Attributes, GroupId, HELD_MAX, Position, QueueEntry, QueueNo, Timestamp, TopicId};

use super::apply::Effects;
use super::facts::{Batch, Fact, OWN_ENTRY, ProducedAs};
use super::state::Machine;

/// What the broker read from the index and the log before deciding, so that deciding does no I/O. All of it is checked
/// against the state: stale candidates are harmless, missing ones are asked for again.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Consecutive entries of a queue from some offset on, for every group.
    pub entries: BTreeMap<(TopicId, QueueNo), Vec<QueueEntry>>,
    /// The same for one group, which stands elsewhere in the queue than the entries above.
    pub own_entries: BTreeMap<(GroupId, TopicId, QueueNo), Vec<QueueEntry>>,
    /// For a subscription or seek that starts at a time: the first offset ready at or after it.
    pub offsets: BTreeMap<(TopicId, QueueNo), u64>,
    /// The entries (offset not yet given: 0) of scheduled messages that are due.
    pub due: BTreeMap<Position, QueueEntry>,
    /// Attributes of messages among the entries, for filters that need them; none for a message that is damaged.
    pub attributes: BTreeMap<Position, Option<Arc<Attributes>>>,
}

/// Bytes from which on an entry is closed.
const ENTRY_BYTES: usize = 1 << 20;
/// Bytes of leases that always find room in an entry.
const LEASE_BYTES: usize = 256 << 10;
/// Facts from which on an entry is closed; a fact's slot must fit 16 bits, and one request may add thousands.
const ENTRY_FACTS: usize = 50_000;

/// The next batch, while it is being decided.
pub struct Draft {
    /// The state as it will be when the batch is applied.
    pub(super) machine: Machine,
    pub(super) time: Timestamp,
    pub(super) facts: Vec<Fact>,
    /// About how many bytes the entry will have.
    pub(super) bytes: usize,
    /// Entries of messages made ready by this very batch.
    pub(super) fresh: BTreeMap<(TopicId, QueueNo), Vec<QueueEntry>>,
    /// Most messages that the node may hold.
    pub(super) held_max: u64,
    base: u64,
    /// Bytes from which on this entry is closed.
    full_at: usize,
    effects: Effects,
    pub(super) nonces: Box<dyn FnMut() -> u64 + Send>,
}

impl std::fmt::Debug for Draft {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Draft")
            .field("time", &self.time)
            .field("base", &self.base)
            .field("facts", &self.facts.len())
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Draft {
    /// Starts a batch on top of `machine`, at log time `time` (raised to the machine's own if that is later). Each
    /// lease takes one number from `nonces`; they must not be guessable.
    #[must_use]
    pub fn new(machine: &Machine, time: Timestamp, nonces: Box<dyn FnMut() -> u64 + Send>) -> Draft {
        Draft {
            machine: machine.clone(),
            time: time.max(machine.now),
            facts: Vec::new(),
            bytes: 0,
            fresh: BTreeMap::new(),
            held_max: HELD_MAX as u64,
            base: machine.base,
            full_at: ENTRY_BYTES,
            effects: Effects::default(),
            nonces,
        }
    }

    /// The log time of the batch.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// About how many bytes the entry will have.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// How many facts it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether nothing happened yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }

    /// Whether the entry should be closed now and what waits go into the next one.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.bytes >= self.full_at || self.facts.len() >= ENTRY_FACTS
    }

    /// Keeps room for leases whatever else the entry holds, so that producers who fill every entry starve no consumer.
    pub fn grant_leases(&mut self) {
        self.full_at = self.full_at.max(self.bytes + LEASE_BYTES);
    }

    /// The state with everything decided so far applied. Messages of this very entry stand in it at [`OWN_ENTRY`].
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// The groups that got something to hand out since this was asked last: their waiting receives are worth deciding
    /// in this very batch.
    pub fn take_woken(&mut self) -> BTreeSet<GroupId> {
        self.effects.ended.clear();
        std::mem::take(&mut self.effects.woken)
    }

    /// Opens a leadership: the only fact of its batch. The draft must be empty.
    pub fn start_leadership(&mut self, node: u64) {
        if self.facts.is_empty() {
            self.push(Fact::LeaderStart { node });
        }
    }

    /// Adds a fact and applies it to the draft. Answers the slot it got.
    pub(super) fn push(&mut self, fact: Fact) -> u16 {
        let slot = u16::try_from(self.facts.len()).unwrap_or(u16::MAX);
        let at = Position { index: OWN_ENTRY, slot };
        self.machine.apply_fact(&fact, at, self.time, &mut self.effects);
        match &fact {
            Fact::Produced(produced) => {
                if let ProducedAs::Ready { offset } = produced.state {
                    let entry = produced.entry(at, offset, self.time);
                    self.fresh.entry((produced.topic, produced.queue)).or_default().push(entry);
                }
            }
            Fact::ScheduleDue(due) => {
                self.fresh.entry((due.topic, due.queue)).or_default().push(due.entry.clone());
            }
            _ => {}
        }
        self.bytes += fact.about_bytes();
        self.facts.push(fact);
        slot
    }

    /// The batch; none when nothing happened.
    #[must_use]
    pub fn finish(self) -> Option<Batch> {
        if self.facts.is_empty() {
            return None;
        }
        let mut batch = Batch { base: self.base, time: self.time, facts: self.facts };
        if batch.starts_leadership() {
            batch.base = 0;
        }
        Some(batch)
    }
}
