//! Dead letters: how a message becomes one, or is thrown away. `redrive.rs` has how it goes back.

use std::sync::Arc;

use crate::model::QueueEntry;
use crate::model::{DeadReason, GroupId, GroupName, Place, Position, Timestamp, TopicName};

use super::apply::Effects;
use super::draft::Draft;

use super::cause::FailCause;
use super::facts::{Expiry, Fact};
use super::progress::{OpenProgress, Where, resolve};
use super::refusal::Refusal;
use super::requests::SettledAs;
use super::state::{Dead, Item, Machine};

impl Draft {
    /// Throws all dead letters of a group away; answers how many there were.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn purge_dead_letters(&mut self, group: &GroupName) -> Result<u64, Refusal> {
        let (id, group) = self.machine.find_group(group)?;
        let count = group.dead.len() as u64;
        if count > 0 {
            self.push(Fact::DeadPurged { group: id });
        }
        Ok(count)
    }

    /// A consumer asked for the dead letters. Without room it is a failed delivery like any other, not a loss.
    pub(super) fn reject(&mut self, at: Where, (place, item): (Place, &Item), cause: FailCause) -> SettledAs {
        if self.may_bury(at) {
            self.give_back_behind(at, place);
            return self.die(at, place, cause);
        }
        if item.lease().is_some() {
            self.fail(at, place, cause, None)
        } else {
            self.nack_late(at, (place, item), cause, None)
        }
    }

    /// The failed delivery was the last one.
    pub(super) fn die(&mut self, at: Where, place: Place, cause: FailCause) -> SettledAs {
        let reason = match cause {
            FailCause::Rejected { .. } => DeadReason::Rejected,
            _ => DeadReason::MaxAttempts,
        };
        self.push_dead(at, place, reason, Some(cause));
        SettledAs::Dead
    }

    pub(super) fn push_dead(
        &mut self,
        at: Where,
        place: Place,
        reason: DeadReason,
        cause: Option<FailCause>,
    ) {
        let Where { group, topic, queue } = at;
        self.push(Fact::Dead { group, topic, queue, place, reason, cause });
    }

    /// Whether the group has room for another dead letter.
    pub(super) fn may_bury(&self, at: Where) -> bool {
        let group = self.machine.groups.get(&at.group);
        group.is_some_and(|group| (group.dead.len() as u64) < group.settings.dead_letters_max)
    }
}

/// A message on its way to the dead letters.
pub(super) struct Burial {
    position: Position,
    offset: u64,
    lane: u64,
    ready_at: Timestamp,
    body_bytes: u32,
    round: u32,
    failures: u32,
    history: Option<Arc<super::state::History>>,
    topic_name: TopicName,
    at: Timestamp,
}

impl Burial {
    /// Of a message that the group never looked at.
    pub(super) fn unseen(
        expiry: &Expiry,
        round: u32,
        topic_name: &TopicName,
        (at, time): (Position, Timestamp),
    ) -> Burial {
        Burial {
            position: resolve(expiry.position, at),
            offset: expiry.offset,
            lane: expiry.lane,
            ready_at: expiry.ready_at,
            body_bytes: expiry.body_bytes,
            round,
            failures: 0,
            history: None,
            topic_name: topic_name.clone(),
            at: time,
        }
    }

    fn of_item(item: Item, topic_name: TopicName, time: Timestamp) -> Burial {
        Burial {
            position: item.position,
            offset: item.offset,
            lane: item.lane,
            ready_at: item.ready_at,
            body_bytes: item.body_bytes,
            round: item.round,
            failures: item.failures,
            history: item.history,
            topic_name,
            at: time,
        }
    }
}

impl Expiry {
    /// The expiry of a message that nobody looked at.
    pub(super) fn of(entry: &QueueEntry, dead: bool) -> Expiry {
        Expiry {
            offset: entry.offset,
            position: entry.position,
            lane: entry.lane,
            ready_at: entry.ready_at,
            body_bytes: entry.body_bytes,
            dead,
        }
    }
}

impl OpenProgress<'_> {
    /// Puts a message among the dead letters.
    pub(super) fn bury(&mut self, burial: Burial, reason: DeadReason) {
        let Where { topic, queue, .. } = self.at;
        let dead = Dead {
            topic,
            topic_name: burial.topic_name,
            queue,
            offset: burial.offset,
            lane: burial.lane,
            ready_at: burial.ready_at,
            body_bytes: burial.body_bytes,
            round: burial.round,
            failures: burial.failures,
            reason,
            at: burial.at,
            history: burial.history,
        };
        self.add_dead(burial.position, dead);
    }
}

impl Machine {
    pub(super) fn apply_dead(
        &mut self,
        (target, place): (Where, Place),
        (reason, cause): (DeadReason, Option<&FailCause>),
        (at, time): (Position, Timestamp),
        effects: &mut Effects,
    ) {
        let Some(name) = self.topics.get(&target.topic).map(|topic| topic.name.clone()) else { return };
        let Some(mut open) = self.open(target, effects) else { return };
        let Some(mut item) = open.take(place) else { return };
        if cause.is_some() {
            item.count_failure(at);
        }
        open.bury(Burial::of_item(item, name, time), reason);
    }

    pub(super) fn apply_purged(&mut self, id: GroupId) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        let group = Arc::make_mut(group);
        group.dead_offsets.clear();
        let dead = std::mem::take(&mut group.dead);
        self.held = self.held.saturating_sub(dead.len() as u64);
        if !dead.is_empty() {
            self.dead_trash.push_back(dead);
        }
    }
}
