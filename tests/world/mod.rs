//! A broker without disk and network: a machine, a second one that only applies, and an index of every message.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use whimbrel::machine::{
    Accepted, Applied, Batch, Candidates, Draft, Fact, ImageDecoder, JobStep, Letter, Machine, Produced,
    ProducedAs, QueueEntry, Remembered,
};
use whimbrel::model::{Attributes, JobId, Position, QueueNo, Timestamp, TopicId};

/// The follower is restarted from an image after so many entries.
const IMAGE_EVERY: u64 = 5;

/// Log time at which every world begins.
pub const START: Timestamp = Timestamp(1_000_000);

pub struct World {
    pub machine: Machine,
    /// Applies the same log from its bytes, is restarted from images, and never decides.
    pub follower: Machine,
    pub now: Timestamp,
    pub index: u64,
    /// What the index would know.
    pub entries: BTreeMap<(TopicId, QueueNo), Vec<QueueEntry>>,
    /// Every message ever accepted.
    pub messages: BTreeMap<Position, Produced>,
    /// Every request that was carried out under a key.
    pub remembered: BTreeMap<Position, Remembered>,
    /// At most this many entries of a queue become candidates.
    pub window: usize,
    /// At most this many of those with their attributes.
    pub known: usize,
    nonces: Arc<AtomicU64>,
}

impl World {
    pub fn new() -> World {
        let mut world = World {
            machine: Machine::default(),
            follower: Machine::default(),
            now: START,
            index: 0,
            entries: BTreeMap::new(),
            messages: BTreeMap::new(),
            remembered: BTreeMap::new(),
            window: usize::MAX,
            known: usize::MAX,
            nonces: Arc::new(AtomicU64::new(1)),
        };
        world.decide(|draft, _| draft.start_leadership(1));
        world
    }

    /// Decides and applies one batch; answers what `rules` answered and the index that the batch got (or would have got).
    pub fn decide<T>(&mut self, rules: impl FnOnce(&mut Draft, &Candidates) -> T) -> (T, u64) {
        let candidates = self.candidates();
        let nonces = Arc::clone(&self.nonces);
        let mut draft =
            Draft::new(&self.machine, self.now, Box::new(move || nonces.fetch_add(1, Ordering::Relaxed)));
        let answer = rules(&mut draft, &candidates);
        draft.machine().check().unwrap_or_else(|broken| panic!("draft: {broken}"));
        let index = self.index + 1;
        let foreseen = draft.digest_at(index);
        if let Some(batch) = draft.finish() {
            let applied = self.apply(&batch);
            assert!(applied.took_effect);
            assert_eq!(self.machine.digest(), foreseen, "what was decided is not what was applied");
        }
        (answer, index)
    }

    fn apply(&mut self, batch: &Batch) -> Applied {
        self.index += 1;
        for (fact, slot) in batch.facts.iter().zip(0..) {
            let position = Position { index: self.index, slot };
            match fact {
                Fact::Produced(produced) => drop(self.messages.insert(position, produced.clone())),
                Fact::Remembered(remembered) => drop(self.remembered.insert(position, remembered.clone())),
                _ => {}
            }
        }
        for (topic, queue, entry) in batch.queue_entries(self.index) {
            let entries = self.entries.entry((topic, queue)).or_default();
            assert_eq!(entries.len() as u64, entry.offset, "offsets have no gaps and no doubles");
            entries.push(entry);
        }
        let from_log = Batch::decode(&batch.encode()).unwrap();
        assert_eq!(from_log, *batch, "what the log holds is not what was decided");
        self.follower.apply(self.index, &from_log);
        if self.index.is_multiple_of(IMAGE_EVERY) {
            self.restart_follower();
        }
        let applied = self.machine.apply(self.index, batch);
        self.machine.check().unwrap_or_else(|broken| panic!("{broken}"));
        assert_eq!(self.machine.digest(), self.follower.digest(), "two machines, one log, two states");
        applied
    }

    /// The follower goes on from its own image, as after a restart.
    fn restart_follower(&mut self) {
        let mut decoder = ImageDecoder::new();
        self.follower.encode_image().for_each(|chunk| decoder.feed(&chunk).unwrap());
        self.follower = decoder.finish().unwrap();
        self.follower.check().unwrap_or_else(|broken| panic!("after a restart: {broken}"));
    }

