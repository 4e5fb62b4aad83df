//! A node in a temporary directory, and files that count and fail.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use crate::machine::{Batch, Fact, Machine, Produced, ProducedAs};
use crate::model::{Attributes, Message, Timestamp, TopicId, TopicSettings};
use crate::replication::{Opened, Options, ProposeError, Proposed, Replication, ReplicationError, Stores};
use crate::storage::vfs::{OpenMode, RealFs, Vfs, VfsFile};
use crate::storage::{DataDir, Images, Log, LogOptions};

/// The real file system, but every change is counted, and changes under a named folder can be made to fail.
#[derive(Clone, Debug)]
pub(super) struct WatchedFs {
    changes: Arc<AtomicU64>,
    failed: Arc<AtomicU64>,
    failing: Arc<Mutex<Option<&'static str>>>,
    free: Arc<Mutex<Option<u64>>>,
    no_space: Arc<AtomicBool>,
}

#[derive(Debug)]
struct WatchedFile {
    fs: WatchedFs,
    path: PathBuf,
    file: Arc<dyn VfsFile>,
}

impl WatchedFs {
    pub(super) fn new() -> WatchedFs {
        WatchedFs {
            changes: Arc::default(),
            failed: Arc::default(),
            failing: Arc::default(),
            free: Arc::default(),
            no_space: Arc::default(),
        }
    }

    /// Every change of a file whose path has this folder in it fails with EIO from now on.
    pub(super) fn fail(&self, folder: &'static str) {
        *self.failing.lock().unwrap() = Some(folder);
    }

    pub(super) fn heal(&self) {
        *self.failing.lock().unwrap() = None;
    }

    /// What the file system says is free; none: the truth.
    pub(super) fn set_free(&self, bytes: Option<u64>) {
        *self.free.lock().unwrap() = bytes;
    }

    /// Whether reserving space fails with ENOSPC.
    pub(super) fn refuse_space(&self, refuse: bool) {
        self.no_space.store(refuse, Ordering::SeqCst);
    }

    /// Writes, syncs, creates, renames and removes so far.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Ordering::SeqCst)
    }

    /// How many of them failed on purpose.
    pub(super) fn failed(&self) -> u64 {
        self.failed.load(Ordering::SeqCst)
    }

    fn change(&self, path: &Path) -> io::Result<()> {
        self.changes.fetch_add(1, Ordering::SeqCst);
        let failing = *self.failing.lock().unwrap();
        match failing {
            Some(folder) if path.components().any(|part| part.as_os_str() == folder) => {
                self.failed.fetch_add(1, Ordering::SeqCst);
                Err(io::Error::from_raw_os_error(5))
            }
            _ => Ok(()),
        }
    }
}

impl Vfs for WatchedFs {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        if matches!(mode, OpenMode::CreateNew | OpenMode::Replace) {
            self.change(path)?;
        }
        let file = RealFs.open(path, mode)?;
        Ok(Arc::new(WatchedFile { fs: self.clone(), path: path.to_owned(), file }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.change(to)?;
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(path)?;
        RealFs.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFs.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.change(path)?;
        RealFs.sync_dir(path)
    }

    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        let told = *self.free.lock().unwrap();
        told.map_or_else(|| RealFs.free_bytes(path), Ok)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn Any + Send + Sync>> {
        RealFs.lock(path)
    }
}

impl VfsFile for WatchedFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.fs.change(&self.path)?;
        self.file.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.fs.change(&self.path)?;
        if self.fs.no_space.load(Ordering::SeqCst) {
            self.fs.failed.fetch_add(1, Ordering::SeqCst);
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.file.allocate(offset, length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.fs.change(&self.path)?;
        self.file.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        self.fs.change(&self.path)?;
        self.file.sync_data()
    }
}

/// What `on_applied` was told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) index: u64,
    pub(super) took_effect: bool,
    pub(super) recovering: bool,
}

