//! One group's progress in one queue, opened for change: every change of an item keeps the sets, counters, lanes and
//! deadlines beside it right. All rules change items through here and nowhere else.

use std::sync::Arc;

use imbl::{OrdMap, OrdSet};

use crate::model::{GroupId, LOOK_AHEAD, Place, Position, QueueNo, Timestamp, TopicId};

use super::apply::{Effects, Ended};
use super::facts::OWN_ENTRY;
use super::state::{Dead, Deadline, DeadlineKind, Item, ItemState, Machine, Progress, VOID_RANGES_MAX};

/// Which group, in which queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Where {
    pub(super) group: GroupId,
    pub(super) topic: TopicId,
    pub(super) queue: QueueNo,
}

/// A progress and everything that changes along with it.
pub(super) struct OpenProgress<'a> {
    pub(super) at: Where,
    pub(super) ordered: bool,
    max_in_flight: u64,
    pub(super) progress: &'a mut Progress,
    in_flight: &'a mut u64,
    retrying: &'a mut u64,
    held: &'a mut u64,
    dead: &'a mut OrdMap<Position, Dead>,
    pub(super) dead_offsets: &'a mut OrdMap<(TopicId, QueueNo, u64), Position>,
    deadlines: &'a mut OrdSet<Deadline>,
    pub(super) effects: &'a mut Effects,
}

impl Machine {
    /// Opens a progress; none when the group, or its subscription, is gone.
    pub(super) fn open<'a>(&'a mut self, at: Where, effects: &'a mut Effects) -> Option<OpenProgress<'a>> {
        let group = Arc::make_mut(self.groups.get_mut(&at.group)?);
        let progress = Arc::make_mut(group.progress.get_mut(&(at.topic, at.queue))?);
        Some(OpenProgress {
            at,
            ordered: group.settings.ordered,
            max_in_flight: group.settings.max_in_flight.into(),
            progress,
            in_flight: &mut group.in_flight,
            retrying: &mut group.retrying,
            held: &mut self.held,
            dead: &mut group.dead,
            dead_offsets: &mut group.dead_offsets,
            deadlines: &mut self.deadlines,
            effects,
        })
    }

    pub(super) fn progress(&self, at: Where) -> Option<&Progress> {
        self.groups.get(&at.group)?.progress.get(&(at.topic, at.queue)).map(Arc::as_ref)
    }
}

