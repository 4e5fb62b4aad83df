//! The handle of a node's agreement: look, read, stop.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinHandle;

use crate::machine::{Batch, Fact};
use crate::model::{Position, Timestamp};
use crate::storage::Log;
use crate::storage::backup::Backup;

use super::entry::{EntryError, from_record};
use super::error::ReplicationError;
use super::fault::{Fault, FaultBoard};
use super::image::ImageKeeper;
use super::leadership::Leadership;
use super::log_store::{LogStore, to_record_id};
use super::state_machine::MachineView;
use super::types::Raft;

/// A stop waits this long for the batch that is being applied.
const STOP_MAX: Duration = Duration::from_secs(30);

/// How far things are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Last entry in the log.
    pub last: Option<u64>,
    /// Last entry known to be committed.
    pub committed: Option<u64>,
    /// Last entry applied.
    pub applied: Option<u64>,
    /// Up to here the log may go, segment by segment, once nothing live points into it.
    pub purged: Option<u64>,
    /// Index of the newest image.
    pub image: Option<u64>,
}

/// The batches of a stretch of log.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Index and batch, in order. Whether one took effect follows from its `base`: see [`Batch`].
    pub batches: Vec<(u64, Arc<Batch>)>,
    /// Where to go on; equal to the asked-for start when nothing could be read there.
    pub next: u64,
}

/// A node's agreement. Cheap to clone.
#[derive(Clone)]
pub struct Replication {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) raft: Raft,
    pub(super) log: Log,
    pub(super) store: LogStore,
    pub(super) view: MachineView,
    pub(super) images: ImageKeeper,
    pub(super) faults: FaultBoard,
    pub(super) leadership: watch::Receiver<Leadership>,
    pub(super) running: Mutex<Option<Running>>,
}

/// What [`Replication::shutdown`] waits for.
pub(super) struct Running {
    pub(super) tasks: Vec<JoinHandle<()>>,
    pub(super) ended: mpsc::Receiver<Infallible>,
}

impl std::fmt::Debug for Replication {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Replication at {:?}", self.progress())
    }
}

impl Replication {
    /// A read handle on the machine.
    #[must_use]
    pub fn machine(&self) -> MachineView {
        self.inner.view.clone()
    }

    /// Who leads, as it changes.
    #[must_use]
    pub fn leadership(&self) -> watch::Receiver<Leadership> {
        self.inner.leadership.clone()
    }

    /// Turns from none to the first fault. After it nothing is acknowledged; the process must exit non-zero.
    #[must_use]
    pub fn faults(&self) -> watch::Receiver<Option<Fault>> {
        self.inner.faults.watch()
    }

    /// The commit log, for what needs no agreement: space, segments and their removal, scrubbing.
    #[must_use]
    pub fn log(&self) -> &Log {
        &self.inner.log
    }

    /// How far things are.
    #[must_use]
    pub fn progress(&self) -> Progress {
        let inner = &self.inner;
        let applied = inner.view.applied();
        Progress {
            last: inner.log.last().map(|id| id.index),
            committed: inner.store.committed().map(|id| id.index).max(applied),
            applied,
            purged: inner.log.purged().map(|id| id.index),
            image: inner.images.newest().map(|id| id.index),
        }
    }

    /// Images found damaged at the start, named; none any more once a new image has taken their place.
    #[must_use]
    pub fn damaged_images(&self) -> Vec<String> {
        self.inner.images.damaged()
    }

    /// The encoded fact at `position`; none when it is no longer, or not yet, in the log. Blocking.
    ///
    /// # Errors
    /// A damaged file, named.
    pub fn part(&self, position: Position) -> Result<Option<Bytes>, ReplicationError> {
        Ok(self.inner.log.part(position.index, usize::from(position.slot) + 1)?)
    }

    /// The fact at `position`; none when it is no longer, or not yet, in the log. Blocking.
    ///
    /// # Errors
    /// A damaged file or an unreadable fact, named.
    pub fn fact(&self, position: Position) -> Result<Option<Fact>, ReplicationError> {
        let Some(part) = self.part(position)? else { return Ok(None) };
        let index = position.index;
        let fact = Fact::decode(&part).map_err(|source| EntryError::Batch { index, source })?;
        Ok(Some(fact))
    }

    /// The batches from `from` up to `to` (exclusive), about `max_bytes` of them, for feeding the index again.
    /// Blocking.
    ///
    /// # Errors
    /// A damaged file or an unreadable batch, named.
    pub fn batches(&self, from: u64, to: u64, max_bytes: usize) -> Result<Page, ReplicationError> {
        let mut page = Page { batches: Vec::new(), next: from };
        for record in self.inner.log.read(from, to, max_bytes)? {
            page.next = record.index + 1;
            let entry = from_record(&record)?;
            if let openraft::EntryPayload::Normal(payload) = &entry.payload {
                page.batches.push((record.index, Arc::clone(payload.batch())));
            }
        }
        Ok(page)
    }

    /// Begins a backup of everything that is durable now. Blocking: reads the newest image whole.
    ///
    /// # Errors
    /// Damage, named; or another backup is being taken.
    pub fn backup(&self, taken_at: Timestamp) -> Result<Backup, ReplicationError> {
        Ok(self.inner.log.backup(self.inner.images.files(), taken_at)?)
    }

    /// Takes an image now if there is anything new, and moves the purge mark to the spare one.
    ///
    /// # Errors
    /// The disk refused; nothing is lost, and it may be tried again.
    pub async fn take_image(&self) -> Result<(), ReplicationError> {
        self.inner.images.take().await?;
        let _ = self.inner.raft.trigger().snapshot().await;
        if let Some(spare) = self.inner.images.spare() {
            let _ = self.inner.raft.trigger().purge_log(spare.index).await;
        }
        Ok(())
    }

    /// Stops in order: openraft, an image if there is anything new, the log. After a fault no image is taken.
    ///
    /// # Errors
    /// The last image could not be written. Everything acknowledged is in the log all the same.
    pub async fn shutdown(&self) -> Result<(), ReplicationError> {
        self.stop_agreement().await;
        let imaged = match self.inner.faults.get() {
            None => self.last_image().await,
            Some(_) => Ok(()),
        };
        self.close_log().await;
        imaged
    }

    /// Ends openraft and what runs beside it. After this nothing is applied any more.
    async fn stop_agreement(&self) {
        self.inner.store.stop();
        let Some(mut running) = self.inner.running.lock().await.take() else { return };
        // Its task may have panicked, which ends it too.
        let _ = self.inner.raft.shutdown().await;
        for task in running.tasks {
            task.abort();
            let _ = task.await;
        }
        if tokio::time::timeout(STOP_MAX, running.ended.recv()).await.is_err() {
            tracing::warn!("the last batch is still being applied after {STOP_MAX:?}; stopping all the same");
        }
        self.inner.images.quiet().await;
    }

    async fn close_log(&self) {
        let log = self.inner.log.clone();
        let _ = tokio::task::spawn_blocking(move || log.close()).await;
    }

    async fn last_image(&self) -> Result<(), ReplicationError> {
        self.inner.images.take().await?;
        if let Some(spare) = self.inner.images.spare() {
            self.inner.log.purge(to_record_id(&spare), Box::new(drop));
        }
        Ok(())
    }
}

#[cfg(test)]
impl Replication {
    /// Ends as suddenly as a process can end itself: no image is taken.
    pub(super) async fn abandon(&self) {
        self.stop_agreement().await;
        self.close_log().await;
    }
}
