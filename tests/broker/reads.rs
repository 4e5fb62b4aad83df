//! What has to be read from the disk: nobody waits for it who does not need it, and what cannot be read is not passed
//! off as the whole.

use std::sync::Arc;
use std::time::Duration;

use whimbrel::broker::{Broker, BrokerError};
use whimbrel::machine::{Delay, Expected, NewMessage, SettleOp, SettleStatus};
use whimbrel::model::{GroupName, Message, MessageId, Position, TopicName, TopicSettings};

use crate::rig::{Rig, Setting, a_moment, produce, receive};

/// So much of the log stays in memory, and so much pushes everything else out.
const TAIL_BYTES: usize = 64 << 10;

pub async fn with_small_tail() -> Rig {
    Rig::with(Setting { tail_cache_bytes: TAIL_BYTES, ..Setting::default() }).await
}

fn topic() -> TopicName {
    "t".parse().unwrap()
}

/// Writes so much that what was written before is on the disk alone.
pub async fn push_out(broker: &Broker) {
    let message = Arc::new(Message { body: "x".repeat(TAIL_BYTES).into(), ..Message::default() });
    let new = NewMessage { message, ..NewMessage::default() };
    broker.produce("filler".parse().unwrap(), true, vec![new; 2]).await.unwrap();
}

/// The runtime has one thread: if that waited for the disk, nothing else would go on.
#[tokio::test]
async fn a_body_that_is_read_from_the_disk_holds_up_nobody_else() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    produce(&broker, "old").await.unwrap();
    push_out(&broker).await;
    rig.disk.hold_reads(true);
    let reader = tokio::spawn({
        let broker = broker.clone();
        async move { receive(&broker, "g", Duration::from_secs(30)).await.messages }
    });
    while rig.disk.waiting_reads() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    tokio::time::timeout(Duration::from_secs(10), produce(&broker, "new")).await.expect("held up").unwrap();
    assert!(!reader.is_finished(), "its body is not read yet");
    // Who goes away meanwhile gives its lease back.
    let group: GroupName = "g".parse().unwrap();
    assert_eq!(broker.group(&group).unwrap().in_flight, 1);
    reader.abort();
    while broker.group(&group).unwrap().in_flight > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    rig.disk.hold_reads(false);
    let messages = receive(&broker, "g", Duration::from_secs(10)).await.messages;
    assert_eq!(messages[0].leased.attempt, 1, "given back, and not failed");
    assert_eq!(messages[0].message.body, "old");
    rig.stop().await;
}

/// The proposer waits a moment for what it needs from the disk, and then goes on without.
#[tokio::test]
async fn a_schedule_that_is_read_from_the_disk_holds_up_nobody_else() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    assert!(receive(&broker, "g", Duration::ZERO).await.messages.is_empty(), "the group is there");
    let message = Arc::new(Message { body: "scheduled".into(), ..Message::default() });
    let later = NewMessage { message, delay: Delay::For(300), queue: Some(0), ..NewMessage::default() };
    broker.produce(topic(), true, vec![later]).await.unwrap();
    push_out(&broker).await;
    rig.disk.hold_reads(true);
    while rig.disk.waiting_reads() == 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for body in ["one", "two"] {
        tokio::time::timeout(Duration::from_secs(10), produce(&broker, body))
            .await
            .expect("held up")
            .unwrap();
    }
    let first = receive(&broker, "g", Duration::from_secs(10)).await.messages;
    assert_eq!(first[0].message.body, "one", "the schedule is not read yet");
    rig.disk.hold_reads(false);
    let mut bodies = Vec::new();
    while !bodies.contains(&"scheduled".into()) {
        let more = receive(&broker, "g", Duration::from_secs(10)).await.messages;
        assert!(!more.is_empty(), "it never came: {bodies:?}");
        bodies.extend(more.into_iter().map(|message| message.message.body));
    }
    rig.stop().await;
}

/// The index is thrown away, and cannot be made further than the first segment.
#[tokio::test(flavor = "multi_thread")]
async fn a_browse_says_when_the_index_does_not_know_everything_yet() {
    let rig = with_small_tail().await;
    let broker = rig.broker();
    let body = "x".repeat(100 << 10);
    for _ in 0..25 {
        produce(&broker, &body).await.unwrap();
    }
    let whole = broker.browse(&topic(), 0, None, 100).unwrap();
    assert_eq!((whole.messages.len(), whole.truncated, whole.next_offset), (25, false, None));
    let part = broker.browse(&topic(), 0, Some(20), 3).unwrap();
    assert_eq!((part.messages.len(), part.truncated, part.next_offset), (3, false, Some(23)));
    let segments = rig.log.segments();
    let second = rig.directory.path().join(format!("log/{:012}.log", segments[1].id));
    assert!(second.is_file(), "{second:?}");
    rig.disk.fail_reads(&second);
    rig.index.doubt("a test");
    let stuck = async {
        while !broker.readiness().checks.iter().any(|(name, passed, _)| *name == "index" && !passed) {
            let short = broker.browse(&topic(), 0, None, 100).unwrap();
            assert!(short.truncated, "{} of 25 messages as if they were all", short.messages.len());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), stuck).await.expect("the index is made again");
    let short = broker.browse(&topic(), 0, None, 100).unwrap();
    let count = short.messages.len();
    assert!((1..25).contains(&count), "{count} messages");
    assert_eq!((short.truncated, short.next_offset), (true, Some(count as u64)));
    let page = broker.browse(&topic(), 0, None, count).unwrap();
    assert!(!page.truncated, "a full page lacks nothing");
    rig.stop().await;
}

/// Retention has passed it, and a person sent it back: it is live, so it can be looked at.
#[tokio::test(flavor = "multi_thread")]
async fn a_redriven_message_can_be_looked_at_wherever_the_queue_is_kept_from() {
    let rig = Rig::start().await;
    let broker = rig.broker();
    let settings = TopicSettings { max_age_ms: 1_000, ..TopicSettings::default() };
    broker.put_topic(topic(), settings, Expected::Anything).await.unwrap();
    produce(&broker, "m").await.unwrap();
    let group: GroupName = "g".parse().unwrap();
    let settle = async |op| {
        let messages = receive(&broker, "g", Duration::from_secs(10)).await.messages;
        let settled = broker.settle(group.clone(), vec![(Some(messages[0].receipt), op)]).await.unwrap();
        assert!(matches!(settled[..], [SettleStatus::Ok(_)]));
        messages[0].id
    };
    let id: MessageId = settle(SettleOp::DeadLetter { reason: None }).await;
    while broker.topic(&topic()).unwrap().queues[0].first_kept == 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        broker.tend().await;
    }
    assert!(broker.message(id).is_ok(), "a dead letter");
    let redriven = broker.redrive(group.clone(), vec![id], None).await.unwrap();
    assert!(matches!(redriven.as_slice(), [Ok(())]), "{redriven:?}");
    assert_eq!(broker.message(id).unwrap().message.body, "m");
    assert_eq!(settle(SettleOp::Ack).await, id);
    let gone = broker.message(id);
    assert!(matches!(gone, Err(BrokerError::Gone(_))), "{gone:?}");
    let never = broker.message(MessageId::new(Position { index: 1 << 30, slot: 0 }));
    assert!(matches!(never, Err(BrokerError::NotFound(_))), "{never:?}");
    a_moment().await;
    rig.stop().await;
}
