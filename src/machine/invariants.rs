//! What must always be true of the state. Tests ask after every command.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{GroupId, Place, TopicId};

use super::progress::Where;
use super::state::{DeadlineKind, Group, Item, ItemState, Machine, Progress, Topic, VOID_RANGES_MAX};

/// Says what is wrong unless `holds`.
fn ensure(holds: bool, broken: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(broken()) }
}

impl Machine {
    /// Checks the state against itself.
    ///
    /// # Errors
    /// Says which rule is broken, where.
    pub fn check(&self) -> Result<(), String> {
        ensure(self.topics.len() == self.topic_names.len(), || "topics and their names differ".into())?;
        ensure(self.groups.len() == self.group_names.len(), || "groups and their names differ".into())?;
        let first = |(id, topic): (&TopicId, &Arc<Topic>)| {
            topic.schedule.get_min().map(|((due, position), _)| (*due, *position, *id))
        };
        let firsts: imbl::OrdSet<_> = self.topics.iter().filter_map(first).collect();
        ensure(firsts == self.next_scheduled, || "schedules and the first of each differ".into())?;
        let held = self.count_held();
        ensure(held == self.held, || format!("{} messages are held, counted are {held}", self.held))?;
        for (id, topic) in &self.topics {
            let name = &topic.name;
            ensure(self.topic_names.get(name) == Some(id), || format!("topic {name} is not found by name"))?;
            ensure(topic.queues.len() == usize::from(topic.settings.queues), || {
                format!("topic {name} has another number of queues than it is set to")
            })?;
            ensure(topic.queues.iter().all(|queue| queue.first_kept <= queue.next_offset), || {
                format!("topic {name} keeps nothing up to behind its end")
            })?;
            let subscribed =
                |group| self.groups.get(group).is_some_and(|group| group.progress.contains_key(&(*id, 0)));
            ensure(topic.groups.iter().all(subscribed), || {
                format!("a group of topic {name} has no progress")
            })?;
        }
        self.check_jobs()?;
        self.check_alerting()?;
        self.keys.check()?;
        for (topic, _, _) in self.keys.generations() {
            ensure(self.topics.contains_key(&topic), || format!("keys of {topic:?}, which is gone"))?;
        }
        for (id, group) in &self.groups {
            self.check_group(*id, group).map_err(|broken| format!("group {}: {broken}", group.name))?;
        }
        Ok(())
    }

    fn check_group(&self, id: GroupId, group: &Group) -> Result<(), String> {
        ensure(self.group_names.get(&group.name) == Some(&id), || "not found by name".into())?;
        let leased: u64 = group.progress.values().map(|progress| progress.leased).sum();
        ensure(group.in_flight == leased, || format!("in_flight {} but {leased} leases", group.in_flight))?;
        let retrying: u64 = group.progress.values().map(|progress| progress.retrying).sum();
        ensure(group.retrying == retrying, || format!("retrying {} but {retrying}", group.retrying))?;
        ensure(group.dead.len() == group.dead_offsets.len(), || {
            "dead letters and their offsets differ".into()
        })?;
        for (position, dead) in &group.dead {
            let key = (dead.topic, dead.queue, dead.offset);
            ensure(group.dead_offsets.get(&key) == Some(position), || {
                format!("dead {position:?} has no offset")
            })?;
        }
        let mut queues = 0;
        for subscription in &group.settings.subscriptions {
            let topic = self.topic_names.get(&subscription.topic).and_then(|id| self.topics.get(id));
            let topic = topic.ok_or_else(|| format!("subscribes to missing topic {}", subscription.topic))?;
            ensure(topic.groups.contains(&id), || format!("topic {} does not know it", subscription.topic))?;
            queues += topic.queues.len();
        }
        ensure(queues == group.progress.len(), || "progress and subscriptions differ".into())?;
        for ((topic, queue), progress) in &group.progress {
            let at = Where { group: id, topic: *topic, queue: *queue };
            let end = self.next_offset(*topic, *queue);
            self.check_progress(at, group, progress, end)
                .map_err(|broken| format!("queue {queue}: {broken}"))?;
        }
        Ok(())
    }

