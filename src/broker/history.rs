//! The recent past: a sample once a second, kept beside the index, read by the pages, the interface and the alerts.
//!
//! A sample is taken in the middle of each second of the wall clock, so that one that comes a little early or late
//! still falls into its own. It reads counters and a clone of the state, on a thread that may wait: nothing stands
//! before a batch, and nothing is written to the log. What it may cost is bounded ([`walk`]).

mod sample;
mod walk;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::model::{GroupName, Millis};
use crate::observe::history::{Curves, History, Incarnation, Measure, Subject, SubjectKind, Window};
use crate::storage::Space;

use super::clock;
use super::core::Core;
use super::error::BrokerError;
use super::handle::Broker;
use super::look::{find_group, find_topic};

use sample::Sampler;
use walk::Behind;

/// A sample is taken this long after the beginning of each second.
const MIDDLE_MS: u64 = 500;

/// The cache is written this often, as long as it is small.
const KEEP_EVERY: Duration = Duration::from_secs(60);

/// The larger it is, the less often: writing it takes at most this many bytes a second on average.
const KEEP_BYTES_PER_S: usize = 128 << 10;

/// More than a cache can have, all rings full.
const CACHE_BYTES_MAX: usize = 64 << 20;

/// Who is behind is not known any more when no sample told of it for so long.
const OUTDATED_AFTER: Duration = Duration::from_secs(5);

/// Counts open connections and WebSockets, which this folder knows nothing of.
pub(super) type Doors = Box<dyn Fn() -> [u64; 2] + Send + Sync>;

/// What is remembered of an object.
#[derive(Clone, Debug)]
pub struct Remembered {
    /// Whether its past is remembered at all: of many objects only those with the most to tell are.
    pub kept: bool,
    /// The curves; without a step when nothing is known.
    pub curves: Curves,
}

/// A group that is behind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupBehind {
    /// Its name.
    pub name: GroupName,
    /// Its lag over all topics.
    pub lag: u64,
    /// How long the oldest message of that is ready; none while the index has not got there.
    pub lag_ms: Option<Millis>,
}

/// What the last sample told of who is behind.
#[derive(Debug, Default)]
pub(super) struct FurthestBehind(Mutex<Option<(Instant, Vec<Behind>)>>);

impl FurthestBehind {
    fn tell(&self, found: Option<Vec<Behind>>) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *told = found.map(|behind| (Instant::now(), behind));
    }

    /// None when samples are not taken at the moment.
    fn told(&self) -> Option<Vec<Behind>> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.as_ref().filter(|(at, _)| at.elapsed() < OUTDATED_AFTER).map(|(_, behind)| behind.clone())
    }
}

impl Broker {
    /// The groups that are furthest behind of all there are, the worst first, `most` or 20 at most. With thousands of
    /// groups as they were some seconds ago. None when that is not known: right after the start, or because samples
    /// cannot be taken.
    #[must_use]
    pub fn furthest_behind(&self, most: usize) -> Option<Vec<GroupBehind>> {
        let machine = self.core.machine.snapshot();
        let Some(behind) = self.core.behind.told() else {
            return machine.groups().next().is_none().then(Vec::new);
        };
        let now = self.core.clock.now(machine.now());
        // One that was deleted since is not behind any more.
        let still_there = behind.into_iter().filter_map(|one| {
            let name = machine.group_by_id(one.group)?.name.clone();
            Some(GroupBehind { name, lag: one.lag, lag_ms: one.oldest.map(|oldest| now.since(oldest)) })
        });
        Some(still_there.take(most).collect())
    }

    /// The past of the node, a topic or a group, up to now. Cheap enough for any thread.
    ///
    /// # Errors
    /// `TopicNotFound`, `GroupNotFound`.
    pub fn history(
        &self,
        subject: &Subject,
        measures: &[Measure],
        window: Window,
    ) -> Result<Remembered, BrokerError> {
        let machine = self.core.machine.snapshot();
        let of = match subject {
            Subject::Node => Incarnation::Node,
            Subject::Topic(name) => Incarnation::Topic(find_topic(&machine, name)?.0),
            Subject::Group(name) => Incarnation::Group(find_group(&machine, name)?.0),
        };
        let now = clock::wall_time();
        let found = self.core.remembered().curves(of, measures, window, now);
        Ok(Remembered {
            kept: found.is_some() || *subject == Subject::Node,
            curves: found.unwrap_or_else(|| Curves::empty(measures, window, now)),
        })
    }

