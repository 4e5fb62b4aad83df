//! Images: when they are taken, how, and what may be purged after one.
//!
//! 1. Applying counts facts and bytes. When enough has come together since the last image ([`Cadence`]), the keeper is
//!    woken.
//! 2. It takes an O(1) clone of the machine and writes it on a blocking thread, so applying never waits for it.
//! 3. Only when the image is durable does the purge mark move, and only to the *spare* image: whichever of the two is
//!    damaged later, the log still reaches back to the other. Purging deletes nothing by itself.
//!
//! openraft is told of each image afterwards; it never asks for one ([`super::config`]).

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use openraft::{AnyError, BasicNode, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageIOError};
use tokio::sync::Notify;

use crate::machine::ImageDecoder;
use crate::model::seeded::{self, SeededBug};
use crate::model::wire::DecodeError;
use crate::storage::{Image, ImageMeta, Images, Log};

use super::error::ReplicationError;
use super::log_store::{from_record_id, to_record_id};
use super::membership;
use super::state_machine::{Alive, Current, MachineView};
use super::types::{LogId, Raft, RaftError, StoredMembership, Types};

/// After an image could not be written (a full disk, for example) it is tried again this much later.
const RETRY: Duration = Duration::from_secs(10);

type Meta = SnapshotMeta<u64, BasicNode>;

/// How much log there must be before a new image is worth its bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cadence {
    pub(super) facts: u64,
    pub(super) bytes: u64,
}

impl Cadence {
    /// Enough facts or enough bytes, and at least twice what the last image took.
    fn due(self, facts: u64, bytes: u64, last_image_bytes: u64) -> bool {
        (facts >= self.facts || bytes >= self.bytes) && bytes >= last_image_bytes.saturating_mul(2)
    }
}

/// The images that can be relied on.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    pub(super) newest: Option<KeptImage>,
    /// The one before; the log must reach back to it.
    pub(super) spare: Option<LogId>,
    /// Images that were damaged when the node started, named. The next image takes their place.
    pub(super) damaged: Vec<String>,
}

/// One durable image.
#[derive(Clone, Debug)]
pub(super) struct KeptImage {
    pub(super) id: LogId,
    pub(super) membership: StoredMembership,
    pub(super) bytes: u64,
}

impl KeptImage {
    fn meta(&self) -> Meta {
        let LogId { leader_id, index } = self.id;
        SnapshotMeta {
            last_log_id: Some(self.id),
            last_membership: self.membership.clone(),
            snapshot_id: format!("{}-{}-{index}", leader_id.term, leader_id.node_id),
        }
    }
}

/// An image on its way to or from another node. Its bytes are read from disk in chunks, never held whole.
pub(crate) struct ImageData {
    images: Option<Images>,
}

impl ImageData {
    /// Where an image of another node will be received; cluster transport fills it.
    pub(super) fn empty() -> ImageData {
        ImageData { images: None }
    }
}

/// Takes images, and answers for those on disk. Cloning shares it.
#[derive(Clone)]
pub(super) struct ImageKeeper {
    inner: Arc<Inner>,
}

struct Inner {
    images: Images,
    log: Log,
    view: MachineView,
    cadence: Cadence,
    kept: Mutex<Kept>,
    /// The newest image openraft knows of.
    told: Mutex<Option<LogId>>,
    facts: AtomicU64,
    bytes: AtomicU64,
    enough: Notify,
    /// One image at a time.
    turn: Arc<tokio::sync::Mutex<()>>,
}

/// What an [`ImageKeeper`] starts from.
pub(super) struct KeeperParts {
    pub(super) images: Images,
    pub(super) log: Log,
    pub(super) view: MachineView,
    pub(super) cadence: Cadence,
    pub(super) kept: Kept,
}

impl ImageKeeper {
    pub(super) fn new(parts: KeeperParts) -> ImageKeeper {
        let told = parts.kept.newest.as_ref().map(|image| image.id);
        parts.log.reserve_for_images(parts.kept.newest.as_ref().map_or(0, |image| image.bytes));
        ImageKeeper {
            inner: Arc::new(Inner {
                images: parts.images,
                log: parts.log,
                view: parts.view,
                cadence: parts.cadence,
                kept: Mutex::new(parts.kept),
                told: Mutex::new(told),
                facts: AtomicU64::new(0),
                bytes: AtomicU64::new(0),
                enough: Notify::new(),
                turn: Arc::default(),
            }),
        }
    }

