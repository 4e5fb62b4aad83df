//! The broker over a real log on a disk that can be made full or slow: what waits, what is refused, and what is never done
//! for nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use whimbrel::broker::{Applying, Broker, BrokerError, Options, Running, Waited};
use whimbrel::machine::{NewMessage, ReceiveRequest};
use whimbrel::model::Message;
use whimbrel::replication::{self, Replication};
use whimbrel::storage::index::{Index, IndexOptions};
use whimbrel::storage::vfs::{OpenMode, RealFs, Vfs, VfsFile};
use whimbrel::storage::{DataDir, Images, Log, LogOptions};

/// The real file system with a free space that can be set, and with fdatasync that can be held.
#[derive(Clone, Debug, Default)]
struct Disk {
    free: Arc<Mutex<Option<u64>>>,
    held: Arc<(Mutex<bool>, Condvar)>,
}

#[derive(Debug)]
struct DiskFile(Arc<dyn VfsFile>, Disk);

impl Disk {
    fn set_free(&self, bytes: Option<u64>) {
        *self.free.lock().unwrap() = bytes;
    }

    #[allow(dead_code, reason = "the next test needs it")]
    fn hold(&self, hold: bool) {
        *self.held.0.lock().unwrap() = hold;
        self.held.1.notify_all();
    }
}

impl Vfs for Disk {
    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFs.create_dir(path)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn VfsFile>> {
        Ok(Arc::new(DiskFile(RealFs.open(path, mode)?, self.clone())))
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
        drop(changed.wait_while(held.lock().unwrap(), |held| *held).unwrap());
        self.0.sync_data()
    }
}

/// A broker, and the disk under it.
struct Rig {
    disk: Disk,
    log: Log,
    running: Running,
    replication: Replication,
    _directory: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let disk = Disk::default();
        let data = DataDir::open(Arc::new(disk.clone()), directory.path()).unwrap();
        let options =
            LogOptions { segment_bytes: 1 << 20, allocate_bytes: 64 << 10, ..LogOptions::default() };
        let (log, recovered) = Log::open(&data, options).unwrap();
        let images = Images::open(&data).unwrap();
        let (index, opened) = Index::open(&directory.path().join("index"), IndexOptions::default()).unwrap();
        let applying = Applying::new(index, &opened, log.clone());
        let stores = replication::Stores { log: log.clone(), committed: recovered.committed, images };
        let told = applying.clone();
        let options = replication::Options::default();
        let opened = Replication::open(stores, options, Arc::new(move |entry| told.applied(entry))).await;
        let replication = opened.unwrap().replication;
        let options = Options {
            auto_create_topics: true,
            request_timeout: Duration::from_millis(600),
            node_id: 1,
            cluster_id: "test".to_owned(),
        };
        let running = Running::start(options, replication.clone(), &applying).unwrap();
        running.broker().wait_until_serving().await;
        Rig { disk, log, running, replication, _directory: directory }
    }

    fn broker(&self) -> Broker {
        self.running.broker().clone()
    }

    async fn stop(self) {
        self.running.stop().await;
        self.replication.shutdown().await.unwrap();
    }
}

fn receiving(group: &str) -> ReceiveRequest {
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

async fn produce(broker: &Broker, body: &str) -> Result<(), BrokerError> {
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    let new = NewMessage { message: Arc::new(message), ..NewMessage::default() };
    let answers = broker.produce("t".parse().unwrap(), true, vec![new]).await?;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    Ok(())
}

async fn receive(broker: &Broker, group: &str, wait: Duration) -> Waited {
    broker.receive(receiving(group), wait).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn receives_wait_for_space_without_spinning_and_are_served_when_there_is_some() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the group is there");
    produce(&broker, "m").await.unwrap();
    rig.disk.set_free(Some(12 << 20));
    rig.log.measure_space().unwrap();
    let refused = produce(&broker, "too much").await;
    assert!(matches!(refused, Err(BrokerError::DiskFull(_))), "{refused:?}");
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty());
    let waiter = tokio::spawn({
        let broker = broker.clone();
        async move { receive(&broker, "g", Duration::from_secs(30)).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    let before = broker.rounds();
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    let rounds = broker.rounds() - before;
    assert!(rounds < 20, "{rounds} rounds for nothing");
    assert!(!waiter.is_finished());
    rig.disk.set_free(None);
    assert_eq!(waiter.await.unwrap().messages.len(), 1, "space is there again");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_broker_with_waiting_receives_writes_nothing_and_does_not_spin() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let mut waiters = Vec::new();
    for group in 0..100 {
        let broker = broker.clone();
        let name = format!("g{}", group % 10);
        waiters.push(tokio::spawn(async move { receive(&broker, &name, Duration::from_secs(60)).await }));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let (last, before) = (rig.log.last(), broker.rounds());
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(rig.log.last(), last, "an idle broker writes nothing");
    let rounds = broker.rounds() - before;
    assert!(rounds <= 10, "{rounds} rounds in 2.5 s: the line is looked at once a second");
    rig.running.stop().await;
    for waiter in waiters {
        assert!(waiter.await.unwrap().messages.is_empty(), "a stop answers who waits");
    }
}
