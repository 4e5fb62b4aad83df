//! The handle of the commit log.
//!
//! One writer thread owns the files. Callers queue requests; the thread takes everything that waits, encodes it into
//! one buffer, writes it with one call, syncs once, and answers in order. Vote, truncation and purge pass through the
//! same queue, so the order of calls is the order on disk.

use std::{
    fmt,
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use bytes::Bytes;

use crate::model::{Distribution, Timestamp};

use super::{
    backup::Backup,
    error::StorageError,
    images::Images,
    node::DataDir,
    record::{Record, RecordId},
    recover::{self, Recovered},
    segment::SegmentInfo,
    shared::{Command, Done, Shared},
    space::Space,
    trail::{Touches, Trail},
    vote::Vote,
    wire::{lock, wide},
    writer,
};

/// Sizes of the log. All in bytes.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// A segment is closed when the next append would make it larger.
    pub segment_bytes: u64,
    /// Newest entries kept in memory, beside what is not written yet.
    pub tail_cache_bytes: usize,
    /// Free space below which producers are refused, beside room for two images ([`Log::reserve_for_images`]):
    /// two steps of
    /// reserving ahead and 16 MiB.
    pub reserve_bytes: u64,
    /// Space is reserved ahead in steps of this size, at most 8 MiB.
    pub allocate_bytes: u64,
}

impl Default for LogOptions {
    fn default() -> LogOptions {
        LogOptions {
            segment_bytes: 128 << 20,
            tail_cache_bytes: 64 << 20,
            reserve_bytes: 32 << 20,
            allocate_bytes: 8 << 20,
        }
    }
}

/// A cheap handle; the writer thread ends when the last clone is dropped or [`Log::close`] is called.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.close();
        self.join();
    }
}

impl Owner {
    fn join(&self) {
        let thread = lock(&self.thread).take();
        // The last handle may be dropped by a callback of the writer itself, which cannot wait for itself.
        if let Some(thread) = thread.filter(|thread| thread.thread().id() != std::thread::current().id())
            && thread.join().is_err()
        {
            tracing::error!("the log writer panicked");
        }
    }
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.shared.fmt(f)
    }
}

impl Log {
    /// Recovers the log of an opened directory and starts its writer thread.
    ///
    /// Nothing is reported that a second crash could still take away. Errors: `Damaged` and `LostLog` when something
    /// durable is harmed or gone; then nothing was changed.
    pub fn open(dir: &DataDir, options: LogOptions) -> Result<(Log, Recovered), StorageError> {
        let (engine, start, recovered) = recover::recover(dir, &options)?;
        let shared = Arc::new(Shared::new(dir.clone(), options, start)?);
        let thread = writer::spawn(Arc::clone(&shared), engine)?;
        let owner = Owner { shared: Arc::clone(&shared), thread: Mutex::new(Some(thread)) };
        Ok((Log { shared, owner: Arc::new(owner) }, recovered))
    }

    /// Appends entries that follow the log; `done` is told on the writer thread after they are fsynced, or why not.
    ///
    /// The entries are readable when this returns. `committed`, the highest index known to be agreed, rides along.
    /// Blocks while more than 32 MiB wait to be written. The entries of one call are written all or none.
    /// `Full` leaves the log usable: neither these entries nor any queued behind them were written.
    pub fn append(&self, records: Vec<Record>, committed: u64, done: Done) {
        self.shared.append(records.into_iter().map(Arc::new).collect(), committed, done);
    }

    /// Makes a vote durable, in order with appends.
    pub fn save_vote(&self, vote: Vote, done: Done) {
        self.shared.submit(Command::Vote { vote, done });
    }

    /// The last durable vote.
    pub fn vote(&self) -> Option<Vote> {
        self.shared.core(|core| core.vote)
    }

    /// Removes `index` and everything after it. Purged entries cannot be removed.
    pub fn truncate_from(&self, index: u64, done: Done) {
        self.shared.truncate(index, done);
    }

