//! Handing out messages: what is ready again first, then what nobody looked at yet.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::QueueEntry;
use crate::model::{
    CANDIDATES_MAX, DeadReason, Filter, GroupId, GroupSettings, Place, Position, QueueNo, Subscription,
    Timestamp, TopicId, TopicName,
};

use super::apply::Effects;
use super::dead_letter::Burial;
use super::draft::{Candidates, Draft};

use super::facts::{Delivered, Expiry, Fact, Fresh};
use super::filter::{Sieve, filter_of};
use super::lane::LaneDoor;
use super::progress::{Where, resolve};
use super::refusal::Refusal;
use super::requests::{Leased, ReceiveRequest, Received};
use super::state::{Group, Item, ItemState, LastEnd, Lease, Machine, Progress};

impl Draft {
    /// Leases what is ready, as much as was asked for. Makes a missing group when the request names a topic. Takes
    /// turns: begins with queue number `turn` of the group's queues.
    ///
    /// # Errors
    /// When the group is missing and no topic is named, the topic is missing and may not be made, or the group exists
    /// and does not subscribe to the topic.
    pub fn receive(
        &mut self,
        request: &ReceiveRequest,
        candidates: &Candidates,
    ) -> Result<Received, Refusal> {
        let (id, only) = self.group_for(request)?;
        let mut received = Received { group: id, ..Received::default() };
        let Some(group) = self.machine.groups.get(&id) else { return Ok(received) };
        if group.paused {
            received.paused = true;
            return Ok(received);
        }
        let settings = Arc::clone(&group.settings);
        let queues = queues_in_turn(group, only, request.turn);
        let mut look = Look {
            group: id,
            settings: &settings,
            now: self.time,
            until: self.time.plus(request.lease_ms.unwrap_or(settings.lease_ms)),
            most: u64::from(request.max_messages)
                .min(u64::from(settings.max_in_flight).saturating_sub(group.in_flight)),
            bytes_left: request.max_bytes,
            looked: 0,
            dead_room: settings.dead_letters_max.saturating_sub(group.dead.len() as u64),
            node_room: self.room(),
            full: false,
            received: &mut received,
        };
        for at in queues {
            if look.is_done() {
                break;
            }
            if let Some(delivered) = self.look_into(at, &mut look, request, candidates) {
                self.push(Fact::Delivered(delivered));
            }
        }
        Ok(received)
    }

    /// The group, made if need be, and the only topic to look into.
    fn group_for(&mut self, request: &ReceiveRequest) -> Result<(GroupId, Option<TopicId>), Refusal> {
        let Some(id) = self.machine.group_names.get(&request.group).copied() else {
            let Some(topic) = &request.topic else {
                return Err(Refusal::GroupNotFound(request.group.clone()));
            };
            self.room_for_group()?;
            self.topic_or_make(topic, request.auto_create)?;
            let subscription = Subscription { topic: topic.clone(), filter: Filter::All };
            let settings = GroupSettings { subscriptions: vec![subscription], ..GroupSettings::default() };
            let id = self.new_group(request.group.clone(), settings, &Candidates::default())?;
            return Ok((id, None));
        };
        let Some(name) = &request.topic else { return Ok((id, None)) };
        let topic = self.machine.topic_names.get(name).copied();
        let subscribed = topic
            .filter(|topic| self.machine.topics.get(topic).is_some_and(|topic| topic.groups.contains(&id)));
        let refusal = || Refusal::NotSubscribed { group: request.group.clone(), topic: name.clone() };
        Ok((id, Some(subscribed.ok_or_else(refusal)?)))
    }

    /// What this receive does to one queue, if anything. The caller makes it happen, when nothing is borrowed any more:
    /// so that the maps are changed in place and not copied.
    fn look_into(
        &mut self,
        (topic, queue): (TopicId, QueueNo),
        look: &mut Look<'_>,
        request: &ReceiveRequest,
        candidates: &Candidates,
    ) -> Option<Delivered> {
        let found = self.machine.topics.get(&topic)?;
        let next_offset = found.queues.get(queue.into())?.next_offset;
        let progress = self.machine.groups.get(&look.group)?.progress.get(&(topic, queue))?;
        if progress.next >= next_offset && progress.ready.is_empty() {
            return None;
        }
        let delivered = Delivered {
            group: look.group,
            topic,
            queue,
            from: progress.next,
            next: progress.next,
            round: progress.round,
            session: request.session,
            client: Arc::clone(&request.client),
            until: look.until,
            fresh: Vec::new(),
            again: Vec::new(),
            expired: Vec::new(),
        };
        let mut glance = Glance { progress, topic_name: &found.name, delivered, lanes: BTreeMap::new() };
        look.again(&mut glance, &mut *self.nonces);
        if !look.is_done() {
            let own = candidates.own_entries.get(&(look.group, topic, queue));
            let listed = own.or_else(|| candidates.entries.get(&(topic, queue)));
            let listed = listed.map_or(&[][..], Vec::as_slice);
            let made_now = self.fresh.get(&(topic, queue)).map_or(&[][..], Vec::as_slice);
            let filter = filter_of(look.settings, &found.name);
            let sieve = Sieve { filter, candidates, facts: &self.facts };
            look.fresh(&mut glance, (listed, made_now, next_offset), &sieve, &mut *self.nonces);
        }
        let delivered = glance.delivered;
        (delivered.next != progress.next || !delivered.again.is_empty()).then_some(delivered)
    }
}

