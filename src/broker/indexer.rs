//! Keeps the queue index in step with the log, in log order, and makes it again when it cannot be trusted.
//!
//! Live, every applied batch is fed right after it was applied. After a start, or when the index was found damaged, one
//! thread streams the log from where the index ends; batches applied meanwhile are left to it, until it has caught up.
//!
//! Under the disk reserve the index is not written: entries wait in memory, up to a limit. From there on the log is the
//! queue: receivers get what is indexed, and the thread that catches up goes on once there is space.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::Thread;

use crate::machine::{Batch, Fact};
use crate::model::{Position, TopicId};
use crate::storage::index::{Feed, Index, IndexError, Opened};
use crate::storage::{Log, RecordKind, Space};

use super::tails::Tails;

/// Bytes of log read in one go while catching up.
const CHUNK_BYTES: usize = 4 << 20;

/// After the log could not be read it is tried again this much later.
const RETRY: std::time::Duration = std::time::Duration::from_secs(1);

/// Feeds the index.
pub(super) struct Indexer {
    index: Index,
    log: Log,
    /// Who wants to hear of new entries.
    tails: Arc<Tails>,
    state: Mutex<State>,
    distrusted: AtomicBool,
    applied: AtomicU64,
    stopping: AtomicBool,
    /// The thread that catches up.
    catcher: OnceLock<Thread>,
    /// Why it cannot go on, named, while it cannot.
    stuck: Mutex<Option<String>>,
    /// The free space as that thread saw it last.
    space: Mutex<Space>,
}

struct State {
    /// The next log index to feed.
    next: u64,
    /// The last batch that took effect before `next`; none when that is not known.
    base: Option<u64>,
    /// Whether batches are fed as they are applied.
    live: bool,
    /// The newest segment that the index was told of, by its first index.
    told: Option<u64>,
}

impl Indexer {
    /// An indexer that goes on where `opened` says that the index ends.
    pub(super) fn new(index: Index, log: Log, opened: &Opened) -> Indexer {
        let start = log.first_kept().unwrap_or(0);
        // The first batch of a log starts a leadership and needs no base, so 0 only ever says that it was not known.
        let base = Some(opened.base).filter(|base| *base > 0);
        let (next, base) = if opened.rebuild { (start, None) } else { (opened.trusted_up_to + 1, base) };
        Indexer {
            index,
            log,
            tails: Arc::default(),
            state: Mutex::new(State { next, base, live: false, told: None }),
            distrusted: AtomicBool::new(false),
            applied: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            catcher: OnceLock::new(),
            stuck: Mutex::default(),
            space: Mutex::new(Space::Open),
        }
    }

    pub(super) fn index(&self) -> &Index {
        &self.index
    }

    pub(super) fn tails(&self) -> &Arc<Tails> {
        &self.tails
    }