    /// Remembers, durably, that the agreement no longer needs entries up to here. Deletes nothing and never goes back.
    pub fn purge(&self, up_to: RecordId, done: Done) {
        self.shared.submit(Command::Purge { up_to, done });
    }

    /// The last durable purge.
    pub fn purged(&self) -> Option<RecordId> {
        self.shared.core(|core| core.purged)
    }

    /// The last entry, durable or not; after a purge beyond the log, that entry.
    pub fn last(&self) -> Option<RecordId> {
        self.shared.core(|core| core.last.max_by_index(core.purged))
    }

    /// Consecutive entries of `from..to_exclusive`: at least one if the first exists, then up to about `max_bytes`
    /// of encoded size. Empty when `from` is not kept or beyond the end. Every checksum is checked.
    pub fn read(
        &self,
        from: u64,
        to_exclusive: u64,
        max_bytes: usize,
    ) -> Result<Vec<Arc<Record>>, StorageError> {
        self.shared.read_range(from, to_exclusive, max_bytes)
    }

    /// One part of an entry (0 is its header, `slot + 1` its fact at `slot`), its own checksum checked.
    /// `None`: the entry is not kept, not there yet, or has no such part.
    pub fn part(&self, index: u64, slot_plus_1: usize) -> Result<Option<Bytes>, StorageError> {
        self.shared.part(index, slot_plus_1)
    }

    /// The same, only if it is in memory; never waits for the disk.
    pub fn part_in_memory(&self, index: u64, slot_plus_1: usize) -> Option<Bytes> {
        self.shared.part_in_memory(index, slot_plus_1)
    }

