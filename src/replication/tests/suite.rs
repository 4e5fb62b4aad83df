//! openraft's own tests of a log store and a state machine, on ours.
//!
//! The suite appends some entries with gaps before them, or that are purged, which openraft itself never does and our
//! log refuses. Here such an append is preceded by the purge that makes it legal, or left out; everything else goes
//! straight to our store.

use std::fmt::Debug;
use std::ops::RangeBounds;
use std::sync::Arc;

use openraft::storage::{LogFlushed, LogState, RaftLogStorage};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{OptionalSend, RaftLogReader};
use tempfile::TempDir;

use super::support::{WatchedFs, stores};
use crate::replication::image::{Cadence, ImageKeeper, KeeperParts, Kept};
use crate::replication::log_store::LogStore;
use crate::replication::state_machine::{Applier, Current, MachineView, StateMachine};
use crate::replication::types::{Entry, LogId, RaftError, Types, Vote};

struct GapFiller(LogStore);

impl RaftLogReader<Types> for GapFiller {
    async fn try_get_log_entries<R: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: R,
    ) -> Result<Vec<Entry>, RaftError> {
        self.0.try_get_log_entries(range).await
    }

    async fn limited_get_log_entries(&mut self, start: u64, end: u64) -> Result<Vec<Entry>, RaftError> {
        self.0.limited_get_log_entries(start, end).await
    }
}

impl RaftLogStorage<Types> for GapFiller {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<Types>, RaftError> {
        self.0.get_log_state().await
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.0.get_log_reader().await
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), RaftError> {
        self.0.save_vote(vote).await
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, RaftError> {
        self.0.read_vote().await
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), RaftError> {
        self.0.save_committed(committed).await
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, RaftError> {
        self.0.read_committed().await
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<Types>) -> Result<(), RaftError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let state = self.0.get_log_state().await?;
        let next = state.last_log_id.map_or(0, |last| last.index + 1);
        let purged = state.last_purged_log_id.map(|purged| purged.index);
        let entries: Vec<Entry> =
            entries.into_iter().filter(|entry| Some(entry.log_id.index) > purged).collect();
        let Some(first) = entries.first().map(|entry| entry.log_id) else {
            callback.log_io_completed(Ok(()));
            return Ok(());
        };
        if first.index > next {
            self.0.purge(LogId::new(first.leader_id, first.index - 1)).await?;
        }
        self.0.append(entries, callback).await
    }

    async fn truncate(&mut self, since: LogId) -> Result<(), RaftError> {
        self.0.truncate(since).await
    }

    async fn purge(&mut self, up_to: LogId) -> Result<(), RaftError> {
        self.0.purge(up_to).await
    }
}

struct Builder;

impl StoreBuilder<Types, GapFiller, StateMachine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, GapFiller, StateMachine), RaftError> {
        let folder = tempfile::tempdir().unwrap();
        let stores = stores(&WatchedFs::new(), folder.path()).unwrap();
        let view = MachineView::new(Current::default());
        let images = ImageKeeper::new(KeeperParts {
            images: stores.images,
            log: stores.log.clone(),
            view: view.clone(),
            cadence: Cadence { facts: u64::MAX, bytes: u64::MAX },
            kept: Kept::default(),
        });
        let store = LogStore::new(stores.log);
        let applier = Applier { view, on_applied: Arc::new(|_| {}) };
        let machine = StateMachine {
            applier,
            pending: store.pending(),
            images,
            alive: tokio::sync::mpsc::channel(1).0,
        };
        Ok((folder, GapFiller(store), machine))
    }
}

#[test]
fn openraft_finds_nothing_wrong_with_our_stores() {
    Suite::test_all(Builder).unwrap();
}