    /// Notes that a batch was applied, and wakes [`ImageKeeper::run`] when an image is due.
    pub(super) fn grown(&self, facts: u64, bytes: u64) {
        self.inner.facts.fetch_add(facts, Ordering::Relaxed);
        self.inner.bytes.fetch_add(bytes, Ordering::Relaxed);
        if self.due() {
            self.inner.enough.notify_one();
        }
    }

    fn due(&self) -> bool {
        let last = self.inner.kept().newest.as_ref().map_or(0, |image| image.bytes);
        let facts = self.inner.facts.load(Ordering::Relaxed);
        self.inner.cadence.due(facts, self.inner.bytes.load(Ordering::Relaxed), last)
    }

    /// Takes an image whenever one is due, and moves the purge mark after it. Never returns; abort it to end it.
    pub(super) async fn run(self, raft: Raft) {
        loop {
            self.inner.enough.notified().await;
            if !self.due() {
                continue;
            }
            if let Err(error) = self.take().await {
                tracing::warn!(%error, "no image could be written; trying again in {RETRY:?}");
                tokio::time::sleep(RETRY).await;
                self.inner.enough.notify_one();
                continue;
            }
            // Both fail only when openraft has ended, which its follower reports.
            let _ = raft.trigger().snapshot().await;
            if let Some(spare) = self.spare() {
                let _ = raft.trigger().purge_log(spare.index).await;
            }
        }
    }

    /// Writes an image of the state as it is now, unless there is one already. Returns after it is durable.
    pub(super) async fn take(&self) -> Result<(), ReplicationError> {
        let turn = Arc::clone(&self.inner.turn).lock_owned().await;
        let inner = Arc::clone(&self.inner);
        let too_early = seeded::active(SeededBug::PurgedBeforeImage);
        let work = move || {
            let _turn = turn;
            inner.take(too_early)
        };
        blocking(work).await
    }

    /// Waits for an image that is being written.
    pub(super) async fn quiet(&self) {
        drop(self.inner.turn.lock().await);
    }

    /// The files.
    pub(super) fn files(&self) -> &Images {
        &self.inner.images
    }

    pub(super) fn spare(&self) -> Option<LogId> {
        self.inner.kept().spare
    }

    pub(super) fn damaged(&self) -> Vec<String> {
        self.inner.kept().damaged.clone()
    }

    pub(super) fn newest(&self) -> Option<LogId> {
        self.inner.kept().newest.as_ref().map(|image| image.id)
    }

    /// The newest durable image, for openraft.
    pub(super) fn current(&self) -> Option<Snapshot<Types>> {
        let newest = self.inner.kept().newest.clone()?;
        let data = ImageData { images: Some(self.inner.images.clone()) };
        Some(Snapshot { meta: newest.meta(), snapshot: Box::new(data) })
    }

    /// Takes over another node's image: reads all of it, writes it here, and only then puts its state in place.
    pub(super) async fn install(&self, meta: Meta, data: ImageData) -> Result<(), ReplicationError> {
        let turn = Arc::clone(&self.inner.turn).lock_owned().await;
        let inner = Arc::clone(&self.inner);
        let work = move || {
            let _turn = turn;
            inner.install(&meta, &data)
        };
        blocking(work).await
    }
}

async fn blocking(
    work: impl FnOnce() -> Result<(), ReplicationError> + Send + 'static,
) -> Result<(), ReplicationError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(ReplicationError::Image { index: 0, what: format!("its thread ended: {error}") }),
    }
}

impl Inner {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `purged_too_early` is the seeded bug (8).
    fn take(&self, purged_too_early: bool) -> Result<(), ReplicationError> {
        let facts = self.facts.load(Ordering::Relaxed);
        let bytes = self.bytes.load(Ordering::Relaxed);
        let current = self.view.with(Current::clone);
        let Some(id) = current.last else { return Ok(()) };
        if self.kept().newest.as_ref().is_some_and(|newest| newest.id == id) {
            return Ok(());
        }
        if purged_too_early {
            self.log.purge(to_record_id(&id), Box::new(drop));
        }
        self.write(id, current.membership.clone(), current.machine.encode_image())?;
        self.facts.fetch_sub(facts, Ordering::Relaxed);
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
        Ok(())
    }

