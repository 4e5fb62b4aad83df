//! What the leader does without being asked: retention, the sweep of messages past their TTL, and every node's own
//! cleaning of its disk.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::machine::{Candidates, Machine};
use crate::model::{QueueEntry, QueueNo, TICK_ITEMS_MAX, Timestamp, TopicId};
use crate::storage::index::IndexError;

use super::clock::LogClock;
use super::core::Core;
use super::count;
use super::handle::Broker;

/// How often retention, the TTL sweep and the cleaner look.
const EVERY: Duration = Duration::from_secs(10);

/// How often, and in which steps, they wait for the index to take in what was just applied.
const INDEX_LOOKS: u32 = 100;
const INDEX_LOOK_EVERY: Duration = Duration::from_millis(2);

/// The duties stay this much behind log time, so that the proposer agrees that a time has come.
const BEHIND_MS: u64 = 1_000;

/// Runs the duties until the broker stops. An idle broker finds nothing to do and writes nothing.
pub(super) async fn run(broker: Broker) {
    let mut clock = None;
    let mut rounds = broker.core.rounds_every(EVERY);
    while rounds.next().await {
        round(&broker, &mut clock).await;
    }
}

/// One round of what is due. `log_clock` is log time as far as the duties need it: never the host's clock, which
/// somebody may have set a week ahead by mistake, and messages would be gone.
async fn round(broker: &Broker, log_clock: &mut Option<LogClock>) {
    if broker.core.serving.load(std::sync::atomic::Ordering::Acquire) {
        let stamped = broker.core.machine.read(Machine::now);
        let now = log_clock.get_or_insert_with(|| LogClock::start(stamped)).now();
        // The proposer's clock began a moment before or after this one.
        let now = stamped.max(Timestamp(now.0.saturating_sub(BEHIND_MS)));
        advance_retention(broker, now).await;
        sweep_expired(broker, now).await;
    }
    broker.core.clients.sweep(Instant::now());
    let cleaner = broker.clone();
    let clean = move || {
        clean_segments(&cleaner);
        count::forget_deleted(&cleaner.core);
    };
    if let Err(error) = tokio::task::spawn_blocking(clean).await {
        tracing::error!(%error, "the cleaner failed");
    }
}

impl Broker {
    /// Does now what is otherwise done every ten seconds: retention, the TTL sweep, and the removal of segments.
    pub async fn tend(&self) {
        round(self, &mut None).await;
    }
}

/// Moves each queue's first kept offset past what is older than the topic's `max_age`. The machine holds it back at
/// what some group has not settled.
async fn advance_retention(broker: &Broker, now: Timestamp) {
    let looker = broker.clone();
    // Reads the index for every queue, so it does not belong on an async thread.
    match tokio::task::spawn_blocking(move || too_old(&looker, now)).await {
        Ok(found) => {
            for (topic, firsts) in found {
                retain(broker, topic, firsts).await;
            }
        }
        Err(error) => tracing::error!(%error, "retention failed"),
    }
}

/// By topic, the queues that keep messages older than its `max_age` although nobody needs them, and the first
/// offset to keep.
fn too_old(broker: &Broker, now: Timestamp) -> Vec<(TopicId, Vec<(QueueNo, u64)>)> {
    let mut found = Vec::new();
    let Some(machine) = indexed_machine(broker) else { return found };
    for (id, topic) in machine.topics() {
        let horizon = Timestamp(now.0.saturating_sub(topic.settings.max_age_ms));
        let firsts: Vec<(QueueNo, u64)> = (0..)
            .zip(topic.queues.iter())
            .filter(|(queue, state)| state.first_kept < machine.needed_from(id, *queue))
            .filter_map(|(queue, state)| {
                let found = broker.core.indexer.index().first_at_or_after(id, queue, horizon).ok()?;
                let first = found.unwrap_or(state.next_offset);
                (first > state.first_kept).then_some((queue, first))
            })
            .collect();
        if !firsts.is_empty() {
            found.push((id, firsts));
        }
    }
    found
}

async fn retain(broker: &Broker, topic: TopicId, firsts: Vec<(QueueNo, u64)>) {
    let moved = broker.decide(0, move |draft| Ok(draft.retain(topic, &firsts))).await;
    if let Err(error) = moved {
        tracing::warn!(%error, "retention waits for the next round");
    }
}

