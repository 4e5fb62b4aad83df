//! Which messages a fact is about, as numbers: so that whoever looks for the facts about one message can tell, of a
//! stretch of log, that there are none in it.
//!
//! Facts name a message by its position (when it comes due, when it is redriven) or by its place in a queue (everything
//! that groups do with it); some move a whole topic or group. So a message has several keys, and a fact that is about
//! it touches at least one of them. Keys do not name the group of a place: who looks wants all groups.

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::model::wire::DecodeError;
use crate::model::{GroupId, Place, Position, QueueNo, TopicId};

use super::codec::may_touch;
use super::facts::{Expiry, Fact};
use super::progress::resolve;

/// The version of these rules. What was gathered under another one says nothing.
pub const TOUCH_RULES: u32 = 1;

/// A look over more offsets than this touches stretches instead of single offsets.
const SINGLE_MAX: u64 = 4_096;

/// Offsets of one stretch.
const STRETCH: u64 = 1_024;

/// What a fact is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touch {
    /// A message, by its position.
    Message(Position),
    /// A place in a queue.
    Place(TopicId, QueueNo, Place),
    /// All offsets of a queue from this number times 1,024 on, 1,024 of them.
    Stretch(TopicId, QueueNo, u64),
    /// Every message of a topic.
    Topic(TopicId),
    /// Every message that a group holds, or has among its dead letters.
    Group(GroupId),
}

impl Touch {
    /// The keys by which facts name the message at its own offset.
    #[must_use]
    pub fn at_offset(topic: TopicId, queue: QueueNo, offset: u64) -> [Touch; 2] {
        [Touch::Place(topic, queue, Place::at(offset)), Touch::Stretch(topic, queue, offset / STRETCH)]
    }

    /// A number for it: evenly spread, the same on every node and in every version with the same [`TOUCH_RULES`].
    #[must_use]
    pub fn key(self) -> u64 {
        let (kind, scope, number, turn): (u8, u64, u64, u64) = match self {
            Touch::Message(position) => (1, 0, position.index, position.slot.into()),
            Touch::Place(topic, queue, place) => (2, scope(topic, queue), place.offset, place.turn.into()),
            Touch::Stretch(topic, queue, stretch) => (3, scope(topic, queue), stretch, 0),
            Touch::Topic(topic) => (4, topic.0.into(), 0, 0),
            Touch::Group(group) => (5, group.0.into(), 0, 0),
        };
        let mut bytes = [0u8; 25];
        for (field, value) in bytes.chunks_exact_mut(8).zip([scope, number, turn]) {
            field.copy_from_slice(&value.to_le_bytes());
        }
        if let Some(last) = bytes.last_mut() {
            *last = kind;
        }
        xxh3_64(&bytes)
    }
}

fn scope(topic: TopicId, queue: QueueNo) -> u64 {
    (u64::from(topic.0) << 16) | u64::from(queue)
}

/// Tells `touch` everything that the fact in `part`, of the entry at `index`, is about; more now and then, never less.
/// That a message was accepted is not told: where that stands is the message's name.
///
/// # Errors
/// When the bytes are not a fact of a known kind.
pub fn touches(part: &Bytes, index: u64, touch: &mut dyn FnMut(Touch)) -> Result<(), DecodeError> {
    if may_touch(part) {
        Fact::decode(part)?.touches(index, touch);
    }
    Ok(())
}

