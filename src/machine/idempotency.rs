//! Requests that are carried out once: a key is remembered with the messages it came with, for the topic's window.
//!
//! The keys of a topic lie in *generations* that are forgotten as a whole, at a time that no key of it may be forgotten
//! before. A generation takes keys for a quarter of the window, so a key is remembered for at most a quarter longer
//! than promised, and a topic has about five generations, whatever its window.

use imbl::{OrdMap, OrdSet};

use crate::model::{KeyHash, Millis, Position, RequestKey, Timestamp, TopicId, TopicName};

use super::apply::Effects;
use super::draft::Draft;
use super::facts::{Fact, RefusedAs, Remembered};
use super::keys::{KeyTable, Told};
use super::refusal::Refusal;
use super::requests::{Accepted, ProduceOutcome, ProduceRequest, Terms};
use super::state::Machine;

/// A generation is open for the window divided by this.
const GENERATIONS: Millis = 4;

/// Every key that is remembered. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub(super) struct Keys {
    /// The generations of each topic, by the time they may be forgotten.
    generations: OrdMap<(TopicId, Timestamp), KeyTable>,
    /// The same in order of time.
    by_time: OrdSet<(Timestamp, TopicId)>,
    /// How many keys there are, over all.
    len: usize,
}

impl Draft {
    /// Accepts messages on terms: all or nothing, once under a key, or both.
    ///
    /// # Errors
    /// As [`Draft::produce`]; and when the key was used for another request, when the node remembers as many keys as it
    /// may, or when one message of an atomic request would be refused. Nothing is stored then.
    pub fn produce_on(&mut self, request: &ProduceRequest, terms: &Terms) -> Result<ProduceOutcome, Refusal> {
        if let Some(key) = &terms.key {
            if let Some(position) = self.carried_out(&request.topic, key)? {
                return Ok(ProduceOutcome::Before(position));
            }
            if self.machine.keys.len >= terms.keys_max {
                return Err(Refusal::IdempotencyFull(terms.keys_max));
            }
        }
        if terms.atomic {
            self.check_all(request)?;
        }
        let answers = self.produce(request)?;
        if let Some(key) = &terms.key {
            self.remember(&request.topic, key, &answers);
        }
        Ok(ProduceOutcome::Now(answers))
    }

    /// Where the fact stands that a request with this key was carried out; none when it was not, or that is forgotten.
    ///
    /// # Errors
    /// When it was another request.
    pub fn carried_out(&self, topic: &TopicName, key: &RequestKey) -> Result<Option<Position>, Refusal> {
        let topic = self.machine.topic_names.get(topic);
        match topic.and_then(|topic| self.machine.keys.get(*topic, key.key)) {
            None => Ok(None),
            Some(told) if told.fingerprint == key.fingerprint => Ok(Some(told.position)),
            Some(_) => Err(Refusal::IdempotencyMismatch),
        }
    }

    /// Remembers the key with the messages that were just accepted; not when there are none, for then nothing happened.
    fn remember(&mut self, topic: &TopicName, key: &RequestKey, answers: &[Result<Accepted, Refusal>]) {
        let Some(id) = self.machine.topic_names.get(topic).copied() else { return };
        let Some(topic) = self.machine.topics.get(&id) else { return };
        let messages = answers.iter().filter(|answer| answer.is_ok()).count();
        let Ok(messages @ 1..) = u16::try_from(messages) else { return };
        let refused =
            (0..).zip(answers).filter_map(|(at, answer)| Some((at, RefusedAs::of(answer.as_ref().err()?)?)));
        let until = self.machine.keys.until(id, self.time, topic.settings.idempotency_window_ms);
        let RequestKey { key, fingerprint } = *key;
        let refused = refused.collect();
        self.push(Fact::Remembered(Remembered { topic: id, key, fingerprint, until, messages, refused }));
    }

    /// Forgets generations whose time has come, at most `most`; answers how many.
    pub(super) fn forget_due(&mut self, most: usize) -> usize {
        let due = self.machine.keys.by_time.iter().take_while(|(until, _)| *until <= self.time);
        let due: Vec<(Timestamp, TopicId)> = due.take(most).copied().collect();
        for (until, topic) in &due {
            self.push(Fact::Forgotten { topic: *topic, until: *until });
        }
        due.len()
    }
}

