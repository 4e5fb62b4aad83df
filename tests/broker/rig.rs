//! A broker in a temporary directory, and the disk under it.

use std::any::Any;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use whimbrel::broker::{AlertingOptions, Applying, Broker, BrokerError, Options, Running, Waited};
use whimbrel::machine::{NewMessage, ReceiveRequest};
use whimbrel::model::{Message, Millis};
use whimbrel::observe::notify::AllowedNetworks;
use whimbrel::replication::{self, Replication};
use whimbrel::storage::index::{Index, IndexOptions};
use whimbrel::storage::vfs::{OpenMode, RealFs, Vfs, VfsFile};
use whimbrel::storage::{DataDir, Images, Log, LogOptions};

/// The real file system with a free space that can be set, with fdatasync that can be held, and reads that can be held
/// or fail.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    free: Arc<Mutex<Option<u64>>>,
    /// While held, how many more may pass.
    held: Arc<(Mutex<Option<u32>>, Condvar)>,
    reads: Arc<(Mutex<Reads>, Condvar)>,
}

#[derive(Debug, Default)]
struct Reads {
    held: bool,
    /// How many wait.
    waiting: u32,
    /// The file whose reads fail.
    failing: Option<PathBuf>,
}

#[derive(Debug)]
struct DiskFile(Arc<dyn VfsFile>, Disk, PathBuf);

impl Disk {
    pub fn set_free(&self, bytes: Option<u64>) {
        *self.free.lock().unwrap() = bytes;
    }

    /// Lets so many fdatasync pass and holds the others; none: lets all pass.
    pub fn hold_after(&self, passes: Option<u32>) {
        *self.held.0.lock().unwrap() = passes;
        self.held.1.notify_all();
    }

    /// Holds every read, or lets all go on.
    pub fn hold_reads(&self, hold: bool) {
        self.reads.0.lock().unwrap().held = hold;
        self.reads.1.notify_all();
    }

    /// How many reads are held.
    pub fn waiting_reads(&self) -> u32 {
        self.reads.0.lock().unwrap().waiting
    }

    /// Reads of this file fail from now on.
    pub fn fail_reads(&self, path: &Path) {
        self.reads.0.lock().unwrap().failing = Some(path.to_owned());
    }
}

impl Vfs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(DiskFile(RealFs.open(path, mode)?, self.clone(), path.to_owned())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFs.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        RealFs.remove(path)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<String>> {
        RealFs.list(path)
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
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

impl VfsFile for DiskFile {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let (reads, changed) = &*self.1.reads;
        let mut reads = reads.lock().unwrap();
        reads.waiting += 1;
        reads = changed.wait_while(reads, |reads| reads.held).unwrap();
        reads.waiting -= 1;
        if reads.failing.as_ref() == Some(&self.2) {
            return Err(io::Error::from_raw_os_error(5));
        }
        drop(reads);
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn allocate(&self, offset: u64, length: u64) -> io::Result<()> {
        self.0.allocate(offset, length)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn sync_data(&self) -> io::Result<()> {
        let (held, changed) = &*self.1.held;
        let mut held = changed.wait_while(held.lock().unwrap(), |held| *held == Some(0)).unwrap();
        *held = held.map(|passes| passes - 1);
        drop(held);
        self.0.sync_data()
    }
}

/// How a rig is set.
#[derive(Clone, Debug)]
pub struct Setting {
    pub request_timeout: Duration,
    /// What of the log stays in memory.
    pub tail_cache_bytes: usize,
    pub index: IndexOptions,
}

impl Default for Setting {
    fn default() -> Setting {
        Setting {
            request_timeout: Duration::from_secs(30),
            tail_cache_bytes: 64 << 20,
            index: IndexOptions::default(),
        }
    }
}

/// A broker, and the disk under it.
pub struct Rig {
    pub disk: Disk,
    pub log: Log,
    pub index: Index,
    pub running: Running,
    pub replication: Replication,
    pub directory: tempfile::TempDir,
    _release: Release,
}

/// A test that fails while the disk is held must end all the same.
struct Release(Disk);

impl Drop for Release {
    fn drop(&mut self) {
        self.0.hold_after(None);
        self.0.hold_reads(false);
    }
}

impl Rig {
    pub async fn start() -> Rig {
        Rig::with(Setting::default()).await
    }

    pub async fn with(setting: Setting) -> Rig {
        Rig::open(tempfile::tempdir().unwrap(), Disk::default(), setting).await
    }

    /// A broker on a directory that may have been another one's.
    pub async fn open(directory: tempfile::TempDir, disk: Disk, setting: Setting) -> Rig {
        let Setting { request_timeout, tail_cache_bytes, index } = setting;
        let data = DataDir::open(Arc::new(disk.clone()), directory.path()).unwrap();
        let options = LogOptions {
            segment_bytes: 1 << 20,
            allocate_bytes: 64 << 10,
            tail_cache_bytes,
            ..LogOptions::default()
        };
        let (log, recovered) = Log::open(&data, options).unwrap();
        let images = Images::open(&data).unwrap();
        let (index, opened) = Index::open(&directory.path().join("index"), index).unwrap();
        let applying = Applying::new(index.clone(), &opened, log.clone());
        let stores = replication::Stores { log: log.clone(), committed: recovered.committed, images };
        let told = applying.clone();
        let options = replication::Options::default();
        let opened = Replication::open(stores, options, Arc::new(move |entry| told.applied(entry))).await;
        let replication = opened.unwrap().replication;
        let options = Options {
            auto_create_topics: true,
            idempotency_keys_max: 100,
            request_timeout,
            node_id: 1,
            cluster_id: "test".to_owned(),
            alerting: AlertingOptions {
                // These tests count what the broker decides; alerts have tests of their own.
                every: Duration::from_secs(86_400),
                allowed: AllowedNetworks::default(),
                external_url: String::new(),
            },
        };
        let here = tokio::runtime::Handle::current();
        let running = Running::start(options, replication.clone(), &applying, &here).unwrap();
        running.broker().wait_until_serving().await;
        Rig { _release: Release(disk.clone()), disk, log, index, running, replication, directory }
    }

    pub fn broker(&self) -> Broker {
        self.running.broker().clone()
    }

    pub async fn stop(self) {
        self.running.stop().await;
        self.replication.shutdown().await.unwrap();
    }
}

pub fn receiving(group: &str) -> ReceiveRequest {
    ReceiveRequest {
        group: group.parse().unwrap(),
        topic: Some("t".parse().unwrap()),
        auto_create: true,
        max_messages: 10,
        max_bytes: 1 << 20,
        lease_ms: None,
        session: 0,
        client: "test".into(),
        turn: 0,
    }
}

pub async fn produce(broker: &Broker, body: &str) -> Result<(), BrokerError> {
    produce_with(broker, body, None).await
}

pub async fn produce_with(broker: &Broker, body: &str, ttl_ms: Option<Millis>) -> Result<(), BrokerError> {
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    let new = NewMessage { message: Arc::new(message), ttl_ms, queue: Some(0), ..NewMessage::default() };
    let answers = broker.produce("t".parse().unwrap(), true, vec![new]).await?;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    Ok(())
}

pub async fn receive(broker: &Broker, group: &str, wait: Duration) -> Waited {
    broker.receive(receiving(group), wait).await.unwrap()
}

/// Lets the proposer take in what was sent.
pub async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}