    /// Writes an image; when it is durable, it is the newest and the one before is the spare.
    fn write(
        &self,
        id: LogId,
        membership: StoredMembership,
        chunks: impl Iterator<Item = Bytes>,
    ) -> Result<(), ReplicationError> {
        let meta = ImageMeta {
            index: id.index,
            term: id.leader_id.term,
            leader: id.leader_id.node_id,
            extra: membership::encode_stored(&membership),
        };
        let bytes = self.images.write(&meta, chunks)?;
        self.log.reserve_for_images(bytes);
        // Only what is still there counts as spare: the log must go on reaching back to it.
        let spare = self.images.spare().unwrap_or_else(|error| {
            tracing::warn!(%error, "there is no spare image; the log is not purged for now");
            None
        });
        let spare = spare.map(|spare| from_record_id(spare.id()));
        let mut kept = self.kept();
        kept.spare = kept.newest.take().map(|image| image.id).filter(|before| Some(*before) == spare);
        kept.newest = Some(KeptImage { id, membership, bytes });
        kept.damaged.clear();
        Ok(())
    }

    fn install(&self, meta: &Meta, data: &ImageData) -> Result<(), ReplicationError> {
        let index = meta.last_log_id.map_or(0, |id| id.index);
        let wrong = |what: &str| ReplicationError::Image { index, what: what.to_owned() };
        let received = data.images.as_ref().map(Images::newest).transpose()?.flatten();
        let Some(received) = received else { return Err(wrong("nothing was received")) };
        let (id, state) = read(&received.image)?;
        if Some(id) != meta.last_log_id || state.membership != meta.last_membership {
            return Err(wrong("it is not the image that was announced"));
        }
        let behind = self.view.with(|current| current.last > Some(id));
        if behind {
            return Err(wrong("it is behind what this node has applied"));
        }
        self.write(id, state.membership.clone(), state.machine.encode_image())?;
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        self.view.change(|current| *current = state).map_err(|error| wrong(&error.to_string()))
    }
}

/// Reads a whole image, checking every chunk.
pub(super) fn read(image: &Image) -> Result<(LogId, Current), ReplicationError> {
    let meta = &image.meta;
    let membership = membership::decode_stored(&meta.extra)?;
    let index = meta.index;
    let unreadable = |error: DecodeError| ReplicationError::Image { index, what: error.to_string() };
    let mut decoder = ImageDecoder::new();
    for chunk in image.chunks() {
        decoder.feed(&chunk?).map_err(unreadable)?;
    }
    let machine = decoder.finish().map_err(unreadable)?;
    let id = from_record_id(meta.id());
    Ok((id, Current { machine, last: Some(id), membership }))
}

/// Tells openraft of images.
pub(super) struct ImageBuilder {
    keeper: ImageKeeper,
    _alive: Alive,
}

impl ImageBuilder {
    pub(super) fn new(keeper: ImageKeeper, alive: Alive) -> ImageBuilder {
        ImageBuilder { keeper, _alive: alive }
    }

    /// The newest image, if openraft was not told of it yet.
    fn untold(&self) -> Option<Snapshot<Types>> {
        let newest = self.keeper.current()?;
        let mut told = self.keeper.inner.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told >= newest.meta.last_log_id {
            return None;
        }
        *told = newest.meta.last_log_id;
        Some(newest)
    }
}

impl RaftSnapshotBuilder<Types> for ImageBuilder {
    /// Answers with the image that was just taken; takes one if there is none that is new.
    async fn build_snapshot(&mut self) -> Result<Snapshot<Types>, RaftError> {
        if let Some(image) = self.untold() {
            return Ok(image);
        }
        let failed = |error| StorageIOError::write_snapshot(None, AnyError::new(&error));
        self.keeper.take().await.map_err(failed)?;
        // Nothing applied yet is an image of nothing, which needs no file.
        let nothing = || Snapshot { meta: Meta::default(), snapshot: Box::new(ImageData::empty()) };
        Ok(self.untold().or_else(|| self.keeper.current()).unwrap_or_else(nothing))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_due_by_facts_or_bytes_but_not_while_it_is_bigger_than_half_the_log() {
        let cadence = Cadence { facts: 100, bytes: 1_000 };
        assert!(!cadence.due(99, 999, 0));
        assert!(cadence.due(100, 1, 0));
        assert!(cadence.due(1, 1_000, 0));
        assert!(!cadence.due(100, 1_000, 501));
        assert!(cadence.due(100, 1_002, 501));
    }
}