impl Keys {
    /// How many keys are remembered.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    fn get(&self, topic: TopicId, key: KeyHash) -> Option<Told> {
        let of_topic = self.generations.range((topic, Timestamp(0))..=(topic, Timestamp::MAX));
        of_topic.rev().find_map(|(_, generation)| generation.get(key))
    }

    /// When a key that came now may be forgotten: with the generation that is open, else with a new one.
    fn until(&self, topic: TopicId, now: Timestamp, window_ms: Millis) -> Timestamp {
        let promised = now.plus(window_ms);
        let latest = promised.plus(window_ms / GENERATIONS);
        let open = self.generations.range((topic, promised)..=(topic, latest)).next();
        open.map_or(latest, |((_, until), _)| *until)
    }

    /// Adds a key to the generation of `topic` that is forgotten at `until`.
    pub(super) fn insert(&mut self, (topic, until): (TopicId, Timestamp), key: KeyHash, told: Told) {
        let is_new = if let Some(generation) = self.generations.get_mut(&(topic, until)) {
            generation.insert(key, told)
        } else {
            let mut generation = KeyTable::default();
            let is_new = generation.insert(key, told);
            self.generations.insert((topic, until), generation);
            self.by_time.insert((until, topic));
            is_new
        };
        self.len += usize::from(is_new);
    }

    fn remove(&mut self, topic: TopicId, until: Timestamp) -> Option<KeyTable> {
        let generation = self.generations.remove(&(topic, until))?;
        self.by_time.remove(&(until, topic));
        self.len -= generation.len();
        Some(generation)
    }

    /// The generations, by topic and time.
    pub(super) fn generations(&self) -> impl Iterator<Item = (TopicId, Timestamp, &KeyTable)> {
        self.generations.iter().map(|((topic, until), generation)| (*topic, *until, generation))
    }

    /// When the first generation may be forgotten.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.by_time.get_min().map(|(until, _)| *until)
    }

    /// Says what is wrong with the books, if anything is.
    pub(super) fn check(&self) -> Result<(), String> {
        let counted: usize = self.generations.values().map(KeyTable::len).sum();
        let by_time: OrdSet<_> = self.generations.keys().map(|(topic, until)| (*until, *topic)).collect();
        if counted != self.len {
            return Err(format!("{} keys are counted, there are {counted}", self.len));
        }
        if by_time != self.by_time || self.generations.values().any(KeyTable::is_empty) {
            return Err("generations of keys and their times differ".to_owned());
        }
        Ok(())
    }
}

impl Machine {
    /// How many idempotency keys are remembered.
    #[must_use]
    pub fn remembered_keys(&self) -> usize {
        self.keys.len()
    }

    pub(super) fn apply_remembered(&mut self, fact: &Remembered, at: Position) {
        if self.topics.contains_key(&fact.topic) {
            let told = Told { fingerprint: fact.fingerprint, position: at };
            self.keys.insert((fact.topic, fact.until), fact.key, told);
        }
    }

    pub(super) fn apply_forgotten(&mut self, topic: TopicId, until: Timestamp, effects: &mut Effects) {
        effects.freed.extend(self.keys.remove(topic, until));
    }

    /// Forgets what belongs to a deleted topic.
    pub(super) fn forget_topic(&mut self, topic: TopicId, effects: &mut Effects) {
        let of_topic = self.keys.generations.range((topic, Timestamp(0))..=(topic, Timestamp::MAX));
        let times: Vec<Timestamp> = of_topic.map(|((_, until), _)| *until).collect();
        for until in times {
            self.apply_forgotten(topic, until, effects);
        }
    }
}

impl RefusedAs {
    /// How a message of a request can be refused while others are accepted.
    fn of(refusal: &Refusal) -> Option<RefusedAs> {
        match refusal {
            Refusal::QueueNotFound { queue, queues } => {
                Some(RefusedAs::QueueNotFound { queue: *queue, queues: *queues })
            }
            Refusal::QueueAndOrderingKey => Some(RefusedAs::QueueAndOrderingKey),
            Refusal::TooManyHeld(_) => Some(RefusedAs::TooManyHeld),
            Refusal::DelayTooLong { field: "delay_ms" } => Some(RefusedAs::DelayTooLong),
            Refusal::DelayTooLong { .. } => Some(RefusedAs::DeliverAtTooLate),
            // All others refuse the request as a whole.
            _ => None,
        }
    }
}

impl From<RefusedAs> for Refusal {
    fn from(refused: RefusedAs) -> Refusal {
        match refused {
            RefusedAs::QueueNotFound { queue, queues } => Refusal::QueueNotFound { queue, queues },
            RefusedAs::QueueAndOrderingKey => Refusal::QueueAndOrderingKey,
            RefusedAs::TooManyHeld => Refusal::TooManyHeld(crate::model::HELD_MAX),
            RefusedAs::DelayTooLong => Refusal::DelayTooLong { field: "delay_ms" },
            RefusedAs::DeliverAtTooLate => Refusal::DelayTooLong { field: "deliver_at" },
        }
    }
}
