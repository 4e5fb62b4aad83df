//! What the proposer reads before it decides: queue entries for those who wait, what their filters need to know of
//! them, and scheduled messages that are due.
//!
//! What is in memory is taken at once. What has to be read from the disk is read on a thread that may wait, and the
//! batch waits a moment for it, so that a slow disk holds up those who need it and not everybody: a batch that was
//! decided without is followed by the next, until the answer is there. Candidates are checked against the state, so one
//! that comes late is harmless.

use std::collections::BTreeSet;
use std::collections::btree_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::machine::{Candidates, Machine, Want};
use crate::model::{
    Attributes, CANDIDATES_MAX, GroupId, GroupName, Position, QueueEntry, TICK_ITEMS_MAX, Timestamp,
};

use super::attributes::{self, Asked, Known};
use super::core::Core;
use super::error::BrokerError;
use super::read;

/// Most entries read as candidates for all that wait for one group, in one batch.
const GROUP_CANDIDATES_MAX: usize = 8 * CANDIDATES_MAX;

/// How long a batch waits for the disk.
const PATIENCE: Duration = Duration::from_millis(5);

/// Reads candidates. Only the proposer has one.
pub(super) struct Reader {
    core: Arc<Core>,
    /// What is on its way from the disk.
    reading: Option<JoinHandle<Found>>,
}

/// What has to be read from the disk.
#[derive(Default)]
struct Missing {
    entries: Vec<MissingEntries>,
    asked: Asked,
    due: Vec<Position>,
}

impl Missing {
    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.asked.is_empty() && self.due.is_empty()
    }
}

/// Entries of one queue that a group wants.
struct MissingEntries {
    group: GroupId,
    want: Want,
    /// Most entries.
    most: usize,
    /// So many of them its filter asks about.
    asked: usize,
}

/// What was read.
#[derive(Default)]
struct Found {
    entries: Vec<(GroupId, Want, Vec<QueueEntry>)>,
    attributes: Vec<(Position, Known)>,
    due: Vec<(QueueEntry, Attributes)>,
}

impl Reader {
    pub(super) fn new(core: Arc<Core>) -> Reader {
        Reader { core, reading: None }
    }

    /// Whether something is still on its way: the next batch may know more, whatever else changes.
    pub(super) fn is_reading(&self) -> bool {
        self.reading.is_some()
    }

    /// Reads what the next batch needs for `groups`, and for what is due, so that deciding does no I/O.
    pub(super) async fn candidates(
        &mut self,
        machine: &Machine,
        now: Timestamp,
        (groups, turn): (&BTreeSet<&GroupName>, u32),
    ) -> Candidates {
        let mut candidates = Candidates::default();
        self.take_read(&mut candidates).await;
        let mut missing = Missing::default();
        for group in groups {
            self.core.queues_in_memory(machine, (group, turn), &mut candidates, &mut missing);
        }
        if machine.next_due().is_some_and(|due| due <= now) {
            for (_, position, _) in machine.due_scheduled(TICK_ITEMS_MAX, now) {
                if candidates.due.contains_key(&position) {
                    continue;
                }
                match read::scheduled_in_memory(&self.core, position) {
                    Some(found) => add_due(&mut candidates, found),
                    None => missing.due.push(position),
                }
            }
        }
        if self.reading.is_none() && !missing.is_empty() {
            let core = Arc::clone(&self.core);
            self.reading = Some(tokio::task::spawn_blocking(move || core.read_missing(missing)));
            self.take_read(&mut candidates).await;
        }
        candidates
    }

    /// Adds what was read, if it is there in time.
    async fn take_read(&mut self, candidates: &mut Candidates) {
        let Some(reading) = &mut self.reading else { return };
        let Ok(read) = timeout(PATIENCE, reading).await else { return };
        self.reading = None;
        match read {
            Ok(found) => {
                for (group, want, entries) in found.entries {
                    add(candidates, (group, want), entries);
                }
                candidates.attributes.extend(found.attributes);
                found.due.into_iter().for_each(|found| add_due(candidates, found));
            }
            Err(error) => tracing::error!(%error, "candidates could not be read"),
        }
    }
}

/// Adds the entries of a queue from `want.from` on: for all, or, when other groups stand elsewhere, for this one.
fn add(candidates: &mut Candidates, (group, want): (GroupId, Want), entries: Vec<QueueEntry>) {
    match candidates.entries.entry((want.topic, want.queue)) {
        Entry::Vacant(place) => drop(place.insert(entries)),
        Entry::Occupied(_) => {
            candidates.own_entries.insert((group, want.topic, want.queue), entries);
        }
    }
}

/// Adds a scheduled message that is due. In the batch that makes it ready filters may ask about it as well.
fn add_due(candidates: &mut Candidates, (entry, attributes): (QueueEntry, Attributes)) {
    candidates.attributes.insert(entry.position, Some(Arc::new(attributes)));
    candidates.due.insert(entry.position, entry);
}

/// Whether the entry that this group would read first is among them.
fn knows(candidates: &Candidates, group: GroupId, want: &Want) -> bool {
    let own = candidates.own_entries.get(&(group, want.topic, want.queue));
    // Groups mostly stand close together; one that does not gets entries of its own.
    let shared = candidates.entries.get(&(want.topic, want.queue));
    own.into_iter().chain(shared).any(|entries| entries.iter().any(|entry| entry.offset == want.from))
}

impl Core {
    /// Every queue gets its share: a receive that is restricted to a topic must find entries of that topic among those
    /// of all.
    fn queues_in_memory(
        &self,
        machine: &Machine,
        (name, turn): (&GroupName, u32),
        candidates: &mut Candidates,
        missing: &mut Missing,
    ) {
        let Some((group, found)) = machine.group(name) else { return };
        let wants = machine.wants(name, None, turn);
        let most = (GROUP_CANDIDATES_MAX / wants.len().max(1)).clamp(1, CANDIDATES_MAX);
        let asked =
            if found.settings.needs_attributes() { attributes::share(machine, group, &wants) } else { 0 };
        for want in wants.iter().take(GROUP_CANDIDATES_MAX) {
            if knows(candidates, group, want) {
                continue;
            }
            match self.indexer.index().entries_in_memory(want.topic, want.queue, want.from, most) {
                Ok(Some(entries)) => add(candidates, (group, *want), entries),
                Ok(None) => {
                    let asked = if machine.filter_needs_attributes(group, want.topic) { asked } else { 0 };
                    missing.entries.push(MissingEntries { group, want: *want, most, asked });
                }
                Err(error) => self.distrust_index(&error),
            }
        }
        if asked > 0 {
            self.known_attributes((machine, group), (&wants, asked), candidates, &mut missing.asked);
        }
    }

    /// Reads from the disk. A scheduled message that cannot be read stops those behind it: none overtakes.
    fn read_missing(&self, mut missing: Missing) -> Found {
        let mut found = Found::default();
        for MissingEntries { group, want, most, asked } in missing.entries {
            match self.indexer.index().entries(want.topic, want.queue, want.from, most) {
                Ok(entries) => {
                    missing.asked.add(entries.iter().take(asked));
                    found.entries.push((group, want, entries));
                }
                Err(error) => self.distrust_index(&error),
            }
        }
        found.attributes = self.read_asked(&missing.asked);
        let read: Result<(), BrokerError> = missing.due.into_iter().try_for_each(|position| {
            found.due.push(read::scheduled_entry(self, position)?);
            Ok(())
        });
        if let Err(error) = read {
            tracing::error!(%error, "a scheduled message cannot be read; schedules stop here");
        }
        found
    }
}
