//! The commit log as openraft's log store.
//!
//! - `append` gives the entries to the log's writer thread and returns after its fdatasync, as openraft waits for that
//!   in any case.
//! - What was appended and not applied yet is also kept decoded ([`Pending`]), so applying does not decode.
//! - The vote is on disk before `save_vote` returns; it goes through the same writer as the entries, in order.
//! - `save_committed` writes nothing: the commit index rides in the next append. A restart learns it from there.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::{Bound, RangeBounds};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::{AnyError, EntryPayload, OptionalSend, RaftLogReader, StorageIOError};
use tokio::sync::{oneshot, watch};

use crate::storage::{self, Log, Record, RecordId, StorageError};

use super::config::READ_BYTES_MAX;
use super::entry::{from_record, to_record};
use super::error::ReplicationError;
use super::types::{Entry, LogId, RaftError, Types, Vote, log_id};

/// While the disk is full, an append is tried again this often.
const FULL_RETRY: Duration = Duration::from_secs(1);

/// At most this many bytes of entries are kept decoded; further ones are read from the log when they are applied.
const PENDING_BYTES_MAX: u64 = 32 << 20;

/// Appended, not yet applied entries, decoded. A lost one costs a read, nothing else.
#[derive(Clone, Debug, Default)]
pub(super) struct Pending {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    entries: BTreeMap<u64, Entry>,
    bytes: u64,
}

impl Held {
    fn keep(&mut self, entries: BTreeMap<u64, Entry>) {
        self.entries = entries;
        self.bytes = self.entries.values().map(bytes_of).sum();
    }
}

/// What an entry takes in memory, roughly; the small ones are counted too.
fn bytes_of(entry: &Entry) -> u64 {
    let batch = match &entry.payload {
        EntryPayload::Normal(payload) => payload.bytes(),
        EntryPayload::Blank | EntryPayload::Membership(_) => 0,
    };
    batch.saturating_add(256)
}

impl Pending {
    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, entry: &Entry) {
        let mut held = self.held();
        let bytes = held.bytes.saturating_add(bytes_of(entry));
        if bytes <= PENDING_BYTES_MAX {
            held.bytes = bytes;
            held.entries.insert(entry.log_id.index, entry.clone());
        }
    }

    fn get(&self, index: u64) -> Option<Entry> {
        self.held().entries.get(&index).cloned()
    }

    /// Drops what was truncated.
    fn drop_from(&self, index: u64) {
        let mut held = self.held();
        let mut kept = std::mem::take(&mut held.entries);
        drop(kept.split_off(&index));
        held.keep(kept);
    }

    /// Drops what was applied, or is covered by an image.
    pub(super) fn drop_through(&self, index: u64) {
        let mut held = self.held();
        let kept = held.entries.split_off(&index.saturating_add(1));
        held.keep(kept);
    }
}

/// openraft's log store and log reader.
#[derive(Clone)]
pub(super) struct LogStore {
    log: Log,
    pending: Pending,
    committed: Arc<Mutex<Option<LogId>>>,
    stopping: Arc<watch::Sender<bool>>,
}

impl LogStore {
    pub(super) fn new(log: Log) -> LogStore {
        LogStore {
            log,
            pending: Pending::default(),
            committed: Arc::default(),
            stopping: Arc::new(watch::Sender::new(false)),
        }
    }

    pub(super) fn pending(&self) -> Pending {
        self.pending.clone()
    }

    /// The newest index known to be committed.
    pub(super) fn committed(&self) -> Option<LogId> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Consecutive entries from `from` on, as many as `max_bytes` hold, but at least one if it is there.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> Result<Vec<Entry>, ReplicationError> {
        let mut entries = Vec::new();
        let mut left = max_bytes as u64;
        let mut next = from;
        while next < to && (left > 0 || entries.is_empty()) {
            let Some(entry) = self.pending.get(next) else { break };
            left = left.saturating_sub(bytes_of(&entry));
            entries.push(entry);
            next += 1;
        }
        if next < to && (left > 0 || entries.is_empty()) {
            let left = usize::try_from(left).unwrap_or(usize::MAX);
            for record in self.log.read(next, to, left)? {
                entries.push(from_record(&record)?);
            }
        }
        Ok(entries)
    }

    async fn write(&self, records: Vec<Record>) -> Result<(), StorageError> {
        let committed = self.committed().map_or(0, |id| id.index);
        let (done, written) = called_back();
        self.log.append(records, committed, done);
        written.await
    }

