//! Looking at the state without changing it.

use std::ops::Bound;
use std::sync::Arc;

use crate::model::{GroupId, GroupName, Place, Position, QueueNo, Timestamp, TopicId, TopicName};

use super::filter::filter_of;
use super::receive::queues_in_turn;
use super::state::{Dead, Group, Item, Machine, Progress, Scheduled, Topic};

/// Entries of a queue that a receive could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Want {
    /// The topic.
    pub topic: TopicId,
    /// The queue.
    pub queue: QueueNo,
    /// The first offset not looked at.
    pub from: u64,
    /// The end of the queue.
    pub until: u64,
}

/// A group in one topic, in numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupStats {
    /// Messages ready, leased or retrying. For a filtered subscription this counts all of `unlooked`, whether they
    /// match or not.
    pub lag: u64,
    /// Those not looked at yet.
    pub unlooked: u64,
    /// Whether the subscription has a filter, so that `unlooked` is only an upper bound.
    pub filtered: bool,
    /// `lag` without leased and retrying ones.
    pub ready: u64,
    /// Leased.
    pub leased: u64,
    /// Waiting for a retry.
    pub retrying: u64,
    /// When the oldest message that was looked at and is not settled became ready.
    pub oldest_ready_at: Option<Timestamp>,
}

impl Machine {
    /// Log time of the last batch that took effect.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Index of the last batch or leader start that took effect.
    #[must_use]
    pub fn base(&self) -> u64 {
        self.base
    }

    /// Index of the last entry applied.
    #[must_use]
    pub fn applied(&self) -> u64 {
        self.applied
    }

    /// When the next thing comes due; none when nothing will. What should be swept is due now.
    #[must_use]
    pub fn next_due(&self) -> Option<Timestamp> {
        let is_clean = self.trash.is_empty() && self.dead_trash.is_empty() && self.schedule_trash.is_empty();
        if !is_clean {
            return Some(self.now);
        }
        let item = self.deadlines.get_min().map(|deadline| deadline.at);
        item.into_iter().chain(self.next_schedule()).chain(self.keys.next_due()).min()
    }

    /// When the first scheduled message is due; none when none is scheduled.
    #[must_use]
    pub fn next_schedule(&self) -> Option<Timestamp> {
        self.next_scheduled.get_min().map(|(due, ..)| *due)
    }

