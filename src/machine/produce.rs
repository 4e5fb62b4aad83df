//! Accepting messages: the queue, the offset, now or later.

use std::sync::Arc;

use crate::model::{
    DELAY_MS_MAX, Position, QueueNo, Timestamp, TopicId, TopicName, TopicSettings, UNREADY_MAX,
};

use super::apply::Effects;
use super::draft::Draft;
use super::facts::{Fact, Produced, ProducedAs};
use super::refusal::Refusal;
use super::requests::{Accepted, Delay, NewMessage, ProduceRequest};
use super::state::{Machine, Scheduled};

impl Draft {
    /// Accepts messages, each for itself: the answers are in input order.
    ///
    /// # Errors
    /// When the topic is missing and may not be made, or there are too many topics.
    pub fn produce(&mut self, request: &ProduceRequest) -> Result<Vec<Result<Accepted, Refusal>>, Refusal> {
        let topic = self.topic_or_make(&request.topic, request.auto_create)?;
        let mut room = None;
        Ok(request.messages.iter().map(|new| self.accept(topic, new, &mut room)).collect())
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

    /// `room`: how many more messages may be scheduled, counted once a request and only if one is.
    fn accept(
        &mut self,
        topic: TopicId,
        new: &NewMessage,
        room: &mut Option<usize>,
    ) -> Result<Accepted, Refusal> {
        let due = self.due(new.delay)?;
        let queue = self.queue_for(topic, new)?;
        let state = match due {
            Some(due) => {
                let left = room.get_or_insert_with(|| UNREADY_MAX.saturating_sub(self.machine.unready()));
                *left = left.checked_sub(1).ok_or(Refusal::TooManyUnready(UNREADY_MAX))?;
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
        let lane = new.message.attributes.lane();
        let Some(queue) = new.queue else {
            if lane == 0 {
                return Ok(topic.next_queue % queues);
            }
            return Ok(QueueNo::try_from(lane % u64::from(queues)).unwrap_or_default());
        };
        if lane != 0 {
            return Err(Refusal::QueueAndOrderingKey);
        }
        match QueueNo::try_from(queue) {
            Ok(known) if known < queues => Ok(known),
            _ => Err(Refusal::QueueNotFound { queue, queues }),
        }
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
            ProducedAs::Scheduled { due } => {
                topic.scheduled += 1;
                let scheduled = Scheduled { topic: produced.topic, queue: produced.queue };
                self.scheduled.insert((due, at), scheduled);
            }
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

    /// Scheduled, retrying and dead messages together.
    pub(super) fn unready(&self) -> usize {
        let of_groups: usize = self
            .groups
            .values()
            .map(|group| group.dead.len() + usize::try_from(group.retrying).unwrap_or(usize::MAX))
            .sum();
        self.scheduled.len() + of_groups
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Candidates, PutMode, ReceiveRequest, SettleOp};
    use super::*;
    use crate::model::{GroupSettings, Subscription};

    fn message(delay: Delay) -> NewMessage {
        NewMessage { queue: Some(0), delay, ..NewMessage::default() }
    }

    #[test]
    fn the_bound_on_what_waits_counts_schedules_retries_and_dead_letters() {
        let mut draft = Draft::new(&Machine::default(), Timestamp(1), Box::new(|| 7));
        let topic: TopicName = "t".parse().unwrap();
        let subscription = Subscription { topic: topic.clone(), filter: Default::default() };
        let settings = GroupSettings { subscriptions: vec![subscription], ..GroupSettings::default() };
        let put = (PutMode::Upsert, true);
        draft.put_group("g".parse().unwrap(), settings, put, &Candidates::default()).unwrap();
        let messages = vec![message(Delay::For(5)), message(Delay::None), message(Delay::None)];
        draft.produce(&ProduceRequest { topic, auto_create: false, messages }).unwrap();
        assert_eq!(draft.machine.unready(), 1, "what is ready does not count");
        let request = ReceiveRequest {
            group: "g".parse().unwrap(),
            topic: None,
            auto_create: false,
            max_messages: 2,
            max_bytes: 1,
            lease_ms: None,
            session: 0,
            client: "test".into(),
            turn: 0,
        };
        let received = draft.receive(&request, &Candidates::default()).unwrap();
        assert_eq!((received.messages.len(), draft.machine.unready()), (2, 1), "nor what is leased");
        let receipt = |at: usize| received.messages[at].receipt(received.group, super::super::OWN_ENTRY);
        draft.settle_anywhere(&receipt(0), &SettleOp::Nack { delay_ms: None, reason: None });
        assert_eq!(draft.machine.unready(), 2);
        draft.settle_anywhere(&receipt(1), &SettleOp::DeadLetter { reason: None });
        assert_eq!(draft.machine.unready(), 3);
        let mut room = Some(0);
        let refused = draft.accept(TopicId(0), &message(Delay::For(5)), &mut room);
        assert_eq!(refused, Err(Refusal::TooManyUnready(UNREADY_MAX)));
        assert!(
            draft.accept(TopicId(0), &message(Delay::None), &mut room).is_ok(),
            "only schedules are refused"
        );
    }
}
