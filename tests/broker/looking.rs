//! Searching and following while the index is behind, the disk is slow, or retention is faster.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Broker, BrokerError, Search, Tail, TailFrom, TailRequest, TailRound, TailWhat};
use whimbrel::machine::{Draft, Expected, NewMessage, SeekTo};
use whimbrel::model::{
    Filter, GroupName, GroupSettings, Message, Subscription, Timestamp, TopicName, TopicSettings,
};
use whimbrel::observe::history::{Measure, Subject, Window};
use whimbrel::storage::index::IndexOptions;

use crate::reads::{push_out, with_small_tail};
use crate::rig::{Rig, Setting, a_moment, produce};

fn topic() -> TopicName {
    "t".parse().unwrap()
}

fn everything(limit: usize) -> Search {
    Search { key: None, tag: Filter::All, from: None, to: None, contains: None, after: None, limit }
}

async fn follow(broker: &Broker, from: TailFrom) -> Tail {
    broker.tail(TailRequest { topic: topic(), from, tag: Filter::All }).await.unwrap()
}

/// The next events: bodies of messages, and what was skipped.
async fn next(tail: &mut Tail) -> Vec<String> {
    match tail.next(1_000).await.unwrap() {
        TailRound::Events(events) => {
            let text = |what: &TailWhat| match what {
                TailWhat::Message(stored) => String::from_utf8_lossy(&stored.message.body).into_owned(),
                TailWhat::Skipped { queue, from, to } => format!("skipped {queue} {from}..{to}"),
                TailWhat::Damaged { queue, offset, id } => format!("damaged {queue}/{offset} {id}"),
            };
            events.iter().map(|event| text(&event.what)).collect()
        }
        other => panic!("{other:?}"),
    }
}

/// A damaged message ends neither a search nor a tail: both say which one it is and go on behind it.
#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_message_is_stepped_over_and_named() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    let mut ids = Vec::new();
    for body in ["before", "to be harmed", "behind"] {
        let attributes = whimbrel::model::Attributes { keys: vec!["k".into()], ..Default::default() };
        let message = Arc::new(Message { body: body.into(), attributes });
        let new = NewMessage { message, queue: Some(0), ..NewMessage::default() };
        ids.push(broker.produce(topic(), true, vec![new]).await.unwrap()[0].as_ref().unwrap().id);
    }
    let first = rig.directory.path().join(format!("log/{:012}.log", rig.log.segments()[0].id));
    while rig.log.segments().len() == 1 {
        push_out(&broker).await;
    }
    let bytes = std::fs::read(&first).unwrap();
    let at = bytes.windows(12).position(|window| window == b"to be harmed").unwrap();
    let file = std::fs::File::options().write(true).open(&first).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"T", at as u64).unwrap();

    let by_key = Search { key: Some("k".to_owned()), ..everything(10) };
    let before = Some(Timestamp(u64::MAX >> 20));
    for search in [by_key, Search { to: before, contains: Some("be".to_owned()), ..everything(10) }] {
        let found = broker.search(&topic(), &search).unwrap();
        let bodies: Vec<_> = found.messages.iter().map(|stored| stored.message.body.clone()).collect();
        assert_eq!(bodies, ["behind", "before"], "{search:?}");
        assert_eq!((found.damaged, found.next), (vec![ids[1]], None));
    }
    let shown = broker.message(ids[1]);
    assert!(matches!(shown, Err(BrokerError::Damaged(_))), "{shown:?}");
    let mut tail = follow(&broker, TailFrom::Earliest).await;
    let told = next(&mut tail).await;
    assert_eq!(told[..3], ["before".to_owned(), format!("damaged 0/1 {}", ids[1]), "behind".to_owned()]);
    drop(tail);
    rig.stop().await;
}

