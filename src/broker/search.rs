//! Searching a topic: by key through the key index, else along its queues from the newest message down.
//!
//! One call looks at a bounded number of entries and bytes for a bounded time, and says where the next one goes on. So
//! a search for what does not exist ends, and holds up nobody.

use std::collections::{BTreeMap, BinaryHeap};
use std::fmt;
use std::ops::Range;
use std::str::FromStr;
use std::time::{Duration, Instant};

use memchr::memmem::Finder;

use crate::machine::{Machine, ProducedAs, Topic};
use crate::model::{
    Filter, MessageId, Millis, ParseIdError, Position, QueueEntry, QueueNo, SEARCH_BYTES_MAX,
    SEARCH_DAMAGED_MAX, SEARCH_ENTRIES_MAX, SEARCH_MS_MAX, Timestamp, TopicId, TopicName, key_hash,
};
use crate::storage::index::IndexError;

use super::error::BrokerError;
use super::handle::Broker;
use super::look::{BROWSE_BYTES_MAX, find_topic};
use super::read::{self, Logged, StoredMessage};

/// Entries read from the index at a time, for each queue.
const STRETCH: usize = 256;

/// Positions of a key read from the index at a time.
const POSITIONS: usize = 256;

/// How far behind the time it was due a message that was scheduled is looked for, in entries of its queue. A schedule
/// fires at most a thousand messages a tick.
const FIRED_WITHIN: usize = 4_096;

/// What is looked for; all of it must hold.
#[derive(Clone, Debug)]
pub struct Search {
    /// One of the message's keys.
    pub key: Option<String>,
    /// The message's tag.
    pub tag: Filter,
    /// It became ready (still scheduled: will become ready) at this time or later.
    pub from: Option<Timestamp>,
    /// It became ready before this time.
    pub to: Option<Timestamp>,
    /// Its body holds this, byte for byte.
    pub contains: Option<String>,
    /// Where the call before ended.
    pub after: Option<SearchPlace>,
    /// Most messages to answer; at least 1.
    pub limit: usize,
}

/// What was looked at last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SearchPlace {
    /// A message with the key.
    Key(Position),
    /// An entry of a queue, as it stands in the order of time.
    Entry {
        /// When it became ready.
        ready_at: Timestamp,
        /// Its queue.
        queue: QueueNo,
        /// Its offset.
        offset: u64,
    },
}

impl fmt::Display for SearchPlace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SearchPlace::Key(position) => MessageId::new(*position).fmt(out),
            SearchPlace::Entry { ready_at, queue, offset } => {
                write!(out, "{} {queue} {offset}", ready_at.0)
            }
        }
    }
}

impl FromStr for SearchPlace {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<SearchPlace, ParseIdError> {
        fn number<T: FromStr>(text: &str) -> Result<T, ParseIdError> {
            text.parse().map_err(|_| ParseIdError)
        }
        let mut words = text.split(' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some(id), None, ..) => Ok(SearchPlace::Key(number::<MessageId>(id)?.position)),
            (Some(ready_at), Some(queue), Some(offset), None) => Ok(SearchPlace::Entry {
                ready_at: Timestamp(number(ready_at)?),
                queue: number(queue)?,
                offset: number(offset)?,
            }),
            _ => Err(ParseIdError),
        }
    }
}

/// What one call found.
#[derive(Clone, Debug)]
pub struct SearchFound {
    /// The messages, newest first: by key in the order they were accepted, else in the order they became ready.
    pub messages: Vec<StoredMessage>,
    /// Where the next call goes on; none when everything was looked at.
    pub next: Option<SearchPlace>,
    /// Entries, or messages with the key, that were looked at.
    pub scanned: u64,
    /// Messages that may fit and cannot be read, because they are damaged; at most `SEARCH_DAMAGED_MAX`, which ends a
    /// call.
    pub damaged: Vec<MessageId>,
    /// Whether it stopped at one of its bounds before it had `limit` messages.
    pub bounded: bool,
    /// Whether the index held every message when the call began; else some may be missing.
    pub index_complete: bool,
}

impl Broker {
    /// Looks for messages of a topic.
    ///
    /// # Errors
    /// `TopicNotFound`, a fault of the disk, or `NotReady` when the index turns out to be damaged.
    pub fn search(&self, topic: &TopicName, search: &Search) -> Result<SearchFound, BrokerError> {
        self.search_within(topic, search, SEARCH_MS_MAX)
    }