/// What one receive still wants, and what it has.
struct Look<'a> {
    group: GroupId,
    settings: &'a GroupSettings,
    now: Timestamp,
    until: Timestamp,
    /// Messages that may be leased in all.
    most: u64,
    bytes_left: u64,
    /// Messages looked at.
    looked: usize,
    /// How many more dead letters there may be.
    dead_room: u64,
    /// How many more messages the node may hold.
    node_room: u64,
    /// The next message would not fit the byte limit.
    full: bool,
    received: &'a mut Received,
}

/// The queue that is being looked into.
struct Glance<'a> {
    progress: &'a Progress,
    topic_name: &'a TopicName,
    delivered: Delivered,
    /// In ordered groups: what this answer did to lanes so far.
    lanes: BTreeMap<u64, LaneDoor>,
}

type Nonces<'a> = &'a mut dyn FnMut() -> u64;

impl Look<'_> {
    fn is_done(&self) -> bool {
        self.full || self.received.messages.len() as u64 >= self.most || self.looked >= CANDIDATES_MAX
    }

    /// Whether a message of that size still fits; one message always does.
    fn fits(&mut self, body_bytes: u32) -> bool {
        let bytes = u64::from(body_bytes);
        if bytes > self.bytes_left && !self.received.messages.is_empty() {
            self.full = true;
            return false;
        }
        self.bytes_left = self.bytes_left.saturating_sub(bytes);
        true
    }

    /// Messages that were looked at before and are ready now.
    fn again(&mut self, glance: &mut Glance<'_>, nonces: Nonces<'_>) {
        let progress = glance.progress;
        for place in &progress.ready {
            if self.is_done() {
                return;
            }
            let Some(item) = progress.items.get(place) else { continue };
            if !self.lease_again(glance, *place, item, nonces) || !self.settings.ordered {
                continue;
            }
            let mut door = LaneDoor::opened_by(*place);
            for (_, follower) in progress.lanes.range((item.lane, *place)..=(item.lane, LAST_PLACE)).skip(1) {
                let Some(item) = progress.items.get(follower) else { break };
                let may_follow = door.leased < self.settings.lane_batch
                    && item.state == ItemState::Parked
                    && progress.has_looked_past(*follower);
                if !may_follow || self.is_done() || !self.lease_again(glance, *follower, item, nonces) {
                    break;
                }
                door.let_known(*follower);
            }
            glance.lanes.insert(item.lane, door);
        }
    }

    /// One message again; not when its TTL is over (a tick takes it away) or it does not fit.
    fn lease_again(
        &mut self,
        glance: &mut Glance<'_>,
        place: Place,
        item: &Item,
        nonces: Nonces<'_>,
    ) -> bool {
        self.looked += 1;
        if item.is_expired(self.now) || !self.fits(item.body_bytes) {
            return false;
        }
        let nonce = nonces();
        glance.delivered.again.push((place, nonce));
        self.received.messages.push(Leased {
            position: item.position,
            topic: glance.delivered.topic,
            topic_name: glance.topic_name.clone(),
            queue: glance.delivered.queue,
            place,
            offset: item.offset,
            round: item.round,
            attempt: item.failures.saturating_add(1),
            max_attempts: self.settings.max_attempts,
            until: self.until,
            nonce,
            ready_at: item.ready_at,
            body_bytes: item.body_bytes,
        });
        true
    }

    /// Messages that the group has not looked at yet. `listed` come from the index, `own` from this batch.
    fn fresh(
        &mut self,
        glance: &mut Glance<'_>,
        (listed, own, next_offset): (&[QueueEntry], &[QueueEntry], u64),
        sieve: &Sieve<'_>,
        nonces: Nonces<'_>,
    ) {
        let mut room = glance.progress.look_ahead_room();
        let mut next = glance.progress.next;
        while next < next_offset && !self.is_done() {
            let skipped = glance.progress.beyond.end_from(next);
            if skipped > next {
                next = skipped;
                continue;
            }
            let entry = entry_at(listed, next).or_else(|| entry_at(own, next));
            let Some((entry, passes)) = entry.and_then(|entry| Some((entry, sieve.passes(entry)?))) else {
                self.received.look_on = true;
                break;
            };
            self.looked += 1;
            if passes {
                if entry.expires_at <= self.now {
                    if !self.expire(glance, entry) {
                        break;
                    }
                } else if room == 0 || self.node_room == 0 || !self.meet(glance, entry, nonces) {
                    break;
                } else {
                    room -= 1;
                    self.node_room -= 1;
                }
            }
            next += 1;
        }
        if next < next_offset && self.looked >= CANDIDATES_MAX {
            self.received.look_on = true;
        }
        glance.delivered.next = next.min(next_offset);
    }

    /// A message past its TTL; false when it should become a dead letter and there is no room.
    fn expire(&mut self, glance: &mut Glance<'_>, entry: &QueueEntry) -> bool {
        let dead = self.settings.dead_letter_expired;
        if dead {
            let room = (self.dead_room.checked_sub(1), self.node_room.checked_sub(1));
            let (Some(dead_room), Some(node_room)) = room else { return false };
            (self.dead_room, self.node_room) = (dead_room, node_room);
        }
        glance.delivered.expired.push(Expiry::of(entry, dead));
        true
    }

    /// Leases a new message, or parks it behind its lane; false when it does not fit.
    fn meet(&mut self, glance: &mut Glance<'_>, entry: &QueueEntry, nonces: Nonces<'_>) -> bool {
        let place = Place::at(entry.offset);
        let free = !self.settings.ordered
            || LaneDoor::may_pass(
                &glance.lanes,
                glance.progress,
                (entry.lane, place),
                self.settings.lane_batch,
            );
        if free && !self.fits(entry.body_bytes) {
            return false;
        }
        if self.settings.ordered {
            let door = glance.lanes.entry(entry.lane).or_default();
            if free { door.leased += 1 } else { door.closed = true }
        }
        let nonce = free.then(nonces);
        let delivered = &mut glance.delivered;
        delivered.fresh.push(Fresh {
            offset: entry.offset,
            position: entry.position,
            ready_at: entry.ready_at,
            expires_at: entry.expires_at,
            lane: entry.lane,
            body_bytes: entry.body_bytes,
            nonce,
        });
        let Some(nonce) = nonce else { return true };
        self.received.messages.push(Leased {
            position: entry.position,
            topic: delivered.topic,
            topic_name: glance.topic_name.clone(),
            queue: delivered.queue,
            place,
            offset: entry.offset,
            round: glance.progress.round,
            attempt: 1,
            max_attempts: self.settings.max_attempts,
            until: self.until,
            nonce,
            ready_at: entry.ready_at,
            body_bytes: entry.body_bytes,
        });
        true
    }
}