    /// All scheduled messages, topic by topic, each topic's in (due, position) order.
    pub fn scheduled(&self) -> impl Iterator<Item = (Timestamp, Position, Scheduled)> + '_ {
        self.topics.iter().flat_map(|(id, topic)| {
            let of_topic = topic.schedule.iter();
            of_topic
                .map(|((due, position), queue)| (*due, *position, Scheduled { topic: *id, queue: *queue }))
        })
    }

    /// Topics by name.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &Topic)> {
        self.topic_names.values().filter_map(|id| Some((*id, self.topic_by_id(*id)?)))
    }

    /// Topics by name, from the one behind `after` on.
    pub fn topics_after(&self, after: Option<&TopicName>) -> impl Iterator<Item = (TopicId, &Topic)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.topic_names.range::<_, TopicName>((from, Bound::Unbounded)).map(|(_, id)| *id);
        ids.filter_map(|id| Some((id, self.topic_by_id(id)?)))
    }

    /// The topic of that name.
    #[must_use]
    pub fn topic(&self, name: &TopicName) -> Option<(TopicId, &Topic)> {
        let id = *self.topic_names.get(name)?;
        Some((id, self.topic_by_id(id)?))
    }

    /// A topic that is not deleted.
    #[must_use]
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Topic> {
        self.topics.get(&id).map(Arc::as_ref)
    }

    /// Groups by name.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &Group)> {
        self.group_names.values().filter_map(|id| Some((*id, self.group_by_id(*id)?)))
    }

    /// Groups by name, from the one behind `after` on.
    pub fn groups_after(&self, after: Option<&GroupName>) -> impl Iterator<Item = (GroupId, &Group)> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let ids = self.group_names.range::<_, GroupName>((from, Bound::Unbounded)).map(|(_, id)| *id);
        ids.filter_map(|id| Some((id, self.group_by_id(id)?)))
    }

    /// The group of that name.
    #[must_use]
    pub fn group(&self, name: &GroupName) -> Option<(GroupId, &Group)> {
        let id = *self.group_names.get(name)?;
        Some((id, self.group_by_id(id)?))
    }

    /// A group that is not deleted.
    #[must_use]
    pub fn group_by_id(&self, id: GroupId) -> Option<&Group> {
        self.groups.get(&id).map(Arc::as_ref)
    }

    /// The first kept and the next offset of a queue; none when there is no such queue.
    #[must_use]
    pub fn queue_bounds(&self, topic: TopicId, queue: QueueNo) -> Option<(u64, u64)> {
        let state = self.topics.get(&topic)?.queues.get(usize::from(queue))?;
        Some((state.first_kept, state.next_offset))
    }

    /// The queues where a receive of this group could use entries of the index, in turn order. Empty when it is paused
    /// or holds as many leases as it may.
    #[must_use]
    pub fn wants(&self, group: &GroupName, topic: Option<&TopicName>, turn: u32) -> Vec<Want> {
        let Some((_, group)) = self.group(group) else { return Vec::new() };
        if group.paused || group.in_flight >= u64::from(group.settings.max_in_flight) {
            return Vec::new();
        }
        let only = match topic {
            None => None,
            Some(name) => match self.topic_names.get(name) {
                None => return Vec::new(),
                found => found.copied(),
            },
        };
        let want = |(topic, queue)| {
            let progress = group.progress.get(&(topic, queue))?;
            let until = self.next_offset(topic, queue);
            let from = progress.next;
            (from < until && progress.look_ahead_room() > 0).then_some(Want { topic, queue, from, until })
        };
        queues_in_turn(group, only, turn).into_iter().filter_map(want).collect()
    }

    /// A group in one topic, in numbers; none when it does not subscribe. Costs as much as there are unsettled messages
    /// that were looked at.
    #[must_use]
    pub fn stats(&self, group: GroupId, topic: TopicId) -> Option<GroupStats> {
        let found = self.groups.get(&group)?;
        let name = &self.topics.get(&topic)?.name;
        let mut stats =
            GroupStats { filtered: !filter_of(&found.settings, name).is_all(), ..GroupStats::default() };
        found.progress.get(&(topic, 0))?;
        for ((_, queue), progress) in found.progress.range((topic, 0)..=(topic, QueueNo::MAX)) {
            stats.unlooked += progress.unlooked(self.next_offset(topic, *queue));
            stats.lag += progress.items.len() as u64;
            stats.leased += progress.leased;
            stats.retrying += progress.retrying;
            let oldest = progress.items.values().map(|item| item.ready_at).min();
            stats.oldest_ready_at = stats.oldest_ready_at.into_iter().chain(oldest).min();
        }
        stats.lag += stats.unlooked;
        stats.ready = stats.lag.saturating_sub(stats.leased + stats.retrying);
        Some(stats)
    }

    /// Calls `visit` with every position whose body must stay, besides what queues keep: unsettled messages that were
    /// looked at, scheduled and dead ones, the failures in their histories, and what answers a request that is sent
    /// again.
    pub fn for_each_pin(&self, mut visit: impl FnMut(Position)) {
        let mut with_history = |position: Position, history: Option<&super::state::History>| {
            visit(position);
            if let Some(history) = history {
                history.first.iter().chain(&history.last).copied().for_each(&mut visit);
            }
        };
        for group in self.groups.values() {
            for item in group.progress.values().flat_map(|progress| progress.items.values()) {
                with_history(item.position, item.history.as_deref());
            }
            for (position, dead) in &group.dead {
                with_history(*position, dead.history.as_deref());
            }
        }
        for (_, position, _) in self.scheduled() {
            visit(position);
        }
        for (_, _, generation) in self.keys.generations() {
            generation.iter().for_each(|(_, told)| visit(told.position));
        }
    }
}

impl Topic {
    /// Its queues, as (number, first kept offset, next offset).
    pub fn bounds(&self) -> impl Iterator<Item = (QueueNo, u64, u64)> + '_ {
        (0..).zip(&self.queues).map(|(queue, state)| (queue, state.first_kept, state.next_offset))
    }
}

impl Group {
    /// Its dead letters after `after`, in message order.
    pub fn dead_after(&self, after: Option<Position>) -> impl Iterator<Item = (&Position, &Dead)> {
        use std::ops::Bound;
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        self.dead.range((from, Bound::Unbounded))
    }

    /// How far it is in a queue; none when it does not subscribe.
    #[must_use]
    pub fn progress(&self, topic: TopicId, queue: QueueNo) -> Option<&Progress> {
        self.progress.get(&(topic, queue)).map(Arc::as_ref)
    }

    /// What it is doing with one message of a queue; none when it has settled it or not looked at it.
    #[must_use]
    pub fn item(&self, topic: TopicId, queue: QueueNo, place: Place) -> Option<&Item> {
        self.progress.get(&(topic, queue))?.items.get(&place)
    }
}

impl Progress {
    /// Messages of the queue that were not looked at and are not settled.
    #[must_use]
    pub fn unlooked(&self, next_offset: u64) -> u64 {
        next_offset.saturating_sub(self.next).saturating_sub(self.beyond.offsets())
    }
}

impl Item {
    /// The attempt of the delivery that runs, or of the next one.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.failures.saturating_add(1)
    }
}
