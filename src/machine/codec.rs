//! How facts stand in the log. A batch is a list of parts; the log keeps each with its own checksum.
//!
//! Part 0, the header:
//!
//! | field | as |
//! | --- | --- |
//! | version | byte, 1 |
//! | base | number |
//! | time | number, milliseconds since 1970 |
//! | facts | number; as many parts follow |
//!
//! Part 1 + slot, one fact: a byte that names its kind *and* shape, then its fields ([`crate::model::wire`] says how
//! each looks). A kind whose shape changes gets a new byte, and the old one stays readable for ever.
//!
//! | kind | byte | fields |
//! | --- | --- | --- |
//! | LeaderStart | 1 | node |
//! | TopicMade | 2 | topic, name (text), settings (text: JSON) |
//! | TopicChanged | 3 | topic, settings |
//! | TopicDeleted | 4 | topic |
//! | GroupMade | 5 | group, name (text), settings, starts |
//! | GroupChanged | 6 | group, settings, starts |
//! | GroupDeleted | 7 | group |
//! | GroupPaused | 8 | group, byte 0 or 1 |
//! | Produced | 9 | see `produced.rs`; the body comes last, so that reading a body is a slice |
//! | ScheduleDue | 10 | topic, queue, due, entry (see `produced.rs`) |
//! | Delivered | 11 | see `delivered.rs`; only read |
//! | Acked | 12 | group, topic, queue, places |
//! | Extended | 13 | group, topic, queue, place, until |
//! | Failed | 14 | group, topic, queue, place, cause, due |
//! | Dead | 15 | group, topic, queue, place, reason (byte: 0 max attempts, 1 rejected, 2 expired), cause |
//! | GivenBack | 16 | group, topic, queue, places |
//! | RetryDue | 17 | group, topic, queue, places |
//! | Expired | 18 | group, topic, queue, places, expiries (see `delivered.rs`) |
//! | Sought | 19 | group, topic, count, each target plus 1 (0: that queue is not touched) |
//! | Redriven | 20 | group, count, positions: index as delta to the one before, slot; only read |
//! | DeadPurged | 21 | group |
//! | Kept | 22 | topic, count, each: queue, offset |
//! | Swept | 23 | count |
//! | Remembered | 24 | see `remembered.rs` |
//! | Forgotten | 25 | topic, until |
//! | Delivered | 26 | see `delivered.rs`; 11 as well, which older versions wrote |
//! | Redriven | 27 | as 20, then for each its place: offset as delta to the one before, turn; older versions wrote 20 |
//! | DeadMoved | 28 | as Redriven |
//! | Job | 29 | see `jobs.rs` |
//! | Alert | 31 | an [`AlertFact`](super::AlertFact) as JSON |
//! | Cancelled | 30 | topic, due, position |
//!
//! *place*: offset, turn. *places*: count, each: offset as delta to the one before, turn. *position*: index plus 1
//! (0: this very entry), slot. *cause*: byte 0 none, 1 ran out, 2 broken, 3 nacked, 4 nacked with a reason (text), 5
//! rejected, 6 rejected with a reason. *starts*: count, each: topic, count, offsets.

mod delivered;
pub(super) mod fields;
pub(super) mod jobs;
mod produced;
mod remembered;
#[cfg(test)]
mod tests;

use bytes::{BufMut, Bytes, BytesMut};

use crate::model::wire::{DecodeError, Reader, put_count, put_number, put_text};
use crate::model::{GroupId, Place, Position, QueueNo, Timestamp, TopicId};

use super::facts::{Batch, Fact};
use fields::{
    Fields, put_cause, put_json, put_kind_json, put_offset, put_place, put_places, put_position, put_reason,
    put_starts,
};

pub use produced::{ProducedMeta, decode_message};

/// Whether the fact in this part may be about a message that it does not hold itself. Told from its first byte, so that
/// who passes over bodies need not read them.
#[must_use]
pub fn may_touch(part: &[u8]) -> bool {
    part.first().is_some_and(|kind| !matches!(*kind, kind::PRODUCED | kind::REMEMBERED))
}

const VERSION: u8 = 1;

