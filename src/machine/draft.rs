//! The draft of the next batch.

use std::collections::BTreeMap;

use crate::model::{Position, QueueNo, Timestamp, TopicId};

use super::entry::QueueEntry;
use super::facts::{Batch, Fact, OWN_ENTRY};
use super::state::Machine;

/// What the broker read from the index and the log before deciding, so that deciding does no I/O. All of it is checked
/// against the state: stale candidates are harmless, missing ones are asked for again.
#[derive(Clone, Debug, Default)]
pub struct Candidates {
    /// Consecutive entries of a queue from some offset on.
    pub entries: BTreeMap<(TopicId, QueueNo), Vec<QueueEntry>>,
    /// For a subscription or seek that starts at a time: the first offset ready at or after it.
    pub offsets: BTreeMap<(TopicId, QueueNo), u64>,
    /// The entries (offset not yet given: 0) of scheduled messages that are due.
    pub due: BTreeMap<Position, QueueEntry>,
}

/// The next batch, while it is being decided.
#[derive(Debug)]
pub struct Draft {
    /// The state as it will be when the batch is applied.
    pub(super) machine: Machine,
    pub(super) time: Timestamp,
    pub(super) facts: Vec<Fact>,
    /// About how many bytes the entry will have.
    pub(super) bytes: usize,
    /// Entries of messages made ready by this very batch.
    pub(super) fresh: BTreeMap<(TopicId, QueueNo), Vec<QueueEntry>>,
    base: u64,
}

impl Draft {
    /// Starts a batch on top of `machine`, at log time `time` (raised to the machine's own if that is later).
    #[must_use]
    pub fn new(machine: &Machine, time: Timestamp) -> Draft {
        Draft {
            machine: machine.clone(),
            time: time.max(machine.now),
            facts: Vec::new(),
            bytes: 0,
            fresh: BTreeMap::new(),
            base: machine.base,
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

    /// The state with everything decided so far applied.
    #[must_use]
    pub fn machine(&self) -> &Machine {
        &self.machine
    }

    /// Adds a fact and applies it to the draft. Answers the slot it got.
    pub(super) fn push(&mut self, fact: Fact) -> u16 {
        let slot = u16::try_from(self.facts.len()).unwrap_or(u16::MAX);
        self.machine.apply_fact(
            &fact,
            Position { index: OWN_ENTRY, slot },
            self.time,
            &mut super::apply::Effects::default(),
        );
        self.facts.push(fact);
        slot
    }

    /// The batch; none when nothing happened.
    #[must_use]
    pub fn finish(self) -> Option<Batch> {
        if self.facts.is_empty() {
            return None;
        }
        Some(Batch { base: self.base, time: self.time, facts: self.facts })
    }
}
