//! Following a topic: every message as it becomes ready, without a group and without changing anything.
//!
//! A tail reads the queues behind its place and then waits to be told ([`super::tails`]). It keeps nothing but the
//! place: a reader that is slow is read for from the disk later, and never makes the broker hold messages for it.

use crate::machine::{Machine, Topic};
use crate::model::{Filter, MessageId, QueueEntry, QueueNo, TailPlace, Timestamp, TopicId, TopicName};

use super::error::BrokerError;
use super::handle::Broker;
use super::look::find_topic;
use super::read::StoredMessage;
use super::tails::Place;

/// Most messages read in one round.
const ROUND_MESSAGES: usize = 256;

/// Most body bytes read in one round; one message always comes.
const ROUND_BYTES: usize = 256 << 10;

/// Entries of one queue read in one round, at least, however many queues have some.
const ROUND_ENTRIES_MIN: usize = 16;

/// Which topic is followed, and from where.
#[derive(Clone, Debug)]
pub struct TailRequest {
    /// The topic; it is not made.
    pub topic: TopicName,
    /// Where to begin.
    pub from: TailFrom,
    /// Only messages with such a tag.
    pub tag: Filter,
}

/// Where a tail begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TailFrom {
    /// With what becomes ready from now on.
    Latest,
    /// With the first messages that are kept.
    Earliest,
    /// With what became ready at this time or later.
    Time(Timestamp),
    /// Behind the last event of a tail before.
    Place(TailPlace),
}

/// Something a tail says.
#[derive(Clone, Debug)]
pub struct TailEvent {
    /// What.
    pub what: TailWhat,
    /// The place behind it.
    pub place: TailPlace,
}

/// What a tail has to say.
#[derive(Clone, Debug)]
pub enum TailWhat {
    /// A message that became ready.
    Message(Box<StoredMessage>),
    /// Messages that can no longer be read, because retention removed them before the tail came to them.
    Skipped {
        /// Their queue.
        queue: QueueNo,
        /// The first of their offsets.
        from: u64,
        /// The offset behind the last.
        to: u64,
    },
    /// A message that cannot be read: its checksum says that it is damaged.
    Damaged {
        /// Its queue.
        queue: QueueNo,
        /// Its offset.
        offset: u64,
        /// Its id.
        id: MessageId,
    },
}

/// What a round brought.
#[derive(Debug)]
pub enum TailRound {
    /// Events, in order; at least one.
    Events(Vec<TailEvent>),
    /// The topic was deleted.
    TopicDeleted,
    /// The broker stops.
    Stopping,
}

/// A running tail.
#[derive(Debug)]
pub struct Tail {
    broker: Broker,
    place: TailPlace,
    tag: Filter,
    own: Place,
}

/// What one look along the queues found.
struct Found {
    events: Vec<TailEvent>,
    place: TailPlace,
}

impl Broker {
    /// Begins to follow a topic.
    ///
    /// # Errors
    /// `TopicNotFound`; `Overloaded` when too many tails are open; `Gone` for a place of a topic that was deleted
    /// since, or that this broker never reached.
    pub async fn tail(&self, request: TailRequest) -> Result<Tail, BrokerError> {
        let TailRequest { topic, from, tag } = request;
        let machine = self.core.machine.snapshot();
        let (id, found) = find_topic(&machine, &topic)?;
        let own = self.core.indexer.tails().open(id)?;
        let offsets = match from {
            TailFrom::Latest => found.bounds().map(|(_, _, end)| end).collect(),
            TailFrom::Earliest => found.bounds().map(|(_, first, _)| first).collect(),
            TailFrom::Time(time) => {
                let at = self.offsets_at([&topic], time).await?.offsets;
                found.bounds().map(|(queue, _, end)| at.get(&(id, queue)).copied().unwrap_or(end)).collect()
            }
            TailFrom::Place(place) => resumed(id, found, place)?,
        };
        Ok(Tail { broker: self.clone(), place: TailPlace { topic: id, offsets }, tag, own })
    }

    /// Reads what stands behind `place`; none when the topic is deleted.
    fn tail_round(
        &self,
        mut place: TailPlace,
        tag: &Filter,
        max: usize,
    ) -> Result<Option<Found>, BrokerError> {
        // Asked first: then what is missing among the entries is missing for good.
        let complete = self.core.indexer.is_live();
        let machine = self.core.machine.snapshot();
        let Some(topic) = machine.topic_by_id(place.topic) else { return Ok(None) };
        let mut events = skip_removed(topic, &mut place);
        let mut bytes = 0;
        let entries = self.behind(&machine, &place);
        let mut messages = 0;
        for (queue, entry) in entries {
            let next = place.next(queue);
            if entry.offset < next {
                continue;
            }
            if messages >= max.min(ROUND_MESSAGES) || bytes >= ROUND_BYTES {
                break;
            }
            if entry.offset > next {
                if !complete {
                    // What is in between comes once it is indexed; the queue waits for it.
                    continue;
                }
                place.advance(queue, entry.offset);
                let what = TailWhat::Skipped { queue, from: next, to: entry.offset };
                events.push(TailEvent { what, place: place.clone() });
            }
            if !tag.matches_tag(entry.tag.as_deref()) {
                place.advance(queue, entry.offset + 1);
                continue;
            }
            let what = match self.told(&machine, queue, &entry) {
                Ok(what) => what,
                // What was read before goes out; the next round meets the fault again.
                Err(_) if !events.is_empty() => break,
                Err(error) => return Err(error),
            };
            if let TailWhat::Message(stored) = &what {
                bytes += stored.message.body.len();
                messages += 1;
            }
            place.advance(queue, entry.offset + 1);
            events.push(TailEvent { what, place: place.clone() });
        }
        Ok(Some(Found { events, place }))
    }