/// The byte that names a fact's kind.
mod kind {
    pub(super) const LEADER_START: u8 = 1;
    pub(super) const TOPIC_MADE: u8 = 2;
    pub(super) const TOPIC_CHANGED: u8 = 3;
    pub(super) const TOPIC_DELETED: u8 = 4;
    pub(super) const GROUP_MADE: u8 = 5;
    pub(super) const GROUP_CHANGED: u8 = 6;
    pub(super) const GROUP_DELETED: u8 = 7;
    pub(super) const GROUP_PAUSED: u8 = 8;
    pub(super) const PRODUCED: u8 = 9;
    pub(super) const SCHEDULE_DUE: u8 = 10;
    pub(super) const DELIVERED: u8 = 11;
    pub(super) const ACKED: u8 = 12;
    pub(super) const EXTENDED: u8 = 13;
    pub(super) const FAILED: u8 = 14;
    pub(super) const DEAD: u8 = 15;
    pub(super) const GIVEN_BACK: u8 = 16;
    pub(super) const RETRY_DUE: u8 = 17;
    pub(super) const EXPIRED: u8 = 18;
    pub(super) const SOUGHT: u8 = 19;
    pub(super) const REDRIVEN: u8 = 20;
    pub(super) const DEAD_PURGED: u8 = 21;
    pub(super) const KEPT: u8 = 22;
    pub(super) const SWEPT: u8 = 23;
    pub(super) const REMEMBERED: u8 = 24;
    pub(super) const FORGOTTEN: u8 = 25;
    pub(super) const DELIVERED_SINCE: u8 = 26;
    pub(super) const REDRIVEN_TO: u8 = 27;
    pub(super) const DEAD_MOVED: u8 = 28;
    pub(super) const JOB: u8 = 29;
    pub(super) const CANCELLED: u8 = 30;
    pub(super) const ALERT: u8 = 31;
}

/// The header of a batch: everything but its facts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// As [`Batch::base`].
    pub base: u64,
    /// As [`Batch::time`]: when everything in it was accepted or happened.
    pub time: Timestamp,
    /// How many facts follow.
    pub facts: usize,
}

impl BatchHeader {
    /// Whether the batch at `index` took effect: it builds on `base`, the last one that did. Where that is not known
    /// (after a gap in the log) the next batch that names this one as its base tells; with none, nothing refused it.
    /// `later` are the batches behind it, in order.
    #[must_use]
    pub fn took_effect(
        self,
        base: Option<u64>,
        index: u64,
        later: impl IntoIterator<Item = BatchHeader>,
    ) -> bool {
        if self.starts_leadership() {
            return true;
        }
        match base {
            Some(base) => self.base == base,
            None => later
                .into_iter()
                .find(|later| !later.starts_leadership())
                .is_none_or(|later| later.base >= index),
        }
    }

    /// The only batches without a base are those that start a leadership.
    fn starts_leadership(self) -> bool {
        self.base == 0
    }
}

impl BatchHeader {
    /// Reads part 0 of an entry.
    ///
    /// # Errors
    /// When it is not one, or is of a later version.
    pub fn decode(part: &[u8]) -> Result<BatchHeader, DecodeError> {
        let mut reader = Reader::new(part);
        if reader.byte()? != VERSION {
            return Err(DecodeError { at: 0, what: "a batch of an unknown version" });
        }
        let header =
            BatchHeader { base: reader.number()?, time: Timestamp(reader.number()?), facts: reader.small()? };
        reader.finish()?;
        Ok(header)
    }
}

impl Batch {
    /// Its header.
    #[must_use]
    pub fn header(&self) -> BatchHeader {
        BatchHeader { base: self.base, time: self.time, facts: self.facts.len() }
    }

    /// The batch as the log keeps it: part 0 is the header, part 1 + slot is the fact at that slot. All parts share a
    /// few large buffers; a body is copied once.
    #[must_use]
    pub fn encode(&self) -> Vec<Bytes> {
        let mut out = BytesMut::with_capacity(32 + self.facts.iter().map(room_for).sum::<usize>());
        let mut parts = Vec::with_capacity(1 + self.facts.len());
        out.put_u8(VERSION);
        put_number(&mut out, self.base);
        put_number(&mut out, self.time.0);
        put_count(&mut out, self.facts.len());
        parts.push(out.split().freeze());
        for fact in &self.facts {
            put_fact(&mut out, fact);
            parts.push(out.split().freeze());
        }
        parts
    }