/// Settles messages that outlived their TTL before anybody looked at them.
async fn sweep_expired(broker: &Broker, now: Timestamp) {
    loop {
        let core = broker.core.clone();
        let (candidates, full) = match tokio::task::spawn_blocking(move || read_expired(&core, now)).await {
            Ok(Ok(read)) => read,
            Ok(Err(error)) => return broker.core.distrust_index(&error),
            Err(error) => return tracing::error!(%error, "the TTL sweep failed"),
        };
        if candidates.entries.is_empty() {
            return;
        }
        // Every group has its own share of them, and each go settles a bounded number; the index will not tell again.
        let candidates = Arc::new(candidates);
        let mut settled = usize::MAX;
        while settled > 0 {
            let candidates = Arc::clone(&candidates);
            match broker.decide(0, move |draft| Ok(draft.expire_sweep(&candidates))).await {
                Ok((count, _)) => settled = count,
                Err(error) => {
                    tracing::warn!(%error, "the TTL sweep stops; who gets to these messages passes over them");
                    return;
                }
            }
        }
        if !full {
            return;
        }
    }
}

/// What the index knows to be past its TTL, with the attributes that filters need, and whether there may be more. A
/// message that cannot be read now is left to the group that gets there. Waits for the disk.
fn read_expired(core: &Core, now: Timestamp) -> Result<(Candidates, bool), IndexError> {
    let expired = core.indexer.index().expired(now, TICK_ITEMS_MAX)?;
    // The index answers whole blocks, so it may be more.
    let full = expired.len() >= TICK_ITEMS_MAX;
    let mut candidates = Candidates::default();
    for (topic, queue, entry) in expired {
        candidates.entries.entry((topic, queue)).or_default().push(entry);
    }
    let machine = core.machine.snapshot();
    for ((topic, _), entries) in &candidates.entries {
        if machine.some_filter_needs_attributes(*topic) {
            let read =
                |entry: &QueueEntry| Some((entry.position, core.read_attributes(entry.position).ok()?));
            candidates.attributes.extend(entries.iter().filter_map(read));
        }
    }
    Ok((candidates, full))
}

/// The machine, once everything applied to it is in the index; none while the index is behind. The index is
/// fed a moment after the machine: in between, a message that is in neither of the two would look like nobody's.
fn indexed_machine(broker: &Broker) -> Option<Machine> {
    let machine = broker.core.machine.snapshot();
    let applied = machine.applied();
    for _ in 0..INDEX_LOOKS {
        if !broker.core.indexer.is_live() {
            return None;
        }
        if broker.core.indexer.indexed_up_to() >= applied {
            return Some(machine);
        }
        std::thread::sleep(INDEX_LOOK_EVERY);
    }
    None
}

/// Removes the segments that lie at or below the purge mark and into which nothing live or retained points.
fn clean_segments(broker: &Broker) {
    let log = broker.core.replication.log();
    let Some(purged) = log.purged() else { return };
    let candidates: Vec<(u64, u64, u64)> = log
        .segments()
        .into_iter()
        .filter(|segment| segment.sealed)
        .filter_map(|segment| Some((segment.id, segment.first_index, segment.last_index?)))
        .filter(|(_, _, last)| *last <= purged.index)
        .collect();
    if candidates.is_empty() {
        return;
    }
    let Some(machine) = indexed_machine(broker) else { return };
    let mut pinned = BTreeSet::new();
    machine.for_each_pin(|position| {
        let at = candidates.partition_point(|(_, _, last)| *last < position.index);
        if candidates.get(at).is_some_and(|(_, first, _)| *first <= position.index) {
            pinned.insert(at);
        }
    });
    let mut removed = false;
    for (at, (id, first, last)) in candidates.iter().enumerate() {
        if pinned.contains(&at) || retained(broker, &machine, *first, *last) || log.holds_back(*id) {
            continue;
        }
        match log.remove_segment(*id) {
            Ok(()) => {
                broker.core.indexer.index().segment_gone(*first);
                removed = true;
                tracing::info!(segment = id, "removed a segment: nothing live or retained points into it");
            }
            Err(error) => {
                tracing::error!(%error, segment = id, "a segment could not be removed");
                break;
            }
        }
    }
    // Keys of messages below the oldest segment name nothing any more.
    if removed && let Some(first) = log.first_kept() {
        broker.core.indexer.index().forget_keys_below(first);
    }
}

/// Whether some queue still keeps a message whose body or offset stands in this stretch of the log.
fn retained(broker: &Broker, machine: &Machine, first: u64, last: u64) -> bool {
    let pins = match broker.core.indexer.index().pins(first..=last) {
        Ok(pins) => pins,
        Err(error) => {
            broker.core.distrust_index(&error);
            return true;
        }
    };
    pins.into_iter().any(|(topic, queue, max_offset)| {
        machine
            .topic_by_id(topic)
            .and_then(|topic| topic.queues.get(usize::from(queue)).copied())
            .is_some_and(|queue| queue.first_kept <= max_offset)
    })
}
