//! Accepting messages: the queue, the offset, now or later.

use std::sync::Arc;

use crate::model::{DELAY_MS_MAX, HELD_MAX, Position, QueueNo, Timestamp, TopicId, TopicName, TopicSettings};

use super::apply::Effects;
use super::draft::Draft;
use super::facts::{Fact, Produced, ProducedAs};
use super::refusal::Refusal;
use super::requests::{Accepted, Delay, NewMessage, ProduceRequest};
use super::state::Machine;

/// Most messages that the refusal of an atomic request names.
const NAMED_MAX: usize = 20;

impl Draft {
    /// Accepts messages, each for itself: the answers are in input order.
    ///
    /// # Errors
    /// When the topic is missing and may not be made, or there are too many topics.
    pub fn produce(&mut self, request: &ProduceRequest) -> Result<Vec<Result<Accepted, Refusal>>, Refusal> {
        let topic = self.topic_or_make(&request.topic, request.auto_create)?;
        Ok(request.messages.iter().map(|new| self.accept(topic, new)).collect())
    }

    /// The topic of that name; makes it with default settings when it is missing and `auto_create` says so.
    pub(super) fn topic_or_make(&mut self, name: &TopicName, auto_create: bool) -> Result<TopicId, Refusal> {
        if let Some(id) = self.machine.topic_names.get(name) {
            return Ok(*id);
        }
        if !auto_create {
            return Err(Refusal::TopicNotFound(name.clone()));
        }
        self.new_topic(name.clone(), TopicSettings::default())
    }

    /// Whether every message of the request would be accepted.
    ///
    /// # Errors
    /// Names the first that would not be; or as [`Draft::produce`].
    pub(super) fn check_all(&self, request: &ProduceRequest) -> Result<(), Refusal> {
        let topic = self.machine.topic_names.get(&request.topic).and_then(|id| self.machine.topics.get(id));
        if topic.is_none() && !request.auto_create {
            return Err(Refusal::TopicNotFound(request.topic.clone()));
        }
        let queues = topic.map_or(TopicSettings::default().queues, |topic| topic.settings.queues);
        let mut room = self.room();
        let mut check = |new: &NewMessage| {
            explicit_queue(new, queues)?;
            if self.due(new.delay)?.is_some() {
                room = room.checked_sub(1).ok_or(Refusal::TooManyHeld(HELD_MAX))?;
            }
            Ok(())
        };
        let messages = request.messages.iter().enumerate();
        let mut refused = messages.filter_map(|(at, new)| check(new).err().map(|refusal| (at, refusal)));
        let named: Vec<_> = refused.by_ref().take(NAMED_MAX).collect();
        let count = named.len() + refused.count();
        if count == 0 {
            return Ok(());
        }
        Err(Refusal::NoneStored { named, count, of: request.messages.len() })
    }

    /// Accepts one message, in the queue of its ordering key or the next in turn.
    pub(super) fn accept(&mut self, topic: TopicId, new: &NewMessage) -> Result<Accepted, Refusal> {
        let due = self.due(new.delay)?;
        let queue = self.queue_for(topic, new)?;
        let state = match due {
            Some(due) => {
                self.room_for_one()?;
                ProducedAs::Scheduled { due }
            }
            None => ProducedAs::Ready { offset: self.machine.next_offset(topic, queue) },
        };
        let message = Arc::clone(&new.message);
        let slot = self.push(Fact::Produced(Produced { topic, queue, state, ttl_ms: new.ttl_ms, message }));
        let offset = match state {
            ProducedAs::Ready { offset } => Some(offset),
            ProducedAs::Scheduled { .. } => None,
        };
        Ok(Accepted { slot, queue, offset, due })
    }

    /// When a message becomes ready, if not at once.
    fn due(&self, delay: Delay) -> Result<Option<Timestamp>, Refusal> {
        let (due, field) = match delay {
            Delay::None => return Ok(None),
            Delay::For(millis) => (self.time.plus(millis), "delay_ms"),
            Delay::At(due) => (due, "deliver_at"),
        };
        if due.since(self.time) > DELAY_MS_MAX {
            return Err(Refusal::DelayTooLong { field });
        }
        Ok((due > self.time).then_some(due))
    }

    /// The explicit queue, else the one of the ordering key, else the next in turn.
    fn queue_for(&self, topic: TopicId, new: &NewMessage) -> Result<QueueNo, Refusal> {
        let Some(topic) = self.machine.topics.get(&topic) else { return Ok(0) };
        let queues = topic.settings.queues.max(1);
        if let Some(queue) = explicit_queue(new, queues)? {
            return Ok(queue);
        }
        let lane = new.message.attributes.lane();
        if lane == 0 {
            return Ok(topic.next_queue % queues);
        }
        Ok(QueueNo::try_from(lane % u64::from(queues)).unwrap_or_default())
    }
}

/// The queue that a message names itself.
fn explicit_queue(new: &NewMessage, queues: QueueNo) -> Result<Option<QueueNo>, Refusal> {
    let Some(queue) = new.queue else { return Ok(None) };
    if new.message.attributes.ordering_key.is_some() {
        return Err(Refusal::QueueAndOrderingKey);
    }
    match QueueNo::try_from(queue) {
        Ok(known) if known < queues => Ok(Some(known)),
        _ => Err(Refusal::QueueNotFound { queue, queues }),
    }
}

impl Machine {
    pub(super) fn apply_produced(&mut self, produced: &Produced, at: Position, effects: &mut Effects) {
        let Some(topic) = self.topics.get_mut(&produced.topic) else { return };
        let topic = Arc::make_mut(topic);
        // The turn moves with every message that did not choose by key, and stays a plain function of the facts.
        if produced.message.attributes.ordering_key.is_none() {
            topic.next_queue = (produced.queue + 1) % topic.settings.queues.max(1);
        }
        match produced.state {
            ProducedAs::Scheduled { due } => self.schedule(produced.topic, (due, at), produced.queue),
            ProducedAs::Ready { offset } => {
                if let Some(queue) = topic.queues.get_mut(produced.queue.into()) {
                    queue.next_offset = queue.next_offset.max(offset + 1);
                }
                effects.woken.extend(topic.groups.iter().copied());
            }
        }
    }

    /// The offset the next message of a queue gets.
    pub(super) fn next_offset(&self, topic: TopicId, queue: QueueNo) -> u64 {
        let queue = self.topics.get(&topic).and_then(|topic| topic.queues.get(queue.into()));
        queue.map_or(0, |queue| queue.next_offset)
    }
}