    /// What a tail says of one entry: its message, or why there is none.
    fn told(&self, machine: &Machine, queue: QueueNo, entry: &QueueEntry) -> Result<TailWhat, BrokerError> {
        let QueueEntry { offset, position, .. } = *entry;
        match self.stored(machine, position, Some(offset)) {
            Ok(stored) => Ok(TailWhat::Message(Box::new(stored))),
            Err(BrokerError::Gone(_) | BrokerError::NotFound(_)) => {
                Ok(TailWhat::Skipped { queue, from: offset, to: offset + 1 })
            }
            Err(BrokerError::Damaged(error)) => {
                let id = MessageId::new(position);
                tracing::warn!(error, %id, "a tail steps over a damaged message");
                Ok(TailWhat::Damaged { queue, offset, id })
            }
            Err(error) => Err(error),
        }
    }

    /// Entries behind `place`, each queue's in its order, together in the order they became ready.
    fn behind(&self, machine: &Machine, place: &TailPlace) -> Vec<(QueueNo, QueueEntry)> {
        let Some(topic) = machine.topic_by_id(place.topic) else { return Vec::new() };
        let open: Vec<QueueNo> = topic
            .bounds()
            .filter(|(queue, _, end)| place.next(*queue) < *end)
            .map(|(queue, _, _)| queue)
            .collect();
        let share = (ROUND_MESSAGES / open.len().max(1)).max(ROUND_ENTRIES_MIN);
        let mut entries = Vec::new();
        for queue in open {
            let read = self.core.entries(place.topic, queue, place.next(queue), share);
            entries.extend(read.into_iter().map(|entry| (queue, entry)));
        }
        entries.sort_by_key(|(queue, entry)| (entry.ready_at, *queue, entry.offset));
        entries
    }
}

/// Moves the place past what retention removed.
fn skip_removed(topic: &Topic, place: &mut TailPlace) -> Vec<TailEvent> {
    let mut events = Vec::new();
    for (queue, first, _) in topic.bounds() {
        let from = place.next(queue);
        if from < first {
            place.advance(queue, first);
            let what = TailWhat::Skipped { queue, from, to: first };
            events.push(TailEvent { what, place: place.clone() });
        }
    }
    events
}

/// The offsets of a place that a client gave back.
fn resumed(id: TopicId, topic: &Topic, place: TailPlace) -> Result<Vec<u64>, BrokerError> {
    let name = &topic.name;
    if place.topic != id {
        let text =
            format!("topic '{name}' was deleted and made again since this event; begin anew, without its id");
        return Err(BrokerError::Gone(text));
    }
    let beyond =
        |queue: usize, offset: u64| topic.queues.get(queue).is_none_or(|state| offset > state.next_offset);
    if place.offsets.iter().enumerate().any(|(queue, offset)| beyond(queue, *offset)) {
        let text = format!(
            "topic '{name}' never came as far as this event (an older backup?); begin anew, without its id"
        );
        return Err(BrokerError::Gone(text));
    }
    Ok(place.offsets)
}

impl Tail {
    /// Where it is: behind the last round.
    #[must_use]
    pub fn place(&self) -> &TailPlace {
        &self.place
    }

    /// The next events, at most `max` messages among them, as soon as there are some. Cancel-safe: what a dropped
    /// future had read is read again.
    ///
    /// # Errors
    /// A fault of the disk.
    pub async fn next(&mut self, max: usize) -> Result<TailRound, BrokerError> {
        let told = self.own.told();
        loop {
            let mut something_new = std::pin::pin!(told.notified());
            // Listening begins before looking, so that nothing that comes in between is missed.
            something_new.as_mut().enable();
            if self.broker.core.stopping() {
                return Ok(TailRound::Stopping);
            }
            let (place, tag) = (self.place.clone(), self.tag.clone());
            let looked = self.broker.look(move |broker| broker.tail_round(place, &tag, max)).await?;
            let Some(found) = looked else { return Ok(TailRound::TopicDeleted) };
            let moved = found.place != self.place;
            self.place = found.place;
            if !found.events.is_empty() {
                return Ok(TailRound::Events(found.events));
            }
            if moved {
                continue;
            }
            tokio::select! {
                () = something_new => {}
                () = self.broker.core.until_stopped() => {}
            }
        }
    }
}