impl OpenProgress<'_> {
    /// Puts a new item in.
    pub(super) fn put(&mut self, place: Place, item: Item) {
        if self.ordered {
            self.progress.lanes.insert((item.lane, place));
        }
        self.note(place, &item);
        if place.turn > 0 {
            self.progress.redriven.insert(item.position, place);
        }
        if self.progress.items.insert(place, item).is_none() {
            *self.held += 1;
        }
    }

    /// Takes an item out for good: its place is settled. The next of its lane moves up.
    pub(super) fn take(&mut self, place: Place) -> Option<Item> {
        let was_full = self.is_full();
        let item = self.progress.items.remove(&place)?;
        *self.held = self.held.saturating_sub(1);
        self.forget(place, &item);
        if place.turn > 0 {
            self.progress.redriven.remove(&item.position);
        }
        if self.ordered {
            self.progress.lanes.remove(&(item.lane, place));
            self.promote(item.lane);
        }
        if was_full {
            self.wake();
        }
        Some(item)
    }

    /// Changes an item that stays.
    pub(super) fn change(&mut self, place: Place, change: impl FnOnce(&mut Item)) {
        let Some(mut item) = self.progress.items.get(&place).cloned() else { return };
        let was_full = self.is_full();
        self.forget(place, &item);
        change(&mut item);
        self.note(place, &item);
        if let Some(stored) = self.progress.items.get_mut(&place) {
            *stored = item;
        }
        if was_full {
            self.wake();
        }
    }

    /// Moves the end of a running lease, or the due time of a retry, without ending either.
    pub(super) fn prolong(&mut self, place: Place, until: Timestamp) {
        let Some(item) = self.progress.items.get(&place) else { return };
        if !matches!(item.state, ItemState::Leased(_)) {
            self.change(place, |item| {
                item.state = ItemState::Retrying { due: until };
                item.expires_at = item.expires_at.max(until);
            });
            return;
        }
        let Some(item) = self.progress.items.get_mut(&place) else { return };
        let ItemState::Leased(lease) = &mut item.state else { return };
        let position = item.position;
        let before = std::mem::replace(&mut lease.until, until);
        self.deadlines.remove(&self.at.deadline(DeadlineKind::Lease, before, place, position));
        self.deadlines.insert(self.at.deadline(DeadlineKind::Lease, until, place, position));
    }

    /// Adds a dead letter.
    pub(super) fn add_dead(&mut self, position: Position, dead: Dead) {
        self.dead_offsets.insert((dead.topic, dead.queue, dead.offset), position);
        if self.dead.insert(position, dead).is_none() {
            *self.held += 1;
        }
    }

    /// Takes a dead letter out.
    pub(super) fn take_dead(&mut self, position: Position) -> Option<Dead> {
        let dead = self.dead.remove(&position)?;
        self.dead_offsets.remove(&(dead.topic, dead.queue, dead.offset));
        *self.held = self.held.saturating_sub(1);
        Some(dead)
    }

    /// What an item that nobody holds is: ready, or parked behind its lane.
    pub(super) fn at_rest(&self, place: Place, lane: u64) -> ItemState {
        if self.progress.may_go_first(place, lane, self.ordered) {
            ItemState::Ready
        } else {
            ItemState::Parked
        }
    }

    /// After the head of a lane changed: a parked first item may go out now.
    pub(super) fn promote(&mut self, lane: u64) {
        let Some(place) = self.progress.lane_head(lane) else { return };
        let parked =
            self.progress.items.get(&place).is_some_and(|item| matches!(item.state, ItemState::Parked));
        if parked && self.progress.has_looked_past(place) {
            self.change(place, |item| item.state = ItemState::Ready);
        }
    }

    /// The group has looked at everything below `next` now. Skips what is settled beyond, and lets redriven messages
    /// go that waited for this.
    pub(super) fn look_to(&mut self, next: u64) {
        let before = self.progress.next;
        if next > before {
            self.progress.next = next;
            self.progress.skip_settled();
        }
        if !self.ordered || self.progress.redrives == 0 {
            return;
        }
        let from = Place::at(before);
        let to = Place::at(self.progress.next);
        let waited: Vec<u64> = self
            .progress
            .items
            .range(from..to)
            .filter(|(place, _)| place.turn > 0)
            .map(|(_, item)| item.lane)
            .collect();
        for lane in waited {
            self.promote(lane);
        }
    }

    /// This group may have something to hand out.
    pub(super) fn wake(&mut self) {
        self.effects.woken.insert(self.at.group);
    }

    fn is_full(&self) -> bool {
        *self.in_flight >= self.max_in_flight || self.progress.items.len() as u64 >= LOOK_AHEAD
    }

    /// Enters an item's state into the sets, counters and deadlines.
    fn note(&mut self, place: Place, item: &Item) {
        match &item.state {
            ItemState::Parked => {}
            ItemState::Ready => {
                self.progress.ready.insert(place);
                self.effects.woken.insert(self.at.group);
            }
            ItemState::Leased(lease) => {
                self.progress.leased += 1;
                *self.in_flight += 1;
                self.deadlines.insert(self.at.deadline(
                    DeadlineKind::Lease,
                    lease.until,
                    place,
                    item.position,
                ));
                return;
            }
            ItemState::Retrying { due } => {
                self.progress.retrying += 1;
                *self.retrying += 1;
                self.deadlines.insert(self.at.deadline(DeadlineKind::Retry, *due, place, item.position));
            }
        }
        if item.expires_at != Timestamp::MAX {
            self.deadlines.insert(self.at.deadline(DeadlineKind::Ttl, item.expires_at, place, item.position));
        }
    }

    /// The reverse of [`OpenProgress::note`]. A lease that is forgotten has ended.
    fn forget(&mut self, place: Place, item: &Item) {
        match &item.state {
            ItemState::Parked => {}
            ItemState::Ready => {
                self.progress.ready.remove(&place);
            }
            ItemState::Leased(lease) => {
                self.progress.leased = self.progress.leased.saturating_sub(1);
                *self.in_flight = self.in_flight.saturating_sub(1);
                if lease.session != 0 {
                    self.effects.ended.push(Ended { session: lease.session, nonce: lease.nonce });
                }
                self.deadlines.remove(&self.at.deadline(
                    DeadlineKind::Lease,
                    lease.until,
                    place,
                    item.position,
                ));
                return;
            }
            ItemState::Retrying { due } => {
                self.progress.retrying = self.progress.retrying.saturating_sub(1);
                *self.retrying = self.retrying.saturating_sub(1);
                self.deadlines.remove(&self.at.deadline(DeadlineKind::Retry, *due, place, item.position));
            }
        }
        if item.expires_at != Timestamp::MAX {
            self.deadlines.remove(&self.at.deadline(
                DeadlineKind::Ttl,
                item.expires_at,
                place,
                item.position,
            ));
        }
    }
}