    /// Reads what [`Batch::encode`] wrote. Bodies are slices of their parts.
    ///
    /// # Errors
    /// When a part is not what it should be; the place counts from the start of that part.
    pub fn decode(parts: &[Bytes]) -> Result<Batch, DecodeError> {
        let (header, facts) =
            parts.split_first().ok_or(DecodeError { at: 0, what: "an entry without a header" })?;
        let header = BatchHeader::decode(header)?;
        if header.facts != facts.len() {
            return Err(DecodeError { at: 0, what: "an entry with a wrong number of facts" });
        }
        let facts = facts.iter().map(Fact::decode).collect::<Result<_, _>>()?;
        Ok(Batch { base: header.base, time: header.time, facts })
    }
}

/// Room to reserve for one fact, so that the usual batch is encoded into one buffer.
fn room_for(fact: &Fact) -> usize {
    match fact {
        Fact::Produced(produced) => 96 + produced.message.body.len(),
        Fact::Delivered(delivered) => 64 + 48 * delivered.fresh.len() + 16 * delivered.again.len(),
        Fact::Acked { places, .. } => 16 + 4 * places.len(),
        _ => 64,
    }
}

/// What most facts about messages begin with.
#[derive(Clone, Copy)]
struct Where {
    group: GroupId,
    topic: TopicId,
    queue: QueueNo,
}

fn put_head(out: &mut BytesMut, kind: u8, place: Where) {
    out.put_u8(kind);
    put_number(out, place.group.0);
    put_number(out, place.topic.0);
    put_number(out, place.queue);
}

fn put_list(out: &mut BytesMut, kind: u8, place: Where, places: &[Place]) {
    put_head(out, kind, place);
    put_places(out, places);
}

fn put_fact(out: &mut BytesMut, fact: &Fact) {
    match fact {
        Fact::Produced(produced) => {
            out.put_u8(kind::PRODUCED);
            produced::put_produced(out, produced);
        }
        Fact::ScheduleDue(due) => {
            out.put_u8(kind::SCHEDULE_DUE);
            produced::put_schedule_due(out, due);
        }
        Fact::Remembered(remembered) => {
            out.put_u8(kind::REMEMBERED);
            remembered::put_remembered(out, remembered);
        }
        Fact::Delivered(delivered) => {
            out.put_u8(kind::DELIVERED_SINCE);
            delivered::put_delivered(out, delivered);
        }
        &Fact::Acked { group, topic, queue, ref places } => {
            put_list(out, kind::ACKED, Where { group, topic, queue }, places);
        }
        &Fact::GivenBack { group, topic, queue, ref places } => {
            put_list(out, kind::GIVEN_BACK, Where { group, topic, queue }, places);
        }
        &Fact::RetryDue { group, topic, queue, ref places } => {
            put_list(out, kind::RETRY_DUE, Where { group, topic, queue }, places);
        }
        &Fact::Expired { group, topic, queue, ref places, ref beyond } => {
            put_list(out, kind::EXPIRED, Where { group, topic, queue }, places);
            delivered::put_expiries(out, beyond);
        }
        &Fact::Extended { group, topic, queue, place, until } => {
            put_head(out, kind::EXTENDED, Where { group, topic, queue });
            put_place(out, place);
            put_number(out, until.0);
        }
        &Fact::Failed { group, topic, queue, place, ref cause, due } => {
            put_head(out, kind::FAILED, Where { group, topic, queue });
            put_place(out, place);
            put_cause(out, Some(cause));
            put_number(out, due.0);
        }
        &Fact::Dead { group, topic, queue, place, reason, ref cause } => {
            put_head(out, kind::DEAD, Where { group, topic, queue });
            put_place(out, place);
            put_reason(out, reason);
            put_cause(out, cause.as_ref());
        }
        rare => put_rare(out, rare),
    }
}

