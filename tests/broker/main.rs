//! The broker over a real log on a disk that can be made full or slow: what waits, what is refused, and what is never
//! done for nothing.

#![allow(
    unreachable_pub,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that cannot go on should say so at once"
)]

mod explain;
mod filters;
mod keys;
mod letters;
mod looking;
mod reads;
mod rig;
mod scheduled;
mod trails;

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Affects, BrokerError, Cause, CloseHow, CreditMode, SubscribeRequest};
use whimbrel::machine::{NewMessage, SettleOp, SettleStatus};
use whimbrel::model::{GroupName, Message};
use whimbrel::storage::index::IndexOptions;

use rig::{Rig, Setting, a_moment, produce, receive, receiving};

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
    let Rig { disk, log, index, directory, replication, .. } = rig;
    drop((log, index, replication, broker));

    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    // Below the reserve of 32 MiB, above its half: leases go on.
    disk.set_free(Some(24 << 20));
    let index = IndexOptions { paused_bytes: 8 << 10, ..IndexOptions::default() };
    let rig = Rig::open(directory, disk, Setting { index, ..Setting::default() }).await;
    let broker = rig.broker();
    let words = || broker.readiness().checks.iter().find(|(name, _, _)| *name == "index").unwrap().2.clone();
    while !words().contains("waits for disk space") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let indexed = broker.node().indexed;
    let explained = broker.explain(&"g".parse().unwrap()).unwrap();
    let behind = explained.findings.iter().find(|finding| finding.code == Cause::IndexBehind).unwrap();
    assert_eq!((behind.affects, behind.count), (Affects::Some, Some(indexed)));
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
    let rig = Rig::with(Setting { request_timeout: Duration::from_millis(500), ..Setting::default() }).await;
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
            socket: None,
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
