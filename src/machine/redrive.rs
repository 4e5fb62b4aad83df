//! Redrive: a dead letter goes back to its group, or on to another topic.
//!
//! Back, it goes to the end of its lane in a new round, and is the same message. On, its body and attributes are
//! accepted once more in the other topic, as a new message that names where it came from, and the dead letter is gone.
//! Both happen in one entry: whatever dies between two entries, the letter is here or there, never both and never
//! neither.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::model::{
    DeadReason, GroupId, GroupName, Message, MessageId, Place, Position, QueueNo, Timestamp, TopicId,
    TopicName,
};

use super::apply::Effects;
use super::draft::Draft;
use super::facts::Fact;
use super::progress::{OpenProgress, Where, resolve};
use super::refusal::Refusal;
use super::requests::{Delay, NewMessage};
use super::state::{Dead, Group, Item, ItemState, LastEnd, Machine};

/// The properties by which a message that was redriven to another topic names its origin. They come on top of the
/// limits for producers, and replace what has the same name: after several redrives they name the last one.
const ORIGIN_ID: &str = "dlq_origin_id";
const ORIGIN_TOPIC: &str = "dlq_origin_topic";
const ORIGIN_GROUP: &str = "dlq_origin_group";
const ORIGIN_REASON: &str = "dlq_origin_reason";

/// A dead letter that is to go on to another topic, with what the log holds of it.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub position: Position,
    /// Its body and attributes.
    pub message: Arc<Message>,
}

impl Draft {
    /// Sends dead letters back to the end of their lanes, each in a new round; the answers are in input order.
    ///
    /// # Errors
    /// When there is no such group.
    pub fn redrive(
        &mut self,
        group: &GroupName,
        positions: &[Position],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let (id, _) = self.machine.find_group(group)?;
        Ok(self.send_back(id, positions))
    }

    /// Sends dead letters on to `topic`; the answers are in input order.
    ///
    /// # Errors
    /// When there is no such group or topic.
    pub fn redrive_to(
        &mut self,
        group: &GroupName,
        topic: &TopicName,
        letters: &[Letter],
    ) -> Result<Vec<Result<(), Refusal>>, Refusal> {
        let (id, _) = self.machine.find_group(group)?;
        let topic = self.topic_or_make(topic, false)?;
        Ok(self.send_on(id, topic, letters))
    }

    pub(super) fn send_back(&mut self, id: GroupId, positions: &[Position]) -> Vec<Result<(), Refusal>> {
        let Some(group) = self.machine.groups.get(&id) else {
            return positions.iter().map(|_| Err(Refusal::DeadLetterNotFound)).collect();
        };
        let mut chosen = BTreeSet::new();
        let mut going = Vec::new();
        let mut places = Vec::new();
        let mut turns: BTreeMap<(TopicId, QueueNo), u32> = BTreeMap::new();
        let mut results = Vec::with_capacity(positions.len());
        for position in positions {
            let Some(dead) = group.dead.get(position) else {
                results.push(Err(Refusal::DeadLetterNotFound));
                continue;
            };
            let Some(progress) = group.progress.get(&(dead.topic, dead.queue)) else {
                results.push(Err(Refusal::TopicGone(dead.topic_name.clone())));
                continue;
            };
            if !chosen.insert(*position) {
                results.push(Err(Refusal::DeadLetterNotFound));
                continue;
            }
            let turn = turns.entry((dead.topic, dead.queue)).or_insert(progress.redrives);
            *turn = turn.saturating_add(1);
            going.push(*position);
            places.push(Place { offset: self.machine.end_of(dead.topic, dead.queue), turn: *turn });
            results.push(Ok(()));
        }
        if !going.is_empty() {
            self.push(Fact::Redriven { group: id, positions: going, places });
        }
        results
    }