/// One node, and what it told its broker.
pub(super) struct Node {
    pub(super) fs: WatchedFs,
    pub(super) opened: Opened,
    pub(super) seen: Arc<Mutex<Vec<Seen>>>,
}

pub(super) fn log_options() -> LogOptions {
    LogOptions {
        segment_bytes: 64 << 10,
        tail_cache_bytes: 64 << 10,
        allocate_bytes: 16 << 10,
        ..LogOptions::default()
    }
}

/// Opens everything a node has under `folder`.
pub(super) fn stores(fs: &WatchedFs, folder: &Path) -> Result<Stores, ReplicationError> {
    let dir = DataDir::open(Arc::new(fs.clone()), folder)?;
    let (log, recovered) = Log::open(&dir, log_options())?;
    let images = Images::open(&dir)?;
    Ok(Stores { log, committed: recovered.committed, images })
}

impl Node {
    /// A node that never takes an image by itself.
    pub(super) async fn open(folder: &Path) -> Result<Node, ReplicationError> {
        Node::open_with(folder, Options::default()).await
    }

    pub(super) async fn open_with(folder: &Path, options: Options) -> Result<Node, ReplicationError> {
        let fs = WatchedFs::new();
        let stores = stores(&fs, folder)?;
        let seen: Arc<Mutex<Vec<Seen>>> = Arc::default();
        let told = Arc::clone(&seen);
        let on_applied = Arc::new(move |applied: &crate::replication::AppliedBatch| {
            told.lock().unwrap().push(Seen {
                index: applied.index,
                took_effect: applied.applied.took_effect,
                recovering: applied.recovering,
            });
        });
        let opened = Replication::open(stores, options, on_applied).await?;
        Ok(Node { fs, opened, seen })
    }

    pub(super) fn replication(&self) -> &Replication {
        &self.opened.replication
    }

    /// Waits until it leads, and answers with the epoch.
    pub(super) async fn lead(&self) -> u64 {
        let mut leadership = self.replication().leadership();
        leadership.wait_for(|now| now.leader).await.unwrap().epoch
    }

    /// Leads, and proposes the leader start.
    pub(super) async fn begin(&self) -> Proposed {
        self.lead().await;
        self.propose(leader_start()).await.unwrap()
    }

    pub(super) async fn propose(&self, batch: Batch) -> Result<Proposed, ProposeError> {
        self.replication().propose(Arc::new(batch)).await
    }

    /// Proposes one message on top of what took effect last.
    pub(super) async fn produce(&self, body: &str) -> Result<Proposed, ProposeError> {
        let base =
            self.seen.lock().unwrap().iter().rev().find(|seen| seen.took_effect).map(|seen| seen.index);
        self.propose(batch(base.unwrap(), vec![produced(body)])).await
    }

    /// Ends as kill -9 does, as far as this process allows: nothing is imaged, nothing is said.
    pub(super) async fn crash(self) {
        self.replication().abandon().await;
    }
}

pub(super) fn leader_start() -> Batch {
    Batch { base: 0, time: Timestamp(1_000), facts: vec![Fact::LeaderStart { node: 1 }] }
}

pub(super) fn batch(base: u64, facts: Vec<Fact>) -> Batch {
    Batch { base, time: Timestamp(2_000 + base), facts }
}

pub(super) fn topic() -> Fact {
    Fact::TopicMade { id: TopicId(1), name: "orders".parse().unwrap(), settings: TopicSettings::default() }
}

pub(super) fn produced(body: &str) -> Fact {
    let message = Message { body: Bytes::from(body.to_owned()), attributes: Attributes::default() };
    Fact::Produced(Produced {
        topic: TopicId(1),
        queue: 0,
        state: ProducedAs::Ready { offset: 0 },
        ttl_ms: None,
        message: Arc::new(message),
    })
}

/// Everything that decides how a machine goes on.
pub(super) fn essence(machine: &Machine) -> Vec<u8> {
    machine.encode_image().flat_map(|chunk| chunk.to_vec()).collect()
}