    /// A full disk is no fault: nothing was written and nothing was acknowledged, so the same entries wait here until
    /// someone frees space. Rare: [`super::Replication::propose`] refuses before this when it can see it coming.
    async fn write_when_there_is_space(
        &self,
        entries: &[Entry],
        mut full: StorageError,
    ) -> Result<(), StorageError> {
        tracing::error!(error = %full, "waiting for disk space");
        let mut stopping = self.stopping.subscribe();
        loop {
            tokio::select! {
                () = tokio::time::sleep(FULL_RETRY) => {}
                _ = stopping.wait_for(|stopping| *stopping) => return Err(full),
            }
            match self.write(entries.iter().map(to_record).collect()).await {
                Err(error) if error.is_full() => full = error,
                result => return result,
            }
        }
    }

    /// Ends a wait for disk space.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// The first index that is neither purged nor missing at the front.
    fn first(&self) -> u64 {
        self.log.purged().map_or(0, |id| id.index.saturating_add(1))
    }
}

fn read_error(error: &(impl std::error::Error + 'static)) -> RaftError {
    StorageIOError::read_logs(AnyError::new(error)).into()
}

fn write_error(error: &(impl std::error::Error + 'static)) -> RaftError {
    StorageIOError::write_logs(AnyError::new(error)).into()
}

fn vote_error(error: &(impl std::error::Error + 'static)) -> RaftError {
    StorageIOError::write_vote(AnyError::new(error)).into()
}

pub(super) fn from_record_id(id: RecordId) -> LogId {
    log_id(id.index, id.term, id.leader)
}

pub(super) fn to_record_id(id: &LogId) -> RecordId {
    RecordId { index: id.index, term: id.leader_id.term, leader: id.leader_id.node_id }
}

type Done = Box<dyn FnOnce(Result<(), StorageError>) + Send>;

/// A callback for the writer thread, and the wait for it.
fn called_back() -> (Done, impl Future<Output = Result<(), StorageError>>) {
    let (told, hear) = oneshot::channel();
    // Nobody listens any more when openraft was stopped meanwhile; the write itself stands.
    let done = Box::new(move |result| drop(told.send(result)));
    (done, async move { hear.await.unwrap_or(Err(StorageError::Closed)) })
}

impl RaftLogReader<Types> for LogStore {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, RaftError> {
        let from = match range.start_bound() {
            Bound::Included(index) => *index,
            Bound::Excluded(index) => index.saturating_add(1),
            Bound::Unbounded => 0,
        };
        let end = self.log.last().map_or(0, |id| id.index.saturating_add(1));
        let to = match range.end_bound() {
            Bound::Included(index) => index.saturating_add(1).min(end),
            Bound::Excluded(index) => (*index).min(end),
            Bound::Unbounded => end,
        };
        self.read(from.max(self.first()), to, usize::MAX).map_err(|error| read_error(&error))
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, RaftError> {
        self.read(start, end, READ_BYTES_MAX).map_err(|error| read_error(&error))
    }
}

impl RaftLogStorage<Types> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, RaftError> {
        let purged = self.log.purged().map(from_record_id);
        let last = self.log.last().map(from_record_id).filter(|last| Some(*last) > purged);
        Ok(LogState { last_purged_log_id: purged, last_log_id: last.or(purged) })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), RaftError> {
        let (done, written) = called_back();
        let leader = vote.leader_id();
        let saved = storage::Vote { term: leader.term, node: leader.node_id, committed: vote.committed };
        self.log.save_vote(saved, done);
        written.await.map_err(|error| vote_error(&error))
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, RaftError> {
        Ok(self.log.vote().map(|saved| {
            let mut vote = Vote::new(saved.term, saved.node);
            vote.committed = saved.committed;
            vote
        }))
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), RaftError> {
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = committed;
        Ok(())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, RaftError> {
        Ok(self.committed())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), RaftError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries: Vec<Entry> = entries.into_iter().collect();
        let records = entries.iter().map(to_record).collect();
        entries.iter().for_each(|entry| self.pending.add(entry));
        let result = match self.write(records).await {
            Err(error) if error.is_full() => self.write_when_there_is_space(&entries, error).await,
            result => result,
        };
        callback.log_io_completed(result.map_err(io::Error::other));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), RaftError> {
        self.pending.drop_from(since.index);
        let (done, written) = called_back();
        self.log.truncate_from(since.index, done);
        written.await.map_err(|error| write_error(&error))
    }

    async fn purge(&mut self, up_to: LogId) -> Result<(), RaftError> {
        self.pending.drop_through(up_to.index);
        let (done, written) = called_back();
        self.log.purge(to_record_id(&up_to), done);
        written.await.map_err(|error| write_error(&error))
    }
}
