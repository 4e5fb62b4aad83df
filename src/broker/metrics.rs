//! One scrape: what was counted, and what the state says now. Everything is read from an O(1) clone of the machine, so
//! that no batch waits for a scrape.

mod alerts;
mod objects;
mod queues;

use std::sync::atomic::Ordering;

use crate::machine::Machine;
use crate::model::{HELD_MAX, Timestamp, TopicName, WAITERS_MAX};
use crate::observe::{Exposition, add_process, series};
use crate::replication::Replication;
use crate::storage::Space;

use super::core::Core;
use super::error::BrokerError;
use super::handle::Broker;
use super::tally::Budget;

/// What histograms count in one second.
const MICROS: f64 = 1e6;
const MILLIS: f64 = 1e3;

impl Broker {
    /// Everything that `/metrics` says of the broker and its process. Reads the index and asks the system, so not for
    /// async threads.
    #[must_use]
    pub fn metrics(&self) -> Exposition {
        let core = &self.core;
        let machine = core.machine.snapshot();
        let now = core.clock.now(machine.now());
        let mut out = Exposition::default();
        let mut budget = Budget::for_a_look();
        let seen = objects::Seen { machine: &machine, members: &core.clients.members(), now };
        objects::add(&mut out, &core.traffic, &seen, &mut |group, topic, filter| {
            self.group_topic_view(group, topic, filter, (now, &mut budget))
        });
        add_state(&mut out, &machine, now);
        add_speed(&mut out, core);
        add_disk(&mut out, core);
        add_agreement(&mut out, &core.replication);
        add_load(&mut out, core);
        alerts::add(&mut out, core, &machine);
        add_process(&mut out);
        out.count(&series::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
        out
    }

    /// What `/metrics/per-object` says: every queue of `topic`, or of all topics as far as there is room.
    ///
    /// # Errors
    /// `TopicNotFound`.
    pub fn queue_metrics(&self, topic: Option<&TopicName>) -> Result<Exposition, BrokerError> {
        let machine = self.core.machine.snapshot();
        let mut out = Exposition::default();
        match topic {
            Some(name) => {
                let found = super::look::find_topic(&machine, name)?;
                queues::add(&mut out, &machine, std::iter::once(found));
            }
            None => queues::add(&mut out, &machine, machine.topics()),
        }
        Ok(out)
    }
}

fn add_state(out: &mut Exposition, machine: &Machine, now: Timestamp) {
    out.count(&series::TOPICS, &[], wide(machine.topics().count()));
    out.count(&series::GROUPS, &[], wide(machine.groups().count()));
    out.count(&series::HELD_MESSAGES, &[], machine.held());
    out.count(&series::HELD_MESSAGES_MAX, &[], wide(HELD_MAX));
    let overdue_ms = machine.next_schedule().map_or(0, |due| now.since(due));
    out.add(&series::SCHEDULE_OVERDUE_SECONDS, &[], seconds(overdue_ms));
}

fn add_speed(out: &mut Exposition, core: &Core) {
    let traffic = &core.traffic;
    out.distribution(&series::PRODUCE_SECONDS, &traffic.produce.read(), MICROS);
    out.distribution(&series::END_TO_END_SECONDS, &traffic.end_to_end.read(), MILLIS);
    out.distribution(&series::SCHEDULE_LATENESS_SECONDS, &traffic.lateness.read(), MILLIS);
    out.distribution(&series::FSYNC_SECONDS, &core.replication.log().fsyncs(), MICROS);
    out.distribution(&series::BATCH_FACTS, &traffic.batch_facts.read(), 1.0);
}

fn add_disk(out: &mut Exposition, core: &Core) {
    let log = core.replication.log();
    out.count(&series::LOG_BYTES, &[], log.size_bytes());
    out.count(&series::DISK_FREE_BYTES, &[], log.free_space());
    if let Some(total) = log.total_space() {
        out.count(&series::DISK_TOTAL_BYTES, &[], total);
    }
    out.count(&series::DISK_REFUSES_PRODUCERS, &[], u64::from(log.space() != Space::Open));
}

fn add_agreement(out: &mut Exposition, replication: &Replication) {
    let leadership = *replication.leadership().borrow();
    let progress = replication.progress();
    out.count(&series::RAFT_TERM, &[], leadership.term);
    out.count(&series::RAFT_LEADER, &[], u64::from(leadership.leader));
    out.count(&series::RAFT_LAST_INDEX, &[], progress.last.unwrap_or(0));
    out.count(&series::RAFT_COMMITTED_INDEX, &[], progress.committed.unwrap_or(0));
    out.count(&series::RAFT_APPLIED_INDEX, &[], progress.applied.unwrap_or(0));
}

fn add_load(out: &mut Exposition, core: &Core) {
    let serving = core.serving.load(Ordering::Acquire) && !core.stopping();
    out.count(&series::SERVING, &[], u64::from(serving));
    // The index first: it only ever runs behind.
    let indexed = core.indexer.indexed_up_to();
    let applied = core.machine.applied().unwrap_or(0);
    out.count(&series::INDEX_BACKLOG_ENTRIES, &[], applied.saturating_sub(indexed));
    out.count(&series::REQUESTS_WAITING, &[], wide(core.room.requests_taken()));
    out.count(&series::WAITERS, &[], wide(WAITERS_MAX - core.waiter_room.available_permits()));
}

fn seconds(milliseconds: u64) -> f64 {
    std::time::Duration::from_millis(milliseconds).as_secs_f64()
}

fn wide(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}