impl Where {
    pub(super) fn deadline(
        self,
        kind: DeadlineKind,
        at: Timestamp,
        place: Place,
        position: Position,
    ) -> Deadline {
        Deadline { at, position, group: self.group, topic: self.topic, queue: self.queue, place, kind }
    }
}

impl Deadline {
    pub(super) fn target(&self) -> Where {
        Where { group: self.group, topic: self.topic, queue: self.queue }
    }
}

impl Progress {
    /// A progress that begins at `next`.
    pub(super) fn starting_at(next: u64) -> Progress {
        Progress { next, round: 1, max_round: 1, ..Progress::default() }
    }

    /// The first item of a lane.
    pub(super) fn lane_head(&self, lane: u64) -> Option<Place> {
        let first = (lane, Place::at(0));
        self.lanes.get_next(&first).filter(|(of, _)| *of == lane).map(|(_, place)| *place)
    }

    /// The last item of a lane that stands before `place`.
    pub(super) fn lane_before(&self, lane: u64, place: Place) -> Option<Place> {
        self.lanes.range((lane, Place::at(0))..(lane, place)).next_back().map(|(_, place)| *place)
    }

    /// Whether everything that stands before `place` has been looked at: always so for a message at its own offset, not
    /// always for a redriven one.
    pub(super) fn has_looked_past(&self, place: Place) -> bool {
        place.turn == 0 || self.next > place.offset
    }

    /// Whether the item at `place`, if nobody holds it, may be leased.
    pub(super) fn may_go_first(&self, place: Place, lane: u64, ordered: bool) -> bool {
        !ordered || (self.lane_head(lane) == Some(place) && self.has_looked_past(place))
    }

    /// Notes an offset at or above `next` as settled.
    pub(super) fn settle_beyond(&mut self, offset: u64) {
        if offset >= self.next {
            self.beyond.insert(offset, offset.saturating_add(1));
            self.skip_settled();
        }
    }

    /// Notes a settled offset of which receipts may exist, although nobody settled it.
    pub(super) fn make_void(&mut self, offset: u64) {
        self.void.insert(offset, offset.saturating_add(1));
        self.void.keep_highest(VOID_RANGES_MAX);
    }

    /// Notes that a message nobody had looked at outlived its TTL. It was leased before only if a seek brought it back.
    pub(super) fn void_unlooked(&mut self, offset: u64) {
        if self.round > 1 {
            self.make_void(offset);
        }
    }

    /// Moves `next` over what is settled beyond it, and drops those ranges.
    pub(super) fn skip_settled(&mut self) {
        while let Some((start, end)) = self.beyond.first().filter(|(start, _)| *start <= self.next) {
            self.beyond.remove(start, end);
            self.next = self.next.max(end);
        }
    }

    /// How many more messages may be looked at. Redriven messages that wait for the cursor to pass them do not count:
    /// the cursor would wait for them as well.
    pub(super) fn look_ahead_room(&self) -> u64 {
        let held = self.items.len() as u64;
        if held < LOOK_AHEAD {
            return LOOK_AHEAD - held;
        }
        let waiting = self.items.range(Place::at(self.next)..).count() as u64;
        (LOOK_AHEAD + waiting).saturating_sub(held)
    }
}

impl Item {
    /// Whether the TTL has run out.
    pub(super) fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }

    /// The lease, if it is leased.
    pub(super) fn lease(&self) -> Option<&super::state::Lease> {
        match &self.state {
            ItemState::Leased(lease) => Some(lease),
            _ => None,
        }
    }
}

/// The real position of a message that a fact at `at` names.
pub(super) fn resolve(named: Position, at: Position) -> Position {
    if named.index == OWN_ENTRY { Position { index: at.index, slot: named.slot } } else { named }
}
