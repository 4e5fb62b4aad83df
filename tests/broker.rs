//! The broker over a real log on a disk that can be made full or slow: what waits, what is refused, and what is never
//! done for nothing.

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

use whimbrel::broker::{
    Applying, Broker, BrokerError, CloseHow, CreditMode, Options, Running, SubscribeRequest, Waited,
};
use whimbrel::machine::{Expected, NewMessage, ReceiveRequest, SettleOp, SettleStatus};
use whimbrel::model::{Attributes, Filter, GroupName, GroupSettings, Message, Millis, Subscription};
use whimbrel::replication::{self, Replication};
use whimbrel::storage::index::{Index, IndexOptions};
use whimbrel::storage::vfs::{OpenMode, RealFs, Vfs, VfsFile};
use whimbrel::storage::{DataDir, Images, Log, LogOptions};

/// The real file system with a free space that can be set, and with fdatasync that can be held.
#[derive(Clone, Debug, Default)]
struct Disk {
    free: Arc<Mutex<Option<u64>>>,
    /// While held, how many more may pass.
    held: Arc<(Mutex<Option<u32>>, Condvar)>,
}

#[derive(Debug)]
struct DiskFile(Arc<dyn VfsFile>, Disk);

impl Disk {
    fn set_free(&self, bytes: Option<u64>) {
        *self.free.lock().unwrap() = bytes;
    }

    /// Lets so many fdatasync pass and holds the others; none: lets all pass.
    fn hold_after(&self, passes: Option<u32>) {
        *self.held.0.lock().unwrap() = passes;
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
        let mut held = changed.wait_while(held.lock().unwrap(), |held| *held == Some(0)).unwrap();
        *held = held.map(|passes| passes - 1);
        drop(held);
        self.0.sync_data()
    }
}

/// A broker, and the disk under it.
struct Rig {
    disk: Disk,
    log: Log,
    running: Running,
    replication: Replication,
    directory: tempfile::TempDir,
}

impl Rig {
    async fn start() -> Rig {
        Rig::with_timeout(Duration::from_secs(30)).await
    }

    async fn with_timeout(request_timeout: Duration) -> Rig {
        Rig::open(tempfile::tempdir().unwrap(), Disk::default(), request_timeout, IndexOptions::default())
            .await
    }

