//! Scheduled messages: they take their place in the queue when they come due, never early.

use std::sync::Arc;

use crate::model::{Position, Timestamp};

use super::apply::Effects;
use super::draft::{Candidates, Draft};
use super::facts::{Fact, ScheduleDue};
use super::state::{Machine, Scheduled};

impl Draft {
    /// The message at `key` is ready now; false when its entry is not among the candidates. Its TTL counts from the due
    /// time (the candidate says when it ends), its place in the queue from now.
    pub(super) fn schedule_due(
        &mut self,
        (due, position): (Timestamp, Position),
        scheduled: Scheduled,
        candidates: &Candidates,
    ) -> bool {
        let Some(entry) = candidates.due.get(&position) else { return false };
        let Scheduled { topic, queue } = scheduled;
        let mut entry = entry.clone();
        entry.position = position;
        entry.offset = self.machine.next_offset(topic, queue);
        entry.ready_at = self.time;
        self.push(Fact::ScheduleDue(ScheduleDue { topic, queue, due, entry }));
        true
    }
}

impl Machine {
    pub(super) fn apply_schedule_due(&mut self, due: &ScheduleDue, effects: &mut Effects) {
        self.scheduled.remove(&(due.due, due.entry.position));
        let Some(topic) = self.topics.get_mut(&due.topic) else { return };
        let topic = Arc::make_mut(topic);
        topic.scheduled = topic.scheduled.saturating_sub(1);
        if let Some(queue) = topic.queues.get_mut(due.queue.into()) {
            queue.next_offset = queue.next_offset.max(due.entry.offset + 1);
        }
        effects.woken.extend(topic.groups.iter().copied());
    }
}
