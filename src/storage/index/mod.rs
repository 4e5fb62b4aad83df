//! The index: where each queue's entries stand, and nothing that the log does not also say. The only place that knows
//! sled.
//!
//! 1. After a batch is applied its queue entries are [`Index::feed`]ed. They can be read at once, from memory.
//! 2. One thread writes full blocks to sled, many at a time, and every few seconds of activity everything else too;
//!    then
//!    it fsyncs sled's files itself and writes the mark: up to here the index can be trusted.
//! 3. At start, [`Index::open`] compares the mark with sled. Behind the mark the owner feeds from the log again, which
//!    may repeat what is already there. In any doubt the directory is thrown away and everything is fed again.
//!
//! A block that turns out to be damaged later is an [`IndexError::Damaged`]: from then on nothing is answered until the
//! owner calls [`Index::reset`] and feeds from the log. Losing the index loses nothing.

mod block;
mod deadlines;
mod keys;
mod mark;
mod memory;
mod pins;
mod read;
mod sled_store;
#[cfg(test)]
mod tests;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::model::{QueueEntry, QueueNo, TopicId};

use memory::State;
use pins::Pins;

/// How an index is opened.
#[derive(Clone, Debug)]
pub struct IndexOptions {
    /// sled's cache of pages, in bytes.
    pub cache_bytes: u64,
    /// Most bytes of memory that entries take which wait for the disk; then feeding waits too.
    pub pending_bytes: usize,
    /// Most bytes of memory that entries take while writing is paused: about six million entries without keys. Feeding
    /// does not wait then; whoever feeds stops when there is no room ([`Index::has_room`]) and goes on from the log
    /// later.
    pub paused_bytes: usize,
    /// How long entries wait at most before they are on disk and marked, while it is fed.
    pub mark_every: Duration,
    /// How long sled may take to open before it counts as damaged.
    pub open_limit: Duration,
    /// Which log it is fed from; the index of another log is not trusted.
    pub log: u64,
    /// The last applied index of that log; an index that is ahead of it is not trusted.
    pub log_last: u64,
}

impl Default for IndexOptions {
    fn default() -> IndexOptions {
        IndexOptions {
            cache_bytes: 32 << 20,
            pending_bytes: 16 << 20,
            paused_bytes: 64 << 20,
            mark_every: Duration::from_secs(2),
            open_limit: Duration::from_secs(20),
            log: 0,
            log_last: u64::MAX,
        }
    }
}

/// What was found at opening.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Every log entry up to this index is in it; feed from the next one on. 0 when it is empty.
    pub trusted_up_to: u64,
    /// The caller's `base` that went with that index.
    pub base: u64,
    /// It was thrown away (or never there) and must be fed from the start of the log.
    pub rebuild: bool,
    /// Why, for people; empty when nothing was wrong.
    pub why: String,
}

/// Why the index did not answer. Nothing is lost: all of it can be fed again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It holds something that cannot be; [`Index::reset`] it and feed it from the log.
    #[error("the index is damaged and has to be made again from the log: {0}")]
    Damaged(String),
    /// Its directory cannot be used.
    #[error("the index directory cannot be used: {0}")]
    Directory(String),
}

/// How a feed moves [`Index::indexed_up_to`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Everything up to `index` has been fed now.
    InOrder {
        /// The log entry that these queue entries come from.
        index: u64,
        /// What the caller wants back with the mark: the entry that last took effect.
        base: u64,
    },
    /// Entries from further ahead while older ones are still being fed: they can be read, and the mark stays. Feed them
    /// (or an empty [`Feed::InOrder`] at the last of them) again once the older ones are in.
    Ahead,
}

/// A handle on the index; clones share it. The last one to go stops it as it is, as a crash would; [`Index::close`]
/// stops it in order.
#[derive(Clone, Debug)]
pub struct Index {
    shared: Arc<Shared>,
    _owner: Arc<Owner>,
}

#[derive(Debug)]
struct Shared {
    dir: PathBuf,
    options: IndexOptions,
    /// One lock for all that is in memory: it is held for microseconds, or for one read of sled while a block is
    /// completed that was written before.
    state: Mutex<State>,
    /// Held while the disk is written, so that a reset does not meet a write.
    writing: Mutex<()>,
    /// There is something for the writer.
    work: Condvar,
    /// There is room again, or a mark, or a reset.
    done: Condvar,
}