    async fn open(
        directory: tempfile::TempDir,
        disk: Disk,
        request_timeout: Duration,
        index: IndexOptions,
    ) -> Rig {
        let data = DataDir::open(Arc::new(disk.clone()), directory.path()).unwrap();
        let options =
            LogOptions { segment_bytes: 1 << 20, allocate_bytes: 64 << 10, ..LogOptions::default() };
        let (log, recovered) = Log::open(&data, options).unwrap();
        let images = Images::open(&data).unwrap();
        let (index, opened) = Index::open(&directory.path().join("index"), index).unwrap();
        let applying = Applying::new(index, &opened, log.clone());
        let stores = replication::Stores { log: log.clone(), committed: recovered.committed, images };
        let told = applying.clone();
        let options = replication::Options::default();
        let opened = Replication::open(stores, options, Arc::new(move |entry| told.applied(entry))).await;
        let replication = opened.unwrap().replication;
        let options =
            Options { auto_create_topics: true, request_timeout, node_id: 1, cluster_id: "test".to_owned() };
        let here = tokio::runtime::Handle::current();
        let running = Running::start(options, replication.clone(), &applying, &here).unwrap();
        running.broker().wait_until_serving().await;
        Rig { disk, log, running, replication, directory }
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
    produce_with(broker, body, None).await
}

async fn produce_with(broker: &Broker, body: &str, ttl_ms: Option<Millis>) -> Result<(), BrokerError> {
    let message = Message { body: body.to_owned().into(), ..Message::default() };
    let new = NewMessage { message: Arc::new(message), ttl_ms, queue: Some(0), ..NewMessage::default() };
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

/// Under the reserve the index waits in memory, up to a limit. What is behind the limit waits in the log, what is before
/// it is delivered, and with space again all is.
#[tokio::test(flavor = "multi_thread")]
async fn an_index_without_space_stops_at_its_limit_and_goes_on_from_the_log() {
    const MESSAGES: u64 = 4_000;
    let rig = Rig::start().await;
    let broker = rig.broker();
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the group is there");
    for batch in 0..MESSAGES / 100 {
        let new = |number| {
            let body = format!("{}", batch * 100 + number);
            let message = Message { body: body.into(), ..Message::default() };
            NewMessage { message: Arc::new(message), queue: Some(0), ..NewMessage::default() }
        };
        let answers = broker.produce("t".parse().unwrap(), true, (0..100).map(new).collect()).await.unwrap();
        assert!(answers.iter().all(Result::is_ok));
    }
    rig.running.stop().await;
    rig.replication.shutdown().await.unwrap();
    let Rig { disk, log, directory, replication, .. } = rig;
    drop((log, replication, broker));

    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    // Below the reserve of 32 MiB, above its half: leases go on.
    disk.set_free(Some(24 << 20));
    let index = IndexOptions { paused_bytes: 8 << 10, ..IndexOptions::default() };
    let rig = Rig::open(directory, disk, Duration::from_secs(30), index).await;
    let broker = rig.broker();
    let words = || broker.readiness().checks.iter().find(|(name, _, _)| *name == "index").unwrap().2.clone();
    while !words().contains("waits for disk space") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let indexed = broker.node().indexed;
    let mut came = Vec::new();
    loop {
        let messages = receive(&broker, "g", Duration::ZERO).await.messages;
        if messages.is_empty() {
            break;
        }
        came.extend(messages.iter().map(|message| message.leased.offset));
    }
    assert!(came.len() > 100 && came.len() < 3_000, "{} of {MESSAGES}", came.len());
    assert_eq!(broker.node().indexed, indexed, "what receiving wrote is left to the log as well");
    assert!(broker.node().applied > indexed);
    rig.disk.set_free(None);
    while came.len() < usize::try_from(MESSAGES).unwrap() {
        let messages = receive(&broker, "g", Duration::from_secs(30)).await.messages;
        assert!(!messages.is_empty(), "{} of {MESSAGES} came, and then nothing: {}", came.len(), words());
        came.extend(messages.iter().map(|message| message.leased.offset));
    }
    assert!(came.iter().copied().eq(0..MESSAGES), "each once, in order");
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

/// Lets the proposer take in what was sent.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(150)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_at_different_places_of_a_queue_are_served_in_the_same_batch() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    for body in 0..20 {
        produce(&broker, &body.to_string()).await.unwrap();
    }
    assert!(!receive(&broker, "ahead", Duration::from_secs(5)).await.messages.is_empty());
    assert!(receive(&broker, "behind", Duration::ZERO).await.messages.len() == 10, "the group is made");
    let seek = whimbrel::machine::SeekTo::Earliest;
    broker.seek("behind".parse().unwrap(), "t".parse().unwrap(), seek, false).await.unwrap();
    // While one entry is held, both receives gather for the next.
    rig.disk.hold_after(Some(0));
    let held = tokio::spawn({
        let broker = broker.clone();
        async move { produce(&broker, "held").await }
    });
    a_moment().await;
    let both = ["ahead", "behind"].map(|group| {
        let broker = broker.clone();
        tokio::spawn(async move { receive(&broker, group, Duration::ZERO).await.messages })
    });
    a_moment().await;
    rig.disk.hold_after(None);
    held.await.unwrap().unwrap();
    let [ahead, behind] = both;
    assert_eq!(ahead.await.unwrap().first().map(|message| message.leased.offset), Some(10));
    assert_eq!(behind.await.unwrap().first().map(|message| message.leased.offset), Some(0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn producers_who_fill_every_entry_starve_no_consumer() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the group is there");
    produce(&broker, "m").await.unwrap();
    rig.disk.hold_after(Some(0));
    let mut producers = Vec::new();
    for _ in 0..16 {
        let broker = broker.clone();
        producers.push(tokio::spawn(async move { produce(&broker, &"x".repeat(1_100_000)).await }));
    }
    a_moment().await;
    let receiver = tokio::spawn({
        let broker = broker.clone();
        async move { receive(&broker, "g", Duration::from_secs(30)).await }
    });
    a_moment().await;
    // Enough for a few entries, whatever a new segment costs, and not for all.
    rig.disk.hold_after(Some(20));
    let received = tokio::time::timeout(Duration::from_secs(10), receiver).await;
    assert!(producers.iter().any(|producer| !producer.is_finished()), "the disk was held too late");
    rig.disk.hold_after(None);
    let received = received.expect("a receive is served among full entries").unwrap();
    assert_eq!(received.messages.first().map(|message| message.leased.offset), Some(0));
    for producer in producers {
        producer.await.unwrap().unwrap();
    }
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_nobody_came_for_is_given_back() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    produce(&broker, "m").await.unwrap();
    let group: GroupName = "g".parse().unwrap();
    let mut abandoned = Box::pin(broker.receive(receiving("g"), Duration::from_secs(30)));
    let polled = futures_util::poll!(abandoned.as_mut());
    assert!(polled.is_pending());
    while broker.group(&group).map_or(0, |group| group.in_flight) == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    a_moment().await;
    drop(abandoned);
    let again = receive(&broker, "g", Duration::from_secs(10)).await.messages;
    assert_eq!(again.first().map(|message| message.leased.attempt), Some(1), "no failure, and no wait");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_submitted_and_unknown_are_told_apart() {
    let rig = Rig::with_timeout(Duration::from_millis(500)).await;
    let broker = rig.broker();
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the group is there");
    rig.disk.hold_after(Some(0));
    let submitted = tokio::spawn({
        let broker = broker.clone();
        async move { produce(&broker, "submitted").await }
    });
    a_moment().await;
    let queued = produce(&broker, "queued").await;
    assert!(matches!(queued, Err(BrokerError::Overloaded(_))), "definitely not stored: {queued:?}");
    let submitted = submitted.await.unwrap();
    assert!(matches!(submitted, Err(BrokerError::OutcomeUnknown)), "{submitted:?}");
    rig.disk.hold_after(None);
    let messages = receive(&broker, "g", Duration::from_secs(10)).await.messages;
    let bodies: Vec<_> = messages.iter().map(|message| message.message.body.clone()).collect();
    assert_eq!(bodies, ["submitted"], "what was unknown was stored, what was refused was not");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_settles_what_nobody_came_for() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let names: Vec<GroupName> = ["g", "h"].map(|name| name.parse().unwrap()).into();
    for name in ["g", "h"] {
        assert!(receive(&broker, name, Duration::ZERO).await.messages.is_empty(), "the group is there");
    }
    produce(&broker, "stays").await.unwrap();
    for _ in 0..3 {
        let message = Arc::new(Message::default());
        let going = NewMessage { message, ttl_ms: Some(50), queue: Some(0), ..NewMessage::default() };
        broker.produce("t".parse().unwrap(), true, vec![going; 1_000]).await.unwrap();
    }
    produce(&broker, "stays").await.unwrap();
    let lag = |name| broker.group(name).unwrap().topics[0].lag;
    assert_eq!(names.iter().map(lag).collect::<Vec<_>>(), [3_002, 3_002]);
    let swept = async {
        while names.iter().any(|name| lag(name) == 3_002) {
            tokio::time::sleep(Duration::from_millis(200)).await;
            broker.tend().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), swept).await.expect("within a minute");
    assert_eq!(names.iter().map(lag).collect::<Vec<_>>(), [2, 2], "all in one round");
    let last = rig.log.last();
    // An answer comes as soon as one message is ready, so the second may take another receive.
    let mut left = Vec::new();
    for _ in 0..10 {
        left.extend(receive(&broker, "g", Duration::ZERO).await.messages);
    }
    assert_eq!(left.len(), 2, "only what has no TTL is left");
    assert_ne!(rig.log.last(), last);
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ack_that_was_sent_before_the_end_of_a_subscription_counts() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    for how in [CloseHow::GiveBack, CloseHow::Broken] {
        produce(&broker, "m").await.unwrap();
        let request = SubscribeRequest {
            group: "g".parse().unwrap(),
            topic: Some("t".parse().unwrap()),
            auto_create: true,
            mode: CreditMode::Prefetch(10),
            lease_ms: None,
            client: "test".into(),
        };
        let mut subscription = broker.subscribe(request).await.unwrap();
        let pushed = subscription.next().await.unwrap();
        let receipt = pushed.leased[0].receipt(pushed.group, pushed.index);
        let ops = vec![(Some(receipt), SettleOp::Ack)];
        let mut ack = Box::pin(broker.settle("g".parse().unwrap(), ops));
        assert!(futures_util::poll!(ack.as_mut()).is_pending(), "it stands in line now");
        subscription.close(how);
        assert!(matches!(ack.await.unwrap()[0], SettleStatus::Ok(_)), "{how:?}");
    }
    rig.stop().await;
}

fn coloured(body: &str, colour: &str, ttl_ms: Option<Millis>) -> NewMessage {
    let properties = [("colour".into(), colour.into())].into();
    let attributes = Attributes { properties, ..Attributes::default() };
    let message = Message { body: body.to_owned().into(), attributes };
    NewMessage { message: Arc::new(message), ttl_ms, queue: Some(0), ..NewMessage::default() }
}

async fn reds(broker: &Broker, dead_letter_expired: bool) {
    let filter = Filter::parse_sql("colour = 'red'").unwrap();
    let subscriptions = vec![Subscription { topic: "t".parse().unwrap(), filter }];
    let settings = GroupSettings { subscriptions, dead_letter_expired, ..GroupSettings::default() };
    broker.put_group("g".parse().unwrap(), settings, Expected::default(), true).await.unwrap();
}

/// A receive looks on, batch after batch, until it has passed everything that does not match.
#[tokio::test(flavor = "multi_thread")]
async fn a_rare_match_far_behind_is_found_by_one_receive() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    reds(&broker, false).await;
    for batch in 0..5 {
        let colour = |at: usize| if batch == 4 && at == 999 { "red" } else { "blue" };
        let messages = (0..1_000).map(|at| coloured("m", colour(at), None)).collect();
        broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
    }
    let received = receive(&broker, "g", Duration::from_secs(30)).await.messages;
    assert_eq!(received.iter().map(|message| message.leased.offset).collect::<Vec<_>>(), [4_999]);
    // The observer has not looked again yet, and a look counts what is left by itself.
    let view = broker.group(&"g".parse().unwrap()).unwrap();
    assert_eq!((view.topics[0].lag, view.topics[0].counting, view.topics[0].in_flight), (1, false, 1));
    let rounds = broker.rounds();
    assert!(receive(&broker, "g", Duration::from_millis(300)).await.messages.is_empty());
    assert!(broker.rounds() - rounds < 20, "nothing left to look at, and it looks all the time");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sweep_buries_only_what_an_sql_filter_would_have_let_pass() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    reds(&broker, true).await;
    let messages = ["blue", "red", "blue", "red"].map(|colour| coloured("m", colour, Some(1))).to_vec();
    broker.produce("t".parse().unwrap(), true, messages).await.unwrap();
    let dead = || broker.group(&"g".parse().unwrap()).unwrap().dead_letters;
    for _ in 0..200 {
        broker.tend().await;
        if dead() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(dead(), 2);
    let view = broker.group(&"g".parse().unwrap()).unwrap();
    assert_eq!((view.topics[0].lag, view.topics[0].counting), (0, false));
    rig.stop().await;
}