    pub(super) fn send_on(
        &mut self,
        id: GroupId,
        topic: TopicId,
        letters: &[Letter],
    ) -> Vec<Result<(), Refusal>> {
        let mut gone = BTreeSet::new();
        let mut going = Vec::new();
        let mut results = Vec::with_capacity(letters.len());
        for letter in letters {
            let group = self.machine.groups.get(&id).filter(|_| !gone.contains(&letter.position));
            let message = group.and_then(|group| {
                let dead = group.dead.get(&letter.position)?;
                Some(with_origin(letter, &group.name, (&dead.topic_name, dead.reason)))
            });
            let Some(message) = message else {
                results.push(Err(Refusal::DeadLetterNotFound));
                continue;
            };
            // A person asked for it, so its TTL does not count again.
            let new = NewMessage { message, queue: None, delay: Delay::None, ttl_ms: None };
            let accepted = self.accept(topic, &new).map(|_| ());
            if accepted.is_ok() {
                gone.insert(letter.position);
                going.push(letter.position);
            }
            results.push(accepted);
        }
        if !going.is_empty() {
            self.push(Fact::DeadMoved { group: id, positions: going });
        }
        results
    }
}

/// The message once more, and where it came from.
fn with_origin(
    letter: &Letter,
    group: &GroupName,
    (topic, reason): (&TopicName, DeadReason),
) -> Arc<Message> {
    let mut message = Message::clone(&letter.message);
    let origin = [
        (ORIGIN_ID, MessageId::new(letter.position).to_string()),
        (ORIGIN_TOPIC, topic.to_string()),
        (ORIGIN_GROUP, group.to_string()),
        (ORIGIN_REASON, reason.as_str().to_owned()),
    ];
    let origin = origin.into_iter().map(|(name, value)| (name.into(), value.into()));
    message.attributes.properties.extend(origin);
    Arc::new(message)
}

impl Group {
    /// A dead letter by its message.
    #[must_use]
    pub fn dead(&self, position: Position) -> Option<&Dead> {
        self.dead.get(&position)
    }

    /// Whether a dead letter could go back: its topic is still there and subscribed to.
    #[must_use]
    pub fn may_return(&self, dead: &Dead) -> bool {
        self.progress.contains_key(&(dead.topic, dead.queue))
    }
}

impl Machine {
    pub(super) fn apply_redriven(
        &mut self,
        group_id: GroupId,
        (positions, places): (&[Position], &[Place]),
        at: Position,
        effects: &mut Effects,
    ) {
        let places = places.iter().map(|place| Some(*place)).chain(std::iter::repeat(None));
        for (named, place) in positions.iter().zip(places) {
            let position = resolve(*named, at);
            let Some(dead) = self.groups.get(&group_id).and_then(|group| group.dead.get(&position)) else {
                continue;
            };
            let (topic, queue) = (dead.topic, dead.queue);
            let end = self.end_of(topic, queue);
            let Some(mut open) = self.open(Where { group: group_id, topic, queue }, effects) else {
                continue;
            };
            if let Some(dead) = open.take_dead(position) {
                let turn = open.progress.redrives.saturating_add(1);
                open.rise(position, dead, place.unwrap_or(Place { offset: end, turn }));
            }
        }
    }

    /// The last offset of a queue: what is redriven goes directly behind it.
    fn end_of(&self, topic: TopicId, queue: QueueNo) -> u64 {
        self.next_offset(topic, queue).saturating_sub(1)
    }

    /// The messages that they became were accepted by the facts before.
    pub(super) fn apply_moved(&mut self, group: GroupId, positions: &[Position], at: Position) {
        let Some(group) = self.groups.get_mut(&group) else { return };
        let group = Arc::make_mut(group);
        for named in positions {
            let Some(dead) = group.dead.remove(&resolve(*named, at)) else { continue };
            group.dead_offsets.remove(&(dead.topic, dead.queue, dead.offset));
            self.held = self.held.saturating_sub(1);
        }
    }
}

impl OpenProgress<'_> {
    /// A dead letter goes to `place`, in a new round. A person asked for it, so its TTL does not count again.
    fn rise(&mut self, position: Position, dead: Dead, place: Place) {
        self.progress.redrives = self.progress.redrives.max(place.turn);
        let round = dead.round.saturating_add(1);
        self.progress.max_round = self.progress.max_round.max(round);
        let item = Item {
            position,
            offset: dead.offset,
            lane: dead.lane,
            ready_at: dead.ready_at,
            expires_at: Timestamp::MAX,
            body_bytes: dead.body_bytes,
            round,
            failures: 0,
            history: dead.history,
            state: if self.ordered { ItemState::Parked } else { ItemState::Ready },
            last: LastEnd::None,
        };
        let lane = item.lane;
        self.put(place, item);
        if self.ordered {
            self.promote(lane);
        }
    }
}
