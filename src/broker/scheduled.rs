//! Scheduled messages: the list of a topic, taking one back before it is due, and what became of one that is scheduled
//! no more.

use std::fmt;
use std::str::FromStr;

use crate::machine::{Machine, ProducedAs, Refusal, Topic};
use crate::model::{CANDIDATES_MAX, MessageId, Position, QueueNo, Timestamp, TopicId, TopicName};

use super::core::Core;
use super::error::BrokerError;
use super::handle::Broker;
use super::look::{BROWSE_BYTES_MAX, find_topic};
use super::read::{self, StoredMessage};
use super::views::Page;

/// Most index entries read to find out what became of one message.
const SCAN_MAX: u64 = 10_000;

/// Where a message stands in its topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is ready: it has its offset, and groups have their own view of it.
    Ready,
    /// It waits for its time.
    Scheduled,
    /// It was taken back before it was ready, and never will be.
    Cancelled,
    /// It is not scheduled any more. Whether it became ready or was cancelled cannot be told from what the index has,
    /// or not without reading on for long.
    Unknown,
}

/// What a cancellation found.
enum Found {
    /// Its topic, and its key in the schedule there.
    Scheduled(TopicId, (Timestamp, Position)),
    /// It was cancelled before.
    Cancelled,
}

/// A place in the schedule of a topic; a page goes on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SchedulePlace {
    /// When the message is due.
    pub due: Timestamp,
    /// The message.
    pub id: MessageId,
}

/// Milliseconds, a blank, the id.
impl fmt::Display for SchedulePlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.due.0, self.id)
    }
}

/// Reads what [`SchedulePlace`] shows.
impl FromStr for SchedulePlace {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<SchedulePlace, &'static str> {
        let place = text.split_once(' ').and_then(|(due, id)| {
            Some(SchedulePlace { due: Timestamp(due.parse().ok()?), id: id.parse().ok()? })
        });
        place.ok_or("not a place in a schedule")
    }
}

impl Broker {
    /// The scheduled messages of a topic behind `after`, in the order in which they become ready. The page ends early
    /// when its bodies are large. Waits for the disk.
    ///
    /// # Errors
    /// `TopicNotFound`, or a fault of the disk, which names the message.
    pub fn scheduled(
        &self,
        topic: &TopicName,
        after: Option<SchedulePlace>,
        limit: usize,
    ) -> Result<Page<StoredMessage>, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (_, found) = find_topic(&machine, topic)?;
        let mut page = Page { rows: Vec::new(), next_cursor: None };
        let mut bytes = 0;
        let mut last = None;
        for (due, position) in found.scheduled_after(after.map(|place| (place.due, place.id.position))) {
            if page.rows.len() == limit || bytes > BROWSE_BYTES_MAX {
                page.next_cursor = last;
                break;
            }
            let id = MessageId::new(position);
            let stored = self.stored(&machine, position, None).map_err(|error| {
                BrokerError::Fault(format!(
                    "scheduled message {id} cannot be read and holds up those behind it; DELETE /v1/messages/{id} \
                     takes it out: {error}"
                ))
            })?;
            bytes += stored.message.body.len();
            last = Some(SchedulePlace { due, id }.to_string());
            page.rows.push(stored);
        }
        Ok(page)
    }

    /// The scheduled messages that become ready first, over all topics. One that cannot be read is left out here;
    /// the list of its topic names it. Waits for the disk.
    #[must_use]
    pub fn upcoming(&self, limit: usize) -> Vec<StoredMessage> {
        let machine = self.core.machine.snapshot();
        let stored = |(_, position)| self.stored(&machine, position, None).ok();
        machine.upcoming(limit).into_iter().filter_map(stored).collect()
    }

    /// Topics with scheduled messages, by name, behind `after`, with how many.
    #[must_use]
    pub fn topics_with_scheduled(&self, after: Option<&TopicName>, limit: usize) -> Page<(TopicName, u64)> {
        let machine = self.core.machine.snapshot();
        let rows = machine.topics_after(after).filter(|(_, topic)| !topic.schedule.is_empty());
        let row = |(_, topic): (TopicId, &Topic)| (topic.name.clone(), topic.schedule.len() as u64);
        Page::of(rows, limit, |(_, topic)| topic.name.to_string(), row)
    }

    /// Takes a scheduled message back, for good. To cancel one that is cancelled already, and known to be, is no error:
    /// it may be the second try of somebody who got no answer to the first.
    ///
    /// # Errors
    /// `NotFound`, `Gone`; `NotScheduled` when it is ready, or cancelled and not known to be; else see [`BrokerError`].
    pub async fn cancel(&self, id: MessageId) -> Result<(), BrokerError> {
        let look = move |broker: &Broker| broker.find_scheduled(id.position);
        let Found::Scheduled(topic, key) = self.look(look).await? else { return Ok(()) };
        match self.decide(0, move |draft| draft.cancel(topic, key)).await {
            // Since the look it became ready, or somebody else was faster.
            Err(BrokerError::Refused(Refusal::NotScheduled)) => match self.look(look).await? {
                Found::Cancelled => Ok(()),
                Found::Scheduled(..) => Err(Refusal::NotScheduled.into()),
            },
            decided => decided.map(|_| ()),
        }
    }

    fn find_scheduled(&self, position: Position) -> Result<Found, BrokerError> {
        let machine = self.core.machine.snapshot();
        let logged = match read::logged(&self.core, position) {
            Ok(logged) => logged,
            // One that cannot be read holds up all behind it, so it must be possible to take it out.
            Err(error @ (BrokerError::Damaged(_) | BrokerError::Fault(_))) => {
                let mut all = machine.scheduled();
                let found = all.find(|(_, at, _)| *at == position).ok_or(error)?;
                return Ok(Found::Scheduled(found.2.topic, (found.0, position)));
            }
            Err(error) => return Err(error),
        };
        let (topic, state) = (logged.meta.topic, logged.meta.state);
        let shown = self.shown(&machine, position, logged, None)?;
        match (state, shown.standing) {
            (ProducedAs::Scheduled { due }, Standing::Scheduled) => {
                Ok(Found::Scheduled(topic, (due, position)))
            }
            (_, Standing::Cancelled) => Ok(Found::Cancelled),
            _ => Err(Refusal::NotScheduled.into()),
        }
    }
}