const LAST_PLACE: Place = Place { offset: u64::MAX, turn: u32::MAX };

/// The group's queues, those of one topic or all, beginning with number `turn`.
pub(super) fn queues_in_turn(group: &Group, only: Option<TopicId>, turn: u32) -> Vec<(TopicId, QueueNo)> {
    let keys = group.progress.keys();
    let mut queues: Vec<_> =
        keys.filter(|(topic, _)| only.is_none_or(|only| only == *topic)).copied().collect();
    if !queues.is_empty() {
        let first = usize::try_from(turn).unwrap_or_default() % queues.len();
        queues.rotate_left(first);
    }
    queues
}

/// The entry with that offset among consecutive ones.
fn entry_at(entries: &[QueueEntry], offset: u64) -> Option<&QueueEntry> {
    let first = entries.first()?.offset;
    let at = usize::try_from(offset.checked_sub(first)?).ok()?;
    entries.get(at).filter(|entry| entry.offset == offset)
}

impl Machine {
    pub(super) fn apply_delivered(
        &mut self,
        delivered: &Delivered,
        at: Position,
        time: Timestamp,
        effects: &mut Effects,
    ) {
        let target = Where { group: delivered.group, topic: delivered.topic, queue: delivered.queue };
        let name = if delivered.expired.iter().any(|expiry| expiry.dead) {
            self.topics.get(&delivered.topic).map(|topic| topic.name.clone())
        } else {
            None
        };
        let Some(mut open) = self.open(target, effects) else { return };
        let lease = |nonce| {
            let client = Arc::clone(&delivered.client);
            ItemState::Leased(Lease { nonce, until: delivered.until, session: delivered.session, client })
        };
        for (place, nonce) in &delivered.again {
            open.change(*place, |item| {
                item.state = lease(*nonce);
                item.last = LastEnd::None;
            });
        }
        for fresh in &delivered.fresh {
            let round = open.progress.round;
            open.put(
                Place::at(fresh.offset),
                Item {
                    position: resolve(fresh.position, at),
                    offset: fresh.offset,
                    lane: fresh.lane,
                    ready_at: fresh.ready_at,
                    expires_at: fresh.expires_at,
                    body_bytes: fresh.body_bytes,
                    round,
                    failures: 0,
                    history: None,
                    state: fresh.nonce.map_or(ItemState::Parked, lease),
                    last: LastEnd::None,
                },
            );
        }
        for expiry in &delivered.expired {
            let round = open.progress.round;
            match &name {
                Some(name) if expiry.dead => {
                    open.bury(Burial::unseen(expiry, round, name, (at, time)), DeadReason::Expired);
                }
                _ => open.progress.void_unlooked(expiry.offset),
            }
        }
        open.look_to(delivered.next);
    }
}