    /// Up to which log index the index is made.
    pub(super) fn indexed_up_to(&self) -> u64 {
        self.lock().next.saturating_sub(1)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in an entry that was just applied; `batch` is none when it did not take effect or holds no batch. Never
    /// waits for the index's disk: when that falls behind, the thread that catches up takes over, and the log is the
    /// queue.
    pub(super) fn applied(&self, index: u64, batch: Option<&Batch>) {
        self.note_applied(index);
        let mut state = self.lock();
        if !state.live {
            return;
        }
        if !self.index.has_room() {
            state.live = false;
            drop(state);
            if let Some(catcher) = self.catcher.get() {
                catcher.unpark();
            }
            return;
        }
        self.feed(&mut state, index, batch);
    }

    /// Notes how far the machine is.
    pub(super) fn note_applied(&self, index: u64) {
        self.applied.fetch_max(index, Ordering::AcqRel);
    }

    fn feed(&self, state: &mut State, index: u64, batch: Option<&Batch>) {
        self.tell_segments(state);
        if batch.is_some() {
            state.base = Some(index);
        }
        if let Err(error) = self.feed_batch(state, index, batch) {
            tracing::error!(%error, "the queue index is made again from the log");
            self.distrust();
        }
        state.next = index + 1;
        if let Some(batch) = batch {
            self.tails.fed(batch);
        }
    }

    fn feed_batch(&self, state: &State, index: u64, batch: Option<&Batch>) -> Result<(), IndexError> {
        let feed = Feed::InOrder { index, base: state.base.unwrap_or(0) };
        let Some(batch) = batch else { return self.index.feed(feed, []) };
        let keys: Vec<_> = keys(index, batch).collect();
        if !keys.is_empty() {
            self.index.feed_keys(keys)?;
        }
        self.index.feed(feed, batch.queue_entries(index))?;
        for fact in &batch.facts {
            match fact {
                Fact::TopicDeleted { id } => self.index.forget_topic(*id),
                Fact::Kept { topic, firsts } => {
                    for (queue, first) in firsts {
                        self.index.forget_below(*topic, *queue, *first);
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Has the index made again from the oldest kept entry.
    pub(super) fn distrust(&self) {
        self.distrusted.store(true, Ordering::Release);
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }

    /// What `/readyz` says of the index: name, passed, what was found.
    pub(super) fn check(&self) -> (&'static str, bool, String) {
        let indexed = self.indexed_up_to();
        let applied = self.applied.load(Ordering::Acquire);
        let stuck = self.stuck.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let passed = stuck.is_none();
        let words = if let Some(why) = stuck {
            format!("stopped at log index {indexed}, and nothing behind it is delivered: {why}")
        } else if self.is_live() {
            format!("made up to log index {indexed}")
        } else if self.index.is_paused() && !self.index.has_room() {
            format!("made up to log index {indexed} of {applied}; the rest waits for disk space")
        } else {
            format!(
                "being made: {indexed} of {applied} log entries; what is not indexed yet is delivered later"
            )
        };
        ("index", passed, words)
    }

    /// Whether every applied batch is in the index.
    pub(super) fn is_live(&self) -> bool {
        self.lock().live && !self.distrusted.load(Ordering::Acquire)
    }

    /// Runs on a thread of its own until stopped: catches up, then watches for distrust. `progress` is called now and
    /// then while catching up, and once it is done.
    pub(super) fn run(self: Arc<Self>, progress: impl Fn()) {
        let _ = self.catcher.set(std::thread::current());
        while !self.stopping.load(Ordering::Acquire) {
            self.tell_segments(&mut self.lock());
            self.watch_space(&progress);
            if self.distrusted.swap(false, Ordering::AcqRel) {
                let mut state = self.lock();
                if let Err(error) = self.index.reset() {
                    tracing::error!(%error, "the queue index cannot be made again; receiving from a backlog stops");
                    self.distrust();
                }
                (state.next, state.base, state.live) = (self.log.first_kept().unwrap_or(0), None, false);
            }
            if !self.lock().live {
                let caught_up = self.catch_up(&progress);
                let idle = matches!(caught_up, Ok(false));
                *self.stuck.lock().unwrap_or_else(PoisonError::into_inner) =
                    caught_up.as_ref().err().map(ToString::to_string);
                if let Err(error) = caught_up {
                    tracing::error!(%error, "the log cannot be read while the index is made");
                    std::thread::park_timeout(RETRY);
                }
                if !idle {
                    progress();
                }
            }
            std::thread::park_timeout(std::time::Duration::from_millis(500));
        }
    }

    /// Tells the index of new log segments, so that it can say which ones are still needed. Before anything in
    /// them is fed:
    /// told late, a segment counts as needed for what stands in the one before.
    fn tell_segments(&self, state: &mut State) {
        let newest = self.log.newest_segment();
        if newest <= state.told {
            return;
        }
        for segment in self.log.segments() {
            if Some(segment.first_index) > state.told {
                self.index.segment_started(segment.first_index);
            }
        }
        state.told = newest;
    }

    /// Keeps the index off a disk that is nearly full, and looks whether there is space again.
    fn watch_space(&self, progress: &impl Fn()) {
        let mut known = self.space.lock().unwrap_or_else(PoisonError::into_inner);
        if *known != Space::Open
            && let Err(error) = self.log.measure_space()
        {
            tracing::warn!(%error, "free disk space is not known");
        }
        let now = self.log.space();
        if now != *known {
            self.index.pause_feed_to_disk(now != Space::Open);
            *known = now;
            progress();
        }
    }

    /// A stretch of the log: index, and the batch if the entry holds one.
    fn read(&self, from: u64, to: u64) -> Result<Vec<(u64, Option<Batch>)>, CatchUpError> {
        let records = self.log.read(from, to, CHUNK_BYTES)?;
        let decode = |record: &crate::storage::Record| match record.kind {
            RecordKind::Batch => Batch::decode(&record.parts)
                .map(|batch| (record.index, Some(batch)))
                .map_err(|error| CatchUpError::Decode { index: record.index, error }),
            _ => Ok((record.index, None)),
        };
        records.iter().map(|record| decode(record)).collect()
    }

    /// The first index from `from` on that a kept segment may hold.
    fn next_kept(&self, from: u64) -> u64 {
        let segments = self.log.segments();
        let later = segments.iter().map(|segment| segment.first_index).find(|first| *first > from);
        later.unwrap_or(u64::MAX)
    }

    /// Waits for room in the index. False: none comes before there is disk space.
    fn has_room(&self) -> bool {
        self.index.wait_for_room();
        self.index.has_room()
    }

    /// Feeds until the index is live, or there is no room for more. Answers whether anything came of it.
    fn catch_up(&self, progress: &impl Fn()) -> Result<bool, CatchUpError> {
        if !self.has_room() {
            return Ok(false);
        }
        let mut moved = false;
        let from = self.lock().next;
        let to = self.applied.load(Ordering::Acquire);
        if to > from + 10_000 {
            tracing::info!(from, to, "making the queue index from the log");
        }
        let mut chunks = 0u64;
        loop {
            if self.stopping.load(Ordering::Acquire) || self.distrusted.load(Ordering::Acquire) {
                return Ok(moved);
            }
            let next = self.lock().next;
            let applied = self.applied.load(Ordering::Acquire);
            if next > applied {
                // Between this look and going live nothing may be applied, so look again under the lock.
                let mut state = self.lock();
                if state.next > self.applied.load(Ordering::Acquire) {
                    state.live = true;
                    drop(state);
                    self.tails.wake_all();
                    return Ok(true);
                }
                continue;
            }
            let batches = self.read(next, applied + 1)?;
            if batches.is_empty() {
                // A gap: those segments are gone because nothing in them was live. What took effect last was in them.
                let mut state = self.lock();
                state.next = self.next_kept(next).min(applied + 1);
                state.base = None;
                continue;
            }
            for (at, (index, batch)) in batches.iter().enumerate() {
                // Not under the lock, which applying takes as well.
                if !self.has_room() {
                    return Ok(moved);
                }
                let mut state = self.lock();
                let effective = batch.as_ref().filter(|batch| {
                    let later = batches.iter().skip(at + 1).filter_map(|(_, later)| later.as_ref());
                    batch.header().took_effect(state.base, *index, later.map(Batch::header))
                });
                self.feed(&mut state, *index, effective);
                moved = true;
            }
            self.watch_space(progress);
            chunks += 1;
            if chunks.is_multiple_of(16) {
                progress();
            }
        }
    }
}

/// The business keys in a batch at `index`, hashed, and the messages that carry them.
fn keys(index: u64, batch: &Batch) -> impl Iterator<Item = (TopicId, u64, Position)> + '_ {
    batch.facts.iter().zip(0u16..).flat_map(move |(fact, slot)| {
        let produced = match fact {
            Fact::Produced(produced) => Some(produced),
            _ => None,
        };
        let topic = produced.map_or(TopicId(0), |produced| produced.topic);
        let keys = produced.map(|produced| produced.message.attributes.keys.as_slice()).unwrap_or_default();
        keys.iter().map(move |key| (topic, crate::model::key_hash(key), Position { index, slot }))
    })
}

/// Why the log could not be read.
#[derive(Debug, thiserror::Error)]
enum CatchUpError {
    #[error(transparent)]
    Storage(#[from] crate::storage::StorageError),
    #[error("entry {index}: {error}")]
    Decode { index: u64, error: crate::model::wire::DecodeError },
}