    /// The same, for at most about `within_ms`.
    ///
    /// # Errors
    /// As [`Broker::search`].
    pub fn search_within(
        &self,
        topic: &TopicName,
        search: &Search,
        within_ms: Millis,
    ) -> Result<SearchFound, BrokerError> {
        let machine = self.core.machine.snapshot();
        let (id, found) = find_topic(&machine, topic)?;
        let mut run = Run {
            broker: self,
            machine: &machine,
            search,
            contains: search.contains.as_ref().map(|text| Finder::new(text.as_bytes())),
            until: Instant::now() + Duration::from_millis(within_ms),
            read_bytes: 0,
            answer_bytes: 0,
            found: SearchFound {
                messages: Vec::new(),
                next: None,
                scanned: 0,
                damaged: Vec::new(),
                bounded: false,
                index_complete: self.core.indexer.is_live(),
            },
        };
        match &search.key {
            Some(key) => run.by_key(id, key)?,
            None => run.along_queues(id, found)?,
        }
        Ok(run.found)
    }
}

/// One call.
struct Run<'a> {
    broker: &'a Broker,
    machine: &'a Machine,
    search: &'a Search,
    contains: Option<Finder<'a>>,
    until: Instant,
    read_bytes: u64,
    answer_bytes: usize,
    found: SearchFound,
}