/// The facts that no request for messages makes.
fn put_rare(out: &mut BytesMut, fact: &Fact) {
    match fact {
        Fact::LeaderStart { node } => put_numbers(out, kind::LEADER_START, [*node]),
        Fact::TopicMade { id, name, settings } => {
            put_numbers(out, kind::TOPIC_MADE, [id.0]);
            put_text(out, name.as_str());
            put_json(out, settings);
        }
        Fact::TopicChanged { id, settings } => {
            put_numbers(out, kind::TOPIC_CHANGED, [id.0]);
            put_json(out, settings);
        }
        Fact::TopicDeleted { id } => put_numbers(out, kind::TOPIC_DELETED, [id.0]),
        Fact::GroupMade { id, name, settings, starts } => {
            put_numbers(out, kind::GROUP_MADE, [id.0]);
            put_text(out, name.as_str());
            put_json(out, settings);
            put_starts(out, starts);
        }
        Fact::GroupChanged { id, settings, starts } => {
            put_numbers(out, kind::GROUP_CHANGED, [id.0]);
            put_json(out, settings);
            put_starts(out, starts);
        }
        Fact::GroupDeleted { id } => put_numbers(out, kind::GROUP_DELETED, [id.0]),
        Fact::GroupPaused { id, paused } => put_numbers(out, kind::GROUP_PAUSED, [id.0, u32::from(*paused)]),
        Fact::Sought { group, topic, targets } => {
            put_numbers(out, kind::SOUGHT, [group.0, topic.0]);
            put_count(out, targets.len());
            for target in targets {
                put_offset(out, *target);
            }
        }
        Fact::Redriven { group, positions, places } if places.is_empty() => {
            put_dead(out, kind::REDRIVEN, *group, positions);
        }
        Fact::Redriven { group, positions, places } => {
            put_dead(out, kind::REDRIVEN_TO, *group, positions);
            put_places(out, places);
        }
        Fact::DeadMoved { group, positions } => put_dead(out, kind::DEAD_MOVED, *group, positions),
        Fact::Job(fact) => jobs::put_job(out, fact),
        Fact::Alert(fact) => put_kind_json(out, kind::ALERT, fact),
        Fact::DeadPurged { group } => put_numbers(out, kind::DEAD_PURGED, [group.0]),
        Fact::Kept { topic, firsts } => {
            put_numbers(out, kind::KEPT, [topic.0]);
            put_firsts(out, firsts);
        }
        Fact::Swept { count } => put_numbers(out, kind::SWEPT, [*count]),
        Fact::Forgotten { topic, until } => {
            put_numbers(out, kind::FORGOTTEN, [u64::from(topic.0), until.0]);
        }
        Fact::Cancelled { topic, due, position } => {
            put_numbers(out, kind::CANCELLED, [u64::from(topic.0), due.0]);
            put_position(out, *position);
        }
        // The frequent ones are written above.
        Fact::Produced(_)
        | Fact::Remembered(_)
        | Fact::ScheduleDue(_)
        | Fact::Delivered(_)
        | Fact::Acked { .. }
        | Fact::Extended { .. }
        | Fact::Failed { .. }
        | Fact::Dead { .. }
        | Fact::GivenBack { .. }
        | Fact::RetryDue { .. }
        | Fact::Expired { .. } => {}
    }
}

fn put_firsts(out: &mut BytesMut, firsts: &[(QueueNo, u64)]) {
    put_count(out, firsts.len());
    for (queue, offset) in firsts {
        put_number(out, *queue);
        put_number(out, *offset);
    }
}

fn put_dead(out: &mut BytesMut, kind: u8, group: GroupId, positions: &[Position]) {
    put_numbers(out, kind, [group.0]);
    fields::put_positions(out, positions);
}

fn put_numbers<const N: usize, T: Into<u64>>(out: &mut BytesMut, kind: u8, numbers: [T; N]) {
    out.put_u8(kind);
    for number in numbers {
        put_number(out, number);
    }
}

impl Fact {
    /// Reads one fact from its part. The body of a message is a slice of the part.
    ///
    /// # Errors
    /// When the bytes are not a fact of a known kind.
    pub fn decode(part: &Bytes) -> Result<Fact, DecodeError> {
        let mut reader = Reader::new(part);
        let kind = reader.byte()?;
        if kind == kind::PRODUCED {
            return produced::produced(part).map(Fact::Produced);
        }
        let fact = match kind {
            kind::SCHEDULE_DUE => Fact::ScheduleDue(produced::schedule_due(&mut reader)?),
            kind::DELIVERED => Fact::Delivered(delivered::delivered_before(&mut reader)?),
            kind::DELIVERED_SINCE => Fact::Delivered(delivered::delivered(&mut reader)?),
            kind::REMEMBERED => Fact::Remembered(remembered::remembered(&mut reader)?),
            kind::ACKED..=kind::EXPIRED => settled(kind, &mut reader)?,
            _ => rare(kind, &mut reader)?,
        };
        reader.finish()?;
        Ok(fact)
    }
}