impl Fact {
    fn touches(&self, index: u64, touch: &mut dyn FnMut(Touch)) {
        // A position in a fact may be of its own entry.
        let own = Position { index, slot: 0 };
        match self {
            Fact::ScheduleDue(due) => touch(Touch::Message(resolve(due.entry.position, own))),
            Fact::Cancelled { position, .. } => touch(Touch::Message(*position)),
            Fact::Delivered(delivered) => {
                let (topic, queue) = (delivered.topic, delivered.queue);
                let mut place = |place| touch(Touch::Place(topic, queue, place));
                delivered.again.iter().for_each(|(again, _)| place(*again));
                delivered.fresh.iter().for_each(|fresh| place(Place::at(fresh.offset)));
                delivered.expired.iter().for_each(|expiry| place(Place::at(expiry.offset)));
                looked_over(topic, queue, delivered.from, delivered.next, touch);
            }
            Fact::Acked { topic, queue, places, .. }
            | Fact::GivenBack { topic, queue, places, .. }
            | Fact::RetryDue { topic, queue, places, .. } => {
                places.iter().for_each(|place| touch(Touch::Place(*topic, *queue, *place)));
            }
            Fact::Expired { topic, queue, places, beyond, .. } => {
                places.iter().for_each(|place| touch(Touch::Place(*topic, *queue, *place)));
                let unlooked = |expiry: &Expiry| Place::at(expiry.offset);
                beyond.iter().map(unlooked).for_each(|place| touch(Touch::Place(*topic, *queue, place)));
            }
            Fact::Extended { topic, queue, place, .. }
            | Fact::Failed { topic, queue, place, .. }
            | Fact::Dead { topic, queue, place, .. } => touch(Touch::Place(*topic, *queue, *place)),
            Fact::Sought { topic, .. } => touch(Touch::Topic(*topic)),
            Fact::Redriven { positions, .. } | Fact::DeadMoved { positions, .. } => {
                positions.iter().for_each(|named| touch(Touch::Message(resolve(*named, own))));
            }
            Fact::GroupMade { id: group, starts, .. } | Fact::GroupChanged { id: group, starts, .. } => {
                touch(Touch::Group(*group));
                starts.iter().for_each(|(topic, _)| touch(Touch::Topic(*topic)));
            }
            Fact::GroupDeleted { id: group } | Fact::DeadPurged { group } => touch(Touch::Group(*group)),
            Fact::LeaderStart { .. }
            | Fact::TopicMade { .. }
            | Fact::TopicChanged { .. }
            | Fact::TopicDeleted { .. }
            | Fact::GroupPaused { .. }
            | Fact::Produced(_)
            | Fact::Kept { .. }
            | Fact::Swept { .. }
            | Fact::Remembered(_)
            | Fact::Forgotten { .. }
            | Fact::Job(_)
            | Fact::Alert(_) => {}
        }
    }
}

/// Everything in `from..to`. A look over very many offsets passes over what was settled long before.
fn looked_over(topic: TopicId, queue: QueueNo, from: u64, to: u64, touch: &mut dyn FnMut(Touch)) {
    if to.saturating_sub(from) > SINGLE_MAX {
        (from / STRETCH..=to / STRETCH).for_each(|stretch| touch(Touch::Stretch(topic, queue, stretch)));
    } else {
        (from..to).for_each(|offset| touch(Touch::Place(topic, queue, Place::at(offset))));
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::facts::{Batch, Delivered};
    use super::*;
    use crate::model::Timestamp;

    fn of(fact: Fact) -> BTreeSet<Touch> {
        let batch = Batch { base: 1, time: Timestamp(1), facts: vec![fact] };
        let mut found = BTreeSet::new();
        touches(&batch.encode()[1], 7, &mut |touch| {
            found.insert(touch);
        })
        .unwrap();
        found
    }

    fn looked(from: u64, next: u64) -> BTreeSet<Touch> {
        of(Fact::Delivered(Delivered {
            group: GroupId(1),
            topic: TopicId(2),
            queue: 3,
            from,
            next,
            round: 1,
            session: 0,
            client: "c".into(),
            until: Timestamp(2),
            fresh: Vec::new(),
            again: Vec::new(),
            expired: Vec::new(),
        }))
    }

    /// Whether one fact looked over a few offsets or over very many, each of them is touched by one of its keys.
    #[test]
    fn every_offset_of_a_look_is_touched() {
        for (from, next) in [(0, 1), (5, 517), (10, 10 + SINGLE_MAX), (1_000, 90_001), (7, 7)] {
            let found = looked(from, next);
            let touched =
                |offset| Touch::at_offset(TopicId(2), 3, offset).iter().any(|touch| found.contains(touch));
            assert!((from..next).all(touched), "{from}..{next}");
            assert!(!touched(next + STRETCH) && found.len() < 4_200, "{from}..{next}: {}", found.len());
        }
    }

    #[test]
    fn keys_tell_apart_what_they_stand_for() {
        let keys: BTreeSet<u64> = (0..1_000u64)
            .flat_map(|number| {
                let place = Place { offset: number, turn: 1 };
                [
                    Touch::Message(Position { index: number, slot: 0 }),
                    Touch::Place(TopicId(0), 0, Place::at(number)),
                    Touch::Place(TopicId(0), 0, place),
                    Touch::Place(TopicId(0), 1, Place::at(number)),
                    Touch::Place(TopicId(1), 0, Place::at(number)),
                    Touch::Stretch(TopicId(0), 0, number),
                ]
            })
            .map(Touch::key)
            .collect();
        assert_eq!(keys.len(), 6_000);
    }
}