    /// Everything that deciding may want to read, `window` entries of a queue from the lowest cursor on.
    pub fn candidates(&self) -> Candidates {
        let mut candidates = Candidates::default();
        for (key @ (topic, queue), entries) in &self.entries {
            let cursor = |(id, _)| Some(self.machine.group_by_id(id)?.progress(*topic, *queue)?.next);
            let cursors = self.machine.groups().filter_map(cursor);
            let from = usize::try_from(cursors.min().unwrap_or(0)).unwrap().min(entries.len());
            let window = entries[from..].iter().take(self.window);
            candidates.entries.insert(*key, window.clone().cloned().collect());
            candidates.attributes.extend(window.take(self.known).map(|entry| self.known(entry.position)));
        }
        for (due, position, _) in self.machine.due_scheduled(1_000, self.now) {
            let produced = &self.messages[&position];
            assert!(matches!(produced.state, ProducedAs::Scheduled { due: meant } if meant == due));
            candidates.due.insert(position, produced.entry(position, 0, due));
            candidates.attributes.extend([self.known(position)]);
        }
        candidates
    }

    /// What the log knows of a message.
    fn known(&self, position: Position) -> (Position, Option<Arc<Attributes>>) {
        (position, Some(Arc::new(self.messages[&position].message.attributes.clone())))
    }

    /// What the sweep would be told: entries past their TTL, with their attributes.
    pub fn expired(&self) -> Candidates {
        let mut expired = Candidates { entries: self.entries.clone(), ..Candidates::default() };
        expired.entries.values_mut().for_each(|entries| entries.retain(|entry| entry.expires_at <= self.now));
        let positions = expired.entries.values().flatten().map(|entry| entry.position);
        expired.attributes = positions.map(|position| self.known(position)).collect();
        expired
    }

    /// The first offset of each queue that became ready at or after `time`.
    pub fn offsets_at(&self, time: Timestamp) -> BTreeMap<(TopicId, QueueNo), u64> {
        let first = |entries: &Vec<QueueEntry>| entries.partition_point(|entry| entry.ready_at < time) as u64;
        self.entries.iter().map(|(key, entries)| (*key, first(entries))).collect()
    }

    pub fn body(&self, position: Position) -> String {
        String::from_utf8(self.messages[&position].message.body.to_vec()).unwrap()
    }

    /// What names a message in the schedule of its topic; one that was never scheduled gets a key that no schedule has.
    pub fn schedule_key(&self, position: Position) -> (TopicId, (Timestamp, Position)) {
        let produced = &self.messages[&position];
        let due = match produced.state {
            ProducedAs::Scheduled { due } => due,
            ProducedAs::Ready { .. } => Timestamp(0),
        };
        (produced.topic, (due, position))
    }

    /// What was answered to the request that is remembered at `at`, as the log has it.
    pub fn first_answers(&self, at: Position) -> Vec<Accepted> {
        let remembered = &self.remembered[&at];
        let slots = at.slot - remembered.messages..at.slot;
        let answer = |slot| {
            let produced = &self.messages[&Position { slot, ..at }];
            let (offset, due) = match produced.state {
                ProducedAs::Ready { offset } => (Some(offset), None),
                ProducedAs::Scheduled { due } => (None, Some(due)),
            };
            Accepted { slot, queue: produced.queue, offset, due }
        };
        slots.map(answer).collect()
    }

    /// What the leader would read for a job: the next `looks` dead letters behind its cursor, and which of them fit; none
    /// when it does not run. Words of failures are not looked at.
    pub fn job_step(&self, id: JobId, looks: usize) -> Option<JobStep> {
        let job = self.machine.job(id).filter(|job| job.ended.is_none())?;
        let group = self.machine.group_by_id(job.group)?;
        let mut letters = group.dead_after(job.cursor);
        let mut step = JobStep { id, after: job.cursor, cursor: job.cursor, ..JobStep::default() };
        for (position, dead) in letters.by_ref().take(looks) {
            step.cursor = Some(*position);
            if dead.at > job.started_at {
                continue;
            }
            step.looked += 1;
            let message = &self.messages[position].message;
            if !job.filter.admits(dead.reason, &dead.topic_name, dead.at)
                || !job.filter.admits_message(&message.attributes)
            {
                continue;
            }
            step.fitting.push(*position);
            step.letters.push(Letter { position: *position, message: Arc::clone(message) });
            if step.fitting.len() == job.most_at_once() {
                break;
            }
        }
        step.is_last = letters.next().is_none();
        Some(step)
    }

    /// Ticks until nothing is due any more.
    pub fn settle_time(&mut self) {
        while self.decide(|draft, candidates| draft.tick(candidates)).0 > 0 {}
    }
}
