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
/// Most messages read for all groups in one batch, and most bytes for all and for one of them. However much that is,
/// each queue that is wanted gets one message, so that all get on.
const BATCH_MESSAGES: usize = 4_096;
const BATCH_BYTES: u64 = 16 << 20;
const GROUP_BYTES: u64 = 4 << 20;

/// Messages that filters ask about and that are not known, by group and queue.
#[derive(Default)]
pub(super) struct Asked {
    groups: Vec<Vec<Vec<QueueEntry>>>,
    messages: usize,
}

impl Asked {
    pub(super) fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Asks about entries of one queue.
    pub(super) fn add<'a>(&mut self, entries: impl Iterator<Item = &'a QueueEntry>) {
        let mut unknown = Vec::new();
        for entry in entries {
            if !self.note(entry, &mut unknown) {
                break;
            }
        }
        self.groups.push(vec![unknown]);
    }

    /// Notes an entry among those of its queue; answers whether there was room. For the first of them there always is.
    fn note(&mut self, entry: &QueueEntry, of_queue: &mut Vec<QueueEntry>) -> bool {
        let has_room = of_queue.is_empty() || self.messages < BATCH_MESSAGES;
        if has_room {
            self.messages += 1;
            of_queue.push(entry.clone());
        }
        has_room
    }
}

/// How many messages of each queue a group's filters may ask about in one batch; 0 when none of them wants to know more
/// than the tag.
pub(super) fn share(machine: &Machine, group: GroupId, wants: &[Want]) -> usize {
    let asking = wants.iter().filter(|want| machine.filter_needs_attributes(group, want.topic)).count();
    CANDIDATES_MAX.checked_div(asking).map_or(0, |share| share.max(1))
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

    /// Adds what the group's filters need to know of the entries that it wants, as far as it is kept; the rest is
    /// `asked`. Of each queue these are `share` messages.
    pub(super) fn known_attributes(
        &self,
        (machine, group): (&Machine, GroupId),
        (wants, share): (&[Want], usize),
        candidates: &mut Candidates,
        asked: &mut Asked,
    ) {
        let mut by_queue = Vec::new();
        for want in wants.iter().filter(|want| machine.filter_needs_attributes(group, want.topic)) {
            let own = candidates.own_entries.get(&(group, want.topic, want.queue));
            let Some(entries) = own.or_else(|| candidates.entries.get(&(want.topic, want.queue))) else {
                continue;
            };
            let mut unknown = Vec::new();
            for entry in entries.iter().filter(|entry| entry.offset >= want.from).take(share) {
                if candidates.attributes.contains_key(&entry.position) {
                    continue;
                }
                if let Some(known) = self.kept_attributes.get(entry.position) {
                    candidates.attributes.insert(entry.position, known);
                } else if !asked.note(entry, &mut unknown) {
                    break;
                }
            }
            by_queue.extend(Some(unknown).filter(|unknown| !unknown.is_empty()));
        }
        asked.groups.extend(Some(by_queue).filter(|by_queue| !by_queue.is_empty()));
    }

    /// Reads what is asked about, as far as the budgets go; waits for the disk. What was read is kept as well.
    pub(super) fn read_asked(&self, asked: &Asked) -> Vec<(Position, Known)> {
        let mut found = Vec::new();
        let mut left = BATCH_BYTES;
        for by_queue in &asked.groups {
            let mut groups_left = GROUP_BYTES.min(left);
            for entries in by_queue {
                for (at, entry) in entries.iter().enumerate() {
                    if at > 0 && groups_left == 0 {
                        break;
                    }
                    // Without this one the group gets no further in its queue.
                    let Some(known) = self.read_and_keep(entry) else { break };
                    let texts = known.as_ref().map_or(0, |attributes| attributes.bytes() as u64);
                    let bytes = u64::from(entry.body_bytes) + texts;
                    groups_left = groups_left.saturating_sub(bytes);
                    left = left.saturating_sub(bytes);
                    found.push((entry.position, known));
                }
            }
        }
        found
    }

    /// None when the disk does not answer.
    fn read_and_keep(&self, entry: &QueueEntry) -> Option<Known> {
        match self.read_attributes(entry.position) {
            Ok(known) => {
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