/// What is not indexed yet is not found, and the answer says so; a tail waits for it and leaves nothing out.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_index_is_behind_a_search_says_so_and_a_tail_waits() {
    const MESSAGES: u64 = 4_000;
    let rig = Rig::start().await;
    let broker = rig.broker();
    for batch in 0..MESSAGES / 100 {
        let new = |number| {
            let body = format!("{}", batch * 100 + number);
            let attributes = whimbrel::model::Attributes { keys: vec!["k".into()], ..Default::default() };
            let message = Arc::new(Message { body: body.into(), attributes });
            NewMessage { message, queue: Some(0), ..NewMessage::default() }
        };
        broker.produce(topic(), true, (0..100).map(new).collect()).await.unwrap();
    }
    // A group that waits for the last message of all.
    let group: GroupName = "behind".parse().unwrap();
    let subscriptions = vec![Subscription { topic: topic(), filter: Filter::All }];
    let settings = GroupSettings { subscriptions, ..GroupSettings::default() };
    broker.put_group(group.clone(), settings, Expected::Anything, true).await.unwrap();
    let last = SeekTo::Offset { queue: 0, offset: MESSAGES - 1 };
    broker.seek(group.clone(), topic(), last, false).await.unwrap();
    let standing = |broker: &Broker| broker.group(&group).unwrap().topics.remove(0);
    assert!(standing(&broker).known_lag_ms().is_some());
    rig.running.stop().await;
    rig.replication.shutdown().await.unwrap();
    let Rig { disk, log, index, directory, replication, .. } = rig;
    drop((log, index, replication, broker));

    std::fs::remove_dir_all(directory.path().join("index")).unwrap();
    disk.set_free(Some(24 << 20));
    let index = IndexOptions { paused_bytes: 8 << 10, ..IndexOptions::default() };
    let rig = Rig::open(directory, disk, Setting { index, ..Setting::default() }).await;
    let broker = rig.broker();
    let words = || broker.readiness().checks.iter().find(|(name, _, _)| *name == "index").unwrap().2.clone();
    while !words().contains("waits for disk space") {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // How old it is nobody knows, which is not 0 s: an alert on it would end.
    let behind = standing(&broker);
    assert_eq!((behind.lag, behind.lag_ms, behind.known_lag_ms()), (1, 0, None));
    for key in [None, Some("k".to_owned())] {
        let search = Search { key, ..everything(usize::try_from(MESSAGES).unwrap()) };
        let found = broker.search(&topic(), &search).unwrap();
        assert!(!found.index_complete && found.next.is_none());
        assert!((1..3_000).contains(&found.messages.len()), "{} of {MESSAGES}", found.messages.len());
    }
    let mut tail = follow(&broker, TailFrom::Earliest).await;
    let mut came = Vec::new();
    while let Ok(events) = tokio::time::timeout(Duration::from_millis(500), next(&mut tail)).await {
        came.extend(events);
    }
    assert!(came.len() < 3_000, "{} of {MESSAGES}", came.len());
    rig.disk.set_free(None);
    while came.len() < usize::try_from(MESSAGES).unwrap() {
        let events = tokio::time::timeout(Duration::from_secs(30), next(&mut tail)).await;
        came.extend(events.unwrap_or_else(|_| panic!("nothing came any more: {}", words())));
    }
    assert!(came.iter().map(|body| body.parse::<u64>().unwrap()).eq(0..MESSAGES), "each once, in order");
    let found = broker.search(&topic(), &everything(usize::try_from(MESSAGES).unwrap())).unwrap();
    assert!(found.index_complete && found.messages.len() as u64 == MESSAGES);
    assert!(standing(&broker).known_lag_ms().is_some_and(|age| age > 0));
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tail_that_retention_overtook_says_what_it_left_out() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let settings = TopicSettings { max_age_ms: 1_000, queues: 2, ..TopicSettings::default() };
    broker.put_topic(topic(), settings, Expected::Anything).await.unwrap();
    let start = follow(&broker, TailFrom::Latest).await.place().clone();
    for body in ["1", "2", "3"] {
        produce(&broker, body).await.unwrap();
    }
    while broker.topic(&topic()).unwrap().queues[0].first_kept < 3 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.tend().await;
    }
    produce(&broker, "4").await.unwrap();
    let mut tail = follow(&broker, TailFrom::Place(start.clone())).await;
    assert_eq!(next(&mut tail).await, ["skipped 0 0..3", "4"]);
    let mut tail = follow(&broker, TailFrom::Earliest).await;
    assert_eq!(next(&mut tail).await, ["4"]);
    let mut beyond = start;
    beyond.advance(1, 1);
    let refused =
        broker.tail(TailRequest { topic: topic(), from: TailFrom::Place(beyond), tag: Filter::All }).await;
    assert!(matches!(refused, Err(BrokerError::Gone(_))), "{refused:?}");
    rig.stop().await;
}