impl Core {
    /// Where a message stands that was accepted for `due`, and its offset if it has one. No table of cancelled messages
    /// is kept: what is neither scheduled nor in its queue was cancelled.
    pub(super) fn standing(
        &self,
        machine: &Machine,
        (topic, queue): (TopicId, QueueNo),
        (due, position): (Timestamp, Position),
    ) -> (Standing, Option<u64>) {
        if machine.is_scheduled(topic, due, position) {
            return (Standing::Scheduled, None);
        }
        // Nothing becomes ready before its time, not even when a clock jumps.
        if machine.now() < due {
            return (Standing::Cancelled, None);
        }
        let Some((_, end)) = machine.queue_bounds(topic, queue) else { return (Standing::Unknown, None) };
        match self.offset_of((topic, queue), (due, position), end) {
            Some(Some(offset)) => (Standing::Ready, Some(offset)),
            Some(None) => (Standing::Cancelled, None),
            None => (Standing::Unknown, None),
        }
    }

    /// The offset below `end` at which a message stands that became ready at `due` or later; none when it stands
    /// nowhere; nothing when that cannot be told, because the index lacks entries or there are too many to read.
    fn offset_of(
        &self,
        (topic, queue): (TopicId, QueueNo),
        (due, position): (Timestamp, Position),
        end: u64,
    ) -> Option<Option<u64>> {
        let found = self.indexer.index().first_at_or_after(topic, queue, due);
        let first = found.inspect_err(|error| self.distrust_index(error)).ok()?;
        // Ready times never fall, so it cannot stand before this one: if this one is really the first.
        let mut next = first.unwrap_or(end).min(end);
        if let Some(before) = next.checked_sub(1) {
            let entry = self.entries(topic, queue, before, 1).into_iter().next();
            entry.filter(|entry| entry.offset == before && entry.ready_at < due)?;
        }
        let last = end.min(next.saturating_add(SCAN_MAX));
        while next < last {
            let entries = self.entries(topic, queue, next, CANDIDATES_MAX);
            if let Some(entry) = entries.iter().find(|entry| entry.position == position) {
                return Some(Some(entry.offset));
            }
            // Offsets have no gaps: what is passed over here is not in the index yet.
            let in_line =
                (next..).zip(&entries).take_while(|(offset, entry)| entry.offset == *offset).count();
            if in_line == 0 {
                return None;
            }
            next += in_line as u64;
        }
        (next >= end).then_some(None)
    }
}