    /// The past of every remembered object of a kind, for whoever wants to know what a rule would have said. At most
    /// `HISTORY_TOPICS_MAX` or `HISTORY_GROUPS_MAX`, by name; one of the node.
    #[must_use]
    pub fn history_of_all(
        &self,
        kind: SubjectKind,
        measures: &[Measure],
        window: Window,
    ) -> Vec<(Subject, Curves)> {
        let machine = self.core.machine.snapshot();
        let subject = |of: Incarnation| match of {
            Incarnation::Node => Some(Subject::Node),
            Incarnation::Topic(id) => Some(Subject::Topic(machine.topic_by_id(id)?.name.clone())),
            Incarnation::Group(id) => Some(Subject::Group(machine.group_by_id(id)?.name.clone())),
        };
        let now = clock::wall_time();
        let history = self.core.remembered();
        let past = |of: Incarnation| Some((subject(of)?, history.curves(of, measures, window, now)?));
        let mut found: Vec<(Subject, Curves)> = history.remembered(kind).filter_map(past).collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        found
    }

    /// Has samples count connections and WebSockets with this; the first one told stays.
    pub fn count_connections_with(&self, count: impl Fn() -> [u64; 2] + Send + Sync + 'static) {
        let _ = self.core.doors.set(Box::new(count));
    }
}

impl Core {
    pub(super) fn remembered(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes up what the process before remembered. What cannot be used is a gap.
    fn recall(&self) {
        let kept = match self.replication.log().kept_history(CACHE_BYTES_MAX) {
            Ok(Some(bytes)) => bytes,
            Ok(None) => return,
            Err(error) => return tracing::warn!(%error, "the history cannot be read and begins anew"),
        };
        match History::decode(&kept) {
            Ok(history) => *self.remembered() = history,
            Err(error) => tracing::warn!(%error, "the history on the disk is not used and begins anew"),
        }
    }

    /// Writes the cache; answers how many bytes that were. None when it was not written.
    fn keep(&self) -> Option<usize> {
        let log = self.replication.log();
        // The room that is left belongs to the log.
        if log.space() != Space::Open || log.poisoned().is_some() {
            return None;
        }
        let bytes = self.remembered().encode();
        match log.keep_history(&bytes) {
            Ok(()) => Some(bytes.len()),
            Err(error) => {
                tracing::warn!(%error, "the history could not be kept; after a restart there is a gap");
                None
            }
        }
    }
}

/// Takes samples until the broker stops.
pub(super) async fn run(broker: Broker) {
    let core = broker.core.clone();
    let mut sampler = Sampler::default();
    if tokio::task::spawn_blocking(move || core.recall()).await.is_err() {
        tracing::error!("taking up the history failed");
    }
    let mut keep_at = Instant::now() + KEEP_EVERY;
    loop {
        tokio::select! {
            () = tokio::time::sleep(until_the_middle()) => {}
            () = broker.core.until_stopped() => break,
        }
        let (sampling, keeps) = (broker.clone(), Instant::now() >= keep_at);
        let work = move || {
            sampler.sample(&sampling);
            let kept = keeps.then(|| sampling.core.keep().unwrap_or_default());
            (sampler, kept)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok((back, kept)) => {
                sampler = back;
                if let Some(bytes) = kept {
                    keep_at = Instant::now() + pause_after(bytes);
                }
            }
            Err(error) => {
                tracing::error!(%error, "a sample of the history failed");
                sampler = Sampler::default();
            }
        }
    }
    let _ = tokio::task::spawn_blocking(move || broker.core.keep()).await;
}

fn until_the_middle() -> Duration {
    let into_the_second = clock::wall_time().0 % 1_000;
    let wait = (MIDDLE_MS + 1_000 - into_the_second) % 1_000;
    // Just taken: the next one.
    Duration::from_millis(if wait < MIDDLE_MS / 5 { wait + 1_000 } else { wait })
}

/// How long to wait after a cache of this size was written.
fn pause_after(bytes: usize) -> Duration {
    let seconds = u64::try_from(bytes / KEEP_BYTES_PER_S).unwrap_or(u64::MAX);
    KEEP_EVERY.max(Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_large_cache_is_written_less_often() {
        assert_eq!(pause_after(0), KEEP_EVERY);
        assert_eq!(pause_after(1 << 20), KEEP_EVERY);
        assert_eq!(pause_after(32 << 20), Duration::from_secs(256));
    }
}