fn settled(kind: u8, reader: &mut Reader<'_>) -> Result<Fact, DecodeError> {
    let group = reader.group()?;
    let topic = reader.topic()?;
    let queue = reader.queue()?;
    Ok(match kind {
        kind::ACKED => Fact::Acked { group, topic, queue, places: reader.places()? },
        kind::GIVEN_BACK => Fact::GivenBack { group, topic, queue, places: reader.places()? },
        kind::RETRY_DUE => Fact::RetryDue { group, topic, queue, places: reader.places()? },
        kind::EXPIRED => {
            let places = reader.places()?;
            Fact::Expired { group, topic, queue, places, beyond: delivered::expiries(reader)? }
        }
        kind::EXTENDED => {
            Fact::Extended { group, topic, queue, place: reader.place()?, until: reader.time()? }
        }
        kind::FAILED => {
            let place = reader.place()?;
            let cause = reader.cause()?.ok_or(reader.error("a failure without a cause"))?;
            Fact::Failed { group, topic, queue, place, cause, due: reader.time()? }
        }
        kind::DEAD => {
            let place = reader.place()?;
            let reason = reader.dead_reason()?;
            Fact::Dead { group, topic, queue, place, reason, cause: reader.cause()? }
        }
        _ => return Err(reader.error("an unknown kind of fact")),
    })
}

fn rare(kind: u8, reader: &mut Reader<'_>) -> Result<Fact, DecodeError> {
    Ok(match kind {
        kind::LEADER_START => Fact::LeaderStart { node: reader.number()? },
        kind::TOPIC_MADE => {
            Fact::TopicMade { id: reader.topic()?, name: reader.name()?, settings: reader.json()? }
        }
        kind::TOPIC_CHANGED => Fact::TopicChanged { id: reader.topic()?, settings: reader.json()? },
        kind::TOPIC_DELETED => Fact::TopicDeleted { id: reader.topic()? },
        kind::GROUP_MADE => Fact::GroupMade {
            id: reader.group()?,
            name: reader.name()?,
            settings: reader.json()?,
            starts: reader.starts()?,
        },
        kind::GROUP_CHANGED => {
            Fact::GroupChanged { id: reader.group()?, settings: reader.json()?, starts: reader.starts()? }
        }
        kind::GROUP_DELETED => Fact::GroupDeleted { id: reader.group()? },
        kind::GROUP_PAUSED => Fact::GroupPaused { id: reader.group()?, paused: reader.flag()? },
        kind::SOUGHT => {
            let group = reader.group()?;
            let topic = reader.topic()?;
            let count = reader.count(1)?;
            let targets = (0..count).map(|_| reader.offset()).collect::<Result<_, _>>()?;
            Fact::Sought { group, topic, targets }
        }
        kind::REDRIVEN => {
            Fact::Redriven { group: reader.group()?, positions: reader.positions()?, places: Vec::new() }
        }
        kind::REDRIVEN_TO => {
            let (group, positions, places) = (reader.group()?, reader.positions()?, reader.places()?);
            if places.is_empty() || places.len() != positions.len() {
                return Err(reader.error("not one place for each redriven message"));
            }
            Fact::Redriven { group, positions, places }
        }
        kind::DEAD_MOVED => Fact::DeadMoved { group: reader.group()?, positions: reader.positions()? },
        kind::JOB => Fact::Job(jobs::job(reader)?),
        kind::ALERT => Fact::Alert(reader.json()?),
        kind::DEAD_PURGED => Fact::DeadPurged { group: reader.group()? },
        kind::KEPT => {
            let topic = reader.topic()?;
            let count = reader.count(2)?;
            let firsts = (0..count)
                .map(|_| Ok((reader.queue()?, reader.number()?)))
                .collect::<Result<_, DecodeError>>()?;
            Fact::Kept { topic, firsts }
        }
        kind::SWEPT => Fact::Swept { count: reader.small()? },
        kind::FORGOTTEN => Fact::Forgotten { topic: reader.topic()?, until: reader.time()? },
        kind::CANCELLED => {
            Fact::Cancelled { topic: reader.topic()?, due: reader.time()?, position: reader.position()? }
        }
        _ => return Err(DecodeError { at: 0, what: "an unknown kind of fact" }),
    })
}
