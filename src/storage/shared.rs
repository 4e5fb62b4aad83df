//! What the log's callers and its writer thread share, and the queue between them.

use std::{
    collections::VecDeque,
    fmt,
    sync::{Arc, Condvar, Mutex, PoisonError, RwLock},
};

use crate::model::Histogram;

use super::{
    error::StorageError,
    hold::Held,
    log::LogOptions,
    node::DataDir,
    poison::Poison,
    read::Places,
    record::{Record, RecordId},
    segment::Segment,
    space::Gauge,
    tail::Tail,
    vote::Vote,
    wire::{lock, read, write},
};

/// Told once how a request ended. Runs on the writer thread, so it must be quick and must not wait for the log.
pub type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// Bytes that may wait for the writer; an append beyond them blocks its caller.
pub(super) const WAITING_BYTES_MAX: usize = 32 << 20;

/// Bounds of the time a flush takes: a good disk needs well under a millisecond, a tired one tens.
const FSYNC_MICROS: [u64; 14] = [
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
    5_000_000,
];

/// A request to the writer thread.
pub(super) enum Command {
    Append { records: Vec<Arc<Record>>, committed: u64, bytes: usize, done: Done },
    Vote { vote: Vote, done: Done },
    Truncate { index: u64, done: Done },
    Purge { up_to: RecordId, done: Done },
}

impl Command {
    pub(super) fn fail(self, error: StorageError) {
        match self {
            Command::Append { done, .. }
            | Command::Vote { done, .. }
            | Command::Truncate { done, .. }
            | Command::Purge { done, .. } => done(Err(error)),
        }
    }
}

/// Callers' view of the log: it runs ahead of the disk by what waits in the queue.
pub(super) struct Core {
    queue: VecDeque<Command>,
    waiting_bytes: usize,
    closed: bool,
    /// Truncations that wait, and the lowest index they cut at: from there on the disk is not to be believed.
    cuts: (u64, u64),
    /// How often the log was truncated.
    pub(super) truncations: u64,
    pub(super) last: Option<RecordId>,
    pub(super) written: Option<u64>,
    pub(super) purged: Option<RecordId>,
    pub(super) vote: Option<Vote>,
}

impl Core {
    /// The index the next append must start with.
    fn next(&self) -> u64 {
        let after = |id: Option<RecordId>| id.map_or(0, |id| id.index + 1);
        after(self.last).max(after(self.purged))
    }
}

/// State behind every clone of the handle.
pub(super) struct Shared {
    pub(super) dir: DataDir,
    pub(super) options: LogOptions,
    pub(super) poison: Poison,
    pub(super) gauge: Gauge,
    /// How long each flush waited for the disk, in microseconds.
    pub(super) fsyncs: Histogram,
    pub(super) places: Places,
    pub(super) held: Held,
    core: Mutex<Core>,
    work: Condvar,
    room: Condvar,
    tail: RwLock<Tail>,
    segments: RwLock<Vec<Arc<Segment>>>,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Log").field("dir", &self.dir).field("poison", &self.poison).finish_non_exhaustive()
    }
}

/// What recovery hands to a new log.
pub(super) struct Start {
    pub(super) segments: Vec<Arc<Segment>>,
    pub(super) last: Option<RecordId>,
    pub(super) purged: Option<RecordId>,
    pub(super) vote: Option<Vote>,
}

impl Shared {
    pub(super) fn new(dir: DataDir, options: LogOptions, start: Start) -> Result<Shared, StorageError> {
        let free = dir
            .vfs()
            .free_bytes(dir.path())
            .map_err(|error| StorageError::io("measure the free space of", dir.path(), error))?;
        let core = Core {
            queue: VecDeque::new(),
            waiting_bytes: 0,
            closed: false,
            cuts: (0, u64::MAX),
            truncations: 0,
            last: start.last,
            written: start.last.map(|id| id.index),
            purged: start.purged,
            vote: start.vote,
        };
        let tail = Tail::new(core.next(), options.tail_cache_bytes);
        Ok(Shared {
            gauge: Gauge::new(options.reserve_bytes, free),
            fsyncs: Histogram::new(&FSYNC_MICROS),
            poison: Poison::default(),
            places: Places::default(),
            held: Held::default(),
            core: Mutex::new(core),
            work: Condvar::new(),
            room: Condvar::new(),
            tail: RwLock::new(tail),
            segments: RwLock::new(start.segments),
            dir,
            options,
        })
    }

    pub(super) fn core<T>(&self, look: impl FnOnce(&mut Core) -> T) -> T {
        look(&mut lock(&self.core))
    }

    pub(super) fn tail<T>(&self, look: impl FnOnce(&Tail) -> T) -> T {
        look(&read(&self.tail))
    }

    pub(super) fn segments<T>(&self, look: impl FnOnce(&[Arc<Segment>]) -> T) -> T {
        look(&read(&self.segments))
    }

    pub(super) fn find_segment(&self, id: u64) -> Option<Arc<Segment>> {
        self.segments(|segments| segments.iter().find(|segment| segment.header.id == id).map(Arc::clone))
    }

    pub(super) fn change_segments<T>(&self, change: impl FnOnce(&mut Vec<Arc<Segment>>) -> T) -> T {
        change(&mut write(&self.segments))
    }

