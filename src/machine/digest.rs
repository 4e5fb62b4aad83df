//! One number for the whole state: two machines that applied the same log have the same.

use xxhash_rust::xxh3::Xxh3;

use crate::model::{Place, Position, Timestamp};

use super::draft::Draft;
use super::facts::OWN_ENTRY;
use super::jobs::Job;
use super::state::{Dead, Group, History, Item, ItemState, LastEnd, Machine, Progress, Schedule, Topic};

impl Machine {
    /// A 64-bit digest over everything in the state, in key order. Equal states have equal digests, on every machine.
    #[must_use]
    pub fn digest(&self) -> u64 {
        let mut walk = Walk { hash: Xxh3::new(), own: OWN_ENTRY };
        walk.machine(self, [self.now.0, self.applied, self.base]);
        walk.hash.digest()
    }
}

impl Draft {
    /// The digest that the state will have when this batch is applied at `index`.
    #[must_use]
    pub fn digest_at(&self, index: u64) -> u64 {
        let mut walk = Walk { hash: Xxh3::new(), own: index };
        walk.machine(&self.machine, [self.time.0, index, index]);
        walk.hash.digest()
    }
}

struct Walk {
    hash: Xxh3,
    /// The index that [`OWN_ENTRY`] stands for. It sorts last, as the newest index does, so the order is right as well.
    own: u64,
}

impl Walk {
    fn number(&mut self, number: impl Into<u64>) {
        self.hash.update(&number.into().to_le_bytes());
    }

    fn numbers<const N: usize>(&mut self, numbers: [u64; N]) {
        for number in numbers {
            self.number(number);
        }
    }

    fn text(&mut self, text: &str) {
        self.number(text.len() as u64);
        self.hash.update(text.as_bytes());
    }

    fn position(&mut self, position: Position) {
        let index = if position.index == OWN_ENTRY { self.own } else { position.index };
        self.numbers([index, position.slot.into()]);
    }

    fn place(&mut self, place: Place) {
        self.numbers([place.offset, place.turn.into()]);
    }

    fn machine(&mut self, machine: &Machine, [now, applied, base]: [u64; 3]) {
        self.numbers([now, applied, base, machine.next_topic.into(), machine.next_group.into()]);
        self.number(machine.topics.len() as u64);
        for (id, topic) in &machine.topics {
            self.number(id.0);
            self.topic(topic);
        }
        for (name, id) in &machine.topic_names {
            self.text(name.as_str());
            self.number(id.0);
        }
        self.number(machine.groups.len() as u64);
        for (id, group) in &machine.groups {
            self.number(id.0);
            self.group(group);
        }
        for (name, id) in &machine.group_names {
            self.text(name.as_str());
            self.number(id.0);
        }
        self.number(machine.deadlines.len() as u64);
        for deadline in &machine.deadlines {
            self.number(deadline.at.0);
            self.position(deadline.position);
            self.numbers([deadline.group.0.into(), deadline.topic.0.into(), deadline.queue.into()]);
            self.place(deadline.place);
            self.number(deadline.kind as u8);
        }
        self.number(machine.trash.len() as u64);
        for progress in &machine.trash {
            self.progress(progress);
        }
        self.number(machine.dead_trash.len() as u64);
        for dead in &machine.dead_trash {
            self.number(dead.len() as u64);
            for (position, dead) in dead {
                self.dead(*position, dead);
            }
        }
        self.number(machine.schedule_trash.len() as u64);
        for schedule in &machine.schedule_trash {
            self.schedule(schedule);
        }
        for (topic, until, generation) in machine.keys.generations() {
            self.numbers([topic.0.into(), until.0, generation.len() as u64]);
            for (key, told) in generation.iter() {
                self.hash.update(&key.0.to_le_bytes());
                self.number(told.fingerprint);
                self.position(told.position);
            }
        }
        self.number(machine.jobs.len() as u64);
        for (id, job) in &machine.jobs {
            self.number(id.0);
            self.job(job);
        }
        // As with settings: what the log carries too. A state without any has the digest that it always had.
        for fact in machine.alerting.as_facts() {
            self.text(&serde_json::to_string(&fact).unwrap_or_default());
        }
    }

    fn job(&mut self, job: &Job) {
        self.number(job.group.0);
        self.text(job.group_name.as_str());
        // As with settings: words and integers, and what the log carries too.
        self.text(&serde_json::to_string(&*job.filter).unwrap_or_default());
        let (topic, name) = job.to.as_ref().map_or((0, ""), |(topic, name)| (topic.0, name.as_str()));
        self.number(topic);
        self.text(name);
        self.numbers([job.rate_per_s.unwrap_or(0).into(), job.started_at.0, job.total]);
        self.position(job.cursor.unwrap_or_default());
        self.numbers([job.not_before.0, job.looked, job.moved, job.failed]);
        let (end, at) = job.ended.map_or((0, 0), |(end, at)| (1 + end as u64, at.0));
        self.numbers([end, at]);
    }