#[derive(Debug)]
struct Owner {
    shared: Arc<Shared>,
    writer: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.state().stop = true;
        self.shared.work.notify_all();
        self.shared.done.notify_all();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The state, once not too much waits for the disk.
    fn with_room(&self) -> MutexGuard<'_, State> {
        let mut state = self.state();
        while !state.takes_more(&self.options) {
            self.work.notify_one();
            state = Shared::wait(&self.done, state);
        }
        state
    }

    fn wait<'a>(condition: &Condvar, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        condition.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Stops answering, and makes sure that no later start trusts what is there.
    fn damage(&self, why: String) -> IndexError {
        if let Err(error) = mark::remove(&self.dir) {
            tracing::warn!(%error, "the mark of the damaged index could not be removed");
        }
        let mut state = self.state();
        if state.damaged.is_none() {
            tracing::error!(why, "the index is damaged; it has to be made again from the log");
            state.damaged = Some(why.clone());
        }
        drop(state);
        self.work.notify_all();
        self.done.notify_all();
        IndexError::Damaged(why)
    }
}

impl Index {
    /// Opens the index in `dir`, or makes an empty one there when there is none that can be trusted.
    ///
    /// # Errors
    /// When the directory cannot be used at all.
    pub fn open(dir: &Path, options: IndexOptions) -> Result<(Index, Opened), IndexError> {
        std::fs::create_dir_all(dir)
            .map_err(|error| IndexError::Directory(format!("{}: {error}", dir.display())))?;
        let trusted =
            sled_store::open_trusted(dir, &options).and_then(|(trees, mark)| State::new(trees, mark));
        let (state, opened) = match trusted {
            Ok(state) => {
                let (trusted_up_to, base) = (state.up_to, state.base);
                (state, Opened { trusted_up_to, base, rebuild: false, why: String::new() })
            }
            Err(why) => {
                let state = State::empty(dir, &options)?;
                (state, Opened { trusted_up_to: 0, base: 0, rebuild: true, why })
            }
        };
        mark::sweep(dir, state.mark.epoch);
        let shared = Arc::new(Shared {
            dir: dir.to_owned(),
            options,
            state: Mutex::new(state),
            writing: Mutex::new(()),
            work: Condvar::new(),
            done: Condvar::new(),
        });
        let for_writer = shared.clone();
        let writer = std::thread::Builder::new()
            .name("index-writer".to_owned())
            .spawn(move || writer::run(&for_writer))
            .map_err(|error| IndexError::Directory(error.to_string()))?;
        let owner = Arc::new(Owner { shared: shared.clone(), writer: Mutex::new(Some(writer)) });
        Ok((Index { shared, _owner: owner }, opened))
    }

    /// Throws everything away and starts empty, to be fed from the start of the log.
    ///
    /// # Errors
    /// When no new directory can be made.
    pub fn reset(&self) -> Result<(), IndexError> {
        let _writing = self.shared.writing.lock().unwrap_or_else(PoisonError::into_inner);
        let directory = |error: std::io::Error| IndexError::Directory(error.to_string());
        mark::remove(&self.shared.dir).map_err(directory)?;
        let mut fresh = State::empty(&self.shared.dir, &self.shared.options)?;
        let epoch = fresh.mark.epoch;
        let mut state = self.shared.state();
        fresh.paused = state.paused;
        fresh.stop = state.stop;
        // Whoever waits for a mark of what is gone now waits no longer.
        (fresh.marks_wanted, fresh.marks_done) = (state.marks_wanted, state.marks_wanted);
        fresh.segments = std::mem::take(&mut state.segments);
        fresh.pins = fresh.segments.iter().map(|first| (*first, Pins::default())).collect();
        let old = std::mem::replace(&mut *state, fresh);
        drop(state);
        // sled writes once more when it is dropped, and what is damaged may do anything.
        let _ = std::thread::spawn(move || drop(old));
        mark::sweep(&self.shared.dir, epoch);
        self.shared.done.notify_all();
        Ok(())
    }

