//! Retention: how far back a queue may be read.

use std::sync::Arc;

use crate::model::{GroupId, Position, QueueNo, TopicId};

use super::draft::Draft;
use super::facts::Fact;
use super::state::{Machine, Progress};

impl Draft {
    /// Moves the first kept offset of queues on, as far as no subscribed group still needs what lies below; never back.
    /// Answers whether anything moved.
    pub fn retain(&mut self, topic: TopicId, wanted: &[(QueueNo, u64)]) -> bool {
        let Some(found) = self.machine.topics.get(&topic) else { return false };
        let mut firsts = Vec::new();
        for (queue, first) in wanted {
            let Some(state) = found.queues.get(usize::from(*queue)) else { continue };
            let first = (*first).min(self.machine.needed_from(topic, *queue));
            if first > state.first_kept {
                firsts.push((*queue, first));
            }
        }
        let moves = !firsts.is_empty();
        if moves {
            self.push(Fact::Kept { topic, firsts });
        }
        moves
    }
}

impl Machine {
    /// The lowest offset of a queue that a subscribed group has not settled; the end of the queue when all is settled.
    #[must_use]
    pub fn needed_from(&self, topic: TopicId, queue: QueueNo) -> u64 {
        let Some(found) = self.topics.get(&topic) else { return 0 };
        let end = self.next_offset(topic, queue);
        found.groups.iter().filter_map(|group| self.cursor(*group, topic, queue)).fold(end, u64::min)
    }

    /// The lowest offset of a queue that the group has not settled; none when it does not subscribe.
    #[must_use]
    pub fn cursor(&self, group: GroupId, topic: TopicId, queue: QueueNo) -> Option<u64> {
        let progress = self.groups.get(&group)?.progress.get(&(topic, queue))?;
        if progress.redrives == 0 {
            // All stand at their own offsets, so the first is the lowest.
            return Some(progress.items.get_min().map_or(progress.next, |(place, _)| place.offset));
        }
        Some(progress.items.values().map(|item| item.offset).fold(progress.next, u64::min))
    }

    pub(super) fn apply_kept(&mut self, topic: TopicId, firsts: &[(QueueNo, u64)]) {
        let Some(found) = self.topics.get_mut(&topic) else { return };
        let found = Arc::make_mut(found);
        for (queue, first) in firsts {
            if let Some(state) = found.queues.get_mut(usize::from(*queue)) {
                state.first_kept = state.first_kept.max(*first);
            }
        }
        for group in &found.groups {
            let Some(group) = self.groups.get_mut(group) else { continue };
            for (queue, first) in firsts {
                let passed =
                    |progress: &Arc<Progress>| progress.void.first().is_some_and(|(start, _)| start < *first);
                if group.progress.get(&(topic, *queue)).is_some_and(passed)
                    && let Some(progress) = Arc::make_mut(group).progress.get_mut(&(topic, *queue))
                {
                    Arc::make_mut(progress).void.remove(0, *first);
                }
            }
        }
    }

    /// Whether some group still holds on to a message, wherever the queue is kept from: it is a dead letter, or was
    /// one and is not settled again.
    #[must_use]
    pub fn is_held(&self, topic: TopicId, queue: QueueNo, position: Position) -> bool {
        self.groups.values().any(|group| {
            let progress = group.progress.get(&(topic, queue));
            group.dead.contains_key(&position)
                || progress.is_some_and(|progress| progress.redriven.contains_key(&position))
        })
    }
}