    fn schedule(&mut self, schedule: &Schedule) {
        self.number(schedule.len() as u64);
        for ((due, position), queue) in schedule {
            self.number(due.0);
            self.position(*position);
            self.number(*queue);
        }
    }

    fn topic(&mut self, topic: &Topic) {
        self.text(topic.name.as_str());
        let settings = &topic.settings;
        self.numbers([settings.queues.into(), settings.max_age_ms, settings.idempotency_window_ms]);
        self.number(topic.made_at.0);
        self.schedule(&topic.schedule);
        self.numbers([topic.next_queue.into(), topic.queues.len() as u64]);
        for queue in &topic.queues {
            self.numbers([queue.next_offset, queue.first_kept]);
        }
        self.number(topic.groups.len() as u64);
        for group in &topic.groups {
            self.number(group.0);
        }
    }

    fn group(&mut self, group: &Group) {
        self.text(group.name.as_str());
        // Settings are words and integers; their versioned JSON is what the log carries too.
        self.text(&serde_json::to_string(&*group.settings).unwrap_or_default());
        self.numbers([group.made_at.0, group.paused.into(), group.in_flight, group.retrying]);
        self.number(group.progress.len() as u64);
        for ((topic, queue), progress) in &group.progress {
            self.numbers([topic.0.into(), (*queue).into()]);
            self.progress(progress);
        }
        self.number(group.dead.len() as u64);
        for (position, dead) in &group.dead {
            self.dead(*position, dead);
        }
        for ((topic, queue, offset), position) in &group.dead_offsets {
            self.numbers([topic.0.into(), (*queue).into(), *offset]);
            self.position(*position);
        }
    }

    fn progress(&mut self, progress: &Progress) {
        self.numbers([progress.next, progress.leased, progress.retrying]);
        self.numbers([progress.round.into(), progress.max_round.into(), progress.redrives.into()]);
        self.number(progress.items.len() as u64);
        for (place, item) in &progress.items {
            self.place(*place);
            self.item(item);
        }
        self.number(progress.ready.len() as u64);
        for place in &progress.ready {
            self.place(*place);
        }
        self.number(progress.lanes.len() as u64);
        for (lane, place) in &progress.lanes {
            self.number(*lane);
            self.place(*place);
        }
        self.number(progress.beyond.len() as u64);
        for (start, end) in progress.beyond.iter() {
            self.numbers([start, end]);
        }
        self.number(progress.void.len() as u64);
        for (start, end) in progress.void.iter() {
            self.numbers([start, end]);
        }
    }

    fn item(&mut self, item: &Item) {
        self.position(item.position);
        self.numbers([item.offset, item.lane, item.ready_at.0, item.expires_at.0]);
        self.numbers([item.body_bytes.into(), item.round.into(), item.failures.into()]);
        self.history(item.history.as_deref());
        match &item.state {
            ItemState::Parked => self.number(0u8),
            ItemState::Ready => self.number(1u8),
            ItemState::Leased(lease) => {
                self.numbers([2, lease.nonce, lease.until.0, lease.session]);
                self.text(&lease.client);
            }
            ItemState::Retrying { due: Timestamp(due) } => self.numbers([3, *due]),
        }
        match item.last {
            LastEnd::None => self.number(0u8),
            LastEnd::RanOut { nonce } => self.numbers([1, nonce]),
            LastEnd::Nacked { nonce } => self.numbers([2, nonce]),
        }
    }

    fn dead(&mut self, position: Position, dead: &Dead) {
        self.position(position);
        self.text(dead.topic_name.as_str());
        self.numbers([dead.topic.0.into(), dead.queue.into(), dead.offset, dead.lane, dead.ready_at.0]);
        self.numbers([dead.body_bytes.into(), dead.round.into(), dead.failures.into()]);
        self.numbers([dead.reason as u64, dead.at.0]);
        self.history(dead.history.as_deref());
    }

    fn history(&mut self, history: Option<&History>) {
        let Some(history) = history else { return self.number(0u8) };
        self.numbers([1, history.total.into(), history.first.len() as u64, history.last.len() as u64]);
        for position in history.first.iter().chain(&history.last) {
            self.position(*position);
        }
    }
}
