//! Attributes of messages, for filters that look at more than the tag. Read from the log before deciding, and kept
//! for a while: a group is asked about the same messages again and again until it has passed them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::machine::{Candidates, Machine, Want, decode_message};
use crate::model::{Attributes, CANDIDATES_MAX, GroupId, Position, QueueEntry};
use crate::storage::StorageError;

use super::core::Core;

/// Most bytes of attributes that are kept.
const KEPT_BYTES: usize = 16 << 20;
/// What one message takes in memory besides its texts, about.
const MESSAGE_BYTES: usize = 400;
/// Most messages and bytes read for all groups in one batch, and for one group of them. However much that is, each
/// queue that is wanted gets one message, so that all get on.
const BATCH: Reads = Reads { messages: 4_096, bytes: 16 << 20 };
const GROUP: Reads = Reads { messages: 512, bytes: 4 << 20 };

/// How much may be read.
#[derive(Clone, Copy)]
pub(super) struct Reads {
    messages: u64,
    bytes: u64,
}

impl Reads {
    /// What all groups of one batch may read.
    pub(super) fn for_a_batch() -> Reads {
        BATCH
    }

    fn is_spent(&self) -> bool {
        self.messages == 0 || self.bytes == 0
    }

    /// For one message.
    fn spend(&mut self, bytes: u64) {
        self.messages = self.messages.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// What the log says of one message: none when it is damaged.
pub(super) type Known = Option<Arc<Attributes>>;

/// The messages read last, the oldest first to go. Locked for a look-up only, never while reading.
#[derive(Default)]
pub(super) struct Kept(Mutex<State>);

#[derive(Default)]
struct State {
    known: BTreeMap<Position, Known>,
    order: VecDeque<(Position, usize)>,
    bytes: usize,
}

impl Kept {
    fn get(&self, position: Position) -> Option<Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).known.get(&position).cloned()
    }

    fn put(&self, position: Position, known: &Known) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.known.insert(position, known.clone()).is_some() {
            return;
        }
        let bytes = MESSAGE_BYTES + known.as_ref().map_or(0, |attributes| attributes.bytes());
        state.order.push_back((position, bytes));
        state.bytes += bytes;
        while state.bytes > KEPT_BYTES {
            let Some((oldest, bytes)) = state.order.pop_front() else { break };
            state.known.remove(&oldest);
            state.bytes -= bytes;
        }
    }
}

impl Core {
    /// Reads the attributes of a message; none when it is damaged or gone.
    ///
    /// # Errors
    /// When the disk does not answer now.
    pub(super) fn read_attributes(&self, position: Position) -> Result<Known, StorageError> {
        let part = self.replication.log().part(position.index, usize::from(position.slot) + 1);
        let message = match part {
            Ok(part) => part.and_then(|part| decode_message(&part).ok()),
            Err(StorageError::Damaged { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(message.map(|(message, _)| Arc::new(message.attributes)))
    }

    /// Adds what the group's filters need to know of the entries that it wants; its queues share the budget.
    pub(super) fn add_attributes(
        &self,
        (machine, group): (&Machine, GroupId),
        wants: &[Want],
        candidates: &mut Candidates,
        left: &mut Reads,
    ) {
        let asked = wants.iter().filter(|want| machine.filter_needs_attributes(group, want.topic));
        let asked: Vec<&Want> = asked.collect();
        let share = (CANDIDATES_MAX / asked.len().max(1)).max(1);
        let mut reads =
            Reads { messages: GROUP.messages.min(left.messages), bytes: GROUP.bytes.min(left.bytes) };
        for want in asked {
            let own = candidates.own_entries.get(&(group, want.topic, want.queue));
            let Some(entries) = own.or_else(|| candidates.entries.get(&(want.topic, want.queue))) else {
                continue;
            };
            let ahead = entries.iter().filter(|entry| entry.offset >= want.from).take(share);
            for (at, entry) in ahead.enumerate() {
                let known = match self.kept_attributes.get(entry.position) {
                    None if at > 0 && reads.is_spent() => break,
                    None => self.read_and_keep(entry, [&mut reads, left]),
                    known => known,
                };
                let Some(known) = known else { break };
                candidates.attributes.insert(entry.position, known);
            }
        }
    }

    /// None when the disk does not answer.
    fn read_and_keep(&self, entry: &QueueEntry, budgets: [&mut Reads; 2]) -> Option<Known> {
        match self.read_attributes(entry.position) {
            Ok(known) => {
                let texts = known.as_ref().map_or(0, |attributes| attributes.bytes() as u64);
                for reads in budgets {
                    reads.spend(u64::from(entry.body_bytes) + texts);
                }
                self.kept_attributes.put(entry.position, &known);
                Some(known)
            }
            Err(error) => {
                tracing::error!(%error, "a message that a filter asks about cannot be read now; its queue waits");
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_the_bytes_are_bounded() {
        let kept = Kept::default();
        let at = |index: u64| Position { index, slot: 0 };
        let large = Attributes { tag: Some("x".repeat(1 << 20).into()), ..Attributes::default() };
        let large = Some(Arc::new(large));
        for index in 0..40 {
            kept.put(at(index), &large);
            kept.put(at(index), &large);
        }
        kept.put(at(99), &None);
        assert_eq!(kept.get(at(0)), None);
        assert_eq!(kept.get(at(39)), Some(large));
        assert_eq!(kept.get(at(99)), Some(None), "damage is remembered as well");
        let state = kept.0.lock().unwrap();
        assert!(
            state.bytes <= KEPT_BYTES && state.known.len() == state.order.len() && state.known.len() > 10
        );
    }
}
