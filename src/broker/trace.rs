//! The life of one message, told from the log alone: from the fact that accepted it onwards, every fact that is about
//! it. Producers switch nothing on for this.
//!
//! The log is read forward from the message. Sealed segments whose trails say that they hold nothing about it are
//! passed over ([`super::trails`]); everything else is read, a bounded stretch for each answer, which says where to go
//! on.

mod cursor;
mod life;
mod view;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::machine::{self, BatchHeader, Fact, Machine, ProducedMeta};
use crate::model::wire::DecodeError;
use crate::model::{MessageId, Millis, Position, TRACE_BYTES_MAX, TRACE_MS_MAX, Timestamp};
use crate::storage::{Record, RecordKind, SegmentInfo};

pub use cursor::TraceCursor;
pub use view::{Details, Gap, Happening, Trace, TraceEvent};

use super::error::BrokerError;
use super::handle::Broker;
use super::read;
use life::{Life, Told, accepted};

/// Read in one go; the limits are looked at in between.
const CHUNK_BYTES: usize = 2 << 20;

impl Broker {
    /// What happened to a message, at most `limit` events, from its acceptance or from where `cursor` says. Blocking.
    ///
    /// # Errors
    /// `NotFound`, `Gone`, or a fault of the disk, as for the message itself.
    pub fn trace(
        &self,
        id: MessageId,
        cursor: Option<TraceCursor>,
        limit: usize,
    ) -> Result<Trace, BrokerError> {
        self.trace_within(id, cursor, limit, TRACE_MS_MAX)
    }

    /// The same, for at most about `within_ms`.
    ///
    /// # Errors
    /// As [`Broker::trace`].
    pub fn trace_within(
        &self,
        id: MessageId,
        cursor: Option<TraceCursor>,
        limit: usize,
        within_ms: Millis,
    ) -> Result<Trace, BrokerError> {
        let machine = self.core.machine.snapshot();
        let stored = self.message(id)?;
        let meta = read::logged(&self.core, id.position)?.meta;
        let mut walk = Walk::new(self, &machine, (id.position, &stored.topic, &meta), limit);
        walk.until = Instant::now() + Duration::from_millis(within_ms);
        walk.time = stored.accepted_at;
        match cursor {
            Some(cursor) => walk.go_on_from(cursor),
            None => walk.tell(accepted(meta.state), stored.accepted_at),
        }
        walk.run()?;
        let cursor = walk.cursor();
        Ok(Trace {
            id,
            topic: stored.topic,
            queue: stored.queue,
            offset: walk.life.offset,
            events: walk.events,
            gone: walk.gone,
            groups_left_out: walk.life.left_out,
            scanned: walk.scanned,
            scanned_bytes: walk.scanned_bytes,
            segments_passed: walk.segments_passed,
            next: cursor,
        })
    }
}

/// One trace on its way through the log.
struct Walk<'a> {
    broker: &'a Broker,
    machine: &'a Machine,
    /// Nothing behind this entry is agreed.
    end: u64,
    /// The first fact not looked at.
    next: Position,
    /// The last batch before `next` that took effect; none when that is not known.
    base: Option<u64>,
    /// Log time of the last entry seen.
    time: Timestamp,
    life: Life,
    events: Vec<TraceEvent>,
    limit: usize,
    gone: Vec<Gap>,
    scanned: u64,
    scanned_bytes: u64,
    segments_passed: u64,
    until: Instant,
}