impl Run<'_> {
    /// Whether this call may look no further.
    fn is_over(&mut self) -> bool {
        let is_full = self.found.messages.len() >= self.search.limit || self.answer_bytes > BROWSE_BYTES_MAX;
        let is_bounded = self.found.scanned >= SEARCH_ENTRIES_MAX
            || self.read_bytes >= SEARCH_BYTES_MAX
            || self.found.damaged.len() >= SEARCH_DAMAGED_MAX
            // The clock is asked now and then; a call always looks at something.
            || (self.found.scanned % 64 == 63 && Instant::now() >= self.until);
        self.found.bounded = is_bounded && !is_full;
        is_full || is_bounded
    }

    /// A read of the index that went wrong: it is made again, and the caller should ask again.
    fn index<T>(&self, read: Result<T, IndexError>) -> Result<T, BrokerError> {
        read.map_err(|error| {
            self.broker.core.distrust_index(&error);
            BrokerError::NotReady(
                "the queue index is damaged and being made again; try again shortly".to_owned(),
            )
        })
    }

    fn is_in_time(&self, ready_at: Timestamp) -> bool {
        self.search.from.is_none_or(|from| ready_at >= from) && self.search.to.is_none_or(|to| ready_at < to)
    }

    /// Takes the message in if its body fits and it is still there.
    fn take(&mut self, position: Position, logged: Logged, offset: Option<u64>) -> Result<(), BrokerError> {
        if self.contains.as_ref().is_some_and(|finder| finder.find(&logged.message.body).is_none()) {
            return Ok(());
        }
        match self.broker.shown(self.machine, position, logged, offset) {
            Ok(stored) => {
                self.answer_bytes += stored.message.body.len();
                self.found.messages.push(stored);
                Ok(())
            }
            Err(BrokerError::Gone(_) | BrokerError::NotFound(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Reads a message; none when it is gone, or damaged, which is noted.
    fn read(&mut self, position: Position) -> Result<Option<Logged>, BrokerError> {
        match read::logged(&self.broker.core, position) {
            Ok(logged) => {
                self.read_bytes += logged.message.body.len() as u64;
                Ok(Some(logged))
            }
            Err(BrokerError::Gone(_) | BrokerError::NotFound(_)) => Ok(None),
            Err(BrokerError::Damaged(error)) => {
                let id = MessageId::new(position);
                tracing::warn!(error, %id, "a search steps over a damaged message");
                self.found.damaged.push(id);
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn by_key(&mut self, topic: TopicId, key: &str) -> Result<(), BrokerError> {
        let index = self.broker.core.indexer.index();
        let mut before = match self.search.after {
            Some(SearchPlace::Key(position)) => Some(position),
            _ => None,
        };
        loop {
            let positions = self.index(index.positions_of_key(topic, key_hash(key), before, POSITIONS))?;
            let is_last = positions.len() < POSITIONS;
            for position in positions {
                if self.is_over() {
                    self.found.next = before.map(SearchPlace::Key);
                    return Ok(());
                }
                self.found.scanned += 1;
                before = Some(position);
                self.keyed(topic, key, position)?;
            }
            if is_last {
                return Ok(());
            }
        }
    }

    /// Looks at a message that has the hash of the key.
    fn keyed(&mut self, topic: TopicId, key: &str, position: Position) -> Result<(), BrokerError> {
        let Some(logged) = self.read(position)? else { return Ok(()) };
        let attributes = &logged.message.attributes;
        let has_key = logged.meta.topic == topic && attributes.keys.iter().any(|own| **own == *key);
        if !has_key || !self.search.tag.matches_tag(attributes.tag.as_deref()) {
            return Ok(());
        }
        let (ready_at, offset) = match logged.meta.state {
            ProducedAs::Ready { offset } => (logged.accepted_at, Some(offset)),
            ProducedAs::Scheduled { due } => match self.fired(&logged, due, position)? {
                Some(entry) => (entry.ready_at, Some(entry.offset)),
                None => (due, None),
            },
        };
        if self.is_in_time(ready_at) { self.take(position, logged, offset) } else { Ok(()) }
    }

    /// The entry of a message that was scheduled and became ready.
    fn fired(
        &self,
        logged: &Logged,
        due: Timestamp,
        position: Position,
    ) -> Result<Option<QueueEntry>, BrokerError> {
        let (topic, queue) = (logged.meta.topic, logged.meta.queue);
        if self.machine.is_scheduled(topic, due, position) {
            return Ok(None);
        }
        let index = self.broker.core.indexer.index();
        let Some(first) = self.index(index.first_at_or_after(topic, queue, due))? else { return Ok(None) };
        let entries = self.index(index.entries(topic, queue, first, FIRED_WITHIN))?;
        Ok(entries.into_iter().find(|entry| entry.position == position))
    }

    fn along_queues(&mut self, id: TopicId, topic: &Topic) -> Result<(), BrokerError> {
        let mut lines = BTreeMap::new();
        let mut newest = BinaryHeap::new();
        for (queue, first, end) in topic.bounds() {
            let offsets = self.stretch_of((id, queue), first..end)?;
            let mut line = Line { queue, offsets, read: Vec::new() };
            if let Some(ready_at) = line.newest(self, id)? {
                newest.push((ready_at, queue));
                lines.insert(queue, line);
            }
        }
        let mut last = None;
        while let Some((ready_at, queue)) = newest.pop() {
            if self.is_over() {
                self.found.next = last;
                return Ok(());
            }
            let Some(line) = lines.get_mut(&queue) else { continue };
            let Some(entry) = line.read.pop() else { continue };
            self.found.scanned += 1;
            last = Some(SearchPlace::Entry { ready_at, queue, offset: entry.offset });
            if self.search.tag.matches_tag(entry.tag.as_deref())
                && let Some(logged) = self.read(entry.position)?
            {
                self.take(entry.position, logged, Some(entry.offset))?;
            }
            if let Some(ready_at) = line.newest(self, id)? {
                newest.push((ready_at, queue));
            }
        }
        Ok(())
    }

    /// Which of a queue's offsets lie in the time that is asked for, and behind what was looked at. Of what became
    /// ready in the same millisecond a higher queue counts as newer.
    fn stretch_of(
        &self,
        (topic, queue): (TopicId, QueueNo),
        kept: Range<u64>,
    ) -> Result<Range<u64>, BrokerError> {
        let index = self.broker.core.indexer.index();
        let first_at = |time: Timestamp| {
            let found = self.index(index.first_at_or_after(topic, queue, time));
            found.map(|offset| offset.unwrap_or(kept.end))
        };
        let Range { mut start, mut end } = kept;
        if let Some(from) = self.search.from {
            start = start.max(first_at(from)?);
        }
        if let Some(to) = self.search.to {
            end = end.min(first_at(to)?);
        }
        if let Some(SearchPlace::Entry { ready_at, queue: looked_at, offset }) = self.search.after {
            let looked_to = match queue.cmp(&looked_at) {
                std::cmp::Ordering::Less => first_at(ready_at.plus(1))?,
                std::cmp::Ordering::Equal => offset,
                std::cmp::Ordering::Greater => first_at(ready_at)?,
            };
            end = end.min(looked_to);
        }
        Ok(start..end.max(start))
    }
}

/// A queue that is looked along, from its end to its start.
struct Line {
    queue: QueueNo,
    /// What is not read yet.
    offsets: Range<u64>,
    /// What was read, the newest last.
    read: Vec<QueueEntry>,
}

impl Line {
    /// When the next entry became ready; none at the start of the queue.
    fn newest(&mut self, run: &Run<'_>, topic: TopicId) -> Result<Option<Timestamp>, BrokerError> {
        if self.read.is_empty() && !self.offsets.is_empty() {
            let index = run.broker.core.indexer.index();
            let entries = index.entries_down(topic, self.queue, self.offsets.clone(), STRETCH);
            self.read = run.index(entries)?;
            self.read.reverse();
            let lowest = self.read.first().map(|entry| entry.offset);
            self.offsets.end = lowest.unwrap_or(self.offsets.start);
        }
        Ok(self.read.last().map(|entry| entry.ready_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_and_rubbish_does_not() {
        let entry = SearchPlace::Entry { ready_at: Timestamp(1_700_000_000_000), queue: 3, offset: 41 };
        for place in [entry, SearchPlace::Key(Position { index: 7, slot: 1 })] {
            assert_eq!(place.to_string().parse(), Ok(place));
        }
        for text in ["", "1 2", "1 2 3 4", "1 x 3", "-1 2 3", "1 65536 3", "0000"] {
            assert_eq!(text.parse::<SearchPlace>(), Err(ParseIdError), "{text}");
        }
    }
}