/// The runtime has one thread: if that waited for the disk, nothing else would go on.
#[tokio::test]
async fn a_tail_that_reads_from_the_disk_holds_up_nobody_else() {
    const TAIL_BYTES: usize = 64 << 10;
    let rig = Rig::with(Setting { tail_cache_bytes: TAIL_BYTES, ..Setting::default() }).await;
    let broker = rig.broker();
    produce(&broker, "old").await.unwrap();
    for _ in 0..2 {
        produce(&broker, &"x".repeat(TAIL_BYTES)).await.unwrap();
    }
    rig.disk.hold_reads(true);
    let reader = tokio::spawn({
        let broker = broker.clone();
        async move { next(&mut follow(&broker, TailFrom::Earliest).await).await }
    });
    while rig.disk.waiting_reads() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let mut live = follow(&broker, TailFrom::Latest).await;
    tokio::time::timeout(Duration::from_secs(10), produce(&broker, "new")).await.expect("held up").unwrap();
    assert_eq!(next(&mut live).await, ["new"], "what is in memory goes out");
    assert!(!reader.is_finished());
    rig.disk.hold_reads(false);
    assert_eq!(reader.await.unwrap()[0], "old");
    rig.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_tail_does_nothing_and_a_stop_ends_it() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    produce(&broker, "1").await.unwrap();
    let mut tails = Vec::new();
    for _ in 0..50 {
        let broker = broker.clone();
        tails.push(tokio::spawn(async move { follow(&broker, TailFrom::Latest).await.next(1).await }));
    }
    a_moment().await;
    let (last, rounds) = (rig.log.last(), broker.rounds());
    a_moment().await;
    assert_eq!((rig.log.last(), broker.rounds()), (last, rounds), "following decides nothing");
    rig.running.stop().await;
    for tail in tails {
        let round = tail.await.unwrap().unwrap();
        assert!(matches!(round, TailRound::Stopping), "{round:?}");
    }
}

/// A log that was written by a clock ahead of this host's: what waits ages all the same, on the curve and in the view.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_ages_while_the_log_is_ahead_of_the_wall_clock() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let name: GroupName = "billing".parse().unwrap();
    let subscription = Subscription { topic: topic(), filter: Filter::All };
    let settings = GroupSettings { subscriptions: vec![subscription], ..GroupSettings::default() };
    broker.put_group(name.clone(), settings, Expected::Anything, true).await.unwrap();
    let machine = rig.replication.machine().snapshot();
    let ahead = Timestamp(machine.now().0 + 3_600_000);
    let mut draft = Draft::new(&machine, ahead, Box::new(|| 1));
    draft.start_leadership(1);
    rig.replication.propose(Arc::new(draft.finish().unwrap())).await.unwrap();
    produce(&broker, "waits").await.unwrap();
    // From here on nothing is stamped.
    let subject = Subject::Group(name.clone());
    let began = std::time::Instant::now();
    loop {
        let past = broker.history(&subject, &[Measure::LagSeconds], Window::TenMinutes).unwrap();
        let oldest = past.curves.values(Measure::LagSeconds).iter().flatten().copied().fold(0.0, f32::max);
        let lag_ms = broker.group(&name).unwrap().lag_ms();
        assert!(oldest < 600.0 && lag_ms < 600_000, "{oldest} s, {lag_ms} ms: not by how far it is ahead");
        if oldest > 1.0 && lag_ms > 1_000 {
            break;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{oldest} s, {lag_ms} ms");
        a_moment().await;
    }
    rig.stop().await;
}