impl<'a> Walk<'a> {
    fn new(
        broker: &'a Broker,
        machine: &'a Machine,
        (position, topic_name, meta): (Position, &crate::model::TopicName, &ProducedMeta),
        limit: usize,
    ) -> Walk<'a> {
        let offset = match meta.state {
            machine::ProducedAs::Ready { offset } => Some(offset),
            machine::ProducedAs::Scheduled { .. } => None,
        };
        let life = Life {
            position,
            topic: meta.topic,
            topic_name: topic_name.clone(),
            queue: meta.queue,
            offset,
            groups: BTreeMap::new(),
            left_out: false,
        };
        Walk {
            broker,
            machine,
            end: machine.applied(),
            // Its entry took effect, or it would be no message: what follows in there does as well.
            next: Position { index: position.index, slot: position.slot.saturating_add(1) },
            base: None,
            time: Timestamp(0),
            life,
            events: Vec::new(),
            limit,
            gone: Vec::new(),
            scanned: 0,
            scanned_bytes: 0,
            segments_passed: 0,
            until: Instant::now() + Duration::from_millis(TRACE_MS_MAX),
        }
    }

    fn go_on_from(&mut self, cursor: TraceCursor) {
        self.next = cursor.next;
        self.base = cursor.base;
        self.life.offset = cursor.offset;
        self.life.groups = cursor.groups;
        self.life.left_out = cursor.left_out;
    }

    /// Where to go on; none at the end of the log.
    fn cursor(&self) -> Option<TraceCursor> {
        (self.next.index <= self.end).then(|| TraceCursor {
            message: self.life.position,
            next: self.next,
            base: self.base,
            offset: self.life.offset,
            groups: self.life.groups.clone(),
            left_out: self.life.left_out,
        })
    }

    fn is_full(&self) -> bool {
        self.events.len() >= self.limit
            || self.scanned_bytes >= TRACE_BYTES_MAX
            || Instant::now() >= self.until
    }

    /// Segment by segment to the end of the log, or to a limit.
    fn run(&mut self) -> Result<(), BrokerError> {
        let segments = self.broker.core.replication.log().segments();
        let mut passed_over = None;
        while self.next.index <= self.end && !self.is_full() {
            let here = segments.iter().rfind(|segment| segment.first_index <= self.next.index);
            let ends = here.filter(|segment| segment.sealed).and_then(|segment| segment.last_index);
            // What is behind the last sealed one is in the open one, which grows.
            let to = ends.unwrap_or(self.end).min(self.end);
            if ends.is_some_and(|last| last < self.next.index) {
                let Some(after) = after_gap(&segments, self.next.index) else { break };
                self.skip_gap(after)?;
                continue;
            }
            let passable = here.filter(|segment| ends.is_some() && passed_over != Some(segment.id));
            if let Some(segment) = passable {
                passed_over = Some(segment.id);
                if !self.broker.may_touch(segment.id, &self.life.touches()) {
                    self.segments_passed += 1;
                    self.move_to(to.saturating_add(1));
                    continue;
                }
            }
            self.read_on(to)?;
        }
        Ok(())
    }

    /// To the beginning of an entry that does not follow on what was read.
    fn move_to(&mut self, index: u64) {
        self.next = Position { index, slot: 0 };
        self.base = None;
    }

    fn skip_gap(&mut self, first: u64) -> Result<(), BrokerError> {
        let log = self.broker.core.replication.log();
        let from = match self.next.index.checked_sub(1) {
            // Passed over, so its time was not seen.
            Some(before) => header_at(log, before)?.map_or(self.time, |header| header.time),
            None => self.time,
        };
        let mut to = None;
        // Only batches have a time.
        for index in first..=self.end {
            to = header_at(log, index)?.map(|header| header.time);
            if to.is_some() {
                break;
            }
        }
        self.gone.push(Gap { from, to: to.unwrap_or(from).max(from) });
        self.move_to(first);
        Ok(())
    }

    /// A chunk of entries, up to `to`.
    fn read_on(&mut self, to: u64) -> Result<(), BrokerError> {
        let log = self.broker.core.replication.log();
        let fault = |what: &dyn std::fmt::Display| BrokerError::Fault(what.to_string());
        let records =
            log.read(self.next.index, to.saturating_add(1), CHUNK_BYTES).map_err(|error| fault(&error))?;
        if records.is_empty() {
            // Its segment was removed since the list was made.
            let segments = log.segments();
            match after_gap(&segments, self.next.index) {
                Some(after) => self.skip_gap(after)?,
                None => self.move_to(self.end.saturating_add(1)),
            }
            return Ok(());
        }
        for (number, record) in records.iter().enumerate() {
            let later = records.get(number + 1..).unwrap_or_default();
            self.scanned += 1;
            self.scanned_bytes += record.encoded_len() as u64;
            let done = self
                .entry(record, later)
                .map_err(|error| fault(&format!("entry {}: {error}", record.index)))?;
            if !done {
                return Ok(());
            }
            self.next = Position { index: record.index + 1, slot: 0 };
        }
        Ok(())
    }

    /// One entry, from `next` on. False: the page is full in the middle of it.
    fn entry(&mut self, record: &Record, later: &[Arc<Record>]) -> Result<bool, DecodeError> {
        if record.kind != RecordKind::Batch {
            return Ok(true);
        }
        let header = header_of(record)?;
        self.time = header.time;
        // In the middle of an entry it took effect: something of it was told already.
        if self.next.slot == 0 {
            let later = later.iter().filter(|record| record.kind == RecordKind::Batch);
            let later = later.filter_map(|record| header_of(record).ok());
            if !header.took_effect(self.base, record.index, later) {
                return Ok(true);
            }
        }
        self.base = Some(record.index);
        let facts = record.parts.iter().skip(1).zip(0u16..).skip(usize::from(self.next.slot));
        for (part, slot) in facts {
            if !machine::may_touch(part) {
                continue;
            }
            let at = Position { index: record.index, slot };
            if let Some(told) = self.life.take(&Fact::decode(part)?, at) {
                self.tell(told, header.time);
                if self.events.len() >= self.limit {
                    self.next = Position { index: record.index, slot: slot.saturating_add(1) };
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    fn tell(&mut self, (group, event, details): Told, at: Timestamp) {
        let name = group.and_then(|id| self.machine.group_by_id(id)).map(|group| group.name.clone());
        let group_number = group.map(|group| group.0);
        self.events.push(TraceEvent { at, event, group: name, group_number, details });
    }
}

/// The first entry behind a gap at `index`.
fn after_gap(segments: &[SegmentInfo], index: u64) -> Option<u64> {
    segments.iter().map(|segment| segment.first_index).find(|first| *first > index)
}

fn header_of(record: &Record) -> Result<BatchHeader, DecodeError> {
    let part = record.parts.first().ok_or(DecodeError { at: 0, what: "an entry without a header" })?;
    BatchHeader::decode(part)
}

/// The header of the batch at `index`; none when no batch stands there any more.
fn header_at(log: &crate::storage::Log, index: u64) -> Result<Option<BatchHeader>, BrokerError> {
    let part = log.part(index, 0).map_err(|error| BrokerError::Fault(error.to_string()))?;
    Ok(part.and_then(|part| BatchHeader::decode(&part).ok()))
}