    fn check_progress(&self, at: Where, group: &Group, progress: &Progress, end: u64) -> Result<(), String> {
        ensure(progress.next <= end, || format!("looked to {} of {end}", progress.next))?;
        check_beyond(progress, end)?;
        check_void(at, group, progress)?;
        let redriven: imbl::OrdMap<_, _> = progress
            .items
            .iter()
            .filter(|(place, _)| place.turn > 0)
            .map(|(place, item)| (item.position, *place))
            .collect();
        ensure(redriven == progress.redriven, || "redriven messages and items differ".into())?;
        let count = |wanted: fn(&ItemState) -> bool| {
            progress.items.values().filter(|item| wanted(&item.state)).count()
        };
        let leased = count(|state| matches!(state, ItemState::Leased(_)));
        ensure(leased as u64 == progress.leased, || format!("{leased} leases, not {}", progress.leased))?;
        let retrying = count(|state| matches!(state, ItemState::Retrying { .. }));
        ensure(retrying as u64 == progress.retrying, || {
            format!("{retrying} retries, not {}", progress.retrying)
        })?;
        let ready = count(|state| *state == ItemState::Ready);
        ensure(ready == progress.ready.len(), || format!("{ready} ready, not {}", progress.ready.len()))?;
        for (place, item) in &progress.items {
            self.check_item(at, progress, (*place, item)).map_err(|broken| format!("{place:?}: {broken}"))?;
            ensure(!group.dead.contains_key(&item.position), || format!("{place:?} is dead as well"))?;
            ensure(item.round <= progress.max_round, || format!("{place:?} has a round above the highest"))?;
        }
        if group.settings.ordered {
            let lanes: imbl::OrdSet<_> =
                progress.items.iter().map(|(place, item)| (item.lane, *place)).collect();
            ensure(lanes == progress.lanes, || "lanes and items differ".into())?;
            return check_lanes(progress, group.settings.lane_batch);
        }
        ensure(progress.lanes.is_empty(), || "an unordered group has lanes".into())?;
        ensure(count(|state| *state == ItemState::Parked) == 0, || "an unordered group parks".into())
    }

    fn check_item(
        &self,
        at: Where,
        progress: &Progress,
        (place, item): (Place, &Item),
    ) -> Result<(), String> {
        if place.turn == 0 {
            ensure(place.offset < progress.next && place.offset == item.offset, || "not looked at".into())?;
        }
        ensure(place.turn <= progress.redrives, || "a turn that was never given".into())?;
        ensure((item.state == ItemState::Ready) == progress.ready.contains(&place), || {
            "wrong in ready".into()
        })?;
        let has = |kind, time| self.deadlines.contains(&at.deadline(kind, time, place, item.position));
        let ttl = item.expires_at == crate::model::Timestamp::MAX || has(DeadlineKind::Ttl, item.expires_at);
        match &item.state {
            ItemState::Leased(lease) => {
                ensure(has(DeadlineKind::Lease, lease.until), || "lease without end".into())
            }
            ItemState::Retrying { due } => {
                ensure(ttl && has(DeadlineKind::Retry, *due), || "retry or TTL without deadline".into())
            }
            ItemState::Ready | ItemState::Parked => ensure(ttl, || "TTL without deadline".into()),
        }
    }
}

fn check_beyond(progress: &Progress, end: u64) -> Result<(), String> {
    let mut last = progress.next;
    for (start, until) in progress.beyond.iter() {
        ensure(start > last && start < until && until <= end, || {
            format!("settled range {start}..{until} touches {last} or the end {end}")
        })?;
        last = until;
    }
    Ok(())
}

/// What is void is settled, and nobody settled it.
fn check_void(at: Where, group: &Group, progress: &Progress) -> Result<(), String> {
    ensure(progress.void.len() <= VOID_RANGES_MAX, || "too many void ranges".into())?;
    for (start, until) in progress.void.iter() {
        ensure(progress.beyond.gaps(start.max(progress.next), until).is_empty(), || {
            format!("{start}..{until} is void and not looked at")
        })?;
    }
    let own = progress.items.keys().filter(|place| place.turn == 0).map(|place| place.offset);
    let dead = group.dead_offsets.range((at.topic, at.queue, 0)..=(at.topic, at.queue, u64::MAX));
    let mut held = own.chain(dead.map(|((_, _, offset), _)| *offset));
    let both = held.find(|offset| progress.void.contains(*offset));
    ensure(both.is_none(), || format!("{both:?} is void and held"))
}

/// What is leased is the front of its lane; only the first of a lane may be ready, and is unless something holds it.
fn check_lanes(progress: &Progress, lane_batch: u32) -> Result<(), String> {
    let mut lanes: BTreeMap<u64, Vec<(Place, &ItemState)>> = BTreeMap::new();
    for (lane, place) in &progress.lanes {
        let Some(item) = progress.items.get(place) else {
            return Err(format!("{place:?} is in a lane only"));
        };
        lanes.entry(*lane).or_default().push((*place, &item.state));
    }
    for (lane, items) in lanes {
        let leased = items.iter().filter(|(_, state)| matches!(state, ItemState::Leased(_))).count();
        let front = items.iter().take_while(|(_, state)| matches!(state, ItemState::Leased(_))).count();
        ensure(leased == front && leased as u64 <= u64::from(lane_batch), || {
            format!("lane {lane:x}: {leased} leased, {front} of them in front, {lane_batch} allowed")
        })?;
        let late_ready = items.iter().skip(1).any(|(_, state)| **state == ItemState::Ready);
        ensure(!late_ready, || format!("lane {lane:x}: ready behind its first"))?;
        if let Some((place, state)) = items.first() {
            let may_go = progress.has_looked_past(*place);
            ensure(may_go || **state != ItemState::Ready, || {
                format!("lane {lane:x}: {place:?} is too early")
            })?;
            ensure(!may_go || **state != ItemState::Parked, || {
                format!("lane {lane:x}: nobody is in front of {place:?}")
            })?;
        }
    }
    Ok(())
}
