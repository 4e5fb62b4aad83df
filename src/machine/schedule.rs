//! Scheduled messages: they take their place in the queue when they come due, never early; until then they can be taken
//! back.
//!
//! Every topic has its own schedule, so that a deleted topic's goes to the trash as a whole; the first of each stands
//! in [`Machine::next_scheduled`].

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use crate::model::{Position, QueueNo, Timestamp, TopicId};

use super::apply::Effects;
use super::draft::{Candidates, Draft};
use super::facts::{Fact, ScheduleDue};
use super::refusal::Refusal;
use super::state::{Machine, Schedule, Scheduled, Topic};

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

    /// Takes a message out of the schedule of its topic: it never becomes ready, and its body need not be kept.
    ///
    /// # Errors
    /// `NotScheduled` when it does not stand there, or not any more.
    pub fn cancel(&mut self, topic: TopicId, (due, position): (Timestamp, Position)) -> Result<(), Refusal> {
        if !self.machine.is_scheduled(topic, due, position) {
            return Err(Refusal::NotScheduled);
        }
        self.push(Fact::Cancelled { topic, due, position });
        Ok(())
    }
}

impl Machine {
    /// The message at `key` waits in `queue` of a topic.
    pub(super) fn schedule(&mut self, topic: TopicId, key: (Timestamp, Position), queue: QueueNo) {
        self.change_schedule(topic, |schedule| schedule.insert(key, queue));
    }

    /// Changes a topic's schedule, and what is known of it besides.
    fn change_schedule<T>(&mut self, id: TopicId, change: impl FnOnce(&mut Schedule) -> T) {
        let Some(topic) = self.topics.get_mut(&id) else { return };
        let schedule = &mut Arc::make_mut(topic).schedule;
        let (first, count) = (schedule.get_min().map(|(key, _)| *key), schedule.len() as u64);
        change(schedule);
        self.held = (self.held + schedule.len() as u64).saturating_sub(count);
        let now_first = schedule.get_min().map(|(key, _)| *key);
        if first == now_first {
            return;
        }
        if let Some((due, position)) = first {
            self.next_scheduled.remove(&(due, position, id));
        }
        if let Some((due, position)) = now_first {
            self.next_scheduled.insert((due, position, id));
        }
    }

    pub(super) fn apply_schedule_due(&mut self, due: &ScheduleDue, effects: &mut Effects) {
        self.change_schedule(due.topic, |schedule| schedule.remove(&(due.due, due.entry.position)));
        let Some(topic) = self.topics.get_mut(&due.topic) else { return };
        let topic = Arc::make_mut(topic);
        if let Some(queue) = topic.queues.get_mut(due.queue.into()) {
            queue.next_offset = queue.next_offset.max(due.entry.offset + 1);
        }
        effects.woken.extend(topic.groups.iter().copied());
    }

    pub(super) fn apply_cancelled(&mut self, topic: TopicId, key: (Timestamp, Position)) {
        self.change_schedule(topic, |schedule| schedule.remove(&key));
    }

    /// The schedule of a topic that is gone is void at once, and swept a few messages at a time.
    pub(super) fn drop_schedule(&mut self, id: TopicId, schedule: Schedule) {
        let Some(((due, position), _)) = schedule.get_min() else { return };
        self.next_scheduled.remove(&(*due, *position, id));
        self.held = self.held.saturating_sub(schedule.len() as u64);
        self.schedule_trash.push_back(schedule);
    }

    /// Scheduled messages that are due at `now`, in order: their entries are what a tick needs as candidates.
    #[must_use]
    pub fn due_scheduled(&self, limit: usize, now: Timestamp) -> Vec<(Timestamp, Position, Scheduled)> {
        let topics = self.next_scheduled.iter().take_while(|(due, ..)| *due <= now);
        // In line stands the first of every topic that was not taken yet.
        let mut line = BTreeMap::new();
        for (_, _, id) in topics {
            let mut waiting = self.topics.get(id).into_iter().flat_map(|topic| &topic.schedule);
            if let Some((key, queue)) = waiting.next() {
                line.insert(*key, (*id, *queue, waiting));
            }
        }
        let mut due = Vec::new();
        while due.len() < limit
            && let Some(((at, position), (topic, queue, mut waiting))) = line.pop_first()
        {
            due.push((at, position, Scheduled { topic, queue }));
            if let Some((key, queue)) = waiting.next().filter(|((at, _), _)| *at <= now) {
                line.insert(*key, (topic, *queue, waiting));
            }
        }
        due
    }

    /// The scheduled message that is due first.
    pub(super) fn first_scheduled(&self) -> Option<((Timestamp, Position), Scheduled)> {
        let (due, position, topic) = *self.next_scheduled.get_min()?;
        let queue = *self.topics.get(&topic)?.schedule.get(&(due, position))?;
        Some(((due, position), Scheduled { topic, queue }))
    }

    /// Whether the message at `position` of this topic still waits for `due`.
    #[must_use]
    pub fn is_scheduled(&self, topic: TopicId, due: Timestamp, position: Position) -> bool {
        self.topics.get(&topic).is_some_and(|topic| topic.schedule.contains_key(&(due, position)))
    }
}

impl Machine {
    /// The scheduled messages of all topics that become ready first, in that order, at most `limit`.
    #[must_use]
    pub fn upcoming(&self, limit: usize) -> Vec<(Timestamp, Position)> {
        let mut first = BTreeSet::new();
        // A topic's messages come no earlier than its first one, so no more topics are needed than messages.
        for (.., id) in self.next_scheduled.iter().take(limit) {
            let Some(topic) = self.topic_by_id(*id) else { continue };
            for key in topic.scheduled_after(None).take(limit) {
                first.insert(key);
                if first.len() > limit && first.pop_last() == Some(key) {
                    break;
                }
            }
        }
        first.into_iter().collect()
    }
}

impl Topic {
    /// Its scheduled messages behind `after`, in (due, position) order.
    pub fn scheduled_after(
        &self,
        after: Option<(Timestamp, Position)>,
    ) -> impl Iterator<Item = (Timestamp, Position)> + '_ {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.schedule.range((from, Bound::Unbounded)).map(|(key, _)| *key)
    }
}