    /// All segments, oldest first.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.shared.segments(|segments| segments.iter().map(|segment| segment.info()).collect())
    }

    /// Deletes one sealed segment that lies entirely at or below the purged index. Gaps are fine.
    pub fn remove_segment(&self, id: u64) -> Result<(), StorageError> {
        writer::remove_segment(&self.shared, id)
    }

    /// Whether a backup still has to copy this segment; it learns that somebody would rather remove it.
    pub fn holds_back(&self, id: u64) -> bool {
        self.shared.held.holds_back(id)
    }

    /// Begins a backup of everything that is durable now, and of the newest image. Blocking: reads that image whole.
    /// One at a time, of a log; segments it still has to copy are not removed.
    pub fn backup(&self, images: &Images, taken_at: Timestamp) -> Result<Backup, StorageError> {
        Backup::begin(&self.shared, images, taken_at)
    }

    /// Reads one segment whole and checks every checksum and the chain, calling `pace` with the bytes of each record
    /// so that the caller can slow it down; `pace` answers `false` to stop early. For the background scrub.
    pub fn scrub_segment(&self, id: u64, pace: &mut dyn FnMut(u64) -> bool) -> Result<(), StorageError> {
        super::scrub::scrub(&self.shared, id, pace)
    }

    /// Makes the trail of one sealed segment, which is read whole for it, `pace` as in [`Log::scrub_segment`]. `false`:
    /// stopped early, or the segment is gone or not sealed. Blocking.
    pub fn lay_trail(
        &self,
        id: u64,
        touches: &dyn Touches,
        pace: &mut dyn FnMut(u64) -> bool,
    ) -> Result<bool, StorageError> {
        self.shared.lay_trail(id, touches, pace)
    }

    /// The trail of one sealed segment; none when there is none that can be believed. Blocking.
    pub fn trail(&self, id: u64, rules: u32) -> Result<Option<Trail>, StorageError> {
        self.shared.trail(id, rules)
    }

    /// Removes the trail of one segment: nothing is lost with it, it can be made again.
    pub fn remove_trail(&self, id: u64) -> Result<(), StorageError> {
        self.shared.remove_trail(id)
    }

    /// Removes the trails of segments that are gone.
    pub fn sweep_trails(&self) -> Result<(), StorageError> {
        self.shared.sweep_trails()
    }

    /// What [`Log::keep_history`] kept last, as it is on the disk: nobody vouches for it. None when there is nothing,
    /// or more than `most` bytes. Blocking.
    pub fn kept_history(&self, most: usize) -> Result<Option<Vec<u8>>, StorageError> {
        self.shared.kept_history(most)
    }

    /// Keeps bytes that may be lost at any time, in the place of those kept before. Not flushed. Blocking.
    pub fn keep_history(&self, bytes: &[u8]) -> Result<(), StorageError> {
        self.shared.keep_history(bytes)
    }

    /// Free bytes of the file system when last measured.
    pub fn free_space(&self) -> u64 {
        self.shared.gauge.free()
    }

    /// Bytes of the whole file system; none when it does not say. Asks the system, so not for async threads.
    #[must_use]
    pub fn total_space(&self) -> Option<u64> {
        self.shared.dir.vfs().total_bytes(self.shared.dir.path()).ok().flatten()
    }

    /// How long the flushes of the log waited for the disk so far, in microseconds.
    #[must_use]
    pub fn fsyncs(&self) -> Distribution {
        self.shared.fsyncs.read()
    }

    /// Makes the reserve large enough for two more images of this size, in bytes, so that a nearly full disk
    /// never keeps
    /// the log from being purged.
    pub fn reserve_for_images(&self, image_bytes: u64) {
        let images = image_bytes.saturating_mul(2);
        self.shared.gauge.set_reserve(self.shared.options.reserve_bytes.saturating_add(images));
    }

    /// How much of the reserve is left, as last measured.
    pub fn space(&self) -> Space {
        self.shared.gauge.state()
    }

    /// Measures the free space now; the writer does so by itself whenever it reserves more.
    pub fn measure_space(&self) -> Result<Space, StorageError> {
        let path = self.shared.dir.path();
        let free = self
            .shared
            .dir
            .vfs()
            .free_bytes(path)
            .map_err(|error| StorageError::io("measure the free space of", path, error))?;
        self.shared.gauge.measured(free);
        Ok(self.space())
    }

    /// The fault that stopped this log, if one did.
    pub fn poisoned(&self) -> Option<Arc<StorageError>> {
        self.shared.poison.fault()
    }

    /// Calls `listener` once when a fault stops this log; at once when one already has.
    pub fn on_poison(&self, listener: impl FnOnce(Arc<StorageError>) + Send + 'static) {
        self.shared.poison.listen(Box::new(listener));
    }

    /// Bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments().iter().map(|segment| segment.bytes).sum()
    }

    /// Entries that exist from here on: the number of the first one still kept, as far as segments tell.
    pub fn first_kept(&self) -> Option<u64> {
        self.segments().iter().find(|segment| segment.last_index.is_some()).map(|segment| segment.first_index)
    }

    /// The index the newest segment begins with.
    pub fn newest_segment(&self) -> Option<u64> {
        self.shared.segments(|segments| segments.last().map(|segment| segment.header.base))
    }

    /// The directory it is in.
    #[cfg(test)]
    pub(super) fn dir(&self) -> &DataDir {
        &self.shared.dir
    }

    /// Does what waits, then ends the writer thread. Later requests are answered `Closed`.
    pub fn close(self) {
        self.shared.close();
        self.owner.join();
    }
}

/// The later of two optional ids.
pub(super) trait LaterId {
    fn max_by_index(self, other: Option<RecordId>) -> Option<RecordId>;
}

impl LaterId for Option<RecordId> {
    fn max_by_index(self, other: Option<RecordId>) -> Option<RecordId> {
        match (self, other) {
            (Some(own), Some(other)) => Some(if own.index >= other.index { own } else { other }),
            (own, other) => own.or(other),
        }
    }
}

/// How far `length` bytes reach.
pub(super) fn reach(offset: u64, length: usize) -> u64 {
    offset.saturating_add(wide(length))
}