    /// Queues an append and makes its entries readable; blocks while too many bytes wait.
    pub(super) fn append(&self, records: Vec<Arc<Record>>, committed: u64, done: Done) {
        let bytes = records.iter().fold(0usize, |sum, record| sum.saturating_add(record.encoded_len()));
        let mut core = lock(&self.core);
        while core.waiting_bytes > 0
            && core.waiting_bytes.saturating_add(bytes) > WAITING_BYTES_MAX
            && !core.closed
            && self.poison.fault().is_none()
        {
            core = self.room.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
        let mut term = core.last.map_or(0, |id| id.term);
        let mut refusal = self.refusal(&core);
        for (expected, record) in (core.next()..).zip(&records) {
            if refusal.is_none() {
                refusal = record.refusal();
            }
            if refusal.is_none() && (record.index != expected || record.term < term) {
                refusal = Some(StorageError::OutOfOrder { expected, given: record.index });
            }
            term = record.term;
        }
        if let Some(error) = refusal {
            drop(core);
            return done(Err(error));
        }
        if let Some(newest) = records.last() {
            core.last = Some(newest.id());
        }
        let mut tail = write(&self.tail);
        records.iter().for_each(|record| tail.push(Arc::clone(record)));
        // While a truncation waits, `written` may speak of what it cuts off.
        tail.evict(core.written.filter(|_| core.cuts.0 == 0));
        drop(tail);
        core.waiting_bytes += bytes;
        core.queue.push_back(Command::Append { records, committed, bytes, done });
        self.work.notify_one();
    }

    /// Queues a truncation; the entries are out of sight when this returns.
    pub(super) fn truncate(&self, index: u64, done: Done) {
        let mut core = lock(&self.core);
        let refusal = self.refusal(&core).or_else(|| {
            let purged = core.purged.filter(|purged| index <= purged.index)?;
            Some(StorageError::Refused(format!(
                "entry {index} is purged, entries up to {} are",
                purged.index
            )))
        });
        if let Some(error) = refusal {
            drop(core);
            return done(Err(error));
        }
        if core.last.is_some_and(|last| last.index >= index) {
            drop(core);
            // The entry before the cut may be on disk only, so it is looked up outside the lock.
            let before = match index.checked_sub(1).map(|before| self.id_at(before)).transpose() {
                Ok(before) => before.flatten(),
                Err(error) => return done(Err(error)),
            };
            core = lock(&self.core);
            core.last = before.or(core.purged);
            core.cuts.1 = core.cuts.1.min(index);
            write(&self.tail).cut(index);
            self.places.clear();
        }
        core.cuts.0 += 1;
        core.truncations += 1;
        core.queue.push_back(Command::Truncate { index, done });
        self.work.notify_one();
    }

    /// Queues a request that changes nothing readers see before it is durable.
    pub(super) fn submit(&self, command: Command) {
        let mut core = lock(&self.core);
        if let Some(error) = self.refusal(&core) {
            drop(core);
            return command.fail(error);
        }
        core.queue.push_back(command);
        self.work.notify_one();
    }

    fn refusal(&self, core: &Core) -> Option<StorageError> {
        self.poison.refusal().or_else(|| core.closed.then_some(StorageError::Closed))
    }

    /// Waits for work; an empty answer means that the log is closed and drained.
    pub(super) fn take(&self) -> VecDeque<Command> {
        let mut core = lock(&self.core);
        while core.queue.is_empty() && !core.closed {
            core = self.work.wait(core).unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::take(&mut core.queue)
    }

    /// After a flush: these bytes no longer wait, and everything up to `last` is durable.
    pub(super) fn flushed(&self, bytes: usize, last: u64) {
        let mut core = lock(&self.core);
        core.waiting_bytes = core.waiting_bytes.saturating_sub(bytes);
        core.written = Some(last);
        self.room.notify_all();
    }

    /// After a truncation: everything up to `last` is durable, and nothing else is on disk.
    pub(super) fn cut(&self, last: Option<RecordId>) {
        let mut core = lock(&self.core);
        core.written = last.map(|id| id.index);
        core.cuts.0 = core.cuts.0.saturating_sub(1);
        if core.cuts.0 == 0 {
            core.cuts.1 = u64::MAX;
        }
    }

    /// From this index on only the tail cache may answer.
    pub(super) fn disk_end(&self) -> u64 {
        lock(&self.core).cuts.1
    }

    /// After a failed append: nothing behind `last` was written, so nothing behind it is shown any more.
    pub(super) fn roll_back(&self, bytes: usize, last: Option<RecordId>) {
        let mut core = lock(&self.core);
        core.waiting_bytes = core.waiting_bytes.saturating_sub(bytes);
        core.last = last;
        let next = core.next();
        write(&self.tail).cut(next);
        self.room.notify_all();
    }

    /// These bytes no longer wait; nothing else changes.
    pub(super) fn let_go(&self, bytes: usize) {
        let mut core = lock(&self.core);
        core.waiting_bytes = core.waiting_bytes.saturating_sub(bytes);
        self.room.notify_all();
    }

    /// Ends the queue; what waits is still done.
    pub(super) fn close(&self) {
        lock(&self.core).closed = true;
        self.work.notify_all();
        self.room.notify_all();
    }

    /// Throws the poison switch and wakes whoever waits for room.
    pub(super) fn throw(&self, fault: StorageError) {
        self.poison.throw(fault);
        let _core = lock(&self.core);
        self.room.notify_all();
    }
}