    /// Adds queue entries. They can be read when this returns. Entries that are there already are replaced; so feeding
    /// the same part of the log twice changes nothing. Waits while too much waits for the disk, but not while writing
    /// is paused: see [`Index::has_room`].
    ///
    /// # Errors
    /// When the index is damaged; nothing was added.
    pub fn feed(
        &self,
        feed: Feed,
        entries: impl IntoIterator<Item = (TopicId, QueueNo, QueueEntry)>,
    ) -> Result<(), IndexError> {
        let mut state = self.shared.with_room();
        state.check()?;
        let added = state.add(entries);
        match (added, feed) {
            (Ok(()), Feed::InOrder { index, base }) => {
                if index > state.up_to {
                    state.up_to = index;
                    state.base = base;
                }
            }
            (Ok(()), Feed::Ahead) => {}
            (Err(why), _) => {
                drop(state);
                return Err(self.shared.damage(why));
            }
        }
        if state.needs_writer(&self.shared.options) {
            self.shared.work.notify_one();
        }
        Ok(())
    }

    /// Whether [`Index::feed`] would not have to wait and, while writing is paused, memory is not used up. What is fed
    /// without room makes memory grow past [`IndexOptions::paused_bytes`].
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.shared.state().has_room(&self.shared.options)
    }

    /// Whether writing is paused.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.shared.state().paused
    }

    /// Waits until [`Index::feed`] would not have to. While writing is paused it returns at once, room or not.
    pub fn wait_for_room(&self) {
        drop(self.shared.with_room());
    }

    /// The log entry up to which everything is in it.
    #[must_use]
    pub fn indexed_up_to(&self) -> u64 {
        self.shared.state().up_to
    }

    /// The log entry up to which everything is in it on disk.
    #[must_use]
    pub fn marked_up_to(&self) -> u64 {
        self.shared.state().mark.up_to
    }

    /// Why it is damaged, if it is.
    #[must_use]
    pub fn damaged(&self) -> Option<String> {
        self.shared.state().damaged.clone()
    }

    /// Bytes of memory that entries take which are not (only) on disk.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.state().memory()
    }

    /// Stops writing, for when the disk is nearly full: entries wait in memory, up to [`IndexOptions::paused_bytes`],
    /// and feeding never waits.
    pub fn pause_feed_to_disk(&self, paused: bool) {
        self.shared.state().paused = paused;
        self.shared.work.notify_all();
        self.shared.done.notify_all();
    }

    /// A log segment begins at this index. To be told for every segment that stands, in order, before feeding, and for
    /// each new one before the entries in it are fed; told late, its pins are too many, never too few.
    pub fn segment_started(&self, first_index: u64) {
        let started = self.shared.state().segment_started(first_index);
        if let Err(why) = started {
            self.shared.damage(why);
        }
    }

    /// The log segment that began at this index was removed.
    pub fn segment_gone(&self, first_index: u64) {
        self.shared.state().segment_gone(first_index);
        self.shared.work.notify_one();
    }

    /// The owner found an answer that cannot be, such as a missing offset between the first kept and the last indexed
    /// one: from now on the index counts as damaged.
    pub fn doubt(&self, why: &str) -> IndexError {
        self.shared.damage(why.to_owned())
    }

    /// A topic is gone: so are its entries. Its id is never used again.
    pub fn forget_topic(&self, topic: TopicId) {
        self.shared.state().forget_topic(topic);
        self.shared.work.notify_one();
    }

    /// Entries of a queue below this offset are not needed any more; whole blocks of them go.
    pub fn forget_below(&self, topic: TopicId, queue: QueueNo, offset: u64) {
        self.shared.state().forget_below(topic, queue, offset);
        self.shared.work.notify_one();
    }

    /// Writes everything and marks it. Returns at once while writing is paused.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn flush(&self) -> Result<(), IndexError> {
        let mut state = self.shared.state();
        state.marks_wanted += 1;
        let wanted = state.marks_wanted;
        self.shared.work.notify_one();
        while state.marks_done < wanted && !state.paused && !state.stop && state.damaged.is_none() {
            state = Shared::wait(&self.shared.done, state);
        }
        state.check()
    }

    /// Stops in order: writes and marks everything, so that the next start has nothing to do. Other handles answer
    /// nothing new afterwards.
    ///
    /// # Errors
    /// When the index is damaged.
    pub fn close(self) -> Result<(), IndexError> {
        self.flush()
    }
}
