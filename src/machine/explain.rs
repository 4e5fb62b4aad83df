//! Why the messages of a group wait: one bounded look at what it has looked at and not settled.

use std::collections::BTreeMap;

use crate::model::{GroupId, Position, QueueNo, Timestamp, TopicId};

use super::state::{Group, Item, ItemState, Machine, Progress};

/// Most queues and most lanes that are told of one topic.
const TOLD_MAX: usize = 8;

/// What keeps a group from getting messages of one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HoldUps {
    /// Messages that it has not looked at, matching or not.
    pub unlooked: u64,
    /// Those that may be leased now.
    pub ready: u64,
    /// Those that are leased.
    pub leased: u64,
    /// Those that wait for a retry.
    pub retrying: u64,
    /// Of the retrying: those that have used up their attempts and wait for room among the dead letters.
    pub used_up: u64,
    /// The lease that runs out first.
    pub first_lease: Option<Held>,
    /// The retry that is due first.
    pub first_retry: Option<Held>,
    /// Queues in which the group may not look further, and the message that each of them waits for.
    pub full: Vec<(Held, u64)>,
    /// Lanes whose first message is leased or retrying while others wait behind it: that message, and how many wait.
    /// Those with the most come first.
    pub lanes: Vec<(Held, u64)>,
    /// How many such lanes there are in all.
    pub lanes_total: u64,
}

/// A message that others wait for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its queue.
    pub queue: QueueNo,
    /// Its offset.
    pub offset: u64,
    /// The message.
    pub position: Position,
    /// The attempt that runs, or comes next.
    pub attempt: u32,
    /// What is happening to it.
    pub state: ItemState,
}

impl Held {
    fn of(queue: QueueNo, item: &Item) -> Held {
        let (offset, position) = (item.offset, item.position);
        Held { queue, offset, position, attempt: item.attempt(), state: item.state.clone() }
    }

    /// When what is happening to it ends by itself; none when it waits for something else.
    #[must_use]
    pub fn until(&self) -> Option<Timestamp> {
        until(&self.state)
    }
}

fn until(state: &ItemState) -> Option<Timestamp> {
    match state {
        ItemState::Leased(lease) => Some(lease.until),
        ItemState::Retrying { due } => Some(*due),
        ItemState::Parked | ItemState::Ready => None,
    }
}

impl Machine {
    /// What keeps `group` from getting messages of `topic`; none when it does not subscribe to it. Looks at no more
    /// than `budget` messages and takes what it looked at off it; at 0 the details are not complete, while the plain
    /// counts `unlooked`, `leased` and `retrying` always are.
    #[must_use]
    pub fn hold_ups(&self, group: GroupId, topic: TopicId, budget: &mut usize) -> Option<HoldUps> {
        let group = self.groups.get(&group)?;
        group.progress.get(&(topic, 0))?;
        let mut found = HoldUps::default();
        for ((_, queue), progress) in group.progress.range((topic, 0)..=(topic, QueueNo::MAX)) {
            let next_offset = self.next_offset(topic, *queue);
            found.unlooked += progress.unlooked(next_offset);
            found.leased += progress.leased;
            found.retrying += progress.retrying;
            found.ready += progress.ready.len() as u64;
            if progress.next < next_offset
                && progress.look_ahead_room() == 0
                && found.full.len() < TOLD_MAX
                && let Some(oldest) = progress.items.values().next()
            {
                found.full.push((Held::of(*queue, oldest), progress.items.len() as u64));
            }
            if progress.leased + progress.retrying > 0 {
                found.look_into(group, (*queue, progress), budget);
            }
        }
        found.lanes.sort_by_key(|(head, waiting)| (std::cmp::Reverse(*waiting), head.position));
        found.lanes.truncate(TOLD_MAX);
        Some(found)
    }
}

impl HoldUps {
    /// Notes what its messages in one queue are doing.
    fn look_into(&mut self, group: &Group, (queue, progress): (QueueNo, &Progress), budget: &mut usize) {
        for item in progress.items.values() {
            let Some(left) = budget.checked_sub(1) else { return };
            *budget = left;
            let first = match item.state {
                ItemState::Leased(_) => &mut self.first_lease,
                ItemState::Retrying { .. } => {
                    self.used_up += u64::from(item.failures >= group.settings.max_attempts);
                    &mut self.first_retry
                }
                ItemState::Parked | ItemState::Ready => continue,
            };
            if first.as_ref().is_none_or(|first| until(&item.state) < first.until()) {
                *first = Some(Held::of(queue, item));
            }
        }
        if group.settings.ordered {
            self.walk_lanes((queue, progress), budget);
        }
    }

    /// Notes the lanes that are held.
    fn walk_lanes(&mut self, (queue, progress): (QueueNo, &Progress), budget: &mut usize) {
        let mut lane: Option<(u64, Option<&Item>)> = None;
        let mut waiting = 0;
        for (key, place) in &progress.lanes {
            let Some(left) = budget.checked_sub(1) else { break };
            *budget = left;
            let item = progress.items.get(place);
            match lane {
                Some((known, _)) if known == *key => {
                    waiting += u64::from(item.is_some_and(|item| item.state == ItemState::Parked));
                }
                _ => {
                    self.note_lane(queue, lane, waiting);
                    (lane, waiting) = (Some((*key, item)), 0);
                }
            }
        }
        self.note_lane(queue, lane, waiting);
    }

    fn note_lane(&mut self, queue: QueueNo, lane: Option<(u64, Option<&Item>)>, waiting: u64) {
        let Some((_, Some(head))) = lane else { return };
        if waiting == 0 || until(&head.state).is_none() {
            return;
        }
        self.lanes_total += 1;
        self.lanes.push((Held::of(queue, head), waiting));
        // What is kept stays small however many lanes there are.
        if self.lanes.len() > 8 * TOLD_MAX {
            self.lanes.sort_by_key(|(_, waiting)| std::cmp::Reverse(*waiting));
            self.lanes.truncate(TOLD_MAX);
        }
    }
}

impl Group {
    /// How many leases each client holds over plain HTTP in this group; none when `budget` messages are not enough to
    /// count them.
    #[must_use]
    pub fn http_leases(&self, budget: &mut usize) -> Option<BTreeMap<&str, u64>> {
        let leased = self.progress.values().filter(|progress| progress.leased > 0);
        let mut counts = BTreeMap::new();
        for item in leased.flat_map(|progress| progress.items.values()) {
            *budget = budget.checked_sub(1)?;
            if let Some(lease) = item.lease().filter(|lease| lease.session == 0) {
                *counts.entry(&*lease.client).or_insert(0) += 1;
            }
        }
        Some(counts)
    }
}
